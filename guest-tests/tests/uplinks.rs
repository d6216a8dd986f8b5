//! Several guests behind uplinks of every kind, and uplinks that go away and come back.

use std::time::{Duration, Instant};

use guest_tests::front_end::{Frame, Port, Segment, Shape, Wire};
use guest_tests::{Namespace, Result};

const SOON: Duration = Duration::from_secs(2);
/// How long an uplink that is back may take to be noticed.
const BACK: Duration = Duration::from_secs(10);
const A: [u8; 6] = [2, 0, 0, 0, 0, 0x0a];
const B: [u8; 6] = [2, 0, 0, 0, 0, 0x0b];
const HOST: [u8; 6] = [2, 0, 0, 0, 0, 0x01];
const ALL: [u8; 6] = [0xff; 6];
const GUESTS: &str =
    "[guest.a]\nmac = \"02:00:00:00:00:0a\"\n[guest.b]\nmac = \"02:00:00:00:00:0b\"\n";

fn veth(namespace: &Namespace) -> Result<()> {
    namespace.ip("link add near type veth peer name far")?;
    namespace.ip("link set near up")?;
    namespace.ip("link set far up").map(drop)
}

/// Guests behind a packet socket on one end of a veth pair; the wire is the other end.
fn behind_veth(guests: &str) -> Result<(Segment, Wire)> {
    let namespace = Namespace::new()?;
    Wire::quiet(&namespace)?;
    veth(&namespace)?;
    let text = format!("[uplink.lan]\nkind = \"packet:near\"\n{guests}");
    let segment = Segment::start(namespace, &text, &["a", "b"])?;
    let wire = segment.wire("far")?;
    Ok((segment, wire))
}

fn behind_tap() -> Result<Segment> {
    let text = format!("[uplink.lan]\nkind = \"tap:tap1\"\n{GUESTS}");
    Segment::new(&text, &["a", "b"])
}

fn frames() -> [Frame; 7] {
    [
        Frame::plain(60, 1),
        Frame::plain(1514, 2),
        Frame::tcp4(60_000, 3).segmented(1400),
        Frame::tcp6(60_000, 4).segmented(1400),
        Frame::udp4(4800, 5).segmented(1200),
        Frame::tcp4(1000, 6).partial_checksum(),
        Frame::udp6(1000, 7).partial_checksum(),
    ]
}

fn assert_same(come: &Frame, sent: &Frame) {
    assert!(come.bytes == sent.bytes, "{} bytes", sent.bytes.len());
    let (come, sent) = (come.header, sent.header);
    assert_eq!(
        (
            come.gso_type,
            come.gso_size,
            come.csum_start,
            come.csum_offset
        ),
        (
            sent.gso_type,
            sent.gso_size,
            sent.csum_start,
            sent.csum_offset
        )
    );
}

#[test]
fn a_packet_socket_carries_frames_and_super_frames_both_ways() -> Result<()> {
    let (mut segment, wire) = behind_veth(GUESTS)?;
    let [mut a, mut b] = segment.ports(["a", "b"])?;
    for frame in frames() {
        let out = frame.clone().from_mac(A).to_mac(HOST);
        a.send_as(&out, &Shape::HEADER_APART)?;
        assert_same(&wire.receive(SOON)?.expect("the frame leaves"), &out);
        let back = frame.from_mac(HOST).to_mac(B);
        assert!(wire.send(&back)?);
        assert_same(&b.receive(SOON)?.expect("the frame arrives"), &back);
    }
    let all = Frame::plain(100, 8).from_mac(HOST).to_mac(ALL);
    assert!(wire.send(&all)?);
    for port in [&mut a, &mut b] {
        assert_eq!(port.receive(SOON)?.expect("it arrives").bytes, all.bytes);
    }
    // Nothing that was sent out comes in again.
    let out = Frame::plain(100, 9).from_mac(A).to_mac(ALL);
    a.send(&out)?;
    assert_eq!(b.receive(SOON)?.expect("it arrives").bytes, out.bytes);
    assert!(a.receive(Duration::from_millis(100))?.is_none());
    assert!(b.receive(Duration::ZERO)?.is_none());
    for guest in ["a", "b"] {
        let counters = segment.counters(guest)?;
        assert_eq!(
            counters.from_guest.drops + counters.to_guest.drops,
            0,
            "{counters:?}"
        );
    }
    Ok(())
}

#[test]
fn a_packet_socket_carries_vlan_tags_both_ways() -> Result<()> {
    let (segment, wire) = behind_veth(
        "[guest.a]\nmac = \"02:00:00:00:00:0a\"\nvlan = 10\n\
         [guest.b]\nmac = \"02:00:00:00:00:0b\"\ntrunk = \"10-12\"\n",
    )?;
    let [mut a, mut b] = segment.ports(["a", "b"])?;
    for frame in frames() {
        let out = frame.clone().from_mac(A).to_mac(HOST);
        a.send_as(&out, &Shape::HEADER_APART)?;
        assert_same(
            &wire.receive(SOON)?.expect("the frame leaves"),
            &out.tagged(10),
        );
        let back = frame.clone().from_mac(HOST).to_mac(A);
        assert!(wire.send(&back.clone().tagged(10))?);
        assert_same(&a.receive(SOON)?.expect("the frame arrives"), &back);
        let out = frame.clone().from_mac(B).to_mac(HOST).tagged(12);
        b.send_as(&out, &Shape::HEADER_APART)?;
        assert_same(&wire.receive(SOON)?.expect("the frame leaves"), &out);
        let back = frame.from_mac(HOST).to_mac(B).tagged(11);
        assert!(wire.send(&back)?);
        assert_same(&b.receive(SOON)?.expect("the frame arrives"), &back);
    }
    Ok(())
}

/// Frames pass in all directions, after a while at the latest.
fn flows_again(wire: &Wire, a: &mut Port, b: &mut Port) -> Result<()> {
    let (out, back) = (
        Frame::plain(100, 21).from_mac(A).to_mac(HOST),
        Frame::plain(100, 22).from_mac(HOST).to_mac(B),
    );
    let short = Duration::from_millis(50);
    let start = Instant::now();
    let (mut left, mut came) = (false, false);
    while !(left && came) {
        assert!(
            start.elapsed() < BACK,
            "frames leave: {left}, arrive: {came}"
        );
        a.send(&out)?;
        while let Some(frame) = wire.receive(short)? {
            left |= frame.bytes == out.bytes;
        }
        // Down, the interface refuses it.
        let _ = wire.send(&back);
        while let Some(frame) = b.receive(short)? {
            came |= frame.bytes == back.bytes;
        }
    }
    println!("all well after {:?}", start.elapsed());
    Ok(())
}

/// Local frames, broadcasts included, need no uplink.
fn local_flows(a: &mut Port, b: &mut Port) -> Result<()> {
    let start = Instant::now();
    for to in [B, ALL] {
        let frame = Frame::plain(100, 23).from_mac(A).to_mac(to);
        a.send(&frame)?;
        loop {
            let come = b.receive(SOON)?;
            let come = come.expect("guests reach each other without the uplink");
            if come.bytes == frame.bytes {
                break;
            }
        }
    }
    assert!(start.elapsed() < SOON, "it took {:?}", start.elapsed());
    Ok(())
}

#[test]
fn a_tap_that_is_set_down_and_up_again_carries_on() -> Result<()> {
    let segment = behind_tap()?;
    let wire = segment.wire("tap1")?;
    let [mut a, mut b] = segment.ports(["a", "b"])?;
    flows_again(&wire, &mut a, &mut b)?;
    segment.namespace.ip("link set tap1 down")?;
    local_flows(&mut a, &mut b)?;
    for number in 0..300 {
        a.send(&Frame::plain(100, number).from_mac(A).to_mac(HOST))?;
    }
    local_flows(&mut a, &mut b)?;
    segment.namespace.ip("link set tap1 up")?;
    flows_again(&wire, &mut a, &mut b)
}

#[test]
fn a_short_outage_loses_nothing_from_a_guest() -> Result<()> {
    const COUNT: u64 = 100;
    let mut segment = behind_tap()?;
    let wire = segment.wire("tap1")?;
    let [mut a, mut b] = segment.ports(["a", "b"])?;
    flows_again(&wire, &mut a, &mut b)?;
    a.settle(SOON)?;
    wire.clear()?;
    segment.namespace.ip("link set tap1 down")?;
    for number in 0..COUNT {
        a.send(&Frame::plain(100, number).from_mac(A).to_mac(HOST))?;
    }
    std::thread::sleep(Duration::from_millis(200));
    segment.namespace.ip("link set tap1 up")?;
    a.settle(BACK)?;
    for number in 0..COUNT {
        let frame = Frame::plain(100, number).from_mac(A).to_mac(HOST);
        assert_eq!(wire.receive(SOON)?.expect("it was held").bytes, frame.bytes);
    }
    assert_eq!(segment.counters("a")?.from_guest.drops, 0);
    Ok(())
}

#[test]
fn a_veth_that_loses_its_carrier_or_is_set_down_carries_on() -> Result<()> {
    let (segment, wire) = behind_veth(GUESTS)?;
    let [mut a, mut b] = segment.ports(["a", "b"])?;
    flows_again(&wire, &mut a, &mut b)?;
    for interface in ["far", "near"] {
        segment
            .namespace
            .ip(&format!("link set {interface} down"))?;
        local_flows(&mut a, &mut b)?;
        for number in 0..300 {
            a.send(&Frame::plain(100, number).from_mac(A).to_mac(HOST))?;
        }
        std::thread::sleep(Duration::from_millis(1200));
        local_flows(&mut a, &mut b)?;
        segment.namespace.ip(&format!("link set {interface} up"))?;
        flows_again(&wire, &mut a, &mut b)?;
    }
    Ok(())
}

#[test]
fn a_veth_that_is_deleted_is_taken_up_again_when_it_is_back() -> Result<()> {
    let (segment, wire) = behind_veth(GUESTS)?;
    let [mut a, mut b] = segment.ports(["a", "b"])?;
    flows_again(&wire, &mut a, &mut b)?;
    for _ in 0..2 {
        segment.namespace.ip("link del near")?;
        for number in 0..300 {
            a.send(&Frame::plain(100, number).from_mac(A).to_mac(HOST))?;
        }
        local_flows(&mut a, &mut b)?;
        veth(&segment.namespace)?;
        let wire = segment.wire("far")?;
        flows_again(&wire, &mut a, &mut b)?;
    }
    let log = segment.daemon.log();
    for state in ["uplink=lan state=gone", "uplink=lan state=back"] {
        assert!(log.contains(state), "{state}: {log}");
    }
    Ok(())
}

#[test]
fn a_tap_that_is_deleted_is_made_again() -> Result<()> {
    let segment = behind_tap()?;
    let wire = segment.wire("tap1")?;
    let [mut a, mut b] = segment.ports(["a", "b"])?;
    flows_again(&wire, &mut a, &mut b)?;
    segment.namespace.ip("link del tap1")?;
    local_flows(&mut a, &mut b)?;
    let wire = segment.wire("tap1")?;
    flows_again(&wire, &mut a, &mut b)?;
    let log = segment.daemon.log();
    for state in ["uplink=lan state=gone", "uplink=lan state=back"] {
        assert!(log.contains(state), "{state}: {log}");
    }
    Ok(())
}
