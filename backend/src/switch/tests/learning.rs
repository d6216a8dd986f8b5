//! Learned and owned addresses.

use super::*;

fn frame(to: u8, from: u8) -> Vec<u8> {
    Frame::to(mac(to)).from(mac(from)).bytes()
}

/// An address that no other number makes.
fn stranger(number: u32) -> [u8; 6] {
    let [a, b, c, d] = number.to_be_bytes();
    [2, 0xbb, a, b, c, d]
}

#[test]
fn owned_addresses_are_found_without_a_word_from_their_owner() {
    let mut switch = switch([owner(1), owner(2)]);
    assert_eq!(switch.from_guest(0, &frame(2, 1), 0), to_port(1));
    assert_eq!(switch.from_guest(0, &frame(9, 1), 0), TO_UPLINK);
    assert_eq!(switch.from_uplink(&frame(2, 9), None, 0), to_port(1));
    assert_eq!(
        switch.from_uplink(&frame(3, 9), None, 0),
        Err(Refused::NoDestination)
    );
    assert_eq!(switch.from_guest(0, &frame(1, 1), 0), Err(Refused::Hairpin));
    assert_eq!(switch.stations(), 0);
}

#[test]
fn an_owned_address_never_moves() {
    let mut switch = switch([owner(1), open(), owner(3)]);
    let spoofed = Err(Refused::SpoofedMac);
    for port in [1, 2] {
        assert_eq!(switch.from_guest(port, &frame(9, 1), 0), spoofed);
    }
    assert_eq!(switch.from_uplink(&frame(9, 1), None, 0), spoofed);
    assert_eq!(switch.from_uplink(&frame(9, 1), Some(7), 0), spoofed);
    assert_eq!(switch.from_guest(0, &frame(9, 7), 0), spoofed);
    assert_eq!(switch.from_uplink(&frame(1, 9), None, 0), to_port(0));
    // Nor does one that was learned elsewhere before it was owned.
    assert_eq!(switch.from_guest(1, &frame(1, 4), 0), to_port(0));
    assert_eq!(switch.from_uplink(&frame(4, 9), None, 0), to_port(1));
    switch.set_port(3, owner(4)).unwrap();
    assert_eq!(switch.stations(), 0);
    assert_eq!(switch.from_uplink(&frame(4, 9), None, 0), to_port(3));
    assert_eq!(switch.from_guest(1, &frame(9, 4), 0), spoofed);
}

#[test]
fn open_ports_are_flooded_until_they_have_spoken() {
    let mut switch = switch([open(), open(), owner(3), open()]);
    let forward = switch.from_guest(0, &frame(2, 1), 0);
    assert_eq!(reached(&switch, forward), (vec![1, 3], true));
    let forward = switch.from_guest(2, &frame(2, 3), 0);
    assert_eq!(reached(&switch, forward), (vec![0, 1, 3], true));
    let forward = switch.from_uplink(&frame(2, 9), None, 0);
    assert_eq!(reached(&switch, forward), (vec![0, 1, 3], false));
    assert_eq!(switch.from_guest(1, &frame(1, 2), 0), to_port(0));
    assert_eq!(switch.from_guest(0, &frame(2, 1), 0), to_port(1));
    assert_eq!(switch.from_guest(2, &frame(2, 3), 0), to_port(1));
    assert_eq!(switch.from_uplink(&frame(2, 9), None, 0), to_port(1));
    assert_eq!(switch.from_guest(1, &frame(2, 2), 0), Err(Refused::Hairpin));
}

#[test]
fn the_only_open_port_gets_what_is_unknown() {
    let mut switch = switch([owner(1), open()]);
    assert_eq!(switch.from_uplink(&frame(7, 9), None, 0), to_port(1));
    assert_eq!(switch.from_guest(1, &frame(7, 2), 0), TO_UPLINK);
    let forward = switch.from_guest(0, &frame(7, 1), 0);
    assert_eq!(reached(&switch, forward), (vec![1], true));
}

#[test]
fn what_was_seen_on_the_uplink_is_not_flooded() {
    let mut switch = switch([open(), open(), open()]);
    let forward = switch.from_guest(0, &frame(9, 1), 0);
    assert_eq!(reached(&switch, forward), (vec![1, 2], true));
    assert_eq!(switch.from_uplink(&frame(1, 9), None, 0), to_port(0));
    assert_eq!(switch.from_guest(0, &frame(9, 1), 0), TO_UPLINK);
    // It is forgotten with age, and as soon as it is seen on a port.
    let forward = switch.from_guest(0, &frame(9, 1), 300 * SECOND);
    assert_eq!(reached(&switch, forward), (vec![1, 2], true));
    switch
        .from_uplink(&frame(1, 9), None, 300 * SECOND)
        .unwrap();
    switch.from_guest(1, &frame(8, 9), 300 * SECOND).unwrap();
    assert_eq!(switch.from_guest(0, &frame(9, 1), 301 * SECOND), to_port(1));
}

#[test]
fn entries_age() {
    let mut switch = switch([open(), open()]);
    switch.from_guest(0, &frame(9, 1), 0).unwrap();
    assert_eq!(
        switch.from_uplink(&frame(1, 9), None, 299 * SECOND),
        to_port(0)
    );
    let forward = switch.from_uplink(&frame(1, 9), None, 300 * SECOND);
    assert_eq!(reached(&switch, forward), (vec![0, 1], false));
    // A frame renews it.
    switch.from_guest(0, &frame(9, 1), 300 * SECOND).unwrap();
    assert_eq!(
        switch.from_uplink(&frame(1, 9), None, 599 * SECOND),
        to_port(0)
    );
}

#[test]
fn a_station_moves_between_open_ports_and_to_the_uplink() {
    let mut switch = switch([open(), open(), open()]);
    switch.from_guest(0, &frame(9, 1), 0).unwrap();
    switch.from_guest(1, &frame(9, 1), 1).unwrap();
    assert_eq!(switch.from_uplink(&frame(1, 9), None, 2), to_port(1));
    assert_eq!(switch.stations(), 1);
    switch.from_uplink(&frame(8, 1), None, 3).unwrap();
    assert_eq!(switch.stations(), 0);
    assert_eq!(switch.from_guest(2, &frame(1, 3), 4), TO_UPLINK);
    // And back.
    switch.from_guest(1, &frame(9, 1), 5).unwrap();
    assert_eq!(switch.from_guest(2, &frame(1, 3), 6), to_port(1));
}

#[test]
fn removed_and_changed_ports_are_forgotten() {
    let mut switch = switch([open(), open(), open()]);
    for port in 0..3 {
        let from = u8::try_from(port + 1).unwrap();
        switch.from_guest(port, &frame(9, from), 0).unwrap();
    }
    switch.remove_port(0);
    switch
        .set_port(1, in_vlan(VlanConfig::Access(5), open()))
        .unwrap();
    assert_eq!(switch.stations(), 1);
    // A change that does not touch where it is found leaves it known.
    switch.set_port(2, strict_open()).unwrap();
    assert_eq!(switch.stations(), 1);
    switch.set_port(2, owner(7)).unwrap();
    assert_eq!(switch.stations(), 0);
}

fn strict_open() -> PortRules {
    PortRules {
        addresses: vec!["192.0.2.0/24".parse().unwrap()],
        ..open()
    }
}

#[test]
fn groups_and_nobody_are_not_learned() {
    let mut switch = switch([open(), open()]);
    for source in [[0; 6], frames::BROADCAST, [1, 0, 0x5e, 0, 0, 1]] {
        let frame = Frame::to(mac(9)).from(source).bytes();
        switch.from_guest(0, &frame, 0).unwrap();
    }
    assert_eq!(switch.stations(), 0);
}

/// Hostile rows 96 and 98.
#[test]
fn a_flood_of_addresses_takes_nothing_from_neighbours() {
    let mut switch = switch([open(), open(), owner(3)]);
    switch.from_guest(1, &frame(9, 2), 0).unwrap();
    for number in 0..100_000 {
        let frame = Frame::to(mac(9)).from(stranger(number)).bytes();
        switch.from_guest(0, &frame, u64::from(number)).unwrap();
    }
    assert_eq!(switch.stations(), 65);
    assert_eq!(switch.missed(0).stations, 100_000 - 64);
    assert_eq!(switch.missed(1).stations, 0);
    assert_eq!(switch.from_uplink(&frame(2, 9), None, 1), to_port(1));
    assert_eq!(switch.from_uplink(&frame(3, 9), None, 1), to_port(2));
    // Nor can it take over a neighbour's address when it has no room for its own.
    switch.from_guest(0, &frame(9, 2), 2).unwrap();
    assert_eq!(switch.from_uplink(&frame(2, 9), None, 3), to_port(1));
    // Aged entries make room, sixty-four for each new one.
    for number in 0..2 {
        let late = Frame::to(mac(9)).from(stranger(200_000 + number)).bytes();
        switch.from_guest(0, &late, 400 * SECOND).unwrap();
    }
    assert_eq!(switch.stations(), 2);
}

#[test]
fn many_ports_fill_the_table_and_no_more() {
    let limits = Limits {
        stations: 100,
        ..Limits::default()
    };
    let mut switch = Switch::new(limits, SEED);
    for port in 0..5 {
        switch.set_port(port, open()).unwrap();
    }
    for port in 0..5 {
        for number in 0..1000 {
            let source = stranger(port << 16 | number);
            let frame = Frame::to(mac(9)).from(source).bytes();
            switch.from_guest(port, &frame, 0).unwrap();
        }
    }
    assert_eq!(switch.stations(), 100);
    let held: Vec<u64> = (0..5)
        .map(|port| 1000 - switch.missed(port).stations)
        .collect();
    assert_eq!(held, [64, 36, 0, 0, 0]);
}

#[test]
fn strangers_on_the_uplink_push_out_only_each_other() {
    let mut switch = switch([open(), open()]);
    switch.from_guest(0, &frame(9, 1), 0).unwrap();
    for number in 0..5000 {
        let frame = Frame::to(mac(1)).from(stranger(number)).bytes();
        assert_eq!(switch.from_uplink(&frame, None, 1), to_port(0));
    }
    assert_eq!(switch.stations(), 1);
    let to = |number| Frame::to(stranger(number)).from(mac(1)).bytes();
    assert_eq!(switch.from_guest(0, &to(4999), 2), TO_UPLINK);
    let forward = switch.from_guest(0, &to(0), 2);
    assert_eq!(reached(&switch, forward), (vec![1], true));
}
