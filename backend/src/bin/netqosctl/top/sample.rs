//! Reports of a daemon that there is not.

use netqos::control::{
    ClassReport, Direction, DirectionReport, Histogram, Limits, Passed, PortReport, Report,
    UplinkReport,
};

use super::feed::Sample;

const SECOND: u64 = 1_000_000_000;

/// Counters of something that has carried so many bit/s for `second` seconds.
fn direction(rate: u64, second: u64, ceil: Option<u64>) -> DirectionReport {
    let mut sojourn = Histogram::default();
    for frame in 0..100 * second {
        sojourn.add(if frame % 100 < 95 { 30_000 } else { rate / 100 });
    }
    DirectionReport {
        wire_bytes: rate / 8 * second,
        bytes: rate / 9 * second,
        frames: rate / 12_000 * second,
        segments: rate / 12_000 * second,
        drops: [("no-room".to_owned(), rate / 100_000_000 * second)].into(),
        sojourn,
        limits: Limits {
            ceil,
            ..Limits::default()
        },
        ..DirectionReport::default()
    }
}

/// A guest that sends and receives so many bit/s.
pub(super) fn port(name: &str, rates: [u64; 2], ceil: Option<u64>, second: u64) -> PortReport {
    let [from, to] = rates;
    PortReport {
        port: name.to_owned(),
        uplink: "lan".to_owned(),
        session: true,
        sessions: 1,
        paused: false,
        mac: None,
        from_guest: direction(from, second, ceil),
        to_guest: direction(to, second, ceil),
        kicks: 0,
        wakes: 0,
        broken_rings: 0,
        lost_memories: 0,
    }
}

pub(super) fn class(
    guest: &str,
    name: &str,
    parent: Option<&str>,
    way: Direction,
    rate: u64,
    second: u64,
) -> ClassReport {
    let sent = Passed {
        wire_bytes: rate / 8 * second,
        ..Passed::default()
    };
    ClassReport {
        uplink: "lan".to_owned(),
        direction: way,
        guest: guest.to_owned(),
        class: Some(name.to_owned()),
        parent: parent.map(str::to_owned),
        local: false,
        state: "ready".to_owned(),
        limits: Limits::default(),
        queued: 0,
        offered: sent,
        sent,
        dropped: Passed::default(),
        refused: 0,
        marked: 0,
        throttled: 0,
        throttled_nanos: 0,
        sojourn: Histogram::default(),
    }
}

/// What a daemon says that has served these guests for so many seconds.
pub(super) fn report(ports: Vec<PortReport>, second: u64) -> Report {
    Report {
        generation: 7,
        time_nanos: second * SECOND,
        uptime_nanos: second * SECOND,
        uplinks: vec![UplinkReport {
            uplink: "lan".to_owned(),
            kind: "packet:eth0".to_owned(),
            present: true,
            guests: ports.len() as u64,
            wakes: 0,
            from_guest: Limits::default(),
            to_guest: Limits::default(),
            drops: [].into(),
        }],
        ports,
        classes: None,
        control: Default::default(),
    }
}

/// Three guests: near its limit, without one, and without a front-end; the first with classes.
pub(super) fn small(second: u64) -> Sample {
    let mut absent = port("spare", [0, 0], Some(10_000_000), second);
    absent.session = false;
    let mut paused = port("batch", [0, 1_000_000], Some(100_000_000), second);
    paused.paused = true;
    let guests = report(
        vec![
            paused,
            absent,
            port("vm1", [480_000_000, 20_000_000], Some(500_000_000), second),
            port("vm2", [120_000_000, 800_000_000], None, second),
        ],
        second,
    );
    let mut classes = guests.clone();
    classes.classes = Some(vec![
        class(
            "vm1",
            "bulk",
            None,
            Direction::FromGuest,
            400_000_000,
            second,
        ),
        class(
            "vm1",
            "live",
            None,
            Direction::FromGuest,
            80_000_000,
            second,
        ),
        class(
            "vm1",
            "voice",
            Some("live"),
            Direction::FromGuest,
            2_000_000,
            second,
        ),
        class("vm1", "web", None, Direction::ToGuest, 20_000_000, second),
    ]);
    Sample {
        guests,
        classes: Some(classes),
    }
}

/// So many guests.
pub(super) fn many(count: u64, second: u64) -> Sample {
    let guest = |n: u64| {
        let rates = [n * 7_919 % 977 * 1_000_000, n * 104_729 % 911 * 1_000_000];
        port(&format!("vm{n:04}"), rates, Some(1_000_000_000), second)
    };
    Sample {
        guests: report((0..count).map(guest).collect(), second),
        classes: None,
    }
}
