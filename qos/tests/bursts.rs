//! Frames of a leaf without a queue that are committed together are charged as if they had gone one by
//! one. Nobody may notice but by the time it takes.
#![allow(clippy::unwrap_used)] // in helpers, too, a panic is a failed test

mod common;

use common::Rng;
use common::motley::{motley, shape};
use common::sim::{TINY, child, id, rate, tree};
use qos::{
    ClassConfig, Engine, FlowCounters, Frame, Framing, Hold, LeafKey, LeafQueue, Offer, Span, Time,
    Wake,
};

/// Most leaves have none.
const QUEUES: [LeafQueue; 5] = [
    LeafQueue::Hold,
    LeafQueue::Hold,
    LeafQueue::Hold,
    LeafQueue::Hold,
    LeafQueue::Fifo { frames: 16 },
];

/// Two engines that are told the same, one by the burst.
struct Pair {
    single: Engine,
    burst: Engine,
    rng: Rng,
    now: Time,
    longest: u64,
}

impl Pair {
    /// Sends under one grant, if there is one.
    fn send(&mut self) -> bool {
        let now = self.now;
        let Self {
            single, burst, rng, ..
        } = &mut *self;
        let grant = burst.peek(now);
        assert_eq!(single.peek(now), grant);
        let Some(grant) = grant else { return false };
        let most = match rng.below(8) {
            0 => {
                let why = [Hold::Later, Hold::Empty, Hold::Empty, Hold::Blocked];
                let why = why[usize::try_from(rng.below(4)).unwrap()];
                [single, burst]
                    .into_iter()
                    .for_each(|engine| engine.abort(why));
                return why != Hold::Later;
            }
            1 => 1,
            2 => 1 + rng.below(20),
            _ => u64::MAX,
        };
        if let Some(frame) = grant.frame {
            assert_eq!(grant.room, qos::Room::default(), "it has a queue");
            assert_eq!(single.commit(frame.shape), burst.commit(frame.shape));
            return true;
        }
        let mut sent = FlowCounters::default();
        let mut last = TINY;
        while sent.frames < most {
            let next = shape(rng);
            let cost = grant.framing.cost(next);
            if sent.frames > 0 {
                if !grant.room.holds(&sent, cost) {
                    break;
                }
                let again = single.peek(now).map(|grant| grant.leaf);
                assert_eq!(again, Some(grant.leaf), "there was room for it");
            }
            single.commit(next);
            sent.add(next.len, cost);
            last = next;
        }
        burst.commit_burst(&sent, last);
        self.longest = self.longest.max(sent.frames);
        true
    }

    fn assert_same(&mut self) -> Wake {
        assert_eq!(self.single.snapshot(), self.burst.snapshot());
        let wake = self.single.next_wake(self.now);
        assert_eq!(wake, self.burst.next_wake(self.now));
        wake
    }
}

#[test]
fn a_burst_is_charged_as_its_frames_would_be() {
    let (mut longest, mut sent) = (0, 0);
    for seed in 0..300 {
        let mut rng = Rng(seed);
        let config = motley(&mut rng, &QUEUES);
        let engine = || Engine::new(&config).unwrap();
        let (single, burst) = (engine(), engine());
        let ids = config.classes.iter().map(|class| class.id);
        let keys: Vec<LeafKey> = ids.filter_map(|id| single.leaf(id)).collect();
        let now = Time::from_nanos(1 << 30);
        let mut pair = Pair {
            single,
            burst,
            rng,
            now,
            longest: 0,
        };
        for round in 0..60 {
            for _ in 0..pair.rng.below(2 * keys.len() as u64) {
                let key = keys[usize::try_from(pair.rng.below(keys.len() as u64)).unwrap()];
                let frame = Frame::new(round, shape(&mut pair.rng));
                let unblocks = pair.rng.below(2) == 0;
                for engine in [&mut pair.single, &mut pair.burst] {
                    if unblocks {
                        engine.unblock(key, pair.now);
                    }
                    if !engine.backlogged(key, pair.now) {
                        let _full = engine.offer(key, frame, pair.now);
                    }
                }
            }
            let most = pair.rng.below(400);
            let gone = (0..most).take_while(|_| pair.send()).count();
            [&mut pair.single, &mut pair.burst]
                .into_iter()
                .for_each(|engine| engine.abort(Hold::Later));
            sent += gone;
            let wake = pair.assert_same();
            let pause = Span::from_nanos(pair.rng.below(3_000_000));
            pair.now = match wake {
                Wake::At(at) if pair.rng.below(2) == 0 => at,
                _ => pair.now.saturating_add(pause),
            };
        }
        longest = longest.max(pair.longest);
    }
    assert!(sent > 10_000, "{sent}");
    assert_eq!(longest, 64, "the most that a visit has");
}

/// A leaf without a queue and one with one, below a guest.
fn two() -> (Engine, [LeafKey; 2], Time) {
    let guest = child(1).ceil(rate("100mbit"));
    let hold = ClassConfig::new(id(2, 0)).parent(id(1, 1));
    let fifo = ClassConfig::new(id(2, 1)).parent(id(1, 1));
    let fifo = fifo.queue(LeafQueue::Fifo { frames: 16 });
    let engine = Engine::new(&tree("1gbit", vec![guest, hold, fifo])).unwrap();
    let keys = [id(2, 0), id(2, 1)].map(|id| engine.leaf(id).unwrap());
    (engine, keys, Time::from_nanos(1 << 30))
}

fn counted(frames: u32) -> FlowCounters {
    let mut sent = FlowCounters::default();
    (0..frames).for_each(|_| sent.add(TINY.len, Framing::ETHERNET.cost(TINY)));
    sent
}

#[test]
fn a_burst_whose_grant_outlived_its_visit_is_charged_all_the_same() {
    let (mut engine, [hold, fifo], now) = two();
    assert!(engine.backlogged(hold, now));
    assert_eq!(engine.peek(now).map(|grant| grant.leaf), Some(hold));
    // Something else is asked while the frames are on their way.
    assert_eq!(engine.offer(fifo, Frame::new(1, TINY), now), Offer::Queued);
    assert_eq!(engine.next_wake(now), Wake::Now);
    engine.commit_burst(&counted(7), TINY);
    engine.commit_burst(&counted(7), TINY);
    let classes = engine.snapshot();
    let sent: Vec<u64> = classes
        .iter()
        .map(|class| class.stats.sent.frames)
        .collect();
    assert_eq!(sent, [7, 7, 7, 0], "once, and to all above");
}

#[test]
fn without_a_grant_a_frame_or_with_a_queue_nothing_is_committed() {
    let (mut engine, [hold, fifo], now) = two();
    let before = engine.snapshot();
    engine.commit_burst(&counted(3), TINY);
    assert_eq!(engine.snapshot(), before);
    assert!(engine.backlogged(hold, now));
    let grant = engine.peek(now);
    engine.commit_burst(&counted(0), TINY);
    assert_eq!(engine.peek(now), grant);
    engine.abort(Hold::Empty);
    assert_eq!(engine.offer(fifo, Frame::new(1, TINY), now), Offer::Queued);
    for settled in [false, true] {
        assert_eq!(engine.peek(now).map(|grant| grant.leaf), Some(fifo));
        if settled {
            assert_eq!(engine.next_wake(now), Wake::Now);
        }
        engine.commit_burst(&counted(1), TINY);
        assert_eq!(engine.snapshot()[0].stats.sent.frames, 0);
    }
    assert_eq!(engine.commit(TINY).map(|frame| frame.token), Some(1));
}

#[test]
fn a_burst_beyond_its_room_becomes_debt() {
    let (mut engine, [hold, _], now) = two();
    assert!(engine.backlogged(hold, now));
    assert!(engine.peek(now).is_some());
    engine.commit_burst(&counted(1_000_000), TINY);
    // 84 MB of 100 Mbit/s, less a burst of 2 ms.
    let Wake::At(at) = engine.next_wake(now) else {
        panic!("the ceiling is open");
    };
    let seconds = at.since(now).ticks() >> 32;
    assert!(
        (6_700_000_000..6_720_000_000).contains(&seconds),
        "{seconds}"
    );
}
