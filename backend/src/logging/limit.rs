//! How often the same line may come.

use std::collections::HashMap;
use std::time::{Duration, Instant};

/// Lines that may come at once.
pub const BURST: u32 = 5;

/// After that, one line in this time.
pub const PERIOD: Duration = Duration::from_secs(5);

/// Kinds of lines with a limit of their own. The others share one, so that neither memory nor the log
/// grows with how many there are.
const KINDS: usize = 1024;

/// Limits for many kinds of lines, told apart by a number.
#[derive(Debug, Default)]
pub(super) struct Limiter {
    kinds: HashMap<u64, Bucket>,
    others: Bucket,
}

impl Limiter {
    /// Whether a line of this kind may be written now; if so, how many were not since the last one.
    pub(super) fn take(&mut self, kind: u64, now: Instant) -> Option<u64> {
        if !self.kinds.contains_key(&kind) {
            if self.kinds.len() >= KINDS {
                self.kinds.retain(|_, bucket| !bucket.is_full(now));
            }
            if self.kinds.len() >= KINDS {
                return self.others.take(now);
            }
        }
        self.kinds.entry(kind).or_default().take(now)
    }
}

/// Lines that may be written, of [`BURST`] at most.
#[derive(Clone, Copy, Debug, Default)]
struct Bucket {
    /// When it is full again; if unset it is.
    full: Option<Instant>,
    suppressed: u64,
}

impl Bucket {
    fn is_full(&self, now: Instant) -> bool {
        self.full.is_none_or(|full| full <= now)
    }

    fn take(&mut self, now: Instant) -> Option<u64> {
        let full = self.full.map_or(now, |full| full.max(now));
        if full.saturating_duration_since(now) > PERIOD * (BURST - 1) {
            self.suppressed = self.suppressed.saturating_add(1);
            return None;
        }
        self.full = full.checked_add(PERIOD);
        Some(std::mem::take(&mut self.suppressed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FLOOD: usize = 1000;

    fn written(limiter: &mut Limiter, kind: u64, lines: usize, now: Instant) -> Vec<u64> {
        (0..lines).filter_map(|_| limiter.take(kind, now)).collect()
    }

    #[test]
    fn a_flood_comes_to_a_burst_and_then_to_one_line_per_period() {
        let mut limiter = Limiter::default();
        let start = Instant::now();
        assert_eq!(written(&mut limiter, 7, FLOOD, start), [0; 5]);
        let early = start + PERIOD - Duration::from_nanos(1);
        assert!(written(&mut limiter, 7, FLOOD, early).is_empty());
        for period in 1..4 {
            let left_out = if period == 1 { 1995 } else { 999 };
            let now = start + PERIOD * period;
            assert_eq!(written(&mut limiter, 7, FLOOD, now), [left_out]);
        }
    }

    #[test]
    fn one_that_rested_may_come_in_a_burst_again() {
        let mut limiter = Limiter::default();
        let start = Instant::now();
        written(&mut limiter, 7, FLOOD, start);
        let half = start + PERIOD * 2;
        assert_eq!(written(&mut limiter, 7, FLOOD, half), [995, 0]);
        let rested = half + PERIOD * BURST;
        assert_eq!(written(&mut limiter, 7, FLOOD, rested).len(), 5);
    }

    #[test]
    fn kinds_do_not_hinder_each_other() {
        let mut limiter = Limiter::default();
        let start = Instant::now();
        written(&mut limiter, 7, FLOOD, start);
        assert_eq!(limiter.take(8, start), Some(0));
    }

    #[test]
    fn kinds_without_number_share_one_limit_and_take_no_memory() {
        let mut limiter = Limiter::default();
        let start = Instant::now();
        let lines = (0..10_000).filter_map(|kind| limiter.take(kind, start));
        assert_eq!(lines.count(), KINDS + 5);
        assert_eq!(limiter.kinds.len(), KINDS);

        let rested = start + PERIOD;
        assert_eq!(limiter.take(20_000, rested), Some(0), "there is room again");
        assert_eq!(limiter.kinds.len(), 1);
    }

    #[test]
    fn time_that_goes_back_is_borne() {
        let mut limiter = Limiter::default();
        let start = Instant::now();
        written(&mut limiter, 7, FLOOD, start + PERIOD);
        assert_eq!(limiter.take(7, start), None);
        assert_eq!(limiter.take(7, start + PERIOD * 2), Some(996));
    }
}
