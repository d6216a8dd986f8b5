//! What the tests of uplinks share: network namespaces, links, and frames to send.

use std::io::IoSliceMut;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use nix::sched::{CloneFlags, unshare};
use ring::HEADER_LEN;
use rustix::io::Errno;

use super::netlink::{Link, Netlink};
use super::{IfName, Received, Uplink};
use crate::config::{FloodConfig, RootConfig, UplinkConfig, UplinkKind};

/// Addresses (locally administered) of the two ends of [`veth`].
pub(super) const HERE: [u8; 6] = [0x02, 0, 0, 0, 0, 1];
pub(super) const THERE: [u8; 6] = [0x02, 0, 0, 0, 0, 2];

/// Runs `test` on a thread in a fresh network namespace, where only `lo` is; it ends with the thread.
pub(super) fn in_namespace<T: Send + 'static>(test: impl FnOnce() -> T + Send + 'static) -> T {
    let body = || {
        unshare(CloneFlags::CLONE_NEWNET)
            .expect("this test makes a network namespace of its own: run it as root");
        test()
    };
    match thread::spawn(body).join() {
        Ok(result) => result,
        Err(panic) => std::panic::resume_unwind(panic),
    }
}

pub(super) fn ip(line: &str) {
    let status = Command::new("ip").args(line.split(' ')).status();
    assert!(status.expect("iproute2 is needed").success(), "ip {line}");
}

pub(super) fn name(text: &str) -> IfName {
    text.parse().unwrap()
}

pub(super) fn link(text: &str) -> Option<Link> {
    Netlink::open().unwrap().link(&name(text)).unwrap()
}

/// Makes the pair `here` and `there`, both up, without IPv6 chatter of the host.
pub(super) fn veth() {
    let default = "/proc/sys/net/ipv6/conf/default/disable_ipv6";
    std::fs::write(default, "1").unwrap();
    ip(
        "link add here address 02:00:00:00:00:01 type veth peer name there address 02:00:00:00:00:02",
    );
    for end in ["here", "there"] {
        ip(&format!("link set {end} up"));
    }
}

pub(super) fn config(kind: UplinkKind) -> UplinkConfig {
    UplinkConfig {
        name: "uplink".to_owned(),
        kind,
        queues: 1,
        mtu: None,
        from_guest: RootConfig::default(),
        to_guest: RootConfig::default(),
        flood: FloodConfig::default(),
    }
}

pub(super) fn packet(interface: &str) -> Uplink {
    Uplink::open(&config(UplinkKind::Packet(name(interface)))).unwrap()
}

/// Writes one frame as the shard does.
pub(super) fn send(
    uplink: &Uplink,
    header: [u8; HEADER_LEN],
    frame: &[u8],
) -> Result<usize, Errno> {
    let unit = [&header[..uplink.header_len()], frame].concat();
    rustix::io::write(uplink.fd(0).unwrap(), &unit)
}

/// What was read: the header, the frame, and what was told beside it.
#[derive(Debug)]
pub(super) struct Unit {
    pub(super) header: [u8; HEADER_LEN],
    pub(super) frame: Vec<u8>,
    pub(super) told: Received,
}

/// Reads what is there into two parts.
pub(super) fn receive(uplink: &Uplink) -> Result<Unit, Errno> {
    let mut header = [0xff; HEADER_LEN];
    let (mut head, mut rest) = ([0; 20], vec![0; 70_000]);
    let mut parts = [IoSliceMut::new(&mut head), IoSliceMut::new(&mut rest)];
    let told = uplink.receive(0, &mut header, &mut parts)?;
    let frame = [&head[..], &rest].concat()[..told.len].to_vec();
    Ok(Unit {
        header,
        frame,
        told,
    })
}

/// Waits for a frame for at most five seconds.
pub(super) fn expect(uplink: &Uplink) -> Unit {
    let deadline = Instant::now() + Duration::from_secs(5);
    loop {
        match receive(uplink) {
            Ok(unit) => return unit,
            Err(errno) => assert_eq!(errno, Errno::AGAIN),
        }
        assert!(Instant::now() < deadline, "no frame came");
        thread::sleep(Duration::from_millis(1));
    }
}

/// Sends a frame until it comes: after a link went up the kernel drops what it is given, without a
/// word, until it has noticed the carrier. Nothing else may come before it.
pub(super) fn get_through(from: &Uplink, to: &Uplink, frame: &[u8]) {
    let deadline = Instant::now() + Duration::from_secs(5);
    while Instant::now() < deadline {
        send(from, [0; HEADER_LEN], frame).unwrap();
        thread::sleep(Duration::from_millis(10));
        if let Ok(unit) = receive(to) {
            assert_eq!(unit.frame, frame);
            return;
        }
    }
    panic!("no frame came");
}

/// Waits long enough for a frame to have come over a veth pair.
pub(super) fn nothing_comes(uplink: &Uplink) {
    thread::sleep(Duration::from_millis(50));
    assert_eq!(receive(uplink).unwrap_err(), Errno::AGAIN);
}

/// A frame of `len` bytes with a protocol that is for experiments (IEEE 802, 0x88b5).
pub(super) fn plain(to: [u8; 6], from: [u8; 6], len: usize) -> Vec<u8> {
    let mut frame = [&to[..], &from, &[0x88, 0xb5]].concat();
    frame.extend((frame.len()..len).map(|i| i.to_le_bytes()[0]));
    frame
}

/// Bytes of Ethernet, IPv4 and TCP header before the payload of [`super_frame`].
pub(super) const TCP_HEADERS: u16 = 14 + 20 + 20;

/// A TCP super-frame of 65,535 bytes, the most that a veth carries whole, in segments of 1,448 bytes, its
/// checksum still to be filled in, and the header that says so.
pub(super) fn super_frame(to: [u8; 6], from: [u8; 6]) -> ([u8; HEADER_LEN], Vec<u8>) {
    const TOTAL: u16 = u16::MAX - 14;
    let mut frame = [&to[..], &from, &[0x08, 0x00]].concat();
    let mut ip = vec![0x45, 0];
    ip.extend(TOTAL.to_be_bytes());
    ip.extend([0, 1, 0x40, 0, 64, 6, 0, 0, 192, 0, 2, 1, 192, 0, 2, 2]);
    let sum = fold(&ip, 0);
    ip[10..12].copy_from_slice(&(!sum).to_be_bytes());
    frame.extend(&ip);
    let payload = usize::from(TOTAL) - 40;
    let pseudo = [&ip[12..20], &[0, 6], &(TOTAL - 20).to_be_bytes()].concat();
    let mut tcp = vec![0x30, 0x39, 0, 80, 0, 0, 0, 1, 0, 0, 0, 1, 0x50, 0x10, 1, 0];
    tcp.extend(fold(&pseudo, 0).to_be_bytes());
    tcp.extend([0, 0]);
    frame.extend(tcp);
    frame.extend((0..payload).map(|i| (i % 251).to_le_bytes()[0]));

    let mut header = [0; HEADER_LEN];
    header[..2].copy_from_slice(&[1, 1]); // NEEDS_CSUM, TCPV4
    for (at, value) in [(2, TCP_HEADERS), (4, 1448), (6, 34), (8, 16)] {
        header[at..at + 2].copy_from_slice(&u16::to_le_bytes(value));
    }
    (header, frame)
}

/// The ones' complement sum that internet checksums are made of.
pub(super) fn fold(bytes: &[u8], start: u16) -> u16 {
    let mut sum = u32::from(start);
    for pair in bytes.chunks(2) {
        let word = u16::from_be_bytes([pair[0], pair.get(1).copied().unwrap_or_default()]);
        sum += u32::from(word);
        sum = (sum & 0xffff) + (sum >> 16);
    }
    u16::try_from(sum).unwrap()
}
