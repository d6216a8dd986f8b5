//! Each test has a network namespace of its own, which ends with its thread.

use rustix::thread::{CapabilitySet, capabilities, set_capabilities};

use super::*;
use crate::uplink::testing::{in_namespace, ip, link, name};

fn config(queues: u16) -> TapConfig {
    TapConfig {
        name: name("vm1"),
        queues,
        mtu: None,
        bridge: None,
    }
}

fn open_error(config: &TapConfig) -> TapError {
    Tap::open(config).map(|tap| tap.name().clone()).unwrap_err()
}

fn drop_net_admin() {
    let mut sets = capabilities(None).unwrap();
    sets.effective.remove(CapabilitySet::NET_ADMIN);
    set_capabilities(None, sets).unwrap();
}

#[test]
fn an_absent_tap_is_made_persistent_up_marked_and_ours() {
    in_namespace(|| {
        let tap = Tap::open(&TapConfig {
            mtu: Some(9000),
            ..config(1)
        })
        .unwrap();
        assert!(tap.made_by_us());
        assert_eq!((tap.queues().len(), tap.mtu()), (1, 9000));
        let seen = link("vm1").unwrap();
        assert_eq!((seen.index, seen.mtu, seen.up), (tap.index(), 9000, true));
        assert_eq!(seen.alias.as_deref(), Some(OWN_ALIAS));
        let tun = seen.tun.unwrap();
        assert!(tun.tap && tun.persistent && !tun.multi_queue);
        assert_eq!(tun.owner, Some(rustix::process::geteuid().as_raw()));
    });
}

#[test]
fn a_tap_that_we_made_goes_on_a_clean_end() {
    in_namespace(|| {
        let tap = Tap::open(&config(2)).unwrap();
        tap.remove_if_ours().unwrap();
        assert_eq!(link("vm1"), None);
    });
}

#[test]
fn a_tap_that_somebody_deleted_is_no_trouble_at_the_end() {
    in_namespace(|| {
        let tap = Tap::open(&config(1)).unwrap();
        ip("link del vm1");
        tap.remove_if_ours().unwrap();
    });
}

#[test]
fn a_tap_outlives_a_kill_and_the_next_run_knows_it_as_ours() {
    in_namespace(|| {
        drop(Tap::open(&config(1)).unwrap());
        assert!(link("vm1").is_some(), "dropped without the clean end");
        let tap = Tap::open(&config(1)).unwrap();
        assert!(tap.made_by_us());
        tap.remove_if_ours().unwrap();
        assert_eq!(link("vm1"), None);
    });
}

#[test]
fn a_tap_of_somebody_else_is_used_and_stays() {
    in_namespace(|| {
        ip("tuntap add dev vm1 mode tap user 12345");
        ip("link set vm1 alias netqos-vhost");
        let tap = Tap::open(&config(1)).unwrap();
        assert!(!tap.made_by_us(), "another alias is not our mark");
        assert!(link("vm1").unwrap().up);
        tap.remove_if_ours().unwrap();
        let left = link("vm1").unwrap();
        assert!(left.tun.unwrap().persistent && !left.carrier);
        assert_eq!(left.tun.unwrap().owner, Some(12345));
    });
}

#[test]
fn without_the_capability_only_the_owner_gets_in() {
    in_namespace(|| {
        ip("tuntap add dev vm1 mode tap user 12345");
        ip("tuntap add dev vm2 mode tap user 0");
        drop_net_admin();
        let error = open_error(&config(1));
        assert!(
            matches!(
                error,
                TapError::NotOwner {
                    owner: Some(12345),
                    uid: 0,
                    ..
                }
            ),
            "{error}"
        );
        let ours = Tap::open(&TapConfig {
            name: name("vm2"),
            mtu: Some(1400),
            ..config(1)
        })
        .unwrap();
        assert_eq!(ours.mtu(), 1500, "what may not be set is left");
        let absent = open_error(&TapConfig {
            name: name("vm3"),
            ..config(1)
        });
        assert!(matches!(absent, TapError::MayNotMake { .. }), "{absent}");
        assert!(absent.to_string().contains("CAP_NET_ADMIN"));
    });
}

#[test]
fn a_multi_queue_tap_is_matched_whatever_was_asked() {
    in_namespace(|| {
        ip("tuntap add dev vm1 mode tap multi_queue");
        assert_eq!(Tap::open(&config(4)).unwrap().queues().len(), 4);
        assert_eq!(Tap::open(&config(1)).unwrap().queues().len(), 1);
        ip("tuntap add dev vm2 mode tap");
        let single = TapConfig {
            name: name("vm2"),
            ..config(2)
        };
        let error = open_error(&single);
        assert!(
            matches!(error, TapError::SingleQueue { queues: 2, .. }),
            "{error}"
        );
    });
}

#[test]
fn a_taken_tap_is_called_busy_after_a_second_with_one_queue_or_many() {
    for queues in [1, 2] {
        in_namespace(move || {
            let _held = Tap::open(&config(queues)).unwrap();
            let start = Instant::now();
            let error = open_error(&config(queues));
            assert!(matches!(error, TapError::Busy { .. }), "{error}");
            let waited = start.elapsed();
            assert!(
                waited >= BUSY_PATIENCE && waited < 2 * BUSY_PATIENCE,
                "{waited:?}"
            );
        });
    }
}

#[test]
fn a_tap_that_becomes_free_after_100_ms_is_had() {
    in_namespace(|| {
        let held = Tap::open(&config(1)).unwrap();
        let holder = thread::spawn(move || {
            thread::sleep(Duration::from_millis(100));
            drop(held);
        });
        let start = Instant::now();
        assert!(Tap::open(&config(1)).unwrap().made_by_us());
        assert!(start.elapsed() < Duration::from_millis(500));
        holder.join().unwrap();
    });
}

#[test]
fn a_device_that_is_no_tap_is_refused_by_its_kind() {
    in_namespace(|| {
        ip("link add vm1 type veth peer name other");
        let error = open_error(&config(1));
        assert!(
            matches!(&error, TapError::NotATap { kind, .. } if kind == "veth"),
            "{error}"
        );
        ip("link del vm1");
        ip("tuntap add dev vm1 mode tun");
        let error = open_error(&config(1));
        assert!(matches!(error, TapError::Layer3 { .. }), "{error}");
        let loopback = open_error(&TapConfig {
            name: name("lo"),
            ..config(1)
        });
        assert!(matches!(loopback, TapError::NotATap { .. }), "{loopback}");
    });
}

#[test]
fn the_carrier_is_off_until_it_is_turned_on_and_after_the_end() {
    in_namespace(|| {
        let tap = Tap::open(&config(2)).unwrap();
        let carrier = || link("vm1").unwrap().carrier;
        assert!(!carrier());
        tap.set_carrier(true).unwrap();
        assert!(carrier());
        tap.set_carrier(false).unwrap();
        assert!(!carrier());
        tap.set_carrier(true).unwrap();
        drop(tap);
        assert!(!carrier());
    });
}

#[test]
fn the_tap_joins_its_bridge_and_a_bad_bridge_makes_no_tap() {
    in_namespace(|| {
        let with_bridge = |bridge| TapConfig {
            bridge: Some(name(bridge)),
            ..config(1)
        };
        let error = open_error(&with_bridge("br0"));
        assert!(matches!(error, TapError::NoBridge(_)), "{error}");
        let error = open_error(&with_bridge("lo"));
        assert!(matches!(error, TapError::NotABridge { .. }), "{error}");
        assert_eq!(link("vm1"), None);

        ip("link add br0 type bridge");
        let bridge = link("br0").unwrap().index;
        let tap = Tap::open(&with_bridge("br0")).unwrap();
        assert_eq!(link("vm1").unwrap().master, Some(bridge));
        tap.remove_if_ours().unwrap();

        ip("tuntap add dev vm1 mode tap");
        let _tap = Tap::open(&with_bridge("br0")).unwrap();
        assert_eq!(
            link("vm1").unwrap().master,
            Some(bridge),
            "an existing tap as well"
        );
    });
}

#[test]
fn offloads_are_probed_and_taken() {
    in_namespace(|| {
        let tap = Tap::open(&config(1)).unwrap();
        let found = tap.probe_offloads().unwrap();
        assert!(
            found.csum && found.tso4 && found.tso6 && found.tso_ecn,
            "{found:?}"
        );
        tap.set_offload(found).unwrap();
        tap.set_offload(Offload::NONE).unwrap();
    });
}

#[test]
fn the_mtu_follows() {
    in_namespace(|| {
        let mut tap = Tap::open(&config(1)).unwrap();
        tap.set_mtu(2000).unwrap();
        assert_eq!((tap.mtu(), link("vm1").unwrap().mtu), (2000, 2000));
    });
}

#[test]
fn a_queue_taken_out_is_sent_nothing() {
    in_namespace(|| {
        let mut tap = Tap::open(&config(2)).unwrap();
        tap.set_carrier(true).unwrap();
        ip("addr add 192.0.2.1/24 dev vm1");
        for (out, left) in [(0, 1), (1, 0)] {
            tap.set_queue_enabled(left, true).unwrap();
            tap.set_queue_enabled(out, false).unwrap();
            tap.set_queue_enabled(out, false).unwrap();
            provoke_arp(u8::try_from(left).unwrap() + 2);
            wait_for_arp(&tap.queues()[left]);
        }
        let error = tap.set_queue_enabled(2, true).unwrap_err();
        assert!(
            matches!(error, TapError::NoSuchQueue { index: 2, .. }),
            "{error}"
        );
    });
}

#[test]
fn the_only_queue_of_a_single_queue_tap_stays_in() {
    in_namespace(|| {
        let mut tap = Tap::open(&config(1)).unwrap();
        tap.set_queue_enabled(0, true).unwrap();
        assert!(tap.set_queue_enabled(0, false).is_err());
    });
}

#[test]
fn what_the_host_sends_is_read_behind_twelve_bytes_of_header() {
    in_namespace(|| {
        let tap = Tap::open(&config(1)).unwrap();
        tap.set_carrier(true).unwrap();
        ip("addr add 192.0.2.1/24 dev vm1");
        provoke_arp(2);
        wait_for_arp(&tap.queues()[0]);
    });
}

/// Makes the host ask for the address of 192.0.2.`host`.
fn provoke_arp(host: u8) {
    let socket = std::net::UdpSocket::bind("192.0.2.1:0").unwrap();
    socket
        .send_to(b"x", (std::net::Ipv4Addr::new(192, 0, 2, host), 9))
        .unwrap();
}

/// Reads until an ARP request comes; IPv6 chatter may come before it.
fn wait_for_arp(queue: &OwnedFd) {
    let deadline = Instant::now() + Duration::from_secs(5);
    let mut frame = [0; 2048];
    loop {
        match rustix::io::read(queue, &mut frame) {
            Ok(n) if frame[VNET_HDR_BYTES + 12..n].starts_with(&[0x08, 0x06]) => {
                assert_eq!(frame[VNET_HDR_BYTES..][..6], [0xff; 6], "to everybody");
                return;
            }
            Ok(_) => {}
            Err(e) => assert_eq!(e, rustix::io::Errno::AGAIN, "the queue does not block"),
        }
        assert!(Instant::now() < deadline, "no ARP request came");
        thread::sleep(Duration::from_millis(1));
    }
}
