//! Double entry for frames: where each one is, and what every class must have counted. Written from
//! what the counters are said to mean.

use std::collections::BTreeMap;

use qos::engine::{ClassSnapshot, ClassStats};
use qos::{ClassId, FlowCounters, FrameShape, Framing, TreeConfig};

/// All frames are charged as Ethernet here.
#[derive(Default)]
pub(crate) struct Ledger {
    /// What each class counted itself, and inherited from descendants that ended.
    own: BTreeMap<ClassId, ClassStats>,
    parents: BTreeMap<ClassId, Option<ClassId>>,
    /// Frames that wait, by token; of a peeled one, what is left.
    waiting: BTreeMap<u64, (ClassId, FrameShape)>,
    /// Some frame was peeled, so that frames and their bytes, headers and all, are counted anew.
    peeled: bool,
}

fn count(counters: &mut FlowCounters, shape: FrameShape) {
    counters.add(shape.len, Framing::ETHERNET.cost(shape));
}

impl Ledger {
    pub(crate) fn new(tree: &TreeConfig) -> Self {
        let mut ledger = Self::default();
        ledger.retree(tree);
        ledger
    }

    fn retree(&mut self, tree: &TreeConfig) {
        let parents = tree.classes.iter().map(|class| (class.id, class.parent));
        self.parents = parents.collect();
        for &class in self.parents.keys() {
            self.own.entry(class).or_default();
        }
    }

    fn of(&mut self, class: ClassId) -> &mut ClassStats {
        self.own.get_mut(&class).unwrap()
    }

    pub(crate) fn offered(&mut self, leaf: ClassId, token: u64, shape: FrameShape) {
        count(&mut self.of(leaf).offered, shape);
        assert!(self.waiting.insert(token, (leaf, shape)).is_none());
    }

    pub(crate) fn refused(&mut self, leaf: ClassId) {
        self.of(leaf).refused += 1;
    }

    /// A part of a frame, or all of it, has gone; `token` is absent for a leaf without a queue.
    pub(crate) fn sent(&mut self, leaf: ClassId, token: Option<u64>, part: FrameShape) {
        count(&mut self.of(leaf).sent, part);
        let Some(token) = token else {
            // Whatever a leaf without a queue sends has not been offered.
            count(&mut self.of(leaf).offered, part);
            return;
        };
        let (owner, shape) = self.waiting.remove(&token).unwrap();
        assert_eq!(owner, leaf, "a frame that another leaf had");
        if let Some(rest) = shape.after(part) {
            self.waiting.insert(token, (leaf, rest));
            self.peeled = true;
        }
    }

    /// A frame went with a mark.
    pub(crate) fn marked(&mut self, leaf: ClassId) {
        self.of(leaf).marked += 1;
    }

    /// This is left of a frame: what is missing at its front was dropped, segment by segment.
    pub(crate) fn left(&mut self, token: u64, left: FrameShape) {
        let &(leaf, mut shape) = &self.waiting[&token];
        while shape != left {
            let (part, rest) = shape.peel(1).unwrap();
            let dropped = &mut self.of(leaf).dropped;
            let frames = dropped.frames;
            count(dropped, part);
            dropped.frames = frames;
            (shape, self.peeled) = (rest, true);
        }
        self.waiting.insert(token, (leaf, left));
    }

    /// The engine gave a frame back, or what was left of it.
    pub(crate) fn dropped(&mut self, token: u64) {
        let (leaf, shape) = self.waiting.remove(&token).unwrap();
        count(&mut self.of(leaf).dropped, shape);
    }

    pub(crate) fn waits(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Another tree: what the classes that end have counted goes to the nearest ancestor that stays.
    pub(crate) fn apply(&mut self, tree: &TreeConfig, dropped: &[u64]) {
        for &token in dropped {
            self.dropped(token);
        }
        let stays = |class: &ClassId| tree.classes.iter().any(|other| other.id == *class);
        let ended: Vec<ClassId> = self.own.keys().copied().filter(|c| !stays(c)).collect();
        for class in ended {
            let own = self.own.remove(&class).unwrap();
            let mut heir = self.parents[&class].unwrap();
            while !stays(&heir) {
                heir = self.parents[&heir].unwrap();
            }
            add(self.of(heir), &own);
        }
        self.retree(tree);
        let waiting = self.waiting.values();
        assert!(waiting.map(|(leaf, _)| leaf).all(stays), "frames of nobody");
    }

    /// T12: every counter of every class, in frames, bytes, wire bytes and segments; and what went in
    /// has gone, was dropped or waits. Counters of leaves without a queue count only what was sent.
    pub(crate) fn check(&self, snapshot: &[ClassSnapshot]) {
        let mut sums: BTreeMap<ClassId, (ClassStats, FlowCounters)> = BTreeMap::new();
        let above = |class| std::iter::successors(Some(class), |class| self.parents[class]);
        for (&class, own) in &self.own {
            for class in above(class) {
                add(&mut sums.entry(class).or_default().0, own);
            }
        }
        for &(leaf, shape) in self.waiting.values() {
            for class in above(leaf) {
                count(&mut sums.get_mut(&class).unwrap().1, shape);
            }
        }
        assert_eq!(snapshot.len(), sums.len());
        for class in snapshot {
            let (want, queued) = &sums[&class.id];
            let (id, got) = (class.id, &class.stats);
            assert_eq!(class.parent, self.parents[&id]);
            assert_eq!(got.sent, want.sent, "{id}");
            assert_eq!(got.dropped, want.dropped, "{id}");
            assert_eq!(got.refused, want.refused, "{id}");
            // Counted when the frame is granted, which may be before it goes.
            assert!(got.marked >= want.marked, "{id}");
            assert_eq!(class.queued, queued.frames, "{id}");
            let mut out = want.sent;
            out.merge(&want.dropped);
            out.merge(queued);
            let input = want.offered;
            assert_eq!(input.segments, out.segments, "{id}");
            assert_eq!(input.wire_bytes, out.wire_bytes, "{id}");
            assert!(
                self.peeled || input == out,
                "{id}: {input:?} in, {out:?} out"
            );
        }
    }
}

fn add(sum: &mut ClassStats, other: &ClassStats) {
    sum.offered.merge(&other.offered);
    sum.sent.merge(&other.sent);
    sum.dropped.merge(&other.dropped);
    sum.refused += other.refused;
    sum.marked += other.marked;
}
