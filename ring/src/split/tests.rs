//! A ring with both halves over the same memory, and the hostile rows 1 to 24.

mod exhaustive;
mod fetch;
mod garbage;
mod lone;
mod oracle;
mod receive;
mod setup;
mod signals;
mod state;
mod threads;
mod transmit;

use std::sync::Arc;

use vm_memory::GuestAddress;

use super::*;
use crate::driver::{Buffer, Driver, layout_at};

/// Rings lie here, buffers from [`DATA`] on; between them is a hole.
pub(super) const RINGS: u64 = 0x1000;
pub(super) const DATA: u64 = 0x20_0000;
pub(super) const DATA_LEN: u64 = 0x4_0000;

pub(super) const ALL: RingOptions = RingOptions {
    event_idx: true,
    indirect: true,
    in_order: false,
};
pub(super) const PLAIN: RingOptions = RingOptions {
    event_idx: false,
    indirect: false,
    in_order: false,
};

pub(super) struct Rig {
    pub(super) map: Arc<GuestMap>,
    pub(super) layout: RingLayout,
    pub(super) driver: Driver,
    pub(super) ring: Ring,
    pub(super) chain: Chain,
}

pub(super) fn guest_map() -> Arc<GuestMap> {
    let ranges = [
        (GuestAddress(0), 0x10_0000),
        (GuestAddress(DATA), usize::try_from(DATA_LEN).unwrap()),
    ];
    let memory = crate::memory::GuestMemory::from_ranges(&ranges).unwrap();
    Arc::new(GuestMap::new(Arc::new(memory)))
}

pub(super) fn rig_at(size: u16, options: RingOptions, start: u16) -> Rig {
    let map = guest_map();
    let (layout, _) = layout_at(RINGS, size);
    let driver = Driver::new(Arc::clone(&map), layout, options, start).unwrap();
    let ring = Ring::new(Arc::clone(&map), layout, options, start).unwrap();
    Rig {
        map,
        layout,
        driver,
        ring,
        chain: Chain::new(),
    }
}

pub(super) fn rig(size: u16, options: RingOptions) -> Rig {
    rig_at(size, options, 0)
}

impl Rig {
    pub(super) fn add(&mut self, buffers: &[Buffer]) {
        self.driver.add(buffers).unwrap();
        self.driver.publish();
    }

    pub(super) fn pop(&mut self) -> Result<bool, RingFault> {
        self.ring.pop(&mut self.chain)
    }

    /// Offers descriptor `head`, whatever it is.
    pub(super) fn offer(&mut self, head: u16) {
        self.driver.raw_avail_entry(0, head);
        self.driver.raw_avail_idx(1);
    }
}
