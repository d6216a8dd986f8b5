//! The result as two tables, 80 columns wide: the classes as a tree, and the sources.

use std::io::{self, Write};

use netqos::file::TreeFile;
use qos::ClassConfig;
use qos::sim::{ClassReport, Control, Report, Scenario, SourceReport, Traffic};

use crate::number::{count, percent, time};
use crate::text::fit;

/// Columns for the name of a class.
const NAME: usize = 17;

pub(crate) fn print(
    out: &mut impl Write,
    tree: &TreeFile,
    scenario: &Scenario,
    report: &Report,
) -> io::Result<()> {
    let (all, counted) = (time(scenario.nanos), time(report.nanos));
    let (link, seed) = (count(report.link.bits_per_second()), scenario.seed);
    writeln!(
        out,
        "link {link}bit/s, {all}, of which {counted} counted, seed {seed}\n"
    )?;
    let head = [
        "guarantee",
        "ceil",
        "rate",
        "share",
        "p50",
        "p99",
        "lost",
        "marks",
    ];
    writeln!(out, "{:NAME$}{}", "class", line(head).trim_end())?;
    for class in &scenario.tree.classes {
        if class.parent.is_none() {
            print_class(out, tree, report, class, 0)?;
        }
    }
    let head = [
        "goodput",
        "slowest",
        "fastest",
        "rtt p50",
        "rtt p99",
        "delay p99",
        "lost",
    ];
    writeln!(out, "\n{:22}{}", "source", source_line(head))?;
    for source in &report.sources {
        print_source(out, tree, source)?;
    }
    writeln!(out)?;
    writeln!(
        out,
        "rates in bit/s, of a class on the wire, of a source without headers;"
    )?;
    writeln!(
        out,
        "delay from arrival to sending; lost in segments, marks in frames"
    )
}

fn line(columns: [impl AsRef<str>; 8]) -> String {
    const WIDTHS: [usize; 8] = [10, 7, 7, 9, 8, 8, 7, 7];
    let cells = columns.iter().zip(WIDTHS);
    cells
        .map(|(text, width)| format!("{:>width$}", text.as_ref()))
        .collect()
}

fn print_class(
    out: &mut impl Write,
    tree: &TreeFile,
    report: &Report,
    config: &ClassConfig,
    level: usize,
) -> io::Result<()> {
    let rate = |rate: Option<qos::Rate>| {
        rate.map_or_else(|| "-".to_owned(), |rate| count(rate.bits_per_second()))
    };
    let name = format!("{:1$}{2}", "", 2 * level, tree.name(config.id));
    if let Some(class) = report.class(config.id) {
        let cells = line([
            rate(config.rate),
            rate(config.ceil),
            count(class.bits_per_second),
            percent(class.share_ppm),
            delay(class, class.delay.p50),
            delay(class, class.delay.p99),
            count(class.lost),
            count(class.marked),
        ]);
        writeln!(out, "{}{cells}", fit(&name, NAME))?;
    }
    for child in &tree.tree.classes {
        if child.parent == Some(config.id) {
            print_class(out, tree, report, child, level + 1)?;
        }
    }
    Ok(())
}

/// A delay, if anything was sent.
fn delay(class: &ClassReport, nanos: u64) -> String {
    if class.delay.count == 0 {
        return "-".to_owned();
    }
    time(nanos)
}

fn source_line(columns: [impl AsRef<str>; 7]) -> String {
    const WIDTHS: [usize; 7] = [8, 8, 8, 8, 8, 10, 8];
    let cells = columns.iter().zip(WIDTHS);
    cells
        .map(|(text, width)| format!("{:>width$}", text.as_ref()))
        .collect()
}

fn print_source(out: &mut impl Write, tree: &TreeFile, source: &SourceReport) -> io::Result<()> {
    let kind = kind(&source.source.traffic);
    let name = format!("{} {kind}", tree.name(source.source.class));
    let name = match source.source.flows {
        1 => fit(&name, 22),
        flows => {
            let times = format!(" x{flows}");
            format!("{}{times}", fit(&name, 22 - times.len()).trim_end())
        }
    };
    let only = |there: bool, text: String| if there { text } else { "-".to_owned() };
    let tcp = matches!(source.source.traffic, Traffic::Tcp(_));
    let many = tcp && source.source.flows > 1;
    let answered = source.rtt.count > 0;
    let cells = source_line([
        count(source.goodput),
        only(many, count(source.slowest)),
        only(many, count(source.fastest)),
        only(answered, time(source.rtt.p50)),
        only(answered, time(source.rtt.p99)),
        only(source.delay.count > 0, time(source.delay.p99)),
        count(source.lost),
    ]);
    writeln!(out, "{name:22}{cells}")
}

/// What a kind of traffic is called.
pub(crate) const fn kind(traffic: &Traffic) -> &'static str {
    match traffic {
        Traffic::Cbr(_) => "cbr",
        Traffic::OnOff(_) => "on-off",
        Traffic::Flood(_) => "flood",
        Traffic::Tcp(tcp) => match tcp.control {
            Control::Reno => "reno",
            Control::Cubic => "cubic",
            Control::Dctcp => "dctcp",
        },
    }
}
