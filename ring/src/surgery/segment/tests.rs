//! Segments against the plain reference, however the frame lies in memory.

use proptest::prelude::*;

use super::*;
use crate::net::frames::EVERY;
use crate::net::{HEAD_LEN, inspect};
use crate::surgery::peel::tests::super_frame;
use crate::surgery::reference::{finish, reference};

proptest! {
    #[test]
    fn every_segment_is_that_of_the_reference(
        kind in prop::sample::select(&[Gso::Tcp4, Gso::Tcp6, Gso::Udp]),
        (tags, options) in (0..=2_usize, 0..4_u8),
        flags in prop::sample::select(&[0x10_u8, 0x18, 0x11, 0x19, 0x98, 0xd9]),
        (size, len) in (100..1500_u16, 1600..9000_usize),
        cuts in prop::collection::vec(0..3000_usize, 0..6),
    ) {
        let payload: Vec<u8> = (0..=250_u8).cycle().step_by(7).take(len).collect();
        let sent = super_frame(kind, tags, options, flags, size, &payload);
        let (header, frame) = &sent;
        let head = &frame[..frame.len().min(HEAD_LEN)];
        let facts = inspect(header, head, u32::try_from(frame.len()).unwrap(), EVERY).unwrap();
        let mut pieces = Vec::new();
        let mut left = &frame[..];
        for cut in cuts {
            let (piece, after) = left.split_at(cut.min(left.len()));
            pieces.push(piece);
            left = after;
        }
        pieces.push(left);
        let mut out = Part::new();
        let mut cut = |index, finished| {
            let payload = segment(&facts, head, &pieces, index, finished, &mut out).unwrap();
            let payload = payload.start as usize..payload.end as usize;
            (*out.header(), [out.headers(), &frame[payload]].concat())
        };
        let expected = reference(&sent);
        prop_assert_eq!(expected.len(), facts.segments as usize);
        for (index, expected) in expected.iter().enumerate() {
            let index = u32::try_from(index).unwrap();
            let (header, segment) = cut(index, true);
            prop_assert!(segment == *expected, "segment {}", index);
            prop_assert_eq!(header, [0; HEADER_LEN]);
            let (header, mut segment) = cut(index, false);
            prop_assert_eq!(header[0], 1);
            finish(&mut segment, facts.checksum.unwrap());
            prop_assert!(segment == *expected, "segment {}, left to be finished", index);
        }
    }
}

#[test]
fn a_zero_sum_is_the_kernels() {
    for (kind, zero) in [
        (Gso::Tcp4, [0, 0]),
        (Gso::Tcp6, [0, 0]),
        (Gso::Udp, [0xff, 0xff]),
    ] {
        let mut payload = vec![0; 3000];
        let cut = |payload: &[u8]| {
            let (header, frame) = super_frame(kind, 0, 0, 0x10, 1000, payload);
            let head = &frame[..HEAD_LEN];
            let facts = inspect(&header, head, u32::try_from(frame.len()).unwrap(), EVERY).unwrap();
            let mut out = Part::new();
            segment(&facts, head, &[&frame], 1, true, &mut out).unwrap();
            let at = facts.checksum.unwrap().end() as usize - 2;
            [out.headers()[at], out.headers()[at + 1]]
        };
        // The checksum itself, added to what is summed, makes all ones of it.
        let sum = cut(&payload);
        payload[1000..1002].copy_from_slice(&sum);
        assert_eq!(cut(&payload), zero);
    }
}

#[test]
fn a_frame_that_is_not_all_there_is_not_cut() {
    let (header, frame) = super_frame(Gso::Tcp4, 0, 0, 0x10, 1000, &[1; 5000]);
    let facts = inspect(&header, &frame[..HEAD_LEN], 5054, EVERY).unwrap();
    let cut = |frame: &[&[u8]], index, finish| {
        segment(
            &facts,
            &frame[0][..HEAD_LEN],
            frame,
            index,
            finish,
            &mut Part::new(),
        )
    };
    let short = &frame[..5053];
    assert_eq!(cut(&[short], 4, true), Err(PeelFault::Range));
    assert_eq!(cut(&[short], 4, false), Ok(4054..5054));
    assert_eq!(cut(&[short], 3, true), Ok(3054..4054));
    assert_eq!(cut(&[&frame], 5, true), Err(PeelFault::Range));
}
