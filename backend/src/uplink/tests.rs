//! What holds of an uplink of any kind.

use rustix::io::Errno;

use super::testing::*;
use super::*;

#[test]
fn an_uplink_that_leads_nowhere_has_no_queue_and_refuses_nothing_else() {
    let mut uplink = Uplink::open(&config(UplinkKind::None)).unwrap();
    assert_eq!((uplink.name(), uplink.queues()), ("uplink", 0));
    assert!(uplink.fd(0).is_none());
    assert_eq!((uplink.index(), uplink.mtu()), (None, DEFAULT_MTU));
    assert_eq!(receive(&uplink).unwrap_err(), Errno::BADFD);
    assert_eq!(uplink.probe_offloads().unwrap(), Offload::ALL);
    uplink.set_offload(Offload::NONE).unwrap();
    uplink.set_carrier(true).unwrap();
    uplink.set_mtu(9000).unwrap();
    let (facts, fds) = uplink.into_parts();
    let again = Uplink::from_parts(facts, fds).unwrap();
    assert_eq!(again.mtu(), 9000);
    again.remove_if_ours().unwrap();
}

fn tap() -> UplinkConfig {
    config(UplinkKind::Tap {
        name: name("vm1"),
        bridge: None,
    })
}

/// A packet socket on our own tap, which only a test wants: its frames are what the tap's reader gets.
fn beside_the_tap() -> Uplink {
    ip("link set vm1 addrgenmode none alias a-test");
    packet("vm1")
}

#[test]
fn a_tap_passes_frames_both_ways_and_tells_one_that_is_too_long() {
    in_namespace(|| {
        let tap = Uplink::open(&tap()).unwrap();
        tap.set_carrier(true).unwrap();
        let host = beside_the_tap();
        let (header, frame) = super_frame(THERE, HERE);
        send(&tap, header, &frame).unwrap();
        let unit = loop {
            let unit = expect(&host);
            if unit.told.len == frame.len() {
                break unit;
            }
        };
        assert_eq!(unit.header, header);
        assert!(unit.frame == frame);

        while receive(&tap).is_ok() {}
        let small = plain(HERE, THERE, 64);
        send(&host, [0; HEADER_LEN], &small).unwrap();
        let unit = expect(&tap);
        assert_eq!((unit.header, unit.frame), ([0; HEADER_LEN], small));
        send(&host, [0; HEADER_LEN], &plain(HERE, THERE, 1000)).unwrap();
        let (mut header, mut room) = ([0; HEADER_LEN], [0; 100]);
        let parts = &mut [IoSliceMut::new(&mut room)];
        assert_eq!(tap.receive(0, &mut header, parts).unwrap().len, 101);
    });
}

#[test]
fn a_frame_is_read_in_one_piece_behind_a_header_without_remains() {
    in_namespace(|| {
        let tap = Uplink::open(&tap()).unwrap();
        tap.set_carrier(true).unwrap();
        let host = beside_the_tap();
        let frame = plain(HERE, THERE, 1000);
        get_through(&host, &tap, &frame);
        get_through(&tap, &host, &frame);
        for (from, to) in [(&host, &tap), (&tap, &host)] {
            while receive(to).is_ok() {}
            let mut unit = [0xff; HEADER_LEN + 1001];
            send(from, [0; HEADER_LEN], &frame).unwrap();
            let deadline = std::time::Instant::now() + std::time::Duration::from_secs(5);
            let told = loop {
                match to.receive_whole(0, &mut unit) {
                    Ok(told) => break told,
                    Err(errno) => assert_eq!(errno, Errno::AGAIN),
                }
                assert!(std::time::Instant::now() < deadline, "no frame came");
            };
            assert_eq!(told.len, 1000);
            let (header, rest) = unit.split_at(HEADER_LEN);
            // A packet socket may say that the checksum is known to be right.
            assert_eq!(
                (header[0] & !2, &header[1..]),
                (0, &[0; HEADER_LEN - 1][..])
            );
            assert_eq!((&rest[..1000], rest[1000]), (&frame[..], 0xff));
        }
        send(&host, [0; HEADER_LEN], &frame).unwrap();
        let mut short = [0; HEADER_LEN + 100];
        assert_eq!(tap.receive_whole(0, &mut short).unwrap().len, 100, "full");
    });
}

#[test]
fn a_tap_that_was_deleted_says_so_and_is_made_anew_when_opened_again() {
    in_namespace(|| {
        let old = Uplink::open(&tap()).unwrap();
        ip("link del vm1");
        let frame = plain(THERE, HERE, 64);
        assert_eq!(send(&old, [0; HEADER_LEN], &frame), Err(Errno::BADFD));
        assert_eq!(receive(&old).unwrap_err(), Errno::BADFD);
        let new = Uplink::open(&tap()).unwrap();
        new.set_carrier(true).unwrap();
        assert_ne!(new.index(), old.index());
        let host = beside_the_tap();
        send(&new, [0; HEADER_LEN], &frame).unwrap();
        assert_eq!(expect(&host).frame, frame);
        old.remove_if_ours().unwrap();
        assert!(link("vm1").is_some(), "the new one is another");
    });
}

#[test]
fn a_tap_that_is_down_says_so() {
    in_namespace(|| {
        let tap = Uplink::open(&tap()).unwrap();
        ip("link set vm1 down");
        let frame = plain(THERE, HERE, 64);
        assert_eq!(send(&tap, [0; HEADER_LEN], &frame), Err(Errno::IO));
        assert_eq!(receive(&tap).unwrap_err(), Errno::AGAIN);
        ip("link set vm1 up");
        send(&tap, [0; HEADER_LEN], &frame).unwrap();
    });
}

#[test]
fn a_tap_is_put_together_again_from_its_parts() {
    in_namespace(|| {
        let two = UplinkConfig { queues: 2, ..tap() };
        let (facts, fds) = Uplink::open(&two).unwrap().into_parts();
        let text = serde_json::to_string(&facts).unwrap();
        assert_eq!(serde_json::from_str::<Facts>(&text).unwrap(), facts);
        let mut again = Uplink::from_parts(facts.clone(), fds).unwrap();
        assert_eq!(again.queues(), 2);
        again.set_queue_enabled(1, false).unwrap();
        again.remove_if_ours().unwrap();
        assert_eq!(link("vm1"), None);
        let error = Uplink::from_parts(facts, Vec::new()).unwrap_err();
        assert!(
            matches!(error, UplinkError::Parts { expected: 2, .. }),
            "{error}"
        );
    });
}

#[test]
fn more_parts_than_one_read_takes_are_refused() {
    in_namespace(|| {
        veth();
        let uplink = packet("here");
        let mut rooms = [[0; 1]; MAX_PARTS + 1];
        let mut parts: Vec<_> = rooms.iter_mut().map(|room| IoSliceMut::new(room)).collect();
        let mut header = [0; HEADER_LEN];
        assert_eq!(
            uplink.receive(0, &mut header, &mut parts),
            Err(Errno::INVAL)
        );
        assert_eq!(
            uplink.receive(0, &mut header, &mut parts[1..]),
            Err(Errno::AGAIN)
        );
    });
}
