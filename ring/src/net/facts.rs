//! The facts of one frame, for classification, charging and surgery.

use std::net::IpAddr;

use super::HEADER_LEN;
use super::header::Fields;
use super::parse::Layers;

/// How a super-frame is to be cut.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Gso {
    /// An ordinary frame.
    #[default]
    None,
    /// TCP over IPv4.
    Tcp4,
    /// TCP over IPv6.
    Tcp6,
    /// UDP over either (`UDP_L4`).
    Udp,
}

/// A transport checksum left for others to finish.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ChecksumRequest {
    /// First byte summed, from the start of the frame.
    pub start: u16,
    /// Where the sum goes, from `start`.
    pub offset: u16,
}

impl ChecksumRequest {
    /// First byte after the checksum field, from the start of the frame.
    #[must_use]
    pub fn end(&self) -> u32 {
        u32::from(self.start)
            .saturating_add(u32::from(self.offset))
            .saturating_add(2)
    }
}

/// What follows the Ethernet header.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Network {
    /// Well-formed IPv4.
    Ipv4,
    /// Well-formed IPv6.
    Ipv6,
    /// ARP.
    Arp,
    /// Anything else, more than two VLAN tags, or malformed: the default class's.
    #[default]
    Other,
}

/// Whether an IP packet is a fragment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Fragment {
    /// A whole packet.
    #[default]
    No,
    /// The first fragment; more follow.
    First,
    /// A later fragment, which has no transport header.
    Later,
}

/// What is known about a frame. Offsets count from the start of the Ethernet header.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Facts {
    /// Bytes of the frame, without the virtio-net header.
    pub frame_len: u32,
    /// Bytes of all headers found: up to the transport payload, or as far as they were understood.
    pub headers_len: u16,
    /// How the frame is to be cut, if it is a super-frame.
    pub gso: Gso,
    /// Payload bytes of a segment; 0 for an ordinary frame.
    pub gso_size: u16,
    /// Segments the wire will carry; 1 for an ordinary frame.
    pub segments: u32,
    /// The super-frame's first segment alone carries CWR (`VIRTIO_NET_HDR_GSO_ECN`).
    pub ecn: bool,
    /// The transport checksum is still to be finished.
    pub checksum: Option<ChecksumRequest>,
    /// The host's kernel has checked the transport checksum (frames from the host only).
    pub data_valid: bool,
    /// Destination MAC address.
    pub destination_mac: [u8; 6],
    /// Source MAC address.
    pub source_mac: [u8; 6],
    /// Tag control information of the outer and the inner VLAN tag.
    pub vlans: [Option<u16>; 2],
    /// Ethertype after the VLAN tags.
    pub ethertype: u16,
    /// What that is.
    pub network: Network,
    /// Where the network header starts.
    pub l3_offset: u16,
    /// Where the transport header starts, if the frame has one that can be read.
    pub l4_offset: Option<u16>,
    /// IP protocol after all extension headers.
    pub protocol: Option<u8>,
    /// Differentiated services code point (6 bits).
    pub dscp: u8,
    /// ECN field of the IP header (2 bits).
    pub ip_ecn: u8,
    /// Whether the packet is a fragment.
    pub fragment: Fragment,
    /// Source address.
    pub source: Option<IpAddr>,
    /// Destination address.
    pub destination: Option<IpAddr>,
    /// Source and destination port of TCP, UDP, SCTP, DCCP or UDP-Lite.
    pub ports: Option<(u16, u16)>,
    /// The TCP flag byte (CWR to FIN), of TCP frames.
    pub tcp_flags: Option<u8>,
    /// An IPv6 routing header: the pseudo-header's destination is not the packet's.
    pub(crate) routed: bool,
}

impl Facts {
    /// The facts of an ordinary frame.
    #[inline]
    pub(super) fn new(frame_len: u32, layers: Layers, checksum: Option<ChecksumRequest>) -> Self {
        let mut facts = layers.into_facts();
        facts.frame_len = frame_len;
        facts.segments = 1;
        facts.checksum = checksum;
        facts
    }

    /// Takes up a checked segmentation. One segment's worth is an ordinary frame.
    pub(super) fn set_gso(&mut self, gso: Gso, gso_size: u16, ecn: bool) {
        if gso == Gso::None {
            return;
        }
        let payload = self.payload_len();
        let segments = payload.div_ceil(u32::from(gso_size.max(1))).max(1);
        if segments > 1 {
            self.gso = gso;
            self.gso_size = gso_size;
            self.segments = segments;
            self.ecn = ecn;
        }
    }

    /// Bytes after the headers.
    #[must_use]
    pub fn payload_len(&self) -> u32 {
        self.frame_len.saturating_sub(u32::from(self.headers_len))
    }

    /// The header for the far side, written anew from these facts.
    #[must_use]
    pub fn header(&self) -> [u8; HEADER_LEN] {
        Fields {
            checksum: self.checksum,
            data_valid: self.data_valid,
            gso: self.gso,
            ecn: self.ecn,
            gso_size: self.gso_size,
            headers_len: self.headers_len,
        }
        .encode()
    }
}
