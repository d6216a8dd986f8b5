//! What guarded ports may send. Hostile rows 96 and 97.

use proptest::prelude::*;

use super::*;
use Refused::{
    Hidden, RogueDhcp, RogueRouter, SpoofedArp, SpoofedIp, SpoofedMac, SpoofedNd, Truncated,
};
use frames::{arp, ip, ipv4_piece, ipv6_with, neighbour, piece, udp};

/// The link-local address that `mac(1)` makes.
const OWN: &str = "fe80::5054:ff:fe00:1";
const MINE: &str = "2001:db8::1";

/// A port that owns `mac(1)`, 192.0.2.1, 198.18.1.0/24 and 2001:db8::1.
fn port() -> PortRules {
    strict(1, &["192.0.2.1/32", "198.18.1.0/24", "2001:db8::1/128"])
}

fn frame() -> Frame {
    Frame::to(mac(9)).from(mac(1))
}

/// What becomes of a frame; whether it goes to the uplink or is flooded is not asked.
fn fate(rules: PortRules, frame: &Frame) -> Result<(), Refused> {
    let mut switch = switch([rules]);
    switch.from_guest(0, &frame.bytes(), 0).map(|_| ())
}

/// Tries packets on [`port`].
fn packets(cases: impl IntoIterator<Item = (Vec<u8>, Result<(), Refused>)>) {
    for (row, (packet, expected)) in cases.into_iter().enumerate() {
        assert_eq!(fate(port(), &frame().packet(packet)), expected, "row {row}");
    }
}

#[test]
fn frames_come_from_the_ports_own_address() {
    for source in [mac(2), frames::BROADCAST, [0; 6], [0x53, 0x54, 0, 0, 0, 1]] {
        assert_eq!(fate(owner(1), &frame().from(source)), Err(SpoofedMac));
    }
    assert_eq!(fate(owner(1), &frame()), Ok(()));
    // A group's address is nobody's, whoever is guarded.
    let group = frame().from([1, 0, 0x5e, 0, 0, 1]);
    assert_eq!(fate(isolated(1, open()), &group), Err(SpoofedMac));
}

#[test]
fn packets_come_from_the_ports_own_addresses() {
    let tcp = [0; 20];
    packets([
        (ip("192.0.2.1", "192.0.2.2", 6, &tcp), Ok(())),
        (ip("198.18.1.200", "192.0.2.2", 6, &tcp), Ok(())),
        (ip("198.18.2.1", "192.0.2.2", 6, &tcp), Err(SpoofedIp)),
        (ip("0.0.0.0", "192.0.2.2", 6, &tcp), Err(SpoofedIp)),
        (ip("127.0.0.1", "192.0.2.2", 6, &tcp), Err(SpoofedIp)),
        (ip(MINE, "2001:db8::2", 6, &tcp), Ok(())),
        (ip("2001:db8::2", MINE, 6, &tcp), Err(SpoofedIp)),
        (ip(OWN, "ff02::1", 17, &udp(1, 2)), Ok(())),
        (ip("fe80::7", "ff02::1", 17, &udp(1, 2)), Err(SpoofedIp)),
        (ip("::", "ff02::1", 17, &udp(1, 2)), Err(SpoofedIp)),
    ]);
}

#[test]
fn without_addresses_any_may_be_used() {
    for source in ["192.0.2.77", "0.0.0.0"] {
        let packet = ip(source, "192.0.2.2", 6, &[0; 20]);
        assert_eq!(fate(owner(1), &frame().packet(packet)), Ok(()));
    }
    for source in ["fe80::7", "2001:db8::7", "::"] {
        let packet = ip(source, "ff02::1", 6, &[0; 20]);
        assert_eq!(fate(owner(1), &frame().packet(packet)), Ok(()));
    }
    let listed = strict(1, &["fe80::/10"]);
    let packet = ip("fe80::7", "ff02::1", 6, &[0; 20]);
    assert_eq!(fate(listed, &frame().packet(packet)), Ok(()));
}

#[test]
fn what_is_sent_before_there_is_an_address_passes() {
    let all = "255.255.255.255";
    let probe = neighbour(135, MINE, None);
    packets([
        (ip("0.0.0.0", all, 17, &udp(68, 67)), Ok(())),
        (ip("0.0.0.0", all, 17, &udp(69, 67)), Err(SpoofedIp)),
        (ip("0.0.0.0", "224.0.0.22", 2, &[0x22; 8]), Ok(())),
        (ip("::", "ff02::1:ff00:1", 58, &probe), Ok(())),
        (ip("::", "ff02::2", 58, &[133, 0, 0, 0, 0, 0, 0, 0]), Ok(())),
        (
            ip("::", "ff02::16", 58, &[143, 0, 0, 0, 0, 0, 0, 0]),
            Ok(()),
        ),
        (
            ip("::", "ff02::1", 58, &[128, 0, 0, 0, 0, 0, 0, 0]),
            Err(SpoofedIp),
        ),
    ]);
}

#[test]
fn arp_names_its_sender() {
    let cases = [
        (arp(1, mac(1), "192.0.2.1", "192.0.2.2"), Ok(())),
        (arp(2, mac(1), "198.18.1.7", "192.0.2.2"), Ok(())),
        (arp(1, mac(1), "0.0.0.0", "192.0.2.1"), Ok(())),
        (arp(1, mac(2), "192.0.2.1", "192.0.2.2"), Err(SpoofedArp)),
        (arp(2, mac(1), "192.0.2.2", "192.0.2.9"), Err(SpoofedArp)),
        (
            arp(2, mac(1), "192.0.2.1", "192.0.2.2")[..27].to_vec(),
            Err(Truncated),
        ),
        (
            [&[0, 6], &arp(1, mac(1), "192.0.2.1", "192.0.2.2")[2..]].concat(),
            Err(SpoofedArp),
        ),
    ];
    for (row, (packet, expected)) in cases.into_iter().enumerate() {
        for ethertype in [0x0806, 0x8035] {
            let frame = frame().ethertype(ethertype).payload(packet.clone());
            assert_eq!(fate(port(), &frame), expected, "row {row}");
        }
    }
    let frame = frame().ethertype(0x0806);
    let spoofed = frame
        .clone()
        .payload(arp(2, mac(2), "192.0.2.9", "0.0.0.0"));
    assert_eq!(fate(owner(1), &spoofed), Err(SpoofedArp));
    let any = frame
        .clone()
        .payload(arp(2, mac(1), "192.0.2.9", "0.0.0.0"));
    assert_eq!(fate(owner(1), &any), Ok(()));
    // Where only the role counts, the sender does not.
    assert_eq!(fate(isolated(1, open()), &spoofed), Ok(()));
    // A port with addresses and no Ethernet address of its own still names what it sends from.
    let floating = || PortRules {
        mac: None,
        ..port()
    };
    let payload = arp(2, mac(1), "192.0.2.1", "0.0.0.0");
    assert_eq!(fate(floating(), &frame.clone().payload(payload)), Ok(()));
    assert_eq!(fate(floating(), &spoofed), Err(SpoofedArp));
}

#[test]
fn neighbour_discovery_names_its_sender() {
    let all = "ff02::1";
    let node = "ff02::1:ff00:1";
    let me = Some((1, mac(1)));
    let other = Some((1, mac(2)));
    let nd = |from, to, message: Vec<u8>| ip(from, to, 58, &message);
    packets([
        (nd(MINE, node, neighbour(135, "2001:db8::2", me)), Ok(())),
        (nd(MINE, node, neighbour(135, "2001:db8::2", None)), Ok(())),
        (
            nd(MINE, node, neighbour(135, "2001:db8::2", other)),
            Err(SpoofedNd),
        ),
        (
            nd("::", node, neighbour(135, "2001:db8::2", None)),
            Err(SpoofedNd),
        ),
        (nd("::", node, neighbour(135, OWN, None)), Ok(())),
        (
            nd(MINE, all, neighbour(136, MINE, Some((2, mac(1))))),
            Ok(()),
        ),
        (nd(MINE, all, neighbour(136, OWN, None)), Ok(())),
        (
            nd(MINE, all, neighbour(136, "2001:db8::2", Some((2, mac(1))))),
            Err(SpoofedNd),
        ),
        (
            nd(MINE, all, neighbour(136, MINE, Some((2, mac(2))))),
            Err(SpoofedNd),
        ),
        (
            nd("2001:db8::2", all, neighbour(136, MINE, None)),
            Err(SpoofedIp),
        ),
        (
            nd(MINE, all, neighbour(136, MINE, None)[..23].to_vec()),
            Err(Truncated),
        ),
        (
            nd(MINE, all, [neighbour(136, MINE, None), vec![2, 0]].concat()),
            Err(SpoofedNd),
        ),
        (
            nd(MINE, all, [neighbour(136, MINE, None), vec![2]].concat()),
            Err(Truncated),
        ),
        (
            nd(
                MINE,
                all,
                [neighbour(136, MINE, None), vec![2, 2, 0, 0]].concat(),
            ),
            Err(Truncated),
        ),
        // The second of two options lies.
        (
            nd(
                MINE,
                all,
                [
                    neighbour(136, MINE, Some((2, mac(1)))),
                    vec![2, 1, 0, 0, 0, 0, 0, 0],
                ]
                .concat(),
            ),
            Err(SpoofedNd),
        ),
        (
            nd(
                OWN,
                "ff02::2",
                [vec![133, 0, 0, 0, 0, 0, 0, 0, 1, 1], mac(2).to_vec()].concat(),
            ),
            Err(SpoofedNd),
        ),
    ]);
    // Padding of the frame is no option.
    let mut packet = nd(MINE, all, neighbour(136, MINE, None));
    packet.extend([2, 0, 0, 0]);
    assert_eq!(fate(port(), &frame().packet(packet)), Ok(()));
}

#[test]
fn only_servers_answer_dhcp() {
    let all = "255.255.255.255";
    let rogue = [
        ip("192.0.2.1", all, 17, &udp(67, 68)),
        ip("192.0.2.1", all, 17, &udp(6767, 68)),
        ip(OWN, "fe80::2", 17, &udp(547, 546)),
        ipv4_piece(
            [192, 0, 2, 1].into(),
            [192, 0, 2, 2].into(),
            17,
            0x2000,
            &udp(67, 68),
        ),
        ipv6_with(
            OWN.parse().unwrap(),
            "fe80::2".parse().unwrap(),
            &[(60, [0; 7])],
            17,
            &udp(547, 546),
        ),
    ];
    let trust = Trust {
        dhcp_server: true,
        router: false,
    };
    for packet in rogue {
        let frame = frame().packet(packet);
        assert_eq!(fate(port(), &frame), Err(RogueDhcp));
        assert_eq!(fate(isolated(1, open()), &frame), Err(RogueDhcp));
        assert_eq!(fate(PortRules { trust, ..port() }, &frame), Ok(()));
        assert_eq!(fate(open(), &frame), Ok(()));
    }
    packets([
        (ip(OWN, "ff02::1:2", 17, &udp(546, 547)), Ok(())),
        (
            ip("192.0.2.1", "192.0.2.2", 17, &udp(67, 68)[..3]),
            Err(Truncated),
        ),
    ]);
}

#[test]
fn only_routers_advertise_and_redirect() {
    let trust = Trust {
        dhcp_server: false,
        router: true,
    };
    let advertisement = [vec![134], vec![0; 15], vec![1, 1], mac(1).to_vec()].concat();
    let redirect = [vec![137], vec![0; 39], vec![2, 1], mac(7).to_vec()].concat();
    let (own, all) = (OWN.parse().unwrap(), "ff02::1".parse().unwrap());
    let rogue = [
        ip(OWN, "ff02::1", 58, &advertisement),
        ip(OWN, "fe80::2", 58, &redirect),
        ip("192.0.2.1", "192.0.2.2", 1, &[5, 1, 0, 0, 0, 0, 0, 0]),
        ip("192.0.2.1", "224.0.0.1", 1, &[9, 0, 0, 0, 0, 0, 0, 0]),
        ipv6_with(own, all, &[(0, [0; 7]), (60, [0; 7])], 58, &advertisement),
    ];
    for packet in rogue {
        let frame = frame().packet(packet);
        assert_eq!(fate(port(), &frame), Err(RogueRouter));
        assert_eq!(fate(isolated(1, open()), &frame), Err(RogueRouter));
        assert_eq!(fate(PortRules { trust, ..port() }, &frame), Ok(()));
        assert_eq!(fate(open(), &frame), Ok(()));
    }
    // Trust does not extend to the addresses of others.
    let lie = [vec![134], vec![0; 15], vec![1, 1], mac(2).to_vec()].concat();
    let frame = frame().packet(ip(OWN, "ff02::1", 58, &lie));
    assert_eq!(fate(PortRules { trust, ..port() }, &frame), Err(SpoofedNd));
}

#[test]
fn fragments_and_long_chains_hide_nothing() {
    let (own, all) = (OWN.parse().unwrap(), "ff02::1".parse().unwrap());
    let other = "2001:db8::2".parse().unwrap();
    let echo = [128, 0, 0, 0, 0, 0, 0, 0];
    let advertisement = [vec![134], vec![0; 15]].concat();
    let v6 = |from, extensions: &[_], payload: &[u8]| ipv6_with(from, all, extensions, 58, payload);
    let v4 = |from: [u8; 4], place, payload: &[u8]| {
        ipv4_piece(from.into(), [192, 0, 2, 2].into(), 17, place, payload)
    };
    packets([
        // A first fragment is judged by its headers, a later one by its addresses.
        (v6(own, &[piece(1)], &echo), Ok(())),
        (
            v6(own, &[piece(1)], &neighbour(136, OWN, None)),
            Err(Hidden),
        ),
        (v6(own, &[piece(1)], &advertisement), Err(Hidden)),
        (v6(own, &[piece(0)], &advertisement), Err(RogueRouter)),
        (v6(own, &[piece(1)], &[]), Err(Hidden)),
        (v6(own, &[piece(8)], &advertisement), Ok(())),
        (v6(other, &[piece(8)], &echo), Err(SpoofedIp)),
        (v6(other, &[piece(1)], &echo), Err(SpoofedIp)),
        (
            v6(std::net::Ipv6Addr::UNSPECIFIED, &[piece(8)], &echo),
            Err(SpoofedIp),
        ),
        // Two fragment headers are no way around.
        (v6(own, &[piece(0), piece(1)], &advertisement), Err(Hidden)),
        (v6(own, &[(60, [0; 7]); 7], &echo), Ok(())),
        (v6(own, &[(60, [0; 7]); 9], &echo), Err(Hidden)),
        (v4([192, 0, 2, 1], 0x2000, &udp(1, 2)), Ok(())),
        (v4([192, 0, 2, 1], 0x2000, &[]), Err(Hidden)),
        (v4([192, 0, 2, 1], 0x0001, &udp(67, 68)), Ok(())),
        (v4([192, 0, 2, 9], 0x0001, &udp(1, 2)), Err(SpoofedIp)),
        (v4([0, 0, 0, 0], 0x0001, &udp(68, 67)), Err(SpoofedIp)),
    ]);
}

#[test]
fn a_header_that_ends_behind_its_packet_hides_what_it_extends() {
    // The packet ends within the extension header; what follows is padding that pretends to be TCP.
    let (own, all) = (OWN.parse().unwrap(), "ff02::1".parse().unwrap());
    let mut packet = ipv6_with(
        own,
        all,
        &[piece(1), (60, [1, 0, 0, 0, 0, 0, 0])],
        6,
        &[0; 40],
    );
    packet[4..6].copy_from_slice(&16_u16.to_be_bytes());
    assert_eq!(fate(port(), &frame().packet(packet)), Err(Hidden));
}

#[test]
fn what_is_cut_short_or_malformed_is_refused() {
    let whole = frame().packet(ip("192.0.2.1", "192.0.2.2", 6, &[0; 20]));
    let bytes = whole.bytes();
    let mut switch = switch([port()]);
    for len in 14..34 {
        assert_eq!(switch.from_guest(0, &bytes[..len], 0), Err(Truncated));
    }
    assert_eq!(switch.from_guest(0, &bytes[..34], 0), TO_UPLINK);
    let v6 = frame().packet(ip(MINE, "2001:db8::2", 6, &[0; 20])).bytes();
    for len in 14..54 {
        assert_eq!(switch.from_guest(0, &v6[..len], 0), Err(Truncated));
    }
    for (at, byte) in [(14, 0x44), (14, 0x65), (14, 0x4f), (17, 19)] {
        let mut bad = bytes.clone();
        bad[at] = byte;
        assert_eq!(switch.from_guest(0, &bad, 0), Err(Hidden), "{at}");
        assert_eq!(switch.from_guest(0, &bad[..34], 0), Err(Hidden), "{at}");
    }
    let mut bad = v6;
    bad[14] = 0x40;
    assert_eq!(switch.from_guest(0, &bad[..54], 0), Err(Hidden));
}

#[test]
fn ip_in_another_encapsulation_is_refused() {
    for (oui, ethertype, expected) in [
        (0, 0x0800_u16, Err(Hidden)),
        (0xf8, 0x0806, Err(Hidden)),
        (0, 0x86dd, Err(Hidden)),
        (0, 0x809b, Ok(())),
    ] {
        let llc = [&[0xaa, 0xaa, 3, 0, 0, oui][..], &ethertype.to_be_bytes()].concat();
        let payload = [llc, ip("192.0.2.9", "192.0.2.2", 6, &[0; 20])].concat();
        let frame = frame().ethertype(48).payload(payload);
        assert_eq!(fate(port(), &frame), expected);
    }
}

proptest! {
    /// A glance lets nothing pass that a close look would not, and looks closely at little.
    #[test]
    fn a_glance_sees_no_more_than_a_close_look(
        source in prop::sample::select(vec!["192.0.2.1", "198.18.1.200", "198.18.2.1", "0.0.0.0"]),
        protocol in prop::sample::select(vec![1_u8, 2, 6, 17, 47]),
        to_port in prop::sample::select(vec![53_u16, 67, 68]),
        own_mac in any::<bool>(),
        addressed in any::<bool>(),
        pokes in prop::collection::vec((0..60_usize, any::<u8>()), 0..3),
        len in 0..70_usize,
    ) {
        let addresses: Vec<ipnet::IpNet> = match addressed {
            true => vec!["192.0.2.1/32".parse().unwrap(), "198.18.1.0/24".parse().unwrap()],
            false => Vec::new(),
        };
        let owned = own_mac.then(|| crate::args::MacAddr::try_from(mac(1)).unwrap());
        let guard = crate::switch::guard::Guard::new(owned, addresses, Trust::default());
        let frame = frame().packet(ip(source, "192.0.2.2", protocol, &udp(9, to_port)));
        let mut bytes = frame.bytes();
        let honest = pokes.is_empty() && len >= bytes.len() && matches!(protocol, 6 | 17);
        for (at, value) in pokes {
            if let Some(byte) = bytes.get_mut(at) {
                *byte = value;
            }
        }
        bytes.truncate(len);
        let close = guard.check(&bytes).is_ok();
        if guard.passes(&bytes) {
            prop_assert!(close);
        } else if honest {
            prop_assert!(!close, "an ordinary frame needs no close look");
        }
    }
}
