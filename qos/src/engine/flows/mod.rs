//! A leaf's queue of flows: the sparse before the bulky, each kept short.
//!
//! Deficit round robin with new and old flows, so that a flow which sends little never waits behind
//! one that sends much; and CoDel on every flow, which drops or marks by how long frames wait.
//! Flows are hashed into buckets, which a leaf has only while frames wait in it. When the engine has
//! none to give, the leaf is one queue under CoDel.
#![allow(clippy::indexing_slicing)] // bucket numbers are the pool's own

mod ack;
mod codel;
mod desk;
mod pool;
mod room;
mod settings;
mod turns;

use super::class::NONE;
use super::frame::Frame;
use super::frames::Frames;
use crate::class::FlowsConfig;
use crate::counters::FlowCounters;
use crate::wire::{Cost, FrameShape};

use codel::Line;
use desk::Desk;
use pool::Pool;
pub(super) use settings::Settings;
use settings::Table;

/// What happened to frames besides being sent.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Toll {
    pub(super) dropped: FlowCounters,
    pub(super) marked: u64,
    pub(super) filtered: u64,
    pub(super) crowded: u64,
}

impl Toll {
    /// Counts a segment that was cut off a frame which stays.
    fn cut(&mut self, part: FrameShape, cost: Cost) {
        let frames = self.dropped.frames;
        self.dropped.add(part.len, cost);
        self.dropped.frames = frames;
    }
}

/// What all leaves of flows share.
#[derive(Debug, Default)]
pub(super) struct Sets {
    table: Table,
    pool: Pool,
    /// What happened in a leaf, until its counters have it.
    toll: Option<Toll>,
    /// Sets that the leaves could use, and how many of them there may be.
    useful: u32,
    most: u32,
}

impl Sets {
    /// Begins a new tree: every queue is to be made or retuned.
    pub(super) fn begin(&mut self) {
        self.table.clear();
    }

    /// Ends it: makes as many sets as the leaves could use, but no more than may be.
    pub(super) fn finish(&mut self, most: u32, useful: u32) {
        self.table.settle();
        (self.most, self.useful) = (most, useful);
        self.pool.grow(useful.min(most));
    }

    /// What happened to the frames of the leaf that was last pushed to or chosen from, once.
    #[inline]
    pub(super) fn toll(&mut self) -> Option<Toll> {
        self.toll.as_ref()?;
        self.toll.take()
    }

    /// The configuration behind a number of settings.
    pub(super) fn config(&self, settings: u32) -> &FlowsConfig {
        &self.table.row(settings).config
    }

    /// The number of settings, for one more leaf.
    pub(super) fn settings(&mut self, settings: Settings) -> u32 {
        self.table.number(settings)
    }

    /// Gives a leaf that has the settings `number` others; returns their number.
    pub(super) fn change(&mut self, number: u32, settings: Settings) -> u32 {
        let old = self.table.row(number).sets();
        self.useful = self
            .useful
            .saturating_sub(old)
            .saturating_add(settings.sets());
        self.pool.grow(self.useful.min(self.most));
        self.table.change(number, settings)
    }

    /// How many leaves use each row of settings.
    #[cfg(test)]
    pub(super) fn users(&self) -> &[u32] {
        self.table.users()
    }
}

/// The queue: all that a leaf of flows takes while it is empty.
#[derive(Clone, Debug)]
pub(super) struct Flows {
    /// The frames of a leaf without buckets.
    lone: Line,
    /// What waits, by the frames' own lengths.
    bytes: u64,
    frames: u32,
    settings: u32,
    /// The first of its sets; [`NONE`] for none.
    set: u32,
    /// A frame was granted; it stays until it is sent.
    chosen: bool,
    /// And is to be marked.
    mark: bool,
}

impl Flows {
    /// An empty queue with these settings.
    pub(super) const fn new(settings: u32) -> Self {
        Self {
            lone: Line::EMPTY,
            bytes: 0,
            frames: 0,
            settings,
            set: NONE,
            chosen: false,
            mark: false,
        }
    }

    /// Takes other settings over; another number of buckets when it was empty.
    pub(super) const fn retune(&mut self, settings: u32) {
        self.settings = settings;
    }

    pub(super) const fn settings(&self) -> u32 {
        self.settings
    }

    pub(super) const fn frames(&self) -> u32 {
        self.frames
    }

    fn desk<'a>(&'a mut self, sets: &'a mut Sets, frames: &'a mut Frames, now: u64) -> Desk<'a> {
        Desk {
            settings: sets.table.row(self.settings),
            pool: &mut sets.pool,
            leaf: self,
            frames,
            toll: &mut sets.toll,
            now,
        }
    }

    /// Takes a frame in. Without room, the flow that has most loses its oldest frame.
    pub(super) fn push(
        &mut self,
        frames: &mut Frames,
        sets: &mut Sets,
        frame: &Frame,
        now: u64,
    ) -> bool {
        // What is dropped stays in the pool until the caller asks for it.
        if frames.is_full() {
            return false;
        }
        let mut desk = self.desk(sets, frames, now);
        desk.open();
        let bucket = desk.bucket(frame);
        desk.filter(bucket, frame);
        let done = desk.make_room(frame.shape.len) && desk.append(bucket, *frame);
        desk.close();
        done
    }

    /// Whether the frame would come in only by the loss of an older one of its own flow.
    pub(super) fn displaces_its_own(
        &mut self,
        frames: &mut Frames,
        sets: &mut Sets,
        frame: &Frame,
    ) -> bool {
        if self.frames == 0 {
            return false;
        }
        let mut desk = self.desk(sets, frames, 0);
        !desk.has_room(frame.shape.len) && {
            let bucket = desk.bucket(frame);
            desk.is_fattest(bucket)
        }
    }

    /// Chooses the frame that goes next, unless that is done; returns it, and whether it is to be
    /// marked.
    pub(super) fn choose(
        &mut self,
        frames: &mut Frames,
        sets: &mut Sets,
        now: u64,
    ) -> Option<(Frame, bool)> {
        let mut desk = self.desk(sets, frames, now);
        if !desk.leaf.chosen {
            desk.choose()?;
        }
        let frame = desk.first(desk.chosen())?;
        Some((frame, desk.leaf.mark))
    }

    /// The chosen frame has gone as `sent`. Returns it if no part of it is left.
    pub(super) fn sent(
        &mut self,
        frames: &mut Frames,
        sets: &mut Sets,
        sent: FrameShape,
    ) -> Option<Frame> {
        let mut desk = self.desk(sets, frames, 0);
        let done = desk.leaf.chosen.then(|| desk.sent(sent))?;
        desk.close();
        done
    }

    /// Any frame, to empty the queue.
    pub(super) fn take(&mut self, frames: &mut Frames, sets: &mut Sets) -> Option<Frame> {
        (self.chosen, self.mark) = (false, false);
        let set = self.set;
        let frame = match sets.pool.heads.get(set as usize) {
            None => self.lone.queue.pop(frames),
            Some(head) => {
                let places = head.places();
                let mut all = (0..head.buckets).map(|at| places.number(at));
                let full = |&at: &u32| sets.pool.buckets[at as usize].line.queue.frames > 0;
                let full = all.find(full)?;
                let bucket = &mut sets.pool.buckets[full as usize];
                let frame = bucket.pop(frames)?;
                bucket.bytes = bucket.bytes.saturating_sub(frame.shape.len.into());
                Some(frame)
            }
        }?;
        self.bytes = self.bytes.saturating_sub(frame.shape.len.into());
        self.frames = self.frames.saturating_sub(1);
        self.return_sets(&mut sets.pool);
        Some(frame)
    }

    /// Gives the sets of an empty leaf back.
    fn return_sets(&mut self, pool: &mut Pool) {
        if self.frames == 0 && self.set != NONE {
            pool.release(self.set);
            self.set = NONE;
        }
    }
}

#[cfg(test)]
mod tests;
