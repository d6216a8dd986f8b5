use super::*;

/// An Ethernet header, then `rest`, whose first word is the EtherType or a tag.
fn frame(rest: &[u8]) -> Vec<u8> {
    let macs = [2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2];
    [&macs[..], rest].concat()
}

fn parse(frame: &[u8]) -> Headers {
    Headers::parse(frame, u32::try_from(frame.len()).unwrap(), 7)
}

/// An IPv4 packet from 192.0.2.1 to 198.51.100.2, EF and ECT(0).
fn ipv4(options: &[u8], place: u16, protocol: u8, payload: &[u8]) -> Vec<u8> {
    let header = u8::try_from(20 + options.len()).unwrap();
    let total = u16::try_from(usize::from(header) + payload.len()).unwrap();
    let [t0, t1] = total.to_be_bytes();
    let [f0, f1] = place.to_be_bytes();
    let fixed = [
        0x40 | (header / 4),
        0xba,
        t0,
        t1,
        0,
        0,
        f0,
        f1,
        64,
        protocol,
        0,
        0,
    ];
    let addresses = [192, 0, 2, 1, 198, 51, 100, 2];
    frame(&[&[8, 0][..], &fixed, &addresses, options, payload].concat())
}

/// An IPv6 packet, CS1 and not capable of ECN.
fn ipv6(next: u8, payload: &[u8]) -> Vec<u8> {
    let [p0, p1] = u16::try_from(payload.len()).unwrap().to_be_bytes();
    let fixed = [0x62, 0x00, 0, 0, p0, p1, next, 64];
    let addresses = [[0x20; 16], [0xfd; 16]].concat();
    frame(&[&[0x86, 0xdd][..], &fixed, &addresses, payload].concat())
}

const TCP: [u8; 20] = [
    0x1f, 0x90, 0, 80, 0, 0, 0, 1, 0, 0, 0, 0, 0x50, 0x12, 0, 0, 0, 0, 0, 0,
];
const UDP: [u8; 8] = [0, 53, 0x30, 0x39, 0, 8, 0, 0];

fn ports(headers: &Headers) -> Option<(u16, u16)> {
    headers.source_port.zip(headers.destination_port)
}

#[test]
fn a_tcp_segment_has_everything() {
    let bytes = ipv4(&[], 0x4000, 6, &TCP);
    let headers = parse(&bytes);
    assert_eq!((headers.len, headers.mark), (54, 7));
    assert_eq!(headers.destination_mac, [2, 0, 0, 0, 0, 1]);
    assert_eq!(headers.source_mac, [2, 0, 0, 0, 0, 2]);
    assert_eq!(headers.ethertype, Some(EtherType::IPV4));
    assert_eq!(headers.source, Some("192.0.2.1".parse().unwrap()));
    assert_eq!(headers.destination, Some("198.51.100.2".parse().unwrap()));
    assert_eq!((headers.dscp, headers.ecn), (Dscp::new(46), Some(2)));
    assert_eq!(headers.protocol, Some(Protocol::TCP));
    assert_eq!(ports(&headers), Some((8080, 80)));
    assert_eq!(headers.tcp_flags, Some(0x12));
    assert_eq!(headers.fragment, Fragment::Whole);
}

#[test]
fn two_tags_are_read_and_a_third_ends_the_reading() {
    let inner = ipv4(&[], 0, 17, &UDP);
    let tagged = |tags: &[u8]| frame(&[tags, &inner[12..]].concat());
    let headers = parse(&tagged(&[0x88, 0xa8, 0xb0, 0x64, 0x81, 0, 0x20, 0x07]));
    let tag = |id, priority, dei| Some(VlanTag { id, priority, dei });
    assert_eq!(headers.vlan, tag(100, 5, true));
    assert_eq!(headers.inner_vlan, tag(7, 1, false));
    assert_eq!(ports(&headers), Some((53, 12345)));
    let headers = parse(&tagged(&[0x81, 0, 0xe0, 0]));
    assert_eq!((headers.vlan, headers.inner_vlan), (tag(0, 7, false), None));
    let headers = parse(&tagged(&[0x81, 0, 0, 1, 0x81, 0, 0, 2, 0x88, 0xa8, 0, 3]));
    assert_eq!(
        (headers.vlan, headers.inner_vlan),
        (tag(1, 0, false), tag(2, 0, false))
    );
    assert_eq!(headers.ethertype, Some(EtherType::SERVICE_VLAN));
    assert_eq!((headers.source, headers.protocol), (None, None));
}

#[test]
fn what_is_not_ip_is_only_an_ethertype() {
    let headers = parse(&frame(&[&[8, 6][..], &[0; 28]].concat()));
    assert_eq!(headers.ethertype, Some(EtherType::ARP));
    assert_eq!(
        (headers.source, headers.dscp, headers.protocol),
        (None, None, None)
    );
    let length = parse(&frame(&[&[0, 46][..], &[0; 46]].concat()));
    assert_eq!(length.ethertype, None);
}

#[test]
fn later_fragments_and_short_first_ones_have_no_ports() {
    let place = |place, payload: &[u8]| parse(&ipv4(&[], place, 6, payload));
    let first = place(0x2000, &TCP);
    assert_eq!(
        (first.fragment, ports(&first)),
        (Fragment::First, Some((8080, 80)))
    );
    let short = place(0x2000, &TCP[..16]);
    assert_eq!(
        (short.fragment, ports(&short), short.tcp_flags),
        (Fragment::First, None, None)
    );
    for offset in [1, 0x2001, 0x1fff] {
        let later = place(offset, &TCP);
        assert_eq!((later.fragment, ports(&later)), (Fragment::Later, None));
        assert_eq!(later.protocol, Some(Protocol::TCP));
    }
}

#[test]
fn damaged_ipv4_headers_say_nothing() {
    let good = ipv4(&[], 0, 17, &UDP);
    // Version, header length too short and too long for the packet, total length likewise.
    for (at, value) in [(14, 0x65), (14, 0x44), (14, 0x4f), (17, 19), (17, 29)] {
        let mut bytes = good.clone();
        bytes[at] = value;
        let headers = parse(&bytes);
        assert_eq!(headers.ethertype, Some(EtherType::IPV4));
        assert_eq!(
            (headers.source, headers.protocol),
            (None, None),
            "{at} {value}"
        );
    }
    let mut cut = good;
    cut[17] = 27;
    assert_eq!(
        ports(&parse(&cut)),
        None,
        "the packet ends inside of the UDP header"
    );
}

#[test]
fn tcp_headers_that_claim_to_be_shorter_than_they_are_have_no_ports() {
    let mut segment = TCP;
    segment[12] = 0x40;
    let headers = parse(&ipv4(&[], 0, 6, &segment));
    assert_eq!((ports(&headers), headers.tcp_flags), (None, None));
}

#[test]
fn eight_extension_headers_are_followed_and_no_ninth() {
    let chain = |count: usize| {
        let mut payload = Vec::new();
        for at in 0..count {
            let next = if at + 1 == count { 17 } else { DESTINATION };
            payload.extend([next, 0, 0, 0, 0, 0, 0, 0]);
        }
        payload.extend(UDP);
        parse(&ipv6(if count == 0 { 17 } else { DESTINATION }, &payload))
    };
    for count in 0..=8 {
        assert_eq!(chain(count).protocol, Some(Protocol::UDP), "{count}");
        assert_eq!(ports(&chain(count)), Some((53, 12345)), "{count}");
    }
    let nine = chain(9);
    assert_eq!((nine.protocol, ports(&nine)), (None, None));
    assert_eq!(nine.dscp, Dscp::new(8));
    assert_eq!(
        nine.destination,
        Some(IpAddr::V6(Ipv6Addr::from([0xfd; 16])))
    );
}

#[test]
fn every_kind_of_extension_header_has_its_own_length() {
    let ah = [
        17, 4, 0, 0, 1, 1, 1, 1, 0, 0, 0, 9, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3,
    ];
    let headers = parse(&ipv6(AUTHENTICATION, &[&ah[..], &UDP].concat()));
    assert_eq!(ports(&headers), Some((53, 12345)));
    let options = [17, 1, 1, 12, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    for kind in [HOP_BY_HOP, ROUTING, DESTINATION, MOBILITY, HIP, SHIM6] {
        let headers = parse(&ipv6(kind, &[&options[..], &UDP].concat()));
        assert_eq!(ports(&headers), Some((53, 12345)), "{kind}");
    }
    let late = [HOP_BY_HOP, 0, 0, 0, 0, 0, 0, 0];
    let headers = parse(&ipv6(DESTINATION, &[&late[..], &options, &UDP].concat()));
    assert_eq!(
        headers.protocol, None,
        "hop-by-hop options that are not first"
    );
    assert_eq!(parse(&ipv6(50, &UDP)).protocol, Some(Protocol(50)));
}

#[test]
fn ipv6_fragments_are_told_apart() {
    let fragment = |next, place: u16| {
        let [p0, p1] = place.to_be_bytes();
        parse(&ipv6(
            FRAGMENT,
            &[&[next, 0, p0, p1, 0, 0, 0, 1][..], &UDP].concat(),
        ))
    };
    let whole = fragment(17, 0);
    assert_eq!(
        (whole.fragment, ports(&whole)),
        (Fragment::Whole, Some((53, 12345)))
    );
    let first = fragment(17, 1);
    assert_eq!(
        (first.fragment, ports(&first)),
        (Fragment::First, Some((53, 12345)))
    );
    let later = fragment(17, 8);
    assert_eq!((later.fragment, ports(&later)), (Fragment::Later, None));
    assert_eq!(later.protocol, Some(Protocol::UDP));
    assert_eq!(fragment(DESTINATION, 8).protocol, None);
}

/// A label of domain 5 with these tags.
fn label(tags: &[u8]) -> Vec<u8> {
    let len = u8::try_from(tags.len() + 6).unwrap();
    [&[134, len, 0, 0, 0, 5][..], tags].concat()
}

fn cipso_of(options: &[u8]) -> Option<(u32, Option<u8>)> {
    let mut options = options.to_vec();
    options.resize(options.len().next_multiple_of(4), 0);
    let headers = parse(&ipv4(&options, 0, 17, &UDP));
    assert_eq!(ports(&headers), Some((53, 12345)), "options hide no ports");
    headers.cipso.map(|label| (label.doi, label.level))
}

#[test]
fn labels_are_found_among_the_options() {
    assert_eq!(cipso_of(&label(&[1, 4, 0, 3])), Some((5, Some(3))));
    assert_eq!(
        cipso_of(&label(&[1, 6, 0, 9, 0xff, 0xff])),
        Some((5, Some(9)))
    );
    assert_eq!(cipso_of(&label(&[2, 4, 0, 3])), Some((5, None)));
    assert_eq!(cipso_of(&label(&[])), Some((5, None)));
    let behind = [&[1, 148, 4, 0, 0][..], &label(&[1, 4, 0, 200])].concat();
    assert_eq!(cipso_of(&behind), Some((5, Some(200))));
}

#[test]
fn malformed_labels_are_none() {
    for tags in [
        &[1][..],
        &[1, 3, 0],
        &[1, 5, 0, 3],
        &[1, 0, 0, 3],
        &[2, 1, 0, 0],
        &[1, 4, 0, 3, 9],
    ] {
        assert_eq!(cipso_of(&label(tags)), None, "{tags:?}");
    }
    let long = [134, 40, 0, 0, 0, 5];
    for options in [
        &[134, 5, 0, 0, 0][..],
        &[134, 1],
        &[134],
        &[134, 0],
        &long,
        &[0, 134, 6],
    ] {
        assert_eq!(cipso_of(options), None, "{options:?}");
    }
    let hidden = [&[7, 1][..], &label(&[1, 4, 0, 3])].concat();
    assert_eq!(
        cipso_of(&hidden),
        None,
        "behind an option of impossible length"
    );
}

#[test]
fn bytes_beyond_the_frame_are_not_read() {
    let bytes = ipv4(&[], 0, 17, &UDP);
    for len in 0..bytes.len() {
        let short = Headers::parse(&bytes, u32::try_from(len).unwrap(), 0);
        assert_eq!(ports(&short), None, "{len}");
    }
    let head = Headers::parse(&bytes[..30], 42, 0);
    assert_eq!((head.source, head.protocol), (None, None));
    let head = Headers::parse(&bytes[..38], 42, 0);
    assert_eq!((head.protocol, ports(&head)), (Some(Protocol::UDP), None));
}
