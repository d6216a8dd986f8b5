//! Frames for tests, built as senders build them; checksums are left zero, since no decision reads them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

pub(crate) const BROADCAST: [u8; 6] = [0xff; 6];

pub(crate) fn mac(last: u8) -> [u8; 6] {
    [0x52, 0x54, 0, 0, 0, last]
}

/// An Ethernet frame in the making.
#[derive(Clone, Debug)]
pub(crate) struct Frame {
    to: [u8; 6],
    from: [u8; 6],
    tags: Vec<(u16, u16)>,
    ethertype: u16,
    payload: Vec<u8>,
}

impl Frame {
    pub(crate) fn to(to: [u8; 6]) -> Self {
        Self {
            to,
            from: [0; 6],
            tags: Vec::new(),
            ethertype: 0x88b5,
            payload: vec![0; 46],
        }
    }

    pub(crate) fn from(self, from: [u8; 6]) -> Self {
        Self { from, ..self }
    }

    /// Adds a tag behind those it has.
    pub(crate) fn tag(self, tci: u16) -> Self {
        self.tag_of(0x8100, tci)
    }

    pub(crate) fn tag_of(mut self, tpid: u16, tci: u16) -> Self {
        self.tags.push((tpid, tci));
        self
    }

    pub(crate) fn ethertype(self, ethertype: u16) -> Self {
        Self { ethertype, ..self }
    }

    pub(crate) fn payload(self, payload: Vec<u8>) -> Self {
        Self { payload, ..self }
    }

    /// Carries an IP packet.
    pub(crate) fn packet(self, packet: Vec<u8>) -> Self {
        let ethertype = if packet[0] >> 4 == 4 { 0x0800 } else { 0x86dd };
        self.ethertype(ethertype).payload(packet)
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut bytes = [self.to, self.from].concat();
        for (tpid, tci) in &self.tags {
            bytes.extend(tpid.to_be_bytes());
            bytes.extend(tci.to_be_bytes());
        }
        bytes.extend(self.ethertype.to_be_bytes());
        bytes.extend(&self.payload);
        bytes
    }
}

/// An IPv4 packet; `place` is the field of flags and fragment offset.
pub(crate) fn ipv4_piece(
    from: Ipv4Addr,
    to: Ipv4Addr,
    protocol: u8,
    place: u16,
    payload: &[u8],
) -> Vec<u8> {
    let total = u16::try_from(20 + payload.len()).unwrap();
    let mut packet = vec![0x45, 0];
    packet.extend(total.to_be_bytes());
    packet.extend([0, 7]);
    packet.extend(place.to_be_bytes());
    packet.extend([64, protocol, 0, 0]);
    packet.extend(from.octets());
    packet.extend(to.octets());
    packet.extend(payload);
    packet
}

/// An IPv6 packet that begins with extension headers, given with their kinds.
pub(crate) fn ipv6_with(
    from: Ipv6Addr,
    to: Ipv6Addr,
    extensions: &[(u8, [u8; 7])],
    protocol: u8,
    payload: &[u8],
) -> Vec<u8> {
    let len = u16::try_from(extensions.len() * 8 + payload.len()).unwrap();
    let kinds = extensions.iter().map(|(kind, _)| *kind).chain([protocol]);
    let kinds: Vec<u8> = kinds.collect();
    let mut packet = vec![0x60, 0, 0, 0];
    packet.extend(len.to_be_bytes());
    packet.extend([kinds[0], 255]);
    packet.extend(from.octets());
    packet.extend(to.octets());
    for (next, (_, body)) in kinds[1..].iter().zip(extensions) {
        packet.push(*next);
        packet.extend(body);
    }
    packet.extend(payload);
    packet
}

/// A fragment header without its first byte; `place` is the offset field with the flag of more.
pub(crate) fn piece(place: u16) -> (u8, [u8; 7]) {
    let [high, low] = place.to_be_bytes();
    (44, [0, high, low, 0, 0, 0, 7])
}

/// A packet of either family, from and to addresses as text.
pub(crate) fn ip(from: &str, to: &str, protocol: u8, payload: &[u8]) -> Vec<u8> {
    match (from.parse().unwrap(), to.parse().unwrap()) {
        (IpAddr::V4(from), IpAddr::V4(to)) => ipv4_piece(from, to, protocol, 0, payload),
        (IpAddr::V6(from), IpAddr::V6(to)) => ipv6_with(from, to, &[], protocol, payload),
        _ => panic!("two families: {from}, {to}"),
    }
}

pub(crate) fn udp(from: u16, to: u16) -> Vec<u8> {
    let ports = [from.to_be_bytes(), to.to_be_bytes()].concat();
    [ports, vec![0, 12, 0, 0, 1, 2, 3, 4]].concat()
}

pub(crate) fn arp(operation: u8, hardware: [u8; 6], sender: &str, target: &str) -> Vec<u8> {
    let mut packet = vec![0, 1, 8, 0, 6, 4, 0, operation];
    packet.extend(hardware);
    packet.extend(sender.parse::<Ipv4Addr>().unwrap().octets());
    packet.extend([0; 6]);
    packet.extend(target.parse::<Ipv4Addr>().unwrap().octets());
    packet
}

/// A neighbour solicitation (135) or advertisement (136) with one link-layer option, if any.
pub(crate) fn neighbour(kind: u8, target: &str, option: Option<(u8, [u8; 6])>) -> Vec<u8> {
    let mut message = vec![kind, 0, 0, 0, 0, 0, 0, 0];
    message.extend(target.parse::<Ipv6Addr>().unwrap().octets());
    if let Some((kind, mac)) = option {
        message.extend([kind, 1]);
        message.extend(mac);
    }
    message
}

pub(crate) fn router_advertisement(from: [u8; 6]) -> Vec<u8> {
    let message = [vec![134], vec![0; 15], vec![1, 1], from.to_vec()].concat();
    Frame::to([0x33, 0x33, 0, 0, 0, 1])
        .from(from)
        .packet(ip("fe80::1", "ff02::1", 58, &message))
        .bytes()
}

pub(crate) fn dhcp_offer(from: [u8; 6]) -> Vec<u8> {
    Frame::to(BROADCAST)
        .from(from)
        .packet(ip("192.0.2.1", "255.255.255.255", 17, &udp(67, 68)))
        .bytes()
}

/// A frame to the Ethernet address of an IP group, behind a router alert where IPv6 has one.
pub(crate) fn group_frame(from: [u8; 6], group: &str, protocol: u8, payload: &[u8]) -> Vec<u8> {
    match group.parse().unwrap() {
        IpAddr::V4(group) => {
            let [_, b, c, d] = group.octets();
            let source = Ipv4Addr::new(192, 0, 2, from[5]);
            Frame::to([1, 0, 0x5e, b & 0x7f, c, d])
                .from(from)
                .packet(ipv4_piece(source, group, protocol, 0, payload))
                .bytes()
        }
        IpAddr::V6(group) => {
            let [.., a, b, c, d] = group.octets();
            let source = "fe80::5054:ff:fe00:0".parse::<Ipv6Addr>().unwrap();
            let source = Ipv6Addr::from(u128::from(source) | u128::from(from[5]));
            let alert = [(0, [0, 5, 2, 0, 0, 1, 0])];
            Frame::to([0x33, 0x33, a, b, c, d])
                .from(from)
                .packet(ipv6_with(source, group, &alert, protocol, payload))
                .bytes()
        }
    }
}
