//! Address prefixes.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use super::error::SpellingError;
use super::spelling::decimal;

/// All addresses that begin with the same bits. Read from `192.0.2.0/24`, `2001:db8::/32` or a bare
/// address, which stands for itself alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Prefix {
    first: IpAddr,
    len: u8,
}

impl Prefix {
    /// The prefix of the first `len` bits of `address`.
    ///
    /// # Errors
    /// The length is beyond the address, or the address has bits set beyond the length.
    pub fn new(address: IpAddr, len: u8) -> Result<Self, SpellingError> {
        let bits: u8 = if address.is_ipv4() { 32 } else { 128 };
        let input = || format!("{address}/{len}");
        if len > bits {
            return Err(SpellingError::PrefixLength {
                input: input(),
                bits,
            });
        }
        let first = match address {
            IpAddr::V4(address) => IpAddr::V4(Ipv4Addr::from_bits(address.to_bits() & mask4(len))),
            IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & mask6(len))),
        };
        if first != address {
            return Err(SpellingError::HostBits {
                input: input(),
                network: format!("{first}/{len}"),
            });
        }
        Ok(Self { first, len })
    }

    /// Its first address.
    #[must_use]
    pub const fn address(self) -> IpAddr {
        self.first
    }

    /// How many bits are fixed.
    #[must_use]
    pub const fn bits(self) -> u8 {
        self.len
    }

    /// First and last address of an IPv4 prefix.
    pub(super) fn span4(self) -> Option<(u32, u32)> {
        let IpAddr::V4(first) = self.first else {
            return None;
        };
        let first = first.to_bits();
        Some((first, first | !mask4(self.len)))
    }

    /// First and last address of an IPv6 prefix.
    pub(super) fn span6(self) -> Option<(u128, u128)> {
        let IpAddr::V6(first) = self.first else {
            return None;
        };
        let first = first.to_bits();
        Some((first, first | !mask6(self.len)))
    }
}

fn mask4(len: u8) -> u32 {
    !u32::MAX.checked_shr(len.into()).unwrap_or(0)
}

fn mask6(len: u8) -> u128 {
    !u128::MAX.checked_shr(len.into()).unwrap_or(0)
}

impl FromStr for Prefix {
    type Err = SpellingError;

    fn from_str(text: &str) -> Result<Self, SpellingError> {
        let wrong = || SpellingError::Prefix {
            input: text.to_owned(),
        };
        let text = text.trim();
        let (address, len) = match text.split_once('/') {
            Some((address, len)) => (address, Some(len)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| wrong())?;
        let bits = if address.is_ipv4() { 32 } else { 128 };
        let len = match len {
            None => bits,
            // What is a number but too large for one octet is too long for every family.
            Some(len) => u8::try_from(decimal(len).ok_or_else(wrong)?).unwrap_or(u8::MAX),
        };
        Self::new(address, len)
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.first, self.len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_read_and_print() {
        for text in [
            "192.0.2.0/24",
            "0.0.0.0/0",
            "10.1.2.3/32",
            "2001:db8::/32",
            "::/0",
        ] {
            assert_eq!(text.parse::<Prefix>().unwrap().to_string(), text);
        }
        assert_eq!("10.1.2.3".parse(), "10.1.2.3/32".parse::<Prefix>());
        assert_eq!("::1".parse(), "::1/128".parse::<Prefix>());
    }

    #[test]
    fn spans_are_the_first_and_last_address() {
        let prefix: Prefix = "192.0.2.0/24".parse().unwrap();
        assert_eq!(prefix.span4(), Some((0xc000_0200, 0xc000_02ff)));
        assert_eq!(prefix.span6(), None);
        let all: Prefix = "::/0".parse().unwrap();
        assert_eq!(all.span6(), Some((0, u128::MAX)));
    }

    #[test]
    fn what_is_not_a_prefix_is_refused_with_a_way_out() {
        let error = |text: &str| text.parse::<Prefix>().unwrap_err().to_string();
        for text in [
            "",
            "net",
            "10.0.0/8",
            "10.0.0.0/",
            "10.0.0.0/-1",
            "10.0.0.0/+8",
            "1/2/3",
        ] {
            assert!(error(text).contains("192.0.2.0/24"), "{text}");
        }
        assert!(error("192.0.2.1/24").contains("write 192.0.2.0/24"));
        assert!(error("2001:db8::1/32").contains("write 2001:db8::/32"));
        assert!(error("10.0.0.0/33").contains("32 bits"));
        assert!(error("::/1000").contains("128 bits"));
    }
}
