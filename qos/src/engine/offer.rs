//! What waits: frames for leaves that have a queue, and the word that some wait elsewhere.

use prefetch_index::prefetch_index;

use super::class::{Class, Kind, LeafKey, State};
use super::frame::Frame;
use super::poll::PREFETCHED;
use super::{Engine, Offer};
use crate::class::{Profile, ticks};
use crate::counters::FlowCounters;
use crate::fair::link;
use crate::time::Time;
use crate::wheel::Hand;
use crate::wire::Framing;

/// How many frames ahead of its turn in a burst a leaf's class is fetched, and then what that refers
/// to: about what a memory access takes.
const CLASS_AHEAD: usize = 16;
const STATS_AHEAD: usize = 8;

impl Engine {
    /// Gives a frame to a leaf that has a queue.
    #[inline]
    pub fn offer(&mut self, leaf: LeafKey, frame: Frame, now: Time) -> Offer {
        let now = self.clock(now);
        self.offer_one(leaf, &frame, now)
    }

    #[inline(always)] // into the loop over a burst
    fn offer_one(&mut self, leaf: LeafKey, frame: &Frame, now: Time) -> Offer {
        let index = leaf.index;
        let Some(class) = self.classes.get_mut(index as usize) else {
            return Offer::Gone;
        };
        if class.generation != leaf.generation {
            return Offer::Gone;
        }
        if class.kind == Kind::Fifo
            && self.frames.admits(class.fifo.frames)
            && class.fifo.push(&mut self.frames, frame, None)
        {
            let framing = self.profiles.get(class.profile as usize);
            let framing = framing.map_or(Framing::ETHERNET, Profile::framing);
            let mut passed = FlowCounters::default();
            passed.add(frame.shape.len, framing.cost(frame.shape));
            let backlog = std::mem::replace(&mut class.backlog, true);
            match self.stats.get_mut(class.stats as usize) {
                Some(tally) => tally.offered(&passed),
                None => self.tally(index).offered(&passed),
            }
            if !backlog {
                self.wake(index, now);
            }
            return Offer::Queued;
        }
        self.offer_slowly(index, frame, now)
    }

    /// As [`offer`](Self::offer), for a frame that the caller still would have to copy: a leaf of flows
    /// refuses it if it would lose an older frame of the same flow for it. A flow loses as many either
    /// way, and of these none was copied for nothing.
    pub fn offer_costly(&mut self, leaf: LeafKey, frame: Frame, now: Time) -> Offer {
        if let Some(index) = self.find(leaf)
            && let (Kind::Flows, body) = (self.class(index).kind, self.class(index).body)
            && let Some(flows) = self.flows.get_mut(body as usize)
            && flows.displaces_its_own(&mut self.frames, &mut self.sets, &frame)
        {
            self.tally(index).refused();
            return Offer::Refused;
        }
        self.offer(leaf, frame, now)
    }

    /// Gives several frames to their leaves, in order, as [`offer`](Self::offer) does one by one, but in
    /// less time; tells `refused` the position of every frame that was not queued, and why.
    pub fn offer_burst(
        &mut self,
        burst: &[(LeafKey, Frame)],
        now: Time,
        mut refused: impl FnMut(usize, Offer),
    ) {
        let now = self.clock(now);
        let is_large = self.classes.len() >= PREFETCHED;
        let differs = |pair: &[(LeafKey, Frame)]| matches!(pair, [(a, _), (b, _)] if a != b);
        if is_large && burst.get(..2).is_some_and(differs) {
            for (leaf, _) in burst.iter().take(CLASS_AHEAD) {
                Class::prefetch(&self.classes, leaf.index);
            }
        }
        let mut rest = burst;
        while let [(leaf, frame), tail @ ..] = rest {
            if is_large {
                self.prefetch_offers(rest);
            }
            let at = burst.len().wrapping_sub(rest.len());
            if matches!(tail, [(next, _), ..] if next == leaf) {
                let run = rest.iter().take_while(|(other, _)| other == leaf).count();
                let queued = self.offer_run(rest.get(..run).unwrap_or(rest), now);
                // One by one what is not first in, first out, or too much.
                let others = rest.get(queued..run).unwrap_or_default();
                for (&(leaf, frame), at) in others.iter().zip(at.wrapping_add(queued)..) {
                    let offer = self.offer(leaf, frame, now);
                    if offer != Offer::Queued {
                        refused(at, offer);
                    }
                }
                rest = rest.get(run..).unwrap_or_default();
                continue;
            }
            let offer = self.offer_one(*leaf, frame, now);
            if offer != Offer::Queued {
                refused(at, offer);
            }
            rest = tail;
        }
    }

    /// Fetches what some of these offers will read, the further off the less.
    #[inline]
    fn prefetch_offers(&self, rest: &[(LeafKey, Frame)]) {
        if let Some((leaf, _)) = rest.get(CLASS_AHEAD) {
            Class::prefetch(&self.classes, leaf.index);
        }
        if let Some((leaf, _)) = rest.get(STATS_AHEAD)
            && let Some(class) = self.classes.get(leaf.index as usize)
        {
            prefetch_index(&self.stats, class.stats as usize);
        }
    }

    /// Gives frames to one leaf that is first in, first out, as far as there is room; returns how many.
    fn offer_run(&mut self, run: &[(LeafKey, Frame)], now: Time) -> usize {
        let Some(&(leaf, _)) = run.first() else {
            return 0;
        };
        let Some(class) = self.classes.get_mut(leaf.index as usize) else {
            return 0;
        };
        if class.generation != leaf.generation || class.kind != Kind::Fifo {
            return 0;
        }
        let room = class.fifo.limit.saturating_sub(class.fifo.frames) as usize;
        let room = self
            .frames
            .admits_of(class.fifo.frames, run.len().min(room));
        let framing = self.profiles.get(class.profile as usize);
        let framing = framing.map_or(Framing::ETHERNET, Profile::framing);
        let run = run.get(..room).unwrap_or_default();
        let passed = class.fifo.push_all(&mut self.frames, run, framing);
        if passed.frames == 0 {
            return 0;
        }
        let stats = class.stats;
        match self.stats.get_mut(stats as usize) {
            Some(tally) => tally.offered(&passed),
            None => self.tally(leaf.index).offered(&passed),
        }
        self.wait(leaf.index, now);
        usize::try_from(passed.frames).unwrap_or(usize::MAX)
    }

    /// Gives a frame to a leaf of flows, or refuses it.
    fn offer_slowly(&mut self, index: u32, frame: &Frame, now: Time) -> Offer {
        let class = self.class(index);
        if self.draining.contains(&index) {
            return Offer::Gone;
        }
        let queued = match class.kind {
            Kind::Inner => return Offer::Gone,
            Kind::Hold | Kind::Fifo => false,
            Kind::Flows => self.offer_flows(index, frame, now),
        };
        if !queued {
            self.tally(index).refused();
            return Offer::Refused;
        }
        let class = self.class(index);
        let backlog = class.backlog;
        let cost = self.profile(class).framing().cost(frame.shape);
        let mut passed = FlowCounters::default();
        passed.add(frame.shape.len, cost);
        self.tally(index).offered(&passed);
        if !backlog {
            self.wait(index, now);
        }
        Offer::Queued
    }

    fn offer_flows(&mut self, index: u32, frame: &Frame, now: Time) -> bool {
        let now = self.clock(now).as_nanos();
        let body = self.class(index).body as usize;
        let Some(flows) = self.flows.get_mut(body) else {
            return false;
        };
        let queued = flows.push(&mut self.frames, &mut self.sets, frame, now);
        if let Some(toll) = self.sets.toll() {
            self.tally(index).collect(&toll);
        }
        queued
    }

    /// Says that frames wait for a leaf without a queue of its own. Saying it again changes nothing.
    /// Returns whether there is such a leaf.
    pub fn backlogged(&mut self, leaf: LeafKey, now: Time) -> bool {
        let held = self
            .find(leaf)
            .filter(|&index| self.class(index).kind == Kind::Hold);
        if let Some(index) = held {
            self.wait(index, now);
        }
        held.is_some()
    }

    /// Marks a leaf as having frames that wait.
    fn wait(&mut self, index: u32, now: Time) {
        if !std::mem::replace(&mut self.class_mut(index).backlog, true) {
            let now = self.clock(now);
            self.wake(index, now);
        }
    }

    /// Brings a leaf, for which frames begin to wait, to where it belongs at the latest time seen.
    #[inline(always)] // into whatever offers frames
    fn wake(&mut self, index: u32, now: Time) {
        if self.visit.is_some() || self.batch.is_some() {
            self.settle();
        }
        let ticks = ticks(now);
        let Some(class) = self.classes.get_mut(index as usize) else {
            return;
        };
        let (Some(profile), Some(fair)) = (
            self.profiles.get(class.profile as usize),
            self.inners.get_mut(class.above as usize),
        ) else {
            return self.place(index, now);
        };
        let open = profile.ceil.ready(class.ceil, ticks) && !profile.pps.is_limit();
        if class.state != State::Idle || class.blocked || !open {
            return self.place(index, now);
        }
        // From nowhere to its parent's queue, which is what happens most.
        let green = class.below_rate(profile, ticks);
        let state = if green { State::Green } else { State::Excess };
        let (tier, parent) = (state.tier(profile.prio), class.parent);
        class.state = state;
        let returns = (!green && profile.rate.is_limit()).then_some(class.rate);
        let share = profile.share(tier);
        let (last, changed) = fair.arrive(&mut class.seat, index, [profile.prio, tier], share);
        link(self.classes.as_mut_slice(), last, index);
        if let Some(rate) = returns {
            let opens = profile.rate.opens(rate);
            self.wheel.arm(Hand::Green, index, opens, now);
        }
        if changed {
            self.wake_above(parent, now);
        }
    }

    /// Brings a class, below which others wait than before, to where it now belongs, and those above it.
    fn wake_above(&mut self, index: u32, now: Time) {
        let ticks = ticks(now);
        let mut at = index;
        while let Some(class) = self.classes.get_mut(at as usize) {
            let (Some(profile), Some(inner)) = (
                self.profiles.get(class.profile as usize),
                self.inners.get(class.body as usize),
            ) else {
                return;
            };
            let open = profile.ceil.ready(class.ceil, ticks) && !profile.pps.is_limit();
            if class.state != State::Idle || !open {
                return self.place(at, now);
            }
            let green = inner.has_green() || class.below_rate(profile, ticks);
            class.state = if green { State::Green } else { State::Excess };
            let (state, parent) = (class.state, class.parent);
            let (prio, rate) = (profile.prio, class.rate);
            let Some(fair) = self.inners.get_mut(class.above as usize) else {
                return;
            };
            let tier = state.tier(prio);
            let share = profile.share(tier);
            let (last, changed) = fair.arrive(&mut class.seat, at, [prio, tier], share);
            link(self.classes.as_mut_slice(), last, at);
            if !green && profile.rate.is_limit() {
                let opens = profile.rate.opens(rate);
                self.wheel.arm(Hand::Green, at, opens, now);
            }
            if !changed {
                return;
            }
            at = parent;
        }
    }
}
