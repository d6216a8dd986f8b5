//! Differentiated services code points, by the names that operators use.

use std::fmt;
use std::str::FromStr;

use super::error::SpellingError;

/// RFC 2474, 2597, 3246, 5865 and 8622. The first name of a value is the one that is printed.
const NAMES: &[(&str, u8)] = &[
    ("BE", 0),
    ("DF", 0),
    ("CS0", 0),
    ("LE", 1),
    ("CS1", 8),
    ("AF11", 10),
    ("AF12", 12),
    ("AF13", 14),
    ("CS2", 16),
    ("AF21", 18),
    ("AF22", 20),
    ("AF23", 22),
    ("CS3", 24),
    ("AF31", 26),
    ("AF32", 28),
    ("AF33", 30),
    ("CS4", 32),
    ("AF41", 34),
    ("AF42", 36),
    ("AF43", 38),
    ("CS5", 40),
    ("VA", 44),
    ("EF", 46),
    ("CS6", 48),
    ("CS7", 56),
];

/// A code point, 0 to 63. Read from its name in any case (`EF`, `af41`) or its number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Dscp(u8);

impl Dscp {
    /// The code point of this number; `None` above 63.
    #[must_use]
    pub const fn new(value: u8) -> Option<Self> {
        if value < 64 { Some(Self(value)) } else { None }
    }

    /// The upper six bits of a type-of-service or traffic-class octet.
    #[must_use]
    pub const fn of_octet(octet: u8) -> Self {
        Self(octet >> 2)
    }

    /// Its number.
    #[must_use]
    pub const fn value(self) -> u8 {
        self.0
    }
}

impl FromStr for Dscp {
    type Err = SpellingError;

    fn from_str(text: &str) -> Result<Self, SpellingError> {
        let name = text.trim();
        let of = |(known, _): &&(&str, u8)| known.eq_ignore_ascii_case(name);
        let value = match NAMES.iter().find(of) {
            Some(&(_, value)) => Some(value),
            None => super::spelling::decimal(name).and_then(|value| value.try_into().ok()),
        };
        value
            .and_then(Self::new)
            .ok_or_else(|| SpellingError::Dscp {
                input: text.to_owned(),
            })
    }
}

impl fmt::Display for Dscp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match NAMES.iter().find(|&&(_, value)| value == self.0) {
            Some((name, _)) => f.write_str(name),
            None => write!(f, "{}", self.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_the_values_of_their_standards() {
        let value = |text: &str| text.parse::<Dscp>().unwrap().value();
        assert_eq!(value("EF"), 46);
        assert_eq!(value("va"), 44);
        assert_eq!(
            (value("BE"), value("DF"), value("CS0"), value("LE")),
            (0, 0, 0, 1)
        );
        for class in 1..=7 {
            assert_eq!(value(&format!("CS{class}")), 8 * class);
        }
        for class in 1..=4 {
            for drop in 1..=3 {
                assert_eq!(value(&format!("AF{class}{drop}")), 8 * class + 2 * drop);
            }
        }
    }

    #[test]
    fn every_code_point_reads_back_as_printed() {
        for value in 0..64 {
            let dscp = Dscp::new(value).unwrap();
            assert_eq!(dscp.to_string().parse(), Ok(dscp));
            assert_eq!(value.to_string().parse(), Ok(dscp));
        }
    }

    #[test]
    fn what_is_no_code_point_is_refused_with_the_names_there_are() {
        for text in [
            "", "64", "EFF", "AF44", "AF14", "CS8", "-1", "+1", "0x2e", "256",
        ] {
            let error = text.parse::<Dscp>().unwrap_err().to_string();
            assert!(
                error.contains("EF, VA, CS0 to CS7") && error.contains("LE"),
                "{text}"
            );
        }
        assert_eq!(Dscp::new(64), None);
    }
}
