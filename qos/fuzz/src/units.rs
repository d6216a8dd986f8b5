//! Texts: no text makes a parser panic, and what is printed reads back as the same value.

use std::fmt::{Debug, Display};
use std::str::FromStr;

use qos::classify::{CipsoMatch, Dscp, EtherType, Mark, Prefix, Protocol, Range, TcpFlags};
use qos::{Burst, ClassId, Interval, PacketBurst, PacketRate, Rate, RateSpec};

pub(crate) fn run(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let rate = round_trip::<Rate>(text);
    let spec = round_trip::<RateSpec>(text);
    if let (Some(rate), Some(spec)) = (rate, spec) {
        assert_eq!(rate, spec.rate, "the same text as a rate and with a burst");
    }
    round_trip::<Burst>(text);
    round_trip::<PacketRate>(text);
    round_trip::<PacketBurst>(text);
    round_trip::<ClassId>(text);
    round_trip::<CipsoMatch>(text);
    round_trip::<Dscp>(text);
    round_trip::<EtherType>(text);
    round_trip::<Mark>(text);
    round_trip::<Prefix>(text);
    round_trip::<Protocol>(text);
    let narrow = round_trip::<Range<u8>>(text);
    let middle = round_trip::<Range<u16>>(text);
    let wide = round_trip::<Range<u32>>(text);
    assert!(narrow.is_none() || middle.is_some());
    assert!(middle.is_none() || wide.is_some());
    round_trip::<TcpFlags>(text);
    // It has no printed form: a burst with a unit of time has the same value.
    match text.parse::<Interval>() {
        Ok(interval) => assert_eq!(text.parse(), Ok(Burst::Duration(interval.as_nanos()))),
        Err(error) => explains(&error),
    }
}

fn round_trip<T>(text: &str) -> Option<T>
where
    T: FromStr<Err: Display> + Display + PartialEq + Copy + Debug,
{
    match text.parse::<T>() {
        Ok(value) => {
            let printed = value.to_string();
            let again = printed.parse::<T>().ok();
            assert_eq!(again, Some(value), "{text:?} is printed as {printed:?}");
            assert_eq!(
                again.map(|value| value.to_string()),
                Some(printed),
                "{text:?} is printed in two ways"
            );
            Some(value)
        }
        Err(error) => {
            explains(&error);
            None
        }
    }
}

fn explains(error: &impl Display) {
    assert!(error.to_string().len() > 10, "an error that says nothing");
}
