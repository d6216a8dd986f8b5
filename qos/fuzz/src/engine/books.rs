//! Double entry: where every frame is, and what every class must have counted. Written from what the
//! counters, and changes of a tree, are said to do.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use qos::class::ClassConfig;
use qos::engine::{ClassSnapshot, ClassStats, Diff, State};
use qos::{
    Burst, ClassId, Engine, FlowCounters, Frame, FrameShape, Framing, LeafKey, LeafQueue, Removed,
    Time, TreeConfig,
};

use super::meter::{Meter, Terms};

/// What cannot be seen from outside: the largest quantum that a tree chooses itself.
const LARGEST_QUANTUM: u64 = 65_536;

/// A number of a class, never used again.
pub(super) type Number = u32;

/// A leaf.
#[derive(Debug)]
pub(super) struct Leaf {
    pub(super) key: LeafKey,
    pub(super) queue: LeafQueue,
    /// Tokens that wait, in the order in which they came.
    pub(super) queued: VecDeque<u64>,
    /// Something waits with the caller.
    pub(super) backlogged: bool,
    pub(super) blocked: bool,
    /// Its flows may have been told apart in another way when some of these frames came.
    remixed: bool,
}

impl Leaf {
    pub(super) fn waits(&self) -> bool {
        self.backlogged || !self.queued.is_empty()
    }

    pub(super) fn may_go(&self) -> bool {
        self.waits() && !self.blocked
    }
}

/// A class.
#[derive(Debug)]
struct Class {
    id: ClassId,
    parent: Option<Number>,
    framing: Framing,
    /// Whose meters are its own, too.
    shares: Option<Number>,
    ceil: Option<Meter>,
    pps: Option<Meter>,
    /// What it counted itself, and inherited from descendants that ended.
    own: ClassStats,
    leaf: Option<Leaf>,
}

/// A frame that waits; of a peeled one, what is left.
#[derive(Clone, Copy, Debug)]
struct Waiting {
    class: Number,
    frame: Frame,
    /// Segments that were neither sent nor dropped yet.
    segments: u32,
}

impl Waiting {
    /// Some of its segments have gone, or all.
    fn goes(&mut self, part: FrameShape) {
        // Every framing counts the same segments.
        let segments = Framing::ETHERNET.cost(part).segments;
        let left = self.segments.checked_sub(segments);
        self.segments = left.expect("more segments than there were");
    }
}

/// The books.
#[derive(Debug, Default)]
pub(super) struct Books {
    classes: BTreeMap<Number, Class>,
    live: BTreeMap<ClassId, Number>,
    draining: BTreeSet<Number>,
    waiting: BTreeMap<u64, Waiting>,
    /// Frames that were given back and are not yet written off.
    given_back: BTreeSet<u64>,
    next: Number,
    /// The root's counters when they were last seen.
    root: Option<(Number, ClassStats)>,
}

fn count(counters: &mut FlowCounters, framing: Framing, shape: FrameShape) {
    counters.add(shape.len, framing.cost(shape));
}

fn merge(sum: &mut ClassStats, other: &ClassStats) {
    sum.offered.merge(&other.offered);
    sum.sent.merge(&other.sent);
    sum.dropped.merge(&other.dropped);
    sum.refused += other.refused;
    sum.marked += other.marked;
}

const fn kind(queue: LeafQueue) -> u8 {
    match queue {
        LeafQueue::Hold => 0,
        LeafQueue::Fifo { .. } => 1,
        LeafQueue::Flows(_) => 2,
    }
}

impl Books {
    /// Leaves in the tree, by the order of their names, then those that drain.
    pub(super) fn leaves(&self) -> impl Iterator<Item = Number> {
        let all = self.live.values().chain(&self.draining);
        all.copied()
            .filter(|number| self.classes[number].leaf.is_some())
    }

    pub(super) fn find(&self, key: LeafKey) -> Option<Number> {
        self.leaves().find(|&number| self.leaf(number).key == key)
    }

    pub(super) fn leaf(&self, number: Number) -> &Leaf {
        self.classes[&number].leaf.as_ref().unwrap()
    }

    pub(super) fn leaf_mut(&mut self, number: Number) -> &mut Leaf {
        let class = self.classes.get_mut(&number).unwrap();
        class.leaf.as_mut().unwrap()
    }

    pub(super) fn id(&self, number: Number) -> ClassId {
        self.classes[&number].id
    }

    pub(super) fn drains(&self, number: Number) -> bool {
        self.draining.contains(&number)
    }

    pub(super) fn framing(&self, number: Number) -> Framing {
        self.classes[&number].framing
    }

    /// A class and those above it.
    pub(super) fn way(&self, number: Number) -> Vec<Number> {
        self.above(number).collect()
    }

    pub(super) fn is_there(&self, number: Number) -> bool {
        self.classes.contains_key(&number)
    }

    /// The class at this place of the tree has other settings.
    pub(super) fn retune(&mut self, tree: &TreeConfig, at: usize, engine: &Engine, now: Time) {
        let config = &tree.classes[at];
        let mut lost = BTreeSet::new();
        let key = engine.leaf(config.id);
        self.settle(tree, config, key, false, now, &mut lost);
        assert!(lost.is_empty());
    }

    /// Whether anything waits that the caller does not hold back.
    pub(super) fn may_go(&self) -> bool {
        self.leaves().any(|number| self.leaf(number).may_go())
    }

    pub(super) fn frames(&self) -> usize {
        self.waiting.len()
    }

    /// A frame is in a leaf's queue.
    pub(super) fn queued(&mut self, number: Number, frame: Frame) {
        let class = self.classes.get_mut(&number).unwrap();
        count(&mut class.own.offered, class.framing, frame.shape);
        class.leaf.as_mut().unwrap().queued.push_back(frame.token);
        let waiting = Waiting {
            class: number,
            frame,
            segments: class.framing.cost(frame.shape).segments,
        };
        assert!(self.waiting.insert(frame.token, waiting).is_none());
    }

    pub(super) fn refused(&mut self, number: Number) {
        self.classes.get_mut(&number).unwrap().own.refused += 1;
    }

    /// The frame that is granted must be one that waits there and whose turn it can be; what is missing
    /// at its front was dropped, segment by segment.
    pub(super) fn head(&mut self, number: Number, frame: &Frame) {
        let waiting = self.waiting[&frame.token];
        assert_eq!(waiting.class, number, "a frame of another leaf");
        let leaf = self.leaf(number);
        match leaf.queue {
            LeafQueue::Hold => panic!("a frame of a leaf without a queue"),
            LeafQueue::Fifo { .. } => {
                assert_eq!(leaf.queued.front(), Some(&frame.token), "not the first");
                assert_eq!(frame.shape, waiting.frame.shape, "a shape that changed");
            }
            LeafQueue::Flows(_) => {
                let of = |token: &&u64| {
                    if self.given_back.contains(token) {
                        return false;
                    }
                    let other = &self.waiting[token].frame;
                    (other.flow, other.host) == (waiting.frame.flow, waiting.frame.host)
                };
                let first = leaf.queued.iter().find(of);
                assert!(
                    leaf.remixed || first == Some(&frame.token),
                    "a flow that overtook itself"
                );
                let same = Frame {
                    shape: frame.shape,
                    ..waiting.frame
                };
                assert_eq!(*frame, same);
                self.left(frame.token, frame.shape);
            }
        }
    }

    /// Only so much is left of a frame whose first segments were dropped.
    fn left(&mut self, token: u64, left: FrameShape) {
        let waiting = self.waiting.get_mut(&token).unwrap();
        let class = self.classes.get_mut(&waiting.class).unwrap();
        while waiting.frame.shape != left {
            assert!(!waiting.frame.whole, "a segment of a frame that is one");
            let (part, rest) = waiting.frame.shape.peel(1).expect("segments to drop");
            let frames = class.own.dropped.frames;
            count(&mut class.own.dropped, class.framing, part);
            class.own.dropped.frames = frames;
            waiting.goes(part);
            waiting.frame.shape = rest;
        }
    }

    /// A part of a frame, or all of it, has gone; `token` is absent if it did not wait in a queue.
    /// Returns whether the frame has gone as a whole.
    pub(super) fn sent(&mut self, number: Number, token: Option<u64>, part: FrameShape) -> bool {
        let class = self.classes.get_mut(&number).unwrap();
        count(&mut class.own.sent, class.framing, part);
        let Some(token) = token else {
            return false;
        };
        let waiting = self.waiting.get_mut(&token).unwrap();
        assert_eq!(waiting.class, number, "a frame of another leaf");
        waiting.goes(part);
        if let Some(rest) = waiting.frame.shape.after(part) {
            waiting.frame.shape = rest;
            return false;
        }
        self.ends(token);
        true
    }

    /// Nothing of a frame is left.
    fn ends(&mut self, token: u64) {
        let waiting = self.waiting.remove(&token).expect("a frame that waits");
        assert_eq!(waiting.segments, 0, "segments that went nowhere");
        let leaf = self.leaf_mut(waiting.class);
        let at = leaf.queued.iter().position(|&other| other == token);
        leaf.queued.remove(at.unwrap());
        leaf.remixed &= !leaf.queued.is_empty();
    }

    /// This went at `now` through a class and all above it, whose limits had to be open if they were so
    /// when it was granted.
    pub(super) fn charge(&mut self, class: Number, part: FrameShape, now: Time, open: bool) {
        let mut at = Some(class);
        while let Some(number) = at {
            let class = &self.classes[&number];
            let (id, parent) = (class.id, class.parent);
            let cost = class.framing.cost(part);
            let owner = class.shares.unwrap_or(number);
            let limits = self.classes.get_mut(&owner).unwrap();
            if let Some(meter) = &mut limits.ceil {
                let passes = meter.pass(number, now, cost.wire_bytes);
                assert!(passes || !open, "{id} above its ceiling");
            }
            if let Some(meter) = &mut limits.pps {
                let segments = u64::from(cost.segments);
                let passes = meter.pass(number, now, segments);
                assert!(passes || !open, "{id} above its packet limit");
            }
            at = parent;
        }
    }

    /// Of this departure so much payload stays.
    pub(super) fn departs(
        &mut self,
        number: Number,
        token: u64,
        part: FrameShape,
        stays: u32,
        now: Time,
    ) {
        let shape = self.waiting[&token].frame.shape;
        if let LeafQueue::Flows(_) = self.leaf(number).queue {
            let payload = |shape: FrameShape| shape.len.saturating_sub(shape.headers);
            let before = if stays == 0 {
                part
            } else {
                FrameShape {
                    len: shape.headers + payload(part) + stays,
                    ..shape
                }
            };
            let frame = Frame {
                shape: before,
                ..self.waiting[&token].frame
            };
            self.head(number, &frame);
        } else {
            let frame = self.waiting[&token].frame;
            self.head(number, &frame);
        }
        self.charge(number, part, now, true);
        let done = self.sent(number, Some(token), part);
        assert_eq!(done, stays == 0, "whether something stays");
        if let Some(waiting) = self.waiting.get(&token) {
            let left = waiting.frame.shape;
            assert_eq!(left.len - left.headers, stays, "how much stays");
        }
    }

    /// This frame was given back: behind what is about to be written down.
    pub(super) fn given_back(&mut self, frame: &Frame) {
        assert!(self.given_back.insert(frame.token), "given back twice");
    }

    /// The engine gave back a frame, or what was left of it.
    pub(super) fn dropped(&mut self, frame: &Frame) {
        self.given_back.remove(&frame.token);
        self.left(frame.token, frame.shape);
        let number = self.waiting[&frame.token].class;
        assert!(
            matches!(self.leaf(number).queue, LeafQueue::Flows(_)),
            "no other leaf drops"
        );
        self.lose(frame.token);
    }

    /// A frame is dropped as it is.
    fn lose(&mut self, token: u64) {
        let waiting = self.waiting.get_mut(&token).expect("a frame that waits");
        let class = self.classes.get_mut(&waiting.class).unwrap();
        count(&mut class.own.dropped, class.framing, waiting.frame.shape);
        waiting.goes(waiting.frame.shape);
        self.ends(token);
    }

    /// Another tree, which the engine has taken. Returns the keys of leaves that are new.
    pub(super) fn apply(
        &mut self,
        tree: &TreeConfig,
        engine: &Engine,
        diff: Option<&Diff>,
        now: Time,
    ) -> Vec<LeafKey> {
        let inner: BTreeSet<ClassId> = tree
            .classes
            .iter()
            .filter_map(|class| class.parent)
            .collect();
        let names: BTreeSet<ClassId> = tree.classes.iter().map(|class| class.id).collect();
        let mut lost = BTreeSet::new();
        let shared = self.part();
        let heirs = self.remove(tree, &names, &inner, &mut lost);
        let mut added = 0;
        for config in &tree.classes {
            if !self.live.contains_key(&config.id) {
                added += 1;
                self.live.insert(config.id, self.next);
                self.next += 1;
            }
        }
        for (drains, heir) in heirs {
            self.classes.get_mut(&drains).unwrap().parent = Some(self.live[&heir]);
        }
        let root = tree.classes.iter().find(|class| class.parent.is_none());
        let root = root.map(|root| self.live[&root.id]);
        self.root = self.root.filter(|(old, _)| Some(*old) == root);
        let fresh = diff.is_none();
        let mut keys = Vec::new();
        for config in sorted(tree) {
            let key = engine.leaf(config.id);
            assert_eq!(
                key.is_none(),
                inner.contains(&config.id),
                "a leaf has a key"
            );
            keys.extend(key);
            self.settle(tree, config, key, fresh, now, &mut lost);
        }
        self.join(tree, &shared, now);
        if let Some(diff) = diff {
            assert_eq!(diff.added, added);
            let stayed = diff.kept + diff.retuned + diff.moved;
            assert_eq!((added + stayed) as usize, tree.classes.len());
            assert_eq!(diff.draining as usize, self.draining.len());
            let dropped: BTreeSet<u64> = diff.dropped.iter().copied().collect();
            assert_eq!(dropped.len(), diff.dropped.len(), "dropped twice");
            assert_eq!(dropped, lost, "what a change drops");
        } else {
            assert!(lost.is_empty());
        }
        keys
    }

    /// Whose limits each class has, if not its own; each gets them to itself.
    fn part(&mut self) -> BTreeMap<Number, Number> {
        let shares = |(&number, class): (&Number, &Class)| Some((number, class.shares?));
        let shared: BTreeMap<_, _> = self.classes.iter().filter_map(shares).collect();
        for (number, owner) in &shared {
            let owner = &self.classes[owner];
            let (ceil, pps) = (owner.ceil.clone(), owner.pps.clone());
            let class = self.classes.get_mut(number).unwrap();
            (class.shares, class.ceil, class.pps) = (None, ceil, pps);
        }
        shared
    }

    /// Gives classes the limits of others, and those that shared some before and now have their own no
    /// credit.
    fn join(&mut self, tree: &TreeConfig, shared: &BTreeMap<Number, Number>, now: Time) {
        let owner = |config: &ClassConfig| Some(self.live[&config.limits_of?]);
        let owners = tree
            .classes
            .iter()
            .map(|config| (self.live[&config.id], owner(config)));
        let mut owners: BTreeMap<_, _> = owners.collect();
        for number in &self.draining {
            // As long as those are there who have the limits.
            let owner = shared.get(number).copied();
            let owner = owner.filter(|owner| {
                self.classes.contains_key(owner) && owners.get(owner).is_none_or(Option::is_none)
            });
            owners.insert(*number, owner);
        }
        for (number, owner) in owners {
            let class = self.classes.get_mut(&number).unwrap();
            if owner.is_some() {
                (class.shares, class.ceil, class.pps) = (owner, None, None);
            } else if shared.contains_key(&number) {
                for meter in [&mut class.ceil, &mut class.pps] {
                    if let Some(old) = meter.take() {
                        *meter = Some(old.at(now).spent());
                    }
                }
            }
        }
    }

    /// Takes out what the tree does not have. Returns the leaves that drain, and below whom.
    fn remove(
        &mut self,
        tree: &TreeConfig,
        names: &BTreeSet<ClassId>,
        inner: &BTreeSet<ClassId>,
        lost: &mut BTreeSet<u64>,
    ) -> Vec<(Number, ClassId)> {
        let root = tree.classes.iter().find(|class| class.parent.is_none());
        let root = root.map(|root| root.id).filter(|root| inner.contains(root));
        let missing = self.live.iter().filter(|(id, _)| !names.contains(id));
        let mut gone: Vec<Number> = missing.map(|(_, &number)| number).collect();
        gone.extend(&self.draining);
        let mut heirs = Vec::new();
        let mut ended = Vec::new();
        for number in gone {
            let above: Vec<Number> = self.above(number).skip(1).collect();
            let below = above
                .iter()
                .map(|number| self.id(*number))
                .find(|id| inner.contains(id))
                .or(root);
            let has_frames = self.classes[&number]
                .leaf
                .as_ref()
                .is_some_and(|leaf| !leaf.queued.is_empty());
            match below.filter(|_| has_frames && tree.removed == Removed::Drain) {
                Some(below) => heirs.push((number, below)),
                None => {
                    self.empty(number, lost);
                    let heir = above.into_iter().find(|n| names.contains(&self.id(*n)));
                    ended.push((number, heir));
                }
            }
        }
        for &(number, heir) in &ended {
            let own = self.classes[&number].own;
            if let Some(heir) = heir {
                merge(&mut self.classes.get_mut(&heir).unwrap().own, &own);
            }
        }
        self.draining = heirs.iter().map(|&(number, _)| number).collect();
        self.live.retain(|id, _| names.contains(id));
        for (number, _) in ended {
            self.classes.remove(&number);
        }
        heirs
    }

    fn empty(&mut self, number: Number, lost: &mut BTreeSet<u64>) {
        let leaf = self.classes[&number].leaf.as_ref();
        let tokens: Vec<u64> = leaf
            .into_iter()
            .flat_map(|leaf| &leaf.queued)
            .copied()
            .collect();
        for token in tokens {
            self.lose(token);
            lost.insert(token);
        }
    }

    /// Gives a class the settings of this tree.
    fn settle(
        &mut self,
        tree: &TreeConfig,
        config: &ClassConfig,
        key: Option<LeafKey>,
        fresh: bool,
        now: Time,
        lost: &mut BTreeSet<u64>,
    ) {
        let number = self.live[&config.id];
        let parent = config.parent.map(|parent| self.live[&parent]);
        let above = parent.map(|parent| self.classes[&parent].framing);
        let framing = config.framing.or(above).unwrap_or_default();
        let old = self
            .classes
            .get(&number)
            .and_then(|class| class.leaf.as_ref());
        let kept = key.is_some() && old.is_some_and(|leaf| kind(leaf.queue) == kind(config.queue));
        let class = self.classes.entry(number).or_insert_with(|| Class {
            id: config.id,
            parent,
            framing,
            shares: None,
            ceil: None,
            pps: None,
            own: ClassStats::default(),
            leaf: None,
        });
        // Frames of a queue that ends are dropped by the new settings.
        class.framing = framing;
        if !kept {
            self.empty(number, lost);
        }
        let class = self.classes.get_mut(&number).unwrap();
        class.parent = parent;
        let cburst = match (config.pace, config.quantum) {
            (false, _) => config.cburst,
            (true, Some(quantum)) => Burst::Bytes(quantum.into()),
            (true, None) => Burst::Bytes(LARGEST_QUANTUM.max(tree.unit_wire_bytes.into())),
        };
        let follow = |old: &mut Option<Meter>, terms: Terms| {
            if fresh {
                Meter::full(terms)
            } else {
                Meter::follow(old.take(), terms, now)
            }
        };
        if class.shares.is_none() {
            class.ceil = config
                .ceil
                .map(|ceil| Terms::bytes(ceil, cburst, tree.unit_wire_bytes))
                .map(|terms| follow(&mut class.ceil, terms));
            class.pps = config
                .pps
                .map(|pps| Terms::segments(pps, config.pps_burst))
                .map(|terms| follow(&mut class.pps, terms));
        }
        let Some(key) = key else {
            class.leaf = None;
            return;
        };
        match &mut class.leaf {
            Some(leaf) => {
                assert!(leaf.key == key, "a key lives as long as its leaf");
                leaf.backlogged &= kept;
                leaf.remixed |= leaf.queue != config.queue && !leaf.queued.is_empty();
                leaf.queue = config.queue;
            }
            None => {
                class.leaf = Some(Leaf {
                    key,
                    queue: config.queue,
                    queued: VecDeque::new(),
                    backlogged: false,
                    blocked: false,
                    remixed: false,
                });
            }
        }
    }

    fn above(&self, number: Number) -> impl Iterator<Item = Number> {
        std::iter::successors(Some(number), |number| self.classes[number].parent)
    }

    /// Every counter of every class; and what went in has gone, was dropped or waits.
    pub(super) fn check(&mut self, snapshot: &[ClassSnapshot]) {
        let mut sums: BTreeMap<Number, (ClassStats, u64)> = BTreeMap::new();
        let mut queued: BTreeMap<Number, u64> = BTreeMap::new();
        for (&number, class) in &self.classes {
            let frames = class
                .leaf
                .as_ref()
                .map_or(0, |leaf| leaf.queued.len() as u64);
            queued.insert(number, frames);
            for above in self.above(number) {
                let sum = sums.entry(above).or_default();
                merge(&mut sum.0, &class.own);
                sum.1 += frames;
            }
        }
        assert_eq!(snapshot.len(), self.live.len());
        for (class, (&id, &number)) in snapshot.iter().zip(&self.live) {
            let (want, frames) = &sums[&number];
            let got = &class.stats;
            assert_eq!(class.id, id);
            assert_eq!(
                class.parent,
                self.classes[&number].parent.map(|number| self.id(number))
            );
            assert_eq!(got.offered, want.offered, "{id} offered");
            assert_eq!(got.sent, want.sent, "{id} sent");
            assert_eq!(got.dropped, want.dropped, "{id} dropped");
            assert_eq!(got.refused, want.refused, "{id} refused");
            assert_eq!(class.queued, *frames, "{id} queued");
            assert!(got.green_bytes <= got.sent.wire_bytes, "{id}");
            assert!(got.ack_filtered <= got.dropped.frames, "{id}");
            // Counted when the frame is granted, which may be before it goes.
            assert!(got.marked >= want.marked, "{id} marked");
            if let Some(leaf) = &self.classes[&number].leaf {
                assert_eq!(class.state == State::Idle, !leaf.waits(), "{id}");
                let blocked = leaf.waits() && leaf.blocked;
                assert_eq!(class.state == State::Blocked, blocked, "{id}");
            }
        }
        let root = snapshot
            .iter()
            .find(|class| class.parent.is_none())
            .unwrap();
        let number = self.live[&root.id];
        if let Some((old, stats)) = &self.root
            && *old == number
        {
            never_falls(stats, &root.stats);
        }
        self.root = Some((number, root.stats));
    }

    pub(super) fn marked(&mut self, number: Number) {
        self.classes.get_mut(&number).unwrap().own.marked += 1;
    }
}

/// Parents before children.
fn sorted(tree: &TreeConfig) -> Vec<&ClassConfig> {
    let mut done: Vec<&ClassConfig> = tree.classes.iter().filter(|c| c.parent.is_none()).collect();
    let mut at = 0;
    while let Some(parent) = done.get(at).map(|class| class.id) {
        done.extend(
            tree.classes
                .iter()
                .filter(|class| class.parent == Some(parent)),
        );
        at += 1;
    }
    done
}

fn never_falls(old: &ClassStats, new: &ClassStats) {
    let list = |stats: &ClassStats| {
        let of = |c: &FlowCounters| [c.frames, c.segments, c.bytes, c.wire_bytes];
        let rest = [
            stats.green_bytes,
            stats.refused,
            stats.ack_filtered,
            stats.marked,
            stats.crowded,
            stats.throttled,
            stats.throttled_nanos,
        ];
        [
            &of(&stats.offered)[..],
            &of(&stats.sent),
            &of(&stats.dropped),
            &rest,
        ]
        .concat()
    };
    let falls = list(old).iter().zip(list(new)).any(|(old, new)| new < *old);
    assert!(!falls, "a counter of the root that falls: {old:?}, {new:?}");
}
