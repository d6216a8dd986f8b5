//! The switch as its caller sees it.

mod flood;
mod frames;
mod guard;
mod learning;
mod random;
mod vlan;

use super::*;
use crate::config::{Trust, VlanConfig};
use frames::{Frame, mac};

pub(super) const SECOND: u64 = 1_000_000_000;
pub(super) const SEED: [u64; 4] = [1, 2, 3, 4];

/// A switch whose ports have these rules, numbered from 0.
pub(super) fn switch(rules: impl IntoIterator<Item = PortRules>) -> Switch {
    let mut switch = Switch::new(Limits::default(), SEED);
    for (port, rules) in (0..).zip(rules) {
        switch.set_port(port, rules).unwrap();
    }
    switch
}

pub(super) fn open() -> PortRules {
    PortRules::default()
}

/// A port that owns [`mac`] of `last`.
pub(super) fn owner(last: u8) -> PortRules {
    PortRules {
        mac: Some(mac(last).try_into().unwrap()),
        ..open()
    }
}

/// [`owner`] with IP addresses.
pub(super) fn strict(last: u8, addresses: &[&str]) -> PortRules {
    PortRules {
        addresses: addresses.iter().map(|text| text.parse().unwrap()).collect(),
        ..owner(last)
    }
}

pub(super) fn in_vlan(vlan: VlanConfig, rules: PortRules) -> PortRules {
    PortRules { vlan, ..rules }
}

pub(super) fn isolated(group: u32, rules: PortRules) -> PortRules {
    PortRules {
        isolation: Some(group),
        ..rules
    }
}

pub(super) fn to_port(port: u32) -> Result<Forward, Refused> {
    Ok(Forward::Port(Delivery {
        port,
        tag: TagChange::Keep,
    }))
}

pub(super) const TO_UPLINK: Result<Forward, Refused> = Ok(Forward::Uplink(TagChange::Keep));

/// Whom a flood reaches, and whether it goes to the uplink. The frame must be flooded.
pub(super) fn reached(switch: &Switch, forward: Result<Forward, Refused>) -> (Vec<u32>, bool) {
    let Ok(Forward::Flood(flood)) = forward else {
        panic!("not a flood: {forward:?}");
    };
    let mut ports: Vec<u32> = switch.receivers(&flood).map(|to| to.port).collect();
    ports.sort_unstable();
    (ports, flood.uplink().is_some())
}

#[test]
fn a_guest_alone_on_its_uplink_is_transparent() {
    let mut switch = switch([open()]);
    let up = Frame::to(mac(9)).from(mac(1)).bytes();
    let down = Frame::to(mac(1)).from(mac(9)).bytes();
    let other = Frame::to(mac(2)).from(mac(9)).bytes();
    assert_eq!(switch.from_guest(0, &up, 0), TO_UPLINK);
    assert_eq!(switch.from_uplink(&down, None, 0), to_port(0));
    assert_eq!(switch.from_uplink(&other, None, 0), to_port(0));
    // Whatever it is: nested bridges, routers, servers, tags, link control.
    for frame in [
        Frame::to(frames::BROADCAST).from(mac(7)).tag(5).bytes(),
        Frame::to([1, 0x80, 0xc2, 0, 0, 0xe]).from(mac(1)).bytes(),
        frames::router_advertisement(mac(1)),
        frames::dhcp_offer(mac(1)),
        Frame::to(frames::BROADCAST).from(frames::BROADCAST).bytes(),
    ] {
        assert_eq!(switch.from_guest(0, &frame, 0), TO_UPLINK);
        assert_eq!(switch.from_uplink(&frame, None, 0), to_port(0));
        let pushed = Ok(Forward::Port(Delivery {
            port: 0,
            tag: TagChange::Push(9),
        }));
        assert_eq!(switch.from_uplink(&frame, Some(9), 0), pushed);
    }
    // Even between two stations behind it, which the uplink may reflect.
    let inside = Frame::to(mac(1)).from(mac(2)).bytes();
    assert_eq!(switch.from_guest(0, &inside, 0), TO_UPLINK);
    // Rules or company end that.
    switch.set_port(1, open()).unwrap();
    let forward = switch.from_guest(0, &up, 0);
    assert_eq!(reached(&switch, forward), (vec![1], true));
    assert_eq!(switch.from_uplink(&down, None, 0), to_port(0));
    switch.remove_port(1);
    assert_eq!(switch.from_guest(0, &inside, 0), TO_UPLINK);
    switch.set_port(0, owner(1)).unwrap();
    assert_eq!(switch.from_guest(0, &inside, 0), Err(Refused::SpoofedMac));
}

#[test]
fn frames_from_nowhere_and_frames_without_a_header_are_refused() {
    let mut switch = switch([open()]);
    let frame = Frame::to(mac(9)).from(mac(1)).bytes();
    assert_eq!(switch.from_guest(1, &frame, 0), Err(Refused::NoPort));
    for len in 0..14 {
        let cut = &frame[..len];
        assert_eq!(switch.from_guest(0, cut, 0), Err(Refused::Truncated));
        assert_eq!(switch.from_uplink(cut, None, 0), Err(Refused::Truncated));
    }
    switch.remove_port(0);
    switch.remove_port(0);
    switch.remove_port(77);
    assert_eq!(switch.from_guest(0, &frame, 0), Err(Refused::NoPort));
    assert_eq!(
        switch.from_uplink(&frame, None, 0),
        Err(Refused::NoDestination)
    );
}

#[test]
fn an_address_has_one_owner_and_a_number_is_small() {
    let mut switch = switch([owner(1)]);
    assert_eq!(
        switch.set_port(1, owner(1)),
        Err(PortError::Owned {
            mac: mac(1).try_into().unwrap(),
            port: 0
        })
    );
    assert_eq!(
        switch.set_port(u32::MAX, open()),
        Err(PortError::Number(u32::MAX))
    );
    let frame = Frame::to(mac(1)).from(mac(9)).bytes();
    assert_eq!(switch.from_uplink(&frame, None, 0), to_port(0));
    // The same port may keep or change its own, and what it gave up is free.
    switch.set_port(0, owner(1)).unwrap();
    switch.set_port(0, owner(2)).unwrap();
    switch.set_port(1, owner(1)).unwrap();
    assert_eq!(switch.from_uplink(&frame, None, 0), to_port(1));
    switch.remove_port(1);
    switch.set_port(2, owner(1)).unwrap();
    assert_eq!(switch.from_uplink(&frame, None, 0), to_port(2));
}

#[test]
fn isolated_neighbours_never_meet() {
    let mut switch = switch([
        isolated(1, owner(1)),
        isolated(1, owner(2)),
        isolated(2, owner(3)),
        owner(4),
        isolated(1, open()),
    ]);
    let between = |to, from| Frame::to(mac(to)).from(mac(from)).bytes();
    assert_eq!(
        switch.from_guest(0, &between(2, 1), 0),
        Err(Refused::Isolated)
    );
    assert_eq!(switch.from_guest(0, &between(3, 1), 0), to_port(2));
    assert_eq!(switch.from_guest(0, &between(4, 1), 0), to_port(3));
    let everybody = Frame::to(frames::BROADCAST).from(mac(1)).bytes();
    let forward = switch.from_guest(0, &everybody, 0);
    assert_eq!(reached(&switch, forward), (vec![2, 3], true));
    // A learned neighbour, and one that is only guessed, are no way around it.
    let forward = switch.from_guest(0, &between(5, 1), 0);
    assert_eq!(reached(&switch, forward), (vec![], true));
    assert_eq!(switch.from_guest(4, &between(9, 5), 0), TO_UPLINK);
    assert_eq!(
        switch.from_guest(0, &between(5, 1), 0),
        Err(Refused::Isolated)
    );
    assert_eq!(switch.from_guest(3, &between(5, 4), 0), to_port(4));
    // The uplink reaches all.
    let down = Frame::to(frames::BROADCAST).from(mac(9)).bytes();
    let forward = switch.from_uplink(&down, None, 0);
    assert_eq!(reached(&switch, forward), (vec![0, 1, 2, 3, 4], false));
}

#[test]
fn link_control_neither_leaves_nor_reaches_guarded_ports() {
    let mut switch = switch([owner(1), open(), isolated(1, open())]);
    for group in [
        [1, 0x80, 0xc2, 0, 0, 0],
        [1, 0x80, 0xc2, 0, 0, 0xf],
        [1, 0, 0xc, 0xcc, 0xcc, 0xcd],
    ] {
        let frame = Frame::to(group).from(mac(1)).bytes();
        let refused = Err(Refused::LinkControl);
        assert_eq!(switch.from_guest(0, &frame, 0), refused);
        let frame = Frame::to(group).from(mac(2)).bytes();
        assert_eq!(switch.from_guest(2, &frame, 0), refused);
        let forward = switch.from_guest(1, &frame, 0);
        assert_eq!(reached(&switch, forward), (vec![], true));
        let forward = switch.from_uplink(&frame, None, 0);
        assert_eq!(reached(&switch, forward), (vec![1], false));
    }
    for ethertype in [0x8808, 0x88cc] {
        let frame = Frame::to(mac(9)).from(mac(1)).ethertype(ethertype).bytes();
        assert_eq!(switch.from_guest(0, &frame, 0), Err(Refused::LinkControl));
    }
}
