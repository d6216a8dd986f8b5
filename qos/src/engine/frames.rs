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
}

impl Default for Frames {
    fn default() -> Self {
        Self {
            entries: Vec::new(),
            free: NONE,
            dropped: NONE,
            limit: 0,
        }
    }
}

impl Frames {
    /// Makes room for `limit` frames. Frames beyond a smaller limit stay until they leave.
    pub(super) fn resize(&mut self, limit: u32) {
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
            return Some(number);
        }
        let number = u32::try_from(self.entries.len()).ok()?;
        (self.entries.len() < self.limit).then(|| self.entries.push(entry))?;
        Some(number)
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
