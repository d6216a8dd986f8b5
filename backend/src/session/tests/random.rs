//! Any script of bytes and descriptors ends in a legal state, and every descriptor is closed.

use std::os::fd::{AsFd, BorrowedFd};

use proptest::prelude::*;

use super::support::*;
use crate::session::Request::*;
use crate::session::{Message, Request, Session, protocol};

const NAME: &str = "random";

/// A piece of a script: bytes, how many of which descriptors, and where the write is cut.
#[derive(Clone, Debug)]
struct Piece {
    bytes: Vec<u8>,
    files: usize,
    events: usize,
    cut: usize,
}

fn number() -> impl Strategy<Value = u64> {
    prop_oneof![
        4 => prop::sample::select(vec![0, 1, 2, 3, 64, 256, 0x100, 0x101, PF, FEATURES | PF]),
        1 => any::<u64>(),
        2 => (0u64..0x20).prop_map(|n| USER + n * 0x1000),
    ]
}

/// A message that may well be granted, with the files and events it carries.
fn likely() -> impl Strategy<Value = (Message, usize, usize)> {
    (0..13, 0u32..5, number()).prop_map(|(which, ring, number)| match which {
        0 => (u64_of(SetFeatures, number), 0, 0),
        1 => (u64_of(SetFeatures, FEATURES | PF), 0, 0),
        2 => (u64_of(SetProtocolFeatures, protocol::SERVED), 0, 0),
        3 => (table(&[REGION]), 1, 0),
        4 => (single(AddMemReg, [1 << 30, REGION_LEN, USER * 2, 0]), 1, 0),
        5 => (single(RemMemReg, REGION), 0, 0),
        6 => (state(SetVringNum, ring, 256), 0, 0),
        7 => (state(SetVringEnable, ring, ring % 3), 0, 0),
        8 => (state(GetVringBase, ring.min(3), 0), 0, 0),
        9 => (addresses(ring), 0, 0),
        10 => (u64_of(SetVringKick, ring.into()), 0, 1),
        11 => (
            u64_of(SetVringCall, number),
            0,
            usize::from(number & 0x100 == 0),
        ),
        _ => (u64_of(SetStatus, number), 0, 0),
    })
}

fn piece() -> impl Strategy<Value = Piece> {
    let likely = (likely(), prop::bool::weighted(0.95), 0..40usize).prop_map(
        |((message, files, events), ask, cut)| {
            let message = if ask {
                message.needing_reply()
            } else {
                message
            };
            let bytes = message.encode();
            Piece {
                bytes,
                files,
                events,
                cut,
            }
        },
    );
    let request = (
        0..Request::ALL.len(),
        prop::collection::vec(any::<u8>(), 0..80),
        0..3usize,
    )
        .prop_map(|(at, body, files)| {
            let bytes = Message::request(Request::ALL[at], body)
                .needing_reply()
                .encode();
            Piece {
                bytes,
                files,
                events: 0,
                cut: 0,
            }
        });
    let noise =
        (prop::collection::vec(any::<u8>(), 1..40), 0..9usize).prop_map(|(bytes, files)| Piece {
            bytes,
            files,
            events: 0,
            cut: 0,
        });
    prop_oneof![200 => likely, 3 => request, 1 => noise]
}

fn assert_legal(session: &Session) {
    for ring in session.rings().iter().filter(|ring| ring.started) {
        let (size, addresses) = (ring.size.unwrap(), ring.addresses.unwrap());
        assert!(addresses.resolve(size, session.table()).is_some());
        assert!(session.features().is_some());
    }
    let regions = session.table().regions();
    assert!(regions.len() <= 32);
    assert!(
        regions
            .iter()
            .all(|region| region.offset + region.len <= REGION_LEN)
    );
}

/// The way to two started rings.
fn warm_up() -> Vec<Piece> {
    let mut script = vec![
        (u64_of(SetFeatures, FEATURES | PF), 0, 0),
        (table(&[REGION]), 1, 0),
    ];
    for ring in 0..2 {
        script.push((state(SetVringNum, ring, 256), 0, 0));
        script.push((addresses(ring), 0, 0));
        script.push((u64_of(SetVringKick, ring.into()), 0, 1));
    }
    let piece = |(message, files, events): (Message, usize, usize)| Piece {
        bytes: message.encode(),
        files,
        events,
        cut: 0,
    };
    script.into_iter().map(piece).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn any_script_ends_in_a_legal_state_with_all_descriptors_closed(
        warm: bool,
        script in prop::collection::vec(piece(), 1..40),
    ) {
        let mut rig = Rig::new();
        rig.send(&u64_of(SetProtocolFeatures, protocol::SERVED).encode(), &[]);
        let warm = if warm { warm_up() } else { Vec::new() };
        for piece in warm.iter().chain(&script) {
            let (memory, event) = (memfd(NAME, REGION_LEN), event_fd());
            let mut fds: Vec<BorrowedFd<'_>> = vec![memory.as_fd(); piece.files];
            fds.extend(vec![event.as_fd(); piece.events]);
            let (first, second) = piece.bytes.split_at(piece.cut.min(piece.bytes.len()));
            if first.is_empty() {
                rig.send(second, &fds);
            } else {
                rig.send(first, &fds);
                rig.send(second, &[]);
            }
            rig.replies();
            assert_legal(rig.io.session());
        }
        drop(rig);
        prop_assert_eq!(open_copies(NAME), 0);
    }
}
