//! Why a tree was refused.

use super::config::{MAX_BUCKETS, MAX_DEPTH};
use super::id::ClassId;
use crate::units::Rate;

/// A tree that cannot run. Always the writer's fault: keep what runs and show the message.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TreeError {
    /// No class is without a parent.
    #[error("no class is the root: exactly one must have no parent")]
    NoRoot,
    /// Two classes are without a parent.
    #[error("class {id} has no parent, but {root} is the root already: name a parent")]
    SecondRoot {
        /// The later one.
        id: ClassId,
        /// The earlier one.
        root: ClassId,
    },
    /// Two classes have one name.
    #[error("class {id} is defined twice")]
    Duplicate {
        /// The name.
        id: ClassId,
    },
    /// The parent does not exist.
    #[error("class {id} has the parent {parent}, which is not defined")]
    Orphan {
        /// The child.
        id: ClassId,
        /// The missing class.
        parent: ClassId,
    },
    /// The class is its own ancestor, or a descendant of one that is.
    #[error("class {id} does not lead to the root: its parents form a cycle")]
    Cycle {
        /// One such class.
        id: ClassId,
    },
    /// Too many levels.
    #[error("class {id} lies on level {level}: a tree has at most {MAX_DEPTH} levels")]
    TooDeep {
        /// The class.
        id: ClassId,
        /// Its level; the root's is 1.
        level: usize,
    },
    /// More classes than the engine can number.
    #[error("class {id} is one too many: a tree has at most 2^20 classes")]
    TooMany {
        /// The first beyond the limit.
        id: ClassId,
    },
    /// A weight of zero would never be served.
    #[error("class {id} has weight 0: write at least 1, or leave it out")]
    ZeroWeight {
        /// The class.
        id: ClassId,
    },
    /// A quantum of zero would send nothing.
    #[error("class {id} has quantum 0: write at least 1, or leave it out")]
    ZeroQuantum {
        /// The class.
        id: ClassId,
    },
    /// A queue for no frames.
    #[error(
        "class {id} may queue no frame: write at least 1 frame, and for flows 1 byte and 1 bucket"
    )]
    EmptyQueue {
        /// The class.
        id: ClassId,
    },
    /// More flows than are told apart.
    #[error("class {id} has {buckets} buckets for flows: write 1 to {MAX_BUCKETS}")]
    TooManyBuckets {
        /// The class.
        id: ClassId,
        /// What was written.
        buckets: u16,
    },
    /// Leaves that may hold nothing of what is free.
    #[error("a leaf may hold 0 percent of the free frames: write at least 1, or leave it out")]
    ZeroPoolShare,
    /// There are four priorities.
    #[error("class {id} has prio {prio}: write 0 (first) to 3 (last)")]
    Prio {
        /// The class.
        id: ClassId,
        /// What was written.
        prio: u8,
    },
    /// A guarantee that the class's own limit forbids.
    #[error(
        "class {id} is guaranteed {rate} but may never exceed {ceil}: ceil must not be below rate"
    )]
    RateAboveCeil {
        /// The class.
        id: ClassId,
        /// Its guarantee.
        rate: Rate,
        /// Its limit.
        ceil: Rate,
    },
    /// Guarantees above what the parent has to give.
    #[error(
        "the children of class {id} are guaranteed {asked} bit/s together, but it has only {given} \
         bit/s to give: raise its rate, lower theirs, or allow overcommit to scale them"
    )]
    Overcommitted {
        /// The parent.
        id: ClassId,
        /// The sum of its children's rates, bit/s.
        asked: u64,
        /// What it has: its rate (zero without one); at the root its rate or ceil. Bit/s.
        given: u64,
    },
    /// A burst that does not hold one frame.
    #[error(
        "class {id} has a {what} worth {bytes} bytes, less than one frame of {frame}: write more, or auto"
    )]
    SmallBurst {
        /// The class.
        id: ClassId,
        /// `burst` or `cburst`.
        what: &'static str,
        /// What it is worth at its rate.
        bytes: u64,
        /// Wire bytes of a full-size frame.
        frame: u32,
    },
    /// A packet burst that does not hold one segment.
    #[error("class {id} has a ppsburst worth less than one segment: write at least 1, or auto")]
    SmallPacketBurst {
        /// The class.
        id: ClassId,
    },
    /// Pacing spreads frames below a limit, and there is none.
    #[error(
        "class {id} has pace but no ceil: write the ceil below which its frames are to be spread"
    )]
    PaceWithoutCeil {
        /// The class.
        id: ClassId,
    },
    /// Frames wait in leaves only.
    #[error("class {id} has a queue and children: only a leaf has a queue")]
    QueueOnInner {
        /// The class.
        id: ClassId,
    },
    /// The class whose limits it shares does not exist.
    #[error("class {id} has the limits of {other}, which is not defined")]
    NoTwin {
        /// The class.
        id: ClassId,
        /// The missing one.
        other: ClassId,
    },
    /// It would share its limits with itself.
    #[error("class {id} has the limits of itself: name another class, or leave `limits_of` out")]
    OwnTwin {
        /// The class.
        id: ClassId,
    },
    /// The class whose limits it shares has none of its own.
    #[error("class {id} has the limits of {other}, which has those of {third}: name {third}")]
    TwinOfTwin {
        /// The class.
        id: ClassId,
        /// The one it names.
        other: ClassId,
        /// Whose limits that one has.
        third: ClassId,
    },
    /// It shares limits and has some itself.
    #[error("class {id} has the limits of {other} and a {what} itself: leave one of them out")]
    TwinWithLimits {
        /// The class.
        id: ClassId,
        /// The one whose limits it shares.
        other: ClassId,
        /// `ceil`, `cburst`, `pps`, `ppsburst` or `pace`.
        what: &'static str,
    },
    /// Two classes that share limits lie on one way to the root, and would count frames twice.
    #[error("class {id} lies below {above}, with which it shares limits: they would count twice")]
    TwinAbove {
        /// The lower one.
        id: ClassId,
        /// The upper one.
        above: ClassId,
    },
    /// The time of a segment cannot be turned into bytes, or is out of range.
    #[error(
        "class {id} charges {nanos} ns per segment: write 1 to 10^9, and a rate or ceil at the root"
    )]
    SegmentTime {
        /// The root.
        id: ClassId,
        /// What was written.
        nanos: u32,
    },
    /// A change of a single class that the tree does not have.
    #[error("there is no class {id} to change: apply a tree that has it")]
    Unknown {
        /// What was written.
        id: ClassId,
    },
    /// A change of a single class that takes another tree.
    #[error("class {id} would get another {what}: apply a whole tree to change that")]
    Reshaped {
        /// The class.
        id: ClassId,
        /// `parent`, `kind of queue`, `framing` or `limits_of`.
        what: &'static str,
    },
}

impl TreeError {
    /// The class at fault, if it is one.
    #[must_use]
    pub const fn class(&self) -> Option<ClassId> {
        match *self {
            Self::NoRoot | Self::ZeroPoolShare => None,
            Self::SecondRoot { id, .. }
            | Self::Duplicate { id }
            | Self::Orphan { id, .. }
            | Self::Cycle { id }
            | Self::TooDeep { id, .. }
            | Self::TooMany { id }
            | Self::ZeroWeight { id }
            | Self::ZeroQuantum { id }
            | Self::EmptyQueue { id }
            | Self::TooManyBuckets { id, .. }
            | Self::Prio { id, .. }
            | Self::RateAboveCeil { id, .. }
            | Self::Overcommitted { id, .. }
            | Self::SmallBurst { id, .. }
            | Self::SmallPacketBurst { id }
            | Self::PaceWithoutCeil { id }
            | Self::QueueOnInner { id }
            | Self::Unknown { id }
            | Self::Reshaped { id, .. }
            | Self::NoTwin { id, .. }
            | Self::OwnTwin { id }
            | Self::TwinOfTwin { id, .. }
            | Self::TwinWithLimits { id, .. }
            | Self::TwinAbove { id, .. }
            | Self::SegmentTime { id, .. } => Some(id),
        }
    }
}
