//! Rows 46 to 51: the guest rewrites what it is asked for, right after it was read.

use std::collections::BTreeMap;

use super::*;
use crate::memory::IoVecs;
use crate::memory::probe::{Probe, install};
use crate::net::{Offloads, inspect};

/// What a device decides from two chains: one direct, one indirect.
type Seen = Vec<(u64, Vec<usize>, Vec<u8>)>;

fn prepare() -> Rig {
    let mut rig = rig(8, ALL);
    rig.driver
        .poke(DATA, &(0..=255).collect::<Vec<u8>>())
        .unwrap();
    let parts = [Buffer::readable(DATA, 12), Buffer::readable(DATA + 12, 100)];
    rig.driver.add(&parts).unwrap();
    let parts = [
        Buffer::readable(DATA + 120, 30),
        Buffer::readable(DATA + 150, 70),
    ];
    rig.driver.add_indirect(&parts, DATA + 0x1000).unwrap();
    rig.driver.publish();
    rig
}

/// Segment addresses relative to the first one, lengths, and the bytes copied.
fn visit(rig: &mut Rig) -> Seen {
    let mut seen = Vec::new();
    assert_eq!(rig.ring.available(), Ok(2));
    let mut first = None;
    for _ in 0..2 {
        assert_eq!(rig.pop(), Ok(true));
        let mut bytes = vec![0; 512];
        let count = rig.chain.copy_to(0, &mut bytes);
        bytes.truncate(count);
        let mut list = IoVecs::default();
        rig.chain.iovecs(0, &mut list);
        let start = *first.get_or_insert_with(|| list.as_raw()[0].iov_base.addr());
        let places = list
            .as_raw()
            .iter()
            .flat_map(|v| [v.iov_base.addr() - start, v.iov_len])
            .collect();
        seen.push((rig.chain.readable_len(), places, bytes));
    }
    seen
}

#[test]
fn rows_46_49_and_50_a_guest_that_rewrites_everything_changes_nothing() {
    let frozen = visit(&mut prepare());
    let mut rig = prepare();
    install(Some(Probe::Flip(0..0)));
    let flipped = visit(&mut rig);
    install(None);
    assert_eq!(frozen, flipped);
}

#[test]
fn row_51_every_guest_byte_is_read_once() {
    let mut rig = prepare();
    install(Some(Probe::Count(BTreeMap::new())));
    visit(&mut rig);
    let Some(Probe::Count(counts)) = install(None) else {
        panic!("the probe is gone");
    };
    assert!(counts.values().all(|count| *count == 1));
    // Three direct and two indirect descriptors, two entries, the index, and the frames.
    assert_eq!(counts.len(), 5 * 16 + 2 * 2 + 2 + 112 + 100);
}

#[test]
fn rows_47_and_48_decisions_and_what_is_sent_come_from_the_same_copy() {
    let mut rig = rig(8, ALL);
    let mut frame = vec![0; 12 + 200];
    frame[24..26].copy_from_slice(&[0x08, 0x06]);
    rig.driver.poke(DATA, &frame).unwrap();
    rig.add(&[Buffer::readable(DATA, 212)]);
    install(Some(Probe::Flip(0..0)));
    assert_eq!(rig.pop(), Ok(true));
    let mut copy = [0; 212];
    rig.chain.copy_to(0, &mut copy);
    install(None);
    let facts = inspect(
        copy[..12].try_into().unwrap(),
        &copy[12..],
        200,
        Offloads::default(),
    );
    assert_eq!(facts.unwrap().network, crate::net::Network::Arp);
    assert_eq!(copy[..], frame[..]);
    let mut now = [0; 1];
    rig.driver.peek(DATA + 24, &mut now).unwrap();
    assert_eq!(now, [!0x08], "the guest did rewrite it");
}
