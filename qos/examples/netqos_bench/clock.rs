//! Processor time: what others do meanwhile on the same processor does not count.

use std::time::Duration;

use nix::time::{ClockId, clock_gettime};

use crate::Result;

/// A measurement under way.
pub(crate) struct Watch(Duration);

impl Watch {
    pub(crate) fn start() -> Result<Self> {
        spent().map(Self)
    }

    /// Nanoseconds since the start for each of this many.
    pub(crate) fn nanos_each(&self, count: u32) -> Result<f64> {
        let spent = spent()?.saturating_sub(self.0);
        Ok(spent.as_secs_f64() * 1e9 / f64::from(count))
    }
}

/// What this thread has had so far. Not by `rustix`, whose call does not work under valgrind.
fn spent() -> Result<Duration> {
    Ok(clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID)?.into())
}
