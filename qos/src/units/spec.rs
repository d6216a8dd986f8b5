//! A rate together with its burst, in one spelling.

use std::fmt;
use std::str::FromStr;

use super::burst::Burst;
use super::error::UnitError;
use super::interval::Interval;
use super::rate::Rate;

/// The interval of an xl rate that names none, in nanoseconds (xl-network-configuration(5)).
const XL_INTERVAL_NANOS: u64 = 50_000_000;

/// A rate and, if it was given with one, its burst.
///
/// Read from `10mbit`, `10mbit burst 15k`, and xl's `10Mb/s@20ms`. xl's credit scheme refills once
/// per interval (50 ms if unnamed); that is a burst of what the interval carries, which is then
/// sent smoothly instead of at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RateSpec {
    /// The rate.
    pub rate: Rate,
    /// The burst, if the spelling says one.
    pub burst: Option<Burst>,
}

impl FromStr for RateSpec {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        let malformed = || UnitError::Malformed {
            input: text.to_owned(),
        };
        let mut words = text.split_whitespace();
        let first = words.next().unwrap_or("");
        let (rate, interval) = match first.split_once('@') {
            Some((rate, interval)) => (rate, Some(interval)),
            None => (first, None),
        };
        let xl = rate.ends_with("/s");
        let xl_burst = match interval {
            Some(interval) if xl => {
                let interval: Interval = interval.parse()?;
                Some(Burst::Duration(interval.as_nanos()))
            }
            Some(_) => return Err(malformed()),
            None => xl.then_some(Burst::Duration(XL_INTERVAL_NANOS)),
        };
        let burst = match (words.next(), words.next(), words.next()) {
            (None, ..) => xl_burst,
            (Some("burst"), Some(burst), None) if interval.is_none() => Some(burst.parse()?),
            _ => return Err(malformed()),
        };
        Ok(Self {
            rate: rate.parse()?,
            burst,
        })
    }
}

impl fmt::Display for RateSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.rate.fmt(f)?;
        match self.burst {
            Some(burst) => write!(f, " burst {burst}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(text: &str) -> RateSpec {
        text.parse().unwrap()
    }

    #[test]
    fn xl_intervals_become_bursts() {
        let rate = "10mbit".parse().unwrap();
        let with = |nanos| RateSpec {
            rate,
            burst: Some(Burst::Duration(nanos)),
        };
        assert_eq!(spec("10Mb/s@20ms"), with(20_000_000));
        assert_eq!(spec("10Mb/s"), with(50_000_000));
        assert_eq!(spec("10000Kb/s@500us"), with(500_000));
    }

    #[test]
    fn tc_rates_take_a_burst_by_name() {
        assert_eq!(spec("10mbit").burst, None);
        assert_eq!(spec("10mbit burst 15k").burst, Some(Burst::Bytes(15 << 10)));
        assert_eq!(spec(" 10Mb/s  burst auto ").burst, Some(Burst::Auto));
        assert_eq!(spec("10Mb/s@20ms").to_string(), "10Mbit burst 20ms");
    }

    #[test]
    fn what_is_not_a_rate_with_a_burst_is_refused() {
        for text in [
            "",
            "10mbit@20ms",
            "10mbit 15k",
            "10mbit burst",
            "10mbit burst 15k more",
            "10Mb/s@20ms burst 15k",
            "10Mb/s@",
            "10Mb/s@0ms",
            "10Mb/s@20",
            "10Mb/s@20ms@20ms",
            "burst 15k",
        ] {
            assert!(text.parse::<RateSpec>().is_err(), "{text}");
        }
    }
}
