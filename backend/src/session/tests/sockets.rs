//! The shell on real socket pairs: framing, descriptors, deadlines.

use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use rustix::fs::{OFlags, fcntl_getfl};
use rustix::io::Errno;

use super::support::*;
use crate::session::Request::*;
use crate::session::link::Link;
use crate::session::{
    CloseReason, Code, Event, Kind, MAX_DESCRIPTORS, Malformed, SessionIo, protocol,
};

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn row_54_half_a_message_ends_the_session_at_its_deadline() {
    let mut rig = Rig::new();
    assert_eq!(
        rig.io.deadline(),
        None,
        "an idle front-end has all the time there is"
    );
    let bytes = u64_of(SetFeatures, PF).encode();
    rig.send(&bytes[..12], &[]);
    let begun = rig.now;
    assert_eq!(rig.io.deadline(), Some(begun + 2 * SECOND));
    rig.now += SECOND;
    rig.send(&bytes[12..13], &[]);
    assert_eq!(
        rig.io.deadline(),
        Some(begun + 2 * SECOND),
        "a byte buys no time"
    );
    let late = begun + 2 * SECOND;
    rig.io
        .on_deadline(late - Duration::from_nanos(1), &mut rig.events);
    assert_eq!(rig.closed(), None);
    rig.io.on_deadline(late, &mut rig.events);
    assert_eq!(rig.closed(), Some(CloseReason::MessageTimeout));
}

#[test]
fn a_message_completed_in_time_clears_its_deadline() {
    let mut rig = Rig::new();
    let bytes = u64_of(SetFeatures, PF).encode();
    rig.send(&bytes[..13], &[]);
    rig.send(&bytes[13..], &[]);
    assert_eq!((rig.io.deadline(), rig.closed()), (None, None));
    assert_eq!(rig.io.session().features(), Some(PF));
}

#[test]
fn row_55_a_disconnect_closes_and_releases_the_descriptors() {
    let name = "row55";
    let message = ring_event(SetVringCall, 0).encode();
    for cut in [0, 5, 12, 15, 20] {
        let mut rig = Rig::new();
        {
            let fd = memfd(name, 4096);
            let fds = [fd.as_fd()];
            rig.send(&message[..cut], if cut == 0 { &[] } else { &fds });
        }
        drop(std::mem::replace(
            &mut rig.peer,
            UnixStream::pair().unwrap().0,
        ));
        rig.settle();
        assert!(rig.closed().is_some());
        if (1..20).contains(&cut) {
            assert_eq!(rig.closed(), Some(CloseReason::PeerClosedMidMessage(cut)));
        }
        drop(rig);
        assert_eq!(open_copies(name), 0);
    }
}

#[test]
fn row_56_messages_come_in_any_cut() {
    let one = bare(GetFeatures).encode();
    let two = u64_of(SetFeatures, PF).encode();
    let mut rig = Rig::new();
    rig.send(&[one.clone(), two.clone(), one.clone()].concat(), &[]);
    assert_eq!(rig.replies(), 2);
    let three = [one, two].concat();
    for cut in three.chunks(3) {
        rig.send(cut, &[]);
    }
    assert_eq!((rig.replies(), rig.closed()), (1, None));
}

#[test]
fn descriptors_stay_with_their_message_when_two_come_in_one_read() {
    let mut rig = Rig::new();
    send_raw(&rig.peer, &u64_of(SetFeatures, PF).encode(), &[]);
    let event = event_fd();
    rig.send(&ring_event(SetVringCall, 0).encode(), &[event.as_fd()]);
    rig.send(&bare(GetFeatures).encode(), &[]);
    assert_eq!((rig.replies(), rig.closed()), (1, None));
}

#[test]
fn row_57_descriptors_nobody_asked_for_close_and_are_closed() {
    let name = "row57";
    for (message, cut, fault) in [
        (bare(SetOwner), 12, Malformed::Descriptors(MAX_DESCRIPTORS)),
        (
            u64_of(SetFeatures, PF),
            12,
            Malformed::Descriptors(MAX_DESCRIPTORS),
        ),
        (u64_of(SetFeatures, PF), 0, Malformed::StrayDescriptors),
    ] {
        let mut rig = Rig::new();
        let bytes = message.encode();
        {
            let fd = memfd(name, 4096);
            let fds = [fd.as_fd(); MAX_DESCRIPTORS];
            let first: &[_] = if cut == 0 { &[] } else { &fds };
            rig.send(&bytes[..12], first);
            rig.send(&bytes[12..], if cut == 0 { &fds } else { &[] });
        }
        assert_eq!(
            rig.closed(),
            Some(CloseReason::Malformed(Code(message.request), fault))
        );
        drop(rig);
        assert_eq!(open_copies(name), 0);
    }
}

#[test]
fn row_59_repetition_keeps_no_descriptor() {
    let name = "row59";
    let mut rig = Rig::new();
    let fd = memfd(name, REGION_LEN);
    for _ in 0..500 {
        rig.send(&table(&[REGION]).encode(), &[fd.as_fd()]);
        rig.send(&state(SetVringNum, 0, 64).encode(), &[]);
    }
    assert_eq!(rig.closed(), None);
    drop(fd);
    assert_eq!(open_copies(name), 0);
}

#[test]
fn row_63_the_kernel_is_asked_what_a_descriptor_is() {
    let (ours, theirs) = UnixStream::pair().unwrap();
    let (memory, event) = (memfd("row63", 8192), event_fd());
    let fds = [memory.as_fd(), event.as_fd(), ours.as_fd()];
    send_raw(&ours, &bare(SetOwner).encode(), &fds);
    let message = Link::new(theirs.into()).receive().unwrap().unwrap();
    let kinds: Vec<Kind> = message.fds.iter().map(|attached| attached.kind).collect();
    let (len, page, writable) = (8192, 4096, true);
    assert_eq!(
        kinds,
        [
            Kind::File {
                len,
                page,
                writable
            },
            Kind::Anonymous,
            Kind::Other
        ]
    );
    assert!(fcntl_getfl(&event).unwrap().contains(OFlags::NONBLOCK));
}

#[test]
fn a_front_end_that_takes_no_replies_is_not_read_and_then_closed() {
    let mut rig = Rig::new();
    let flood = bare(GetFeatures).encode().repeat(64);
    for _ in 0..1000 {
        rig.send(&flood, &[]);
    }
    assert!(!rig.io.front_end_interest().readable);
    assert!(rig.io.front_end_interest().writable);
    assert_eq!(rig.io.deadline(), Some(rig.now + 2 * SECOND));
    rig.io.on_deadline(rig.now + 2 * SECOND, &mut rig.events);
    assert_eq!(rig.closed(), Some(CloseReason::ReplyTimeout));
}

fn waiting() -> (SessionIo, UnixStream, UnixStream, Instant) {
    let (peer, front_end) = UnixStream::pair().unwrap();
    let (engine, inner) = UnixStream::pair().unwrap();
    let now = Instant::now();
    let io = SessionIo::new(config(), front_end, inner, now, &mut Vec::new());
    assert!(!io.front_end_interest().readable && io.engine_interest().readable);
    (io, peer, engine, now)
}

#[test]
fn a_silent_engine_ends_the_session() {
    let (mut io, _peer, _engine, now) = waiting();
    assert_eq!(io.deadline(), Some(now + 10 * SECOND));
    let mut events = Vec::new();
    io.on_deadline(now + 10 * SECOND, &mut events);
    assert_eq!(events, [Event::Closed(CloseReason::EngineTimeout)]);
}

#[test]
fn either_end_that_goes_away_while_the_other_is_awaited_is_noticed() {
    let (mut io, peer, engine, now) = waiting();
    let mut events = Vec::new();
    io.on_front_end_ready(now, &mut events);
    assert!(events.is_empty());
    drop(peer);
    io.on_front_end_ready(now, &mut events);
    drop(engine);
    io.on_engine_ready(now, &mut events);
    assert_eq!(events, [Event::Closed(CloseReason::PeerClosed)], "once");
    let (mut io, _peer, engine, now) = waiting();
    drop(engine);
    events.clear();
    io.on_engine_ready(now, &mut events);
    let reason = CloseReason::EngineSocket(Errno::PIPE);
    assert!(
        matches!(events[..], [Event::Closed(r)] if r == reason
            || r == CloseReason::EngineSocket(Errno::CONNRESET)),
        "{events:?}"
    );
}

#[test]
fn events_come_out_of_the_shell() {
    let mut rig = Rig::new();
    rig.send(&u64_of(SetProtocolFeatures, protocol::SERVED).encode(), &[]);
    rig.send(&u64_of(NetSetMtu, 9000).encode(), &[]);
    rig.send(&u64_of(SetStatus, 4).encode(), &[]);
    let expected = [Event::SetMtu(9000), Event::Status(4)];
    assert_eq!(rig.events, expected);
}
