//! Taking chains off the ring: one snapshot of the available index for each batch, one read of
//! each descriptor, a walk bounded by the table's length.

use std::sync::atomic::Ordering;

use super::{Ring, RingFault};
use crate::chain::Chain;
use crate::memory::{GuestMap, View};

pub(super) const NEXT: u16 = 1;
pub(super) const WRITE: u16 = 2;
pub(super) const INDIRECT: u16 = 4;
/// Bytes of one descriptor.
const DESCRIPTOR: u32 = 16;
/// Chains whose beginnings are read together.
const AHEAD: u16 = 16;

/// A private copy of a descriptor (virtio 1.3 §2.7.5).
#[derive(Clone, Copy, Default)]
pub(super) struct Descriptor {
    pub(super) addr: u64,
    pub(super) len: u32,
    pub(super) flags: u16,
    next: u16,
}

impl Descriptor {
    #[inline]
    fn load(table: &View<'_>, index: u16) -> Self {
        let [addr, rest] = table.load_descriptor(index);
        let [l0, l1, l2, l3, f0, f1, n0, n1] = rest.to_le_bytes();
        Self {
            addr,
            len: u32::from_le_bytes([l0, l1, l2, l3]),
            flags: u16::from_le_bytes([f0, f1]),
            next: u16::from_le_bytes([n0, n1]),
        }
    }

    #[inline]
    const fn has(&self, flag: u16) -> bool {
        self.flags & flag != 0
    }
}

/// The beginnings of chains that are popped soon. What a driver on another processor has just written is
/// slow to fetch: read together, the cache lines of many chains come side by side.
#[derive(Default)]
pub(super) struct Ahead {
    /// Available index of the first.
    start: u16,
    count: u16,
    /// Head of each chain, unchecked, and its first descriptor.
    chains: [(u16, Descriptor); AHEAD as usize],
}

impl Ahead {
    #[inline]
    fn get(&self, index: u16) -> Option<(u16, Descriptor)> {
        let at = index.wrapping_sub(self.start);
        if at >= self.count {
            return None;
        }
        self.chains.get(usize::from(at)).copied()
    }

    /// Forgets what was read.
    pub(super) fn clear(&mut self) {
        self.count = 0;
    }
}

impl Ring {
    /// Looks at the available index once and says how many heads can be popped.
    ///
    /// # Errors
    /// [`RingFault::AvailIndex`] when it moved backwards or by more than the ring holds.
    #[inline]
    pub fn available(&mut self) -> Result<u16, RingFault> {
        // Acquire: the entries and descriptors written before the index are read after it.
        let found = self.parts.avail.view().load_u16(2, Ordering::Acquire);
        let size = self.layout.size;
        if found.wrapping_sub(self.snapshot) > size || found.wrapping_sub(self.completed) > size {
            return Err(RingFault::AvailIndex {
                expected: self.snapshot,
                found,
            });
        }
        self.snapshot = found;
        Ok(self.pending())
    }

    /// Pops the next chain into `chain`. False when there is none; a chain that makes no good
    /// frame is popped all the same, see [`Chain::verdict`].
    ///
    /// # Errors
    /// See [`RingFault`]. The head is not popped then.
    #[inline]
    pub fn pop(&mut self, chain: &mut Chain) -> Result<bool, RingFault> {
        if self.pending() == 0 && self.available()? == 0 {
            return Ok(false);
        }
        let popped = self.pop_pending(chain);
        match popped {
            Ok(()) => self.popped = self.popped.wrapping_add(1),
            Err(_) => self.ahead.clear(),
        }
        popped.map(|()| true)
    }

    #[inline]
    fn pop_pending(&mut self, chain: &mut Chain) -> Result<(), RingFault> {
        let (head, first) = self.next();
        if head >= self.layout.size {
            return Err(RingFault::Head(head));
        }
        chain.begin(&self.map, head);
        let mut walk = Walk {
            map: &self.map,
            indirect: self.options.indirect,
            hint: &mut self.hint,
            chain,
        };
        walk.table(&self.parts.desc.view(), first, self.layout.size)
    }

    /// The next pending chain's head, unchecked, and its first descriptor.
    #[inline]
    pub(super) fn next(&mut self) -> (u16, Descriptor) {
        match self.ahead.get(self.popped) {
            Some(known) => known,
            None => self.read_ahead(),
        }
    }

    /// Reads the beginnings of the next chains that are pending; the first of them.
    fn read_ahead(&mut self) -> (u16, Descriptor) {
        let count = self.pending().min(AHEAD);
        let (avail, table) = (self.parts.avail.view(), self.parts.desc.view());
        self.ahead.start = self.popped;
        self.ahead.count = count;
        for by in 0..count {
            let offset = self.entry(self.popped.wrapping_add(by), 2);
            let head = avail.load_u16(offset, Ordering::Relaxed);
            if let Some(chain) = self.ahead.chains.get_mut(usize::from(by)) {
                *chain = (head, Descriptor::default());
            }
            table.prefetch(usize::from(head).saturating_mul(16));
        }
        for (head, first) in self.ahead.chains.iter_mut().take(usize::from(count)) {
            if *head < self.layout.size {
                *first = Descriptor::load(&table, *head);
                self.map.prefetch(first.addr, first.len, &mut self.hint);
            }
        }
        self.ahead.chains.first().copied().unwrap_or_default()
    }

    /// Takes back the last `n` pops; at most those that are not completed.
    pub fn put_back(&mut self, n: u16) {
        debug_assert!(n <= self.outstanding(), "put back more than was popped");
        self.popped = self.popped.wrapping_sub(n.min(self.outstanding()));
    }
}

/// One walk through a descriptor table, and at most one indirect table at its end.
struct Walk<'a> {
    map: &'a GuestMap,
    indirect: bool,
    hint: &'a mut usize,
    chain: &'a mut Chain,
}

impl Walk<'_> {
    #[inline]
    fn table(&mut self, table: &View<'_>, first: Descriptor, size: u16) -> Result<(), RingFault> {
        let mut descriptor = first;
        for left in (0..size).rev() {
            if descriptor.has(INDIRECT) {
                return self.indirect(descriptor, size);
            }
            self.buffer(descriptor)?;
            if !descriptor.has(NEXT) {
                return Ok(());
            }
            if descriptor.next >= size {
                return Err(RingFault::Next(descriptor.next));
            }
            if left > 0 {
                descriptor = Descriptor::load(table, descriptor.next);
            }
        }
        Err(RingFault::Loop)
    }

    #[inline]
    fn indirect(&mut self, head: Descriptor, queue_size: u16) -> Result<(), RingFault> {
        if !self.indirect {
            return Err(RingFault::IndirectNotNegotiated);
        }
        if head.has(NEXT) {
            return Err(RingFault::IndirectNext);
        }
        let count = head.len.div_euclid(DESCRIPTOR);
        let whole = head.len.is_multiple_of(DESCRIPTOR) && count > 0;
        let count = match u16::try_from(count) {
            Ok(count) if whole && count <= queue_size => count,
            _ => return Err(RingFault::IndirectLength(head.len)),
        };
        let table = self
            .map
            .view(head.addr, usize::from(count).saturating_mul(16), self.hint)
            .map_err(RingFault::IndirectTable)?;
        let mut index = 0;
        for _ in 0..count {
            let descriptor = Descriptor::load(&table, index);
            if descriptor.has(INDIRECT) {
                return Err(RingFault::IndirectNested);
            }
            self.buffer(descriptor)?;
            if !descriptor.has(NEXT) {
                return Ok(());
            }
            index = descriptor.next;
            if index >= count {
                return Err(RingFault::Next(index));
            }
        }
        Err(RingFault::Loop)
    }

    #[inline]
    fn buffer(&mut self, descriptor: Descriptor) -> Result<(), RingFault> {
        let writable = descriptor.has(WRITE);
        self.chain
            .push(descriptor.addr, descriptor.len, writable, self.hint)
            .map_err(RingFault::Buffer)
    }
}
