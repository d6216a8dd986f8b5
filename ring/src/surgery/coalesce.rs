//! Super-frames joined of neighbouring frames of one flow.
//!
//! The rules are those of Linux GRO (`tcp_gro_receive`, `udp_gro_receive_segment`,
//! `inet_gro_receive`, `ipv6_gro_receive`), made as strict as it takes for segmentation to give back
//! the very bytes that came: whatever it copies from the first header must be equal in all, whatever
//! it counts up must have been counted up, and every checksum that it computes anew must have been
//! right before. A wrong one is never mended.

mod first;
mod follow;
mod mask;
#[cfg(test)]
mod tests;

use std::ops::Range;

use super::{TCP_CHECKSUM, UDP_CHECKSUM, put16};
use crate::net::checksum::Sum;
use crate::net::{ChecksumRequest, Fields, Gso, HEADER_LEN};

/// Most UDP segments in one super-frame: what GRO makes at most (`UDP_GRO_CNT_MAX`), and what every
/// kernel takes. Those before 6.9 refuse more (`UDP_MAX_SEGMENTS` in `virtio_net_hdr_to_skb`).
pub const MAX_UDP_TRAIN: u32 = 64;
/// Bytes of the longest headers that can be joined: virtio-net, Ethernet with two tags, IPv6, TCP
/// with all its options.
const MAX_HEADERS: usize = HEADER_LEN + 22 + 40 + 60;
/// The same in whole words.
const KEPT: usize = MAX_HEADERS.next_multiple_of(8);

/// What the far side takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Accepts {
    /// TCP super-frames over IPv4.
    pub tcp4: bool,
    /// TCP super-frames over IPv6.
    pub tcp6: bool,
    /// UDP super-frames (USO) over both.
    pub udp: bool,
    /// Datagrams without a checksum may be joined, though segmentation will give them one. Only for
    /// operators who ask for it.
    pub zero_checksum_udp: bool,
    /// Longest super-frame, in bytes from the Ethernet header on.
    pub most_bytes: u32,
}

/// How the transport checksums of a train's frames are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Checksums {
    /// There, and right.
    #[default]
    Complete,
    /// Left to be finished, with the right pseudo-header sum.
    Partial,
    /// None (UDP's zero).
    Absent,
}

/// A super-frame in the making: what its first frame demands of those that are to follow.
///
/// The caller keeps the bytes: a *unit*, which is a virtio-net header of [`HEADER_LEN`] bytes as
/// [`crate::Facts::header`] writes it (or zeros), then the whole frame, in private memory. Payloads
/// of the units that join are appended to the first. Nothing is allocated.
#[derive(Clone, Copy, Debug)]
pub struct Train {
    /// Frames so far; 0 when nothing is open.
    frames: u32,
    /// Bytes of the whole unit so far.
    len: u32,
    /// Bytes that the unit may have at most; 0 when nothing may follow.
    most: u32,
    /// TCP sequence number that the next frame must have.
    sequence: u32,
    /// IPv4 identification that the next frame must have.
    id: u16,
    /// Payload bytes of each frame but the last.
    size: u16,
    kind: Gso,
    checksums: Checksums,
    /// Where the network header, the transport header and the payload start in a unit.
    l3: u8,
    l4: u8,
    headers: u8,
    /// TCP flags of the first frame.
    flags: u8,
    /// FIN and PSH of the last frame.
    ending: u8,
    /// Sum of the IPv4 header without length, identification and checksum.
    ip_sum: Sum,
    /// Sum of the pseudo-header without the length.
    pseudo: Sum,
    /// The end of the destination address and the ports: what most other flows differ in.
    flow: [u8; 8],
    /// The headers that every frame must have, in the bits of `mask`.
    head: [u8; KEPT],
    mask: &'static [u8; KEPT],
}

impl Default for Train {
    fn default() -> Self {
        Self::new()
    }
}

impl Train {
    /// Nothing open.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            frames: 0,
            len: 0,
            most: 0,
            sequence: 0,
            id: 0,
            size: 0,
            kind: Gso::None,
            checksums: Checksums::Complete,
            l3: 0,
            l4: 0,
            headers: 0,
            flags: 0,
            ending: 0,
            ip_sum: Sum::new(),
            pseudo: Sum::new(),
            flow: [0; 8],
            head: [0; KEPT],
            mask: &[0; KEPT],
        }
    }

    /// Whether a train is open.
    #[inline]
    #[must_use]
    pub const fn is_open(&self) -> bool {
        self.frames != 0
    }

    /// Frames of the open train, 0 if there is none.
    #[inline]
    #[must_use]
    pub const fn frames(&self) -> u32 {
        self.frames
    }

    /// Opens a train with this unit if frames of its kind can be joined; else nothing is open.
    ///
    /// Super-frames, and frames that end a train by themselves, open none.
    #[inline]
    pub fn open(&mut self, unit: &[u8], accepts: Accepts) {
        self.frames = u32::from(self.begin(unit, accepts).is_some());
    }

    /// If this unit may follow: which of its bytes are to be appended to the first unit. It counts
    /// as joined then. Otherwise the train is as it was.
    #[inline]
    pub fn join(&mut self, unit: &[u8]) -> Option<Range<usize>> {
        if self.frames == 0 {
            return None;
        }
        let at = usize::from(self.l4).wrapping_sub(4);
        if unit.get(at..)?.first_chunk::<8>()? != &self.flow {
            return None;
        }
        self.follow(unit)
    }

    /// Writes the headers of the whole into the first unit, if more than one frame has joined;
    /// nothing is open afterwards. `unit` is the first unit with all payloads appended.
    #[inline]
    pub fn close(&mut self, unit: &mut [u8]) {
        let frames = std::mem::take(&mut self.frames);
        if frames > 1 {
            // Refused only for another unit than the one that was opened.
            let _ = self.write(unit);
        }
    }

    const fn is_ipv4(&self) -> bool {
        self.l4.wrapping_sub(self.l3) == 20
    }

    const fn checksum_offset(&self) -> u16 {
        match self.kind {
            Gso::Udp => UDP_CHECKSUM,
            _ => TCP_CHECKSUM,
        }
    }

    /// Segmentation writes this checksum anew, so the frame's own must be exactly that.
    fn ipv4_is_right(&self, ip: &[u8; 20]) -> Option<()> {
        let sum = self
            .ip_sum
            .word(u32::from_be_bytes([ip[2], ip[3], ip[4], ip[5]]))
            .finish();
        (sum == u16::from_be_bytes([ip[10], ip[11]])).then_some(())
    }

    /// The same of the transport's checksum, which is `field`; `covered` begins with its header.
    #[inline]
    fn transport_is_right(&self, covered: &[u8], field: [u8; 2]) -> Option<()> {
        let field = u16::from_be_bytes(field);
        let sum = self.pseudo.word(u32::try_from(covered.len()).ok()?);
        let right = match self.checksums {
            Checksums::Partial => field == sum.fold(),
            Checksums::Absent => field == 0,
            // Zero has two forms. UDP's is always 0xffff, but who writes TCP's is free to choose.
            Checksums::Complete if field == 0 || field == 0xffff && self.kind != Gso::Udp => false,
            Checksums::Complete => sum.bytes(covered).fold() == 0xffff,
        };
        right.then_some(())
    }

    fn write(&self, unit: &mut [u8]) -> Option<()> {
        let (l3, l4) = (usize::from(self.l3), usize::from(self.l4));
        let start = u16::from(self.l4).wrapping_sub(12);
        let len = u16::try_from(self.len.wrapping_sub(u32::from(self.l4))).ok()?;
        let header = unit.first_chunk_mut::<HEADER_LEN>()?;
        let offset = self.checksum_offset();
        *header = Fields {
            checksum: Some(ChecksumRequest { start, offset }),
            data_valid: false,
            gso: self.kind,
            ecn: false,
            gso_size: self.size,
            headers_len: u16::from(self.headers).wrapping_sub(12),
        }
        .encode();
        let ip = unit.get_mut(l3..)?;
        if self.is_ipv4() {
            let total = u16::try_from(self.len.wrapping_sub(u32::from(self.l3))).ok()?;
            put16(ip, 2, total)?;
            let [high, low] = *ip.get(4..)?.first_chunk()?;
            let id = u32::from(u16::from_be_bytes([high, low]));
            let sum = self.ip_sum.word(u32::from(total)).word(id).finish();
            put16(ip, 10, sum)?;
        } else {
            put16(ip, 4, len)?;
        }
        let transport = unit.get_mut(l4..)?;
        if self.kind == Gso::Udp {
            put16(transport, 4, len)?;
        } else {
            *transport.get_mut(13)? |= self.ending;
        }
        let seed = self.pseudo.word(u32::from(len)).fold();
        put16(transport, usize::from(offset), seed)
    }
}
