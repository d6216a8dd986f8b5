//! The plain structs that describe a class tree, and their builder methods.

use super::error::TreeError;
use super::id::ClassId;
use super::plan::Plan;
use crate::units::{Burst, PacketBurst, PacketRate, Rate};
use crate::wire::Framing;

/// Levels of a tree at most: root, guest, class and room for five more.
pub const MAX_DEPTH: usize = 8;

/// The weight of a class that has neither `weight` nor `rate`: that of a class of 1 Mbit/s.
pub const DEFAULT_WEIGHT: u32 = 1000;

/// Where the frames of a leaf wait.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LeafQueue {
    /// With the caller, who only says *that* something waits: the guest's own ring is the queue,
    /// nothing is copied and nothing dropped.
    #[default]
    Hold,
    /// In the engine, first in first out, up to this many frames and the leaf's
    /// [share of the pool](TreeConfig::pool_share_percent).
    Fifo {
        /// Frames that may wait; one more is refused.
        frames: u32,
    },
    /// In the engine, by flow: the sparse before the bulky, and none kept waiting for long. For leaves
    /// whose frames come from a sender that cannot be held back.
    Flows(FlowsConfig),
}

/// Buckets of a leaf of flows at most.
pub const MAX_BUCKETS: u16 = 256;

/// How a queue of flows behaves.
///
/// Flows take turns by deficit round robin, new ones first (FQ-CoDel, RFC 8290), and each is kept
/// short by CoDel (RFC 8289): a frame that has to go to that end is marked if it can be; otherwise
/// **one segment** of it is dropped, off its front.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct FlowsConfig {
    /// Frames that may wait; one more makes the flow that has most lose its oldest.
    pub frames: u32,
    /// Bytes that may wait, by the frames' own lengths; more make the flow that has most lose its
    /// oldest frames. One frame may always wait, however large. Absent: as many as the frames have.
    pub bytes: Option<u32>,
    /// Flows told apart, 1 to [`MAX_BUCKETS`]; more share. While frames wait, the leaf takes a flow
    /// set of 64 of them ([`TreeConfig::flow_sets`]) or as many sets as these need.
    pub buckets: u16,
    /// Wire bytes that a flow may send per round, and a new one before it is an old one; absent: one
    /// full-size frame. Whatever was sent at once beyond that is a round from then on, until the leaf
    /// is empty.
    pub quantum: Option<u32>,
    /// How long a frame may wait as a rule, in nanoseconds. For slow leaves, at least one and a half
    /// times what a quantum of the class takes at its rate, else its ceiling, else the lowest above it.
    pub target_nanos: u64,
    /// How long it may be more before frames are dropped or marked, in nanoseconds: about the longest
    /// round trip. At least twice the target.
    pub interval_nanos: u64,
    /// Beyond this wait every frame that can be is marked at once, in nanoseconds: for senders that
    /// answer marks in proportion (DCTCP, L4S).
    pub ce_threshold_nanos: Option<u64>,
    /// At once only frames of L4S senders are marked, ECT(1), as RFC 9331 wants it where not all
    /// senders are known to be of the kind.
    pub ce_threshold_ect1_only: bool,
    /// A pure acknowledgement that waits is dropped when a later one of its flow comes
    /// ([`Frame::ack`](crate::Frame::ack)): for links that are much slower in this direction.
    pub ack_filter: bool,
    /// Turns go to hosts ([`Frame::host`](crate::Frame::host)) first, and to a host's flows in its turn:
    /// a host has no more for opening more flows. As many hosts are told apart as flows.
    pub host_isolation: bool,
}

impl Default for FlowsConfig {
    /// CoDel's own figures: 5 ms and 100 ms (RFC 8289 §4.2, §4.3); 1024 frames in 64 buckets.
    fn default() -> Self {
        Self {
            frames: 1024,
            bytes: None,
            buckets: 64,
            quantum: None,
            target_nanos: 5_000_000,
            interval_nanos: 100_000_000,
            ce_threshold_nanos: None,
            ce_threshold_ect1_only: false,
            ack_filter: false,
            host_isolation: false,
        }
    }
}

/// What a parent does whose children are guaranteed more than it is itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Overcommit {
    /// The tree is refused.
    #[default]
    Reject,
    /// The children's guarantees shrink in proportion until they fit. One that shrinks below
    /// [`Rate::MIN`] is none.
    Scale,
}

/// What happens to the frames of leaves that another tree no longer has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Removed {
    /// They go in their turn: the leaf takes no more, has no guarantee any more, keeps its limits, and
    /// is gone when the tree is changed after it ran empty.
    #[default]
    Drain,
    /// They are dropped at once, and counted.
    Drop,
}

/// One class. Everything but the id has a default: no guarantee, no limit, a weight that follows
/// from the rate, the highest priority, a leaf that holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClassConfig {
    /// Its name, unique in the tree.
    pub id: ClassId,
    /// The class it belongs to; absent for the root.
    pub parent: Option<ClassId>,
    /// The guarantee: served before anything that exceeds a guarantee. At the root, the speed of
    /// the link that guarantees are held against.
    pub rate: Option<Rate>,
    /// What it never exceeds, nor all its descendants together.
    pub ceil: Option<Rate>,
    /// Its share, among its siblings of equal `prio`, of what guarantees leave over. Absent: its
    /// rate in kbit/s, or [`DEFAULT_WEIGHT`] without a rate.
    pub weight: Option<u32>,
    /// Who of the siblings takes first of what guarantees leave over: 0 (first) to 3.
    pub prio: u8,
    /// How far it may run ahead of `rate` and still be within its guarantee.
    pub burst: Burst,
    /// How far it may run ahead of `ceil`.
    pub cburst: Burst,
    /// Segments per second that it never exceeds.
    pub pps: Option<PacketRate>,
    /// How far it may run ahead of `pps`.
    pub pps_burst: PacketBurst,
    /// How frames are charged; absent: as at its parent, at the root [`Framing::ETHERNET`].
    pub framing: Option<Framing>,
    /// Wire bytes it may send in one go (what a super-frame is peeled to); absent: what 100 us at
    /// its rate or share carry, from one frame to 64 KiB.
    pub quantum: Option<u32>,
    /// Where frames wait. Only for leaves.
    pub queue: LeafQueue,
    /// Spread its frames evenly below `ceil`: the `cburst` is one quantum.
    pub pace: bool,
    /// The class whose limits are its own, too: `ceil`, `cburst`, `pps`, `ppsburst` and `pace` are kept
    /// once for both, wherever in the tree they are. What either sends counts for both, and together
    /// they exceed no limit, by no more than one unit for each of them. If both have frames that may go,
    /// neither keeps the other from about half; whoever is alone has all.
    ///
    /// For a guest whose frames go two ways of which only one leads over the uplink. It must not have
    /// limits itself, nor the other such a line, and neither lies below the other.
    pub limits_of: Option<ClassId>,
}

impl ClassConfig {
    /// A class with nothing but defaults, and no parent.
    #[must_use]
    pub fn new(id: ClassId) -> Self {
        Self {
            id,
            parent: None,
            rate: None,
            ceil: None,
            weight: None,
            prio: 0,
            burst: Burst::Auto,
            cburst: Burst::Auto,
            pps: None,
            pps_burst: PacketBurst::Auto,
            framing: None,
            quantum: None,
            queue: LeafQueue::Hold,
            pace: false,
            limits_of: None,
        }
    }

    /// Sets [`parent`](Self::parent).
    #[must_use]
    pub fn parent(mut self, parent: ClassId) -> Self {
        self.parent = Some(parent);
        self
    }

    /// Sets [`rate`](Self::rate).
    #[must_use]
    pub fn rate(mut self, rate: Rate) -> Self {
        self.rate = Some(rate);
        self
    }

    /// Sets [`ceil`](Self::ceil).
    #[must_use]
    pub fn ceil(mut self, ceil: Rate) -> Self {
        self.ceil = Some(ceil);
        self
    }

    /// Sets [`weight`](Self::weight).
    #[must_use]
    pub fn weight(mut self, weight: u32) -> Self {
        self.weight = Some(weight);
        self
    }

    /// Sets [`prio`](Self::prio).
    #[must_use]
    pub fn prio(mut self, prio: u8) -> Self {
        self.prio = prio;
        self
    }

    /// Sets [`limits_of`](Self::limits_of).
    #[must_use]
    pub fn limits_of(mut self, other: ClassId) -> Self {
        self.limits_of = Some(other);
        self
    }

    /// Sets [`queue`](Self::queue).
    #[must_use]
    pub fn queue(mut self, queue: LeafQueue) -> Self {
        self.queue = queue;
        self
    }
}

/// A whole tree, of one direction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TreeConfig {
    /// The classes, parents and children in any order. Among equals the earlier one goes first.
    pub classes: Vec<ClassConfig>,
    /// What happens when guarantees do not fit.
    pub overcommit: Overcommit,
    /// What happens to the frames of leaves that this tree no longer has.
    pub removed: Removed,
    /// Wire bytes of one full-size frame (MTU, headers and framing): the least burst and quantum.
    pub unit_wire_bytes: u32,
    /// Nanoseconds of this core that one segment takes, if floods of small frames shall pay for
    /// the core they burn: sharing and guarantees then count `max(wire bytes, segments x this, as
    /// bytes of the root's rate)`. Needs a rate or ceil at the root; at most one second.
    pub segment_nanos: Option<u32>,
    /// Frames that wait in the engine at most, all leaves together.
    pub frames: u32,
    /// What one leaf may hold of them: fewer than this percentage of those that are free, so that no
    /// leaf takes all (200: alone two thirds). Beyond, a fifo refuses and flows shrink. Absent: no
    /// such limit. Its first frame a leaf may always have.
    pub pool_share_percent: Option<u32>,
    /// Flow sets: how many leaves of flows can tell their flows apart at one time, counting one for
    /// every 64 buckets; about 9 KiB each, and no more are made than the leaves could use. A leaf
    /// whose frames find none free is one queue under CoDel until it is empty, which its counters say.
    /// A running engine makes more, but gives none back.
    pub flow_sets: u32,
}

impl Default for TreeConfig {
    /// No class yet, strict admission, leaves that drain, frames of 1514 bytes on Ethernet, 4096 of them
    /// in all and at most two thirds of them in one leaf, 64 flow sets (half a megabyte).
    fn default() -> Self {
        Self {
            classes: Vec::new(),
            overcommit: Overcommit::Reject,
            removed: Removed::Drain,
            unit_wire_bytes: 1538,
            segment_nanos: None,
            frames: 4096,
            pool_share_percent: Some(200),
            flow_sets: 64,
        }
    }
}

impl TreeConfig {
    /// A tree of these classes, everything else by default.
    #[must_use]
    pub fn new(classes: Vec<ClassConfig>) -> Self {
        Self {
            classes,
            ..Self::default()
        }
    }

    /// Whether this tree may run.
    ///
    /// # Errors
    /// The first thing wrong with it, with the class and the reason.
    pub fn check(&self) -> Result<(), TreeError> {
        Plan::new(self).map(drop)
    }
}
