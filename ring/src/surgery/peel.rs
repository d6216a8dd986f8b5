//! Parts of a super-frame: `k` segments taken off as a smaller super-frame, so that cutting the
//! parts gives the same segments as cutting the whole.
//!
//! The rules are those of the kernel's `tcp_gso_segment` and `__udp_gso_segment`: lengths,
//! identification, sequence number and pseudo-header sum are the part's own, FIN and PSH stay on
//! the last segment, CWR on the first.

#[cfg(test)]
pub(crate) mod tests;

use std::ops::Range;

use super::{CWR, FIN, PSH, RST, SYN, TCP_CHECKSUM, UDP_CHECKSUM, URG, put16, take16};
use crate::net::checksum::Sum;
use crate::net::{Facts, Fields, Gso, HEADER_LEN, Network};

/// Most header bytes of a part, the virtio-net header included.
pub const MAX_PART_HEADER: usize = HEADER_LEN + crate::net::HEAD_LEN;

/// A part that cannot be made. The caller sends the super-frame whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PeelFault {
    /// Not a super-frame, or one that must not be cut: SYN, RST, URG, an IPv6 routing header.
    #[error("the frame cannot be cut")]
    Whole,
    /// No segment, or segments that the frame does not have. The caller is at fault.
    #[error("no such segments")]
    Range,
    /// The copied head is shorter than the headers. The caller is at fault.
    #[error("the headers are not in the copy")]
    Head,
}

/// The headers of one part: a reusable buffer.
#[derive(Debug, Clone, Copy)]
pub struct Part {
    bytes: [u8; MAX_PART_HEADER],
    len: usize,
}

impl Default for Part {
    fn default() -> Self {
        Self::new()
    }
}

impl Part {
    /// An empty buffer.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            bytes: [0; MAX_PART_HEADER],
            len: 0,
        }
    }

    /// The virtio-net header and the frame's headers, in the order they are sent.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }

    /// The virtio-net header alone.
    #[must_use]
    pub fn header(&self) -> &[u8; HEADER_LEN] {
        self.bytes.first_chunk().unwrap_or(&[0; HEADER_LEN])
    }

    /// The frame's headers alone.
    #[must_use]
    pub fn headers(&self) -> &[u8] {
        self.bytes().get(HEADER_LEN..).unwrap_or_default()
    }

    pub(super) fn set_header(&mut self, header: [u8; HEADER_LEN]) {
        if let Some(own) = self.bytes.first_chunk_mut() {
            *own = header;
        }
    }

    pub(super) fn headers_mut(&mut self) -> &mut [u8] {
        self.bytes.get_mut(HEADER_LEN..self.len).unwrap_or_default()
    }
}

impl Facts {
    /// Whether [`peel`] can cut this frame.
    #[must_use]
    pub fn peelable(&self) -> bool {
        let flags = self.tcp_flags.unwrap_or(0);
        self.gso != Gso::None && !self.routed && flags & (SYN | RST | URG) == 0
    }
}

/// Writes the headers of `count` segments of a super-frame, from segment `first` on, into `out`.
/// A `count` past the end means all that is left. Returns where the part's payload lies in the
/// frame.
///
/// `head` is the copy that `facts` was made from. A part of one segment is an ordinary frame that
/// still asks for its checksum.
///
/// # Errors
/// See [`PeelFault`].
pub fn peel(
    facts: &Facts,
    head: &[u8],
    first: u32,
    count: u32,
    out: &mut Part,
) -> Result<Range<u32>, PeelFault> {
    if !facts.peelable() {
        return Err(PeelFault::Whole);
    }
    let count = count.min(facts.segments.saturating_sub(first));
    if count == 0 {
        return Err(PeelFault::Range);
    }
    let headers_len = usize::from(facts.headers_len);
    let source = head.get(..headers_len).ok_or(PeelFault::Head)?;
    let cut = Cut::new(facts, first, count);
    out.len = HEADER_LEN.saturating_add(headers_len);
    let target = out.headers_mut();
    if target.len() != source.len() {
        return Err(PeelFault::Head);
    }
    target.copy_from_slice(source);
    cut.network(facts, target).ok_or(PeelFault::Head)?;
    cut.transport(facts, target).ok_or(PeelFault::Head)?;
    out.set_header(cut.header(facts));
    Ok(cut.payload)
}

/// One part's place in the whole.
struct Cut {
    first: u32,
    segments: u32,
    /// Nothing follows it.
    last: bool,
    /// Payload bytes before it.
    skipped: u32,
    payload: Range<u32>,
}

impl Cut {
    fn new(facts: &Facts, first: u32, segments: u32) -> Self {
        let size = u32::from(facts.gso_size);
        let all = facts.payload_len();
        let skipped = first.saturating_mul(size).min(all);
        let end = first.saturating_add(segments).saturating_mul(size).min(all);
        let headers = u32::from(facts.headers_len);
        Self {
            first,
            segments,
            last: end == all,
            skipped,
            payload: headers.saturating_add(skipped)..headers.saturating_add(end),
        }
    }

    fn header(&self, facts: &Facts) -> [u8; HEADER_LEN] {
        let gso = if self.segments > 1 {
            facts.gso
        } else {
            Gso::None
        };
        Fields {
            checksum: facts.checksum,
            data_valid: facts.data_valid,
            gso,
            // The bit says that CWR is set, which it is on the first part alone.
            ecn: facts.ecn && self.first == 0,
            gso_size: facts.gso_size,
            headers_len: facts.headers_len,
        }
        .encode()
    }

    /// Bytes from offset `from` in the headers to the end of the part, for a 16-bit length field.
    fn len_from(&self, from: u16) -> Option<u16> {
        u16::try_from(self.payload_end_from(from)).ok()
    }

    fn payload_end_from(&self, from: u16) -> u32 {
        let len = self.payload.end.saturating_sub(self.skipped);
        len.saturating_sub(u32::from(from))
    }

    fn network(&self, facts: &Facts, headers: &mut [u8]) -> Option<()> {
        let start = usize::from(facts.l3_offset);
        match facts.network {
            Network::Ipv4 => {
                let end = usize::from(facts.l4_offset?);
                let ip = headers.get_mut(start..end)?;
                put16(ip, 2, self.len_from(facts.l3_offset)?)?;
                let [.., high, low] = self.first.to_be_bytes();
                let id = take16(ip, 4)?.wrapping_add(u16::from_be_bytes([high, low]));
                put16(ip, 4, id)?;
                put16(ip, 10, 0)?;
                let sum = Sum::default().bytes(ip).finish();
                put16(ip, 10, sum)
            }
            _ => {
                let len = self.len_from(facts.l3_offset.saturating_add(40))?;
                put16(headers, start.saturating_add(4), len)
            }
        }
    }

    fn transport(&self, facts: &Facts, headers: &mut [u8]) -> Option<()> {
        let start = facts.l4_offset?;
        let len = self.payload_end_from(start);
        let l4 = headers.get_mut(usize::from(start)..)?;
        let check = if facts.gso == Gso::Udp {
            put16(l4, 4, u16::try_from(len).ok()?)?;
            UDP_CHECKSUM
        } else {
            let sequence: &mut [u8; 4] = l4.get_mut(4..)?.first_chunk_mut()?;
            *sequence = u32::from_be_bytes(*sequence)
                .wrapping_add(self.skipped)
                .to_be_bytes();
            let flags = l4.get_mut(13)?;
            if !self.last {
                *flags &= !(FIN | PSH);
            }
            if self.first > 0 {
                *flags &= !CWR;
            }
            TCP_CHECKSUM
        };
        let seed =
            Sum::default().pseudo_header(facts.source?, facts.destination?, facts.protocol?, len);
        put16(l4, usize::from(check), seed.fold())
    }
}
