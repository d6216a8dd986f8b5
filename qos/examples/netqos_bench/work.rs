//! The two ways in which frames come: to queues that are never empty, and one at a time.

use qos::{Span, Time};

use crate::clock::Watch;
use crate::models::Scheduler;
use crate::tree::LINK;
use crate::{Pattern, Result};

/// Frames taken out at once.
const BUDGET: usize = 32;
/// Frames between two readings of the clock.
pub(crate) const BURST: u32 = 256;
/// Nanoseconds that a burst of minimum frames takes of nine tenths of the link.
pub(crate) const BURST_NANOS: u64 = BURST as u64 * 84 * 8 * 10 / 9 * 1_000_000_000 / LINK;
/// Frames that wait in every leaf of the deep pattern: more than a visit serves.
const BACKLOG: u64 = 40;

pub(crate) struct Work<S: Scheduler> {
    scheduler: S,
    now: Time,
    /// Frames taken out since time last went on.
    since: u32,
    taken: Vec<S::Taken>,
    /// The same on the way back.
    back: Vec<(S::Leaf, S::Packet)>,
}

impl<S: Scheduler> Work<S> {
    pub(crate) fn new(scheduler: S) -> Self {
        Self {
            scheduler,
            now: Time::from_nanos(1_000_000_000),
            since: 0,
            taken: Vec::with_capacity(BUDGET),
            back: Vec::with_capacity(BUDGET),
        }
    }

    pub(crate) fn scheduler(&self) -> &S {
        &self.scheduler
    }

    /// Nanoseconds per frame.
    pub(crate) fn run(&mut self, pattern: Pattern, frames: u32) -> Result<f64> {
        match pattern {
            Pattern::Sparse => self.sparse(frames),
            _ => self.deep(frames),
        }
    }

    /// Every frame that comes out goes in again where it was.
    pub(crate) fn deep(&mut self, frames: u32) -> Result<f64> {
        let mut number = 0;
        for leaf in self.scheduler.leaves() {
            for _ in 0..BACKLOG {
                self.put(leaf, S::packet(number))?;
                number += 1;
            }
        }
        let mut sent = 0;
        let start = Watch::start()?;
        while sent < frames {
            sent += self.turn_over()?;
        }
        start.nanos_each(sent)
    }

    /// Every leaf gets one frame; then all frames are taken out. Frames keep their leaves' order.
    fn sparse(&mut self, frames: u32) -> Result<f64> {
        let mut leaves = self.scheduler.leaves();
        shuffle(&mut leaves)?;
        let all = u32::try_from(leaves.len())?;
        let frame = |(&leaf, number)| (leaf, S::packet(number));
        let frames_in: Vec<_> = leaves.iter().zip(0..).map(frame).collect();
        let mut sent = 0;
        let start = Watch::start()?;
        while sent < frames {
            for burst in frames_in.chunks(BUDGET) {
                let queued = self.scheduler.enqueue_burst(burst, self.now);
                queued.then_some(()).ok_or("a queue was full")?;
            }
            let mut left = all;
            while left > 0 {
                left = left.saturating_sub(self.take()?);
            }
            sent += all;
        }
        start.nanos_each(sent)
    }

    /// How many frames of one leaf come out in a row, on average; after [`deep`](Self::deep).
    pub(crate) fn visit(&mut self) -> Result<f64> {
        let (mut sent, mut visits, mut last) = (0, 0, None);
        while sent < 100_000 {
            sent += self.turn_over()?;
            for taken in &self.taken {
                let (leaf, _) = S::taken(taken);
                visits += u32::from(last.replace(leaf) != Some(leaf));
            }
        }
        Ok(f64::from(sent) / f64::from(visits))
    }

    /// Takes frames out and puts them back.
    fn turn_over(&mut self) -> Result<u32> {
        let sent = self.take()?;
        self.back.clear();
        self.back.extend(self.taken.iter().map(S::taken));
        let queued = self.scheduler.enqueue_burst(&self.back, self.now);
        queued
            .then_some(sent)
            .ok_or_else(|| "a queue was full".into())
    }

    fn put(&mut self, leaf: S::Leaf, packet: S::Packet) -> Result<()> {
        let queued = self.scheduler.enqueue(leaf, packet, self.now);
        queued
            .then_some(())
            .ok_or_else(|| "a queue was full".into())
    }

    fn take(&mut self) -> Result<u32> {
        if self.since >= BURST {
            self.since = 0;
            self.now = self.now.saturating_add(Span::from_nanos(BURST_NANOS));
        }
        self.taken.clear();
        self.scheduler.dequeue(self.now, BUDGET, &mut self.taken);
        let taken = u32::try_from(self.taken.len())?;
        self.since += taken;
        (taken > 0)
            .then_some(taken)
            .ok_or_else(|| "nothing may go".into())
    }
}

/// Fisher and Yates' shuffle with a fixed seed.
pub(crate) fn shuffle<T>(items: &mut [T]) -> Result<()> {
    let mut state = 1_u64;
    for at in (1..items.len()).rev() {
        state = state.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
        items.swap(at, usize::try_from(state >> 33)? % (at + 1));
    }
    Ok(())
}
