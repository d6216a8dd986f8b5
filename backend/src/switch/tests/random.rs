//! Properties over frames and tables that no one thought of.

use std::collections::HashMap;

use proptest::collection::vec;
use proptest::prelude::*;

use super::frames::{arp, ip, ipv6_with, neighbour, piece, udp};
use super::*;

const OWN: &str = "fe80::5054:ff:fe00:1";

fn guarded() -> PortRules {
    strict(1, &["192.0.2.1/32", "2001:db8::1/128"])
}

fn any_rules() -> impl Strategy<Value = PortRules> {
    let vlan = prop_oneof![
        Just(VlanConfig::Transparent),
        (1..4_u16).prop_map(VlanConfig::Access),
        (vec(1..4_u16, 0..3), proptest::option::of(1..4_u16))
            .prop_map(|(vlans, native)| VlanConfig::Trunk { vlans, native }),
    ];
    (vlan, any::<[bool; 2]>(), proptest::option::of(0..2_u32)).prop_map(
        |(vlan, [ip, router], isolation)| PortRules {
            mac: None,
            addresses: if ip { guarded().addresses } else { Vec::new() },
            vlan,
            isolation,
            trust: Trust {
                router,
                dhcp_server: router,
            },
        },
    )
}

/// Frames that get past the first checks, with some bytes changed.
fn near_frames() -> impl Strategy<Value = Vec<u8>> {
    let packets = prop::sample::select(vec![
        ip("192.0.2.1", "192.0.2.2", 17, &udp(67, 68)),
        ip(
            "192.0.2.1",
            "239.1.2.3",
            2,
            &[0x22, 0, 0, 0, 0, 0, 0, 2, 4, 0, 0, 0, 239, 1, 2, 3],
        ),
        ip(OWN, "ff02::1", 58, &neighbour(136, OWN, Some((2, mac(1))))),
        ip("::", "ff02::1", 58, &neighbour(135, "2001:db8::1", None)),
        ip(
            OWN,
            "ff02::16",
            58,
            &[143, 0, 0, 0, 0, 0, 0, 1, 4, 0, 0, 0, 0xff, 2, 0, 0],
        ),
        ipv6_with(
            OWN.parse().unwrap(),
            "ff02::1".parse().unwrap(),
            &[(0, [0; 7]), piece(1)],
            58,
            &[130; 24],
        ),
    ]);
    let plain = packets.prop_map(|packet| Frame::to([0x33, 0x33, 0, 0, 0, 5]).packet(packet));
    let arps = Just(Frame::to(frames::BROADCAST).ethertype(0x0806).payload(arp(
        1,
        mac(1),
        "192.0.2.1",
        "192.0.2.2",
    )));
    let frame = prop_oneof![4 => plain, 1 => arps];
    let changes = vec((any::<prop::sample::Index>(), any::<u8>()), 0..4);
    (
        frame,
        vec(0..5_u16, 0..3),
        changes,
        any::<prop::sample::Index>(),
    )
        .prop_map(|(frame, tags, changes, cut)| {
            let frame = tags.into_iter().fold(frame.from(mac(1)), Frame::tag);
            let mut bytes = frame.bytes();
            for (at, byte) in changes {
                let at = at.index(bytes.len());
                bytes[at] = byte;
            }
            // Mostly whole.
            let len = bytes.len();
            bytes.truncate(len.min(cut.index(4 * len)));
            bytes
        })
}

proptest! {
    #[test]
    fn no_bytes_do_harm(
        rules in vec(any_rules(), 1..5),
        frames in vec((0..6_u32, prop_oneof![near_frames(), vec(any::<u8>(), 0..200)], any::<Option<u16>>()), 1..40),
    ) {
        let mut switch = switch(rules);
        for (now, (port, bytes, tag)) in (0..).zip(&frames) {
            let now = now * 40 * SECOND;
            let from = switch.from_guest(*port, bytes, now);
            let down = switch.from_uplink(bytes, *tag, now);
            for forward in [from, down].into_iter().flatten() {
                if let Forward::Flood(flood) = forward {
                    let ports: Vec<_> = switch.receivers(&flood).map(|to| to.port).collect();
                    let mut once = ports.clone();
                    once.sort_unstable();
                    once.dedup();
                    prop_assert_eq!(once.len(), ports.len());
                    prop_assert!(!ports.iter().any(|port| Some(*port) == flood.source));
                }
            }
        }
    }

    /// Frames that are only glanced at go where they would go by the tables, whatever happens in between.
    #[test]
    fn what_was_seen_before_goes_where_the_tables_say(
        rules in vec(any_rules(), 4),
        owned: [bool; 4],
        events in vec((0..4_u32, 0..6_u8, 0..6_u8, 0..3_u16, 0..24_u8, 0..200_000_000_u64), 1..200),
    ) {
        let rules: Vec<_> = rules.into_iter().zip(owned).zip(1..).map(|((rules, owned), last)| {
            let mac = if owned { owner(last).mac } else { None };
            PortRules { mac, ..rules }
        }).collect();
        let (mut quick, mut slow) = (switch(rules.clone()), switch(rules.clone()));
        let mut now = 0;
        for (port, source, destination, tag, event, pause) in events {
            now += pause;
            let frame = Frame::to(mac(destination)).from(mac(source));
            let frame = match tag {
                0 => frame,
                tag => frame.tag(tag),
            };
            let bytes = frame.packet(ip("192.0.2.1", "192.0.2.2", 17, &udp(1000, 2000))).bytes();
            let both = [&mut quick, &mut slow];
            match event {
                0 => both.into_iter().for_each(|switch| switch.remove_port(port)),
                1 => {
                    let rules = &rules[port as usize];
                    let [one, other] = both.map(|switch| switch.set_port(port, rules.clone()));
                    prop_assert_eq!(one, other);
                }
                2 | 3 => {
                    let [one, other] = both.map(|switch| switch.from_uplink(&bytes, None, now));
                    prop_assert_eq!(one, other);
                }
                _ => {
                    let expected = slow.from_guest(port, &bytes, now);
                    let seen = quick.again(port, &bytes, now);
                    let found = seen.map(|port| {
                        let tag = TagChange::Keep;
                        Forward::Port(Delivery { port, tag })
                    });
                    let found = found.map_or_else(|| quick.from_guest(port, &bytes, now), Ok);
                    prop_assert_eq!(found, expected);
                }
            }
        }
    }

    /// The oracle reads the frame where its own layout puts the addresses, not as the switch does.
    #[test]
    fn a_spoofed_source_never_passes(
        source: [u8; 6],
        last: u8,
        v4: [u8; 4],
        v6: [u8; 16],
        protocol: u8,
        payload in vec(any::<u8>(), 0..64),
        tags in vec(0..5_u16, 0..3),
        which in 0..4_u8,
    ) {
        let mut switch = switch([guarded(), owner(2)]);
        let v4 = std::net::Ipv4Addr::from(v4);
        let v6 = std::net::Ipv6Addr::from(v6);
        prop_assume!(!v4.is_unspecified() && v4.octets() != [192, 0, 2, 1]);
        prop_assume!(!v6.is_unspecified() && source != mac(1));
        let own = |frame: Frame| tags.iter().fold(frame.from(mac(1)), |frame, tag| frame.tag(*tag));
        let to = Frame::to(mac(last));
        let (frame, expected) = match which {
            0 => (to.from(source).payload(payload), Refused::SpoofedMac),
            1 => (own(to.packet(ip(&v4.to_string(), "192.0.2.2", protocol, &payload))), Refused::SpoofedIp),
            2 => (own(to.packet(ip(&v6.to_string(), "ff02::1", protocol, &payload))), Refused::SpoofedIp),
            _ => (own(to.ethertype(0x0806).payload(arp(last, mac(1), &v4.to_string(), "192.0.2.2"))), Refused::SpoofedArp),
        };
        prop_assert_eq!(switch.from_guest(0, &frame.bytes(), 0), Err(expected));
    }

    /// What passes is the port's own by the classifier's reading too, which is another parser's.
    #[test]
    fn what_passes_names_its_sender(frame in near_frames()) {
        let mut switch = switch([guarded()]);
        if switch.from_guest(0, &frame, 0).is_ok() {
            let len = u32::try_from(frame.len()).unwrap();
            let headers = qos::Headers::parse(&frame, len, 0);
            prop_assert_eq!(headers.source_mac, mac(1));
            let own = |address: std::net::IpAddr| {
                address.is_unspecified()
                    || guarded().addresses.iter().any(|net| net.contains(&address))
                    || address.to_string() == OWN
            };
            prop_assert!(headers.source.is_none_or(own), "{:?}", headers.source);
            let server = headers.destination_port.is_some_and(|port| {
                headers.protocol.is_some_and(|protocol| protocol.0 == 17) && (port == 68 || port == 546)
            });
            prop_assert!(!server);
        }
    }

    /// Learning against a map without bounds or places, in tables small enough to fill.
    #[test]
    fn learning_agrees_with_a_naive_model(
        steps in vec((0..4_u32, 0..12_u8, 0..12_u8, 0..60_u64), 1..200),
    ) {
        const AGE: u64 = 100 * SECOND;
        let limits = Limits { stations: 8, stations_per_port: 4, uplink_stations: 0,
            station_age: Duration::from_nanos(AGE), ..Limits::default() };
        let mut switch = Switch::new(limits, SEED);
        for port in 0..3 {
            switch.set_port(port, open()).unwrap();
        }
        let mut model: HashMap<u8, (u32, u64)> = HashMap::new();
        let mut now = 0;
        for (port, from, to, wait) in steps {
            now += wait * SECOND;
            let frame = Frame::to(mac(to)).from(mac(from)).bytes();
            let forward = if port == 3 {
                model.remove(&from);
                switch.from_uplink(&frame, None, now)
            } else {
                let known = model.get(&from).is_some_and(|(at, _)| *at == port);
                if !known {
                    model.retain(|_, (_, seen)| now - *seen < AGE);
                }
                let held = model.values().filter(|(at, _)| *at == port).count();
                let moved = model.contains_key(&from);
                if known || (held < 4 && (moved || model.len() < 8)) {
                    model.insert(from, (port, now));
                }
                switch.from_guest(port, &frame, now)
            };
            let at = model.get(&to).filter(|(_, seen)| now - *seen < AGE).map(|(at, _)| *at);
            match (at, forward) {
                (Some(at), Ok(Forward::Port(to))) => prop_assert_eq!(at, to.port),
                (Some(at), Err(Refused::Hairpin)) => prop_assert_eq!(at, port),
                (None, Ok(Forward::Flood(_))) => {}
                other => prop_assert!(false, "{:?}", other),
            }
            prop_assert_eq!(switch.stations(), model.len());
        }
    }
}
