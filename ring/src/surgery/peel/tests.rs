//! Any way of peeling, cut by a plain reference, gives the segments of the whole.

use proptest::prelude::*;

use super::*;
use crate::net::frames::*;
use crate::net::inspect;
use crate::surgery::reference::{Sent, reference, seed_of};
use crate::surgery::*;

/// A super-frame of each kind, with an honest guest's seed.
pub(crate) fn super_frame(
    kind: Gso,
    tags: usize,
    options: u8,
    flags: u8,
    size: u16,
    payload: &[u8],
) -> Sent {
    let tags = vec![7; tags];
    let (ethertype, packet, l3) = match kind {
        Gso::Tcp4 => (0x0800, ipv4(6, options, &tcp(flags, options, payload)), 20),
        Gso::Tcp6 => (
            0x86dd,
            ipv6(6, &vec![60; options.into()], &tcp(flags, 3, payload)),
            40,
        ),
        _ if options > 2 => (0x86dd, ipv6(17, &[], &udp(payload)), 40),
        _ => (0x0800, ipv4(17, 0, &udp(payload)), 20),
    };
    let extra = match kind {
        Gso::Tcp4 => 4 * u16::from(options),
        Gso::Tcp6 => 8 * u16::from(options),
        _ => 0,
    };
    let start = u16::try_from(14 + 4 * tags.len()).unwrap() + l3 + extra;
    let (code, offset) = match kind {
        Gso::Tcp4 => (1, 16),
        Gso::Tcp6 => (4, 16),
        _ => (5, 6),
    };
    let code = code
        | if kind != Gso::Udp && flags & CWR != 0 {
            0x80
        } else {
            0
        };
    let mut frame = join(ethernet(ethertype, &tags), &packet);
    let at = usize::from(start + offset);
    let seed = seed_of(&frame, usize::from(start), kind);
    frame[at..at + 2].copy_from_slice(&seed.to_be_bytes());
    (header(1, code, size, start, offset), frame)
}

/// Peels `sent` into parts of the given numbers of segments.
fn parts(sent: &Sent, counts: &[u32]) -> Vec<Sent> {
    let (header, frame) = sent;
    let head = &frame[..frame.len().min(512)];
    let facts = inspect(header, head, u32::try_from(frame.len()).unwrap(), EVERY).unwrap();
    let mut counts = counts.iter().copied().chain(std::iter::repeat(3));
    let mut first = 0;
    let mut out = Part::new();
    let mut parts = Vec::new();
    while first < facts.segments {
        let count = counts.next().unwrap();
        let payload = peel(&facts, head, first, count, &mut out).unwrap();
        let payload = payload.start as usize..payload.end as usize;
        let whole = [out.headers(), &frame[payload]].concat();
        assert_eq!(out.bytes().len(), HEADER_LEN + out.headers().len());
        parts.push((*out.header(), whole));
        first += count;
    }
    parts
}

proptest! {
    #[test]
    fn peeling_and_cutting_equals_cutting_the_whole(
        kind in prop::sample::select(&[Gso::Tcp4, Gso::Tcp6, Gso::Udp]),
        (tags, options) in (0..=2_usize, 0..4_u8),
        flags in prop::sample::select(&[0x10_u8, 0x18, 0x11, 0x19, 0x98, 0xd9]),
        (size, len) in (100..1500_u16, 1600..9000_usize),
        counts in prop::collection::vec(1..6_u32, 0..8),
    ) {
        let payload: Vec<u8> = (0..len).map(|n| u8::try_from(n % 251).unwrap()).collect();
        let sent = super_frame(kind, tags, options, flags, size, &payload);
        let cut: Vec<_> = parts(&sent, &counts).iter().flat_map(reference).collect();
        prop_assert_eq!(cut, reference(&sent));
    }
}

#[test]
fn the_ecn_bit_stays_with_the_first_part_and_single_segments_are_plain() {
    let sent = super_frame(Gso::Tcp4, 0, 0, 0x98, 1000, &[1; 5000]);
    let parts = parts(&sent, &[2, 2, 1]);
    let kinds: Vec<_> = parts
        .iter()
        .map(|(header, _)| (header[0], header[1]))
        .collect();
    assert_eq!(kinds, [(1, 0x81), (1, 1), (1, 0)]);
}

#[test]
fn what_must_stay_whole_is_not_peeled() {
    for flags in [SYN, RST, URG] {
        let (header, frame) = super_frame(Gso::Tcp4, 0, 0, flags, 1000, &[1; 5000]);
        let facts = inspect(&header, &frame[..512], 5054, EVERY).unwrap();
        assert!(!facts.peelable());
        assert_eq!(
            peel(&facts, &frame, 0, 1, &mut Part::new()),
            Err(PeelFault::Whole)
        );
    }
    let (header, frame) = super_frame(Gso::Tcp4, 0, 0, 0x10, 1000, &[1; 5000]);
    let facts = inspect(&header, &frame[..512], 5054, EVERY).unwrap();
    for (first, count) in [(0, 0), (5, 1), (u32::MAX, u32::MAX)] {
        let found = peel(&facts, &frame, first, count, &mut Part::new());
        assert_eq!(found, Err(PeelFault::Range));
    }
    assert_eq!(
        peel(&facts, &frame, 3, u32::MAX, &mut Part::new()),
        Ok(3054..5054)
    );
    assert_eq!(
        peel(&facts, &frame[..53], 0, 1, &mut Part::new()),
        Err(PeelFault::Head)
    );
}
