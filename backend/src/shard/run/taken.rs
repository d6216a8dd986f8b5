//! The frames of a run, and what becomes of them.

use arrayvec::ArrayVec;
use qos::{FlowCounters, FrameShape};
use ring::{Accepts, Head, Train};

use super::RUN_FRAMES;
use crate::shard::counters::DropReason;
use crate::shard::judge::Judged;
use crate::shard::passing::Passing;
use crate::shard::tag;
use crate::shard::work::Work;

/// What becomes of a frame that was taken off the ring.
#[derive(Clone, Copy, Debug)]
pub(super) enum Fate {
    /// It is in the unit of this number.
    Written {
        unit: usize,
        joined: bool,
    },
    /// Another guest has it.
    Passed,
    Dropped(DropReason),
}

#[derive(Debug)]
pub(super) struct Taken {
    pub(super) head: Head,
    pub(super) shape: FrameShape,
    pub(super) fate: Fate,
}

/// What is written at once: one frame, or several joined.
#[derive(Clone, Copy, Debug)]
pub(super) struct Unit {
    pub(super) start: usize,
    pub(super) end: usize,
    pub(super) frames: u32,
    pub(super) lost: Option<DropReason>,
}

/// The frames taken off one ring, in its order.
#[derive(Debug, Default)]
pub(in crate::shard) struct Run {
    pub(super) taken: ArrayVec<Taken, RUN_FRAMES>,
    pub(super) units: ArrayVec<Unit, RUN_FRAMES>,
    /// The last unit, if others may join it.
    pub(super) train: Train,
    /// What is charged if all of it goes.
    pub(super) sum: FlowCounters,
    /// What has gone to another guest before the first of `taken`, and is completed.
    pub(super) ahead: FlowCounters,
    /// The last of those.
    pub(super) last: FrameShape,
    /// What of it is not charged to that guest yet.
    pub(super) passing: Option<Passing>,
}

impl Run {
    pub(super) fn clear(&mut self) {
        self.taken.clear();
        self.units.clear();
        self.sum = FlowCounters::default();
        self.ahead = FlowCounters::default();
        self.last = FrameShape::default();
    }

    /// The frames that have gone ahead of those in `taken`.
    pub(super) fn gone_ahead(&self) -> FlowCounters {
        match self.taken.is_empty() {
            true => self.sum,
            false => self.ahead,
        }
    }

    pub(super) fn frames(&self) -> usize {
        let ahead = self.gone_ahead().frames;
        usize::try_from(ahead).unwrap_or(RUN_FRAMES) + self.taken.len()
    }

    pub(super) fn note(&mut self, head: Head, shape: FrameShape, fate: Fate) {
        self.ahead = self.gone_ahead();
        // There is room: no more are taken than that.
        self.taken.push(Taken { head, shape, fate });
    }

    /// Makes the frame in the scratch buffer one that is written, or a part of the one before it if that
    /// may be.
    pub(super) fn add(&mut self, judged: &Judged, joins: Option<Accepts>, work: &mut Work) -> Fate {
        let change = judged.uplink_tag();
        let end = judged.end;
        let start = tag::change(&mut work.scratch[..end], judged.start, change);
        if let Some(last) = self.units.last_mut()
            && let Some(payload) = self.train.join(&work.scratch[start..end])
        {
            let payload = start + payload.start..start + payload.end;
            let joined = last.end + payload.len();
            work.scratch.copy_within(payload, last.end);
            last.end = joined;
            last.frames += 1;
            work.filled = joined.next_multiple_of(LINE);
            return self.last(true);
        }
        self.close(work);
        if let Some(accepts) = joins {
            self.train.open(&work.scratch[start..end], accepts);
        }
        self.units.push(Unit {
            start,
            end,
            frames: 1,
            lost: None,
        });
        work.filled = end.next_multiple_of(LINE);
        self.last(false)
    }

    pub(super) fn last(&self, joined: bool) -> Fate {
        let unit = self.units.len().saturating_sub(1);
        Fate::Written { unit, joined }
    }

    /// Nothing joins the last unit any more.
    pub(super) fn close(&mut self, work: &mut Work) {
        if self.train.is_open()
            && let Some(last) = self.units.last()
        {
            self.train.close(&mut work.scratch[last.start..last.end]);
        }
    }
}

/// Frames in the scratch buffer begin on cache lines of their own.
const LINE: usize = 64;
