//! Macvtaps on one end of a veth pair, a packet socket on the other, each test in a network namespace of its
//! own. `/sys` is that of the host there, and `/dev/tapN` often another test's.

use std::io::IoSliceMut;
use std::time::Duration;

use ring::HEADER_LEN;
use rustix::thread::{CapabilitySet, capabilities, set_capabilities};

use super::*;
use crate::config::{UplinkConfig, UplinkKind};
use crate::uplink::Uplink;
use crate::uplink::testing::*;

const GUEST: [u8; 6] = [0x02, 0, 0, 0, 0, 0x10];

fn on_here() -> UplinkConfig {
    config(UplinkKind::Macvtap(name("here")))
}

fn its_name() -> String {
    MacvtapConfig::derived_name(&name("here"), "uplink").to_string()
}

/// A macvtap on a veth that has the guest's address.
fn open() -> Uplink {
    let uplink = Uplink::open(&on_here()).unwrap();
    uplink.set_guest_address(GUEST).unwrap();
    uplink
}

#[test]
fn it_is_made_marked_and_up_and_goes_on_a_clean_end() {
    in_namespace(|| {
        veth();
        let uplink = open();
        let seen = link(&its_name()).unwrap();
        assert_eq!(seen.kind.as_deref(), Some("macvtap"));
        assert_eq!(seen.alias.as_deref(), Some(OWN_ALIAS));
        assert_eq!(seen.lower, Some(link("here").unwrap().index));
        assert_eq!((seen.up, seen.carrier), (true, true));
        assert_eq!(seen.address, Some(GUEST));
        assert_eq!(uplink.index(), Some(seen.index));
        uplink.remove_if_ours().unwrap();
        assert_eq!(link(&its_name()), None);
        assert!(link("here").is_some());
    });
}

#[test]
fn frames_pass_both_ways() {
    in_namespace(|| {
        veth();
        let (uplink, there) = (open(), packet("there"));
        for len in [60, 64, 1514] {
            let frame = plain(THERE, GUEST, len);
            send(&uplink, [0; HEADER_LEN], &frame).unwrap();
            assert_eq!(expect(&there).frame, frame);
            let frame = plain(GUEST, THERE, len);
            send(&there, [0; HEADER_LEN], &frame).unwrap();
            let unit = expect(&uplink);
            assert_eq!((unit.header, unit.frame), ([0; HEADER_LEN], frame));
        }
    });
}

#[test]
fn super_frames_pass_both_ways_and_come_finished_unless_they_are_taken() {
    in_namespace(|| {
        veth();
        let (uplink, there) = (open(), packet("there"));
        let (header, frame) = super_frame(THERE, GUEST);
        for _ in 0..64 {
            send(&uplink, header, &frame).unwrap();
        }
        for _ in 0..64 {
            let unit = expect(&there);
            assert_eq!(unit.header, header);
            assert!(unit.frame == frame);
        }

        let (header, frame) = super_frame(GUEST, THERE);
        let found = uplink.probe_offloads().unwrap();
        assert!(found.csum && found.tso4 && found.tso6 && found.tso_ecn);
        uplink.set_offload(found).unwrap();
        send(&there, header, &frame).unwrap();
        let unit = expect(&uplink);
        assert_eq!(unit.header, header);
        assert!(unit.frame == frame);

        uplink.set_offload(Offload::NONE).unwrap();
        send(&there, header, &frame).unwrap();
        let first = expect(&uplink);
        assert_eq!(first.header, [0; HEADER_LEN]);
        assert_eq!(first.frame.len(), usize::from(TCP_HEADERS) + 1448);
        let length = u16::try_from(first.frame.len() - 34).unwrap();
        let pseudo = [&first.frame[26..34], &[0, 6], &length.to_be_bytes()].concat();
        assert_eq!(fold(&first.frame[34..], fold(&pseudo, 0)), 0xffff);
    });
}

#[test]
fn groups_come_and_other_guests_frames_do_not() {
    in_namespace(|| {
        veth();
        let (uplink, there) = (open(), packet("there"));
        let stranger = [0x02, 0, 0, 0, 0, 0x77];
        send(&there, [0; HEADER_LEN], &plain(stranger, THERE, 64)).unwrap();
        nothing_comes(&uplink);
        for group in [[0xff; 6], [0x33, 0x33, 0xff, 1, 2, 3]] {
            send(&there, [0; HEADER_LEN], &plain(group, THERE, 64)).unwrap();
            assert_eq!(expect(&uplink).frame[..6], group);
        }
    });
}

#[test]
fn a_vlan_tag_comes_in_the_frame() {
    in_namespace(|| {
        veth();
        let (uplink, there) = (open(), packet("there"));
        let mut frame = plain(GUEST, THERE, 100);
        frame.splice(12..12, [0x81, 0, 0, 5]);
        send(&there, [0; HEADER_LEN], &frame).unwrap();
        let unit = expect(&uplink);
        assert_eq!((unit.frame, unit.told.vlan), (frame, None));
    });
}

#[test]
fn a_frame_longer_than_its_room_tells_one_byte_more() {
    in_namespace(|| {
        veth();
        let (uplink, there) = (open(), packet("there"));
        for (len, told) in [(100, 100), (101, 101), (1000, 101)] {
            send(&there, [0; HEADER_LEN], &plain(GUEST, THERE, len)).unwrap();
            thread::sleep(Duration::from_millis(20));
            let (mut header, mut room) = ([0; HEADER_LEN], [0; 100]);
            let parts = &mut [IoSliceMut::new(&mut room)];
            assert_eq!(uplink.receive(0, &mut header, parts).unwrap().len, told);
        }
    });
}

#[test]
fn it_outlives_a_kill_and_the_next_run_knows_it() {
    in_namespace(|| {
        veth();
        drop(open());
        let left = link(&its_name()).unwrap();
        let again = Uplink::open(&on_here()).unwrap();
        assert_eq!(again.index(), Some(left.index));
        again.remove_if_ours().unwrap();
        assert_eq!(link(&its_name()), None);
    });
}

#[test]
fn the_host_does_not_speak_as_the_guest() {
    in_namespace(|| {
        // Not by veth(), which keeps the host quiet altogether.
        ip("link add here type veth peer name there");
        ip("link set here up");
        ip("link set there up");
        let _uplink = open();
        let addresses = std::fs::read_to_string("/proc/thread-self/net/if_inet6").unwrap();
        assert!(addresses.contains(" here\n"), "{addresses}");
        assert!(!addresses.contains(&its_name()), "{addresses}");
    });
}

/// Makes the macvtap beforehand, with an interface index that no other test has.
fn with_index(index: u32) {
    veth();
    ip(&format!(
        "link add link here name {} index {index} type macvtap mode bridge",
        its_name()
    ));
}

#[test]
fn a_taken_one_is_called_busy_and_a_free_one_is_had() {
    in_namespace(|| {
        with_index(1_000_000 + std::process::id());
        let held = open();
        let error = Uplink::open(&on_here()).unwrap_err();
        assert!(matches!(error, UplinkError::Busy(_)), "{error}");
        let (facts, fds) = held.into_parts();
        let held = Uplink::from_parts(facts, fds).unwrap();
        let holder = thread::spawn(move || {
            thread::sleep(Duration::from_millis(100));
            drop(held);
        });
        Uplink::open(&on_here()).unwrap();
        holder.join().unwrap();
    });
}

#[test]
fn where_the_node_in_dev_is_of_another_namespace_ours_is_found_all_the_same() {
    in_namespace(|| {
        let index = 10_000_000 + std::process::id();
        with_index(index);
        let (theirs, beside) = (open(), packet("there"));
        in_namespace(move || {
            with_index(index);
            let (ours, there) = (open(), packet("there"));
            assert_eq!(ours.index(), Some(index));
            send(&ours, [0; HEADER_LEN], &plain(THERE, GUEST, 64)).unwrap();
            assert_eq!(expect(&there).told.len, 64);
        });
        nothing_comes(&beside);
        assert_eq!(theirs.index(), Some(index));
    });
}

#[test]
fn one_of_somebody_else_is_used_and_stays() {
    in_namespace(|| {
        veth();
        ip(&format!(
            "link add link here name {} type macvtap mode bridge",
            its_name()
        ));
        let (uplink, there) = (open(), packet("there"));
        send(&uplink, [0; HEADER_LEN], &plain(THERE, GUEST, 64)).unwrap();
        assert_eq!(expect(&there).told.len, 64);
        uplink.remove_if_ours().unwrap();
        assert!(link(&its_name()).is_some());
    });
}

#[test]
fn links_that_go_down_or_vanish_lose_what_is_written() {
    in_namespace(|| {
        veth();
        let (uplink, there) = (open(), packet("there"));
        let frame = plain(THERE, GUEST, 64);
        for lower in ["here".to_owned(), its_name()] {
            ip(&format!("link set {lower} down"));
            assert_eq!(send(&uplink, [0; HEADER_LEN], &frame), Ok(64 + HEADER_LEN));
            assert_eq!(receive(&uplink).unwrap_err(), Errno::AGAIN);
            ip(&format!("link set {lower} up"));
        }
        get_through(&uplink, &there, &plain(THERE, GUEST, 65));

        ip("link del here");
        assert_eq!(link(&its_name()), None);
        assert_eq!(send(&uplink, [0; HEADER_LEN], &frame), Ok(64 + HEADER_LEN));
        assert_eq!(receive(&uplink).unwrap_err(), Errno::AGAIN);
        veth();
        let (again, there) = (open(), packet("there"));
        send(&again, [0; HEADER_LEN], &frame).unwrap();
        assert_eq!(expect(&there).frame, frame);
        uplink.remove_if_ours().unwrap();
        assert!(link(&its_name()).is_some(), "the new one is another");
    });
}

#[test]
fn what_cannot_be_made_or_opened_is_refused_with_its_reason() {
    in_namespace(|| {
        let error = Uplink::open(&on_here()).unwrap_err();
        assert!(matches!(error, UplinkError::NoInterface(_)), "{error}");
        let lo = Uplink::open(&config(UplinkKind::Macvtap(name("lo")))).unwrap_err();
        assert!(matches!(lo, UplinkError::NotEthernet { .. }), "{lo}");
        veth();
        ip(&format!("tuntap add dev {} mode tap", its_name()));
        let error = Uplink::open(&on_here()).unwrap_err();
        assert!(matches!(error, UplinkError::NotOnLower { .. }), "{error}");
        ip(&format!("link del {}", its_name()));
        ip("link add br0 type bridge");
        ip("link set here master br0");
        let error = Uplink::open(&on_here()).unwrap_err();
        assert!(matches!(error, UplinkError::LowerTaken(_)), "{error}");
        ip("link set here nomaster");
        let too_large = UplinkConfig {
            mtu: Some(9000),
            ..on_here()
        };
        let error = Uplink::open(&too_large).unwrap_err();
        assert!(matches!(error, UplinkError::Setting { .. }), "{error}");
        assert_eq!(link(&its_name()), None);
        let mut sets = capabilities(None).unwrap();
        sets.effective.remove(CapabilitySet::NET_ADMIN);
        set_capabilities(None, sets).unwrap();
        let error = Uplink::open(&on_here()).unwrap_err();
        assert!(matches!(error, UplinkError::MayNotMake { .. }), "{error}");
    });
}

#[test]
fn its_mtu_follows_up_to_the_interfaces() {
    in_namespace(|| {
        veth();
        let mut uplink = Uplink::open(&UplinkConfig {
            mtu: Some(1300),
            ..on_here()
        })
        .unwrap();
        assert_eq!(uplink.mtu(), 1300);
        uplink.set_mtu(1400).unwrap();
        assert_eq!((uplink.mtu(), link(&its_name()).unwrap().mtu), (1400, 1400));
        assert!(uplink.set_mtu(1501).is_err());
        assert_eq!(uplink.mtu(), 1400);
    });
}

#[test]
fn a_queue_taken_out_gets_nothing() {
    in_namespace(|| {
        veth();
        let mut uplink = Uplink::open(&UplinkConfig {
            queues: 2,
            ..on_here()
        })
        .unwrap();
        uplink.set_guest_address(GUEST).unwrap();
        let there = packet("there");
        for (out, left) in [(0, 1), (1, 0)] {
            uplink.set_queue_enabled(left, true).unwrap();
            uplink.set_queue_enabled(out, false).unwrap();
            send(&there, [0; HEADER_LEN], &plain(GUEST, THERE, 64)).unwrap();
            thread::sleep(Duration::from_millis(50));
            let (mut header, mut room) = ([0; HEADER_LEN], [0; 100]);
            let mut read = |queue| {
                let parts = &mut [IoSliceMut::new(&mut room)];
                uplink.receive(queue, &mut header, parts)
            };
            assert_eq!(read(out), Err(Errno::AGAIN));
            assert_eq!(read(left).map(|told| told.len), Ok(64));
        }
        assert!(uplink.set_queue_enabled(2, true).is_err());
    });
}

#[test]
fn it_is_put_together_again_from_its_parts() {
    in_namespace(|| {
        veth();
        let there = packet("there");
        let (facts, fds) = open().into_parts();
        let text = serde_json::to_string(&facts).unwrap();
        let uplink = Uplink::from_parts(serde_json::from_str(&text).unwrap(), fds).unwrap();
        send(&uplink, [0; HEADER_LEN], &plain(THERE, GUEST, 64)).unwrap();
        assert_eq!(expect(&there).told.len, 64);
        uplink.remove_if_ours().unwrap();
        assert_eq!(link(&its_name()), None);
    });
}

#[test]
fn derived_names_fit_and_differ() {
    let derive =
        |lower: &str, uplink| MacvtapConfig::derived_name(&name(lower), uplink).to_string();
    let long = derive("a23456789012345", "up");
    assert_eq!(long.len(), 15);
    assert!(long.starts_with("a2345678-"), "{long}");
    assert_ne!(long, derive("a23456789012346", "up"));
    assert_ne!(derive("eth0", "a"), derive("eth0", "b"));
    assert_eq!(derive("eth0", "a"), derive("eth0", "a"));
    assert!(derive("äöüßé", "a").starts_with("äöüß-"));
}
