//! A2 and A3: virtio-net headers, offloads, frames.

use std::time::Duration;

use ::ring::driver::Buffer;
use guest_tests::Result;
use guest_tests::front_end::{Buffers, Frame, Header, Port, features};

use crate::ring::{AT, dropped, poke};
use crate::row::{Left, Outcome, Row, drops, scene};
use crate::stage::{HOST_MAC, RECEIVE, SOON, Stage, TRANSMIT};

/// Where the parts of an IPv4 frame begin.
const IP: usize = 14;
const TCP: usize = 34;
/// To somebody that only the hostile guest can be.
const STRANGER: [u8; 6] = [2, 0, 0, 0, 0, 0x99];

fn header(mut frame: Frame, change: fn(&mut Header)) -> Frame {
    change(&mut frame.header);
    frame
}

fn with(mut frame: Frame, at: usize, bytes: &[u8]) -> Frame {
    frame.bytes[at..at + bytes.len()].copy_from_slice(bytes);
    frame
}

/// A super-frame of five segments.
fn tcp() -> Frame {
    Frame::tcp4(4000, 1).segmented(1000)
}

fn udp() -> Frame {
    Frame::udp4(4000, 1).segmented(1000)
}

fn unfinished() -> Frame {
    Frame::tcp4(100, 1).partial_checksum()
}

/// A frame that leaves with the bytes it has.
fn passes(stage: &Stage, frame: &Frame) -> Result<Left> {
    let mut port = stage.port()?;
    port.send(frame)?;
    assert!(stage.leaves(frame)?, "{:?}", frame.header);
    Ok(port.into())
}

/// What the uplink is told of a frame with this header.
fn told(stage: &Stage, frame: &Frame) -> Result<Header> {
    let mut port = stage.port()?;
    port.send(frame)?;
    Ok(stage.next_leaving()?.header)
}

fn without_the_feature(stage: &Stage, feature: u64, frame: &Frame) -> Result<Left> {
    stage.send_often_by(stage.front_end().without(feature).start()?, frame)
}

fn hints(stage: &Stage) -> Result<Left> {
    let honest = told(stage, &tcp())?;
    for hint in [0, 1, u16::MAX] {
        let mut frame = tcp();
        frame.header.hdr_len = hint;
        assert_eq!(told(stage, &frame)?, honest, "{hint}");
    }
    Ok(Left::default())
}

fn flags(stage: &Stage) -> Result<Left> {
    let honest = told(stage, &unfinished())?;
    let flagged = header(unfinished(), |header| header.flags |= 0xfe);
    assert_eq!(told(stage, &flagged)?, honest);
    Ok(Left::default())
}

fn counts_of_buffers(stage: &Stage) -> Result<Left> {
    passes(
        stage,
        &header(Frame::plain(60, 3), |header| header.num_buffers = u16::MAX),
    )
}

/// Twelve bytes with VERSION_1, mergeable or not.
fn header_sizes(stage: &Stage) -> Result<Left> {
    for without in [0, features::MRG_RXBUF] {
        let mut port = stage.front_end().without(without).start()?;
        stage.sends(&mut port)?;
        stage.receives(&mut port)?;
    }
    Ok(Left::default())
}

fn strange_ipv4(stage: &Stage) -> Result<Left> {
    for (at, bytes) in [
        (IP, &[0x41_u8][..]),
        (IP, &[0x4f]),
        (IP + 2, &[0xff, 0xff]),
        (IP + 2, &[0, 4]),
    ] {
        passes(stage, &with(Frame::udp4(10, 4), at, bytes))?;
    }
    Ok(Left::default())
}

fn fragments(stage: &Stage) -> Result<Left> {
    for offset in [[0x20_u8, 0], [0, 1], [0x20, 1], [0x1f, 0xff]] {
        passes(stage, &with(Frame::udp4(10, 4), IP + 6, &offset))?;
    }
    Ok(Left::default())
}

fn tags(stage: &Stage) -> Result<Left> {
    for depth in [1, 2, 10] {
        let mut frame = Frame::udp4(60, 6);
        for _ in 0..depth {
            frame = frame.tagged(0);
        }
        let mut port = stage.port()?;
        port.send(&frame)?;
        let come = stage.next_leaving()?;
        assert_eq!(come.bytes.len(), frame.bytes.len(), "{depth} tags");
    }
    let cut_short = Frame::from([&[2; 12][..], &[0x81, 0]].concat());
    let mut port = stage.port()?;
    port.send(&cut_short)?;
    Ok(port.into())
}

/// A frame of 64 KiB for buffers that never hold it.
fn too_large(stage: &Stage) -> Result<Left> {
    let without = stage.front_end().without(features::MRG_RXBUF);
    let mut port = without.buffers(Buffers::of(2048)).start()?;
    for seed in 0..4 {
        assert!(
            stage
                .wire
                .send(&Frame::plain(9000, seed).to_mac(STRANGER))?
        );
    }
    assert!(port.receive(Duration::from_millis(20))?.is_none());
    stage.receives(&mut port)?;
    Ok(Left {
        frames: 4,
        port: Some(port),
        ..Left::default()
    })
}

fn buffers_run_out(stage: &Stage) -> Result<Left> {
    let some = stage.front_end().buffers(Buffers::of(2048).at_most(2));
    let mut port = some.start()?;
    let frame = Frame::plain(9000, 8).to_mac(STRANGER);
    assert!(stage.wire.send(&frame)?);
    std::thread::sleep(Duration::from_millis(10));
    let queue = port.ring(RECEIVE)?;
    assert_eq!(queue.driver().used_idx(), 0, "nothing of it is shown");
    let addr = AT;
    for at in 0..4 {
        queue
            .driver()
            .add(&[Buffer::writable(addr + at * 2048, 2048)]);
    }
    queue.publish();
    let deadline = std::time::Instant::now() + SOON;
    while port.ring(RECEIVE)?.driver().used_idx() != 5 {
        assert!(
            std::time::Instant::now() < deadline,
            "then all of it at once"
        );
    }
    Ok(Left::default())
}

fn nothing_left_of_others(stage: &Stage) -> Result<Left> {
    let mut port = stage.front_end().posting_nothing().start()?;
    poke(&mut port, AT, &[0xa5; 2048])?;
    let queue = port.ring(RECEIVE)?;
    queue.driver().add(&[Buffer::writable(AT, 2048)]);
    queue.publish();
    let frame = Frame::plain(60, 9).to_mac(STRANGER);
    assert!(stage.wire.send(&frame)?);
    let deadline = std::time::Instant::now() + SOON;
    while port.ring(RECEIVE)?.driver().used_idx() == 0 {
        assert!(std::time::Instant::now() < deadline, "it comes");
    }
    let mut bytes = [0; 2048];
    let read = port.ring(RECEIVE)?.driver().peek(AT, &mut bytes);
    read.expect("it is mapped");
    assert_eq!(bytes[..10], [0; 10], "all of the header is written");
    assert_eq!(bytes[10..12], [1, 0]);
    assert_eq!(bytes[12..72], frame.bytes);
    assert!(
        bytes[72..].iter().all(|byte| *byte == 0xa5),
        "and nothing more"
    );
    Ok(Left::default())
}

/// Headers that flip between good and bad while they are read: each frame goes as it was meant, or not at all.
fn rewritten(stage: &Stage) -> Result<Left> {
    const COUNT: usize = 200;
    let mut port = stage.port()?;
    let frame = tcp();
    let mut bad = frame.header;
    (bad.gso_size, bad.csum_start) = (0, u16::MAX);
    let len = u32::try_from(Header::LEN + frame.bytes.len()).expect("it fits");
    poke(&mut port, AT + Header::LEN as u64, &frame.bytes)?;
    for _ in 0..COUNT {
        poke(&mut port, AT, &frame.header.to_bytes())?;
        let queue = port.ring(TRANSMIT)?;
        queue.driver().add(&[Buffer::readable(AT, len)]);
        queue.publish();
        while port.ring(TRANSMIT)?.driver().collect().is_none() {
            poke(&mut port, AT, &bad.to_bytes())?;
            poke(&mut port, AT, &frame.header.to_bytes())?;
        }
    }
    while let Some(come) = stage.wire.receive(Duration::ZERO)? {
        if come.header.gso_type != 0 {
            assert_eq!(
                (come.header.gso_type, come.header.gso_size),
                (Header::TCPV4, 1000)
            );
            assert_eq!(come.header.csum_start, 34);
        }
    }
    Ok(port.into())
}

/// Addresses that a guest's check of its source turns on flip while they are read.
fn lies_meanwhile(stage: &Stage) -> Result<Left> {
    let mut port: Port = stage.segment.front_end(crate::stage::GUARDED).start()?;
    let honest = Frame::udp4(64, 1)
        .from_mac(crate::stage::GUARDED_MAC)
        .to_mac(HOST_MAC);
    let honest = with(honest, IP + 12, &[198, 18, 0, 2]);
    let address = AT + Header::LEN as u64 + IP as u64 + 12;
    poke(&mut port, AT, &[0; Header::LEN])?;
    poke(&mut port, AT + Header::LEN as u64, &honest.bytes)?;
    let len = u32::try_from(Header::LEN + honest.bytes.len()).expect("it fits");
    for _ in 0..200 {
        let queue = port.ring(TRANSMIT)?;
        queue.driver().add(&[Buffer::readable(AT, len)]);
        queue.publish();
        while port.ring(TRANSMIT)?.driver().collect().is_none() {
            poke(&mut port, address, &[198, 18, 0, 1])?;
            poke(&mut port, address, &[198, 18, 0, 2])?;
        }
    }
    while let Some(come) = stage.wire.receive(Duration::ZERO)? {
        if come.bytes.get(6..12) == Some(&crate::stage::GUARDED_MAC) {
            assert_eq!(
                come.bytes[IP + 12..IP + 16],
                [198, 18, 0, 2],
                "what was checked leaves"
            );
        }
    }
    Ok(Left::default())
}

pub(crate) const ROWS: &[Row] = &[
    drops(25, "only a header", "runt", || Frame::from(Vec::new())),
    scene(25, "less than a header", Outcome::Drop("runt"), |stage| {
        dropped(stage.port()?, &[Buffer::readable(AT, 5)])
    }),
    drops(26, "one byte of a frame", "runt", || Frame::from(vec![0])),
    drops(26, "thirteen bytes of a frame", "runt", || {
        Frame::from(vec![0; 13])
    }),
    drops(27, "segmentation type 2", "gso-unknown", || {
        header(tcp(), |h| h.gso_type = 2)
    }),
    drops(27, "segmentation type 0x7f", "gso-unknown", || {
        header(tcp(), |h| h.gso_type = 0x7f)
    }),
    drops(28, "segments of no bytes", "gso-size-zero", || {
        header(tcp(), |h| h.gso_size = 0)
    }),
    drops(28, "segments of one byte", "gso-size-small", || {
        header(tcp(), |h| h.gso_size = 1)
    }),
    drops(
        29,
        "segmentation without checksum",
        "gso-without-checksum",
        || header(tcp(), |h| h.flags = 0),
    ),
    scene(
        29,
        "segmentation not negotiated",
        Outcome::Drop("gso-not-negotiated"),
        |stage| without_the_feature(stage, features::HOST_TSO4 | features::HOST_ECN, &tcp()),
    ),
    scene(
        29,
        "checksum not negotiated",
        Outcome::Drop("checksum-not-negotiated"),
        |stage| {
            let offloads = features::CSUM | features::HOST_TSO4 | features::HOST_TSO6;
            let offloads = offloads | features::HOST_ECN | features::HOST_USO;
            without_the_feature(stage, offloads, &unfinished())
        },
    ),
    drops(30, "IPv6 segmentation of IPv4", "gso-protocol", || {
        header(tcp(), |h| h.gso_type = Header::TCPV6)
    }),
    drops(30, "TCP segmentation of UDP", "gso-protocol", || {
        header(udp(), |h| h.gso_type = Header::TCPV4)
    }),
    drops(30, "TCP segmentation of ARP", "gso-protocol", || {
        with(tcp(), 12, &[8, 6])
    }),
    drops(31, "fragmentation of UDP", "gso-not-negotiated", || {
        header(udp(), |h| h.gso_type = 3)
    }),
    scene(
        31,
        "datagrams not negotiated",
        Outcome::Drop("gso-not-negotiated"),
        |stage| without_the_feature(stage, features::HOST_USO, &udp()),
    ),
    drops(
        31,
        "a datagram too small for its segments",
        "gso-segments",
        || Frame::udp4(4000, 1).segmented(8),
    ),
    drops(32, "checksum starts beyond", "checksum-range", || {
        header(unfinished(), |h| h.csum_start = 5000)
    }),
    drops(33, "checksum offset overflows", "checksum-range", || {
        header(unfinished(), |h| h.csum_offset = u16::MAX)
    }),
    drops(33, "checksum ends beyond", "checksum-range", || {
        header(unfinished(), |h| h.csum_offset = 119)
    }),
    scene(34, "header length as hint", Outcome::Works, hints),
    scene(35, "flags without meaning", Outcome::Works, flags),
    scene(
        36,
        "number of buffers sent",
        Outcome::Works,
        counts_of_buffers,
    ),
    scene(
        37,
        "headers with and without merging",
        Outcome::Works,
        header_sizes,
    ),
    scene(38, "IPv4 headers that lie", Outcome::Works, strange_ipv4),
    drops(39, "TCP header below its least", "gso-headers", || {
        with(tcp(), TCP + 12, &[0x40])
    }),
    drops(39, "TCP header past the end", "gso-headers", || {
        with(Frame::tcp4(20, 1).segmented(8), TCP + 12, &[0xf0])
    }),
    scene(40, "fragments", Outcome::Works, fragments),
    scene(41, "many VLAN tags, and half a one", Outcome::Works, tags),
    scene(
        42,
        "frames too large for unmerged buffers",
        Outcome::DropToGuest("buffer-too-small"),
        too_large,
    ),
    scene(
        43,
        "buffers run out in a frame",
        Outcome::Works,
        buffers_run_out,
    ),
    scene(
        45,
        "bytes of others",
        Outcome::Works,
        nothing_left_of_others,
    ),
    scene(47, "header rewritten meanwhile", Outcome::Works, rewritten),
    scene(
        48,
        "addresses rewritten meanwhile",
        Outcome::Works,
        lies_meanwhile,
    ),
];
