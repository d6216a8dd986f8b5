//! How often each length of time occurred, in buckets whose width grows with the value, so that every
//! quantile is right to within a sixty-fourth.

/// Buckets per doubling, as a power of two: each is at most 1/64 of its value wide.
const PRECISION: u32 = 6;

/// A histogram of nanoseconds.
#[derive(Clone, Debug, Default)]
pub(super) struct Histogram {
    counts: Vec<u64>,
    total: u64,
    max: u64,
}

/// Quantiles of a length of time, in nanoseconds. Never understated; overstated by less than 1/64.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Delays {
    /// How many there were.
    pub count: u64,
    /// Half of them were no longer than this.
    pub p50: u64,
    /// All but one in a hundred were no longer than this.
    pub p99: u64,
    /// The longest, exactly.
    pub max: u64,
}

impl Histogram {
    /// Counts `value` as having occurred `times` times.
    pub(super) fn add(&mut self, value: u64, times: u64) {
        let bucket = bucket(value);
        if self.counts.len() <= bucket {
            self.counts.resize(bucket + 1, 0);
        }
        self.counts[bucket] += times;
        self.total += times;
        self.max = self.max.max(value);
    }

    /// Adds another histogram's counts.
    pub(super) fn merge(&mut self, other: &Self) {
        if self.counts.len() < other.counts.len() {
            self.counts.resize(other.counts.len(), 0);
        }
        for (own, more) in self.counts.iter_mut().zip(&other.counts) {
            *own += more;
        }
        self.total += other.total;
        self.max = self.max.max(other.max);
    }

    /// The value that `percent` of all do not exceed.
    fn quantile(&self, percent: u64) -> u64 {
        let rank = (u128::from(self.total) * u128::from(percent)).div_ceil(100);
        let mut seen = 0_u128;
        for (bucket, &count) in self.counts.iter().enumerate() {
            seen += u128::from(count);
            if count > 0 && seen >= rank {
                return highest(bucket).min(self.max);
            }
        }
        self.max
    }

    pub(super) fn delays(&self) -> Delays {
        Delays {
            count: self.total,
            p50: self.quantile(50),
            p99: self.quantile(99),
            max: self.max,
        }
    }
}

/// Values below 2^7 each have a bucket; above, the leading seven bits of a value are its bucket.
fn bucket(value: u64) -> usize {
    let shift = value.max(1).ilog2().saturating_sub(PRECISION);
    ((shift as usize) << PRECISION) + usize::try_from(value >> shift).unwrap_or(0)
}

/// The largest value of a bucket.
fn highest(bucket: usize) -> u64 {
    let above = (bucket >> PRECISION).saturating_sub(1);
    let leading = (bucket - (above << PRECISION)) as u128 + 1;
    u64::try_from((leading << above) - 1).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_lies_in_its_bucket_and_no_bucket_is_wider_than_a_64th() {
        let edges = (0..64).flat_map(|bit| [(1_u64 << bit) - 1, 1 << bit, (1 << bit) + 1]);
        for value in edges.chain(0..2000).chain([u64::MAX]) {
            let top = highest(bucket(value));
            assert!(top >= value, "{value}: {top}");
            assert!(top - value <= value / 64, "{value}: {top}");
            assert!(bucket(value) == 0 || highest(bucket(value) - 1) < value);
        }
    }

    #[test]
    fn quantiles_are_those_of_the_values() {
        let mut histogram = Histogram::default();
        assert_eq!(histogram.delays(), Delays::default());
        for value in 1..=100 {
            histogram.add(value, 1);
        }
        let delays = histogram.delays();
        assert_eq!((delays.p50, delays.p99, delays.max), (50, 99, 100));
        let mut more = Histogram::default();
        more.add(1_000_000, 100);
        more.merge(&histogram);
        let delays = more.delays();
        assert_eq!((delays.count, delays.p50), (200, 100));
        assert!((1_000_000..1_016_000).contains(&delays.p99));
    }
}
