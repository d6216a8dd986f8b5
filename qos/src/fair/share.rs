//! The virtual time that a child's work takes, by its weight.

/// Virtual time of one byte at weight 1, as a shift. With weights up to 2^32, the smallest frame
/// still moves the heaviest child by a thousand steps.
const SCALE: u32 = 36;

/// The inverse weight is `2^63 / weight`; this shift turns its product with bytes into [`SCALE`].
const INVERSE_SHIFT: u32 = 63 - SCALE;

/// Longest virtual time of one step, as a shift: 2^24 bytes at weight 1. So all starts that are
/// compared lie within half of what 64 bits hold, whether they wrap or not.
pub(super) const LONGEST: u32 = 60;

/// Work up to this takes no more than the longest step, at any weight.
const SAFE_WORK: u64 = 1 << (LONGEST - SCALE);

/// A child's part in one tier.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Share {
    /// Virtual time of one quantum: at least 16, since weights have 32 bits, and at most 2^60.
    pub(super) span: u64,
    inverse: u64,
    pub(super) weight: u32,
    /// The least power of two that the span does not exceed.
    pub(super) group: u8,
}

impl Share {
    /// The share of whoever does not wait at all.
    pub(crate) const NONE: Self = Self {
        span: 16,
        inverse: 0,
        weight: 0,
        group: 4,
    };

    /// The share of a weight (at least one) that sends quanta of so many bytes.
    pub(crate) fn new(weight: u32, quantum: u64) -> Self {
        let weight = weight.max(1);
        let inverse = (1 << 63) / u64::from(weight);
        let span = stretch(quantum.max(1), inverse, INVERSE_SHIFT);
        Self {
            span,
            inverse,
            weight,
            group: u8::try_from(u64::BITS - (span - 1).leading_zeros()).unwrap_or(0),
        }
    }

    pub(crate) const fn weight(&self) -> u32 {
        self.weight
    }

    /// Virtual time of `work` bytes. A single step of more than 2^24 bytes at weight 1 counts as that.
    #[inline]
    pub(super) fn cost(&self, work: u64) -> u64 {
        stretch(work, self.inverse, INVERSE_SHIFT)
    }
}

/// `work * inverse >> shift`, at most the longest step.
#[inline]
fn stretch(work: u64, inverse: u64, shift: u32) -> u64 {
    let product = (u128::from(work) * u128::from(inverse)) >> shift;
    // Below 2^60 in this case, with an inverse of at most 2^63.
    #[allow(clippy::cast_possible_truncation)]
    let low = product as u64;
    if work <= SAFE_WORK {
        low
    } else {
        u64::try_from(product).map_or(1 << LONGEST, |time| time.min(1 << LONGEST))
    }
}

/// How fast virtual time goes for a sum of weights.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Pace {
    weights: u64,
    inverse: u64,
    shift: u32,
}

impl Pace {
    /// The upper 32 bits of the sum count, so it is at most 2^-31 too slow, and never too fast: then
    /// nobody goes before its time.
    #[inline]
    fn set(&mut self, weights: u64) {
        let (mut coarse, mut rounded) = (0, weights);
        if weights > u64::from(u32::MAX) {
            coarse = u64::BITS - u32::BITS - weights.leading_zeros();
            rounded = (weights >> coarse) + 1;
        }
        *self = Self {
            weights,
            inverse: (1 << 63) / rounded.max(1),
            shift: INVERSE_SHIFT + coarse,
        };
    }

    /// How far virtual time goes by work that is done for this sum of weights.
    #[inline]
    pub(super) fn progress(&mut self, work: u64, weights: u64) -> u64 {
        if self.weights != weights {
            self.set(weights);
        }
        stretch(work, self.inverse, self.shift)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_is_work_over_weights_and_never_more() {
        let mut pace = Pace::default();
        let large = [
            1 << 33,
            (3 << 50) + 1,
            (1 << 51) + (1 << 20) - 1,
            (1 << 52) - 1,
        ];
        for weights in [1, 3, 1000, u64::from(u32::MAX)].into_iter().chain(large) {
            for work in [1, 84, 1538, 65_536, 1 << 24, 1 << 40, 1 << 60] {
                let exact = (u128::from(work) << SCALE) / u128::from(weights);
                let exact = exact.min(1 << LONGEST);
                let got = u128::from(pace.progress(work, weights));
                assert!(got <= exact, "{work} over {weights}");
                assert!(
                    exact - got <= 1 + (exact >> 30),
                    "{work} over {weights}: {got} of {exact}"
                );
            }
        }
        assert_eq!(pace.progress(u64::MAX, 1), 1 << LONGEST);
    }

    #[test]
    fn a_step_is_never_longer_than_the_longest() {
        let cost = |weight, work| Share::new(weight, 1538).cost(work);
        assert_eq!(cost(1, 1 << 24), 1 << LONGEST);
        assert_eq!(cost(1, 1 << 25), 1 << LONGEST);
        assert_eq!(cost(1, u64::MAX), 1 << LONGEST);
        assert_eq!(cost(1 << 10, 1 << 25), 1 << (SCALE + 15));
    }

    #[test]
    fn every_span_has_a_group() {
        for weight in [0, 1, 7, 1 << 20, u32::MAX] {
            for quantum in [0, 1, 84, 1538, 65_536, u64::MAX] {
                let share = Share::new(weight, quantum);
                assert!((16..=1 << LONGEST).contains(&share.span));
                assert!(share.span <= 1 << share.group && share.span > 1 << (share.group - 1));
            }
        }
    }
}
