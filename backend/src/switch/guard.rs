//! What a guarded port may send: frames that name it, and nobody else, as their sender, and none that
//! only servers and routers send.
//!
//! A port is guarded when it owns an address, has IP addresses, or is isolated. Nothing is checked on
//! other ports, so a guest alone on its tap is as free as a machine on a cable.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;
use ring::net::{Facts, Fragment, Network};

use super::tags::{be16, is_tag};
use super::{Refused, arp, nd, packet};
use crate::args::MacAddr;
use crate::config::Trust;

const ICMP: u8 = 1;
const IGMP: u8 = 2;
const TCP: u8 = 6;
const UDP: u8 = 17;
const ICMPV6: u8 = 58;

const IPV4: u16 = 0x0800;
const ARP: u16 = 0x0806;
const RARP: u16 = 0x8035;
const IPV6: u16 = 0x86dd;
const PAUSE: u16 = 0x8808;
const LLDP: u16 = 0x88cc;

/// Ports of those who ask DHCP (RFC 2131 §4.1) and DHCPv6 (RFC 8415 §7.2) servers.
const DHCP_CLIENT: u16 = 68;
const DHCP_SERVER: u16 = 67;
const DHCPV6_CLIENT: u16 = 546;

/// What is checked on a port.
#[derive(Clone, Debug)]
pub(super) struct Guard {
    /// Its frames must come from this address.
    mac: Option<[u8; 6]>,
    /// Its packets must come from these, if there are any.
    addresses: Box<[IpNet]>,
    /// The link-local address that `mac` makes.
    link_local: Option<Ipv6Addr>,
    trust: Trust,
}

impl Guard {
    pub(super) fn new(mac: Option<MacAddr>, addresses: Vec<IpNet>, trust: Trust) -> Self {
        let mac = mac.map(MacAddr::octets);
        Self {
            mac,
            addresses: addresses.into(),
            link_local: mac.map(link_local),
            trust,
        }
    }

    pub(super) fn trust(&self) -> Trust {
        self.trust
    }

    /// Checks a frame. Who sends it is the caller's matter if the port owns no address.
    ///
    /// # Errors
    /// Why the frame must not go on.
    pub(super) fn check(&self, head: &[u8]) -> Result<Facts, Refused> {
        let facts = packet::read(head)?;
        if self.mac.is_some_and(|mac| mac != facts.source_mac) || facts.source_mac[0] & 1 != 0 {
            return Err(Refused::SpoofedMac);
        }
        if is_link_control(facts.destination_mac) || matches!(facts.ethertype, PAUSE | LLDP) {
            return Err(Refused::LinkControl);
        }
        match facts.network {
            Network::Ipv4 | Network::Ipv6 => self.packet(head, &facts)?,
            Network::Arp => self.arp(head, &facts)?,
            Network::Other => match facts.ethertype {
                RARP => self.arp(head, &facts)?,
                IPV4 if head.len() < usize::from(facts.l3_offset).saturating_add(20) => {
                    return Err(Refused::Truncated);
                }
                IPV6 if head.len() < usize::from(facts.l3_offset).saturating_add(40) => {
                    return Err(Refused::Truncated);
                }
                IPV4 | IPV6 => return Err(Refused::Hidden),
                ethertype if is_tag(ethertype) => return Err(Refused::Vlan),
                ..0x600 => self.snap(head, &facts)?,
                _ => {}
            },
        }
        Ok(facts)
    }

    /// Whether [`Self::check`] has nothing against a frame to one station, seen at a glance: most frames are
    /// whole, plain TCP or UDP over IPv4.
    #[inline]
    pub(super) fn passes(&self, head: &[u8]) -> bool {
        let Some(frame) = head.first_chunk::<38>() else {
            return false;
        };
        let total = u16::from_be_bytes([frame[16], frame[17]]);
        let source_mac: &[u8] = &frame[6..12];
        let sender = match self.mac {
            Some(mac) => source_mac == mac,
            None => true,
        } && source_mac[0] & 1 == 0;
        let whole = frame[20] & 0x3f | frame[21] == 0;
        let plain = frame[12..15] == [0x08, 0, 0x45] && whole && total >= 24;
        let role = match frame[23] {
            TCP => true,
            UDP => {
                self.trust.dhcp_server || u16::from_be_bytes([frame[36], frame[37]]) != DHCP_CLIENT
            }
            _ => false,
        };
        let known = self.addresses.is_empty() || {
            let source = Ipv4Addr::new(frame[26], frame[27], frame[28], frame[29]);
            !source.is_unspecified() && self.permits(source.into())
        };
        frame[0] & 1 == 0 && sender && plain && role && known
    }

    /// Whether the port may use an address.
    pub(super) fn permits(&self, address: IpAddr) -> bool {
        self.addresses.is_empty()
            || self.addresses.iter().any(|net| net.contains(&address))
            || self.link_local.is_some_and(|own| address == own)
    }

    /// Whether the frame's sender is checked at all, and not only its role.
    pub(super) fn names_sender(&self) -> bool {
        self.mac.is_some() || !self.addresses.is_empty()
    }

    fn arp(&self, head: &[u8], facts: &Facts) -> Result<(), Refused> {
        if !self.names_sender() {
            return Ok(());
        }
        let packet = head.get(usize::from(facts.l3_offset)..);
        let (hardware, protocol) = arp::sender(packet.unwrap_or_default())?;
        // A probe (RFC 5227 §2.1.1) names nobody.
        let known = protocol.is_unspecified() || self.permits(protocol.into());
        if hardware == facts.source_mac && known {
            Ok(())
        } else {
            Err(Refused::SpoofedArp)
        }
    }

    /// IP or ARP in an LLC header (RFC 1042), which some stacks read and no guest needs.
    fn snap(&self, head: &[u8], facts: &Facts) -> Result<(), Refused> {
        let at = usize::from(facts.l3_offset);
        let is_snap = head.get(at..).is_some_and(|llc| {
            llc.starts_with(&[0xaa, 0xaa, 3, 0, 0, 0])
                || llc.starts_with(&[0xaa, 0xaa, 3, 0, 0, 0xf8])
        });
        let ethertype = be16(head, at.saturating_add(6));
        match ethertype.filter(|_| is_snap) {
            Some(IPV4 | ARP | RARP | IPV6) => Err(Refused::Hidden),
            _ => Ok(()),
        }
    }

    fn packet(&self, head: &[u8], facts: &Facts) -> Result<(), Refused> {
        let source = facts.source.ok_or(Refused::Truncated)?;
        let unspecified = source.is_unspecified() && !self.addresses.is_empty();
        if !unspecified && !self.permits(source) {
            return Err(Refused::SpoofedIp);
        }
        // A later fragment is only ever used together with the first, which is judged.
        if facts.fragment == Fragment::Later {
            return if unspecified {
                Err(Refused::SpoofedIp)
            } else {
                Ok(())
            };
        }
        let protocol = facts.protocol.ok_or(Refused::Hidden)?;
        let transport = packet::transport(head, facts).ok_or(Refused::Hidden)?;
        // RFC 7112: the first fragment has all headers.
        if facts.fragment == Fragment::First && transport.is_empty() {
            return Err(Refused::Hidden);
        }
        if unspecified && !may_be_unspecified(source, protocol, transport) {
            return Err(Refused::SpoofedIp);
        }
        match (source, protocol) {
            (_, UDP) => self.datagram(source, transport),
            (IpAddr::V4(_), ICMP) => match transport.first() {
                // A redirect (RFC 792), or a router's advertisement (RFC 1256).
                Some(5 | 9) if !self.trust.router => Err(Refused::RogueRouter),
                Some(_) => Ok(()),
                None => Err(Refused::Truncated),
            },
            (IpAddr::V6(source), ICMPV6) => nd::check(self, source, transport, facts),
            _ => Ok(()),
        }
    }

    /// Clients take answers from any port, so it is the destination that counts.
    fn datagram(&self, source: IpAddr, transport: &[u8]) -> Result<(), Refused> {
        let client = match source {
            IpAddr::V4(_) => DHCP_CLIENT,
            IpAddr::V6(_) => DHCPV6_CLIENT,
        };
        match be16(transport, 2) {
            Some(port) if port == client && !self.trust.dhcp_server => Err(Refused::RogueDhcp),
            Some(_) => Ok(()),
            None => Err(Refused::Truncated),
        }
    }
}

/// Whether the message is one that stations without an address send: to a DHCP server, about IPv4
/// groups, or those of IPv6 that RFC 4861 and RFC 3590 name.
fn may_be_unspecified(source: IpAddr, protocol: u8, transport: &[u8]) -> bool {
    match (source, protocol) {
        (IpAddr::V4(_), UDP) => {
            be16(transport, 0) == Some(DHCP_CLIENT) && be16(transport, 2) == Some(DHCP_SERVER)
        }
        (IpAddr::V4(_), IGMP) => true,
        (IpAddr::V6(_), ICMPV6) => matches!(transport.first(), Some(131 | 132 | 133 | 135 | 143)),
        (IpAddr::V4(_) | IpAddr::V6(_), _) => false,
    }
}

/// Addresses that bridges do not forward (IEEE 802.1Q §8.6.3), and spanning trees of one maker.
#[inline]
pub(super) fn is_link_control(mac: [u8; 6]) -> bool {
    matches!(
        mac,
        [0x01, 0x80, 0xc2, 0, 0, 0..=0x0f] | [0x01, 0x00, 0x0c, 0xcc, 0xcc, 0xcc | 0xcd]
    )
}

/// The address that a station makes from its Ethernet address (RFC 4291 appendix A).
fn link_local(mac: [u8; 6]) -> Ipv6Addr {
    let [a, b, c, d, e, f] = mac;
    let tail = [a ^ 2, b, c, 0xff, 0xfe, d, e, f];
    Ipv6Addr::from(
        u128::from(0xfe80_0000_0000_0000_u64) << 64 | u128::from(u64::from_be_bytes(tail)),
    )
}
