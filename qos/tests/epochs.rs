//! T6: in every epoch of constant demand, what every leaf gets is the hierarchical max-min share of
//! the demands, in exact fractions.
#![allow(clippy::unwrap_used)] // in helpers, too, a panic is a failed test

mod common;

use std::collections::BTreeMap;

use common::Rng;
use common::sim::{FULL, Shapes, Sim, When, id, rate, tree};
use common::water::fill;
use qos::{ClassConfig, ClassId, Rate, TreeConfig};

/// Microseconds between frames of a constant rate: each makes 10^9 / n bit/s out of 1538 bytes every
/// 12304 n ns, a whole number. From 4 to 62.5 Mbit/s.
const PACES: [u64; 8] = [16, 20, 32, 50, 80, 125, 160, 250];

/// Every epoch, and the time before it in which bursts saved up by those who were idle are spent.
const EPOCH: u64 = 400_000_000;
const SETTLING: u64 = 60_000_000;

fn bits(rng: &mut Rng, least: u64, more: u64) -> Rate {
    Rate::from_bits_per_second(least + rng.below(more)).unwrap()
}

/// Three guests of three leaves, with every kind of setting, on 100 Mbit/s.
fn any_tree(rng: &mut Rng) -> (TreeConfig, Vec<ClassId>) {
    let mut classes = Vec::new();
    let mut leaves = Vec::new();
    let setting = |class: ClassConfig, rng: &mut Rng, most: u64| {
        let weight = 1 + u32::try_from(rng.below(9)).unwrap();
        let prio = u8::try_from(rng.below(8) / 3).unwrap();
        let mut class = class.weight(weight).prio(prio);
        if rng.below(2) == 0 {
            class = class.ceil(bits(rng, most, 2 * most));
        }
        class
    };
    for guest in 1..=3 {
        let class = ClassConfig::new(id(1, guest)).parent(id(1, 0));
        let class = class.rate(rate("30mbit"));
        classes.push(setting(class, rng, 30_000_000));
        for n in 0..3 {
            let leaf = id(1, 16 * guest + n);
            let mut class = ClassConfig::new(leaf).parent(id(1, guest));
            if rng.below(2) == 0 {
                class = class.rate(bits(rng, 1_000_000, 9_000_000));
            }
            classes.push(setting(class, rng, 10_000_000));
            leaves.push(leaf);
        }
    }
    (tree("100mbit", classes), leaves)
}

#[test]
fn every_epoch_of_constant_demand_is_shared_by_the_closed_form() {
    let mut worst: f64 = 0.0;
    for seed in 0..24 {
        let mut rng = Rng(seed);
        let (tree, leaves) = any_tree(&mut rng);
        let mut sim = Sim::new(&tree);
        for epoch in 0..8 {
            let mut demands = BTreeMap::new();
            for &leaf in &leaves {
                let (when, bits) = match rng.below(3) {
                    0 => (When::Never, 0),
                    1 => {
                        let pace = PACES[usize::try_from(rng.below(8)).unwrap()];
                        (When::Every(12_304 * pace), 1_000_000_000 / pace)
                    }
                    _ => (When::Always, u64::MAX >> 8),
                };
                sim.source(leaf, Shapes::One(FULL), when);
                demands.insert(leaf, bits);
            }
            if demands.values().all(|&bits| bits == 0) {
                continue;
            }
            sim.run(SETTLING);
            let start = sim.now.as_nanos();
            let sent = sim.measure(EPOCH);
            let nanos = sim.now.as_nanos() - start;
            let want = fill(&tree, &demands);
            for leaf in &leaves {
                let seconds = f64::from(u32::try_from(nanos).unwrap()) / 1e9;
                let want = want[leaf].as_f64() / 8.0 * seconds;
                let got = f64::from(u32::try_from(sent[leaf]).unwrap());
                // On either level a frame of unfairness among the guaranteed, and one among the rest
                // (every quantum is a frame at these rates: Bennett and Zhang, theorem 4); a source of
                // constant rate, and the window's ends, add one.
                let fair_index = 5.0 * 1538.0;
                worst = worst.max(((got - want).abs() - want * 0.001) / fair_index);
                assert!(
                    (got - want).abs() <= fair_index + want * 0.001,
                    "seed {seed}, epoch {epoch}, leaf {leaf}: {got} instead of {want}"
                );
            }
        }
    }
    println!("at worst {worst} of the fair index beyond a thousandth");
}
