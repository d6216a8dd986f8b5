//! What every class did and is doing.

use super::Engine;
use super::class::{Class, Kind, NONE, State};
use super::flows::{Flows, Toll};
use crate::class::ClassId;
use crate::counters::FlowCounters;
use crate::time::Time;

/// Counters of one class; of an inner class, those of all its leaves, past ones included.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ClassStats {
    /// Frames taken into a queue.
    pub offered: FlowCounters,
    /// Frames sent; each part of a peeled frame counts as one.
    pub sent: FlowCounters,
    /// Wire bytes that were sent within a guarantee.
    pub green_bytes: u64,
    /// Frames offered when there was no room, which stayed with the caller.
    pub refused: u64,
    /// Frames given back because they waited too long, made room for others, or lost their queue. A
    /// segment dropped off a super-frame counts as a segment and by its bytes, not as a frame.
    pub dropped: FlowCounters,
    /// Of these, acknowledgements that later ones made useless.
    pub ack_filtered: u64,
    /// Frames sent with a congestion mark instead of being dropped.
    pub marked: u64,
    /// How often a leaf of flows became backlogged when there were not as many flow sets as it needs,
    /// and told its flows apart less well or not at all.
    pub crowded: u64,
    /// How often a class had to wait for its own limits.
    pub throttled: u64,
    /// For how long, in nanoseconds, all waits together, up to the latest time that the engine has seen.
    pub throttled_nanos: u64,
}

impl ClassStats {
    /// Adds another class's counters.
    pub fn add(&mut self, other: &Self) {
        self.offered.merge(&other.offered);
        self.sent.merge(&other.sent);
        self.green_bytes = self.green_bytes.wrapping_add(other.green_bytes);
        self.refused = self.refused.wrapping_add(other.refused);
        self.dropped.merge(&other.dropped);
        self.ack_filtered = self.ack_filtered.wrapping_add(other.ack_filtered);
        self.marked = self.marked.wrapping_add(other.marked);
        self.crowded = self.crowded.wrapping_add(other.crowded);
        self.throttled = self.throttled.wrapping_add(other.throttled);
        self.throttled_nanos = self.throttled_nanos.wrapping_add(other.throttled_nanos);
    }
}

/// [`FlowCounters`] of which only the segments beyond one a frame are counted, which are rare.
#[derive(Clone, Copy, Debug, Default)]
struct Passed {
    frames: u64,
    bytes: u64,
    wire_bytes: u64,
}

impl Passed {
    /// All of them, given the segments beyond one a frame.
    const fn counters(&self, more: u64) -> FlowCounters {
        FlowCounters {
            frames: self.frames,
            segments: self.frames.wrapping_add(more),
            bytes: self.bytes,
            wire_bytes: self.wire_bytes,
        }
    }
}

/// The counters of a class as the path of frames keeps them: what every frame counts on one cache
/// line.
#[derive(Clone, Debug, Default)]
#[repr(C, align(64))]
pub(super) struct Tally {
    offered: Passed,
    sent: Passed,
    green_bytes: u64,
    pub(super) throttled: u64,
    more_offered: u64,
    more_sent: u64,
    refused: u64,
    marked: u64,
    dropped: FlowCounters,
    ack_filtered: u64,
    crowded: u64,
    /// Waits for its own limits, in nanoseconds, the present one up to its end.
    throttled_nanos: u64,
    /// When the present wait ends, or the last one ended.
    throttled_until: u64,
}

impl Tally {
    #[inline]
    fn count(passed: &mut Passed, more: &mut u64, of: &FlowCounters) {
        passed.frames = passed.frames.wrapping_add(of.frames);
        passed.bytes = passed.bytes.wrapping_add(of.bytes);
        passed.wire_bytes = passed.wire_bytes.wrapping_add(of.wire_bytes);
        if of.segments != of.frames {
            *more = more.wrapping_add(of.segments).wrapping_sub(of.frames);
        }
    }

    /// Counts frames that were taken into a queue.
    #[inline]
    pub(super) fn offered(&mut self, of: &FlowCounters) {
        Self::count(&mut self.offered, &mut self.more_offered, of);
    }

    /// Counts a frame for which there was no room.
    pub(super) fn refused(&mut self) {
        self.refused = self.refused.wrapping_add(1);
    }

    /// Counts frames that went, within a guarantee or not.
    #[inline]
    pub(super) fn sent(&mut self, of: &FlowCounters, green: bool) {
        Self::count(&mut self.sent, &mut self.more_sent, of);
        if green {
            self.green_bytes = self.green_bytes.wrapping_add(of.wire_bytes);
        }
    }

    /// Counts frames that were dropped.
    pub(super) fn dropped(&mut self, of: &FlowCounters) {
        self.dropped.merge(of);
    }

    /// Counts what a queue did to its frames.
    pub(super) fn collect(&mut self, toll: &Toll) {
        self.dropped(&toll.dropped);
        self.ack_filtered = self.ack_filtered.wrapping_add(toll.filtered);
        self.marked = self.marked.wrapping_add(toll.marked);
        self.crowded = self.crowded.wrapping_add(toll.crowded);
    }

    /// Counts a wait for its own limits from `now` on, in nanoseconds. What was still to come of an earlier
    /// one does not come.
    pub(super) const fn wait(&mut self, now: u64, until: u64) {
        self.throttled_nanos = self.waited(now).wrapping_add(until.saturating_sub(now));
        self.throttled_until = until;
    }

    /// How long it has waited for its own limits by `now`, in nanoseconds.
    const fn waited(&self, now: u64) -> u64 {
        let ahead = self.throttled_until.saturating_sub(now);
        self.throttled_nanos.wrapping_sub(ahead)
    }

    /// Takes over what another one counted, which ends and does not wait.
    pub(super) fn inherit(&mut self, other: &Self) {
        let offered = other.offered.counters(other.more_offered);
        Self::count(&mut self.offered, &mut self.more_offered, &offered);
        self.sent(&other.sent.counters(other.more_sent), false);
        self.dropped(&other.dropped);
        for (own, more) in [
            (&mut self.green_bytes, other.green_bytes),
            (&mut self.refused, other.refused),
            (&mut self.ack_filtered, other.ack_filtered),
            (&mut self.marked, other.marked),
            (&mut self.crowded, other.crowded),
            (&mut self.throttled, other.throttled),
            (&mut self.throttled_nanos, other.throttled_nanos),
        ] {
            *own = own.wrapping_add(more);
        }
    }

    /// In the form in which they are published, as of `now` in nanoseconds.
    fn stats(&self, now: u64) -> ClassStats {
        ClassStats {
            offered: self.offered.counters(self.more_offered),
            sent: self.sent.counters(self.more_sent),
            green_bytes: self.green_bytes,
            refused: self.refused,
            dropped: self.dropped,
            ack_filtered: self.ack_filtered,
            marked: self.marked,
            crowded: self.crowded,
            throttled: self.throttled,
            throttled_nanos: self.waited(now),
        }
    }
}

/// One class at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClassSnapshot {
    /// Its name.
    pub id: ClassId,
    /// Its parent's; none for the root.
    pub parent: Option<ClassId>,
    /// What it is doing.
    pub state: State,
    /// Frames in its queue, or in all queues below it.
    pub queued: u64,
    /// What it did.
    pub stats: ClassStats,
}

impl Engine {
    /// Frames in a leaf's own queue.
    pub(super) fn queued(&self, class: &Class) -> u32 {
        match class.kind {
            Kind::Inner | Kind::Hold => 0,
            Kind::Fifo => class.fifo.frames,
            Kind::Flows => self.flows.get(class.body as usize).map_or(0, Flows::frames),
        }
    }

    /// One class by itself at `now`, or at the latest time that the engine has seen: of a leaf all there is
    /// to know, of an inner class its state and the counters of leaves that were below it and are gone.
    /// Whoever wants those of an inner class adds up [`ClassStats::add`] what lies below it.
    ///
    /// Neither allocates nor looks at other classes. The state is that of the last call that named no leaf
    /// to be served, as [`next_wake`](Self::next_wake) always is one.
    #[must_use]
    pub fn stats_of(&self, id: ClassId, now: Time) -> Option<ClassSnapshot> {
        let class = self.class(*self.index.get(&id)?);
        let now = self.now.max(now).as_nanos();
        let own = self.stats.get(class.stats as usize);
        Some(ClassSnapshot {
            id,
            parent: (class.parent != NONE).then(|| self.class(class.parent).id),
            state: class.state,
            queued: self.queued(class).into(),
            stats: own.map(|tally| tally.stats(now)).unwrap_or_default(),
        })
    }

    /// The wait of a class for its own limits is over, perhaps before these opened.
    pub(super) fn end_wait(&mut self, index: u32) {
        let now = self.now.as_nanos();
        self.tally(index).wait(now, now);
    }

    /// Every class, in the order of their ids. Allocates, and costs time in proportion to the tree:
    /// for people and monitoring, not for the path of frames.
    #[must_use]
    pub fn snapshot(&mut self) -> Vec<ClassSnapshot> {
        self.settle();
        let now = self.now.as_nanos();
        let mut sums = vec![(0_u64, ClassStats::default()); self.classes.len()];
        for &index in self.index.values().chain(&self.draining) {
            let class = self.class(index);
            let queued = u64::from(self.queued(class));
            let own = self.stats.get(class.stats as usize);
            let own = own.map(|tally| tally.stats(now)).unwrap_or_default();
            let mut at = index;
            while let Some((sum, stats)) = sums.get_mut(at as usize) {
                *sum = sum.saturating_add(queued);
                stats.add(&own);
                at = self.class(at).parent;
            }
        }
        let snapshot = |(&id, &index): (&ClassId, &u32)| {
            let class = self.class(index);
            let (queued, stats) = sums.get(index as usize).copied().unwrap_or_default();
            ClassSnapshot {
                id,
                parent: (class.parent != NONE).then(|| self.class(class.parent).id),
                state: class.state,
                queued,
                stats,
            }
        };
        self.index.iter().map(snapshot).collect()
    }
}

#[cfg(test)]
mod tests;
