//! What leaves of flows are told to do: one record for all that are told the same.

use std::collections::BTreeMap;

use crate::class::FlowsConfig;
use crate::wire::{Cost, FrameShape, Framing};

/// The largest cost that deficits count, so that no sum of two overflows. No frame of a link costs
/// that much.
const MOST: i64 = i64::MAX >> 2;

/// The configuration of a leaf and what follows from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Settings {
    /// With the target and interval that suit the leaf's rate.
    pub(super) config: FlowsConfig,
    overhead: i32,
    mpu: u32,
    /// Wire bytes that the leaf sends at once.
    pub(super) unit: u64,
    /// Wire bytes of a full-size frame.
    pub(super) full_size: u64,
}

impl Settings {
    pub(super) fn cost(&self, shape: FrameShape) -> Cost {
        let framing = Framing {
            overhead: self.overhead,
            mpu: self.mpu,
        };
        framing.cost(shape)
    }

    /// A cost as a change of a deficit.
    pub(super) fn charge(&self, shape: FrameShape) -> i64 {
        i64::try_from(self.cost(shape).wire_bytes).map_or(MOST, |bytes| bytes.min(MOST))
    }

    /// Wire bytes that a flow, or a host, may send per round.
    pub(super) fn quantum(&self) -> i64 {
        let configured = self.config.quantum.map_or(self.full_size, u64::from);
        i64::try_from(configured).map_or(MOST, |bytes| bytes.clamp(1, MOST))
    }
}

/// All settings of a tree.
#[derive(Debug, Default)]
pub(super) struct Table {
    rows: Vec<Settings>,
    /// The number of each, while a tree is applied.
    known: BTreeMap<Settings, u32>,
}

impl Table {
    pub(super) fn clear(&mut self) {
        self.rows.clear();
        self.known.clear();
    }

    pub(super) fn number(
        &mut self,
        config: FlowsConfig,
        framing: Framing,
        unit: u64,
        full_size: u32,
    ) -> u32 {
        let settings = Settings {
            config,
            overhead: framing.overhead,
            mpu: framing.mpu,
            unit,
            full_size: full_size.into(),
        };
        *self.known.entry(settings).or_insert_with(|| {
            self.rows.push(settings);
            u32::try_from(self.rows.len()).unwrap_or(0).wrapping_sub(1)
        })
    }

    pub(super) fn settle(&mut self) {
        self.known = BTreeMap::new();
    }

    /// The settings of a leaf, which [`number`](Self::number) gave out.
    #[allow(clippy::indexing_slicing)]
    pub(super) fn row(&self, number: u32) -> &Settings {
        &self.rows[number as usize]
    }
}
