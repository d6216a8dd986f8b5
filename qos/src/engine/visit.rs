//! Whose frame goes next, for callers that deliver it before it is charged.
//!
//! A *visit* serves one leaf for up to a quantum, as long as the caller asks at one and the same
//! instant; the tree is brought up to date once, when it ends.

use super::Engine;
use super::class::{Class, Kind, NONE, State};
use super::frame::Frame;
use super::frames::Frames;
use super::grant::{Grant, Hold, Room};
use super::poll::cut;
use crate::class::ticks;
use crate::counters::FlowCounters;
use crate::fair::Fair;
use crate::time::Time;
use crate::wire::{Cost, FrameShape, Framing};

/// Frames of one visit at most.
pub(super) const FRAMES: u32 = 16;
/// The same for a leaf without a queue, of whose ring a longer run costs less a frame.
pub(super) const HELD_FRAMES: u32 = 64;
/// Segments of one visit at most, if a packet limit is on the way.
pub(super) const SEGMENTS: u64 = 64;

/// What a leaf has sent at one instant and the tree does not know yet.
#[derive(Clone, Copy, Debug)]
pub(super) struct Visit {
    pub(super) leaf: u32,
    pub(super) now: Time,
    pub(super) bytes: u64,
    pub(super) segments: u64,
    pub(super) frames: u32,
    /// A frame was granted and neither committed nor held back yet.
    pub(super) granted: bool,
    /// The visit ends before a frame that would begin beyond these, or end beyond the bytes if its size
    /// is known.
    pub(super) most_bytes: u64,
    pub(super) most_segments: u64,
    pub(super) most_frames: u32,
    pub(super) framing: Framing,
    /// The frame last sent, for classes on the way that charge it differently.
    pub(super) shape: FrameShape,
}

impl Visit {
    pub(super) const fn has_room(&self) -> bool {
        self.frames < self.most_frames
            && self.bytes < self.most_bytes
            && self.segments < self.most_segments
    }

    /// Bytes and segments for a class that charges like this. A visit over classes that charge
    /// differently has one frame, unless its caller sent more than there was room for.
    pub(super) fn charged(&self, framing: Framing) -> (u64, u64) {
        if framing == self.framing || self.frames > 1 {
            return (self.bytes, self.segments);
        }
        let cost = framing.cost(self.shape);
        (cost.wire_bytes, cost.segments.into())
    }

    /// Whether the leaf's next frame fits in as well, as far as that is known.
    fn holds(&self, leaf: &Class, frames: &Frames) -> bool {
        if self.frames == 0 || leaf.kind != Kind::Fifo {
            return true;
        }
        let next = leaf.fifo.first(frames).map(|(_, shape, whole)| {
            let (_, cost, _) = cut(self.framing, self.most_bytes, shape, whole);
            cost.wire_bytes
        });
        self.bytes.saturating_add(next.unwrap_or(0)) <= self.most_bytes
    }

    /// What may go besides the next frame, if the leaf has no queue.
    const fn room(&self) -> Room {
        Room {
            frames: self
                .most_frames
                .saturating_sub(self.frames)
                .saturating_sub(1),
            bytes: self.most_bytes.saturating_sub(self.bytes),
            segments: self.most_segments.saturating_sub(self.segments),
        }
    }

    #[inline]
    pub(super) fn add(&mut self, shape: FrameShape, cost: Cost) {
        self.bytes = self.bytes.saturating_add(cost.wire_bytes);
        self.segments = self.segments.saturating_add(cost.segments.into());
        self.frames = self.frames.saturating_add(1);
        self.shape = shape;
    }
}

impl Engine {
    /// Names the leaf whose frame goes next, if any may go at `now`. Charges nothing, and names the
    /// same leaf again until [`commit`](Self::commit) or [`abort`](Self::abort).
    ///
    /// The grant stands until one of these, whatever else is called while the frame is on its way; only
    /// a later `peek` or [`poll`](Self::poll) takes its place. If [`apply`](Self::apply) ends the leaf
    /// meanwhile, the frame is charged and counted where the leaf's counters went; one that it drops
    /// with the leaf's queue is charged, but counted and given back only once, as dropped.
    ///
    /// Calls at one and the same `now` without others in between are cheapest, for they share visits:
    /// read the clock once per burst, and offer before or after.
    #[must_use]
    #[inline]
    pub fn peek(&mut self, now: Time) -> Option<Grant> {
        let now = self.clock(now);
        if let Some(visit) = &mut self.visit {
            let leaf = visit.leaf;
            let class = self.classes.get(leaf as usize);
            let waits =
                class.is_some_and(|class| class.backlog && visit.holds(class, &self.frames));
            if visit.now == now && visit.has_room() && waits {
                visit.granted = true;
                let room = visit.room();
                return Some(self.grant(leaf, now, room));
            }
        }
        self.close();
        if self.wheel.is_due(now) || self.batch.is_some_and(|batch| batch.now != now) {
            self.end_batch();
            self.fire(now);
        }
        let leaf = self.pick()?;
        let visit = self.open_visit(leaf, now);
        self.visit = Some(visit);
        Some(self.grant(leaf, now, visit.room()))
    }

    /// Charges the frame granted last, which went as `sent`: the whole frame's shape, or the first
    /// part's of a frame that was peeled. Returns the frame if the leaf has a queue and no part of it
    /// is left there. Without a grant nothing happens.
    #[inline]
    pub fn commit(&mut self, sent: FrameShape) -> Option<Frame> {
        let Some(visit) = self.visit.as_mut().filter(|visit| visit.granted) else {
            return self.commit_late(sent);
        };
        let index = visit.leaf;
        visit.granted = false;
        let cost = visit.framing.cost(sent);
        visit.add(sent, cost);
        let done = self.take(index, sent);
        let green = self.class(index).state == State::Green;
        let mut passed = FlowCounters::default();
        passed.add(sent.len, cost);
        self.tally(index).sent(&passed, green);
        done
    }

    /// Charges several frames of a leaf without a queue that went under the grant: `sent` is what they
    /// are together, as [`Grant::framing`] counts it, and `last` the shape of the last of them. The same
    /// as so many times [`peek`](Self::peek) and [`commit`](Self::commit) at the instant of the grant, if
    /// each but the first had [room](Room::holds). Without a grant, or without a frame, nothing happens.
    #[inline]
    pub fn commit_burst(&mut self, sent: &FlowCounters, last: FrameShape) {
        let Some(visit) = self.visit.as_mut().filter(|visit| visit.granted) else {
            return self.commit_burst_late(sent, last);
        };
        let index = visit.leaf;
        let Some(class) = self.classes.get(index as usize) else {
            return;
        };
        if class.kind != Kind::Hold || sent.frames == 0 {
            return;
        }
        let green = class.state == State::Green;
        visit.granted = false;
        visit.bytes = visit.bytes.saturating_add(sent.wire_bytes);
        visit.segments = visit.segments.saturating_add(sent.segments);
        let frames = u32::try_from(sent.frames).unwrap_or(u32::MAX);
        visit.frames = visit.frames.saturating_add(frames);
        visit.shape = last;
        self.tally(index).sent(sent, green);
    }

    /// Says that the frame granted last did not go. Charges nothing.
    pub fn abort(&mut self, why: Hold) {
        let visit = self.visit.as_mut().filter(|visit| visit.granted);
        let leaf = match visit {
            Some(visit) => {
                visit.granted = false;
                Some(visit.leaf)
            }
            None => self.abort_late(),
        };
        let Some(leaf) = leaf else {
            return;
        };
        let class = self.class_mut(leaf);
        match why {
            Hold::Empty if class.kind == Kind::Hold => class.backlog = false,
            Hold::Later | Hold::Empty => {}
            Hold::Blocked => class.blocked = true,
        }
        self.settle();
        self.place(leaf, self.now);
    }

    /// Takes what was sent off a leaf's queue; returns the frame if no part of it is left.
    #[inline]
    pub(super) fn take(&mut self, index: u32, sent: FrameShape) -> Option<Frame> {
        let class = self.classes.get_mut(index as usize)?;
        match class.kind {
            Kind::Hold | Kind::Inner => None,
            Kind::Fifo => {
                let rest = class.fifo.head(&self.frames)?.0.shape.after(sent);
                if let Some(rest) = rest {
                    class.fifo.shrink(&mut self.frames, rest);
                    return None;
                }
                let done = class.fifo.pop(&mut self.frames);
                class.backlog = class.fifo.frames > 0;
                done
            }
            Kind::Flows => {
                let flows = self.flows.get_mut(class.body as usize)?;
                let done = flows.sent(&mut self.frames, &mut self.sets, sent);
                class.backlog = flows.frames() > 0;
                done
            }
        }
    }

    #[inline]
    pub(super) fn grant(&mut self, index: u32, now: Time, room: Room) -> Grant {
        let class = self.class(index);
        let (leaf, kind, body) = (class.key(index), class.kind, class.body);
        let profile = self.profile(class);
        let (quantum, framing) = (profile.quantum, profile.framing());
        let chosen = match kind {
            Kind::Hold | Kind::Inner => None,
            Kind::Fifo => {
                let head = class.fifo.head(&self.frames);
                head.map(|(frame, _)| (frame, false))
            }
            Kind::Flows => {
                let (frames, sets) = (&mut self.frames, &mut self.sets);
                let flows = self.flows.get_mut(body as usize);
                let chosen = flows.and_then(|flows| flows.choose(frames, sets, now.as_nanos()));
                if let Some(toll) = self.sets.toll() {
                    self.tally(index).collect(&toll);
                }
                chosen
            }
        };
        Grant {
            leaf,
            frame: chosen.map(|(frame, _)| frame),
            mark: chosen.is_some_and(|(_, mark)| mark),
            quantum,
            framing,
            room: match kind {
                Kind::Hold => room,
                _ => Room::default(),
            },
        }
    }

    /// The leaf whose turn it is.
    #[inline]
    pub(super) fn pick(&mut self) -> Option<u32> {
        if let Some(batch) = &self.batch {
            let body = self.class(batch.inner).body as usize;
            if let Some(leaf) = self.inners.get_mut(body).and_then(Fair::pick) {
                let class = self.class(leaf);
                let bytes = batch.bytes.saturating_add(self.wants(class));
                if class.is_leaf() && bytes <= batch.most {
                    return Some(leaf);
                }
            }
            self.end_batch();
        }
        let mut at = self.root;
        if !self.class(at).state.may_send() {
            return None;
        }
        loop {
            let class = self.class(at);
            if class.is_leaf() {
                return Some(at);
            }
            let body = class.body as usize;
            at = self.inners.get_mut(body)?.pick()?;
        }
    }

    /// The most that a visit to this leaf can send.
    #[inline]
    fn wants(&self, class: &Class) -> u64 {
        let profile = self.profile(class);
        let quantum = profile.quantum;
        if class.kind != Kind::Fifo || class.fifo.frames != 1 {
            return quantum;
        }
        let only = class.fifo.first(&self.frames);
        only.map_or(quantum, |(_, shape, whole)| {
            let cost = profile.framing().cost(shape);
            if whole || cost.segments <= 1 {
                cost.wire_bytes
            } else {
                cost.wire_bytes.min(quantum)
            }
        })
    }

    /// A visit of as much as every limit on the way lets go with certainty, at least one frame.
    #[inline]
    pub(super) fn open_visit(&self, leaf: u32, now: Time) -> Visit {
        let class = self.class(leaf);
        let own = self.profile(class);
        let (quantum, framing) = (own.quantum, own.framing());
        let mut whole = class.kind != Kind::Fifo || class.fifo.frames > 1;
        let mut counted = self.segment_bytes > 0;
        let mut most_frames = match class.kind {
            Kind::Hold => HELD_FRAMES,
            _ => FRAMES,
        };
        if let Some(batch) = &self.batch {
            // Those above have room for all of the batch.
            whole = whole && own.ceil.fits(class.ceil, ticks(now), quantum);
            most_frames = FRAMES.saturating_sub(batch.frames);
        } else if whole {
            (whole, counted) = self.fits(leaf, now, quantum, framing);
        }
        Visit {
            leaf,
            now,
            bytes: 0,
            segments: 0,
            frames: 0,
            granted: true,
            most_bytes: quantum,
            most_segments: if counted { SEGMENTS } else { u64::MAX },
            most_frames: if whole { most_frames } else { 1 },
            framing,
            shape: FrameShape::single(0),
        }
    }

    /// Whether the ceilings of a class and of all above it have room for so many bytes.
    #[inline]
    pub(super) fn has_room(&self, index: u32, now: u128, bytes: u64) -> bool {
        let mut at = index;
        while let Some(class) = self.classes.get(at as usize) {
            let ceil = &self.profile(class).ceil;
            if ceil.is_limit() && !ceil.fits(class.ceil, now, bytes) {
                return false;
            }
            at = class.parent;
        }
        true
    }

    /// Whether all classes on the way have room for a whole quantum and charge alike, and whether any
    /// counts segments.
    pub(super) fn fits(
        &self,
        leaf: u32,
        now: Time,
        quantum: u64,
        framing: Framing,
    ) -> (bool, bool) {
        let now = ticks(now);
        let mut at = leaf;
        if self.plain {
            return (self.has_room(leaf, now, quantum), false);
        }
        let (mut whole, mut counted) = (true, self.segment_bytes > 0);
        while at != NONE {
            let class = self.class(at);
            let profile = self.profile(class);
            let bytes = if class.parent == NONE {
                self.work(quantum, SEGMENTS)
            } else {
                quantum
            };
            let pps = self.pps(at);
            whole &= class.fits(profile, pps, now, bytes, SEGMENTS) && profile.framing() == framing;
            counted |= profile.pps.is_limit();
            at = class.parent;
        }
        (whole, counted)
    }
}
