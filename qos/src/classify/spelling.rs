//! The numbers that a rule matches, with the spellings operators write: ranges, protocols and
//! EtherTypes.

use std::fmt;
use std::str::FromStr;

use super::error::SpellingError;

/// A plain decimal number; `from_str` alone would take a sign.
pub(super) fn decimal(digits: &str) -> Option<u32> {
    let plain = digits.bytes().all(|byte| byte.is_ascii_digit());
    plain.then(|| digits.parse().ok())?
}

/// A decimal number, or a hexadecimal one after `0x`.
pub(super) fn number(text: &str) -> Option<u32> {
    let Some(digits) = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) else {
        return decimal(text);
    };
    let plain = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    plain.then(|| u32::from_str_radix(digits, 16).ok())?
}

/// The numbers a [`Range`] may have.
pub trait Bound: Copy + Ord + Into<u32> + TryFrom<u32> + fmt::Debug {
    /// The largest.
    const MOST: Self;
}

impl Bound for u8 {
    const MOST: Self = Self::MAX;
}

impl Bound for u16 {
    const MOST: Self = Self::MAX;
}

impl Bound for u32 {
    const MOST: Self = Self::MAX;
}

/// All numbers from a first to a last one, both included; never empty. Read from `80` or
/// `8000-8999`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Range<T> {
    first: T,
    last: T,
}

impl<T: Bound> Range<T> {
    /// The numbers from `first` to `last`, or `None` if there are none.
    #[must_use]
    pub fn new(first: T, last: T) -> Option<Self> {
        (first <= last).then_some(Self { first, last })
    }

    /// One number alone.
    #[must_use]
    pub const fn only(number: T) -> Self {
        Self {
            first: number,
            last: number,
        }
    }

    /// The first number.
    #[must_use]
    pub const fn first(self) -> T {
        self.first
    }

    /// The last number.
    #[must_use]
    pub const fn last(self) -> T {
        self.last
    }
}

impl<T: Bound> FromStr for Range<T> {
    type Err = SpellingError;

    fn from_str(text: &str) -> Result<Self, SpellingError> {
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        let read = |text: &str| T::try_from(decimal(text.trim())?).ok();
        let (Some(first), Some(last)) = (read(first), read(last)) else {
            return Err(SpellingError::Range {
                input: text.to_owned(),
                most: T::MOST.into(),
            });
        };
        Self::new(first, last).ok_or_else(|| SpellingError::EmptyRange {
            input: text.to_owned(),
        })
    }
}

impl<T: Bound> fmt::Display for Range<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.first.into())?;
        if self.first == self.last {
            return Ok(());
        }
        write!(f, "-{}", self.last.into())
    }
}

/// An IP protocol by its number. Read from the number, or from tcp, udp, icmp, icmpv6, sctp, gre and
/// esp.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Protocol(pub u8);

impl Protocol {
    /// The Transmission Control Protocol.
    pub const TCP: Self = Self(6);
    /// The User Datagram Protocol.
    pub const UDP: Self = Self(17);
    const NAMES: &[(&str, Self)] = &[
        ("icmp", Self(1)),
        ("tcp", Self::TCP),
        ("udp", Self::UDP),
        ("gre", Self(47)),
        ("esp", Self(50)),
        ("icmpv6", Self(58)),
        ("sctp", Self(132)),
    ];
}

impl FromStr for Protocol {
    type Err = SpellingError;

    fn from_str(text: &str) -> Result<Self, SpellingError> {
        let name = text.trim();
        let of = |(known, _): &&(&str, Self)| known.eq_ignore_ascii_case(name);
        if let Some(&(_, protocol)) = Self::NAMES.iter().find(of) {
            return Ok(protocol);
        }
        let value = decimal(name).and_then(|value| value.try_into().ok());
        value.map(Self).ok_or_else(|| SpellingError::Protocol {
            input: text.to_owned(),
        })
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match Self::NAMES.iter().find(|(_, known)| known == self) {
            Some((name, _)) => f.write_str(name),
            None => write!(f, "{}", self.0),
        }
    }
}

/// An EtherType. Read from `ipv4`, `ipv6`, `arp` or a number, which may be hexadecimal (`0x88cc`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EtherType(u16);

impl EtherType {
    /// IPv4.
    pub const IPV4: Self = Self(0x0800);
    /// ARP.
    pub const ARP: Self = Self(0x0806);
    /// IPv6.
    pub const IPV6: Self = Self(0x86dd);
    /// A customer VLAN tag (802.1Q).
    pub const VLAN: Self = Self(0x8100);
    /// A service VLAN tag (802.1ad).
    pub const SERVICE_VLAN: Self = Self(0x88a8);

    /// The EtherType of this number; `None` below 0x0600, which are lengths (IEEE 802.3 §3.2.6).
    #[must_use]
    pub const fn new(value: u16) -> Option<Self> {
        if value < 0x0600 {
            return None;
        }
        Some(Self(value))
    }

    /// Its number.
    #[must_use]
    pub const fn value(self) -> u16 {
        self.0
    }

    /// Whether a VLAN tag follows.
    #[must_use]
    pub const fn is_tag(self) -> bool {
        self.0 == Self::VLAN.0 || self.0 == Self::SERVICE_VLAN.0
    }
}

impl FromStr for EtherType {
    type Err = SpellingError;

    fn from_str(text: &str) -> Result<Self, SpellingError> {
        let name = text.trim().to_ascii_lowercase();
        let known = match name.as_str() {
            "ipv4" => Some(Self::IPV4),
            "ipv6" => Some(Self::IPV6),
            "arp" => Some(Self::ARP),
            digits => number(digits)
                .and_then(|value| value.try_into().ok())
                .and_then(Self::new),
        };
        known.ok_or_else(|| SpellingError::EtherType {
            input: text.to_owned(),
        })
    }
}

impl fmt::Display for EtherType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::IPV4 => f.write_str("ipv4"),
            Self::IPV6 => f.write_str("ipv6"),
            Self::ARP => f.write_str("arp"),
            Self(other) => write!(f, "{other:#06x}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error<T: FromStr<Err = SpellingError> + fmt::Debug>(text: &str) -> String {
        text.parse::<T>().unwrap_err().to_string()
    }

    #[test]
    fn ranges_include_both_ends() {
        let ports: Range<u16> = "8000-8999".parse().unwrap();
        assert_eq!((ports.first(), ports.last()), (8000, 8999));
        assert_eq!(ports.to_string(), "8000-8999");
        assert_eq!("80".parse(), Ok(Range::only(80_u16)));
        assert_eq!(Range::only(80_u16).to_string(), "80");
        for text in [
            "", "-", "80-", "-80", "http", "1-2-3", "+1", "65536", "0x50",
        ] {
            assert!(error::<Range<u16>>(text).contains("0 to 65535"), "{text}");
        }
        assert!(error::<Range<u16>>("81-80").contains("empty range"));
        assert!(error::<Range<u8>>("256").contains("0 to 255"));
    }

    #[test]
    fn protocols_are_names_or_numbers() {
        for (text, value) in [
            ("tcp", 6),
            ("UDP", 17),
            ("icmp", 1),
            ("icmpv6", 58),
            ("sctp", 132),
        ] {
            assert_eq!(text.parse(), Ok(Protocol(value)));
        }
        assert_eq!(
            ("gre".parse(), "esp".parse()),
            (Ok(Protocol(47)), Ok(Protocol(50)))
        );
        assert_eq!(Protocol(89).to_string().parse(), Ok(Protocol(89)));
        assert_eq!(Protocol::TCP.to_string(), "tcp");
        for text in ["", "256", "tcpp", "-1"] {
            assert!(error::<Protocol>(text).contains("icmpv6"), "{text}");
        }
    }

    #[test]
    fn ethertypes_are_never_lengths() {
        assert_eq!("0x88cc".parse::<EtherType>().unwrap().value(), 0x88cc);
        assert_eq!("ARP".parse(), Ok(EtherType::ARP));
        assert_eq!("2048".parse(), Ok(EtherType::IPV4));
        for text in ["ipv4", "ipv6", "arp", "0x88cc"] {
            assert_eq!(text.parse::<EtherType>().unwrap().to_string(), text);
        }
        for text in ["", "0x05ff", "0x10000", "0x", "ip"] {
            assert!(error::<EtherType>(text).contains("0x0600"), "{text}");
        }
    }
}
