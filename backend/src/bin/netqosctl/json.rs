//! The result as JSON: what the tables say and the time series, times in nanoseconds.

use std::io::{self, Write};

use netqos::file::TreeFile;
use qos::FlowCounters;
use qos::sim::{ClassReport, Delays, Report, SourceReport};
use serde::Serialize;

use crate::table::kind;

#[derive(Serialize)]
struct Whole {
    link_bits_per_second: u64,
    counted_nanos: u64,
    bin_nanos: u64,
    events: u64,
    classes: Vec<Class>,
    sources: Vec<Source>,
}

#[derive(Serialize)]
struct Counters {
    frames: u64,
    segments: u64,
    bytes: u64,
    wire_bytes: u64,
}

#[derive(Serialize)]
struct Times {
    count: u64,
    p50: u64,
    p99: u64,
    max: u64,
}

#[derive(Serialize)]
struct Class {
    id: String,
    name: Option<String>,
    offered: Counters,
    sent: Counters,
    bits_per_second: u64,
    share_ppm: u64,
    delay: Times,
    lost: u64,
    marked: u64,
    throttled: u64,
    wire_bytes_per_bin: Vec<u64>,
}

#[derive(Serialize)]
struct Source {
    class: String,
    kind: &'static str,
    flows: u32,
    offered: Counters,
    goodput: u64,
    slowest: u64,
    fastest: u64,
    delay: Times,
    rtt: Times,
    lost: u64,
    marked: u64,
    resent: u64,
    timeouts: u64,
    reductions: u64,
    finished: Option<u64>,
}

pub(crate) fn print(out: &mut impl Write, tree: &TreeFile, report: &Report) -> io::Result<()> {
    let whole = Whole {
        link_bits_per_second: report.link.bits_per_second(),
        counted_nanos: report.nanos,
        bin_nanos: report.bin_nanos,
        events: report.events,
        classes: report.classes.iter().map(|c| class(tree, c)).collect(),
        sources: report.sources.iter().map(|s| source(tree, s)).collect(),
    };
    serde_json::to_writer_pretty(&mut *out, &whole)?;
    writeln!(out)
}

fn class(tree: &TreeFile, class: &ClassReport) -> Class {
    Class {
        id: class.id.to_string(),
        name: tree.names.get(&class.id).cloned(),
        offered: class.offered.into(),
        sent: class.sent.into(),
        bits_per_second: class.bits_per_second,
        share_ppm: class.share_ppm,
        delay: class.delay.into(),
        lost: class.lost,
        marked: class.marked,
        throttled: class.throttled,
        wire_bytes_per_bin: class.series.clone(),
    }
}

fn source(tree: &TreeFile, source: &SourceReport) -> Source {
    Source {
        class: tree.name(source.source.class),
        kind: kind(&source.source.traffic),
        flows: source.source.flows,
        offered: source.offered.into(),
        goodput: source.goodput,
        slowest: source.slowest,
        fastest: source.fastest,
        delay: source.delay.into(),
        rtt: source.rtt.into(),
        lost: source.lost,
        marked: source.marked,
        resent: source.resent,
        timeouts: source.timeouts,
        reductions: source.reductions,
        finished: source.finished,
    }
}

impl From<FlowCounters> for Counters {
    fn from(counters: FlowCounters) -> Self {
        Self {
            frames: counters.frames,
            segments: counters.segments,
            bytes: counters.bytes,
            wire_bytes: counters.wire_bytes,
        }
    }
}

impl From<Delays> for Times {
    fn from(delays: Delays) -> Self {
        Self {
            count: delays.count,
            p50: delays.p50,
            p99: delays.p99,
            max: delays.max,
        }
    }
}
