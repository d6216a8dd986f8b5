//! One class at work.

use super::Engine;
use crate::class::{Arrival, ClassId, Profile};
use crate::fair::{GREEN, Tier};
use crate::time::Time;

/// No class, no queue, no counters.
pub(super) const NONE: u32 = u32::MAX;

/// A leaf of an engine, as its callers name it. A key outlives changes of the tree as long as its
/// leaf is kept, and is never mistaken for another's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LeafKey {
    pub(super) index: u32,
    pub(super) generation: u32,
}

/// What a class is doing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum State {
    /// Nothing waits below it that its descendants' limits let go.
    #[default]
    Idle,
    /// Something may go, within its guarantee or that of a descendant.
    Green,
    /// Something may go, beyond all guarantees.
    Excess,
    /// Something waits, and its own ceiling or packet limit is closed.
    Throttled,
    /// Something waits, but the caller could not deliver and has not yet said that it can again.
    Blocked,
}

impl State {
    /// Whether the class waits in its parent's queue.
    pub(super) const fn may_send(self) -> bool {
        matches!(self, Self::Green | Self::Excess)
    }

    /// The tier of its parent's queue in which a class of this priority waits, in a state that waits.
    pub(super) const fn tier(self, prio: u8) -> Tier {
        match self {
            Self::Green => GREEN,
            // Admission bounds the priority to 3.
            _ => 1_u8.saturating_add(prio),
        }
    }
}

/// The hot part of a class. The limits are kept as theoretical arrival times; their terms are in the
/// profile.
#[derive(Clone, Debug)]
pub(super) struct Class {
    pub(super) ceil: Arrival,
    pub(super) pps: Arrival,
    pub(super) rate: Arrival,
    pub(super) id: ClassId,
    pub(super) profile: u32,
    /// [`NONE`] for the root.
    pub(super) parent: u32,
    /// Its number among its siblings.
    pub(super) position: u32,
    /// Number of its children's queue, or for a leaf of its own, if it has one.
    pub(super) body: u32,
    pub(super) stats: u32,
    pub(super) generation: u32,
    pub(super) state: State,
    pub(super) leaf: bool,
    /// A leaf's: frames wait.
    pub(super) backlog: bool,
    /// A leaf's: the caller could not deliver.
    pub(super) blocked: bool,
}

impl Class {
    /// A slot that no class uses.
    pub(super) fn vacant(generation: u32) -> Self {
        Self {
            ceil: 0,
            pps: 0,
            rate: 0,
            id: ClassId::default(),
            profile: NONE,
            parent: NONE,
            position: 0,
            body: NONE,
            stats: NONE,
            generation,
            state: State::Idle,
            leaf: false,
            backlog: false,
            blocked: false,
        }
    }

    pub(super) const fn is_leaf(&self) -> bool {
        self.leaf
    }

    /// Whether its own limits let something go at `now`.
    pub(super) const fn open(&self, profile: &Profile, now: u128) -> bool {
        profile.ceil.ready(self.ceil, now)
            && (!profile.pps.is_limit() || profile.pps.ready(self.pps, now))
    }

    /// When its own limits open.
    pub(super) fn opens(&self, profile: &Profile) -> Time {
        let ceil = profile.ceil.opens(self.ceil);
        ceil.max(profile.pps.opens(self.pps))
    }

    /// Whether it is below its own guarantee at `now`.
    pub(super) const fn below_rate(&self, profile: &Profile, now: u128) -> bool {
        profile.rate.is_limit() && profile.rate.ready(self.rate, now)
    }

    /// Whether its limits leave room for this much, so that all of it but its end may be sent.
    pub(super) fn fits(&self, profile: &Profile, now: u128, bytes: u64, segments: u64) -> bool {
        profile.ceil.fits(self.ceil, now, bytes)
            && (!profile.pps.is_limit() || profile.pps.fits(self.pps, now, segments))
    }
}

impl Engine {
    /// When the last limit on the way from a class to the root opens.
    pub(super) fn path_opens(&self, index: u32) -> Time {
        let mut latest = Time::ZERO;
        let mut at = index;
        while at != NONE {
            let class = self.class(at);
            latest = latest.max(class.opens(self.profile(class)));
            at = class.parent;
        }
        latest
    }
}
