//! Ethernet addresses of guests.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

/// An address one station can have: unicast and not zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct MacAddr([u8; 6]);

/// Why a text or six bytes are no station's address. The operator is at fault; the configuration is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum MacError {
    /// Not six pairs of hexadecimal digits.
    #[error("write six bytes in hexadecimal with colons between them, such as 52:54:00:12:34:56")]
    Syntax,
    /// The group bit (IEEE 802) is set: multicast or broadcast.
    #[error("this is a multicast address, which no NIC can have: its first byte must be even")]
    Multicast,
    /// All bytes are zero.
    #[error("the zero address is no NIC's")]
    Zero,
}

impl MacAddr {
    /// The address as it stands on the wire.
    pub fn octets(self) -> [u8; 6] {
        self.0
    }
}

impl TryFrom<[u8; 6]> for MacAddr {
    type Error = MacError;

    fn try_from(octets: [u8; 6]) -> Result<Self, MacError> {
        if octets == [0; 6] {
            return Err(MacError::Zero);
        }
        if octets[0] & 1 != 0 {
            return Err(MacError::Multicast);
        }
        Ok(Self(octets))
    }
}

impl FromStr for MacAddr {
    type Err = MacError;

    fn from_str(text: &str) -> Result<Self, MacError> {
        let separator = if text.contains('-') { '-' } else { ':' };
        let mut pairs = text.split(separator);
        let mut octets = [0; 6];
        for octet in &mut octets {
            let pair = pairs.next().ok_or(MacError::Syntax)?;
            if pair.len() != 2 || !pair.bytes().all(|b| b.is_ascii_hexdigit()) {
                return Err(MacError::Syntax);
            }
            *octet = u8::from_str_radix(pair, 16).map_err(|_| MacError::Syntax)?;
        }
        if pairs.next().is_some() {
            return Err(MacError::Syntax);
        }
        Self::try_from(octets)
    }
}

impl fmt::Display for MacAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_reads_and_prints_the_same() {
        let mac: MacAddr = "52:54:00:AB:cd:0f".parse().unwrap();
        assert_eq!(mac.octets(), [0x52, 0x54, 0, 0xab, 0xcd, 0x0f]);
        assert_eq!(mac.to_string(), "52:54:00:ab:cd:0f");
        assert_eq!("52-54-00-ab-cd-0f".parse(), Ok(mac));
    }

    #[test]
    fn what_is_no_station_is_refused() {
        let cases = [
            ("", MacError::Syntax),
            ("52:54:00:12:34", MacError::Syntax),
            ("52:54:00:12:34:56:78", MacError::Syntax),
            ("5:54:00:12:34:56", MacError::Syntax),
            ("+5:54:00:12:34:56", MacError::Syntax),
            ("52:54-00:12:34:56", MacError::Syntax),
            ("5g:54:00:12:34:56", MacError::Syntax),
            ("01:00:5e:00:00:01", MacError::Multicast),
            ("ff:ff:ff:ff:ff:ff", MacError::Multicast),
            ("00:00:00:00:00:00", MacError::Zero),
        ];
        for (text, error) in cases {
            assert_eq!(text.parse::<MacAddr>(), Err(error), "{text:?}");
        }
    }
}
