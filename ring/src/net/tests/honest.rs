use super::*;

#[test]
fn a_super_frame_is_counted_by_its_segments() {
    for (frame, kind, start, offset, gso) in [
        (tcp4(3001), 1, 34, 16, Gso::Tcp4),
        (tcp6(3001), 4, 54, 16, Gso::Tcp6),
        (udp4(3001), 5, 34, 6, Gso::Udp),
    ] {
        let facts = check(header(1, kind, 1000, start, offset), &frame).unwrap();
        assert_eq!((facts.gso, facts.segments, facts.gso_size), (gso, 4, 1000));
        assert_eq!(facts.payload_len(), 3001);
    }
}

#[test]
fn tags_options_and_extension_headers_are_stepped_over() {
    let segment = tcp(0x10, 3, &[7; 2000]);
    let tagged = join(ethernet(0x0800, &[5, 6]), &ipv4(6, 4, &segment));
    let facts = check(header(1, 1, 500, 58, 16), &tagged).unwrap();
    assert_eq!((facts.l3_offset, facts.l4_offset), (22, Some(58)));
    assert_eq!((facts.headers_len, facts.segments), (90, 4));
    assert_eq!((facts.dscp, facts.ip_ecn), (46, 2));
    let extended = join(ethernet(0x86dd, &[]), &ipv6(6, &[0, 60], &segment));
    let facts = check(header(1, 4, 500, 70, 16), &extended).unwrap();
    assert_eq!((facts.l4_offset, facts.headers_len), (Some(70), 102));
    assert_eq!((facts.dscp, facts.ip_ecn), (46, 0));
    assert_eq!(facts.tcp_flags, Some(0x10));
}

#[test]
fn extension_headers_are_followed_to_a_bound() {
    for (count, ports) in [(7, true), (8, false), (30, false)] {
        let packet = ipv6(17, &vec![60; count], &udp(&[1; 20]));
        let facts = check(NONE, &join(ethernet(0x86dd, &[]), &packet)).unwrap();
        assert_eq!(facts.network, Network::Ipv6);
        assert_eq!(facts.ports.is_some(), ports);
    }
}

#[test]
fn one_segments_worth_is_an_ordinary_frame_with_a_checksum_request() {
    let facts = check(header(1, 1, 1448, 34, 16), &tcp4(1448)).unwrap();
    assert_eq!((facts.gso, facts.segments), (Gso::None, 1));
    assert_eq!(facts.header()[..2], [1, 0]);
    assert!(facts.checksum.is_some());
}

#[test]
fn the_hosts_verdict_on_a_checksum_is_kept() {
    let frame = tcp4(100);
    let len = u32::try_from(frame.len()).unwrap();
    let facts = inspect_from_host(&header(2, 0, 0, 0, 0), &frame, len).unwrap();
    assert!(facts.data_valid);
    assert_eq!(facts.header()[0], 2);
    let outside = inspect_from_host(&header(1, 0, 0, 200, 0), &frame, len);
    assert_eq!(outside, Err(FrameFault::ChecksumRange));
}

#[test]
fn the_checksum_is_that_of_rfc_1071() {
    use super::checksum::{Sum, complete};
    // The example of RFC 1071 §3.
    let sum = Sum::default().bytes(&[0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7]);
    assert_eq!(sum.fold(), 0xddf2);
    assert_eq!(Sum::default().bytes(&[0xab]).fold(), 0xab00);
    let mut frame = [0xff; 8];
    let request = ChecksumRequest {
        start: 2,
        offset: 4,
    };
    frame[6..].fill(0);
    assert!(complete(&mut frame, request));
    assert_eq!(frame, [0xff; 8], "zero is sent as all ones");
    let outside = ChecksumRequest {
        start: 2,
        offset: 5,
    };
    assert!(!complete(&mut frame, outside));
}
