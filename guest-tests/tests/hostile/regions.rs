//! A4: memory tables, and files that are not what they were said to be.

use std::fs::File;
use std::os::fd::AsFd;
use std::time::Duration;

use guest_tests::Result;
use guest_tests::front_end::raw::{NEED_REPLY, REQUEST, RawSession, message, request};
use guest_tests::front_end::{Flood, Frame, GUEST_BASE, Port};
use rustix::fs::{MemfdFlags, ftruncate, memfd_create};

use crate::row::{Left, Outcome, Row, closes, refuses, scene, works};
use crate::socket::{GET_INFLIGHT_FD, addresses, granted, refused, state};
use crate::stage::{HOST_MAC, SOON, Stage, TRANSMIT};

/// A region: guest address, length, front-end address, offset.
type Numbers = [u64; 4];

const PAGE: u64 = 4096;
const LEN: u64 = 16 * PAGE;
const USER: u64 = 0x7f00_0000_0000;
const GOOD: Numbers = [0, LEN, USER, 0];

/// The body of SET_MEM_TABLE.
pub(crate) fn body(regions: &[Numbers]) -> Vec<u8> {
    let count = u32::try_from(regions.len()).unwrap_or(u32::MAX);
    let mut body = state(count, 0);
    body.extend(
        regions
            .iter()
            .flatten()
            .flat_map(|number| number.to_ne_bytes()),
    );
    body
}

fn memfd(len: u64) -> File {
    let file = memfd_create("hostile", MemfdFlags::CLOEXEC).expect("a memory file");
    ftruncate(&file, len).expect("a length");
    File::from(file)
}

/// Asks for these regions, each in a file of this length.
fn table(port: &mut Port, regions: &[Numbers], len: u64) -> Result<()> {
    let file = memfd(len);
    let fds = vec![file.as_fd(); regions.len()];
    refused(port, request::SET_MEM_TABLE, &body(regions), &fds)
}

/// Regions next to each other.
fn several(count: u64) -> Vec<Numbers> {
    let place = |at| [at * LEN, LEN, USER + at * LEN, 0];
    (0..count).map(place).collect()
}

/// The table that the port has.
fn own(port: &mut Port) -> (Vec<u8>, File) {
    let region = port.memory().region();
    let numbers = [
        region.guest_phys_addr,
        region.memory_size,
        region.userspace_addr,
        0,
    ];
    let file = port.memory().file().try_clone().expect("a descriptor");
    (body(&[numbers]), file)
}

fn bad_counts(port: &mut Port) -> Result<()> {
    table(port, &several(0), LEN)?;
    table(port, &several(9), LEN)?;
    table(port, &several(33), LEN)?;
    let mut one_bad = several(8);
    one_bad[7][1] = 0;
    table(port, &one_bad, LEN)
}

fn bad_places(port: &mut Port) -> Result<()> {
    for regions in [
        vec![GOOD, [LEN - PAGE, LEN, USER + LEN, 0]],
        vec![GOOD, [LEN, LEN, USER + PAGE, 0]],
        vec![GOOD, GOOD],
        vec![[0, 0, USER, 0]],
        vec![[0, 1 << 63, USER, 0]],
        vec![[u64::MAX - 4095, 2 * PAGE, USER, 0]],
        vec![[0, 2 * PAGE, u64::MAX - 4095, 0]],
        vec![[0, 2 * PAGE, USER, u64::MAX - 4095]],
        vec![[0, PAGE + 1, USER, 0]],
        vec![[0, PAGE, USER, 1]],
    ] {
        table(port, &regions, LEN)?;
    }
    Ok(())
}

fn bad_files(port: &mut Port) -> Result<()> {
    table(port, &[GOOD], LEN - PAGE)?;
    table(port, &[[0, LEN, USER, PAGE]], LEN)?;
    table(port, &[GOOD], 0)?;
    let (one, _two) = std::os::unix::net::UnixStream::pair().expect("a pair");
    let read_only = File::open("/proc/self/exe").expect("it can be read");
    let null = crate::socket::null();
    for fd in [one.as_fd(), null.as_fd(), read_only.as_fd()] {
        refused(port, request::SET_MEM_TABLE, &body(&[GOOD]), &[fd])?;
    }
    Ok(())
}

/// The same table again and again, and the same size of a ring that stands.
fn repeated(port: &mut Port) -> Result<()> {
    let (table, file) = own(port);
    assert_eq!(port.stop_ring(TRANSMIT)?, 0);
    for _ in 0..100 {
        let set = granted(port.raw(), request::SET_MEM_TABLE, &table, &[file.as_fd()])?;
        assert!(set, "the table it has");
        assert!(granted(
            port.raw(),
            request::SET_VRING_NUM,
            &state(1, 256),
            &[]
        )?);
    }
    port.stop_ring(0)?;
    port.start_pair(0)
}

/// The same table from another thread, while the ring is as busy as it can be.
fn replaced_under_load(port: &mut Port) -> Result<()> {
    let (table, file) = own(port);
    let socket = port.raw().stream().try_clone().expect("a descriptor");
    let mut session = RawSession::from(socket);
    let flooded = std::thread::scope(|scope| {
        let replacing = scope.spawn(move || -> Result<()> {
            for _ in 0..50 {
                session.send_with(
                    &message(request::SET_MEM_TABLE, NEED_REPLY, &table),
                    &[file.as_fd()],
                )?;
                assert_eq!(session.reply(SOON)?.number(), Some(0));
            }
            Ok(())
        });
        let flooded = port.flood(&Flood::new(Frame::plain(1500, 1).to_mac(HOST_MAC)).frames(2000));
        replacing.join().expect("no panic")?;
        flooded
    })?;
    assert_eq!(
        flooded.frames, 2000,
        "each frame is completed, and in order"
    );
    Ok(())
}

/// A table under which there is nothing where the rings were.
fn taken_away(stage: &Stage) -> Result<Left> {
    let mut port = stage.port()?;
    for _ in 0..8 {
        port.send(&Frame::plain(60, 1))?;
    }
    let file = memfd(LEN);
    let other = body(&[[GUEST_BASE << 4, LEN, USER, 0]]);
    assert!(granted(
        port.raw(),
        request::SET_MEM_TABLE,
        &other,
        &[file.as_fd()]
    )?);
    for ring in [0, TRANSMIT] {
        port.ring(ring)?.kick();
    }
    Ok(port.into())
}

/// A file of nothing under rings that run.
fn cut_short(stage: &Stage) -> Result<Left> {
    let before = stage.count(crate::stage::HOSTILE, "lost_memories")?;
    let mut port = stage.port()?;
    ftruncate(port.memory().file(), 0).expect("it is ours");
    port.ring(TRANSMIT)?.kick();
    assert!(port.raw().is_closed(SOON)?, "the session is closed");
    stage.counts("lost memories", before + 1, |stage| {
        stage.count(crate::stage::HOSTILE, "lost_memories")
    })?;
    Ok(port.into())
}

/// The same, met by a frame for the guest.
fn cut_short_for_a_frame(stage: &Stage) -> Result<Left> {
    let mut port = stage.port()?;
    ftruncate(port.memory().file(), 0).expect("it is ours");
    assert!(stage.wire.send(&Frame::plain(1000, 1))?);
    Ok(port.into())
}

/// The same, met by whoever sets up a ring.
fn cut_short_for_a_setup(stage: &Stage) -> Result<Left> {
    let mut port = stage.port()?;
    let layout = port.ring(TRANSMIT)?.layout();
    let parts = [layout.desc, layout.used, layout.avail];
    let parts = parts.map(|addr| port.memory().user_address(addr));
    assert_eq!(port.stop_ring(TRANSMIT)?, 0);
    ftruncate(port.memory().file(), 0).expect("it is ours");
    let set = message(request::SET_VRING_ADDR, REQUEST, &addresses(1, parts));
    port.raw().send(&set)?;
    Ok(port.into())
}

/// The same while frames are copied out of it as fast as they can be.
fn cut_short_under_load(stage: &Stage) -> Result<Left> {
    let mut port = stage.front_end().largest(65_550).start()?;
    let file = port.memory().file().try_clone().expect("a descriptor");
    std::thread::scope(|scope| {
        scope.spawn(move || {
            std::thread::sleep(Duration::from_millis(3));
            ftruncate(&file, 0).expect("it is ours");
        });
        let frame = Frame::plain(9000, 1).to_mac(HOST_MAC);
        let flood = Flood::new(frame).lasting(Duration::from_millis(20));
        // What this thread sees of its own memory is as empty, so it may fail at any point.
        let _ = port.flood(&flood.patience(Duration::from_millis(20)));
    });
    port.ring(TRANSMIT)?.kick();
    Ok(port.into())
}

pub(crate) const ROWS: &[Row] = &[
    works(59, "tables and sizes again and again", repeated),
    closes(59, "inflight memory that is not offered", |session| {
        session.send(&message(GET_INFLIGHT_FD, REQUEST, &[0; 24]))
    }),
    refuses(61, "0, 9 and 33 regions, and one bad one of 8", bad_counts),
    refuses(62, "regions that overlap, overflow, are empty", bad_places),
    refuses(63, "regions beyond their file, and no files", bad_files),
    scene(64, "file cut short", Outcome::Close, cut_short),
    scene(
        64,
        "file cut short, met by a frame",
        Outcome::Close,
        cut_short_for_a_frame,
    ),
    scene(
        64,
        "file cut short, met by a setup",
        Outcome::Close,
        cut_short_for_a_setup,
    ),
    scene(
        64,
        "file cut short under load",
        Outcome::Close,
        cut_short_under_load,
    ),
    works(65, "table replaced under load", replaced_under_load),
    scene(
        66,
        "memory of the rings taken away",
        Outcome::BreakAll,
        taken_away,
    ),
];
