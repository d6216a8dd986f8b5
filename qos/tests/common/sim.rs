//! A link in virtual time: sources feed an engine's leaves, and whatever the engine grants goes.

use std::collections::BTreeMap;

use qos::{
    ClassConfig, ClassId, Engine, FrameShape, Framing, Hold, LeafKey, Rate, Span, Time, TreeConfig,
    Wake,
};

use super::Rng;

/// Class `major:minor`.
pub(crate) fn id(major: u16, minor: u16) -> ClassId {
    ClassId::new(major, minor)
}

pub(crate) fn rate(text: &str) -> Rate {
    text.parse().unwrap()
}

/// Root 1:0 with this rate and ceil, and these classes.
pub(crate) fn tree(link: &str, classes: Vec<ClassConfig>) -> TreeConfig {
    let root = ClassConfig::new(id(1, 0)).rate(rate(link)).ceil(rate(link));
    TreeConfig::new([vec![root], classes].concat())
}

/// A child of the root.
pub(crate) fn child(minor: u16) -> ClassConfig {
    ClassConfig::new(id(1, minor)).parent(id(1, 0))
}

/// What a source sends.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Shapes {
    /// Always the same.
    One(FrameShape),
    /// 60 B to 64 KB.
    Mixed,
}

/// A super-frame of 45 segments.
pub(crate) const SUPER: FrameShape = FrameShape {
    len: 66 + 45 * 1448,
    headers: 66,
    gso_size: 1448,
};

/// A full-size frame.
pub(crate) const FULL: FrameShape = FrameShape::single(1514);

/// A minimum frame.
pub(crate) const TINY: FrameShape = FrameShape::single(60);

/// When a source has something to send.
#[derive(Clone, Copy, Debug)]
pub(crate) enum When {
    Always,
    /// A frame every so many nanoseconds.
    Every(u64),
    Never,
    /// Always, but only in every other period of so many nanoseconds.
    OnOff(u64),
}

#[derive(Debug)]
struct Source {
    leaf: LeafKey,
    shapes: Shapes,
    when: When,
    /// Arrivals taken so far, and those sent: for `Every`.
    arrived: u64,
    gone: u64,
    /// What is left of a peeled head.
    rest: Option<FrameShape>,
    /// The longest that a frame waited, in nanoseconds: for `Every`.
    waited: u64,
}

impl Source {
    fn due(&self, now: u64) -> bool {
        match self.when {
            When::Always => true,
            When::Never => false,
            When::Every(period) => now / period > self.gone,
            When::OnOff(period) => (now / period).is_multiple_of(2),
        }
    }

    fn next_arrival(&self, now: u64) -> u64 {
        match self.when {
            When::Always | When::Never => u64::MAX,
            When::Every(period) | When::OnOff(period) => (now / period + 1) * period,
        }
    }
}

/// One frame that went.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sent {
    pub(crate) at: Time,
    pub(crate) id: ClassId,
    pub(crate) wire: u64,
}

pub(crate) struct Sim {
    pub(crate) engine: Engine,
    sources: BTreeMap<ClassId, Source>,
    pub(crate) now: Time,
    pub(crate) rng: Rng,
    /// Peel as the engine asks.
    pub(crate) peel: bool,
    /// Wire bytes by leaf.
    pub(crate) sent: BTreeMap<ClassId, u64>,
    names: BTreeMap<LeafKey, ClassId>,
}

impl Sim {
    pub(crate) fn new(tree: &TreeConfig) -> Self {
        Self {
            engine: Engine::new(tree).unwrap(),
            sources: BTreeMap::new(),
            now: Time::from_nanos(1_000_000_000),
            rng: Rng(9),
            peel: false,
            sent: BTreeMap::new(),
            names: BTreeMap::new(),
        }
    }

    pub(crate) fn source(&mut self, id: ClassId, shapes: Shapes, when: When) {
        let leaf = self.engine.leaf(id).unwrap();
        self.names.insert(leaf, id);
        let gone = match when {
            When::Every(period) => self.now.as_nanos() / period,
            _ => 0,
        };
        let source = Source {
            leaf,
            shapes,
            when,
            arrived: gone,
            gone,
            rest: None,
            waited: 0,
        };
        self.sources.insert(id, source);
        self.sent.insert(id, 0);
    }

    pub(crate) fn greedy(&mut self, id: ClassId, shape: FrameShape) {
        self.source(id, Shapes::One(shape), When::Always);
    }

    pub(crate) fn waited(&self, id: ClassId) -> u64 {
        self.sources[&id].waited
    }

    /// Runs for `nanos`; `each` sees every frame.
    pub(crate) fn run_with(&mut self, nanos: u64, mut each: impl FnMut(Sent)) {
        let end = self.now.saturating_add(Span::from_nanos(nanos));
        while self.now < end {
            let next = self.arrivals();
            while let Some(sent) = self.step() {
                each(sent);
            }
            let next = match self.engine.next_wake(self.now) {
                Wake::Now => continue,
                Wake::At(at) => {
                    assert!(at > self.now, "a wake that is not in the future");
                    Time::from_nanos(at.ceil_nanos()).min(next)
                }
                Wake::Idle => next,
            };
            assert!(next < Time::MAX, "nothing will ever happen");
            self.now = next;
        }
    }

    pub(crate) fn run(&mut self, nanos: u64) {
        self.run_with(nanos, |_| ());
    }

    /// Says who has something; returns when somebody will next.
    fn arrivals(&mut self) -> Time {
        let now = self.now.as_nanos();
        let mut next = u64::MAX;
        for source in self.sources.values_mut() {
            if source.due(now) {
                source.arrived += 1;
                self.engine.backlogged(source.leaf, self.now);
            }
            next = next.min(source.next_arrival(now));
        }
        Time::from_nanos(next)
    }

    /// Sends one frame, if one may go.
    pub(crate) fn step(&mut self) -> Option<Sent> {
        loop {
            let grant = self.engine.peek(self.now)?;
            assert_eq!(
                self.engine.peek(self.now),
                Some(grant),
                "peeking changed something"
            );
            let id = self.names[&grant.leaf];
            let source = self.sources.get_mut(&id).unwrap();
            if source.rest.is_none() && !source.due(self.now.as_nanos()) {
                self.engine.abort(Hold::Empty);
                continue;
            }
            let fresh = || match source.shapes {
                Shapes::One(shape) => shape,
                Shapes::Mixed => mixed(&mut self.rng),
            };
            let head = source.rest.take().unwrap_or_else(fresh);
            let mut part = head;
            if self.peel
                && let Some((first, rest)) = head.peel(grant.segments(head))
            {
                (part, source.rest) = (first, Some(rest));
            }
            if let When::Every(period) = source.when {
                source.gone += 1;
                let arrival = source.gone * period;
                source.waited = source
                    .waited
                    .max(self.now.as_nanos().saturating_sub(arrival));
            }
            self.engine.commit(part);
            let wire = Framing::ETHERNET.cost(part).wire_bytes;
            *self.sent.get_mut(&id).unwrap() += wire;
            return Some(Sent {
                at: self.now,
                id,
                wire,
            });
        }
    }

    /// Bytes that each leaf sent during the next `nanos`.
    pub(crate) fn measure(&mut self, nanos: u64) -> BTreeMap<ClassId, u64> {
        let before = self.sent.clone();
        self.run(nanos);
        let sent = self.sent.iter();
        sent.map(|(&id, &bytes)| (id, bytes - before[&id]))
            .collect()
    }
}

/// A frame or super-frame of 60 B to 64 KB.
pub(crate) fn mixed(rng: &mut Rng) -> FrameShape {
    match rng.below(3) {
        0 => TINY,
        1 => FrameShape::single(60 + u32::try_from(rng.below(1455)).unwrap()),
        _ => FrameShape {
            len: 1515 + u32::try_from(rng.below(64_000)).unwrap(),
            ..SUPER
        },
    }
}
