//! The generic cell rate algorithm (ITU-T I.371, virtual scheduling form): one limit, kept as one
//! instant. No refill step, hence no refill rounding and no timer per bucket.

use crate::inverse::Inverse;
use crate::time::{Span, Time};

/// The longest burst that is told from an endless one, 292 years: half of what the clock lasts, so that in
/// the other half it can be spent as well as full.
pub(crate) const LONGEST_BURST: Span = Span::from_ticks(1 << 95);

/// A limit on units (bytes or segments) per time.
///
/// The state is the theoretical arrival time `tat`: when everything sent so far would have been
/// sent at exactly the rate. The limit is open while `tat <= now + tolerance`, where the tolerance
/// is the burst as time. A unit of any size may go while it is open; what it takes beyond the
/// credit is debt, worked off before the limit opens again. So in every window of length `t` at
/// most `t / inverse + tolerance / inverse + one unit` pass.
///
/// Call order: [`ready`](Self::ready), then deliver, then [`commit`](Self::commit); when not
/// ready, [`next_wake`](Self::next_wake). `now` should not go backwards; if it does nothing is
/// minted, since `tat` never moves back: the limit just behaves as it did at the latest commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gcra {
    inverse: Inverse,
    tolerance: Span,
    tat: Time,
}

impl Gcra {
    /// A limit with its whole burst to spend. One of more than 292 years counts as that, here and below.
    #[must_use]
    pub fn new(inverse: Inverse, tolerance: Span) -> Self {
        Self {
            inverse,
            tolerance: tolerance.min(LONGEST_BURST),
            tat: Time::ZERO,
        }
    }

    /// A limit with its burst spent at `now`: open for one unit, then for what the rate earns. For
    /// a limit put on live traffic, so that taking it off and on again gives nothing away.
    #[must_use]
    pub fn spent(inverse: Inverse, tolerance: Span, now: Time) -> Self {
        let tolerance = tolerance.min(LONGEST_BURST);
        Self {
            inverse,
            tolerance,
            tat: now.saturating_add(tolerance),
        }
    }

    /// A limit kept elsewhere as its terms and its arrival time.
    pub(crate) const fn resume(inverse: Inverse, tolerance: Span, tat: Time) -> Self {
        Self {
            inverse,
            tolerance,
            tat,
        }
    }

    /// The theoretical arrival time: the whole state of a limit.
    pub(crate) const fn arrival(&self) -> Time {
        self.tat
    }

    /// Whether a unit, of any size, may go at `now`.
    #[must_use]
    pub fn ready(&self, now: Time) -> bool {
        self.tat <= now.saturating_add(self.tolerance)
    }

    /// Charges `units` that went at `now`, whether or not the limit was open.
    ///
    /// Returns how long the limit had then been idle with its bucket full: credit that could not be
    /// kept. If something was waiting all that time, this is rate lost to a poll that came later
    /// than the tolerance allows.
    pub fn commit(&mut self, now: Time, units: u64) -> Span {
        let idle = now.since(self.tat);
        self.tat = self.tat.max(now).saturating_add(self.inverse.cost(units));
        idle
    }

    /// When the limit opens: `None` if it is open at `now`, otherwise an instant after `now` at
    /// which it is open and just before which it is not.
    #[must_use]
    pub fn next_wake(&self, now: Time) -> Option<Time> {
        // Closed means tat > now + tolerance, so the difference lies after `now`.
        (!self.ready(now)).then(|| self.tat.saturating_sub(self.tolerance))
    }

    /// Changes rate and burst at `now`. Credit and debt keep their size in units, rounded against
    /// the sender by less than a tick's worth; credit beyond the new burst is cut, and a larger
    /// burst has to be earned.
    pub fn retune(&mut self, inverse: Inverse, tolerance: Span, now: Time) {
        let tolerance = tolerance.min(LONGEST_BURST);
        let (old, full) = (self.inverse, now.saturating_add(self.tolerance));
        let tat = self.tat.max(now);
        let new_full = now.saturating_add(tolerance);
        self.tat = if tat <= full {
            let credit = old.convert(full.since(tat), inverse, false);
            new_full.saturating_sub(credit.min(tolerance))
        } else {
            new_full.saturating_add(old.convert(tat.since(full), inverse, true))
        };
        self.inverse = inverse;
        self.tolerance = tolerance;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::{Burst, Rate};

    fn inverse(spelling: &str) -> Inverse {
        spelling.parse::<Rate>().unwrap().inverse()
    }

    /// 1 ns per byte, with a burst of `bytes`.
    fn byte_per_ns(bytes: u64) -> Gcra {
        Gcra::new(inverse("8gbit"), Span::from_nanos(bytes))
    }

    fn at(nanos: u64) -> Time {
        Time::from_nanos(nanos)
    }

    /// How many one-byte units pass at `now`.
    fn drain(gcra: &mut Gcra, now: Time) -> u64 {
        let mut sent = 0;
        while gcra.ready(now) {
            gcra.commit(now, 1);
            sent += 1;
        }
        sent
    }

    #[test]
    fn a_burst_and_one_unit_pass_at_once_and_then_the_rate() {
        let mut gcra = byte_per_ns(10);
        assert_eq!(drain(&mut gcra, at(1000)), 11);
        assert_eq!(gcra.next_wake(at(1000)), Some(at(1001)));
        assert_eq!(drain(&mut gcra, at(1005)), 5);
    }

    #[test]
    fn an_oversize_unit_goes_and_becomes_debt() {
        let mut gcra = byte_per_ns(10);
        gcra.commit(at(0), 100_000);
        assert_eq!(gcra.next_wake(at(0)), Some(at(100_000 - 10)));
    }

    #[test]
    fn a_debt_below_one_nanosecond_still_gets_a_wake() {
        let mut gcra = Gcra::new(inverse("1.6tbit"), Span::ZERO);
        gcra.commit(at(5), 1);
        let wake = gcra.next_wake(at(5)).unwrap();
        assert!(wake > at(5) && wake < at(6));
        assert!(gcra.ready(wake) && gcra.ready(at(wake.ceil_nanos())));
        assert!(!gcra.ready(wake.saturating_sub(Span::from_ticks(1))));
    }

    #[test]
    fn a_clock_that_steps_back_mints_nothing() {
        let mut gcra = byte_per_ns(10);
        drain(&mut gcra, at(1000));
        assert!(!gcra.ready(at(1)));
        assert_eq!(gcra.next_wake(at(1)), Some(at(1001)));
        gcra.commit(at(1), 5);
        assert_eq!(gcra.next_wake(at(1000)), Some(at(1006)));
    }

    #[test]
    fn commit_tells_how_long_the_full_bucket_overflowed() {
        let mut gcra = byte_per_ns(10);
        gcra.commit(at(100), 20);
        assert_eq!(gcra.commit(at(120), 1), Span::ZERO);
        assert_eq!(gcra.commit(at(150), 1), Span::from_nanos(29));
    }

    #[test]
    fn a_larger_burst_has_to_be_earned() {
        let mut gcra = byte_per_ns(10);
        drain(&mut gcra, at(1000));
        gcra.retune(inverse("8gbit"), Span::from_nanos(500), at(1000));
        assert_eq!(drain(&mut gcra, at(1000)), 0);
        assert_eq!(drain(&mut gcra, at(1100)), 100);
    }

    #[test]
    fn a_smaller_burst_cuts_the_credit() {
        let mut gcra = byte_per_ns(500);
        gcra.retune(inverse("8gbit"), Span::from_nanos(10), at(1000));
        assert_eq!(drain(&mut gcra, at(1000)), 11);
    }

    #[test]
    fn debt_in_bytes_survives_a_change_of_rate() {
        let mut gcra = byte_per_ns(0);
        gcra.commit(at(0), 1000);
        gcra.retune(inverse("4gbit"), Span::ZERO, at(400));
        assert_eq!(gcra.next_wake(at(400)), Some(at(400 + 600 * 2)));
    }

    #[test]
    fn retuning_to_the_same_values_changes_nothing() {
        let rate: Rate = "33333333bit".parse().unwrap();
        let tolerance = Burst::Bytes(12_345).tolerance(rate, 1538);
        let mut gcra = Gcra::new(rate.inverse(), tolerance);
        for step in 0..50 {
            gcra.commit(at(step * 1_000_003), 1538);
            let before = gcra.clone();
            gcra.retune(rate.inverse(), tolerance, at(step * 1_000_003));
            assert_eq!(gcra, before);
        }
    }

    #[test]
    fn a_limit_put_on_live_traffic_starts_with_its_burst_spent() {
        let mut gcra = Gcra::spent(inverse("8gbit"), Span::from_nanos(500), at(1000));
        assert_eq!(drain(&mut gcra, at(1000)), 1);
    }

    #[test]
    fn a_burst_of_centuries_can_be_spent_as_well() {
        let now = at(1_000_000_000_000);
        for tolerance in [1 << 90, 1 << 95, 1 << 100, u128::MAX].map(Span::from_ticks) {
            let mut gcra = Gcra::spent(inverse("8bit"), tolerance, now);
            assert_eq!(drain(&mut gcra, now), 1);
            assert_eq!(drain(&mut gcra, at(1_005_000_000_000)), 5);
            let mut gcra = byte_per_ns(0);
            gcra.retune(inverse("8bit"), tolerance, now);
            assert_eq!(drain(&mut gcra, now), 1);
        }
    }

    #[test]
    fn the_end_of_the_clock_and_endless_debt_are_survived() {
        let mut gcra = Gcra::new(inverse("8bit"), Span::ZERO);
        gcra.commit(at(u64::MAX), u64::MAX);
        let wake = gcra.next_wake(at(u64::MAX)).unwrap();
        assert!(wake > at(u64::MAX) && gcra.ready(wake));
        gcra.commit(Time::MAX, u64::MAX);
        assert!(gcra.ready(Time::MAX));
        gcra.retune(inverse("32tbit"), Span::from_ticks(u128::MAX), Time::MAX);
        gcra.retune(inverse("8bit"), Span::ZERO, at(0));
        assert!(gcra.next_wake(at(0)).is_none_or(|wake| gcra.ready(wake)));
    }
}
