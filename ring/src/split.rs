//! The device half of a split virtqueue (virtio 1.3 §2.7): set-up here, chains in `pop`,
//! completion and notification in `used`, whole frames towards the guest in `gather`.
//!
//! All indices the device relies on are private: what the guest writes into the used ring or the
//! device-written event field has no effect (hostile row 22).

mod gather;
mod lone;
mod pop;
mod state;
mod used;

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::chain::{Chain, ChainFault, Head};
use crate::memory::{GuestMap, MemoryFault, Window};

pub use gather::{Gather, GatherOutcome};
use pop::Ahead;
pub use state::RingState;
#[cfg(any(test, feature = "test-driver"))]
pub(crate) use used::passed;

/// Largest queue size (virtio 1.3 §2.7).
pub const MAX_QUEUE_SIZE: u16 = 32768;

/// Where a ring lies, in guest physical addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RingLayout {
    /// Number of descriptors: a power of two, at most [`MAX_QUEUE_SIZE`].
    pub size: u16,
    /// Descriptor table, 16-byte aligned, 16 bytes for each descriptor.
    pub desc: u64,
    /// Available ring, 2-byte aligned, 6 bytes and 2 for each descriptor.
    pub avail: u64,
    /// Used ring, 4-byte aligned, 6 bytes and 8 for each descriptor.
    pub used: u64,
}

/// What was negotiated for a ring.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RingOptions {
    /// `VIRTIO_F_EVENT_IDX`.
    pub event_idx: bool,
    /// `VIRTIO_F_INDIRECT_DESC`.
    pub indirect: bool,
    /// `VIRTIO_F_IN_ORDER`. Used elements are written one by one and in ring order in any case,
    /// which both kinds of driver accept; kept so that a ring can say what its driver believes.
    pub in_order: bool,
}

/// A ring that cannot be set up. The front-end is at fault; the caller refuses the request and
/// keeps the old state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SetupError {
    /// The size is zero, above [`MAX_QUEUE_SIZE`] or not a power of two.
    #[error("queue size {0} is not a power of two up to 32768")]
    Size(u16),
    /// A part is not aligned as virtio 1.3 §2.7 asks, in the guest or as mapped here.
    #[error("{part} at {addr:#x} is not aligned")]
    Misaligned {
        /// The part of the ring.
        part: &'static str,
        /// Its guest physical address.
        addr: u64,
    },
    /// A part does not lie inside one region of guest memory.
    #[error("{part} is not mapped")]
    Unmapped {
        /// The part of the ring.
        part: &'static str,
        /// The range that was looked up.
        #[source]
        fault: MemoryFault,
    },
    /// Two parts share bytes.
    #[error("parts of the ring overlap")]
    Overlap,
}

/// A ring that cannot go on. The guest's driver is at fault in every case; the caller stops this
/// ring (and only this), signals its error descriptor and counts the reason, until it is reset.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RingFault {
    /// The available index moved backwards, or further than the ring is long.
    #[error("available index {found} after {expected}")]
    AvailIndex {
        /// What the index was before.
        expected: u16,
        /// What the driver wrote.
        found: u16,
    },
    /// The head of a chain is not a descriptor of this ring.
    #[error("head {0} is beyond the descriptor table")]
    Head(u16),
    /// A `next` field leads outside its table.
    #[error("next {0} is beyond the descriptor table")]
    Next(u16),
    /// A chain visits more descriptors than its table has.
    #[error("descriptor chain loops")]
    Loop,
    /// A buffer is not inside one region of guest memory.
    #[error("buffer outside guest memory")]
    Buffer(#[source] MemoryFault),
    /// An indirect table is not inside one region of guest memory.
    #[error("indirect table outside guest memory")]
    IndirectTable(#[source] MemoryFault),
    /// An indirect descriptor without `VIRTIO_F_INDIRECT_DESC`.
    #[error("indirect descriptor, which was not negotiated")]
    IndirectNotNegotiated,
    /// An indirect descriptor inside an indirect table.
    #[error("nested indirect descriptor")]
    IndirectNested,
    /// An indirect descriptor that also has the NEXT flag.
    #[error("indirect descriptor with a next")]
    IndirectNext,
    /// An indirect table whose length is zero, no multiple of 16, or beyond the queue size.
    #[error("indirect table of {0} bytes")]
    IndirectLength(u32),
    /// A device-readable buffer in a receive ring (virtio 1.3 §5.1.6.3).
    #[error("device-readable buffer in a receive ring")]
    ReceiveReadable,
    /// A receive chain that can never be used.
    #[error("bad receive chain")]
    Receive(#[source] ChainFault),
    /// A mergeable receive chain shorter than the header (virtio 1.3 §5.1.6.3.1).
    #[error("receive chain of {0} bytes is shorter than the header")]
    ReceiveShort(u64),
}

impl RingFault {
    /// A stable name for counters and logs.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::AvailIndex { .. } => "avail-index",
            Self::Head(_) => "head-index",
            Self::Next(_) => "next-index",
            Self::Loop => "chain-loop",
            Self::Buffer(_) => "buffer-unmapped",
            Self::IndirectTable(_) => "indirect-unmapped",
            Self::IndirectNotNegotiated => "indirect-not-negotiated",
            Self::IndirectNested => "indirect-nested",
            Self::IndirectNext => "indirect-next",
            Self::IndirectLength(_) => "indirect-length",
            Self::ReceiveReadable => "receive-readable",
            Self::Receive(_) => "receive-chain",
            Self::ReceiveShort(_) => "receive-short",
        }
    }
}

/// The three parts of a ring, resolved in one memory generation.
pub(crate) struct Parts {
    pub(crate) desc: Window,
    pub(crate) avail: Window,
    pub(crate) used: Window,
}

impl Parts {
    /// Checks everything that can be checked without reading the ring (hostile rows 17 and 18).
    pub(crate) fn new(
        map: &Arc<GuestMap>,
        layout: &RingLayout,
        options: RingOptions,
    ) -> Result<Self, SetupError> {
        let size = layout.size;
        if !size.is_power_of_two() || size > MAX_QUEUE_SIZE {
            return Err(SetupError::Size(size));
        }
        let count = usize::from(size);
        // Without event index no part ends in an event field.
        let (head, event) = (4_usize, if options.event_idx { 2_usize } else { 0 });
        let bytes = |each: usize| {
            each.saturating_mul(count)
                .saturating_add(head)
                .saturating_add(event)
        };
        let ranges = [
            (layout.desc, count.saturating_mul(16)),
            (layout.avail, bytes(2)),
            (layout.used, bytes(8)),
        ];
        let [desc, avail, used] = ranges;
        if overlap(desc, avail) || overlap(desc, used) || overlap(avail, used) {
            return Err(SetupError::Overlap);
        }
        Ok(Self {
            desc: part(map, "descriptor table", desc, 16)?,
            avail: part(map, "available ring", avail, 2)?,
            used: part(map, "used ring", used, 4)?,
        })
    }
}

fn overlap(a: (u64, usize), b: (u64, usize)) -> bool {
    a.0 < b.0.saturating_add(b.1 as u64) && b.0 < a.0.saturating_add(a.1 as u64)
}

fn part(
    map: &Arc<GuestMap>,
    part: &'static str,
    (addr, len): (u64, usize),
    align: u8,
) -> Result<Window, SetupError> {
    let window =
        Window::new(map, addr, len).map_err(|fault| SetupError::Unmapped { part, fault })?;
    // The descriptor table is read in words of 8 bytes here.
    let here = usize::from(align.min(8));
    if !addr.is_multiple_of(u64::from(align)) || !window.view().is_aligned_to(here) {
        return Err(SetupError::Misaligned { part, addr });
    }
    Ok(window)
}

/// The device half of one split ring.
///
/// - **Chains**: [`Self::available`], [`Self::pop`], [`Self::put_back`]; towards the guest
///   [`Self::gather`], [`Self::fill`], [`Self::release`].
/// - **Completion**, always in the order of popping: [`Self::complete`], then [`Self::publish`].
/// - **Kicks**: [`Self::enable_kicks`], [`Self::disable_kicks`].
///
/// One thread owns it. Nothing here allocates after [`Self::new`].
pub struct Ring {
    parts: Parts,
    map: Arc<GuestMap>,
    layout: RingLayout,
    options: RingOptions,
    /// The available index, as last read.
    snapshot: u16,
    /// Available index of the next head to pop.
    popped: u16,
    /// Available index of the first head that is not completed.
    completed: u16,
    /// Used index of the next element to write.
    next_used: u16,
    /// Used index that the driver sees.
    published: u16,
    /// Region of the last address found.
    hint: usize,
    ahead: Ahead,
    /// Where [`Self::gather`] walks the chains it looks at.
    scratch: Chain,
}

impl std::fmt::Debug for Ring {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ring")
            .field("layout", &self.layout)
            .field("options", &self.options)
            .field("snapshot", &self.snapshot)
            .field("popped", &self.popped)
            .field("completed", &self.completed)
            .field("next_used", &self.next_used)
            .field("published", &self.published)
            .finish_non_exhaustive()
    }
}

impl Ring {
    /// Takes up a ring at available index `next_avail`; the used index is the one in memory.
    ///
    /// The caller signals the driver once afterwards: what the last device process published
    /// without signalling is not known.
    ///
    /// # Errors
    /// See [`SetupError`]; guest memory has not been written then.
    pub fn new(
        map: Arc<GuestMap>,
        layout: RingLayout,
        options: RingOptions,
        next_avail: u16,
    ) -> Result<Self, SetupError> {
        let parts = Parts::new(&map, &layout, options)?;
        let used = parts.used.view().load_u16(2, Ordering::Relaxed);
        Ok(Self {
            parts,
            map,
            layout,
            options,
            snapshot: next_avail,
            popped: next_avail,
            completed: next_avail,
            next_used: used,
            published: used,
            hint: 0,
            ahead: Ahead::default(),
            scratch: Chain::new(),
        })
    }

    /// Moves the ring to a new memory generation; indices stay. [`Chain`], [`Gather`] and
    /// [`crate::IoVecs`] buffers used before keep the old generation mapped until they are cleared
    /// or used again.
    ///
    /// # Errors
    /// The ring is not mapped in the new generation; it stays in the old one, and the caller
    /// breaks it (hostile row 66).
    pub fn rebind(&mut self, map: Arc<GuestMap>) -> Result<(), SetupError> {
        self.parts = Parts::new(&map, &self.layout, self.options)?;
        self.scratch.clear();
        self.ahead.clear();
        self.map = map;
        self.hint = 0;
        Ok(())
    }

    /// Available index of the first chain that is not completed: the answer to `GET_VRING_BASE`,
    /// and what makes a killed device's position recoverable.
    #[must_use]
    pub const fn next_avail(&self) -> u16 {
        self.completed
    }

    /// Used index of the next element, published or not.
    #[must_use]
    pub const fn next_used(&self) -> u16 {
        self.next_used
    }

    /// Used index that the driver sees.
    #[inline]
    #[must_use]
    pub const fn published(&self) -> u16 {
        self.published
    }

    /// Number of descriptors.
    #[must_use]
    pub const fn size(&self) -> u16 {
        self.layout.size
    }

    /// What was negotiated.
    #[must_use]
    pub const fn options(&self) -> RingOptions {
        self.options
    }

    /// Heads seen by the last look at the available index and not popped. No memory is read.
    #[inline]
    #[must_use]
    pub const fn pending(&self) -> u16 {
        self.snapshot.wrapping_sub(self.popped)
    }

    /// Chains popped and not completed.
    #[inline]
    #[must_use]
    pub const fn outstanding(&self) -> u16 {
        self.popped.wrapping_sub(self.completed)
    }

    /// Offset of the entry of `index` in a ring whose entries are `each` bytes, after its header.
    #[inline]
    fn entry(&self, index: u16, each: usize) -> usize {
        let slot = usize::from(index & self.layout.size.wrapping_sub(1));
        slot.saturating_mul(each).saturating_add(4)
    }
}
