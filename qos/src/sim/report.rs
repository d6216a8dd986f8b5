//! What a simulation found, per class and per source.

use std::collections::BTreeMap;

use super::histogram::{Delays, Histogram};
use super::scenario::{Scenario, Source, Traffic};
use super::world::World;
use crate::class::ClassId;
use crate::counters::FlowCounters;
use crate::engine::{ClassSnapshot, ClassStats};
use crate::units::Rate;

/// The outcome of a [`Scenario`]. Two runs of one scenario have equal reports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// The speed of the link.
    pub link: Rate,
    /// How long was counted, in nanoseconds: all after the warm-up.
    pub nanos: u64,
    /// How long a bin of the time series is, in nanoseconds.
    pub bin_nanos: u64,
    /// How many events that took.
    pub events: u64,
    /// The classes, in the order of the tree.
    pub classes: Vec<ClassReport>,
    /// The sources, in the order of the scenario.
    pub sources: Vec<SourceReport>,
}

/// What became of a class's frames; of an inner class, those of all its leaves.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClassReport {
    /// The class.
    pub id: ClassId,
    /// What its sources sent.
    pub offered: FlowCounters,
    /// What went.
    pub sent: FlowCounters,
    /// What went, in wire bit/s.
    pub bits_per_second: u64,
    /// The same in millionths of the link.
    pub share_ppm: u64,
    /// From arrival to sending, segment by segment.
    pub delay: Delays,
    /// Segments lost: dropped by flow queues, refused by full ones, or given up by the sender's own.
    pub lost: u64,
    /// Frames sent with a congestion mark.
    pub marked: u64,
    /// How often it had to wait for its own limits.
    pub throttled: u64,
    /// Wire bytes in each bin of the whole time, warm-up included.
    pub series: Vec<u64>,
}

/// What became of a source's frames, all its flows together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SourceReport {
    /// The source.
    pub source: Source,
    /// What it sent, retransmissions included.
    pub offered: FlowCounters,
    /// What arrived, in bit/s: payload for TCP, each byte counted once; whole frames for others.
    pub goodput: u64,
    /// Segments lost on the way.
    pub lost: u64,
    /// Segments that arrived with a congestion mark.
    pub marked: u64,
    /// From arrival to sending, segment by segment.
    pub delay: Delays,
    /// TCP's round trips, queueing included.
    pub rtt: Delays,
    /// Segments that TCP sent again.
    pub resent: u64,
    /// How often nothing came back in time.
    pub timeouts: u64,
    /// How often a window shrank for loss or marks.
    pub reductions: u64,
    /// When its last transfer of known size was complete, in nanoseconds.
    pub finished: Option<u64>,
    /// Goodput of the slowest and the fastest flow, in bit/s; zero but for TCP.
    pub slowest: u64,
    /// See [`slowest`](Self::slowest).
    pub fastest: u64,
}

impl Report {
    pub(super) fn new(scenario: &Scenario, link: Rate, mut world: World) -> Self {
        let nanos = scenario.nanos - scenario.warm_up_nanos;
        let mut classes = classes(scenario, &world);
        let (before, after) = (by_id(&world.before), by_id(&world.engine.snapshot()));
        for class in &mut classes {
            if let (Some(before), Some(after)) = (before.get(&class.id), after.get(&class.id)) {
                class.counted(before, after);
            }
            class.bits_per_second = per_second(class.sent.wire_bytes * 8, nanos);
            let share = u128::from(class.bits_per_second) * 1_000_000;
            let share = share / u128::from(link.bits_per_second());
            class.share_ppm = u64::try_from(share).unwrap_or(u64::MAX);
        }
        let sources = scenario.sources.iter().enumerate();
        let sources = sources.map(|(number, source)| source_report(number, source, &world, nanos));
        Self {
            link,
            nanos,
            bin_nanos: world.bin_nanos(),
            events: world.events,
            classes,
            sources: sources.collect(),
        }
    }

    /// What is said of a class.
    #[must_use]
    pub fn class(&self, id: ClassId) -> Option<&ClassReport> {
        self.classes.iter().find(|class| class.id == id)
    }
}

impl ClassReport {
    /// Takes over what the engine counted in between.
    const fn counted(&mut self, before: &ClassStats, after: &ClassStats) {
        self.sent = FlowCounters {
            frames: after.sent.frames - before.sent.frames,
            segments: after.sent.segments - before.sent.segments,
            bytes: after.sent.bytes - before.sent.bytes,
            wire_bytes: after.sent.wire_bytes - before.sent.wire_bytes,
        };
        self.marked = after.marked - before.marked;
        self.throttled = after.throttled - before.throttled;
    }
}

fn by_id(snapshot: &[ClassSnapshot]) -> BTreeMap<ClassId, ClassStats> {
    let classes = snapshot.iter();
    classes.map(|class| (class.id, class.stats)).collect()
}

/// The classes with what was measured at the leaves, each leaf's added to all above it.
fn classes(scenario: &Scenario, world: &World) -> Vec<ClassReport> {
    let configs = &scenario.tree.classes;
    let places: BTreeMap<_, _> = (0..)
        .zip(configs)
        .map(|(at, class)| (class.id, at))
        .collect();
    let parent = |&at: &usize| places.get(&configs[at].parent?).copied();
    let mut reports: Vec<_> = configs
        .iter()
        .map(|class| ClassReport {
            id: class.id,
            series: vec![0; scenario.bins as usize],
            ..ClassReport::default()
        })
        .collect();
    let mut delays = vec![Histogram::default(); configs.len()];
    for leaf in &world.leaves {
        let meter = &leaf.meter;
        for at in std::iter::successors(places.get(&leaf.id).copied(), parent) {
            let report = &mut reports[at];
            report.offered.merge(&meter.offered);
            report.lost += meter.lost;
            delays[at].merge(&meter.delay);
            for (sum, bytes) in report.series.iter_mut().zip(&meter.series) {
                *sum += bytes;
            }
        }
    }
    for (report, delay) in reports.iter_mut().zip(&delays) {
        report.delay = delay.delays();
    }
    reports
}

fn source_report(number: usize, source: &Source, world: &World, nanos: u64) -> SourceReport {
    let meter = &world.sources[number];
    let mut report = SourceReport {
        source: *source,
        offered: meter.offered,
        goodput: per_second(meter.arrived * 8, nanos),
        lost: meter.lost,
        marked: meter.marked,
        delay: meter.delay.delays(),
        rtt: meter.rtt.delays(),
        resent: 0,
        timeouts: 0,
        reductions: 0,
        finished: meter.finished,
        slowest: 0,
        fastest: 0,
    };
    let flows = world.flows.iter().filter(|flow| flow.source == number);
    let mut slowest = u64::MAX;
    for flow in flows {
        if let (Some(connection), Traffic::Tcp(tcp)) = (&flow.connection, flow.traffic) {
            let counters = connection.counters;
            report.resent += counters.resent;
            report.timeouts += counters.timeouts;
            report.reductions += counters.reductions;
            let goodput = per_second(counters.arrived * u64::from(tcp.mss) * 8, nanos);
            slowest = slowest.min(goodput);
            report.slowest = slowest;
            report.fastest = report.fastest.max(goodput);
        }
    }
    report
}

/// A count over so many nanoseconds, per second.
fn per_second(count: u64, nanos: u64) -> u64 {
    let scaled = u128::from(count) * 1_000_000_000 / u128::from(nanos.max(1));
    u64::try_from(scaled).unwrap_or(u64::MAX)
}
