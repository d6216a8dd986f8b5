//! Packet sockets on both ends of a veth pair, each test in a network namespace of its own.

use std::thread;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::sockopt;
use rustix::thread::{CapabilitySet, capabilities, set_capabilities};

use super::*;
use crate::config::UplinkKind;
use crate::uplink::testing::*;
use crate::uplink::{DeviceFacts, Facts, Uplink};

fn open_error(interface: &str) -> UplinkError {
    Uplink::open(&config(UplinkKind::Packet(name(interface)))).unwrap_err()
}

#[test]
fn frames_pass_both_ways_whole_and_in_order() {
    in_namespace(|| {
        veth();
        let (here, there) = (packet("here"), packet("there"));
        for (from, to) in [(&here, &there), (&there, &here)] {
            for len in [60, 64, 1514] {
                let frame = plain(THERE, HERE, len);
                send(from, [0; HEADER_LEN], &frame).unwrap();
                let unit = expect(to);
                assert_eq!((unit.told.len, unit.told.vlan), (len, None));
                assert_eq!((unit.header, unit.frame), ([0; HEADER_LEN], frame));
            }
        }
    });
}

#[test]
fn a_super_frame_passes_whole_with_its_checksum_still_to_be_filled_in() {
    in_namespace(|| {
        veth();
        let (here, there) = (packet("here"), packet("there"));
        let (header, frame) = super_frame(THERE, HERE);
        send(&here, header, &frame).unwrap();
        let unit = expect(&there);
        assert_eq!(unit.header, header);
        assert!(unit.frame == frame, "the same bytes");
    });
}

#[test]
fn where_the_interface_cannot_carry_a_super_frame_whole_its_segments_come_finished() {
    in_namespace(|| {
        veth();
        ip("link set here gso_max_size 2000");
        let (here, there) = (packet("here"), packet("there"));
        let (header, frame) = super_frame(THERE, HERE);
        send(&here, header, &frame).unwrap();
        let mut payload: Vec<u8> = Vec::new();
        while payload.len() < frame.len() - usize::from(TCP_HEADERS) {
            let unit = expect(&there);
            assert!(unit.frame.len() <= 1514);
            payload.extend(&unit.frame[usize::from(TCP_HEADERS)..]);
        }
        assert!(payload == frame[usize::from(TCP_HEADERS)..]);
    });
}

#[test]
fn sixty_four_super_frames_may_be_on_their_way_and_wait() {
    in_namespace(|| {
        veth();
        let (here, there) = (packet("here"), packet("there"));
        let (header, frame) = super_frame(THERE, HERE);
        for _ in 0..64 {
            send(&here, header, &frame).unwrap();
        }
        for _ in 0..64 {
            assert_eq!(expect(&there).told.len, frame.len());
        }
        let bytes = sockopt::socket_send_buffer_size(here.fd(0).unwrap()).unwrap();
        assert!(bytes >= SEND_BUFFER, "{bytes}");
    });
}

#[test]
fn udp_super_frames_pass_where_the_probe_says_so() {
    in_namespace(|| {
        veth();
        let (here, there) = (packet("here"), packet("there"));
        let (mut header, mut frame) = super_frame(THERE, HERE);
        // The same bytes as UDP: protocol, length and checksum lie elsewhere.
        frame.truncate(14 + 20 + 8 + 10 * 1000);
        let total = u16::try_from(frame.len() - 14).unwrap();
        frame[16..18].copy_from_slice(&total.to_be_bytes());
        frame[23] = 17;
        frame[24..26].fill(0);
        let sum = fold(&frame[14..34], 0);
        frame[24..26].copy_from_slice(&(!sum).to_be_bytes());
        frame[38..40].copy_from_slice(&(total - 20).to_be_bytes());
        let pseudo = [&frame[26..34], &[0, 17], &(total - 20).to_be_bytes()].concat();
        frame[40..42].copy_from_slice(&fold(&pseudo, 0).to_be_bytes());
        header[1] = 5; // UDP_L4
        for (at, value) in [(2, 42_u16), (4, 1000), (6, 34), (8, 6)] {
            header[at..at + 2].copy_from_slice(&value.to_le_bytes());
        }
        if here.probe_offloads().unwrap().uso {
            send(&here, header, &frame).unwrap();
            let unit = expect(&there);
            assert_eq!((unit.header, unit.frame), (header, frame));
        } else {
            assert_eq!(send(&here, header, &frame), Err(Errno::INVAL));
        }
    });
}

#[test]
fn a_vlan_tag_comes_beside_the_frame() {
    in_namespace(|| {
        veth();
        let (here, there) = (packet("here"), packet("there"));
        for (tpid, tci) in [(0x8100_u16, 0x6064_u16), (0x88a8, 1)] {
            let untagged = plain(THERE, HERE, 100);
            let mut tagged = untagged.clone();
            tagged.splice(12..12, [tpid.to_be_bytes(), tci.to_be_bytes()].concat());
            send(&here, [0; HEADER_LEN], &tagged).unwrap();
            let unit = expect(&there);
            assert_eq!(unit.told.vlan, Some(Tag { tpid, tci }));
            assert_eq!(unit.frame, untagged);
        }
    });
}

#[test]
fn frames_for_any_address_come_but_none_that_leave() {
    in_namespace(|| {
        veth();
        let (here, there) = (packet("here"), packet("there"));
        let stranger = [0x02, 0, 0, 0, 0, 0x77];
        send(&here, [0; HEADER_LEN], &plain(stranger, HERE, 64)).unwrap();
        assert_eq!(expect(&there).frame[..6], stranger);
        // What the host itself sends does not come on the same side either.
        ip("addr add 192.0.2.1/24 dev here");
        let socket = std::net::UdpSocket::bind("192.0.2.1:0").unwrap();
        socket.send_to(b"x", "192.0.2.2:9").unwrap();
        assert_eq!(expect(&there).frame[12..14], [0x08, 0x06], "who has it?");
        nothing_comes(&here);
    });
}

#[test]
fn a_frame_longer_than_its_room_tells_its_true_length() {
    in_namespace(|| {
        veth();
        let (here, there) = (packet("here"), packet("there"));
        send(&here, [0; HEADER_LEN], &plain(THERE, HERE, 1000)).unwrap();
        thread::sleep(Duration::from_millis(20));
        let (mut header, mut room) = ([0; HEADER_LEN], [0; 100]);
        let told = there
            .receive(0, &mut header, &mut [IoSliceMut::new(&mut room)])
            .unwrap();
        assert_eq!(told.len, 1000);
        nothing_comes(&there);
    });
}

fn polls_writable(uplink: &Uplink) -> bool {
    let fd = uplink.fd(0).unwrap();
    let mut fds = [PollFd::from_borrowed_fd(fd, PollFlags::OUT)];
    poll(&mut fds, Some(&Timespec::default())).unwrap();
    fds[0].revents() == PollFlags::OUT
}

#[test]
fn a_link_that_goes_down_says_so_once_and_serves_on_when_it_returns() {
    in_namespace(|| {
        veth();
        let (here, there) = (packet("here"), packet("there"));
        let frame = plain(THERE, HERE, 64);
        ip("link set here down");
        assert_eq!(receive(&here).unwrap_err(), Errno::NETDOWN);
        assert_eq!(receive(&here).unwrap_err(), Errno::AGAIN);
        assert_eq!(send(&here, [0; HEADER_LEN], &frame), Err(Errno::NETDOWN));
        assert!(polls_writable(&here), "so nobody may wait for that");
        ip("link set here up");
        get_through(&here, &there, &frame);
        get_through(&there, &here, &frame);
    });
}

#[test]
fn a_link_that_vanished_is_opened_again_by_its_name() {
    in_namespace(|| {
        veth();
        let old = packet("here");
        let frame = plain(THERE, HERE, 64);
        ip("link del here");
        assert_eq!(receive(&old).unwrap_err(), Errno::NETDOWN);
        assert_eq!(send(&old, [0; HEADER_LEN], &frame), Err(Errno::NXIO));
        let error = open_error("here");
        assert!(matches!(error, UplinkError::NoInterface(_)), "{error}");
        veth();
        assert_eq!(send(&old, [0; HEADER_LEN], &frame), Err(Errno::NXIO));
        let (here, there) = (packet("here"), packet("there"));
        assert_ne!(here.index(), old.index());
        send(&here, [0; HEADER_LEN], &frame).unwrap();
        assert_eq!(expect(&there).frame, frame);
        old.remove_if_ours().unwrap();
        assert!(link("here").is_some());
    });
}

#[test]
fn what_cannot_be_listened_on_is_refused_with_its_reason() {
    in_namespace(|| {
        let error = open_error("here");
        assert!(matches!(error, UplinkError::NoInterface(_)), "{error}");
        let error = open_error("lo");
        assert!(matches!(error, UplinkError::NotEthernet { .. }), "{error}");
        ip("tuntap add dev tun0 mode tun");
        let error = open_error("tun0");
        assert!(
            matches!(&error, UplinkError::NotEthernet { kind, .. } if kind == "tun"),
            "{error}"
        );
        let tap = config(UplinkKind::Tap {
            name: name("vm1"),
            bridge: None,
        });
        let _tap = Uplink::open(&tap).unwrap();
        let error = open_error("vm1");
        assert!(matches!(error, UplinkError::OwnTap(_)), "{error}");
        veth();
        let mut sets = capabilities(None).unwrap();
        sets.effective.remove(CapabilitySet::NET_RAW);
        set_capabilities(None, sets).unwrap();
        let error = open_error("here");
        assert!(matches!(error, UplinkError::MayNotListen(_)), "{error}");
        assert!(error.to_string().contains("CAP_NET_RAW"));
    });
}

#[test]
fn a_socket_without_net_admin_works_with_smaller_buffers() {
    in_namespace(|| {
        veth();
        let mut sets = capabilities(None).unwrap();
        sets.effective.remove(CapabilitySet::NET_ADMIN);
        set_capabilities(None, sets).unwrap();
        let (here, there) = (packet("here"), packet("there"));
        send(&here, [0; HEADER_LEN], &plain(THERE, HERE, 64)).unwrap();
        assert_eq!(expect(&there).told.len, 64);
    });
}

#[test]
fn the_interface_keeps_its_mtu_and_bounds_ours() {
    in_namespace(|| {
        veth();
        let mut here = packet("here");
        assert_eq!(here.mtu(), 1500);
        here.set_mtu(1400).unwrap();
        let error = here.set_mtu(1501).unwrap_err();
        assert!(
            matches!(error, UplinkError::MtuTooLarge { most: 1500, .. }),
            "{error}"
        );
        assert_eq!((here.mtu(), link("here").unwrap().mtu), (1400, 1500));
    });
}

#[test]
fn it_is_put_together_again_from_its_parts() {
    in_namespace(|| {
        veth();
        let there = packet("there");
        let (facts, fds) = packet("here").into_parts();
        let text = serde_json::to_string(&facts).unwrap();
        let here = Uplink::from_parts(serde_json::from_str(&text).unwrap(), fds).unwrap();
        assert_eq!((here.name(), here.queues()), ("uplink", 1));
        send(&here, [0; HEADER_LEN], &plain(THERE, HERE, 64)).unwrap();
        assert_eq!(expect(&there).told.len, 64);
        let error = Uplink::from_parts(facts, Vec::new()).unwrap_err();
        assert!(
            matches!(error, UplinkError::Parts { got: 0, .. }),
            "{error}"
        );
    });
}

#[test]
fn ten_byte_headers_are_what_older_kernels_have() {
    in_namespace(|| {
        veth();
        let there = packet("there");
        let (mut facts, fds) = Packet::open(&name("here"), None).unwrap().into_parts();
        sys::set_option(&fds[0], libc::PACKET_VNET_HDR, 1).unwrap();
        facts.header_len = SHORT_HEADER;
        let here = Uplink::from_parts(
            Facts {
                name: "old".to_owned(),
                device: DeviceFacts::Packet(facts),
            },
            fds,
        )
        .unwrap();
        let (header, frame) = super_frame(THERE, HERE);
        for (from, to) in [(&here, &there), (&there, &here)] {
            send(from, header, &frame).unwrap();
            let unit = expect(to);
            assert_eq!(unit.header, header);
            assert!(unit.frame == frame);
        }
    });
}

#[test]
fn kernel_releases_are_compared_by_number() {
    for (release, new) in [
        ("6.2.0", true),
        ("6.18.44-fc", true),
        ("10.0-rc1", true),
        ("6.1.0-44-amd64", false),
        ("5.15", false),
        ("six", false),
    ] {
        assert_eq!(at_least(release, (6, 2)), new, "{release}");
    }
}

#[test]
fn a_tag_without_its_kind_is_a_customer_tag() {
    let told = libc::tpacket_auxdata {
        tp_status: libc::TP_STATUS_VLAN_VALID,
        tp_len: 0,
        tp_snaplen: 0,
        tp_mac: 0,
        tp_net: 0,
        tp_vlan_tci: 5,
        tp_vlan_tpid: 0,
    };
    let expected = Tag {
        tpid: 0x8100,
        tci: 5,
    };
    assert_eq!(tag(&told), Some(expected));
}
