//! The ack filter: a pure acknowledgement in line goes when a later one of its flow says more
//! (RFC 3449 §5.2.1).
//!
//! Every bucket knows its latest acknowledgement, wherever that is in line, so nothing is searched.
//! If flows share a bucket it is that of one of them; the others' then stay.

use super::turns::Bucket;
use crate::engine::class::NONE;
use crate::engine::frame::Frame;
use crate::engine::frames::Frames;

/// Where a line's latest pure acknowledgement is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Latest {
    /// The frame's number, and that of the one before it in line; [`NONE`] for none.
    frame: u32,
    before: u32,
}

impl Latest {
    pub(super) const NONE: Self = Self {
        frame: NONE,
        before: NONE,
    };
}

impl Bucket {
    /// Takes a frame in at the end.
    pub(super) fn push(&mut self, pool: &mut Frames, frame: Frame, now: u64) -> bool {
        let before = self.line.queue.ends().map_or(NONE, |(_, last)| last);
        if !self.line.push(pool, frame, now) {
            return false;
        }
        if frame.ack.is_some() {
            let frame = self.line.queue.ends().map_or(NONE, |(_, last)| last);
            self.latest = Latest { frame, before };
        }
        self.bytes = self.bytes.saturating_add(frame.shape.len.into());
        true
    }

    /// Takes the first frame out.
    pub(super) fn pop(&mut self, pool: &mut Frames) -> Option<Frame> {
        let (first, _) = self.line.queue.ends()?;
        let frame = self.line.queue.pop(pool)?;
        self.forget(first, NONE);
        Some(frame)
    }

    /// Drops the first frame, or the second if the first is to stay.
    pub(super) fn discard(&mut self, pool: &mut Frames, keep_first: bool) -> Option<Frame> {
        let (first, _) = self.line.queue.ends()?;
        if keep_first {
            return self.discard_after(pool, first);
        }
        let frame = self.line.queue.discard(pool)?;
        self.forget(first, NONE);
        Some(frame)
    }

    /// Drops the acknowledgement that `newer` makes useless, if there is one. A mark it carries is
    /// not lost: both must have the same ECN field.
    pub(super) fn filter(
        &mut self,
        pool: &mut Frames,
        newer: &Frame,
        keep_first: bool,
    ) -> Option<Frame> {
        let ack = newer.ack?;
        let Latest { frame, before } = self.latest;
        let older = pool.frame(frame)?;
        let outdone = older.flow == newer.flow
            && older.ecn == newer.ecn
            && older.ack.is_some_and(|older| older.is_outdone_by(ack));
        match (outdone, before) {
            (true, NONE) if !keep_first => self.discard(pool, false),
            (true, NONE) | (false, _) => None,
            (true, before) => self.discard_after(pool, before),
        }
    }

    fn discard_after(&mut self, pool: &mut Frames, before: u32) -> Option<Frame> {
        let number = self.line.queue.after(pool, before)?;
        let frame = self.line.queue.discard_after(pool, before)?;
        self.forget(number, before);
        Some(frame)
    }

    /// The frame of this number, which stood behind `before`, is not in line any more.
    fn forget(&mut self, number: u32, before: u32) {
        if self.latest.frame == number {
            self.latest = Latest::NONE;
        } else if self.latest.before == number {
            self.latest.before = before;
        }
    }
}
