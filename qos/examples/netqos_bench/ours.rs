//! The engine behind the models' interface. Whatever its callers do per frame is here, and only here.

use qos::{
    Burst, Departure, Engine, FlowsConfig, Frame, FrameShape, LeafKey, LeafQueue, Offer, Time,
    TreeConfig,
};

use crate::Result;
use crate::clock::Watch;
use crate::models::Scheduler;
use crate::tree::Tree;
use crate::work::shuffle;

/// A minimum frame.
const SHAPE: FrameShape = FrameShape::single(60);

#[derive(Debug)]
pub(crate) struct Ours {
    engine: Engine,
    leaves: Vec<LeafKey>,
    /// Whether leaves may drop, and are asked about it.
    flows: bool,
    dropped: bool,
}

impl Ours {
    /// Leaves that are first in, first out.
    pub(crate) fn new(tree: &Tree) -> Result<Self> {
        Self::start(tree, &tree.config(LeafQueue::Fifo { frames: 128 })?)
    }

    /// Leaves with queues of flows.
    pub(crate) fn with_flows(tree: &Tree) -> Result<Self> {
        let config = tree.config(LeafQueue::Flows(FlowsConfig::default()))?;
        Ok(Self {
            flows: true,
            ..Self::start(tree, &config)?
        })
    }

    fn start(tree: &Tree, config: &TreeConfig) -> Result<Self> {
        let engine = Engine::new(config)?;
        let key = |(id, _)| engine.leaf(id).ok_or("the leaf is missing");
        let leaves = tree
            .leaves()
            .map(key)
            .collect::<std::result::Result<_, _>>();
        Ok(Self {
            leaves: leaves?,
            engine,
            flows: false,
            dropped: false,
        })
    }

    /// Whether frames were lost.
    pub(crate) fn has_dropped(&self) -> bool {
        self.dropped
    }
}

impl Scheduler for Ours {
    type Leaf = LeafKey;
    type Packet = Frame;
    type Taken = Departure;

    fn leaves(&self) -> Vec<LeafKey> {
        self.leaves.clone()
    }

    /// Of one of four flows.
    fn packet(number: u64) -> Frame {
        let flow = (number % 4) as u32;
        Frame {
            flow: flow.wrapping_mul(0x9e37_79b9),
            ..Frame::new(number, SHAPE)
        }
    }

    fn enqueue(&mut self, leaf: LeafKey, frame: Frame, now: Time) -> bool {
        self.engine.offer(leaf, frame, now) == Offer::Queued
    }

    fn enqueue_burst(&mut self, burst: &[(LeafKey, Frame)], now: Time) -> bool {
        let mut all = true;
        self.engine.offer_burst(burst, now, |_, _| all = false);
        all
    }

    fn dequeue(&mut self, now: Time, budget: usize, out: &mut Vec<Departure>) {
        self.engine
            .poll(now, u32::try_from(budget).unwrap_or(u32::MAX), out);
        if self.flows {
            while self.engine.dropped().is_some() {
                self.dropped = true;
            }
        }
    }

    fn taken(taken: &Departure) -> (LeafKey, Frame) {
        (taken.leaf, Self::packet(taken.token))
    }
}

/// Nanoseconds per class of another tree, in which `changes` classes at least are not as they were.
pub(crate) fn apply(tree: &Tree, changes: u32) -> Result<f64> {
    let mut ours = Ours::new(tree)?;
    let mut config = tree.config(LeafQueue::Fifo { frames: 128 })?;
    let now = Time::from_nanos(1_000_000_000);
    for (leaf, number) in ours.leaves.clone().into_iter().zip(0..) {
        ours.enqueue(leaf, Ours::packet(number), now);
    }
    let mut changed = 0;
    let start = Watch::start()?;
    while changed < changes {
        for class in &mut config.classes {
            class.cburst = Burst::Duration(100_000_001 + u64::from(changed));
        }
        changed += ours.engine.apply(&config, now)?.retuned;
    }
    start.nanos_each(changed)
}

/// Nanoseconds per change of one class, in random order, when every leaf has a frame.
pub(crate) fn retune(tree: &Tree, changes: u32) -> Result<f64> {
    let mut ours = Ours::new(tree)?;
    let mut classes = tree.config(LeafQueue::Fifo { frames: 128 })?.classes;
    let now = Time::from_nanos(1_000_000_000);
    for (leaf, number) in ours.leaves.clone().into_iter().zip(0..) {
        ours.enqueue(leaf, Ours::packet(number), now);
    }
    shuffle(&mut classes)?;
    let mut changed = 0;
    let start = Watch::start()?;
    while changed < changes {
        for class in &mut classes {
            class.cburst = Burst::Duration(100_000_001 + u64::from(changed));
            ours.engine.retune(class, now)?;
            changed += 1;
        }
    }
    start.nanos_each(changed)
}
