//! The bytes of a TCP transfer: made from a seed, so that whoever knows it knows their hash without having
//! seen them. A guest that sends need not hash, which under emulation would take longer than the sending.

use std::fmt::Write as _;

use sha2::{Digest, Sha256};

use crate::protocol::StreamReport;

/// Bytes of one block.
const BLOCK: usize = 65_536;

/// Every so many bytes stand the seed's random ones with the place in the stream added: less than a segment
/// holds, so that a lost, doubled or misplaced one changes the hash.
const STAMP: usize = 512;

/// The blocks of a stream, one after the other.
#[derive(Debug)]
pub struct Pattern {
    block: Vec<u8>,
    at: u64,
}

impl Pattern {
    /// The stream of a seed, from its beginning.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        // xorshift64 stays at zero.
        let mut state = seed | 1 << 63;
        let mut block = vec![0; BLOCK];
        for word in block.chunks_exact_mut(8) {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            word.copy_from_slice(&state.to_le_bytes());
        }
        Self { block, at: 0 }
    }

    /// The next block, of at most `most` bytes.
    pub fn next_block(&mut self, most: u64) -> &[u8] {
        for piece in self.block.chunks_exact_mut(STAMP) {
            if let Some(stamp) = piece.first_chunk_mut() {
                self.at += 1;
                *stamp = self.at.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes();
            }
        }
        let size = usize::try_from(most).map_or(BLOCK, |most| most.min(BLOCK));
        self.block.get(..size).unwrap_or(&[])
    }

    /// What a receiver of the first `bytes` bytes of a seed's stream must report.
    #[must_use]
    pub fn report(seed: u64, bytes: u64) -> StreamReport {
        let mut pattern = Self::new(seed);
        let mut hash = Sha256::new();
        let mut left = bytes;
        while left > 0 {
            let block = pattern.next_block(left);
            hash.update(block);
            left -= block.len() as u64;
        }
        report(bytes, hash)
    }
}

/// A report of so many bytes with this hash.
#[must_use]
pub fn report(bytes: u64, hash: Sha256) -> StreamReport {
    let sha256 = hash
        .finalize()
        .iter()
        .fold(String::new(), |mut text, byte| {
            // Writing to a string does not fail.
            let _ = write!(text, "{byte:02x}");
            text
        });
    StreamReport { bytes, sha256 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seed_length_and_place_all_show_in_the_hash() {
        let whole = Pattern::report(7, 200_000);
        assert_eq!(whole, Pattern::report(7, 200_000));
        assert_ne!(whole.sha256, Pattern::report(8, 200_000).sha256);
        assert_ne!(whole.sha256, Pattern::report(7, 199_999).sha256);
        let mut pattern = Pattern::new(7);
        let first = pattern.next_block(u64::MAX).to_vec();
        let second = pattern.next_block(u64::MAX);
        for (first, second) in first.chunks(STAMP).zip(second.chunks(STAMP)) {
            assert_ne!(first, second);
        }
    }

    #[test]
    fn the_hash_is_sha_256() {
        // FIPS 180-4: of the empty message.
        assert!(Pattern::report(1, 0).sha256.starts_with("e3b0c44298fc1c14"));
    }
}
