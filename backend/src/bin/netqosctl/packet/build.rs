//! Words made a frame.

use std::net::IpAddr;

use etherparse::{
    ArpEthIpv4Packet, ArpOperation, ArpPacket, EtherType, Ethernet2Header, IpDscp, IpEcn,
    IpHeaders, IpNumber, Ipv4Extensions, Ipv4Header, Ipv6Extensions, Ipv6FlowLabel, Ipv6Header,
    PacketBuilder, SingleVlanHeader, TcpHeader, VlanId, VlanPcp,
};

use super::{End, Kind, PORTS, PacketError, Words};

/// The time to live of packets that do not say (RFC 1700).
const TTL: u8 = 64;

const ONE_KIND: &str = "both ends need addresses of one kind: IPv4, or IPv6";
const ARP_KIND: &str = "ARP is for IPv4: write IPv4 addresses";

/// The frame that the words mean; `from` and `to` are the stations unless they say others.
pub(super) fn frame(words: &Words, from: [u8; 6], to: [u8; 6]) -> Result<Vec<u8>, PacketError> {
    let Some(kind) = words.carried() else {
        return Err(PacketError::Together(
            "say what it carries: write udp, tcp, icmp, icmp6, arp, ip, or its bytes as hex:...",
        ));
    };
    words.check(kind)?;
    let (source, destination) = words.ends(kind)?;
    let broadcast = match kind {
        Kind::Arp => [0xff; 6],
        _ => to,
    };
    let ethernet = Ethernet2Header {
        source: words.from.unwrap_or(from),
        destination: words.to.unwrap_or(broadcast),
        ether_type: match (words.vlan, kind, source.address) {
            (Some(_), ..) => EtherType::VLAN_TAGGED_FRAME,
            (None, kind, address) => ether_type(kind, address),
        },
    };
    let mut frame = ethernet.to_bytes().to_vec();
    if let Some(id) = words.vlan {
        let tag = SingleVlanHeader {
            pcp: VlanPcp::try_new(words.priority.unwrap_or(0)).unwrap_or_default(),
            drop_eligible_indicator: false,
            vlan_id: VlanId::try_new(id).unwrap_or_default(),
            ether_type: ether_type(kind, source.address),
        };
        frame.extend(tag.to_bytes());
    }
    match (kind, source.address, destination.address) {
        (Kind::Arp, IpAddr::V4(source), IpAddr::V4(destination)) => {
            let request = ArpPacket::from(ArpEthIpv4Packet {
                operation: ArpOperation::REQUEST,
                sender_mac: ethernet.source,
                sender_ipv4: source.octets(),
                target_mac: [0; 6],
                target_ipv4: destination.octets(),
            });
            frame.extend(request.to_bytes());
            let least = frame.len();
            let len = words.len.unwrap_or(least);
            if len < least {
                return Err(PacketError::Length { len, least });
            }
            frame.resize(len, 0);
        }
        _ => words.packet(kind, source, destination, &mut frame)?,
    }
    Ok(frame)
}

const fn ether_type(kind: Kind, address: IpAddr) -> EtherType {
    match (kind, address) {
        (Kind::Arp, _) => EtherType::ARP,
        (_, IpAddr::V4(_)) => EtherType::IPV4,
        (_, IpAddr::V6(_)) => EtherType::IPV6,
    }
}

impl Words {
    fn carried(&self) -> Option<Kind> {
        match (self.kind?, self.protocol) {
            (Kind::Ip(_), Some(number)) => Some(Kind::Ip(number)),
            (kind, _) => Some(kind),
        }
    }

    /// Whether everything said is about such a frame.
    fn check(&self, kind: Kind) -> Result<(), PacketError> {
        let ports = [self.source, self.destination]
            .iter()
            .flatten()
            .any(|end| end.port.is_some());
        let ip = self.dscp.is_some() || self.ecn.is_some() || self.ttl.is_some();
        let wrong = match kind {
            kind if self.flags.is_some() && kind != Kind::Tcp => "only tcp has flags",
            Kind::Arp if ip => "ARP is no IP: it has no dscp, ecn or ttl",
            Kind::Arp | Kind::Icmp | Kind::Icmpv6 | Kind::Ip(_) if ports => {
                "only udp and tcp have ports: write addresses alone"
            }
            Kind::Arp | Kind::Icmp | Kind::Icmpv6 | Kind::Udp | Kind::Tcp
                if self.protocol.is_some() =>
            {
                "proto goes with ip alone: the other words say the protocol"
            }
            _ if self.priority.is_some() && self.vlan.is_none() => {
                "prio is in the VLAN tag: write vlan as well (vlan 0 is no VLAN)"
            }
            _ => return Ok(()),
        };
        Err(PacketError::Together(wrong))
    }

    /// Both ends; those for documentation (RFC 5737, RFC 3849) if they are not said.
    fn ends(&self, kind: Kind) -> Result<(End, End), PacketError> {
        let six = match (self.source, self.destination) {
            (Some(end), _) | (None, Some(end)) => end.address.is_ipv6(),
            (None, None) => kind == Kind::Icmpv6,
        };
        let (source, destination): ([u16; 8], [u16; 8]) = (
            [0x2001, 0xdb8, 0, 0, 0, 0, 0, 1],
            [0x2001, 0xdb8, 0, 0, 0, 0, 0, 2],
        );
        let (source, destination) = match six {
            true => (IpAddr::from(source), IpAddr::from(destination)),
            false => (IpAddr::from([192, 0, 2, 1]), IpAddr::from([192, 0, 2, 2])),
        };
        let end = |address| End {
            address,
            port: None,
        };
        let source = self.source.unwrap_or_else(|| end(source));
        let destination = self.destination.unwrap_or_else(|| end(destination));
        let wrong = match (
            kind,
            source.address.is_ipv6(),
            destination.address.is_ipv6(),
        ) {
            (_, source, destination) if source != destination => ONE_KIND,
            (Kind::Arp, true, _) => ARP_KIND,
            (Kind::Icmp, true, _) => "ICMP is for IPv4: write icmp6",
            (Kind::Icmpv6, false, _) => "ICMPv6 is for IPv6: write icmp",
            _ => return Ok((source, destination)),
        };
        Err(PacketError::Together(wrong))
    }

    fn headers(&self, source: End, destination: End) -> Result<IpHeaders, PacketError> {
        let (dscp, ecn) = (self.dscp.unwrap_or(0), self.ecn.unwrap_or(0));
        match (source.address, destination.address) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => Ok(IpHeaders::Ipv4(
                Ipv4Header {
                    dscp: IpDscp::try_new(dscp).unwrap_or_default(),
                    ecn: IpEcn::try_new(ecn).unwrap_or_default(),
                    time_to_live: self.ttl.unwrap_or(TTL),
                    source: source.octets(),
                    destination: destination.octets(),
                    ..Ipv4Header::default()
                },
                Ipv4Extensions::default(),
            )),
            (IpAddr::V6(source), IpAddr::V6(destination)) => Ok(IpHeaders::Ipv6(
                Ipv6Header {
                    traffic_class: dscp << 2 | ecn,
                    flow_label: Ipv6FlowLabel::default(),
                    hop_limit: self.ttl.unwrap_or(TTL),
                    source: source.octets(),
                    destination: destination.octets(),
                    ..Ipv6Header::default()
                },
                Ipv6Extensions::default(),
            )),
            _ => Err(PacketError::Together(ONE_KIND)),
        }
    }

    /// Appends the IP packet, with as much payload as the frame's length says.
    fn packet(
        &self,
        kind: Kind,
        source: End,
        destination: End,
        frame: &mut Vec<u8>,
    ) -> Result<(), PacketError> {
        let headers = PacketBuilder::ip(self.headers(source, destination)?);
        let ports = (
            source.port.unwrap_or(PORTS.0),
            destination.port.unwrap_or(PORTS.1),
        );
        macro_rules! finish {
            ($step:expr $(, $protocol:expr)?) => {{
                let step = $step;
                let least = frame.len() + step.size(0);
                let len = self.len.unwrap_or(least);
                let payload = len.checked_sub(least).map(|more| vec![0; more]);
                let payload = payload.ok_or(PacketError::Length { len, least })?;
                let written = step.write_to_vec(frame $(, $protocol)?, &payload);
                written.map_err(|_| PacketError::Length { len, least })
            }};
        }
        match kind {
            Kind::Udp => finish!(headers.udp(ports.0, ports.1)),
            Kind::Tcp => finish!(headers.tcp_header(self.tcp(ports))),
            Kind::Icmp => finish!(headers.icmpv4_echo_request(1, 1)),
            Kind::Icmpv6 => finish!(headers.icmpv6_echo_request(1, 1)),
            Kind::Ip(number) => finish!(headers, IpNumber(number)),
            Kind::Arp => Err(PacketError::Together(ARP_KIND)),
        }
    }

    fn tcp(&self, (source, destination): (u16, u16)) -> TcpHeader {
        // In the order of RFC 9293 §3.1, from the lowest bit up; a segment of a connection if not said.
        let flags = self.flags.unwrap_or(0b1_0000);
        let bit = |number: u32| flags >> number & 1 == 1;
        TcpHeader {
            fin: bit(0),
            syn: bit(1),
            rst: bit(2),
            psh: bit(3),
            ack: bit(4),
            urg: bit(5),
            ece: bit(6),
            cwr: bit(7),
            ..TcpHeader::new(source, destination, 1, u16::MAX)
        }
    }
}
