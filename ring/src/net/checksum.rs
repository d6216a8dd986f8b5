//! The Internet checksum (RFC 1071).

use std::net::IpAddr;

/// A ones' complement sum in the making.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Sum(u64);

impl Sum {
    /// The sum of nothing.
    #[must_use]
    pub const fn new() -> Self {
        Self(0)
    }

    /// Adds two 16-bit words, the first above the second.
    #[inline]
    #[must_use]
    pub const fn word(self, word: u32) -> Self {
        // A few billion of them may be added to a sum of bytes before anything is lost.
        Self(self.0.wrapping_add(word as u64))
    }

    /// Adds bytes that start at an even offset.
    #[must_use]
    pub fn bytes(self, bytes: &[u8]) -> Self {
        let (words, rest) = bytes.as_chunks::<4>();
        let mut sum = words
            .iter()
            .map(|word| u64::from(u32::from_be_bytes(*word)))
            .fold(self.0, u64::wrapping_add);
        let (pairs, odd) = rest.as_chunks::<2>();
        for pair in pairs {
            sum = sum.wrapping_add(u64::from(u16::from_be_bytes(*pair)));
        }
        for byte in odd {
            sum = sum.wrapping_add(u64::from(*byte) << 8);
        }
        // Below 2^49 for any slice a frame can be; folded so that sums of sums stay far from 2^64.
        Self((sum & 0xffff_ffff).wrapping_add(sum >> 32))
    }

    /// Adds the pseudo-header of TCP and UDP (RFC 9293 §3.1, RFC 8200 §8.1).
    #[must_use]
    pub fn pseudo_header(
        self,
        source: IpAddr,
        destination: IpAddr,
        protocol: u8,
        len: u32,
    ) -> Self {
        let sum = match (source, destination) {
            (IpAddr::V4(from), IpAddr::V4(to)) => self.bytes(&from.octets()).bytes(&to.octets()),
            (from, to) => self.bytes(&v6(from)).bytes(&v6(to)),
        };
        sum.bytes(&u32::from(protocol).to_be_bytes())
            .bytes(&len.to_be_bytes())
    }

    /// The sum folded to 16 bits, as a partial checksum is stored.
    #[must_use]
    pub fn fold(self) -> u16 {
        let mut sum = self.0;
        while sum >> 16 != 0 {
            sum = (sum & 0xffff).wrapping_add(sum >> 16);
        }
        let [.., high, low] = sum.to_be_bytes();
        u16::from_be_bytes([high, low])
    }

    /// The checksum: the complement of the folded sum.
    #[must_use]
    pub fn finish(self) -> u16 {
        !self.fold()
    }
}

fn v6(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped().octets(),
        IpAddr::V6(address) => address.octets(),
    }
}

/// Finishes a requested checksum in a whole frame, for a receiver that does not do it. UDP's zero
/// becomes 0xffff (RFC 768), which every other protocol reads as the same sum.
///
/// False when the request lies outside the frame, which is then unchanged.
pub fn complete(frame: &mut [u8], request: super::ChecksumRequest) -> bool {
    let start = usize::from(request.start);
    let offset = usize::from(request.offset);
    let Some(covered) = frame.get_mut(start..) else {
        return false;
    };
    let sum = match Sum::default().bytes(covered).finish() {
        0 => 0xffff,
        sum => sum,
    };
    match covered.get_mut(offset..).and_then(<[u8]>::first_chunk_mut) {
        Some(field) => {
            *field = u16::to_be_bytes(sum);
            true
        }
        None => false,
    }
}
