//! A length of time as operators write it.

use std::str::FromStr;

use super::error::{Quantity, UnitError};
use super::number::{Number, TIME};

/// A length of time above zero: `20ms`, `500us`, `1.5s`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Interval(u64);

impl Interval {
    /// In nanoseconds.
    #[must_use]
    pub const fn as_nanos(self) -> u64 {
        self.0
    }
}

impl FromStr for Interval {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        let number = Number::parse(Quantity::Interval, text)?;
        let nanos = number.in_units(TIME);
        nanos.ok_or_else(|| number.unknown_unit())?.map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_needs_a_unit_and_is_not_zero() {
        let nanos = |text: &str| text.parse().map(Interval::as_nanos);
        assert_eq!(nanos("20ms"), Ok(20_000_000));
        assert_eq!(nanos("1.5s"), Ok(1_500_000_000));
        for text in ["", "20", "0ms", "-1s", "1min", "0.5ns"] {
            assert!(nanos(text).is_err(), "{text}");
        }
    }
}
