//! The fast sum against RFC 1071 as it is written.

use proptest::prelude::*;

use super::*;
use crate::net::ChecksumRequest;

/// One 16-bit word after the other.
fn plain(bytes: &[u8]) -> u16 {
    let sum = bytes.chunks(2).fold(0_u64, |sum, pair| {
        sum + (u64::from(pair[0]) << 8) + pair.get(1).map_or(0, |low| u64::from(*low))
    });
    let mut sum = sum;
    while sum > 0xffff {
        sum = (sum >> 16) + (sum & 0xffff);
    }
    u16::try_from(sum).unwrap()
}

#[test]
fn every_length_and_alignment_sums_to_the_same() {
    for fill in [0, 1, 0x7f, 0xff] {
        let varied: Vec<u8> = (0..400_u32)
            .map(|n| u8::try_from(n.wrapping_mul(167) >> 3 & 0xff).unwrap() | fill)
            .collect();
        for bytes in [varied, vec![fill; 400]] {
            for start in 0..16 {
                for end in start..bytes.len() {
                    let bytes = &bytes[start..end];
                    assert_eq!(Sum::new().bytes(bytes).fold(), plain(bytes));
                }
            }
        }
    }
}

#[test]
fn carries_that_go_round_twice_are_not_lost() {
    // The words of a block fill the register, and the next ones overflow it.
    for ones in 1..40 {
        for last in [0_u8, 1, 2, 0xff] {
            let mut bytes = vec![0xff; 8 * ones];
            bytes.extend([last; 8]);
            bytes.extend([0, 0, 0, 0, 0, 0, 0, last]);
            assert_eq!(Sum::new().bytes(&bytes).fold(), plain(&bytes));
        }
    }
}

proptest! {
    #[test]
    fn any_bytes_sum_to_the_same(
        bytes in prop::collection::vec(any::<u8>(), 0..3000),
        start in 0..64_usize,
    ) {
        let bytes = bytes.get(start..).unwrap_or_default();
        prop_assert_eq!(Sum::new().bytes(bytes).fold(), plain(bytes));
    }

    #[test]
    fn a_frame_in_pieces_gets_the_checksum_of_the_whole(
        frame in prop::collection::vec(any::<u8>(), 60..2000),
        head in 20..60_usize,
        (start, offset) in (0..40_u16, 0..30_u16),
        cuts in prop::collection::vec(0..300_usize, 0..8),
    ) {
        let request = ChecksumRequest { start, offset };
        let fits = request.end() <= u32::try_from(head).unwrap();
        let (first, mut left) = frame.split_at(head);
        let mut rest = Vec::new();
        for cut in cuts {
            let (piece, after) = left.split_at(cut.min(left.len()));
            rest.push(piece);
            left = after;
        }
        rest.push(left);
        let mut first = first.to_vec();
        prop_assert_eq!(complete_parts(&mut first, &rest, request), fits);
        let mut whole = frame.clone();
        if fits {
            let at = usize::from(start + offset);
            let sum = match !plain(&frame[usize::from(start)..]) {
                0 => 0xffff,
                sum => sum,
            };
            whole[at..at + 2].copy_from_slice(&sum.to_be_bytes());
            let mut again = frame.clone();
            prop_assert!(complete(&mut again, request));
            prop_assert!(again == whole);
        }
        prop_assert!([first, rest.concat()].concat() == whole);
    }
}
