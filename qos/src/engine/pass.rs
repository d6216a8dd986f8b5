//! Frames that need not wait: charged on their way, without a queue.

use super::Engine;
use super::class::{Class, Kind, LeafKey, State};
use super::grant::Room;
use super::visit::{HELD_FRAMES, SEGMENTS};
use crate::class::ticks;
use crate::counters::FlowCounters;
use crate::time::Time;
use crate::wire::{FrameShape, Framing};

/// Frames that pass together besides the first.
const BURST: u32 = HELD_FRAMES - 1;

/// Leave for frames of one leaf to go without waiting; see [`Engine::passage`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Passage {
    leaf: LeafKey,
    now: Time,
    /// How the leaf is charged.
    pub framing: Framing,
    /// What may go besides the first frame.
    pub room: Room,
}

impl Passage {
    /// Whose frames may go.
    #[must_use]
    pub const fn leaf(&self) -> LeafKey {
        self.leaf
    }
}

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
        let Some((now, framing)) = self.way_is_free(leaf, now) else {
            return false;
        };
        let mut sent = FlowCounters::default();
        sent.add(shape.len, framing.cost(shape));
        self.charge_passed(leaf.index, &sent, shape, framing, ticks(now));
        true
    }

    /// Leave for several frames of one leaf to go at once, if one may [pass](Self::pass) and as many as every
    /// limit on the way lets go. Nothing is charged: the caller sends what it can and says so by
    /// [`passed`](Self::passed), before it calls anything else of this engine.
    #[inline]
    pub fn passage(&mut self, leaf: LeafKey, now: Time) -> Option<Passage> {
        let (now, framing) = self.way_is_free(leaf, now)?;
        let quantum = self.profile(self.class(leaf.index)).quantum;
        let (whole, counted) = self.fits(leaf.index, now, quantum, framing);
        let room = Room {
            frames: if whole { BURST } else { 0 },
            bytes: quantum,
            segments: if counted { SEGMENTS } else { u64::MAX },
        };
        Some(Passage {
            leaf,
            framing,
            room,
            now,
        })
    }

    /// Charges what went under a [passage](Self::passage): `sent` is what the frames are together, as
    /// [`Passage::framing`] counts them, each but the first with [room](Room::holds), and `last` the shape
    /// of the last of them. The same as if they had been offered together and sent in a visit of their own.
    /// Without a frame, nothing happens.
    #[inline]
    pub fn passed(&mut self, passage: &Passage, sent: &FlowCounters, last: FrameShape) {
        if sent.frames > 0 && self.find(passage.leaf).is_some() {
            let (leaf, now) = (passage.leaf.index, ticks(passage.now));
            self.charge_passed(leaf, sent, last, passage.framing, now);
        }
    }

    /// The time as the tree counts it, and how this leaf is charged, if a frame of it need not wait.
    #[inline]
    fn way_is_free(&mut self, leaf: LeafKey, now: Time) -> Option<(Time, Framing)> {
        let class = self.classes.get(leaf.index as usize)?;
        if class.generation != leaf.generation || class.backlog || !self.is_open(leaf.index, class)
        {
            return None;
        }
        let framing = self.profile(class).framing();
        if self.visit.is_some() || self.batch.is_some() {
            self.settle();
        }
        let now = self.clock(now);
        if self.wheel.is_due(now) || !self.lets_pass(leaf.index, ticks(now)) {
            return None;
        }
        Some((now, framing))
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

    /// Charges frames to a leaf where nothing waits, and to all above it.
    #[inline]
    fn charge_passed(
        &mut self,
        leaf: u32,
        sent: &FlowCounters,
        last: FrameShape,
        framing: Framing,
        now: u128,
    ) {
        let (mut guaranteed, mut green) = (false, false);
        let mut at = leaf;
        while let Some(class) = self.classes.get_mut(at as usize) {
            let Some(profile) = self.profiles.get(class.profile as usize) else {
                return;
            };
            let (wire_bytes, segments) = charged(sent, last, framing, profile.framing());
            let core = segments.saturating_mul(self.segment_bytes);
            let work = wire_bytes.max(core);
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
                let units = if above.is_some() { wire_bytes } else { work };
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
                let tally = match self.stats.get_mut(stats as usize) {
                    Some(tally) => tally,
                    None => self.tally(leaf),
                };
                tally.offered(sent);
                tally.sent(sent, green);
            }
            at = parent;
        }
        if !self.twins.is_empty() {
            self.charge_resting_twins(leaf, sent, last, framing, now);
        }
    }
}

/// Wire bytes and segments of what passed, which `own` counted, for a class that charges like this. Several
/// frames only go together where all on the way charge alike.
#[inline]
pub(super) fn charged(
    sent: &FlowCounters,
    last: FrameShape,
    own: Framing,
    class: Framing,
) -> (u64, u64) {
    if class == own || sent.frames > 1 {
        return (sent.wire_bytes, sent.segments);
    }
    let cost = class.cost(last);
    (cost.wire_bytes, cost.segments.into())
}
