use super::*;
use crate::chain::MAX_SEGMENTS;
use crate::driver::{DESC_INDIRECT, DESC_NEXT, DESC_WRITE};
use crate::memory::IoVecs;

#[test]
fn row_1_loops_break_the_ring() {
    for (a, b) in [(0, 1), (1, 0)] {
        let mut rig = rig(8, ALL);
        rig.driver.raw_descriptor(0, DATA, 10, DESC_NEXT, a);
        rig.driver.raw_descriptor(1, DATA, 10, DESC_NEXT, b);
        rig.offer(0);
        assert_eq!(rig.pop(), Err(RingFault::Loop));
    }
}

#[test]
fn row_2_a_next_beyond_the_table_breaks_the_ring() {
    let mut rig = rig(8, ALL);
    rig.driver.raw_descriptor(0, DATA, 10, DESC_NEXT, 8);
    rig.offer(0);
    assert_eq!(rig.pop(), Err(RingFault::Next(8)));
}

#[test]
fn row_3_a_head_beyond_the_table_breaks_the_ring() {
    let mut rig = rig(8, ALL);
    rig.offer(8);
    assert_eq!(rig.pop(), Err(RingFault::Head(8)));
    rig.offer(65535);
    assert_eq!(rig.pop(), Err(RingFault::Head(65535)));
}

#[test]
fn row_4_an_index_jump_breaks_the_ring() {
    let mut rig = rig_at(8, ALL, 65530);
    rig.driver.raw_avail_idx(65530_u16.wrapping_add(9));
    let fault = RingFault::AvailIndex {
        expected: 65530,
        found: 3,
    };
    assert_eq!(rig.ring.available(), Err(fault));
    assert_eq!(rig.pop(), Err(fault));
}

#[test]
fn row_4_more_heads_than_descriptors_outstanding_break_the_ring() {
    let mut rig = rig(4, ALL);
    for _ in 0..4 {
        rig.add(&[Buffer::readable(DATA, 64)]);
        assert_eq!(rig.pop(), Ok(true));
    }
    rig.driver.raw_avail_idx(5);
    assert!(matches!(rig.pop(), Err(RingFault::AvailIndex { .. })));
}

#[test]
fn row_5_an_index_that_moves_backwards_breaks_the_ring() {
    let mut rig = rig(8, ALL);
    for _ in 0..4 {
        rig.add(&[Buffer::readable(DATA, 64)]);
    }
    assert_eq!(rig.ring.available(), Ok(4));
    rig.driver.raw_avail_idx(3);
    assert!(matches!(
        rig.ring.available(),
        Err(RingFault::AvailIndex { .. })
    ));
}

#[test]
fn row_6_no_new_heads_mean_no_work_and_no_signal() {
    let mut rig = rig(8, ALL);
    assert_eq!(rig.pop(), Ok(false));
    assert!(!rig.ring.publish());
    // Advanced without a kick: found at the next look.
    rig.add(&[Buffer::readable(DATA, 64)]);
    assert_eq!(rig.pop(), Ok(true));
}

#[test]
fn row_7_zero_length_buffers_only_cost_the_frame() {
    let some = Buffer::readable(DATA, 64);
    // The address of nothing is not looked at.
    let none = Buffer::readable(0x50_0000, 0);
    for buffers in [[none, some], [some, none], [none, none]] {
        let mut rig = rig(8, ALL);
        rig.add(&buffers);
        assert_eq!(rig.pop(), Ok(true));
        assert_eq!(rig.chain.verdict(), Err(ChainFault::ZeroLength));
        rig.ring.complete(rig.chain.head(), 0);
        rig.ring.publish();
        assert_eq!(rig.driver.collect().unwrap().len, 0);
    }
}

#[test]
fn rows_8_and_9_buffers_outside_memory_break_the_ring() {
    for (addr, len) in [
        (u64::MAX - 4, 10),
        (u64::MAX, 1),
        (DATA + DATA_LEN - 1, 2),
        (DATA + DATA_LEN, 1),
        (DATA - 1, 2),
        (0x10_0000 - 8, 16),
        (0x10_0000, u32::MAX),
    ] {
        let mut rig = rig(8, ALL);
        rig.add(&[Buffer::readable(addr, len)]);
        assert!(
            matches!(rig.pop(), Err(RingFault::Buffer(_))),
            "{addr:#x}+{len}"
        );
        assert_eq!(rig.ring.next_avail(), 0);
    }
}

#[test]
fn row_10_a_header_in_single_bytes_is_one_header() {
    let mut rig = rig(32, ALL);
    let bytes: Vec<u8> = (0..12).chain([0xaa; 60]).collect();
    rig.driver.poke(DATA, &bytes).unwrap();
    let mut buffers: Vec<_> = (0..12).map(|n| Buffer::readable(DATA + n, 1)).collect();
    buffers.push(Buffer::readable(DATA + 12, 60));
    rig.add(&buffers);
    assert_eq!(rig.pop(), Ok(true));
    assert_eq!(rig.chain.verdict(), Ok(()));
    let mut header = [0xff; 12];
    assert_eq!(rig.chain.copy_to(0, &mut header), 12);
    assert_eq!(header[..], bytes[..12]);
    let mut rest = [0; 100];
    assert_eq!(rig.chain.copy_to(12, &mut rest), 60);
    assert_eq!(rig.chain.copy_to(5, &mut header), 12);
    assert_eq!(header[..], bytes[5..17]);
    assert_eq!(rig.chain.copy_to(72, &mut rest), 0);
    assert_eq!(rig.chain.copy_to(usize::MAX, &mut rest), 0);
}

#[test]
fn row_11_more_segments_than_the_cap_only_cost_the_frame() {
    for (count, verdict) in [
        (MAX_SEGMENTS, Ok(())),
        (MAX_SEGMENTS + 1, Err(ChainFault::TooManySegments)),
    ] {
        let mut rig = rig(1024, ALL);
        let buffers: Vec<_> = (0..count).map(|_| Buffer::readable(DATA, 1)).collect();
        rig.add(&buffers);
        assert_eq!(rig.pop(), Ok(true));
        assert_eq!(rig.chain.verdict(), verdict);
        assert_eq!(rig.chain.segments(), MAX_SEGMENTS);
    }
}

#[test]
fn row_12_a_chain_of_4_gib_only_costs_the_frame() {
    // The table of the indirect chain repeats one big region: 4 GiB need a region that is mapped.
    let ranges = [(GuestAddress(0), 0x10_0000), (GuestAddress(DATA), 1 << 28)];
    let memory = crate::memory::GuestMemory::from_ranges(&ranges).unwrap();
    let map = Arc::new(GuestMap::new(Arc::new(memory)));
    let (layout, _) = layout_at(RINGS, 16);
    let mut driver = Driver::new(Arc::clone(&map), layout, ALL, 0).unwrap();
    let mut ring = Ring::new(map, layout, ALL, 0).unwrap();
    let mut chain = Chain::new();
    driver.add(&[Buffer::readable(DATA, 1 << 28); 16]).unwrap();
    driver.publish();
    assert_eq!(ring.pop(&mut chain), Ok(true));
    assert_eq!(chain.verdict(), Err(ChainFault::TooLong));
}

#[test]
fn row_13_writable_buffers_in_a_transmit_ring_only_cost_the_frame() {
    let read = Buffer::readable(DATA, 64);
    let write = Buffer::writable(DATA + 64, 64);
    for (buffers, fault) in [
        (vec![write], ChainFault::Writable),
        (vec![read, write], ChainFault::Writable),
        (vec![write, read], ChainFault::Order),
    ] {
        let mut rig = rig(8, ALL);
        rig.add(&buffers);
        assert_eq!(rig.pop(), Ok(true));
        assert_eq!(rig.chain.verdict(), Err(fault));
    }
}

#[test]
fn rows_14_and_15_bad_indirect_tables_break_the_ring() {
    let table = DATA + 0x1000;
    for (len, flags, entry_flags, entry_next, fault) in [
        (
            16,
            DESC_INDIRECT,
            DESC_INDIRECT,
            0,
            RingFault::IndirectNested,
        ),
        (16, DESC_INDIRECT | DESC_NEXT, 0, 0, RingFault::IndirectNext),
        (0, DESC_INDIRECT, 0, 0, RingFault::IndirectLength(0)),
        (8, DESC_INDIRECT, 0, 0, RingFault::IndirectLength(8)),
        (17, DESC_INDIRECT, 0, 0, RingFault::IndirectLength(17)),
        (
            9 * 16,
            DESC_INDIRECT,
            0,
            0,
            RingFault::IndirectLength(9 * 16),
        ),
        (
            65535 * 16,
            DESC_INDIRECT,
            0,
            0,
            RingFault::IndirectLength(65535 * 16),
        ),
        (
            u32::MAX,
            DESC_INDIRECT,
            0,
            0,
            RingFault::IndirectLength(u32::MAX),
        ),
        (32, DESC_INDIRECT, DESC_NEXT, 2, RingFault::Next(2)),
        (32, DESC_INDIRECT, DESC_NEXT, 0, RingFault::Loop),
    ] {
        let mut rig = rig(8, ALL);
        rig.driver.raw_descriptor(3, table, len, flags, 0);
        let entry = crate::driver::descriptor(DATA, 64, entry_flags, entry_next);
        rig.driver.poke(table, &entry).unwrap();
        rig.offer(3);
        assert_eq!(rig.pop(), Err(fault));
    }
}

#[test]
fn row_14_an_unmapped_table_breaks_the_ring() {
    let mut rig = rig(8, ALL);
    rig.driver
        .raw_descriptor(0, DATA + DATA_LEN - 16, 32, DESC_INDIRECT, 0);
    rig.offer(0);
    assert!(matches!(rig.pop(), Err(RingFault::IndirectTable(_))));
}

#[test]
fn row_16_indirect_without_the_feature_breaks_the_ring() {
    let mut rig = rig(8, PLAIN);
    rig.driver
        .add_indirect(&[Buffer::readable(DATA, 64)], DATA + 0x1000)
        .unwrap();
    rig.driver.publish();
    assert_eq!(rig.pop(), Err(RingFault::IndirectNotNegotiated));
}

#[test]
fn an_indirect_table_may_follow_direct_descriptors_and_needs_no_alignment() {
    let mut rig = rig(8, ALL);
    let table = DATA + 0x1003;
    // The WRITE flag of the descriptor that refers to a table is ignored (virtio 1.3 §2.7.5.3.2).
    rig.driver.raw_descriptor(0, DATA, 12, DESC_NEXT, 5);
    rig.driver
        .raw_descriptor(5, table, 16, DESC_INDIRECT | DESC_WRITE, 0);
    let entry = crate::driver::descriptor(DATA + 100, 64, 0, 0);
    rig.driver.poke(table, &entry).unwrap();
    rig.offer(0);
    assert_eq!(rig.pop(), Ok(true));
    assert_eq!(rig.chain.verdict(), Ok(()));
    assert_eq!((rig.chain.segments(), rig.chain.readable_len()), (2, 76));
}

#[test]
fn row_22_what_the_guest_writes_into_the_used_ring_has_no_effect() {
    let mut rig = rig(8, ALL);
    rig.add(&[Buffer::readable(DATA, 64)]);
    assert_eq!(rig.pop(), Ok(true));
    rig.driver
        .poke(rig.layout.used, &[0xff; 4 + 8 * 8 + 2])
        .unwrap();
    rig.ring.complete(rig.chain.head(), 0);
    rig.driver.set_used_event(0);
    assert!(rig.ring.publish());
    assert_eq!(rig.driver.used_idx(), 1);
    assert_eq!((rig.ring.next_used(), rig.ring.next_avail()), (1, 1));
}

#[test]
fn row_23_buffers_over_the_rings_themselves_are_only_garbage() {
    let mut rig = rig(8, ALL);
    let whole = Buffer::readable(RINGS, 0x400);
    rig.add(&[whole]);
    assert_eq!(rig.pop(), Ok(true));
    let mut copy = [0; 0x400];
    assert_eq!(rig.chain.copy_to(0, &mut copy), 0x400);
    rig.ring.complete(rig.chain.head(), 0);
    rig.ring.publish();
    assert_eq!(rig.driver.collect().unwrap().head, 0);
}

#[test]
fn chains_put_back_come_again_in_order() {
    let mut rig = rig(8, ALL);
    for len in [60, 61, 62] {
        rig.add(&[Buffer::readable(DATA, len)]);
    }
    for _ in 0..3 {
        assert_eq!(rig.pop(), Ok(true));
    }
    rig.ring.put_back(2);
    assert_eq!(rig.ring.pending(), 2);
    for len in [61, 62] {
        assert_eq!(rig.pop(), Ok(true));
        assert_eq!(rig.chain.readable_len(), len);
    }
    assert_eq!((rig.ring.next_avail(), rig.ring.outstanding()), (0, 3));
}

#[test]
fn a_frame_is_written_to_a_pipe_with_its_prefix() {
    use std::io::Read;
    use std::os::fd::AsFd;
    let mut rig = rig(8, ALL);
    rig.driver.poke(DATA, b"headpayload").unwrap();
    rig.add(&[Buffer::readable(DATA, 6), Buffer::readable(DATA + 6, 5)]);
    assert_eq!(rig.pop(), Ok(true));
    let (mut reader, writer) = std::io::pipe().unwrap();
    let mut scratch = IoVecs::default();
    let written =
        crate::write_vectored(writer.as_fd(), b"HEAD", &rig.chain, 4, &mut scratch).unwrap();
    assert_eq!((written, scratch.len()), (11, 0));
    let mut bytes = [0; 11];
    reader.read_exact(&mut bytes).unwrap();
    assert_eq!(&bytes, b"HEADpayload");
    rig.chain.iovecs(4, &mut scratch);
    let lens: Vec<_> = scratch.as_raw().iter().map(|v| v.iov_len).collect();
    assert_eq!(lens, [2, 5]);
}

#[test]
fn what_is_read_ahead_is_popped_in_order_and_again_after_it_was_put_back() {
    // More than are read together, and across the end of the ring and of the index.
    let mut rig = rig(32, ALL);
    let mut next = 0_u32;
    for _ in 0..3000 {
        let lens: Vec<u32> = (0..24).map(|by| 20 + (next + by) % 900).collect();
        next = next.wrapping_add(7);
        for len in &lens {
            rig.add(&[Buffer::readable(DATA, *len)]);
        }
        let mut popped = Vec::new();
        while popped.len() < lens.len() {
            assert_eq!(rig.pop(), Ok(true));
            popped.push(u32::try_from(rig.chain.readable_len()).unwrap());
            // Every third is looked at twice, every seventh together with the one before it.
            let back = match popped.len() {
                len if len % 7 == 6 => 2,
                len if len % 3 == 2 => 1,
                _ => continue,
            };
            rig.ring.put_back(back);
            for again in &popped[popped.len() - usize::from(back)..] {
                assert_eq!(rig.pop(), Ok(true));
                assert_eq!(rig.chain.readable_len(), u64::from(*again));
            }
        }
        assert_eq!(popped, lens);
        rig.ring.put_back(24);
        for _ in 0..24 {
            assert_eq!(rig.pop(), Ok(true));
            rig.ring.complete(rig.chain.head(), 0);
        }
        rig.ring.publish();
        while rig.driver.collect().is_some() {}
    }
}
