//! Leaves of one parent that follow each other are charged to those above together. Nobody may notice
//! but by the time it takes.
#![allow(clippy::unwrap_used)] // in helpers, too, a panic is a failed test

mod common;

use std::collections::BTreeMap;

use common::sim::{FULL, SUPER, TINY, child, id, rate, tree};
use common::{BYTE, Excess, Rng};
use qos::engine::State;
use qos::{
    Burst, ClassConfig, ClassId, Engine, Frame, Framing, Hold, LeafKey, LeafQueue, Offer, Span,
    Time, TreeConfig, Wake,
};

/// Guests with so many leaves each.
fn guests(count: u16, leaves: u16, set: impl Fn(u16, &mut ClassConfig)) -> TreeConfig {
    let queue = LeafQueue::Fifo { frames: 64 };
    let mut classes = Vec::new();
    for guest in 1..=count {
        let share = rate("900mbit").bits_per_second() / u64::from(count);
        let mut class = child(guest);
        class.rate = qos::Rate::from_bits_per_second(share);
        set(0, &mut class);
        classes.push(class);
        for leaf in 1..=leaves {
            let class = ClassConfig::new(id(1 + guest, leaf)).parent(id(1, guest));
            let mut class = class.queue(queue);
            set(leaf, &mut class);
            classes.push(class);
        }
    }
    TreeConfig {
        frames: 1 << 16,
        ..tree("1gbit", classes)
    }
}

fn leaves(tree: &TreeConfig, engine: &Engine) -> Vec<(ClassId, LeafKey)> {
    let ids = tree.classes.iter().map(|class| class.id);
    ids.filter_map(|id| Some((id, engine.leaf(id)?))).collect()
}

/// Of all kinds: guaranteed and not, limited and not, of other priority and other quantum.
fn motley(leaf: u16, class: &mut ClassConfig) {
    class.rate = class.rate.filter(|_| leaf == 0);
    match leaf % 6 {
        0 if leaf > 0 => class.prio = 1,
        0 => class.ceil = Some(rate("600mbit")),
        1 => class.rate = Some(rate("2mbit")),
        2 => class.ceil = Some(rate("20mbit")),
        3 => class.quantum = Some(9000),
        4 => class.weight = Some(7),
        _ => class.cburst = Burst::Auto,
    }
}

/// Feeds two engines alike and takes frames out of one by the burst, out of the other one by one.
fn assert_polls_as_it_peeks(config: &TreeConfig, seed: u64) {
    let mut one = Engine::new(config).unwrap();
    let mut other = Engine::new(config).unwrap();
    let keys = leaves(config, &one);
    let mut rng = Rng(seed);
    let mut now = Time::from_nanos(1 << 30);
    let (mut polled, mut peeked) = (Vec::new(), Vec::new());
    for round in 0..60 {
        for n in 0..rng.below(2 * keys.len() as u64) {
            let (_, key) = keys[usize::try_from(rng.below(keys.len() as u64)).unwrap()];
            let shape = [TINY, TINY, TINY, FULL, FULL, SUPER];
            let shape = shape[usize::try_from(rng.below(6)).unwrap()];
            let frame = Frame::new(round * 10_000 + n, shape);
            assert_eq!(one.offer(key, frame, now), other.offer(key, frame, now));
        }
        one.poll(now, u32::MAX, &mut polled);
        while let Some(grant) = other.peek(now) {
            let head = grant.frame.unwrap();
            let part = head.shape.peel(grant.segments(head.shape));
            let part = part.map_or(head.shape, |(part, _)| part);
            let last = other.commit(part).is_some();
            peeked.push((grant.leaf, head.token, part, last));
        }
        let wake = one.next_wake(now);
        assert_eq!(wake, other.next_wake(now));
        let pause = now.saturating_add(Span::from_nanos(rng.below(2_000_000)));
        now = match wake {
            Wake::At(at) if rng.below(2) == 0 => at,
            _ => pause,
        };
    }
    let polled: Vec<_> = polled
        .iter()
        .map(|d| (d.leaf, d.token, d.shape, d.is_last()))
        .collect();
    assert!(polled.len() > 200);
    assert_eq!(polled, peeked, "{} classes", config.classes.len());
    assert_eq!(one.snapshot(), other.snapshot());
}

#[test]
fn polling_sends_what_peeking_sends_also_of_sparse_leaves() {
    for (count, size) in [(3, 3), (3, 20), (15, 4), (14, 14), (20, 100)] {
        assert_polls_as_it_peeks(&guests(count, size, motley), count.into());
    }
}

#[test]
fn polling_sends_what_peeking_sends_where_limits_are_shared() {
    for (count, size) in [(4, 3), (4, 20), (16, 14)] {
        let mut config = guests(count, size, motley);
        for class in &mut config.classes {
            // Every other guest has the limits of the one before, and one of its leaves those of a leaf.
            let at = class.id.minor;
            let (is_guest, is_second) = (class.id.major == 1 && at > 0, class.id.major % 2 == 1);
            if is_guest && at % 2 == 0 {
                class.limits_of = Some(id(1, at - 1));
                class.ceil = None;
            } else if is_second && class.id.major > 1 && at == 2 {
                class.limits_of = Some(id(class.id.major - 1, 2));
                class.ceil = None;
            }
        }
        assert_polls_as_it_peeks(&config, count.into());
    }
}

#[test]
fn sparse_leaves_keep_the_limits_of_those_above() {
    let config = guests(4, 30, |leaf, class| {
        if leaf == 0 {
            (class.ceil, class.rate) = (Some(rate("100mbit")), Some(rate("50mbit")));
            class.cburst = Burst::Bytes(5000);
        }
    });
    let mut engine = Engine::new(&config).unwrap();
    let keys = leaves(&config, &engine);
    let guest: BTreeMap<LeafKey, usize> = keys
        .iter()
        .map(|(id, key)| (*key, usize::from(id.major) - 2))
        .collect();
    let mut meters: Vec<_> = (0..4).map(|_| Excess::new(rate("100mbit"))).collect();
    let (mut now, mut rng) = (Time::from_nanos(1 << 30), Rng(4));
    let mut out = Vec::new();
    let mut sent = 0;
    while now < Time::from_nanos((1 << 30) + 100_000_000) {
        for (_, key) in &keys {
            if rng.below(3) == 0 {
                let _full = engine.offer(*key, Frame::new(0, TINY), now);
            }
        }
        out.clear();
        let wake = engine.poll(now, 1 + u32::try_from(rng.below(100)).unwrap(), &mut out);
        for departure in &out {
            let bytes = Framing::ETHERNET.cost(departure.shape).wire_bytes;
            meters[guest[&departure.leaf]].sent(now, bytes);
            sent += bytes;
        }
        now = match wake {
            Wake::At(at) => at,
            _ => now.saturating_add(Span::from_nanos(1000)),
        };
    }
    assert!(sent > 4_900_000, "{sent}");
    for meter in meters {
        assert!(meter.highest() <= (5000 + 84) * BYTE);
    }
}

#[test]
fn no_guest_goes_on_for_more_than_its_quantum() {
    for shape in [TINY, FULL] {
        let config = guests(5, 40, |_, class| class.quantum = Some(4000));
        let mut engine = Engine::new(&config).unwrap();
        let now = Time::from_nanos(1 << 30);
        let keys = leaves(&config, &engine);
        for (_, key) in &keys {
            assert_eq!(engine.offer(*key, Frame::new(0, shape), now), Offer::Queued);
        }
        let names: BTreeMap<LeafKey, ClassId> = keys.iter().map(|(id, key)| (*key, *id)).collect();
        let (mut row, mut last, mut longest) = (0, 0, 0);
        let mut out = Vec::new();
        engine.poll(now, 100, &mut out);
        assert_eq!(out.len(), 100);
        for departure in &out {
            let guest = names[&departure.leaf].major;
            row = if guest == last { row + 1 } else { 1 };
            (last, longest) = (guest, longest.max(row));
        }
        let wire = Framing::ETHERNET.cost(shape).wire_bytes;
        assert!(
            longest > 1 && longest * wire <= 4000 && longest <= 16,
            "{longest}"
        );
    }
}

#[test]
fn nobody_goes_beyond_its_guarantee_before_others_have_theirs() {
    // One guaranteed leaf below each guest, which has no more than that, and twenty others.
    let config = guests(3, 21, |leaf, class| {
        class.rate = (leaf < 2).then(|| rate("10mbit"));
        class.burst = Burst::Bytes(1538);
    });
    let mut engine = Engine::new(&config).unwrap();
    let keys = leaves(&config, &engine);
    let mut now = Time::from_nanos(1 << 30);
    let mut green_first = 0;
    for _ in 0..50 {
        for (_, key) in &keys {
            assert_eq!(engine.offer(*key, Frame::new(0, FULL), now), Offer::Queued);
        }
        let mut out = Vec::new();
        engine.poll(now, u32::MAX, &mut out);
        assert_eq!(out.len(), keys.len());
        let guaranteed: Vec<bool> = out
            .iter()
            .map(|sent| {
                keys.iter()
                    .any(|(id, key)| *key == sent.leaf && id.minor == 1)
            })
            .collect();
        green_first += u32::from(guaranteed[..3] == [true; 3]);
        // A frame takes 1.23 ms of a guarantee, and all of them 775 us of the link.
        now = now.saturating_add(Span::from_nanos(2_600_000));
    }
    assert_eq!(green_first, 50, "guarantees first");
}

/// Pairs of leaves that share a limit, of one guest or of two; some without a queue.
fn pairs(guests: u16, pairs: u16) -> TreeConfig {
    let mut classes: Vec<_> = (1..=guests)
        .map(|guest| child(guest).rate(rate("100mbit")))
        .collect();
    for pair in 0..pairs {
        let queue = match pair % 2 {
            0 => LeafQueue::Fifo { frames: 64 },
            _ => LeafQueue::Hold,
        };
        let leaf = |major: u16, guest: u16| {
            let class = ClassConfig::new(id(major, pair)).parent(id(1, 1 + guest % guests));
            class.queue(queue)
        };
        let mut owner = leaf(2, pair).ceil(rate("50mbit")).rate(rate("5mbit"));
        owner.cburst = Burst::Bytes(3000);
        classes.extend([owner, leaf(3, pair + 1).limits_of(id(2, pair))]);
    }
    tree("300mbit", classes)
}

#[test]
fn leaves_that_share_limits_are_not_forgotten_while_they_wait() {
    for seed in 0..400 {
        let config = pairs(1 + seed % 2, 6);
        let mut engine = Engine::new(&config).unwrap();
        let keys = leaves(&config, &engine);
        let (mut rng, mut now) = (Rng(seed.into()), Time::from_nanos(1 << 30));
        let shape = |rng: &mut Rng| [TINY, FULL, SUPER][usize::try_from(rng.below(3)).unwrap()];
        for _ in 0..300 {
            let (_, key) = keys[usize::try_from(rng.below(keys.len() as u64)).unwrap()];
            match rng.below(8) {
                0..=3 if !engine.backlogged(key, now) => {
                    let frame = Frame::new(0, shape(&mut rng));
                    let _full = engine.offer(key, frame, now);
                }
                4 => now = now.saturating_add(Span::from_nanos(rng.below(1_000_000))),
                5 if rng.below(8) == 0 => _ = engine.apply(&config, now).unwrap(),
                _ => {
                    for _ in 0..rng.below(20) {
                        let Some(grant) = engine.peek(now) else { break };
                        match rng.below(6) {
                            0 => engine.abort(Hold::Empty),
                            1 => engine.abort(Hold::Later),
                            _ => {
                                let own = grant.frame.map(|frame| frame.shape);
                                engine.commit(own.unwrap_or_else(|| shape(&mut rng)));
                            }
                        }
                    }
                }
            }
            match engine.next_wake(now) {
                Wake::Now => assert!(engine.peek(now).is_some(), "{seed}: now, and nothing goes"),
                Wake::At(at) => assert!(at > now && engine.peek(now).is_none()),
                Wake::Idle => {
                    let all = engine.snapshot();
                    assert!(all.iter().all(|class| class.state == State::Idle), "{seed}");
                }
            }
            engine.abort(Hold::Later);
        }
    }
}

#[test]
fn a_leaf_that_was_ahead_of_one_that_is_gone_goes_on() {
    let (one, other) = (id(2, 0), id(3, 0));
    let mut owner = ClassConfig::new(one).parent(id(1, 1)).ceil(rate("100mbit"));
    owner.cburst = Burst::Bytes(30 * 1538);
    let twin = ClassConfig::new(other).parent(id(1, 2)).limits_of(one);
    let config = tree("1gbit", vec![child(1), child(2).prio(1), owner, twin]);
    let mut engine = Engine::new(&config).unwrap();
    let [one, other] = [one, other].map(|id| engine.leaf(id).unwrap());
    let now = Time::from_nanos(1 << 30);
    let goes = |engine: &mut Engine, leaf| {
        let grant = engine.peek(now);
        assert_eq!(grant.map(|grant| grant.leaf), Some(leaf));
    };
    for leaf in [one, other] {
        assert!(engine.backlogged(leaf, now));
    }
    // Half of the burst, and ahead by as much: the limit is as good as closed for it.
    for _ in 0..15 {
        goes(&mut engine, one);
        engine.commit(FULL);
    }
    for leaf in [one, other] {
        goes(&mut engine, leaf);
        engine.abort(Hold::Empty);
    }
    // Now that nobody else waits it is ahead of nobody.
    assert!(engine.backlogged(one, now));
    for _ in 0..15 {
        goes(&mut engine, one);
        engine.commit(FULL);
    }
}
