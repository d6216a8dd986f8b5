use super::*;
use crate::class::{ClassConfig, LeafQueue, Removed};
use crate::units::Rate;
use crate::wire::FrameShape;

const ROOT: ClassId = ClassId::new(1, 0);
const FULL: FrameShape = FrameShape::single(1514);

fn rate(text: &str) -> Rate {
    text.parse().unwrap()
}

fn at(nanos: u64) -> Time {
    Time::from_nanos(nanos)
}

fn leaf(minor: u16) -> ClassConfig {
    ClassConfig::new(ClassId::new(1, minor)).parent(ROOT)
}

fn queued(minor: u16) -> ClassConfig {
    leaf(minor).queue(LeafQueue::Fifo { frames: 4 })
}

fn tree(children: Vec<ClassConfig>) -> TreeConfig {
    let root = ClassConfig::new(ROOT).ceil(rate("1gbit"));
    TreeConfig::new([vec![root], children].concat())
}

fn key(engine: &Engine, minor: u16) -> LeafKey {
    engine.leaf(ClassId::new(1, minor)).unwrap()
}

fn state(engine: &mut Engine, minor: u16) -> State {
    let id = ClassId::new(1, minor);
    let class = engine.snapshot().into_iter().find(|class| class.id == id);
    class.unwrap().state
}

#[test]
fn an_idle_class_takes_at_most_192_bytes() {
    // Among few siblings its tags are apart, and those siblings share a queue: a kilobyte for twelve.
    let bytes = size_of::<Class>() + size_of::<Arrival>() + Wheel::ENTRY_BYTES;
    assert!(bytes <= 192, "{bytes}");
}

#[test]
fn a_class_passes_through_every_state() {
    let class = leaf(1).rate(rate("10mbit")).ceil(rate("20mbit"));
    let mut engine = Engine::new(&tree(vec![class])).unwrap();
    let key = key(&engine, 1);
    assert_eq!(state(&mut engine, 1), State::Idle);
    assert!(engine.backlogged(key, at(0)));
    assert_eq!(state(&mut engine, 1), State::Green);
    while state(&mut engine, 1) == State::Green {
        assert!(engine.peek(at(0)).is_some());
        engine.commit(FULL);
    }
    assert_eq!(state(&mut engine, 1), State::Excess);
    while engine.peek(at(0)).is_some() {
        engine.commit(FULL);
    }
    assert_eq!(state(&mut engine, 1), State::Throttled);
    let Wake::At(wake) = engine.next_wake(at(0)) else {
        panic!("throttled, and no wake");
    };
    assert!(engine.peek(wake).is_some());
    engine.abort(Hold::Blocked);
    assert_eq!(state(&mut engine, 1), State::Blocked);
    assert_eq!(engine.next_wake(wake), Wake::Idle);
    assert!(engine.unblock(key, wake));
    assert!(engine.peek(wake).is_some());
    engine.abort(Hold::Empty);
    assert_eq!(state(&mut engine, 1), State::Idle);
}

#[test]
fn a_frame_held_back_is_charged_nothing_and_goes_next_time() {
    let mut engine = Engine::new(&tree(vec![queued(1)])).unwrap();
    let frame = Frame::new(77, FULL);
    assert_eq!(engine.offer(key(&engine, 1), frame, at(0)), Offer::Queued);
    for _ in 0..100 {
        assert_eq!(
            engine.peek(at(0)).and_then(|grant| grant.frame),
            Some(frame)
        );
        engine.abort(Hold::Later);
    }
    assert_eq!(engine.snapshot()[0].stats.sent.frames, 0);
    assert!(engine.peek(at(0)).is_some());
    assert_eq!(engine.commit(FULL), Some(frame));
    assert_eq!(engine.commit(FULL), None, "nothing was granted");
    assert_eq!(engine.snapshot()[0].stats.sent.frames, 1);
    assert_eq!(engine.peek(at(0)), None);
}

#[test]
fn a_peeled_frame_stays_at_the_head_until_its_last_part() {
    let mut class = queued(1);
    class.quantum = Some(5 * 1538);
    let mut engine = Engine::new(&tree(vec![class])).unwrap();
    let shape = FrameShape {
        len: 66 + 12 * 1448,
        headers: 66,
        gso_size: 1448,
    };
    let frame = Frame::new(5, shape);
    assert_eq!(engine.offer(key(&engine, 1), frame, at(0)), Offer::Queued);
    let mut parts = Vec::new();
    while let Some(grant) = engine.peek(at(0)) {
        let head = grant.frame.unwrap().shape;
        let segments = grant.segments(head);
        parts.push(segments);
        let part = head.peel(segments).map_or(head, |(part, _)| part);
        assert_eq!(engine.commit(part).is_some(), part == head);
    }
    assert_eq!(parts, [5, 5, 2]);
    let stats = engine.snapshot()[0].stats;
    assert_eq!(stats.sent.segments, 12);
    assert_eq!(stats.sent.wire_bytes, stats.offered.wire_bytes);
}

#[test]
fn a_full_queue_and_a_full_pool_refuse() {
    let small = TreeConfig {
        frames: 6,
        ..tree(vec![queued(1), queued(2), leaf(3)])
    };
    let mut engine = Engine::new(&small).unwrap();
    let frame = Frame::new(0, FULL);
    let mut taken = [0; 3];
    for (taken, minor) in taken.iter_mut().zip(1..) {
        let key = key(&engine, minor);
        *taken = (0..5)
            .filter(|_| engine.offer(key, frame, at(0)) == Offer::Queued)
            .count();
    }
    assert_eq!(taken, [4, 2, 0]);
    assert_eq!(engine.snapshot()[0].stats.refused, 9);
}

#[test]
fn apply_tells_what_it_did_and_keeps_what_stays() {
    let before = tree(vec![queued(1), queued(2), queued(3), leaf(4)]);
    let mut engine = Engine::new(&before).unwrap();
    let keys: Vec<LeafKey> = (1..5).map(|minor| key(&engine, minor)).collect();
    for (token, &key) in (0..).zip(&keys[..3]) {
        let frame = Frame::new(token, FULL);
        assert_eq!(engine.offer(key, frame, at(0)), Offer::Queued);
    }
    let moved = queued(3).parent(ClassId::new(1, 5));
    let after = TreeConfig {
        removed: Removed::Drop,
        ..tree(vec![
            queued(1),
            leaf(4).ceil(rate("1mbit")),
            leaf(5),
            moved,
            leaf(6),
        ])
    };
    let diff = engine.apply(&after, at(1000)).unwrap();
    let want = Diff {
        added: 2,
        kept: 2,
        retuned: 1,
        moved: 1,
        removed: 1,
        draining: 0,
        dropped: vec![1],
    };
    assert_eq!(diff, want);
    assert_eq!(key(&engine, 1), keys[0]);
    assert!(
        !engine.backlogged(keys[1], at(1000)),
        "a removed leaf's key is dead"
    );
    let frame = Frame::new(9, FULL);
    assert_eq!(engine.offer(keys[1], frame, at(1000)), Offer::Gone);
    let mut sent = Vec::new();
    while let Some(grant) = engine.peek(at(1000)) {
        sent.push(grant.frame.unwrap().token);
        engine.commit(FULL);
    }
    assert_eq!(sent, [0, 2]);
    let root = engine.snapshot()[0].stats;
    assert_eq!(
        (root.offered.frames, root.sent.frames, root.dropped.frames),
        (3, 2, 1)
    );
}

#[test]
fn a_leaf_that_is_gone_drains_within_its_limits_and_takes_no_more() {
    let guest = |minor| ClassConfig::new(ClassId::new(2, minor)).parent(ROOT);
    let slow = queued(1).parent(ClassId::new(2, 1)).ceil(rate("10mbit"));
    let before = tree(vec![guest(1), slow, queued(2)]);
    let mut engine = Engine::new(&before).unwrap();
    let (gone, stays) = (key(&engine, 1), key(&engine, 2));
    for token in 0..4 {
        let frame = Frame::new(token, FULL);
        assert_eq!(engine.offer(gone, frame, at(0)), Offer::Queued);
    }
    let after = tree(vec![queued(2)]);
    let diff = engine.apply(&after, at(1000)).unwrap();
    assert_eq!((diff.removed, diff.draining, diff.kept), (2, 1, 2));
    assert_eq!(engine.leaf(ClassId::new(1, 1)), None);
    let more = Frame::new(9, FULL);
    assert_eq!(engine.offer(gone, more, at(1000)), Offer::Gone);
    assert_eq!(engine.offer(stays, more, at(1000)), Offer::Queued);
    assert_eq!(engine.snapshot()[0].queued, 5);
    // What it sent is still the same; 10 Mbit/s is a frame in 1.23 ms, and the burst two.
    let mut out = Vec::new();
    let mut now = at(1000);
    while let Wake::At(wake) = engine.poll(now, 100, &mut out) {
        now = wake;
    }
    assert_eq!(out.iter().filter(|sent| sent.leaf == gone).count(), 4);
    assert!(now > at(1_500_000), "{now:?}");
    let diff = engine.apply(&after, now).unwrap();
    assert_eq!((diff.removed, diff.draining, diff.kept), (0, 0, 2));
    assert_eq!(engine.snapshot()[0].stats.sent.frames, 5);
    assert_eq!(engine.snapshot().len(), 2);
}

#[test]
fn polling_sends_what_peeking_and_committing_sends() {
    let classes = (1..8).map(|minor| {
        let class = queued(minor).rate(rate("20mbit"));
        if minor % 2 == 0 {
            class.ceil(rate("60mbit"))
        } else {
            class
        }
    });
    let config = tree(classes.collect());
    let (mut one, mut other) = (Engine::new(&config).unwrap(), Engine::new(&config).unwrap());
    let big = FrameShape {
        len: 66 + 40 * 1448,
        headers: 66,
        gso_size: 1448,
    };
    let mut now = at(0);
    let mut polled = Vec::new();
    let mut peeked = Vec::new();
    let shapes = [FULL, big, FrameShape::single(60)];
    for round in 0..200_u64 {
        for (minor, &shape) in (1..8).zip(shapes.iter().cycle()) {
            let frame = Frame::new(round, shape);
            let leaf = key(&one, minor);
            assert_eq!(one.offer(leaf, frame, now), other.offer(leaf, frame, now));
        }
        one.poll(now, u32::MAX, &mut polled);
        while let Some(grant) = other.peek(now) {
            let head = grant.frame.unwrap();
            let part = head.shape.peel(grant.segments(head.shape));
            let part = part.map_or(head.shape, |(part, _)| part);
            let last = other.commit(part).is_some();
            peeked.push((grant.leaf, head.token, part, last));
        }
        assert_eq!(one.next_wake(now), other.next_wake(now));
        now = now.saturating_add(crate::time::Span::from_nanos(300_000));
    }
    let polled: Vec<_> = polled
        .iter()
        .map(|d| (d.leaf, d.token, d.shape, d.is_last()))
        .collect();
    assert!(polled.len() > 2000);
    assert_eq!(polled, peeked);
    assert_eq!(one.snapshot(), other.snapshot());
}

#[test]
fn applying_the_same_tree_again_and_again_changes_no_rate() {
    let config = tree(vec![
        leaf(1).ceil(rate("10mbit")),
        leaf(2).ceil(rate("5mbit")),
    ]);
    let mut engine = Engine::new(&config).unwrap();
    for minor in 1..3 {
        engine.backlogged(key(&engine, minor), at(0));
    }
    let mut now = at(0);
    while now < at(1_000_000_000) {
        while engine.peek(now).is_some() {
            engine.commit(FULL);
        }
        let diff = engine.apply(&config, now).unwrap();
        assert_eq!((diff.kept, diff.retuned), (3, 0));
        let Wake::At(wake) = engine.next_wake(now) else {
            panic!("no wake");
        };
        now = wake;
    }
    let snapshot = engine.snapshot();
    let sent = |n: usize| snapshot[n].stats.sent.wire_bytes;
    assert!((1_250_000..1_257_000).contains(&sent(1)), "{}", sent(1));
    assert!((625_000..630_000).contains(&sent(2)), "{}", sent(2));
}

#[test]
fn a_hundred_thousand_throttled_classes_cost_one_wake_each() {
    let id = |n: u32| ClassId::new(3 + u16::try_from(n >> 15).unwrap(), (n & 0x7fff) as u16);
    let guest = |n| ClassId::new(2, u16::try_from(n).unwrap());
    let guests = (0..100).map(|n| ClassConfig::new(guest(n)).parent(ROOT));
    let leaves = (0..100_000).map(|n| {
        let class = ClassConfig::new(id(n)).parent(guest(n % 100));
        class.ceil(rate("12304"))
    });
    let root = ClassConfig::new(ROOT);
    let classes = std::iter::once(root).chain(guests).chain(leaves).collect();
    let mut engine = Engine::new(&TreeConfig::new(classes)).unwrap();
    let mut now = at(1 << 30);
    for n in 0..100_000 {
        let key = engine.leaf(id(n)).unwrap();
        engine.backlogged(key, now);
    }
    // A frame a second each; the burst is one frame.
    let end = at((1 << 30) + 5_500_000_000);
    let (mut polls, mut sent) = (0, 0);
    while now < end {
        polls += 1;
        while engine.peek(now).is_some() {
            engine.commit(FULL);
            sent += 1;
        }
        let Wake::At(wake) = engine.next_wake(now) else {
            panic!("no wake");
        };
        now = wake;
    }
    assert_eq!(sent, 7 * 100_000, "two at once, then five seconds");
    // At most a thousand and some timers a call: what is left is handled by the next one.
    let calls = 7 * 100_000 / EVENTS_PER_CALL + 20;
    assert!(
        polls <= calls,
        "{polls} polls for classes that all wake at once"
    );
}

#[test]
fn a_class_is_charged_in_its_own_framing_also_above_one_of_another() {
    use crate::wire::Framing;
    let with = |id, framing| {
        let mut class = ClassConfig::new(ClassId::new(1, id));
        class.framing = Some(framing);
        class
    };
    let odd = Framing {
        overhead: -100,
        mpu: 0,
    };
    let tree = TreeConfig::new(vec![
        with(0, Framing::L3).ceil(rate("8kbit")),
        with(1, odd).parent(ROOT),
        with(2, Framing::L3).parent(ClassId::new(1, 1)),
    ]);
    let mut engine = Engine::new(&tree).unwrap();
    let leaf = key(&engine, 2);
    let (mut now, end) = (at(1 << 40), at((1 << 40) + 100_000_000_000));
    let mut sent = 0;
    while now < end {
        engine.backlogged(leaf, now);
        while engine.peek(now).is_some() {
            engine.commit(FULL);
            sent += 1500;
        }
        let Wake::At(wake) = engine.next_wake(now) else {
            panic!("backlogged, and no wake");
        };
        now = wake;
    }
    // A hundred seconds of 1000 bytes, a burst of 1538 and a unit.
    assert!(sent <= 103_100, "{sent}");
}

#[test]
fn polling_leaves_frames_whole_that_must_be() {
    use crate::class::FlowsConfig;
    let flows = LeafQueue::Flows(FlowsConfig::default());
    for queue in [LeafQueue::Fifo { frames: 8 }, flows] {
        let root = ClassConfig::new(ROOT).ceil(rate("100mbit")).queue(queue);
        let mut engine = Engine::new(&TreeConfig::new(vec![root])).unwrap();
        let leaf = key(&engine, 0);
        let shape = FrameShape {
            len: 54 + 1448 * 4,
            headers: 54,
            gso_size: 1448,
        };
        let frame = Frame::new(1, shape).whole();
        assert_eq!(engine.offer(leaf, frame, at(1)), Offer::Queued);
        let mut out = Vec::new();
        engine.poll(at(1), 1, &mut out);
        assert_eq!((out[0].shape, out[0].is_last()), (shape, true));
    }
}
