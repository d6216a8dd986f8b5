//! How long frames waited, in few buckets.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Upper bounds of the buckets but the last, in nanoseconds, each twice to five times the one before.
pub const BOUNDS: [u64; 11] = [
    10_000,
    50_000,
    100_000,
    500_000,
    1_000_000,
    2_000_000,
    5_000_000,
    10_000_000,
    50_000_000,
    200_000_000,
    1_000_000_000,
];

/// Waits, counted in buckets: up to each of [`BOUNDS`], and above the last.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub struct Histogram {
    /// How many waits fell into each bucket, and not into one before.
    pub counts: [u64; BOUNDS.len() + 1],
    /// All waits together.
    pub sum_nanos: u64,
}

impl Histogram {
    /// Counts one wait.
    #[inline]
    pub fn add(&mut self, nanos: u64) {
        let bucket = BOUNDS.iter().take_while(|bound| nanos > **bound).count();
        if let Some(count) = self.counts.get_mut(bucket) {
            *count = count.wrapping_add(1);
        }
        self.sum_nanos = self.sum_nanos.wrapping_add(nanos);
    }

    /// Counts as many as did not wait.
    pub fn add_none(&mut self, count: u64) {
        if let Some(first) = self.counts.first_mut() {
            *first = first.wrapping_add(count);
        }
    }

    /// Adds those of another one.
    pub fn merge(&mut self, other: &Self) {
        for (count, more) in self.counts.iter_mut().zip(other.counts) {
            *count = count.wrapping_add(more);
        }
        self.sum_nanos = self.sum_nanos.wrapping_add(other.sum_nanos);
    }

    /// What has come since an earlier state of it.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        let mut since = *self;
        for (count, before) in since.counts.iter_mut().zip(earlier.counts) {
            *count = count.wrapping_sub(before);
        }
        since.sum_nanos = since.sum_nanos.wrapping_sub(earlier.sum_nanos);
        since
    }

    /// How many there are.
    #[must_use]
    pub fn total(&self) -> u64 {
        let sum = |sum: u64, count: &u64| sum.wrapping_add(*count);
        self.counts.iter().fold(0, sum)
    }

    /// The bound, in nanoseconds, below which `percent` of the waits were; none if there were none, or if
    /// it is above the last bound.
    #[must_use]
    pub fn percentile(&self, percent: u8) -> Option<u64> {
        let total = u128::from(self.total());
        if total == 0 {
            return None;
        }
        let wanted = (total * u128::from(percent)).div_ceil(100);
        let mut below = 0_u128;
        for (bound, count) in BOUNDS.iter().zip(self.counts) {
            below += u128::from(count);
            if below >= wanted {
                return Some(*bound);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_is_in_the_bucket_of_the_next_bound() {
        let mut histogram = Histogram::default();
        for nanos in [
            0,
            10_000,
            10_001,
            1_000_000_000,
            1_000_000_001,
            u64::MAX / 2,
        ] {
            histogram.add(nanos);
        }
        assert_eq!(histogram.counts, [2, 1, 0, 0, 0, 0, 0, 0, 0, 0, 1, 2]);
        assert_eq!(histogram.total(), 6);
    }

    #[test]
    fn percentiles_are_bounds_and_none_beyond_the_last() {
        let mut histogram = Histogram::default();
        assert_eq!(histogram.percentile(99), None);
        for _ in 0..99 {
            histogram.add(40_000);
        }
        histogram.add(2_000_000_000);
        assert_eq!(histogram.percentile(50), Some(50_000));
        assert_eq!(histogram.percentile(99), Some(50_000));
        assert_eq!(histogram.percentile(100), None);
    }

    #[test]
    fn what_came_since_is_the_difference() {
        let mut histogram = Histogram::default();
        histogram.add(20_000);
        let earlier = histogram;
        histogram.add(3_000_000);
        let mut only = Histogram::default();
        only.add(3_000_000);
        assert_eq!(histogram.since(&earlier), only);
        let mut both = earlier;
        both.merge(&only);
        assert_eq!(both, histogram);
    }
}
