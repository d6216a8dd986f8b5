//! Load at full speed in both directions, with counts and latencies.

use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

use super::frame::Frame;
use super::meter::Sample;
use super::receive::Receive;
use super::shape::Shape;
use super::transmit::Transmit;
use crate::error::{Error, Result};

/// Looks at a ring before the processor is given away.
const SPINS: u32 = 2000;
/// How long a sleeping flood waits for a call before it looks by itself.
const NAP: Duration = Duration::from_millis(20);
/// The longest completion latency that is told apart, in nanoseconds.
const LONGEST: u64 = 60_000_000_000;

/// A flood to be: one frame, again and again.
#[derive(Debug, Clone)]
pub struct Flood {
    frame: Frame,
    shape: Shape,
    duration: Duration,
    most: u64,
    batch: usize,
    patience: Duration,
}

/// What a flood did.
#[derive(Debug)]
pub struct Flooded {
    /// Frames that the device completed.
    pub frames: u64,
    /// Their bytes, from the destination address on.
    pub bytes: u64,
    /// What they cost of an Ethernet link, in bytes.
    pub wire_bytes: u64,
    /// From the first frame to the last completion.
    pub elapsed: Duration,
    /// Kicks given.
    pub kicks: u64,
    /// Calls received.
    pub calls: u64,
    /// From adding a chain to its completion being seen, in nanoseconds.
    pub completion: Histogram<u64>,
}

/// What was received.
#[derive(Debug, Default)]
pub struct Absorbed {
    /// Frames.
    pub frames: u64,
    /// Their bytes, from the destination address on.
    pub bytes: u64,
    /// Calls received.
    pub calls: u64,
    /// How far it was when, for [`super::excess`].
    pub samples: Vec<Sample>,
}

impl Flood {
    /// One second of this frame, in one descriptor, 64 to a publication.
    #[must_use]
    pub const fn new(frame: Frame) -> Self {
        Self {
            frame,
            shape: Shape::WHOLE,
            duration: Duration::from_secs(1),
            most: u64::MAX,
            batch: 64,
            patience: Duration::from_secs(5),
        }
    }

    /// Cuts the frame so.
    #[must_use]
    pub fn shape(mut self, shape: Shape) -> Self {
        self.shape = shape;
        self
    }

    /// Sends for so long.
    #[must_use]
    pub const fn lasting(mut self, duration: Duration) -> Self {
        self.duration = duration;
        self
    }

    /// Ends after so many frames, if the time is not over before.
    #[must_use]
    pub const fn frames(mut self, frames: u64) -> Self {
        self.most = frames;
        self
    }

    /// Waits no longer than this for the ring to come to rest, before and after.
    #[must_use]
    pub const fn patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// Most frames between two publications.
    #[must_use]
    pub const fn batch(mut self, frames: usize) -> Self {
        self.batch = frames;
        self
    }
}

impl Flooded {
    /// Frames per second, in millions.
    #[must_use]
    pub fn mpps(&self) -> f64 {
        per_second(self.frames, self.elapsed) / 1e6
    }

    /// Link rate in Mbit/s.
    #[must_use]
    pub fn wire_mbit(&self) -> f64 {
        per_second(self.wire_bytes, self.elapsed) * 8.0 / 1e6
    }
}

#[expect(clippy::cast_precision_loss, reason = "a figure for people")]
fn per_second(count: u64, elapsed: Duration) -> f64 {
    count as f64 / elapsed.as_secs_f64()
}

impl Transmit {
    /// Sends as fast as the ring takes it, then waits until all is completed. The ring has to be empty.
    ///
    /// # Errors
    /// [`Error::Setup`] if the frame is too large, or chains are still under way; and as [`Self::settle`].
    pub fn flood(&mut self, flood: &Flood) -> Result<Flooded> {
        self.settle(flood.patience)?;
        self.prepare(&flood.frame, &flood.shape)?;
        let completion = Histogram::new_with_max(LONGEST, 2)
            .map_err(|_| Error::Setup("a histogram out of bounds"))?;
        let (kicks, calls) = (self.queue().kicks(), self.queue().calls());
        let (before, start) = (self.completed(), Instant::now());
        let mut done = Flooded {
            frames: 0,
            bytes: 0,
            wire_bytes: 0,
            elapsed: Duration::ZERO,
            kicks: 0,
            calls: 0,
            completion,
        };
        self.queue().driver().disable_calls();
        let (mut added, mut idle) = (0, 0);
        loop {
            let now = Instant::now();
            if now - start >= flood.duration || added >= flood.most {
                break;
            }
            let collected = self.reap(now, &mut done.completion)?;
            let left = usize::try_from(flood.most - added).unwrap_or(usize::MAX);
            let count = self.resubmit(flood.batch.min(left), now);
            added += count as u64;
            self.queue().publish();
            idle = if collected + count > 0 { 0 } else { idle + 1 };
            self.rest(idle)?;
        }
        self.settle(flood.patience)?;
        done.elapsed = start.elapsed();
        done.frames = self.completed() - before;
        done.bytes = done.frames * flood.frame.bytes.len() as u64;
        done.wire_bytes = done.frames * flood.frame.wire_bytes();
        done.kicks = self.queue().kicks() - kicks;
        done.calls = self.queue().calls() - calls;
        Ok(done)
    }

    fn reap(&mut self, now: Instant, completion: &mut Histogram<u64>) -> Result<usize> {
        let mut count = 0;
        loop {
            let stamp = self.oldest_stamp();
            if self.collect()?.is_none() {
                return Ok(count);
            }
            count += 1;
            if let Some(stamp) = stamp {
                let took = now.saturating_duration_since(stamp).as_nanos();
                completion.saturating_record(u64::try_from(took).unwrap_or(LONGEST));
            }
        }
    }

    /// Spins a little, then sleeps until the device calls.
    fn rest(&mut self, idle: u32) -> Result<()> {
        if idle > SPINS {
            self.wait_completion(NAP)?;
            self.queue().driver().disable_calls();
        } else if idle > 0 {
            std::hint::spin_loop();
        }
        Ok(())
    }
}

impl Receive {
    /// Receives for so long, posting buffers anew.
    ///
    /// # Errors
    /// As [`Self::take`].
    pub fn absorb(&mut self, duration: Duration) -> Result<Absorbed> {
        let calls = self.queue().calls();
        let start = Instant::now();
        let mut done = Absorbed::default();
        loop {
            let before = Instant::now();
            if before - start >= duration {
                break;
            }
            let mut taken = 0;
            let mut drained = false;
            while taken < 64 && !drained {
                match self.skip()? {
                    Some(bytes) => {
                        done.frames += 1;
                        done.bytes += bytes;
                        taken += 1;
                    }
                    None => drained = true,
                }
            }
            if taken > 0 {
                // What is still in the ring was delivered before now as well: a reading that left
                // it out would count it into whatever stretch begins here.
                if drained {
                    done.samples.push(Sample {
                        before,
                        after: Instant::now(),
                        frames: done.frames,
                        bytes: done.bytes,
                    });
                }
                self.refill();
                continue;
            }
            let left = duration.saturating_sub(before - start);
            self.queue().wait_for(left, |queue| {
                Ok(queue.driver().enable_calls().then_some(()))
            })?;
        }
        done.calls = self.queue().calls() - calls;
        Ok(done)
    }
}
