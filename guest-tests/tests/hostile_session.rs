//! Front-ends that misuse the socket: the session closes, and the next honest one is served as if nothing had been.

use std::os::fd::AsFd;
use std::time::Duration;

use guest_tests::Result;
use guest_tests::front_end::raw::{
    MOST_DESCRIPTORS, NEED_REPLY, REQUEST, RawSession, header, message, request,
};
use guest_tests::front_end::{Frame, Lab};

const SOON: Duration = Duration::from_secs(2);
/// More than the two seconds that a message may take.
const DEADLINE: Duration = Duration::from_secs(4);
const NO_ARGS: [&str; 0] = [];

/// Runs the misuse, expects the session to close, and then that an honest one works and that no
/// descriptor and no thread is left.
fn closes(misuse: impl Fn(&mut RawSession) -> Result<()>) -> Result<()> {
    let lab = Lab::new(NO_ARGS)?;
    let base = usage(&lab)?;
    for _ in 0..5 {
        let mut session = RawSession::connect(&lab.socket())?;
        misuse(&mut session)?;
        assert!(session.is_closed(DEADLINE)?, "the session stays open");
        drop(session);
        serves(&lab)?;
        comes_to_rest(&lab, base)?;
    }
    Ok(())
}

/// An honest session carries a frame each way.
fn serves(lab: &Lab) -> Result<()> {
    let mut port = lab.front_end().start()?;
    let frame = Frame::plain(100, 1);
    port.send(&frame)?;
    assert_eq!(
        lab.wire.receive(SOON)?.expect("it arrives").bytes,
        frame.bytes
    );
    assert!(lab.wire.send(&frame)?);
    assert_eq!(port.receive(SOON)?.expect("it arrives").bytes, frame.bytes);
    Ok(())
}

fn usage(lab: &Lab) -> Result<(usize, usize)> {
    let usage = lab.daemon.usage()?;
    Ok((usage.descriptors, usage.threads))
}

/// Waits until the daemon holds no more than this, so that nothing is left of the last session.
fn comes_to_rest(lab: &Lab, base: (usize, usize)) -> Result<()> {
    let deadline = std::time::Instant::now() + SOON;
    while usage(lab)? != base {
        let late = std::time::Instant::now() > deadline;
        assert!(!late, "{:?} instead of {base:?}", usage(lab)?);
        std::thread::sleep(Duration::from_millis(5));
    }
    Ok(())
}

#[test]
fn row_52_garbage_closes() -> Result<()> {
    closes(|session| session.send(&[0xa5; 64]))
}

#[test]
fn row_52_a_body_of_another_size_closes() -> Result<()> {
    closes(|session| session.send(&message(request::SET_FEATURES, REQUEST, &[0; 4])))
}

#[test]
fn row_52_a_body_beyond_all_bounds_closes() -> Result<()> {
    closes(|session| session.send(&header(request::SET_FEATURES, REQUEST, u32::MAX)))
}

#[test]
fn row_52_another_version_closes() -> Result<()> {
    closes(|session| session.send(&message(request::GET_FEATURES, 2, &[])))
}

#[test]
fn row_53_an_unknown_request_closes() -> Result<()> {
    closes(|session| session.send(&message(4711, REQUEST, &[])))
}

#[test]
fn row_54_a_header_and_then_silence_closes_in_time() -> Result<()> {
    let lab = Lab::new(NO_ARGS)?;
    let mut session = RawSession::connect(&lab.socket())?;
    session.send(&header(request::SET_FEATURES, REQUEST, 8))?;
    assert!(!session.is_closed(Duration::from_secs(1))?);
    assert!(session.is_closed(DEADLINE)?);
    serves(&lab)
}

#[test]
fn row_55_half_a_payload_and_a_hang_up_is_survived() -> Result<()> {
    let lab = Lab::new(NO_ARGS)?;
    let base = usage(&lab)?;
    for cut in [1, 11, 12, 13, 19] {
        let session = RawSession::connect(&lab.socket())?;
        let bytes = message(request::SET_FEATURES, REQUEST, &[0; 8]);
        session.send(&bytes[..cut])?;
        drop(session);
        serves(&lab)?;
        comes_to_rest(&lab, base)?;
    }
    Ok(())
}

#[test]
fn row_56_messages_may_come_together_or_in_pieces() -> Result<()> {
    let lab = Lab::new(NO_ARGS)?;
    let mut session = RawSession::connect(&lab.socket())?;
    let ask = message(request::GET_FEATURES, REQUEST, &[]);
    session.send(&[ask.clone(), ask.clone()].concat())?;
    let (first, second) = (session.reply(SOON)?, session.reply(SOON)?);
    assert_eq!(first, second);
    for piece in ask.chunks(5) {
        session.send(piece)?;
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(session.reply(SOON)?, first);
    Ok(())
}

#[test]
fn row_57_the_most_descriptors_there_can_be_close() -> Result<()> {
    let null = std::fs::File::open("/dev/null").expect("there is one");
    let fds = vec![null.as_fd(); MOST_DESCRIPTORS];
    closes(|session| session.send_with(&message(request::SET_MEM_TABLE, REQUEST, &[0; 8]), &fds))
}

#[test]
fn row_57_a_descriptor_where_none_belongs_closes() -> Result<()> {
    let null = std::fs::File::open("/dev/null").expect("there is one");
    let fds = [null.as_fd()];
    closes(|session| session.send_with(&message(request::GET_FEATURES, REQUEST, &[]), &fds))
}

#[test]
fn row_60_a_ring_that_there_is_not_is_refused() -> Result<()> {
    let lab = Lab::new(NO_ARGS)?;
    let mut port = lab.front_end().start()?;
    for index in [2_u32, 256, 65_536, u32::MAX] {
        let body = [index, 64].map(u32::to_ne_bytes).concat();
        let answer = port.raw().ask(request::SET_VRING_NUM, NEED_REPLY, &body)?;
        assert_ne!(answer.number(), Some(0), "ring {index}");
    }
    drop(port);
    serves(&lab)
}

#[test]
fn row_69_a_second_connection_is_refused_and_the_first_goes_on() -> Result<()> {
    let lab = Lab::new(NO_ARGS)?;
    let mut port = lab.front_end().start()?;
    let mut second = RawSession::connect(&lab.socket())?;
    assert!(second.is_closed(SOON)?);
    let frame = Frame::plain(100, 1);
    port.send(&frame)?;
    assert_eq!(
        lab.wire.receive(SOON)?.expect("it arrives").bytes,
        frame.bytes
    );
    Ok(())
}
