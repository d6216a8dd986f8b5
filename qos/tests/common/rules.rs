//! Rules drawn at random, over a small tree: all kinds of matches, on values that frames have as well.
#![allow(clippy::cast_possible_truncation)] // of numbers drawn below a small bound

use qos::classify::{
    Action, Bound, CipsoMatch, ClassifierConfig, Dscp, EtherType, Fate, Mark, Match, Place, Prefix,
    ProgramConfig, Protocol, Range, Rule, TcpFlags, Verdict,
};
use qos::{ClassConfig, ClassId, LimiterConfig, PacketBurst, TreeConfig};

use super::Rng;
use super::frames::{PORTS, pick};

pub(crate) const ROOT: ClassId = ClassId::new(1, 0);

/// Children of the root are 1:1 to 1:3; the first two have three children each.
pub(crate) fn child(parent: ClassId, number: u16) -> ClassId {
    ClassId::new(1, parent.minor * 16 + number)
}

pub(crate) fn tree() -> TreeConfig {
    let mut classes = vec![ClassConfig::new(ROOT)];
    for number in 1..=3 {
        let guest = child(ROOT, number);
        classes.push(ClassConfig::new(guest).parent(ROOT));
        let leaves = (1..=3).filter(|_| number < 3);
        classes.extend(leaves.map(|leaf| ClassConfig::new(child(guest, leaf)).parent(guest)));
    }
    TreeConfig::new(classes)
}

fn range<T: Bound>(rng: &mut Rng, among: &[T]) -> Range<T> {
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
        3 => 60 + rng.below(140),
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
pub(crate) fn random_config(rng: &mut Rng) -> ClassifierConfig {
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

/// A frame that has come to this class and no further.
pub(crate) fn untouched(class: ClassId, mark: u32) -> Verdict {
    Verdict {
        fate: Fate::Leaf(class),
        mark,
        set_dscp: None,
        set_vlan_priority: None,
        by: Place { class, rule: None },
    }
}
