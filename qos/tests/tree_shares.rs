//! T6: who gets how much, against the closed form in exact fractions.
#![allow(clippy::unwrap_used)] // in helpers, too, a panic is a failed test

mod common;

use common::Rng;
use common::sim::{FULL, Shapes, Sim, TINY, When, id, rate, tree};
use common::water::fill;
use qos::{ClassConfig, ClassId, Rate, TreeConfig};

const SECOND: u64 = 1_000_000_000;

/// Runs greedy sources on `leaves` for a second after a warm-up, and compares.
fn assert_closed_form(tree: &TreeConfig, leaves: &[ClassId], tolerance: f64) {
    let mut sim = Sim::new(tree);
    for &leaf in leaves {
        sim.greedy(leaf, FULL);
    }
    sim.run(SECOND / 5);
    let sent = sim.measure(SECOND);
    let want = fill(
        tree,
        &leaves.iter().map(|&leaf| (leaf, u64::MAX >> 8)).collect(),
    );
    for leaf in leaves {
        let bytes = u32::try_from(sent[leaf]).unwrap();
        let (got, want) = (f64::from(bytes) * 8.0, want[leaf].as_f64());
        assert!(
            (got - want).abs() <= want * tolerance + 8.0 * 1538.0 * 4.0,
            "class {leaf}: {got} instead of {want}"
        );
    }
}

/// A class below `parent`, with a weight, as the closed form needs.
fn class(minor: u16, parent: u16, weight: u32) -> ClassConfig {
    ClassConfig::new(id(1, minor))
        .parent(id(1, parent))
        .weight(weight)
}

#[test]
fn random_trees_share_by_the_closed_form() {
    let mut rng = Rng(11);
    for _ in 0..12 {
        let mut classes = Vec::new();
        let mut leaves = Vec::new();
        for guest in 1..=4_u16 {
            let weight = 1 + u32::try_from(rng.below(9)).unwrap();
            let mut inner = class(guest, 0, weight).rate(rate("20mbit"));
            if rng.below(2) == 0 {
                inner = inner
                    .ceil(Rate::from_bits_per_second(20_000_000 + rng.below(60_000_000)).unwrap());
            }
            classes.push(inner.prio(u8::try_from(rng.below(2)).unwrap()));
            for leaf in 0..3_u16 {
                let minor = 16 * guest + leaf;
                let weight = 1 + u32::try_from(rng.below(9)).unwrap();
                let mut class = class(minor, guest, weight);
                if rng.below(2) == 0 {
                    class = class.rate(
                        Rate::from_bits_per_second(1_000_000 + rng.below(5_000_000)).unwrap(),
                    );
                }
                classes.push(class.prio(u8::try_from(rng.below(2)).unwrap()));
                if rng.below(3) > 0 {
                    leaves.push(id(1, minor));
                }
            }
        }
        assert_closed_form(&tree("100mbit", classes), &leaves, 0.005);
    }
}

#[test]
fn demand_below_the_share_is_met_and_the_rest_goes_to_the_others() {
    let tree = tree(
        "100mbit",
        vec![class(1, 0, 1), class(2, 0, 1), class(3, 0, 2)],
    );
    let mut sim = Sim::new(&tree);
    sim.greedy(id(1, 1), FULL);
    sim.greedy(id(1, 3), TINY);
    // 1538 bytes every 1.2304 ms: 10 Mbit/s.
    sim.source(id(1, 2), Shapes::One(FULL), When::Every(1_230_400));
    sim.run(SECOND / 5);
    let sent = sim.measure(SECOND);
    let demands = [
        (id(1, 1), u64::MAX >> 8),
        (id(1, 2), 10_000_000),
        (id(1, 3), u64::MAX >> 8),
    ];
    let want = fill(&tree, &demands.into_iter().collect());
    for (leaf, &bytes) in &sent {
        let got = f64::from(u32::try_from(bytes).unwrap()) * 8.0;
        assert!(
            (got - want[leaf].as_f64()).abs() < 100_000.0,
            "{leaf}: {got}"
        );
    }
}
