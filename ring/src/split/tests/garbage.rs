//! Rings full of anything: a chain inside guest memory or a fault, in bounded time, never a panic.

use proptest::prelude::*;
use vm_memory::{GuestMemoryBackend, GuestMemoryRegion};

use super::*;
use crate::memory::IoVecs;

/// Where the regions are in this process.
fn regions(map: &GuestMap) -> Vec<(usize, usize)> {
    map.memory()
        .iter()
        .map(|region| {
            let slice = region.as_volatile_slice().unwrap();
            (slice.ptr_guard().as_ptr().addr(), slice.len())
        })
        .collect()
}

/// Descriptors near enough to good ones to get somewhere.
fn descriptor() -> impl Strategy<Value = (u64, u32, u16, u16)> {
    let addr = prop_oneof![
        8 => DATA..DATA + DATA_LEN,
        2 => Just(RINGS),
        1 => any::<u64>(),
    ];
    let len =
        prop_oneof![8 => 0..300_u32, 2 => (1..20_u32).prop_map(|n| n * 16), 1 => any::<u32>()];
    (addr, len, 0..8_u16, 0..18_u16)
}

proptest! {
    #[test]
    fn whatever_the_ring_holds_segments_lie_in_guest_memory(
        table in prop::collection::vec(descriptor(), 16),
        nested in prop::collection::vec(descriptor(), 16),
        entries in prop::collection::vec(0..18_u16, 16),
        idx in 0..18_u16,
        receive in any::<bool>(),
    ) {
        let mut rig = rig(16, ALL);
        for (index, (addr, len, flags, next)) in (0_u16..).zip(table) {
            rig.driver.raw_descriptor(index, addr & !0xf, len, flags, next);
        }
        for (at, (addr, len, flags, next)) in (0_u64..).zip(nested) {
            let bytes = crate::driver::descriptor(addr, len, flags & 3, next);
            rig.driver.poke(DATA + 16 * at, &bytes).unwrap();
        }
        for (index, head) in (0_u16..).zip(entries) {
            rig.driver.raw_avail_entry(index, head);
        }
        rig.driver.raw_avail_idx(idx);
        let regions = regions(&rig.map);
        let mut list = IoVecs::default();
        let mut gather = Gather::new();
        for _ in 0..idx {
            if receive {
                match rig.ring.gather(200, true, &mut gather) {
                    Ok(GatherOutcome::Ready) => {
                        rig.ring.fill(&mut gather, &[0; 12], &[&[0xee; 150]]);
                    }
                    Ok(_) | Err(_) => break,
                }
                continue;
            }
            match rig.pop() {
                Ok(true) => {}
                Ok(false) | Err(_) => break,
            }
            rig.chain.iovecs(0, &mut list);
            let mut total = 0;
            for segment in list.as_raw() {
                let (base, len) = (segment.iov_base.addr(), segment.iov_len);
                total += len as u64;
                let inside = |&(start, size): &(usize, usize)| {
                    base >= start && base - start <= size && len <= size - (base - start)
                };
                prop_assert!(regions.iter().any(inside));
            }
            if rig.chain.verdict().is_ok() {
                prop_assert_eq!(total, rig.chain.readable_len());
            }
            let mut bytes = [0; 600];
            rig.chain.copy_to(0, &mut bytes);
            rig.ring.complete(rig.chain.head(), 0);
        }
        rig.ring.publish();
    }
}
