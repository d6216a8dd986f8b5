use std::path::Path;

use proptest::prelude::*;
use qos::{ClassId, FlowCounters};

use super::*;
use crate::config::{Config, Direction};
use crate::shard::{PortId, PortInquiry};

/// A child may be written before its parent.
const FILE: &str = r#"
[uplink.lan]
kind = "none"
[guest.vm1]
socket = "/nowhere/vm1.sock"
[guest.vm1.from_guest]
rate = "2mbit"
ceil = "50mbit"
pps = "1000"
default = "mail"
class = [
    { name = "voice", parent = "work", rate = "1mbit", prio = 1 },
    { name = "work", rate = "1mbit", weight = 7 },
    { name = "files", parent = "work" },
    { name = "mail" },
]
rule = [{ dscp = "EF", class = "voice" }, { dscp = "AF11", class = "files" }]
"#;

const GUEST: usize = 0;
const VOICE: usize = 1;
const WORK: usize = 2;
const FILES: usize = 3;
const MAIL: usize = 4;

fn tree() -> GuestTree {
    let config = Config::parse(Path::new("sample.toml"), FILE).unwrap();
    config.guests[0].tree(Direction::FromGuest).clone()
}

/// What was counted of each class, and of each twin: `(sent, queued, throttled)`.
fn counted(tree: &GuestTree, numbers: &[[(u32, u8, u8); 2]]) -> Vec<ClassInquiry> {
    let ids = (0..).zip(&tree.classes);
    let ids = ids.map(|(at, _)| [0, 1].map(|twin| ClassId::new(9, 2 * at + twin)));
    let [mut classes, _] = PortInquiry::new(PortId(0), [ids.collect(), Vec::new()]).classes;
    for (class, numbers) in classes.iter_mut().zip(numbers) {
        for (at, &(sent, queued, throttled)) in numbers.iter().enumerate() {
            class.twins[at] = Some(ClassSnapshot {
                id: class.ids[at],
                parent: None,
                state: State::Idle,
                queued: queued.into(),
                stats: ClassStats {
                    sent: FlowCounters {
                        frames: sent.into(),
                        bytes: 100 * u64::from(sent),
                        ..FlowCounters::default()
                    },
                    throttled: throttled.into(),
                    throttled_nanos: 1000 * u64::from(throttled),
                    ..ClassStats::default()
                },
            });
            class.sojourn.add(u64::from(sent));
        }
    }
    classes
}

proptest! {
    #[test]
    fn a_guest_is_the_sum_of_its_classes_and_an_inner_class_of_those_below_it(
        numbers in any::<[[(u32, u8, u8); 2]; 5]>()
    ) {
        let tree = tree();
        let counted = counted(&tree, &numbers);
        let sums = sums(&tree, &counted);
        for twin in 0..2 {
            let own = |at: usize| u64::from(numbers[at][twin].0);
            let sum = |at: usize| sums[at][twin].stats.sent.frames;
            for leaf in [VOICE, FILES, MAIL] {
                prop_assert_eq!(sum(leaf), own(leaf));
            }
            prop_assert_eq!(sum(WORK), own(WORK) + own(VOICE) + own(FILES));
            prop_assert_eq!(sum(GUEST), own(GUEST) + sum(WORK) + own(MAIL));
        }
        let report = direction(&DirectionCounters::default(), &tree, &counted);
        let both = |of: fn(&Sum) -> u64| sums[GUEST].iter().map(of).sum::<u64>();
        prop_assert_eq!(report.queued, both(|sum| sum.queued));
        prop_assert_eq!(report.throttled, both(|sum| sum.stats.throttled));
        prop_assert_eq!(report.throttled_nanos, both(|sum| sum.stats.throttled_nanos));
        prop_assert_eq!(report.sojourn.total(), 10);
    }
}

#[test]
fn what_is_not_in_the_tree_counts_nothing() {
    let tree = tree();
    let mut counted = counted(&tree, &[[(1, 1, 1); 2]; 5]);
    counted[VOICE].twins = [None; 2];
    assert_eq!(sums(&tree, &counted)[GUEST][0].stats.sent.frames, 4);
    counted.clear();
    let report = direction(&DirectionCounters::default(), &tree, &counted);
    assert_eq!((report.queued, report.sojourn.total()), (0, 0));
}

#[test]
fn limits_are_those_of_the_file() {
    let tree = tree();
    let guest = limits(&tree.classes[GUEST]);
    assert_eq!(
        (guest.rate, guest.ceil),
        (Some(2_000_000), Some(50_000_000))
    );
    assert_eq!((guest.pps, guest.weight, guest.prio), (Some(1000), None, 0));
    assert_eq!(limits(&tree.classes[WORK]).weight, Some(7));
    assert_eq!(limits(&tree.classes[VOICE]).prio, 1);
}
