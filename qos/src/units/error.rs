//! Why a spelling was refused, in words for whoever wrote it.

use std::fmt;

/// What a spelling was meant to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Quantity {
    /// A [`Rate`](crate::Rate).
    Rate,
    /// A [`PacketRate`](crate::PacketRate).
    PacketRate,
    /// A [`Burst`](crate::Burst).
    Burst,
    /// A [`PacketBurst`](crate::PacketBurst).
    PacketBurst,
    /// An [`Interval`](super::Interval).
    Interval,
}

impl Quantity {
    fn example(self) -> &'static str {
        match self {
            Self::Rate => "`10mbit`, `1.5gbit` or `10Mb/s`",
            Self::PacketRate => "`5000`, `100kpps` or `1mpps`",
            Self::Burst => "`auto`, `15k`, `1600b` or `2ms`",
            Self::PacketBurst => "`auto`, `64` or `2ms`",
            Self::Interval => "`50ms` or `500us`",
        }
    }

    fn units(self) -> &'static str {
        match self {
            Self::Rate => {
                "bit, kbit, mbit, gbit or tbit (powers of ten), kibit, mibit, gibit or tibit (powers \
                 of two), or xl's Kb/s, Mb/s, Gb/s; beware that bps, kbps, mbps, gbps and tbps \
                 mean BYTES per second, as in tc, and so do KB/s, MB/s, GB/s"
            }
            Self::PacketRate => "pps, kpps, mpps or gpps",
            Self::Burst => {
                "b, k, m or g (bytes, powers of 1024), kbit, mbit or gbit (their eighths), or s, \
                 ms, us or ns (time at the rate)"
            }
            Self::PacketBurst => "no unit (segments), or s, ms, us or ns (time at the rate)",
            Self::Interval => "s, ms, us or ns",
        }
    }

    fn base(self) -> &'static str {
        match self {
            Self::Rate => "bits per second",
            Self::PacketRate => "segments per second",
            Self::Burst => "bytes or nanoseconds",
            Self::PacketBurst => "segments or nanoseconds",
            Self::Interval => "nanoseconds",
        }
    }

    fn range(self) -> &'static str {
        match self {
            Self::Rate => {
                "8bit to 32tbit per second (mbps and the like mean BYTES per second: eight times \
                 mbit)"
            }
            Self::PacketRate => "1pps to 1000gpps",
            Self::Burst => "1 to 2^64-1 bytes or nanoseconds",
            Self::PacketBurst => "1 to 2^64-1 segments or nanoseconds",
            Self::Interval => "1 to 2^64-1 nanoseconds",
        }
    }
}

impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Rate => "rate",
            Self::PacketRate => "packet rate",
            Self::Burst => "burst",
            Self::PacketBurst => "packet burst",
            Self::Interval => "length of time",
        })
    }
}

/// A spelling that is not a valid quantity. Always the writer's fault: refuse the configuration
/// and show the message.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnitError {
    /// Nothing was written.
    #[error("the {what} is empty; write for example {}", .what.example())]
    Empty {
        /// What was expected.
        what: Quantity,
    },
    /// It does not start with a plain decimal number.
    #[error("`{input}` is not a {what}: it must start with a plain number; write for example {}", .what.example())]
    NotANumber {
        /// What was expected.
        what: Quantity,
        /// What was written.
        input: String,
    },
    /// It is below zero.
    #[error("`{input}` is negative; write a {what} above zero, for example {}", .what.example())]
    Negative {
        /// What was expected.
        what: Quantity,
        /// What was written.
        input: String,
    },
    /// It is zero, which other tools read as anything from "nothing" to "unlimited".
    #[error(
        "`{input}` is zero; leave the {what} out if it is not meant to limit, or write one above zero"
    )]
    Zero {
        /// What was expected.
        what: Quantity,
        /// What was written.
        input: String,
    },
    /// The number is followed by something that is not a unit of this quantity.
    #[error("`{unit}` in `{input}` is not a unit of a {what}; write {}", .what.units())]
    UnknownUnit {
        /// What was expected.
        what: Quantity,
        /// What was written.
        input: String,
        /// The part that is not a unit.
        unit: String,
    },
    /// It has a fraction that does not come to a whole number of the smallest unit.
    #[error("`{input}` is not a whole number of {}; write it with fewer decimals or a smaller unit", .what.base())]
    NotWhole {
        /// What was expected.
        what: Quantity,
        /// What was written.
        input: String,
    },
    /// It is outside what this quantity may be.
    #[error("`{input}` is out of range; write a {what} of {}, or leave it out if it is not meant to limit", .what.range())]
    OutOfRange {
        /// What was expected.
        what: Quantity,
        /// What was written.
        input: String,
    },
    /// A rate is followed by words other than `burst` and a burst, or by an `@` interval that
    /// only xl's spelling takes.
    #[error(
        "`{input}` is not a rate with a burst; write `10mbit`, `10mbit burst 15k` or `10Mb/s@50ms`"
    )]
    Malformed {
        /// What was written.
        input: String,
    },
}

#[cfg(test)]
mod tests {
    use crate::units::{Burst, PacketRate, Rate, RateSpec};

    #[test]
    fn messages_say_what_was_wrong_and_what_to_write() {
        let rate = |text: &str| text.parse::<Rate>().unwrap_err().to_string();
        assert_eq!(
            rate(""),
            "the rate is empty; write for example `10mbit`, `1.5gbit` or `10Mb/s`"
        );
        assert!(rate("0").contains("leave the rate out"));
        assert!(rate("-5mbit").contains("is negative"));
        assert!(
            rate("10mb").starts_with("`mb` in `10mb` is not a unit of a rate; write bit, kbit")
        );
        assert!(rate("10mb").contains("mbps, gbps and tbps mean BYTES per second"));
        assert!(rate("5tbps").contains("8bit to 32tbit"));
        assert!(rate("5tbps").contains("BYTES"));
        assert!(rate("0.5bit").contains("whole number of bits per second"));
        let burst = "15kbytes".parse::<Burst>().unwrap_err().to_string();
        assert!(burst.contains("`kbytes` in `15kbytes`"));
        let pps = "fast".parse::<PacketRate>().unwrap_err().to_string();
        assert!(pps.contains("`100kpps`"));
        let spec = "10mbit@20ms".parse::<RateSpec>().unwrap_err().to_string();
        assert!(spec.contains("`10Mb/s@50ms`"));
    }
}
