//! The virtio-net header (virtio 1.3 §5.1.6), little-endian, as it is on the ring and on a tap
//! set to it.

use super::{ChecksumRequest, FrameFault, Gso, HEADER_LEN};

const NEEDS_CSUM: u8 = 1;
const DATA_VALID: u8 = 2;
const GSO_NONE: u8 = 0;
const GSO_TCPV4: u8 = 1;
const GSO_TCPV6: u8 = 4;
const GSO_UDP_L4: u8 = 5;
const GSO_ECN: u8 = 0x80;
/// `VIRTIO_NET_HDR_GSO_UDP`: fragmentation, never offered.
const GSO_UDP: u8 = 3;

/// The offloads negotiated for frames from the guest (the `VIRTIO_NET_F_HOST_*` side).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Offloads {
    /// `VIRTIO_NET_F_CSUM`.
    pub csum: bool,
    /// `VIRTIO_NET_F_HOST_TSO4`.
    pub tso4: bool,
    /// `VIRTIO_NET_F_HOST_TSO6`.
    pub tso6: bool,
    /// `VIRTIO_NET_F_HOST_ECN`.
    pub ecn: bool,
    /// `VIRTIO_NET_F_HOST_USO`.
    pub uso: bool,
}

impl Offloads {
    pub(super) const fn allow(self, gso: Gso, ecn: bool) -> bool {
        let kind = match gso {
            Gso::None => true,
            Gso::Tcp4 => self.tso4,
            Gso::Tcp6 => self.tso6,
            Gso::Udp => self.uso,
        };
        kind && (self.ecn || !ecn)
    }
}

/// A decoded virtio-net header; nothing in it is checked.
///
/// `hdr_len` and `num_buffers` are missing on purpose: the first is a hint that is recomputed, the
/// second is the device's to write (hostile rows 34 and 36).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Header {
    /// Flag bits.
    pub flags: u8,
    /// Segmentation type and ECN bit.
    pub gso_type: u8,
    /// Payload bytes of a segment.
    pub gso_size: u16,
    /// Where the checksum starts, from the start of the frame.
    pub csum_start: u16,
    /// Where the checksum goes, from `csum_start`.
    pub csum_offset: u16,
}

impl Header {
    /// Whether the frame behind this header is to be sent as it is: no checksum to be filled in, no
    /// segmentation. Then its length is all that has to be known of it, and an all-zero header says
    /// the same.
    #[inline]
    #[must_use]
    pub const fn is_plain(header: &[u8; HEADER_LEN]) -> bool {
        let [flags, gso_type, ..] = *header;
        flags & NEEDS_CSUM == 0 && gso_type == GSO_NONE
    }

    /// Decodes a private copy of a header.
    #[must_use]
    pub const fn parse(bytes: &[u8; HEADER_LEN]) -> Self {
        let [flags, gso_type, _, _, g0, g1, s0, s1, o0, o1, _, _] = *bytes;
        Self {
            flags,
            gso_type,
            gso_size: u16::from_le_bytes([g0, g1]),
            csum_start: u16::from_le_bytes([s0, s1]),
            csum_offset: u16::from_le_bytes([o0, o1]),
        }
    }

    pub(super) const fn needs_checksum(&self) -> bool {
        self.flags & NEEDS_CSUM != 0
    }

    pub(super) const fn data_valid(&self) -> bool {
        self.flags & DATA_VALID != 0
    }

    pub(super) const fn ecn(&self) -> bool {
        self.gso_type & GSO_ECN != 0
    }

    pub(super) const fn request(&self) -> ChecksumRequest {
        ChecksumRequest {
            start: self.csum_start,
            offset: self.csum_offset,
        }
    }

    /// The segmentation asked for.
    pub(super) const fn gso(&self) -> Result<Gso, FrameFault> {
        match self.gso_type & !GSO_ECN {
            // The ECN bit alone means nothing.
            GSO_NONE if self.gso_type == GSO_NONE => Ok(Gso::None),
            GSO_TCPV4 => Ok(Gso::Tcp4),
            GSO_TCPV6 => Ok(Gso::Tcp6),
            GSO_UDP_L4 if self.gso_type == GSO_UDP_L4 => Ok(Gso::Udp),
            GSO_UDP => Err(FrameFault::GsoNotNegotiated),
            _ => Err(FrameFault::GsoUnknown),
        }
    }
}

/// The fields of a header that the device writes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Fields {
    pub(crate) checksum: Option<ChecksumRequest>,
    pub(crate) data_valid: bool,
    pub(crate) gso: Gso,
    pub(crate) ecn: bool,
    pub(crate) gso_size: u16,
    pub(crate) headers_len: u16,
}

impl Fields {
    /// Encodes a header; bytes without a meaning are zero (hostile row 45).
    pub(crate) fn encode(&self) -> [u8; HEADER_LEN] {
        let mut flags = 0;
        if self.checksum.is_some() {
            flags |= NEEDS_CSUM;
        }
        if self.data_valid {
            flags |= DATA_VALID;
        }
        let kind = match self.gso {
            Gso::None => GSO_NONE,
            Gso::Tcp4 => GSO_TCPV4,
            Gso::Tcp6 => GSO_TCPV6,
            Gso::Udp => GSO_UDP_L4,
        };
        let super_frame = self.gso != Gso::None;
        let gso_type = if super_frame && self.ecn {
            kind | GSO_ECN
        } else {
            kind
        };
        let gso_size = if super_frame { self.gso_size } else { 0 };
        let request = self.checksum.unwrap_or_default();
        let [h0, h1] = self.headers_len.to_le_bytes();
        let [g0, g1] = gso_size.to_le_bytes();
        let [s0, s1] = request.start.to_le_bytes();
        let [o0, o1] = request.offset.to_le_bytes();
        [flags, gso_type, h0, h1, g0, g1, s0, s1, o0, o1, 0, 0]
    }
}
