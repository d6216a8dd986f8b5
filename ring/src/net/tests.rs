//! Hostile rows 25 to 41 and what honest frames look like.

mod honest;

use proptest::prelude::*;

use super::frames::*;
use super::*;

const NONE: [u8; HEADER_LEN] = [0; HEADER_LEN];

pub(super) fn check(header: [u8; HEADER_LEN], frame: &[u8]) -> Result<Facts, FrameFault> {
    check_with(header, frame, EVERY)
}

fn check_with(
    header: [u8; HEADER_LEN],
    frame: &[u8],
    offloads: Offloads,
) -> Result<Facts, FrameFault> {
    let head = &frame[..frame.len().min(HEAD_LEN)];
    inspect(&header, head, u32::try_from(frame.len()).unwrap(), offloads)
}

#[test]
fn rows_25_and_26_runts_are_dropped() {
    let frame = tcp4(100);
    for len in 0..14 {
        assert_eq!(check(NONE, &frame[..len]), Err(FrameFault::Runt));
    }
    assert!(check(NONE, &frame[..14]).is_ok());
    let too_long = inspect(&NONE, &frame, MAX_FRAME_LEN + 1, EVERY);
    assert_eq!(too_long, Err(FrameFault::TooLong));
}

#[test]
fn row_27_unknown_segmentation_is_dropped() {
    for kind in [2, 6, 0x7f, 0x80, 0x85, 0xff] {
        let header = header(1, kind, 1000, 34, 16);
        assert_eq!(check(header, &tcp4(3000)), Err(FrameFault::GsoUnknown));
    }
}

#[test]
fn row_28_segment_sizes_have_a_minimum() {
    for (size, result) in [
        (0, Err(FrameFault::GsoSizeZero)),
        (1, Err(FrameFault::GsoSizeSmall)),
        (47, Err(FrameFault::GsoSizeSmall)),
        (48, Ok(63)),
        (65535, Ok(1)),
    ] {
        let facts = check(header(1, 1, size, 34, 16), &tcp4(3000));
        assert_eq!(facts.map(|facts| facts.segments), result);
    }
}

#[test]
fn row_29_segmentation_needs_a_checksum_request_and_the_feature() {
    let want = |header, offloads| check_with(header, &tcp4(3000), offloads).map(|_| ());
    let tso = header(1, 1, 1000, 34, 16);
    let bare = header(0, 1, 1000, 34, 16);
    let ecn = header(1, 0x81, 1000, 34, 16);
    assert_eq!(want(bare, EVERY), Err(FrameFault::GsoWithoutChecksum));
    let no_tso = Offloads {
        tso4: false,
        ..EVERY
    };
    assert_eq!(want(tso, no_tso), Err(FrameFault::GsoNotNegotiated));
    let no_ecn = Offloads {
        ecn: false,
        ..EVERY
    };
    assert_eq!(want(ecn, no_ecn), Err(FrameFault::GsoNotNegotiated));
    assert_eq!(
        want(tso, Offloads::default()),
        Err(FrameFault::ChecksumNotNegotiated)
    );
    assert_eq!(want(ecn, EVERY), Ok(()));
}

#[test]
fn row_30_segmentation_must_fit_the_protocol() {
    let arp = join(ethernet(0x0806, &[]), &[0; 100]);
    for (kind, frame) in [
        (1, tcp6(3000)),
        (1, udp4(3000)),
        (1, arp),
        (4, tcp4(3000)),
        (5, tcp4(3000)),
    ] {
        let start = if frame[12] == 0x86 { 54 } else { 34 };
        let offset = if frame.get(23) == Some(&17) { 6 } else { 16 };
        let header = header(1, kind, 1000, start, offset);
        assert_eq!(
            check(header, &frame),
            Err(FrameFault::GsoProtocol),
            "{kind}"
        );
    }
}

#[test]
fn row_31_udp_segmentation_is_bounded_and_fragmentation_refused() {
    let uso = |size| header(1, 5, size, 34, 6);
    assert_eq!(
        check(header(1, 3, 1000, 34, 6), &udp4(3000)),
        Err(FrameFault::GsoNotNegotiated)
    );
    assert_eq!(check(uso(1), &udp4(128)).unwrap().segments, 128);
    assert_eq!(
        check(uso(1), &udp4(129)),
        Err(FrameFault::GsoTooManySegments)
    );
    let no_uso = Offloads {
        uso: false,
        ..EVERY
    };
    assert_eq!(
        check_with(uso(100), &udp4(300), no_uso),
        Err(FrameFault::GsoNotNegotiated)
    );
    let mut fragment = udp4(3000);
    fragment[20] = 0x20;
    assert_eq!(check(uso(1000), &fragment), Err(FrameFault::GsoProtocol));
}

#[test]
fn rows_32_and_33_checksum_requests_stay_inside_the_frame() {
    let frame = join(ethernet(0x0800, &[]), &ipv4(47, 0, &[0; 100]));
    for (start, offset, good) in [
        (34, 98, true),
        (34, 99, false),
        (132, 0, true),
        (133, 0, false),
        (65535, 0, false),
        (34, 65535, false),
        (65535, 65535, false),
        (0, 0, false),
        (26, 0, false), // the source address
        (33, 1, false),
    ] {
        let found = check(header(1, 0, 0, start, offset), &frame);
        assert_eq!(found.is_ok(), good, "{start} {offset}: {found:?}");
    }
}

#[test]
fn a_checksum_never_lands_on_bytes_that_were_classified() {
    for (start, offset, good) in [
        (34, 16, true),
        (34, 0, false), // the source port
        (35, 1, false),
        (34, 6, false),
        (42, 10, true), // an inner header
    ] {
        let found = check(header(1, 0, 0, start, offset), &tcp4(100));
        assert_eq!(found.is_ok(), good, "{start} {offset}: {found:?}");
    }
    let inner = header(1, 1, 100, 42, 10);
    assert_eq!(check(inner, &tcp4(300)), Err(FrameFault::ChecksumRange));
}

#[test]
fn rows_34_to_36_hints_and_flags_are_written_anew() {
    let facts = check(header(0xff, 0x81, 1000, 34, 16), &tcp4(3000)).unwrap();
    let written = facts.header();
    assert_eq!(written, [1, 0x81, 54, 0, 0xe8, 3, 34, 0, 16, 0, 0, 0]);
    let facts = check(header(0xfe, 0, 777, 888, 999), &tcp4(3000)).unwrap();
    assert_eq!(facts.header(), [0, 0, 54, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
}

#[test]
fn row_38_bad_ipv4_headers_are_nobodys_class() {
    for (at, value) in [(14, 0x44), (14, 0x4f), (14, 0x65), (16, 0xff), (17, 19)] {
        let mut frame = join(ethernet(0x0800, &[]), &ipv4(6, 0, &tcp(0, 0, &[])));
        frame[at] = value;
        let facts = check(NONE, &frame).unwrap();
        assert_eq!(facts.network, Network::Other, "{at}");
        assert_eq!(
            (facts.source, facts.ports, facts.l4_offset),
            (None, None, None)
        );
        assert_eq!(
            check(header(1, 1, 100, 34, 16), &frame),
            Err(FrameFault::GsoProtocol)
        );
    }
}

#[test]
fn row_39_bad_tcp_offsets_under_segmentation_are_dropped() {
    for offset in [0x00, 0x40] {
        let mut frame = tcp4(3000);
        frame[46] = offset;
        assert_eq!(
            check(header(1, 1, 100, 34, 16), &frame),
            Err(FrameFault::GsoHeaders)
        );
    }
    let mut short = join(ethernet(0x0800, &[]), &ipv4(6, 0, &tcp(0, 0, &[0; 10])));
    short[46] = 0xf0;
    assert_eq!(
        check(header(1, 1, 100, 34, 16), &short),
        Err(FrameFault::GsoHeaders)
    );
}

#[test]
fn row_40_fragments_are_classified_by_addresses() {
    let mut frame = udp4(100);
    frame[21] = 7;
    let later = check(NONE, &frame).unwrap();
    assert_eq!((later.fragment, later.ports), (Fragment::Later, None));
    assert!(later.source.is_some());
    frame[21] = 0;
    frame[20] = 0x20;
    let first = check(NONE, &frame).unwrap();
    assert_eq!(
        (first.fragment, first.ports),
        (Fragment::First, Some((12345, 5201)))
    );
    let short = join(ethernet(0x0800, &[]), &ipv4(17, 0, &[1, 2, 3]));
    assert_eq!(check(NONE, &short).unwrap().ports, None);
}

#[test]
fn row_41_two_vlan_tags_are_read_and_more_are_nobodys_class() {
    for (tags, network) in [
        (&[][..], Network::Ipv4),
        (&[0], Network::Ipv4),
        (&[0x6064, 7], Network::Ipv4),
        (&[1; 3], Network::Other),
        (&[1; 10], Network::Other),
    ] {
        let frame = join(ethernet(0x0800, tags), &ipv4(17, 0, &udp(&[1; 50])));
        let facts = check(NONE, &frame).unwrap();
        assert_eq!(facts.network, network);
        assert_eq!(facts.vlans[0], tags.first().copied());
        assert_eq!(facts.vlans[1], tags.get(1).copied());
    }
    let truncated = ethernet(0x8100, &[]);
    for more in 0..4 {
        let frame = join(truncated.clone(), &vec![0; more]);
        assert_eq!(check(NONE, &frame).unwrap().network, Network::Other);
    }
}

#[test]
fn fault_indices_and_names_are_distinct() {
    let mut names = std::collections::BTreeSet::new();
    for (index, fault) in FrameFault::ALL.into_iter().enumerate() {
        assert_eq!(fault.index(), index);
        assert!(names.insert(fault.name()));
    }
    for (index, fault) in crate::ChainFault::ALL.into_iter().enumerate() {
        assert_eq!(fault.index(), index);
        assert!(names.insert(fault.name()));
    }
}

/// A frame with some bytes overwritten: close to good ones, where the bugs are.
fn mangled() -> impl Strategy<Value = Vec<u8>> {
    let base = prop_oneof![
        Just(tcp4(700)),
        Just(tcp6(700)),
        Just(udp4(700)),
        Just(join(
            ethernet(0x86dd, &[5]),
            &ipv6(6, &[0, 60, 43, 44, 51], &tcp(2, 3, &[9; 99]))
        )),
        prop::collection::vec(any::<u8>(), 0..700),
    ];
    let pokes = prop::collection::vec((0..120_usize, any::<u8>()), 0..6);
    (base, pokes, 0..800_usize).prop_map(|(mut frame, pokes, len)| {
        for (at, value) in pokes {
            if let Some(byte) = frame.get_mut(at) {
                *byte = value;
            }
        }
        frame.truncate(len);
        frame
    })
}

proptest! {
    #[test]
    fn accepted_frames_have_every_offset_inside(
        bytes in any::<[u8; HEADER_LEN]>(),
        kind in prop::sample::select(&[0_u8, 1, 4, 5, 0x81]),
        known in any::<bool>(),
        frame in mangled(),
    ) {
        let mut header = bytes;
        if known {
            header[0] = 1;
            header[1] = kind;
            header[6..10].copy_from_slice(&[34, 0, 16, 0]);
        }
        let len = u32::try_from(frame.len()).unwrap();
        let head = &frame[..frame.len().min(HEAD_LEN)];
        for facts in [inspect(&header, head, len, EVERY), inspect_from_host(&header, head, len)] {
            let Ok(facts) = facts else { continue };
            prop_assert!(u32::from(facts.headers_len) <= len);
            prop_assert!(facts.l3_offset <= facts.headers_len);
            prop_assert!(facts.l4_offset.is_none_or(|l4| l4 <= facts.headers_len));
            prop_assert!(facts.checksum.is_none_or(|request| request.end() <= len));
            prop_assert!(facts.segments >= 1);
            if facts.gso != Gso::None {
                let full = (facts.segments - 1) * u32::from(facts.gso_size);
                let payload = facts.payload_len();
                prop_assert!(full < payload && payload <= full + u32::from(facts.gso_size));
                prop_assert!(usize::from(facts.headers_len) <= head.len());
            }
            // What we write is accepted as it stands, and means the same.
            let again = inspect_from_host(&facts.header(), head, len);
            prop_assert_eq!(again, Ok(facts));
        }
    }
}

#[test]
fn a_plain_header_is_one_that_inspection_leaves_nothing_of() {
    let frame = tcp4(100);
    for flags in 0..=u8::MAX {
        for gso_type in [0, 1, 4, 5, 0x80, 0x81] {
            let mut header = [0xff; HEADER_LEN];
            header[..2].copy_from_slice(&[flags, gso_type]);
            if Header::is_plain(&header) {
                let facts =
                    inspect(&header, &frame, u32::try_from(frame.len()).unwrap(), EVERY).unwrap();
                let [0, 0, _, _, rest @ ..] = facts.header() else {
                    panic!("{header:?} asks for something");
                };
                // Between the two lies the length of the headers, which is but a hint.
                assert_eq!(rest, [0; 8]);
                assert_eq!((facts.gso, facts.checksum), (Gso::None, None));
            } else {
                assert!(flags & 1 != 0 || gso_type != 0);
            }
        }
    }
}
