//! Metrics as Prometheus reads them, and what is made for it: a dashboard and alerts.
#![allow(clippy::unwrap_used)] // in helpers, too, a panic is a failed test

mod promtool;
#[path = "../web/sample.rs"]
mod sample;
mod shared;

use std::collections::BTreeSet;

use netqos::control::Limits;
use netqos::control::answer::Rings;
use netqos::control::report::RingReport;
use netqos::metrics::{self, Format, Kind, NAMES, PREFIX, Snapshot};

/// A guest after a minute, with its classes and a ring, and with every limit that there is.
fn snapshot() -> Snapshot {
    let mut report = sample::with_classes(1, 60);
    let limits = Limits {
        rate: Some(1_000_001),
        ceil: Some(2_000_000),
        weight: Some(3),
        prio: 0,
        pps: Some(5000),
    };
    report.uplinks[0].to_guest = limits;
    report.ports[0].to_guest.limits = limits;
    report.classes.as_mut().unwrap()[1].limits = limits;
    report.ports[0]
        .from_guest
        .drops
        .insert("queue-full".to_owned(), 17);
    Snapshot {
        report,
        rings: vec![Rings {
            guest: "vm1".to_owned(),
            rings: vec![RingReport {
                ring: 3,
                state: "running".to_owned(),
                size: 256,
                waiting: 7,
                ..RingReport::default()
            }],
        }],
    }
}

#[test]
fn the_whole_text_is_as_it_was_agreed() {
    let text = metrics::text(snapshot(), Format::OpenMetrics);
    let ours = concat!(env!("CARGO_TARGET_TMPDIR"), "/openmetrics.txt");
    std::fs::write(ours, &text).unwrap();
    let agreed = include_str!("openmetrics.txt");
    for (line, (ours, agreed)) in text.lines().zip(agreed.lines()).enumerate() {
        assert_eq!(ours, agreed, "line {}", line + 1);
    }
    assert_eq!(text.len(), agreed.len(), "all of it is in {ours}");
}

/// The name and labels of every sample.
fn samples(text: &str) -> impl Iterator<Item = (&str, BTreeSet<&str>)> {
    let samples = text.lines().filter(|line| !line.starts_with('#'));
    samples.map(|line| {
        let (series, _value) = line.rsplit_once(' ').unwrap();
        let (name, labels) = series.split_once('{').unwrap_or((series, ""));
        let labels = labels.trim_end_matches('}').split(',');
        let names = labels.filter_map(|label| Some(label.split_once('=')?.0));
        (name, names.collect())
    })
}

#[test]
fn every_metric_is_written_with_its_labels_and_no_other() {
    let text = metrics::text(snapshot(), Format::OpenMetrics);
    let mut left: BTreeSet<_> = NAMES.iter().flat_map(metrics::Metric::names).collect();
    for (name, mut labels) in samples(&text) {
        let metric = NAMES
            .iter()
            .find(|metric| metric.names().contains(&name.to_owned()));
        let metric = metric.unwrap_or_else(|| panic!("{name} is in no list"));
        left.remove(name);
        assert_eq!(labels.remove("le"), name.ends_with("_bucket"));
        let mut known: BTreeSet<_> = metric.labels().iter().copied().collect();
        if !labels.contains("class") {
            // A guest's own class has none.
            known.remove("class");
        }
        assert_eq!(labels, known, "{name}");
    }
    assert_eq!(left, BTreeSet::new(), "never written");
}

#[test]
fn prometheus_has_nothing_against_them() {
    let text = metrics::text(snapshot(), Format::Prometheus);
    assert_eq!(promtool::run(&["check", "metrics"], &text), "");
}

#[test]
fn names_are_as_prometheus_has_them() {
    let mut seen = BTreeSet::new();
    for metric in NAMES {
        for name in metric.names() {
            assert!(
                name.starts_with(PREFIX) && seen.insert(name.clone()),
                "{name}"
            );
            let valid = |c: char| c.is_ascii_lowercase() || c == '_';
            assert!(name.chars().all(valid), "{name}");
            assert_eq!(name.ends_with("_total"), metric.kind == Kind::Counter);
        }
        assert!(metric.help.len() > 20, "{:?}", metric.names());
    }
}

#[test]
fn whatever_a_guest_is_called_it_stays_one_label() {
    let mut report = sample::report(1, 1);
    report.ports[0].port = "a\"b\\c\nd} 1".to_owned();
    for format in [Format::OpenMetrics, Format::Prometheus] {
        let text = metrics::text(report.clone(), format);
        let escaped = r#"netqos_guest_paused{guest="a\"b\\c\nd} 1",uplink="wan"} 0"#;
        assert!(text.lines().any(|line| line == escaped), "{text}");
    }
}

#[test]
fn a_limit_that_is_not_set_has_no_sample() {
    let mut report = sample::report(1, 1);
    report.ports[0].to_guest.limits.ceil = None;
    let text = metrics::text(report, Format::OpenMetrics);
    let ceil = "netqos_guest_ceil_bytes_per_second{guest=\"vm1\",uplink=\"wan\",direction=";
    assert!(text.contains(&format!("{ceil}\"from-guest\"}} 12500000")));
    assert!(!text.contains(&format!("{ceil}\"to-guest\"")));
}
