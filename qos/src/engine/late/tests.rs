//! A grant stands whatever else is asked while its frame is on its way.

use super::*;
use crate::class::{ClassConfig, ClassId, FlowsConfig, LeafQueue, Removed, TreeConfig};
use crate::engine::{Ecn, Hold, Offer, Wake};
use crate::time::{Span, Time};
use crate::units::Rate;

const ROOT: ClassId = ClassId::new(1, 0);
const GUEST: ClassId = ClassId::new(2, 0);
const FULL: FrameShape = FrameShape::single(1514);
const WIRE: u64 = 1538;

fn rate(text: &str) -> Rate {
    text.parse().unwrap()
}

fn at(nanos: u64) -> Time {
    Time::from_nanos(nanos)
}

fn id(minor: u16) -> ClassId {
    ClassId::new(1, minor)
}

fn fifo(minor: u16) -> ClassConfig {
    let queue = LeafQueue::Fifo { frames: 8 };
    ClassConfig::new(id(minor)).parent(GUEST).queue(queue)
}

fn hold(minor: u16) -> ClassConfig {
    ClassConfig::new(id(minor)).parent(GUEST)
}

/// Below root and guest.
fn tree(leaves: Vec<ClassConfig>) -> TreeConfig {
    let root = ClassConfig::new(ROOT).ceil(rate("1gbit"));
    let guest = ClassConfig::new(GUEST).parent(ROOT).ceil(rate("500mbit"));
    TreeConfig::new([vec![root, guest], leaves].concat())
}

fn dropping(leaves: Vec<ClassConfig>) -> TreeConfig {
    TreeConfig {
        removed: Removed::Drop,
        ..tree(leaves)
    }
}

fn engine(leaves: Vec<ClassConfig>) -> Engine {
    Engine::new(&tree(leaves)).unwrap()
}

fn offer(engine: &mut Engine, minor: u16, token: u64, now: Time) {
    let key = engine.leaf(id(minor)).unwrap();
    let frame = Frame::new(token, FULL);
    assert_eq!(engine.offer(key, frame, now), Offer::Queued);
}

/// Frames offered, sent, dropped and queued, of the tree.
fn books(engine: &mut Engine) -> [u64; 4] {
    let root = engine.snapshot()[0];
    let stats = root.stats;
    let counters = [stats.offered, stats.sent, stats.dropped].map(|counter| counter.frames);
    [counters[0], counters[1], counters[2], root.queued]
}

/// When a class's ceiling would have been used up exactly.
fn arrival(engine: &Engine, class: ClassId) -> u128 {
    engine.class(engine.index[&class]).ceil
}

fn ceil_time(text: &str, bytes: u64) -> u128 {
    rate(text).inverse().cost(bytes).ticks()
}

#[test]
fn an_offer_to_an_idle_leaf_leaves_a_grant_as_it_was() {
    let mut engine = engine(vec![fifo(1), fifo(2)]);
    let now = at(1000);
    offer(&mut engine, 1, 1, now);
    let grant = engine.peek(now).unwrap();
    offer(&mut engine, 2, 2, now);
    assert_eq!(engine.commit(FULL), grant.frame);
    assert_eq!(grant.frame.map(|frame| frame.token), Some(1));
    assert_eq!(engine.commit(FULL), None, "once");
    assert_eq!(books(&mut engine), [2, 1, 0, 1]);
    let start = ticks(now);
    let charged = arrival(&engine, GUEST);
    assert_eq!(charged, start + ceil_time("500mbit", WIRE));
    assert_eq!(arrival(&engine, ROOT), start + ceil_time("1gbit", WIRE));
}

type Call = fn(&mut Engine, Time);

/// All other calls but those that name or send a frame.
const CALLS: [Call; 8] = [
    |engine, now| offer(engine, 2, 20, now),
    |engine, now| {
        let key = engine.leaf(id(3)).unwrap();
        assert!(engine.backlogged(key, now));
    },
    |engine, now| {
        let key = engine.leaf(id(4)).unwrap();
        assert!(engine.unblock(key, now));
    },
    |engine, now| _ = engine.next_wake(now),
    |engine, _| _ = engine.snapshot(),
    |engine, now| {
        let tree = tree(vec![fifo(1), fifo(2), hold(3), fifo(4), hold(5)]);
        engine.apply(&tree, now).unwrap();
    },
    |engine, now| engine.retune(&fifo(1).weight(7), now).unwrap(),
    |engine, now| offer(engine, 1, 10, now),
];

/// Leaf 1 has some frames, 4 is blocked, all else is idle.
fn waiting(frames: u64, now: Time) -> Engine {
    let mut engine = engine(vec![fifo(1), fifo(2), hold(3), fifo(4)]);
    offer(&mut engine, 4, 4, now);
    assert!(engine.peek(now).is_some());
    engine.abort(Hold::Blocked);
    for token in 0..frames {
        offer(&mut engine, 1, token, now);
    }
    engine
}

#[test]
fn no_other_call_ends_a_grant() {
    let (now, later) = (at(1_000_000), at(1_500_000));
    for one in CALLS {
        for other in CALLS {
            // The first frame of a visit, and one behind others of the same.
            for before in 0..2_u64 {
                let mut engine = waiting(before + 1, now);
                for _ in 0..before {
                    assert!(engine.peek(now).is_some());
                    assert!(engine.commit(FULL).is_some());
                }
                let sent = books(&mut engine)[1];
                let grant = engine.peek(now).unwrap();
                one(&mut engine, now);
                other(&mut engine, later);
                assert_eq!(engine.commit(FULL), grant.frame);
                let [offered, all, dropped, queued] = books(&mut engine);
                assert_eq!((all, dropped), (sent + 1, 0));
                assert_eq!(offered, all + queued);
                let mut rest = 0;
                while engine.peek(later).is_some_and(|next| next.frame.is_some()) {
                    assert!(engine.commit(FULL).is_some());
                    rest += 1;
                }
                assert!(rest <= queued, "what waited is served, and nothing twice");
            }
        }
    }
}

#[test]
fn a_grant_can_be_held_back_late() {
    let now = at(1_000_000);
    for call in CALLS {
        let mut engine = waiting(1, now);
        let leaf = engine.peek(now).unwrap().leaf;
        call(&mut engine, now);
        engine.abort(Hold::Blocked);
        let state = engine.class(leaf.index).state;
        assert_eq!(state, State::Blocked);
        assert_eq!(engine.commit(FULL), None);
        assert!(engine.unblock(leaf, now));
        assert!(engine.class(leaf.index).state.may_send());
    }
    let mut engine = engine(vec![hold(1), fifo(2)]);
    let key = engine.leaf(id(1)).unwrap();
    assert!(engine.backlogged(key, now));
    assert!(engine.peek(now).is_some());
    offer(&mut engine, 2, 1, now);
    engine.abort(Hold::Empty);
    assert_eq!(engine.class(key.index).state, State::Idle);
    assert_eq!(
        engine.peek(now).and_then(|grant| grant.frame),
        Some(Frame::new(1, FULL))
    );
}

#[test]
fn a_leaf_that_its_own_frames_closed_meanwhile_goes_into_debt() {
    let mut class = fifo(1).ceil(rate("8mbit"));
    class.cburst = crate::units::Burst::Bytes(2 * WIRE);
    let mut engine = engine(vec![class, fifo(2)]);
    let now = at(1_000_000);
    (0..4).for_each(|token| offer(&mut engine, 1, token, now));
    // A full bucket is open for three frames, one visit each.
    for token in 0..3 {
        let grant = engine.peek(now).unwrap();
        assert_eq!(grant.frame.unwrap().token, token);
        if token == 2 {
            offer(&mut engine, 2, 9, now);
        }
        assert_eq!(engine.commit(FULL), grant.frame);
    }
    let key = engine.leaf(id(1)).unwrap();
    assert_eq!(engine.class(key.index).state, State::Throttled);
    assert!(
        engine
            .peek(now)
            .is_some_and(|grant| grant.frame.unwrap().token == 9)
    );
    assert!(engine.commit(FULL).is_some());
    // A frame of debt, at a microsecond per byte.
    let Wake::At(wake) = engine.next_wake(now) else {
        panic!("a wake");
    };
    let open = now.saturating_add(Span::from_nanos(WIRE * 1000));
    assert!(wake >= open && wake.since(open) <= Span::from_nanos(1024));
}

#[test]
fn late_frames_count_for_fairness() {
    // Every frame of leaf 1 is committed late, those of leaf 2 at once.
    let mut engine = engine(vec![hold(1), hold(2), hold(3)]);
    let keys = [1, 2, 3].map(|minor| engine.leaf(id(minor)).unwrap());
    let mut now = at(1_000_000);
    let mut sent = [0_u64; 2];
    for key in &keys[..2] {
        assert!(engine.backlogged(*key, now));
    }
    for _ in 0..4000 {
        let Some(grant) = engine.peek(now) else {
            if let Wake::At(wake) = engine.next_wake(now) {
                now = wake;
            }
            continue;
        };
        if grant.leaf == keys[2] {
            engine.abort(Hold::Empty);
            continue;
        }
        let leaf = usize::from(grant.leaf == keys[1]);
        if leaf == 0 {
            assert!(engine.backlogged(keys[2], now));
        }
        engine.commit(FULL);
        sent[leaf] += 1;
    }
    assert!(sent[0].abs_diff(sent[1]) <= 2 * 16, "{sent:?}");
}

#[test]
fn a_frame_that_its_queue_lost_is_charged_and_counted_once() {
    let now = at(1000);
    // The leaf is gone with its frames; or waits with the caller from now on.
    for after in [dropping(vec![fifo(2)]), tree(vec![hold(1), fifo(2)])] {
        let mut engine = engine(vec![fifo(1), fifo(2)]);
        offer(&mut engine, 1, 1, now);
        assert!(engine.peek(now).is_some());
        let diff = engine.apply(&after, now).unwrap();
        assert_eq!(diff.dropped, [1]);
        let before = arrival(&engine, GUEST);
        assert_eq!(engine.commit(FULL), None, "it was given back");
        assert_eq!(books(&mut engine), [1, 0, 1, 0]);
        let charged = ticks(now) + ceil_time("500mbit", WIRE);
        assert!(before < charged && arrival(&engine, GUEST) == charged);
        assert_eq!(engine.next_wake(now), Wake::Idle);
    }
}

#[test]
fn a_frame_of_a_leaf_that_drains_goes_as_ever() {
    let now = at(1000);
    let mut engine = engine(vec![fifo(1), fifo(2)]);
    offer(&mut engine, 1, 1, now);
    let grant = engine.peek(now).unwrap();
    assert_eq!(engine.apply(&tree(vec![fifo(2)]), now).unwrap().draining, 1);
    assert_eq!(engine.commit(FULL), grant.frame);
    assert_eq!(books(&mut engine), [1, 1, 0, 0]);
}

#[test]
fn a_frame_of_a_caller_whose_leaf_has_ended_is_charged_above() {
    let now = at(1000);
    let mut engine = engine(vec![hold(1), fifo(2)]);
    let key = engine.leaf(id(1)).unwrap();
    assert!(engine.backlogged(key, now));
    assert!(engine.peek(now).is_some());
    engine.apply(&tree(vec![fifo(2)]), now).unwrap();
    assert_eq!(engine.commit(FULL), None);
    assert_eq!(books(&mut engine), [0, 1, 0, 0]);
    let charged = ticks(now) + ceil_time("500mbit", WIRE);
    assert_eq!(arrival(&engine, GUEST), charged);
    // The whole tree is another: nothing is left to be charged.
    let mut engine = self::engine(vec![hold(1)]);
    let key = engine.leaf(id(1)).unwrap();
    assert!(engine.backlogged(key, now));
    assert!(engine.peek(now).is_some());
    let other = TreeConfig::new(vec![ClassConfig::new(ClassId::new(9, 0))]);
    engine.apply(&other, now).unwrap();
    assert_eq!(engine.commit(FULL), None);
    engine.abort(Hold::Blocked);
    assert_eq!(books(&mut engine), [0; 4]);
}

#[test]
fn a_caller_s_frame_does_not_take_one_of_a_queue_that_came_since() {
    let now = at(1000);
    let mut engine = engine(vec![hold(1)]);
    let key = engine.leaf(id(1)).unwrap();
    assert!(engine.backlogged(key, now));
    assert!(engine.peek(now).is_some());
    engine.apply(&tree(vec![fifo(1)]), now).unwrap();
    offer(&mut engine, 1, 5, now);
    assert_eq!(engine.commit(FULL), None);
    assert_eq!(books(&mut engine), [1, 1, 0, 1]);
    assert!(
        engine
            .peek(now)
            .is_some_and(|grant| grant.frame.unwrap().token == 5)
    );
}

#[test]
fn a_grant_of_flows_keeps_its_frame_from_being_dropped() {
    let flows = FlowsConfig {
        frames: 4,
        buckets: 2,
        ..FlowsConfig::default()
    };
    let leaf = fifo(1).queue(LeafQueue::Flows(flows));
    let mut engine = engine(vec![leaf, fifo(2)]);
    let key = engine.leaf(id(1)).unwrap();
    let now = at(1000);
    let mut frames = (0..).map(|token| Frame::new(token, FULL).ecn(Ecn::NotEct));
    assert_eq!(
        engine.offer(key, frames.next().unwrap(), now),
        Offer::Queued
    );
    let grant = engine.peek(now).unwrap();
    offer(&mut engine, 2, 1000, now);
    // A second later CoDel would have it, and room is short.
    for (frame, step) in frames.take(20).zip(1..) {
        let now = at(1_000_000_000 + step);
        assert_eq!(engine.offer(key, frame, now), Offer::Queued);
        while let Some(lost) = engine.dropped() {
            assert_ne!(Some(lost), grant.frame);
        }
    }
    assert_eq!(engine.commit(FULL), grant.frame);
    let [offered, sent, dropped, queued] = books(&mut engine);
    assert_eq!((offered, sent), (22, 1));
    assert_eq!(offered, sent + dropped + queued);
}

#[test]
fn peeking_and_polling_take_the_place_of_a_grant() {
    let now = at(1000);
    let mut engine = engine(vec![fifo(1), fifo(2)]);
    offer(&mut engine, 1, 1, now);
    assert!(engine.peek(now).is_some());
    offer(&mut engine, 2, 2, now);
    let grant = engine.peek(now).unwrap();
    assert_eq!(engine.commit(FULL), grant.frame);
    assert!(engine.peek(now).is_some());
    let mut out = Vec::new();
    engine.poll(now, 1, &mut out);
    assert_eq!((out.len(), engine.commit(FULL)), (1, None));
    assert_eq!(books(&mut engine), [2, 2, 0, 0]);
}
