//! Every descriptor table of up to four entries, against a plain walk.

use super::*;
use crate::driver::{DESC_INDIRECT, DESC_NEXT, DESC_WRITE};

const LEN: u32 = 16;

/// Flags and next of a descriptor, numbered.
#[derive(Clone, Copy)]
struct Entry {
    flags: u16,
    next: u16,
}

fn entry(code: u32, size: u16) -> Entry {
    let nexts = u32::from(size) + 1;
    let flags = code / nexts;
    Entry {
        flags: u16::try_from(flags).unwrap(),
        next: u16::try_from(code % nexts).unwrap(),
    }
}

/// What a plain reading of virtio 1.3 §2.7.5 says of the chain at descriptor 0.
fn expected(table: &[Entry]) -> Result<Result<u64, ChainFault>, ()> {
    let (mut index, mut read, mut written, mut fault) = (0, 0_u64, 0_u64, None);
    for _ in table {
        let entry = table[index];
        if entry.flags & DESC_INDIRECT != 0 {
            // The table it refers to holds one buffer of no bytes.
            if entry.flags & DESC_NEXT != 0 {
                return Err(());
            }
            return Ok(Err(fault.unwrap_or(ChainFault::ZeroLength)));
        }
        if entry.flags & DESC_WRITE != 0 {
            written += u64::from(LEN);
        } else {
            if written > 0 {
                fault = Some(ChainFault::Order);
            }
            read += u64::from(LEN);
        }
        if entry.flags & DESC_NEXT == 0 {
            let writable = (written > 0).then_some(ChainFault::Writable);
            return Ok(fault.or(writable).map_or(Ok(read), Err));
        }
        index = usize::from(entry.next);
        if index >= table.len() {
            return Err(());
        }
    }
    Err(())
}

fn check_all_tables_of(size: u16, entries: usize) {
    let ring_size = size;
    let mut rig = rig(ring_size, ALL);
    rig.offer(0);
    let codes = 8 * (u32::from(size) + 1);
    let mut code = vec![0_u32; entries];
    let mut table = vec![entry(0, size); entries];
    for index in 0..size {
        rig.driver.raw_descriptor(index, DATA, LEN, 0, 0);
    }
    loop {
        let found = rig.pop().map(|popped| {
            assert!(popped);
            rig.chain.verdict().map(|()| rig.chain.readable_len())
        });
        rig.ring.put_back(rig.ring.outstanding());
        // What was read of the old table is forgotten.
        rig.ring.rebind(Arc::clone(&rig.map)).unwrap();
        assert_eq!(found.map_err(|_| ()), expected(&table), "{code:?}");
        let Some(digit) = code.iter().position(|digit| *digit + 1 < codes) else {
            return;
        };
        for index in 0..=digit {
            code[index] = if index < digit { 0 } else { code[index] + 1 };
            table[index] = entry(code[index], size);
            let Entry { flags, next } = table[index];
            let index = u16::try_from(index).unwrap();
            rig.driver.raw_descriptor(index, DATA, LEN, flags, next);
        }
    }
}

#[test]
fn every_table_of_one_and_two_descriptors_is_walked_as_specified() {
    check_all_tables_of(1, 1);
    check_all_tables_of(2, 2);
}

#[test]
fn every_table_of_four_descriptors_is_walked_as_specified() {
    check_all_tables_of(4, 4);
}
