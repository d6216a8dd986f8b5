//! Segments per second, and how far ahead of that a stream may run.

use std::fmt;
use std::num::NonZeroU64;
use std::str::FromStr;

use super::AUTO_BURST_NANOS;
use super::error::{Quantity, UnitError};
use super::number::{Number, TIME, Units, display};
use crate::inverse::Inverse;
use crate::time::Span;

/// Multiples of a packet rate, largest first; the bare number comes last so that it is not printed.
const UNITS: &Units = &[
    ("gpps", 1_000_000_000),
    ("mpps", 1_000_000),
    ("kpps", 1_000),
    ("pps", 1),
    ("", 1),
];

/// Ticks of 2^-32 ns that a segment takes at one per second.
const SEGMENT_AT_ONE: u128 = 1_000_000_000 << 32;

/// A rate in segments per second (frames on the wire), from 1 to 10^12.
///
/// Read from a bare number or `pps`, `kpps`, `mpps`, `gpps`; printed as `100kpps`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PacketRate(NonZeroU64);

impl PacketRate {
    /// The slowest packet rate, one segment per second.
    pub const MIN: Self = Self(NonZeroU64::MIN);
    /// The fastest packet rate, 10^12 segments per second: up to here rounding costs less than
    /// one millionth.
    pub const MAX: Self = Self(NonZeroU64::MIN.saturating_add(999_999_999_999));

    /// The rate of `segments` per second, or `None` outside [`PacketRate::MIN`] to
    /// [`PacketRate::MAX`].
    #[must_use]
    pub fn from_segments_per_second(segments: u64) -> Option<Self> {
        let rate = Self(NonZeroU64::new(segments)?);
        (rate <= Self::MAX).then_some(rate)
    }

    /// The rate in segments per second.
    #[must_use]
    pub const fn segments_per_second(self) -> u64 {
        self.0.get()
    }

    /// The time of one segment.
    #[must_use]
    pub fn inverse(self) -> Inverse {
        Inverse::of(SEGMENT_AT_ONE, self.0)
    }
}

impl FromStr for PacketRate {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        let number = Number::parse(Quantity::PacketRate, text)?;
        let segments = number
            .in_units(UNITS)
            .ok_or_else(|| number.unknown_unit())??;
        Self::from_segments_per_second(segments).ok_or_else(|| number.out_of_range())
    }
}

impl fmt::Display for PacketRate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (value, unit) = display(self.0.get(), UNITS);
        write!(f, "{value}{unit}")
    }
}

/// How many segments may go at once after a pause, beyond the one frame that may always go.
///
/// Read from `auto`, a bare number of segments, or a time (`2ms`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum PacketBurst {
    /// What 2 ms at the rate carry, but at least one segment; see [`Burst`](crate::Burst::Auto).
    #[default]
    Auto,
    /// This many segments.
    Segments(u64),
    /// What this many nanoseconds at the rate carry.
    Duration(u64),
}

impl PacketBurst {
    /// The burst as time at `rate`.
    #[must_use]
    pub fn tolerance(self, rate: PacketRate) -> Span {
        match self {
            Self::Auto => {
                let unit = rate.inverse().cost(1);
                unit.max(Span::from_nanos(AUTO_BURST_NANOS))
            }
            Self::Segments(segments) => rate.inverse().cost(segments),
            Self::Duration(nanos) => Span::from_nanos(nanos),
        }
    }
}

impl FromStr for PacketBurst {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        if text.trim().eq_ignore_ascii_case("auto") {
            return Ok(Self::Auto);
        }
        let number = Number::parse(Quantity::PacketBurst, text)?;
        if number.unit.is_empty() {
            return number.scaled(1).map(Self::Segments);
        }
        let nanos = number.in_units(TIME);
        nanos
            .ok_or_else(|| number.unknown_unit())?
            .map(Self::Duration)
    }
}

impl fmt::Display for PacketBurst {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Auto => f.write_str("auto"),
            Self::Segments(segments) => write!(f, "{segments}"),
            Self::Duration(nanos) => {
                let (value, unit) = display(nanos, TIME);
                write!(f, "{value}{unit}")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packet_rates_read_as_written() {
        let pps = |text: &str| text.parse::<PacketRate>().unwrap().segments_per_second();
        assert_eq!(pps("5000"), 5000);
        assert_eq!(pps("100kpps"), 100_000);
        assert_eq!(pps("1.5Mpps"), 1_500_000);
        assert_eq!(
            "1500000".parse::<PacketRate>().unwrap().to_string(),
            "1500kpps"
        );
        for text in ["", "0", "-1", "1kbit", "0.5", "1001gpps"] {
            assert!(text.parse::<PacketRate>().is_err(), "{text}");
        }
    }

    #[test]
    fn packet_bursts_are_segments_or_time() {
        assert_eq!("64".parse(), Ok(PacketBurst::Segments(64)));
        assert_eq!("2ms".parse(), Ok(PacketBurst::Duration(2_000_000)));
        assert_eq!("auto".parse(), Ok(PacketBurst::Auto));
        for text in ["", "0", "15k", "-1"] {
            assert!(text.parse::<PacketBurst>().is_err(), "{text}");
        }
    }

    #[test]
    fn auto_is_two_milliseconds_or_one_segment() {
        let tolerance = |rate: &str| PacketBurst::Auto.tolerance(rate.parse().unwrap());
        assert_eq!(tolerance("10kpps"), Span::from_nanos(2_000_000));
        assert_eq!(tolerance("1pps"), Span::from_nanos(1_000_000_000));
    }
}
