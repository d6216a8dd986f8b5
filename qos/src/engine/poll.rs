//! Frames taken out by the burst, for callers that can deliver all of them.

use prefetch_index::prefetch_index;

use super::class::{Class, Kind, LeafKey, NONE, State};
use super::grant::{Room, fitting};
use super::visit::{FRAMES, Visit};
use super::{Engine, Wake};
use crate::counters::FlowCounters;
use crate::fair::Fair;
use crate::time::Time;
use crate::wire::{Cost, FrameShape, Framing};

/// Classes from which on a tree does not fit the nearest caches.
pub(super) const PREFETCHED: usize = 1500;

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

    pub(super) const fn new(leaf: LeafKey, token: u64, shape: FrameShape) -> Self {
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

/// The part of a super-frame that a quantum holds, what that costs, and the rest.
#[inline(never)] // out of the way of plain frames
pub(super) fn cut(
    framing: Framing,
    quantum: u64,
    shape: FrameShape,
    whole: bool,
) -> (FrameShape, Cost, Option<FrameShape>) {
    let cost = framing.cost(shape);
    if whole || cost.wire_bytes <= quantum {
        return (shape, cost, None);
    }
    match shape.peel(fitting(framing, quantum, shape)) {
        Some((part, rest)) => (part, framing.cost(part), Some(rest)),
        None => (shape, cost, None),
    }
}

impl Engine {
    /// Takes the frames that go at `now`, `budget` of them at most, and charges them: for whoever can
    /// deliver all of them for certain. They are added to `out` in their order; super-frames larger
    /// than their leaf's quantum in parts.
    ///
    /// Stops before the frame of a leaf without a queue ([`LeafQueue::Hold`](crate::LeafQueue)),
    /// which only [`peek`](Self::peek) can name. Returns when to come back, [`Wake::Now`] if more may
    /// go already. A grant of an earlier `peek` ends.
    pub fn poll(&mut self, now: Time, budget: u32, out: &mut Vec<Departure>) -> Wake {
        self.close();
        self.end_batch();
        let now = self.clock(now);
        self.fire(now);
        let mut left = budget;
        while left > 0 {
            if self.batch.is_some() {
                left = left.saturating_sub(self.run_batch(left, out));
                if left == 0 {
                    break;
                }
            }
            let Some(leaf) = self.pick() else {
                return self.next_wake(now);
            };
            self.prefetch_next(leaf);
            if self.batch.is_none() {
                let gone = self.begin_batch(leaf, left, out);
                if gone > 0 {
                    left = left.saturating_sub(gone);
                    continue;
                }
            }
            let mut visit = self.open_visit(leaf, now);
            visit.most_frames = visit.most_frames.min(left);
            match self.class(leaf).kind {
                Kind::Fifo if visit.most_frames == 1 => self.send_one(&mut visit, out),
                Kind::Fifo => self.drain(&mut visit, out),
                Kind::Flows => self.drain_flows(&mut visit, out),
                // Not before it is its turn also in the eyes of the root.
                _ if self.batch.is_some() => {
                    self.end_batch();
                    continue;
                }
                Kind::Hold | Kind::Inner => return Wake::Now,
            }
            left = left.saturating_sub(visit.frames.max(1));
            self.charge(&visit);
        }
        self.end_batch();
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
        let Some((token, shape, whole)) = class.fifo.first(&self.frames) else {
            return;
        };
        let (mut part, mut rest) = (shape, None);
        let mut cost = visit.framing.cost(shape);
        if cost.wire_bytes > visit.most_bytes {
            (part, cost, rest) = cut(visit.framing, visit.most_bytes, shape, whole);
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
        // At most 16.
        #[allow(clippy::cast_possible_truncation)]
        out.resize(start.saturating_add(most as usize), blank);
        let places = out.get_mut(start..).unwrap_or_default();
        let mut free = places.iter_mut();
        let mut passed = FlowCounters::default();
        let mut walk = class.fifo.walk(&mut self.frames);
        loop {
            // Plain frames alone are never too many segments; behind a super-frame they may be.
            if passed.frames == 0 || visit.most_segments == u64::MAX {
                walk.take_plain(
                    framing,
                    quantum,
                    &mut passed,
                    &mut free,
                    |place, token, len| {
                        (place.token, place.shape.len) = (token, len);
                    },
                );
            }
            // Full, or something else is next.
            let Some((token, shape, whole)) = walk.head() else {
                break;
            };
            let (part, cost, rest) = cut(framing, quantum, shape, whole);
            let full = passed.frames > 0
                && passed.wire_bytes.saturating_add(cost.wire_bytes) > quantum
                || passed.segments >= visit.most_segments;
            if full {
                break;
            }
            let Some(place) = free.next() else {
                break;
            };
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
        // At most 16.
        visit.frames = u32::try_from(passed.frames).unwrap_or(FRAMES);
        self.tally(index).sent(&passed, green);
    }

    /// The same for a leaf of flows, whose queue chooses frame by frame.
    #[inline(never)]
    fn drain_flows(&mut self, visit: &mut Visit, out: &mut Vec<Departure>) {
        let index = visit.leaf;
        while self.class(index).backlog && visit.has_room() {
            let grant = self.grant(index, visit.now, Room::default());
            let Some(frame) = grant.frame else {
                self.class_mut(index).backlog = false;
                return;
            };
            let cut = frame.shape.peel(grant.segments(frame.shape));
            let cut = cut.filter(|_| !frame.whole);
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

    /// Fetches what visits soon to come will read, while this one of `leaf` is at work: along those who
    /// follow it or its parent, the further off the less, since one thing has to be there to say where
    /// the next one is. In trees that do not fit the caches that is most of the time.
    #[inline]
    fn prefetch_next(&self, leaf: u32) {
        if self.classes.len() < PREFETCHED {
            return;
        }
        let follower = |index: u32| {
            let class = self.classes.get(index as usize);
            class.map_or(NONE, |class| class.seat.follower())
        };
        let next = follower(leaf);
        let parent = follower(self.class(leaf).parent);
        let soonest = match (next, parent) {
            (NONE, NONE) => return,
            (_, NONE) => {
                Class::prefetch(&self.classes, follower(next));
                next
            }
            (NONE, _) => {
                self.prefetch_families(follower(parent));
                self.guess(parent)
            }
            (..) => {
                // Its turn comes with its parent's next one.
                Class::prefetch(&self.classes, next);
                self.guess(parent)
            }
        };
        if let Some(soonest) = self.classes.get(soonest as usize) {
            prefetch_index(&self.stats, soonest.stats as usize);
            soonest.fifo.prefetch(&self.frames);
        }
    }

    /// Fetches classes with few children, from the second on, and what is known of these.
    fn prefetch_families(&self, second: u32) {
        let class = |index: u32| self.classes.get(index as usize);
        let body = |index: u32| class(index).map_or(NONE, |class| class.body);
        let follower = |index: u32| class(index).map_or(NONE, |class| class.seat.follower());
        let third = follower(second);
        Class::prefetch(&self.classes, follower(third));
        Fair::prefetch(&self.inners, body(third));
        if let Some(fair) = self.inners.get(body(second) as usize) {
            fair.prefetch_children();
        }
        Class::prefetch(&self.classes, self.guess(second));
    }

    /// The child of a class that will probably be next there.
    #[inline]
    pub(super) fn guess(&self, index: u32) -> u32 {
        let class = self.classes.get(index as usize);
        let inner = class.and_then(|class| self.inners.get(class.body as usize));
        inner.and_then(Fair::guess).unwrap_or(NONE)
    }
}
