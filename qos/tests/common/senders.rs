//! Senders that slow down when they hear of loss or marks, one round trip later, and share a leaf of
//! flows with a flow that sends little.
#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss
)] // windows and bytes of a short run

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

use qos::{
    ClassConfig, ClassId, Ecn, Engine, FlowsConfig, Frame, FrameShape, LeafKey, LeafQueue, Offer,
    Time, TreeConfig, Wake,
};

pub(crate) const MS: u64 = 1_000_000;
const SECOND: u64 = 1000 * MS;
/// Payload of a full segment, and the headers of each.
const MSS: u32 = 1448;
const HEADERS: u32 = 66;
/// The flow that sends little.
const SPARSE: usize = usize::MAX;

/// How a sender answers congestion.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Kind {
    /// Halves its window once per round trip, for a loss or a mark (RFC 5681, RFC 3168).
    Reno { ecn: bool },
    /// Lowers its window in proportion to the marks it sees (RFC 8257).
    Dctcp,
}

#[derive(Debug)]
pub(crate) struct Sender {
    kind: Kind,
    window: f64,
    in_flight: u32,
    slow_start: bool,
    /// DCTCP's estimate of how many are marked, and what the present round saw: all, marked.
    alpha: f64,
    seen: (u32, u32),
    round_ends: u64,
    pub(crate) delivered: u64,
}

impl Sender {
    fn new(kind: Kind) -> Self {
        Self {
            kind,
            window: 10.0,
            in_flight: 0,
            slow_start: true,
            alpha: 1.0,
            seen: (0, 0),
            round_ends: 0,
            delivered: 0,
        }
    }

    fn ecn(&self) -> Ecn {
        match self.kind {
            Kind::Reno { ecn: false } => Ecn::NotEct,
            Kind::Reno { ecn: true } => Ecn::Ect0,
            Kind::Dctcp => Ecn::Ect1,
        }
    }

    /// Hears what became of segments it sent.
    fn hear(&mut self, news: &News, now: u64, rtt: u64) {
        self.in_flight -= news.segments;
        self.seen.0 += news.segments;
        let congested = news.lost || news.marked;
        self.seen.1 += if congested { news.segments } else { 0 };
        self.slow_start &= !congested;
        if !congested {
            let more = f64::from(news.segments);
            self.window += if self.slow_start {
                more
            } else {
                more / self.window
            };
        }
        let round_over = now >= self.round_ends;
        match self.kind {
            _ if !round_over => {}
            Kind::Dctcp if !news.lost => {
                let marked = f64::from(self.seen.1) / f64::from(self.seen.0.max(1));
                self.alpha += (marked - self.alpha) / 16.0;
                if self.seen.1 > 0 {
                    self.window *= 1.0 - self.alpha / 2.0;
                }
                (self.seen, self.round_ends) = ((0, 0), now + rtt);
            }
            _ if congested => {
                self.window /= 2.0;
                self.round_ends = now + rtt;
            }
            _ => {}
        }
        self.window = self.window.max(2.0);
    }
}

/// What a sender is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct News {
    sender: usize,
    segments: u32,
    lost: bool,
    marked: bool,
}

pub(crate) struct World {
    pub(crate) engine: Engine,
    leaf: LeafKey,
    now: u64,
    rtt: u64,
    pub(crate) senders: Vec<Sender>,
    /// Segments of one super-frame at most.
    burst: u32,
    news: BinaryHeap<Reverse<(u64, News)>>,
    /// Sender, segments not yet accounted for and time of every frame that waits.
    waiting: BTreeMap<u64, (usize, u32, u64)>,
    tokens: u64,
    wire_bytes: u64,
    delays: Vec<u64>,
}

fn segments(shape: FrameShape) -> u32 {
    (shape.len - shape.headers).div_ceil(MSS)
}

impl World {
    pub(crate) fn new(rate: &str, rtt: u64, flows: FlowsConfig, kinds: &[Kind]) -> Self {
        Self::with_sets(rate, rtt, flows, kinds, 1)
    }

    pub(crate) fn with_sets(
        rate: &str,
        rtt: u64,
        flows: FlowsConfig,
        kinds: &[Kind],
        flow_sets: u32,
    ) -> Self {
        let (root, leaf) = (ClassId::new(1, 0), ClassId::new(1, 1));
        let classes = vec![
            ClassConfig::new(root).ceil(rate.parse().unwrap()),
            ClassConfig::new(leaf)
                .parent(root)
                .queue(LeafQueue::Flows(flows)),
        ];
        let tree = TreeConfig {
            flow_sets,
            ..TreeConfig::new(classes)
        };
        let engine = Engine::new(&tree).unwrap();
        Self {
            leaf: engine.leaf(leaf).unwrap(),
            engine,
            now: SECOND,
            rtt,
            senders: kinds.iter().copied().map(Sender::new).collect(),
            burst: 44,
            news: BinaryHeap::new(),
            waiting: BTreeMap::new(),
            tokens: 0,
            wire_bytes: 0,
            delays: Vec::new(),
        }
    }

    fn tell(&mut self, sender: usize, segments: u32, lost: bool, marked: bool) {
        if sender != SPARSE && segments > 0 {
            let news = News {
                sender,
                segments,
                lost,
                marked,
            };
            self.news.push(Reverse((self.now + self.rtt, news)));
        }
    }

    fn offer(&mut self, sender: usize, flow: u32, shape: FrameShape, ecn: Ecn) {
        self.tokens += 1;
        let frame = Frame::new(self.tokens, shape).flow(flow << 26).ecn(ecn);
        let segments = segments(shape);
        match self
            .engine
            .offer(self.leaf, frame, Time::from_nanos(self.now))
        {
            Offer::Queued => {
                self.waiting
                    .insert(self.tokens, (sender, segments, self.now));
            }
            _ => self.tell(sender, segments, true, false),
        }
    }

    /// Lets senders hear what is due, and send what they may.
    fn senders_turn(&mut self) {
        while let Some(&Reverse((at, news))) = self.news.peek()
            && at <= self.now
        {
            self.news.pop();
            let sender = &mut self.senders[news.sender];
            sender.hear(&news, at, self.rtt);
        }
        for at in 0..self.senders.len() {
            loop {
                let sender = &mut self.senders[at];
                let room = (sender.window as u32).saturating_sub(sender.in_flight);
                // A quarter of the window at a time, as TCP sizes its super-frames.
                let burst = (sender.window as u32 / 4).clamp(1, self.burst);
                if room < burst {
                    break;
                }
                sender.in_flight += burst;
                let ecn = sender.ecn();
                let shape = FrameShape {
                    len: HEADERS + burst * MSS,
                    headers: HEADERS,
                    gso_size: MSS,
                };
                self.offer(at, u32::try_from(at).unwrap(), shape, ecn);
            }
        }
    }

    /// Sends what may go now, and takes back what was dropped.
    fn link_turn(&mut self) {
        while let Some(grant) = self.engine.peek(Time::from_nanos(self.now)) {
            let head = grant.frame.unwrap();
            let (sender, left, since) = self.waiting[&head.token];
            // What is not there any more was dropped off the front.
            let cut = left - segments(head.shape);
            self.tell(sender, cut, true, false);
            let part = head.shape.peel(grant.segments(head.shape));
            let part = part.map_or(head.shape, |(part, _)| part);
            let done = self.engine.commit(part);
            let gone = segments(part);
            self.wire_bytes += grant.framing.cost(part).wire_bytes;
            self.tell(sender, gone, false, grant.mark);
            match sender {
                SPARSE => self.delays.push(self.now - since),
                sender => self.senders[sender].delivered += u64::from(gone),
            }
            if done.is_some() {
                assert_eq!(gone, segments(head.shape), "all of it");
                self.waiting.remove(&head.token);
            } else {
                let left = left - cut - gone;
                self.waiting.insert(head.token, (sender, left, since));
            }
        }
        while let Some(frame) = self.engine.dropped() {
            let (sender, left, _) = self.waiting.remove(&frame.token).unwrap();
            self.tell(sender, left, true, false);
        }
    }

    fn run(&mut self, until: u64) {
        let mut next_sparse = self.now;
        while self.now < until {
            self.senders_turn();
            if self.now >= next_sparse {
                self.offer(SPARSE, 63, FrameShape::single(200), Ecn::NotEct);
                next_sparse = self.now + 7 * MS;
            }
            self.link_turn();
            let mut next = next_sparse;
            if let Wake::At(at) = self.engine.next_wake(Time::from_nanos(self.now)) {
                next = next.min(at.ceil_nanos());
            }
            if let Some(&Reverse((at, _))) = self.news.peek() {
                next = next.min(at);
            }
            self.now = next.max(self.now + 1);
        }
    }

    /// The share of the link that was used, and the 99th percentile of the sparse flow's delay in
    /// nanoseconds, over eight seconds after two.
    pub(crate) fn measure(&mut self, rate: u64) -> (f64, u64) {
        self.run(3 * SECOND);
        (self.wire_bytes, self.delays) = (0, Vec::new());
        for sender in &mut self.senders {
            sender.delivered = 0;
        }
        self.run(11 * SECOND);
        self.delays.sort_unstable();
        let p99 = self.delays[self.delays.len() * 99 / 100];
        // Bytes times eight, in eight seconds.
        (self.wire_bytes as f64 / rate as f64, p99)
    }
}
