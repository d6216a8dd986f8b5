//! Our segments are the kernel's own, byte for byte, and what we join the kernel takes apart into
//! what it was.

use std::time::Duration;

use guest_tests::front_end::{Frame, Header, Segment, Shape, Wire};
use guest_tests::{Namespace, Place, Result};
use ring::net::HEAD_LEN;
use ring::{Accepts, Facts, HEADER_LEN, Offloads, Part, Train, inspect, segment};

const SOON: Duration = Duration::from_secs(2);
const GUEST: [u8; 6] = [2, 0, 0, 0, 0, 0x0a];
const HOST: [u8; 6] = [2, 0, 0, 0, 0, 0x01];
const ACK: u8 = 0x10;
/// FIN and PSH, which only the last segment keeps.
const ENDING: u8 = 0x09;
/// CWR, which only the first one keeps, and ECE, which all do.
const CONGESTED: u8 = 0xc0;
/// `VIRTIO_NET_HDR_GSO_ECN`.
const GSO_ECN: u8 = 0x80;
const EVERY: Offloads = Offloads {
    csum: true,
    tso4: true,
    tso6: true,
    ecn: true,
    uso: true,
};
const ALL: Accepts = Accepts {
    tcp4: true,
    tcp6: true,
    udp: true,
    zero_checksum_udp: false,
    most_bytes: 65_535,
};

/// A pair of interfaces whose near end cuts and sums nothing by itself: the kernel does it before.
fn plain_veth(namespace: &Namespace) -> Result<()> {
    namespace.ip("link add near type veth peer name far")?;
    for end in ["near", "far"] {
        let offloads = "tso off gso off gro off tx off txvlan off rxvlan off";
        namespace.shell(&format!("ethtool -K {end} {offloads}"))?;
        namespace.ip(&format!("link set {end} up"))?;
    }
    Ok(())
}

/// TCP flags of an untagged frame; the ECN bit goes with CWR.
fn with_flags(mut frame: Frame, flags: u8) -> Frame {
    let at = frame.headers_len() - 20 + 13;
    frame.bytes[at] = ACK | flags;
    if flags & 0x80 != 0 {
        frame.header.gso_type |= GSO_ECN;
    }
    frame
}

/// Super-frames of all kinds, with tails that are whole, short and odd.
fn super_frames() -> Vec<Frame> {
    let mut frames = Vec::new();
    for payload in [14_000, 60_001, 2801] {
        for flags in [0, ENDING, CONGESTED, CONGESTED | ENDING] {
            frames.push(with_flags(Frame::tcp4(payload, 1).segmented(1400), flags));
            frames.push(with_flags(Frame::tcp6(payload, 2).segmented(1400), flags));
        }
        frames.push(Frame::tcp4(payload, 3).segmented(1399));
    }
    for payload in [12_000, 60_001, 1201, 63] {
        let size = if payload < 100 { 1 } else { 1200 };
        frames.push(Frame::udp4(payload, 4).segmented(size));
        frames.push(Frame::udp6(payload, 5).segmented(size));
    }
    let addressed = |frame: Frame| frame.from_mac(GUEST).to_mac(HOST);
    frames.into_iter().map(addressed).collect()
}

fn facts(frame: &Frame) -> Facts {
    let head = &frame.bytes[..frame.bytes.len().min(HEAD_LEN)];
    let len = u32::try_from(frame.bytes.len()).expect("a short frame");
    inspect(&frame.header.to_bytes(), head, len, EVERY).expect("a frame as guests send them")
}

/// The segments as we cut them, with the frame in pages.
fn ours(frame: &Frame) -> Vec<Vec<u8>> {
    let facts = facts(frame);
    let head = &frame.bytes[..frame.bytes.len().min(HEAD_LEN)];
    let pages: Vec<_> = frame.bytes.chunks(4095).collect();
    let mut part = Part::new();
    let segments = (0..facts.segments).map(|index| {
        let payload = segment(&facts, head, &pages, index, true, &mut part).expect("a segment");
        let payload = payload.start as usize..payload.end as usize;
        [part.headers(), &frame.bytes[payload]].concat()
    });
    segments.collect()
}

/// What comes out at the far end: as many ordinary frames as there are segments, and no more.
fn kernels(wire: &Wire, count: usize) -> Result<Vec<Vec<u8>>> {
    let mut frames = Vec::new();
    while frames.len() < count {
        let Some(frame) = wire.receive(SOON)? else {
            break;
        };
        assert_eq!((frame.header.gso_type, frame.header.flags & 1), (0, 0));
        frames.push(frame.bytes);
    }
    assert!(wire.receive(Duration::from_millis(1))?.is_none());
    Ok(frames)
}

fn assert_same(came: &[Vec<u8>], expected: &[Vec<u8>], frame: &Frame) {
    let what = (frame.header, &frame.bytes[..54]);
    assert_eq!(came.len(), expected.len(), "{what:x?}");
    for (index, (came, expected)) in came.iter().zip(expected).enumerate() {
        if came != expected {
            let at = came.iter().zip(expected).position(|(a, b)| a != b);
            panic!(
                "segment {index} of {what:x?}: {} and {} bytes, byte {at:?} differs",
                came.len(),
                expected.len()
            );
        }
    }
}

fn tagged(frame: &Frame, tags: &[u16]) -> Frame {
    tags.iter()
        .fold(frame.clone(), |frame, tag| frame.tagged(*tag))
}

/// Joins ordinary frames as the data path does.
fn joined(frames: &[Vec<u8>]) -> Vec<Frame> {
    let mut train = Train::new();
    let mut whole: Vec<u8> = Vec::new();
    let mut left = Vec::new();
    for frame in frames {
        let unit = [&[0; HEADER_LEN][..], frame].concat();
        match train.join(&unit) {
            Some(payload) => whole.extend_from_slice(&unit[payload]),
            None => {
                train.close(&mut whole);
                left.push(std::mem::replace(&mut whole, unit));
                train.open(&whole, ALL);
            }
        }
    }
    train.close(&mut whole);
    left.push(whole);
    let frame = |unit: &Vec<u8>| {
        let (header, bytes) = unit.split_first_chunk::<HEADER_LEN>()?;
        let header = Header::from_bytes(*header);
        Some(Frame {
            header,
            bytes: bytes.to_vec(),
        })
    };
    left.iter().filter_map(frame).collect()
}

#[test]
fn our_segments_are_the_kernels_and_what_we_join_it_takes_apart() -> Result<()> {
    let namespace = Namespace::new()?;
    Wire::quiet(&namespace)?;
    plain_veth(&namespace)?;
    let (near, far) = (
        Wire::open(&namespace, "near")?,
        Wire::open(&namespace, "far")?,
    );
    let (mut wholes, mut segments) = (0, 0);
    for frame in super_frames() {
        for tags in [&[][..], &[10], &[20, 10]] {
            let frame = tagged(&frame, tags);
            let ours = ours(&frame);
            assert!(near.send(&frame)?);
            assert_same(&kernels(&far, ours.len())?, &ours, &frame);

            let again = joined(&ours);
            let cwr = frame.header.gso_type & GSO_ECN != 0;
            let least = if cwr { 2 } else { 1 };
            assert!(again.len() >= least, "{}", again.len());
            for whole in &again {
                assert!(near.send(whole)?);
            }
            assert_same(&kernels(&far, ours.len())?, &ours, &frame);
            wholes += again.len();
            segments += ours.len();
        }
    }
    // CWR and single tails stay alone; everything else is joined.
    assert!(segments > 10 * wholes, "{segments} {wholes}");
    Ok(())
}

/// The same through the daemon and the tap that it writes to.
#[test]
fn the_kernel_cuts_what_comes_through_the_tap_as_we_would() -> Result<()> {
    let text = "[uplink.lan]\nkind = \"tap:tap1\"\n[guest.a]\nmac = \"02:00:00:00:00:0a\"\n";
    let segment = Segment::new(text, &["a"])?;
    plain_veth(&segment.namespace)?;
    for command in [
        "link add bridge type bridge mcast_snooping 0",
        "link set bridge up",
        "link set near master bridge",
        "link set tap1 master bridge",
    ] {
        segment.namespace.ip(command)?;
    }
    let far = segment.wire("far")?;
    let [mut port] = segment.ports(["a"])?;
    // The bridge needs a moment before it forwards.
    let probe = Frame::plain(60, 1).from_mac(GUEST).to_mac(HOST);
    let mut forwards = false;
    for _ in 0..50 {
        port.send(&probe)?;
        if far.receive(Duration::from_millis(100))?.is_some() {
            forwards = true;
            break;
        }
    }
    assert!(forwards);
    far.clear()?;
    for frame in super_frames() {
        let ours = ours(&frame);
        port.send_as(&frame, &Shape::HEADER_APART)?;
        assert_same(&kernels(&far, ours.len())?, &ours, &frame);
        // The daemon may join these or not: the wire must not tell.
        for bytes in &ours {
            port.send(&Frame::from(bytes.clone()))?;
        }
        assert_same(&kernels(&far, ours.len())?, &ours, &frame);
    }
    Ok(())
}
