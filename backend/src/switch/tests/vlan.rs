//! VLANs: who is in which, and how each sees a frame.

use super::*;
use TagChange::{Keep, Pop, Push, Set};

fn access(vlan: u16) -> VlanConfig {
    VlanConfig::Access(vlan)
}

fn trunk(vlans: &[u16], native: Option<u16>) -> VlanConfig {
    VlanConfig::Trunk {
        vlans: vlans.to_vec(),
        native,
    }
}

/// Ports 0 and 1 in VLAN 10, port 2 in 20, trunks 3 (10 and 20) and 4 (30, natively 10), port 5 transparent.
fn mixed() -> Switch {
    switch([
        in_vlan(access(10), open()),
        in_vlan(access(10), open()),
        in_vlan(access(20), open()),
        in_vlan(trunk(&[10, 20], None), open()),
        in_vlan(trunk(&[30], Some(10)), open()),
        open(),
    ])
}

fn broadcast() -> Frame {
    Frame::to(frames::BROADCAST).from(mac(1))
}

/// How each receiver is to see a flood, and how the uplink is.
fn seen(
    switch: &Switch,
    forward: Result<Forward, Refused>,
) -> (Vec<(u32, TagChange)>, Option<TagChange>) {
    let Ok(Forward::Flood(flood)) = forward else {
        panic!("not a flood: {forward:?}");
    };
    let receivers = switch.receivers(&flood);
    (
        receivers.map(|to| (to.port, to.tag)).collect(),
        flood.uplink(),
    )
}

#[test]
fn an_access_ports_frames_are_tagged_for_those_who_see_tags() {
    let mut switch = mixed();
    let forward = switch.from_guest(0, &broadcast().bytes(), 0);
    let all = vec![(1, Keep), (3, Push(10)), (4, Keep), (5, Push(10))];
    assert_eq!(seen(&switch, forward), (all, Some(Push(10))));
    // A priority tag keeps its priority.
    let forward = switch.from_guest(0, &broadcast().tag(0xe000).bytes(), 0);
    let all = vec![(1, Pop), (3, Set(0xe00a)), (4, Pop), (5, Set(0xe00a))];
    assert_eq!(seen(&switch, forward), (all, Some(Set(0xe00a))));
}

#[test]
fn an_access_port_sends_no_tag() {
    let mut switch = mixed();
    for frame in [
        broadcast().tag(10),
        broadcast().tag(20),
        broadcast().tag(4095),
        broadcast().tag_of(0x88a8, 0),
        broadcast().tag(0).tag(20),
        broadcast().tag(0).tag_of(0x88a8, 20),
    ] {
        let refused = switch.from_guest(0, &frame.bytes(), 0);
        assert_eq!(refused, Err(Refused::Vlan));
    }
    let cut = &broadcast().tag(0).bytes()[..17];
    assert_eq!(switch.from_guest(0, cut, 0), Err(Refused::Truncated));
    assert_eq!(switch.stations(), 0, "a refused frame teaches nothing");
}

#[test]
fn a_trunk_sends_its_vlans_and_its_native_one_bare() {
    let mut switch = mixed();
    let forward = switch.from_guest(3, &broadcast().tag(0x6014).bytes(), 0);
    let all = vec![(2, Pop), (5, Keep)];
    assert_eq!(seen(&switch, forward), (all, Some(Keep)));
    let forward = switch.from_guest(4, &broadcast().bytes(), 0);
    let all = vec![(0, Keep), (1, Keep), (3, Push(10)), (5, Push(10))];
    assert_eq!(seen(&switch, forward), (all, Some(Push(10))));
    let forward = switch.from_guest(4, &broadcast().tag(10).bytes(), 0);
    let all = vec![(0, Pop), (1, Pop), (3, Keep), (5, Keep)];
    assert_eq!(seen(&switch, forward), (all, Some(Keep)));
    for (port, frame) in [
        (3, broadcast()),
        (3, broadcast().tag(0)),
        (3, broadcast().tag(30)),
        (4, broadcast().tag(20)),
        (4, broadcast().tag(0).tag(30)),
        (4, broadcast().tag_of(0x88a8, 10)),
    ] {
        let refused = switch.from_guest(port, &frame.bytes(), 0);
        assert_eq!(refused, Err(Refused::Vlan));
    }
}

#[test]
fn an_inner_tag_is_never_bared_on_a_trunk() {
    let mut switch = mixed();
    let forward = switch.from_guest(3, &broadcast().tag(10).tag(30).bytes(), 0);
    let all = vec![(0, Pop), (1, Pop), (4, Keep), (5, Keep)];
    assert_eq!(seen(&switch, forward), (all, Some(Keep)));
    let stacked = Frame::to(frames::BROADCAST).from(mac(9)).tag(30).bytes();
    let forward = switch.from_uplink(&stacked, Some(10), 0);
    let (all, _) = seen(&switch, forward);
    assert!(all.contains(&(4, Push(10))), "{all:?}");
}

#[test]
fn transparent_ports_and_the_uplink_see_the_same() {
    let mut switch = mixed();
    let forward = switch.from_guest(5, &broadcast().tag(10).bytes(), 0);
    let all = vec![(0, Pop), (1, Pop), (3, Keep), (4, Pop)];
    assert_eq!(seen(&switch, forward), (all, Some(Keep)));
    for frame in [
        broadcast(),
        broadcast().tag(0x2000),
        broadcast().tag_of(0x88a8, 10),
        broadcast().tag(77),
    ] {
        let forward = switch.from_guest(5, &frame.bytes(), 0);
        assert_eq!(seen(&switch, forward), (vec![], Some(Keep)));
        let forward = switch.from_uplink(&frame.from(mac(9)).bytes(), None, 0);
        assert_eq!(seen(&switch, forward), (vec![(5, Keep)], None));
    }
}

#[test]
fn a_tag_that_the_kernel_took_off_counts_like_any() {
    let mut switch = mixed();
    let bare = broadcast().from(mac(9)).bytes();
    let forward = switch.from_uplink(&bare, Some(0xa00a), 0);
    let all = vec![
        (0, Keep),
        (1, Keep),
        (3, Push(0xa00a)),
        (4, Keep),
        (5, Push(0xa00a)),
    ];
    assert_eq!(seen(&switch, forward), (all.clone(), None));
    let tagged = broadcast().from(mac(9)).tag(0xa00a).bytes();
    let forward = switch.from_uplink(&tagged, None, 0);
    let inline = vec![(0, Pop), (1, Pop), (3, Keep), (4, Pop), (5, Keep)];
    assert_eq!(seen(&switch, forward), (inline, None));
    let forward = switch.from_uplink(&bare, Some(0x6000), 0);
    assert_eq!(seen(&switch, forward), (vec![(5, Push(0x6000))], None));
}

#[test]
fn addresses_are_learned_by_vlan() {
    let mut switch = mixed();
    let from = |to, from| Frame::to(mac(to)).from(mac(from)).bytes();
    switch.from_guest(0, &from(9, 1), 0).unwrap();
    switch.from_guest(2, &from(9, 1), 0).unwrap();
    assert_eq!(switch.stations(), 2);
    assert_eq!(switch.from_guest(1, &from(1, 2), 0), to_port(0));
    let down = |tag| Frame::to(mac(1)).from(mac(9)).tag(tag).bytes();
    let popped = |port| Ok(Forward::Port(Delivery { port, tag: Pop }));
    assert_eq!(switch.from_uplink(&down(10), None, 0), popped(0));
    assert_eq!(switch.from_uplink(&down(20), None, 0), popped(2));
    // Unknown in another VLAN: only its members are asked.
    let forward = switch.from_uplink(&down(30), None, 0);
    assert_eq!(seen(&switch, forward).0, [(4, Keep), (5, Keep)]);
    // Only the VLAN in which it was seen on the uplink forgets it.
    let moved = Frame::to(mac(8)).from(mac(1)).tag(10).bytes();
    assert_eq!(switch.stations(), 3);
    switch.from_uplink(&moved, None, 0).unwrap();
    assert_eq!(switch.stations(), 2);
    assert_eq!(switch.from_uplink(&down(20), None, 0), popped(2));
}

#[test]
fn a_transparent_port_has_its_addresses_in_every_vlan() {
    let mut switch = mixed();
    let tagged = Frame::to(mac(9)).from(mac(6)).tag(99).bytes();
    switch.from_guest(5, &tagged, 0).unwrap();
    let to = Frame::to(mac(6)).from(mac(1)).bytes();
    let pushed = Ok(Forward::Port(Delivery {
        port: 5,
        tag: Push(10),
    }));
    assert_eq!(switch.from_guest(0, &to, 0), pushed);
    // It moves to a port that heeds tags, and back.
    let moved = Frame::to(mac(9)).from(mac(6)).bytes();
    switch.from_guest(1, &moved, 1).unwrap();
    assert_eq!(switch.stations(), 2);
    assert_eq!(switch.from_guest(0, &to, 2), to_port(1));
    let back = Frame::to(mac(9)).from(mac(6)).tag(10).bytes();
    switch.from_guest(5, &back, 3).unwrap();
    assert_eq!(switch.from_guest(0, &to, 4), pushed);
}

#[test]
fn an_owner_in_another_vlan_is_not_reached() {
    let mut switch = switch([
        in_vlan(access(10), owner(1)),
        in_vlan(access(20), owner(2)),
        in_vlan(access(20), open()),
    ]);
    let to = Frame::to(mac(1)).from(mac(2)).bytes();
    assert_eq!(switch.from_guest(1, &to, 0), Ok(Forward::Uplink(Push(20))));
    let down = Frame::to(mac(1)).from(mac(9)).bytes();
    for tag in [None, Some(20)] {
        let refused = switch.from_uplink(&down, tag, 0);
        assert_eq!(refused, Err(Refused::NoDestination));
    }
    assert_eq!(switch.from_uplink(&down, Some(10), 0), to_port(0));
    // The only open port is not asked for what is in no VLAN of its.
    let unknown = Frame::to(mac(7)).from(mac(9)).bytes();
    let refused = switch.from_uplink(&unknown, Some(10), 0);
    assert_eq!(refused, Err(Refused::NoDestination));
    assert_eq!(switch.from_uplink(&unknown, Some(20), 0), to_port(2));
}

/// Hostile row 41.
#[test]
fn a_guarded_port_hides_nothing_behind_tags() {
    let mut switch = switch([strict(1, &["192.0.2.1/32"])]);
    let packet = frames::ip("192.0.2.9", "192.0.2.2", 17, &frames::udp(1, 2));
    let frame = Frame::to(mac(9)).from(mac(1)).packet(packet);
    for frame in [
        frame.clone(),
        frame.clone().tag(5),
        frame.clone().tag_of(0x88a8, 5).tag(6),
    ] {
        let refused = switch.from_guest(0, &frame.bytes(), 0);
        assert_eq!(refused, Err(Refused::SpoofedIp));
    }
    let mut deep = frame;
    for _ in 0..8 {
        deep = deep.tag(5);
    }
    assert_eq!(switch.from_guest(0, &deep.bytes(), 0), Err(Refused::Vlan));
}
