use qos::classify::{Action, Match, Then};
use qos::{FlowsConfig, LeafQueue};

use super::*;

const WHOLE: &str = r#"
poll_us = 50
shards = 4
pool = "32m"
control = "/run/c.sock"
control_group = "root"

[uplink.wan]
kind = "tap:t0"
bridge = "br0"
mtu = 9000
queues = 4
from_guest = { ceil = "1gbit", cburst = "1ms", overcommit = "scale" }
to_guest = { ceil = "10Mb/s@20ms" }
flood = { ceil = "1mbit", pps = 1000 }

[uplink.lan]
kind = "macvtap:eth2"

[guest.web]
connect = "/run/web.sock"
uplink = "lan"
queues = 2
mtu = 1400
mac = "52:54:00:00:00:01"
addresses = ["192.0.2.1", "2001:db8::/64"]
trunk = [20, "10-12"]
native = 5
isolation = "a"
trust = { dhcp_server = true }
limit = "2gbit"

[guest.web.from_guest]
ceil = "1gbit"
rate = "100mbit burst 30k"
pps = "10kpps"
default = "rest"
rule = [
    { dscp = "EF", vlan_priority = 5, class = "voice" },
    { mark = "0x1/0x1", goto = 4 },
    { police = { rate = "1mbit", burst = "10k" }, set_mark = 7, set_dscp = "CS1", set_vlan_priority = 1 },
    { fragment = true, drop = true },
]
[[guest.web.from_guest.class]]
name = "inner"
default = "rest"
[[guest.web.from_guest.class]]
name = "voice"
queue = "fifo"
fifo = 20
[[guest.web.from_guest.class]]
name = "rest"
parent = "inner"
flows = { target = "10ms" }
"#;

#[test]
fn a_file_reads_as_it_was_written() {
    let config = parse(WHOLE).unwrap();
    assert_eq!(config.poll, Duration::from_micros(50));
    assert_eq!(config.shards, 4);
    assert_eq!(config.pool_bytes, 32 << 20);
    let control = config.control.as_ref().unwrap();
    assert_eq!(
        (&*control.path, control.group),
        (Path::new("/run/c.sock"), Some(0))
    );
    let [wan, lan] = &config.uplinks[..] else {
        panic!("{config:?}")
    };
    let tap = UplinkKind::Tap {
        name: "t0".parse().unwrap(),
        bridge: Some("br0".parse().unwrap()),
    };
    assert_eq!((&wan.kind, wan.mtu, wan.queues), (&tap, Some(9000), 4));
    let from = RootConfig {
        ceil: Rate::from_bits_per_second(1_000_000_000),
        cburst: Burst::Duration(1_000_000),
        overcommit: Overcommit::Scale,
    };
    assert_eq!(wan.from_guest, from);
    assert_eq!(wan.to_guest.cburst, Burst::Duration(20_000_000));
    assert_eq!(wan.flood.pps, PacketRate::from_segments_per_second(1000));
    assert_eq!(wan.flood.ceil, Rate::from_bits_per_second(1_000_000));
    assert_eq!(lan.kind, UplinkKind::Macvtap("eth2".parse().unwrap()));

    let [web] = &config.guests[..] else {
        panic!("{config:?}")
    };
    let path = "/run/web.sock".into();
    assert_eq!(web.front_end, FrontEnd::Connect { path });
    assert_eq!((web.uplink, web.queues, web.mtu), (1, 2, Some(1400)));
    assert_eq!(web.mac.unwrap().to_string(), "52:54:00:00:00:01");
    let addresses: Vec<_> = web.addresses.iter().map(IpNet::to_string).collect();
    assert_eq!(addresses, ["192.0.2.1/32", "2001:db8::/64"]);
    let trunk = VlanConfig::Trunk {
        vlans: vec![10, 11, 12, 20],
        native: Some(5),
    };
    assert_eq!(web.vlan, trunk);
    assert_eq!(web.isolation.as_deref(), Some("a"));
    assert!(web.trust.dhcp_server && !web.trust.router);
}

#[test]
fn a_tree_has_the_guest_first_and_its_classes_by_name() {
    let config = parse(WHOLE).unwrap();
    let tree = &config.guests[0].from_guest;
    let [guest, inner, voice, rest] = &tree.classes[..] else {
        panic!("{tree:?}")
    };
    assert_eq!((guest.id, guest.parent), (GUEST, None));
    let rate = |bits| Rate::from_bits_per_second(bits);
    assert_eq!(
        (guest.rate, guest.ceil),
        (rate(100_000_000), rate(1_000_000_000))
    );
    assert_eq!(guest.burst, Burst::Bytes(30 << 10));
    assert_eq!(guest.pps, PacketRate::from_segments_per_second(10_000));
    assert_eq!((inner.parent, voice.parent), (Some(GUEST), Some(GUEST)));
    assert_eq!(rest.parent, Some(inner.id));
    assert_eq!(inner.queue, LeafQueue::Hold);
    assert_eq!(voice.queue, LeafQueue::Fifo { frames: 20 });
    let flows = FlowsConfig {
        target_nanos: 10_000_000,
        ..FlowsConfig::default()
    };
    assert_eq!(rest.queue, LeafQueue::Flows(flows));
    let names = [guest, inner, voice, rest].map(|class| tree.name(class.id));
    assert_eq!(names, [None, Some("inner"), Some("voice"), Some("rest")]);

    let [own, below] = &tree.rules.programs[..] else {
        panic!("{tree:?}")
    };
    assert_eq!((own.class, own.default), (GUEST, Some(rest.id)));
    assert_eq!((below.class, below.default), (inner.id, Some(rest.id)));
    let then: Vec<_> = own.rules.iter().map(|rule| rule.then).collect();
    assert_eq!(
        then,
        [
            Then::Class(voice.id),
            Then::Goto(4),
            Then::Continue,
            Then::Drop
        ]
    );
    let ef = Match::all().dscp("EF".parse().unwrap()).vlan_priority(5);
    assert_eq!(own.rules[0].matches, ef);
    let [police, mark, dscp, priority] = &own.rules[2].actions[..] else {
        panic!("{own:?}")
    };
    assert!(
        matches!(police, Action::Police(limit) if limit.rate == rate(1_000_000)
        && limit.burst == Burst::Bytes(10 << 10))
    );
    assert_eq!(*mark, Action::SetMark("7".parse().unwrap()));
    assert_eq!(*dscp, Action::SetDscp("CS1".parse().unwrap()));
    assert_eq!(*priority, Action::SetVlanPriority(1));
    // Its own limit of this direction goes before that of both.
    assert_eq!(
        config.guests[0].to_guest.classes[0].ceil,
        rate(2_000_000_000)
    );
}

#[test]
fn the_least_guest_is_unlimited_and_waits_in_its_own_ring() {
    let config = parse(&with_uplink("[guest.a]\nsocket = \"/a\"")).unwrap();
    let guest = &config.guests[0];
    let listen = FrontEnd::Listen {
        path: "/a".into(),
        mode: 0o660,
        group: None,
    };
    assert_eq!((&guest.front_end, guest.queues), (&listen, 1));
    assert_eq!(guest.vlan, VlanConfig::Transparent);
    assert_eq!(guest.from_guest.classes, [ClassConfig::new(GUEST)]);
    let flows = LeafQueue::Flows(FlowsConfig::default());
    assert_eq!(
        guest.to_guest.classes,
        [ClassConfig::new(GUEST).queue(flows)]
    );
    assert_eq!(config.shards, 1);
    assert_eq!(config.pool_bytes, DEFAULT_POOL_BYTES);
}

#[test]
fn one_leaf_holds_and_several_queue_by_flow() {
    let queues = |classes: &str| {
        let text = format!(
            "[guest.a]\nsocket = \"/a\"\nfrom_guest = {{ default = \"x\", class = [{classes}] }}"
        );
        let config = parse(&with_uplink(&text)).unwrap();
        let classes = config.guests[0].from_guest.classes.clone();
        classes
            .into_iter()
            .map(|class| class.queue)
            .collect::<Vec<_>>()
    };
    let flows = LeafQueue::Flows(FlowsConfig::default());
    assert_eq!(
        queues("{ name = \"x\" }"),
        [LeafQueue::Hold, LeafQueue::Hold]
    );
    assert_eq!(
        queues("{ name = \"x\" }, { name = \"y\" }"),
        [LeafQueue::Hold, flows, flows]
    );
}

#[test]
fn guests_keep_the_order_of_the_file() {
    let text = "[guest.b]\nsocket = \"/b\"\n[guest.c]\nsocket = \"/c\"\n[guest.a]\nsocket = \"/a\"";
    let config = parse(&with_uplink(text)).unwrap();
    let names: Vec<_> = config.guests.iter().map(|it| it.name.as_str()).collect();
    assert_eq!(names, ["b", "c", "a"]);
}
