//! A lean link in virtual time, for very many leaves: each always has frames or has none, as the test
//! says, and every decision of the engine is handed to the test.

use std::collections::BTreeMap;

use qos::{ClassId, Engine, FrameShape, Framing, Hold, LeafKey, Span, Time, TreeConfig, Wake};

use super::Rng;
use super::sim::{Shapes, mixed};

/// What the engine did, by the leaf's number in the list that the test gave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// A frame of so many wire bytes went.
    Sent(usize, u64),
    /// It was the turn of a leaf that has nothing any more; from here on it does not wait.
    Idle(usize),
}

pub(crate) struct Drive {
    pub(crate) engine: Engine,
    pub(crate) now: Time,
    pub(crate) rng: Rng,
    pub(crate) shapes: Vec<Shapes>,
    /// Wire bytes sent by each leaf.
    pub(crate) sent: Vec<u64>,
    /// Polls are at least this many nanoseconds apart.
    pub(crate) pause: u64,
    /// Peel as the engine asks; the rest counts as the next frame's.
    pub(crate) peel: bool,
    wants: Vec<bool>,
    keys: Vec<LeafKey>,
    numbers: BTreeMap<LeafKey, usize>,
}

impl Drive {
    /// No leaf has anything yet.
    pub(crate) fn new(tree: &TreeConfig, leaves: &[ClassId], shape: FrameShape) -> Self {
        let engine = Engine::new(tree).unwrap();
        let keys: Vec<LeafKey> = leaves.iter().map(|&id| engine.leaf(id).unwrap()).collect();
        Self {
            engine,
            now: Time::from_nanos(1 << 30),
            rng: Rng(17),
            shapes: vec![Shapes::One(shape); leaves.len()],
            sent: vec![0; leaves.len()],
            pause: 0,
            peel: false,
            wants: vec![false; leaves.len()],
            numbers: keys.iter().copied().zip(0..).collect(),
            keys,
        }
    }

    /// A drive all of whose leaves always have frames.
    pub(crate) fn greedy(tree: &TreeConfig, leaves: &[ClassId], shape: FrameShape) -> Self {
        let mut drive = Self::new(tree, leaves, shape);
        for leaf in 0..leaves.len() {
            drive.want(leaf, true);
        }
        drive
    }

    /// From now on the leaf has frames, or has none.
    pub(crate) fn want(&mut self, leaf: usize, wants: bool) {
        self.wants[leaf] = wants;
        if wants {
            assert!(self.engine.backlogged(self.keys[leaf], self.now));
        }
    }

    pub(crate) fn wants(&self, leaf: usize) -> bool {
        self.wants[leaf]
    }

    /// The engine's next decision at this instant.
    pub(crate) fn step(&mut self) -> Option<Event> {
        let grant = self.engine.peek(self.now)?;
        let leaf = self.numbers[&grant.leaf];
        if !self.wants[leaf] {
            self.engine.abort(Hold::Empty);
            return Some(Event::Idle(leaf));
        }
        let mut shape = match self.shapes[leaf] {
            Shapes::One(shape) => shape,
            Shapes::Mixed => mixed(&mut self.rng),
        };
        if self.peel {
            shape = shape
                .peel(grant.segments(shape))
                .map_or(shape, |(part, _)| part);
        }
        self.engine.commit(shape);
        let wire = Framing::ETHERNET.cost(shape).wire_bytes;
        self.sent[leaf] += wire;
        Some(Event::Sent(leaf, wire))
    }

    /// Runs for exactly `nanos`; `each` sees every decision.
    pub(crate) fn run_with(&mut self, nanos: u64, mut each: impl FnMut(Event)) {
        let end = self.now.saturating_add(Span::from_nanos(nanos));
        while self.now < end {
            while let Some(event) = self.step() {
                each(event);
            }
            let next = match self.engine.next_wake(self.now) {
                Wake::Now => continue,
                Wake::At(at) => Time::from_nanos(at.ceil_nanos()),
                Wake::Idle => end,
            };
            let least = self.now.saturating_add(Span::from_nanos(self.pause));
            self.now = next.max(least).min(end);
        }
    }

    /// Runs for exactly `nanos`; returns what each leaf sent meanwhile.
    pub(crate) fn measure(&mut self, nanos: u64) -> Vec<u64> {
        let before = self.sent.clone();
        self.run_with(nanos, |_| ());
        let pairs = self.sent.iter().zip(before);
        pairs.map(|(now, before)| now - before).collect()
    }
}
