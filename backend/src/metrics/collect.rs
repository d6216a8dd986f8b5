//! A snapshot written as metrics.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;

use super::Snapshot;
use super::names::{Kind, Metric, NAMES, Source, Value};
use crate::control::histogram::{BOUNDS, Histogram};
use crate::control::{ClassReport, Direction, DirectionReport};

/// A label and its value.
type Label<'a> = (&'static str, &'a str);

/// All metrics of one snapshot.
#[derive(Debug)]
pub(super) struct Metrics(pub(super) Snapshot);

impl Collector for Metrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let leaves = Leaves::of(self.0.report.classes.as_deref().unwrap_or_default());
        for metric in NAMES {
            let kind = match metric.kind {
                Kind::Counter => MetricType::Counter,
                Kind::Gauge => MetricType::Gauge,
                Kind::Histogram => MetricType::Histogram,
            };
            let encoder = encoder.encode_descriptor(metric.name, metric.help, None, kind)?;
            let kind = metric.kind;
            self.family(metric, &leaves, Family { kind, encoder })?;
        }
        Ok(())
    }
}

impl Metrics {
    /// Writes every value of one metric.
    fn family(&self, metric: &Metric, leaves: &Leaves<'_>, mut to: Family<'_>) -> fmt::Result {
        let Snapshot { report, rings } = &self.0;
        match metric.source {
            Source::Build => to.put(&[("version", env!("CARGO_PKG_VERSION"))], Value::Whole(1)),
            Source::Daemon(read) => to.put(&[], read(report)),
            Source::UplinkKind => report.uplinks.iter().try_for_each(|uplink| {
                let labels = [("uplink", &*uplink.uplink), ("kind", &*uplink.kind)];
                to.put(&labels, Value::Whole(1))
            }),
            Source::Uplink(read) => report
                .uplinks
                .iter()
                .try_for_each(|uplink| to.put(&[("uplink", &uplink.uplink)], read(uplink))),
            Source::UplinkDrops => report
                .uplinks
                .iter()
                .try_for_each(|uplink| to.by_reason(&[("uplink", &uplink.uplink)], &uplink.drops)),
            Source::UplinkLimits(read) => report.uplinks.iter().try_for_each(|uplink| {
                for (direction, limits) in [
                    (Direction::FromGuest, &uplink.from_guest),
                    (Direction::ToGuest, &uplink.to_guest),
                ] {
                    let labels = [("uplink", &*uplink.uplink), ("direction", direction.name())];
                    to.put(&labels, read(limits))?;
                }
                Ok(())
            }),
            Source::Guest(read) => report.ports.iter().try_for_each(|port| {
                to.put(
                    &[("guest", &port.port), ("uplink", &port.uplink)],
                    read(port),
                )
            }),
            Source::Direction(read) => {
                self.directions(|labels, direction| to.put(labels, read(direction)))
            }
            Source::Drops => {
                self.directions(|labels, direction| to.by_reason(labels, &direction.drops))
            }
            Source::Class(read) => self.classes(|labels, class| {
                let local = if class.local { "true" } else { "false" };
                to.put(&[labels, &[("local", local)]].concat(), read(class))
            }),
            Source::Waits => self.classes(|labels, class| match leaves.has(class) {
                true => to.put(labels, Value::Waits(&class.sojourn)),
                false => Ok(()),
            }),
            Source::Ring(read) => rings.iter().try_for_each(|of| {
                of.rings.iter().try_for_each(|ring| {
                    let direction = match ring.ring % 2 {
                        0 => Direction::ToGuest,
                        _ => Direction::FromGuest,
                    };
                    let queue = (ring.ring / 2).to_string();
                    let labels = [
                        ("guest", &*of.guest),
                        ("direction", direction.name()),
                        ("queue", &queue),
                    ];
                    to.put(&labels, read(ring))
                })
            }),
        }
    }

    /// Both directions of every guest.
    fn directions(
        &self,
        mut put: impl FnMut(&[Label<'_>], &DirectionReport) -> fmt::Result,
    ) -> fmt::Result {
        for port in &self.0.report.ports {
            for (direction, report) in [
                (Direction::FromGuest, &port.from_guest),
                (Direction::ToGuest, &port.to_guest),
            ] {
                let labels = [
                    ("guest", &*port.port),
                    ("uplink", &*port.uplink),
                    ("direction", direction.name()),
                ];
                put(&labels, report)?;
            }
        }
        Ok(())
    }

    /// Every class. A guest's own has no label of that name, which is the same as an empty one.
    fn classes(
        &self,
        mut put: impl FnMut(&[Label<'_>], &ClassReport) -> fmt::Result,
    ) -> fmt::Result {
        for class in self.0.report.classes.iter().flatten() {
            let mut labels = vec![
                ("guest", &*class.guest),
                ("uplink", &*class.uplink),
                ("direction", class.direction.name()),
            ];
            labels.extend(class.class.as_deref().map(|name| ("class", name)));
            put(&labels, class)?;
        }
        Ok(())
    }
}

/// One metric that is being written.
struct Family<'a> {
    kind: Kind,
    encoder: MetricEncoder<'a>,
}

impl Family<'_> {
    fn put(&mut self, labels: &[Label<'_>], value: Value<'_>) -> fmt::Result {
        let mut encoder = self.encoder.encode_family(&labels)?;
        match (self.kind, value) {
            (_, Value::Absent) => Ok(()),
            (Kind::Counter, Value::Whole(n)) => {
                encoder.encode_counter::<NoLabelSet, _, u64>(&n, None)
            }
            (Kind::Counter, Value::Real(x)) => {
                encoder.encode_counter::<NoLabelSet, _, u64>(&x, None)
            }
            (Kind::Gauge, Value::Whole(n)) => encoder.encode_gauge(&n),
            (Kind::Gauge, Value::Real(x)) => encoder.encode_gauge(&x),
            (Kind::Histogram, Value::Waits(waits)) => {
                let sum = Duration::from_nanos(waits.sum_nanos).as_secs_f64();
                encoder.encode_histogram::<NoLabelSet>(sum, waits.total(), &buckets(waits), None)
            }
            // NAMES has no such thing; a test sees to it.
            (Kind::Histogram, _) | (_, Value::Waits(_)) => Err(fmt::Error),
        }
    }

    fn by_reason(&mut self, labels: &[Label<'_>], drops: &BTreeMap<String, u64>) -> fmt::Result {
        drops.iter().try_for_each(|(reason, frames)| {
            self.put(
                &[labels, &[("reason", reason)]].concat(),
                Value::Whole(*frames),
            )
        })
    }
}

/// Upper bounds in seconds, and how many waits fell between each and the one before.
fn buckets(waits: &Histogram) -> Vec<(f64, u64)> {
    let bounds = BOUNDS
        .iter()
        .map(|nanos| Duration::from_nanos(*nanos).as_secs_f64());
    bounds.chain([f64::INFINITY]).zip(waits.counts).collect()
}

/// Which classes have a queue whose waits are told apart from their guest's: its leaves, but not its own
/// class, and each once for both kinds of traffic.
#[derive(Debug)]
struct Leaves<'a> {
    inner: BTreeSet<(Direction, &'a str, &'a str)>,
}

impl<'a> Leaves<'a> {
    fn of(classes: &'a [ClassReport]) -> Self {
        let parent = |class: &'a ClassReport| {
            Some((class.direction, &*class.guest, class.parent.as_deref()?))
        };
        Self {
            inner: classes.iter().filter_map(parent).collect(),
        }
    }

    fn has(&self, class: &ClassReport) -> bool {
        let name = class.class.as_deref();
        !class.local
            && name.is_some_and(|name| !self.inner.contains(&(class.direction, &class.guest, name)))
    }
}
