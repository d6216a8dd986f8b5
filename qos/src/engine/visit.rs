//! Whose frame goes next, and what it is charged.
//!
//! A *visit* serves one leaf for up to a quantum, as long as the caller asks at one and the same
//! instant; the tree is brought up to date once, when it ends.

use super::Engine;
use super::class::{LeafKey, NONE, State};
use super::frame::Frame;
use crate::class::ticks;
use crate::time::Time;
use crate::wire::{Cost, FrameShape, Framing};

/// Frames of one visit at most.
const FRAMES: u32 = 32;
/// Segments of one visit at most, if a packet limit is on the way.
const SEGMENTS: u64 = 64;

/// Leave to send one frame of a leaf, now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grant {
    /// Whose.
    pub leaf: LeafKey,
    /// The frame, if the leaf has a queue; otherwise the caller knows which. Its shape is what is left
    /// of it: its last bytes, less than last time if parts were sent, or dropped because it waited too
    /// long.
    pub frame: Option<Frame>,
    /// Whether the frame is to be marked as having met congestion (ECN's CE): a super-frame's header
    /// marks all its segments.
    pub mark: bool,
    /// Wire bytes that the leaf should send at once. A larger super-frame should be peeled: see
    /// [`segments`](Self::segments).
    pub quantum: u64,
    /// How the leaf is charged.
    pub framing: Framing,
}

impl Grant {
    /// How many segments of this frame should go now: at least one, and as many as the quantum
    /// holds. Send [`FrameShape::peel`]'s first part, and commit its shape.
    #[must_use]
    pub fn segments(&self, shape: FrameShape) -> u32 {
        let whole = self.framing.cost(shape);
        if whole.wire_bytes <= self.quantum || whole.segments <= 1 {
            return whole.segments;
        }
        let one = shape.peel(1).map_or(shape, |(part, _)| part);
        let each = self.framing.cost(one).wire_bytes.max(1);
        let most = self
            .quantum
            .checked_div(each)
            .unwrap_or(1)
            .clamp(1, whole.segments.into());
        u32::try_from(most).unwrap_or(whole.segments)
    }
}

/// Why a granted frame did not go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hold {
    /// It may go next time; nothing changes. What is to be done when the uplink is full.
    Later,
    /// Nothing waits for this leaf after all. Only for a leaf without a queue.
    Empty,
    /// The leaf's receiver cannot take it: leave the leaf out until [`Engine::unblock`].
    Blocked,
}

/// What a leaf has sent at one instant and the tree does not know yet.
#[derive(Clone, Copy, Debug)]
pub(super) struct Visit {
    leaf: u32,
    now: Time,
    bytes: u64,
    segments: u64,
    frames: u32,
    /// A frame was granted and neither committed nor held back yet.
    granted: bool,
    /// The visit ends before a frame that would begin beyond these.
    most_bytes: u64,
    most_segments: u64,
    most_frames: u32,
    framing: Framing,
    /// The frame last sent, for classes on the way that charge it differently.
    shape: FrameShape,
}

impl Visit {
    const fn has_room(&self) -> bool {
        self.frames < self.most_frames
            && self.bytes < self.most_bytes
            && self.segments < self.most_segments
    }
}

impl Engine {
    /// Names the leaf whose frame goes next, if any may go at `now`. Charges nothing, and names the
    /// same leaf again until [`commit`](Self::commit) or [`hold`](Self::hold).
    ///
    /// Calls at one and the same `now` are cheapest, for they share visits: read the clock once per
    /// burst.
    #[must_use]
    #[inline]
    pub fn peek(&mut self, now: Time) -> Option<Grant> {
        let now = self.clock(now);
        if let Some(visit) = &mut self.visit {
            let leaf = visit.leaf;
            let class = self.classes.get(leaf as usize);
            let waits = class.is_some_and(|class| class.backlog);
            if visit.now == now && visit.has_room() && waits {
                visit.granted = true;
                return Some(self.grant(leaf, now));
            }
        }
        self.settle();
        self.fire(now);
        let leaf = self.pick()?;
        self.visit = Some(self.open_visit(leaf, now));
        Some(self.grant(leaf, now))
    }

    /// Charges the frame granted last, which went as `sent`: the whole frame's shape, or the first
    /// part's of a frame that was peeled. Returns the frame if the leaf has a queue and no part of it
    /// is left there. Without a grant nothing happens.
    #[inline]
    pub fn commit(&mut self, sent: FrameShape) -> Option<Frame> {
        let visit = self.visit.as_mut().filter(|visit| visit.granted)?;
        let index = visit.leaf;
        visit.granted = false;
        let cost = visit.framing.cost(sent);
        visit.bytes = visit.bytes.saturating_add(cost.wire_bytes);
        visit.segments = visit.segments.saturating_add(cost.segments.into());
        visit.frames = visit.frames.saturating_add(1);
        visit.shape = sent;
        let green = self.class(index).state == State::Green;
        let body = self.class(index).body;
        let mut done = None;
        if let Some(queue) = self.queues.get_mut(body as usize) {
            done = queue.sent(&mut self.frames, &mut self.sets, sent);
            if queue.frames() == 0 {
                self.class_mut(index).backlog = false;
            }
        }
        let stats = self.stats_of(index);
        stats.sent.add(sent.len, cost);
        if green {
            stats.green_bytes = stats.green_bytes.wrapping_add(cost.wire_bytes);
        }
        done
    }

    /// Says that the frame granted last did not go. Charges nothing.
    pub fn hold(&mut self, why: Hold) {
        let Some(visit) = self.visit.filter(|visit| visit.granted) else {
            return;
        };
        let has_queue = self.class(visit.leaf).body != NONE;
        let class = self.class_mut(visit.leaf);
        match why {
            Hold::Empty if !has_queue => class.backlog = false,
            Hold::Later | Hold::Empty => {}
            Hold::Blocked => class.blocked = true,
        }
        self.settle();
        self.place(visit.leaf, visit.now);
    }

    #[inline]
    fn grant(&mut self, index: u32, now: Time) -> Grant {
        let class = self.class(index);
        let generation = class.generation;
        let body = class.body;
        let profile = self.profile(class);
        let (quantum, framing) = (profile.quantum, profile.framing());
        let (frames, sets) = (&mut self.frames, &mut self.sets);
        let chosen = self
            .queues
            .get_mut(body as usize)
            .and_then(|queue| queue.choose(frames, sets, now.as_nanos()));
        if let Some(toll) = self.sets.toll() {
            self.stats_of(index).collect(&toll);
        }
        Grant {
            leaf: LeafKey { index, generation },
            frame: chosen.map(|(frame, _)| frame),
            mark: chosen.is_some_and(|(_, mark)| mark),
            quantum,
            framing,
        }
    }

    /// The leaf whose turn it is.
    fn pick(&mut self) -> Option<u32> {
        let mut at = self.root;
        if !self.class(at).state.may_send() {
            return None;
        }
        while !self.class(at).leaf {
            let inner = self.inner_mut(at);
            let (child, _) = inner.fair.pick()?;
            at = *inner.children.get(child as usize)?;
        }
        Some(at)
    }

    /// A visit of as much as every limit on the way lets go with certainty, at least one frame.
    fn open_visit(&self, leaf: u32, now: Time) -> Visit {
        let own = self.profile(self.class(leaf));
        let (quantum, framing) = (own.quantum, own.framing());
        let ticks = ticks(now);
        let mut whole = true;
        let mut counted = self.segment_bytes > 0;
        let mut at = leaf;
        while at != NONE {
            let class = self.class(at);
            let profile = self.profile(class);
            let bytes = if class.parent == NONE {
                self.work(quantum, SEGMENTS)
            } else {
                quantum
            };
            whole &= class.fits(profile, ticks, bytes, SEGMENTS) && profile.framing() == framing;
            counted |= profile.pps.is_limit();
            at = class.parent;
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
            most_frames: if whole { FRAMES } else { 1 },
            framing,
            shape: FrameShape::single(0),
        }
    }

    /// What sharing counts: time of the link or of the core, whichever is more, in bytes of link
    /// time.
    fn work(&self, bytes: u64, segments: u64) -> u64 {
        bytes.max(segments.saturating_mul(self.segment_bytes))
    }

    /// Ends the visit: charges every class on the way and moves each to where it now belongs.
    pub(super) fn settle(&mut self) {
        let Some(visit) = self.visit.take() else {
            return;
        };
        if visit.frames == 0 {
            return;
        }
        let now = ticks(visit.now);
        let mut guaranteed = false;
        let mut at = visit.leaf;
        while let Some(class) = self.classes.get_mut(at as usize) {
            let Some(profile) = self.profiles.get(class.profile as usize) else {
                return;
            };
            let (bytes, segments) = visit.charged(profile.framing());
            let work = bytes.max(segments.saturating_mul(self.segment_bytes));
            let (state, parent, position) = (class.state, class.parent, class.position);
            let tier = state.tier(profile.prio);
            let is_root = parent == NONE;
            guaranteed |= state == State::Green && class.below_rate(profile, now);
            if guaranteed && !is_root {
                class.rate = profile.rate.charged(class.rate, now, work);
            }
            // A ceiling is a promise about the wire; only the root stands for link and core.
            let units = if is_root { work } else { bytes };
            class.ceil = profile.ceil.charged(class.ceil, now, units);
            if profile.pps.is_limit() {
                class.pps = profile.pps.charged(class.pps, now, segments);
            }
            let want = self.want(at, now);
            if !is_root {
                let fair = &mut self.inner_mut(parent).fair;
                fair.charge(position, tier, work, want == state);
            }
            if want != state {
                self.enter(at, want);
            }
            at = parent;
        }
    }
}

impl Visit {
    /// Bytes and segments for a class that charges like this. A visit over classes that charge
    /// differently has one frame.
    fn charged(&self, framing: Framing) -> (u64, u64) {
        if framing == self.framing {
            return (self.bytes, self.segments);
        }
        let Cost {
            wire_bytes,
            segments,
        } = framing.cost(self.shape);
        (wire_bytes, segments.into())
    }
}
