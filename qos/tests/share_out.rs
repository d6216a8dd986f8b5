//! One limit, several engines: each goes by a lease that is divided anew every 100 us, and takes notice of it
//! when it happens to look.
#![allow(clippy::unwrap_used)] // in helpers, too, a panic is a failed test

mod common;

use common::sim::id;
use common::{BYTE, Excess, Rng};
use qos::share_out::{Leases, Want};
use qos::{Burst, ClassConfig, Engine, FrameShape, Framing, Hold, LeafKey, Rate, Time, TreeConfig};

/// What all may send together, in bits per second.
const TOTAL: u64 = 1_000_000_000;
/// Between two divisions, and the longest time until an engine looks, in nanoseconds.
const INTERVAL: u64 = 100_000;
/// How far each may run ahead of its lease, in bytes.
const BURST: u64 = 16_384;
const STEP: u64 = 5_000;
const PHASE: u64 = 40_000_000;
/// What two rounds of division take, with the frames that are under way, and more.
const SETTLE: u64 = 2_000_000;

#[derive(Debug)]
struct Guest {
    name: char,
    leaf: LeafKey,
    weight: u32,
    busy: bool,
    /// Wire bytes of this phase.
    sent: u64,
}

/// An engine, and what it goes by.
#[derive(Debug)]
struct Shard {
    engine: Engine,
    guests: Vec<Guest>,
    lease: u64,
    looks_at: u64,
}

fn root(lease: u64) -> Option<ClassConfig> {
    let ceil = Rate::from_bits_per_second(lease)?;
    Some(ClassConfig {
        cburst: Burst::Bytes(BURST),
        ..ClassConfig::new(id(1, 0)).ceil(ceil)
    })
}

impl Shard {
    fn new(lease: u64, guests: &[(char, u32)]) -> Self {
        let mut classes = vec![root(lease).unwrap()];
        for (number, (_, weight)) in (1..).zip(guests) {
            let class = ClassConfig::new(id(2, number)).parent(id(1, 0));
            classes.push(class.weight(*weight));
        }
        let engine = Engine::new(&TreeConfig::new(classes)).unwrap();
        let guest = |(number, &(name, weight)): (u16, &(char, u32))| Guest {
            name,
            leaf: engine.leaf(id(2, number)).unwrap(),
            weight,
            busy: false,
            sent: 0,
        };
        let guests = (1..).zip(guests).map(guest).collect();
        Self {
            engine,
            guests,
            lease,
            looks_at: 0,
        }
    }

    fn want(&self) -> Want {
        let busy = self.guests.iter().filter(|guest| guest.busy);
        let weight = busy.map(|guest| guest.weight).sum();
        Want {
            rate: if weight > 0 { u64::MAX } else { 0 },
            guaranteed: 0,
            weight,
        }
    }

    /// Goes by another lease.
    fn look(&mut self, lease: u64, now: Time) {
        if self.lease != lease
            && let Some(root) = root(lease)
        {
            self.engine.retune(&root, now).unwrap();
        }
        self.lease = lease;
    }

    fn send(&mut self, now: Time, total: &mut Excess) {
        if self.lease == 0 {
            return;
        }
        while let Some(grant) = self.engine.peek(now) {
            let guest = self
                .guests
                .iter_mut()
                .find(|guest| guest.leaf == grant.leaf);
            let guest = guest.unwrap();
            if !guest.busy {
                self.engine.abort(Hold::Empty);
                continue;
            }
            let frame = FrameShape::single(1514);
            self.engine.commit(frame);
            let wire = Framing::ETHERNET.cost(frame).wire_bytes;
            guest.sent += wire;
            total.sent(now, wire);
        }
    }
}

#[allow(clippy::cast_precision_loss)] // for comparing with a tolerance
fn float(value: u64) -> f64 {
    value as f64
}

/// Who is busy in each phase.
const PHASES: [&str; 7] = ["abcd", "c", "ac", "", "bd", "abcd", "d"];

#[test]
fn engines_that_share_a_limit_keep_it_divide_it_by_weight_and_leave_nothing_of_it() {
    for seed in 0..4 {
        let mut rng = Rng(seed);
        let mut leases = Leases::new(TOTAL, 3);
        let guests: [&[(char, u32)]; 3] = [&[('a', 1), ('b', 2)], &[('c', 1)], &[('d', 4)]];
        let shards = (0..3).zip(guests);
        let shards = shards.map(|(at, guests)| Shard::new(leases.lease(at), guests));
        let mut shards: Vec<_> = shards.collect();
        let mut total = Excess::new(Rate::from_bits_per_second(TOTAL).unwrap());
        // Every engine's burst, and the frame that was let go when that was all but used up.
        let bound = 3 * i128::from(BURST + 1538) * BYTE;
        for (phase, busy) in (0..).zip(PHASES) {
            let start = phase * PHASE;
            for shard in &mut shards {
                for guest in &mut shard.guests {
                    guest.busy = busy.contains(guest.name);
                    if guest.busy {
                        shard.engine.backlogged(guest.leaf, Time::from_nanos(start));
                    }
                }
            }
            for at in (start..start + PHASE).step_by(usize::try_from(STEP).unwrap()) {
                let now = Time::from_nanos(at);
                if at == start + SETTLE {
                    let guests = shards.iter_mut().flat_map(|shard| &mut shard.guests);
                    guests.for_each(|guest| guest.sent = 0);
                }
                if at % INTERVAL == 0 {
                    let wants: Vec<_> = shards.iter().map(Shard::want).collect();
                    leases.renew(&wants);
                }
                for (part, shard) in shards.iter_mut().enumerate() {
                    if shard.looks_at <= at {
                        shard.look(leases.lease(part), now);
                        leases.went_by(part);
                        shard.looks_at = at + 1 + rng.below(INTERVAL);
                    }
                    shard.send(now, &mut total);
                }
                assert!(total.highest() <= bound, "seed {seed}, phase {phase}");
            }
            let guests = || shards.iter().flat_map(|shard| &shard.guests);
            let weights: u32 = guests().filter(|it| it.busy).map(|it| it.weight).sum();
            let whole = float(TOTAL / 8) * float(PHASE - SETTLE) / 1e9;
            for guest in guests() {
                let own = if guest.busy { guest.weight } else { 0 };
                let fair = whole * f64::from(own) / f64::from(weights.max(1));
                let off = (float(guest.sent) - fair).abs() / whole;
                assert!(
                    off < 0.01,
                    "seed {seed}, phase {phase}: {guest:?} is to have {fair}"
                );
            }
        }
    }
}
