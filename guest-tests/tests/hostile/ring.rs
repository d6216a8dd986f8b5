//! A1: chains and buffers.

use std::time::{Duration, Instant};

use ::ring::driver::{Buffer, DESC_INDIRECT, DESC_NEXT};
use guest_tests::Result;
use guest_tests::front_end::{Buffers, Frame, GUEST_BASE, Port, Shape, features};

use crate::row::{Left, Outcome, Row, breaks, scene, works};
use crate::stage::{RECEIVE, SOON, Stage, TRANSMIT};

/// Where attackers put things: in no ring and in no slot that is used at the same time.
pub(crate) const AT: u64 = GUEST_BASE + 0x8000;
pub(crate) const SIZE: u16 = 256;

/// Shows the device one chain that begins at this descriptor.
fn show(port: &mut Port, head: u16) -> Result<()> {
    let queue = port.ring(TRANSMIT)?;
    queue.driver().raw_avail_entry(0, head);
    queue.driver().raw_avail_idx(1);
    queue.kick();
    Ok(())
}

/// Shows the device these descriptors, as address, length, flags and next.
pub(crate) fn table(port: &mut Port, descriptors: &[(u64, u32, u16, u16)]) -> Result<()> {
    for (index, (addr, len, flags, next)) in (0..).zip(descriptors) {
        let driver = port.ring(TRANSMIT)?.driver();
        driver.raw_descriptor(index, *addr, *len, *flags, *next);
    }
    show(port, 0)
}

fn index(port: &mut Port, index: u16) -> Result<()> {
    let queue = port.ring(TRANSMIT)?;
    queue.driver().raw_avail_idx(index);
    queue.kick();
    Ok(())
}

/// A table of one entry with these flags, reached by a descriptor of this length and these flags.
fn indirect(port: &mut Port, len: u32, flags: u16, inner: u16) -> Result<()> {
    let mut entry = [0; 16];
    entry[..8].copy_from_slice(&AT.to_le_bytes());
    entry[8..12].copy_from_slice(&64_u32.to_le_bytes());
    entry[12..14].copy_from_slice(&inner.to_le_bytes());
    poke(port, AT, &entry)?;
    table(port, &[(AT, len, DESC_INDIRECT | flags, 1)])
}

pub(crate) fn poke(port: &mut Port, addr: u64, bytes: &[u8]) -> Result<()> {
    let written = port.ring(TRANSMIT)?.driver().poke(addr, bytes);
    written.expect("the guest's own memory");
    Ok(())
}

/// Adds chains of these buffers and waits for their completion, however wrong they are.
pub(crate) fn completes(port: &mut Port, buffers: &[Buffer], count: u64) -> Result<()> {
    let queue = port.ring(TRANSMIT)?;
    for _ in 0..count {
        queue.driver().add(buffers).expect("the ring has room");
        queue.publish();
        let deadline = Instant::now() + SOON;
        while queue.driver().collect().is_none() {
            assert!(Instant::now() < deadline, "the chain comes back");
        }
    }
    Ok(())
}

pub(crate) fn dropped(mut port: Port, buffers: &[Buffer]) -> Result<Left> {
    const COUNT: u64 = 8;
    completes(&mut port, buffers, COUNT)?;
    Ok(Left {
        port: Some(port),
        frames: COUNT,
        ..Left::default()
    })
}

/// A port whose receive ring gets this one chain, and a frame for it.
fn posts(stage: &Stage, buffer: Buffer) -> Result<Left> {
    let mut port = stage.front_end().posting_nothing().start()?;
    let queue = port.ring(RECEIVE)?;
    queue.driver().add(&[buffer]).expect("the ring has room");
    queue.publish();
    assert!(stage.wire.send(&Frame::plain(60, 1))?);
    Ok(port.into())
}

fn small_buffers(stage: &Stage, len: u32) -> Result<Left> {
    let port = stage.front_end().buffers(Buffers::of(len)).start()?;
    assert!(stage.wire.send(&Frame::plain(60, 1))?);
    Ok(port.into())
}

/// A frame in one-byte buffers behind a header of this shape.
fn in_pieces(stage: &Stage, shape: &Shape) -> Result<Left> {
    let mut port = stage.port()?;
    let frame = Frame::plain(60, 5);
    port.send_as(&frame, shape)?;
    assert!(stage.leaves(&frame)?);
    Ok(port.into())
}

fn too_many_segments(stage: &Stage) -> Result<Left> {
    let port = stage.front_end().ring_size(1024).start()?;
    let buffers: Vec<_> = (0..1024).map(|at| Buffer::readable(AT + at, 1)).collect();
    dropped(port, &buffers)
}

fn four_gib(stage: &Stage) -> Result<Left> {
    // Sparse, so that it costs nothing but numbers.
    let mut port = stage.front_end().largest(64 << 20).start()?;
    let len = u32::try_from(port.memory().end() - GUEST_BASE).unwrap_or(u32::MAX);
    let count = usize::try_from((1_u64 << 32) / u64::from(len) + 1).expect("it fits");
    dropped(port, &vec![Buffer::readable(GUEST_BASE, len); count])
}

fn kick_without_work(port: &mut Port) -> Result<()> {
    let before = port.ring(TRANSMIT)?.calls();
    for _ in 0..100 {
        port.ring(TRANSMIT)?.kick();
    }
    std::thread::sleep(Duration::from_millis(5));
    let queue = port.ring(TRANSMIT)?;
    assert_eq!((queue.driver().used_idx(), queue.calls()), (0, before));
    Ok(())
}

fn work_without_kick(stage: &Stage) -> Result<Left> {
    let mut port = stage.port()?;
    let (silent, kicked) = (Frame::plain(60, 61), Frame::plain(60, 62));
    // What is kicked for first makes sure that the device sleeps when the second one comes.
    port.send(&kicked)?;
    port.settle(SOON)?;
    std::thread::sleep(Duration::from_millis(5));
    port.ring(TRANSMIT)?.set_kicking(false);
    port.send(&silent)?;
    port.ring(TRANSMIT)?.set_kicking(true);
    port.send(&kicked)?;
    // An event index that was passed in silence is not asked for again.
    port.ring(TRANSMIT)?.kick();
    assert!(stage.leaves(&silent)?, "with the next visit");
    Ok(port.into())
}

fn over_the_rings(port: &mut Port) -> Result<()> {
    let layout = port.ring(TRANSMIT)?.layout();
    for addr in [layout.desc, layout.avail, layout.used] {
        completes(port, &[Buffer::readable(addr, 400)], 4)?;
    }
    Ok(())
}

fn receives_over_the_ring(stage: &Stage) -> Result<Left> {
    let mut port = stage.front_end().posting_nothing().start()?;
    let queue = port.ring(RECEIVE)?;
    let desc = queue.layout().desc;
    for _ in 0..4 {
        queue.driver().add(&[Buffer::writable(desc, 2048)]);
    }
    queue.publish();
    for seed in 0..4 {
        stage.wire.send(&Frame::plain(1000, seed))?;
    }
    std::thread::sleep(Duration::from_millis(10));
    // Whatever that made of the receive ring, it is this guest's own affair.
    stage.sends(&mut port)?;
    Ok(Left::default())
}

pub(crate) const ROWS: &[Row] = &[
    breaks(1, "two descriptors in a loop", |port| {
        table(port, &[(AT, 64, DESC_NEXT, 1), (AT, 64, DESC_NEXT, 0)])
    }),
    breaks(1, "a descriptor that is its own next", |port| {
        table(port, &[(AT, 64, DESC_NEXT, 0)])
    }),
    breaks(2, "next beyond the table", |port| {
        table(port, &[(AT, 64, DESC_NEXT, SIZE)])
    }),
    breaks(3, "head beyond the table", |port| show(port, SIZE)),
    breaks(4, "available index jumps", |port| index(port, SIZE + 1)),
    breaks(5, "available index goes back", |port| index(port, u16::MAX)),
    works(6, "kicks without work", kick_without_work),
    scene(6, "work without a kick", Outcome::Works, work_without_kick),
    scene(
        7,
        "a zero-length buffer",
        Outcome::Drop("chain-zero-length"),
        |stage| {
            dropped(
                stage.port()?,
                &[Buffer::readable(AT, 72), Buffer::readable(AT, 0)],
            )
        },
    ),
    scene(
        7,
        "only zero-length buffers",
        Outcome::Drop("chain-zero-length"),
        |stage| dropped(stage.port()?, &[Buffer::readable(AT, 0); 200]),
    ),
    breaks(8, "address and length overflow", |port| {
        table(port, &[(u64::MAX - 10, 64, 0, 0)])
    }),
    breaks(9, "buffer ends outside", |port| {
        let end = port.memory().end();
        table(port, &[(end - 32, 64, 0, 0)])
    }),
    breaks(9, "buffer outside", |port| {
        table(port, &[(0x1000, 64, 0, 0)])
    }),
    scene(10, "header in single bytes", Outcome::Works, |stage| {
        in_pieces(stage, &Shape::lengths(&[1; 12]))
    }),
    scene(10, "all in single bytes", Outcome::Works, |stage| {
        in_pieces(stage, &Shape::pieces(1))
    }),
    scene(
        11,
        "1024 buffers of a byte",
        Outcome::Drop("chain-segments"),
        too_many_segments,
    ),
    scene(
        12,
        "4 GiB over the same pages",
        Outcome::Drop("chain-too-long"),
        four_gib,
    ),
    scene(
        13,
        "writable buffer sent",
        Outcome::Drop("chain-writable"),
        |stage| {
            dropped(
                stage.port()?,
                &[Buffer::readable(AT, 72), Buffer::writable(AT, 72)],
            )
        },
    ),
    scene(
        13,
        "readable after writable sent",
        Outcome::Drop("chain-order"),
        |stage| {
            dropped(
                stage.port()?,
                &[Buffer::writable(AT, 72), Buffer::readable(AT, 72)],
            )
        },
    ),
    scene(
        13,
        "readable buffer to receive in",
        Outcome::Break(RECEIVE),
        |stage| posts(stage, Buffer::readable(AT, 2048)),
    ),
    breaks(14, "indirect in indirect", |port| {
        indirect(port, 16, 0, DESC_INDIRECT)
    }),
    breaks(14, "indirect with next", |port| {
        indirect(port, 16, DESC_NEXT, 0)
    }),
    breaks(14, "indirect of 20 bytes", |port| indirect(port, 20, 0, 0)),
    breaks(14, "indirect of no bytes", |port| indirect(port, 0, 0, 0)),
    breaks(14, "indirect loop", |port| indirect(port, 16, 0, DESC_NEXT)),
    breaks(15, "indirect beyond the ring", |port| {
        indirect(port, 16 * 257, 0, 0)
    }),
    breaks(15, "indirect of 65535", |port| {
        indirect(port, 16 * 65_535, 0, 0)
    }),
    scene(
        16,
        "indirect not negotiated",
        Outcome::Break(TRANSMIT),
        |stage| {
            let mut port = stage.front_end().without(features::INDIRECT).start()?;
            indirect(&mut port, 16, 0, 0)?;
            Ok(port.into())
        },
    ),
    works(23, "buffers over the rings, sent", over_the_rings),
    scene(
        23,
        "buffers over the ring, received in",
        Outcome::Works,
        receives_over_the_ring,
    ),
    scene(
        24,
        "mergeable buffers of a byte",
        Outcome::Break(RECEIVE),
        |stage| small_buffers(stage, 1),
    ),
    scene(
        24,
        "mergeable buffers below a header",
        Outcome::Break(RECEIVE),
        |stage| small_buffers(stage, 11),
    ),
    scene(
        24,
        "buffers below a frame",
        Outcome::DropToGuest("buffer-too-small"),
        |stage| {
            let without = stage.front_end().without(features::MRG_RXBUF);
            let mut port = without.buffers(Buffers::of(64)).start()?;
            stage
                .wire
                .send(&Frame::plain(60, 1).to_mac([2, 0, 0, 0, 0, 0x99]))?;
            assert!(port.receive(Duration::from_millis(20))?.is_none());
            Ok(Left {
                frames: 1,
                session: None,
                port: None,
            })
        },
    ),
];
