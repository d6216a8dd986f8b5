//! How far ahead of its rate a stream may run.

use std::fmt;
use std::str::FromStr;

use super::AUTO_BURST_NANOS;
use super::error::{Quantity, UnitError};
use super::number::{Number, TIME, Units, display};
use super::rate::Rate;
use crate::time::Span;

/// tc's size units in bytes: all powers of 1024, bits included.
const SIZE: &Units = &[
    ("", 1),
    ("b", 1),
    ("k", 1 << 10),
    ("kb", 1 << 10),
    ("m", 1 << 20),
    ("mb", 1 << 20),
    ("g", 1 << 30),
    ("gb", 1 << 30),
    ("kbit", 1 << 7),
    ("mbit", 1 << 17),
    ("gbit", 1 << 27),
];

/// What tc prints, largest first.
const DISPLAY: &Units = &[("Gb", 1 << 30), ("Mb", 1 << 20), ("Kb", 1 << 10), ("b", 1)];

/// How many bytes may go at once after a pause, beyond the one unit that may always go.
///
/// Read from `auto`, tc's sizes (`15k`, `32kb`, `1mb`, `1600b`, `8kbit`, a bare number in bytes)
/// and times (`2ms`, `500us`, `1s`). Printed so that it reads back as the same value.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Burst {
    /// What 2 ms at the rate carry, but at least one full-size frame.
    ///
    /// The frame is one of MTU size even where super-frames of 64 KiB pass. A limit needs no
    /// credit to let a large unit go (it becomes debt), so a burst of that size would not help
    /// them; it would only add another 64 KiB to what a stream may be ahead, which at 10 Mbit/s
    /// over five seconds is one percent.
    #[default]
    Auto,
    /// This many wire bytes.
    Bytes(u64),
    /// What this many nanoseconds at the rate carry.
    Duration(u64),
}

impl Burst {
    /// The burst as time at `rate`: how far a limit's theoretical arrival time may run ahead.
    /// `unit_wire_bytes` is what one full-size frame costs.
    #[must_use]
    pub fn tolerance(self, rate: Rate, unit_wire_bytes: u64) -> Span {
        match self {
            Self::Auto => {
                let unit = rate.inverse().cost(unit_wire_bytes);
                unit.max(Span::from_nanos(AUTO_BURST_NANOS))
            }
            Self::Bytes(bytes) => rate.inverse().cost(bytes),
            Self::Duration(nanos) => Span::from_nanos(nanos),
        }
    }
}

impl FromStr for Burst {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        if text.trim().eq_ignore_ascii_case("auto") {
            return Ok(Self::Auto);
        }
        let number = Number::parse(Quantity::Burst, text)?;
        if let Some(bytes) = number.in_units(SIZE) {
            return bytes.map(Self::Bytes);
        }
        let nanos = number.in_units(TIME);
        nanos
            .ok_or_else(|| number.unknown_unit())?
            .map(Self::Duration)
    }
}

impl fmt::Display for Burst {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (value, unit) = match *self {
            Self::Auto => return f.write_str("auto"),
            Self::Bytes(bytes) => display(bytes, DISPLAY),
            Self::Duration(nanos) => display(nanos, TIME),
        };
        write!(f, "{value}{unit}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_powers_of_1024_as_in_tc() {
        let bytes = |text: &str| match text.parse::<Burst>().unwrap() {
            Burst::Bytes(bytes) => bytes,
            other => panic!("{other:?}"),
        };
        assert_eq!(bytes("15k"), 15 << 10);
        assert_eq!(bytes("32kb"), 32 << 10);
        assert_eq!(bytes("1mb"), 1 << 20);
        assert_eq!(bytes("1600b"), 1600);
        assert_eq!(bytes("1600"), 1600);
        assert_eq!(bytes("8kbit"), 1024);
        assert_eq!(bytes("0.5k"), 512);
    }

    #[test]
    fn times_are_bursts_too() {
        assert_eq!("2ms".parse(), Ok(Burst::Duration(2_000_000)));
        assert_eq!("500us".parse(), Ok(Burst::Duration(500_000)));
        assert_eq!("1s".parse(), Ok(Burst::Duration(1_000_000_000)));
        assert_eq!("AUTO".parse(), Ok(Burst::Auto));
    }

    #[test]
    fn what_is_not_a_burst_is_refused() {
        for text in [
            "",
            "0",
            "0ms",
            "-1k",
            "1min",
            "k",
            "0.3b",
            "99999999999g",
            "15kB/s",
        ] {
            assert!(text.parse::<Burst>().is_err(), "{text}");
        }
    }

    #[test]
    fn printing_uses_the_largest_exact_unit() {
        assert_eq!(Burst::Bytes(15 << 10).to_string(), "15Kb");
        assert_eq!(Burst::Bytes(1600).to_string(), "1600b");
        assert_eq!(Burst::Duration(2_000_000).to_string(), "2ms");
        assert_eq!(Burst::Auto.to_string(), "auto");
    }

    #[test]
    fn auto_is_two_milliseconds_or_one_frame() {
        let tolerance = |rate: &str| Burst::Auto.tolerance(rate.parse().unwrap(), 1538);
        assert_eq!(tolerance("1gbit"), Span::from_nanos(2_000_000));
        assert_eq!(tolerance("1mbit"), Span::from_nanos(1538 * 8000));
    }
}
