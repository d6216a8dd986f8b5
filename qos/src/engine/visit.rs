//! Whose frame goes next, and what it is charged.
//!
//! A *visit* serves one leaf for up to a quantum, as long as the caller asks at one and the same
//! instant; the tree is brought up to date once, when it ends.

use prefetch_index::prefetch_index;

use super::class::{Class, Kind, LeafKey, NONE, State, Way};
use super::frame::Frame;
use super::{Engine, Wake};
use crate::class::ticks;
use crate::counters::FlowCounters;
use crate::fair::Fair;
use crate::time::Time;
use crate::wire::{Cost, FrameShape, Framing};

/// Frames of one visit at most.
const FRAMES: u32 = 64;
/// Segments of one visit at most, if a packet limit is on the way.
const SEGMENTS: u64 = 64;

/// Classes from which on a tree does not fit the nearest caches.
const PREFETCHED: usize = 256;

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
        fitting(self.framing, self.quantum, shape)
    }
}

/// How many of a frame's segments a quantum holds: at least one.
fn fitting(framing: Framing, quantum: u64, shape: FrameShape) -> u32 {
    let whole = framing.cost(shape);
    if whole.wire_bytes <= quantum || whole.segments <= 1 {
        return whole.segments;
    }
    let one = shape.peel(1).map_or(shape, |(part, _)| part);
    let each = framing.cost(one).wire_bytes.max(1);
    let most = quantum
        .checked_div(each)
        .unwrap_or(1)
        .clamp(1, whole.segments.into());
    u32::try_from(most).unwrap_or(whole.segments)
}

/// The part of a super-frame that a quantum holds, what that costs, and the rest.
#[inline(never)] // out of the way of plain frames
fn cut(
    framing: Framing,
    quantum: u64,
    shape: FrameShape,
) -> (FrameShape, Cost, Option<FrameShape>) {
    let cost = framing.cost(shape);
    if cost.wire_bytes <= quantum {
        return (shape, cost, None);
    }
    match shape.peel(fitting(framing, quantum, shape)) {
        Some((part, rest)) => (part, framing.cost(part), Some(rest)),
        None => (shape, cost, None),
    }
}

/// A frame, or a part of a super-frame, that [`Engine::poll`] sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Departure {
    /// Whose.
    pub leaf: LeafKey,
    /// The caller's handle of the frame.
    pub token: u64,
    /// What goes now, and was charged: of a super-frame perhaps only some of its segments.
    pub shape: FrameShape,
    /// Payload bytes left, of which the highest bit says that there is a mark.
    rest: u32,
}

impl Departure {
    const MARK: u32 = 1 << 31;

    const fn new(leaf: LeafKey, token: u64, shape: FrameShape) -> Self {
        Self {
            leaf,
            token,
            shape,
            rest: 0,
        }
    }

    /// The same with a rest that stays.
    fn leaving(mut self, rest: FrameShape) -> Self {
        let left = rest.len.saturating_sub(rest.headers);
        self.rest = left.clamp(1, Self::MARK.wrapping_sub(1));
        self
    }

    /// Payload bytes that stay and go later, under the same handle; always the last ones of the frame.
    /// Those that neither were sent nor go now nor stay were dropped, because they waited too long.
    #[must_use]
    pub const fn left(&self) -> u32 {
        self.rest & !Self::MARK
    }

    /// Whether nothing is left of the frame, which is the caller's again.
    #[must_use]
    pub const fn is_last(&self) -> bool {
        self.left() == 0
    }

    /// Whether it is to be marked as having met congestion (ECN's CE).
    #[must_use]
    pub const fn is_marked(&self) -> bool {
        self.rest & Self::MARK != 0
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

    #[inline]
    fn add(&mut self, shape: FrameShape, cost: Cost) {
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
        visit.add(sent, cost);
        let done = self.take(index, sent);
        let green = self.class(index).state == State::Green;
        let mut passed = FlowCounters::default();
        passed.add(sent.len, cost);
        self.tally(index).sent(&passed, green);
        done
    }

    /// Says that the frame granted last did not go. Charges nothing.
    pub fn abort(&mut self, why: Hold) {
        let Some(visit) = self.visit.filter(|visit| visit.granted) else {
            return;
        };
        let class = self.class_mut(visit.leaf);
        match why {
            Hold::Empty if class.kind == Kind::Hold => class.backlog = false,
            Hold::Later | Hold::Empty => {}
            Hold::Blocked => class.blocked = true,
        }
        self.settle();
        self.place(visit.leaf, visit.now);
    }

    /// Takes the frames that go at `now`, `budget` of them at most, and charges them: for whoever can
    /// deliver all of them for certain. They are added to `out` in their order; super-frames larger
    /// than their leaf's quantum in parts.
    ///
    /// Stops before the frame of a leaf without a queue ([`LeafQueue::Hold`](crate::LeafQueue)),
    /// which only [`peek`](Self::peek) can name. Returns when to come back, [`Wake::Now`] if more may
    /// go already.
    pub fn poll(&mut self, now: Time, budget: u32, out: &mut Vec<Departure>) -> Wake {
        self.settle();
        let now = self.clock(now);
        self.fire(now);
        let mut left = budget;
        while left > 0 {
            let Some(leaf) = self.pick() else {
                return self.next_wake(now);
            };
            self.prefetch_next(leaf);
            let mut visit = self.open_visit(leaf, now);
            visit.most_frames = visit.most_frames.min(left);
            match self.class(leaf).kind {
                Kind::Fifo if visit.most_frames == 1 => self.send_one(&mut visit, out),
                Kind::Fifo => self.drain(&mut visit, out),
                Kind::Flows => self.drain_flows(&mut visit, out),
                Kind::Hold | Kind::Inner => return Wake::Now,
            }
            left = left.saturating_sub(visit.frames.max(1));
            self.charge(&visit);
        }
        if self.class(self.root).state.may_send() {
            Wake::Now
        } else {
            self.next_wake(now)
        }
    }

    /// Sends the first frame of a leaf's queue, or the first part of it.
    #[inline]
    fn send_one(&mut self, visit: &mut Visit, out: &mut Vec<Departure>) {
        let Some(class) = self.classes.get_mut(visit.leaf as usize) else {
            return;
        };
        let leaf = class.key(visit.leaf);
        let Some((token, shape)) = class.fifo.first(&self.frames) else {
            return;
        };
        let (mut part, mut rest) = (shape, None);
        let mut cost = visit.framing.cost(shape);
        if cost.wire_bytes > visit.most_bytes {
            (part, cost, rest) = cut(visit.framing, visit.most_bytes, shape);
        }
        match rest {
            Some(rest) => class.fifo.shrink(&mut self.frames, rest),
            None => class.fifo.drop_first(&mut self.frames),
        }
        class.backlog = class.fifo.frames > 0;
        let (green, stats) = (class.state == State::Green, class.stats);
        visit.add(part, cost);
        let mut passed = FlowCounters::default();
        passed.add(part.len, cost);
        match self.stats.get_mut(stats as usize) {
            Some(tally) => tally.sent(&passed, green),
            None => self.tally(visit.leaf).sent(&passed, green),
        }
        let departure = Departure::new(leaf, token, part);
        out.push(rest.map_or(departure, |rest| departure.leaving(rest)));
    }

    /// Sends as much of a leaf's queue as a visit has room for.
    #[inline(never)] // a loop that wants the registers for itself
    fn drain(&mut self, visit: &mut Visit, out: &mut Vec<Departure>) {
        let index = visit.leaf;
        let Some(class) = self.classes.get_mut(index as usize) else {
            return;
        };
        let (leaf, framing, quantum) = (class.key(index), visit.framing, visit.most_bytes);
        let most = u64::from(visit.most_frames.min(class.fifo.frames)).min(visit.most_segments);
        let blank = Departure::new(leaf, 0, FrameShape::single(0));
        let start = out.len();
        // At most 64.
        #[allow(clippy::cast_possible_truncation)]
        out.resize(start.saturating_add(most as usize), blank);
        let places = out.get_mut(start..).unwrap_or_default();
        let mut free = places.iter_mut();
        let mut passed = FlowCounters::default();
        let mut walk = class.fifo.walk(&mut self.frames);
        loop {
            walk.take_plain(
                framing,
                quantum,
                &mut passed,
                &mut free,
                |place, token, len| {
                    (place.token, place.shape.len) = (token, len);
                },
            );
            // Full, or a super-frame is next.
            if passed.wire_bytes >= quantum || passed.segments >= visit.most_segments {
                break;
            }
            let (Some((token, shape)), Some(place)) = (walk.head(), free.next()) else {
                break;
            };
            let (part, cost, rest) = cut(framing, quantum, shape);
            *place = Departure::new(leaf, token, part);
            passed.add(part.len, cost);
            if let Some(rest) = rest {
                *place = place.leaving(rest);
                walk.shrink(rest);
                break;
            }
            walk.take();
        }
        walk.end();
        let unused = free.len();
        out.truncate(out.len().saturating_sub(unused));
        visit.shape = out.last().map_or(visit.shape, |last| last.shape);
        class.backlog = class.fifo.frames > 0;
        let green = class.state == State::Green;
        (visit.bytes, visit.segments) = (passed.wire_bytes, passed.segments);
        // At most 64.
        visit.frames = u32::try_from(passed.frames).unwrap_or(FRAMES);
        self.tally(index).sent(&passed, green);
    }

    /// The same for a leaf of flows, whose queue chooses frame by frame.
    #[inline(never)]
    fn drain_flows(&mut self, visit: &mut Visit, out: &mut Vec<Departure>) {
        let index = visit.leaf;
        while self.class(index).backlog && visit.has_room() {
            let grant = self.grant(index, visit.now);
            let Some(frame) = grant.frame else {
                self.class_mut(index).backlog = false;
                return;
            };
            let cut = frame.shape.peel(grant.segments(frame.shape));
            let part = cut.map_or(frame.shape, |(part, _)| part);
            let cost = visit.framing.cost(part);
            visit.add(part, cost);
            self.take(index, part);
            let green = self.class(index).state == State::Green;
            let mut passed = FlowCounters::default();
            passed.add(part.len, cost);
            self.tally(index).sent(&passed, green);
            let mut departure = Departure::new(grant.leaf, frame.token, part);
            if let Some((_, rest)) = cut {
                departure = departure.leaving(rest);
            }
            if grant.mark {
                departure.rest |= Departure::MARK;
            }
            out.push(departure);
        }
    }

    /// Takes what was sent off a leaf's queue; returns the frame if no part of it is left.
    #[inline]
    fn take(&mut self, index: u32, sent: FrameShape) -> Option<Frame> {
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
    fn grant(&mut self, index: u32, now: Time) -> Grant {
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
        }
    }

    /// The leaf whose turn it is.
    #[inline]
    fn pick(&mut self) -> Option<u32> {
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

    /// Fetches what visits soon to come will read, while this one of `leaf` is at work: along those who
    /// follow its parent, or else itself, the further off the less, since one thing has to be there to
    /// say where the next one is. In trees that do not fit the caches that is most of the time.
    #[inline]
    fn prefetch_next(&self, leaf: u32) {
        if self.classes.len() < PREFETCHED {
            return;
        }
        let class = self.class(leaf);
        let follower = |index: u32| {
            let class = self.classes.get(index as usize);
            class.map_or(NONE, |class| class.seat.follower())
        };
        let next = follower(leaf);
        Class::prefetch(&self.classes, next);
        let [one, two] = match follower(class.parent) {
            NONE if next == NONE => return,
            NONE => [next, follower(next)],
            parent => {
                let second = follower(parent);
                let third = follower(second);
                Class::prefetch(&self.classes, follower(third));
                if let Some(third) = self.classes.get(third as usize) {
                    Fair::prefetch(&self.inners, third.body);
                }
                if let Some(second) = self.classes.get(second as usize)
                    && let Some(fair) = self.inners.get(second.body as usize)
                {
                    fair.prefetch_children();
                }
                [self.guess(parent), self.guess(second)]
            }
        };
        Class::prefetch(&self.classes, two);
        if let Some(one) = self.classes.get(one as usize) {
            prefetch_index(&self.stats, one.stats as usize);
            self.frames.prefetch(&one.fifo);
        }
    }

    /// The child of a class that will probably be next there.
    #[inline]
    fn guess(&self, index: u32) -> u32 {
        let class = self.classes.get(index as usize);
        let inner = class.and_then(|class| self.inners.get(class.body as usize));
        inner.and_then(Fair::guess).unwrap_or(NONE)
    }

    /// A visit of as much as every limit on the way lets go with certainty, at least one frame.
    #[inline]
    fn open_visit(&self, leaf: u32, now: Time) -> Visit {
        let class = self.class(leaf);
        let own = self.profile(class);
        let (quantum, framing) = (own.quantum, own.framing());
        let mut whole = class.kind != Kind::Fifo || class.fifo.frames > 1;
        let mut counted = self.segment_bytes > 0;
        if whole {
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
            most_frames: if whole { FRAMES } else { 1 },
            framing,
            shape: FrameShape::single(0),
        }
    }

    /// Whether all classes on the way have room for a whole quantum and charge alike, and whether any
    /// counts segments.
    fn fits(&self, leaf: u32, now: Time, quantum: u64, framing: Framing) -> (bool, bool) {
        let now = ticks(now);
        let (mut whole, mut counted) = (true, self.segment_bytes > 0);
        let mut at = leaf;
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

    /// What sharing counts: time of the link or of the core, whichever is more, in bytes of link
    /// time.
    const fn work(&self, bytes: u64, segments: u64) -> u64 {
        let core = segments.saturating_mul(self.segment_bytes);
        if core > bytes { core } else { bytes }
    }

    /// Ends the visit, if there is one.
    #[inline]
    pub(super) fn settle(&mut self) {
        if let Some(visit) = self.visit.take() {
            self.charge(&visit);
        }
    }

    /// Charges every class on the way of a visit and moves each to where it now belongs.
    #[inline(never)]
    fn charge(&mut self, visit: &Visit) {
        if visit.frames == 0 {
            return;
        }
        let now = ticks(visit.now);
        let mut way = Way {
            bytes: visit.bytes,
            segments: visit.segments,
            work: self.work(visit.bytes, visit.segments),
            guaranteed: false,
            below: 0,
        };
        let mut at = visit.leaf;
        while let Some(class) = self.classes.get_mut(at as usize) {
            let Some(profile) = self.profiles.get(class.profile as usize) else {
                return;
            };
            if profile.framing() != visit.framing {
                // Such a visit has one frame.
                let cost = profile.framing().cost(visit.shape);
                (way.bytes, way.segments) = (cost.wire_bytes, cost.segments.into());
                let core = way.segments.saturating_mul(self.segment_bytes);
                way.work = way.bytes.max(core);
            }
            let mut open = true;
            if profile.pps.is_limit()
                && let Some(pps) = self.pps.get_mut(at as usize)
            {
                *pps = profile.pps.charged(*pps, now, way.segments);
                open = profile.pps.ready(*pps, now);
            }
            let old = class.state;
            let state = class.charge(profile, now, open, &mut way);
            let (parent, above) = (class.parent, class.above);
            let Some(fair) = self.inners.get_mut(above as usize) else {
                // The root, which waits nowhere.
                if state != old {
                    self.enter(at, state);
                }
                return;
            };
            let tier = old.tier(profile.prio);
            let share = profile.share(tier);
            if state == old {
                let classes = self.classes.as_mut_slice();
                fair.charge(classes, at, tier, share, way.work);
                fair.keep(classes, at, tier);
                way.below = fair.ready();
            } else {
                class.state = State::Idle;
                let classes = self.classes.as_mut_slice();
                fair.charge(classes, at, tier, share, way.work);
                fair.remove(classes, at, tier, share);
                way.below = fair.ready();
                if old == State::Excess {
                    self.wheel.disarm(at);
                }
                if state != State::Idle {
                    self.join(at, state, true);
                    way.below = self.inners.get(above as usize).map_or(0, Fair::ready);
                }
            }
            at = parent;
        }
    }
}
