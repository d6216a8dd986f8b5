//! The compiled classifier against one that tries every rule, on frames built from a specification; and
//! hostile bytes.
#![allow(clippy::unwrap_used)] // in helpers, too, a panic is a failed test
#![allow(clippy::cast_possible_truncation)] // of numbers drawn below a small bound

mod common;

use common::Rng;
use common::frames::{PORTS, Spec, pick};
use common::naive::{Naive, Sight};
use proptest::prelude::*;
use qos::classify::{
    Action, CipsoMatch, Classifier, ClassifierConfig, Dscp, EtherType, Fate, Fragment, Headers,
    Mark, Match, Place, Prefix, ProgramConfig, Protocol, Range, Rule, TcpFlags, Verdict, rewrite,
};
use qos::{
    ClassConfig, ClassId, FrameShape, Framing, LimiterConfig, PacketBurst, Span, Time, TreeConfig,
};

const ROOT: ClassId = ClassId::new(1, 0);

/// Children of the root are 1:1 to 1:3; the first two have three children each.
fn child(parent: ClassId, number: u16) -> ClassId {
    ClassId::new(1, parent.minor * 16 + number)
}

fn tree() -> TreeConfig {
    let mut classes = vec![ClassConfig::new(ROOT)];
    for number in 1..=3 {
        let guest = child(ROOT, number);
        classes.push(ClassConfig::new(guest).parent(ROOT));
        let leaves = (1..=3).filter(|_| number < 3);
        classes.extend(leaves.map(|leaf| ClassConfig::new(child(guest, leaf)).parent(guest)));
    }
    TreeConfig::new(classes)
}

fn range<T: qos::classify::Bound>(rng: &mut Rng, among: &[T]) -> Range<T> {
    let (one, other) = (pick(rng, among), pick(rng, among));
    Range::new(one.min(other), one.max(other)).unwrap()
}

/// A match of a few fields, whose values frames have as well.
fn random_match(rng: &mut Rng) -> Match {
    const PREFIXES: [&str; 8] = [
        "192.0.2.0/24",
        "192.0.2.200",
        "0.0.0.0/0",
        "192.0.0.0/8",
        "255.255.255.255",
        "2001:db8::/32",
        "2001:db8:1::/48",
        "::/0",
    ];
    let mut rule = Match::all();
    let prefix = |rng: &mut Rng| pick(rng, &PREFIXES).parse::<Prefix>();
    let marks = [
        (0, 1),
        (1, 1),
        (0x10, 0xf0),
        (0, u32::MAX),
        (0x11, u32::MAX),
    ];
    for _ in 0..rng.below(4) {
        rule = match rng.below(15) {
            0 => rule.dscp(Dscp::new(pick(rng, &[0, 10, 46, 63, 8])).unwrap()),
            1 => rule.vlan(pick(rng, &[0, 1, 100, 4095])),
            2 => rule.vlan_priority(pick(rng, &[0, 1, 3, 7])),
            3 => {
                rule.ethertype(EtherType::new(pick(rng, &[0x800, 0x806, 0x86dd, 0x8100])).unwrap())
            }
            4 => rule.source(prefix(rng).unwrap_or_else(|_| "192.0.0.0/9".parse().unwrap())),
            5 => rule.destination(prefix(rng).unwrap_or_else(|_| "192.0.0.0/9".parse().unwrap())),
            6 => rule.protocol(Protocol(pick(rng, &[6, 17, 132, 1]))),
            7 => rule.source_port(range(rng, &PORTS)),
            8 => rule.destination_port(range(rng, &PORTS)),
            9 => rule.tcp_flags(
                pick(rng, &["syn,!ack", "ack", "!syn", "fin"])
                    .parse::<TcpFlags>()
                    .unwrap(),
            ),
            10 => rule.length(range(rng, &[0, 60, 74, 100, 400, u32::MAX])),
            11 => {
                let (value, mask) = pick(rng, &marks);
                rule.mark(Mark::new(value, mask))
            }
            12 => {
                let level = (rng.below(2) == 0).then(|| range(rng, &[0_u8, 2, 3, 255]));
                rule.cipso(CipsoMatch {
                    doi: pick(rng, &[1, 7]),
                    level,
                })
            }
            13 => rule.fragment(rng.below(2) == 0),
            _ => rule,
        };
    }
    rule
}

fn random_action(rng: &mut Rng) -> Action {
    match rng.below(4) {
        0 => Action::SetMark(Mark::new(
            rng.bits() as u32,
            pick(rng, &[0x11, 0xff, u32::MAX]),
        )),
        1 => Action::SetDscp(Dscp::new(rng.below(64) as u8).unwrap()),
        2 => Action::SetVlanPriority(rng.below(8) as u8),
        _ => Action::Police(LimiterConfig {
            rate: (rng.below(2) == 0).then(|| "1mbit".parse().unwrap()),
            pps: Some("1kpps".parse().unwrap()),
            pps_burst: PacketBurst::Segments(2),
            ..LimiterConfig::default()
        }),
    }
}

fn random_program(rng: &mut Rng, class: ClassId, below: &[ClassId]) -> ProgramConfig {
    let count = match rng.below(4) {
        0 => 60 + rng.below(140),
        _ => rng.below(12),
    } as usize;
    let mut program = ProgramConfig::new(class);
    for number in 1..=count {
        let mut rule = Rule::new(random_match(rng));
        for _ in 0..rng.below(3) {
            rule = rule.action(random_action(rng));
        }
        let later = count - number;
        program.rules.push(match rng.below(5) {
            0 if later > 0 => rule.goto(number + 1 + rng.below(later as u64) as usize),
            1 if !below.is_empty() => rule.class(pick(rng, below)),
            2 if rng.below(4) == 0 => rule.discard(),
            _ => rule,
        });
    }
    program.default = (!below.is_empty()).then(|| pick(rng, below));
    program
}

/// Programs for the root, both guests that need one, and a leaf.
fn random_config(rng: &mut Rng) -> ClassifierConfig {
    let guests: Vec<_> = (1..=3).map(|number| child(ROOT, number)).collect();
    let leaves = |guest| (1..=3).map(|leaf| child(guest, leaf)).collect::<Vec<_>>();
    let all = guests
        .iter()
        .take(2)
        .flat_map(|&guest| leaves(guest))
        .chain(guests.clone());
    ClassifierConfig::new(vec![
        random_program(rng, guests[0], &leaves(guests[0])),
        random_program(rng, leaves(guests[1])[1], &[]),
        random_program(rng, ROOT, &all.collect::<Vec<_>>()),
        random_program(rng, guests[1], &leaves(guests[1])),
    ])
}

fn len(bytes: &[u8]) -> u32 {
    u32::try_from(bytes.len()).unwrap()
}

/// A frame that has come to this class and no further.
fn untouched(class: ClassId, mark: u32) -> Verdict {
    Verdict {
        fate: Fate::Leaf(class),
        mark,
        set_dscp: None,
        set_vlan_priority: None,
        by: Place { class, rule: None },
    }
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
        let tag = |tag: qos::classify::VlanTag| (tag.id, tag.priority.into(), tag.dei);
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
