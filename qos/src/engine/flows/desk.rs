//! A leaf at work: frames come in, take their turn, are judged, and go.
#![allow(clippy::indexing_slicing)] // bucket numbers are the pool's own

use super::codel::{self, Line, Verdict};
use super::pool::{Head, Pool};
use super::settings::Settings;
use super::{Flows, Toll};
use crate::engine::class::NONE;
use crate::engine::frame::Frame;
use crate::engine::frames::Frames;
use crate::wire::FrameShape;

/// Segments dropped for the sake of delay before one frame goes, at most.
const DROPS: u32 = 64;

/// A leaf at work, and what it works with.
pub(super) struct Desk<'a> {
    pub(super) leaf: &'a mut Flows,
    pub(super) settings: &'a Settings,
    pub(super) pool: &'a mut Pool,
    pub(super) frames: &'a mut Frames,
    pub(super) toll: &'a mut Option<Toll>,
    pub(super) now: u64,
}

impl Desk<'_> {
    /// Takes sets for the first frame of a leaf.
    pub(super) fn open(&mut self) {
        if self.leaf.frames > 0 {
            return;
        }
        let buckets = u32::from(self.settings.config.buckets);
        let set = self.pool.take(buckets, self.settings.quantum());
        self.leaf.set = set.unwrap_or(NONE);
        if self.head().is_none_or(|head| head.buckets < buckets) {
            let toll = self.toll.get_or_insert_default();
            toll.crowded = toll.crowded.saturating_add(1);
        }
    }

    pub(super) fn close(&mut self) {
        self.leaf.return_sets(self.pool);
    }

    pub(super) fn head(&self) -> Option<&Head> {
        self.pool.heads.get(self.leaf.set as usize)
    }

    /// The bucket of a frame; none in a leaf without buckets.
    pub(super) fn bucket(&mut self, frame: &Frame) -> Option<u32> {
        self.head()?;
        let host = if self.settings.config.host_isolation {
            frame.host
        } else {
            0
        };
        let quantum = self.settings.quantum();
        Some(self.pool.bucket(self.leaf.set, frame.flow, host, quantum))
    }

    /// The bucket of the frame that was granted.
    pub(super) fn chosen(&self) -> Option<u32> {
        self.head().map(|head| head.chosen)
    }

    fn line(&self, bucket: Option<u32>) -> &Line {
        match bucket {
            None => &self.leaf.lone,
            Some(bucket) => &self.pool.buckets[bucket as usize].line,
        }
    }

    /// The frame at a line's head.
    pub(super) fn first(&self, bucket: Option<u32>) -> Option<Frame> {
        let (frame, _) = self.line(bucket).queue.head(self.frames)?;
        Some(frame)
    }

    fn bytes(&self, bucket: Option<u32>) -> u64 {
        bucket.map_or(self.leaf.bytes, |bucket| {
            self.pool.buckets[bucket as usize].bytes
        })
    }

    /// Drops the acknowledgement that this frame makes useless.
    pub(super) fn filter(&mut self, bucket: Option<u32>, newer: &Frame) {
        let Some(number) = bucket.filter(|_| self.settings.config.ack_filter) else {
            return;
        };
        let keep_first = self.is_chosen(number);
        let flow = &mut self.pool.buckets[number as usize];
        if let Some(older) = flow.filter(self.frames, newer, keep_first) {
            self.lost(bucket, &older);
            let toll = self.toll.get_or_insert_default();
            toll.filtered = toll.filtered.saturating_add(1);
        }
    }

    pub(super) fn append(&mut self, bucket: Option<u32>, frame: Frame) -> bool {
        let queued = match bucket {
            None => self.leaf.lone.push(self.frames, frame, self.now),
            Some(number) => {
                let flow = &mut self.pool.buckets[number as usize];
                let queued = flow.push(self.frames, frame, self.now);
                self.weigh(number);
                queued
            }
        };
        if queued {
            self.leaf.bytes = self.leaf.bytes.saturating_add(frame.shape.len.into());
            self.leaf.frames = self.leaf.frames.saturating_add(1);
        }
        queued
    }

    /// Counts a frame that was dropped.
    pub(super) fn lost(&mut self, bucket: Option<u32>, frame: &Frame) {
        let cost = self.settings.cost(frame.shape);
        let toll = self.toll.get_or_insert_default();
        toll.dropped.add(frame.shape.len, cost);
        self.shrink(bucket, frame.shape.len, true);
    }

    /// So many bytes are gone, and a frame with them or not.
    fn shrink(&mut self, bucket: Option<u32>, bytes: u32, frame: bool) {
        let bytes = u64::from(bytes);
        self.leaf.bytes = self.leaf.bytes.saturating_sub(bytes);
        self.leaf.frames = self.leaf.frames.saturating_sub(frame.into());
        if let Some(number) = bucket {
            let flow = &mut self.pool.buckets[number as usize];
            flow.bytes = flow.bytes.saturating_sub(bytes);
            self.weigh(number);
        }
    }

    pub(super) fn choose(&mut self) -> Option<()> {
        let bucket = match self.leaf.set {
            NONE => None,
            set => Some(self.pool.choose(set)?),
        };
        self.leaf.mark = self.control(bucket);
        self.leaf.chosen = true;
        if let (Some(bucket), Some(head)) =
            (bucket, self.pool.heads.get_mut(self.leaf.set as usize))
        {
            head.chosen = bucket;
        }
        Some(())
    }

    /// Applies CoDel to a flow whose turn it is: drops what must go; returns whether what is then at
    /// its head is to be marked.
    fn control(&mut self, bucket: Option<u32>) -> bool {
        for _ in 0..DROPS {
            let (bytes, all, now) = (self.bytes(bucket), self.leaf.bytes, self.now);
            let line = match bucket {
                None => &mut self.leaf.lone,
                Some(bucket) => &mut self.pool.buckets[bucket as usize].line,
            };
            match line.judge(self.frames, self.settings, now, bytes, all) {
                Verdict::Send => return false,
                Verdict::Mark => {
                    let toll = self.toll.get_or_insert_default();
                    toll.marked = toll.marked.saturating_add(1);
                    return true;
                }
                Verdict::Drop => self.drop_head(bucket),
            }
        }
        false
    }

    /// Drops a line's first segment: of a super-frame a part, of any other frame all.
    fn drop_head(&mut self, bucket: Option<u32>) {
        let Some(frame) = self.first(bucket) else {
            return;
        };
        if let Some((part, rest)) = codel::cut(&frame) {
            let toll = self.toll.get_or_insert_default();
            toll.cut(part, self.settings.cost(part));
            self.reshape(bucket, &frame, rest);
            return;
        }
        let dropped = match bucket {
            None => self.leaf.lone.queue.discard(self.frames),
            Some(bucket) => self.pool.buckets[bucket as usize].discard(self.frames, false),
        };
        if dropped.is_some() {
            self.lost(bucket, &frame);
        }
    }

    /// Of the head only this is left.
    fn reshape(&mut self, bucket: Option<u32>, head: &Frame, rest: FrameShape) {
        let line = match bucket {
            None => &mut self.leaf.lone,
            Some(bucket) => &mut self.pool.buckets[bucket as usize].line,
        };
        line.queue.shrink(self.frames, rest);
        self.shrink(bucket, head.shape.len.saturating_sub(rest.len), false);
    }

    pub(super) fn sent(&mut self, sent: FrameShape) -> Option<Frame> {
        let bucket = self.chosen();
        self.leaf.chosen = false;
        let head = self.first(bucket)?;
        if let Some(bucket) = bucket {
            let cost = self.settings.charge(sent);
            self.pool.charge(self.leaf.set, bucket, cost);
        }
        if let Some(rest) = head.shape.after(sent) {
            self.reshape(bucket, &head, rest);
            return None;
        }
        let done = match bucket {
            None => self.leaf.lone.queue.pop(self.frames),
            Some(bucket) => self.pool.buckets[bucket as usize].pop(self.frames),
        };
        self.shrink(bucket, head.shape.len, true);
        done
    }
}
