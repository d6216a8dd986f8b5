//! T19: every short history of small trees against a naive scheduler that says who may be next:
//! limits, guarantees before all else, then priorities, on every level.
#![allow(clippy::unwrap_used)] // in helpers, too, a panic is a failed test

mod common;

use std::collections::BTreeMap;

use common::Rng;
use common::bucket::{Bucket, WHOLE};
use common::sim::{FULL, child, id, rate, tree};
use qos::{
    Burst, ClassConfig, ClassId, Engine, Frame, Hold, LeafKey, LeafQueue, Offer, Rate, Span, Time,
    TreeConfig, Wake,
};

/// What the clock moves by: a whole number of the grain of the engine's timers, so that none is late.
const STEP: u64 = 1024 * 1000;
const GRAIN: u64 = 1024;
const WIRE: u64 = 1538;

#[derive(Clone)]
struct Node {
    config: ClassConfig,
    ceil: Option<Bucket>,
    rate: Option<Bucket>,
    children: Vec<ClassId>,
    frames: u32,
    blocked: bool,
}

/// The semantics, one rule after the other.
#[derive(Clone)]
struct Naive {
    nodes: BTreeMap<ClassId, Node>,
    root: ClassId,
}

impl Naive {
    fn new(tree: &TreeConfig, now: Time) -> Self {
        let bucket = |rate: Rate, burst: Burst| {
            let (time, bytes) = match burst {
                Burst::Bytes(bytes) => (Span::ZERO, bytes),
                _ => (Span::from_nanos(2_000_000), WIRE),
            };
            Bucket::new(rate, WHOLE, time, bytes, now)
        };
        let node = |class: &ClassConfig| Node {
            config: class.clone(),
            ceil: class.ceil.map(|ceil| bucket(ceil, class.cburst)),
            // The root's rate is the link's speed, and guarantees nothing.
            rate: class
                .rate
                .filter(|_| class.parent.is_some())
                .map(|r| bucket(r, class.burst)),
            children: tree
                .classes
                .iter()
                .filter(|other| other.parent == Some(class.id))
                .map(|other| other.id)
                .collect(),
            frames: 0,
            blocked: false,
        };
        Self {
            nodes: tree
                .classes
                .iter()
                .map(|class| (class.id, node(class)))
                .collect(),
            root: tree.classes[0].id,
        }
    }

    fn advance(&mut self, now: Time) {
        for node in self.nodes.values_mut() {
            for bucket in node.ceil.iter_mut().chain(&mut node.rate) {
                bucket.fill(now);
            }
        }
    }

    /// Whether anything below, or itself, may go as far as limits up to here say.
    fn waits(&self, class: ClassId) -> bool {
        let node = &self.nodes[&class];
        let below = node.children.iter().any(|&child| self.waits(child));
        let own = node.frames > 0 && !node.blocked;
        (below || own) && node.ceil.as_ref().is_none_or(Bucket::open)
    }

    fn below_rate(&self, class: ClassId) -> bool {
        self.nodes[&class].rate.as_ref().is_some_and(Bucket::open)
    }

    /// Whether it goes before all excess: it is below its guarantee, or a descendant that waits is.
    fn green(&self, class: ClassId) -> bool {
        let children = &self.nodes[&class].children;
        let below = children
            .iter()
            .any(|&child| self.waits(child) && self.green(child));
        below || self.below_rate(class)
    }

    fn tier(&self, class: ClassId) -> u8 {
        if self.green(class) {
            0
        } else {
            1 + self.nodes[&class].config.prio
        }
    }

    /// The leaves of which one must be next.
    fn next(&self, class: ClassId) -> Vec<ClassId> {
        if !self.waits(class) {
            return Vec::new();
        }
        let children = &self.nodes[&class].children;
        if children.is_empty() {
            return vec![class];
        }
        let waiting: Vec<ClassId> = children
            .iter()
            .copied()
            .filter(|&c| self.waits(c))
            .collect();
        let best = waiting.iter().map(|&child| self.tier(child)).min();
        let first = waiting
            .iter()
            .filter(|&&child| Some(self.tier(child)) == best);
        first.flat_map(|&child| self.next(child)).collect()
    }

    fn send(&mut self, leaf: ClassId) {
        // As things stood when it was chosen.
        let before = self.clone();
        self.nodes.get_mut(&leaf).unwrap().frames -= 1;
        let (mut guaranteed, mut at) = (false, Some(leaf));
        while let Some(class) = at {
            // What goes within a guarantee counts against it, and against all above it.
            guaranteed |= before.below_rate(class);
            let node = self.nodes.get_mut(&class).unwrap();
            if let Some(rate) = node.rate.as_mut().filter(|_| guaranteed) {
                rate.take(WIRE);
            }
            if let Some(ceil) = &mut node.ceil {
                ceil.take(WIRE);
            }
            at = node.config.parent;
        }
    }
}

/// What may happen.
#[derive(Clone, Copy, Debug)]
enum Op {
    Offer(usize),
    Serve,
    Drain,
    Block,
    Unblock,
    Advance,
}

struct Pair {
    engine: Engine,
    naive: Naive,
    leaves: Vec<(ClassId, LeafKey)>,
    now: Time,
}

impl Pair {
    fn new(tree: &TreeConfig, leaves: &[ClassId]) -> Self {
        let engine = Engine::new(tree).unwrap();
        let now = Time::from_nanos(STEP * 1000);
        let keys = leaves.iter().map(|&id| (id, engine.leaf(id).unwrap()));
        Self {
            leaves: keys.collect(),
            naive: Naive::new(tree, now),
            engine,
            now,
        }
    }

    /// The engine's choice is one of those that it must be.
    fn choose(&mut self) -> Option<ClassId> {
        let may = self.naive.next(self.naive.root);
        let Some(grant) = self.engine.peek(self.now) else {
            assert_eq!(may, [], "somebody may go, and nobody goes");
            return None;
        };
        let (leaf, _) = self
            .leaves
            .iter()
            .find(|(_, key)| *key == grant.leaf)
            .unwrap();
        assert!(may.contains(leaf), "{leaf} goes instead of one of {may:?}");
        Some(*leaf)
    }

    fn serve(&mut self) -> bool {
        let Some(leaf) = self.choose() else {
            return false;
        };
        assert!(self.engine.commit(FULL).is_some());
        self.naive.send(leaf);
        true
    }

    fn apply(&mut self, op: Op) {
        match op {
            Op::Offer(n) => {
                let (leaf, key) = self.leaves[n];
                let offer = self.engine.offer(key, Frame::new(0, FULL), self.now);
                assert_eq!(offer, Offer::Queued);
                self.naive.nodes.get_mut(&leaf).unwrap().frames += 1;
            }
            Op::Serve => _ = self.serve(),
            Op::Drain => while self.serve() {},
            Op::Block => {
                if let Some(leaf) = self.choose() {
                    self.engine.abort(Hold::Blocked);
                    self.naive.nodes.get_mut(&leaf).unwrap().blocked = true;
                }
            }
            Op::Unblock => {
                for &(leaf, key) in &self.leaves {
                    assert!(self.engine.unblock(key, self.now));
                    self.naive.nodes.get_mut(&leaf).unwrap().blocked = false;
                }
            }
            Op::Advance => {
                self.now = self.now.saturating_add(Span::from_nanos(STEP));
                self.naive.advance(self.now);
            }
        }
    }

    /// The wake is the first grain at which anybody may go.
    fn check_wake(&mut self) {
        let mut later = self.naive.clone();
        match self.engine.next_wake(self.now) {
            Wake::Now => assert!(self.choose().is_some(), "now, and nobody may go"),
            Wake::At(at) => {
                assert!(at > self.now && later.next(later.root).is_empty());
                later.advance(at.saturating_sub(Span::from_nanos(GRAIN)));
                assert_eq!(later.next(later.root), [], "a wake that comes late");
                later.advance(at);
                assert!(!later.next(later.root).is_empty(), "a wake for nobody");
            }
            Wake::Idle => {
                let nodes = later.nodes.values();
                assert!(
                    nodes
                        .into_iter()
                        .all(|node| node.frames == 0 || node.blocked)
                );
            }
        }
    }
}

/// Every history of `length` of these operations.
fn explore(tree: &TreeConfig, leaves: &[ClassId], ops: [Op; 6], length: u32) {
    for history in 0..6_usize.pow(length) {
        let mut pair = Pair::new(tree, leaves);
        let mut rest = history;
        for _ in 0..length {
            pair.apply(ops[rest % 6]);
            rest /= 6;
        }
        pair.check_wake();
        while pair.serve() {}
        pair.check_wake();
    }
}

const THREE: [Op; 6] = [
    Op::Offer(0),
    Op::Offer(1),
    Op::Offer(2),
    Op::Serve,
    Op::Drain,
    Op::Advance,
];

const TWO: [Op; 6] = [
    Op::Offer(0),
    Op::Offer(1),
    Op::Serve,
    Op::Block,
    Op::Unblock,
    Op::Advance,
];

/// A visit is one frame, so that every frame is a decision; bursts are of one frame, so that a few of
/// them make a difference.
fn tight(mut class: ClassConfig) -> ClassConfig {
    (class.burst, class.cburst) = (Burst::Bytes(WIRE), Burst::Bytes(WIRE));
    class.quantum = Some(1538);
    class
}

fn leaf(class: ClassConfig) -> ClassConfig {
    tight(class.queue(LeafQueue::Fifo { frames: 16 }))
}

/// Rates here divide a second's bits, so that no time of a byte is rounded.
fn flat() -> (TreeConfig, Vec<ClassId>) {
    let classes = vec![
        leaf(child(1).rate(rate("5mbit")).prio(3)),
        leaf(child(2).ceil(rate("4mbit")).prio(1)),
        leaf(child(3).rate(rate("1mbit")).ceil(rate("8mbit"))),
    ];
    (tree("20mbit", classes), vec![id(1, 1), id(1, 2), id(1, 3)])
}

fn nested() -> (TreeConfig, Vec<ClassId>) {
    let below = |minor| ClassConfig::new(id(1, minor)).parent(id(1, 4));
    let classes = vec![
        tight(child(4).rate(rate("4mbit")).ceil(rate("10mbit")).prio(1)),
        leaf(below(1).rate(rate("2mbit")).prio(2)),
        leaf(below(2)),
        leaf(child(3).rate(rate("1mbit"))),
    ];
    (tree("20mbit", classes), vec![id(1, 1), id(1, 2), id(1, 3)])
}

#[test]
fn every_short_history_of_three_leaves_goes_as_the_naive_scheduler_says() {
    let (tree, leaves) = flat();
    explore(&tree, &leaves, THREE, 6);
}

#[test]
fn every_short_history_of_leaves_on_two_levels_goes_as_the_naive_scheduler_says() {
    let (tree, leaves) = nested();
    explore(&tree, &leaves, THREE, 6);
}

#[test]
fn every_short_history_with_leaves_that_are_blocked_goes_as_the_naive_scheduler_says() {
    for (tree, leaves) in [flat(), nested()] {
        explore(&tree, &leaves, TWO, 6);
    }
}

#[test]
fn long_random_histories_go_as_the_naive_scheduler_says() {
    for seed in 0..400 {
        let mut rng = Rng(seed);
        let (tree, leaves) = [flat(), nested()][usize::try_from(seed % 2).unwrap()].clone();
        let mut pair = Pair::new(&tree, &leaves);
        for _ in 0..150 {
            let op = match rng.below(11) {
                n @ 0..3 => Op::Offer(usize::try_from(n).unwrap()),
                3 | 4 => Op::Serve,
                5 => Op::Drain,
                6 => Op::Block,
                7 => Op::Unblock,
                _ => Op::Advance,
            };
            // Queues hold 16 frames.
            let full = |n: usize| pair.naive.nodes[&leaves[n]].frames >= 16;
            if !matches!(op, Op::Offer(n) if full(n)) {
                pair.apply(op);
            }
            pair.check_wake();
        }
    }
}
