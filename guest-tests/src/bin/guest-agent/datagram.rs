//! Numbered, checksummed, paced UDP datagrams: number (8 bytes), CRC-32 of the rest of the datagram and
//! its number (4 bytes), filling that depends on the number.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::thread;
use std::time::{Duration, Instant};

use guest_tests::protocol::DatagramReport;

/// Number and checksum.
const HEADER: usize = 12;

/// Bytes the receiver's socket may hold: a busy emulated guest may not run it for a while.
const RECEIVE_BUFFER: usize = 16 << 20;

pub(crate) fn send(to: SocketAddr, count: u64, size: usize, rate: Option<u32>) -> io::Result<()> {
    let from = match to {
        SocketAddr::V4(_) => SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)),
        SocketAddr::V6(_) => SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)),
    };
    let socket = UdpSocket::bind(from)?;
    socket.connect(to)?;
    let start = Instant::now();
    for number in 0..count {
        if let Some(rate) = rate {
            let due = start + Duration::from_nanos(number * 1_000_000_000 / u64::from(rate.max(1)));
            thread::sleep(due.saturating_duration_since(Instant::now()));
        }
        send_one(&socket, &datagram(number, size))?;
    }
    Ok(())
}

/// A refused datagram (nobody listens yet, no buffer) counts as sent: the receiver will miss it.
fn send_one(socket: &UdpSocket, bytes: &[u8]) -> io::Result<()> {
    match socket.send(bytes) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => Ok(()),
        Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => Ok(()),
        result => result.map(drop),
    }
}

fn datagram(number: u64, size: usize) -> Vec<u8> {
    let mut bytes = number.to_le_bytes().to_vec();
    bytes.extend([0; 4]);
    bytes.extend((HEADER..size).map(|at| {
        (at as u64)
            .wrapping_mul(31)
            .wrapping_add(number)
            .to_le_bytes()[0]
    }));
    let sum = checksum(&bytes);
    if let Some(field) = bytes.get_mut(8..HEADER) {
        field.copy_from_slice(&sum.to_le_bytes());
    }
    bytes
}

fn checksum(bytes: &[u8]) -> u32 {
    let mut hash = crc32fast::Hasher::new();
    hash.update(bytes.get(..8).unwrap_or(&[]));
    hash.update(bytes.get(HEADER..).unwrap_or(&[]));
    hash.finalize()
}

pub(crate) fn receive(port: u16, count: u64, idle_ms: u64) -> io::Result<DatagramReport> {
    let socket = UdpSocket::bind((Ipv6Addr::UNSPECIFIED, port))?;
    socket.set_read_timeout(Some(Duration::from_millis(idle_ms.max(1))))?;
    rustix::net::sockopt::set_socket_recv_buffer_size_force(&socket, RECEIVE_BUFFER)?;
    let mut tally = Tally::new(count);
    let mut buffer = vec![0; 65_536];
    while tally.left > 0 {
        match socket.recv(&mut buffer) {
            Ok(size) => tally.take(buffer.get(..size).unwrap_or(&[])),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
            Err(error) => return Err(error),
        }
    }
    tally.report.missing = tally.left;
    Ok(tally.report)
}

/// What has come so far.
#[derive(Debug)]
struct Tally {
    seen: Vec<bool>,
    left: u64,
    highest: Option<u64>,
    report: DatagramReport,
}

impl Tally {
    fn new(count: u64) -> Self {
        Self {
            seen: vec![false; usize::try_from(count).unwrap_or(usize::MAX)],
            left: count,
            highest: None,
            report: DatagramReport::default(),
        }
    }

    fn take(&mut self, bytes: &[u8]) {
        let number = bytes.first_chunk().copied().map(u64::from_le_bytes);
        let sum = bytes
            .get(8..HEADER)
            .and_then(|field| field.first_chunk().copied());
        let slot = number.and_then(|number| self.seen.get_mut(usize::try_from(number).ok()?));
        let intact = sum.map(u32::from_le_bytes) == Some(checksum(bytes));
        let (Some(number), Some(slot), true) = (number, slot, intact) else {
            self.report.corrupted += 1;
            return;
        };
        self.report.received += 1;
        if *slot {
            self.report.duplicated += 1;
            return;
        }
        *slot = true;
        self.left -= 1;
        if self.highest.is_some_and(|highest| number < highest) {
            self.report.reordered += 1;
        }
        self.highest = self.highest.max(Some(number));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loss_order_duplicates_and_damage_are_told_apart() {
        let mut tally = Tally::new(5);
        for number in [0, 2, 1, 2] {
            tally.take(&datagram(number, 100));
        }
        let mut damaged = datagram(3, 100);
        damaged[50] ^= 1;
        tally.take(&damaged);
        tally.take(&[1, 2, 3]);
        let expected = DatagramReport {
            received: 4,
            missing: 0,
            duplicated: 1,
            reordered: 1,
            corrupted: 2,
        };
        assert_eq!((tally.left, tally.report), (2, expected));
    }
}
