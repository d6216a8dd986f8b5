//! A hierarchical token bucket in the manner of Linux's `sch_htb`: per level a balanced tree of the
//! classes below their rate, per class one of the children that borrow from it, one of those that wait
//! for tokens, and deficit round robin over what is in a tree. The trees are the standard library's
//! B-trees, which do with fewer cache misses what red-black trees do.

use std::collections::BTreeSet;
use std::ops::Bound::{Excluded, Unbounded};

use qos::Time;

use super::{Fifo, Packet, QUANTUM, Scheduler, index};

const LEVELS: usize = 3;
const NONE: u32 = u32::MAX;

/// What one class is given.
#[derive(Clone, Copy, Debug)]
pub(crate) struct HtbClass {
    /// Number of the parent, which comes before its children.
    pub(crate) parent: Option<u32>,
    /// Bits per second.
    pub(crate) rate: u64,
    /// Bits per second.
    pub(crate) ceil: u64,
    /// Nanoseconds at the rate or at the ceiling.
    pub(crate) burst: u64,
}

/// Members of a tree in turn, by number.
#[derive(Debug, Default)]
struct Ring {
    members: BTreeSet<u32>,
    /// Whose turn it is; kept so that a turn costs no search.
    at: Option<u32>,
}

impl Ring {
    fn insert(&mut self, member: u32) {
        self.members.insert(member);
        self.at.get_or_insert(member);
    }

    fn remove(&mut self, member: u32) {
        if self.at == Some(member) {
            self.advance();
        }
        self.members.remove(&member);
        if self.members.is_empty() {
            self.at = None;
        }
    }

    /// The next one's turn; says whether a round is over.
    fn advance(&mut self) -> bool {
        let Some(at) = self.at else { return true };
        let next = self.members.range((Excluded(at), Unbounded)).next();
        let wrapped = next.is_none();
        self.at = next.or_else(|| self.members.first()).copied();
        wrapped
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    /// Within its rate.
    Sends,
    /// Above its rate, below its ceiling.
    Borrows,
    /// At its ceiling.
    Waits,
}

/// Tokens in picoseconds.
#[derive(Clone, Copy, Debug)]
struct Bucket {
    tokens: i64,
    depth: i64,
    /// Picoseconds per byte, times 2^16.
    per_byte: u64,
}

impl Bucket {
    fn new(bits_per_second: u64, nanos: u64) -> Self {
        let depth = i64::try_from(nanos * 1000).unwrap_or(i64::MAX);
        let per_byte = (8_000_000_000_000_u128 << 16) / u128::from(bits_per_second.max(1));
        Self {
            tokens: depth,
            depth,
            per_byte: u64::try_from(per_byte).unwrap_or(u64::MAX),
        }
    }

    fn refill(&mut self, elapsed: i64) {
        self.tokens = (self.tokens + elapsed).min(self.depth);
    }

    fn charge(&mut self, bytes: u32) {
        let cost = (u64::from(bytes) * self.per_byte) >> 16;
        self.tokens -= i64::try_from(cost).unwrap_or(i64::MAX);
    }
}

#[derive(Debug)]
struct Class {
    rate: Bucket,
    ceil: Bucket,
    /// When tokens were last counted, in picoseconds.
    at: i64,
    /// When it looks at its tokens again, if it does.
    wake: Option<i64>,
    parent: u32,
    level: usize,
    mode: Mode,
    /// Bytes that it may still send in its turn, as a borrower from each level.
    deficit: [i64; LEVELS],
    /// A leaf's number in the list of leaves' frames.
    body: u32,
    /// Children that borrow.
    feed: Ring,
}

impl Class {
    /// Brings the tokens up to date.
    fn refresh(&mut self, now: i64) -> Mode {
        let elapsed = (now - self.at).max(0);
        self.at = self.at.max(now);
        self.rate.refill(elapsed);
        self.ceil.refill(elapsed);
        self.current_mode()
    }

    const fn current_mode(&self) -> Mode {
        if self.ceil.tokens < 0 {
            Mode::Waits
        } else if self.rate.tokens < 0 {
            Mode::Borrows
        } else {
            Mode::Sends
        }
    }
}

#[derive(Debug)]
pub(crate) struct RbtreeHtb {
    classes: Vec<Class>,
    frames: Vec<Fifo>,
    leaves: Vec<u32>,
    /// By level: classes within their rate below which frames wait.
    rows: [Ring; LEVELS],
    /// Classes out of tokens, by when they have some.
    waits: BTreeSet<(i64, u32)>,
    /// The first of them.
    next_event: i64,
}

impl RbtreeHtb {
    /// Three levels at most; a class without children is a leaf.
    pub(crate) fn new(classes: &[HtbClass]) -> Self {
        let mut levels = vec![0; classes.len()];
        for (number, class) in classes.iter().enumerate().rev() {
            if let Some(parent) = class.parent {
                levels[index(parent)] = levels[index(parent)].max(levels[number] + 1);
            }
        }
        let mut htb = Self {
            classes: Vec::with_capacity(classes.len()),
            frames: Vec::new(),
            leaves: Vec::new(),
            rows: Default::default(),
            waits: BTreeSet::new(),
            next_event: i64::MAX,
        };
        for ((class, &level), number) in classes.iter().zip(&levels).zip(0..) {
            let mut body = NONE;
            if level == 0 {
                body = u32::try_from(htb.frames.len()).unwrap_or(NONE);
                htb.leaves.push(number);
                htb.frames.push(Fifo::new());
            }
            htb.classes.push(Class {
                rate: Bucket::new(class.rate, class.burst),
                ceil: Bucket::new(class.ceil, class.burst),
                at: 0,
                wake: None,
                parent: class.parent.unwrap_or(NONE),
                level,
                mode: Mode::Sends,
                deficit: [QUANTUM.into(); LEVELS],
                body,
                feed: Ring::default(),
            });
        }
        htb
    }

    /// Frames wait below a class: it is entered where its mode says, and so are the ancestors that it
    /// borrows through.
    fn activate(&mut self, number: u32) {
        let mut at = number;
        loop {
            let class = &self.classes[index(at)];
            let (mode, level, parent) = (class.mode, class.level, class.parent);
            if mode == Mode::Sends {
                self.rows[level].insert(at);
            }
            if mode != Mode::Borrows || parent == NONE {
                return;
            }
            let feed = &mut self.classes[index(parent)].feed;
            let known = feed.at.is_some();
            feed.insert(at);
            if known {
                return;
            }
            at = parent;
        }
    }

    /// The opposite of [`activate`](Self::activate).
    fn deactivate(&mut self, number: u32) {
        let mut at = number;
        loop {
            let class = &self.classes[index(at)];
            let (mode, level, parent) = (class.mode, class.level, class.parent);
            if mode == Mode::Sends {
                self.rows[level].remove(at);
            }
            if mode != Mode::Borrows || parent == NONE {
                return;
            }
            let feed = &mut self.classes[index(parent)].feed;
            feed.remove(at);
            if feed.at.is_some() {
                return;
            }
            at = parent;
        }
    }

    /// Moves a class whose tokens have changed to where it now belongs.
    fn settle(&mut self, number: u32, mode: Mode) {
        let class = &mut self.classes[index(number)];
        if class.mode != mode {
            let active = match self.frames.get(index(class.body)) {
                Some(frames) => !frames.0.is_empty(),
                None => class.feed.at.is_some(),
            };
            if active {
                self.deactivate(number);
                self.classes[index(number)].mode = mode;
                self.activate(number);
            } else {
                class.mode = mode;
            }
        }
        let class = &mut self.classes[index(number)];
        if mode != Mode::Sends && class.wake.is_none() {
            let debt = if mode == Mode::Waits {
                class.ceil.tokens
            } else {
                class.rate.tokens
            };
            let wake = class.at - debt;
            class.wake = Some(wake);
            self.waits.insert((wake, number));
            self.next_event = self.next_event.min(wake);
        }
    }

    /// Looks at those whose tokens were to come by now.
    fn fire(&mut self, now: i64) {
        while self.next_event <= now
            && let Some((_, number)) = self.waits.pop_first()
        {
            let first = self.waits.first();
            self.next_event = first.map_or(i64::MAX, |&(at, _)| at);
            let class = &mut self.classes[index(number)];
            class.wake = None;
            let mode = class.refresh(now);
            self.settle(number, mode);
        }
    }

    /// The leaf whose turn it is, and the level at which it has leave to send.
    fn pick(&self) -> Option<(u32, usize)> {
        let level = self.rows.iter().position(|row| row.at.is_some())?;
        let mut at = self.rows[level].at?;
        for _ in 0..level {
            at = self.classes[index(at)].feed.at?;
        }
        Some((at, level))
    }

    /// The next one's turn: where the leaf is, and further up when a round there is over.
    fn turn(&mut self, leaf: u32, level: usize) {
        let mut at = leaf;
        for _ in 0..level {
            at = self.classes[index(at)].parent;
            if !self.classes[index(at)].feed.advance() {
                return;
            }
        }
        self.rows[level].advance();
    }

    fn next(&mut self, now: i64) -> Option<(u32, Packet)> {
        self.fire(now);
        let (leaf, level) = self.pick()?;
        let class = &mut self.classes[index(leaf)];
        let frames = &mut self.frames[index(class.body)].0;
        let packet = frames.pop_front()?;
        let empty = frames.is_empty();
        let deficit = &mut class.deficit[level];
        *deficit -= i64::from(packet.wire_bytes);
        if *deficit < 0 {
            *deficit += i64::from(QUANTUM);
            self.turn(leaf, level);
        }
        if empty {
            self.deactivate(leaf);
        }
        let mut at = leaf;
        while at != NONE {
            let class = &mut self.classes[index(at)];
            class.refresh(now);
            // Below the lender nothing counts against the rates: it is borrowed.
            if class.level >= level {
                class.rate.charge(packet.wire_bytes);
            }
            class.ceil.charge(packet.wire_bytes);
            let (mode, parent) = (class.current_mode(), class.parent);
            if mode != class.mode || (mode != Mode::Sends && class.wake.is_none()) {
                self.settle(at, mode);
            }
            at = parent;
        }
        Some((leaf, packet))
    }
}

impl Scheduler for RbtreeHtb {
    type Leaf = u32;
    type Packet = Packet;
    type Taken = (u32, Packet);

    fn leaves(&self) -> Vec<u32> {
        self.leaves.clone()
    }

    fn packet(number: u64) -> Packet {
        Packet::minimum(number)
    }

    fn enqueue(&mut self, leaf: u32, packet: Packet, _: Time) -> bool {
        let body = self.classes[index(leaf)].body;
        match self.frames[index(body)].push(packet) {
            None => return false,
            Some(false) => {}
            Some(true) => self.activate(leaf),
        }
        true
    }

    fn taken(&taken: &(u32, Packet)) -> (u32, Packet) {
        taken
    }

    fn dequeue(&mut self, now: Time, budget: usize, out: &mut Vec<(u32, Packet)>) {
        let now = i64::try_from(now.as_nanos() * 1000).unwrap_or(i64::MAX);
        out.extend(std::iter::from_fn(|| self.next(now)).take(budget));
    }
}
