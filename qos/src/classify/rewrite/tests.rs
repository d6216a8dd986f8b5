use super::*;
use crate::class::ClassId;
use crate::classify::{Fate, Headers, Place};

/// The one's complement sum of a header; zero, as 0xffff, where its checksum is right.
fn sum(header: &[u8]) -> u32 {
    let words = header
        .chunks(2)
        .map(|word| u32::from(u16::from_be_bytes([word[0], word[1]])));
    let sum: u32 = words.sum();
    (sum & 0xffff) + (sum >> 16)
}

/// A frame whose IPv4 header has this type of service, identification and a right checksum.
fn ipv4(tags: &[u8], tos: u8, id: u16) -> Vec<u8> {
    let [i0, i1] = id.to_be_bytes();
    let mut packet = [
        0x45, tos, 0, 20, i0, i1, 0, 0, 64, 17, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2,
    ];
    let checksum = !u16::try_from(sum(&packet)).unwrap();
    packet[10..12].copy_from_slice(&checksum.to_be_bytes());
    [&[0; 12][..], tags, &[8, 0], &packet].concat()
}

fn ipv6(class: u8) -> Vec<u8> {
    let head = [0x86, 0xdd, 0x60 | class >> 4, class << 4 | 0xa, 0xbc, 0xde];
    [&[0; 12][..], &head, &[0; 36]].concat()
}

fn read(frame: &[u8]) -> Headers {
    Headers::parse(frame, u32::try_from(frame.len()).unwrap(), 0)
}

#[test]
fn every_change_of_the_code_point_leaves_a_right_checksum() {
    for tos in 0..=255 {
        for (value, id) in (0..64).zip((0..=u16::MAX).step_by(1021)) {
            let mut frame = ipv4(&[], tos, id);
            assert!(set_dscp(&mut frame, Dscp::new(value).unwrap()));
            assert_eq!(frame[15], value << 2 | tos & 3, "the ECN bits stay");
            assert_eq!(sum(&frame[14..]), 0xffff, "{tos} {value} {id}");
            frame[15] = tos;
            frame[24..26].copy_from_slice(&[0, 0]);
            let mut want = ipv4(&[], tos, id);
            want[24..26].copy_from_slice(&[0, 0]);
            assert_eq!(frame, want, "nothing else changed");
        }
    }
}

#[test]
fn congestion_is_marked_only_for_senders_that_can_be_told() {
    for tos in 0..=255_u8 {
        let (capable, want) = (tos & 3 != 0, if tos & 3 != 0 { tos | 3 } else { tos });
        let mut frame = ipv4(&[], tos, 0x1234);
        assert_eq!(mark_ce(&mut frame), capable);
        assert_eq!((frame[15], sum(&frame[14..])), (want, 0xffff));
        let mut frame = ipv6(tos);
        assert_eq!(mark_ce(&mut frame), capable);
        assert_eq!(frame, ipv6(want));
    }
}

#[test]
fn the_flow_label_stays() {
    let mut frame = ipv6(0xff);
    assert!(set_dscp(&mut frame, Dscp::new(0).unwrap()));
    assert_eq!(frame, ipv6(0x03));
}

#[test]
fn priorities_go_into_the_outer_tag_only() {
    let tags = [0x88, 0xa8, 0x10, 0x64, 0x81, 0, 0x20, 7];
    let mut frame = ipv4(&tags, 0, 0);
    assert!(set_vlan_priority(&mut frame, 6));
    let headers = read(&frame);
    let (outer, inner) = (headers.vlan.unwrap(), headers.inner_vlan.unwrap());
    assert_eq!((outer.id, outer.priority, outer.dei), (100, 6, true));
    assert_eq!((inner.id, inner.priority), (7, 1));
    assert!(set_dscp(&mut frame, Dscp::new(46).unwrap()));
    assert_eq!(sum(&frame[22..]), 0xffff);
    let mut plain = ipv4(&[], 0, 0);
    assert!(!set_vlan_priority(&mut plain, 6));
    assert_eq!(plain, ipv4(&[], 0, 0));
}

#[test]
fn a_verdict_is_applied_as_far_as_the_frame_has_the_fields() {
    let verdict = Verdict {
        fate: Fate::Leaf(ClassId::new(1, 1)),
        mark: 0,
        set_dscp: Dscp::new(46),
        set_vlan_priority: Some(5),
        by: Place {
            class: ClassId::new(1, 0),
            rule: None,
        },
    };
    let mut frame = ipv4(&[0x81, 0, 0, 9], 0, 0);
    apply(&mut frame, &verdict);
    let headers = read(&frame);
    assert_eq!(
        (headers.dscp, headers.vlan.map(|tag| tag.priority)),
        (Dscp::new(46), Some(5))
    );
    let mut arp = [&[0; 12][..], &[8, 6], &[0; 28]].concat();
    let before = arp.clone();
    apply(&mut arp, &verdict);
    assert_eq!(arp, before);
}

#[test]
fn truncated_and_damaged_headers_are_left_alone() {
    for whole in [ipv4(&[0x81, 0, 0, 1], 2, 0), ipv6(2)] {
        for len in 0..whole.len() {
            let mut head = whole[..len].to_vec();
            set_dscp(&mut head, Dscp::new(46).unwrap());
            mark_ce(&mut head);
            assert_eq!(head, whole[..len], "{len}");
        }
    }
    for version in [0x44, 0x65, 0x05] {
        let mut frame = ipv4(&[], 2, 0);
        frame[14] = version;
        assert!(!mark_ce(&mut frame));
    }
}
