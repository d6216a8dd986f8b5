//! Limits in the form in which a tree keeps very many of them: the terms shared by all classes of
//! equal settings, the state one number per class.

use crate::gcra::{Gcra, LONGEST_BURST};
use crate::inverse::Inverse;
use crate::time::{Span, Time};

/// The state of a [`Gcra`] in ticks of 2^-32 ns since the origin of the clock; at most the end of the
/// clock.
pub(crate) type Arrival = u128;

/// Rate and burst of a limit. The arithmetic is [`Gcra`]'s, on plain ticks: sums of a few 96-bit
/// numbers, which cannot overflow 128 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Terms {
    /// Ticks per unit, Q32.32 ns; zero for no limit.
    inverse: u64,
    tolerance: u128,
}

/// A time as ticks.
pub(crate) fn ticks(time: Time) -> u128 {
    time.since(Time::ZERO).ticks()
}

/// Units that one charge counts at most: beyond, no debt is ever worked off.
const MOST_UNITS: u64 = 1 << 48;

impl Terms {
    /// No limit: nothing costs anything, and everything is tolerated.
    pub(crate) const UNLIMITED: Self = Self {
        inverse: 0,
        tolerance: 1 << 97,
    };

    pub(crate) fn new(inverse: Inverse, tolerance: Span) -> Self {
        Self {
            inverse: inverse.ticks_per_unit().get(),
            tolerance: tolerance.min(LONGEST_BURST).ticks(),
        }
    }

    pub(crate) const fn is_limit(&self) -> bool {
        self.inverse != 0
    }

    #[inline]
    fn cost(&self, units: u64) -> u128 {
        // 64 x 64 bits: nothing wraps.
        u128::from(units).wrapping_mul(u128::from(self.inverse))
    }

    /// Whether a unit, of any size, may go at `now`.
    #[inline]
    pub(crate) const fn ready(&self, arrival: Arrival, now: u128) -> bool {
        // Below 2^96 and at most 2^97.
        arrival <= now.wrapping_add(self.tolerance)
    }

    /// Whether the limit is still open after this many units.
    #[inline]
    pub(crate) fn fits(&self, arrival: Arrival, now: u128, units: u64) -> bool {
        // As below; a cost of 2^127 would be one of 2^63 units at 2^64 ticks each.
        let end = arrival
            .max(now)
            .wrapping_add(self.cost(units.min(MOST_UNITS)));
        end <= now.wrapping_add(self.tolerance)
    }

    /// The state after units that went at `now`, when the limit was open.
    #[inline]
    pub(crate) fn charged(&self, arrival: Arrival, now: u128, units: u64) -> Arrival {
        // Open, so the arrival is at most 2^97 past now; and 2^48 units cost less than 2^112.
        arrival
            .max(now)
            .wrapping_add(self.cost(units.min(MOST_UNITS)))
    }

    /// Half of the burst, as time.
    pub(crate) const fn half_burst(&self) -> u128 {
        self.tolerance / 2
    }

    /// When the limit opens.
    pub(crate) fn opens(&self, arrival: Arrival) -> Time {
        Time::ZERO.saturating_add(Span::from_ticks(arrival.saturating_sub(self.tolerance)))
    }

    /// The state of a limit that had other terms: credit and debt keep their size in units, and a
    /// limit that is new starts with its burst spent.
    pub(crate) fn carried_over(&self, arrival: Arrival, old: Self, now: Time) -> Arrival {
        let resume = |terms: &Self| {
            let inverse = Inverse::from_ticks(terms.inverse)?;
            let tolerance = Span::from_ticks(terms.tolerance);
            let arrival = Time::ZERO.saturating_add(Span::from_ticks(arrival));
            Some((inverse, tolerance, arrival))
        };
        let Some((inverse, tolerance, _)) = resume(self) else {
            return 0;
        };
        let limit = match resume(&old) {
            Some(_) if old == *self => return arrival,
            Some((old_inverse, old_tolerance, at)) => {
                let mut limit = Gcra::resume(old_inverse, old_tolerance, at);
                limit.retune(inverse, tolerance, now);
                limit
            }
            None => Gcra::spent(inverse, tolerance, now),
        };
        ticks(limit.arrival())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::Rate;

    #[test]
    fn terms_and_state_do_what_the_limit_does() {
        let mut state = 7_u64;
        let mut random = || {
            state = state.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
            state >> 20
        };
        for rate in ["8bit", "33333333", "32tbit"] {
            let rate: Rate = rate.parse().unwrap();
            let tolerance = Span::from_nanos(random() % 1_000_000);
            let terms = Terms::new(rate.inverse(), tolerance);
            let mut limit = Gcra::new(rate.inverse(), tolerance);
            let mut arrival = 0;
            let mut now = Time::ZERO;
            for _ in 0..2000 {
                now = now.saturating_add(Span::from_ticks((random() << (random() % 12)).into()));
                assert_eq!(terms.ready(arrival, ticks(now)), limit.ready(now));
                if let Some(wake) = limit.next_wake(now)
                    && limit.arrival() < Time::MAX
                {
                    assert_eq!(terms.opens(arrival), wake);
                }
                let units = random() >> (random() % 40);
                let mut after = limit.clone();
                after.commit(now, units);
                assert_eq!(terms.fits(arrival, ticks(now), units), after.ready(now));
                if limit.ready(now) {
                    limit = after;
                    arrival = terms.charged(arrival, ticks(now), units);
                    assert_eq!(arrival.min(ticks(Time::MAX)), ticks(limit.arrival()));
                }
            }
        }
    }

    #[test]
    fn no_limit_never_closes() {
        let terms = Terms::UNLIMITED;
        assert!(!terms.is_limit());
        let arrival = terms.charged(ticks(Time::MAX), 0, u64::MAX);
        assert!(terms.ready(arrival, 0) && terms.fits(arrival, 0, u64::MAX));
        assert_eq!(terms.opens(arrival), Time::ZERO);
    }

    #[test]
    fn debt_keeps_its_size_when_the_terms_change() {
        let [fast, slow] = ["8gbit", "4gbit"].map(|rate| rate.parse::<Rate>().unwrap().inverse());
        let (old, new) = (
            Terms::new(fast, Span::from_nanos(1000)),
            Terms::new(slow, Span::ZERO),
        );
        // 600 bytes, of one nanosecond each and then of two.
        let arrival = ticks(Time::from_nanos(5000 + 1000 + 600));
        let arrival = new.carried_over(arrival, old, Time::from_nanos(5000));
        assert_eq!(arrival, ticks(Time::from_nanos(5000 + 1200)));
    }

    #[test]
    fn taking_a_limit_off_and_on_gives_no_burst() {
        let rate: Rate = "8gbit".parse().unwrap();
        let terms = Terms::new(rate.inverse(), Span::from_nanos(1000));
        assert!(terms.is_limit());
        let now = Time::from_nanos(5000);
        assert_eq!(Terms::UNLIMITED.carried_over(9, terms, now), 0);
        let arrival = terms.carried_over(0, Terms::UNLIMITED, now);
        assert!(terms.ready(arrival, ticks(now)) && !terms.fits(arrival, ticks(now), 1));
        assert_eq!(terms.carried_over(arrival, terms, Time::MAX), arrival);
    }
}
