//! The schedulers that ours is measured against do what they are for: else the figures mean nothing.
#![allow(clippy::unwrap_used)] // in helpers, too, a panic is a failed test

#[path = "../examples/netqos_bench/models/mod.rs"]
mod models;

use models::{Drr, HeapWf2q, HtbClass, Packet, RbtreeHtb, Scheduler};
use qos::Time;

/// Wire bytes of a leaf's frames; they differ, so that fairness by frames would show.
fn packet(leaf: u32, number: u64) -> Packet {
    Packet {
        number,
        wire_bytes: 84 + leaf * 400,
    }
}

/// Leaves that always have frames.
struct Sources<S> {
    scheduler: S,
    leaves: Vec<u32>,
    /// Wire bytes by leaf.
    sent: Vec<u64>,
    /// Number of the next frame by leaf.
    next: Vec<u64>,
}

impl<S: Scheduler<Leaf = u32, Packet = Packet>> Sources<S> {
    fn new(mut scheduler: S) -> Self {
        let leaves = scheduler.leaves();
        let now = Time::from_nanos(0);
        for (&leaf, at) in leaves.iter().zip(0..) {
            for number in 0..4 {
                assert!(scheduler.enqueue(leaf, packet(at, number), now));
            }
        }
        Self {
            scheduler,
            sent: vec![0; leaves.len()],
            next: vec![0; leaves.len()],
            leaves,
        }
    }

    /// Sends one frame.
    fn send(&mut self) {
        let now = Time::from_nanos(0);
        let mut out = Vec::new();
        self.scheduler.dequeue(now, 1, &mut out);
        assert_eq!(out.len(), 1, "something waits, so something goes");
        let (leaf, packet) = S::taken(&out[0]);
        let at = self.leaves.iter().position(|&own| own == leaf).unwrap();
        assert_eq!(packet.number, self.next[at], "first in, first out");
        self.next[at] += 1;
        self.sent[at] += u64::from(packet.wire_bytes);
        let number = packet.number + 4;
        let fresh = Packet { number, ..packet };
        assert!(self.scheduler.enqueue_burst(&[(leaf, fresh)], now));
    }
}

/// No two leaves are ever further apart than this, in bytes for a weight of one.
fn stays_within(
    scheduler: impl Scheduler<Leaf = u32, Packet = Packet>,
    weights: &[u32],
    apart: u64,
) {
    let mut sources = Sources::new(scheduler);
    for _ in 0..20_000 {
        sources.send();
        let service = sources.sent.iter().zip(weights);
        let service: Vec<u64> = service.map(|(sent, &w)| sent / u64::from(w)).collect();
        let (least, most) = (service.iter().min(), service.iter().max());
        assert!(most.unwrap() - least.unwrap() <= apart, "{service:?}");
    }
}

#[test]
fn drr_shares_by_weight() {
    let weights = [1, 2, 3, 1];
    stays_within(Drr::new(&weights), &weights, 2 * 1538 + 84 + 3 * 400);
}

#[test]
fn wf2q_shares_by_weight_frame_by_frame() {
    let weights = [1, 2, 3, 1];
    stays_within(HeapWf2q::new(&weights), &weights, 2 * (84 + 3 * 400));
}

#[test]
fn an_emptied_queue_comes_back_without_credit() {
    let now = Time::from_nanos(0);
    let mut wf2q = HeapWf2q::new(&[1, 1]);
    let mut out = Vec::new();
    for number in 0..10 {
        assert!(wf2q.enqueue(0, HeapWf2q::packet(number), now));
    }
    wf2q.dequeue(now, 8, &mut out);
    for number in 0..8 {
        assert!(wf2q.enqueue(1, HeapWf2q::packet(number), now));
    }
    out.clear();
    wf2q.dequeue(now, 4, &mut out);
    let late = out.iter().filter(|(leaf, _)| *leaf == 1).count();
    assert!((1..=3).contains(&late), "{out:?}");
}

/// Root of 100 Mbit/s; guests of 60/100 and 40/50; leaves of 30/100, 30/100 and 40/50.
fn htb() -> RbtreeHtb {
    let class = |parent, rate: u64, ceil: u64| HtbClass {
        parent,
        rate: rate * 1_000_000,
        ceil: ceil * 1_000_000,
        burst: 100_000,
    };
    RbtreeHtb::new(&[
        class(None, 100, 100),
        class(Some(0), 60, 100),
        class(Some(0), 40, 50),
        class(Some(1), 30, 100),
        class(Some(1), 30, 100),
        class(Some(2), 40, 50),
    ])
}

/// Megabits per second that the three leaves get in a second, if these have frames.
fn htb_rates(busy: [bool; 3]) -> [f64; 3] {
    let mut htb = htb();
    let leaves = htb.leaves();
    for ((&leaf, at), _) in leaves.iter().zip(0..).zip(busy).filter(|(_, busy)| *busy) {
        for number in 0..4 {
            assert!(htb.enqueue(leaf, packet(at, number), Time::from_nanos(0)));
        }
    }
    let mut sent = [0_u64; 3];
    let mut out = Vec::new();
    for micro in 0..1_000_000 {
        let now = Time::from_nanos(micro * 1000);
        htb.dequeue(now, 16, &mut out);
        for (leaf, packet) in out.drain(..) {
            let at = leaves.iter().position(|&own| own == leaf).unwrap();
            sent[at] += u64::from(packet.wire_bytes);
            assert!(htb.enqueue(leaf, packet, now));
        }
    }
    sent.map(|bytes| f64::from(u32::try_from(bytes).unwrap()) * 8.0 / 1e6)
}

fn near(got: f64, wanted: f64) -> bool {
    (got - wanted).abs() <= wanted * 0.02 + 0.1
}

#[test]
fn htb_gives_rates_and_holds_the_link() {
    let rates = htb_rates([true; 3]);
    let wanted = [30.0, 30.0, 40.0];
    let all = rates
        .iter()
        .zip(wanted)
        .all(|(&got, wanted)| near(got, wanted));
    assert!(all, "{rates:?}");
}

#[test]
fn htb_lends_up_to_the_ceiling() {
    let rates = htb_rates([false, false, true]);
    assert!(near(rates[2], 50.0), "{rates:?}");
    let rates = htb_rates([true, false, true]);
    assert!(near(rates[0] + rates[2], 100.0), "{rates:?}");
    assert!(rates[0] >= 50.0 && rates[2] >= 39.5, "{rates:?}");
    let rates = htb_rates([true, false, false]);
    assert!(near(rates[0], 100.0), "{rates:?}");
}
