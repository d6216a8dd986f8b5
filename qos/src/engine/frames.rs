//! Frames that wait: one pool for the engine, a list in it per leaf.
#![allow(clippy::indexing_slicing)] // links are numbers that the pool gave out itself

use super::class::NONE;
use super::frame::Frame;
use crate::wire::FrameShape;

#[derive(Clone, Copy, Debug)]
struct Entry {
    frame: Frame,
    /// When it came, in nanoseconds.
    since: u64,
    next: u32,
}

/// The pool: as many frames as the tree allows, all leaves together.
#[derive(Debug)]
pub(super) struct Frames {
    entries: Vec<Entry>,
    /// First of the entries that were used and given back.
    free: u32,
    /// Last of those dropped that the caller has not yet asked for.
    dropped: u32,
    limit: usize,
    /// Entries in use, dropped ones included.
    used: u32,
    /// What one leaf may hold, in percent of what is free.
    share: Option<u32>,
}

impl Default for Frames {
    fn default() -> Self {
        Self {
            entries: Vec::new(),
            free: NONE,
            dropped: NONE,
            limit: 0,
            used: 0,
            share: None,
        }
    }
}

impl Frames {
    /// Makes room for `limit` frames, of which a leaf may hold a share. Frames beyond a smaller limit
    /// stay until they leave.
    pub(super) fn resize(&mut self, limit: u32, share: Option<u32>) {
        self.share = share;
        self.limit = (limit as usize).max(self.entries.len());
        let more = self.limit.saturating_sub(self.entries.len());
        self.entries.reserve_exact(more);
    }

    fn take(&mut self, frame: Frame, since: u64) -> Option<u32> {
        let entry = Entry {
            frame,
            since,
            next: NONE,
        };
        if self.free != NONE {
            let number = self.free;
            self.free = self.entries[number as usize].next;
            self.entries[number as usize] = entry;
            self.used = self.used.saturating_add(1);
            return Some(number);
        }
        let number = u32::try_from(self.entries.len()).ok()?;
        (self.entries.len() < self.limit).then(|| self.entries.push(entry))?;
        self.used = self.used.saturating_add(1);
        Some(number)
    }

    /// Whether a leaf that holds this many frames may have one more: dynamic thresholds (Choudhury &
    /// Hahne 1998), which leave a part of the pool to whoever comes next. The first always may.
    #[inline]
    pub(super) fn admits(&self, held: u32) -> bool {
        let limit = u64::try_from(self.limit).unwrap_or(u64::MAX);
        let free = limit.saturating_sub(self.used.into());
        let Some(share) = self.share.filter(|_| held > 0) else {
            return free > 0;
        };
        u64::from(held).saturating_mul(100) < free.saturating_mul(share.into())
    }

    /// A frame by its number, if it waits.
    pub(super) fn frame(&self, number: u32) -> Option<&Frame> {
        self.entries.get(number as usize).map(|entry| &entry.frame)
    }

    /// Whether no frame more can be taken.
    pub(super) fn is_full(&self) -> bool {
        self.free == NONE && self.entries.len() >= self.limit
    }

    /// A frame that was dropped, once each.
    pub(super) fn next_dropped(&mut self) -> Option<Frame> {
        let number = self.dropped;
        let entry = *self.entries.get(number as usize)?;
        self.dropped = entry.next;
        self.give_back(number);
        Some(entry.frame)
    }

    fn give_back(&mut self, number: u32) {
        self.entries[number as usize].next = self.free;
        self.free = number;
        self.used = self.used.saturating_sub(1);
    }
}

/// A leaf's own queue.
#[derive(Clone, Debug)]
pub(super) struct Fifo {
    head: u32,
    tail: u32,
    pub(super) frames: u32,
    pub(super) limit: u32,
}

impl Fifo {
    pub(super) const fn new(limit: u32) -> Self {
        Self {
            head: NONE,
            tail: NONE,
            frames: 0,
            limit,
        }
    }

    /// The numbers of the first and of the last frame, if there is one.
    pub(super) const fn ends(&self) -> Option<(u32, u32)> {
        if self.frames == 0 {
            return None;
        }
        Some((self.head, self.tail))
    }

    /// Takes a frame in, if there is room.
    #[inline]
    pub(super) fn push(&mut self, pool: &mut Frames, frame: Frame, now: u64) -> bool {
        if self.frames >= self.limit {
            return false;
        }
        let Some(number) = pool.take(frame, now) else {
            return false;
        };
        if self.tail == NONE {
            self.head = number;
        } else {
            pool.entries[self.tail as usize].next = number;
        }
        self.tail = number;
        self.frames = self.frames.saturating_add(1);
        true
    }

    /// The frame that goes next, and when it came.
    #[inline]
    pub(super) fn head(&self, pool: &Frames) -> Option<(Frame, u64)> {
        let entry = pool.entries.get(self.head as usize)?;
        Some((entry.frame, entry.since))
    }

    /// Changes the shape of the first frame, of which a part has gone.
    pub(super) fn shrink(&mut self, pool: &mut Frames, rest: FrameShape) {
        if let Some(entry) = pool.entries.get_mut(self.head as usize) {
            entry.frame.shape = rest;
        }
    }

    /// Takes the first frame out.
    #[inline]
    pub(super) fn pop(&mut self, pool: &mut Frames) -> Option<Frame> {
        let (number, frame) = self.unlink(pool)?;
        pool.give_back(number);
        Some(frame)
    }

    /// Puts the first frame among those that were dropped.
    pub(super) fn discard(&mut self, pool: &mut Frames) -> Option<Frame> {
        let (number, frame) = self.unlink(pool)?;
        pool.entries[number as usize].next = pool.dropped;
        pool.dropped = number;
        Some(frame)
    }

    /// The number of the frame behind the frame `before`.
    pub(super) fn after(&self, pool: &Frames, before: u32) -> Option<u32> {
        let next = pool.entries.get(before as usize)?.next;
        (next != NONE).then_some(next)
    }

    /// Puts the frame behind the frame `before` among those that were dropped.
    pub(super) fn discard_after(&mut self, pool: &mut Frames, before: u32) -> Option<Frame> {
        let number = pool.entries.get(before as usize)?.next;
        let entry = *pool.entries.get(number as usize)?;
        pool.entries[before as usize].next = entry.next;
        if entry.next == NONE {
            self.tail = before;
        }
        self.frames = self.frames.saturating_sub(1);
        pool.entries[number as usize].next = pool.dropped;
        pool.dropped = number;
        Some(entry.frame)
    }

    fn unlink(&mut self, pool: &Frames) -> Option<(u32, Frame)> {
        let number = self.head;
        let entry = pool.entries.get(number as usize)?;
        self.head = entry.next;
        if self.head == NONE {
            self.tail = NONE;
        }
        self.frames = self.frames.saturating_sub(1);
        Some((number, entry.frame))
    }
}
