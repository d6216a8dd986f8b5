//! Broadcast, multicast and who asked for it.

use super::*;
use frames::group_frame;

const GROUP: &str = "239.1.2.3";
const OTHER: &str = "239.1.2.4";
const GROUP6: &str = "ff15::7:8";

fn igmp(kind: u8, group: &str) -> Vec<u8> {
    let group: std::net::Ipv4Addr = group.parse().unwrap();
    [&[kind, 0, 0, 0], &group.octets()[..]].concat()
}

fn mld(kind: u8, group: &str) -> Vec<u8> {
    let group: std::net::Ipv6Addr = group.parse().unwrap();
    [&[kind, 0, 0, 0, 0, 0, 0, 0], &group.octets()[..]].concat()
}

/// A report of version 3 (or 2 of MLD) with one record of each kind and number of sources.
fn records(kind: u8, group: &[u8], records: &[(u8, u16)]) -> Vec<u8> {
    let mut message = vec![kind, 0, 0, 0, 0, 0, 0, u8::try_from(records.len()).unwrap()];
    for (kind, sources) in records {
        message.extend([*kind, 0]);
        message.extend(sources.to_be_bytes());
        message.extend(group);
        message.extend(vec![9; usize::from(*sources) * group.len()]);
    }
    message
}

/// When new ports no longer get all groups, after a question at time 0. The times of all that follows
/// are counted from here.
const T: u64 = 135 * SECOND;

/// Has the uplink ask for reports of both families, in no VLAN, at a time from the start.
fn ask_early(switch: &mut Switch, now: u64) {
    let v4 = group_frame(mac(99), "224.0.0.1", 2, &igmp(0x11, "0.0.0.0"));
    let v6 = group_frame(mac(99), "ff02::1", 58, &mld(130, "::"));
    for query in [v4, v6] {
        switch.from_uplink(&query, None, now).unwrap();
    }
}

fn report(switch: &mut Switch, port: u32, message: &[u8], now: u64) {
    let from = mac(u8::try_from(port).unwrap() + 1);
    let frame = group_frame(from, "224.0.0.22", 2, message);
    switch.from_guest(port, &frame, T + now).unwrap();
}

fn data(switch: &mut Switch, group: &str, now: u64) -> Vec<u32> {
    let frame = group_frame(mac(99), group, 17, &frames::udp(5, 5));
    let forward = switch.from_uplink(&frame, None, T + now);
    reached(switch, forward).0
}

fn three() -> Switch {
    switch([owner(1), owner(2), open()])
}

/// [`three`], asked.
fn settled() -> Switch {
    let mut switch = three();
    settle(&mut switch);
    switch
}

fn settle(switch: &mut Switch) {
    ask_early(switch, 0);
    ask(switch, 0);
}

fn ask(switch: &mut Switch, now: u64) {
    ask_early(switch, T + now);
}

#[test]
fn broadcast_reaches_all_but_its_sender() {
    let mut switch = three();
    let frame = Frame::to(frames::BROADCAST).from(mac(1)).bytes();
    let forward = switch.from_guest(0, &frame, 0);
    assert_eq!(reached(&switch, forward), (vec![1, 2], true));
}

#[test]
fn without_a_querier_groups_reach_all() {
    let mut switch = three();
    report(&mut switch, 0, &igmp(0x16, GROUP), 0);
    assert_eq!(data(&mut switch, GROUP, 1), [0, 1, 2]);
    let mut switch = settled();
    report(&mut switch, 0, &igmp(0x16, GROUP), 0);
    assert_eq!(data(&mut switch, GROUP, 1), [0]);
    // The querier falls silent.
    report(&mut switch, 0, &igmp(0x16, GROUP), 250 * SECOND);
    assert_eq!(data(&mut switch, GROUP, 254 * SECOND), [0]);
    assert_eq!(data(&mut switch, GROUP, 255 * SECOND), [0, 1, 2]);
    // When one is back, there is time to answer it.
    ask(&mut switch, 300 * SECOND);
    assert_eq!(data(&mut switch, GROUP, 309 * SECOND), [0, 1, 2]);
    assert_eq!(data(&mut switch, GROUP, 310 * SECOND), [0]);
}

#[test]
fn a_new_port_gets_all_groups_until_every_querier_has_asked_it() {
    let mut switch = settled();
    report(&mut switch, 0, &igmp(0x16, GROUP), 0);
    switch.set_port(3, owner(4)).unwrap();
    assert_eq!(data(&mut switch, GROUP, 100 * SECOND), [0, 3]);
    ask(&mut switch, 100 * SECOND);
    assert_eq!(data(&mut switch, GROUP, 234 * SECOND), [0, 3]);
    assert_eq!(data(&mut switch, GROUP, 235 * SECOND), [0]);
    // So does one that is in another VLAN now, but not one whose other rules change.
    switch.set_port(1, strict(2, &["192.0.2.2/32"])).unwrap();
    assert_eq!(data(&mut switch, GROUP, 236 * SECOND), [0]);
    let trunk = VlanConfig::Trunk {
        vlans: vec![5],
        native: None,
    };
    switch.set_port(1, in_vlan(trunk, owner(2))).unwrap();
    switch.set_port(1, owner(2)).unwrap();
    assert_eq!(data(&mut switch, GROUP, 237 * SECOND), [0, 1]);
    // Meanwhile it hears nobody's report, lest it hold back its own.
    let frame = group_frame(mac(1), GROUP, 2, &igmp(0x16, GROUP));
    let forward = switch.from_guest(0, &frame, T + 238 * SECOND);
    assert_eq!(reached(&switch, forward), (vec![], true));
}

#[test]
fn a_group_reaches_those_who_joined() {
    let mut switch = settled();
    report(&mut switch, 0, &igmp(0x12, GROUP), 1);
    report(&mut switch, 2, &igmp(0x16, GROUP), 1);
    assert_eq!(data(&mut switch, GROUP, 2), [0, 2]);
    assert_eq!(data(&mut switch, OTHER, 2), [0, 1, 2], "unknown");
    // From a guest too, and always also to the uplink.
    let frame = group_frame(mac(1), GROUP, 17, &frames::udp(5, 5));
    let forward = switch.from_guest(0, &frame, T + 3);
    assert_eq!(reached(&switch, forward), (vec![2], true));
    // Memberships end with a message, a little later, or with age.
    report(&mut switch, 2, &igmp(0x17, GROUP), 4);
    assert_eq!(data(&mut switch, GROUP, SECOND), [0, 2]);
    assert_eq!(data(&mut switch, GROUP, 3 * SECOND), [0]);
    report(&mut switch, 1, &igmp(0x16, GROUP), 200 * SECOND);
    ask(&mut switch, 200 * SECOND);
    assert_eq!(data(&mut switch, GROUP, 261 * SECOND), [1]);
    switch.remove_port(1);
    assert_eq!(data(&mut switch, GROUP, 261 * SECOND), [0, 2]);
}

#[test]
fn reports_of_version_3_say_what_is_wanted() {
    let group = [239, 1, 2, 3];
    for (record, joined) in [
        ((1, 0), false),
        ((1, 2), true),
        ((2, 0), true),
        ((3, 0), false),
        ((3, 1), true),
        ((4, 0), true),
        ((5, 3), true),
        ((6, 3), false),
        ((7, 0), false),
    ] {
        let mut switch = settled();
        report(&mut switch, 1, &igmp(0x16, GROUP), 1);
        report(&mut switch, 0, &records(0x22, &group, &[(6, 1), record]), 2);
        let expected: &[u32] = if joined { &[0, 1] } else { &[1] };
        assert_eq!(data(&mut switch, GROUP, 3), expected, "{record:?}");
    }
}

#[test]
fn mld_is_heeded_like_igmp() {
    let mut switch = settled();
    let from = |port: u8, to, message: &[u8]| group_frame(mac(port + 1), to, 58, message);
    let send = |switch: &mut Switch, port, frame: &[u8], now| {
        switch.from_guest(port, frame, T + now).unwrap();
    };
    send(&mut switch, 0, &from(0, GROUP6, &mld(131, GROUP6)), 1);
    assert_eq!(data(&mut switch, GROUP6, 2), [0]);
    let group: std::net::Ipv6Addr = GROUP6.parse().unwrap();
    let join = records(143, &group.octets(), &[(4, 0)]);
    send(&mut switch, 1, &from(1, "ff02::16", &join), 3);
    assert_eq!(data(&mut switch, GROUP6, 4), [0, 1]);
    send(&mut switch, 0, &from(0, "ff02::2", &mld(132, GROUP6)), 5);
    assert_eq!(data(&mut switch, GROUP6, 3 * SECOND), [1]);
}

#[test]
fn some_groups_always_reach_all() {
    let mut switch = settled();
    report(&mut switch, 0, &igmp(0x16, "224.0.0.251"), 1);
    let join = group_frame(mac(1), "ff02::1", 58, &mld(131, "ff02::1"));
    switch.from_guest(0, &join, T + 1).unwrap();
    for group in ["224.0.0.251", "224.0.0.1", "ff02::1"] {
        assert_eq!(data(&mut switch, group, 2), [0, 1, 2], "{group}");
    }
    let other = Frame::to([3, 0, 0, 0, 0, 1]).from(mac(99)).bytes();
    let forward = switch.from_uplink(&other, None, T + 2);
    assert_eq!(reached(&switch, forward).0, [0, 1, 2]);
}

#[test]
fn queries_reach_all_and_reports_only_who_asks() {
    let mut switch = settled();
    let query = group_frame(mac(99), "224.0.0.1", 2, &igmp(0x11, "0.0.0.0"));
    let forward = switch.from_uplink(&query, None, T + 1);
    assert_eq!(reached(&switch, forward).0, [0, 1, 2]);
    // A guest that hears another's report would not send its own.
    let frame = group_frame(mac(1), GROUP, 2, &igmp(0x16, GROUP));
    let forward = switch.from_guest(0, &frame, T + 2);
    assert_eq!(reached(&switch, forward), (vec![], true));
    let forward = switch.from_uplink(
        &group_frame(mac(99), GROUP, 2, &igmp(0x16, GROUP)),
        None,
        T + 2,
    );
    assert_eq!(reached(&switch, forward), (vec![], false));
    assert_eq!(
        data(&mut switch, GROUP, 3),
        [0],
        "the uplink's is no port's"
    );
}

#[test]
fn a_router_among_the_guests_gets_all_groups() {
    let router = PortRules {
        trust: Trust {
            router: true,
            dhcp_server: false,
        },
        ..owner(4)
    };
    let mut switch = switch([owner(1), owner(2), open(), router]);
    let query = |from| group_frame(mac(from), "224.0.0.1", 2, &igmp(0x11, "0.0.0.0"));
    // One that is not trusted asks in vain, though its question goes out.
    let forward = switch.from_guest(1, &query(2), T);
    assert_eq!(reached(&switch, forward), (vec![0, 2, 3], true));
    report(&mut switch, 0, &igmp(0x16, GROUP), 1);
    assert_eq!(data(&mut switch, GROUP, 2), [0, 1, 2, 3]);
    let forward = switch.from_guest(3, &query(4), T + 3);
    assert_eq!(reached(&switch, forward), (vec![0, 1, 2], true));
    assert_eq!(data(&mut switch, GROUP, 140 * SECOND), [0, 3]);
    let frame = group_frame(mac(1), GROUP, 2, &igmp(0x16, GROUP));
    let forward = switch.from_guest(0, &frame, T + 141 * SECOND);
    assert_eq!(reached(&switch, forward), (vec![3], true));
    // It is named once even if it joins.
    report(&mut switch, 3, &igmp(0x16, GROUP), 142 * SECOND);
    assert_eq!(data(&mut switch, GROUP, 143 * SECOND), [0, 3]);
    // Having asked long ago does not count.
    let end = T + 3 + 260 * SECOND;
    ask_early(&mut switch, T + 200 * SECOND);
    for (now, expected) in [(end - 1, vec![3]), (end, vec![])] {
        let forward = switch.from_guest(0, &frame, now);
        assert_eq!(reached(&switch, forward), (expected, true));
    }
}

#[test]
fn groups_are_kept_apart_by_vlan() {
    let access = |vlan, rules| in_vlan(VlanConfig::Access(vlan), rules);
    let mut switch = switch([
        access(10, owner(1)),
        access(10, owner(2)),
        access(20, owner(3)),
        open(),
    ]);
    let query = group_frame(mac(99), "224.0.0.1", 2, &igmp(0x11, "0.0.0.0"));
    for vlan in [10, 20] {
        switch.from_uplink(&query, Some(vlan), 0).unwrap();
    }
    report(&mut switch, 0, &igmp(0x16, GROUP), 1);
    let frame = group_frame(mac(99), GROUP, 17, &frames::udp(5, 5));
    for (tag, ports) in [(Some(10), &[0][..]), (Some(20), &[2, 3]), (None, &[3])] {
        let forward = switch.from_uplink(&frame, tag, T + 2);
        assert_eq!(reached(&switch, forward).0, ports, "{tag:?}");
    }
}

#[test]
fn what_a_lone_port_joins_is_asked_for_when_it_gets_company() {
    let mut switch = settled();
    for port in [0, 1] {
        switch.remove_port(port);
    }
    let join = group_frame(mac(3), GROUP, 2, &igmp(0x16, GROUP));
    assert_eq!(switch.from_guest(2, &join, T + 1), TO_UPLINK);
    switch.set_port(0, owner(1)).unwrap();
    report(&mut switch, 0, &igmp(0x16, GROUP), 2);
    assert_eq!(data(&mut switch, GROUP, 3), [0, 2]);
    ask(&mut switch, 100 * SECOND);
    assert_eq!(data(&mut switch, GROUP, 235 * SECOND), [0]);
}

/// Hostile row 98.
#[test]
fn a_flood_of_joins_is_bounded_and_costs_neighbours_nothing() {
    let mut switch = settled();
    report(&mut switch, 1, &igmp(0x16, GROUP), 1);
    for number in 0..100_000_u32 {
        let [_, b, c, d] = number.to_be_bytes();
        let group = std::net::Ipv4Addr::new(238, b, c, d).to_string();
        report(&mut switch, 0, &igmp(0x16, &group), 2);
    }
    // Groups whose Ethernet address is never restricted were not recorded.
    assert_eq!(switch.missed(0).groups, 100_000 - 256 - 64);
    assert_eq!(switch.missed(1).groups, 0);
    assert_eq!(
        data(&mut switch, GROUP, 3),
        [0, 1],
        "who joins too much gets all"
    );
    report(&mut switch, 2, &igmp(0x16, GROUP), 4);
    assert_eq!(data(&mut switch, GROUP, 5), [0, 1, 2]);
    // All of it ages.
    ask(&mut switch, 200 * SECOND);
    report(&mut switch, 1, &igmp(0x16, GROUP), 300 * SECOND);
    assert_eq!(data(&mut switch, GROUP, 301 * SECOND), [1]);
}
