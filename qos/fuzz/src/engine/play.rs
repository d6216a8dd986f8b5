//! The calls, and what each of them promises.

use std::collections::BTreeSet;

use qos::engine::{ClassSnapshot, Departure, Diff};
use qos::{
    Engine, Frame, Grant, Hold, LeafKey, LeafQueue, Offer, Span, Time, TreeConfig, TreeError, Wake,
};

use super::books::{Books, Number};
use super::script::{Call, Cargo, Change, Portion, Script, Shape, Step};

/// Calls of a run at most, and frames: what goes wrong goes wrong sooner.
const CALLS: usize = 200;
const FRAMES: usize = 400;
/// From this number on a call that serves leaves a last grant open.
const LEFT_OPEN: u8 = 200;
/// What wakes are rounded up to, in nanoseconds.
const GRAIN: u64 = 1024;
/// Time ends here: beyond, the end of the clock is near.
const END: Time = Time::from_nanos(1 << 60);

/// A grant that stands.
struct Granted {
    grant: Grant,
    /// The leaf, or who stands for it since it ended.
    class: Number,
    place: Place,
    /// The tree has not been changed since, so that the classes on the way are those of then.
    same_way: bool,
}

/// Where a granted frame is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Leaf,
    Caller,
    Dropped,
}

/// A run.
pub(super) struct Play {
    engine: Engine,
    tree: TreeConfig,
    books: Books,
    /// All keys there ever were, of which most are out of date.
    keys: Vec<LeafKey>,
    now: Time,
    /// The latest time that the engine has seen.
    seen: Time,
    /// What was granted and neither sent nor held back yet.
    granted: Option<Granted>,
    tokens: u64,
    /// Bursts are offered frame by frame.
    split: bool,
    trace: u64,
}

impl Play {
    /// Plays a script; returns a hash of all that came of it.
    pub(super) fn run(script: &Script, split: bool) -> u64 {
        let tree = script.tree.config();
        let engine = match (Engine::new(&tree), tree.check()) {
            (Ok(engine), Ok(())) => engine,
            (Err(one), Err(other)) => {
                assert_eq!(one, other);
                explains(&one);
                return 0;
            }
            _ => panic!("the check and the engine differ"),
        };
        let mut books = Books::default();
        let keys = books.apply(&tree, &engine, None, Time::ZERO);
        let mut play = Self {
            engine,
            tree,
            books,
            keys,
            now: Time::from_nanos(script.start.nanos()),
            seen: Time::ZERO,
            granted: None,
            tokens: 0,
            split,
            trace: 0xcbf2_9ce4_8422_2325,
        };
        for step in script.steps.iter().take(CALLS) {
            play.step(step);
        }
        play.check();
        play.trace
    }

    fn note(&mut self, what: impl IntoIterator<Item = u64>) {
        for word in what {
            self.trace = (self.trace ^ word).wrapping_mul(0x0100_0000_01b3);
        }
    }

    fn step(&mut self, step: &Step) {
        self.call(&step.call);
        self.collect();
        if !step.quiet {
            self.check();
        }
    }

    fn call(&mut self, call: &Call) {
        match call {
            Call::Offer(leaf, cargo) => self.offer(*leaf, 1, *cargo),
            Call::Flood(leaf, count, cargo) => self.offer(*leaf, *count % 64, *cargo),
            Call::Train(leaf, count, cargo) => {
                let cargo = (0..*count % 64)
                    .map(|_| (*leaf, *cargo))
                    .collect::<Vec<_>>();
                self.burst(&cargo);
            }
            Call::Burst(cargo) => self.burst(cargo),
            Call::Backlogged(leaf) => {
                if let Some(key) = self.key(*leaf) {
                    self.backlogged(key);
                }
            }
            Call::AllBacklogged => {
                let keys: Vec<_> = self
                    .books
                    .leaves()
                    .map(|n| self.books.leaf(n).key)
                    .collect();
                keys.into_iter().for_each(|key| self.backlogged(key));
            }
            Call::Serve(count, portion, shape) => {
                self.commit(*portion, *shape);
                for _ in 0..*count % 100 {
                    if self.peek().is_none() {
                        break;
                    }
                    self.commit(*portion, *shape);
                }
                if *count >= LEFT_OPEN {
                    self.peek();
                }
            }
            Call::Poll(budget) => self.poll((*budget).into()),
            Call::Hold(why) => self.hold(why.hold()),
            Call::Stray(shape) => self.stray(*shape),
            Call::Unblock(leaf) => self.unblock(*leaf),
            Call::Wait(length) => {
                let later = self.now.saturating_add(Span::from_nanos(length.nanos()));
                self.now = later.min(END);
            }
            Call::Back(length) => {
                // The engine knows the time before it turns back.
                self.wake();
                self.now = self.now.saturating_sub(Span::from_nanos(length.nanos()));
            }
            Call::ToWake => self.sleep(),
            Call::Run(count) => {
                for _ in 0..*count % 32 {
                    self.poll(u32::MAX);
                    self.collect();
                    self.sleep();
                }
            }
            Call::Apply(tree) => self.apply(tree.config()),
            Call::Change(change) => match change.alone(self.tree.classes.len()) {
                Some(at) => self.retune(change, at),
                None => self.change(std::slice::from_ref(change)),
            },
            Call::Changes(changes) => self.change(changes),
        }
    }

    /// A leaf, or rarely a key that may be out of date.
    fn key(&self, number: u8) -> Option<LeafKey> {
        if number >= 0xe0 {
            let at = usize::from(number & 0x1f).checked_rem(self.keys.len())?;
            return self.keys.get(at).copied();
        }
        let leaves: Vec<_> = self.books.leaves().collect();
        let at = usize::from(number).checked_rem(leaves.len())?;
        Some(self.books.leaf(leaves[at]).key)
    }

    fn frame(&mut self, cargo: Cargo) -> Frame {
        self.tokens += 1;
        cargo.frame(self.tokens)
    }

    fn offer(&mut self, leaf: u8, count: u8, cargo: Cargo) {
        let Some(key) = self.key(leaf) else { return };
        for _ in 0..count {
            if self.books.frames() >= FRAMES {
                return;
            }
            let frame = self.frame(cargo);
            let offer = self.engine.offer(key, frame, self.now);
            self.offered(key, frame, offer);
        }
    }

    fn burst(&mut self, cargo: &[(u8, Cargo)]) {
        let mut burst = Vec::new();
        for (leaf, cargo) in cargo.iter().take(64) {
            if let Some(key) = self.key(*leaf)
                && self.books.frames() + burst.len() < FRAMES
            {
                burst.push((key, self.frame(*cargo)));
            }
        }
        if self.split {
            for (key, frame) in burst {
                let offer = self.engine.offer(key, frame, self.now);
                self.offered(key, frame, offer);
            }
            return;
        }
        let mut offers = vec![Offer::Queued; burst.len()];
        let mut last = None;
        self.engine.offer_burst(&burst, self.now, |at, offer| {
            assert!(last < Some(at), "told in order, and once each");
            assert_ne!(offer, Offer::Queued);
            (last, offers[at]) = (Some(at), offer);
        });
        for ((key, frame), offer) in burst.into_iter().zip(offers) {
            self.offered(key, frame, offer);
        }
    }

    /// What became of an offered frame must be something that can.
    fn offered(&mut self, key: LeafKey, frame: Frame, offer: Offer) {
        self.note([offer as u64]);
        let number = self.books.find(key);
        let open = number.filter(|&number| !self.books.drains(number));
        let Some(number) = open else {
            assert_eq!(offer, Offer::Gone, "a leaf that is no more");
            return;
        };
        match offer {
            Offer::Queued => self.books.queued(number, frame),
            Offer::Refused => self.books.refused(number),
            Offer::Gone => panic!("a leaf that is there"),
        }
        let leaf = self.books.leaf(number);
        match leaf.queue {
            LeafQueue::Hold => assert_eq!(offer, Offer::Refused),
            LeafQueue::Fifo { frames } => {
                // A limit may have been lowered below what waited already.
                let within = leaf.queued.len() <= frames as usize;
                assert!(offer == Offer::Refused || within, "too many frames");
            }
            LeafQueue::Flows(_) => {}
        }
    }

    fn backlogged(&mut self, key: LeafKey) {
        let found = self.engine.backlogged(key, self.now);
        let number = self.books.find(key);
        let held = number.filter(|&n| self.books.leaf(n).queue == LeafQueue::Hold);
        assert_eq!(found, held.is_some());
        if let Some(number) = held {
            self.books.leaf_mut(number).backlogged = true;
        }
    }

    /// Peeks, twice, at a frame that can be the next one.
    fn peek(&mut self) -> Option<Grant> {
        let grant = self.engine.peek(self.now);
        assert_eq!(self.engine.peek(self.now), grant, "peeked twice");
        self.seen = self.seen.max(self.now);
        let dropped = self.take_dropped();
        self.granted = None;
        let Some(grant) = grant else {
            self.write_off(&dropped);
            return None;
        };
        let number = self.books.find(grant.leaf).expect("a leaf that is there");
        self.granted = Some(Granted {
            grant,
            class: number,
            place: Place::Leaf,
            same_way: true,
        });
        assert!(self.books.leaf(number).may_go(), "it does not want to");
        assert_eq!(grant.framing, self.books.framing(number));
        assert!(grant.quantum > 0);
        match &grant.frame {
            Some(frame) => {
                assert!(grant.segments(frame.shape) >= 1);
                assert!(!grant.mark || frame.ecn.is_capable());
                self.books.head(number, frame);
                self.note([frame.token, frame.shape.len.into(), grant.mark.into()]);
            }
            None => {
                assert_eq!(self.books.leaf(number).queue, LeafQueue::Hold);
                let id = self.books.id(number);
                self.note([u64::from(id.minor) << 32]);
            }
        }
        self.write_off(&dropped);
        Some(grant)
    }

    /// Sends what was granted, if anything is.
    fn commit(&mut self, portion: Portion, other: Shape) {
        let Some(granted) = self.granted.take() else {
            return;
        };
        let (grant, number) = (granted.grant, granted.class);
        let whole = grant
            .frame
            .map_or_else(|| other.shape(), |frame| frame.shape);
        let segments = match portion {
            Portion::Whole => u32::MAX,
            Portion::Quantum => grant.segments(whole),
            Portion::Segments(segments) => segments.into(),
        };
        let part = whole.peel(segments).map_or(whole, |(part, _)| part);
        let done = self.engine.commit(part);
        self.books.charge(number, part, self.seen, granted.same_way);
        let token = grant.frame.map(|frame| frame.token);
        let ends = match granted.place {
            Place::Leaf => self.books.sent(number, token, part),
            Place::Caller => self.books.sent(number, None, part),
            Place::Dropped => false,
        };
        if grant.mark && granted.place == Place::Leaf {
            self.books.marked(number);
        }
        assert_eq!(done.is_some(), ends, "a frame that is the caller's again");
        assert!(done.is_none_or(|done| Some(done) == grant.frame));
    }

    /// Holds back what was granted, or what is granted now.
    fn hold(&mut self, why: Hold) {
        if self.granted.is_none() {
            self.peek();
        }
        let Some(granted) = self.granted.take() else {
            return;
        };
        self.engine.abort(why);
        if granted.place != Place::Leaf {
            return;
        }
        let leaf = self.books.leaf_mut(granted.class);
        match why {
            Hold::Empty if leaf.queue == LeafQueue::Hold => leaf.backlogged = false,
            Hold::Later | Hold::Empty => {}
            Hold::Blocked => leaf.blocked = true,
        }
    }

    /// Commits and holds back what was not granted, which is nothing.
    fn stray(&mut self, shape: Shape) {
        if self.granted.is_some() {
            self.hold(Hold::Later);
        }
        self.wake();
        let before = self.snapshot();
        assert_eq!(self.engine.commit(shape.shape()), None);
        self.engine.abort(Hold::Blocked);
        self.engine.abort(Hold::Empty);
        assert_eq!(self.snapshot(), before);
    }

    fn unblock(&mut self, leaf: u8) {
        let Some(key) = self.key(leaf) else { return };
        let found = self.engine.unblock(key, self.now);
        let number = self.books.find(key);
        assert_eq!(found, number.is_some());
        if let Some(number) = number {
            if self.books.leaf(number).blocked {
                self.seen = self.seen.max(self.now);
            }
            self.books.leaf_mut(number).blocked = false;
        }
    }

    fn poll(&mut self, budget: u32) {
        let mut out = vec![];
        self.granted = None;
        let wake = self.engine.poll(self.now, budget, &mut out);
        self.seen = self.seen.max(self.now);
        assert!(out.len() <= budget as usize, "over budget");
        let dropped = self.take_dropped();
        for departure in out {
            self.departed(&departure);
        }
        self.write_off(&dropped);
        assert_eq!(
            wake,
            self.wake(),
            "what a poll returns is when to come back"
        );
    }

    fn departed(&mut self, departure: &Departure) {
        let (token, part, left) = (departure.token, departure.shape, departure.left());
        self.note([token, part.len.into(), departure.is_marked().into()]);
        let number = self
            .books
            .find(departure.leaf)
            .expect("a leaf that is there");
        assert!(self.books.leaf(number).may_go(), "it does not want to");
        self.books.departs(number, token, part, left, self.seen);
        if departure.is_marked() {
            self.books.marked(number);
        }
    }

    fn collect(&mut self) {
        let dropped = self.take_dropped();
        self.write_off(&dropped);
    }

    fn take_dropped(&mut self) -> Vec<Frame> {
        let dropped: Vec<_> = std::iter::from_fn(|| self.engine.dropped()).collect();
        dropped
            .iter()
            .for_each(|frame| self.books.given_back(frame));
        dropped
    }

    fn write_off(&mut self, dropped: &[Frame]) {
        for frame in dropped {
            self.note([frame.token]);
            self.books.dropped(frame);
        }
    }

    fn wake(&mut self) -> Wake {
        let wake = self.engine.next_wake(self.now);
        self.seen = self.seen.max(self.now);
        wake
    }

    /// Sleeps as long as it may, and not a moment longer. Within what the wake was rounded up by, other
    /// timers may find that something can go already.
    fn sleep(&mut self) {
        let wake = self.wake();
        let Wake::At(at) = wake else { return };
        if at > END || self.granted.is_some() {
            return;
        }
        let before = at.saturating_sub(Span::from_nanos(GRAIN));
        if before > self.seen {
            self.now = before;
            assert!(self.peek().is_none(), "something goes before the wake");
        }
        self.now = at;
        assert!(self.peek().is_some(), "a wake at which nothing goes");
    }

    fn apply(&mut self, tree: TreeConfig) {
        let wake = self.wake();
        let before = self.snapshot();
        match (self.engine.apply(&tree, self.now), tree.check()) {
            (Ok(diff), Ok(())) => {
                self.seen = self.seen.max(self.now);
                let granted = self.granted.take();
                let granted = granted.map(|granted| (self.books.way(granted.class), granted));
                let keys = self
                    .books
                    .apply(&tree, &self.engine, Some(&diff), self.seen);
                let known: BTreeSet<_> = self.keys.iter().copied().collect();
                self.keys
                    .extend(keys.into_iter().filter(|key| !known.contains(key)));
                self.tree = tree;
                self.granted = granted.and_then(|(way, granted)| self.follow(&way, granted, &diff));
            }
            (Err(one), Err(other)) => {
                assert_eq!(one, other);
                explains(&one);
                assert_eq!(self.snapshot(), before, "a refused tree");
                assert_eq!(self.wake(), wake, "a refused tree");
            }
            _ => panic!("the check and the engine differ"),
        }
    }

    /// What becomes of a grant by another tree; its class was on this way to the root.
    fn follow(&self, way: &[Number], granted: Granted, diff: &Diff) -> Option<Granted> {
        let class = *way.iter().find(|number| self.books.is_there(**number))?;
        let token = granted.grant.frame.map(|frame| frame.token);
        let stays = self.books.find(granted.grant.leaf) == Some(class)
            && (self.books.leaf(class).queue == LeafQueue::Hold) == token.is_none();
        let place = match granted.place {
            _ if token.is_some_and(|token| diff.dropped.contains(&token)) => Place::Dropped,
            Place::Leaf if !stays => Place::Caller,
            place => place,
        };
        Some(Granted {
            class,
            place,
            same_way: false,
            ..granted
        })
    }

    fn change(&mut self, changes: &[Change]) {
        let mut tree = self.tree.clone();
        for change in changes.iter().take(8) {
            if tree.classes.is_empty() {
                break;
            }
            change.make(&mut tree);
        }
        self.apply(tree);
    }

    /// Changes the class at this place alone.
    fn retune(&mut self, change: &Change, at: usize) {
        let mut tree = self.tree.clone();
        change.make(&mut tree);
        let (wake, before) = (self.wake(), self.snapshot());
        match self.engine.retune(&tree.classes[at], self.now) {
            Ok(()) => {
                assert_eq!(tree.check(), Ok(()), "a change that makes a tree refused");
                self.seen = self.seen.max(self.now);
                self.books.retune(&tree, at, &self.engine, self.seen);
                self.tree = tree;
            }
            Err(error) => {
                explains(&error);
                assert_eq!(self.snapshot(), before, "a refused change");
                assert_eq!(self.wake(), wake, "a refused change");
            }
        }
    }

    fn snapshot(&mut self) -> Vec<ClassSnapshot> {
        self.engine.snapshot()
    }

    /// The books agree, whoever waits and may go has a wake, and nobody is woken for nothing.
    fn check(&mut self) {
        let wake = self.wake();
        if self.granted.is_some() {
            let snapshot = self.snapshot();
            return self.books.check(&snapshot);
        }
        let grant = self.peek();
        if grant.is_some() {
            self.hold(Hold::Later);
        }
        self.collect();
        match wake {
            Wake::Now => assert!(grant.is_some(), "woken for nothing"),
            Wake::At(at) => {
                assert!(at > self.seen, "a wake that has passed");
                assert!(grant.is_none(), "it could have gone now");
                assert!(self.books.may_go(), "a wake for nobody");
            }
            Wake::Idle => {
                assert!(grant.is_none(), "it could have gone now");
                assert!(!self.books.may_go(), "somebody waits, and no wake comes");
            }
        }
        self.note([match wake {
            Wake::Now => 0,
            Wake::Idle => 1,
            Wake::At(at) => at.as_nanos(),
        }]);
        let snapshot = self.snapshot();
        self.books.check(&snapshot);
    }
}

fn explains(error: &TreeError) {
    assert!(error.to_string().len() > 10, "an error that says nothing");
}
