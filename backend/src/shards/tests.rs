//! What is served where, and what is asked of all: with uplinks that lead nowhere.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;

use super::*;
use crate::config::{Config, Direction};
use crate::plan::{self, Ids};
use crate::shard::{LanChange, LanInquiry, PortChange, PortCommand, PortInquiry, TreesChange};
use crate::switch::PortRules;

/// An uplink for each number, with as many guests.
fn config(guests: &[usize]) -> Config {
    let mut text = String::new();
    for (uplink, count) in guests.iter().enumerate() {
        writeln!(text, "[uplink.u{uplink}]\nkind = \"none\"").unwrap();
        for guest in 0..*count {
            let name = format!("g{uplink}-{guest}");
            let guest = format!(
                "[guest.{name}]\nuplink = \"u{uplink}\"\nsocket = \"/nowhere/{name}.sock\""
            );
            writeln!(text, "{guest}").unwrap();
        }
    }
    Config::parse(Path::new("sample.toml"), &text).unwrap()
}

/// All that [`config`] describes. Uplinks and ports are numbered as they come there.
fn all_of(config: &Config) -> Change {
    let mut ids = Ids::default();
    let mut change = Change::default();
    for (number, uplink) in (0..).zip(&config.uplinks) {
        let plan = plan::lan(config, number as usize, &mut ids);
        change.lans.push(LanChange {
            id: LanId(number),
            name: uplink.name.clone(),
            uplink: Some(Uplink::open(uplink).unwrap()),
            trees: TreesChange {
                from_guest: Some(plan.from_guest),
                to_guest: Some(plan.to_guest),
            },
        });
    }
    for (number, guest) in (0..).zip(&config.guests) {
        let mut tree = |direction| plan::port(config, guest, direction, &mut ids);
        change.ports.push(PortChange {
            id: PortId(number),
            name: guest.name.clone(),
            lan: LanId(guest.uplink.try_into().unwrap()),
            queues: 1,
            rules: PortRules::default(),
            coalesce: true,
            transparent: false,
            from_guest: tree(Direction::FromGuest),
            to_guest: tree(Direction::ToGuest),
        });
    }
    change
}

fn homes(guests: &[usize], count: usize) -> Vec<usize> {
    let mut homes = Homes::default();
    homes.follow(&all_of(&config(guests)), count);
    homes.lans.into_values().collect()
}

fn shards(count: u16, guests: &[usize]) -> Shards {
    let mut shards = Shards::spawn(count, Duration::ZERO, 1 << 20).unwrap();
    shards.change(all_of(&config(guests))).unwrap();
    shards
}

/// Whether these ports and uplinks are there.
fn there(shards: &Shards, ports: &[u32], lans: &[u32]) -> (Vec<bool>, Vec<bool>) {
    let ports = ports
        .iter()
        .map(|id| PortInquiry::new(PortId(*id), [vec![], vec![]]));
    let lans = lans.iter().map(|id| LanInquiry::new(LanId(*id)));
    let inquiry = Inquiry {
        ports: ports.collect(),
        lans: lans.collect(),
    };
    let asked: Vec<_> = inquiry.ports.iter().map(|port| port.id).collect();
    let answered = shards.count(inquiry).unwrap();
    let answers: Vec<_> = answered.ports.iter().map(|port| port.id).collect();
    assert_eq!(asked, answers, "answers are in the order of the questions");
    let ports = answered.ports.iter().map(|port| port.counters.is_some());
    let lans = answered.lans.iter().map(|lan| lan.counters.is_some());
    (ports.collect(), lans.collect())
}

fn end(shards: Shards) -> usize {
    let (uplinks, ended) = shards.end();
    ended.unwrap();
    uplinks.len()
}

#[test]
fn a_new_uplink_goes_where_the_fewest_guests_are_the_largest_first() {
    assert_eq!(homes(&[1, 1, 1, 1], 2), [0, 1, 0, 1]);
    assert_eq!(homes(&[1, 1, 2], 2), [1, 1, 0]);
    assert_eq!(homes(&[1, 5, 2, 2, 1], 2), [1, 0, 1, 1, 0]);
    assert_eq!(homes(&[0, 0, 0], 3), [0, 1, 2]);
    assert_eq!(homes(&[3, 4], 1), [0, 0]);
}

#[test]
fn an_uplink_stays_where_it_is_and_later_ones_make_up_for_it() {
    let mut homes = Homes::default();
    let mut change = all_of(&config(&[3, 1, 1]));
    let later = change.lans.pop().unwrap();
    let guest = change.ports.pop().unwrap();
    assert_eq!(
        homes.follow(&change, 2),
        [("u0".to_owned(), 0), ("u1".to_owned(), 1)]
    );
    // The guests of the first one go: it is the emptier one, but nothing moves.
    let gone = Change {
        ports_gone: (0..3).map(PortId).collect(),
        ..Change::default()
    };
    assert_eq!(homes.follow(&gone, 2), []);
    let next = Change {
        lans: vec![later],
        ports: vec![guest],
        ..Change::default()
    };
    assert_eq!(homes.follow(&next, 2), [("u2".to_owned(), 0)]);
    let lans = [(LanId(0), 0), (LanId(1), 1), (LanId(2), 0)];
    assert_eq!(homes.lans, BTreeMap::from(lans));
    let ports = [(PortId(3), 1), (PortId(4), 0)];
    assert_eq!(homes.ports, BTreeMap::from(ports));
}

#[test]
fn what_is_asked_of_all_is_answered_in_order_however_many_there_are() {
    for count in 1..5 {
        let shards = shards(count, &[2, 1, 3]);
        let answers = there(&shards, &[5, 0, 99, 3, 1], &[2, 7, 0, 1]);
        let expected = (
            vec![true, true, false, true, true],
            vec![true, false, true, true],
        );
        assert_eq!(answers, expected, "{count} shards");
        assert!(
            shards
                .ping()
                .unwrap()
                .wait_for(Duration::from_secs(10))
                .unwrap()
        );
        shards.drain(0).unwrap().wait().unwrap();
        assert_eq!(end(shards), 3);
    }
}

#[test]
fn a_command_for_a_port_reaches_the_shard_it_is_on() {
    let mut shards = shards(3, &[1, 1, 1]);
    let answers = |shards: &Shards, port| {
        let rings = shards.port(PortId(port)).request(PortCommand::Rings);
        rings.unwrap().recv().is_ok()
    };
    assert!((0..3).all(|port| answers(&shards, port)));
    assert!(!answers(&shards, 3), "there is no such port");
    let gone = Change {
        ports_gone: vec![PortId(1)],
        ..Change::default()
    };
    shards.change(gone).unwrap();
    assert_eq!(
        [0, 1, 2].map(|port| answers(&shards, port)),
        [true, false, true]
    );
    assert_eq!(end(shards), 3);
}

#[test]
fn a_change_that_is_wrong_for_one_shard_is_made_on_none() {
    let mut shards = Shards::spawn(2, Duration::ZERO, 1 << 20).unwrap();
    let mut change = all_of(&config(&[1, 1]));
    change.lans[1].trees.to_guest = Some(qos::TreeConfig::default());
    let error = shards.change(change).unwrap_err();
    assert!(
        matches!(error, CommitError::Change(ChangeError::Tree { uplink, .. }) if uplink == "u1")
    );
    let nothing = (vec![false, false], vec![false, false]);
    assert_eq!(there(&shards, &[0, 1], &[0, 1]), nothing);
    // It goes on with what is right.
    shards.change(all_of(&config(&[1, 1]))).unwrap();
    let all = (vec![true, true], vec![true, true]);
    assert_eq!(there(&shards, &[0, 1], &[0, 1]), all);
    assert_eq!(end(shards), 2);
}

#[test]
fn what_goes_is_given_back_by_whoever_had_it() {
    let mut shards = shards(2, &[1, 1, 1]);
    let gone = Change {
        ports_gone: (0..3).map(PortId).collect(),
        lans_gone: (0..3).map(LanId).collect(),
        ..Change::default()
    };
    let retired = shards.change(gone).unwrap().retired;
    let mut names: Vec<_> = retired.iter().map(Uplink::name).collect();
    names.sort_unstable();
    assert_eq!(names, ["u0", "u1", "u2"]);
    assert_eq!(end(shards), 0);
}

#[test]
fn a_shard_that_has_ended_is_missed() {
    let shards = shards(2, &[1, 1]);
    shards.shards[1].handle.send(Command::End).unwrap();
    while !shards.shards[1].thread.is_finished() {
        std::thread::yield_now();
    }
    assert!(shards.ping().is_none());
    assert!(shards.drain(0).is_err());
    let (uplinks, ended) = shards.end();
    assert_eq!(uplinks.len(), 2, "what it had is given back all the same");
    ended.unwrap_err();
}
