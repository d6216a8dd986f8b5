//! Room in a leaf: its caps, and who loses a frame when they are reached.
//!
//! The flow that has most loses its oldest frame, not the flow that comes at the wrong moment. Which
//! flow that is, is known without a search (approximated longest queue drop, Suter et al. 1998): of
//! the fattest bucket known and every bucket that changes, the fatter is remembered. It may have
//! grown thin by what it lost since; so every so often all are looked at.
#![allow(clippy::indexing_slicing)] // bucket numbers are the pool's own

use super::desk::Desk;
use crate::engine::class::NONE;

/// Frames that are displaced before all buckets are looked at again: whoever loses one has at most
/// so many less than the fattest.
const TRUST: u32 = 8;
/// Frames that one frame may displace from a leaf that is over its own caps; beyond, it is refused.
const MOST: u32 = 64;

impl Desk<'_> {
    /// Whether a frame of this length may come in; displaces others if need be.
    pub(super) fn make_room(&mut self, len: u32) -> bool {
        for _ in 0..MOST {
            if self.is_below_caps(len) {
                break;
            }
            if !self.evict() {
                return false;
            }
        }
        if !self.is_below_caps(len) {
            return false;
        }
        // Over its share of the pool, the leaf shrinks by one for each frame it takes, until it is
        // within it: others need room, but not at once.
        for _ in 0..2 {
            if self.frames.admits(self.leaf.frames) {
                break;
            }
            if !self.evict() {
                return false;
            }
        }
        true
    }

    /// Whether a frame of this length may come in and displaces none.
    pub(super) fn has_room(&self, len: u32) -> bool {
        self.is_below_caps(len) && self.frames.admits(self.leaf.frames)
    }

    /// Whether this bucket has most, as far as is known, or is the only one.
    pub(super) fn is_fattest(&self, bucket: Option<u32>) -> bool {
        match (bucket, self.head()) {
            (Some(bucket), Some(head)) => head.fattest == bucket,
            _ => true,
        }
    }

    fn is_below_caps(&self, len: u32) -> bool {
        let config = &self.settings.config;
        let bytes = self.leaf.bytes.saturating_add(len.into());
        // One frame may always wait, however large.
        let fits = self.leaf.bytes == 0 || config.bytes.is_none_or(|most| bytes <= most.into());
        self.leaf.frames < config.frames && fits
    }

    /// Drops the oldest frame of the flow with most bytes, except one that was granted.
    fn evict(&mut self) -> bool {
        let keep_first = self.leaf.chosen;
        let Some(head) = self.head() else {
            let line = &mut self.leaf.lone.queue;
            let frame = match line.ends() {
                Some((first, _)) if keep_first => line.discard_after(self.frames, first),
                _ => line.discard(self.frames),
            };
            return frame.map(|frame| self.lost(None, &frame)).is_some();
        };
        let (fattest, trusted) = (head.fattest, head.displaced < TRUST);
        let number = if trusted && self.can_lose(fattest) {
            Some(fattest)
        } else {
            self.search()
        };
        number.is_some_and(|number| self.drop_oldest(number))
    }

    fn can_lose(&self, bucket: u32) -> bool {
        let frames = |bucket: u32| {
            self.pool
                .buckets
                .get(bucket as usize)
                .map(|b| b.line.queue.frames)
        };
        frames(bucket).is_some_and(|frames| frames > u32::from(self.is_chosen(bucket)))
    }

    /// The bucket with most bytes that can lose a frame.
    fn search(&mut self) -> Option<u32> {
        let head = self.head()?;
        let places = head.places();
        let fattest = (0..head.buckets)
            .map(|at| places.number(at))
            .filter(|&bucket| self.can_lose(bucket))
            .max_by_key(|&bucket| self.pool.buckets[bucket as usize].bytes)?;
        let head = &mut self.pool.heads[self.leaf.set as usize];
        (head.fattest, head.displaced) = (fattest, 0);
        Some(fattest)
    }

    fn drop_oldest(&mut self, bucket: u32) -> bool {
        let keep_first = self.is_chosen(bucket);
        let flow = &mut self.pool.buckets[bucket as usize];
        let frame = flow.discard(self.frames, keep_first);
        let head = &mut self.pool.heads[self.leaf.set as usize];
        head.displaced = head.displaced.saturating_add(1);
        frame.map(|frame| self.lost(Some(bucket), &frame)).is_some()
    }

    /// Whether the head of this bucket was granted.
    pub(super) fn is_chosen(&self, bucket: u32) -> bool {
        self.leaf.chosen && self.head().is_some_and(|head| head.chosen == bucket)
    }

    /// Remembers a bucket if it is the fattest known.
    pub(super) fn weigh(&mut self, bucket: u32) {
        let buckets = &self.pool.buckets;
        let bytes = |bucket: u32| {
            buckets
                .get(bucket as usize)
                .map_or(0, |bucket| bucket.bytes)
        };
        if let Some(head) = self.pool.heads.get_mut(self.leaf.set as usize)
            && (head.fattest == NONE || bytes(bucket) > bytes(head.fattest))
        {
            head.fattest = bucket;
        }
    }
}
