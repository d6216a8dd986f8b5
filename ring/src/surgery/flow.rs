//! Honest flows for tests: consecutive frames as one sender makes them.

use super::ACK;
use super::reference::{Sent, seed_of};
use crate::net::checksum::complete;
use crate::net::frames::*;
use crate::net::{ChecksumRequest, Gso, HEADER_LEN};

/// One flow, and where it is.
#[derive(Clone, Debug)]
pub(crate) struct Flow {
    pub(crate) kind: Gso,
    /// UDP over IPv6, that is.
    pub(crate) v6: bool,
    pub(crate) tags: Vec<u16>,
    /// TCP options, in words.
    pub(crate) options: u8,
    /// Checksums are left to be finished.
    pub(crate) partial: bool,
    pub(crate) port: u16,
    pub(crate) id: u16,
    pub(crate) sequence: u32,
}

impl Flow {
    pub(crate) fn new(kind: Gso) -> Self {
        Self {
            kind,
            v6: kind == Gso::Tcp6,
            tags: Vec::new(),
            options: 0,
            partial: false,
            port: 1000,
            id: 0xfffd,
            sequence: 0xffff_f000,
        }
    }

    /// Where the transport header starts in the frame.
    pub(crate) fn l4(&self) -> usize {
        14 + 4 * self.tags.len() + if self.v6 { 40 } else { 20 }
    }

    /// The next frame, with FIN, PSH or others added to its flags.
    pub(crate) fn next(&mut self, payload: &[u8], flags: u8) -> Sent {
        let (protocol, offset, mut segment) = match self.kind {
            Gso::Udp => (17, 6, udp(payload)),
            _ => (6, 16, tcp(ACK | flags, self.options, payload)),
        };
        segment[..2].copy_from_slice(&self.port.to_be_bytes());
        if self.kind != Gso::Udp {
            segment[4..8].copy_from_slice(&self.sequence.to_be_bytes());
        }
        let (ethertype, mut packet) = if self.v6 {
            (0x86dd, ipv6(protocol, &[], &segment))
        } else {
            (0x0800, ipv4(protocol, 0, &segment))
        };
        if !self.v6 {
            packet[4..6].copy_from_slice(&self.id.to_be_bytes());
            right_ipv4(&mut packet);
        }
        self.id = self.id.wrapping_add(1);
        let len = u32::try_from(payload.len()).unwrap();
        self.sequence = self.sequence.wrapping_add(len);
        let mut frame = join(ethernet(ethertype, &self.tags), &packet);
        let start = u16::try_from(self.l4()).unwrap();
        let at = self.l4() + usize::from(offset);
        let seed = seed_of(&frame, self.l4(), self.kind);
        frame[at..at + 2].copy_from_slice(&seed.to_be_bytes());
        if self.partial {
            return (header(1, 0, 0, start, offset), frame);
        }
        assert!(complete(&mut frame, ChecksumRequest { start, offset }));
        ([0; HEADER_LEN], frame)
    }
}

/// Writes the header checksum of an IPv4 packet without options.
pub(crate) fn right_ipv4(packet: &mut [u8]) {
    packet[10..12].fill(0);
    let sum = crate::net::checksum::Sum::default()
        .bytes(&packet[..20])
        .finish();
    packet[10..12].copy_from_slice(&sum.to_be_bytes());
}
