//! What leaves of flows are told to do: one record for all that are told the same.

use std::collections::BTreeMap;

use super::super::users::Users;
use super::pool::SET;
use crate::class::FlowsConfig;
use crate::wire::{Cost, FrameShape, Framing};

/// The largest cost that deficits count, so that no sum of two overflows. No frame of a link costs
/// that much.
const MOST: i64 = i64::MAX >> 2;

/// The configuration of a leaf and what follows from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::engine) struct Settings {
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
    pub(in crate::engine) fn new(
        config: FlowsConfig,
        framing: Framing,
        unit: u64,
        full_size: u32,
    ) -> Self {
        Self {
            config,
            overhead: framing.overhead,
            mpu: framing.mpu,
            unit,
            full_size: full_size.into(),
        }
    }

    /// Flow sets that the leaf uses at most.
    pub(super) fn sets(&self) -> u32 {
        u32::from(self.config.buckets).div_ceil(SET)
    }

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
    /// How many leaves use each.
    users: Users,
    /// The number of each, while a tree is applied.
    known: BTreeMap<Settings, u32>,
}

impl Table {
    pub(super) fn clear(&mut self) {
        self.rows.clear();
        self.users.clear();
        self.known.clear();
    }

    /// The number of the row for these settings, for one more leaf.
    pub(super) fn number(&mut self, settings: Settings) -> u32 {
        let number = *self.known.entry(settings).or_insert_with(|| {
            self.rows.push(settings);
            u32::try_from(self.rows.len()).unwrap_or(0).wrapping_sub(1)
        });
        self.users.add(number);
        number
    }

    /// Gives one leaf of those that have a row other settings; returns their number.
    pub(super) fn change(&mut self, number: u32, settings: Settings) -> u32 {
        self.users.change(&mut self.rows, number, settings)
    }

    pub(super) fn settle(&mut self) {
        self.known = BTreeMap::new();
    }

    /// The settings of a leaf, which [`number`](Self::number) gave out.
    #[allow(clippy::indexing_slicing)]
    pub(super) fn row(&self, number: u32) -> &Settings {
        &self.rows[number as usize]
    }

    #[cfg(test)]
    pub(super) fn users(&self) -> &[u32] {
        assert_eq!(self.rows.len(), self.users.counts().len());
        self.users.counts()
    }
}
