//! A4: the vhost-user socket, but for memory tables.

use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use guest_tests::Result;
use guest_tests::front_end::Port;
use guest_tests::front_end::raw::{
    MOST_DESCRIPTORS, NEED_REPLY, REQUEST, RawSession, header, message, request,
};

use crate::row::{Left, Outcome, Row, closes, refuses, scene};
use crate::stage::{SOON, Stage};

/// Requests that are not offered.
const SET_LOG_BASE: u32 = 6;
const SET_LOG_FD: u32 = 7;
const GET_CONFIG: u32 = 24;
pub(crate) const GET_INFLIGHT_FD: u32 = 31;
const SET_VRING_ERR: u32 = 14;
/// A request that there is not.
const UNKNOWN: u32 = 4711;
const REPLY_ACK: u64 = 1 << 3;
const LOG_ALL: u64 = 1 << 26;
/// In the body of a ring's event: there is no descriptor.
const NONE: u64 = 0x100;

/// The body of a message that names a ring and a number.
pub(crate) fn state(ring: u32, number: u32) -> Vec<u8> {
    [ring, number].map(u32::to_ne_bytes).concat()
}

/// The body of SET_VRING_ADDR: descriptors, used, available.
pub(crate) fn addresses(ring: u32, parts: [u64; 3]) -> Vec<u8> {
    let [desc, used, avail] = parts;
    let mut body = state(ring, 0);
    body.extend(
        [desc, used, avail, 0]
            .iter()
            .flat_map(|part| part.to_ne_bytes()),
    );
    body
}

/// Asks for what cannot be granted.
pub(crate) fn refused(
    port: &mut Port,
    code: u32,
    body: &[u8],
    fds: &[BorrowedFd<'_>],
) -> Result<()> {
    refused_raw(port.raw(), code, body, fds)
}

pub(crate) fn refused_raw(
    session: &mut RawSession,
    code: u32,
    body: &[u8],
    fds: &[BorrowedFd<'_>],
) -> Result<()> {
    let granted = granted(session, code, body, fds)?;
    assert!(!granted, "request {code} of {body:?} is granted");
    Ok(())
}

pub(crate) fn granted(
    session: &mut RawSession,
    code: u32,
    body: &[u8],
    fds: &[BorrowedFd<'_>],
) -> Result<bool> {
    session.send_with(&message(code, NEED_REPLY, body), fds)?;
    let answer = session.reply(SOON)?;
    assert_eq!(answer.request, code);
    Ok(answer.number() == Some(0))
}

pub(crate) fn null() -> File {
    File::open("/dev/null").expect("there is one")
}

/// A session whose requests are acknowledged, and nothing else.
pub(crate) fn acknowledging(stage: &Stage) -> Result<RawSession> {
    let mut session = RawSession::connect(&stage.socket())?;
    session.ask(request::GET_FEATURES, REQUEST, &[])?;
    let wanted = REPLY_ACK.to_ne_bytes();
    session.send(&message(request::SET_PROTOCOL_FEATURES, REQUEST, &wanted))?;
    Ok(session)
}

fn sends(session: &mut RawSession, code: u32, body: &[u8]) -> Result<()> {
    session.send(&message(code, REQUEST, body))
}

fn one_byte_at_a_time(stage: &Stage) -> Result<Left> {
    let mut session = RawSession::connect(&stage.socket())?;
    let bytes = message(request::SET_FEATURES, REQUEST, &[0; 8]);
    for byte in &bytes {
        if session.is_closed(Duration::from_millis(300))? {
            return Ok(session.into());
        }
        // It may close at this very moment.
        let _ = session.send(&[*byte]);
    }
    panic!(
        "{} bytes in six seconds are taken for a message",
        bytes.len()
    );
}

fn disconnects(stage: &Stage) -> Result<Left> {
    let null = null();
    for cut in [1, 11, 12, 13, 19] {
        let session = RawSession::connect(&stage.socket())?;
        let bytes = message(request::SET_VRING_CALL, REQUEST, &[0; 8]);
        session.send_with(&bytes[..cut], &[null.as_fd()])?;
        drop(session);
    }
    Ok(Left::default())
}

fn together_and_in_pieces(stage: &Stage) -> Result<Left> {
    let mut session = RawSession::connect(&stage.socket())?;
    let ask = message(request::GET_FEATURES, REQUEST, &[]);
    session.send(&[ask.clone(), ask.clone()].concat())?;
    let (first, second) = (session.reply(SOON)?, session.reply(SOON)?);
    assert_eq!(first, second);
    for piece in ask.chunks(5) {
        session.send(piece)?;
        std::thread::sleep(Duration::from_millis(2));
    }
    assert_eq!(session.reply(SOON)?, first);
    Ok(Left::default())
}

fn with_descriptors(session: &RawSession, code: u32, body: &[u8], count: usize) -> Result<()> {
    let null = null();
    session.send_with(&message(code, REQUEST, body), &vec![null.as_fd(); count])
}

fn no_descriptors(port: &mut Port) -> Result<()> {
    for code in [
        request::SET_VRING_KICK,
        request::SET_VRING_CALL,
        SET_VRING_ERR,
    ] {
        refused(port, code, &1_u64.to_ne_bytes(), &[])?;
    }
    // Such a ring would have to be polled for ever.
    refused(
        port,
        request::SET_VRING_KICK,
        &(1 | NONE).to_ne_bytes(),
        &[],
    )?;
    refused(
        port,
        request::SET_MEM_TABLE,
        &crate::regions::body(&[[0, 4096, 4096, 0]]),
        &[],
    )?;
    let call = (1 | NONE).to_ne_bytes();
    assert!(granted(port.raw(), request::SET_VRING_CALL, &call, &[])?);
    // Its call is given back, so that the guest can be served again.
    port.stop_ring(0)?;
    port.stop_ring(1)?;
    port.start_pair(0)
}

fn rings_there_are_not(port: &mut Port) -> Result<()> {
    let null = null();
    for ring in [2_u32, 255, 256, 65_536, 65_537, u32::MAX] {
        for code in [
            request::SET_VRING_NUM,
            request::SET_VRING_BASE,
            request::SET_VRING_ENABLE,
        ] {
            refused(port, code, &state(ring, 1), &[])?;
        }
        refused(port, request::SET_VRING_ADDR, &addresses(ring, [0; 3]), &[])?;
    }
    for ring in [2_u64, 255, 1 << 16, 1 << 32] {
        refused(
            port,
            request::SET_VRING_CALL,
            &ring.to_ne_bytes(),
            &[null.as_fd()],
        )?;
    }
    Ok(())
}

fn orders(stage: &Stage) -> Result<Left> {
    let mut session = acknowledging(stage)?;
    let ask = |session: &mut RawSession, code, body: &[u8]| granted(session, code, body, &[]);
    assert!(!ask(
        &mut session,
        request::SET_VRING_ADDR,
        &addresses(0, [4096, 8192, 12_288])
    )?);
    assert!(
        ask(&mut session, request::SET_VRING_ENABLE, &state(0, 1))?,
        "kept until then"
    );
    let kick = null();
    refused_raw(
        &mut session,
        request::SET_VRING_KICK,
        &[0; 8],
        &[kick.as_fd()],
    )?;
    let offered = session.ask(request::GET_FEATURES, REQUEST, &[])?;
    let features = offered.number().expect("a number").to_ne_bytes();
    for _ in 0..2 {
        assert!(
            ask(&mut session, request::SET_FEATURES, &features)?,
            "twice is once"
        );
    }
    assert!(!ask(
        &mut session,
        request::SET_FEATURES,
        &u64::MAX.to_ne_bytes()
    )?);
    assert!(ask(&mut session, request::SET_OWNER, &[])?);
    assert!(
        !ask(&mut session, request::SET_OWNER, &[])?,
        "it has an owner"
    );
    Ok(Left::default())
}

fn too_late(port: &mut Port) -> Result<()> {
    refused(port, request::SET_VRING_BASE, &state(1, 9), &[])?;
    let other = (port.features() & !(1 << 29)).to_ne_bytes();
    refused(port, request::SET_FEATURES, &other, &[])
}

fn owned_again(stage: &Stage) -> Result<Left> {
    for _ in 0..3 {
        let mut session = acknowledging(stage)?;
        assert!(granted(&mut session, request::SET_OWNER, &[], &[])?);
    }
    Ok(Left::default())
}

fn a_second_one(stage: &Stage) -> Result<Left> {
    let port = stage.port()?;
    for _ in 0..20 {
        let mut second = RawSession::connect(&stage.socket())?;
        assert!(second.is_closed(SOON)?, "the second one is sent away");
    }
    Ok(port.into())
}

fn dirty_log(port: &mut Port) -> Result<()> {
    let null = null();
    refused(port, SET_LOG_FD, &[0; 8], &[null.as_fd()])?;
    let logged = (port.features() | LOG_ALL).to_ne_bytes();
    refused(port, request::SET_FEATURES, &logged, &[])
}

pub(crate) const ROWS: &[Row] = &[
    closes(52, "garbage", |session| session.send(&[0xa5; 64])),
    closes(52, "a size that is not the type's", |session| {
        sends(session, request::SET_FEATURES, &[0; 4])
    }),
    closes(52, "no body where one belongs", |session| {
        sends(session, request::SET_MEM_TABLE, &[])
    }),
    closes(52, "a body of 4097 bytes", |session| {
        session.send(&header(request::SET_FEATURES, REQUEST, 4097))
    }),
    closes(52, "a body of 4 GiB", |session| {
        session.send(&header(request::SET_FEATURES, REQUEST, u32::MAX))
    }),
    closes(52, "version 2", |session| {
        session.send(&header(request::GET_FEATURES, 2, 0))
    }),
    closes(52, "reserved flags", |session| {
        session.send(&header(request::GET_FEATURES, 0x8000_0001, 0))
    }),
    closes(52, "a reply as request", |session| {
        session.send(&header(request::GET_FEATURES, 5, 0))
    }),
    closes(53, "an unknown request", |session| {
        sends(session, UNKNOWN, &[])
    }),
    refuses(53, "an unknown request that wants a reply", |port| {
        refused(port, UNKNOWN, &[], &[])
    }),
    closes(54, "a header and silence", |session| {
        session.send(&header(request::SET_FEATURES, REQUEST, 8))?;
        assert!(
            !session.is_closed(Duration::from_secs(1))?,
            "it has some time"
        );
        Ok(())
    })
    .slow(),
    scene(
        54,
        "a byte now and then",
        Outcome::Close,
        one_byte_at_a_time,
    )
    .slow(),
    scene(55, "hang-ups in the middle", Outcome::Works, disconnects),
    scene(
        56,
        "messages together and in pieces",
        Outcome::Works,
        together_and_in_pieces,
    ),
    closes(57, "253 descriptors", |session| {
        with_descriptors(session, request::SET_MEM_TABLE, &[0; 8], MOST_DESCRIPTORS)
    }),
    closes(57, "a descriptor where none belongs", |session| {
        with_descriptors(session, request::GET_FEATURES, &[], 1)
    }),
    closes(57, "one more than expected", |session| {
        with_descriptors(session, request::SET_VRING_CALL, &[0; 8], 2)
    }),
    closes(57, "descriptors in the middle", |session| {
        let null = null();
        let bytes = message(request::SET_FEATURES, REQUEST, &[0; 8]);
        session.send(&bytes[..12])?;
        session.send_with(&bytes[12..], &[null.as_fd(); 3])
    }),
    refuses(58, "no descriptor", no_descriptors),
    refuses(60, "rings that there are not", rings_there_are_not),
    closes(60, "base of a ring that there is not", |session| {
        sends(session, request::GET_VRING_BASE, &state(65_536, 0))
    }),
    scene(
        67,
        "what comes too early, and twice",
        Outcome::Works,
        orders,
    ),
    refuses(67, "what comes too late", too_late),
    scene(68, "an owner for each session", Outcome::Works, owned_again),
    scene(
        69,
        "twenty second connections",
        Outcome::Works,
        a_second_one,
    ),
    closes(70, "configuration that is not offered", |session| {
        let body = [u32::MAX, 12, 0].map(u32::to_ne_bytes).concat();
        sends(session, GET_CONFIG, &[body, vec![0; 12]].concat())
    }),
    closes(71, "a dirty log that is not offered", |session| {
        sends(session, SET_LOG_BASE, &[0xff; 16])
    }),
    refuses(71, "its event and its feature", dirty_log),
];
