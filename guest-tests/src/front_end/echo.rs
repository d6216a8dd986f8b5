//! Echo requests of ICMP (RFC 792), which any guest's kernel answers by itself.

use super::frame::{Frame, fold, ipv4, noise, sum};

const ICMP: u8 = 1;
/// Where ICMP begins in a frame over IPv4 without options.
const AT: usize = 34;
const HEADER: usize = 8;
const REQUEST: u8 = 8;
const REPLY: u8 = 0;

impl Frame {
    /// An echo request with `payload` bytes from 198.18.0.2 to 198.18.0.1.
    #[must_use]
    pub fn echo_request(payload: usize, sequence: u16) -> Self {
        let mut bytes = ipv4(ICMP, HEADER + payload);
        let [high, low] = sequence.to_be_bytes();
        bytes.extend([REQUEST, 0, 0, 0, 0, 0, high, low]);
        bytes.extend(noise(sequence.into()).take(payload));
        let checksum = !fold(sum(bytes.get(AT..).unwrap_or_default()));
        if let Some(field) = bytes.get_mut(AT + 2..AT + 4) {
            field.copy_from_slice(&checksum.to_be_bytes());
        }
        Self::from(bytes)
    }

    /// The sequence number of the echo reply that a frame begins with, if it is one.
    #[must_use]
    pub fn echo_reply(bytes: &[u8]) -> Option<u16> {
        let is_icmp = bytes.get(12..14)? == [8, 0] && bytes.get(23) == Some(&ICMP);
        match bytes.get(AT..AT + HEADER)? {
            &[REPLY, _, _, _, _, _, high, low] if is_icmp => Some(u16::from_be_bytes([high, low])),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_right_and_no_reply() {
        let mut bytes = Frame::echo_request(22, 258).bytes;
        assert_eq!((bytes.len(), fold(sum(&bytes[AT..]))), (64, 0xffff));
        assert_eq!(Frame::echo_reply(&bytes), None);
        bytes[AT] = REPLY;
        assert_eq!(Frame::echo_reply(&bytes), Some(258));
    }
}
