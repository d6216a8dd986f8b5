//! One frame as it comes from an uplink: its virtio-net header, its bytes, and what is told beside them.

use std::array;
use std::io::IoSliceMut;
use std::iter;
use std::os::fd::OwnedFd;

use ring::HEADER_LEN;
use rustix::io::Errno;

/// Most parts that one frame is read into.
pub const MAX_PARTS: usize = 17;

/// Bytes of a virtio-net header that every kernel writes: all but `num_buffers`.
pub(super) const HOST_HEADER_LEN: usize = HEADER_LEN - 2;

/// What came from [`Uplink::receive`](super::Uplink::receive).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Received {
    /// Bytes of the frame. If these are more than the parts have room for, the rest is lost and the frame
    /// is of no use: taps and macvtaps then tell one byte more than there was room, packet sockets
    /// the frame's true length.
    pub len: usize,
    /// The VLAN tag that the kernel took out of the frame, to be put in after the addresses again; the
    /// offsets in the virtio-net header do not count it. Only packet sockets have it: elsewhere tags come
    /// in the frame.
    pub vlan: Option<Tag>,
}

/// A VLAN tag (IEEE 802.1Q).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tag {
    /// The EtherType that says it is one: 0x8100, or 0x88a8 for a service tag.
    pub tpid: u16,
    /// Priority (3 bits), drop eligibility (1 bit) and VLAN (12 bits).
    pub tci: u16,
}

/// Hands `read` the first `header_len` bytes of `header`, then `parts`; what the kernel has no part in of
/// the header is zero.
pub(super) fn scatter<T>(
    header: &mut [u8; HEADER_LEN],
    header_len: usize,
    parts: &mut [IoSliceMut<'_>],
    read: impl FnOnce(&mut [IoSliceMut<'_>]) -> Result<T, Errno>,
) -> Result<T, Errno> {
    if parts.len() > MAX_PARTS {
        return Err(Errno::INVAL);
    }
    *header = [0; _];
    let header = header.get_mut(..header_len).ok_or(Errno::INVAL)?;
    // Tells a frame that just fits from one that is too long, where the kernel tells no more than it read.
    let mut beyond = [0];
    let used = parts.len() + 2;
    let mut each = iter::once(IoSliceMut::new(header))
        .chain(parts.iter_mut().map(|part| IoSliceMut::new(part)))
        .chain(iter::once(IoSliceMut::new(&mut beyond)));
    let mut all: [IoSliceMut<'_>; MAX_PARTS + 2] =
        array::from_fn(|_| each.next().unwrap_or_else(|| IoSliceMut::new(&mut [])));
    read(all.get_mut(..used).unwrap_or_default())
}

/// Reads a frame from a tap or macvtap.
pub(super) fn read(
    queue: &OwnedFd,
    header: &mut [u8; HEADER_LEN],
    parts: &mut [IoSliceMut<'_>],
) -> Result<Received, Errno> {
    let read = scatter(header, HEADER_LEN, parts, |all| {
        rustix::io::retry_on_intr(|| rustix::io::readv(queue, all))
    })?;
    Ok(Received {
        len: read.saturating_sub(HEADER_LEN),
        vlan: None,
    })
}

/// As [`read`], header and frame in one piece.
pub(super) fn read_whole(queue: &OwnedFd, unit: &mut [u8]) -> Result<Received, Errno> {
    let read = rustix::io::retry_on_intr(|| rustix::io::read(queue, &mut *unit))?;
    blank(unit, HOST_HEADER_LEN)?;
    Ok(Received {
        len: read.saturating_sub(HEADER_LEN),
        vlan: None,
    })
}

/// Sets to zero what the kernel has no part in of the header that `unit` begins with.
pub(super) fn blank(unit: &mut [u8], header_len: usize) -> Result<(), Errno> {
    let rest = unit.get_mut(header_len..HEADER_LEN).ok_or(Errno::INVAL)?;
    rest.fill(0);
    Ok(())
}
