//! Frames with known contents: plain ones of any length, and TCP and UDP ones with the offloads a guest asks for.

use super::header::Header;

/// The type of [`Frame::plain`] frames: local experimental (IEEE 802, 0x88b5), which no stack answers.
pub const ETHERTYPE: u16 = 0x88b5;
/// Bytes of an Ethernet header.
const ETHERNET: usize = 14;
const TCP: u8 = 6;
const UDP: u8 = 17;
/// What the first addresses end with, and the ports.
const HOSTS: [u8; 2] = [2, 1];

/// A frame with the virtio-net header that goes with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// What the sender asks for, or the receiver is told.
    pub header: Header,
    /// From the destination address on.
    pub bytes: Vec<u8>,
}

impl Frame {
    /// A frame of `len` bytes, at least 14, whose contents follow from `seed`.
    #[must_use]
    pub fn plain(len: usize, seed: u64) -> Self {
        let mut bytes = ethernet(ETHERTYPE).to_vec();
        bytes.extend(noise(seed).take(len.saturating_sub(ETHERNET)));
        Self::from(bytes)
    }

    /// TCP over IPv4 with `payload` bytes and a good checksum.
    #[must_use]
    pub fn tcp4(payload: usize, seed: u64) -> Self {
        Self::ip(false, TCP, payload, seed)
    }

    /// TCP over IPv6 with `payload` bytes and a good checksum.
    #[must_use]
    pub fn tcp6(payload: usize, seed: u64) -> Self {
        Self::ip(true, TCP, payload, seed)
    }

    /// UDP over IPv4 with `payload` bytes and a good checksum.
    #[must_use]
    pub fn udp4(payload: usize, seed: u64) -> Self {
        Self::ip(false, UDP, payload, seed)
    }

    /// UDP over IPv6 with `payload` bytes and a good checksum.
    #[must_use]
    pub fn udp6(payload: usize, seed: u64) -> Self {
        Self::ip(true, UDP, payload, seed)
    }

    /// Leaves the transport checksum to the receiver, as a guest with checksum offload does: the
    /// field holds the sum of the pseudo-header.
    #[must_use]
    pub fn partial_checksum(mut self) -> Self {
        let Some(layout) = Layout::of(&self.bytes) else {
            return self;
        };
        let sum = fold(layout.pseudo_header(&self.bytes));
        layout.set_checksum(&mut self.bytes, sum);
        self.header.flags |= Header::NEEDS_CSUM;
        self.header.csum_start = cut(layout.transport);
        self.header.csum_offset = cut(layout.checksum - layout.transport);
        self
    }

    /// Makes it a super-frame with segments of `size` payload bytes.
    #[must_use]
    pub fn segmented(self, size: u16) -> Self {
        let mut frame = self.partial_checksum();
        if let Some(layout) = Layout::of(&frame.bytes) {
            frame.header.gso_type = match (layout.protocol, layout.is_v6) {
                (UDP, _) => Header::UDP_L4,
                (_, false) => Header::TCPV4,
                (_, true) => Header::TCPV6,
            };
            frame.header.gso_size = size;
            frame.header.hdr_len = cut(layout.payload);
        }
        frame
    }

    /// The headers' length, up to the transport payload.
    #[must_use]
    pub fn headers_len(&self) -> usize {
        Layout::of(&self.bytes).map_or(ETHERNET, |layout| layout.payload)
    }

    /// Whether the transport checksum is right, or the frame has none.
    #[must_use]
    pub fn has_good_checksum(&self) -> bool {
        Layout::of(&self.bytes).is_none_or(|layout| {
            let covered = self.bytes.get(layout.transport..).unwrap_or_default();
            fold(layout.pseudo_header(&self.bytes) + sum(covered)) == 0xffff
        })
    }

    /// What it costs of an Ethernet link, segment by segment: 24 bytes for each, and 84 at least.
    #[must_use]
    pub fn wire_bytes(&self) -> u64 {
        let slot = |len: usize| (len as u64 + 24).max(84);
        let headers = self.headers_len();
        let payload = self.bytes.len().saturating_sub(headers);
        let size = usize::from(self.header.gso_size);
        if self.header.gso_type == 0 || size == 0 || payload <= size {
            return slot(self.bytes.len());
        }
        let full = (payload - 1) / size;
        slot(headers + size) * full as u64 + slot(headers + payload - full * size)
    }

    /// The same frame to this destination address.
    #[must_use]
    pub fn to_mac(mut self, mac: [u8; 6]) -> Self {
        if let Some(destination) = self.bytes.get_mut(..6) {
            destination.copy_from_slice(&mac);
        }
        self
    }

    /// The same IPv4 frame with this code point (RFC 2474).
    #[must_use]
    pub fn dscp(mut self, code: u8) -> Self {
        if Layout::of(&self.bytes).is_some_and(|layout| !layout.is_v6)
            && let Some(header) = self.bytes.get_mut(ETHERNET..ETHERNET + 20)
        {
            header[1] = code << 2;
            header[10..12].fill(0);
            let sum = !fold(sum(header));
            header[10..12].copy_from_slice(&sum.to_be_bytes());
        }
        self
    }

    /// The same frame in a VLAN (IEEE 802.1Q).
    #[must_use]
    pub fn tagged(mut self, vlan: u16) -> Self {
        let [high, low] = vlan.to_be_bytes();
        let at = ETHERNET - 2;
        if self.bytes.len() > at {
            self.bytes.splice(at..at, [0x81, 0, high, low]);
        }
        let moved = |offset: &mut u16| *offset = offset.saturating_add(4);
        if self.header.flags & Header::NEEDS_CSUM != 0 {
            moved(&mut self.header.csum_start);
        }
        if self.header.gso_type != 0 {
            moved(&mut self.header.hdr_len);
        }
        self
    }

    /// The frame that comes `number` places later in its flow: identification and TCP sequence number have
    /// moved on, and the checksums are good. Only IPv4, and before any offload is asked for.
    #[must_use]
    pub fn in_sequence(mut self, number: u32) -> Self {
        let Some(layout) = Layout::of(&self.bytes).filter(|layout| !layout.is_v6) else {
            return self;
        };
        let [.., high, low] = number.wrapping_add(1).to_be_bytes();
        self.put(ETHERNET + 4, &[high, low]);
        self.put(ETHERNET + 10, &[0, 0]);
        let header = self.bytes.get(ETHERNET..layout.transport);
        let header_sum = !fold(sum(header.unwrap_or_default()));
        self.put(ETHERNET + 10, &header_sum.to_be_bytes());
        if layout.protocol == TCP {
            let payload = u32::from(cut(self.bytes.len().saturating_sub(layout.payload)));
            let sequence = number.wrapping_mul(payload).wrapping_add(1);
            self.put(layout.transport + 4, &sequence.to_be_bytes());
        }
        layout.finish_checksum(&mut self.bytes);
        self
    }

    fn put(&mut self, at: usize, bytes: &[u8]) {
        if let Some(field) = self.bytes.get_mut(at..at + bytes.len()) {
            field.copy_from_slice(bytes);
        }
    }

    /// The same frame from this source address.
    #[must_use]
    pub fn from_mac(mut self, mac: [u8; 6]) -> Self {
        if let Some(source) = self.bytes.get_mut(6..12) {
            source.copy_from_slice(&mac);
        }
        self
    }

    fn ip(is_v6: bool, protocol: u8, payload: usize, seed: u64) -> Self {
        let transport_len = if protocol == TCP { 20 } else { 8 } + payload;
        let mut bytes = if is_v6 {
            ipv6(protocol, transport_len)
        } else {
            ipv4(protocol, transport_len)
        };
        // Ports 4000 and 4001.
        bytes.extend([15, 160, 15, 161]);
        if protocol == TCP {
            // Sequence and acknowledgement numbers, 20 bytes of header, ACK, window.
            bytes.extend([0, 0, 0, 1, 0, 0, 0, 1, 0x50, 0x10, 0x20, 0, 0, 0, 0, 0]);
        } else {
            bytes.extend(cut(transport_len).to_be_bytes());
            bytes.extend([0, 0]);
        }
        bytes.extend(noise(seed).take(payload));
        if let Some(layout) = Layout::of(&bytes) {
            layout.finish_checksum(&mut bytes);
        }
        Self::from(bytes)
    }
}

impl From<Vec<u8>> for Frame {
    fn from(bytes: Vec<u8>) -> Self {
        Self {
            header: Header::default(),
            bytes,
        }
    }
}

/// Pseudo-random bytes (xorshift64), the same ones for the same seed.
pub(crate) fn noise(seed: u64) -> impl Iterator<Item = u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    std::iter::repeat_with(move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    })
    .flatten()
}

/// Where the parts of a frame of ours are.
struct Layout {
    is_v6: bool,
    protocol: u8,
    transport: usize,
    checksum: usize,
    payload: usize,
}

impl Layout {
    fn of(bytes: &[u8]) -> Option<Self> {
        let (is_v6, protocol, transport) = match bytes.get(12..14)? {
            [0x08, 0x00] => (false, *bytes.get(ETHERNET + 9)?, ETHERNET + 20),
            [0x86, 0xdd] => (true, *bytes.get(ETHERNET + 6)?, ETHERNET + 40),
            _ => return None,
        };
        let (checksum, len) = match protocol {
            TCP => (16, 20),
            UDP => (6, 8),
            _ => return None,
        };
        Some(Self {
            is_v6,
            protocol,
            transport,
            checksum: transport + checksum,
            payload: transport + len,
        })
    }

    /// RFC 9293 §3.1 and RFC 8200 §8.1.
    fn pseudo_header(&self, bytes: &[u8]) -> u64 {
        let addresses = if self.is_v6 { 22..54 } else { 26..34 };
        let len = bytes.len().saturating_sub(self.transport);
        sum(bytes.get(addresses).unwrap_or_default()) + u64::from(self.protocol) + len as u64
    }

    /// Computes it over everything that it covers.
    fn finish_checksum(&self, bytes: &mut [u8]) {
        self.set_checksum(bytes, 0);
        let covered = sum(bytes.get(self.transport..).unwrap_or_default());
        let sum = match !fold(self.pseudo_header(bytes) + covered) {
            0 => 0xffff,
            sum => sum,
        };
        self.set_checksum(bytes, sum);
    }

    fn set_checksum(&self, bytes: &mut [u8], sum: u16) {
        if let Some(field) = bytes.get_mut(self.checksum..self.checksum + 2) {
            field.copy_from_slice(&sum.to_be_bytes());
        }
    }
}

/// From the guest (…:02) to the host (…:01); broadcast, so that no address filter minds.
fn ethernet(kind: u16) -> [u8; ETHERNET] {
    let [high, low] = kind.to_be_bytes();
    [255, 255, 255, 255, 255, 255, 2, 0, 0, 0, 0, 2, high, low]
}

pub(super) fn ipv4(protocol: u8, len: usize) -> Vec<u8> {
    let mut bytes = ethernet(0x0800).to_vec();
    let [high, low] = cut(len + 20).to_be_bytes();
    let mut header = [0x45, 0, high, low, 0, 1, 0x40, 0, 64, protocol, 0, 0].to_vec();
    for host in HOSTS {
        header.extend([198, 18, 0, host]);
    }
    let [high, low] = (!fold(sum(&header))).to_be_bytes();
    header.splice(10..12, [high, low]);
    bytes.extend(header);
    bytes
}

fn ipv6(protocol: u8, len: usize) -> Vec<u8> {
    let mut bytes = ethernet(0x86dd).to_vec();
    let [high, low] = cut(len).to_be_bytes();
    bytes.extend([0x60, 0, 0, 0, high, low, protocol, 64]);
    for host in HOSTS {
        bytes.extend([0x20, 1, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, host]);
    }
    bytes
}

/// A length as a field of 16 bits has it.
fn cut(len: usize) -> u16 {
    u16::try_from(len).unwrap_or(u16::MAX)
}

/// The ones' complement sum of RFC 1071, not folded.
pub(super) fn sum(bytes: &[u8]) -> u64 {
    let word = |pair: &[u8]| match *pair {
        [high, low] => u64::from(u16::from_be_bytes([high, low])),
        [high] => u64::from(high) << 8,
        _ => 0,
    };
    bytes.chunks(2).map(word).sum()
}

pub(super) fn fold(mut sum: u64) -> u16 {
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    u16::try_from(sum).unwrap_or(u16::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksums_of_all_kinds_hold() {
        for frame in [
            Frame::tcp4(1001, 1),
            Frame::tcp6(999, 2),
            Frame::udp4(1, 3),
            Frame::udp6(0, 4),
        ] {
            assert!(frame.has_good_checksum());
            assert!(!frame.partial_checksum().has_good_checksum());
        }
    }

    #[test]
    fn frames_in_sequence_go_on_where_the_last_ended() {
        let header = |frame: &Frame| fold(sum(&frame.bytes[14..34]));
        for (at, first) in [(38, Frame::tcp4(10, 1)), (0, Frame::udp4(22, 1))] {
            let next = first.clone().in_sequence(7);
            assert!(next.has_good_checksum());
            assert_eq!((header(&next), &next.bytes[18..20]), (0xffff, &[0, 8][..]));
            if at > 0 {
                assert_eq!(next.bytes[at..at + 4], 71_u32.to_be_bytes());
            }
            assert_eq!(first.clone().in_sequence(0), first);
        }
    }

    #[test]
    fn a_super_frame_costs_what_its_segments_cost() {
        let frame = Frame::tcp4(3000, 1).segmented(1460);
        assert_eq!(frame.wire_bytes(), 2 * (54 + 1460 + 24) + 54 + 80 + 24);
        assert_eq!(Frame::plain(14, 1).wire_bytes(), 84);
        assert_eq!(frame.header.csum_start, 34);
        assert_eq!(frame.header.hdr_len, 54);
    }
}
