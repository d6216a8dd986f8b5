//! Names of network interfaces, checked once as the kernel checks them.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Longest interface name in bytes: `IFNAMSIZ` (linux/if.h) less the closing zero.
const MAX_LEN: usize = libc::IFNAMSIZ - 1;

/// An interface name that the kernel's `dev_valid_name` (net/core/dev.c) takes as it stands.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct IfName(String);

/// Why a text is no interface name. The operator is at fault; the configuration is refused.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum IfNameError {
    /// No character at all.
    #[error("the name is empty")]
    Empty,
    /// More bytes than the kernel has room for.
    #[error("the name has {0} bytes, and an interface name may have {MAX_LEN}")]
    TooLong(usize),
    /// `.` and `..` cannot be entries of `/sys/class/net`.
    #[error("`.` and `..` cannot be interface names")]
    Dots,
    /// A character the kernel refuses, or `%`, which it would take as a request to choose a number.
    #[error("the character {0:?} cannot be in an interface name")]
    BadChar(char),
}

impl IfName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name as the kernel's zero-terminated array.
    pub(super) fn to_array(&self) -> [u8; libc::IFNAMSIZ] {
        let mut array = [0; libc::IFNAMSIZ];
        for (to, from) in array.iter_mut().zip(self.0.bytes()) {
            *to = from;
        }
        array
    }
}

impl FromStr for IfName {
    type Err = IfNameError;

    fn from_str(text: &str) -> Result<Self, IfNameError> {
        if text.is_empty() {
            return Err(IfNameError::Empty);
        }
        if text == "." || text == ".." {
            return Err(IfNameError::Dots);
        }
        let bad = |c: char| c.is_whitespace() || c.is_control() || matches!(c, '/' | ':' | '%');
        if let Some(c) = text.chars().find(|&c| bad(c)) {
            return Err(IfNameError::BadChar(c));
        }
        if text.len() > MAX_LEN {
            return Err(IfNameError::TooLong(text.len()));
        }
        Ok(Self(text.to_owned()))
    }
}

impl TryFrom<String> for IfName {
    type Error = IfNameError;

    fn try_from(text: String) -> Result<Self, IfNameError> {
        text.parse()
    }
}

impl From<IfName> for String {
    fn from(name: IfName) -> Self {
        name.0
    }
}

impl fmt::Display for IfName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fifteen_bytes_are_a_name_and_sixteen_are_not() {
        assert!("a23456789012345".parse::<IfName>().is_ok());
        assert_eq!(
            "a234567890123456".parse::<IfName>(),
            Err(IfNameError::TooLong(16))
        );
    }

    #[test]
    fn names_the_kernel_refuses_are_refused_with_their_reason() {
        let cases = [
            ("", IfNameError::Empty),
            (".", IfNameError::Dots),
            ("..", IfNameError::Dots),
            ("a/b", IfNameError::BadChar('/')),
            ("a b", IfNameError::BadChar(' ')),
            ("a\tb", IfNameError::BadChar('\t')),
            ("a:1", IfNameError::BadChar(':')),
            ("tap%d", IfNameError::BadChar('%')),
            ("a\0", IfNameError::BadChar('\0')),
        ];
        for (text, error) in cases {
            assert_eq!(text.parse::<IfName>(), Err(error), "{text:?}");
        }
    }

    #[test]
    fn the_kernel_array_ends_with_a_zero() {
        let name: IfName = "a23456789012345".parse().unwrap();
        assert_eq!(&name.to_array(), b"a23456789012345\0");
    }
}
