use crate::class::{ClassConfig, ClassId, FlowsConfig, LeafQueue, TreeConfig};
use crate::engine::{ClassStats, Ecn, Engine, Frame, LeafKey, Offer, Wake};
use crate::time::Time;
use crate::wire::{FrameShape, Framing};

mod law;
mod parts;
mod room;
mod sets;
mod turns;

use super::NONE;

const FULL: FrameShape = FrameShape::single(1514);
const MS: u64 = 1_000_000;

/// A linear congruential generator: the same numbers everywhere.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
        (self.0 >> 33) % bound
    }
}

/// One leaf of flows below a link.
struct Link {
    engine: Engine,
    leaf: LeafKey,
    now: u64,
    tokens: u64,
}

impl Link {
    fn new(rate: &str, flows: FlowsConfig) -> Self {
        Self::with(flows, |leaf| {
            let root = ClassConfig::new(ClassId::new(1, 0)).ceil(rate.parse().unwrap());
            TreeConfig::new(vec![root, leaf])
        })
    }

    fn with(flows: FlowsConfig, tree: impl FnOnce(ClassConfig) -> TreeConfig) -> Self {
        let (root, leaf) = (ClassId::new(1, 0), ClassId::new(1, 1));
        let child = ClassConfig::new(leaf).parent(root);
        let tree = tree(child.queue(LeafQueue::Flows(flows)));
        let engine = Engine::new(&tree).unwrap();
        Self {
            leaf: engine.leaf(leaf).unwrap(),
            engine,
            now: 1000 * MS,
            tokens: 0,
        }
    }

    fn offer(&mut self, flow: u32, ecn: bool) -> Offer {
        self.tokens += 1;
        let ecn = if ecn { Ecn::Ect0 } else { Ecn::NotEct };
        let frame = Frame::new(self.tokens, FULL).flow(flow << 26).ecn(ecn);
        self.engine
            .offer(self.leaf, frame, Time::from_nanos(self.now))
    }

    /// Sends what may go now: flow and mark of each.
    fn send(&mut self) -> Vec<(u32, bool)> {
        let mut sent = Vec::new();
        while let Some(grant) = self.engine.peek(Time::from_nanos(self.now)) {
            let frame = grant.frame.unwrap();
            assert_eq!(self.engine.commit(frame.shape), Some(frame));
            sent.push((frame.flow >> 26, grant.mark));
        }
        sent
    }

    fn next(&mut self) {
        if let Wake::At(at) = self.engine.next_wake(Time::from_nanos(self.now)) {
            self.now = at.ceil_nanos();
        }
    }

    fn stats(&mut self) -> ClassStats {
        let snapshot = self.engine.snapshot();
        let stats = snapshot[0].stats;
        let queued = snapshot[0].queued;
        assert_eq!(
            stats.offered.frames,
            stats.sent.frames + stats.dropped.frames + queued
        );
        stats
    }
}

/// Offers twice what the link carries, for a second; returns marks seen and the longest queue.
fn overload(link: &mut Link, ecn: bool) -> (usize, u64) {
    let (mut marks, mut longest) = (0, 0);
    for _ in 0..1650 {
        // At 10 Mbit/s a frame takes 1.23 ms.
        link.now += 615_000;
        let _ = link.offer(1, ecn);
        marks += link.send().iter().filter(|(_, mark)| *mark).count();
        longest = longest.max(link.engine.snapshot()[1].queued);
        while link.engine.dropped().is_some() {}
    }
    (marks, longest)
}

#[test]
fn a_sparse_flow_does_not_wait_behind_a_bulky_one() {
    let mut link = Link::new("10mbit", FlowsConfig::default());
    for _ in 0..200 {
        assert_eq!(link.offer(1, false), Offer::Queued);
    }
    link.send();
    for _ in 0..20 {
        link.next();
        assert_eq!(link.offer(2, false), Offer::Queued);
        let sent = link.send();
        assert_eq!(sent.first(), Some(&(2, false)), "{sent:?}");
        link.next();
        link.send();
    }
}

#[test]
fn bulky_flows_share_by_bytes() {
    let mut link = Link::new("10mbit", FlowsConfig::default());
    for n in 0..300 {
        assert_eq!(link.offer(n % 3, false), Offer::Queued);
    }
    let mut sent = [0_i32; 3];
    for _ in 0..60 {
        for (flow, _) in link.send() {
            sent[flow as usize] += 1;
        }
        link.next();
    }
    assert!(
        sent.iter().all(|count| (count - sent[0]).abs() <= 1),
        "{sent:?}"
    );
}

#[test]
fn a_standing_queue_is_dropped_from_and_each_frame_given_back_once() {
    let mut link = Link::new("10mbit", FlowsConfig::default());
    for _ in 0..400 {
        assert_eq!(link.offer(1, false), Offer::Queued);
    }
    let (mut sent, mut back) = (0, Vec::new());
    while link.engine.snapshot()[0].queued > 0 {
        sent += link.send().len();
        back.extend(std::iter::from_fn(|| link.engine.dropped()).map(|frame| frame.token));
        link.next();
    }
    assert!(back.len() > 3, "{} dropped", back.len());
    assert_eq!(sent + back.len(), 400);
    back.sort_unstable();
    back.dedup();
    let stats = link.stats();
    assert_eq!(back.len() as u64, stats.dropped.frames);
}

#[test]
fn nothing_is_dropped_or_marked_within_the_first_interval() {
    let mut link = Link::new("10mbit", FlowsConfig::default());
    for _ in 0..60 {
        assert_eq!(link.offer(1, true), Offer::Queued);
    }
    let end = link.now + 99 * MS;
    let mut sent = Vec::new();
    while link.now < end && link.engine.snapshot()[0].queued > 0 {
        sent.extend(link.send());
        link.next();
    }
    assert!(sent.iter().all(|(_, mark)| !mark));
    assert_eq!(link.stats().dropped.frames, 0);
}

#[test]
fn frames_that_can_be_marked_are_marked_and_never_dropped() {
    let mut link = Link::new("10mbit", FlowsConfig::default());
    let (marks, _) = overload(&mut link, true);
    let stats = link.stats();
    assert!(marks > 3, "{marks}");
    assert_eq!((marks as u64, stats.dropped.frames), (stats.marked, 0));
}

#[test]
fn a_step_threshold_marks_at_once() {
    let flows = FlowsConfig {
        ce_threshold_nanos: Some(MS),
        ..FlowsConfig::default()
    };
    let mut link = Link::new("10mbit", flows);
    for _ in 0..10 {
        assert_eq!(link.offer(1, true), Offer::Queued);
    }
    let mut sent = Vec::new();
    while sent.len() < 10 {
        sent.extend(link.send());
        link.next();
    }
    assert!(!sent[0].1 && sent[9].1, "{sent:?}");
}

#[test]
fn a_full_queue_takes_from_the_flow_that_has_most() {
    let flows = FlowsConfig {
        frames: 20,
        ..FlowsConfig::default()
    };
    let mut link = Link::new("10mbit", flows);
    for _ in 0..19 {
        assert_eq!(link.offer(1, false), Offer::Queued);
    }
    for _ in 0..5 {
        assert_eq!(link.offer(2, false), Offer::Queued);
    }
    let dropped: Vec<u64> = std::iter::from_fn(|| link.engine.dropped())
        .map(|f| f.token)
        .collect();
    assert_eq!(dropped.len(), 4);
    assert!(
        dropped.iter().all(|&token| token <= 19),
        "the flood's own, oldest first"
    );
    assert_eq!(link.stats().refused, 0);
}

#[test]
fn an_endless_overload_stays_within_the_cap_and_conserves_frames() {
    let flows = FlowsConfig {
        frames: 50,
        ..FlowsConfig::default()
    };
    let mut link = Link::new("10mbit", flows);
    let (_, longest) = overload(&mut link, false);
    assert!(longest <= 50);
    let stats = link.stats();
    assert!(
        stats.dropped.frames > 100 && stats.sent.frames > 700,
        "{stats:?}"
    );
}

#[test]
fn a_new_tree_keeps_the_flows_and_their_frames() {
    let mut link = Link::new("10mbit", FlowsConfig::default());
    for flow in 0..30 {
        assert_eq!(link.offer(flow, false), Offer::Queued);
    }
    let tree = |queue| {
        let root = ClassConfig::new(ClassId::new(1, 0)).ceil("20mbit".parse().unwrap());
        let leaf = ClassConfig::new(ClassId::new(1, 1)).parent(ClassId::new(1, 0));
        TreeConfig::new(vec![root, leaf.queue(queue)])
    };
    let now = Time::from_nanos(link.now);
    let flows = LeafQueue::Flows(FlowsConfig {
        frames: 99,
        ..FlowsConfig::default()
    });
    assert_eq!(link.engine.apply(&tree(flows), now).unwrap().dropped, []);
    let fifo = LeafQueue::Fifo { frames: 10 };
    let dropped = link.engine.apply(&tree(fifo), now).unwrap().dropped;
    assert_eq!(dropped.len(), 30);
    assert_eq!(link.stats().dropped.frames, 30);
}
