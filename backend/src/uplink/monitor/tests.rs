//! A monitor in a network namespace whose links come and go.

use std::thread;
use std::time::{Duration, Instant};

use rustix::net::sockopt;

use super::*;
use crate::uplink::testing::*;

/// The events until one is as wanted, which is the last; at most five seconds.
fn until(monitor: &mut LinkMonitor, wanted: impl Fn(&LinkEvent) -> bool) -> Vec<LinkEvent> {
    let deadline = Instant::now() + Duration::from_secs(5);
    let mut seen = Vec::new();
    loop {
        seen.extend(monitor.events().unwrap());
        if let Some(at) = seen.iter().position(&wanted) {
            seen.truncate(at + 1);
            return seen;
        }
        assert!(Instant::now() < deadline, "only {seen:?}");
        thread::sleep(Duration::from_millis(1));
    }
}

fn settle(monitor: &mut LinkMonitor) {
    thread::sleep(Duration::from_millis(50));
    monitor.events().unwrap().for_each(drop);
}

#[test]
fn links_that_come_change_and_go_are_told_once() {
    in_namespace(|| {
        veth();
        let mut monitor = LinkMonitor::new().unwrap();
        settle(&mut monitor);
        assert_eq!(
            monitor.events().unwrap().count(),
            0,
            "what was there is no news"
        );
        let index = link("here").unwrap().index;
        ip("link set here mtu 1400");
        ip("link set here down");
        let down = until(&mut monitor, |event| event.name == "here");
        assert_eq!(
            down.last().unwrap(),
            &LinkEvent {
                index,
                name: "here".to_owned(),
                up: false,
                carrier: false,
                gone: false,
                appeared: false
            }
        );
        settle(&mut monitor);
        ip("link set here up");
        until(&mut monitor, |event| {
            event.index == index && event.up && event.carrier
        });
        ip("link del here");
        let gone = until(&mut monitor, |event| event.gone && event.index == index);
        assert!(gone.iter().all(|event| !event.appeared));
        veth();
        let back = until(&mut monitor, |event| event.appeared && event.name == "here");
        assert_ne!(back.last().unwrap().index, index);
        ip("link set there down");
        ip("link set there name other");
        until(&mut monitor, |event| {
            event.appeared && event.name == "other"
        });
    });
}

#[test]
fn a_port_that_leaves_its_bridge_is_not_gone() {
    in_namespace(|| {
        veth();
        ip("link add br0 type bridge");
        let mut monitor = LinkMonitor::new().unwrap();
        ip("link set here master br0");
        ip("link set here nomaster");
        ip("link del br0");
        let seen = until(&mut monitor, |event| event.gone);
        assert_eq!(seen.last().unwrap().name, "br0");
    });
}

#[test]
fn lost_news_are_made_up_for_by_reading_everything_anew() {
    in_namespace(|| {
        veth();
        let index = link("here").unwrap().index;
        let mut monitor = LinkMonitor::new().unwrap();
        sockopt::set_socket_recv_buffer_size(monitor.fd(), 0).unwrap();
        for _ in 0..20 {
            ip("link set here down");
            ip("link set here up");
        }
        ip("link del here");
        veth();
        let seen = until(&mut monitor, |event| event.appeared && event.name == "here");
        assert!(seen.iter().any(|event| event.gone && event.index == index));
    });
}

fn state(index: u32, name: &str) -> Link {
    Link {
        index,
        name: name.to_owned(),
        up: true,
        ..Link::default()
    }
}

#[test]
fn a_new_list_tells_what_is_gone_before_what_appeared() {
    let mut known = Known::default();
    known.replace(vec![state(1, "a"), state(2, "b")]);
    let events = known.replace(vec![state(1, "a"), state(3, "b")]);
    let told: Vec<_> = events
        .iter()
        .map(|e| (e.index, e.gone, e.appeared))
        .collect();
    assert_eq!(told, [(2, true, false), (3, false, true)]);
}
