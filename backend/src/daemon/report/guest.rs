//! One guest of a report: its port, and its classes if they are asked for.

use qos::engine::{ClassSnapshot, ClassStats, State};
use qos::{ClassConfig, PacketRate, Rate};

use super::super::port::Port;
use super::drops;
use crate::config::{self, GuestConfig, GuestTree};
use crate::control::{ClassReport, Direction, DirectionReport, Histogram, Limits, PortReport};
use crate::shard::{ClassInquiry, DirectionCounters, PortCounters};

/// A guest, and what was counted of it at one moment.
#[derive(Debug)]
pub(super) struct Counted<'a> {
    pub(super) guest: &'a GuestConfig,
    pub(super) uplink: &'a str,
    pub(super) port: &'a Port,
    pub(super) counters: PortCounters,
    /// Its classes in the order of its trees, of what it sends and of what it receives.
    pub(super) trees: [Vec<ClassInquiry>; 2],
}

/// What there is to know of a class, or of several together.
#[derive(Clone, Copy, Debug, Default)]
struct Sum {
    queued: u64,
    stats: ClassStats,
}

impl Sum {
    fn add(&mut self, own: &ClassSnapshot) {
        self.queued = self.queued.wrapping_add(own.queued);
        self.stats.add(&own.stats);
    }
}

impl Counted<'_> {
    /// The port.
    pub(super) fn port(&self) -> PortReport {
        let [from, to] = &self.trees;
        let (counters, guest) = (&self.counters, self.guest);
        PortReport {
            port: guest.name.clone(),
            uplink: self.uplink.to_owned(),
            session: self.port.is_busy(),
            sessions: self.port.sessions(),
            paused: self.port.is_paused(),
            mac: guest.mac.map(|mac| mac.to_string()),
            from_guest: direction(&counters.from_guest, &guest.from_guest, from),
            to_guest: direction(&counters.to_guest, &guest.to_guest, to),
            kicks: counters.kicks,
            wakes: counters.wakes,
            broken_rings: counters.broken_rings,
            lost_memories: self.port.lost_memories(),
        }
    }

    /// Adds the classes.
    pub(super) fn classes(&self, reports: &mut Vec<ClassReport>) {
        let directions = [
            (Direction::FromGuest, config::Direction::FromGuest),
            (Direction::ToGuest, config::Direction::ToGuest),
        ];
        for ((direction, key), counted) in directions.into_iter().zip(&self.trees) {
            let tree = self.guest.tree(key);
            let sums = sums(tree, counted);
            for ((class, counted), sums) in tree.classes.iter().zip(counted).zip(sums) {
                for (local, (twin, sum)) in [false, true]
                    .into_iter()
                    .zip(counted.twins.iter().zip(sums))
                {
                    reports.push(self.class(direction, tree, class, local, twin, &sum));
                    if let Some(report) = reports.last_mut().filter(|_| !local) {
                        report.sojourn = counted.sojourn;
                    }
                }
            }
        }
    }

    fn class(
        &self,
        direction: Direction,
        tree: &GuestTree,
        class: &ClassConfig,
        local: bool,
        own: &Option<ClassSnapshot>,
        sum: &Sum,
    ) -> ClassReport {
        let name = |id| tree.name(id).map(str::to_owned);
        let state = own.map_or(State::Idle, |own| own.state);
        ClassReport {
            uplink: self.uplink.to_owned(),
            direction,
            guest: self.guest.name.clone(),
            class: name(class.id),
            parent: class.parent.and_then(name),
            local,
            state: word(state).to_owned(),
            limits: limits(class),
            queued: sum.queued,
            offered: (&sum.stats.offered).into(),
            sent: (&sum.stats.sent).into(),
            dropped: (&sum.stats.dropped).into(),
            refused: sum.stats.refused,
            marked: sum.stats.marked,
            throttled: sum.stats.throttled,
            throttled_nanos: sum.stats.throttled_nanos,
            sojourn: Histogram::default(),
        }
    }
}

fn direction(
    counters: &DirectionCounters,
    tree: &GuestTree,
    classes: &[ClassInquiry],
) -> DirectionReport {
    let mut sum = Sum::default();
    let mut sojourn = Histogram::default();
    for class in classes {
        sojourn.merge(&class.sojourn);
        for own in class.twins.iter().flatten() {
            sum.add(own);
        }
    }
    DirectionReport {
        frames: counters.sent.frames,
        segments: counters.sent.segments,
        bytes: counters.sent.bytes,
        wire_bytes: counters.sent.wire_bytes,
        coalesced: counters.coalesced,
        calls: counters.calls,
        drops: drops(&counters.drops),
        queued: sum.queued,
        marked: sum.stats.marked,
        throttled: sum.stats.throttled,
        throttled_nanos: sum.stats.throttled_nanos,
        sojourn,
        limits: tree.classes.first().map(limits).unwrap_or_default(),
    }
}

/// Of every class, in the order of the tree, what it and all below it counted: below the uplink, and
/// below the class of local frames.
fn sums(tree: &GuestTree, counted: &[ClassInquiry]) -> Vec<[Sum; 2]> {
    let classes = &tree.classes;
    let mut sums = vec![[Sum::default(); 2]; classes.len()];
    let above = |at: &usize| {
        let parent = classes.get(*at)?.parent?;
        classes.iter().position(|class| class.id == parent)
    };
    for (start, class) in counted.iter().enumerate() {
        // A tree has no loops; if it had one, it would end.
        for at in std::iter::successors(Some(start), above).take(classes.len()) {
            for (sum, own) in sums.iter_mut().skip(at).take(1).flatten().zip(&class.twins) {
                if let Some(own) = own {
                    sum.add(own);
                }
            }
        }
    }
    sums
}

fn limits(class: &ClassConfig) -> Limits {
    Limits {
        rate: class.rate.map(Rate::bits_per_second),
        ceil: class.ceil.map(Rate::bits_per_second),
        weight: class.weight,
        prio: class.prio,
        pps: class.pps.map(PacketRate::segments_per_second),
    }
}

const fn word(state: State) -> &'static str {
    match state {
        State::Idle => "idle",
        State::Green | State::Excess => "ready",
        State::Throttled => "throttled",
        State::Blocked => "blocked",
    }
}

#[cfg(test)]
mod tests;
