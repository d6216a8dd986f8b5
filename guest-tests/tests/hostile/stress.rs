//! All of it at random: messages and ring contents that are wrong in ways nobody has thought of.
//!
//! `NETQOS_HOSTILE_MESSAGES` and `NETQOS_HOSTILE_EVENTS` say how many there are to be, in place of a smoke's;
//! the seed is printed, and `NETQOS_HOSTILE_SEED` does the same again.

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use ::ring::driver::{DESC_INDIRECT, DESC_NEXT};
use guest_tests::Result;
use guest_tests::front_end::raw::{NEED_REPLY, REQUEST, RawSession, message, request};
use guest_tests::front_end::{Frame, Port};
use rustix::event::{EventfdFlags, eventfd};
use rustix::fs::{MemfdFlags, ftruncate, memfd_create};

use crate::chance::{Chance, setting};
use crate::log;
use crate::neighbour::Neighbour;
use crate::ring::{AT, SIZE};
use crate::socket::{addresses, state};
use crate::stage::{HONEST, HOSTILE, Stage};

const MESSAGES: u64 = 20_000;
const EVENTS: u64 = 1_000_000;
const GROWTH: u64 = 1 << 20;
/// The front-end address and length of what the random sessions share.
const USER: u64 = 0x7f00_0000_0000;
const LEN: u64 = 0x10_0000;
/// To whoever is behind the hostile port.
const STRANGER: [u8; 6] = [2, 0, 0, 0, 0, 0x99];

/// Descriptors to pass, right and wrong ones.
struct Descriptors {
    memory: File,
    event: std::os::fd::OwnedFd,
    null: File,
    socket: UnixStream,
}

impl Descriptors {
    fn new() -> Self {
        let memory = memfd_create("chance", MemfdFlags::CLOEXEC).expect("a memory file");
        ftruncate(&memory, LEN).expect("a length");
        Self {
            memory: File::from(memory),
            event: eventfd(0, EventfdFlags::NONBLOCK).expect("an event"),
            null: crate::socket::null(),
            socket: UnixStream::pair().expect("a pair").0,
        }
    }
}

/// A request with its body and descriptors, mostly one that is nearly right.
fn some_request<'a>(
    chance: &mut Chance,
    fds: &'a Descriptors,
) -> (u32, Vec<u8>, Vec<BorrowedFd<'a>>) {
    let (memory, event) = (fds.memory.as_fd(), fds.event.as_fd());
    let ring = u32::try_from(chance.below(2)).unwrap_or(0);
    let base = USER + u64::from(ring) * 0x4000;
    let wild = chance.once_in(8);
    let index = if wild { chance.word() } else { ring };
    match chance.below(14) {
        0 => (
            request::SET_MEM_TABLE,
            crate::regions::body(&[[0, LEN, USER, 0]]),
            vec![memory],
        ),
        1 => {
            let number = u64::from(chance.word()) * 4096;
            let other = chance.of(&[
                [number, LEN, USER, 0],
                [0, number, USER, 0],
                [0, LEN, number, number],
            ]);
            (
                request::SET_MEM_TABLE,
                crate::regions::body(&[other]),
                vec![memory],
            )
        }
        2 => (
            request::SET_VRING_NUM,
            state(index, if wild { chance.word() } else { 256 }),
            vec![],
        ),
        3 => (request::SET_VRING_BASE, state(index, chance.word()), vec![]),
        4 => {
            let parts = [base, base + 0x2000, base + 0x1000];
            let odd = parts.map(|part| {
                if wild {
                    part ^ u64::from(chance.word())
                } else {
                    part
                }
            });
            (request::SET_VRING_ADDR, addresses(index, odd), vec![])
        }
        5 => (
            request::SET_VRING_KICK,
            u64::from(index).to_ne_bytes().to_vec(),
            vec![event],
        ),
        6 => (
            request::SET_VRING_CALL,
            u64::from(index).to_ne_bytes().to_vec(),
            vec![event],
        ),
        7 => (request::SET_VRING_ENABLE, state(index, ring), vec![]),
        8 => (request::GET_VRING_BASE, state(ring, 0), vec![]),
        9 => (
            request::SET_FEATURES,
            (1_u64 << 32 | 1 << 30).to_ne_bytes().to_vec(),
            vec![],
        ),
        10 => (
            request::SET_STATUS,
            u64::from(chance.word()).to_ne_bytes().to_vec(),
            vec![],
        ),
        11 => (
            request::SEND_RARP,
            chance.next().to_ne_bytes().to_vec(),
            vec![],
        ),
        12 => (
            chance.of(&[
                request::GET_FEATURES,
                request::GET_QUEUE_NUM,
                request::GET_STATUS,
            ]),
            vec![],
            vec![],
        ),
        _ => (
            request::NET_SET_MTU,
            u64::from(chance.word()).to_ne_bytes().to_vec(),
            vec![],
        ),
    }
}

/// The same as a message, now and then with other descriptors, flags, bits or a shorter end.
fn some_message<'a>(chance: &mut Chance, fds: &'a Descriptors) -> (Vec<u8>, Vec<BorrowedFd<'a>>) {
    let (code, body, mut passed) = some_request(chance, fds);
    let (memory, event) = (fds.memory.as_fd(), fds.event.as_fd());
    if chance.once_in(64) {
        passed.push(chance.of(&[memory, event, fds.null.as_fd(), fds.socket.as_fd()]));
    }
    if chance.once_in(32) && !passed.is_empty() {
        passed[0] = chance.of(&[memory, event, fds.null.as_fd(), fds.socket.as_fd()]);
    }
    let flags = if chance.once_in(50) {
        REQUEST
    } else {
        NEED_REPLY
    };
    let mut bytes = message(code, flags, &body);
    if chance.once_in(200) {
        let at = usize::try_from(chance.below(bytes.len() as u64)).unwrap_or(0);
        bytes[at] ^= 1 << chance.below(8);
    }
    if chance.once_in(500) {
        bytes.truncate(
            usize::try_from(chance.below(bytes.len() as u64))
                .unwrap_or(0)
                .max(1),
        );
    }
    (bytes, passed)
}

/// A session in which most messages are offered.
fn session(stage: &Stage) -> Result<RawSession> {
    let session = RawSession::connect(&stage.socket())?;
    let stream = session.stream();
    stream
        .set_write_timeout(Some(Duration::from_secs(5)))
        .expect("a timeout");
    let wanted = (1_u64 << 0 | 1 << 2 | 1 << 3 | 1 << 4 | 1 << 16).to_ne_bytes();
    session.send(&message(request::SET_PROTOCOL_FEATURES, REQUEST, &wanted))?;
    Ok(session)
}

/// Takes the replies that are there; false once the daemon has closed its end.
fn takes_replies(session: &RawSession) -> bool {
    let mut stream = session.stream();
    stream.set_nonblocking(true).expect("a mode");
    let mut bytes = [0; 4096];
    let open = loop {
        match stream.read(&mut bytes) {
            Ok(0) => break false,
            Ok(_) => {}
            Err(error) => break error.kind() == ErrorKind::WouldBlock,
        }
    };
    stream.set_nonblocking(false).expect("a mode");
    open
}

/// Runs a stress beside the honest guest, and sees that it leaves nothing behind.
fn beside_the_honest(
    what: &str,
    count: u64,
    stage: &Stage,
    stress: impl Fn(&Stage, &mut Chance, u64) -> Result<u64>,
) -> Result<()> {
    let start = Instant::now();
    let neighbour = Neighbour::new(stage.segment.front_end(HONEST).largest(2000).start()?);
    let mut chance = Chance::new(what);
    // What is set up once, and what buffers grow to, is there then.
    stage.warm_up()?;
    stress(stage, &mut chance, count / 20)?;
    stage.serves()?;
    std::thread::sleep(Duration::from_millis(50));
    let (base, memory) = (stage.held()?, stage.memory()?);
    let sessions = stress(stage, &mut chance, count)?;
    stage.serves()?;
    stage.comes_to_rest(base)?;
    let after = stage.memory_within(memory + GROWTH)?;
    neighbour.end();
    println!(
        "{count} {what} in {sessions} sessions and {:?}: {} KiB, then {} KiB; {} broken rings, {:?} frames sent and dropped; {base:?} held",
        start.elapsed(),
        memory / 1024,
        after / 1024,
        stage.count(HOSTILE, "broken_rings")?,
        stage.frames()?,
    );
    assert!(after <= memory + GROWTH, "{memory} bytes, then {after}");
    let log = stage.segment.daemon.log();
    assert!(!log.contains("panicked"), "{log}");
    log::assert_bounded(&log, start.elapsed());
    Ok(())
}

fn messages(stage: &Stage, chance: &mut Chance, count: u64) -> Result<u64> {
    let fds = Descriptors::new();
    let (mut open, mut sessions) = (session(stage)?, 1);
    for number in 0..count {
        let (bytes, passed) = some_message(chance, &fds);
        let sent = open.send_with(&bytes, &passed);
        if sent.is_err() || number.is_multiple_of(8) && !takes_replies(&open) {
            drop(open);
            // Its end may not have been seen yet: then this one is sent away and the next one taken.
            open = session(stage)?;
            sessions += 1;
        }
        if number.is_multiple_of(4096) {
            stage.wire.clear()?;
        }
    }
    Ok(sessions)
}

/// One thing that a driver writes, mostly one that makes sense.
fn some_event(chance: &mut Chance, port: &mut Port, avail: &mut [u16; 2]) -> Result<()> {
    let at = usize::try_from(chance.below(2)).unwrap_or(0);
    let queue = port.ring(at)?;
    let (used, layout) = (queue.driver().used_idx(), queue.layout());
    let random = chance.next();
    let [a, b, c, d, ..] = random.to_le_bytes();
    let (short, index) = (u16::from_le_bytes([a, b]), u16::from(c) % SIZE);
    match chance.below(64) {
        0..24 => {
            let mut flags = if at == 0 { 2 } else { 0 };
            flags |= if chance.once_in(4) { DESC_NEXT } else { 0 };
            flags ^= if chance.once_in(64) { 2 } else { 0 };
            flags |= if chance.once_in(256) {
                DESC_INDIRECT
            } else {
                0
            };
            let wild = chance.once_in(4096);
            let addr = if wild { random } else { AT + u64::from(short) };
            let len = if wild {
                chance.word()
            } else {
                u32::from(short) % 2048
            };
            let next = if wild { short } else { u16::from(d) % SIZE };
            queue.driver().raw_descriptor(index, addr, len, flags, next);
        }
        24..40 => {
            let head = if chance.once_in(8192) {
                short
            } else {
                u16::from(d) % SIZE
            };
            queue.driver().raw_avail_entry(short, head);
        }
        40..48 => {
            if chance.once_in(4096) {
                avail[at] = short;
            } else if avail[at].wrapping_sub(used) < SIZE - 8 {
                avail[at] = avail[at].wrapping_add(u16::from(d) % 8);
            }
            queue.driver().raw_avail_idx(avail[at]);
        }
        48..52 => queue.kick(),
        52..58 => {
            let place = AT + u64::from(short);
            queue
                .driver()
                .poke(place, &random.to_le_bytes())
                .expect("its own memory");
        }
        58 => queue.driver().set_used_event(short),
        59 => queue.driver().raw_avail_flags(short & 1),
        // Elements and event of the used ring: all but its index, by which this one goes.
        _ => {
            let place = layout.used + 4 + u64::from(short) % (u64::from(SIZE) * 8);
            queue.driver().poke(place, &[d]).expect("its own memory");
        }
    }
    Ok(())
}

fn is_broken(port: &mut Port) -> Result<bool> {
    Ok(port.ring(0)?.is_broken(Duration::ZERO)? || port.ring(1)?.is_broken(Duration::ZERO)?)
}

fn events(stage: &Stage, chance: &mut Chance, count: u64) -> Result<u64> {
    let (mut port, mut avail, mut sessions) =
        (stage.front_end().posting_nothing().start()?, [0; 2], 1);
    let frame = Frame::plain(1000, 1).to_mac(STRANGER);
    for number in 0..count {
        some_event(chance, &mut port, &mut avail)?;
        if number.is_multiple_of(128) && (is_broken(&mut port)? || chance.once_in(2000)) {
            drop(port);
            port = stage.front_end().posting_nothing().start()?;
            avail = [0; 2];
            sessions += 1;
        }
        if number.is_multiple_of(1024) {
            stage.wire.repeat(&frame, 4)?;
            stage.wire.clear()?;
        }
    }
    Ok(sessions)
}

#[test]
fn random_messages_leave_nothing_behind() -> Result<()> {
    let count = setting("NETQOS_HOSTILE_MESSAGES").unwrap_or(MESSAGES);
    beside_the_honest("messages", count, &Stage::new()?, messages)
}

#[test]
fn random_rings_leave_nothing_behind() -> Result<()> {
    let count = setting("NETQOS_HOSTILE_EVENTS").unwrap_or(EVENTS);
    beside_the_honest("ring events", count, &Stage::new()?, events)
}

#[test]
fn random_rings_of_a_guest_with_classes_leave_nothing_behind() -> Result<()> {
    let count = setting("NETQOS_HOSTILE_EVENTS").unwrap_or(EVENTS);
    let stage = Stage::with_classes()?;
    beside_the_honest("ring events of classes", count, &stage, events)
}
