//! Drivers that misuse a ring: it breaks, or the frame is dropped under its reason's name; the rest goes on.

use std::time::Duration;

use guest_tests::Result;
use guest_tests::front_end::{
    Buffers, Frame, FrontEnd, GUEST_BASE, Header, Lab, Port, Shape, features,
};
use ring::driver::{Buffer, DESC_INDIRECT, DESC_NEXT};

const SOON: Duration = Duration::from_secs(2);
const NO_ARGS: [&str; 0] = [];
/// The first pair's transmit ring.
const TRANSMIT: usize = 1;

/// A misuse of the transmit ring of a port that was made so.
type Misuse = fn(&mut Port) -> Result<()>;

/// Shows the device one chain that begins at descriptor 0.
fn show_head(port: &mut Port, head: u16) -> Result<()> {
    let queue = port.ring(TRANSMIT)?;
    queue.driver().raw_avail_entry(0, head);
    queue.driver().raw_avail_idx(1);
    queue.kick();
    Ok(())
}

fn descriptor(
    port: &mut Port,
    index: u16,
    addr: u64,
    len: u32,
    flags: u16,
    next: u16,
) -> Result<()> {
    port.ring(TRANSMIT)?
        .driver()
        .raw_descriptor(index, addr, len, flags, next);
    Ok(())
}

fn looped(port: &mut Port) -> Result<()> {
    descriptor(port, 0, GUEST_BASE, 64, DESC_NEXT, 1)?;
    descriptor(port, 1, GUEST_BASE, 64, DESC_NEXT, 0)?;
    show_head(port, 0)
}

fn next_beyond(port: &mut Port) -> Result<()> {
    descriptor(port, 0, GUEST_BASE, 64, DESC_NEXT, 256)?;
    show_head(port, 0)
}

fn head_beyond(port: &mut Port) -> Result<()> {
    show_head(port, 256)
}

fn index_jump(port: &mut Port) -> Result<()> {
    let queue = port.ring(TRANSMIT)?;
    queue.driver().raw_avail_idx(257);
    queue.kick();
    Ok(())
}

fn index_backwards(port: &mut Port) -> Result<()> {
    let queue = port.ring(TRANSMIT)?;
    queue.driver().raw_avail_idx(u16::MAX);
    queue.kick();
    Ok(())
}

fn address_overflow(port: &mut Port) -> Result<()> {
    descriptor(port, 0, u64::MAX - 10, 64, 0, 0)?;
    show_head(port, 0)
}

fn over_the_end(port: &mut Port) -> Result<()> {
    let end = port.memory().end();
    descriptor(port, 0, end - 32, 64, 0, 0)?;
    show_head(port, 0)
}

fn unmapped(port: &mut Port) -> Result<()> {
    descriptor(port, 0, 0x1000, 64, 0, 0)?;
    show_head(port, 0)
}

fn indirect(port: &mut Port, len: u32, flags: u16, inner: u16) -> Result<()> {
    let table = GUEST_BASE + 0x10_0000;
    let mut entry = [0; 16];
    entry[..8].copy_from_slice(&GUEST_BASE.to_le_bytes());
    entry[8..12].copy_from_slice(&64_u32.to_le_bytes());
    entry[12..14].copy_from_slice(&inner.to_le_bytes());
    let poked = port.ring(TRANSMIT)?.driver().poke(table, &entry);
    poked.expect("the table is mapped");
    descriptor(port, 0, table, len, DESC_INDIRECT | flags, 1)?;
    show_head(port, 0)
}

/// Rows of the catalogue that break the ring.
const BREAKS: [(&str, Misuse); 12] = [
    ("row 1 loop", looped),
    ("row 2 next beyond the table", next_beyond),
    ("row 3 head beyond the table", head_beyond),
    ("row 4 available index jumps", index_jump),
    ("row 5 available index goes back", index_backwards),
    ("row 8 address overflows", address_overflow),
    ("row 9 buffer ends outside", over_the_end),
    ("row 9 buffer unmapped", unmapped),
    ("row 14 nested indirect", |port| {
        indirect(port, 16, 0, DESC_INDIRECT)
    }),
    ("row 14 indirect with next", |port| {
        indirect(port, 16, DESC_NEXT, 0)
    }),
    ("row 14 indirect of 20 bytes", |port| {
        indirect(port, 20, 0, 0)
    }),
    ("row 15 indirect beyond the ring", |port| {
        indirect(port, 16 * 257, 0, 0)
    }),
];

#[test]
fn a_misused_ring_breaks_alone_and_a_new_session_works() -> Result<()> {
    let mut lab = Lab::new(NO_ARGS)?;
    for (number, (row, misuse)) in (1..).zip(BREAKS) {
        let mut port = lab.front_end().start()?;
        misuse(&mut port)?;
        assert!(port.ring(TRANSMIT)?.is_broken(SOON)?, "{row}");
        arrives_at_guest(&lab, &mut port)?;
        assert_eq!(lab.daemon.counters()?.broken_rings, number, "{row}");
    }
    serves(&lab)
}

#[test]
fn row_16_indirect_that_was_not_negotiated_breaks() -> Result<()> {
    let lab = Lab::new(NO_ARGS)?;
    let mut port = lab.front_end().without(features::INDIRECT).start()?;
    indirect(&mut port, 16, 0, 0)?;
    assert!(port.ring(TRANSMIT)?.is_broken(SOON)?);
    serves_again(&lab, port)
}

#[test]
fn row_24_mergeable_buffers_below_a_header_break_the_receive_ring() -> Result<()> {
    let lab = Lab::new(NO_ARGS)?;
    for len in [1, 11] {
        let mut port = lab.front_end().buffers(Buffers::of(len)).start()?;
        assert!(lab.wire.send(&Frame::plain(60, 1))?);
        assert!(port.ring(0)?.is_broken(SOON)?, "{len}");
        let frame = Frame::plain(60, 2);
        port.send(&frame)?;
        assert_eq!(
            lab.wire.receive(SOON)?.expect("it arrives").bytes,
            frame.bytes
        );
    }
    serves(&lab)
}

#[test]
fn row_13_a_readable_receive_buffer_breaks_the_receive_ring() -> Result<()> {
    let lab = Lab::new(NO_ARGS)?;
    let mut port = lab.front_end().posting_nothing().start()?;
    let queue = port.ring(0)?;
    queue.driver().add(&[Buffer::readable(GUEST_BASE, 2048)]);
    queue.publish();
    assert!(lab.wire.send(&Frame::plain(60, 1))?);
    assert!(queue.is_broken(SOON)?);
    serves_again(&lab, port)
}

/// A good frame with its header changed.
fn with_header(frame: Frame, change: fn(&mut Header)) -> Frame {
    let mut frame = frame;
    change(&mut frame.header);
    frame
}

/// Rows of the catalogue that cost the guest one frame, and the name they are counted under.
fn drops() -> Vec<(&'static str, &'static str, Frame)> {
    let tcp = || Frame::tcp4(4000, 1).segmented(1000);
    let checked = || Frame::tcp4(100, 1).partial_checksum();
    vec![
        ("row 25 only a header", "runt", Frame::from(Vec::new())),
        ("row 26 runt", "runt", Frame::from(vec![0; 13])),
        (
            "row 27 type 2",
            "gso-unknown",
            with_header(tcp(), |h| h.gso_type = 2),
        ),
        (
            "row 27 type 0x7f",
            "gso-unknown",
            with_header(tcp(), |h| h.gso_type = 0x7f),
        ),
        (
            "row 28 size 0",
            "gso-size-zero",
            with_header(tcp(), |h| h.gso_size = 0),
        ),
        (
            "row 28 size 1",
            "gso-size-small",
            with_header(tcp(), |h| h.gso_size = 1),
        ),
        (
            "row 29 no checksum",
            "gso-without-checksum",
            with_header(tcp(), |h| h.flags = 0),
        ),
        (
            "row 30 other family",
            "gso-protocol",
            with_header(tcp(), |h| h.gso_type = Header::TCPV6),
        ),
        (
            "row 31 fragmentation",
            "gso-not-negotiated",
            with_header(tcp(), |h| h.gso_type = 3),
        ),
        (
            "row 32 start beyond",
            "checksum-range",
            with_header(checked(), |h| h.csum_start = 5000),
        ),
        (
            "row 33 overflow",
            "checksum-range",
            with_header(checked(), |h| h.csum_offset = 0xffff),
        ),
    ]
}

#[test]
fn a_bad_frame_is_dropped_under_its_reason_and_the_ring_goes_on() -> Result<()> {
    let mut lab = Lab::new(NO_ARGS)?;
    let mut port = lab.front_end().start()?;
    for (row, reason, frame) in drops() {
        let before = reasons(&mut lab, reason)?;
        port.send(&frame)?;
        port.settle(SOON)?;
        assert_eq!(reasons(&mut lab, reason)?, before + 1, "{row}: {reason}");
        let good = Frame::plain(100, 1);
        port.send(&good)?;
        assert_eq!(
            lab.wire.receive(SOON)?.expect(row).bytes,
            good.bytes,
            "{row}"
        );
    }
    assert_eq!(lab.daemon.counters()?.broken_rings, 0);
    Ok(())
}

#[test]
fn row_7_and_13_a_chain_of_wrong_parts_is_dropped() -> Result<()> {
    let mut lab = Lab::new(NO_ARGS)?;
    let at = GUEST_BASE + 0x8000;
    let rows = [
        (
            "chain-zero-length",
            vec![Buffer::readable(at, 72), Buffer::readable(at, 0)],
        ),
        (
            "chain-writable",
            vec![Buffer::readable(at, 72), Buffer::writable(at, 72)],
        ),
    ];
    for (reason, buffers) in rows {
        let mut port = lab.front_end().start()?;
        let queue = port.ring(TRANSMIT)?;
        queue.driver().add(&buffers).expect("the ring is empty");
        queue.publish();
        let deadline = std::time::Instant::now() + SOON;
        while queue.driver().collect().is_none() {
            assert!(
                std::time::Instant::now() < deadline,
                "{reason}: the chain comes back"
            );
        }
        assert_eq!(reasons(&mut lab, reason)?, 1);
    }
    serves(&lab)
}

#[test]
fn row_47_a_header_rewritten_while_it_is_read_harms_nobody() -> Result<()> {
    let mut lab = Lab::new(NO_ARGS)?;
    let mut port = lab.front_end().start()?;
    let frame = Frame::tcp4(4000, 1).segmented(1000);
    let at = GUEST_BASE + 0x8000;
    let mut bad = frame.header;
    bad.gso_size = 0;
    bad.csum_start = 0xffff;
    for _ in 0..2000 {
        let queue = port.ring(TRANSMIT)?;
        let driver = queue.driver();
        driver
            .poke(at, &frame.header.to_bytes())
            .expect("it is mapped");
        driver.poke(at + 12, &frame.bytes).expect("it is mapped");
        let len = u32::try_from(12 + frame.bytes.len()).expect("it fits");
        driver
            .add(&[Buffer::readable(at, len)])
            .expect("there is room");
        queue.publish();
        while queue.driver().collect().is_none() {
            queue
                .driver()
                .poke(at, &bad.to_bytes())
                .expect("it is mapped");
            queue
                .driver()
                .poke(at, &frame.header.to_bytes())
                .expect("it is mapped");
        }
    }
    // Each frame was either taken whole as it was meant, or dropped: never something between.
    while let Some(come) = lab.wire.receive(Duration::ZERO)? {
        assert_eq!(
            (come.header.gso_type, come.header.gso_size),
            (Header::TCPV4, 1000)
        );
        assert_eq!(come.header.csum_start, 34);
    }
    let counters = lab.daemon.counters()?;
    assert_eq!(counters.from_guest.frames + counters.from_guest.drops, 2000);
    serves_again(&lab, port)
}

#[test]
fn row_96_a_frame_from_another_address_is_dropped() -> Result<()> {
    let mut lab = Lab::new(["--mac", "02:00:00:00:00:02"])?;
    let mut port = lab.front_end().start()?;
    port.send(&Frame::plain(60, 1).from_mac([2, 0, 0, 0, 0, 3]))?;
    let good = Frame::plain(60, 2);
    port.send(&good)?;
    assert_eq!(
        lab.wire.receive(SOON)?.expect("it arrives").bytes,
        good.bytes
    );
    assert_eq!(reasons(&mut lab, "spoofed-mac")?, 1);
    Ok(())
}

#[test]
fn row_72_a_flood_of_kicks_without_work_is_harmless() -> Result<()> {
    let lab = Lab::new(NO_ARGS)?;
    let mut port = lab.front_end().start()?;
    for _ in 0..100_000 {
        port.ring(TRANSMIT)?.kick();
    }
    let frame = Frame::plain(60, 1);
    port.send_as(&frame, &Shape::HEADER_APART)?;
    assert_eq!(
        lab.wire.receive(SOON)?.expect("it arrives").bytes,
        frame.bytes
    );
    Ok(())
}

fn reasons(lab: &mut Lab, reason: &str) -> Result<u64> {
    let counters = lab.daemon.counters()?;
    Ok(counters
        .from_guest
        .reasons
        .get(reason)
        .copied()
        .unwrap_or(0))
}

fn arrives_at_guest(lab: &Lab, port: &mut Port) -> Result<()> {
    let frame = Frame::plain(100, 1);
    assert!(lab.wire.send(&frame)?);
    assert_eq!(port.receive(SOON)?.expect("it arrives").bytes, frame.bytes);
    Ok(())
}

fn serves_again(lab: &Lab, port: Port) -> Result<()> {
    drop(port);
    serves(lab)
}

/// A fresh session carries a frame each way.
fn serves(lab: &Lab) -> Result<()> {
    let mut port = FrontEnd::connect(&lab.socket()).start()?;
    let frame = Frame::plain(100, 1);
    port.send(&frame)?;
    assert_eq!(
        lab.wire.receive(SOON)?.expect("it arrives").bytes,
        frame.bytes
    );
    arrives_at_guest(lab, &mut port)
}
