//! Hierarchical generalised processor sharing: the fluid that a tree of weights stands for, in which
//! every byte sent is divided at once among all who wait. In whole multiples of one fraction, so that
//! nothing is rounded. Written from the semantics, not from the engine.

use std::collections::BTreeMap;

use qos::{ClassId, TreeConfig};

/// Sums of sibling weights may be up to this, so that every share is a multiple of [`PART`]'s.
const LARGEST_SUM: i128 = 16;

/// The least common multiple of 1..=16.
const COMMON: i128 = 720_720;

/// Parts of a byte: three levels of shares.
pub(crate) const PART: i128 = COMMON * COMMON * COMMON;

/// Who gets what part of each byte.
pub(crate) struct Fluid {
    parents: BTreeMap<ClassId, Option<ClassId>>,
    weights: BTreeMap<ClassId, i128>,
    /// Leaves that wait below each class, itself included.
    waiting: BTreeMap<ClassId, u32>,
    leaves: Vec<ClassId>,
    /// Of each leaf, in parts of a byte.
    pub(crate) shares: Vec<i128>,
    /// Of each leaf, the sum over its path but the root of its share of what that class gets: one for
    /// itself, and so on. In parts.
    pub(crate) reach: Vec<i128>,
}

impl Fluid {
    pub(crate) fn new(tree: &TreeConfig, leaves: &[ClassId]) -> Self {
        let classes = tree.classes.iter();
        Self {
            parents: classes.clone().map(|c| (c.id, c.parent)).collect(),
            weights: classes
                .clone()
                .map(|c| (c.id, c.weight.unwrap_or(1).into()))
                .collect(),
            waiting: classes.map(|c| (c.id, 0)).collect(),
            leaves: leaves.to_vec(),
            shares: vec![0; leaves.len()],
            reach: vec![0; leaves.len()],
        }
    }

    fn path(&self, leaf: ClassId) -> Vec<ClassId> {
        std::iter::successors(Some(leaf), |class| self.parents[class]).collect()
    }

    /// A leaf begins to wait, or ceases to.
    pub(crate) fn set(&mut self, leaf: usize, waits: bool) {
        for class in self.path(self.leaves[leaf]) {
            let count = self.waiting.get_mut(&class).unwrap();
            *count = count
                .checked_add_signed(if waits { 1 } else { -1 })
                .unwrap();
        }
        let mut sums: BTreeMap<ClassId, i128> = BTreeMap::new();
        for (class, &count) in &self.waiting {
            if let (Some(parent), true) = (self.parents[class], count > 0) {
                *sums.entry(parent).or_default() += self.weights[class];
            }
        }
        for n in 0..self.leaves.len() {
            let leaf = self.leaves[n];
            (self.shares[n], self.reach[n]) = (0, 0);
            if self.waiting[&leaf] == 0 {
                continue;
            }
            let mut share = PART;
            for class in self.path(leaf) {
                let Some(parent) = self.parents[&class] else {
                    break;
                };
                self.reach[n] += share;
                let sum = sums[&parent];
                assert!(
                    sum <= LARGEST_SUM && share % sum == 0,
                    "a share that is rounded"
                );
                share = share / sum * self.weights[&class];
            }
            self.shares[n] = share;
        }
    }
}
