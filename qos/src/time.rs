//! Instants and lengths of time, in nanoseconds with a 32-bit binary fraction.
//!
//! A whole nanosecond is too coarse: a minimum frame at 400 Gbit/s lasts 1.68 ns, so rounding each
//! to a nanosecond would miss the rate by up to a fifth. All operations saturate; none can fail.

/// Ticks of 2^-32 ns in one nanosecond, as a shift.
const FRACTION_BITS: u32 = 32;

/// The largest tick count an instant can hold: 96 bits.
const MAX_TICKS: u128 = (1 << 96) - 1;

/// An instant on the caller's monotonic clock: whole nanoseconds since any fixed origin, plus a
/// fraction in units of 2^-32 ns. Lasts 584 years from its origin.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Time {
    nanos: u64,
    fraction: u32,
}

impl Time {
    /// The origin of the clock.
    pub const ZERO: Self = Self::new(0, 0);
    /// The last instant; where additions saturate.
    pub const MAX: Self = Self::new(u64::MAX, u32::MAX);

    /// The instant `nanos` ns and `fraction` x 2^-32 ns after the origin.
    #[must_use]
    pub const fn new(nanos: u64, fraction: u32) -> Self {
        Self { nanos, fraction }
    }

    /// The instant `nanos` ns after the origin, as a clock reads it.
    #[must_use]
    pub const fn from_nanos(nanos: u64) -> Self {
        Self::new(nanos, 0)
    }

    /// Whole nanoseconds since the origin, rounded down.
    #[must_use]
    pub const fn as_nanos(self) -> u64 {
        self.nanos
    }

    /// The part below one nanosecond, in units of 2^-32 ns.
    #[must_use]
    pub const fn fraction(self) -> u32 {
        self.fraction
    }

    /// The first whole nanosecond not before this instant: what to arm a timer with, so that it
    /// never fires early. Saturates in the clock's last nanosecond.
    #[must_use]
    pub fn ceil_nanos(self) -> u64 {
        self.nanos.saturating_add(u64::from(self.fraction != 0))
    }

    /// The instant `span` later, or [`Time::MAX`].
    #[must_use]
    pub fn saturating_add(self, span: Span) -> Self {
        Self::from_ticks(self.ticks().saturating_add(span.0))
    }

    /// The instant `span` earlier, or [`Time::ZERO`].
    #[must_use]
    pub fn saturating_sub(self, span: Span) -> Self {
        Self::from_ticks(self.ticks().saturating_sub(span.0))
    }

    /// How long after `earlier` this is; zero if it is not after it.
    #[must_use]
    pub fn since(self, earlier: Self) -> Span {
        Span(self.ticks().saturating_sub(earlier.ticks()))
    }

    fn ticks(self) -> u128 {
        (u128::from(self.nanos) << FRACTION_BITS) | u128::from(self.fraction)
    }

    /// Both casts keep exactly the bits that the 96-bit bound leaves them.
    #[allow(clippy::cast_possible_truncation)]
    fn from_ticks(ticks: u128) -> Self {
        let ticks = ticks.min(MAX_TICKS);
        Self::new((ticks >> FRACTION_BITS) as u64, ticks as u32)
    }
}

/// A length of time in ticks of 2^-32 ns. Wider than [`Time`], so that a cost of any number of
/// bytes at any rate is a `Span` without overflow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Span(u128);

impl Span {
    /// No time at all.
    pub const ZERO: Self = Self(0);

    /// A span of whole nanoseconds.
    #[must_use]
    pub fn from_nanos(nanos: u64) -> Self {
        Self(u128::from(nanos) << FRACTION_BITS)
    }

    /// A span of `ticks` x 2^-32 ns.
    #[must_use]
    pub const fn from_ticks(ticks: u128) -> Self {
        Self(ticks)
    }

    /// The span in ticks of 2^-32 ns.
    #[must_use]
    pub const fn ticks(self) -> u128 {
        self.0
    }

    /// Whole nanoseconds, rounded down; `u64::MAX` if there are more.
    #[must_use]
    pub fn as_nanos(self) -> u64 {
        u64::try_from(self.0 >> FRACTION_BITS).unwrap_or(u64::MAX)
    }

    /// The sum, or the longest span.
    #[must_use]
    pub fn saturating_add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }

    /// The difference, or zero.
    #[must_use]
    pub fn saturating_sub(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_instant_is_nanoseconds_and_a_fraction() {
        let t = Time::new(7, 9);
        assert_eq!((t.as_nanos(), t.fraction()), (7, 9));
        assert_eq!(t.since(Time::ZERO).as_nanos(), 7);
    }

    #[test]
    fn the_fraction_carries_into_the_nanoseconds() {
        let t = Time::new(7, u32::MAX);
        assert_eq!(t.saturating_add(Span::from_ticks(1)), Time::from_nanos(8));
        assert_eq!(Time::from_nanos(8).saturating_sub(Span::from_ticks(1)), t);
    }

    #[test]
    fn order_is_by_nanoseconds_then_fraction() {
        assert!(Time::new(1, u32::MAX) < Time::new(2, 0));
        assert!(Time::new(2, 0) < Time::new(2, 1));
    }

    #[test]
    fn a_timer_is_armed_no_earlier_than_the_instant() {
        assert_eq!(Time::new(5, 0).ceil_nanos(), 5);
        assert_eq!(Time::new(5, 1).ceil_nanos(), 6);
        assert_eq!(Time::MAX.ceil_nanos(), u64::MAX);
    }

    #[test]
    fn both_ends_of_the_clock_saturate() {
        let all = Span::from_ticks(u128::MAX);
        assert_eq!(Time::MAX.saturating_add(Span::from_ticks(1)), Time::MAX);
        assert_eq!(Time::ZERO.saturating_add(all), Time::MAX);
        assert_eq!(Time::MAX.saturating_sub(all), Time::ZERO);
        assert_eq!(Time::ZERO.since(Time::MAX), Span::ZERO);
        assert_eq!(all.saturating_add(all), all);
        assert_eq!(all.as_nanos(), u64::MAX);
    }

    #[test]
    fn the_difference_of_two_instants_leads_from_one_to_the_other() {
        let (a, b) = (Time::new(3, 9), Time::new(u64::MAX, 4));
        assert_eq!(a.saturating_add(b.since(a)), b);
        assert_eq!(
            Span::from_nanos(u64::MAX).saturating_sub(Span::from_nanos(1)),
            Span::from_nanos(u64::MAX - 1)
        );
    }
}
