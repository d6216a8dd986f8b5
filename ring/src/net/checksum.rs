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

    /// Adds bytes that start at an even offset; an odd last one as if a zero followed.
    #[inline]
    #[must_use]
    pub fn bytes(self, bytes: &[u8]) -> Self {
        // The sum is the same in any byte order (RFC 1071 §2 (B)) and any word size, so words are
        // added as they lie in memory, with the carry going round. Blocks, because the carry stays
        // in the processor's flag from word to word, but not from one turn of a loop to the next.
        let mut sum = (0, 0);
        let (blocks, rest) = bytes.as_chunks::<64>();
        for block in blocks {
            sum = add(sum, block);
        }
        let (blocks, rest) = rest.as_chunks::<16>();
        for block in blocks {
            sum = add(sum, block);
        }
        let (words, rest) = rest.as_chunks::<8>();
        for word in words {
            sum = add(sum, word);
        }
        if !rest.is_empty() {
            sum = add(sum, &last(bytes, rest).to_le_bytes());
        }
        let (sum, carries) = sum;
        let (sum, carry) = sum.overflowing_add(carries);
        let sum = sum.wrapping_add(u64::from(carry)).swap_bytes();
        Self(
            self.0
                .wrapping_add(sum & 0xffff_ffff)
                .wrapping_add(sum >> 32),
        )
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
        // The upper half of a sum with its halves swapped is both halves and their carry.
        let sum = self.0.wrapping_add(self.0.rotate_left(32)) >> 32;
        let [.., a, b, c, d] = sum.to_be_bytes();
        let sum = u32::from_be_bytes([a, b, c, d]);
        let [a, b, _, _] = sum.wrapping_add(sum.rotate_left(16)).to_be_bytes();
        u16::from_be_bytes([a, b])
    }

    /// The checksum: the complement of the folded sum.
    #[must_use]
    pub fn finish(self) -> u16 {
        !self.fold()
    }
}

/// Adds whole words to a sum and the number of its carries.
#[inline]
fn add<const BYTES: usize>((sum, carries): (u64, u64), block: &[u8; BYTES]) -> (u64, u64) {
    let (words, _) = block.as_chunks::<8>();
    let (mut sum, mut carry) = (sum, false);
    for word in words {
        (sum, carry) = sum.carrying_add(u64::from_le_bytes(*word), carry);
    }
    (sum, carries.wrapping_add(u64::from(carry)))
}

/// The last, less than eight, bytes of a slice as the lowest of a word; zeros are above them.
#[inline]
fn last(bytes: &[u8], rest: &[u8]) -> u64 {
    if let Some(word) = bytes.last_chunk::<8>() {
        // All that is before them falls out.
        let bits =
            u64::BITS.wrapping_sub(8_u32.wrapping_mul(u32::try_from(rest.len()).unwrap_or(0)));
        return u64::from_le_bytes(*word).unbounded_shr(bits);
    }
    rest.iter()
        .rev()
        .fold(0, |word, byte| word << 8 | u64::from(*byte))
}

fn v6(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped().octets(),
        IpAddr::V6(address) => address.octets(),
    }
}

/// The sum of bytes that come in pieces of any length.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Pieces {
    sum: Sum,
    /// The next byte is the second of its word.
    odd: bool,
}

impl Pieces {
    /// Adds the next piece.
    #[inline]
    #[must_use]
    pub(crate) fn piece(self, bytes: &[u8]) -> Self {
        let sum = Sum::new().bytes(bytes).fold();
        let sum = if self.odd { sum.swap_bytes() } else { sum };
        Self {
            sum: self.sum.word(u32::from(sum)),
            odd: self.odd ^ (bytes.len() & 1 != 0),
        }
    }

    /// The checksum; see [`Sum::finish`].
    pub(crate) fn finish(self) -> u16 {
        self.sum.finish()
    }
}

/// Finishes a requested checksum in a whole frame, for a receiver that does not do it. UDP's zero
/// becomes 0xffff (RFC 768), which every other protocol reads as the same sum.
///
/// False when the request lies outside the frame, which is then unchanged.
pub fn complete(frame: &mut [u8], request: super::ChecksumRequest) -> bool {
    complete_parts(frame, &[], request)
}

/// As [`complete`], for a frame that lies in several pieces: `head`, which must hold the checksum's
/// field, then those of `rest`.
///
/// False when it does not; the frame is then unchanged.
pub fn complete_parts(head: &mut [u8], rest: &[&[u8]], request: super::ChecksumRequest) -> bool {
    let Some(covered) = head.get_mut(usize::from(request.start)..) else {
        return false;
    };
    let first = Pieces::default().piece(covered);
    let offset = usize::from(request.offset);
    match covered.get_mut(offset..).and_then(<[u8]>::first_chunk_mut) {
        Some(field) => {
            let all = rest.iter().fold(first, |sum, bytes| sum.piece(bytes));
            let sum = match all.finish() {
                0 => 0xffff,
                sum => sum,
            };
            *field = u16::to_be_bytes(sum);
            true
        }
        None => false,
    }
}

#[cfg(test)]
mod tests;
