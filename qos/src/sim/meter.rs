//! What is counted while a simulation runs: per leaf and per source, from the end of the warm-up on.

use super::histogram::Histogram;
use crate::counters::FlowCounters;

/// What a leaf's frames met.
#[derive(Clone, Debug, Default)]
pub(super) struct LeafMeter {
    pub(super) offered: FlowCounters,
    pub(super) lost: u64,
    pub(super) delay: Histogram,
    /// Wire bytes per bin, from the very start.
    pub(super) series: Vec<u64>,
}

/// What a source's frames met.
#[derive(Clone, Debug, Default)]
pub(super) struct SourceMeter {
    pub(super) offered: FlowCounters,
    /// Segments.
    pub(super) lost: u64,
    pub(super) marked: u64,
    /// Bytes that arrived: of payload for TCP, once each; of frames for others.
    pub(super) arrived: u64,
    pub(super) delay: Histogram,
    pub(super) rtt: Histogram,
    /// When the last of its transfers was complete.
    pub(super) finished: Option<u64>,
}

impl LeafMeter {
    /// Forgets all but the series.
    pub(super) fn reset(&mut self) {
        let series = std::mem::take(&mut self.series);
        *self = Self {
            series,
            ..Self::default()
        };
    }
}
