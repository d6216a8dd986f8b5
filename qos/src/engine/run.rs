//! The next of many leaves that have one frame each, in less time: what a visit to one after the other
//! does, without looking anything up again that is the same for all.

use prefetch_index::prefetch_index;

use super::Engine;
use super::charge::Batch;
use super::class::{Class, NONE, State};
use super::frames::Frames;
use super::poll::{Departure, PREFETCHED};
use super::snapshot::Tally;
use super::visit::FRAMES;
use crate::class::ticks;
use crate::counters::FlowCounters;
use crate::fair::{Fair, unlink};
use crate::wire::FrameShape;

/// Somebody who walks ahead along the children of a class that will have its turn soon, a child a step,
/// and has fetched what their visits will read. Where a child lies only the one before it knows, so whoever
/// walked while these are visited would come too late.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scout {
    inner: u32,
    at: u32,
}

impl Scout {
    pub(super) const NOWHERE: Self = Self {
        inner: NONE,
        at: NONE,
    };

    /// Fetches what a visit to the child at hand will read, and goes on to the next one.
    #[inline]
    fn step(&mut self, classes: &[Class], stats: &[Tally], frames: &Frames) {
        if let Some(class) = classes.get(self.at as usize) {
            prefetch_index(stats, class.stats as usize);
            class.fifo.prefetch(frames);
            self.at = class.seat.follower();
            Class::prefetch(classes, self.at);
        }
    }
}

impl Engine {
    /// Sends scouts to those who follow the class of a new batch: one walks on where it was, one begins.
    pub(super) fn send_scouts(&mut self, inner: u32) {
        let follower = |index: u32| {
            let class = self.classes.get(index as usize);
            class.map_or(NONE, |class| class.seat.follower())
        };
        let second = follower(inner);
        let third = follower(second);
        let begin = |inner: u32| {
            let at = self.guess(inner);
            Class::prefetch(&self.classes, at);
            Scout { inner, at }
        };
        let [_, begun] = self.scouts;
        let first = if begun.inner == second {
            begun
        } else {
            begin(second)
        };
        self.scouts = [first, begin(third)];
        Class::prefetch(&self.classes, follower(third));
    }

    /// Goes on with a batch as long as its leaves have one plain frame each and limits of their own, and for
    /// `most` frames; returns how many went.
    pub(super) fn run_batch(&mut self, most: u32, out: &mut Vec<Departure>) -> u32 {
        let Some(batch) = self.batch.take() else {
            return 0;
        };
        let body = self.class(batch.inner).body as usize;
        let next = self.inners.get_mut(body).and_then(Fair::pick);
        match next {
            Some(leaf) => self.run(batch, leaf, most, out),
            None => {
                self.charge_batch(&batch);
                0
            }
        }
    }

    /// Begins a batch with this leaf, whose turn it is, if it is one of those; returns how many frames went.
    #[inline]
    pub(super) fn begin_batch(&mut self, leaf: u32, most: u32, out: &mut Vec<Departure>) -> u32 {
        let class = self.class(leaf);
        let inner = class.parent;
        if !self.plain || class.fifo.frames != 1 || inner == NONE {
            return 0;
        }
        let quantum = self.profile(self.class(inner)).quantum;
        // The root is charged for every visit.
        let goes_on = inner != self.root && self.has_room(inner, ticks(self.now), quantum);
        let batch = Batch {
            inner,
            now: self.now,
            bytes: 0,
            guaranteed: 0,
            frames: 0,
            most: if goes_on { quantum } else { 0 },
            below: 0,
        };
        if goes_on && self.classes.len() >= PREFETCHED {
            self.send_scouts(inner);
        }
        self.run(batch, leaf, most, out)
    }

    /// Serves this leaf and those that follow, and then charges those above if the batch is at its end.
    fn run(&mut self, mut batch: Batch, leaf: u32, most: u32, out: &mut Vec<Departure>) -> u32 {
        let before = batch.frames;
        let most = before.saturating_add(most);
        let goes_on = self.serve(&mut batch, leaf, most, out);
        if !goes_on {
            self.charge_batch(&batch);
        } else if batch.frames > 0 {
            self.batch = Some(batch);
        }
        batch.frames.saturating_sub(before)
    }

    /// Returns whether the batch may go on.
    #[inline(never)] // a loop that wants the registers for itself
    fn serve(
        &mut self,
        batch: &mut Batch,
        mut leaf: u32,
        most: u32,
        out: &mut Vec<Departure>,
    ) -> bool {
        let now = ticks(batch.now);
        let inner = self.class(batch.inner);
        let own_green = inner.below_rate(self.profile(inner), now);
        let (state, body) = (inner.state, inner.body as usize);
        let Some(fair) = self.inners.get_mut(body) else {
            return true;
        };
        let classes = self.classes.as_mut_slice();
        let is_large = classes.len() >= PREFETCHED;
        let has_twins = !self.twins.is_empty();
        loop {
            if has_twins && self.twins.contains(leaf) {
                return true;
            }
            let Some(class) = classes.get_mut(leaf as usize) else {
                return true;
            };
            let (Some(profile), Some(tally)) = (
                self.profiles.get(class.profile as usize),
                self.stats.get_mut(class.stats as usize),
            ) else {
                return true;
            };
            // The first goes in any case.
            let room = match batch.frames {
                0 => u64::MAX,
                _ => batch.most.saturating_sub(batch.bytes),
            };
            // Only a leaf of that kind has frames here.
            let (frames, framing) = (&mut self.frames, profile.framing());
            let Some((token, len, bytes)) = class.fifo.take_only(frames, framing, room) else {
                return true;
            };
            let shape = FrameShape::single(len);
            class.backlog = false;
            let (old, key) = (class.state, class.key(leaf));
            let green = old == State::Green;
            tally.sent(&FlowCounters::plain(len, bytes), green);
            out.push(Departure::new(key, token, shape));
            if profile.rate.is_limit() && green && profile.rate.ready(class.rate, now) {
                class.rate = profile.rate.charged(class.rate, now, bytes);
                batch.guaranteed = batch.guaranteed.saturating_add(bytes);
            }
            if profile.ceil.is_limit() {
                class.ceil = profile.ceil.charged(class.ceil, now, bytes);
            }
            class.state = State::Idle;
            let tier = old.tier(profile.prio);
            let neighbours = fair.depart(&mut class.seat, tier, profile.share(tier), bytes);
            batch.below = fair.ready();
            unlink(classes, neighbours);
            if old == State::Excess && profile.rate.is_limit() {
                self.wheel.disarm(leaf);
            }
            batch.bytes = batch.bytes.wrapping_add(bytes);
            batch.frames = batch.frames.wrapping_add(1);
            if is_large {
                // In turns, so that what one has asked for is there when it goes on.
                let [first, second] = &mut self.scouts;
                let scout = if batch.frames & 1 == 0 { first } else { second };
                scout.step(classes, &self.stats, &self.frames);
            }
            let green = batch.below & 1 != 0 || own_green;
            let now_in = if green { State::Green } else { State::Excess };
            let goes_on = batch.frames < FRAMES
                && batch.below != 0
                && batch.bytes < batch.most
                && state == now_in;
            if !goes_on {
                return false;
            }
            if batch.frames >= most {
                return true;
            }
            match fair.pick() {
                Some(next) => leaf = next,
                None => return true,
            }
        }
    }
}
