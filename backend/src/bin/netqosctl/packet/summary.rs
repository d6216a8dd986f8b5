//! A frame in one line.

use std::fmt::{self, Display};
use std::net::IpAddr;

use etherparse::{
    ArpEthIpv4Packet, LaxNetSlice, LaxSlicedPacket, LinkSlice, TcpSlice, TransportSlice,
};
use qos::classify::{Dscp, Protocol};

use super::parse::ECN;

struct Mac([u8; 6]);

impl Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

/// What the headers of a frame say, as far as they are there.
pub(crate) fn summary(bytes: &[u8]) -> String {
    let Ok(frame) = LaxSlicedPacket::from_ethernet(bytes) else {
        return format!("{} bytes, no Ethernet header", bytes.len());
    };
    let mut text = String::new();
    let mut carries = None;
    if let Some(LinkSlice::Ethernet2(ethernet)) = &frame.link {
        let (source, destination) = (Mac(ethernet.source()), Mac(ethernet.destination()));
        text = format!("{source} > {destination}");
        carries = Some(ethernet.ether_type());
    }
    for tag in frame.link_exts.iter().filter_map(|ext| match ext {
        etherparse::LaxLinkExtSlice::Vlan(tag) => Some(tag),
        _ => None,
    }) {
        text.push_str(&format!(" vlan {}", tag.vlan_identifier().value()));
        if tag.priority_code_point().value() > 0 {
            text.push_str(&format!(" prio {}", tag.priority_code_point().value()));
        }
        carries = Some(tag.ether_type());
    }
    match &frame.net {
        Some(LaxNetSlice::Arp(arp)) => text.push_str(&arp_text(arp.to_packet().try_into().ok())),
        Some(net) => text.push_str(&ip_text(net, frame.transport.as_ref())),
        None => {
            let carries = carries.map_or(0, |ether_type| ether_type.0);
            text.push_str(&format!(", type 0x{carries:04x}"));
        }
    }
    text
}

fn arp_text(arp: Option<ArpEthIpv4Packet>) -> String {
    let Some(arp) = arp else {
        return ", ARP".to_owned();
    };
    let [sender, target] = [arp.sender_ipv4, arp.target_ipv4].map(IpAddr::from);
    match arp.operation.0 {
        1 => format!(", ARP who-has {target} tell {sender}"),
        2 => format!(", ARP {sender} is-at {}", Mac(arp.sender_mac)),
        other => format!(", ARP operation {other}"),
    }
}

fn ip_text(net: &LaxNetSlice<'_>, transport: Option<&TransportSlice<'_>>) -> String {
    let (version, source, destination, octet, protocol) = match net {
        LaxNetSlice::Ipv4(ip) => {
            let header = ip.header();
            let [source, destination] = [header.source(), header.destination()].map(IpAddr::from);
            let octet = header.dcp().value() << 2 | header.ecn().value();
            (4, source, destination, octet, ip.payload_ip_number())
        }
        LaxNetSlice::Ipv6(ip) => {
            let header = ip.header();
            let [source, destination] = [header.source(), header.destination()].map(IpAddr::from);
            (
                6,
                source,
                destination,
                header.traffic_class(),
                ip.payload().ip_number,
            )
        }
        LaxNetSlice::Arp(_) => return String::new(),
    };
    let ports = match transport {
        Some(TransportSlice::Udp(udp)) => Some((udp.source_port(), udp.destination_port())),
        Some(TransportSlice::Tcp(tcp)) => Some((tcp.source_port(), tcp.destination_port())),
        _ => None,
    };
    let end = |address: IpAddr, port: Option<u16>| match (address, port) {
        (address, None) => address.to_string(),
        (address, Some(port)) => std::net::SocketAddr::from((address, port)).to_string(),
    };
    let source = end(source, ports.map(|ports| ports.0));
    let destination = end(destination, ports.map(|ports| ports.1));
    let mut text = format!(", IPv{version} {source} > {destination}");
    let dscp = Dscp::of_octet(octet);
    if dscp.value() > 0 {
        text.push_str(&format!(" dscp {dscp}"));
    }
    if let Some(name) = ECN.get(usize::from(octet & 3)).filter(|_| octet & 3 > 0) {
        text.push_str(&format!(" ecn {name}"));
    }
    text.push_str(", ");
    text.push_str(&match transport {
        Some(TransportSlice::Udp(_)) => "UDP".to_owned(),
        Some(TransportSlice::Tcp(tcp)) => format!("TCP {}", flags(tcp)),
        Some(TransportSlice::Icmpv4(_)) => "ICMP".to_owned(),
        Some(TransportSlice::Icmpv6(_)) => "ICMPv6".to_owned(),
        _ => format!("protocol {}", Protocol(protocol.0)),
    });
    text
}

fn flags(tcp: &TcpSlice<'_>) -> String {
    let all = [
        (tcp.fin(), "fin"),
        (tcp.syn(), "syn"),
        (tcp.rst(), "rst"),
        (tcp.psh(), "psh"),
        (tcp.ack(), "ack"),
        (tcp.urg(), "urg"),
        (tcp.ece(), "ece"),
        (tcp.cwr(), "cwr"),
    ];
    let set = all.iter().filter(|(set, _)| *set);
    set.map(|(_, name)| *name).collect::<Vec<_>>().join(",")
}
