use qos::ClassConfig;

use super::*;
use crate::plan::{self, Ids};

#[test]
fn the_trees_are_shown_by_name_in_the_operators_units() {
    let sample = concat!(env!("CARGO_MANIFEST_DIR"), "/share/config/host.toml");
    let trees = Config::load(Path::new(sample)).unwrap().trees();
    let (from_guest, rest) = trees.split_once("\n\n").unwrap();
    assert_eq!(
        from_guest,
        "\
from_guest of uplink wan (packet eth1): ceil 300Mbit
  small: unlimited, weight 1, hold
  medium: unlimited, weight 2, hold
  large: unlimited, weight 4, hold
  exchange: rate 100Mbit, weight 1
    by: 2 rules, the rest to bulk
    voice: rate 20Mbit, flows
    bulk: ceil 200Mbit, prio 1, flows"
    );
    assert!(rest.starts_with("to_guest of uplink wan"), "{rest}");
    assert!(rest.ends_with("\n1 uplink, 4 guests, 10 classes: all in order\n"));
}

#[test]
fn guests_that_are_alike_are_shown_once_and_no_line_is_too_long() {
    let config = parse(&with_uplink(
        r#"
[[guest]]
name = "a-rather-long-name-for-a-guest-{n}"
count = 3
socket = "/{n}"
to_guest = { rate = "1mbit", burst = "3k", ceil = "2mbit", cburst = "4k", pps = 100, ppsburst = 8, weight = 3, prio = 2, overhead = 38, mpu = 64, quantum = 1538, pace = true, flows = { target = "10ms" } }
[[guest]]
name = "b"
socket = "/b"
"#,
    ))
    .unwrap();
    let trees = config.trees();
    assert!(
        trees.contains("\n  a-rather-long-name-for-a-guest-1 and 2 more like it, to"),
        "{trees}"
    );
    assert!(
        trees.contains("flows of 1024 frames, 10ms to 100ms"),
        "{trees}"
    );
    for line in trees.lines() {
        assert!(line.chars().count() <= 80, "{line}");
    }
}

#[test]
fn a_whole_tree_has_every_class_once_and_knows_whose_it_is() {
    let config = parse(
        r#"
uplink = [{ name = "u", kind = "none", mtu = 9000 }, { name = "v", kind = "none" }]
[guest.a]
socket = "/a"
uplink = "v"
[guest."b{n}"]
count = 2
socket = "/b{n}"
uplink = "u"
from_guest = { default = "y", class = [{ name = "x" }, { name = "y", parent = "x" }] }
"#,
    )
    .unwrap();
    let whole = plan::whole(&config, 0, Direction::FromGuest, &mut Ids::default());
    whole.tree.check().unwrap();
    assert_eq!(whole.tree.unit_wire_bytes, 9038);
    // Each class is there once for the uplink and once for local frames.
    let mut owners: Vec<_> = whole.owners.values().copied().collect();
    owners.sort_unstable();
    owners.dedup();
    assert_eq!(owners, [(1, 0), (1, 1), (1, 2), (2, 0), (2, 1), (2, 2)]);
    assert_eq!(whole.owners.len(), 12);
    let parent = |class: &ClassConfig| {
        let own = whole.owners.get(&class.id)?;
        let parent = class.parent.and_then(|parent| whole.owners.get(&parent));
        Some((own.1, parent.map(|parent| (parent.0 == own.0, parent.1))))
    };
    for (class, above) in whole.tree.classes.iter().filter_map(parent) {
        assert_eq!(above, class.checked_sub(1).map(|above| (true, above)));
    }
    let other = |uplink| plan::whole(&config, uplink, Direction::ToGuest, &mut Ids::default());
    assert_eq!(other(1).owners.len(), 2);
    assert!(other(2).tree.classes.is_empty());
}
