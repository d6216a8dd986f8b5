//! T16: a change of one class is what a change of the whole tree would be, and takes nobody else
//! along.
#![allow(clippy::unwrap_used)] // in helpers, too, a panic is a failed test

mod common;

use common::Rng;
use common::sim::{FULL, child, id, mixed, rate, tree};
use qos::engine::ClassSnapshot;
use qos::{
    Burst, ClassConfig, Departure, Ecn, Engine, FlowsConfig, Frame, Framing, Grant, Hold, LeafKey,
    LeafQueue, Overcommit, PacketBurst, PacketRate, Rate, Span, Time, TreeConfig, Wake,
};

fn number(rng: &mut Rng, bound: u32) -> u32 {
    u32::try_from(rng.below(bound.into())).unwrap()
}

fn bits(rng: &mut Rng, least: u64, most: u64) -> Rate {
    Rate::from_bits_per_second(least + rng.below(most - least)).unwrap()
}

fn minor(rng: &mut Rng, bound: u16) -> u16 {
    u16::try_from(rng.below(bound.into())).unwrap()
}

/// Figures are such that a class's change changes no other's quantum, nor the least target of a queue.
fn any_figures(class: &mut ClassConfig, fields: u32, rng: &mut Rng) {
    let (most_rate, least_ceil) = match class.id.major {
        1 => (250_000_000, 300_000_000),
        2 => (170_000_000, 60_000_000),
        _ => (70_000_000, 20_000_000),
    };
    for _ in 0..fields {
        match rng.below(10) {
            0 => class.rate = (rng.below(3) > 0).then(|| bits(rng, 1_000_000, most_rate)),
            1 => class.ceil = (rng.below(3) > 0).then(|| bits(rng, least_ceil, 500_000_000)),
            2 => class.weight = (rng.below(3) > 0).then(|| any_weight(rng)),
            3 => class.prio = u8::try_from(rng.below(16)).unwrap() % 5,
            4 => class.burst = any_burst(rng),
            5 => class.cburst = any_burst(rng),
            6 => {
                let pps = PacketRate::from_segments_per_second(5000 + rng.below(20_000));
                class.pps = pps.filter(|_| rng.below(3) > 0);
            }
            7 => class.pps_burst = PacketBurst::Segments(rng.below(30)),
            8 => class.quantum = Some(1600 + number(rng, 18_000)),
            _ => class.pace = rng.below(2) == 0,
        }
    }
    match &mut class.queue {
        LeafQueue::Hold => {}
        LeafQueue::Fifo { frames } => *frames = 4 + number(rng, 40),
        LeafQueue::Flows(flows) => any_flows(flows, rng),
    }
}

/// Zero now and then, which is refused.
fn any_weight(rng: &mut Rng) -> u32 {
    number(rng, 40) * (1 + number(rng, 100))
}

fn any_burst(rng: &mut Rng) -> Burst {
    match rng.below(3) {
        0 => Burst::Auto,
        1 => Burst::Bytes(1500 + rng.below(60_000)),
        _ => Burst::Duration(300_000 + rng.below(5_000_000)),
    }
}

fn any_flows(flows: &mut FlowsConfig, rng: &mut Rng) {
    flows.frames = 8 + number(rng, 60);
    flows.buckets = 1 + minor(rng, 256);
    flows.host_isolation = rng.below(2) == 0;
    flows.ack_filter = rng.below(2) == 0;
    flows.ce_threshold_nanos = (rng.below(2) == 0).then_some(9_000_000);
    flows.bytes = (rng.below(2) == 0).then(|| 30_000 + number(rng, 100_000));
}

/// A link of three guests with up to four leaves each: everything with a quantum of its own.
fn any_tree(rng: &mut Rng) -> TreeConfig {
    let mut classes = vec![ClassConfig::new(id(1, 0)).ceil(rate("500mbit"))];
    for guest in 0..3 {
        classes.push(ClassConfig::new(id(2, guest)).parent(id(1, 0)));
        for leaf in 0..1 + minor(rng, 4) {
            let class = ClassConfig::new(id(3, guest * 10 + leaf)).parent(id(2, guest));
            classes.push(class.queue(match rng.below(3) {
                0 => LeafQueue::Hold,
                1 => LeafQueue::Fifo { frames: 24 },
                _ => LeafQueue::Flows(FlowsConfig::default()),
            }));
        }
    }
    for class in &mut classes {
        class.quantum = Some(20_000);
    }
    let mut tree = TreeConfig {
        segment_nanos: (rng.below(3) == 0).then_some(200),
        flow_sets: 8,
        ..TreeConfig::new(classes)
    };
    if rng.below(3) == 0 {
        tree.classes[2].framing = Some(Framing::L2);
    }
    for at in 0..tree.classes.len() {
        let mut next = tree.clone();
        any_figures(&mut next.classes[at], 3, rng);
        if next.check().is_ok() {
            tree = next;
        }
    }
    tree
}

/// Two engines that are told the same and must say the same.
struct Twins {
    one: Engine,
    other: Engine,
    tree: TreeConfig,
    keys: Vec<(LeafKey, LeafQueue)>,
    now: Time,
    token: u64,
    sent: u64,
}

/// All but how often a class was found to be throttled, which a change of the whole tree finds anew.
fn alike(mut snapshot: Vec<ClassSnapshot>) -> Vec<ClassSnapshot> {
    for class in &mut snapshot {
        class.stats.throttled = 0;
    }
    snapshot
}

impl Twins {
    fn new(tree: TreeConfig) -> Self {
        let one = Engine::new(&tree).unwrap();
        let key = |class: &ClassConfig| Some((one.leaf(class.id)?, class.queue));
        Self {
            keys: tree.classes.iter().filter_map(key).collect(),
            other: Engine::new(&tree).unwrap(),
            one,
            tree,
            now: Time::from_nanos(1 << 30),
            token: 0,
            sent: 0,
        }
    }

    fn both<T: PartialEq + std::fmt::Debug>(&mut self, mut ask: impl FnMut(&mut Engine) -> T) -> T {
        let (one, other) = (ask(&mut self.one), ask(&mut self.other));
        assert_eq!(one, other);
        one
    }

    fn offer(&mut self, rng: &mut Rng) {
        let now = self.now;
        for (key, queue) in self.keys.clone() {
            if queue == LeafQueue::Hold {
                if rng.below(2) == 0 {
                    self.both(|engine| engine.backlogged(key, now));
                }
                continue;
            }
            for _ in 0..rng.below(4) {
                self.token += 1;
                let frame = Frame {
                    flow: number(rng, 1000).wrapping_mul(0x9e37_79b9),
                    host: number(rng, 5),
                    ecn: [Ecn::NotEct, Ecn::Ect0][usize::from(rng.below(2) == 0)],
                    ..Frame::new(self.token, mixed(rng))
                };
                let _ = self.both(|engine| engine.offer(key, frame, now));
            }
        }
        self.both(|engine| std::iter::from_fn(|| engine.dropped()).collect::<Vec<_>>());
    }

    fn peek(&mut self) -> Option<Grant> {
        let now = self.now;
        self.both(|engine| engine.peek(now))
    }

    /// Sends for a while, or all that may go; may leave a grant open.
    fn send(&mut self, rng: &mut Rng) {
        let now = self.now;
        if rng.below(3) == 0 {
            let budget = 1 + number(rng, 50);
            let (_, out) = self.both(|engine| {
                let mut out: Vec<Departure> = Vec::new();
                (engine.poll(now, budget, &mut out), out)
            });
            self.sent += out.len() as u64;
        }
        let most = 1 + rng.below(40);
        for _ in 0..most {
            let Some(grant) = self.peek() else {
                break;
            };
            match rng.below(30) {
                0 => self.both(|engine| engine.abort(Hold::Blocked)),
                1 => self.both(|engine| engine.abort(Hold::Empty)),
                2 => return,
                _ => {
                    let shape = grant.frame.map_or_else(|| mixed(rng), |frame| frame.shape);
                    let part = shape.peel(grant.segments(shape));
                    let part = part.map_or(shape, |(part, _)| part);
                    self.both(|engine| engine.commit(part));
                    self.sent += 1;
                }
            }
        }
    }

    fn advance(&mut self, rng: &mut Rng) {
        let now = self.now;
        for (key, _) in self.keys.clone() {
            if rng.below(4) == 0 {
                self.both(|engine| engine.unblock(key, now));
            }
        }
        self.both(|engine| alike(engine.snapshot()));
        let late = Span::from_nanos(rng.below(2) * rng.below(1 << 21));
        self.now = match self.both(|engine| engine.next_wake(now)) {
            Wake::At(at) => at.saturating_add(late),
            Wake::Now => now.saturating_add(late),
            Wake::Idle => now.saturating_add(Span::from_nanos(500_000)),
        };
    }

    /// Changes a class of the one, and the tree of the other.
    fn change(&mut self, rng: &mut Rng) -> bool {
        let mut next = self.tree.clone();
        let at = number(rng, u32::try_from(next.classes.len()).unwrap()) as usize;
        let fields = 1 + number(rng, 2);
        any_figures(&mut next.classes[at], fields, rng);
        let (class, now) = (&next.classes[at], self.now);
        if let Err(error) = next.check() {
            // The one settles nothing either: what it had granted, it may still be told of.
            assert_eq!(self.one.retune(class, now), Err(error), "{class:?}");
            return false;
        }
        // Another tree takes from everybody what he is behind; here from both.
        let same = self.tree.clone();
        self.both(|engine| engine.apply(&same, now).unwrap());
        self.one.retune(class, now).unwrap();
        let diff = self.other.apply(&next, now).unwrap();
        assert_eq!((diff.added, diff.removed, diff.moved), (0, 0, 0));
        assert!(diff.retuned <= 1, "{diff:?}: others changed");
        self.tree = next;
        self.both(|engine| alike(engine.snapshot()));
        true
    }
}

#[test]
fn a_change_of_a_class_is_what_the_change_of_the_tree_would_be() {
    let (mut changes, mut refusals) = (0, 0);
    for seed in 0..60 {
        let mut rng = Rng(seed);
        let mut twins = Twins::new(any_tree(&mut rng));
        for _ in 0..40 {
            for _ in 0..rng.below(12) {
                twins.offer(&mut rng);
                twins.send(&mut rng);
                twins.advance(&mut rng);
            }
            twins.offer(&mut rng);
            twins.send(&mut rng);
            if twins.change(&mut rng) {
                changes += 1;
            } else {
                refusals += 1;
            }
        }
        assert!(twins.sent > 200, "seed {seed}: {} sent", twins.sent);
    }
    assert!(
        changes > 1000 && refusals > 200,
        "{changes} changes, {refusals} refusals"
    );
}

/// Every refusal, beside a twin that is not touched and goes on as this one does.
#[test]
fn a_refused_change_changes_nothing() {
    let guest = child(1).rate(rate("50mbit")).ceil(rate("90mbit"));
    let leaf = ClassConfig::new(id(2, 1)).parent(guest.id);
    let leaf = leaf
        .rate(rate("40mbit"))
        .queue(LeafQueue::Fifo { frames: 9 });
    let held = child(2).rate(rate("50mbit"));
    let flows = child(3).queue(LeafQueue::Flows(FlowsConfig::default()));
    let classes = vec![guest.clone(), leaf.clone(), held.clone(), flows.clone()];
    let config = tree("100mbit", classes);
    let root = config.classes[0].clone();
    let with = |class: &ClassConfig, change: fn(&mut ClassConfig)| {
        let mut class = class.clone();
        change(&mut class);
        class
    };
    let of_flows = |change: fn(&mut FlowsConfig)| {
        let mut settings = FlowsConfig::default();
        change(&mut settings);
        flows.clone().queue(LeafQueue::Flows(settings))
    };
    let cases = [
        (child(9), "no class 1:9 to change"),
        (
            leaf.clone().parent(id(1, 0)),
            "2:1 would get another parent",
        ),
        (
            with(&leaf, |c| c.parent = None),
            "2:1 would get another parent",
        ),
        (
            root.clone().parent(id(1, 2)),
            "1:0 would get another parent",
        ),
        (
            with(&leaf, |c| c.queue = LeafQueue::Hold),
            "2:1 would get another kind of queue",
        ),
        (
            held.clone().queue(leaf.queue),
            "1:2 would get another kind of queue",
        ),
        (
            with(&leaf, |c| c.framing = Some(Framing::L2)),
            "2:1 would get another framing",
        ),
        (
            guest.clone().queue(leaf.queue),
            "1:1 has a queue and children",
        ),
        (held.clone().weight(0), "weight 0"),
        (held.clone().prio(4), "prio 4"),
        (with(&held, |c| c.quantum = Some(0)), "quantum 0"),
        (held.clone().ceil(rate("49mbit")), "may never exceed 49"),
        (with(&held, |c| c.pace = true), "pace but no ceil"),
        (
            with(&held, |c| c.burst = Burst::Bytes(1537)),
            "a burst worth 1537",
        ),
        (
            with(&guest, |c| c.cburst = Burst::Duration(9)),
            "a cburst worth 0",
        ),
        (
            with(&held, |c| {
                c.pps = PacketRate::from_segments_per_second(1000);
                c.pps_burst = PacketBurst::Duration(999_999);
            }),
            "ppsburst",
        ),
        (
            leaf.clone().queue(LeafQueue::Fifo { frames: 0 }),
            "may queue no frame",
        ),
        (of_flows(|f| f.bytes = Some(0)), "may queue no frame"),
        (of_flows(|f| f.buckets = 257), "257 buckets"),
        (of_flows(|f| f.quantum = Some(0)), "quantum 0"),
        (
            held.clone().rate(rate("50000001")),
            "children of class 1:0 are guaranteed 100000001",
        ),
        (
            leaf.rate(rate("51mbit")),
            "children of class 1:1 are guaranteed 51000000",
        ),
        (guest.rate(rate("39mbit")), "only 39000000"),
        (with(&root, |c| c.rate = Some(Rate::MIN)), "only 8"),
    ];
    let mut engine = Engine::new(&config).unwrap();
    let mut twin = Engine::new(&config).unwrap();
    let mut now = Time::from_nanos(1 << 30);
    for engine in [&mut engine, &mut twin] {
        let key = engine.leaf(held.id).unwrap();
        assert!(engine.backlogged(key, now));
    }
    for (class, want) in cases {
        assert_eq!(engine.peek(now), twin.peek(now));
        let error = engine.retune(&class, now).unwrap_err();
        assert!(error.to_string().contains(want), "{error}, not {want}");
        assert!(error.class().is_some());
        // What was granted before is still granted.
        assert_eq!(engine.commit(FULL), twin.commit(FULL));
        assert_eq!(engine.snapshot(), twin.snapshot());
        let next = twin.next_wake(now);
        assert_eq!(engine.next_wake(now), next);
        if let Wake::At(at) = next {
            now = at;
        }
    }
}

#[test]
fn guarantees_that_were_scaled_are_what_others_are_held_against() {
    let mut config = tree("100mbit", vec![child(1), child(2)]);
    config.overcommit = Overcommit::Scale;
    for class in &mut config.classes[1..] {
        class.rate = Some(rate("100mbit"));
    }
    let mut engine = Engine::new(&config).unwrap();
    let now = Time::from_nanos(1 << 30);
    // Each has 50.
    let mut fits = |minor, asked| engine.retune(&child(minor).rate(rate(asked)), now).is_ok();
    assert!(!fits(1, "51mbit") && fits(1, "30mbit"));
    assert!(!fits(2, "71mbit") && fits(2, "70mbit"));
}
