//! Reports as a daemon with some guests would give, all of them made up from the time.

use std::collections::BTreeMap;

use netqos::control::report::ControlReport;
use netqos::control::{
    ClassReport, Direction, DirectionReport, Histogram, Limits, Passed, PortReport, Report,
    UplinkReport,
};

const SECOND: u64 = 1_000_000_000;

/// Bytes a second that the guest of this number sends; it receives twice as much.
pub(crate) fn pace(guest: u64) -> u64 {
    125_000 * (guest % 40 + 1)
}

/// The classes below a guest's own, in both directions: name, class above, share in percent.
const CLASSES: [(&str, Option<&str>, u64); 4] = [
    ("voice", None, 10),
    ("bulk", None, 90),
    ("backup", Some("bulk"), 30),
    ("web", Some("bulk"), 60),
];

pub(crate) fn name(guest: u64) -> String {
    format!("vm{guest}")
}

/// What a daemon with as many guests, named `vm1` and so on, says after so many seconds.
pub(crate) fn report(guests: u64, seconds: u64) -> Report {
    Report {
        generation: 3,
        time_nanos: (1000 + seconds) * SECOND,
        uptime_nanos: seconds * SECOND,
        uplinks: vec![UplinkReport {
            uplink: "wan".to_owned(),
            kind: "tap:wan0".to_owned(),
            present: true,
            guests,
            wakes: 900 * seconds,
            from_guest: limits(None, Some(1_000_000_000)),
            to_guest: limits(None, Some(1_000_000_000)),
            drops: drops(&[("no-guest", 2 * seconds)]),
        }],
        ports: (1..=guests).map(|guest| port(guest, seconds)).collect(),
        classes: None,
        control: ControlReport {
            requests: 10 * seconds,
            refused: 2,
            dismissed: 1,
            lost_events: 0,
        },
    }
}

/// The same of one guest, with its classes.
pub(crate) fn with_classes(guest: u64, seconds: u64) -> Report {
    let mut report = report(guest, seconds);
    report.ports.retain(|port| port.port == name(guest));
    let both = Direction::BOTH.iter();
    let classes = both.flat_map(|direction| classes(guest, *direction, seconds));
    report.classes = Some(classes.collect());
    report
}

fn port(guest: u64, seconds: u64) -> PortReport {
    PortReport {
        port: name(guest),
        uplink: "wan".to_owned(),
        session: !guest.is_multiple_of(7),
        sessions: 1 + guest % 3,
        paused: guest.is_multiple_of(11),
        mac: Some(format!(
            "02:00:00:00:{:02x}:{:02x}",
            guest / 256,
            guest % 256
        )),
        from_guest: direction(pace(guest) * seconds, seconds, guest),
        to_guest: direction(2 * pace(guest) * seconds, seconds, 0),
        kicks: 70 * seconds,
        wakes: 80 * seconds,
        broken_rings: u64::from(guest == 13),
        lost_memories: 0,
    }
}

fn direction(wire_bytes: u64, seconds: u64, lost: u64) -> DirectionReport {
    DirectionReport {
        frames: wire_bytes / 1538,
        segments: wire_bytes / 1538,
        bytes: wire_bytes / 1538 * 1514,
        wire_bytes,
        coalesced: 3,
        calls: 50 * seconds,
        drops: if lost % 5 == 4 {
            drops(&[("queue-full", lost * seconds), ("spoofed-mac", 3)])
        } else {
            BTreeMap::new()
        },
        queued: lost % 5,
        marked: 4 * seconds,
        throttled: 20 * seconds,
        throttled_nanos: seconds * SECOND / 4,
        sojourn: waits(seconds),
        limits: limits(Some(10_000_000), (lost % 10 != 9).then_some(100_000_000)),
    }
}

fn classes(guest: u64, direction: Direction, seconds: u64) -> impl Iterator<Item = ClassReport> {
    let bytes = match direction {
        Direction::FromGuest => pace(guest) * seconds,
        Direction::ToGuest => 2 * pace(guest) * seconds,
    };
    let own = std::iter::once((None, None, 100));
    let below = CLASSES.map(|(name, parent, share)| (Some(name), parent, share));
    own.chain(below).map(move |(class, parent, share)| {
        let sent = passed(bytes * share / 100);
        ClassReport {
            uplink: "wan".to_owned(),
            direction,
            guest: name(guest),
            class: class.map(str::to_owned),
            parent: parent.map(str::to_owned),
            local: false,
            state: "ready".to_owned(),
            limits: limits(None, class.map(|_| 50_000_000)),
            queued: share % 7,
            offered: sent,
            sent,
            dropped: passed(if class == Some("backup") {
                1538 * seconds
            } else {
                0
            }),
            refused: 0,
            marked: seconds,
            throttled: 5 * seconds,
            throttled_nanos: seconds * SECOND / 10,
            sojourn: match class {
                Some("voice" | "backup" | "web") => waits(seconds),
                _ => Histogram::default(),
            },
        }
    })
}

const fn passed(wire_bytes: u64) -> Passed {
    Passed {
        frames: wire_bytes / 1538,
        segments: wire_bytes / 1538,
        bytes: wire_bytes / 1538 * 1514,
        wire_bytes,
    }
}

/// A hundred waits a second, two of them long.
fn waits(seconds: u64) -> Histogram {
    let mut waits = Histogram::default();
    waits.counts[2] = 98 * seconds;
    waits.counts[5] = 2 * seconds;
    waits.sum_nanos = seconds * (98 * 80_000 + 2 * 1_500_000);
    waits
}

fn limits(rate: Option<u64>, ceil: Option<u64>) -> Limits {
    Limits {
        rate,
        ceil,
        weight: rate.map(|_| 10),
        prio: 0,
        pps: None,
    }
}

fn drops(reasons: &[(&str, u64)]) -> BTreeMap<String, u64> {
    let reasons = reasons
        .iter()
        .map(|(reason, frames)| ((*reason).to_owned(), *frames));
    reasons.collect()
}
