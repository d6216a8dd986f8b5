//! The scheduler: a class tree that says whose frame goes next, and when to ask again.

mod apply;
mod charge;
mod class;
mod fifo;
mod flows;
mod frame;
mod frames;
mod grant;
mod late;
mod offer;
mod pass;
mod poll;
mod ready;
mod retune;
mod run;
mod snapshot;
mod twins;
mod users;
mod visit;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use crate::class::{Arrival, ClassId, Profile, TreeConfig, TreeError};
use crate::fair::Fair;
use crate::time::Time;
use crate::wheel::{Hand, Wheel};

pub use apply::Diff;
pub use class::{LeafKey, State};
pub use frame::{Ack, Ecn, Frame};
pub use grant::{Grant, Hold, Room};
pub use pass::Passage;
pub use poll::Departure;
pub use snapshot::{ClassSnapshot, ClassStats};

use charge::Batch;
use class::{Class, NONE};
use flows::{Flows, Sets};
use frames::Frames;
use late::Late;
use retune::Books;
use run::Scout;
use snapshot::Tally;
use twins::Twins;
use visit::Visit;

/// Timer events that one call handles at most; what is left is handled by the next call, which
/// [`Wake::Now`] asks for.
const EVENTS_PER_CALL: u32 = 1024;

/// When to call [`Engine::peek`] next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wake {
    /// At once: something may go.
    Now,
    /// At this instant, which lies after now: something may go then, unless limits are changed
    /// before. Unless something new is offered nothing may go sooner, but within the 1.024 us that it
    /// is rounded up by: whoever asks in these may find something.
    At(Time),
    /// Not before something is offered or unblocked.
    Idle,
}

/// What became of an offered frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "a frame that was not queued is still the caller's"]
pub enum Offer {
    /// The leaf has it.
    Queued,
    /// The leaf's queue or the engine's pool is full, or the leaf has no queue: the frame is still
    /// the caller's, who drops it or keeps it back. Counted at the leaf.
    Refused,
    /// There is no such leaf any more: the caller's key is out of date.
    Gone,
}

/// The class tree of one direction at work.
///
/// Calls come in four kinds:
/// * *what waits*: [`offer`](Self::offer) a frame to a leaf with a queue, or say that a leaf without
///   one is [`backlogged`](Self::backlogged);
/// * *what goes*: [`peek`](Self::peek) names the leaf whose frame is next, the caller delivers it and
///   [`commit`](Self::commit)s, or [`abort`](Self::abort)s; or [`poll`](Self::poll) takes frames by the
///   burst; only a commit charges anything;
/// * *when to come back*: [`next_wake`](Self::next_wake);
/// * *control*: [`apply`](Self::apply) another tree, [`retune`](Self::retune) one class,
///   [`snapshot`](Self::snapshot) the counters.
///
/// Time should not go backwards; when it does, the engine goes by the latest it has seen. Nothing is
/// allocated outside `apply`, `retune` and `snapshot`.
#[derive(Debug)]
pub struct Engine {
    classes: Vec<Class>,
    /// The arrival times of packet limits, which few classes have.
    pps: Vec<Arrival>,
    profiles: Vec<Profile>,
    /// The children of inner classes.
    inners: Vec<Fair>,
    flows: Vec<Flows>,
    sets: Sets,
    frames: Frames,
    stats: Vec<Tally>,
    /// When classes over a limit may send again, and classes over their guarantee are below it again.
    wheel: Wheel,
    index: BTreeMap<ClassId, u32>,
    /// Leaves that are no longer in the tree and not yet empty.
    draining: BTreeSet<u32>,
    root: u32,
    now: Time,
    visit: Option<Visit>,
    batch: Option<Batch>,
    scouts: [Scout; 2],
    /// A grant whose visit has ended.
    late: Option<Late>,
    /// What one segment costs at least, in bytes of link time.
    segment_bytes: u64,
    /// All classes charge alike, and none counts segments.
    plain: bool,
    /// More timer events were due than one call handles.
    overdue: bool,
    books: Books,
    twins: Twins,
}

impl Engine {
    /// An engine for this tree, every class with its bursts to spend.
    ///
    /// # Errors
    /// The tree may not run; see [`TreeConfig::check`].
    pub fn new(tree: &TreeConfig) -> Result<Self, TreeError> {
        let mut engine = Self {
            classes: Vec::new(),
            pps: Vec::new(),
            profiles: Vec::new(),
            inners: Vec::new(),
            flows: Vec::new(),
            sets: Sets::default(),
            frames: Frames::default(),
            stats: Vec::new(),
            wheel: Wheel::new(0),
            index: BTreeMap::new(),
            draining: BTreeSet::new(),
            root: NONE,
            now: Time::ZERO,
            visit: None,
            batch: None,
            scouts: [Scout::NOWHERE; 2],
            late: None,
            segment_bytes: 0,
            plain: false,
            overdue: false,
            books: Books::default(),
            twins: Twins::default(),
        };
        engine.rebuild(tree, Time::ZERO)?;
        Ok(engine)
    }

    /// The key of a leaf, for the calls on the path of frames; `None` if the tree has no such leaf.
    #[must_use]
    pub fn leaf(&self, id: ClassId) -> Option<LeafKey> {
        let &index = self.index.get(&id)?;
        let class = self.class(index);
        class.is_leaf().then_some(class.key(index))
    }

    /// A frame that a leaf of flows dropped, to make room or because frames waited too long: the
    /// caller's again, with the shape of what was left of it. Ask after every round of offers and
    /// peeks; until then it takes room in the pool.
    ///
    /// Of a super-frame that waited too long only a segment is dropped, off its front, and nothing is
    /// handed back: the next [`Grant::frame`] or [`Departure::shape`] says what is left.
    pub fn dropped(&mut self) -> Option<Frame> {
        self.frames.next_dropped()
    }

    /// Says that a leaf held back with [`Hold::Blocked`] can deliver again. Returns whether there is
    /// such a leaf.
    pub fn unblock(&mut self, leaf: LeafKey, now: Time) -> bool {
        let found = self.find(leaf);
        if let Some(index) = found.filter(|&index| self.class(index).blocked) {
            self.settle();
            let now = self.clock(now);
            self.class_mut(index).blocked = false;
            self.place(index, now);
        }
        found.is_some()
    }

    /// When something may go next.
    #[must_use]
    pub fn next_wake(&mut self, now: Time) -> Wake {
        self.settle();
        let now = self.clock(now);
        self.fire(now);
        if self.overdue || self.class(self.root).state.may_send() {
            return Wake::Now;
        }
        while let Some((entry, at)) = self.wheel.first(Hand::Release) {
            // An ancestor may have closed since; nothing goes before the last of the path opens.
            let opens = self.path_opens(entry);
            if opens <= at || at.as_nanos() == u64::MAX {
                return Wake::At(at);
            }
            self.wheel.arm(Hand::Release, entry, opens, now);
        }
        Wake::Idle
    }

    /// The latest time seen.
    fn clock(&mut self, now: Time) -> Time {
        self.now = self.now.max(now);
        self.now
    }

    fn find(&self, key: LeafKey) -> Option<u32> {
        let class = self.classes.get(key.index as usize)?;
        (class.generation == key.generation && class.is_leaf()).then_some(key.index)
    }

    /// A class by its number. Numbers come from the tree itself, and the arena never shrinks.
    #[allow(clippy::indexing_slicing)]
    fn class(&self, index: u32) -> &Class {
        &self.classes[index as usize]
    }

    #[allow(clippy::indexing_slicing)] // as above
    fn class_mut(&mut self, index: u32) -> &mut Class {
        &mut self.classes[index as usize]
    }

    /// The settings of a class; every class has some.
    #[allow(clippy::indexing_slicing)]
    fn profile(&self, class: &Class) -> &Profile {
        &self.profiles[class.profile as usize]
    }

    /// The arrival time of a class's packet limit.
    fn pps(&self, index: u32) -> Arrival {
        self.pps.get(index as usize).copied().unwrap_or(0)
    }

    /// The counters of a class, attached at first use: room was reserved when the tree was applied.
    #[allow(clippy::indexing_slicing)] // the number was given out here
    #[inline]
    fn tally(&mut self, index: u32) -> &mut Tally {
        let mut number = self.class(index).stats;
        if number == NONE {
            number = u32::try_from(self.stats.len()).unwrap_or(NONE);
            self.stats.push(Tally::default());
            self.class_mut(index).stats = number;
        }
        &mut self.stats[number as usize]
    }
}
