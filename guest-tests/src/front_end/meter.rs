//! How much went through a tap when, without looking at a frame.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::wire::in_namespace;
use crate::error::{Context, Error, Result};
use crate::netns::Namespace;

/// A reading, taken somewhere between two instants.
#[derive(Debug, Clone, Copy)]
pub struct Sample {
    /// Just before it was taken.
    pub before: Instant,
    /// Just after it was taken.
    pub after: Instant,
    /// Frames so far.
    pub frames: u64,
    /// Bytes so far; whole super-frames, without what the link adds.
    pub bytes: u64,
}

/// Reads what the kernel counts on an interface, from its namespace.
#[derive(Debug)]
pub struct Meter {
    file: File,
    interface: String,
}

impl Meter {
    /// A meter of an interface: what it receives, which on a tap is what the guest sends.
    ///
    /// # Errors
    /// [`Error::Io`] if the namespace cannot be entered.
    pub fn new(namespace: &Namespace, interface: &str) -> Result<Self> {
        // The file shows the namespace that it was opened in, whoever reads it.
        let file = in_namespace(namespace, || {
            File::open("/proc/thread-self/net/dev").context("opening the interfaces' counters")
        })?;
        Ok(Self {
            file,
            interface: format!("{interface}:"),
        })
    }

    /// A reading.
    ///
    /// # Errors
    /// [`Error::Output`] if there is no such interface.
    pub fn read(&self) -> Result<Sample> {
        let before = Instant::now();
        let mut buffer = [0; 4096];
        let len = self
            .file
            .read_at(&mut buffer, 0)
            .context("reading the interfaces' counters")?;
        let after = Instant::now();
        let text = String::from_utf8_lossy(buffer.get(..len).unwrap_or_default()).into_owned();
        let line = text
            .lines()
            .find_map(|line| line.trim_start().strip_prefix(&self.interface));
        let mut numbers = line.unwrap_or_default().split_whitespace().map(str::parse);
        match (numbers.next(), numbers.next()) {
            (Some(Ok(bytes)), Some(Ok(frames))) => Ok(Sample {
                before,
                after,
                frames,
                bytes,
            }),
            _ => Err(Error::Output {
                tool: "/proc/net/dev",
                reason: format!("no line of {}", self.interface),
                output: text,
            }),
        }
    }

    /// Reads every `interval` on a thread of its own, until the recording is finished.
    #[must_use]
    pub fn record(self, interval: Duration) -> Recording {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            let mut samples = Vec::new();
            while !stopped.load(Ordering::Relaxed) {
                samples.push(self.read()?);
                std::thread::sleep(interval);
            }
            samples.push(self.read()?);
            Ok(samples)
        });
        Recording { stop, thread }
    }
}

/// A [`Meter`] that records.
#[derive(Debug)]
pub struct Recording {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Result<Vec<Sample>>>,
}

impl Recording {
    /// Ends it and answers the readings.
    ///
    /// # Errors
    /// As [`Meter::read`].
    pub fn finish(self) -> Result<Vec<Sample>> {
        self.stop.store(true, Ordering::Relaxed);
        let ended = self.thread.join();
        ended.unwrap_or(Err(Error::Setup("the meter's thread panicked")))
    }
}

/// By how much more than `per_second` over its length the fullest stretch of about `window` exceeds
/// the rate, in the units that `count` gives; what a limit's burst has to cover. A stretch is
/// counted from before its first to after its last reading, so a late reading accuses nobody.
#[must_use]
pub fn excess(
    samples: &[Sample],
    window: Duration,
    per_second: f64,
    count: impl Fn(&Sample) -> f64,
) -> f64 {
    let mut most = 0.0_f64;
    let mut first = 0;
    for (last, end) in samples.iter().enumerate() {
        // From the latest start that makes the stretch as long as the window.
        while first + 1 < last
            && samples
                .get(first + 1)
                .is_some_and(|next| end.before - next.after >= window)
        {
            first += 1;
        }
        if let Some(start) = samples.get(first) {
            let length = end.after.saturating_duration_since(start.before);
            let carried = count(end) - count(start);
            most = most.max(carried - per_second * length.as_secs_f64());
        }
    }
    most
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_exceeds_the_rate_counts() {
        let start = Instant::now();
        let sample = |millis, frames| Sample {
            before: start + Duration::from_millis(millis),
            after: start + Duration::from_millis(millis),
            frames,
            bytes: 0,
        };
        let samples: Vec<_> = (0..300).map(|n| sample(10 * n, 50 + n)).collect();
        let frames = |sample: &Sample| f64::from(u32::try_from(sample.frames).unwrap());
        let window = Duration::from_secs(1);
        assert!(excess(&samples, window, 100.0, frames).abs() < 1e-6);
        assert!((excess(&samples, window, 90.0, frames) - 10.0).abs() < 1.1);
    }
}
