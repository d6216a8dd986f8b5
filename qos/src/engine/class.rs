//! One class at work.

use std::slice;

use prefetch_index::prefetch_index;

use super::Engine;
use super::fifo::Fifo;
use crate::class::{Arrival, ClassId, LeafQueue, Profile};
use crate::fair::{GREEN, Seat, Seats, Tier};
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

impl LeafKey {
    /// A number of the leaf for tables beside the engine: below the number of classes that the engine
    /// ever had at one time. Another leaf may get it when this one has ended, so a table has to keep
    /// the key with what it knows of a leaf and compare.
    #[must_use]
    pub const fn index(self) -> u32 {
        self.index
    }
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

/// What a class is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// It has children.
    Inner,
    /// A leaf whose frames wait with the caller.
    Hold,
    /// A leaf whose frames wait first in first out.
    Fifo,
    /// A leaf whose frames wait by flow.
    Flows,
}

impl Kind {
    pub(super) const fn of(queue: LeafQueue) -> Self {
        match queue {
            LeafQueue::Hold => Self::Hold,
            LeafQueue::Fifo { .. } => Self::Fifo,
            LeafQueue::Flows(_) => Self::Flows,
        }
    }
}

/// What a visit is charged, on its way from the leaf to the root.
#[derive(Clone, Copy, Debug)]
pub(super) struct Way {
    /// Bytes on the wire.
    pub(super) bytes: u64,
    pub(super) segments: u64,
    /// What sharing counts: time of the link or of the core, whichever is more, in bytes of the link.
    pub(super) work: u64,
    /// How much of that was within the guarantee of a class so far.
    pub(super) guaranteed: u64,
    /// The tiers that wait in the class at hand.
    pub(super) below: u8,
}

/// A class on two cache lines. The limits are kept as theoretical arrival times; their terms are in
/// the profile.
#[derive(Clone, Debug)]
#[repr(C, align(128))]
pub(super) struct Class {
    pub(super) ceil: Arrival,
    pub(super) rate: Arrival,
    pub(super) seat: Seat,
    /// The frames of a leaf of that kind.
    pub(super) fifo: Fifo,
    /// [`NONE`] for the root.
    pub(super) parent: u32,
    /// Number of the parent's queue of children.
    pub(super) above: u32,
    /// Number of its own queue: of children, or of flows.
    pub(super) body: u32,
    pub(super) profile: u32,
    pub(super) stats: u32,
    pub(super) generation: u32,
    pub(super) id: ClassId,
    pub(super) state: State,
    pub(super) kind: Kind,
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
            rate: 0,
            seat: Seat::new(0),
            fifo: Fifo::new(0),
            parent: NONE,
            above: NONE,
            body: NONE,
            profile: NONE,
            stats: NONE,
            generation,
            id: ClassId::default(),
            state: State::Idle,
            kind: Kind::Inner,
            backlog: false,
            blocked: false,
        }
    }

    /// Fetches both cache lines of one of these classes, if there is such a one.
    #[inline]
    pub(super) fn prefetch(classes: &[Self], index: u32) {
        if let Some(class) = classes.get(index as usize) {
            prefetch_index(slice::from_ref(&class.ceil), 0);
            prefetch_index(slice::from_ref(&class.generation), 0);
        }
    }

    pub(super) const fn key(&self, index: u32) -> LeafKey {
        LeafKey {
            index,
            generation: self.generation,
        }
    }

    pub(super) fn is_leaf(&self) -> bool {
        self.kind != Kind::Inner
    }

    /// Charges what went through this class to its limits, of which that of packets is `open`
    /// afterwards; returns the state in which it should be now.
    #[inline]
    pub(super) fn charge(
        &mut self,
        profile: &Profile,
        now: u128,
        mut open: bool,
        way: &mut Way,
    ) -> State {
        let is_root = self.parent == NONE;
        let mut green = way.below & 1 != 0;
        if profile.rate.is_limit() && !is_root {
            if self.state == State::Green && profile.rate.ready(self.rate, now) {
                way.guaranteed = way.work;
            }
            if way.guaranteed > 0 {
                self.rate = profile.rate.charged(self.rate, now, way.guaranteed);
            }
            green |= profile.rate.ready(self.rate, now);
        }
        if profile.ceil.is_limit() {
            // A ceiling is a promise about the wire; only the root stands for link and core.
            let units = if is_root { way.work } else { way.bytes };
            self.ceil = profile.ceil.charged(self.ceil, now, units);
            open &= profile.ceil.ready(self.ceil, now);
        }
        let waits = if self.is_leaf() {
            self.backlog
        } else {
            way.below != 0
        };
        match (waits, self.blocked, open, green) {
            (false, ..) => State::Idle,
            (true, true, ..) => State::Blocked,
            (true, false, false, _) => State::Throttled,
            (true, false, true, true) => State::Green,
            (true, false, true, false) => State::Excess,
        }
    }

    /// Whether it is below its own guarantee at `now`.
    #[inline]
    pub(super) const fn below_rate(&self, profile: &Profile, now: u128) -> bool {
        profile.rate.is_limit() && profile.rate.ready(self.rate, now)
    }

    /// Whether its limits leave room for this much, so that all of it but its end may be sent.
    #[inline]
    pub(super) fn fits(
        &self,
        profile: &Profile,
        pps: Arrival,
        now: u128,
        bytes: u64,
        segments: u64,
    ) -> bool {
        profile.ceil.fits(self.ceil, now, bytes)
            && (!profile.pps.is_limit() || profile.pps.fits(pps, now, segments))
    }
}

impl Seats for [Class] {
    #[inline]
    #[allow(clippy::indexing_slicing)] // seats are numbered by the tree itself
    fn seat(&self, child: u32) -> &Seat {
        &self[child as usize].seat
    }

    #[inline]
    #[allow(clippy::indexing_slicing)] // as above
    fn seat_mut(&mut self, child: u32) -> &mut Seat {
        &mut self[child as usize].seat
    }
}

impl Engine {
    /// When a class's own limits open.
    pub(super) fn opens(&self, index: u32) -> Time {
        let class = self.class(index);
        let profile = self.profile(class);
        let ceil = profile.ceil.opens(class.ceil);
        ceil.max(profile.pps.opens(self.pps(index)))
    }

    /// When the last limit on the way from a class to the root opens.
    pub(super) fn path_opens(&self, index: u32) -> Time {
        let mut latest = Time::ZERO;
        let mut at = index;
        while at != NONE {
            let class = self.class(at);
            latest = latest.max(self.opens(at));
            at = class.parent;
        }
        latest
    }
}
