//! T14: what must not matter does not: idle classes, the numbers of classes, the scale of rates and
//! time, how a batch is cut.
#![allow(clippy::unwrap_used)] // in helpers, too, a panic is a failed test

mod common;

use common::Rng;
use common::sim::{FULL, child, id, mixed, rate, tree};
use qos::{
    Burst, ClassConfig, ClassId, Engine, Frame, FrameShape, Framing, Hold, LeafKey, LeafQueue,
    Offer, Rate, Span, Time, TreeConfig, Wake,
};

/// Who sends in which order, for a fixed history on `tree`, by position of the leaf in `leaves`.
fn order(tree: &TreeConfig, leaves: &[ClassId]) -> Vec<usize> {
    let mut engine = Engine::new(tree).unwrap();
    let keys: Vec<LeafKey> = leaves.iter().map(|&id| engine.leaf(id).unwrap()).collect();
    let (mut rng, mut now) = (Rng(5), Time::from_nanos(1 << 30));
    let mut order = Vec::new();
    for _ in 0..3000 {
        for &key in &keys {
            if rng.below(4) == 0 {
                engine.backlogged(key, now);
            }
        }
        while let Some(grant) = engine.peek(now) {
            if rng.below(5) == 0 {
                engine.abort(Hold::Empty);
                continue;
            }
            engine.commit(mixed(&mut rng));
            order.push(keys.iter().position(|&key| key == grant.leaf).unwrap());
        }
        now = match engine.next_wake(now) {
            Wake::At(at) => at,
            _ => now.saturating_add(Span::from_nanos(100_000)),
        };
    }
    assert!(order.len() > 3000);
    order
}

/// Leaves `major:1..=6` below two guests, with rates so that nothing depends on the siblings' number,
/// and idle classes below the same guests and below one of their own.
fn guests(major: u16, siblings: u16, strangers: u32) -> (TreeConfig, Vec<ClassId>) {
    let inner = |minor, megabits: &str| {
        let class = ClassConfig::new(id(major, minor)).parent(id(1, 0));
        class.rate(rate(megabits))
    };
    let mut classes = vec![
        inner(100, "300mbit").ceil(rate("500mbit")),
        inner(50, "100mbit"),
    ];
    let mut leaves = Vec::new();
    for n in 1..=6 {
        let leaf = id(major, if major == 1 { n } else { 99 - n });
        let parent = id(major, if n % 2 == 0 { 100 } else { 50 });
        let class = ClassConfig::new(leaf).parent(parent).rate(rate("10mbit"));
        let prio = u8::try_from(n / 5).unwrap();
        classes.push(class.weight(u32::from(n)).prio(prio));
        leaves.push(leaf);
    }
    for n in 0..siblings {
        let parent = id(major, if n % 2 == 0 { 100 } else { 50 });
        classes.push(ClassConfig::new(id(77, n)).parent(parent).weight(9));
    }
    if strangers > 0 {
        classes.push(inner(101, "100mbit"));
    }
    for n in 0..strangers {
        let name = id(
            80 + u16::try_from(n / 50_000).unwrap(),
            u16::try_from(n % 50_000).unwrap(),
        );
        classes.push(ClassConfig::new(name).parent(id(major, 101)).weight(9));
    }
    (tree("1gbit", classes), leaves)
}

#[test]
fn new_numbers_of_the_classes_change_nobody_s_turn() {
    let (tree, leaves) = guests(1, 0, 0);
    let want = order(&tree, &leaves);
    let (tree, leaves) = guests(2, 0, 0);
    assert_eq!(order(&tree, &leaves), want);
}

#[test]
fn a_hundred_thousand_idle_classes_change_nobody_s_turn() {
    let (tree, leaves) = guests(1, 0, 0);
    let want = order(&tree, &leaves);
    let (tree, leaves) = guests(1, 0, 100_000);
    assert_eq!(order(&tree, &leaves), want);
}

#[test]
fn a_hundred_thousand_idle_siblings_change_nobody_s_turn() {
    // With more than a few children a parent groups them; from there on their number changes
    // nothing.
    let (tree, leaves) = guests(1, 100, 0);
    let want = order(&tree, &leaves);
    let (tree, leaves) = guests(1, 50_000, 50_000);
    assert_eq!(order(&tree, &leaves), want);
}

/// A tree whose every rate is `scale` times as fast. The rates are 125 * 2^n bit/s, so that neither
/// the time of a byte nor a weight made from a rate is rounded, and bursts and quanta are in bytes.
fn scaled(scale: u64, few: bool) -> (TreeConfig, Vec<ClassId>) {
    let rate = |log: u32| Rate::from_bits_per_second((125 << log) * scale).unwrap();
    let set = |mut class: ClassConfig, ceil: u32| {
        class.ceil = Some(rate(ceil));
        class.cburst = Burst::Bytes(4000);
        class.burst = Burst::Bytes(3000);
        class.quantum = Some(3000);
        class.weight = class.weight.or(Some(5));
        class
    };
    // From 262 down to 16.4 Mbit/s at scale 1.
    let root = set(ClassConfig::new(id(1, 0)).rate(rate(21)), 21);
    let guest = |minor: u16| child(minor).rate(rate(19)).weight(u32::from(minor));
    let mut classes = vec![root, set(guest(1), 20), set(guest(2), 21)];
    let mut leaves = Vec::new();
    for n in 0..if few { 6 } else { 40 } {
        let leaf = ClassConfig::new(id(2, n)).parent(id(1, 1 + n % 2));
        let leaf = leaf.weight(1 + u32::from(n)).prio(u8::from(n % 5 == 4));
        let leaf = if n < 4 { leaf.rate(rate(17)) } else { leaf };
        classes.push(set(leaf, if n % 3 == 0 { 18 } else { 20 }));
        leaves.push(id(2, n));
    }
    (TreeConfig::new(classes), leaves)
}

/// Who sends when, at polls every `grain` times so many nanoseconds: instants of this run over
/// `grain`, with the leaf and the bytes.
fn trace(tree: &TreeConfig, leaves: &[ClassId], grain: u64) -> Vec<(u64, usize, u64)> {
    let mut engine = Engine::new(tree).unwrap();
    let keys: Vec<LeafKey> = leaves.iter().map(|&id| engine.leaf(id).unwrap()).collect();
    let mut rng = Rng(12);
    let mut trace = Vec::new();
    for poll in (1000..).step_by(7).take(3000) {
        let now = Time::from_nanos(poll * grain);
        for &key in &keys {
            if rng.below(keys.len() as u64) < 2 {
                engine.backlogged(key, now);
            }
        }
        while let Some(grant) = engine.peek(now) {
            let leaf = keys.iter().position(|&key| key == grant.leaf).unwrap();
            if rng.below(6) == 0 {
                engine.abort(Hold::Empty);
                trace.push((poll, leaf, 0));
                continue;
            }
            let shape = FrameShape::single(60 + u32::try_from(rng.below(1455)).unwrap());
            engine.commit(shape);
            trace.push((poll, leaf, Framing::ETHERNET.cost(shape).wire_bytes));
        }
    }
    trace
}

#[test]
fn rates_times_k_and_time_over_k_give_the_same_turns() {
    // The engine's timers have a grain of 1024 ns, and polls are at multiples of it in every scale,
    // so that no event is late in one of them.
    let slowest = 1024 * 64;
    for few in [true, false] {
        let (tree, leaves) = scaled(1, few);
        let want = trace(&tree, &leaves, slowest);
        assert!(want.len() > 2000);
        // Virtual time is fixed-point: beyond, a group's slots may round one of two equals the other
        // way.
        for scale in if few { [2, 16, 64] } else { [2, 4, 16] } {
            let (tree, leaves) = scaled(scale, few);
            let got = trace(&tree, &leaves, slowest / scale);
            assert!(got == want, "scale {scale}, few {few}: other turns");
        }
    }
}

/// Bytes that every leaf has sent after each poll, where each batch is offered whole, or one of them in
/// two parts, of which the first is followed by so many peeks and a look at the tree.
fn batches(cut: Option<(usize, usize)>) -> Vec<Vec<u64>> {
    let queue = LeafQueue::Fifo { frames: 512 };
    let leaf = |minor: u16| {
        let mut class = child(minor).weight(u32::from(minor)).queue(queue);
        class.quantum = Some(6000);
        class
    };
    let mut engine = Engine::new(&tree("1gbit", (1..=5).map(leaf).collect())).unwrap();
    let keys: Vec<LeafKey> = (1..=5).map(|n| engine.leaf(id(1, n)).unwrap()).collect();
    let mut now = Time::from_nanos(1 << 30);
    let mut sent = vec![0; 5];
    let mut history = Vec::new();
    for batch in 0..400 {
        let parts = match cut {
            Some((at, peeks)) if at == batch => vec![(6, peeks), (6, usize::MAX)],
            _ => vec![(12, usize::MAX)],
        };
        for (frames, mut budget) in parts {
            for (&key, leaf) in keys.iter().zip(0..) {
                for _ in 0..frames {
                    let offer = engine.offer(key, Frame::new(leaf, FULL), now);
                    assert_ne!(offer, Offer::Gone);
                }
            }
            while budget > 0
                && let Some(grant) = engine.peek(now)
            {
                budget -= 1;
                let frame = grant.frame.unwrap();
                engine.commit(frame.shape);
                sent[usize::try_from(frame.token).unwrap()] += 1538;
            }
            // Brings the tree up to date.
            let _state = engine.snapshot();
        }
        history.push(sent.clone());
        now = now.saturating_add(Span::from_nanos(500_000));
    }
    history
}

#[test]
fn a_batch_cut_in_two_gives_everybody_the_same_bytes_within_a_quantum() {
    let whole = batches(None);
    assert!(whole.last().unwrap().iter().all(|&bytes| bytes > 100_000));
    for (peeks, batch) in (0..24).zip([0, 1, 50, 100, 291, 350].into_iter().cycle()) {
        let cut = batches(Some((batch, peeks)));
        for (poll, (whole, cut)) in whole.iter().zip(cut).enumerate() {
            for (leaf, (a, b)) in whole.iter().zip(cut).enumerate() {
                // A quantum of 6000 bytes is four whole frames.
                assert!(
                    a.abs_diff(b) <= 4 * 1538,
                    "batch {batch}, {peeks} peeks, {poll}, {leaf}: {a} {b}"
                );
            }
        }
    }
}
