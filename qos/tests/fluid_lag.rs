//! T7: no leaf falls behind the fluid it stands for, in any window in which it waits, by more than
//! every level's own unfairness.
#![allow(clippy::unwrap_used)] // in helpers, too, a panic is a failed test

mod common;

use common::Rng;
use common::drive::{Drive, Event};
use common::fluid::{Fluid, PART};
use common::sim::{FULL, SUPER, Shapes, child, id, tree};
use qos::{Burst, ClassConfig, ClassId, FrameShape, TreeConfig};

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

/// Wire bytes of a full-size frame, and of each full segment.
const FRAME: u32 = 1538;

/// Half as much.
const HALF: FrameShape = FrameShape::single(745);

/// What a child may fall behind its share of what its parent sends, in any window in which it waits.
/// Quanta are whole frames here, so that no visit is more than a quantum.
///
/// For exact nodes, Bennett and Zhang's theorem 4 has the worst-case fair index
/// `L_i + (M - L_i) phi_i`, with equal quanta one. It is held against the ends of the child's own
/// packets; windows that end just before have one more, and so two. Theirs is a virtual time that
/// runs at the sum of *all* weights. Here it runs at the sum of the weights of those who wait, as it
/// must where idle ones cost nothing: who leaves right after a visit takes its lead out of the
/// balance, and all those who stay may be behind at once and go one after the other, the last a
/// quantum later. Three then, where leaves come and go. For grouped nodes QFQ's proof has
/// `3 slots phi_i + 2 M phi_i`; slots are below 2 quantum/phi_i.
fn index(quantum: u32, few: bool, churn: bool) -> i128 {
    i128::from(match (few, churn) {
        (true, false) => 2 * quantum,
        (true, true) => 3 * quantum,
        (false, _) => 8 * quantum,
    })
}

/// Leaves come and go, and the engine runs beside the fluid; returns the worst lag, in thousandths of
/// the bound.
fn assert_no_lag(seed: u64, levels: u32, width: usize, churn: bool, frames: u32) -> i128 {
    let mut rng = Rng(seed);
    let quantum = FRAME * [1, 3, 10][usize::try_from(seed % 3).unwrap()];
    let (tree, leaves) = any_tree(&mut rng, levels, width, quantum);
    let mut drive = Drive::new(&tree, &leaves, FULL);
    drive.peel = true;
    drive.pause = [0, 20_000][usize::try_from(seed % 2).unwrap()];
    for shape in &mut drive.shapes {
        let frame: FrameShape = [FULL, HALF, SUPER][usize::try_from(rng.below(3)).unwrap()];
        *shape = Shapes::One(frame);
    }
    let index = index(quantum, width <= 12, churn);
    let mut fluid = Fluid::new(&tree, &leaves);
    // Of each leaf that waits: how far the fluid is ahead of it, the least that it was, and the
    // largest reach since it waits, to which its bound is in proportion.
    let mut lags: Vec<Option<(i128, i128, i128)>> = vec![None; leaves.len()];
    if !churn {
        for (leaf, lag) in lags.iter_mut().enumerate() {
            fluid.set(leaf, true);
            *lag = Some((0, 0, 0));
            drive.want(leaf, true);
        }
    }
    let (mut left, mut worst) = (frames, 0);
    while left > 0 {
        let leaf = usize::try_from(rng.below(leaves.len() as u64)).unwrap();
        let comes = !churn || rng.below(2) == 0;
        if comes && lags[leaf].is_none() {
            fluid.set(leaf, true);
            lags[leaf] = Some((0, 0, 0));
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
                    let Some((lag, least, reach)) = lag else {
                        continue;
                    };
                    *lag += fluid.shares[n] * bytes - if n == leaf { bytes * PART } else { 0 };
                    *least = (*least).min(*lag);
                    *reach = (*reach).max(fluid.reach[n]);
                    let (behind, bound) = (*lag - *least, *reach * index);
                    worst = worst.max(behind * 1000 / bound);
                    assert!(
                        behind <= bound,
                        "leaf {n} of {}: {} bytes behind, above {}",
                        leaves.len(),
                        behind / PART,
                        bound / PART
                    );
                }
            }
        });
    }
    worst
}

/// Trees of up to `width` children a class.
fn assert_no_lags(levels: u32, width: usize, seeds: u64, frames: u32) {
    for churn in [false, true] {
        let worst = (0..seeds).map(|seed| assert_no_lag(seed, levels, width, churn, frames));
        let worst = worst.max();
        println!("{levels} levels of {width}, churn {churn}: {worst:?} thousandths of the bound");
    }
}

#[test]
fn no_window_lags_the_fluid_by_more_than_the_unfairness_of_its_levels() {
    assert_no_lags(1, 12, 300, 1500);
    assert_no_lags(2, 6, 300, 1500);
    assert_no_lags(3, 4, 200, 1500);
}

#[test]
fn no_window_lags_the_fluid_by_more_than_the_unfairness_of_grouped_levels() {
    // Up to sixteen children: those with more than twelve are grouped.
    assert_no_lags(1, 16, 100, 3000);
    assert_no_lags(2, 16, 20, 3000);
}
