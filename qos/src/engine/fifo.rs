//! A leaf's own queue: a list in the pool of frames.
#![allow(clippy::indexing_slicing)] // links are numbers that the pool gave out itself

use super::frame::Frame;
use super::frames::{Frames, NONE, Next};
use crate::counters::FlowCounters;
use crate::wire::{FrameShape, Framing};

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

    /// Fetches what a visit will read.
    #[inline]
    pub(super) fn prefetch(&self, pool: &Frames) {
        pool.prefetch(self.head, self.tail, self.frames);
    }

    /// The numbers of the first and of the last frame, if there is one.
    pub(super) const fn ends(&self) -> Option<(u32, u32)> {
        if self.frames == 0 {
            return None;
        }
        Some((self.head, self.tail))
    }

    /// The number of the frame behind the frame `before`.
    pub(super) fn after(&self, pool: &Frames, before: u32) -> Option<u32> {
        let next = pool.entries.get(before as usize)?.next.number();
        (next != NONE).then_some(next)
    }

    /// Puts the frame behind the frame `before` among those that were dropped.
    pub(super) fn discard_after(&mut self, pool: &mut Frames, before: u32) -> Option<Frame> {
        let number = self.after(pool, before)?;
        let frame = pool.frame(number)?;
        let next = pool.entries[number as usize].next.number();
        let entry = &mut pool.entries[before as usize];
        entry.next = entry.next.to(next);
        if next == NONE {
            self.tail = before;
        }
        self.frames = self.frames.wrapping_sub(1);
        let entry = &mut pool.entries[number as usize];
        entry.next = entry.next.to(pool.dropped);
        pool.dropped = number;
        Some(frame)
    }

    /// Takes a frame in, if there is room; with its flow and time of arrival if those will be asked for.
    #[inline]
    pub(super) fn push(&mut self, pool: &mut Frames, frame: &Frame, since: Option<u64>) -> bool {
        if self.frames >= self.limit {
            return false;
        }
        let Some(number) = pool.take(frame, since) else {
            return false;
        };
        if self.frames == 0 {
            self.head = number;
        } else {
            let last = &mut pool.entries[self.tail as usize];
            last.next = last.next.to(number);
        }
        self.tail = number;
        self.frames = self.frames.wrapping_add(1);
        true
    }

    /// Takes frames in, for all of which there is room; counts them as they cost.
    #[inline]
    pub(super) fn push_all<K>(
        &mut self,
        pool: &mut Frames,
        mut frames: &[(K, Frame)],
        framing: Framing,
    ) -> FlowCounters {
        let mut passed = FlowCounters::default();
        loop {
            let plain = self.push_plain(pool, frames, framing, &mut passed);
            frames = frames.get(plain..).unwrap_or_default();
            // Nothing is left, or something else comes, or the pool gives out entries for the first time.
            let Some(((_, frame), rest)) = frames.split_first() else {
                return passed;
            };
            if !self.push(pool, frame, None) {
                return passed;
            }
            passed.add(frame.shape.len, framing.cost(frame.shape));
            frames = rest;
        }
    }

    /// Takes plain frames into entries that were used before, which hang together already; returns how
    /// many.
    fn push_plain<K>(
        &mut self,
        pool: &mut Frames,
        frames: &[(K, Frame)],
        framing: Framing,
        passed: &mut FlowCounters,
    ) -> usize {
        let first = pool.free;
        let (mut free, mut last, mut count) = (first, NONE, 0_usize);
        let (mut bytes, mut wire_bytes) = (0_u64, 0_u64);
        let mut frames = frames.iter();
        // As in a walk: row by row of neighbours.
        'rows: while let Some(row) = pool.entries.get_mut(free as usize..) {
            for entry in row {
                let shape = match frames.as_slice() {
                    [(_, frame), ..] if frame.shape.headers | frame.shape.gso_size == 0 => {
                        entry.token = frame.token;
                        frame.shape
                    }
                    _ => break 'rows,
                };
                frames.next();
                let next = entry.next.number();
                (entry.len, entry.next) = (shape.len, Next(next));
                bytes = bytes.wrapping_add(shape.len.into());
                wire_bytes = wire_bytes.wrapping_add(framing.slot(shape.len.into()));
                count = count.wrapping_add(1);
                last = free;
                free = free.wrapping_add(1);
                if next != free {
                    free = next;
                    break;
                }
            }
        }
        if count == 0 {
            return 0;
        }
        pool.entries[last as usize].next = Next(NONE);
        pool.free = free;
        if self.frames == 0 {
            self.head = first;
        } else {
            let before = &mut pool.entries[self.tail as usize];
            before.next = before.next.to(first);
        }
        self.tail = last;
        // No more than there is room for, which is below 2^30.
        let frames = u32::try_from(count).unwrap_or(u32::MAX);
        self.frames = self.frames.wrapping_add(frames);
        pool.used = pool.used.wrapping_add(frames);
        passed.frames = passed.frames.wrapping_add(frames.into());
        passed.segments = passed.segments.wrapping_add(frames.into());
        passed.bytes = passed.bytes.wrapping_add(bytes);
        passed.wire_bytes = passed.wire_bytes.wrapping_add(wire_bytes);
        count
    }

    /// The frame that goes next, and when it came.
    #[inline]
    pub(super) fn head(&self, pool: &Frames) -> Option<(Frame, u64)> {
        (self.frames > 0).then(|| pool.read(self.head))
    }

    /// The handle and shape of the frame that goes next, and whether it must not be peeled.
    #[inline]
    pub(super) fn first(&self, pool: &Frames) -> Option<(u64, FrameShape, bool)> {
        let entry = pool.entries.get(self.head as usize)?;
        let whole = pool.is_whole(entry, self.head);
        Some((entry.token, pool.shape_of(entry, self.head), whole))
    }

    /// Takes the only frame out, if there is one, it is plain and takes no more than `most` bytes of
    /// the wire; its handle, its length and what it takes.
    #[inline]
    pub(super) fn take_only(
        &mut self,
        pool: &mut Frames,
        framing: Framing,
        most: u64,
    ) -> Option<(u64, u32, u64)> {
        let entry = pool.entries.get_mut(self.head as usize)?;
        let wire_bytes = framing.slot(entry.len.into());
        if self.frames != 1 || entry.next.has(Next::SEGMENTED) || wire_bytes > most {
            return None;
        }
        let frame = (entry.token, entry.len, wire_bytes);
        entry.next = Next(pool.free);
        (pool.free, self.head) = (self.head, NONE);
        pool.used = pool.used.wrapping_sub(1);
        self.frames = 0;
        Some(frame)
    }

    /// Takes the first frame out, of which the caller knows all that it wants.
    #[inline]
    pub(super) fn drop_first(&mut self, pool: &mut Frames) {
        let number = self.head;
        if let Some(entry) = pool.entries.get(number as usize) {
            self.head = entry.next.number();
            pool.give_back(number, number, 1);
            self.frames = self.frames.wrapping_sub(1);
        }
    }

    /// Changes the shape of the first frame, of which a part has gone.
    pub(super) fn shrink(&mut self, pool: &mut Frames, rest: FrameShape) {
        if let Some(entry) = pool.entries.get_mut(self.head as usize) {
            entry.len = rest.len;
        }
    }

    /// Takes frames off one by one; they are given back to the pool together.
    #[inline]
    pub(super) const fn walk<'a>(&'a mut self, pool: &'a mut Frames) -> Walk<'a> {
        Walk {
            first: self.head,
            at: self.head,
            last: NONE,
            gone: 0,
            fifo: self,
            pool,
        }
    }

    /// Takes the first frame out.
    #[inline]
    pub(super) fn pop(&mut self, pool: &mut Frames) -> Option<Frame> {
        let (number, frame) = self.unlink(pool)?;
        pool.give_back(number, number, 1);
        Some(frame)
    }

    /// Puts the first frame among those that were dropped.
    pub(super) fn discard(&mut self, pool: &mut Frames) -> Option<Frame> {
        let (number, frame) = self.unlink(pool)?;
        let entry = &mut pool.entries[number as usize];
        entry.next = entry.next.to(pool.dropped);
        pool.dropped = number;
        Some(frame)
    }

    fn unlink(&mut self, pool: &Frames) -> Option<(u32, Frame)> {
        let (frame, _) = self.head(pool)?;
        let number = self.head;
        self.head = pool.entries[number as usize].next.number();
        self.frames = self.frames.wrapping_sub(1);
        Some((number, frame))
    }
}

/// A walk along a queue, from its head.
#[derive(Debug)]
pub(super) struct Walk<'a> {
    fifo: &'a mut Fifo,
    pool: &'a mut Frames,
    first: u32,
    at: u32,
    last: u32,
    gone: u32,
}

impl Walk<'_> {
    /// Takes plain frames until a super-frame comes: at most as many as there are `places`, and none
    /// but the first that ends beyond `most` wire bytes in all. `put` fills a place with a frame's handle and
    /// length.
    #[inline]
    pub(super) fn take_plain<'p, T: 'p>(
        &mut self,
        framing: Framing,
        most: u64,
        passed: &mut FlowCounters,
        places: &mut std::slice::IterMut<'p, T>,
        put: impl Fn(&mut T, u64, u32),
    ) {
        let (mut at, mut last, mut count) = (self.at, self.last, 0_u32);
        let (mut bytes, mut wire_bytes) = (0_u64, passed.wire_bytes);
        // Frames that came in a row often lie in a row: read so, no one has to wait for the one before.
        'rows: while let Some(row) = self.pool.entries.get(at as usize..) {
            for entry in row {
                let after = wire_bytes.wrapping_add(framing.slot(entry.len.into()));
                if entry.next.has(Next::SEGMENTED) || (after > most && wire_bytes > 0) {
                    break 'rows;
                }
                let Some(place) = places.next() else {
                    break 'rows;
                };
                put(place, entry.token, entry.len);
                bytes = bytes.wrapping_add(entry.len.into());
                wire_bytes = after;
                count = count.wrapping_add(1);
                last = at;
                at = at.wrapping_add(1);
                let next = entry.next.number();
                if next != at {
                    at = next;
                    break;
                }
            }
        }
        (self.at, self.last) = (at, last);
        self.gone = self.gone.wrapping_add(count);
        passed.frames = passed.frames.wrapping_add(count.into());
        passed.segments = passed.segments.wrapping_add(count.into());
        passed.bytes = passed.bytes.wrapping_add(bytes);
        passed.wire_bytes = wire_bytes;
    }

    /// The next frame, whatever it is: its handle and shape, and whether it must not be peeled.
    pub(super) fn head(&self) -> Option<(u64, FrameShape, bool)> {
        let entry = self.pool.entries.get(self.at as usize)?;
        let whole = self.pool.is_whole(entry, self.at);
        Some((entry.token, self.pool.shape_of(entry, self.at), whole))
    }

    /// Takes that frame off.
    pub(super) fn take(&mut self) {
        if let Some(entry) = self.pool.entries.get(self.at as usize) {
            self.last = self.at;
            self.at = entry.next.number();
            self.gone = self.gone.wrapping_add(1);
        }
    }

    /// Leaves this much of that frame.
    pub(super) fn shrink(&mut self, rest: FrameShape) {
        if let Some(entry) = self.pool.entries.get_mut(self.at as usize) {
            entry.len = rest.len;
        }
    }

    /// Gives back what was taken.
    #[inline]
    pub(super) fn end(self) {
        if self.gone > 0 {
            self.pool.give_back(self.first, self.last, self.gone);
            self.fifo.head = self.at;
            self.fifo.frames = self.fifo.frames.wrapping_sub(self.gone);
        }
    }
}
