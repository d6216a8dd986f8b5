//! The driver half of a split ring, for tests and for front-ends made for tests.
//!
//! Beside an honest driver ([`Driver::add`], [`Driver::publish`], [`Driver::collect`]) it has the
//! pokes of a hostile one ([`Driver::poke`], [`Driver::raw_descriptor`] ...). It is fast enough to
//! generate load: adding touches only its own tables and the ring, and one publication makes a
//! batch visible.

use std::sync::Arc;
use std::sync::atomic::{Ordering, fence};

use crate::memory::{GuestMap, MemoryFault};
use crate::split::{Parts, RingLayout, RingOptions, SetupError};

/// `VIRTQ_DESC_F_NEXT`.
pub const DESC_NEXT: u16 = 1;
/// `VIRTQ_DESC_F_WRITE`.
pub const DESC_WRITE: u16 = 2;
/// `VIRTQ_DESC_F_INDIRECT`.
pub const DESC_INDIRECT: u16 = 4;

/// One buffer of a chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Buffer {
    /// Guest physical address.
    pub addr: u64,
    /// Length in bytes.
    pub len: u32,
    /// Whether the device writes it.
    pub writable: bool,
}

impl Buffer {
    /// A buffer that the device reads.
    #[must_use]
    pub const fn readable(addr: u64, len: u32) -> Self {
        Self {
            addr,
            len,
            writable: false,
        }
    }

    /// A buffer that the device writes.
    #[must_use]
    pub const fn writable(addr: u64, len: u32) -> Self {
        Self {
            addr,
            len,
            writable: true,
        }
    }

    const fn flags(&self) -> u16 {
        if self.writable { DESC_WRITE } else { 0 }
    }
}

/// A used element.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Used {
    /// Head of the chain, as the device wrote it.
    pub head: u32,
    /// Bytes the device says it has written.
    pub len: u32,
}

/// Lays out a ring from `base` (which is rounded up to 16 bytes) and answers the first address
/// after it.
#[must_use]
pub fn layout_at(base: u64, size: u16) -> (RingLayout, u64) {
    let count = u64::from(size);
    let desc = base.next_multiple_of(16);
    let avail = desc.saturating_add(count.saturating_mul(16));
    let used = avail
        .saturating_add(count.saturating_mul(2))
        .saturating_add(6)
        .next_multiple_of(4);
    let end = used
        .saturating_add(count.saturating_mul(8))
        .saturating_add(6);
    let layout = RingLayout {
        size,
        desc,
        avail,
        used,
    };
    (layout, end)
}

/// The driver half of one split ring.
pub struct Driver {
    parts: Parts,
    map: Arc<GuestMap>,
    layout: RingLayout,
    options: RingOptions,
    /// Descriptors that are free.
    free: Vec<u16>,
    /// For each head in use, the descriptors of its chain.
    chains: Vec<Vec<u16>>,
    next_avail: u16,
    published: u16,
    next_used: u16,
    hint: usize,
}

impl std::fmt::Debug for Driver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Driver")
            .field("layout", &self.layout)
            .field("next_avail", &self.next_avail)
            .field("published", &self.published)
            .field("next_used", &self.next_used)
            .finish_non_exhaustive()
    }
}

impl Driver {
    /// Takes up a ring whose indices both stand at `start`, and writes them.
    ///
    /// # Errors
    /// As [`crate::Ring::new`].
    pub fn new(
        map: Arc<GuestMap>,
        layout: RingLayout,
        options: RingOptions,
        start: u16,
    ) -> Result<Self, SetupError> {
        let parts = Parts::new(&map, &layout, options)?;
        for part in [&parts.avail, &parts.used] {
            let view = part.view();
            view.store_u16(0, 0, Ordering::Relaxed);
            view.store_u16(2, start, Ordering::Release);
        }
        let mut driver = Self {
            parts,
            map,
            layout,
            options,
            free: (0..layout.size).rev().collect(),
            chains: vec![Vec::new(); usize::from(layout.size)],
            next_avail: start,
            published: start,
            next_used: start,
            hint: 0,
        };
        driver.set_used_event(start);
        Ok(driver)
    }

    /// Number of free descriptors.
    #[must_use]
    pub fn free(&self) -> usize {
        self.free.len()
    }

    /// Adds a chain of direct descriptors and answers its head; `None` when the table is full or
    /// `buffers` is empty. The device sees it at [`Self::publish`].
    pub fn add(&mut self, buffers: &[Buffer]) -> Option<u16> {
        let rest = self.free.len().checked_sub(buffers.len())?;
        let head = *self.free.last()?;
        buffers.first()?;
        let slot = self.chains.get_mut(usize::from(head))?;
        slot.clear();
        slot.extend(self.free.drain(rest..).rev());
        let indices = self.chains.get(usize::from(head))?;
        for (position, (buffer, index)) in buffers.iter().zip(indices).enumerate() {
            let next = indices.get(position.saturating_add(1)).copied();
            let flags = buffer.flags() | next.map_or(0, |_| DESC_NEXT);
            self.raw_descriptor(*index, buffer.addr, buffer.len, flags, next.unwrap_or(0));
        }
        self.push_avail(head);
        Some(head)
    }

    /// Adds a chain through an indirect table at guest address `table`, which the caller keeps
    /// free until the chain is collected. `None` when there is no free descriptor, `buffers` is
    /// empty or the table is not mapped.
    pub fn add_indirect(&mut self, buffers: &[Buffer], table: u64) -> Option<u16> {
        let count = u32::try_from(buffers.len()).ok().filter(|len| *len > 0)?;
        for (position, buffer) in buffers.iter().enumerate() {
            let position = u32::try_from(position).ok()?;
            let next = u16::try_from(position.saturating_add(1)).ok()?;
            let more = position.saturating_add(1) < count;
            let flags = buffer.flags() | if more { DESC_NEXT } else { 0 };
            let at = table.checked_add(u64::from(position).saturating_mul(16))?;
            let bytes = descriptor(buffer.addr, buffer.len, flags, if more { next } else { 0 });
            self.poke(at, &bytes).ok()?;
        }
        let head = self.free.pop()?;
        let slot = self.chains.get_mut(usize::from(head))?;
        slot.clear();
        slot.push(head);
        self.raw_descriptor(head, table, count.saturating_mul(16), DESC_INDIRECT, 0);
        self.push_avail(head);
        Some(head)
    }

    fn push_avail(&mut self, head: u16) {
        self.raw_avail_entry(self.next_avail, head);
        self.next_avail = self.next_avail.wrapping_add(1);
    }

    /// Shows the device everything added since the last call, at once. True when it wants to be
    /// kicked for it.
    pub fn publish(&mut self) -> bool {
        let (old, new) = (self.published, self.next_avail);
        if old == new {
            return false;
        }
        self.published = new;
        self.raw_avail_idx(new);
        fence(Ordering::SeqCst);
        let used = self.parts.used.view();
        if self.options.event_idx {
            let event = used.load_u16(self.event_offset(8), Ordering::Relaxed);
            crate::split::passed(event, new, old)
        } else {
            used.load_u16(0, Ordering::Relaxed) & 1 == 0
        }
    }

    /// Takes the next used element, and frees its chain's descriptors.
    pub fn collect(&mut self) -> Option<Used> {
        let used = self.parts.used.view();
        if used.load_u16(2, Ordering::Acquire) == self.next_used {
            return None;
        }
        let offset = self.slot(self.next_used, 8);
        let mut bytes = [0; 8];
        used.read(offset, &mut bytes);
        let [h0, h1, h2, h3, l0, l1, l2, l3] = bytes;
        self.next_used = self.next_used.wrapping_add(1);
        let head = u32::from_le_bytes([h0, h1, h2, h3]);
        let chain = usize::try_from(head)
            .ok()
            .and_then(|head| self.chains.get_mut(head));
        if let Some(chain) = chain {
            self.free.extend(chain.drain(..).rev());
        }
        Some(Used {
            head,
            len: u32::from_le_bytes([l0, l1, l2, l3]),
        })
    }

    /// Asks to be called for the next used element. True when there are some already.
    pub fn enable_calls(&mut self) -> bool {
        if self.options.event_idx {
            self.set_used_event(self.next_used);
        } else {
            self.raw_avail_flags(0);
        }
        fence(Ordering::SeqCst);
        let used = self.parts.used.view();
        used.load_u16(2, Ordering::Acquire) != self.next_used
    }

    /// Asks not to be called. With event index the event is put far behind.
    pub fn disable_calls(&mut self) {
        if self.options.event_idx {
            self.set_used_event(self.next_used.wrapping_sub(0x8000));
        } else {
            self.raw_avail_flags(1);
        }
    }

    /// Writes `used_event`; nothing without event index.
    pub fn set_used_event(&mut self, event: u16) {
        if self.options.event_idx {
            let offset = self.event_offset(2);
            let avail = self.parts.avail.view();
            avail.store_u16(offset, event, Ordering::Relaxed);
        }
    }

    /// The used index as the device last published it.
    #[must_use]
    pub fn used_idx(&self) -> u16 {
        self.parts.used.view().load_u16(2, Ordering::Acquire)
    }

    /// Writes guest memory.
    ///
    /// # Errors
    /// The range is not mapped.
    pub fn poke(&mut self, addr: u64, bytes: &[u8]) -> Result<(), MemoryFault> {
        let view = self.map.view(addr, bytes.len(), &mut self.hint)?;
        view.write(0, bytes);
        Ok(())
    }

    /// Reads guest memory.
    ///
    /// # Errors
    /// The range is not mapped.
    pub fn peek(&mut self, addr: u64, bytes: &mut [u8]) -> Result<(), MemoryFault> {
        let view = self.map.view(addr, bytes.len(), &mut self.hint)?;
        view.read(0, bytes);
        Ok(())
    }

    /// Writes a descriptor, whatever it says.
    pub fn raw_descriptor(&self, index: u16, addr: u64, len: u32, flags: u16, next: u16) {
        let offset = usize::from(index).saturating_mul(16);
        let bytes = descriptor(addr, len, flags, next);
        self.parts.desc.view().write(offset, &bytes);
    }

    /// Writes the entry of the available ring that index `index` falls on.
    pub fn raw_avail_entry(&self, index: u16, head: u16) {
        let offset = self.slot(index, 2);
        let avail = self.parts.avail.view();
        avail.store_u16(offset, head, Ordering::Relaxed);
    }

    /// Writes the available index, whatever it says.
    pub fn raw_avail_idx(&self, index: u16) {
        self.parts
            .avail
            .view()
            .store_u16(2, index, Ordering::Release);
    }

    /// Writes the available ring's flags.
    pub fn raw_avail_flags(&self, flags: u16) {
        self.parts
            .avail
            .view()
            .store_u16(0, flags, Ordering::Relaxed);
    }

    fn slot(&self, index: u16, each: usize) -> usize {
        let slot = usize::from(index & self.layout.size.wrapping_sub(1));
        slot.saturating_mul(each).saturating_add(4)
    }

    fn event_offset(&self, each: usize) -> usize {
        usize::from(self.layout.size)
            .saturating_mul(each)
            .saturating_add(4)
    }
}

/// The bytes of a descriptor (virtio 1.3 §2.7.5).
pub(crate) fn descriptor(addr: u64, len: u32, flags: u16, next: u16) -> [u8; 16] {
    let tail = u64::from(len) | u64::from(flags) << 32 | u64::from(next) << 48;
    let both = u128::from(addr) | u128::from(tail) << 64;
    both.to_le_bytes()
}
