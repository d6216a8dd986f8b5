//! What a rule matches or sets bit by bit: TCP flags and marks.

use std::fmt;
use std::str::FromStr;

use super::error::SpellingError;
use super::spelling::number;

/// The TCP flags from the lowest bit up (RFC 9293 §3.1).
const FLAGS: &[&str] = &["fin", "syn", "rst", "psh", "ack", "urg", "ece", "cwr"];

/// Which TCP flags must be set and which must not. Read from `syn,!ack`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TcpFlags {
    mask: u8,
    value: u8,
}

impl TcpFlags {
    /// The flags of `mask` must be as in `value`; its other bits are ignored.
    #[must_use]
    pub const fn new(mask: u8, value: u8) -> Self {
        let value = value & mask;
        Self { mask, value }
    }

    /// Whether a frame with these flags is meant.
    #[must_use]
    pub const fn accepts(self, flags: u8) -> bool {
        flags & self.mask == self.value
    }
}

impl FromStr for TcpFlags {
    type Err = SpellingError;

    fn from_str(text: &str) -> Result<Self, SpellingError> {
        let (mut mask, mut value) = (0_u8, 0_u8);
        for word in text.split(',').map(str::trim) {
            let (name, set) = word
                .strip_prefix('!')
                .map_or((word, true), |name| (name, false));
            let mut bits = (0..8_u32).zip(FLAGS);
            let of = |(_, known): &(u32, &&str)| known.eq_ignore_ascii_case(name);
            let Some((bit, &flag)) = bits.find(of) else {
                let input = text.to_owned();
                return Err(SpellingError::TcpFlags { input });
            };
            let bit = 1_u8.wrapping_shl(bit);
            if mask & bit != 0 {
                let input = text.to_owned();
                return Err(SpellingError::FlagTwice { input, flag });
            }
            mask |= bit;
            value |= if set { bit } else { 0 };
        }
        Ok(Self { mask, value })
    }
}

impl fmt::Display for TcpFlags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut comma = "";
        for (bit, flag) in (0..8_u32).zip(FLAGS) {
            let bit = 1_u8.wrapping_shl(bit);
            if self.mask & bit != 0 {
                let not = if self.value & bit == 0 { "!" } else { "" };
                write!(f, "{comma}{not}{flag}")?;
                comma = ",";
            }
        }
        Ok(())
    }
}

/// Some bits of the mark that a frame carries through classification: what they must be, or what they
/// become. Read from `0x10/0xff`; without a mask all bits are meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Mark {
    value: u32,
    mask: u32,
}

impl Mark {
    /// The bits of `mask` as in `value`; its other bits are ignored.
    #[must_use]
    pub const fn new(value: u32, mask: u32) -> Self {
        let value = value & mask;
        Self { value, mask }
    }

    /// The bits as they are to be.
    #[must_use]
    pub const fn value(self) -> u32 {
        self.value
    }

    /// Which bits are meant.
    #[must_use]
    pub const fn mask(self) -> u32 {
        self.mask
    }

    /// Whether the bits of `mark` are so.
    #[must_use]
    pub const fn accepts(self, mark: u32) -> bool {
        mark & self.mask == self.value
    }

    /// The mark with the bits so, and the others as they were.
    #[must_use]
    pub const fn set(self, mark: u32) -> u32 {
        (mark & !self.mask) | self.value
    }
}

impl FromStr for Mark {
    type Err = SpellingError;

    fn from_str(text: &str) -> Result<Self, SpellingError> {
        let (value, mask) = text.split_once('/').unwrap_or((text, "0xffffffff"));
        let (Some(value), Some(mask)) = (number(value.trim()), number(mask.trim())) else {
            let input = text.to_owned();
            return Err(SpellingError::Mark { input });
        };
        if value & !mask != 0 {
            let input = text.to_owned();
            return Err(SpellingError::MarkOutsideMask { input });
        }
        Ok(Self { value, mask })
    }
}

impl fmt::Display for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}/{:#x}", self.value, self.mask)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error<T: FromStr<Err = SpellingError> + fmt::Debug>(text: &str) -> String {
        text.parse::<T>().unwrap_err().to_string()
    }

    #[test]
    fn flags_say_what_is_set_and_what_is_not() {
        let opening: TcpFlags = "syn,!ack".parse().unwrap();
        assert!(opening.accepts(0x02) && opening.accepts(0xc2));
        assert!(!opening.accepts(0x12) && !opening.accepts(0x10));
        assert_eq!(opening.to_string(), "syn,!ack");
        assert_eq!(" CWR , !fin ".parse(), Ok(TcpFlags::new(0x81, 0x80)));
        for text in ["", "syn,", "!", "synack", "syn ack", "!!syn"] {
            assert!(error::<TcpFlags>(text).contains("`syn,!ack`"), "{text}");
        }
        assert!(error::<TcpFlags>("syn,!syn").contains("wants syn both"));
    }

    #[test]
    fn marks_touch_only_the_bits_of_their_mask() {
        let mark: Mark = "0x10/0xff".parse().unwrap();
        assert_eq!(mark.set(0xabcd), 0xab10);
        assert!(mark.accepts(0xab10) && !mark.accepts(0xab11));
        assert_eq!(mark.to_string().parse(), Ok(mark));
        assert_eq!("7".parse(), Ok(Mark::new(7, u32::MAX)));
        for text in ["", "/", "1/", "/1", "x", "0x1ffffffff", "1/2/3", "-1"] {
            assert!(error::<Mark>(text).contains("`0x10/0xff`"), "{text}");
        }
        assert!(error::<Mark>("0x100/0xff").contains("outside of its mask"));
    }
}
