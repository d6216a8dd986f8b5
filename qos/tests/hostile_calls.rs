//! Nothing that a caller or a clock does makes an engine panic, stall or give credit away: time that
//! stands or steps back, keys that are out of date, rates, weights and frames at their extremes.
#![allow(clippy::unwrap_used)] // in helpers, too, a panic is a failed test

mod common;

use common::sim::{FULL, child, id, mixed, rate, tree};
use common::{BYTE, Excess, Rng};
use qos::engine::Diff;
use qos::{
    Burst, ClassConfig, ClassId, Engine, FlowsConfig, Frame, FrameShape, Framing, Hold, LeafKey,
    LeafQueue, Offer, PacketBurst, Rate, Span, Time, TreeConfig, Wake,
};

fn flows() -> LeafQueue {
    LeafQueue::Flows(FlowsConfig {
        frames: 64,
        buckets: 8,
        ..FlowsConfig::default()
    })
}

/// A leaf of every kind, each with a ceiling of 10 Mbit/s and a burst of 4000 bytes.
fn of_every_kind() -> (TreeConfig, Vec<ClassId>) {
    let queues = [LeafQueue::Hold, LeafQueue::Fifo { frames: 64 }, flows()];
    let leaf = |(minor, queue)| {
        let mut class = child(minor)
            .ceil(rate("10mbit"))
            .rate(rate("1mbit"))
            .queue(queue);
        class.cburst = Burst::Bytes(4000);
        class
    };
    let classes: Vec<ClassConfig> = (1..).zip(queues).map(leaf).collect();
    let leaves = classes.iter().map(|class| class.id).collect();
    (tree("100mbit", classes), leaves)
}

#[test]
fn a_clock_that_stands_or_steps_back_never_mints_credit() {
    for seed in 0..40 {
        let mut rng = Rng(seed);
        let (config, leaves) = of_every_kind();
        let mut engine = Engine::new(&config).unwrap();
        let keys: Vec<LeafKey> = leaves.iter().map(|&id| engine.leaf(id).unwrap()).collect();
        let mut meters: Vec<Excess> = leaves.iter().map(|_| Excess::new(rate("10mbit"))).collect();
        let mut latest = Time::from_nanos(1 << 40);
        assert_eq!(engine.next_wake(latest), Wake::Idle);
        for _ in 0..400 {
            // Mostly back, by anything from nothing to all there is, and never beyond by much.
            let now = match rng.below(4) {
                0 => latest,
                1 => Time::ZERO,
                2 => latest.saturating_sub(Span::from_nanos(rng.bits() >> (rng.below(60) + 4))),
                _ => latest.saturating_add(Span::from_nanos(rng.below(1_500_000))),
            };
            latest = latest.max(now);
            for &key in &keys {
                if !engine.backlogged(key, now) {
                    let mut frame = Frame::new(0, mixed(&mut rng));
                    frame.flow = (rng.bits() >> 32) as u32;
                    assert_ne!(engine.offer(key, frame, now), Offer::Gone);
                }
            }
            while let Some(grant) = engine.peek(now) {
                let leaf = keys.iter().position(|&key| key == grant.leaf).unwrap();
                match rng.below(12) {
                    0 => engine.abort(Hold::Blocked),
                    1 => _ = engine.unblock(keys[0], now),
                    _ => {
                        let shape = grant.frame.map_or_else(|| mixed(&mut rng), |f| f.shape);
                        engine.commit(shape);
                        let wire = Framing::ETHERNET.cost(shape).wire_bytes;
                        // Whatever the caller says, no time has passed but what its latest says.
                        meters[leaf].sent(latest, wire);
                    }
                }
            }
            keys.iter().for_each(|&key| _ = engine.unblock(key, now));
            while engine.dropped().is_some() {}
            match engine.next_wake(now) {
                Wake::At(at) => assert!(at > latest, "a wake that has passed"),
                Wake::Now => assert!(engine.peek(now).is_some()),
                Wake::Idle => {}
            }
        }
        for meter in meters {
            assert!(
                meter.highest() > 4000 * BYTE,
                "the limit was put to the test"
            );
            assert!(
                meter.highest() <= (4000 + 70_000) * BYTE,
                "seed {seed}: minted"
            );
        }
    }
}

#[test]
fn calls_out_of_turn_and_keys_out_of_date_change_nothing() {
    let (config, leaves) = of_every_kind();
    let mut engine = Engine::new(&config).unwrap();
    let keys: Vec<LeafKey> = leaves.iter().map(|&id| engine.leaf(id).unwrap()).collect();
    let now = Time::from_nanos(1 << 30);
    let before = engine.snapshot();
    assert_eq!(engine.commit(FULL), None);
    engine.abort(Hold::Blocked);
    assert_eq!(engine.dropped(), None);
    assert!(engine.peek(now).is_none() && engine.unblock(keys[1], now));
    assert!(!engine.backlogged(keys[1], now), "it has a queue");
    assert_eq!(engine.snapshot(), before);
    // A leaf without a queue takes no frame; that is counted.
    assert_eq!(
        engine.offer(keys[0], Frame::new(1, FULL), now),
        Offer::Refused
    );
    assert_eq!(engine.snapshot()[1].stats.refused, 1);
    // Twice committed is once charged.
    assert_eq!(
        engine.offer(keys[1], Frame::new(2, FULL), now),
        Offer::Queued
    );
    assert!(engine.peek(now).is_some());
    assert_eq!(engine.commit(FULL).map(|frame| frame.token), Some(2));
    assert_eq!(engine.commit(FULL), None);
    assert_eq!(engine.snapshot()[0].stats.sent.frames, 1);
    // The leaves end, and others take their names: the old keys are nobody's.
    let alone = tree("100mbit", vec![child(9)]);
    assert_eq!(engine.apply(&alone, now).unwrap().removed, 3);
    let diff: Diff = engine.apply(&config, now).unwrap();
    assert_eq!((diff.added, diff.removed), (3, 1));
    for &key in &keys {
        assert!(!engine.backlogged(key, now) && !engine.unblock(key, now));
        assert_eq!(engine.offer(key, Frame::new(3, FULL), now), Offer::Gone);
    }
    assert!(engine.peek(now).is_none() && engine.next_wake(now) == Wake::Idle);
}

/// Frames from nothing to the longest there is, plain and cut as finely as can be.
fn extreme_shapes() -> Vec<FrameShape> {
    let mut shapes = Vec::new();
    for len in [0, 1, 60, 65_535, 1 << 24, u32::MAX] {
        for headers in [0, 54, u32::MAX] {
            for gso_size in [0, 1, 1448, u32::MAX] {
                shapes.push(FrameShape {
                    len,
                    headers,
                    gso_size,
                });
            }
        }
    }
    shapes
}

#[test]
fn extreme_rates_weights_and_frames_neither_panic_nor_stall() {
    let (slow, fast) = (Rate::MIN, Rate::MAX);
    for link in [slow, fast] {
        for leaf_rate in [slow, fast].into_iter().filter(|&rate| rate <= link) {
            for count in [2_u16, 20] {
                let leaf = |minor: u16| {
                    let mut class = child(minor).ceil(leaf_rate);
                    class.weight = Some([1, u32::MAX][usize::from(minor % 2)]);
                    class.quantum = [None, Some(1), Some(u32::MAX)][usize::from(minor % 3)];
                    class.pps = ["1pps".parse().ok(), "1000gpps".parse().ok(), None]
                        [usize::from(minor / 2 % 3)];
                    let queues = [LeafQueue::Fifo { frames: 8 }, flows(), LeafQueue::Hold];
                    class.queue(queues[usize::from(minor % 3)])
                };
                let mut classes: Vec<ClassConfig> = (1..=count).map(leaf).collect();
                classes[0].rate = Some(leaf_rate.min(Rate::MIN));
                let root = ClassConfig::new(id(1, 0)).rate(link).ceil(link);
                let config = TreeConfig::new([vec![root], classes].concat());
                for segment_nanos in [None, Some(1), Some(1_000_000_000)] {
                    run_extremes(&TreeConfig {
                        segment_nanos,
                        ..config.clone()
                    });
                }
            }
        }
    }
}

/// Offers every shape to every leaf, and goes from wake to wake until all is sent or the clock ends.
fn run_extremes(config: &TreeConfig) {
    let mut engine = Engine::new(config).unwrap();
    let leaves = config
        .classes
        .iter()
        .filter_map(|class| engine.leaf(class.id));
    let leaves: Vec<LeafKey> = leaves.collect();
    let shapes = extreme_shapes();
    let mut now = Time::from_nanos(1);
    let (mut sent, mut offered) = (0, shapes.iter().cycle());
    for _ in 0..40 {
        for (&leaf, &shape) in leaves.iter().zip(offered.by_ref()) {
            if !engine.backlogged(leaf, now) {
                let _queued = engine.offer(leaf, Frame::new(0, shape), now);
            }
        }
        // An unlimited number may go at once only of what is endless.
        for (_, &shape) in (0..50).zip(offered.by_ref()) {
            let Some(grant) = engine.peek(now) else { break };
            let whole = grant.frame.map_or(shape, |frame| frame.shape);
            assert!(grant.segments(whole) >= 1);
            let part = whole.peel(grant.segments(whole)).filter(|_| sent % 2 == 0);
            engine.commit(part.map_or(whole, |(part, _)| part));
            sent += 1;
        }
        while engine.dropped().is_some() {}
        let _state = engine.snapshot();
        match engine.next_wake(now) {
            Wake::At(at) => {
                assert!(at > now, "a wake that has passed");
                now = at;
                if at.as_nanos() < u64::MAX {
                    assert!(engine.peek(at).is_some(), "a wake at which nothing goes");
                }
            }
            Wake::Now | Wake::Idle => {}
        }
        if now.as_nanos() == u64::MAX {
            break;
        }
    }
    assert!(sent > 0);
    engine.apply(config, Time::MAX).unwrap();
    assert!(engine.next_wake(Time::ZERO) != Wake::At(Time::ZERO));
}

#[test]
fn a_limit_with_a_burst_of_centuries_gives_nothing_away_when_it_is_new() {
    let without = tree("100mbit", vec![child(1)]);
    let mut with = without.clone();
    with.classes[1].pps = "1pps".parse().ok();
    with.classes[1].pps_burst = PacketBurst::Segments(1 << 40);
    let mut engine = Engine::new(&without).unwrap();
    let leaf = engine.leaf(id(1, 1)).unwrap();
    let now = Time::from_nanos(1_000_000_000_000);
    for (class, burst) in [(1, 1 << 40), (1, u64::MAX), (0, 1 << 40)] {
        with.classes[class].pps = "1pps".parse().ok();
        with.classes[class].pps_burst = PacketBurst::Segments(burst);
        engine.apply(&without, now).unwrap();
        engine.apply(&with, now).unwrap();
        assert!(engine.backlogged(leaf, now));
        let mut sent = 0;
        while sent < 10 && engine.peek(now).is_some() {
            engine.commit(FULL);
            sent += 1;
        }
        assert_eq!(sent, 1);
    }
}
