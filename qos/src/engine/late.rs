//! A grant that outlived its visit: something else was asked of the engine while the frame was on its
//! way.
//!
//! The visit is settled then, as it would be without the grant, so that whatever was asked finds the
//! tree up to date. The grant stays by itself, and its frame is charged alone when it is committed: the
//! leaf and the classes above it may be anywhere by then.

use super::Engine;
use super::class::{Kind, NONE, State};
use super::frame::Frame;
use super::visit::Visit;
use crate::class::ticks;
use crate::counters::FlowCounters;
use crate::fair::GREEN;
use crate::wire::{FrameShape, Framing};

/// Where a granted frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// Where it was, the leaf's next.
    Leaf,
    /// With the caller only: its leaf is gone, or waits in another way.
    Caller,
    /// With the caller, and counted as dropped: its queue has ended.
    Dropped,
}

/// A grant without a visit.
#[derive(Clone, Copy, Debug)]
pub(super) struct Late {
    /// The leaf, or the nearest ancestor that outlived it.
    class: u32,
    place: Place,
}

impl Late {
    /// The grant of a visit that ends.
    pub(super) const fn of(visit: &Visit) -> Self {
        Self {
            class: visit.leaf,
            place: Place::Leaf,
        }
    }
}

impl Engine {
    /// Charges the frame of a grant without a visit, if there is one, as [`commit`](Self::commit) does.
    #[cold]
    pub(super) fn commit_late(&mut self, sent: FrameShape) -> Option<Frame> {
        let Late { class: at, place } = self.late.take()?;
        let class = self.class(at);
        let green = class.state == State::Green;
        let cost = self.profile(class).framing().cost(sent);
        let mut passed = FlowCounters::default();
        passed.add(sent.len, cost);
        if place != Place::Dropped {
            self.tally(at).sent(&passed, green);
        }
        let done = match place {
            Place::Leaf => self.take(at, sent),
            Place::Caller | Place::Dropped => None,
        };
        self.charge_late(at, |framing| {
            let cost = framing.cost(sent);
            (cost.wire_bytes, cost.segments.into())
        });
        done
    }

    /// The same for several frames of a leaf without a queue.
    #[cold]
    pub(super) fn commit_burst_late(&mut self, sent: &FlowCounters, last: FrameShape) {
        let Some(Late { class: at, place }) = self.late.filter(|_| sent.frames > 0) else {
            return;
        };
        let class = self.class(at);
        if place == Place::Leaf && class.kind != Kind::Hold {
            return;
        }
        let green = class.state == State::Green;
        let own = self.profile(class).framing();
        self.late = None;
        if place != Place::Dropped {
            self.tally(at).sent(sent, green);
        }
        self.charge_late(at, |framing| {
            if framing == own || sent.frames > 1 {
                return (sent.wire_bytes, sent.segments);
            }
            let cost = framing.cost(last);
            (cost.wire_bytes, cost.segments.into())
        });
    }

    /// Ends a grant without a visit, if there is one; returns the leaf if it is as it was.
    pub(super) fn abort_late(&mut self) -> Option<u32> {
        let late = self.late.take()?;
        (late.place == Place::Leaf).then_some(late.class)
    }

    /// Charges what was sent to a class and all above it, whatever they are doing, and moves each to where
    /// it now belongs; `units` says what a framing makes of it, in bytes and segments.
    fn charge_late(&mut self, index: u32, units: impl Fn(Framing) -> (u64, u64)) {
        let now = ticks(self.now);
        let mut guaranteed = false;
        let mut at = index;
        while let Some(class) = self.classes.get_mut(at as usize) {
            let Some(profile) = self.profiles.get(class.profile as usize) else {
                return;
            };
            let (bytes, segments) = units(profile.framing());
            let work = bytes.max(segments.saturating_mul(self.segment_bytes));
            let is_root = class.parent == NONE;
            if let Some(pps) = self
                .pps
                .get_mut(at as usize)
                .filter(|_| profile.pps.is_limit())
            {
                *pps = profile.pps.charged(*pps, now, segments);
            }
            if profile.ceil.is_limit() {
                let units = if is_root { work } else { bytes };
                class.ceil = profile.ceil.charged(class.ceil, now, units);
            }
            if profile.rate.is_limit() && !is_root {
                guaranteed |= class.state != State::Excess && profile.rate.ready(class.rate, now);
                if guaranteed {
                    class.rate = profile.rate.charged(class.rate, now, work);
                }
            }
            let (state, parent) = (class.state, class.parent);
            if let Some(fair) = self.inners.get_mut(class.above as usize) {
                if state.may_send() {
                    let tier = state.tier(profile.prio);
                    let classes = self.classes.as_mut_slice();
                    fair.charge(classes, at, tier, profile.share(tier), work);
                    fair.keep(classes, at, tier);
                } else {
                    let tier = if guaranteed {
                        GREEN
                    } else {
                        State::Excess.tier(profile.prio)
                    };
                    fair.charge_absent(&mut class.seat, tier, profile.share(tier), work);
                }
            }
            // That was its turn.
            self.enter(at, self.want_with(at, now, || false));
            at = parent;
        }
        if !self.twins.is_empty() {
            self.charge_twins_above(index, self.now, units);
        }
    }

    /// The frames of a leaf's queue were dropped, the granted one among them.
    pub(super) fn drop_late(&mut self, leaf: u32) {
        if let Some(late) = &mut self.late
            && (late.class, late.place) == (leaf, Place::Leaf)
        {
            late.place = Place::Dropped;
        }
    }

    /// A leaf waits in another way from now on, or its slot becomes vacant and its nearest ancestor that
    /// stays stands for it, if there is one.
    pub(super) fn part_late(&mut self, leaf: u32, heir: u32) {
        let Some(late) = self.late.as_mut().filter(|late| late.class == leaf) else {
            return;
        };
        if late.place == Place::Leaf {
            late.place = Place::Caller;
        }
        late.class = heir;
        if heir == NONE {
            self.late = None;
        }
    }
}

#[cfg(test)]
mod tests;
