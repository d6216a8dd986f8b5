//! Chains of one descriptor, as most small frames and most receive buffers are: taken and filled without a
//! list of segments. What is not as simple as that is left where it was, for [`Ring::pop`] and
//! [`Ring::gather`] to see to.

use super::gather::NUM_BUFFERS;
use super::pop::{Descriptor, INDIRECT, NEXT, WRITE};
use super::{Head, Ring};
use crate::net::HEADER_LEN;

impl Ring {
    /// Pops the next chain and copies it, if it is one readable buffer that fits; its head, and the length
    /// copied. Each byte is read once. `None`, with nothing popped, when there is no chain, or none like
    /// that, or the ring is at fault.
    #[inline]
    pub fn take_lone(&mut self, into: &mut [u8]) -> Option<(Head, usize)> {
        let (head, only) = self.lone()?;
        let len = usize::try_from(only.len).ok()?;
        let into = into.get_mut(..len)?;
        if only.flags & WRITE != 0 || len == 0 {
            return None;
        }
        self.map
            .view(only.addr, len, &mut self.hint)
            .ok()?
            .read(0, into);
        self.popped = self.popped.wrapping_add(1);
        Some((Head(head), len))
    }

    /// Writes a frame that lies in private memory into the next chain, and completes it, if that is one
    /// buffer that holds all of it: [`Self::gather`] and [`Self::fill`] in one, at a part of their cost.
    /// `num_buffers` of the header is set here. Otherwise false, and nothing was popped.
    #[inline]
    pub fn place_lone(&mut self, header: &[u8; HEADER_LEN], frame: &[u8]) -> bool {
        let Some((head, only)) = self.lone() else {
            return false;
        };
        let need = frame.len().saturating_add(HEADER_LEN);
        if only.flags & WRITE == 0 || u64::from(only.len) < need as u64 {
            return false;
        }
        let Ok(place) = self.map.view(only.addr, need, &mut self.hint) else {
            return false;
        };
        let mut header = *header;
        if let Some(field) = header.get_mut(NUM_BUFFERS..) {
            field.copy_from_slice(&1_u16.to_le_bytes());
        }
        place.write(0, &header);
        place.write(HEADER_LEN, frame);
        self.popped = self.popped.wrapping_add(1);
        // It is not longer than the buffer.
        self.complete(Head(head), u32::try_from(need).unwrap_or(only.len));
        true
    }

    /// The next chain's head and descriptor, if it has only that one.
    #[inline]
    fn lone(&mut self) -> Option<(u16, Descriptor)> {
        if self.pending() == 0 && self.available().ok()? == 0 {
            return None;
        }
        let (head, only) = self.next();
        let lone = head < self.layout.size && only.flags & (NEXT | INDIRECT) == 0;
        lone.then_some((head, only))
    }
}
