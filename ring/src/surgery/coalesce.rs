//! Super-frames joined of neighbouring frames of one flow.
//!
//! The rules are those of Linux GRO (`tcp_gro_receive`, `udp_gro_receive_segment`,
//! `inet_gro_receive`, `ipv6_gro_receive`), made as strict as it takes for segmentation to give back
//! the very bytes that came: whatever it copies from the first header must be equal in all, whatever
//! it counts up must have been counted up, and every checksum that it computes anew must have been
//! right before. A wrong one is never mended.

#[cfg(test)]
mod tests;

use std::ops::Range;

use super::{ACK, ECE, FIN, PSH, TCP_CHECKSUM, UDP_CHECKSUM, put16};
use crate::net::checksum::Sum;
use crate::net::{ChecksumRequest, Fields, Gso, HEADER_LEN, MIN_TCP_GSO_SIZE};

const NEEDS_CHECKSUM: u8 = 1;
const IPV4: u16 = 0x0800;
const IPV6: u16 = 0x86dd;
const VLAN: u16 = 0x8100;
const QINQ: u16 = 0x88a8;
const TCP: u8 = 6;
const UDP: u8 = 17;

/// Most UDP segments in one super-frame: what GRO makes at most (`UDP_GRO_CNT_MAX`), and what every
/// kernel takes. Those before 6.9 refuse more (`UDP_MAX_SEGMENTS` in `virtio_net_hdr_to_skb`).
pub const MAX_UDP_TRAIN: u32 = 64;
/// Longest IP packet, in bytes: its length fields have 16 bits.
const MAX_PACKET: u32 = 65_535;
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
    kind: Gso,
    checksums: Checksums,
    /// Where the network header, the transport header and the payload start in a unit.
    l3: u8,
    l4: u8,
    headers: u8,
    /// Payload bytes of each frame but the last.
    size: u16,
    /// Bytes of the whole unit so far.
    len: u32,
    /// Bytes that the unit may have at most; 0 when nothing may follow.
    most: u32,
    /// IPv4 identification that the next frame must have.
    id: u16,
    /// TCP sequence number that the next frame must have.
    sequence: u32,
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
    mask: [u8; KEPT],
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
            kind: Gso::None,
            checksums: Checksums::Complete,
            l3: 0,
            l4: 0,
            headers: 0,
            size: 0,
            len: 0,
            most: 0,
            id: 0,
            sequence: 0,
            flags: 0,
            ending: 0,
            ip_sum: Sum::new(),
            pseudo: Sum::new(),
            flow: [0; 8],
            head: [0; KEPT],
            mask: [0; KEPT],
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
        self.frames = 0;
        let Some(link) = unit.first_chunk::<26>() else {
            return;
        };
        let [flags, gso_type, .., high, low] = *link;
        // A host's DATA_VALID would be lost with the frame's own header, so it stays out.
        if flags & !NEEDS_CHECKSUM == 0 && gso_type == 0 {
            let ethertype = u16::from_be_bytes([high, low]);
            if self.link(unit, ethertype, accepts).is_some() {
                self.frames = 1;
            }
        }
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
    pub fn close(&mut self, unit: &mut [u8]) {
        let frames = std::mem::take(&mut self.frames);
        if frames > 1 {
            // Refused only for another unit than the one that was opened.
            let _ = self.write(unit);
        }
    }

    fn link(&mut self, unit: &[u8], mut ethertype: u16, accepts: Accepts) -> Option<()> {
        let mut l3 = HEADER_LEN.wrapping_add(14);
        while matches!(ethertype, VLAN | QINQ) && l3 < HEADER_LEN.wrapping_add(22) {
            let [_, _, high, low] = *unit.get(l3..)?.first_chunk()?;
            ethertype = u16::from_be_bytes([high, low]);
            l3 = l3.wrapping_add(4);
        }
        match ethertype {
            IPV4 => self.ipv4(unit, l3, accepts),
            IPV6 => self.ipv6(unit, l3, accepts),
            _ => None,
        }
    }

    fn ipv4(&mut self, unit: &[u8], l3: usize, accepts: Accepts) -> Option<()> {
        let ip: &[u8; 20] = unit.get(l3..)?.first_chunk()?;
        let total = usize::from(u16::from_be_bytes([ip[2], ip[3]]));
        // No options, no fragment, no padding behind the packet.
        if ip[0] != 0x45 || ip[6] & 0x3f | ip[7] != 0 || total != unit.len().wrapping_sub(l3) {
            return None;
        }
        self.kind = match ip[9] {
            TCP if accepts.tcp4 => Gso::Tcp4,
            UDP if accepts.udp => Gso::Udp,
            _ => return None,
        };
        let l4 = l3.wrapping_add(20);
        self.transport(unit, l4, accepts)?;
        let addresses = Sum::new()
            .word(u32::from_be_bytes([ip[12], ip[13], ip[14], ip[15]]))
            .word(u32::from_be_bytes([ip[16], ip[17], ip[18], ip[19]]));
        self.ip_sum = addresses
            .word(u32::from_be_bytes([ip[0], ip[1], ip[6], ip[7]]))
            .word(u32::from_be_bytes([0, 0, ip[8], ip[9]]));
        self.pseudo = addresses.word(u32::from(ip[9]));
        self.id = u16::from_be_bytes([ip[4], ip[5]]);
        self.ipv4_is_right(ip)?;
        self.transport_is_right(unit, l4)?;
        self.keep(unit, l3, l4, accepts.most_bytes)?;
        self.forget(l3.wrapping_add(2), 4)?;
        self.forget(l3.wrapping_add(10), 2)
    }

    fn ipv6(&mut self, unit: &[u8], l3: usize, accepts: Accepts) -> Option<()> {
        let ip: &[u8; 40] = unit.get(l3..)?.first_chunk()?;
        let l4 = l3.wrapping_add(40);
        let len = usize::from(u16::from_be_bytes([ip[4], ip[5]]));
        if ip[0] >> 4 != 6 || len != unit.len().wrapping_sub(l4) {
            return None;
        }
        self.kind = match ip[6] {
            TCP if accepts.tcp6 => Gso::Tcp6,
            UDP if accepts.udp => Gso::Udp,
            _ => return None,
        };
        self.transport(unit, l4, accepts)?;
        let (_, addresses) = ip.split_at(8);
        self.pseudo = Sum::new().bytes(addresses).word(u32::from(ip[6]));
        self.transport_is_right(unit, l4)?;
        self.keep(unit, l3, l4, accepts.most_bytes)?;
        self.forget(l3.wrapping_add(4), 2)
    }

    /// What the transport header must be for others to follow it, before anything is summed.
    fn transport(&mut self, unit: &[u8], l4: usize, accepts: Accepts) -> Option<()> {
        let partial = unit.first() == Some(&NEEDS_CHECKSUM);
        let (headers, checksum, offset) = if self.kind == Gso::Udp {
            let udp: &[u8; 8] = unit.get(l4..)?.first_chunk()?;
            let len = usize::from(u16::from_be_bytes([udp[4], udp[5]]));
            if len != unit.len().wrapping_sub(l4) {
                return None;
            }
            (8, [udp[6], udp[7]], UDP_CHECKSUM)
        } else {
            let tcp: &[u8; 20] = unit.get(l4..)?.first_chunk()?;
            let headers = usize::from(tcp[12] >> 4).wrapping_mul(4);
            if headers < 20 || tcp[13] & !ECE != ACK {
                return None;
            }
            self.flags = tcp[13];
            self.sequence = u32::from_be_bytes([tcp[4], tcp[5], tcp[6], tcp[7]]);
            (headers, [tcp[16], tcp[17]], TCP_CHECKSUM)
        };
        self.checksums = if partial {
            asks_for(unit, l4, offset).then_some(Checksums::Partial)?
        } else if self.kind == Gso::Udp && checksum == [0, 0] {
            accepts.zero_checksum_udp.then_some(Checksums::Absent)?
        } else {
            Checksums::Complete
        };
        let headers = l4.wrapping_add(headers);
        let size = u16::try_from(unit.len().checked_sub(headers)?).ok()?;
        let least = match self.kind {
            Gso::Udp => 1,
            // Shorter ones would make a super-frame that is refused from a guest.
            _ => MIN_TCP_GSO_SIZE,
        };
        if size < least {
            return None;
        }
        self.sequence = self.sequence.wrapping_add(u32::from(size));
        self.headers = u8::try_from(headers).ok()?;
        self.size = size;
        self.ending = 0;
        Some(())
    }

    /// Keeps the headers of the first frame. All that is cheap to refuse has been.
    fn keep(&mut self, unit: &[u8], l3: usize, l4: usize, most_bytes: u32) -> Option<()> {
        let headers = usize::from(self.headers);
        self.l3 = u8::try_from(l3).ok()?;
        self.l4 = u8::try_from(l4).ok()?;
        self.len = u32::try_from(unit.len()).ok()?;
        let packet = MAX_PACKET.wrapping_add(u32::from(self.l3));
        self.most = packet.min(most_bytes.saturating_add(12));
        self.flow = *unit.get(l4.wrapping_sub(4)..)?.first_chunk()?;
        match unit.first_chunk::<KEPT>() {
            Some(head) => self.head = *head,
            None => self
                .head
                .get_mut(..headers)?
                .copy_from_slice(unit.get(..headers)?),
        }
        self.mask = [0xff; KEPT];
        // Of the virtio-net header, the lengths are hints, and the device's to write.
        self.forget(2, 4)?;
        self.forget(10, 2)?;
        match self.kind {
            Gso::Udp => self.forget(l4.wrapping_add(4), 4),
            _ => {
                self.forget(l4.wrapping_add(4), 4)?;
                self.forget(l4.wrapping_add(13), 1)?;
                self.forget(l4.wrapping_add(16), 2)
            }
        }
    }

    /// Lets bytes differ that are checked one by one.
    fn forget(&mut self, at: usize, len: usize) -> Option<()> {
        self.mask
            .get_mut(at..at.wrapping_add(len))
            .map(|field| field.fill(0))
    }

    fn follow(&mut self, unit: &[u8]) -> Option<Range<usize>> {
        let (l3, l4) = (usize::from(self.l3), usize::from(self.l4));
        let headers = usize::from(self.headers);
        let payload = unit.len().checked_sub(headers)?;
        let short = u32::try_from(payload).ok()?;
        let len = self.len.saturating_add(short);
        if payload == 0 || payload > usize::from(self.size) || len > self.most {
            return None;
        }
        if !self.alike(unit.get(..headers)?) {
            return None;
        }
        if self.is_ipv4() {
            let ip: &[u8; 20] = unit.get(l3..)?.first_chunk()?;
            let total = usize::from(u16::from_be_bytes([ip[2], ip[3]]));
            let id = u16::from_be_bytes([ip[4], ip[5]]);
            if total != unit.len().wrapping_sub(l3) || id != self.id.wrapping_add(1) {
                return None;
            }
            self.ipv4_is_right(ip)?;
        } else {
            let [high, low] = *unit.get(l3.wrapping_add(4)..)?.first_chunk()?;
            let len = usize::from(u16::from_be_bytes([high, low]));
            if len != unit.len().wrapping_sub(l4) {
                return None;
            }
        }
        let ending = if self.kind == Gso::Udp {
            let [high, low] = *unit.get(l4.wrapping_add(4)..)?.first_chunk()?;
            let len = usize::from(u16::from_be_bytes([high, low]));
            if len != unit.len().wrapping_sub(l4) {
                return None;
            }
            0
        } else {
            let tcp: &[u8; 20] = unit.get(l4..)?.first_chunk()?;
            let sequence = u32::from_be_bytes([tcp[4], tcp[5], tcp[6], tcp[7]]);
            if sequence != self.sequence || tcp[13] & !(FIN | PSH) != self.flags {
                return None;
            }
            tcp[13] & (FIN | PSH)
        };
        self.transport_is_right(unit, l4)?;

        self.frames = self.frames.wrapping_add(1);
        self.len = len;
        self.id = self.id.wrapping_add(1);
        self.sequence = self.sequence.wrapping_add(short);
        self.ending = ending;
        let full = self.kind == Gso::Udp && self.frames >= MAX_UDP_TRAIN;
        if ending != 0 || full || payload < usize::from(self.size) {
            self.most = 0;
        }
        Some(headers..unit.len())
    }

    const fn is_ipv4(&self) -> bool {
        self.l4.wrapping_sub(self.l3) == 20
    }

    /// Whether the headers are the first frame's wherever the mask says so.
    #[inline]
    fn alike(&self, headers: &[u8]) -> bool {
        let (words, rest) = headers.as_chunks::<8>();
        let (head, _) = self.head.as_chunks::<8>();
        let (mask, _) = self.mask.as_chunks::<8>();
        let mut differs = 0;
        for ((word, head), mask) in words.iter().zip(head).zip(mask) {
            let word = u64::from_ne_bytes(*word) ^ u64::from_ne_bytes(*head);
            differs |= word & u64::from_ne_bytes(*mask);
        }
        let done = headers.len().wrapping_sub(rest.len());
        let head = self.head.get(done..).unwrap_or_default();
        let mask = self.mask.get(done..).unwrap_or_default();
        for ((byte, head), mask) in rest.iter().zip(head).zip(mask) {
            differs |= u64::from((byte ^ head) & mask);
        }
        differs == 0
    }

    /// Segmentation writes this checksum anew, so the frame's own must be exactly that.
    fn ipv4_is_right(&self, ip: &[u8; 20]) -> Option<()> {
        let sum = self
            .ip_sum
            .word(u32::from_be_bytes([ip[2], ip[3], ip[4], ip[5]]))
            .finish();
        (sum == u16::from_be_bytes([ip[10], ip[11]])).then_some(())
    }

    fn transport_is_right(&self, unit: &[u8], l4: usize) -> Option<()> {
        let covered = unit.get(l4..)?;
        let sum = self.pseudo.word(u32::try_from(covered.len()).ok()?);
        let (at, udp) = match self.kind {
            Gso::Udp => (UDP_CHECKSUM, true),
            _ => (TCP_CHECKSUM, false),
        };
        let [high, low] = *covered.get(usize::from(at)..)?.first_chunk()?;
        let field = u16::from_be_bytes([high, low]);
        let right = match self.checksums {
            Checksums::Partial => field == sum.fold(),
            Checksums::Absent => field == 0,
            // Zero has two forms. UDP's is always 0xffff, but who writes TCP's is free to choose.
            Checksums::Complete if field == 0 || field == 0xffff && !udp => false,
            Checksums::Complete => sum.bytes(covered).fold() == 0xffff,
        };
        right.then_some(())
    }

    fn write(&self, unit: &mut [u8]) -> Option<()> {
        let (l3, l4) = (usize::from(self.l3), usize::from(self.l4));
        let start = u16::from(self.l4).wrapping_sub(12);
        let len = u16::try_from(self.len.wrapping_sub(u32::from(self.l4))).ok()?;
        let header = unit.first_chunk_mut::<HEADER_LEN>()?;
        let offset = match self.kind {
            Gso::Udp => UDP_CHECKSUM,
            _ => TCP_CHECKSUM,
        };
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

/// Whether the request is for exactly the transport's own checksum.
fn asks_for(unit: &[u8], l4: usize, offset: u16) -> bool {
    let request = unit.get(6..).and_then(<[u8]>::first_chunk::<4>);
    request.is_some_and(|[s0, s1, o0, o1]| {
        let start = usize::from(u16::from_le_bytes([*s0, *s1]));
        start == l4.wrapping_sub(HEADER_LEN) && u16::from_le_bytes([*o0, *o1]) == offset
    })
}
