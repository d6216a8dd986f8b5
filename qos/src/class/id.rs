//! Names of classes, spelled as tc spells them.

use std::fmt;
use std::str::FromStr;

/// `major:minor`, both hexadecimal as in tc: `1:10` is minor sixteen. An empty part is zero, so a
/// handle `1:` names the root of tree 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClassId {
    /// The number before the colon; by custom one per tree or guest.
    pub major: u16,
    /// The number after the colon.
    pub minor: u16,
}

impl ClassId {
    /// The id `major:minor`, from numbers (not from their hexadecimal spelling).
    #[must_use]
    pub const fn new(major: u16, minor: u16) -> Self {
        Self { major, minor }
    }
}

impl fmt::Display for ClassId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:x}:{:x}", self.major, self.minor)
    }
}

/// A text that is no class id. The writer's fault: refuse the configuration and show the message.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{input}` is not a class id: write major:minor, two hexadecimal numbers of up to four digits, \
     for example `1:10`"
)]
pub struct ClassIdError {
    /// What was written.
    pub input: String,
}

impl FromStr for ClassId {
    type Err = ClassIdError;

    fn from_str(text: &str) -> Result<Self, ClassIdError> {
        let read = || {
            let (major, minor) = text.trim().split_once(':')?;
            Some(Self::new(part(major)?, part(minor)?))
        };
        read().ok_or_else(|| ClassIdError {
            input: text.to_owned(),
        })
    }
}

/// One side of the colon. `from_str_radix` alone would take a sign.
fn part(digits: &str) -> Option<u16> {
    if digits.is_empty() {
        return Some(0);
    }
    let plain = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    plain.then(|| u16::from_str_radix(digits, 16).ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_hexadecimal_and_print_as_they_read() {
        let id: ClassId = "1:10".parse().unwrap();
        assert_eq!(id, ClassId::new(1, 16));
        assert_eq!(id.to_string(), "1:10");
        assert_eq!("ffff:".parse(), Ok(ClassId::new(0xffff, 0)));
        assert_eq!(" 2:a ".parse(), Ok(ClassId::new(2, 10)));
    }

    #[test]
    fn what_is_not_two_short_numbers_is_refused() {
        for text in ["", "1", "1:2:3", "1:10000", "+1:1", "1:-1", "g:1", "1 :1"] {
            let error = text.parse::<ClassId>().unwrap_err();
            assert!(error.to_string().contains("major:minor"), "{text}");
        }
    }
}
