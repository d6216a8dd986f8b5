//! Frames and headers for tests.

use super::checksum::Sum;
use super::{HEADER_LEN, Offloads};

pub(crate) const EVERY: Offloads = Offloads {
    csum: true,
    tso4: true,
    tso6: true,
    ecn: true,
    uso: true,
};

pub(crate) const FROM4: [u8; 4] = [192, 0, 2, 1];
pub(crate) const TO4: [u8; 4] = [198, 18, 0, 9];

/// A virtio-net header with hints that must not matter.
pub(crate) fn header(flags: u8, gso_type: u8, gso_size: u16, start: u16, offset: u16) -> [u8; 12] {
    let mut bytes = [0; HEADER_LEN];
    bytes[0] = flags;
    bytes[1] = gso_type;
    bytes[2..4].copy_from_slice(&0xffff_u16.to_le_bytes());
    bytes[4..6].copy_from_slice(&gso_size.to_le_bytes());
    bytes[6..8].copy_from_slice(&start.to_le_bytes());
    bytes[8..10].copy_from_slice(&offset.to_le_bytes());
    bytes[10..12].copy_from_slice(&0x1234_u16.to_le_bytes());
    bytes
}

pub(crate) fn ethernet(ethertype: u16, tags: &[u16]) -> Vec<u8> {
    let mut frame = vec![2, 0, 0, 0, 0, 9, 2, 0, 0, 0, 0, 1];
    for tag in tags {
        frame.extend([0x81, 0x00]);
        frame.extend(tag.to_be_bytes());
    }
    frame.extend(ethertype.to_be_bytes());
    frame
}

/// An IPv4 packet, `options` in words of 4 bytes.
pub(crate) fn ipv4(protocol: u8, options: u8, payload: &[u8]) -> Vec<u8> {
    let header_len = 20 + 4 * usize::from(options);
    let total = u16::try_from(header_len + payload.len()).unwrap();
    let mut packet = vec![0; header_len];
    packet[0] = 0x45 + options;
    packet[1] = 46 << 2 | 2;
    packet[2..4].copy_from_slice(&total.to_be_bytes());
    packet[4..6].copy_from_slice(&0xfffe_u16.to_be_bytes());
    packet[6] = 0x40;
    packet[8] = 64;
    packet[9] = protocol;
    packet[12..16].copy_from_slice(&FROM4);
    packet[16..20].copy_from_slice(&TO4);
    packet[20..].fill(1);
    let sum = Sum::default().bytes(&packet).finish();
    packet[10..12].copy_from_slice(&sum.to_be_bytes());
    packet.extend(payload);
    packet
}

/// An IPv6 packet whose extension headers are of the given kinds, 8 bytes each.
pub(crate) fn ipv6(protocol: u8, extensions: &[u8], payload: &[u8]) -> Vec<u8> {
    let mut packet = vec![0x6b, 0x80, 0, 0];
    let len = u16::try_from(extensions.len() * 8 + payload.len()).unwrap();
    packet.extend(len.to_be_bytes());
    let chain: Vec<_> = extensions.iter().copied().chain([protocol]).collect();
    packet.extend([chain[0], 64]);
    for last in [1, 9] {
        packet.extend([0x20, 1, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, last]);
    }
    for next in &chain[1..] {
        packet.extend([*next, 0, 0, 0, 0, 0, 0, 0]);
    }
    packet.extend(payload);
    packet
}

/// A TCP segment, `options` in words of 4 bytes; the checksum is left as it is.
pub(crate) fn tcp(flags: u8, options: u8, payload: &[u8]) -> Vec<u8> {
    let mut segment = vec![0x30, 0x39, 0x14, 0x51];
    segment.extend(0xffff_fff0_u32.to_be_bytes());
    segment.extend(7_u32.to_be_bytes());
    segment.extend([(5 + options) << 4, flags, 1, 0, 0, 0, 0, 0]);
    segment.extend(vec![1; 4 * usize::from(options)]);
    segment.extend(payload);
    segment
}

pub(crate) fn udp(payload: &[u8]) -> Vec<u8> {
    let mut datagram = vec![0x30, 0x39, 0x14, 0x51];
    let len = u16::try_from(8 + payload.len()).unwrap();
    datagram.extend(len.to_be_bytes());
    datagram.extend([0, 0]);
    datagram.extend(payload);
    datagram
}

pub(crate) fn join(link: Vec<u8>, packet: &[u8]) -> Vec<u8> {
    [link, packet.to_vec()].concat()
}

/// An untagged TCP super-frame over IPv4.
pub(crate) fn tcp4(payload: usize) -> Vec<u8> {
    let segment = tcp(0x18, 0, &vec![0x55; payload]);
    join(ethernet(0x0800, &[]), &ipv4(6, 0, &segment))
}

/// An untagged TCP super-frame over IPv6.
pub(crate) fn tcp6(payload: usize) -> Vec<u8> {
    let segment = tcp(0x18, 0, &vec![0x55; payload]);
    join(ethernet(0x86dd, &[]), &ipv6(6, &[], &segment))
}

/// An untagged UDP super-frame over IPv4.
pub(crate) fn udp4(payload: usize) -> Vec<u8> {
    join(
        ethernet(0x0800, &[]),
        &ipv4(17, 0, &udp(&vec![0x55; payload])),
    )
}
