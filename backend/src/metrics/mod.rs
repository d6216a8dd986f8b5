//! The counters as metrics, in the two text formats that Prometheus reads.
//!
//! [`NAMES`] is the list of all metrics, what each means and where its value comes from; [`text`] writes
//! them. Names, units and suffixes are as Prometheus has them
//! (<https://prometheus.io/docs/practices/naming/>): counters end in `_total`, times are seconds, sizes
//! bytes, and a rate or ceil is bytes a second, so that it can be compared with `rate()` of a counter of
//! wire bytes.

mod collect;
mod names;

use prometheus_client::encoding::{prometheus_text, text as openmetrics};
use prometheus_client::registry::Registry;

pub use self::names::{Kind, Metric, NAMES, PREFIX};
use crate::control::Report;
use crate::control::answer::Rings;

/// What metrics are made of.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// The counters, of every class as well if metrics of classes are wanted.
    pub report: Report,
    /// The rings of those guests whose rings were looked at.
    pub rings: Vec<Rings>,
}

impl From<Report> for Snapshot {
    fn from(report: Report) -> Self {
        let rings = Vec::new();
        Self { report, rings }
    }
}

/// How metrics are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Format {
    /// OpenMetrics 1.0.
    OpenMetrics,
    /// The text format of Prometheus, version 0.0.4.
    Prometheus,
}

impl Format {
    /// What HTTP calls it.
    #[must_use]
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Self::Prometheus => prometheus_text::CONTENT_TYPE,
        }
    }
}

/// All metrics of a daemon at one time.
#[must_use]
pub fn text(snapshot: impl Into<Snapshot>, format: Format) -> String {
    let mut registry = Registry::with_prefix(PREFIX);
    registry.register_collector(Box::new(collect::Metrics(snapshot.into())));
    let mut text = String::new();
    // A String takes whatever is written to it.
    let _ = match format {
        Format::OpenMetrics => openmetrics::encode(&mut text, &registry),
        Format::Prometheus => prometheus_text::encode(&mut text, &registry),
    };
    text
}
