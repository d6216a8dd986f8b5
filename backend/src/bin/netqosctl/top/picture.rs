//! What two reports come to: rates, shares and delays of what happened between them.

use std::collections::{BTreeMap, HashMap};

use netqos::control::{ClassReport, Direction, DirectionReport, Histogram, PortReport, Report};

use super::feed::Sample;
use crate::show::{of, per_second};

/// A guest, or one of its classes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key {
    pub(super) guest: String,
    pub(super) class: Option<String>,
}

/// What one row says of one direction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Way {
    /// Bit/s on the wire; none until there is an earlier report.
    pub(super) rate: Option<u64>,
    /// What it may not exceed, in bit/s: its own, or its guest's.
    pub(super) limit: Option<u64>,
    /// What it has of its uplink's traffic, a class of its guest's, in thousandths.
    pub(super) share: Option<u64>,
    /// What waited since.
    pub(super) waits: Histogram,
    /// Drops a second.
    pub(super) drops: Option<u64>,
}

/// A guest or a class.
#[derive(Clone, Debug)]
pub(super) struct Row {
    pub(super) key: Key,
    /// Of a class: how many are above it.
    pub(super) depth: usize,
    pub(super) paused: bool,
    pub(super) connected: bool,
    /// From-guest and to-guest; a class may be in one tree alone.
    pub(super) ways: [Option<Way>; 2],
}

impl Row {
    /// What it does in one direction.
    pub(super) fn way(&self, direction: Direction) -> Option<&Way> {
        let [from, to] = &self.ways;
        match direction {
            Direction::FromGuest => from.as_ref(),
            Direction::ToGuest => to.as_ref(),
        }
    }
}

/// All there is to show.
#[derive(Clone, Debug)]
pub(super) struct Picture {
    pub(super) generation: u64,
    pub(super) uptime_nanos: u64,
    /// Guests, each with its classes if it is unfolded.
    pub(super) guests: Vec<(Row, Vec<Row>)>,
    /// Bit/s of all guests, each way.
    pub(super) total: [Option<u64>; 2],
    /// Uplinks whose interface is not there.
    pub(super) gone: Vec<String>,
}

/// What of a counter set a [`Way`] is made of.
#[derive(Clone, Copy, Default)]
struct Facts {
    wire_bytes: u64,
    drops: u64,
    waits: Histogram,
    limit: Option<u64>,
}

impl From<&DirectionReport> for Facts {
    fn from(report: &DirectionReport) -> Self {
        Self {
            wire_bytes: report.wire_bytes,
            drops: report
                .drops
                .values()
                .fold(0, |sum, more| sum.wrapping_add(*more)),
            waits: report.sojourn,
            limit: report.limits.ceil,
        }
    }
}

impl Facts {
    /// Takes a twin of a class in: what goes through either is the class's.
    fn add(&mut self, class: &ClassReport) {
        let drops = class.dropped.frames.wrapping_add(class.refused);
        self.wire_bytes = self.wire_bytes.wrapping_add(class.sent.wire_bytes);
        self.drops = self.drops.wrapping_add(drops);
        self.waits.merge(&class.sojourn);
        self.limit = self.limit.or(class.limits.ceil);
    }

    fn way(&self, before: Option<&Self>, nanos: u64) -> Way {
        // Counters that are less than before are another guest's of that name.
        let before = before.filter(|before| before.wire_bytes <= self.wire_bytes && nanos > 0);
        let since = |now: u64, before: u64| per_second(now.wrapping_sub(before), nanos);
        Way {
            rate: before.map(|before| since(self.wire_bytes, before.wire_bytes).saturating_mul(8)),
            limit: self.limit,
            share: None,
            waits: before.map_or_else(Histogram::default, |it| self.waits.since(&it.waits)),
            drops: before.map(|before| since(self.drops, before.drops)),
        }
    }
}

impl Picture {
    pub(super) fn new(now: &Sample, before: Option<&Sample>) -> Self {
        let before = before.filter(|it| it.guests.uptime_nanos <= now.guests.uptime_nanos);
        let earlier = before.map(|before| &before.guests);
        let nanos = nanos(&now.guests, earlier);
        let ports = earlier.into_iter().flat_map(|report| &report.ports);
        let ports: HashMap<_, _> = ports.map(|port| (port.port.as_str(), port)).collect();
        let mut rows: Vec<_> = now
            .guests
            .ports
            .iter()
            .map(|port| guest(port, ports.get(port.port.as_str()).copied(), nanos))
            .collect();
        let total = [0, 1].map(|way| total(&rows, way));
        share_uplinks(&mut rows, &now.guests.ports);
        let mut classes = classes(now, before);
        let with_classes = |row: Row| {
            let mut below = classes.remove(&row.key.guest).unwrap_or_default();
            below.iter_mut().for_each(|class| share_guest(class, &row));
            (row, below)
        };
        let uplinks = now.guests.uplinks.iter().filter(|uplink| !uplink.present);
        Self {
            generation: now.guests.generation,
            uptime_nanos: now.guests.uptime_nanos,
            guests: rows.into_iter().map(with_classes).collect(),
            total,
            gone: uplinks.map(|uplink| uplink.uplink.clone()).collect(),
        }
    }
}

fn nanos(now: &Report, before: Option<&Report>) -> u64 {
    before.map_or(0, |before| now.time_nanos.saturating_sub(before.time_nanos))
}

fn guest(port: &PortReport, before: Option<&PortReport>, nanos: u64) -> Row {
    let way = |direction| {
        let before = before.map(|before| of(before, direction).into());
        Facts::from(of(port, direction)).way(before.as_ref(), nanos)
    };
    Row {
        key: Key {
            guest: port.port.clone(),
            class: None,
        },
        depth: 0,
        paused: port.paused,
        connected: port.session,
        ways: Direction::BOTH.map(|direction| Some(way(direction))),
    }
}

fn total(rows: &[Row], way: usize) -> Option<u64> {
    let rates = rows
        .iter()
        .filter_map(|row| row.ways.get(way)?.as_ref()?.rate);
    rates.reduce(u64::saturating_add)
}

fn thousandths(part: Option<u64>, whole: Option<u64>) -> Option<u64> {
    let thousand = u128::from(part?) * 1000;
    let share = thousand.checked_div(u128::from(whole?)).unwrap_or(0);
    u64::try_from(share).ok()
}

/// Says what each guest has of its uplink's traffic.
fn share_uplinks(rows: &mut [Row], ports: &[PortReport]) {
    for way in [0, 1] {
        let mut wholes: HashMap<&str, u64> = HashMap::new();
        for (row, port) in rows.iter().zip(ports) {
            let rate = row.ways.get(way).and_then(|way| way.as_ref()?.rate);
            let whole = wholes.entry(&port.uplink).or_default();
            *whole = whole.saturating_add(rate.unwrap_or(0));
        }
        for (row, port) in rows.iter_mut().zip(ports) {
            if let Some(Some(way)) = row.ways.get_mut(way) {
                way.share = thousandths(way.rate, wholes.get(port.uplink.as_str()).copied());
            }
        }
    }
}

/// Says what a class has of its guest's traffic, and that its guest's limit holds for it too.
fn share_guest(class: &mut Row, guest: &Row) {
    for (class, guest) in class.ways.iter_mut().zip(&guest.ways) {
        if let (Some(class), Some(guest)) = (class, guest) {
            class.share = thousandths(class.rate, guest.rate);
            class.limit = class.limit.or(guest.limit);
        }
    }
}

/// A class of one direction: its guest, its name.
type ClassKey<'a> = (&'a str, Direction, &'a str);

fn facts(report: Option<&Report>) -> BTreeMap<ClassKey<'_>, Facts> {
    let mut all: BTreeMap<ClassKey<'_>, Facts> = BTreeMap::new();
    for class in report
        .into_iter()
        .flat_map(|report| report.classes.iter().flatten())
    {
        if let Some(name) = &class.class {
            let key = (class.guest.as_str(), class.direction, name.as_str());
            all.entry(key).or_default().add(class);
        }
    }
    all
}

/// The classes of unfolded guests, each below the one above it.
fn classes(now: &Sample, before: Option<&Sample>) -> HashMap<String, Vec<Row>> {
    let Some(report) = &now.classes else {
        return HashMap::new();
    };
    let earlier = before.and_then(|before| before.classes.as_ref());
    let nanos = nanos(report, earlier);
    let (facts, earlier) = (facts(Some(report)), facts(earlier));
    let mut parents: BTreeMap<(&str, &str), Option<&str>> = BTreeMap::new();
    for class in report.classes.iter().flatten() {
        if let Some(name) = &class.class {
            parents.insert((&class.guest, name), class.parent.as_deref());
        }
    }
    let mut rows: HashMap<String, Vec<Row>> = HashMap::new();
    for (guest, name) in in_tree_order(&parents) {
        let way = |direction| {
            let key = (guest, direction, name);
            Some(facts.get(&key)?.way(earlier.get(&key), nanos))
        };
        rows.entry(guest.to_owned()).or_default().push(Row {
            key: Key {
                guest: guest.to_owned(),
                class: Some(name.to_owned()),
            },
            depth: path(&parents, guest, name).len(),
            paused: false,
            connected: true,
            ways: Direction::BOTH.map(way),
        });
    }
    rows
}

type Parents<'a> = BTreeMap<(&'a str, &'a str), Option<&'a str>>;

/// Trees are not deeper; a longer way up is a circle, which no daemon has.
const DEEPEST: usize = 16;

/// The names from the top of the guest's tree down to this one.
fn path<'a>(parents: &Parents<'a>, guest: &'a str, name: &'a str) -> Vec<&'a str> {
    let above = |name: &&'a str| parents.get(&(guest, *name)).copied().flatten();
    let mut path: Vec<_> = std::iter::successors(Some(name), above)
        .take(DEEPEST)
        .collect();
    path.reverse();
    path
}

fn in_tree_order<'a>(parents: &Parents<'a>) -> Vec<(&'a str, &'a str)> {
    let mut all: Vec<_> = parents.keys().copied().collect();
    all.sort_by_cached_key(|(guest, name)| (*guest, path(parents, guest, name)));
    all
}
