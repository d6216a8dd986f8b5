//! T12, T16: a tree that changes amid traffic loses no frame and no count, stalls nobody, and keeps
//! every ceiling that did not change.
#![allow(clippy::unwrap_used)] // in helpers, too, a panic is a failed test

mod common;

use std::collections::BTreeMap;

use common::ledger::Ledger;
use common::sim::{TINY, child, id, mixed, rate, tree};
use common::{BYTE, Excess, Rng};
use qos::{
    Burst, ClassConfig, ClassId, Ecn, Engine, FlowsConfig, Frame, FrameShape, Framing, Grant,
    LeafQueue, Offer, Overcommit, Rate, Removed, Span, Time, TreeConfig, Wake,
};

/// Wire bytes of the largest frame that `mixed` makes.
const LARGEST: i128 = 70_000;

fn bits(rng: &mut Rng, most: u64) -> Rate {
    Rate::from_bits_per_second(5_000_000 + rng.below(most)).unwrap()
}

fn any_queue(rng: &mut Rng) -> LeafQueue {
    match rng.below(4) {
        0 => LeafQueue::Hold,
        1 => LeafQueue::Fifo { frames: 24 },
        n => LeafQueue::Flows(FlowsConfig {
            frames: 32,
            buckets: if n == 2 { 4 } else { 16 },
            ce_threshold_nanos: Some(9_000_000),
            ..FlowsConfig::default()
        }),
    }
}

fn has_children(tree: &TreeConfig, class: ClassId) -> bool {
    tree.classes.iter().any(|other| other.parent == Some(class))
}

/// One change: of a rate, a weight, a ceiling, a queue or a parent; a class that ends with all below
/// it; a class that begins.
fn change(tree: &mut TreeConfig, rng: &mut Rng) {
    let at = 1 + usize::try_from(rng.below(tree.classes.len() as u64 - 1)).unwrap();
    let name = tree.classes[at].id;
    let is_leaf = !has_children(tree, name);
    let fresh = id(3, u16::try_from(rng.below(30)).unwrap());
    let guests: Vec<ClassId> = (0..4).map(|n| id(1, n)).collect();
    let inner = guests
        .into_iter()
        .filter(|&guest| tree.classes.iter().any(|c| c.id == guest));
    let inner: Vec<ClassId> = inner.collect();
    let parent = inner[usize::try_from(rng.below(inner.len() as u64)).unwrap()];
    let many = tree.classes.len() > 8;
    let class = &mut tree.classes[at];
    match rng.below(9) {
        0 => class.rate = (rng.below(3) > 0).then(|| bits(rng, 40_000_000)),
        1 => class.weight = Some(1 + u32::try_from(rng.below(1000)).unwrap()),
        2 => class.prio = u8::try_from(rng.below(4)).unwrap(),
        3 => class.ceil = (rng.below(3) > 0).then(|| bits(rng, 200_000_000)),
        4 => class.cburst = Burst::Bytes(1538 + rng.below(100_000)),
        5 if is_leaf && name.major != 1 => class.queue = any_queue(rng),
        6 if is_leaf && name.major != 1 => class.parent = Some(parent),
        7 if many && (name.major != 1 || rng.below(8) == 0) => {
            tree.classes
                .retain(|c| c.id != name && c.parent != Some(name));
        }
        _ if tree.classes.iter().all(|class| class.id != fresh) => {
            let class = ClassConfig::new(fresh).parent(parent);
            tree.classes.push(class.queue(any_queue(rng)));
        }
        _ => {}
    }
    // A leaf's guarantee is within its ceiling, and its guest's is made to fit by scaling.
    for class in &mut tree.classes {
        if let (Some(rate), Some(ceil)) = (class.rate, class.ceil) {
            class.rate = Some(rate.min(ceil));
        }
    }
}

/// A meter for a class's ceiling, from the change that set it: its allowance is the burst and one
/// unit, once.
struct Meter {
    ceil: Rate,
    cburst: Burst,
    excess: Excess,
    bound: i128,
}

fn meter(class: &ClassConfig) -> Option<Meter> {
    let ceil = class.ceil?;
    let excess = Excess::new(ceil);
    let burst = match class.cburst {
        Burst::Bytes(bytes) => i128::from(bytes) * BYTE,
        _ => excess.worth(Span::from_nanos(2_000_000)).max(1538 * BYTE),
    };
    Some(Meter {
        ceil,
        cburst: class.cburst,
        excess,
        bound: burst + LARGEST * BYTE,
    })
}

/// Meters go on for classes whose ceiling stays.
fn remeter(meters: &mut BTreeMap<ClassId, Meter>, tree: &TreeConfig) {
    let mut old = std::mem::take(meters);
    for class in &tree.classes {
        let kept = old.remove(&class.id);
        let same = |m: &Meter| Some(m.ceil) == class.ceil && m.cburst == class.cburst;
        if let Some(meter) = kept.filter(same).or_else(|| meter(class)) {
            meters.insert(class.id, meter);
        }
    }
}

struct Live {
    engine: Engine,
    tree: TreeConfig,
    ledger: Ledger,
    meters: BTreeMap<ClassId, Meter>,
    now: Time,
    tokens: u64,
    sent: u64,
}

impl Live {
    fn new() -> Self {
        let mut tree = tree(
            "500mbit",
            vec![child(1).ceil(rate("300mbit")), child(2), child(3)],
        );
        tree.overcommit = Overcommit::Scale;
        tree.removed = Removed::Drop;
        for n in 0..8 {
            let class = ClassConfig::new(id(2, n)).parent(id(1, n % 4));
            let class = class.queue(LeafQueue::Fifo { frames: 24 });
            tree.classes.push(class.ceil(rate("90mbit")));
        }
        let mut meters = BTreeMap::new();
        remeter(&mut meters, &tree);
        Self {
            engine: Engine::new(&tree).unwrap(),
            ledger: Ledger::new(&tree),
            tree,
            meters,
            now: Time::from_nanos(1 << 30),
            tokens: 0,
            sent: 0,
        }
    }

    fn offer(&mut self, rng: &mut Rng) {
        for class in &self.tree.classes {
            let Some(key) = self.engine.leaf(class.id) else {
                continue;
            };
            if class.queue == LeafQueue::Hold {
                self.engine.backlogged(key, self.now);
                continue;
            }
            for _ in 0..rng.below(4) {
                self.tokens += 1;
                let frame = Frame {
                    token: self.tokens,
                    shape: mixed(rng),
                    flow: (rng.bits() >> 32) as u32,
                    ecn: if rng.below(3) == 0 {
                        Ecn::Ect0
                    } else {
                        Ecn::NotEct
                    },
                    ..Frame::new(0, TINY)
                };
                match self.engine.offer(key, frame, self.now) {
                    Offer::Queued => self.ledger.offered(class.id, frame.token, frame.shape),
                    Offer::Refused => self.ledger.refused(class.id),
                    Offer::Gone => panic!("a leaf that just was"),
                }
            }
        }
    }

    fn collect(&mut self) {
        while let Some(frame) = self.engine.dropped() {
            self.ledger.left(frame.token, frame.shape);
            self.ledger.dropped(frame.token);
        }
    }

    fn charge(&mut self, leaf: ClassId, shape: FrameShape) {
        let wire = Framing::ETHERNET.cost(shape).wire_bytes;
        let mut at = Some(leaf);
        while let Some(name) = at {
            if let Some(meter) = self.meters.get_mut(&name) {
                meter.excess.sent(self.now, wire);
                assert!(
                    meter.excess.highest() <= meter.bound,
                    "{name} above its ceiling"
                );
            }
            at = self
                .tree
                .classes
                .iter()
                .find(|c| c.id == name)
                .unwrap()
                .parent;
        }
    }

    /// Peeks; what is granted may have lost segments.
    fn peek(&mut self, now: Time) -> Option<Grant> {
        let grant = self.engine.peek(now)?;
        if let Some(frame) = grant.frame {
            self.ledger.left(frame.token, frame.shape);
        }
        Some(grant)
    }

    /// Sends what may go, peeled or whole; holds back or stops now and then.
    fn send(&mut self, rng: &mut Rng) {
        while let Some(grant) = self.peek(self.now) {
            let named = |class: &&ClassConfig| self.engine.leaf(class.id) == Some(grant.leaf);
            let leaf = self.tree.classes.iter().find(named).unwrap().id;
            if rng.below(40) == 0 {
                // Amid a visit, changes come upon a grant that is open.
                break;
            }
            let shape = grant.frame.map_or_else(|| mixed(rng), |frame| frame.shape);
            let part = shape
                .peel(grant.segments(shape))
                .filter(|_| rng.below(2) == 0);
            let part = part.map_or(shape, |(part, _)| part);
            let done = self.engine.commit(part);
            let whole = shape.after(part).is_none();
            assert_eq!(done.is_some(), grant.frame.is_some() && whole);
            self.ledger
                .sent(leaf, grant.frame.map(|frame| frame.token), part);
            if grant.mark && done.is_some() {
                self.ledger.marked(leaf);
            }
            self.charge(leaf, part);
            self.sent += 1;
        }
    }

    fn change(&mut self, rng: &mut Rng) {
        let mut next = self.tree.clone();
        for _ in 0..=rng.below(3) {
            change(&mut next, rng);
        }
        let before = self.engine.snapshot();
        match self.engine.apply(&next, self.now) {
            Ok(diff) => {
                self.ledger.apply(&next, &diff.dropped);
                remeter(&mut self.meters, &next);
                self.tree = next;
            }
            // A leaf that became a parent may still have a queue, say.
            Err(_) => assert_eq!(self.engine.snapshot(), before),
        }
    }

    /// T11: the wake is kept, and nobody is forgotten.
    fn advance(&mut self, rng: &mut Rng) {
        match self.engine.next_wake(self.now) {
            Wake::Now => assert!(self.peek(self.now).is_some()),
            Wake::At(at) => {
                assert!(at > self.now && self.peek(self.now).is_none());
                self.now = at;
                assert!(self.peek(at).is_some(), "a wake at which nothing goes");
                let late = rng.below(2) * rng.below(1 << 22);
                self.now = self.now.saturating_add(Span::from_nanos(late));
            }
            Wake::Idle => {
                assert!(!self.ledger.waits(), "frames wait and no wake comes");
                self.now = self.now.saturating_add(Span::from_nanos(1_000_000));
            }
        }
    }
}

#[test]
fn random_changes_amid_traffic_lose_nothing_stall_nobody_and_keep_every_ceiling() {
    let mut dropped = 0;
    for seed in 0..12 {
        let mut rng = Rng(seed);
        let mut live = Live::new();
        for _ in 0..500 {
            live.offer(&mut rng);
            live.collect();
            live.ledger.check(&live.engine.snapshot());
            live.send(&mut rng);
            live.collect();
            live.ledger.check(&live.engine.snapshot());
            if rng.below(2) == 0 {
                live.change(&mut rng);
            }
            live.ledger.check(&live.engine.snapshot());
            live.advance(&mut rng);
            live.collect();
        }
        assert!(live.sent > 500, "seed {seed}: {} sent", live.sent);
        dropped += live.engine.snapshot()[0].stats.dropped.frames;
    }
    assert!(dropped > 1000, "{dropped} dropped");
}

/// Frames of leaves that a change takes out go in their turn, or at once, as the tree says.
#[test]
fn leaves_that_a_change_removes_drain_or_drop_and_no_frame_is_forgotten() {
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
    let (mut offered, mut sent, mut dropped, mut drained) = (0_u64, 0_u64, 0_u64, 0);
    let mut bytes = 0;
    let mut out = Vec::new();
    for _ in 0..800 {
        for minor in 3..12 {
            if let Some(leaf) = engine.leaf(id(1, minor)) {
                let frame = Frame::new(0, mixed(&mut rng));
                offered += u64::from(engine.offer(leaf, frame, now) == Offer::Queued);
            }
        }
        out.clear();
        engine.poll(now, u32::MAX, &mut out);
        for part in &out {
            sent += u64::from(part.is_last());
            bytes += Framing::ETHERNET.cost(part.shape).wire_bytes;
        }
        if rng.below(3) == 0 {
            let diff = engine.apply(&random_tree(&mut rng), now).unwrap();
            dropped += diff.dropped.len() as u64;
            drained += diff.draining;
        }
        let root = engine.snapshot()[0];
        assert_eq!(offered, sent + dropped + root.queued);
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
        sent > 500 && dropped > 50 && drained > 50,
        "{sent} sent, {dropped} dropped, {drained} leaves drained"
    );
}
