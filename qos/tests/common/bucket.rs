//! The textbook token bucket in exact arithmetic: what a limit must let through when it is polled at
//! given instants.

use qos::{Rate, Span, Time};

use super::{BYTE, ticks};

/// Rates are taken in millionths, so that one slower by a millionth is exact, too.
pub(crate) const WHOLE: i128 = 1_000_000;

/// A level that fills at the rate up to the burst, and from which a unit of any size may be taken
/// while it is not below zero. In millionths of [`BYTE`].
#[derive(Clone)]
pub(crate) struct Bucket {
    rate: i128,
    burst: i128,
    level: i128,
    then: Time,
    /// Bytes that went.
    pub(crate) sent: u64,
}

impl Bucket {
    /// `millionths` of the rate, and the burst that `time` at it is worth, but at least `bytes`; full.
    pub(crate) fn new(rate: Rate, millionths: i128, time: Span, bytes: u64, now: Time) -> Self {
        let rate = i128::from(rate.bits_per_second()) * millionths;
        let burst = (rate * ticks(time)).max(i128::from(bytes) * BYTE * WHOLE);
        Self {
            rate,
            burst,
            level: burst,
            then: now,
            sent: 0,
        }
    }

    /// Time goes on; what does not fit is lost. Returns that.
    pub(crate) fn fill(&mut self, now: Time) -> i128 {
        let level = self.level + self.rate * ticks(now.since(self.then));
        self.then = self.then.max(now);
        self.level = level.min(self.burst);
        level - self.level
    }

    pub(crate) fn open(&self) -> bool {
        self.level >= 0
    }

    pub(crate) fn take(&mut self, bytes: u64) {
        self.level -= i128::from(bytes) * BYTE * WHOLE;
        self.sent += bytes;
    }
}
