//! What every class did and is doing.

use super::Engine;
use super::class::{NONE, State};
use super::flows::Toll;
use crate::class::ClassId;
use crate::counters::FlowCounters;

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
}

impl ClassStats {
    /// Adds what a queue did to its frames.
    pub(super) fn collect(&mut self, toll: &Toll) {
        self.dropped.merge(&toll.dropped);
        self.ack_filtered = self.ack_filtered.wrapping_add(toll.filtered);
        self.marked = self.marked.wrapping_add(toll.marked);
        self.crowded = self.crowded.wrapping_add(toll.crowded);
    }

    /// Adds another class's counters.
    pub(super) fn add(&mut self, other: &Self) {
        self.offered.merge(&other.offered);
        self.sent.merge(&other.sent);
        self.green_bytes = self.green_bytes.wrapping_add(other.green_bytes);
        self.refused = self.refused.wrapping_add(other.refused);
        self.dropped.merge(&other.dropped);
        self.ack_filtered = self.ack_filtered.wrapping_add(other.ack_filtered);
        self.marked = self.marked.wrapping_add(other.marked);
        self.crowded = self.crowded.wrapping_add(other.crowded);
        self.throttled = self.throttled.wrapping_add(other.throttled);
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
    /// Every class, in the order of their ids. Allocates, and costs time in proportion to the tree:
    /// for people and monitoring, not for the path of frames.
    #[must_use]
    pub fn snapshot(&mut self) -> Vec<ClassSnapshot> {
        self.settle();
        let mut sums = vec![(0_u64, ClassStats::default()); self.classes.len()];
        for &index in self.index.values() {
            let class = self.class(index);
            let queue = class.leaf.then(|| self.queues.get(class.body as usize));
            let queued = queue.flatten().map_or(0, |queue| u64::from(queue.frames()));
            let own = self.stats.get(class.stats as usize).copied();
            let own = own.unwrap_or_default();
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
