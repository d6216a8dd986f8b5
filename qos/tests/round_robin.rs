//! Long-run shares against deficit round robin, the plain baseline.
#![allow(clippy::unwrap_used)] // in helpers, too, a panic is a failed test
#![allow(clippy::cast_precision_loss)] // measurements, compared with a tolerance

mod common;

use std::collections::{BTreeMap, VecDeque};

use common::Rng;
use common::sim::{Shapes, Sim, When, child, id, mixed, tree};
use qos::{ClassConfig, ClassId, Framing, TreeConfig};

/// Hierarchical deficit round robin (Shreedhar and Varghese 1995): the children of a node in a
/// circle, each with a deficit that a turn refills in proportion to its weight.
struct Drr {
    circles: BTreeMap<ClassId, VecDeque<(ClassId, u32, i64)>>,
}

impl Drr {
    fn new(tree: &TreeConfig) -> Self {
        let mut circles: BTreeMap<ClassId, VecDeque<_>> = BTreeMap::new();
        for class in &tree.classes {
            if let Some(parent) = class.parent {
                let child = (class.id, class.weight.unwrap(), 0);
                circles.entry(parent).or_default().push_back(child);
            }
        }
        Self { circles }
    }

    /// The leaf whose turn it is.
    fn next(&mut self, node: ClassId) -> ClassId {
        let Some(circle) = self.circles.get_mut(&node) else {
            return node;
        };
        while circle[0].2 <= 0 {
            circle[0].2 += i64::from(circle[0].1) * 2000;
            circle.rotate_left(1);
        }
        let child = circle[0].0;
        self.next(child)
    }

    /// Charges what the leaf sent to it and its ancestors.
    fn charge(&mut self, leaf: ClassId, bytes: u64) {
        let mut below = leaf;
        while let Some(circle) = self
            .circles
            .values_mut()
            .find(|c| c.iter().any(|m| m.0 == below))
        {
            let member = circle.iter_mut().find(|member| member.0 == below).unwrap();
            member.2 -= i64::try_from(bytes).unwrap();
            let parent = |(parent, circle): (&ClassId, &VecDeque<(ClassId, u32, i64)>)| {
                circle.iter().any(|m| m.0 == below).then_some(*parent)
            };
            below = self.circles.iter().find_map(parent).unwrap();
        }
    }
}

/// Three guests with weights 1, 2, 5, of four leaves each with weights from 1 to 12.
fn weighted() -> (TreeConfig, Vec<ClassId>) {
    let mut classes = Vec::new();
    let mut leaves = Vec::new();
    for (guest, weight) in (1..).zip([1, 2, 5]) {
        classes.push(child(guest).weight(weight));
        for n in 1..=4_u16 {
            let leaf = id(2, 16 * guest + n);
            let class = ClassConfig::new(leaf).parent(id(1, guest));
            classes.push(class.weight(u32::from(guest * n)));
            leaves.push(leaf);
        }
    }
    (tree("10gbit", classes), leaves)
}

#[test]
fn long_run_shares_are_those_of_deficit_round_robin() {
    let (tree, leaves) = weighted();
    let mut drr = Drr::new(&tree);
    let mut rng = Rng(3);
    let mut baseline: BTreeMap<ClassId, u64> = BTreeMap::new();
    for _ in 0..120_000 {
        let leaf = drr.next(id(1, 0));
        let bytes = Framing::ETHERNET.cost(mixed(&mut rng)).wire_bytes;
        drr.charge(leaf, bytes);
        *baseline.entry(leaf).or_default() += bytes;
    }
    let mut sim = Sim::new(&tree);
    for &leaf in &leaves {
        sim.source(leaf, Shapes::Mixed, When::Always);
    }
    let sent = sim.measure(1_000_000_000);
    let sum = |bytes: &BTreeMap<ClassId, u64>| bytes.values().sum::<u64>() as f64;
    for leaf in &leaves {
        let (got, want) = (
            sent[leaf] as f64 / sum(&sent),
            baseline[leaf] as f64 / sum(&baseline),
        );
        assert!(
            (got / want - 1.0).abs() < 0.02,
            "{leaf}: {got} instead of {want}"
        );
    }
}
