//! T7: no leaf falls behind the fluid it stands for, in any window in which it waits, by more than
//! every level's own unfairness.
#![allow(clippy::unwrap_used)] // in helpers, too, a panic is a failed test

mod common;

use common::Rng;
use common::drive::{Drive, Event};
use common::fluid::{Fluid, PART};
use common::sim::{FULL, SUPER, Shapes, TINY, child, id, tree};
use qos::{Burst, ClassConfig, ClassId, FrameShape, Framing, TreeConfig};

/// Weights of `count` siblings, in all at most 16.
fn weights(rng: &mut Rng, count: usize) -> Vec<u32> {
    let mut weights = vec![1; count];
    for _ in 0..rng.below(17 - count as u64) {
        weights[usize::try_from(rng.below(count as u64)).unwrap()] += 1;
    }
    weights
}

/// A quantum for every class, and leaves below `levels - 1` levels of inner classes.
fn any_tree(rng: &mut Rng, levels: u32, width: usize, quantum: u32) -> (TreeConfig, Vec<ClassId>) {
    let mut classes: Vec<ClassConfig> = Vec::new();
    let mut above = vec![id(1, 0)];
    let mut minor = 1;
    for _ in 0..levels {
        let mut level = Vec::new();
        for parent in above {
            let most = 2 + rng.below(width as u64 - 1);
            for weight in weights(rng, usize::try_from(most).unwrap()) {
                let mut class = child(minor).parent(parent).weight(weight);
                class.quantum = Some(quantum);
                level.push(class.id);
                classes.push(class);
                minor += 1;
            }
        }
        above = level;
    }
    let mut tree = tree("100gbit", classes);
    tree.classes[0].cburst = Burst::Bytes(100_000);
    (tree, above)
}

/// What a leaf may fall behind: over the levels, what its share of the level's class is, times the
/// worst-case fair index of a child there. In parts of a byte; shares are those of the moment when
/// all wait, or more, so at most one.
///
/// For exact nodes, Bennett and Zhang's theorem 4 has for a child i, with packets of up to L_i and
/// siblings' of up to M, `L_i + (M - L_i) phi_i`: at most one largest unit. That is for virtual time
/// which runs at the sum of *all* weights. Here it runs at the sum of the weights of those who wait,
/// as a scheduler must that lets idle ones cost nothing; who leaves right after a visit takes its lead
/// out of the balance, so that another is behind by one unit more until it is served. Two units.
/// For grouped nodes, QFQ's `3 slots x phi_i + 2 M phi_i`: slots are below 2 quantum/phi_i, so
/// at most 6 quanta and 2 units.
fn bound(levels: u32, unit: u64, quantum: u32, few: bool) -> i128 {
    let index = if few {
        2 * unit
    } else {
        6 * u64::from(quantum) + 2 * unit
    };
    i128::from(levels) * i128::from(index) * PART
}

/// Leaves come and go, and the engine runs beside the fluid; returns the worst lag, in thousandths of
/// the bound.
fn assert_no_lag(seed: u64, levels: u32, width: usize, frames: u32) -> i128 {
    let mut rng = Rng(seed);
    let quantum = [1538, 5000, 16_000][usize::try_from(seed % 3).unwrap()];
    let (tree, leaves) = any_tree(&mut rng, levels, width, quantum);
    let mut drive = Drive::new(&tree, &leaves, FULL);
    drive.peel = true;
    drive.pause = [0, 20_000][usize::try_from(seed % 2).unwrap()];
    for shape in &mut drive.shapes {
        let frame: FrameShape = [FULL, TINY, SUPER][usize::try_from(rng.below(3)).unwrap()];
        *shape = Shapes::One(frame);
    }
    let unit = u64::from(quantum) + Framing::ETHERNET.cost(FULL).wire_bytes - 1;
    let bound = bound(levels, unit, quantum, width <= 12);
    let mut fluid = Fluid::new(&tree, &leaves);
    // Of each leaf: how far the fluid is ahead of it, and the least that it was since it waits.
    let mut lags: Vec<Option<(i128, i128)>> = vec![None; leaves.len()];
    let (mut left, mut worst) = (frames, 0);
    while left > 0 {
        let leaf = usize::try_from(rng.below(leaves.len() as u64)).unwrap();
        let comes = rng.below(2) == 0;
        if comes && lags[leaf].is_none() {
            fluid.set(leaf, true);
            lags[leaf] = Some((0, 0));
        }
        drive.want(leaf, comes);
        let nanos = [1024, 10_000, 100_000][usize::try_from(rng.below(3)).unwrap()];
        drive.run_with(nanos, |event| match event {
            Event::Idle(leaf) => {
                fluid.set(leaf, false);
                lags[leaf] = None;
            }
            Event::Sent(leaf, bytes) => {
                left = left.saturating_sub(1);
                let bytes = i128::from(bytes);
                for (n, lag) in lags.iter_mut().enumerate() {
                    let Some((lag, least)) = lag else { continue };
                    *lag += fluid.shares[n] * bytes - if n == leaf { bytes * PART } else { 0 };
                    *least = (*least).min(*lag);
                    worst = worst.max(*lag - *least);
                    assert!(
                        *lag - *least <= bound,
                        "leaf {n} of {}: {} bytes behind, above {}",
                        leaves.len(),
                        (*lag - *least) / PART,
                        bound / PART
                    );
                }
            }
        });
    }
    worst * 1000 / bound
}

#[test]
fn no_window_lags_the_fluid_by_more_than_the_unfairness_of_its_levels() {
    for (levels, width) in [(1, 12), (2, 6), (3, 4)] {
        let worst = (0..40).map(|seed| assert_no_lag(seed, levels, width, 1500));
        println!("{levels} levels: at worst {:?} thousandths of the bound", worst.max());
    }
}

#[test]
fn no_window_lags_the_fluid_by_more_than_the_unfairness_of_grouped_levels() {
    // Sixteen children are many.
    for levels in [1, 2] {
        let worst = (0..10).map(|seed| assert_no_lag(seed, levels, 16, 3000));
        println!("{levels} levels: at worst {:?} thousandths of the bound", worst.max());
    }
}
