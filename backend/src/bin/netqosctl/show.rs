//! `show`: the counters of guests and classes, as `tc -s class show` prints them.

use std::collections::BTreeMap;
use std::io::{self, IsTerminal, Write};
use std::path::Path;
use std::thread::sleep;
use std::time::Duration;

use netqos::config::schema_of;
use netqos::control::{
    ClassReport, Client, Direction, DirectionReport, Histogram, Limits, Passed, PortReport, Report,
};

use crate::cli::Show;
use crate::failure::Failure;
use crate::guest;
use crate::number::{count, time};
use crate::text::{HEAD, PLAIN, paragraph};

/// Moves the cursor home and clears what is below (ECMA-48 CUP, ED).
const CLEAR: &str = "\u{1b}[H\u{1b}[J";

pub(crate) fn run(socket: &Path, out: &mut impl Write, args: &Show) -> Result<(), Failure> {
    if args.schema {
        return Ok(writeln!(out, "{:#}", schema_of::<Report>())?);
    }
    let ask = || Client::connect(socket)?.report(&args.guests, args.classes);
    let mut report = ask()?;
    let Some(seconds) = args.watch else {
        return match args.json {
            true => {
                serde_json::to_writer_pretty(&mut *out, &report).map_err(io::Error::from)?;
                Ok(writeln!(out)?)
            }
            false => Ok(print(out, &report, None)?),
        };
    };
    let mut before = None;
    loop {
        if args.json {
            serde_json::to_writer(&mut *out, &report).map_err(io::Error::from)?;
        } else if io::stdout().is_terminal() {
            write!(out, "{CLEAR}")?;
            print(out, &report, before.as_ref())?;
        } else {
            print(out, &report, before.as_ref())?;
        }
        writeln!(out)?;
        out.flush()?;
        sleep(Duration::from_secs(seconds));
        before = Some(report);
        report = ask()?;
    }
}

/// Prints a report, with rates if there is an earlier one.
fn print(out: &mut impl Write, report: &Report, before: Option<&Report>) -> io::Result<()> {
    let since = before.map(|before| Since::new(before, report));
    for port in &report.ports {
        print_port(out, port, since.as_ref())?;
        let classes = report.classes.iter().flatten();
        for class in classes.filter(|class| class.guest == port.port) {
            print_class(out, class, since.as_ref())?;
        }
    }
    Ok(())
}

fn print_port(
    out: &mut impl Write,
    port: &PortReport,
    since: Option<&Since<'_>>,
) -> io::Result<()> {
    let (name, uplink, state) = (&port.port, &port.uplink, guest::state(port));
    let mac = port.mac.as_deref().unwrap_or("any");
    let text = format!("guest {name} uplink {uplink} mac {mac} {state}");
    paragraph(out, HEAD, ["", "   "], &text)?;
    let text = format!(
        "sessions {} kicks {} turns {} broken rings {}",
        port.sessions, port.kicks, port.wakes, port.broken_rings
    );
    paragraph(out, PLAIN, [" ", "   "], &text)?;
    for direction in Direction::BOTH {
        let facts = of(port, direction);
        let text = format!("{} {}", direction.name(), limits(&facts.limits));
        paragraph(out, PLAIN, [" ", "   "], &text)?;
        let before = since.and_then(|since| since.port(port, direction));
        Facts::from(facts).print(out, before)?;
        let drops = facts.drops.iter().filter(|(_, count)| **count > 0);
        let drops: Vec<_> = drops.map(|(why, count)| format!("{why} {count}")).collect();
        if !drops.is_empty() {
            let text = format!("drops: {}", drops.join(", "));
            paragraph(out, PLAIN, ["  ", "    "], &text)?;
        }
    }
    Ok(())
}

fn print_class(
    out: &mut impl Write,
    class: &ClassReport,
    since: Option<&Since<'_>>,
) -> io::Result<()> {
    let mut text = format!("class {}", class.guest);
    if let Some(name) = &class.class {
        text.push('/');
        text.push_str(name);
    }
    if let Some(parent) = &class.parent {
        text.push_str(" parent ");
        text.push_str(parent);
    }
    let local = if class.local { " local" } else { "" };
    let (way, limits, state) = (class.direction.name(), limits(&class.limits), &class.state);
    text.push_str(&format!(" {way}{local} {limits} {state}"));
    paragraph(out, PLAIN, [" ", "   "], &text)?;
    let before = since.and_then(|since| since.class(class));
    Facts::from(class).print(out, before)
}

/// One direction of a port.
pub(crate) const fn of(port: &PortReport, direction: Direction) -> &DirectionReport {
    match direction {
        Direction::FromGuest => &port.from_guest,
        Direction::ToGuest => &port.to_guest,
    }
}

fn limits(limits: &Limits) -> String {
    let rate = |rate: Option<u64>| rate.map_or_else(|| "none".to_owned(), bits);
    let mut text = format!("rate {} ceil {}", rate(limits.rate), rate(limits.ceil));
    if let Some(pps) = limits.pps {
        text.push_str(&format!(" pps {}", count(pps)));
    }
    if let Some(weight) = limits.weight {
        text.push_str(&format!(" weight {weight}"));
    }
    text.push_str(&format!(" prio {}", limits.prio));
    text
}

fn bits(rate: u64) -> String {
    format!("{}bit", count(rate))
}

/// A percentile of waits: the bound it is below.
pub(crate) fn delay(waits: &Histogram, percent: u8) -> String {
    match waits.percentile(percent) {
        Some(bound) => format!("<{}", time(bound)),
        None if waits.total() == 0 => "-".to_owned(),
        None => ">1s".to_owned(),
    }
}

/// What ports and classes have in common.
struct Facts<'a> {
    sent: Passed,
    dropped: u64,
    overlimits: u64,
    throttled_nanos: u64,
    marked: u64,
    queued: u64,
    waits: &'a Histogram,
}

impl<'a> From<&'a DirectionReport> for Facts<'a> {
    fn from(report: &'a DirectionReport) -> Self {
        Self {
            sent: Passed {
                frames: report.frames,
                segments: report.segments,
                bytes: report.bytes,
                wire_bytes: report.wire_bytes,
            },
            dropped: report
                .drops
                .values()
                .fold(0, |sum, more| sum.wrapping_add(*more)),
            overlimits: report.throttled,
            throttled_nanos: report.throttled_nanos,
            marked: report.marked,
            queued: report.queued,
            waits: &report.sojourn,
        }
    }
}

impl<'a> From<&'a ClassReport> for Facts<'a> {
    fn from(report: &'a ClassReport) -> Self {
        Self {
            sent: report.sent,
            dropped: report.dropped.frames.wrapping_add(report.refused),
            overlimits: report.throttled,
            throttled_nanos: report.throttled_nanos,
            marked: report.marked,
            queued: report.queued,
            waits: &report.sojourn,
        }
    }
}

impl Facts<'_> {
    fn print(&self, out: &mut impl Write, before: Option<(u64, Passed)>) -> io::Result<()> {
        let text = format!(
            "Sent {} bytes {} pkt (dropped {}, overlimits {}, marked {})",
            self.sent.bytes, self.sent.segments, self.dropped, self.overlimits, self.marked
        );
        paragraph(out, PLAIN, ["  ", "    "], &text)?;
        let (p50, p99) = (delay(self.waits, 50), delay(self.waits, 99));
        let throttled = time(self.throttled_nanos);
        let mut text = format!(
            "backlog {}p delay p50 {p50} p99 {p99} throttled {throttled}",
            self.queued
        );
        if let Some((nanos, before)) = before {
            let bytes = self.sent.wire_bytes.wrapping_sub(before.wire_bytes);
            let packets = self.sent.segments.wrapping_sub(before.segments);
            let rate = bits(per_second(bytes.saturating_mul(8), nanos));
            text.push_str(&format!(
                " rate {rate} {}pps",
                count(per_second(packets, nanos))
            ));
        }
        paragraph(out, PLAIN, ["  ", "    "], &text)
    }
}

/// So many in that time, a second; zero if no time has passed.
pub(crate) fn per_second(count: u64, nanos: u64) -> u64 {
    let second = u128::from(count) * 1_000_000_000;
    let rate = second.checked_div(u128::from(nanos)).unwrap_or(0);
    u64::try_from(rate).unwrap_or(u64::MAX)
}

/// An earlier report, for rates.
struct Since<'a> {
    nanos: u64,
    ports: BTreeMap<&'a str, &'a PortReport>,
    classes: BTreeMap<ClassKey<'a>, &'a ClassReport>,
}

type ClassKey<'a> = (&'a str, Option<&'a str>, Direction, bool);

fn key(class: &ClassReport) -> ClassKey<'_> {
    (
        &class.guest,
        class.class.as_deref(),
        class.direction,
        class.local,
    )
}

impl<'a> Since<'a> {
    fn new(before: &'a Report, now: &Report) -> Self {
        let classes = before.classes.iter().flatten();
        Self {
            nanos: now.time_nanos.saturating_sub(before.time_nanos),
            ports: before
                .ports
                .iter()
                .map(|port| (port.port.as_str(), port))
                .collect(),
            classes: classes.map(|class| (key(class), class)).collect(),
        }
    }

    fn port(&self, port: &PortReport, direction: Direction) -> Option<(u64, Passed)> {
        let before = self.ports.get(port.port.as_str())?;
        self.unless_reset(
            Facts::from(of(before, direction)).sent,
            Facts::from(of(port, direction)).sent,
        )
    }

    fn class(&self, class: &ClassReport) -> Option<(u64, Passed)> {
        self.unless_reset(self.classes.get(&key(class))?.sent, class.sent)
    }

    /// Counters that are less than before belong to another guest of that name, or to another daemon.
    fn unless_reset(&self, before: Passed, now: Passed) -> Option<(u64, Passed)> {
        (now.wire_bytes >= before.wire_bytes).then_some((self.nanos, before))
    }
}
