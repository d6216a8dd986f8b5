//! Bits per second.

use std::fmt;
use std::num::NonZeroU64;
use std::str::FromStr;

use super::error::{Quantity, UnitError};
use super::number::{Number, Units, display};
use crate::inverse::Inverse;

/// tc's rate units in bit/s. `bps` and its multiples are bytes per second there, and so here.
const TC_UNITS: &Units = &[
    ("", 1),
    ("bit", 1),
    ("kbit", 1_000),
    ("mbit", 1_000_000),
    ("gbit", 1_000_000_000),
    ("tbit", 1_000_000_000_000),
    ("kibit", 1 << 10),
    ("mibit", 1 << 20),
    ("gibit", 1 << 30),
    ("tibit", 1 << 40),
    ("bps", 8),
    ("kbps", 8_000),
    ("mbps", 8_000_000),
    ("gbps", 8_000_000_000),
    ("tbps", 8_000_000_000_000),
    ("kibps", 8 << 10),
    ("mibps", 8 << 20),
    ("gibps", 8 << 30),
    ("tibps", 8 << 40),
];

/// xl's multiples (powers of ten) before `b/s` or `B/s`.
const XL_MULTIPLES: &Units = &[
    ("", 1),
    ("k", 1_000),
    ("m", 1_000_000),
    ("g", 1_000_000_000),
];

/// What tc prints, largest first.
const DISPLAY: &Units = &[
    ("Tbit", 1_000_000_000_000),
    ("Gbit", 1_000_000_000),
    ("Mbit", 1_000_000),
    ("Kbit", 1_000),
    ("bit", 1),
];

/// Ticks of 2^-32 ns that a byte takes at 1 bit/s.
const BYTE_AT_ONE_BIT: u128 = 8_000_000_000 << 32;

/// A rate in bits per second, from 8 bit/s (a byte a second) to 32 Tbit/s.
///
/// Read from tc's spellings (`10mbit`, `10mibit`, `10mbps` for **bytes**, a bare number in bit/s),
/// and from xl's without interval (`10Mb/s` bits, `10MB/s` bytes). Printed as tc does (`10Mbit`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Rate(NonZeroU64);

impl Rate {
    /// The slowest rate, 8 bit/s.
    pub const MIN: Self = Self(NonZeroU64::MIN.saturating_add(7));
    /// The fastest rate, 32 Tbit/s: up to here rounding the time of a byte costs less than one
    /// millionth of the rate.
    pub const MAX: Self = Self(NonZeroU64::MIN.saturating_add(31_999_999_999_999));

    /// The rate of `bits` per second, or `None` outside [`Rate::MIN`] to [`Rate::MAX`].
    #[must_use]
    pub fn from_bits_per_second(bits: u64) -> Option<Self> {
        let rate = Self(NonZeroU64::new(bits)?);
        (Self::MIN..=Self::MAX).contains(&rate).then_some(rate)
    }

    /// The rate in bit/s.
    #[must_use]
    pub const fn bits_per_second(self) -> u64 {
        self.0.get()
    }

    /// The time of one byte.
    #[must_use]
    pub fn inverse(self) -> Inverse {
        Inverse::of(BYTE_AT_ONE_BIT, self.0)
    }

    /// Bytes that pass in `nanos` ns, rounded down; saturates.
    #[must_use]
    pub fn bytes_in(self, nanos: u64) -> u64 {
        let bits = u128::from(self.0.get()).saturating_mul(u128::from(nanos));
        u64::try_from(bits / 8_000_000_000).unwrap_or(u64::MAX)
    }
}

impl FromStr for Rate {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        let number = Number::parse(Quantity::Rate, text)?;
        let bits = match number.unit.strip_suffix("/s") {
            Some(unit) => xl_bits(&number, unit),
            None => number.in_units(TC_UNITS),
        };
        let bits = bits.ok_or_else(|| number.unknown_unit())??;
        Self::from_bits_per_second(bits).ok_or_else(|| number.out_of_range())
    }
}

/// Bit/s of an xl rate whose unit, less `/s`, is `unit`: here alone capitals matter.
fn xl_bits(number: &Number<'_>, unit: &str) -> Option<Result<u64, UnitError>> {
    let (multiple, bits) = match unit.strip_suffix('b') {
        Some(multiple) => (multiple, 1),
        None => (unit.strip_suffix('B')?, 8_u64),
    };
    let of = |(name, _): &&(&str, u64)| name.eq_ignore_ascii_case(multiple);
    let &(_, scale) = XL_MULTIPLES.iter().find(of)?;
    Some(number.scaled(scale.saturating_mul(bits)))
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (value, unit) = display(self.0.get(), DISPLAY);
        write!(f, "{value}{unit}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bits(text: &str) -> u64 {
        text.parse::<Rate>().unwrap().bits_per_second()
    }

    #[test]
    fn tc_spellings_mean_what_tc_means() {
        assert_eq!(bits("10mbit"), 10_000_000);
        assert_eq!(bits("10Mbit"), 10_000_000);
        assert_eq!(bits("1gbit"), 1_000_000_000);
        assert_eq!(bits("10mibit"), 10 << 20);
        assert_eq!(bits("1000000"), 1_000_000);
        assert_eq!(bits("10mbps"), 80_000_000);
        assert_eq!(bits("20kbps"), 160_000);
        assert_eq!(bits("1MiBps"), 8 << 20);
        assert_eq!(bits("1.6tbit"), 1_600_000_000_000);
        assert_eq!(bits("1.5gbit"), 1_500_000_000);
        assert_eq!(bits("0.000001gbit"), 1_000);
        assert_eq!(bits(" 8bit "), 8);
    }

    #[test]
    fn xl_spellings_tell_bits_from_bytes_by_the_letter() {
        assert_eq!(bits("10Mb/s"), 10_000_000);
        assert_eq!(bits("10MB/s"), 80_000_000);
        assert_eq!(bits("250KB/s"), 2_000_000);
        assert_eq!(bits("1Gb/s"), 1_000_000_000);
        assert_eq!(bits("800b/s"), 800);
    }

    #[test]
    fn what_is_not_a_rate_is_refused() {
        let is = |text: &str, want: fn(&UnitError) -> bool| {
            let error = text.parse::<Rate>().unwrap_err();
            assert!(want(&error), "{text}: {error:?}");
        };
        for text in ["", "  "] {
            is(text, |e| matches!(e, UnitError::Empty { .. }));
        }
        for text in ["0", "0.0mbit", "0kbps"] {
            is(text, |e| matches!(e, UnitError::Zero { .. }));
        }
        for text in [
            "mbit",
            "+5",
            ".5gbit",
            "1.mbit",
            "1..5",
            "1.2.3mbit",
            "inf",
            "٣mbit",
        ] {
            is(text, |e| matches!(e, UnitError::NotANumber { .. }));
        }
        for text in [
            "10mb", "10mbits", "10 mbit", "1e6", "10%", "10xb/s", "10/s", "1m", "5µbit",
        ] {
            is(text, |e| matches!(e, UnitError::UnknownUnit { .. }));
        }
        for text in ["1.5bit", "0.3bps", "1.0000000000000000001gbit"] {
            is(text, |e| matches!(e, UnitError::NotWhole { .. }));
        }
        let long = "9".repeat(60);
        for text in ["7", "33tbit", "5tbps", "18446744073709551616", &long] {
            is(text, |e| matches!(e, UnitError::OutOfRange { .. }));
        }
        is("-1mbit", |e| matches!(e, UnitError::Negative { .. }));
    }

    #[test]
    fn printing_is_tc_style() {
        let print = |text: &str| text.parse::<Rate>().unwrap().to_string();
        assert_eq!(print("20000"), "20Kbit");
        assert_eq!(print("1.5gbit"), "1500Mbit");
        assert_eq!(print("10mibit"), "10485760bit");
        assert_eq!(print("1tbit"), "1Tbit");
    }

    #[test]
    fn the_limits_are_what_their_names_say() {
        assert_eq!(Rate::MIN.to_string(), "8bit");
        assert_eq!(Rate::MAX.to_string(), "32Tbit");
    }
}
