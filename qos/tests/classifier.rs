//! The compiled classifier against one that tries every rule, on frames built from a specification; and
//! hostile bytes.
#![allow(clippy::unwrap_used)] // in helpers, too, a panic is a failed test
#![allow(clippy::cast_possible_truncation)] // of numbers drawn below a small bound

mod common;

use common::Rng;
use common::frames::{Spec, pick};
use common::naive::{Naive, Sight};
use common::rules::{ROOT, child, random_config, tree, untouched};
use proptest::prelude::*;
use qos::classify::{Classifier, Dscp, EtherType, Fragment, Headers, Protocol, VlanTag, rewrite};
use qos::{FrameShape, Framing, Span, Time};

fn len(bytes: &[u8]) -> u32 {
    u32::try_from(bytes.len()).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn compiled_rules_decide_as_rules_tried_one_by_one(seed in any::<u64>()) {
        let mut rng = Rng(seed);
        let config = random_config(&mut rng);
        let mut classifier = Classifier::new(&tree(), &config).unwrap();
        let mut naive = Naive::new(&config);
        let mut now = Time::ZERO;
        for _ in 0..60 {
            let spec = Spec::random(&mut rng);
            let (bytes, _) = spec.bytes();
            let sight = Sight { spec: &spec, len: len(&bytes) };
            let mark = pick(&mut rng, &[0, 1, 0x11, 0xffff]);
            let cost = Framing::ETHERNET.cost(FrameShape::single(sight.len));
            let class = pick(&mut rng, &[ROOT, child(ROOT, 1), child(ROOT, 2), child(child(ROOT, 2), 2)]);
            let entry = classifier.entry(class).unwrap();
            let headers = Headers::parse(&bytes, sight.len, mark);
            let got = classifier.classify_from(entry, &headers, cost, now);
            let want = naive.run(untouched(class, mark), &sight, cost, now);
            prop_assert_eq!(got, want, "{:?}", &spec);
            now = now.saturating_add(Span::from_nanos(rng.below(1_000_000)));
        }
        for counters in classifier.counters() {
            let of = |counts: &std::collections::HashMap<_, u64>| counts.get(&counters.place).copied();
            prop_assert_eq!(counters.matches, of(&naive.matches).unwrap_or(0));
            prop_assert_eq!(counters.policed, of(&naive.policed).unwrap_or(0));
        }
    }

    #[test]
    fn headers_say_what_the_frame_was_built_from(seed in any::<u64>()) {
        let spec = Spec::random(&mut Rng(seed));
        let (bytes, _) = spec.bytes();
        let sight = Sight { spec: &spec, len: len(&bytes) };
        let headers = Headers::parse(&bytes, sight.len, 5);
        let packet = spec.readable();
        let tci = |at: usize| spec.tags.get(at).map(|tci| (tci & 0xfff, tci >> 13, tci >> 12 & 1 == 1));
        let tag = |tag: VlanTag| (tag.id, tag.priority.into(), tag.dei);
        prop_assert_eq!(headers.vlan.map(tag), tci(0));
        prop_assert_eq!(headers.inner_vlan.map(tag), tci(1));
        prop_assert_eq!(headers.ethertype, EtherType::new(spec.seen_ethertype()));
        prop_assert_eq!(headers.source, packet.map(|packet| packet.source));
        prop_assert_eq!(headers.destination, packet.map(|packet| packet.destination));
        prop_assert_eq!(headers.dscp, packet.map(|packet| Dscp::of_octet(packet.class)));
        prop_assert_eq!(headers.ecn, packet.map(|packet| packet.class % 4));
        prop_assert_eq!(headers.protocol, sight.protocol().map(Protocol));
        prop_assert_eq!(headers.source_port.zip(headers.destination_port), sight.ports());
        prop_assert_eq!(headers.tcp_flags, sight.flags());
        prop_assert_eq!(headers.fragment != Fragment::Whole, sight.is_fragment());
        let label = headers.cipso.map(|label| (label.doi, label.level.unwrap()));
        prop_assert_eq!(label, packet.and_then(|packet| packet.label));
    }

    #[test]
    fn truncated_frames_have_ports_only_if_the_transport_header_is_there(seed in any::<u64>()) {
        let spec = Spec::random(&mut Rng(seed));
        let (bytes, transport) = spec.bytes();
        let sight = Sight { spec: &spec, len: len(&bytes) };
        let need = spec.packet.as_ref().and_then(common::frames::Packet::transport);
        for known in 0..=bytes.len() {
            let head = Headers::parse(&bytes[..known], sight.len, 0);
            let there = need.is_some_and(|need| known >= transport + need);
            let ports = head.source_port.zip(head.destination_port);
            prop_assert_eq!(ports, sight.ports().filter(|_| there));
            prop_assert_eq!(head.tcp_flags, sight.flags().filter(|_| there));
            // A frame that really ends here contradicts its own lengths, or is only less padded.
            let cut = Headers::parse(&bytes, u32::try_from(known).unwrap(), 0);
            prop_assert!(cut.source_port.is_none() || there);
        }
    }

    #[test]
    fn damaged_bytes_neither_panic_nor_are_read_beyond_the_frame(seed in any::<u64>()) {
        let mut rng = Rng(seed);
        let config = random_config(&mut rng);
        let mut classifier = Classifier::new(&tree(), &config).unwrap();
        for _ in 0..50 {
            let (mut bytes, _) = Spec::random(&mut rng).bytes();
            for _ in 0..1 + rng.below(4) {
                let at = rng.below(bytes.len() as u64) as usize;
                bytes[at] = rng.bits() as u8;
            }
            if rng.below(8) == 0 {
                bytes.iter_mut().skip(12).for_each(|byte| *byte = rng.bits() as u8);
            }
            bytes.truncate(rng.below(bytes.len() as u64 + 1) as usize);
            let claimed = pick(&mut rng, &[len(&bytes), 0, 14, 60, u32::MAX]);
            let headers = Headers::parse(&bytes, claimed, 0);
            // Ethernet, IPv4 and UDP headers are the least in front of a port.
            prop_assert!(headers.source_port.is_none() || bytes.len().min(claimed as usize) >= 14 + 20 + 8);
            prop_assert_eq!(headers.source_port.is_some(), headers.destination_port.is_some());
            let beyond = [&bytes[..], &[0xa5; 64]].concat();
            prop_assert_eq!(
                Headers::parse(&bytes, len(&bytes), 0),
                Headers::parse(&beyond, len(&bytes), 0)
            );
            let cost = Framing::ETHERNET.cost(FrameShape::single(claimed));
            let verdict = classifier.classify(&headers, cost, Time::ZERO).unwrap();
            let before = bytes.clone();
            rewrite::apply(&mut bytes, &verdict);
            rewrite::mark_ce(&mut bytes);
            // Priority, checksum, and a class that IPv6 spreads over two octets.
            let changed = bytes.iter().zip(&before).filter(|(now, then)| now != then).count();
            prop_assert!(changed <= 4, "{changed} octets");
        }
    }
}
