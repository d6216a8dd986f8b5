//! Frames built from what they are to say, so that a test knows it without reading any bytes.
#![allow(clippy::cast_possible_truncation)] // of numbers drawn below a small bound

use std::net::IpAddr;

use super::Rng;

/// An IP packet and what it carries.
#[derive(Clone, Debug)]
pub(crate) struct Packet {
    pub(crate) source: IpAddr,
    pub(crate) destination: IpAddr,
    /// Type of service or traffic class.
    pub(crate) class: u8,
    pub(crate) protocol: u8,
    /// Fragment offset in units of eight octets, and whether more follow.
    pub(crate) fragment: (u16, bool),
    /// Extension headers besides that of a fragment; none for IPv4.
    pub(crate) extensions: usize,
    /// Domain and level of a label; none for IPv6.
    pub(crate) label: Option<(u32, u8)>,
    pub(crate) ports: (u16, u16),
    pub(crate) flags: u8,
    /// Octets from the transport header on.
    pub(crate) payload: usize,
}

/// A frame.
#[derive(Clone, Debug)]
pub(crate) struct Spec {
    /// The tag control information of each VLAN tag.
    pub(crate) tags: Vec<u16>,
    /// What it is if it is not IP.
    pub(crate) ethertype: u16,
    pub(crate) packet: Option<Packet>,
    /// Octets behind the packet.
    pub(crate) padding: usize,
}

impl Packet {
    pub(crate) fn random(rng: &mut Rng) -> Self {
        let six = rng.below(3) == 0;
        let mut address = || match (six, rng.below(4)) {
            (false, at) => ["192.0.2.1", "192.0.2.200", "10.0.0.1", "255.255.255.255"][at as usize],
            (true, at) => ["2001:db8::1", "2001:db8:1::1", "::", "ff02::1"][at as usize],
        };
        let (source, destination) = (address().parse().unwrap(), address().parse().unwrap());
        let fragment = match rng.below(8) {
            0 => (0, true),
            1 => (1 + rng.below(0x1fff) as u16, rng.below(2) == 0),
            _ => (0, false),
        };
        Self {
            source,
            destination,
            class: pick(rng, &[0, 0xb8, 0xb9, 0x28, 0x23, 0xff]),
            protocol: pick(rng, &[6, 6, 17, 132, 1, 58, 47]),
            fragment,
            extensions: if six && rng.below(3) == 0 {
                rng.below(11) as usize
            } else {
                0
            },
            label: (!six && rng.below(4) == 0).then(|| (pick(rng, &[1, 7]), rng.below(5) as u8)),
            ports: (pick(rng, &PORTS), pick(rng, &PORTS)),
            flags: pick(rng, &[0x02, 0x12, 0x10, 0x11, 0x04]),
            payload: pick(rng, &[0, 7, 8, 12, 19, 20, 40]),
        }
    }

    /// The least transport header that has ports.
    pub(crate) fn transport(&self) -> Option<usize> {
        match self.protocol {
            6 => Some(20),
            17 => Some(8),
            132 => Some(12),
            _ => None,
        }
    }

    /// Headers between the fixed one and the transport header, with the protocol of the first.
    fn extension_bytes(&self) -> (u8, Vec<u8>) {
        let (mut kind, mut bytes) = (self.protocol, Vec::new());
        if self.fragment != (0, false) {
            let place = self.fragment.0 << 3 | u16::from(self.fragment.1);
            bytes = [&[kind, 0][..], &place.to_be_bytes(), &[0, 0, 0, 1]].concat();
            kind = 44;
        }
        for at in 0..self.extensions {
            let long = at % 3 == 0;
            let mut header = vec![kind, u8::from(long)];
            header.resize(if long { 16 } else { 8 }, 0);
            bytes.splice(0..0, header);
            kind = if at % 2 == 0 { 60 } else { 43 };
        }
        (kind, bytes)
    }

    fn options(&self) -> Vec<u8> {
        let Some((doi, level)) = self.label else {
            return Vec::new();
        };
        [&[134, 10][..], &doi.to_be_bytes(), &[1, 4, 0, level, 0, 0]].concat()
    }

    fn payload_bytes(&self) -> Vec<u8> {
        let (source, destination) = (self.ports.0.to_be_bytes(), self.ports.1.to_be_bytes());
        let rest = [0, 0, 0, 1, 0, 0, 0, 1, 0x50, self.flags, 0, 9];
        let mut bytes = [&source[..], &destination, &rest].concat();
        bytes.resize(self.payload, 0xee);
        bytes
    }

    /// The packet and where in it the transport header begins.
    fn bytes(&self) -> (Vec<u8>, usize) {
        let mut bytes = Vec::new();
        match (self.source, self.destination) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => {
                let options = self.options();
                let total = (20 + options.len() + self.payload) as u16;
                bytes.extend([0x45 + (options.len() / 4) as u8, self.class]);
                bytes.extend(total.to_be_bytes());
                let place = self.fragment.0 | u16::from(self.fragment.1) << 13;
                bytes.extend([0x12, 0x34, place.to_be_bytes()[0], place.to_be_bytes()[1]]);
                bytes.extend([64, self.protocol, 0, 0]);
                bytes.extend(source.octets());
                bytes.extend(destination.octets());
                bytes.extend(options);
            }
            (IpAddr::V6(source), IpAddr::V6(destination)) => {
                let (next, extensions) = self.extension_bytes();
                let payload = (extensions.len() + self.payload) as u16;
                bytes.extend([0x60 | self.class >> 4, self.class << 4 | 5, 0x67, 0x89]);
                bytes.extend(payload.to_be_bytes());
                bytes.extend([next, 64]);
                bytes.extend(source.octets());
                bytes.extend(destination.octets());
                bytes.extend(extensions);
            }
            _ => unreachable!("both addresses are of one family"),
        }
        let transport = bytes.len();
        bytes.extend(self.payload_bytes());
        (bytes, transport)
    }
}

/// Ports that frames and rules have.
pub(crate) const PORTS: [u16; 6] = [0, 22, 80, 443, 8080, 65_535];

pub(crate) fn pick<T: Copy>(rng: &mut Rng, among: &[T]) -> T {
    among[rng.below(among.len() as u64) as usize]
}

impl Spec {
    pub(crate) fn random(rng: &mut Rng) -> Self {
        let depth = pick(rng, &[0, 0, 0, 1, 1, 2, 3]);
        let tci = |rng: &mut Rng| pick(rng, &[0, 1, 100, 4095]) | pick(rng, &[0, 3, 7, 14]) << 12;
        Self {
            tags: (0..depth).map(|_| tci(rng)).collect(),
            ethertype: pick(rng, &[0x0806, 0x88cc, 100]),
            packet: (rng.below(8) != 0).then(|| Packet::random(rng)),
            padding: pick(rng, &[0, 0, 18, 300]),
        }
    }

    /// The packet, if it does not lie behind more tags than are read.
    pub(crate) fn readable(&self) -> Option<&Packet> {
        self.packet.as_ref().filter(|_| self.tags.len() <= 2)
    }

    /// What is found behind the first two tags.
    pub(crate) fn seen_ethertype(&self) -> u16 {
        match &self.packet {
            _ if self.tags.len() > 2 => 0x8100,
            Some(packet) if packet.source.is_ipv4() => 0x0800,
            Some(_) => 0x86dd,
            None => self.ethertype,
        }
    }

    /// The frame, and where its transport header begins.
    pub(crate) fn bytes(&self) -> (Vec<u8>, usize) {
        let mut bytes = vec![2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2];
        for (at, tci) in self.tags.iter().enumerate() {
            let service = at == 0 && self.tags.len() == 2;
            bytes.extend(if service { [0x88, 0xa8] } else { [0x81, 0x00] });
            bytes.extend(tci.to_be_bytes());
        }
        let mut transport = 0;
        match &self.packet {
            Some(packet) => {
                let six = packet.source.is_ipv6();
                bytes.extend(if six { [0x86, 0xdd] } else { [0x08, 0x00] });
                let (packet, at) = packet.bytes();
                transport = bytes.len() + at;
                bytes.extend(packet);
            }
            None => {
                bytes.extend(self.ethertype.to_be_bytes());
                bytes.extend([0x45; 28]);
            }
        }
        bytes.resize(bytes.len() + self.padding, 0x11);
        (bytes, transport)
    }
}
