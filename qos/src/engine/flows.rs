//! A leaf's queue of flows: the sparse before the bulky, each kept short.
//!
//! Deficit round robin with a list of new and a list of old flows (FQ-CoDel, RFC 8290), so that a
//! flow which sends little never waits behind one that sends much; and CoDel (RFC 8289) on every
//! flow, which drops or marks by how long frames wait. Flows are hashed into a fixed number of
//! buckets.
#![allow(clippy::indexing_slicing)] // bucket numbers are below the number of buckets by making

use super::class::NONE;
use super::frame::Frame;
use super::frames::{Fifo, Frames};
use crate::class::FlowsConfig;
use crate::counters::FlowCounters;
use crate::wire::{FrameShape, Framing};

/// Bytes that a flow may send per round: one full-size frame.
const QUANTUM: i64 = 1514;

/// CoDel's state for one flow; times in nanoseconds.
#[derive(Clone, Copy, Debug, Default)]
struct Codel {
    /// When frames will have waited too long for a whole interval; zero while they do not.
    patience: u64,
    /// When to drop or mark next.
    next: u64,
    count: u32,
    last_count: u32,
    dropping: bool,
}

impl Codel {
    /// The time between this and the next drop: `interval / sqrt(count)`.
    fn pause(&self, interval: u64) -> u64 {
        // The root of a 52-bit number in 2^10ths: at least 2^10, so the quotient is defined.
        let root = (u64::from(self.count.max(1)) << 20).isqrt().max(1);
        let product = u128::from(interval) << 10;
        u64::try_from(product.checked_div(root.into()).unwrap_or(0)).unwrap_or(u64::MAX)
    }

    /// Whether a frame that waited this long should be dropped or marked now.
    fn strikes(&mut self, now: u64, sojourn: u64, last: bool, config: &FlowsConfig) -> bool {
        if sojourn < config.target_nanos || last {
            (self.patience, self.dropping) = (0, false);
            return false;
        }
        if self.patience == 0 {
            self.patience = now.saturating_add(config.interval_nanos);
        }
        if now < self.patience {
            self.dropping = false;
            return false;
        }
        if !self.dropping {
            // Take up where the last bout left off, if that was lately.
            let lately = now.saturating_sub(self.next) < config.interval_nanos.saturating_mul(16);
            let delta = self.count.saturating_sub(self.last_count);
            self.count = if lately && delta > 1 { delta } else { 1 };
            self.last_count = self.count;
            self.dropping = true;
            self.next = now.saturating_add(self.pause(config.interval_nanos));
            return true;
        }
        if now < self.next {
            return false;
        }
        self.count = self.count.saturating_add(1);
        self.next = self.next.saturating_add(self.pause(config.interval_nanos));
        true
    }
}

#[derive(Clone, Debug)]
struct Bucket {
    frames: Fifo,
    bytes: u64,
    deficit: i64,
    /// The next bucket of its list.
    next: u32,
    listed: bool,
    codel: Codel,
}

/// Buckets in turn.
#[derive(Clone, Copy, Debug)]
struct List {
    head: u32,
    tail: u32,
}

impl List {
    const EMPTY: Self = Self {
        head: NONE,
        tail: NONE,
    };

    fn push(&mut self, buckets: &mut [Bucket], bucket: u32) {
        buckets[bucket as usize].next = NONE;
        if self.head == NONE {
            self.head = bucket;
        } else {
            buckets[self.tail as usize].next = bucket;
        }
        self.tail = bucket;
    }

    fn pop(&mut self, buckets: &[Bucket]) -> Option<u32> {
        let head = (self.head != NONE).then_some(self.head)?;
        self.head = buckets[head as usize].next;
        Some(head)
    }
}

/// What happened to frames besides being sent.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Toll {
    pub(super) dropped: FlowCounters,
    pub(super) marked: u64,
}

/// The queue.
#[derive(Clone, Debug)]
pub(super) struct Flows {
    config: FlowsConfig,
    framing: Framing,
    buckets: Box<[Bucket]>,
    new: List,
    old: List,
    frames: u32,
    /// The bucket whose head was granted; its frame stays until it is sent.
    chosen: u32,
    mark: bool,
}

impl Flows {
    pub(super) fn new(config: FlowsConfig, framing: Framing) -> Self {
        let bucket = Bucket {
            frames: Fifo::new(u32::MAX),
            bytes: 0,
            deficit: 0,
            next: NONE,
            listed: false,
            codel: Codel::default(),
        };
        Self {
            config,
            framing,
            buckets: vec![bucket; usize::from(config.buckets.max(1))].into(),
            new: List::EMPTY,
            old: List::EMPTY,
            frames: 0,
            chosen: NONE,
            mark: false,
        }
    }

    /// Takes other settings over; the number of buckets stays.
    pub(super) fn retune(&mut self, config: FlowsConfig, framing: Framing) {
        (self.config, self.framing) = (config, framing);
    }

    pub(super) const fn config(&self) -> &FlowsConfig {
        &self.config
    }

    pub(super) const fn frames(&self) -> u32 {
        self.frames
    }

    /// Takes a frame in. Without room, the flow that has most loses its oldest frame.
    pub(super) fn push(
        &mut self,
        pool: &mut Frames,
        frame: Frame,
        now: u64,
        toll: &mut Toll,
    ) -> bool {
        if (self.frames >= self.config.frames || pool.is_full()) && !self.evict(pool, toll) {
            return false;
        }
        // Both factors have 32 bits, and the product's upper half is below the number of buckets.
        let count = self.buckets.len() as u64;
        let number = u64::from(frame.flow).wrapping_mul(count) >> 32;
        let number = u32::try_from(number).unwrap_or(0);
        let bucket = &mut self.buckets[number as usize];
        if !bucket.frames.push(pool, frame, now) {
            return false;
        }
        bucket.bytes = bucket.bytes.saturating_add(frame.shape.len.into());
        self.frames = self.frames.saturating_add(1);
        if !bucket.listed {
            (bucket.listed, bucket.deficit) = (true, QUANTUM);
            self.new.push(&mut self.buckets, number);
        }
        true
    }

    /// Drops the oldest frame of the flow with most bytes, unless it was granted.
    fn evict(&mut self, pool: &mut Frames, toll: &mut Toll) -> bool {
        let most = (0..)
            .zip(&self.buckets)
            .max_by_key(|(_, bucket)| bucket.bytes);
        match most {
            Some((number, bucket)) if number != self.chosen && bucket.bytes > 0 => {
                self.drop_head(number, pool, toll)
            }
            _ => false,
        }
    }

    fn drop_head(&mut self, bucket: u32, pool: &mut Frames, toll: &mut Toll) -> bool {
        let bucket = &mut self.buckets[bucket as usize];
        let Some(frame) = bucket.frames.discard(pool) else {
            return false;
        };
        bucket.bytes = bucket.bytes.saturating_sub(frame.shape.len.into());
        self.frames = self.frames.saturating_sub(1);
        toll.dropped
            .add(frame.shape.len, self.framing.cost(frame.shape));
        true
    }

    /// Chooses the frame that goes next, unless that is done; returns it, and whether it is to be
    /// marked.
    pub(super) fn choose(
        &mut self,
        pool: &mut Frames,
        now: u64,
        toll: &mut Toll,
    ) -> Option<(Frame, bool)> {
        while self.chosen == NONE {
            let is_new = self.new.head != NONE;
            let list = if is_new { &mut self.new } else { &mut self.old };
            let number = list.head;
            let bucket = self.buckets.get_mut(number as usize)?;
            if bucket.frames.frames > 0 && bucket.deficit > 0 {
                self.mark = self.control(number, pool, now, toll);
                self.chosen = number;
                break;
            }
            // Used up, or empty. A new flow that ran empty passes through the old ones once, so that
            // it cannot be new for ever.
            bucket.deficit = bucket.deficit.saturating_add(QUANTUM).min(QUANTUM);
            let leaves = bucket.frames.frames == 0 && !is_new;
            bucket.listed = !leaves;
            list.pop(&self.buckets);
            if !leaves {
                self.old.push(&mut self.buckets, number);
            }
        }
        let (frame, _) = self.buckets[self.chosen as usize].frames.head(pool)?;
        Some((frame, self.mark))
    }

    /// Applies CoDel to a flow whose turn it is: drops what must go; returns whether the frame now at
    /// its head is to be marked. The last frame of a flow is never dropped.
    fn control(&mut self, number: u32, pool: &mut Frames, now: u64, toll: &mut Toll) -> bool {
        loop {
            let bucket = &mut self.buckets[number as usize];
            let Some((frame, since)) = bucket.frames.head(pool) else {
                return false;
            };
            let sojourn = now.saturating_sub(since);
            let last = bucket.frames.frames <= 1;
            let strikes = bucket.codel.strikes(now, sojourn, last, &self.config);
            let step = self
                .config
                .ce_threshold_nanos
                .is_some_and(|most| sojourn > most);
            if frame.ecn.is_capable() && (strikes || step) {
                toll.marked = toll.marked.saturating_add(1);
                return true;
            }
            if !strikes || !self.drop_head(number, pool, toll) {
                return false;
            }
        }
    }

    /// The chosen frame has gone as `sent`. Returns it if no part of it is left.
    pub(super) fn sent(&mut self, pool: &mut Frames, sent: FrameShape) -> Option<Frame> {
        let bucket = self.buckets.get_mut(self.chosen as usize)?;
        let (head, _) = bucket.frames.head(pool)?;
        self.chosen = NONE;
        bucket.deficit = bucket.deficit.saturating_sub(sent.len.into());
        let rest = head.shape.after(sent);
        let left = rest.map_or(0, |rest| rest.len);
        let gone = head.shape.len.saturating_sub(left);
        bucket.bytes = bucket.bytes.saturating_sub(gone.into());
        if let Some(rest) = rest {
            bucket.frames.shrink(pool, rest);
            return None;
        }
        self.frames = self.frames.saturating_sub(1);
        bucket.frames.pop(pool)
    }

    /// Any frame, to empty the queue.
    pub(super) fn take(&mut self, pool: &mut Frames) -> Option<Frame> {
        self.chosen = NONE;
        let full = self
            .buckets
            .iter_mut()
            .find(|bucket| bucket.frames.frames > 0)?;
        self.frames = self.frames.saturating_sub(1);
        full.frames.pop(pool)
    }
}

#[cfg(test)]
mod tests;
