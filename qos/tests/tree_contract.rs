//! T9, T11, T12, T14, T15, T16, T19: what holds after every operation, whatever the history.
#![allow(clippy::unwrap_used)] // in helpers, too, a panic is a failed test

mod common;

use std::collections::BTreeMap;

use common::Rng;
use common::sim::{FULL, Sim, child, id, mixed, rate, tree};
use qos::{
    Burst, ClassConfig, ClassId, Demand, Engine, Frame, FrameShape, Framing, Hold, LeafKey,
    LeafQueue, Limiter, LimiterConfig, Offer, Rate, Removed, Span, Time, TreeConfig, Wake,
};

/// The naive scheduler: a limiter per class and a count per leaf. It does not say who is next, but
/// who may be, which is all that is promised.
struct Model {
    limits: BTreeMap<ClassId, Limiter>,
    parents: BTreeMap<ClassId, Option<ClassId>>,
    waiting: BTreeMap<ClassId, (u64, bool)>,
}

impl Model {
    fn new(tree: &TreeConfig) -> Self {
        let limiter = |class: &ClassConfig| {
            Limiter::new(&LimiterConfig {
                rate: class.ceil,
                burst: class.cburst,
                pps: class.pps,
                pps_burst: class.pps_burst,
                unit_wire_bytes: tree.unit_wire_bytes.into(),
            })
        };
        let limits = tree.classes.iter().map(|class| (class.id, limiter(class)));
        let parents = tree.classes.iter().map(|class| (class.id, class.parent));
        Self {
            limits: limits.collect(),
            parents: parents.collect(),
            waiting: BTreeMap::new(),
        }
    }

    fn path(&self, leaf: ClassId) -> Vec<ClassId> {
        std::iter::successors(Some(leaf), |class| self.parents[class]).collect()
    }

    /// Whether a frame of the leaf may go.
    fn may_go(&self, leaf: ClassId, now: Time) -> bool {
        let open = |class: &ClassId| self.limits[class].ready(now);
        let &(frames, blocked) = self.waiting.get(&leaf).unwrap_or(&(0, false));
        frames > 0 && !blocked && self.path(leaf).iter().all(open)
    }

    fn anybody(&self, now: Time) -> bool {
        self.waiting.keys().any(|&leaf| self.may_go(leaf, now))
    }

    fn send(&mut self, leaf: ClassId, shape: FrameShape, now: Time) {
        self.waiting.get_mut(&leaf).unwrap().0 -= 1;
        for class in self.path(leaf) {
            let cost = Framing::ETHERNET.cost(shape);
            let limit = self.limits.get_mut(&class).unwrap();
            limit.commit(now, cost, Demand::Fresh);
        }
    }
}

/// The engine beside the model.
struct Pair {
    engine: Engine,
    model: Model,
    leaves: Vec<(ClassId, LeafKey)>,
    now: Time,
    offered: u64,
    sent: u64,
}

impl Pair {
    fn new(tree: &TreeConfig) -> Self {
        let engine = Engine::new(tree).unwrap();
        let ids = tree.classes.iter().map(|class| class.id);
        let leaves = ids.filter_map(|id| Some((id, engine.leaf(id)?))).collect();
        Self {
            engine,
            model: Model::new(tree),
            leaves,
            now: Time::from_nanos(1_024_000_000),
            offered: 0,
            sent: 0,
        }
    }

    fn offer(&mut self, leaf: usize, shape: FrameShape) {
        let (id, key) = self.leaves[leaf];
        let frame = Frame::new(self.offered, shape);
        let queued = self.engine.offer(key, frame, self.now) == Offer::Queued;
        let waiting = self.model.waiting.entry(id).or_default();
        assert_eq!(
            queued,
            waiting.0 < 8,
            "refused exactly when the queue is full"
        );
        waiting.0 += u64::from(queued);
        self.offered += u64::from(queued);
    }

    /// Serves once; T9 both ways.
    fn serve(&mut self, hold: Option<Hold>) -> bool {
        let grant = self.engine.peek(self.now);
        let Some(grant) = grant else {
            // The wheel rounds up to its grain: who was open a grain ago must have been served.
            let before = self.now.saturating_sub(Span::from_nanos(1024));
            assert!(
                !self.model.anybody(before),
                "somebody may go, and nobody goes"
            );
            return false;
        };
        let &(id, _) = self
            .leaves
            .iter()
            .find(|(_, key)| *key == grant.leaf)
            .unwrap();
        assert!(self.model.may_go(id, self.now), "{id} goes and must not");
        if let Some(why) = hold {
            self.engine.abort(why);
            if why == Hold::Blocked {
                self.model.waiting.get_mut(&id).unwrap().1 = true;
            }
            return false;
        }
        let shape = grant.frame.unwrap().shape;
        assert!(self.engine.commit(shape).is_some());
        self.model.send(id, shape, self.now);
        self.sent += 1;
        true
    }

    fn unblock(&mut self, leaf: usize) {
        let (id, key) = self.leaves[leaf];
        assert!(self.engine.unblock(key, self.now));
        self.model.waiting.entry(id).or_default().1 = false;
    }

    /// T11 and T12.
    fn check(&mut self) {
        match self.engine.next_wake(self.now) {
            Wake::Now => assert!(
                self.engine.peek(self.now).is_some(),
                "now, and nothing goes"
            ),
            Wake::At(at) => {
                assert!(at > self.now && self.engine.peek(self.now).is_none());
                assert!(self.model.anybody(at), "a wake at which nothing may go");
                let before = at.saturating_sub(Span::from_nanos(1025));
                assert!(!self.model.anybody(before), "a wake that comes late");
            }
            Wake::Idle => {
                let mut waiting = self.model.waiting.values();
                assert!(waiting.all(|&(frames, blocked)| frames == 0 || blocked));
            }
        }
        let snapshot = self.engine.snapshot();
        let waiting: u64 = self.model.waiting.values().map(|&(frames, _)| frames).sum();
        assert_eq!(snapshot[0].queued, waiting);
        assert_eq!(self.offered, self.sent + waiting);
        for class in snapshot {
            let stats = class.stats;
            assert_eq!(
                stats.offered.frames,
                stats.sent.frames + stats.dropped.frames + class.queued
            );
        }
    }
}

/// Root of 80 Mbit/s, two guests, five leaves with queues of 8 frames; ceilings all over.
fn small_tree() -> TreeConfig {
    let queue = LeafQueue::Fifo { frames: 8 };
    let leaf = |minor, parent| {
        ClassConfig::new(id(1, minor))
            .parent(id(1, parent))
            .queue(queue)
    };
    let mut pps = leaf(5, 2);
    pps.pps = "3kpps".parse().ok();
    let mut guest = child(2).ceil(rate("30mbit"));
    guest.cburst = Burst::Bytes(1538);
    let classes = vec![
        child(1).rate(rate("20mbit")).ceil(rate("50mbit")),
        guest,
        leaf(3, 1).rate(rate("10mbit")).ceil(rate("20mbit")),
        leaf(4, 1).prio(2),
        pps,
        leaf(6, 2).ceil(rate("5mbit")).prio(1),
        leaf(7, 0).ceil(rate("9mbit")).rate(rate("5mbit")),
    ];
    tree("80mbit", classes)
}

#[test]
fn random_histories_keep_every_promise() {
    for seed in 0..60 {
        let mut rng = Rng(seed);
        let mut pair = Pair::new(&small_tree());
        for _ in 0..600 {
            let leaf = usize::try_from(rng.below(5)).unwrap();
            match rng.below(16) {
                0..=5 => {
                    let shape = mixed(&mut rng);
                    pair.offer(leaf, shape);
                }
                6..=9 => while pair.serve(None) {},
                10 => _ = pair.serve(None),
                11 => _ = pair.serve(Some(Hold::Later)),
                12 => _ = pair.serve(Some(Hold::Blocked)),
                13 => pair.unblock(leaf),
                14 => {
                    pair.now = pair
                        .now
                        .saturating_add(Span::from_ticks((rng.bits() >> rng.below(40)).into()))
                }
                _ => {
                    if let Wake::At(at) = pair.engine.next_wake(pair.now) {
                        pair.now = Time::from_nanos(at.ceil_nanos());
                    }
                }
            }
            pair.check();
        }
    }
}

#[test]
fn every_short_history_of_three_classes_keeps_every_promise() {
    let queue = LeafQueue::Fifo { frames: 8 };
    let mut tight = child(1).ceil(rate("1mbit")).queue(queue);
    tight.cburst = Burst::Bytes(1538);
    let tree = tree(
        "10mbit",
        vec![tight, child(2).rate(rate("5mbit")).prio(3).queue(queue)],
    );
    for history in 0..6_u32.pow(7) {
        let mut pair = Pair::new(&tree);
        let mut ops = history;
        for _ in 0..7 {
            match ops % 6 {
                0 => pair.offer(0, FULL),
                1 => pair.offer(1, FULL),
                2 => _ = pair.serve(None),
                3 => _ = pair.serve(Some(Hold::Blocked)),
                4 => {
                    pair.unblock(0);
                    pair.unblock(1);
                }
                _ => pair.now = pair.now.saturating_add(Span::from_nanos(1_024_000)),
            }
            ops /= 6;
        }
        pair.check();
    }
}

/// Who sends in which order, for a fixed history on `tree`, by position of the leaf in `leaves`.
fn order(tree: &TreeConfig, leaves: &[ClassId]) -> Vec<usize> {
    let mut engine = Engine::new(tree).unwrap();
    let keys: Vec<LeafKey> = leaves.iter().map(|&id| engine.leaf(id).unwrap()).collect();
    let (mut rng, mut now) = (Rng(5), Time::from_nanos(1 << 30));
    let mut order = Vec::new();
    for _ in 0..3000 {
        for &key in &keys {
            if rng.below(4) == 0 {
                engine.backlogged(key, now);
            }
        }
        while let Some(grant) = engine.peek(now) {
            if rng.below(5) == 0 {
                engine.abort(Hold::Empty);
                continue;
            }
            engine.commit(mixed(&mut rng));
            order.push(keys.iter().position(|&key| key == grant.leaf).unwrap());
        }
        now = match engine.next_wake(now) {
            Wake::At(at) => at,
            _ => now.saturating_add(Span::from_nanos(100_000)),
        };
    }
    order
}

/// Leaves `major:1..=6` below two guests, with rates so that nothing depends on the siblings' number.
fn renumbered(major: u16, idle: u16) -> (TreeConfig, Vec<ClassId>) {
    let mut classes = vec![
        ClassConfig::new(id(major, 100))
            .parent(id(1, 0))
            .rate(rate("300mbit"))
            .ceil(rate("500mbit")),
        ClassConfig::new(id(major, 50))
            .parent(id(1, 0))
            .rate(rate("100mbit")),
    ];
    let mut leaves = Vec::new();
    for n in 1..=6 {
        let leaf = id(major, if major == 1 { n } else { 99 - n });
        let parent = id(major, if n % 2 == 0 { 100 } else { 50 });
        let class = ClassConfig::new(leaf).parent(parent).rate(rate("10mbit"));
        classes.push(
            class
                .weight(u32::from(n))
                .prio(u8::try_from(n / 5).unwrap()),
        );
        leaves.push(leaf);
    }
    for n in 0..idle {
        let parent = id(major, if n % 2 == 0 { 100 } else { 50 });
        classes.push(ClassConfig::new(id(77, n)).parent(parent).weight(9));
    }
    (tree("1gbit", classes), leaves)
}

#[test]
fn renumbering_and_idle_classes_change_nobody_s_turn() {
    let (tree, leaves) = renumbered(1, 0);
    let want = order(&tree, &leaves);
    assert!(want.len() > 3000);
    let (tree, leaves) = renumbered(2, 0);
    assert_eq!(order(&tree, &leaves), want);
    // With more children the parents compare groups; from there on their number changes nothing.
    let (tree, leaves) = renumbered(1, 100);
    let want = order(&tree, &leaves);
    let (tree, leaves) = renumbered(1, 50_000);
    assert_eq!(order(&tree, &leaves), want);
}

#[test]
fn the_trace_is_the_same_in_every_run_and_build() {
    let trace = || {
        let mut hash = 0xcbf2_9ce4_8422_2325_u64;
        for idle in [0, 40] {
            let (tree, leaves) = renumbered(1, idle);
            for leaf in order(&tree, &leaves) {
                hash = (hash ^ leaf as u64).wrapping_mul(0x0000_0100_0000_01b3);
            }
        }
        hash
    };
    assert_eq!(trace(), trace());
    assert_eq!(trace(), 1_200_336_088_604_112_366);
}

#[test]
fn changes_amid_traffic_lose_no_frame_stall_nobody_and_break_no_limit() {
    let queue = LeafQueue::Fifo { frames: 64 };
    let mut rng = Rng(8);
    let random_tree = |rng: &mut Rng| {
        let mut classes = vec![child(1).ceil(rate("400mbit")), child(2)];
        for minor in 3..12 {
            if rng.below(4) == 0 {
                continue;
            }
            let parent = u16::try_from(rng.below(3)).unwrap();
            let ceil = Rate::from_bits_per_second(10_000_000 + rng.below(90_000_000)).unwrap();
            let weight = 1 + u32::try_from(rng.below(100)).unwrap();
            let class = ClassConfig::new(id(1, minor)).parent(id(1, parent));
            classes.push(class.weight(weight).ceil(ceil).queue(queue));
        }
        TreeConfig {
            removed: [Removed::Drop, Removed::Drain][usize::try_from(rng.below(2)).unwrap()],
            ..tree("500mbit", classes)
        }
    };
    let mut engine = Engine::new(&random_tree(&mut rng)).unwrap();
    let mut now = Time::from_nanos(1 << 30);
    let (mut offered, mut sent, mut dropped, mut bytes) = (0_u64, 0_u64, 0_u64, 0_u64);
    for _ in 0..800 {
        for minor in 3..12 {
            if let Some(leaf) = engine.leaf(id(1, minor)) {
                let shape = mixed(&mut rng);
                let frame = Frame::new(0, shape);
                offered += u64::from(engine.offer(leaf, frame, now) == Offer::Queued);
            }
        }
        while engine.peek(now).is_some_and(|grant| {
            let shape = grant.frame.unwrap().shape;
            engine.commit(shape).is_some_and(|_| {
                bytes += Framing::ETHERNET.cost(shape).wire_bytes;
                true
            })
        }) {
            sent += 1;
        }
        if rng.below(3) == 0 {
            let diff = engine.apply(&random_tree(&mut rng), now).unwrap();
            dropped += diff.dropped.len() as u64;
        }
        let root = engine.snapshot()[0];
        assert_eq!(offered, sent + dropped + root.queued);
        assert_eq!(root.stats.sent.frames, sent);
        match engine.next_wake(now) {
            Wake::At(at) => now = at,
            Wake::Now => {}
            Wake::Idle => {
                assert_eq!(root.queued, 0, "frames wait and no wake comes");
                now = now.saturating_add(Span::from_nanos(1_000_000));
            }
        }
    }
    let nanos = now.as_nanos() - (1 << 30);
    assert!(bytes <= rate("500mbit").bytes_in(nanos + 2_000_000) + 70_000);
    assert!(
        sent > 500 && dropped > 100,
        "{sent} sent, {dropped} dropped"
    );
}

#[test]
fn a_refused_tree_changes_nothing() {
    let mut sim = Sim::new(&tree("10mbit", vec![child(1), child(2)]));
    sim.greedy(id(1, 1), FULL);
    sim.run(10_000_000);
    let before = sim.engine.snapshot();
    let bad = tree("10mbit", vec![child(1).rate(rate("11mbit"))]);
    assert!(sim.engine.apply(&bad, sim.now).is_err());
    assert_eq!(sim.engine.snapshot(), before);
    sim.run(10_000_000);
}

#[test]
fn a_clock_that_stands_or_steps_back_neither_mints_nor_stalls() {
    let mut sim = Sim::new(&tree("10mbit", vec![child(1)]));
    sim.greedy(id(1, 1), FULL);
    sim.run(1_000_000_000);
    let at = sim.now;
    for back in [0, 1, 500_000_000, 2_000_000_000] {
        let then = at.saturating_sub(Span::from_nanos(back));
        while sim.engine.peek(then).is_some() {
            sim.engine.commit(FULL);
        }
        assert!(matches!(sim.engine.next_wake(then), Wake::At(wake) if wake > at));
    }
    let sent = sim.engine.snapshot()[0].stats.sent.wire_bytes;
    assert!(sent <= 1_250_000 + 2500 + 2 * 1538, "{sent}");
}
