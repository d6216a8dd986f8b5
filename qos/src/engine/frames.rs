//! Frames that wait: one pool for the engine, a list in it per leaf.
//!
//! A frame's entry is split by who needs it: sixteen bytes for all of them, so that a leaf's list is
//! four frames to a cache line; apart from these what only super-frames have, and what only queues of
//! flows ask for.
#![allow(clippy::indexing_slicing)] // links are numbers that the pool gave out itself

use prefetch_index::prefetch_index;

use super::frame::{Ack, Ecn, Frame};
use crate::wire::FrameShape;

/// Frames of a pool at most: two bits of a link say what an entry has.
pub(crate) const MOST_FRAMES: u32 = 1 << 30;

/// No entry: the last number, which none has.
pub(super) const NONE: u32 = MOST_FRAMES - 1;

/// A number of an entry, or none, and what else the entry has.
#[derive(Clone, Copy, Debug)]
pub(super) struct Next(pub(super) u32);

impl Next {
    const NUMBER: u32 = MOST_FRAMES - 1;
    /// It is a super-frame.
    pub(super) const SEGMENTED: u32 = 1 << 30;
    /// It has a flow and a time of arrival, or is to stay whole.
    const TRACED: u32 = 1 << 31;

    pub(super) const fn number(self) -> u32 {
        self.0 & Self::NUMBER
    }

    /// Another number, the rest as it was.
    pub(super) const fn to(self, number: u32) -> Self {
        Self(self.0 & !Self::NUMBER | number & Self::NUMBER)
    }

    pub(super) const fn has(self, what: u32) -> bool {
        self.0 & what != 0
    }
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Entry {
    pub(super) token: u64,
    pub(super) len: u32,
    pub(super) next: Next,
}

/// What a super-frame has besides.
#[derive(Clone, Copy, Debug, Default)]
struct Segments {
    headers: u32,
    gso_size: u32,
}

/// What a queue of flows asks for.
#[derive(Clone, Copy, Debug, Default)]
struct Trace {
    /// When it came, in nanoseconds.
    since: u64,
    flow: u32,
    host: u32,
    ack: Option<Ack>,
    ecn: Ecn,
    whole: bool,
}

/// The pool: as many frames as the tree allows, all leaves together.
#[derive(Debug)]
pub(super) struct Frames {
    pub(super) entries: Vec<Entry>,
    segments: Vec<Segments>,
    traces: Vec<Trace>,
    /// First of the entries that were used and given back.
    pub(super) free: u32,
    /// Last of those dropped that the caller has not yet asked for.
    pub(super) dropped: u32,
    limit: usize,
    /// Entries in use, dropped ones included.
    pub(super) used: u32,
    /// What one leaf may hold, in percent of what is free.
    share: Option<u32>,
}

impl Default for Frames {
    fn default() -> Self {
        Self {
            entries: Vec::new(),
            segments: Vec::new(),
            traces: Vec::new(),
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
        self.limit = (limit.min(MOST_FRAMES - 1) as usize).max(self.entries.len());
        let more = |len: usize| self.limit.saturating_sub(len);
        let (entries, rest) = (more(self.entries.len()), more(self.segments.len()));
        self.entries.reserve_exact(entries);
        self.segments.reserve_exact(rest);
        self.traces.reserve_exact(rest);
    }

    /// Takes a frame in, if there is room.
    #[inline]
    pub(super) fn take(&mut self, frame: &Frame, since: Option<u64>) -> Option<u32> {
        let number = self.free;
        let is_plain = frame.shape.headers | frame.shape.gso_size == 0 && !frame.whole;
        if is_plain
            && since.is_none()
            && let Some(entry) = self.entries.get_mut(number as usize)
        {
            self.free = entry.next.number();
            *entry = Entry {
                token: frame.token,
                len: frame.shape.len,
                next: Next(NONE),
            };
            self.used = self.used.wrapping_add(1);
            return Some(number);
        }
        self.take_slowly(frame, since)
    }

    fn take_slowly(&mut self, frame: &Frame, since: Option<u64>) -> Option<u32> {
        let mut next = Next(NONE);
        let FrameShape {
            len,
            headers,
            gso_size,
        } = frame.shape;
        if headers | gso_size != 0 {
            next.0 |= Next::SEGMENTED;
        }
        if since.is_some() || frame.whole {
            next.0 |= Next::TRACED;
        }
        let entry = Entry {
            token: frame.token,
            len,
            next,
        };
        let number = self.free;
        let number = if number == NONE {
            if self.entries.len() >= self.limit {
                return None;
            }
            self.entries.push(entry);
            self.segments.push(Segments::default());
            self.traces.push(Trace::default());
            // Below 2^30.
            u32::try_from(self.entries.len().wrapping_sub(1)).unwrap_or(NONE)
        } else {
            self.free = self.entries[number as usize].next.number();
            self.entries[number as usize] = entry;
            number
        };
        if next.has(Next::SEGMENTED) {
            self.segments[number as usize] = Segments { headers, gso_size };
        }
        if next.has(Next::TRACED) {
            self.traces[number as usize] = Trace {
                since: since.unwrap_or(0),
                flow: frame.flow,
                host: frame.host,
                ack: frame.ack,
                ecn: frame.ecn,
                whole: frame.whole,
            };
        }
        self.used = self.used.wrapping_add(1);
        Some(number)
    }

    #[inline]
    pub(super) fn shape_of(&self, entry: &Entry, number: u32) -> FrameShape {
        let mut shape = FrameShape::single(entry.len);
        if entry.next.has(Next::SEGMENTED) {
            let Segments { headers, gso_size } = self.segments[number as usize];
            (shape.headers, shape.gso_size) = (headers, gso_size);
        }
        shape
    }

    /// Fetches what a visit to a queue will read. Frames that came in a row are often neighbours: from the
    /// head on, and, where that row has ended, up to the tail.
    #[inline]
    pub(super) fn prefetch(&self, head: u32, tail: u32, frames: u32) {
        let most = frames.min(64);
        let (rows, last) = (
            tail.wrapping_sub(head) != frames.wrapping_sub(1),
            tail as usize,
        );
        let first = if rows { most.div_ceil(2) } else { most };
        for ahead in (0..first).step_by(4) {
            prefetch_index(
                &self.entries,
                (head as usize).saturating_add(ahead as usize),
            );
        }
        if rows {
            for back in (0..most).step_by(4) {
                prefetch_index(&self.entries, last.saturating_sub(back as usize));
            }
        }
    }

    pub(super) fn read(&self, number: u32) -> (Frame, u64) {
        let entry = &self.entries[number as usize];
        let mut frame = Frame::new(entry.token, self.shape_of(entry, number));
        let mut since = 0;
        if entry.next.has(Next::TRACED) {
            let trace = self.traces[number as usize];
            since = trace.since;
            (frame.flow, frame.host) = (trace.flow, trace.host);
            (frame.ack, frame.ecn, frame.whole) = (trace.ack, trace.ecn, trace.whole);
        }
        (frame, since)
    }

    /// Whether a leaf that holds this many frames may have one more: dynamic thresholds (Choudhury &
    /// Hahne 1998), which leave a part of the pool to whoever comes next. The first always may.
    #[inline]
    pub(super) fn admits(&self, held: u32) -> bool {
        let free = (self.limit as u64).saturating_sub(self.used.into());
        match self.share {
            // Both factors have 32 bits, as the other two, of which one is below 2^7.
            Some(share) if held > 0 => {
                u64::from(held).wrapping_mul(100) < free.wrapping_mul(share.into())
            }
            _ => free > 0,
        }
    }

    /// How many more frames a leaf may have that holds this many, of `wanted` that come one by one.
    pub(super) fn admits_of(&self, held: u32, wanted: usize) -> usize {
        let free = self.limit.saturating_sub(self.used as usize);
        let wanted = wanted.min(free);
        let Some(share) = self.share else {
            return wanted;
        };
        // With n more of them: (held + n) * 100 < (free - n) * share, where n counts from zero.
        let (free, share) = (free as u64, u64::from(share));
        let gap = free.wrapping_mul(share);
        let gap = gap.saturating_sub(u64::from(held).wrapping_mul(100));
        let more = gap.div_ceil(share.wrapping_add(100));
        let first = u64::from(held == 0);
        wanted.min(usize::try_from(more.max(first)).unwrap_or(usize::MAX))
    }

    /// Whether an entry's frame must not be peeled.
    pub(super) fn is_whole(&self, entry: &Entry, number: u32) -> bool {
        entry.next.has(Next::TRACED) && self.traces[number as usize].whole
    }

    /// A frame by its number, if it waits.
    pub(super) fn frame(&self, number: u32) -> Option<Frame> {
        let waits = (number as usize) < self.entries.len();
        waits.then(|| self.read(number).0)
    }

    /// Whether no frame more can be taken.
    pub(super) fn is_full(&self) -> bool {
        self.free == NONE && self.entries.len() >= self.limit
    }

    /// A frame that was dropped, once each.
    pub(super) fn next_dropped(&mut self) -> Option<Frame> {
        let number = self.dropped;
        self.dropped = self.entries.get(number as usize)?.next.number();
        let (frame, _) = self.read(number);
        self.give_back(number, number, 1);
        Some(frame)
    }

    /// Frees a chain of so many entries that hang together.
    #[inline]
    pub(super) fn give_back(&mut self, first: u32, last: u32, count: u32) {
        self.used = self.used.wrapping_sub(count);
        let entry = &mut self.entries[last as usize];
        entry.next = entry.next.to(self.free);
        self.free = first;
    }
}
