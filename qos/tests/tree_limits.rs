//! T1: limits of a tree bind in every window, on every level.
#![allow(clippy::unwrap_used)] // in helpers, too, a panic is a failed test

mod common;

use std::collections::BTreeMap;

use common::sim::{FULL, SUPER, Shapes, Sim, TINY, When, child, id, mixed, rate, tree};
use common::{BYTE, Excess, Rng};
use qos::{
    Burst, ClassConfig, ClassId, Cost, Engine, Framing, LimiterConfig, PacketBurst, PacketRate,
    Rate, Span, Time, TreeConfig,
};

const SECOND: u64 = 1_000_000_000;
/// Wire bytes of the largest frame that `mixed` makes.
const LARGEST: u64 = 70_000;

#[test]
fn no_window_of_any_class_exceeds_its_ceiling_by_more_than_burst_and_one_unit() {
    for seed in 0..6 {
        let mut rng = Rng(seed);
        let mut classes = Vec::new();
        let mut paths: BTreeMap<ClassId, Vec<(ClassId, Rate, Burst)>> = BTreeMap::new();
        let mut limited = |mut class: ClassConfig, rng: &mut Rng, share: u64| {
            let ceil = Rate::from_bits_per_second(share / 2 + rng.below(share)).unwrap();
            class.ceil = Some(ceil);
            class.cburst = [Burst::Auto, Burst::Bytes(3000), Burst::Bytes(200_000)]
                [usize::try_from(rng.below(3)).unwrap()];
            classes.push(class.clone());
            (class.id, ceil, class.cburst)
        };
        let root = limited(ClassConfig::new(id(1, 0)), &mut rng, 1_000_000_000);
        for guest in 1..=5_u16 {
            let config = ClassConfig::new(id(2, guest)).parent(id(1, 0));
            let guest_limit = limited(config, &mut rng, 300_000_000);
            for leaf in 0..4 {
                let config = ClassConfig::new(id(3, 8 * guest + leaf)).parent(id(2, guest));
                let leaf_limit = limited(config, &mut rng, 120_000_000);
                paths.insert(leaf_limit.0, vec![leaf_limit, guest_limit, root]);
            }
        }
        let mut sim = Sim::new(&TreeConfig::new(classes));
        for (n, &leaf) in (0..).zip(paths.keys()) {
            let when = [When::Always, When::OnOff(3_000_000), When::Every(700_001)][n % 3];
            sim.source(leaf, Shapes::Mixed, when);
        }
        let mut meters: BTreeMap<ClassId, (Excess, i128)> = BTreeMap::new();
        sim.run_with(SECOND / 4, |sent| {
            for &(class, ceil, burst) in &paths[&sent.id] {
                let (meter, bound) = meters.entry(class).or_insert_with(|| {
                    let worth = Excess::new(ceil).worth(Span::from_nanos(2_000_000));
                    let bound = match burst {
                        Burst::Bytes(bytes) => i128::from(bytes) * BYTE,
                        _ => worth.max(1538 * BYTE),
                    };
                    (Excess::new(ceil), bound + i128::from(LARGEST) * BYTE)
                });
                meter.sent(sent.at, sent.wire);
                assert!(meter.highest() <= *bound, "class {class} above its ceiling");
            }
        });
        assert_eq!(meters.len(), 26, "every limit was put to the test");
    }
}

#[test]
fn a_packet_limit_counts_the_segments_of_super_frames_on_every_level() {
    let mut guest = child(1);
    guest.pps = PacketRate::from_segments_per_second(10_000);
    guest.pps_burst = PacketBurst::Segments(100);
    let leaf = |minor| ClassConfig::new(id(2, minor)).parent(id(1, 1));
    let mut sim = Sim::new(&tree("10gbit", vec![guest, leaf(1), leaf(2)]));
    sim.greedy(id(2, 1), SUPER);
    sim.greedy(id(2, 2), TINY);
    sim.run(SECOND);
    let segments = sim.engine.snapshot()[0].stats.sent.segments;
    assert!(
        (10_000..=10_000 + 100 + 45).contains(&segments),
        "{segments}"
    );
}

#[test]
fn a_flood_of_small_frames_pays_for_the_core_it_burns() {
    // A segment takes 1 us of the core, worth 1250 bytes of the link; both leaves are greedy.
    let config = TreeConfig {
        segment_nanos: Some(1000),
        ..tree("10gbit", vec![child(1), child(2)])
    };
    let mut sim = Sim::new(&config);
    sim.greedy(id(1, 1), TINY);
    sim.greedy(id(1, 2), FULL);
    sim.run(SECOND / 100);
    let sent = sim.measure(SECOND / 10);
    let frames = (sent[&id(1, 1)] / 84, sent[&id(1, 2)] / 1538);
    // Half the time each: 50 ms of 1 us, and 50 ms of 1230.4 ns.
    assert!(frames.0.abs_diff(50_000) < 100, "{frames:?}");
    assert!(frames.1.abs_diff(40_637) < 100, "{frames:?}");
}

#[test]
fn an_engine_of_one_class_limits_as_a_limiter_does() {
    let config = LimiterConfig {
        rate: Some(rate("37mbit")),
        ..LimiterConfig::default()
    };
    let mut limiter = qos::Limiter::new(&config);
    let leaf = child(1).ceil(rate("37mbit"));
    let mut engine = Engine::new(&TreeConfig::new(vec![ClassConfig::new(id(1, 0)), leaf])).unwrap();
    let key = engine.leaf(id(1, 1)).unwrap();
    let mut rng = Rng(1);
    // Whole grains, at which the wheel is exact.
    let mut now = Time::from_nanos(1024 * 1000);
    engine.backlogged(key, now);
    for _ in 0..20_000 {
        assert_eq!(engine.peek(now).is_some(), limiter.ready(now));
        if limiter.ready(now) {
            let shape = mixed(&mut rng);
            let cost: Cost = Framing::ETHERNET.cost(shape);
            limiter.commit(now, cost, qos::Demand::Backlogged);
            engine.commit(shape);
        } else {
            now = Time::from_nanos(now.as_nanos() + 1024 * (1 + rng.below(40)));
        }
    }
}
