//! Giving chains back: used elements, one publication for a batch, and who signals whom when.

use std::sync::atomic::{Ordering, fence};

use super::{Ring, RingFault};
use crate::chain::Head;

/// `VIRTQ_AVAIL_F_NO_INTERRUPT` and `VIRTQ_USED_F_NO_NOTIFY`.
pub(super) const SUPPRESS: u16 = 1;

/// Whether an index that moved from `old` to `new` passed `event` (virtio 1.3 §2.7.10.1).
#[inline]
pub(crate) const fn passed(event: u16, new: u16, old: u16) -> bool {
    new.wrapping_sub(event).wrapping_sub(1) < new.wrapping_sub(old)
}

impl Ring {
    /// Writes the used element of the oldest chain that is not completed: `len` is what was
    /// written to it. The driver sees it at [`Self::publish`].
    #[inline]
    pub fn complete(&mut self, chain_head: Head, len: u32) {
        if self.outstanding() == 0 {
            debug_assert!(false, "completed more than was popped");
            return;
        }
        let offset = self.entry(self.next_used, 8);
        let used = self.parts.used.view();
        used.store_u32(offset, u32::from(chain_head.0));
        used.store_u32(offset.saturating_add(4), len);
        self.next_used = self.next_used.wrapping_add(1);
        self.completed = self.completed.wrapping_add(1);
    }

    /// Shows the driver everything completed since the last call, at once. True when it wants to
    /// be called for it.
    #[inline]
    pub fn publish(&mut self) -> bool {
        if self.next_used == self.published {
            return false;
        }
        let old = self.published;
        self.published = self.next_used;
        // Release: elements and payload are visible before the index.
        let used = self.parts.used.view();
        used.store_u16(2, self.published, Ordering::Release);
        self.wants_call(old)
    }

    /// Whether the driver wants, now, to be called for what was published after the used index was
    /// `since`, which is some time's [`Self::published`]. A caller that does not call at once may find
    /// that a driver which has looked by itself does not want it any more.
    #[inline]
    #[must_use]
    pub fn wants_call(&self, since: u16) -> bool {
        // The index must be visible before the driver's wish is read, or both sides may sleep.
        fence(Ordering::SeqCst);
        let avail = self.parts.avail.view();
        if self.options.event_idx {
            let event = avail.load_u16(self.event_offset(2), Ordering::Relaxed);
            passed(event, self.published, since)
        } else {
            avail.load_u16(0, Ordering::Relaxed) & SUPPRESS == 0
        }
    }

    /// Asks the driver to kick for the next head after those already seen. True when heads were
    /// added since the last look: then there may be no kick for them.
    ///
    /// Heads seen before and left ([`Self::pending`]) do not count, so a caller that waits for
    /// more buffers than it has can sleep.
    ///
    /// # Errors
    /// As [`Self::available`].
    pub fn enable_kicks(&mut self) -> Result<bool, RingFault> {
        let seen = self.snapshot;
        let used = self.parts.used.view();
        if self.options.event_idx {
            used.store_u16(self.event_offset(8), seen, Ordering::Relaxed);
        } else {
            used.store_u16(0, 0, Ordering::Relaxed);
        }
        // The wish must be visible before the index is read again.
        fence(Ordering::SeqCst);
        self.available()?;
        Ok(self.snapshot != seen)
    }

    /// Tells the driver that kicks are not needed. With event index nothing is written: the
    /// driver kicks only when it passes the old event.
    pub fn disable_kicks(&mut self) {
        if !self.options.event_idx {
            let used = self.parts.used.view();
            used.store_u16(0, SUPPRESS, Ordering::Relaxed);
        }
    }

    /// Offset of the event field behind entries of `each` bytes.
    #[inline]
    pub(super) fn event_offset(&self, each: usize) -> usize {
        usize::from(self.layout.size)
            .saturating_mul(each)
            .saturating_add(4)
    }
}
