//! T4, T5: equal weights get equal shares, and unequal ones theirs, in every window.
#![allow(clippy::unwrap_used)] // in helpers, too, a panic is a failed test

mod common;

use common::Rng;
use common::drive::{Drive, Event};
use common::sim::{FULL, SUPER, Shapes, TINY, child, id, tree};
use qos::{Burst, ClassConfig, ClassId, FrameShape, Framing, Rate, TreeConfig};

const SECOND: u64 = 1_000_000_000;

/// Jain's index (sum x)^2 / (n sum x^2) in millionths, rounded down; exact.
fn jain(sent: &[u64]) -> u128 {
    let sum: u128 = sent.iter().copied().map(u128::from).sum();
    let squares: u128 = sent.iter().map(|&x| u128::from(x) * u128::from(x)).sum();
    sum * sum * 1_000_000 / (sent.len() as u128 * squares)
}

/// `count` leaves of equal weight, below the root or below `guests` inner classes.
fn equal(count: u16, guests: u16, link: &str) -> (TreeConfig, Vec<ClassId>) {
    let mut classes: Vec<ClassConfig> = (1..=guests).map(child).collect();
    let mut leaves = Vec::new();
    for n in 0..count {
        let parent = if guests == 0 { 0 } else { 1 + n % guests };
        leaves.push(id(2, n));
        classes.push(ClassConfig::new(id(2, n)).parent(id(1, parent)));
    }
    (tree(link, classes), leaves)
}

/// Frames of every size, one size a leaf.
const SIZES: [FrameShape; 4] = [
    FULL,
    FrameShape::single(700),
    FrameShape::single(1100),
    TINY,
];

fn assert_equal_shares(count: u16, guests: u16, link: &str, nanos: u64, least: u128) {
    let (tree, leaves) = equal(count, guests, link);
    let mut drive = Drive::greedy(&tree, &leaves, FULL);
    // Every guest has leaves of every size. Minimum frames take their time to simulate: not among
    // the very many.
    let sizes = &SIZES[..if count < 10_000 { 4 } else { 3 }];
    for n in 0..leaves.len() {
        drive.shapes[n] = Shapes::One(sizes[n / usize::from(guests.max(1)) % sizes.len()]);
    }
    // The burst of the link, and the first round.
    drive.run_with(nanos / 10, |_| ());
    let index = jain(&drive.measure(nanos));
    println!("{count} leaves, {guests} guests, {link}, {nanos} ns: {index} millionths");
    assert!(
        index >= least,
        "{count} leaves, {guests} guests, {link}, {nanos} ns: {index}"
    );
}

#[test]
fn equal_weights_get_equal_shares_in_ten_milliseconds() {
    // Links on which each leaf sends about eight full frames in the time.
    for (count, guests, link) in [
        (10, 0, "1gbit"),
        (100, 0, "1gbit"),
        (1000, 0, "10gbit"),
        (10_000, 0, "100gbit"),
        (10, 2, "1gbit"),
        (100, 10, "1gbit"),
        (1000, 10, "10gbit"),
        (10_000, 100, "100gbit"),
    ] {
        assert_equal_shares(count, guests, link, SECOND / 100, 990_000);
    }
}

#[test]
fn equal_weights_get_equal_shares_in_a_second() {
    // About a hundred full frames a leaf, or as many as make a second.
    for (count, guests, link) in [
        (10, 0, "100mbit"),
        (100, 0, "200mbit"),
        (1000, 0, "1gbit"),
        (10_000, 0, "7gbit"),
        (10, 2, "100mbit"),
        (100, 10, "200mbit"),
        (1000, 10, "1gbit"),
        (10_000, 100, "7gbit"),
    ] {
        assert_equal_shares(count, guests, link, SECOND, 999_900);
    }
}

/// For pairs of leaves, how far the work of one over its weight ran from that of the other since both
/// have been waiting. Times both weights, so that it is whole.
struct Pairs {
    weights: Vec<i128>,
    /// The bound is the sum of both leaves' own, over their weights.
    bounds: Vec<i128>,
    witnesses: usize,
    /// Of each witness against each leaf: the difference now, its least and its greatest.
    gaps: Vec<Vec<(i128, i128, i128)>>,
    waits: Vec<bool>,
    /// The worst, in thousandths of the bound.
    worst: i128,
}

impl Pairs {
    fn new(weights: &[u32], bounds: Vec<i128>, witnesses: usize) -> Self {
        Self {
            weights: weights.iter().map(|&w| w.into()).collect(),
            bounds,
            witnesses,
            gaps: vec![vec![(0, 0, 0); weights.len()]; witnesses],
            waits: vec![false; weights.len()],
            worst: 0,
        }
    }

    /// A leaf begins or ceases to wait: its windows begin anew.
    fn restart(&mut self, leaf: usize, waits: bool) {
        self.waits[leaf] = waits;
        for witness in 0..self.witnesses {
            self.gaps[witness][leaf] = (0, 0, 0);
            if witness == leaf {
                self.gaps[witness].fill((0, 0, 0));
            }
        }
    }

    fn add(&mut self, witness: usize, leaf: usize, gap: i128) {
        let (now, low, high) = &mut self.gaps[witness][leaf];
        *now += gap;
        (*low, *high) = ((*low).min(*now), (*high).max(*now));
        let (a, b) = (self.weights[witness], self.weights[leaf]);
        let bound = self.bounds[witness] * b + self.bounds[leaf] * a;
        self.worst = self.worst.max((*high - *low) * 1000 / bound);
        assert!(
            *high - *low <= bound,
            "leaf {witness} of {a} and {leaf} of {b}: {} above {bound}",
            *high - *low
        );
    }

    fn sent(&mut self, leaf: usize, bytes: u64) {
        let bytes = i128::from(bytes);
        for witness in 0..self.witnesses {
            if witness != leaf && self.waits[witness] {
                self.add(witness, leaf, -bytes * self.weights[witness]);
            }
        }
        if leaf < self.witnesses {
            for other in 0..self.weights.len() {
                if other != leaf && self.waits[other] {
                    self.add(leaf, other, bytes * self.weights[other]);
                }
            }
        }
    }
}

/// Children that a node compares one by one.
const FEW: usize = 12;

/// A weight from 1 to a million, every order of magnitude alike.
fn any_weight(rng: &mut Rng) -> u32 {
    let most = 10_u64.pow(1 + u32::try_from(rng.below(6)).unwrap());
    1 + u32::try_from(rng.below(most)).unwrap()
}

/// Leaves of random weights come and go; every window of every pair of a witness and a leaf. L is the
/// largest unit of a visit: the quantum up to the end of the frame that reaches it.
///
/// A node of few compares its children exactly: 3 (L_i/w_i + L_j/w_j). Where siblings send larger
/// units, one of those may go while one of the pair waits and the other is about to come, and may end
/// right after, whose lead is then lost to those who stay: 2 (M - L_i)/w_i more, M being the largest
/// unit of all (after the term with the largest packet in Bennett and Zhang's worst-case fair index).
/// With equal quanta there is no such term.
///
/// A node of many groups its children, and the 3 of QFQ's proof counts *slots* of a group, not units:
/// a slot is quantum/w rounded up to a power of two, so less than twice that; a child is picked up to
/// a slot before its start and up to two slots after (Checconi, Rizzo and Valente 2013), and one
/// visit comes on top: 3 (s_i + s_j) + L_i/w_i + L_j/w_j with s < 2 quantum/w.
fn assert_weighted(seed: u64, count: usize, green: bool, witnesses: usize, frames: u32) -> i128 {
    let mut rng = Rng(seed);
    let mut weights: Vec<u32> = (0..count).map(|_| any_weight(&mut rng)).collect();
    // Half of the witnesses among the heaviest, whose windows are the most.
    weights[..witnesses].sort_unstable();
    let heavy = |rng: &mut Rng| 100_000 + u32::try_from(rng.below(900_001)).unwrap();
    weights[..witnesses / 2].fill_with(|| heavy(&mut rng));
    let mut classes = Vec::new();
    let mut leaves = Vec::new();
    for (n, &weight) in (1..).zip(&weights) {
        let mut class = child(n);
        if green {
            // Green for the whole of the test, with the weight of the rate in kbit/s: the burst is
            // endless.
            class = class.rate(Rate::from_bits_per_second(1000 * u64::from(weight)).unwrap());
            class.burst = Burst::Duration(1 << 62);
        } else {
            class = class.weight(weight);
        }
        class.quantum = Some(match seed % 4 {
            0 => 1538,
            1 => 20_000,
            _ => [1538, 6000, 20_000][usize::try_from(rng.below(3)).unwrap()],
        });
        leaves.push(class.id);
        classes.push(class);
    }
    // A visit ends with the frame that reaches the quantum; super-frames are peeled to it, so that no
    // part is longer than it.
    let shapes: Vec<FrameShape> = (0..count)
        .map(|_| [FULL, TINY, SUPER][usize::try_from(rng.below(3)).unwrap()])
        .collect();
    let unit = |(class, shape): (&ClassConfig, &FrameShape)| {
        let frame = Framing::ETHERNET.cost(*shape).wire_bytes.min(1538);
        u64::from(class.quantum.unwrap()).div_ceil(frame) * frame
    };
    let largest = classes.iter().zip(&shapes).map(unit).max().unwrap();
    let bound = |(class, shape): (&ClassConfig, &FrameShape)| {
        let unit = unit((class, shape));
        let more = if count <= FEW {
            3 * unit
        } else {
            6 * u64::from(class.quantum.unwrap()) + unit
        };
        i128::from(more + 2 * (largest - unit))
    };
    let bounds = classes.iter().zip(&shapes).map(bound).collect();
    let mut pairs = Pairs::new(&weights, bounds, witnesses);
    let mut tree = tree("1tbit", classes);
    tree.classes[0].cburst = Burst::Bytes(100_000);
    let mut drive = Drive::new(&tree, &leaves, FULL);
    drive.peel = true;
    drive.shapes = shapes.into_iter().map(Shapes::One).collect();
    drive.pause = [0, 10_000][usize::try_from(seed / 4 % 2).unwrap()];
    for leaf in 0..count {
        pairs.restart(leaf, true);
        drive.want(leaf, true);
    }
    let mut left = frames;
    while left > 0 {
        // Somebody comes or goes, and all others go on for a while.
        let leaf = usize::try_from(rng.below(count as u64)).unwrap();
        if rng.below(3) > 0 {
            if !pairs.waits[leaf] {
                pairs.restart(leaf, true);
            }
            drive.want(leaf, true);
        } else {
            drive.want(leaf, false);
        }
        // 128 to 512 KB.
        drive.run_with(1024 + rng.below(3072), |event| match event {
            Event::Sent(leaf, bytes) => {
                left = left.saturating_sub(1);
                pairs.sent(leaf, bytes);
            }
            Event::Idle(leaf) => pairs.restart(leaf, false),
        });
    }
    let stats = drive.engine.snapshot()[0].stats;
    let wanted = if green { stats.sent.wire_bytes } else { 0 };
    assert_eq!(stats.green_bytes, wanted, "all in one tier");
    pairs.worst
}

#[test]
fn few_leaves_share_by_weight_in_every_window_of_every_pair() {
    for green in [false, true] {
        let worst = (0..500).map(|seed| {
            let count = 2 + usize::try_from(seed % 11).unwrap();
            assert_weighted(seed, count, green, count, 4000)
        });
        println!(
            "green {green}: at worst {:?} thousandths of the bound",
            worst.max()
        );
    }
}

#[test]
fn many_leaves_share_by_weight_in_every_window() {
    for green in [false, true] {
        let worst = (0..16).map(|seed| {
            let count = 13 + 40 * usize::try_from(seed).unwrap();
            assert_weighted(seed, count, green, 6, 20_000)
        });
        println!(
            "green {green}: at worst {:?} thousandths of the bound",
            worst.max()
        );
    }
}
