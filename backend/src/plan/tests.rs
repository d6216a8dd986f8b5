use qos::{Burst, ClassConfig, ClassId, ClassifierConfig, LeafQueue, Overcommit};

use super::*;
use crate::args::FrontEnd;
use crate::config::{
    DEFAULT_POOL_BYTES, Direction, FloodConfig, SandboxSettings, Trust, UplinkConfig, UplinkKind,
    VlanConfig,
};

const OWN: ClassId = ClassId::new(0, 1);
const VOICE: ClassId = ClassId::new(0, 2);
const BULK: ClassId = ClassId::new(0, 3);

fn tree(classes: Vec<ClassConfig>) -> GuestTree {
    let names = [(VOICE, "voice"), (BULK, "bulk")];
    let there = |id: &ClassId| classes.iter().any(|class| class.id == *id);
    let names = names.into_iter().filter(|(id, _)| there(id));
    GuestTree {
        names: names.map(|(id, name)| (id, name.to_owned())).collect(),
        rules: ClassifierConfig::default(),
        classes,
    }
}

fn guest(name: &str, classes: Vec<ClassConfig>) -> GuestConfig {
    GuestConfig {
        name: name.to_owned(),
        front_end: FrontEnd::Fd(3),
        uplink: 0,
        queues: 1,
        mtu: None,
        mac: None,
        addresses: Vec::new(),
        vlan: VlanConfig::default(),
        isolation: None,
        coalesce: true,
        trust: Trust::default(),
        from_guest: tree(classes.clone()),
        to_guest: tree(classes),
    }
}

fn config(ceil: Option<&str>, guests: Vec<GuestConfig>) -> Config {
    let root = RootConfig {
        ceil: ceil.map(|ceil| ceil.parse().unwrap()),
        cburst: Burst::default(),
        ..RootConfig::default()
    };
    Config {
        poll: std::time::Duration::ZERO,
        shards: 1,
        pool_bytes: DEFAULT_POOL_BYTES,
        control: None,
        metrics: None,
        sandbox: SandboxSettings::default(),
        uplinks: vec![UplinkConfig {
            name: "wan".to_owned(),
            kind: UplinkKind::None,
            queues: 1,
            mtu: None,
            from_guest: root,
            to_guest: root,
            flood: FloodConfig::default(),
        }],
        guests,
    }
}

fn class(id: ClassId, parent: ClassId) -> ClassConfig {
    ClassConfig::new(id).parent(parent)
}

#[test]
fn a_guest_is_in_the_tree_twice_with_one_set_of_limits() {
    let ceil = "50mbit".parse().unwrap();
    let guests = vec![guest("vm1", vec![ClassConfig::new(OWN).ceil(ceil)])];
    let mut ids = Ids::default();
    let config = config(Some("300mbit"), guests);
    let plan = lan(&config, 0, &mut ids);
    let known = ids.known(&config.guests[0], &config.guests[0].from_guest);
    let classes = plan.from_guest.classes.iter();
    let own: Vec<_> = classes
        .filter(|class| known.concat().contains(&class.id))
        .collect();
    let [uplink, local] = own[..] else {
        panic!("{own:?}")
    };
    assert_eq!((uplink.parent, uplink.ceil), (Some(UPLINK), Some(ceil)));
    assert_eq!((local.parent, local.ceil), (Some(LOCAL), None));
    assert_eq!(local.limits_of, Some(uplink.id));
}

#[test]
fn a_ring_is_held_only_where_it_leads_to_one_leaf_that_holds() {
    let hold = guest("one", vec![ClassConfig::new(OWN)]);
    let several = guest(
        "two",
        vec![
            ClassConfig::new(OWN),
            class(VOICE, OWN).queue(LeafQueue::Flows(FlowsConfig::default())),
            class(BULK, OWN).queue(LeafQueue::Flows(FlowsConfig::default())),
        ],
    );
    let config = config(None, vec![hold, several]);
    let mut ids = Ids::default();
    let mut plan =
        |guest: usize, direction| port(&config, &config.guests[guest], direction, &mut ids);
    let one = plan(0, Direction::FromGuest);
    assert!(one.hold && one.classify.is_none() && !one.limited);
    assert!(!plan(0, Direction::ToGuest).hold);
    let two = plan(1, Direction::FromGuest);
    assert!(!two.hold && two.classify.is_some());
    assert_eq!(two.leaves.len(), 2);
}

#[test]
fn ids_stay_whatever_comes_and_goes_around_them() {
    let plain = |name| guest(name, vec![ClassConfig::new(OWN)]);
    let mut ids = Ids::default();
    let id = |config: &Config, ids: &mut Ids, name: &str| {
        let plan = lan(config, 0, ids);
        let guest = config.guests.iter().find(|guest| guest.name == name)?;
        let [own, _] = *ids.known(guest, &guest.to_guest).first()?;
        let mut planned = plan.to_guest.classes.iter();
        planned.any(|class| class.id == own).then_some(own)
    };
    let before = config(None, vec![plain("a"), plain("b")]);
    let after = config(None, vec![plain("c"), plain("b")]);
    let b = id(&before, &mut ids, "b");
    let c = id(&after, &mut ids, "c");
    assert!(b.is_some() && c.is_some() && b != c);
    assert_eq!(id(&after, &mut ids, "b"), b);
    ids.forget_others(&after);
    assert_eq!(id(&after, &mut ids, "b"), b);
    let a = id(&before, &mut ids, "a");
    assert!(
        a.is_some() && ![b, c].contains(&a),
        "numbers are not given again"
    );
}

#[test]
fn guarantees_beyond_the_uplink_are_refused_by_name() {
    let rate = "200mbit".parse().unwrap();
    let rich = |name| guest(name, vec![ClassConfig::new(OWN).rate(rate)]);
    let config = config(Some("300mbit"), vec![rich("vm1"), rich("vm2")]);
    let fault = config.admit().unwrap_err().fault.to_string();
    assert!(fault.contains("vm2") && fault.contains("wan"), "{fault}");
}

#[test]
fn an_uplink_without_a_ceiling_has_room_for_every_guarantee() {
    let rate = "200mbit".parse().unwrap();
    let rich = |name| guest(name, vec![ClassConfig::new(OWN).rate(rate)]);
    let mut config = config(None, vec![rich("vm1"), rich("vm2")]);
    for overcommit in [Overcommit::Reject, Overcommit::Scale] {
        config.uplinks[0].from_guest.overcommit = overcommit;
        config.admit().unwrap();
        let plan = lan(&config, 0, &mut Ids::default());
        let link = plan
            .from_guest
            .classes
            .iter()
            .find(|class| class.id == UPLINK);
        assert_eq!(link.unwrap().rate, Some("400mbit".parse().unwrap()));
    }
}

#[test]
fn a_queue_to_a_guest_is_as_long_as_its_ceiling_is_high() {
    let at = |ceil: Option<&str>| {
        let ceil = ceil.map(|ceil| ceil.parse().unwrap());
        match queue(LeafQueue::Hold, Direction::ToGuest, ceil) {
            LeafQueue::Flows(flows) => flows.bytes,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(at(None), Some(8 << 20));
    assert_eq!(at(Some("100mbit")), Some(1_250_000));
    assert_eq!(at(Some("1mbit")), Some(150_000));
    assert_eq!(at(Some("100gbit")), Some(8 << 20));
}

#[test]
fn what_was_admitted_may_run_whatever_the_mtu() {
    let ceil = "10mbit".parse().unwrap();
    for (mtu, burst) in [
        (None, 1538),
        (Some(68), 106),
        (Some(9000), 9038),
        (Some(65_521), 65_536),
    ] {
        let mut class = ClassConfig::new(OWN).ceil(ceil);
        class.cburst = Burst::Bytes(burst);
        let mut config = config(None, vec![guest("vm1", vec![class])]);
        config.uplinks[0].mtu = mtu;
        assert!(config.admit().is_ok(), "{mtu:?}");
        assert!(config.admit().is_ok(), "{mtu:?}");
    }
}
