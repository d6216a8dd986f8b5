use super::*;
use crate::class::{FlowsConfig, Terms};
use crate::units::{Burst, PacketBurst, PacketRate};
use crate::wire::Framing;

fn id(minor: u16) -> ClassId {
    ClassId::new(1, minor)
}

fn rate(text: &str) -> Rate {
    text.parse().unwrap()
}

/// Root 1:0 of 1 Gbit/s, and whatever `children` are.
fn tree(children: Vec<ClassConfig>) -> TreeConfig {
    let root = ClassConfig::new(id(0))
        .rate(rate("1gbit"))
        .ceil(rate("1gbit"));
    TreeConfig::new([vec![root], children].concat())
}

fn child(minor: u16) -> ClassConfig {
    ClassConfig::new(id(minor)).parent(id(0))
}

fn plan(tree: &TreeConfig) -> Vec<Planned> {
    Plan::new(tree).unwrap().classes
}

#[test]
fn every_kind_of_wrong_tree_is_refused_with_the_class_and_the_reason() {
    let small = |mut class: ClassConfig, burst| {
        class.burst = burst;
        class.cburst = burst;
        class
    };
    let mut paced = child(1);
    paced.pace = true;
    let mut no_quantum = child(1);
    no_quantum.quantum = Some(0);
    let mut pps = child(1);
    pps.pps = PacketRate::from_segments_per_second(1000);
    pps.pps_burst = PacketBurst::Duration(999_999);
    let flows = |change: fn(&mut FlowsConfig)| {
        let mut flows = FlowsConfig::default();
        change(&mut flows);
        tree(vec![child(1).queue(LeafQueue::Flows(flows))])
    };
    let no_share = TreeConfig {
        pool_share_percent: Some(0),
        ..tree(vec![child(1)])
    };
    let deep =
        |levels: u16| (1..levels).map(|minor| ClassConfig::new(id(minor)).parent(id(minor - 1)));
    let cases: Vec<(TreeConfig, &str)> = vec![
        (TreeConfig::default(), "no class is the root"),
        (
            tree(vec![ClassConfig::new(id(1))]),
            "class 1:1 has no parent, but 1:0 is the root",
        ),
        (
            tree(vec![child(1), child(2), child(1)]),
            "class 1:1 is defined twice",
        ),
        (
            tree(vec![child(1).parent(id(9))]),
            "class 1:1 has the parent 1:9",
        ),
        (
            tree(vec![child(1).parent(id(2)), child(2).parent(id(1))]),
            "class 1:1 does not lead to the root",
        ),
        (
            tree(vec![child(1).parent(id(1))]),
            "class 1:1 does not lead to the root",
        ),
        (tree(deep(9).collect()), "class 1:8 lies on level 9"),
        (tree(deep(90).collect()), "lies on level 9"),
        (tree(vec![child(1).weight(0)]), "class 1:1 has weight 0"),
        (tree(vec![no_quantum]), "class 1:1 has quantum 0"),
        (
            tree(vec![child(1).queue(LeafQueue::Fifo { frames: 0 })]),
            "class 1:1 may queue no frame",
        ),
        (no_share, "a leaf may hold 0 percent"),
        (
            flows(|flows| flows.frames = 0),
            "class 1:1 may queue no frame",
        ),
        (
            flows(|flows| flows.bytes = Some(0)),
            "class 1:1 may queue no frame",
        ),
        (
            flows(|flows| flows.buckets = 0),
            "class 1:1 may queue no frame",
        ),
        (
            flows(|flows| flows.buckets = 257),
            "class 1:1 has 257 buckets",
        ),
        (
            flows(|flows| flows.quantum = Some(0)),
            "class 1:1 has quantum 0",
        ),
        (tree(vec![child(1).prio(4)]), "class 1:1 has prio 4"),
        (
            tree(vec![child(1).rate(rate("2mbit")).ceil(rate("1mbit"))]),
            "class 1:1 is guaranteed 2Mbit",
        ),
        (
            tree(vec![
                child(1).rate(rate("600mbit")),
                child(2).rate(rate("401mbit")),
            ]),
            "class 1:0 are guaranteed 1001000000",
        ),
        (
            tree(vec![
                child(1),
                ClassConfig::new(id(2)).parent(id(1)).rate(rate("1mbit")),
            ]),
            "class 1:1 are guaranteed 1000000",
        ),
        (
            tree(vec![small(
                child(1).ceil(rate("1mbit")),
                Burst::Bytes(1537),
            )]),
            "class 1:1 has a cburst worth 1537",
        ),
        (
            tree(vec![small(
                child(1).rate(rate("1mbit")),
                Burst::Duration(2_000_000),
            )]),
            "class 1:1 has a burst worth 250",
        ),
        (tree(vec![pps]), "class 1:1 has a ppsburst"),
        (tree(vec![paced]), "class 1:1 has pace but no ceil"),
        (
            tree(vec![
                child(1).queue(LeafQueue::Fifo { frames: 1 }),
                ClassConfig::new(id(2)).parent(id(1)),
            ]),
            "class 1:1 has a queue and children",
        ),
        (
            TreeConfig {
                segment_nanos: Some(0),
                ..tree(vec![])
            },
            "class 1:0 charges 0 ns",
        ),
    ];
    for (tree, want) in cases {
        let error = tree.check().unwrap_err().to_string();
        assert!(error.contains(want), "{error:?} does not say {want:?}");
    }
}

#[test]
fn parents_come_first_and_siblings_keep_their_order() {
    let tree = tree(vec![
        ClassConfig::new(id(5)).parent(id(2)),
        child(3),
        child(2),
        ClassConfig::new(id(1)).parent(id(2)),
    ]);
    let plan = plan(&tree);
    let ids: Vec<u16> = plan.iter().map(|class| class.id.minor).collect();
    assert_eq!(ids, [0, 3, 2, 5, 1]);
    let places: Vec<_> = plan
        .iter()
        .map(|class| (class.parent, class.position))
        .collect();
    assert_eq!(
        places,
        [
            (None, 0),
            (Some(0), 0),
            (Some(0), 1),
            (Some(2), 0),
            (Some(2), 1)
        ]
    );
}

#[test]
fn scaling_makes_guarantees_fit_all_the_way_down() {
    let mut tree = tree(vec![
        child(1).rate(rate("1500mbit")),
        child(2).rate(rate("500mbit")),
        ClassConfig::new(id(3)).parent(id(1)).rate(rate("1500mbit")),
    ]);
    assert!(tree.check().is_err());
    tree.overcommit = Overcommit::Scale;
    let plan = plan(&tree);
    let green: Vec<u32> = plan
        .iter()
        .map(|class| class.profile.green.weight())
        .collect();
    assert_eq!(green, [1_000_000, 750_000, 250_000, 750_000]);
    assert_eq!(
        plan[1].profile.excess.weight(),
        1_500_000,
        "weights follow what was written"
    );
}

#[test]
fn a_quantum_is_a_tenth_of_a_millisecond_between_a_frame_and_the_link_cap() {
    let quantum = |children| plan(&tree(children))[1].profile.quantum;
    assert_eq!(quantum(vec![child(1).rate(rate("400mbit"))]), 5000);
    assert_eq!(quantum(vec![child(1).rate(rate("8mbit"))]), 1538);
    assert_eq!(
        quantum(vec![child(1).rate(rate("1gbit"))]),
        6250,
        "50 us of the link"
    );
    assert_eq!(quantum(vec![child(1).weight(3), child(2).weight(1)]), 6250);
    assert_eq!(quantum(vec![child(1).weight(1), child(2).weight(4)]), 2500);
    assert_eq!(quantum(vec![child(1).ceil(rate("160mbit"))]), 2000);
    let open = TreeConfig::new(vec![ClassConfig::new(id(0)), child(1)]);
    assert_eq!(plan(&open)[1].profile.quantum, 65_536);
}

#[test]
fn a_paced_class_runs_ahead_by_one_quantum() {
    let mut class = child(1).ceil(rate("400mbit"));
    class.pace = true;
    let plan = plan(&tree(vec![class]));
    let ceil = rate("400mbit").inverse();
    assert_eq!(plan[1].profile.ceil, Terms::new(ceil, ceil.cost(5000)));
}

#[test]
fn framing_comes_from_the_nearest_class_that_says() {
    let mut inner = child(1);
    inner.framing = Some(Framing::L2);
    let tree = tree(vec![inner, ClassConfig::new(id(2)).parent(id(1)), child(3)]);
    let framing: Vec<_> = plan(&tree)
        .iter()
        .map(|class| class.profile.framing())
        .collect();
    assert_eq!(
        framing,
        [
            Framing::ETHERNET,
            Framing::L2,
            Framing::ETHERNET,
            Framing::L2
        ]
    );
}
