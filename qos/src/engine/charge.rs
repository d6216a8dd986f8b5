//! What visits cost every class on the way from their leaves to the root.
//!
//! A leaf is charged when its visit ends. Those above it are charged once for all visits to leaves of
//! one parent that follow each other, up to the parent's quantum: a [`Batch`].

use super::Engine;
use super::class::{State, Way};
use super::late::Late;
use super::poll::PREFETCHED;
use super::visit::{FRAMES, Visit};
use crate::class::ticks;
use crate::fair::{Fair, unlink};
use crate::time::Time;

/// What was sent through a class at one instant and neither it nor those above it know yet.
#[derive(Clone, Copy, Debug)]
pub(super) struct Batch {
    /// The parent of all leaves that were visited.
    pub(super) inner: u32,
    pub(super) now: Time,
    /// Bytes sent, and those of them that were within the guarantees of leaves.
    pub(super) bytes: u64,
    pub(super) guaranteed: u64,
    pub(super) frames: u32,
    /// Bytes that it may have: the class's quantum, for which all limits from there up have room.
    pub(super) most: u64,
    /// The tiers that wait in the class.
    pub(super) below: u8,
}

impl Engine {
    /// What sharing counts: time of the link or of the core, whichever is more, in bytes of link
    /// time.
    pub(super) const fn work(&self, bytes: u64, segments: u64) -> u64 {
        let core = segments.saturating_mul(self.segment_bytes);
        if core > bytes { core } else { bytes }
    }

    /// Ends visit and batch, if there are any, so that the tree is up to date. A grant stays.
    #[inline]
    pub(super) fn settle(&mut self) {
        if let Some(visit) = self.visit.take() {
            if visit.granted {
                self.late = Some(Late::of(&visit));
            }
            self.charge(&visit);
        }
        self.end_batch();
    }

    /// Ends the visit and the grant, if there are any.
    #[inline]
    pub(super) fn close(&mut self) {
        self.late = None;
        if let Some(visit) = self.visit.take() {
            self.charge(&visit);
        }
    }

    /// Charges a visit to its leaf, and to those above it or their batch.
    #[inline(never)]
    pub(super) fn charge(&mut self, visit: &Visit) {
        if visit.frames == 0 {
            return;
        }
        let now = ticks(visit.now);
        let mut way = Way {
            bytes: visit.bytes,
            segments: visit.segments,
            work: self.work(visit.bytes, visit.segments),
            guaranteed: 0,
            below: 0,
        };
        let parent = match self.charge_last(visit.leaf, now, &mut way) {
            Some(parent) => parent,
            None => match self.charge_class(visit.leaf, now, Some(visit), &mut way) {
                Some(parent) => parent,
                None => return,
            },
        };
        if !self.twins.is_empty() {
            self.charge_twins(visit.leaf, visit.now, |framing| visit.charged(framing));
            // The leaf, or a sibling that shares its limits, may wait again by that.
            way.below = self.parent_ready(visit.leaf);
        }
        if !self.plain || self.batch.is_none() && (visit.frames > FRAMES / 2 || way.below == 0) {
            self.charge_above(parent, now, Some(visit), way);
            if !self.twins.is_empty() {
                self.charge_twins_above(parent, visit.now, |framing| visit.charged(framing));
            }
            return;
        }
        self.add_to_batch(parent, visit, &way);
    }

    /// Charges a leaf that has sent its last frame, where all charge alike; returns its parent.
    #[inline]
    fn charge_last(&mut self, leaf: u32, now: u128, way: &mut Way) -> Option<u32> {
        let class = self.classes.get_mut(leaf as usize)?;
        if class.backlog || !self.plain {
            return None;
        }
        let profile = self.profiles.get(class.profile as usize)?;
        let fair = self.inners.get_mut(class.above as usize)?;
        let old = class.state;
        if profile.rate.is_limit() && old == State::Green && profile.rate.ready(class.rate, now) {
            class.rate = profile.rate.charged(class.rate, now, way.work);
            way.guaranteed = way.work;
        }
        if profile.ceil.is_limit() {
            class.ceil = profile.ceil.charged(class.ceil, now, way.bytes);
        }
        class.state = State::Idle;
        let (parent, tier) = (class.parent, old.tier(profile.prio));
        let share = profile.share(tier);
        let neighbours = fair.depart(&mut class.seat, tier, share, way.work);
        way.below = fair.ready();
        unlink(self.classes.as_mut_slice(), neighbours);
        if old == State::Excess && profile.rate.is_limit() {
            self.wheel.disarm(leaf);
        }
        Some(parent)
    }

    /// Charges a visit of one leaf to its parent and those above, or keeps that for later if the parent's
    /// next leaf may go at once.
    #[inline]
    fn add_to_batch(&mut self, inner: u32, visit: &Visit, way: &Way) {
        let begun = self.batch.is_some();
        let batch = self.batch.get_or_insert(Batch {
            inner,
            now: visit.now,
            bytes: 0,
            guaranteed: 0,
            frames: 0,
            most: 0,
            below: 0,
        });
        batch.bytes = batch.bytes.saturating_add(way.bytes);
        batch.guaranteed = batch.guaranteed.saturating_add(way.guaranteed);
        batch.frames = batch.frames.saturating_add(visit.frames);
        batch.below = way.below;
        let batch = *batch;
        let most = self.goes_on(&batch, begun);
        match (most, &mut self.batch) {
            (Some(most), Some(batch)) => batch.most = most,
            _ => return self.end_batch(),
        }
        if !begun && self.classes.len() >= PREFETCHED {
            self.send_scouts(inner);
        }
    }

    /// Whether the class of a batch may send more without a look at those above; returns what it may send
    /// in all.
    #[inline]
    fn goes_on(&self, batch: &Batch, begun: bool) -> Option<u64> {
        if batch.frames >= FRAMES || batch.below == 0 {
            return None;
        }
        let class = self.class(batch.inner);
        let profile = self.profile(class);
        let most = profile.quantum;
        if batch.bytes >= most || self.root == batch.inner {
            return None;
        }
        let now = ticks(batch.now);
        let green = batch.below & 1 != 0 || class.below_rate(profile, now);
        let state = if green { State::Green } else { State::Excess };
        let same = class.state == state;
        (same && (begun || self.has_room(batch.inner, now, most))).then_some(most)
    }

    /// Charges what visits left to be charged, if there is such a thing.
    #[inline]
    pub(super) fn end_batch(&mut self) {
        if let Some(batch) = self.batch.take() {
            self.charge_batch(&batch);
        }
    }

    pub(super) fn charge_batch(&mut self, batch: &Batch) {
        let way = Way {
            bytes: batch.bytes,
            segments: 0,
            work: batch.bytes,
            guaranteed: batch.guaranteed,
            below: batch.below,
        };
        self.charge_above(batch.inner, ticks(batch.now), None, way);
        if !self.twins.is_empty() {
            self.charge_twins_above(batch.inner, batch.now, |_| (batch.bytes, 0));
        }
    }

    /// Charges a class and all above it.
    #[inline]
    fn charge_above(&mut self, index: u32, now: u128, visit: Option<&Visit>, mut way: Way) {
        let mut at = index;
        while let Some(parent) = self.charge_class(at, now, visit, &mut way) {
            at = parent;
        }
    }

    /// Charges one class and moves it to where it now belongs; returns its parent. Where classes charge in
    /// different ways the `visit` says what.
    #[inline(always)]
    fn charge_class(
        &mut self,
        at: u32,
        now: u128,
        visit: Option<&Visit>,
        way: &mut Way,
    ) -> Option<u32> {
        let class = self.classes.get_mut(at as usize)?;
        let profile = self.profiles.get(class.profile as usize)?;
        let mut open = true;
        if !self.plain
            && let Some(visit) = visit
        {
            (way.bytes, way.segments) = visit.charged(profile.framing());
            let core = way.segments.saturating_mul(self.segment_bytes);
            way.work = way.bytes.max(core);
            if way.guaranteed > 0 {
                way.guaranteed = way.work;
            }
            if profile.pps.is_limit()
                && let Some(pps) = self.pps.get_mut(at as usize)
            {
                *pps = profile.pps.charged(*pps, now, way.segments);
                open = profile.pps.ready(*pps, now);
            }
        }
        let old = class.state;
        let state = class.charge(profile, now, open, way);
        let (parent, above) = (class.parent, class.above);
        let Some(fair) = self.inners.get_mut(above as usize) else {
            // The root, which waits nowhere.
            if state != old {
                self.enter(at, state);
            }
            return None;
        };
        let tier = old.tier(profile.prio);
        let share = profile.share(tier);
        if state == old {
            let classes = self.classes.as_mut_slice();
            fair.charge(classes, at, tier, share, way.work);
            fair.keep(classes, at, tier);
            way.below = fair.ready();
        } else {
            class.state = State::Idle;
            let neighbours = fair.depart(&mut class.seat, tier, share, way.work);
            way.below = fair.ready();
            unlink(self.classes.as_mut_slice(), neighbours);
            if old == State::Excess {
                self.wheel.disarm(at);
            }
            if state != State::Idle {
                self.join(at, state, true);
                way.below = self.inners.get(above as usize).map_or(0, Fair::ready);
            }
        }
        Some(parent)
    }
}
