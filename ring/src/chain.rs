//! One popped descriptor chain: checked segments, its lengths, and whether it makes a good frame.

use std::sync::Arc;

use crate::memory::{GuestMap, IoVecs, MemoryFault};
use crate::net::HEADER_LEN;

/// Most segments of one chain. One less than the kernel takes in a `writev`, so that a prefix
/// always fits; a chain with more is dropped (hostile row 11). Honest drivers stay below 32.
pub const MAX_SEGMENTS: usize = 1023;

/// What is wrong with a chain that only costs the guest that one frame.
///
/// The guest is at fault; the caller completes the chain with length 0, counts the reason, and the
/// ring goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ChainFault {
    /// A device-writable descriptor in a transmit chain (virtio 1.3 §5.1.6.2).
    #[error("device-writable buffer in a transmit chain")]
    Writable,
    /// A device-readable descriptor after a writable one (virtio 1.3 §2.7.4.2).
    #[error("readable buffer after a writable one")]
    Order,
    /// A descriptor of length zero.
    #[error("zero-length buffer")]
    ZeroLength,
    /// More than [`MAX_SEGMENTS`] descriptors.
    #[error("too many buffers in one chain")]
    TooManySegments,
    /// 2^32 bytes or more in all (virtio 1.3 §2.7.5 forbids it).
    #[error("chain of 4 GiB or more")]
    TooLong,
}

impl ChainFault {
    /// Number of variants, for arrays of counters.
    pub const COUNT: usize = 5;
    /// Every variant, at its [`Self::index`].
    pub const ALL: [Self; Self::COUNT] = [
        Self::Writable,
        Self::Order,
        Self::ZeroLength,
        Self::TooManySegments,
        Self::TooLong,
    ];

    /// A stable index below [`Self::COUNT`].
    #[must_use]
    pub const fn index(self) -> usize {
        self as usize
    }

    /// A stable name for counters.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Writable => "chain-writable",
            Self::Order => "chain-order",
            Self::ZeroLength => "chain-zero-length",
            Self::TooManySegments => "chain-segments",
            Self::TooLong => "chain-too-long",
        }
    }
}

/// The identity of a popped chain, which [`crate::Ring::complete`] consumes.
#[derive(Debug, PartialEq, Eq)]
pub struct Head(pub(crate) u16);

/// A popped chain: a reusable buffer that [`crate::Ring::pop`] fills.
///
/// It holds a share of the memory generation that it was popped from, so its segments stay mapped
/// whatever the front-end does; the owner clears it when the guest goes. Readable segments come
/// first, then writable ones.
#[derive(Debug, Default)]
pub struct Chain {
    segments: IoVecs,
    readable_len: u64,
    writable_len: u64,
    head: u16,
    fault: Option<ChainFault>,
}

impl Chain {
    /// An empty chain buffer. Its room is allocated here, not when popping.
    #[must_use]
    pub fn new() -> Self {
        Self {
            segments: IoVecs::with_capacity(MAX_SEGMENTS),
            ..Self::default()
        }
    }

    /// Forgets the chain and releases its memory generation.
    pub fn clear(&mut self) {
        self.reset_lengths(0);
        self.segments.clear();
    }

    /// The chain's identity, to complete it with.
    #[inline]
    #[must_use]
    pub fn head(&self) -> Head {
        Head(self.head)
    }

    /// Bytes the device may read.
    #[inline]
    #[must_use]
    pub fn readable_len(&self) -> u64 {
        self.readable_len
    }

    /// Bytes of the frame behind the virtio-net header; 0 when there is no more than a header,
    /// which [`crate::inspect`] then calls a runt (hostile row 25).
    #[inline]
    #[must_use]
    pub fn frame_len(&self) -> u32 {
        let len = self.readable_len.saturating_sub(HEADER_LEN as u64);
        u32::try_from(len).unwrap_or(u32::MAX)
    }

    /// Bytes the device may write.
    #[inline]
    #[must_use]
    pub fn writable_len(&self) -> u64 {
        self.writable_len
    }

    /// Number of segments stored, at most [`MAX_SEGMENTS`].
    #[inline]
    #[must_use]
    pub fn segments(&self) -> usize {
        self.segments.len()
    }

    /// Whether the chain can be a transmitted frame.
    ///
    /// # Errors
    /// The first thing found wrong with it. Nothing but [`Self::head`] is of use then.
    #[inline]
    pub fn verdict(&self) -> Result<(), ChainFault> {
        match self.fault {
            Some(fault) => Err(fault),
            None if self.writable_len > 0 => Err(ChainFault::Writable),
            None => Ok(()),
        }
    }

    /// Copies readable bytes from `offset` on into `dst`, each read once from guest memory.
    /// Returns how many there were.
    #[inline]
    pub fn copy_to(&self, offset: usize, dst: &mut [u8]) -> usize {
        let count = self.readable_after(offset).min(dst.len());
        let dst = dst.get_mut(..count).unwrap_or_default();
        self.segments.copy_out(offset, dst)
    }

    /// Lists the readable bytes from `offset` on, for a vectored write.
    pub fn iovecs(&self, offset: usize, out: &mut IoVecs) {
        out.clone_part(&self.segments, offset, self.readable_after(offset));
    }

    /// Lists a private prefix and then the readable bytes from `offset` on.
    pub(crate) fn prefixed_iovecs(&self, prefix: &[u8], offset: usize, out: &mut IoVecs) {
        out.prefixed(prefix, &self.segments, offset, self.readable_after(offset));
    }

    pub(crate) fn list(&self) -> &IoVecs {
        &self.segments
    }

    /// Readable bytes from `offset` on.
    pub(crate) fn readable_after(&self, offset: usize) -> usize {
        usize::try_from(self.readable_len)
            .unwrap_or(usize::MAX)
            .saturating_sub(offset)
    }

    /// Begins a new chain of `map`.
    #[inline]
    pub(crate) fn begin(&mut self, map: &Arc<GuestMap>, head: u16) {
        self.segments.bind(map);
        self.reset_lengths(head);
    }

    fn reset_lengths(&mut self, head: u16) {
        self.head = head;
        self.fault = None;
        self.readable_len = 0;
        self.writable_len = 0;
    }

    /// Appends a buffer. What only spoils this frame is noted, and the buffer left out.
    ///
    /// # Errors
    /// The range is not inside one region, which the ring does not survive.
    #[inline]
    pub(crate) fn push(
        &mut self,
        addr: u64,
        len: u32,
        writable: bool,
        hint: &mut usize,
    ) -> Result<(), MemoryFault> {
        if len == 0 {
            self.note(ChainFault::ZeroLength);
            return Ok(());
        }
        if self.segments.len() >= MAX_SEGMENTS {
            self.note(ChainFault::TooManySegments);
            return Ok(());
        }
        self.segments.push(addr, len, hint)?;
        if writable {
            self.writable_len = self.writable_len.saturating_add(u64::from(len));
        } else {
            if self.writable_len > 0 {
                self.note(ChainFault::Order);
            }
            self.readable_len = self.readable_len.saturating_add(u64::from(len));
        }
        if self.readable_len.saturating_add(self.writable_len) > u64::from(u32::MAX) {
            self.note(ChainFault::TooLong);
        }
        Ok(())
    }

    fn note(&mut self, fault: ChainFault) {
        self.fault.get_or_insert(fault);
    }

    /// What is wrong with the chain as such, whatever its direction.
    #[inline]
    pub(crate) fn fault(&self) -> Option<ChainFault> {
        self.fault
    }
}
