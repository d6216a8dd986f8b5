//! Admission: every tree that cannot run is refused with a message that names the class, and the
//! running one goes on as if nothing had been asked.
#![allow(clippy::unwrap_used)] // in helpers, too, a panic is a failed test

mod common;

use common::Rng;
use common::sim::{child, id, mixed, rate, tree};
use qos::{
    Burst, ClassConfig, Engine, FlowsConfig, Frame, LeafKey, LeafQueue, Offer, PacketBurst, Span,
    Time, TreeConfig, Wake,
};

fn with(mut class: ClassConfig, set: impl FnOnce(&mut ClassConfig)) -> ClassConfig {
    set(&mut class);
    class
}

/// The tree that runs: a guarantee, a ceiling, queues of every kind.
fn running() -> TreeConfig {
    let flows = LeafQueue::Flows(FlowsConfig::default());
    let leaf = |minor| ClassConfig::new(id(1, minor)).parent(id(1, 1));
    let classes = vec![
        child(1).rate(rate("40mbit")).ceil(rate("80mbit")),
        leaf(2)
            .rate(rate("20mbit"))
            .queue(LeafQueue::Fifo { frames: 50 }),
        leaf(3).ceil(rate("30mbit")).queue(flows),
        child(4).prio(1).queue(LeafQueue::Fifo { frames: 50 }),
    ];
    tree("100mbit", classes)
}

/// The running tree with these classes, one of which is wrong, instead of its own.
fn wrong(classes: Vec<ClassConfig>) -> TreeConfig {
    tree("100mbit", classes)
}

/// What is wrong, the tree, and what the message must say.
fn table() -> Vec<(&'static str, TreeConfig, &'static str)> {
    let small = Burst::Bytes(1537);
    let chain = (1..9).map(|n| ClassConfig::new(id(1, n)).parent(id(1, n - 1)));
    let mut no_link = TreeConfig::new(vec![ClassConfig::new(id(1, 0)), child(1)]);
    no_link.segment_nanos = Some(100);
    vec![
        ("no root", TreeConfig::new(vec![child(1)]), "root"),
        ("no class", TreeConfig::default(), "root"),
        (
            "second root",
            wrong(vec![child(1), ClassConfig::new(id(1, 7))]),
            "1:7",
        ),
        (
            "duplicate",
            wrong(vec![child(7), child(2), child(7)]),
            "1:7",
        ),
        ("orphan", wrong(vec![child(7).parent(id(1, 9))]), "1:7"),
        ("own parent", wrong(vec![child(7).parent(id(1, 7))]), "1:7"),
        (
            "cycle",
            wrong(vec![
                child(1),
                child(7).parent(id(1, 8)),
                child(8).parent(id(1, 7)),
            ]),
            "1:7",
        ),
        ("too deep", wrong(chain.collect()), "1:8"),
        (
            "zero weight",
            wrong(vec![child(1), child(7).weight(0)]),
            "1:7",
        ),
        (
            "zero quantum",
            wrong(vec![with(child(7), |c| c.quantum = Some(0))]),
            "1:7",
        ),
        ("fifth priority", wrong(vec![child(7).prio(4)]), "1:7"),
        (
            "ceil below rate",
            wrong(vec![child(7).rate(rate("20mbit")).ceil(rate("19mbit"))]),
            "1:7",
        ),
        (
            "guarantees above the root",
            wrong(vec![
                child(1).rate(rate("60mbit")),
                child(2).rate(rate("41mbit")),
            ]),
            "1:0",
        ),
        (
            "guarantees above the parent",
            wrong(vec![
                child(7).rate(rate("10mbit")),
                child(2).parent(id(1, 7)).rate(rate("11mbit")),
            ]),
            "1:7",
        ),
        (
            "a guarantee below a class without one",
            wrong(vec![
                child(7),
                child(2).parent(id(1, 7)).rate(rate("1mbit")),
            ]),
            "1:7",
        ),
        (
            "burst below a frame",
            wrong(vec![with(child(7).rate(rate("1mbit")), |c| {
                c.burst = small
            })]),
            "1:7",
        ),
        (
            "cburst below a frame",
            wrong(vec![with(child(7).ceil(rate("1mbit")), |c| {
                c.cburst = small
            })]),
            "1:7",
        ),
        (
            "burst that is too short",
            wrong(vec![with(child(7).ceil(rate("1mbit")), |c| {
                c.cburst = Burst::Duration(1_000_000)
            })]),
            "1:7",
        ),
        (
            "packet burst below a segment",
            wrong(vec![with(child(7), |c| {
                c.pps = "1kpps".parse().ok();
                c.pps_burst = PacketBurst::Duration(500_000);
            })]),
            "1:7",
        ),
        (
            "pace without ceil",
            wrong(vec![with(child(7), |c| c.pace = true)]),
            "1:7",
        ),
        (
            "queue on a parent",
            wrong(vec![
                child(7).queue(LeafQueue::Fifo { frames: 1 }),
                child(2).parent(id(1, 7)),
            ]),
            "1:7",
        ),
        (
            "queue for nothing",
            wrong(vec![child(7).queue(LeafQueue::Fifo { frames: 0 })]),
            "1:7",
        ),
        (
            "no buckets",
            wrong(vec![child(7).queue(LeafQueue::Flows(FlowsConfig {
                buckets: 0,
                ..FlowsConfig::default()
            }))]),
            "1:7",
        ),
        ("segment time without a link", no_link, "1:0"),
    ]
}

/// One of two engines that are treated alike.
struct Twin {
    engine: Engine,
    leaves: Vec<LeafKey>,
    rng: Rng,
    now: Time,
}

impl Twin {
    fn new() -> Self {
        let engine = Engine::new(&running()).unwrap();
        let leaves = [2, 3, 4].map(|minor| engine.leaf(id(1, minor)).unwrap());
        Self {
            engine,
            leaves: leaves.into(),
            rng: Rng(21),
            now: Time::from_nanos(1 << 31),
        }
    }

    /// Some traffic; returns who sent what, and the next wake.
    fn step(&mut self) -> (Vec<(LeafKey, u64)>, Wake) {
        for leaf in self.leaves.clone() {
            let mut frame = Frame::new(self.rng.bits(), mixed(&mut self.rng));
            frame.flow = (frame.token >> 32) as u32;
            assert_ne!(self.engine.offer(leaf, frame, self.now), Offer::Gone);
        }
        let mut sent = Vec::new();
        for _ in 0..self.rng.below(6) {
            let Some(grant) = self.engine.peek(self.now) else {
                break;
            };
            let frame = grant.frame.unwrap();
            self.engine.commit(frame.shape);
            sent.push((grant.leaf, frame.token));
        }
        let wake = self.engine.next_wake(self.now);
        let pause = Span::from_nanos(self.rng.below(2_000_000));
        self.now = self.now.saturating_add(pause);
        (sent, wake)
    }
}

#[test]
fn every_tree_that_cannot_run_is_refused_by_name_and_changes_nothing() {
    let (mut asked, mut left) = (Twin::new(), Twin::new());
    for _ in 0..5 {
        for (what, tree, says) in table() {
            assert_eq!(asked.step(), left.step(), "before {what}");
            // Refused amid a visit, too: it was granted and is still to be committed.
            let open = asked.engine.peek(asked.now);
            assert_eq!(open, left.engine.peek(left.now));
            let error = asked.engine.apply(&tree, asked.now).expect_err(what);
            let text = error.to_string();
            assert!(text.contains(says), "{what}: {text}");
            assert!(
                tree.check().is_err() && Engine::new(&tree).is_err(),
                "{what}"
            );
            assert_eq!(asked.engine.peek(asked.now), open, "after {what}");
            assert_eq!(
                asked.engine.snapshot(),
                left.engine.snapshot(),
                "after {what}"
            );
        }
    }
    assert!(asked.engine.snapshot()[0].stats.sent.frames > 100);
}

#[test]
fn the_least_that_is_admitted_is() {
    let frame = Burst::Bytes(1538);
    let least = wrong(vec![
        with(child(1).rate(rate("60mbit")).ceil(rate("60mbit")), |c| {
            (c.burst, c.cburst, c.pace) = (frame, frame, true);
        }),
        child(2).rate(rate("40mbit")).weight(1).prio(3),
        with(child(3).weight(u32::MAX), |c| {
            (c.pps, c.pps_burst) = ("1kpps".parse().ok(), PacketBurst::Duration(1_000_000));
            c.quantum = Some(1);
        }),
    ]);
    assert_eq!(least.check(), Ok(()));
    let chain = (1..8).map(|n| ClassConfig::new(id(1, n)).parent(id(1, n - 1)));
    assert_eq!(wrong(chain.collect()).check(), Ok(()));
}
