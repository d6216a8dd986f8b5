//! A5 and A7: too much of everything, and lies about who one is.

use std::time::Duration;

use guest_tests::Result;
use guest_tests::front_end::{Flood, Frame, Port, Shape};

use crate::row::{Left, Outcome, Row, breaks, drops, scene, works};
use crate::stage::{GUARDED, GUARDED_MAC, HONEST_MAC, HOST_MAC, SOON, Stage, TRANSMIT};

const STRANGER: [u8; 6] = [2, 0, 0, 0, 0, 0x99];

fn kicks(stage: &Stage) -> Result<Left> {
    let mut port = stage.port()?;
    for _ in 0..20_000 {
        port.ring(TRANSMIT)?.kick();
    }
    let frame = Frame::plain(60, 1);
    port.send_as(&frame, &Shape::HEADER_APART)?;
    assert!(stage.leaves(&frame)?);
    Ok(port.into())
}

fn smallest_frames(port: &mut Port) -> Result<()> {
    let flood = Flood::new(Frame::plain(14, 1)).lasting(Duration::from_millis(40));
    port.flood(&flood).map(drop)
}

/// Nothing is posted, and more comes than may wait.
fn never_posts(stage: &Stage) -> Result<Left> {
    const COUNT: u64 = 4000;
    let port = stage.front_end().posting_nothing().start()?;
    let before = to_guest(stage)?;
    let frame = Frame::plain(1500, 1).to_mac(STRANGER);
    let mut sent = 0;
    while sent < COUNT {
        sent += stage.wire.repeat(&frame, 100)?;
        std::thread::sleep(Duration::from_millis(1));
    }
    std::thread::sleep(Duration::from_millis(20));
    assert!(
        to_guest(stage)? > before,
        "what cannot wait is dropped, and counted"
    );
    drop(port);
    Ok(Left::default())
}

fn to_guest(stage: &Stage) -> Result<u64> {
    let reasons = ["queue-full", "queue", "stalled"];
    reasons.iter().try_fold(
        0,
        |sum, reason| Ok(sum + stage.dropped("to_guest", reason)?),
    )
}

fn posts_late(stage: &Stage) -> Result<Left> {
    let mut port = stage.front_end().posting_nothing().start()?;
    let frame = Frame::plain(1000, 75).to_mac(STRANGER);
    assert!(stage.wire.send(&frame)?);
    std::thread::sleep(Duration::from_millis(60));
    // The driver's own kick, and no other event.
    let receive = &mut port.pair(0)?.receive;
    receive.keep_posted(256);
    receive.refill();
    let come = receive.wait(SOON)?.expect("what waited comes");
    assert_eq!(come.bytes, frame.bytes);
    Ok(port.into())
}

fn only_the_interrupt(stage: &Stage) -> Result<Left> {
    let mut port = stage.front_end().posting_nothing().start()?;
    for _ in 0..16 {
        let queue = port.ring(TRANSMIT)?;
        queue.calls();
        queue.driver().enable_calls();
        port.pair(0)?
            .transmit
            .push(&Frame::plain(60, 1), &Shape::WHOLE)?;
        port.ring(TRANSMIT)?.publish();
        assert!(port.ring(TRANSMIT)?.wait_call(SOON)?, "it is called");
        port.settle(SOON)?;
    }
    Ok(Left::default())
}

fn broken_again_and_again(port: &mut Port) -> Result<()> {
    let queue = port.ring(TRANSMIT)?;
    queue.driver().raw_avail_idx(0x8000);
    queue.kick();
    Ok(())
}

/// A frame of the guarded guest's, again and again.
fn guarded(stage: &Stage, frame: &Frame) -> Result<Left> {
    let port = stage.segment.front_end(GUARDED).largest(2000).start()?;
    let mut left = stage.send_often_by(port, frame)?;
    // Nobody else's frames may come from it.
    left.port = None;
    Ok(left)
}

fn with(mut frame: Frame, at: usize, bytes: &[u8]) -> Frame {
    frame.bytes[at..at + bytes.len()].copy_from_slice(bytes);
    frame.to_mac(HOST_MAC).from_mac(GUARDED_MAC)
}

fn arp(address: [u8; 4]) -> Frame {
    let mut bytes = [0xff; 6].to_vec();
    bytes.extend(GUARDED_MAC);
    bytes.extend([8, 6, 0, 1, 8, 0, 6, 4, 0, 1]);
    bytes.extend(GUARDED_MAC);
    bytes.extend(address);
    bytes.extend([0, 0, 0, 0, 0, 0, 198, 18, 0, 1]);
    bytes.resize(60, 0);
    Frame::from(bytes)
}

/// A frame of the guest's own for this group that no bridge passes on.
fn control(last: u8) -> Frame {
    let frame = Frame::plain(60, 1).from_mac(GUARDED_MAC);
    frame.to_mac([1, 0x80, 0xc2, 0, 0, last])
}

fn many_stations(port: &mut Port) -> Result<()> {
    for number in 0..4000_u32 {
        let [_, a, b, c] = number.wrapping_mul(2_654_435_761).to_be_bytes();
        let frame = Frame::plain(60, 1).from_mac([2, 1, 1, a, b, c]);
        port.send(&frame)?;
    }
    port.settle(SOON)
}

fn many_flows(port: &mut Port) -> Result<()> {
    for number in 0..4000_u32 {
        let mut frame = Frame::udp4(20, 1);
        frame.bytes[26..30].copy_from_slice(&number.to_be_bytes());
        port.send(&frame)?;
    }
    port.settle(SOON)
}

/// An owned address does not move, however often somebody else uses it.
fn flapping(stage: &Stage) -> Result<Left> {
    let frame = Frame::plain(60, 1).from_mac(HONEST_MAC);
    let mut left = stage.send_often(&frame)?;
    let port = left.port.as_mut().expect("it was sent from somewhere");
    let to_honest = Frame::plain(60, 96).to_mac(HONEST_MAC);
    assert!(stage.wire.send(&to_honest)?);
    if let Some(come) = port.receive(Duration::from_millis(5))? {
        assert_ne!(come.bytes, to_honest.bytes, "what is another's comes to it");
    }
    Ok(left)
}

pub(crate) const ROWS: &[Row] = &[
    scene(72, "20,000 kicks without work", Outcome::Works, kicks),
    works(73, "the smallest frames without end", smallest_frames),
    scene(74, "no buffers are posted", Outcome::Works, never_posts),
    scene(75, "buffers come late", Outcome::Works, posts_late),
    scene(
        76,
        "only the interrupt tells",
        Outcome::Works,
        only_the_interrupt,
    ),
    drops(80, "every frame is malformed", "runt", || {
        Frame::from(vec![1; 5])
    }),
    breaks(80, "ring after ring is broken", broken_again_and_again),
    scene(
        96,
        "another's address, learned or not",
        Outcome::Drop("spoofed-mac"),
        flapping,
    ),
    scene(
        96,
        "a source that is not its own",
        Outcome::Drop("spoofed-mac"),
        |stage| guarded(stage, &Frame::plain(60, 1).from_mac(STRANGER)),
    ),
    scene(
        96,
        "a group as source",
        Outcome::Drop("spoofed-mac"),
        |stage| guarded(stage, &Frame::plain(60, 1).from_mac([3, 0, 0, 0, 0, 0x0c])),
    ),
    scene(
        97,
        "another's IPv4 address",
        Outcome::Drop("spoofed-ip"),
        |stage| guarded(stage, &with(Frame::udp4(64, 3), 26, &[198, 18, 0, 3])),
    ),
    scene(
        97,
        "another's address in ARP",
        Outcome::Drop("spoofed-arp"),
        |stage| guarded(stage, &arp([198, 18, 0, 3])),
    ),
    scene(
        97,
        "an address in neighbour discovery",
        Outcome::Drop("spoofed-ip"),
        |stage| guarded(stage, &with(Frame::udp6(64, 1), 20, &[58])),
    ),
    scene(97, "a DHCP server", Outcome::Drop("rogue-dhcp"), |stage| {
        let own = with(Frame::udp4(64, 6), 26, &[198, 18, 0, 2]);
        guarded(stage, &with(own, 34, &[0, 67, 0, 68]))
    }),
    works(98, "4000 stations behind one port", many_stations),
    works(98, "4000 flows", many_flows),
    scene(99, "pause frames", Outcome::Drop("link-control"), |stage| {
        guarded(stage, &control(1))
    }),
    scene(
        99,
        "spanning tree",
        Outcome::Drop("link-control"),
        |stage| guarded(stage, &control(0)),
    ),
    scene(99, "LLDP", Outcome::Drop("link-control"), |stage| {
        guarded(stage, &control(0x0e))
    }),
];
