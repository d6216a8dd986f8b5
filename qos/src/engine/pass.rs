//! Frames that need not wait: charged on their way, without a queue.

use super::Engine;
use super::class::{Class, Kind, LeafKey, State};
use crate::class::ticks;
use crate::counters::FlowCounters;
use crate::time::Time;
use crate::wire::{FrameShape, Framing};

impl Engine {
    /// Charges a frame that need not wait, and returns whether it may go at once: if its leaf has a queue
    /// and that is empty, the leaf is not held back, nothing else in the tree may go at `now`, and every
    /// limit on the way lets this frame go. It is charged and counted then as after
    /// [`offer`](Self::offer), [`peek`](Self::peek) and [`commit`](Self::commit) in a visit of its own, at
    /// a fraction of the cost: no queue sees it, so its flow does not matter.
    ///
    /// Otherwise nothing is charged, and the frame has to be offered. That may be so as well when timers
    /// are due, when there is no room for another frame to wait, and when somebody waits with whom a
    /// class on the way [shares its limits](crate::ClassConfig::limits_of).
    ///
    /// A super-frame goes as a whole, whatever its leaf's quantum: do not ask for one that should be
    /// peeled. A grant that was neither committed nor aborted yet stands.
    #[inline]
    pub fn pass(&mut self, leaf: LeafKey, shape: FrameShape, now: Time) -> bool {
        let Some(class) = self.classes.get(leaf.index as usize) else {
            return false;
        };
        if class.generation != leaf.generation || class.backlog || !self.is_open(leaf.index, class)
        {
            return false;
        }
        if self.visit.is_some() || self.batch.is_some() {
            self.settle();
        }
        let now = self.clock(now);
        if self.wheel.is_due(now) || !self.lets_pass(leaf.index, ticks(now)) {
            return false;
        }
        self.charge_passed(leaf.index, shape, ticks(now));
        true
    }

    /// How frames of this leaf are charged; `None` if there is no such leaf.
    #[must_use]
    pub fn framing(&self, leaf: LeafKey) -> Option<Framing> {
        let index = self.find(leaf)?;
        Some(self.profile(self.class(index)).framing())
    }

    /// Whether a leaf that is empty has a queue that would take a frame.
    #[inline]
    fn is_open(&self, index: u32, class: &Class) -> bool {
        let takes = match class.kind {
            Kind::Inner | Kind::Hold => false,
            Kind::Fifo => class.fifo.limit > 0,
            Kind::Flows => self.draining.is_empty() || !self.draining.contains(&index),
        };
        takes && !class.blocked && self.frames.admits(0)
    }

    /// Whether nothing else may go, and all limits from a leaf to the root let a frame go.
    #[inline]
    fn lets_pass(&self, leaf: u32, now: u128) -> bool {
        let has_twins = !self.twins.is_empty();
        let mut at = leaf;
        while let Some(class) = self.classes.get(at as usize) {
            // Were anything ready to go, it would be so all the way up to the root.
            let Some(profile) = self.profiles.get(class.profile as usize) else {
                return false;
            };
            let open = class.state == State::Idle
                && profile.ceil.ready(class.ceil, now)
                && (!profile.pps.is_limit() || profile.pps.ready(self.pps(at), now));
            if !open || has_twins && profile.is_limited() && !self.are_twins_at_rest(at) {
                return false;
            }
            at = class.parent;
        }
        true
    }

    /// Charges a frame to a leaf where nothing waits, and to all above it.
    #[inline]
    fn charge_passed(&mut self, leaf: u32, shape: FrameShape, now: u128) {
        let mut framing = Framing::ETHERNET;
        let mut cost = framing.cost(shape);
        let (mut guaranteed, mut green) = (false, false);
        let mut at = leaf;
        while let Some(class) = self.classes.get_mut(at as usize) {
            let Some(profile) = self.profiles.get(class.profile as usize) else {
                return;
            };
            if profile.framing() != framing {
                framing = profile.framing();
                cost = framing.cost(shape);
            }
            let segments = u64::from(cost.segments);
            let core = segments.saturating_mul(self.segment_bytes);
            let work = cost.wire_bytes.max(core);
            let above = self.inners.get_mut(class.above as usize);
            if profile.rate.is_limit() {
                let below = profile.rate.ready(class.rate, now);
                green |= below;
                if above.is_some() {
                    guaranteed |= below;
                    if guaranteed {
                        class.rate = profile.rate.charged(class.rate, now, work);
                    }
                }
            }
            if profile.ceil.is_limit() {
                // As for what waited: only the root stands for link and core.
                let units = if above.is_some() {
                    cost.wire_bytes
                } else {
                    work
                };
                class.ceil = profile.ceil.charged(class.ceil, now, units);
            }
            if profile.pps.is_limit()
                && let Some(pps) = self.pps.get_mut(at as usize)
            {
                *pps = profile.pps.charged(*pps, now, segments);
            }
            if let Some(fair) = above {
                let state = if green { State::Green } else { State::Excess };
                let tier = state.tier(profile.prio);
                fair.pass(&mut class.seat, tier, profile.share(tier), work);
            }
            let (parent, stats) = (class.parent, class.stats);
            if at == leaf {
                let mut passed = FlowCounters::default();
                passed.add(shape.len, cost);
                let tally = match self.stats.get_mut(stats as usize) {
                    Some(tally) => tally,
                    None => self.tally(leaf),
                };
                tally.offered(&passed);
                tally.sent(&passed, green);
            }
            at = parent;
        }
        if !self.twins.is_empty() {
            self.charge_resting_twins(leaf, shape, now);
        }
    }
}
