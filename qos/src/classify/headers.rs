//! What a frame's headers say, as far as rules can ask for it.

use std::net::IpAddr;

use super::dscp::Dscp;
use super::spelling::{EtherType, Protocol};

/// One VLAN tag. A priority tag, whose id is 0, is a tag as well.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct VlanTag {
    /// The VLAN, 0 to 4095.
    pub id: u16,
    /// The priority code point, 0 to 7.
    pub priority: u8,
    /// The drop eligible indicator.
    pub dei: bool,
}

impl VlanTag {
    pub(super) const fn of_tci(tci: u16) -> Self {
        let [high, _] = tci.to_be_bytes();
        Self {
            id: tci & 0x0fff,
            priority: high >> 5,
            dei: high & 0x10 != 0,
        }
    }
}

/// Whether a packet is one piece of a larger one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Fragment {
    /// It is whole, or no IP packet.
    #[default]
    Whole,
    /// The first piece: it has the transport header, if any piece has.
    First,
    /// A later piece: ports would be made of payload, so it has none.
    Later,
}

/// A sensitivity label (CIPSO, FIPS 188): the IPv4 option 134.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Cipso {
    /// The domain of interpretation, which gives the level its meaning.
    pub doi: u32,
    /// The sensitivity level, if the label's first tag is of type 1.
    pub level: Option<u8>,
}

/// What the headers of one frame say, read once by [`parse`](Self::parse). What the frame does not have,
/// has damaged or keeps beyond the bytes that were given, is absent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Headers {
    /// Length of the whole frame, from the destination address on, without FCS.
    pub len: u32,
    /// The mark it comes with.
    pub mark: u32,
    /// Whom it is for; zero if the frame is shorter than an Ethernet header.
    pub destination_mac: [u8; 6],
    /// Whom it is from; zero if the frame is shorter than an Ethernet header.
    pub source_mac: [u8; 6],
    /// The outer VLAN tag.
    pub vlan: Option<VlanTag>,
    /// The VLAN tag inside of that.
    pub inner_vlan: Option<VlanTag>,
    /// What follows the tags. That of the third tag if there are three; absent where a length stands.
    pub ethertype: Option<EtherType>,
    /// The network address of the sender.
    pub source: Option<IpAddr>,
    /// The network address of the receiver.
    pub destination: Option<IpAddr>,
    /// The code point of an IP packet.
    pub dscp: Option<Dscp>,
    /// The two ECN bits of an IP packet (RFC 3168 §5).
    pub ecn: Option<u8>,
    /// What the IP packet carries, past all extension headers.
    pub protocol: Option<Protocol>,
    /// Whether it is a fragment.
    pub fragment: Fragment,
    /// The port of the sender: TCP, UDP, UDP-Lite, SCTP and DCCP.
    pub source_port: Option<u16>,
    /// The port of the receiver: TCP, UDP, UDP-Lite, SCTP and DCCP.
    pub destination_port: Option<u16>,
    /// The eight TCP flags from CWR (0x80) to FIN (0x01).
    pub tcp_flags: Option<u8>,
    /// The sensitivity label.
    pub cipso: Option<Cipso>,
}
