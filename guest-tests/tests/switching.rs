//! Who reaches whom behind one uplink: VLANs, isolation, floods, and guests that lie about who they are.

use std::time::{Duration, Instant};

use guest_tests::Result;
use guest_tests::front_end::{Frame, Port, Segment, Shape, Wire};

const SOON: Duration = Duration::from_secs(2);
/// Long enough for a frame that must not come.
const NEVER: Duration = Duration::from_millis(50);
const A: [u8; 6] = mac(0x0a);
const B: [u8; 6] = mac(0x0b);
const C: [u8; 6] = mac(0x0c);
const HOST: [u8; 6] = mac(0x01);
const ALL: [u8; 6] = [0xff; 6];

const fn mac(last: u8) -> [u8; 6] {
    [2, 0, 0, 0, 0, last]
}

/// A plain frame that is told from others by its seed.
fn frame(from: [u8; 6], to: [u8; 6], seed: u64) -> Frame {
    Frame::plain(100, seed).from_mac(from).to_mac(to)
}

fn gets(port: &mut Port, frame: &Frame) -> Result<()> {
    let come = port.receive(SOON)?.expect("the frame arrives");
    assert_eq!(come.bytes, frame.bytes);
    Ok(())
}

fn gets_nothing(port: &mut Port) -> Result<()> {
    assert!(port.receive(NEVER)?.is_none(), "a frame that is not for it");
    Ok(())
}

fn leaves(wire: &Wire, frame: &Frame) -> Result<()> {
    let come = wire.receive(SOON)?.expect("the frame leaves");
    assert_eq!(come.bytes, frame.bytes);
    Ok(())
}

fn nothing_leaves(wire: &Wire) -> Result<()> {
    assert!(
        wire.receive(NEVER)?.is_none(),
        "a frame that must not leave"
    );
    Ok(())
}

fn drops(segment: &mut Segment, guest: &str, reason: &str) -> Result<u64> {
    let reasons = segment.counters(guest)?.from_guest.reasons;
    Ok(reasons.get(reason).copied().unwrap_or(0))
}

fn with(mut frame: Frame, at: usize, bytes: &[u8]) -> Frame {
    frame.bytes[at..at + bytes.len()].copy_from_slice(bytes);
    frame
}

/// An ARP request (RFC 826) in which this station speaks.
fn arp(from: [u8; 6], hardware: [u8; 6], address: [u8; 4]) -> Frame {
    let mut bytes = ALL.to_vec();
    bytes.extend(from);
    bytes.extend([8, 6, 0, 1, 8, 0, 6, 4, 0, 1]);
    bytes.extend(hardware);
    bytes.extend(address);
    bytes.extend([0; 6]);
    bytes.extend([198, 18, 0, 1]);
    bytes.resize(60, 0);
    Frame::from(bytes)
}

/// An ICMPv6 message of this type.
fn icmp6(kind: u8) -> Frame {
    with(with(Frame::udp6(64, 1), 20, &[58]), 54, &[kind, 0])
}

#[test]
fn a_guest_that_lies_is_heard_nowhere_and_counted_by_its_lie() -> Result<()> {
    let mut segment = Segment::new(
        "[uplink.lan]\nkind = \"tap:tap1\"\n\
         [guest.a]\nmac = \"02:00:00:00:00:0a\"\naddresses = [\"198.18.0.2\", \"2001:db8::2\"]\n\
         [guest.b]\nmac = \"02:00:00:00:00:0b\"\n",
        &["a", "b"],
    )?;
    let wire = segment.wire("tap1")?;
    let [mut a, mut b] = segment.ports(["a", "b"])?;
    // Behind the headers' own fields: addresses at 26 and 22, ports at 36 and 56.
    let lies = [
        ("spoofed-mac", frame(B, HOST, 1)),
        ("spoofed-mac", frame(mac(0x77), HOST, 2)),
        ("spoofed-arp", arp(A, B, [198, 18, 0, 2])),
        ("spoofed-arp", arp(A, A, [198, 18, 0, 3])),
        (
            "spoofed-ip",
            with(Frame::udp4(64, 3).from_mac(A), 26, &[198, 18, 0, 3]),
        ),
        (
            "spoofed-ip",
            with(Frame::tcp4(64, 4).from_mac(A), 26, &[198, 18, 0, 1]),
        ),
        ("spoofed-ip", with(Frame::udp6(64, 5).from_mac(A), 37, &[9])),
        (
            "rogue-dhcp",
            with(Frame::udp4(64, 6).from_mac(A), 34, &[0, 67, 0, 68]),
        ),
        (
            "rogue-dhcp",
            with(Frame::udp6(64, 7).from_mac(A), 54, &[2, 35, 2, 34]),
        ),
        ("rogue-router", icmp6(134).from_mac(A)),
        ("rogue-router", icmp6(137).from_mac(A)),
        ("spoofed-nd", icmp6(136).from_mac(A)),
    ];
    for (number, (reason, lie)) in lies.into_iter().enumerate() {
        let before = drops(&mut segment, "a", reason)?;
        for to in [ALL, B, HOST] {
            for lie in [lie.clone(), lie.clone().partial_checksum()] {
                a.send_as(&lie.to_mac(to), &Shape::pieces(16).indirect())?;
            }
        }
        a.settle(SOON)?;
        assert_eq!(
            drops(&mut segment, "a", reason)? - before,
            6,
            "{reason}, case {number}"
        );
    }
    // What comes next is the first to be heard.
    let truth = Frame::udp4(64, 8).from_mac(A);
    a.send(&truth)?;
    gets(&mut b, &truth)?;
    leaves(&wire, &truth)?;
    nothing_leaves(&wire)?;
    gets_nothing(&mut b)
}

#[test]
fn an_access_port_has_tags_on_the_uplinks_side_only() -> Result<()> {
    let mut segment = Segment::new(
        "[uplink.lan]\nkind = \"tap:tap1\"\n\
         [guest.a]\nmac = \"02:00:00:00:00:0a\"\nvlan = 10\n\
         [guest.b]\nmac = \"02:00:00:00:00:0b\"\nvlan = 10\n\
         [guest.c]\nmac = \"02:00:00:00:00:0c\"\nvlan = 20\n",
        &["a", "b", "c"],
    )?;
    let wire = segment.wire("tap1")?;
    let [mut a, mut b, mut c] = segment.ports(["a", "b", "c"])?;

    let out = frame(A, HOST, 1);
    a.send(&out)?;
    leaves(&wire, &out.clone().tagged(10))?;
    let out = frame(C, HOST, 2);
    c.send(&out)?;
    leaves(&wire, &out.clone().tagged(20))?;
    let back = frame(HOST, A, 3);
    assert!(wire.send(&back.clone().tagged(10))?);
    gets(&mut a, &back)?;

    // A super-frame's offsets move with its tag.
    let large = Frame::tcp4(20_000, 4)
        .segmented(1460)
        .from_mac(A)
        .to_mac(HOST);
    a.send_as(&large, &Shape::HEADER_APART)?;
    let come = wire.receive(SOON)?.expect("the super-frame leaves");
    let tagged = large.tagged(10);
    assert!(come.bytes == tagged.bytes);
    assert_eq!(come.header.csum_start, tagged.header.csum_start);
    assert_eq!(come.header.gso_size, 1460);

    // Other VLANs and no VLAN are not theirs.
    for (from, to) in [(HOST, A), (HOST, ALL)] {
        assert!(wire.send(&frame(from, to, 5))?);
        assert!(wire.send(&frame(from, to, 6).tagged(11))?);
    }
    assert!(wire.send(&frame(HOST, A, 7).tagged(20))?);
    a.send(&frame(A, C, 8))?;
    c.send(&frame(C, ALL, 9))?;
    leaves_one_of(
        &wire,
        &[frame(A, C, 8).tagged(10), frame(C, ALL, 9).tagged(20)],
    )?;
    // Within the VLAN they reach each other, and the uplink has a copy of a broadcast.
    let near = frame(A, B, 10);
    a.send(&near)?;
    gets(&mut b, &near)?;
    let all = frame(A, ALL, 11);
    a.send(&all)?;
    gets(&mut b, &all)?;
    leaves(&wire, &all.clone().tagged(10))?;
    gets_nothing(&mut a)?;
    gets_nothing(&mut c)?;
    // They may not send tags themselves.
    a.send(&frame(A, HOST, 12).tagged(10))?;
    a.send(&frame(A, HOST, 13).tagged(20))?;
    a.settle(SOON)?;
    nothing_leaves(&wire)?;
    assert_eq!(drops(&mut segment, "a", "vlan")?, 2);
    Ok(())
}

/// All that leaves is among these frames.
fn leaves_one_of(wire: &Wire, frames: &[Frame]) -> Result<()> {
    while let Some(come) = wire.receive(NEVER)? {
        let known = frames.iter().any(|frame| frame.bytes == come.bytes);
        assert!(known, "{:02x?} leaves", &come.bytes[..20]);
    }
    Ok(())
}

#[test]
fn a_trunk_passes_its_vlans_as_they_are_and_no_others() -> Result<()> {
    let mut segment = Segment::new(
        "[uplink.lan]\nkind = \"tap:tap1\"\n\
         [guest.a]\nmac = \"02:00:00:00:00:0a\"\nvlan = 10\n\
         [guest.b]\nmac = \"02:00:00:00:00:0b\"\ntrunk = [\"10-12\", 20]\n\
         [guest.c]\nmac = \"02:00:00:00:00:0c\"\ntrunk = 30\nnative = 10\n",
        &["a", "b", "c"],
    )?;
    let wire = segment.wire("tap1")?;
    let [mut a, mut b, mut c] = segment.ports(["a", "b", "c"])?;
    for vlan in [10, 11, 12, 20] {
        let out = frame(B, HOST, vlan.into()).tagged(vlan);
        b.send(&out)?;
        leaves(&wire, &out)?;
        let back = frame(HOST, B, vlan.into()).tagged(vlan);
        assert!(wire.send(&back)?);
        gets(&mut b, &back)?;
    }
    // Access, trunk and native are one VLAN.
    let near = frame(A, B, 1);
    a.send(&near)?;
    gets(&mut b, &near.clone().tagged(10))?;
    let near = frame(B, A, 2);
    b.send(&near.clone().tagged(10))?;
    gets(&mut a, &near)?;
    let near = frame(B, C, 3);
    b.send(&near.clone().tagged(10))?;
    gets(&mut c, &near)?;
    let all = frame(C, ALL, 4);
    c.send(&all)?;
    gets(&mut a, &all)?;
    gets(&mut b, &all.clone().tagged(10))?;
    leaves(&wire, &all.clone().tagged(10))?;
    // No others.
    b.send(&frame(B, HOST, 5))?;
    b.send(&frame(B, HOST, 6).tagged(13))?;
    b.send(&frame(B, HOST, 7).tagged(30))?;
    b.settle(SOON)?;
    nothing_leaves(&wire)?;
    assert_eq!(drops(&mut segment, "b", "vlan")?, 3);
    assert!(wire.send(&frame(HOST, B, 8))?);
    assert!(wire.send(&frame(HOST, B, 9).tagged(13))?);
    assert!(wire.send(&frame(HOST, ALL, 10).tagged(13))?);
    for port in [&mut a, &mut b, &mut c] {
        gets_nothing(port)?;
    }
    Ok(())
}

#[test]
fn isolated_guests_reach_all_but_each_other() -> Result<()> {
    let mut segment = Segment::new(
        "[uplink.lan]\nkind = \"tap:tap1\"\n\
         [guest.a]\nmac = \"02:00:00:00:00:0a\"\nisolation = \"tenants\"\n\
         [guest.b]\nmac = \"02:00:00:00:00:0b\"\nisolation = \"tenants\"\n\
         [guest.c]\nmac = \"02:00:00:00:00:0c\"\n",
        &["a", "b", "c"],
    )?;
    let wire = segment.wire("tap1")?;
    let [mut a, mut b, mut c] = segment.ports(["a", "b", "c"])?;
    a.send(&frame(A, B, 1))?;
    b.send(&frame(B, A, 2))?;
    let (to_c, all) = (frame(A, C, 3), frame(A, ALL, 4));
    a.send(&to_c)?;
    gets(&mut c, &to_c)?;
    a.send(&all)?;
    gets(&mut c, &all)?;
    leaves(&wire, &all)?;
    let back = frame(C, A, 5);
    c.send(&back)?;
    gets(&mut a, &back)?;
    gets_nothing(&mut b)?;
    gets_nothing(&mut a)?;
    nothing_leaves(&wire)?;
    assert_eq!(drops(&mut segment, "a", "isolated")?, 1);
    assert_eq!(drops(&mut segment, "b", "isolated")?, 1);
    Ok(())
}

#[test]
fn a_broadcast_reaches_everybody_else_once() -> Result<()> {
    let segment = Segment::new(
        "[uplink.lan]\nkind = \"tap:tap1\"\n[guest.a]\n[guest.b]\nmac = \"02:00:00:00:00:0b\"\n[guest.c]\n",
        &["a", "b", "c"],
    )?;
    let wire = segment.wire("tap1")?;
    let [mut a, mut b, mut c] = segment.ports(["a", "b", "c"])?;
    let large = Frame::udp4(5000, 2).segmented(1200).from_mac(A);
    for frame in [frame(A, ALL, 1), large] {
        a.send(&frame)?;
        gets(&mut b, &frame)?;
        gets(&mut c, &frame)?;
        leaves(&wire, &frame)?;
    }
    let from_wire = frame(HOST, ALL, 3);
    assert!(wire.send(&from_wire)?);
    for port in [&mut a, &mut b, &mut c] {
        gets(port, &from_wire)?;
        gets_nothing(port)?;
    }
    nothing_leaves(&wire)
}

#[test]
fn a_flood_limit_bounds_the_copies_and_counts_what_it_drops() -> Result<()> {
    const SENT: u64 = 2000;
    let mut segment = Segment::new(
        "[uplink.lan]\nkind = \"tap:tap1\"\nflood = { pps = 200 }\n\
         [guest.a]\nmac = \"02:00:00:00:00:0a\"\n[guest.b]\nmac = \"02:00:00:00:00:0b\"\n",
        &["a", "b"],
    )?;
    let [mut a, mut b] = segment.ports(["a", "b"])?;
    let start = Instant::now();
    for number in 0..SENT {
        a.send(&frame(A, ALL, number))?;
    }
    a.settle(SOON)?;
    let mut copies = 0;
    while start.elapsed() < Duration::from_secs(1) {
        copies += u64::from(b.receive(NEVER)?.is_some());
    }
    // A second's worth, what may go at once, and nothing more.
    assert!((150..=250).contains(&copies), "{copies} copies in a second");
    let dropped = drops(&mut segment, "a", "flood")?;
    while b.receive(Duration::from_millis(300))?.is_some() {
        copies += 1;
    }
    assert_eq!(copies + dropped, SENT, "{dropped} dropped");
    // Unicast never waits behind it.
    a.send(&frame(A, B, 1))?;
    gets(&mut b, &frame(A, B, 1))
}

#[test]
fn guests_without_an_uplink_have_each_other() -> Result<()> {
    let mut segment = Segment::new(
        "[uplink.alone]\nkind = \"none\"\n[guest.a]\nmac = \"02:00:00:00:00:0a\"\n\
         [guest.b]\n[guest.c]\n",
        &["a", "b", "c"],
    )?;
    let [mut a, mut b, mut c] = segment.ports(["a", "b", "c"])?;
    let all = frame(A, ALL, 1);
    a.send(&all)?;
    gets(&mut b, &all)?;
    gets(&mut c, &all)?;
    // Somebody nobody knows of may be behind either, until one speaks.
    let unknown = frame(A, C, 2);
    a.send(&unknown)?;
    gets(&mut b, &unknown)?;
    gets(&mut c, &unknown)?;
    let back = frame(C, A, 3);
    c.send(&back)?;
    gets(&mut a, &back)?;
    let known = Frame::tcp4(30_000, 4).segmented(1460).from_mac(A).to_mac(C);
    a.send(&known)?;
    gets(&mut c, &known)?;
    gets_nothing(&mut b)?;
    for guest in ["a", "b", "c"] {
        let counters = segment.counters(guest)?;
        assert_eq!(
            counters.from_guest.drops + counters.to_guest.drops,
            0,
            "{guest}: {counters:?}"
        );
    }
    Ok(())
}
