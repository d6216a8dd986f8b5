//! The messages that the adapter answers by itself, seen from outside: what they ask for is done.

use std::time::{Duration, Instant};

use guest_tests::Result;
use guest_tests::front_end::Lab;
use guest_tests::front_end::raw::{NEED_REPLY, REQUEST, RawSession, message, request};

const SOON: Duration = Duration::from_secs(2);
/// MQ, RARP, REPLY_ACK, MTU and STATUS (vhost-user specification, "Protocol features").
const PROTOCOL_FEATURES: u64 = 1 << 0 | 1 << 2 | 1 << 3 | 1 << 4 | 1 << 16;
const NO_ARGS: [&str; 0] = [];
const GUEST: [u8; 6] = [0x02, 0x4e, 0x51, 0, 0, 7];

fn negotiated(lab: &Lab) -> Result<RawSession> {
    let mut session = RawSession::connect(&lab.socket())?;
    session.ask(request::GET_FEATURES, REQUEST, &[])?;
    let offered = session.ask(request::GET_PROTOCOL_FEATURES, REQUEST, &[])?;
    let offered = offered.number().expect("a number");
    assert_eq!(
        offered & PROTOCOL_FEATURES,
        PROTOCOL_FEATURES,
        "{offered:#x}"
    );
    let wanted = PROTOCOL_FEATURES.to_ne_bytes();
    session.send(&message(request::SET_PROTOCOL_FEATURES, REQUEST, &wanted))?;
    Ok(session)
}

#[test]
fn an_announcement_is_really_sent() -> Result<()> {
    let lab = Lab::new(NO_ARGS)?;
    let mut session = negotiated(&lab)?;
    let mut body = [0; 8];
    body[..6].copy_from_slice(&GUEST);
    let reply = session.ask(request::SEND_RARP, NEED_REPLY, &body)?;
    assert_eq!(reply.number(), Some(0));
    let frame = lab.wire.receive(SOON)?.expect("the announcement").bytes;
    assert_eq!(frame[..6], [0xff; 6], "to everybody");
    assert_eq!(frame[6..12], GUEST);
    // EtherType RARP, operation "request reverse" (RFC 903).
    assert_eq!(
        (&frame[12..14], &frame[20..22]),
        (&[0x80, 0x35][..], &[0, 3][..])
    );
    assert_eq!((&frame[22..28], &frame[32..38]), (&GUEST[..], &GUEST[..]));
    Ok(())
}

#[test]
fn the_guests_mtu_becomes_the_taps_up_to_the_bound() -> Result<()> {
    let lab = Lab::new(NO_ARGS)?;
    let mut session = negotiated(&lab)?;
    for (mtu, granted) in [(1400_u64, true), (67, false), (65_522, false), (9000, true)] {
        let reply = session.ask(request::NET_SET_MTU, NEED_REPLY, &mtu.to_ne_bytes())?;
        assert_eq!(reply.number() == Some(0), granted, "MTU {mtu}");
        if granted {
            let deadline = Instant::now() + SOON;
            let wanted = format!(" mtu {mtu} ");
            while !lab.namespace.ip("link show tap1")?.contains(&wanted) {
                assert!(Instant::now() < deadline, "the tap's MTU is not {mtu}");
                std::thread::sleep(Duration::from_millis(10));
            }
        }
    }
    Ok(())
}

#[test]
fn the_number_of_rings_and_the_status_are_answered() -> Result<()> {
    let lab = Lab::new(["--queues", "3"])?;
    let mut session = negotiated(&lab)?;
    let reply = session.ask(request::GET_QUEUE_NUM, REQUEST, &[])?;
    assert_eq!(reply.number(), Some(6));
    for status in [0_u64, 1, 3, 11] {
        let set = session.ask(request::SET_STATUS, NEED_REPLY, &status.to_ne_bytes())?;
        assert_eq!(set.number(), Some(0));
        let reply = session.ask(request::GET_STATUS, REQUEST, &[])?;
        assert_eq!(reply.number(), Some(status));
    }
    Ok(())
}
