//! T9, T11, T12: what holds after every operation, whatever the history.
#![allow(clippy::unwrap_used)] // in helpers, too, a panic is a failed test

mod common;

use std::collections::BTreeMap;

use common::Rng;
use common::sim::{child, id, mixed, rate, tree};
use qos::{
    Burst, ClassConfig, ClassId, Demand, Engine, Frame, FrameShape, Framing, Hold, LeafKey,
    LeafQueue, Limiter, LimiterConfig, Offer, Span, Time, TreeConfig, Wake,
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
