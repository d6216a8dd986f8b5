use proptest::prelude::*;

use super::*;
use crate::net::HEADER_LEN;

/// Takes the next chain in one or the other way: its readable bytes.
fn taken(rig: &mut Rig, lone: bool) -> Option<Vec<u8>> {
    let mut bytes = vec![0; 4096];
    if lone && let Some((head, len)) = rig.ring.take_lone(&mut bytes) {
        rig.ring.complete(head, 0);
        bytes.truncate(len);
        return Some(bytes);
    }
    if !rig.ring.pop(&mut rig.chain).unwrap() {
        return None;
    }
    let len = rig.chain.copy_to(0, &mut bytes);
    rig.ring.complete(rig.chain.head(), 0);
    bytes.truncate(len);
    Some(bytes)
}

/// Gives the guest a frame in one or the other way; the chains that it took.
fn given(rig: &mut Rig, frame: &[u8], lone: bool) -> u16 {
    let header = [7; HEADER_LEN];
    if lone && rig.ring.place_lone(&header, frame) {
        return 1;
    }
    let mut gather = Gather::new();
    let found = rig.ring.gather(HEADER_LEN + frame.len(), true, &mut gather);
    match found {
        Ok(GatherOutcome::Ready) => rig.ring.fill(&mut gather, &header, &[frame]),
        _ => 0,
    }
}

proptest! {
    #[test]
    fn taking_lone_chains_is_taking_chains(
        chains in proptest::collection::vec(proptest::collection::vec(1..300_u32, 1..4), 1..20),
        lone: bool,
    ) {
        let (mut rig, mut other) = (rig(64, ALL), rig(64, ALL));
        for lens in &chains {
            let mut at = DATA;
            let buffers: Vec<_> = lens.iter().map(|len| {
                at += u64::from(*len) + 1;
                Buffer::readable(at, *len)
            }).collect();
            for rig in [&mut rig, &mut other] {
                rig.add(&buffers);
            }
            prop_assert_eq!(taken(&mut rig, true), taken(&mut other, lone && lens.len() == 1));
        }
        prop_assert_eq!(taken(&mut rig, true), None);
        prop_assert_eq!(rig.ring.next_avail(), other.ring.next_avail());
    }

    #[test]
    fn placing_in_lone_chains_is_gathering_and_filling(
        lens in proptest::collection::vec(13..200_u32, 1..40),
        frames in proptest::collection::vec(14..300_usize, 1..20),
    ) {
        let (mut rig, mut other) = (rig(64, ALL), rig(64, ALL));
        for (at, len) in (0..).zip(&lens) {
            for rig in [&mut rig, &mut other] {
                rig.add(&[Buffer::writable(DATA + 0x100 * at, *len)]);
            }
        }
        for len in frames {
            let frame: Vec<u8> = (0..len).map(|n| u8::try_from(n % 251).unwrap()).collect();
            prop_assert_eq!(given(&mut rig, &frame, true), given(&mut other, &frame, false));
        }
        for rig in [&mut rig, &mut other] {
            rig.ring.publish();
        }
        prop_assert_eq!(rig.ring.next_used(), other.ring.next_used());
        let room = lens.len() * 0x100;
        let bytes = |rig: &Rig| {
            let mut bytes = vec![0; room];
            rig.map.view(DATA, room, &mut 0).unwrap().read(0, &mut bytes);
            bytes
        };
        prop_assert!(bytes(&rig) == bytes(&other));
    }
}

#[test]
fn what_is_not_lone_or_not_good_stays_on_the_ring() {
    let bad = [
        vec![Buffer::writable(DATA, 64)],
        vec![Buffer::readable(DATA, 0)],
        vec![Buffer::readable(DATA, 5000)],
        vec![Buffer::readable(DATA + DATA_LEN - 8, 64)],
        vec![Buffer::readable(u64::MAX - 8, 64)],
        vec![Buffer::readable(DATA, 64), Buffer::readable(DATA, 64)],
    ];
    for buffers in bad {
        let mut rig = rig(8, ALL);
        rig.add(&buffers);
        assert_eq!(rig.ring.take_lone(&mut [0; 4096]), None);
        assert_eq!(rig.ring.outstanding(), 0);
    }
    let bad = [
        vec![Buffer::readable(DATA, 256)],
        vec![Buffer::writable(DATA, 75)],
        vec![Buffer::writable(DATA + DATA_LEN - 8, 256)],
        vec![Buffer::writable(DATA, 12), Buffer::writable(DATA, 256)],
    ];
    for buffers in bad {
        let mut rig = rig(8, ALL);
        rig.add(&buffers);
        assert!(!rig.ring.place_lone(&[0; HEADER_LEN], &[1; 64]));
        assert_eq!(rig.ring.outstanding(), 0);
        assert_eq!(rig.ring.next_used(), 0);
    }
}
