//! Where a ring stands, for people who look for what is stuck.

use std::sync::atomic::Ordering;

use super::Ring;
use super::used::SUPPRESS;

/// Indices and flags of a ring (virtio 1.3 §2.7). Those in the guest's memory are what the guest says, of
/// which nothing may be true.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RingState {
    /// The available index in memory.
    pub avail: u16,
    /// The used index that was published.
    pub used: u16,
    /// Available index of the next chain to be taken.
    pub next: u16,
    /// Chains made available and not taken; none if the available index makes no sense.
    pub waiting: u16,
    /// At which used index the guest wants to be called, with `VIRTIO_F_EVENT_IDX`.
    pub used_event: Option<u16>,
    /// At which available index the guest is asked to kick, with `VIRTIO_F_EVENT_IDX`.
    pub avail_event: Option<u16>,
    /// `VIRTQ_AVAIL_F_NO_INTERRUPT` is set.
    pub no_interrupt: bool,
    /// `VIRTQ_USED_F_NO_NOTIFY` is set.
    pub no_notify: bool,
}

impl Ring {
    /// Where the ring stands. Changes nothing.
    #[must_use]
    pub fn state(&self) -> RingState {
        let (avail, used) = (self.parts.avail.view(), self.parts.used.view());
        let found = avail.load_u16(2, Ordering::Relaxed);
        let ahead = found.wrapping_sub(self.popped);
        let makes_sense = found.wrapping_sub(self.completed) <= self.layout.size;
        let event = |of: &crate::memory::View<'_>, each| {
            let offset = self.event_offset(each);
            let negotiated = self.options.event_idx;
            negotiated.then(|| of.load_u16(offset, Ordering::Relaxed))
        };
        RingState {
            avail: found,
            used: self.published,
            next: self.popped,
            waiting: if makes_sense { ahead } else { 0 },
            used_event: event(&avail, 2),
            avail_event: event(&used, 8),
            no_interrupt: avail.load_u16(0, Ordering::Relaxed) & SUPPRESS != 0,
            no_notify: used.load_u16(0, Ordering::Relaxed) & SUPPRESS != 0,
        }
    }
}
