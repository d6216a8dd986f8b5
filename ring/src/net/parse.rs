//! Ethernet, VLAN, IPv4, IPv6 and transport headers of a private copy, with bounded depth.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::{Facts, Fragment, FrameFault, Gso, MAX_FRAME_LEN, MIN_FRAME_LEN, Network};

const ETHERTYPE_IPV4: u16 = 0x0800;
const ETHERTYPE_ARP: u16 = 0x0806;
const ETHERTYPE_IPV6: u16 = 0x86dd;
const ETHERTYPE_VLAN: u16 = 0x8100;
const ETHERTYPE_QINQ: u16 = 0x88a8;
const TCP: u8 = 6;
const UDP: u8 = 17;
const DCCP: u8 = 33;
const SCTP: u8 = 132;
const UDP_LITE: u8 = 136;
const HOP_BY_HOP: u8 = 0;
const ROUTING: u8 = 43;
const FRAGMENT: u8 = 44;
const AUTHENTICATION: u8 = 51;
const DESTINATION: u8 = 60;
/// Most IPv6 extension headers followed.
const MAX_EXTENSIONS: usize = 8;

/// The `N` bytes at `at`.
fn field<const N: usize>(head: &[u8], at: usize) -> Option<[u8; N]> {
    head.get(at..)?.first_chunk().copied()
}

fn be16(head: &[u8], at: usize) -> Option<u16> {
    field(head, at).map(u16::from_be_bytes)
}

fn byte(head: &[u8], at: usize) -> Option<u8> {
    head.get(at).copied()
}

/// An offset in the copied head, which is at most a few hundred bytes.
fn short(offset: usize) -> u16 {
    u16::try_from(offset).unwrap_or(u16::MAX)
}

/// The layers of a frame, as far as they are well-formed and inside the copy.
pub(super) struct Layers {
    facts: Facts,
    /// End of the last header understood.
    end: usize,
    /// The headers up to the transport payload are whole.
    whole: bool,
}

impl Layers {
    /// Parses a copy of the first bytes of a frame.
    #[inline]
    pub(super) fn parse(head: &[u8], frame_len: u32) -> Result<Self, FrameFault> {
        let runt = FrameFault::Runt;
        if frame_len < MIN_FRAME_LEN {
            return Err(runt);
        }
        if frame_len > MAX_FRAME_LEN {
            return Err(FrameFault::TooLong);
        }
        // A longer copy than the frame is the caller's buffer, not the frame.
        let len = usize::try_from(frame_len).map_or(head.len(), |len| len.min(head.len()));
        let head = head.get(..len).unwrap_or_default();
        let mut layers = Self {
            facts: Facts {
                destination_mac: field(head, 0).ok_or(runt)?,
                source_mac: field(head, 6).ok_or(runt)?,
                ethertype: be16(head, 12).ok_or(runt)?,
                ..Facts::default()
            },
            end: 14,
            whole: false,
        };
        let readable = layers.vlans(head).is_some();
        layers.facts.l3_offset = short(layers.end);
        if readable {
            layers.network(head, frame_len);
        }
        Ok(layers)
    }

    /// Steps over at most two tags; more, or a truncated one, ends the parse.
    #[inline]
    fn vlans(&mut self, head: &[u8]) -> Option<()> {
        for depth in 0..2 {
            if !is_vlan(self.facts.ethertype) {
                return Some(());
            }
            let tci = be16(head, self.end)?;
            let ethertype = be16(head, self.end.saturating_add(2))?;
            *self.facts.vlans.get_mut(depth)? = Some(tci);
            self.facts.ethertype = ethertype;
            self.end = self.end.saturating_add(4);
        }
        (!is_vlan(self.facts.ethertype)).then_some(())
    }

    #[inline]
    fn network(&mut self, head: &[u8], frame_len: u32) {
        let parsed = match self.facts.ethertype {
            ETHERTYPE_IPV4 => self.ipv4(head, frame_len),
            ETHERTYPE_IPV6 => self.ipv6(head),
            ETHERTYPE_ARP => {
                self.facts.network = Network::Arp;
                None
            }
            _ => None,
        };
        if let Some(protocol) = parsed {
            self.transport(head, protocol, frame_len);
        }
    }

    /// Hostile row 38. Answers the protocol if a transport header follows.
    #[inline]
    fn ipv4(&mut self, head: &[u8], frame_len: u32) -> Option<u8> {
        let start = self.end;
        let [first, tos] = field(head, start)?;
        let header_len = usize::from(first & 0xf).saturating_mul(4);
        let end = start.saturating_add(header_len);
        let total = be16(head, start.saturating_add(2))?;
        let packet_len = usize::try_from(frame_len).ok()?.saturating_sub(start);
        let sane = first >> 4 == 4
            && header_len >= 20
            && end <= head.len()
            && usize::from(total) >= header_len
            && usize::from(total) <= packet_len;
        if !sane {
            return None;
        }
        let flags_offset = be16(head, start.saturating_add(6))?;
        let protocol = byte(head, start.saturating_add(9))?;
        let source = field(head, start.saturating_add(12)).map(Ipv4Addr::from_octets)?;
        let destination = field(head, start.saturating_add(16)).map(Ipv4Addr::from_octets)?;
        self.facts.network = Network::Ipv4;
        self.facts.dscp = tos >> 2;
        self.facts.ip_ecn = tos & 3;
        self.facts.source = Some(IpAddr::V4(source));
        self.facts.destination = Some(IpAddr::V4(destination));
        self.facts.protocol = Some(protocol);
        self.end = end;
        self.fragment(flags_offset & 0x1fff, flags_offset & 0x2000 != 0);
        (self.facts.fragment != Fragment::Later).then_some(protocol)
    }

    fn fragment(&mut self, offset: u16, more: bool) {
        self.facts.fragment = match (offset, more) {
            (0, false) => Fragment::No,
            (0, true) => Fragment::First,
            _ => Fragment::Later,
        };
    }

    fn ipv6(&mut self, head: &[u8]) -> Option<u8> {
        let start = self.end;
        let [first, second] = field(head, start)?;
        let next = byte(head, start.saturating_add(6))?;
        let source = field(head, start.saturating_add(8)).map(Ipv6Addr::from_octets)?;
        let destination = field(head, start.saturating_add(24)).map(Ipv6Addr::from_octets)?;
        if first >> 4 != 6 {
            return None;
        }
        let class = (first << 4) | (second >> 4);
        self.facts.network = Network::Ipv6;
        self.facts.dscp = class >> 2;
        self.facts.ip_ecn = class & 3;
        self.facts.source = Some(IpAddr::V6(source));
        self.facts.destination = Some(IpAddr::V6(destination));
        self.end = start.saturating_add(40);
        self.extensions(head, next)
    }

    /// Follows extension headers (RFC 8200 §4), at most [`MAX_EXTENSIONS`].
    fn extensions(&mut self, head: &[u8], first: u8) -> Option<u8> {
        let mut next = first;
        for _ in 0..MAX_EXTENSIONS {
            let unit = match next {
                HOP_BY_HOP | ROUTING | DESTINATION => 8_usize,
                // RFC 4302 §2.2 counts in 4 bytes; a fragment header has no length.
                AUTHENTICATION => 4,
                FRAGMENT => 0,
                _ => {
                    self.facts.protocol = Some(next);
                    return (self.facts.fragment != Fragment::Later).then_some(next);
                }
            };
            let [following, length] = field(head, self.end)?;
            let extra = usize::from(length).saturating_mul(unit);
            let end = self.end.saturating_add(8).saturating_add(extra);
            if end > head.len() {
                return None;
            }
            if next == FRAGMENT {
                let offset = be16(head, self.end.saturating_add(2))?;
                self.fragment(offset >> 3, offset & 1 != 0);
            }
            self.facts.routed |= next == ROUTING;
            self.end = end;
            next = following;
            if self.facts.fragment == Fragment::Later {
                self.facts.protocol = Some(next);
                return None;
            }
        }
        None
    }

    #[inline]
    fn transport(&mut self, head: &[u8], protocol: u8, frame_len: u32) {
        let start = self.end;
        self.facts.l4_offset = Some(short(start));
        if matches!(protocol, TCP | UDP | DCCP | SCTP | UDP_LITE) {
            self.facts.ports = be16(head, start).zip(be16(head, start.saturating_add(2)));
        }
        let len = match protocol {
            TCP => self.tcp(head),
            UDP => Some(8),
            _ => None,
        };
        let Some(len) = len else { return };
        let end = start.saturating_add(len);
        let inside = usize::try_from(frame_len).is_ok_and(|frame_len| end <= frame_len);
        if end <= head.len() && inside {
            self.end = end;
            self.whole = true;
        }
    }

    /// Hostile row 39.
    fn tcp(&mut self, head: &[u8]) -> Option<usize> {
        let [offset, flags] = field(head, self.end.saturating_add(12))?;
        self.facts.tcp_flags = Some(flags);
        let len = usize::from(offset >> 4).saturating_mul(4);
        (len >= 20).then_some(len)
    }

    /// The facts of the headers alone.
    #[inline]
    pub(super) fn into_facts(mut self) -> Facts {
        self.facts.headers_len = short(self.end);
        self.facts
    }

    /// Where the transport header starts, or would, as far as the frame was understood.
    pub(super) fn transport_offset(&self) -> u16 {
        self.facts.l4_offset.unwrap_or_else(|| short(self.end))
    }

    /// Where the transport's own checksum field lies in its header.
    pub(super) fn checksum_offset(&self) -> Option<u16> {
        self.facts.l4_offset?;
        match self.facts.protocol? {
            TCP => Some(16),
            UDP => Some(6),
            _ => None,
        }
    }

    /// Whether a decision may have depended on the transport header.
    pub(super) fn has_ports(&self) -> bool {
        self.facts.ports.is_some()
    }

    /// Bytes up to the transport payload, if all headers are whole and in the copy.
    pub(super) fn headers_len(&self) -> Option<u16> {
        self.whole.then(|| short(self.end))
    }

    /// Whether the frame is what a segmentation type says (hostile rows 30 and 31).
    pub(super) fn carries(&self, gso: Gso) -> bool {
        let facts = &self.facts;
        let protocol = match gso {
            Gso::None => return true,
            Gso::Tcp4 if facts.network != Network::Ipv4 => return false,
            Gso::Tcp6 if facts.network != Network::Ipv6 => return false,
            Gso::Tcp4 | Gso::Tcp6 => TCP,
            Gso::Udp => UDP,
        };
        facts.fragment == Fragment::No
            && facts.l4_offset.is_some()
            && facts.protocol == Some(protocol)
    }
}

fn is_vlan(ethertype: u16) -> bool {
    matches!(ethertype, ETHERTYPE_VLAN | ETHERTYPE_QINQ)
}
