//! Classes that share their limits: together they never exceed them, neither starves the other, and
//! whoever is alone has all.
#![allow(clippy::unwrap_used)] // in helpers, too, a panic is a failed test

mod common;

use common::sim::{FULL, SUPER, TINY, child, id, mixed, rate, tree};
use common::{BYTE, Excess, Rng};
use qos::{
    Burst, ClassConfig, ClassId, Engine, Frame, FrameShape, Framing, Hold, LeafKey, LeafQueue,
    Offer, PacketBurst, Rate, Span, Time, TreeConfig, TreeError, Wake,
};

const UPLINK: ClassId = ClassId::new(1, 1);
const LOCAL: ClassId = ClassId::new(1, 2);
/// The limited class below the uplink, and the one below `local` that has its limits.
const OWNER: ClassId = ClassId::new(1, 0x10);
const TWIN: ClassId = ClassId::new(1, 0x20);
const LIMIT: &str = "100mbit";
/// One unit of each: segments are never cut.
const UNIT: i128 = 1538 * BYTE;

/// An uplink beside what stays on the host, so many others on each, and these two.
fn link(owner: ClassConfig, twin: ClassConfig, others: u16) -> TreeConfig {
    let mut classes = vec![
        child(1).ceil(rate("500mbit")),
        child(2),
        owner.parent(UPLINK),
        twin.parent(LOCAL),
    ];
    for n in 0..others {
        classes.push(ClassConfig::new(id(2, n)).parent(UPLINK));
        classes.push(ClassConfig::new(id(3, n)).parent(LOCAL));
    }
    tree("700mbit", classes)
}

fn pair(cburst: Burst) -> [ClassConfig; 2] {
    let mut owner = ClassConfig::new(OWNER).ceil(rate(LIMIT));
    owner.cburst = cburst;
    [owner, ClassConfig::new(TWIN).limits_of(OWNER)]
}

fn leaves(tree: &TreeConfig, engine: &Engine) -> Vec<(ClassId, LeafKey)> {
    let ids = tree.classes.iter().map(|class| class.id);
    ids.filter_map(|id| Some((id, engine.leaf(id)?))).collect()
}

/// What two classes sent, and how far both together ran ahead of the limit.
struct Seen {
    sent: [u64; 2],
    frames: [u64; 2],
    ahead: i128,
}

impl Seen {
    fn assert_shared(&self, least_percent: u64) {
        let all = self.sent[0] + self.sent[1];
        for sent in self.sent {
            let percent = sent * 100 / all;
            assert!(percent >= least_percent, "{:?}", self.sent);
        }
    }
}

/// All leaves but `idle` ones always have frames of this shape, for a second that begins when bursts
/// are spent; polls come up to so many nanoseconds late.
fn run(tree: &TreeConfig, shape: FrameShape, idle: &[ClassId], late: u64) -> Seen {
    let mut engine = Engine::new(tree).unwrap();
    let keys = leaves(tree, &engine);
    let (mut rng, mut now) = (Rng(3), Time::from_nanos(1 << 30));
    for (id, key) in &keys {
        if !idle.contains(id) {
            assert!(engine.backlogged(*key, now));
        }
    }
    let start = Time::from_nanos((1 << 30) + 500_000_000);
    let end = start.saturating_add(Span::from_nanos(1_000_000_000));
    let mut meter = Excess::new(rate(LIMIT));
    let mut seen = Seen {
        sent: [0; 2],
        frames: [0; 2],
        ahead: 0,
    };
    while now < end {
        // As the link has it: other frames come between.
        while let Some(grant) = engine.peek(now) {
            let part = shape
                .peel(grant.segments(shape))
                .map_or(shape, |(part, _)| part);
            engine.commit(part);
            let wire = Framing::ETHERNET.cost(part).wire_bytes;
            let (id, _) = keys.iter().find(|(_, key)| *key == grant.leaf).unwrap();
            // Classes whose own names or whose parents' are the two.
            let of = |class: ClassId| *id == class || (id.major == 9 && id.minor == class.minor);
            for (at, class) in [OWNER, TWIN].into_iter().enumerate() {
                if of(class) {
                    meter.sent(now, wire);
                    if now >= start {
                        seen.sent[at] += wire;
                        seen.frames[at] += 1;
                    }
                }
            }
        }
        let Wake::At(wake) = engine.next_wake(now) else {
            panic!("limits are closed, and no wake");
        };
        assert!(wake > now);
        now = wake.saturating_add(Span::from_nanos(rng.below(late + 1)));
    }
    seen.ahead = meter.highest();
    seen
}

fn burst_worth(burst: Burst) -> i128 {
    match burst {
        Burst::Auto => i128::from(25_000) * BYTE,
        Burst::Bytes(bytes) => i128::from(bytes) * BYTE,
        Burst::Duration(_) => panic!("not asked for here"),
    }
}

#[test]
fn both_share_one_limit_and_neither_starves() {
    for burst in [Burst::Auto, Burst::Bytes(1538), Burst::Bytes(200_000)] {
        for others in [0, 4] {
            for late in [0, 50_000, 400_000] {
                let [owner, twin] = pair(burst);
                let seen = run(&link(owner, twin, others), FULL, &[], late);
                let bound = burst_worth(burst) + 2 * UNIT;
                assert!(seen.ahead <= bound, "{burst:?} {others} {late}");
                seen.assert_shared(30);
                let all = seen.sent[0] + seen.sent[1];
                assert!(all <= 12_500_000 + 200_000 + 2 * 1538);
                // Whoever comes late by more than half of the burst may lose some, and waiting for
                // others is coming late.
                let waits = late + u64::from(others) * 100_000;
                if i128::from(waits) * 2 * BYTE / 80 <= burst_worth(burst) {
                    assert!(all >= 12_480_000, "{all}: {burst:?} {others} {late}");
                }
            }
        }
    }
}

#[test]
fn whoever_is_alone_has_all() {
    for idle in [OWNER, TWIN] {
        for late in [0, 500_000, 1_900_000] {
            let [owner, twin] = pair(Burst::Auto);
            let seen = run(&link(owner, twin, 0), FULL, &[idle], late);
            let all = seen.sent[0] + seen.sent[1];
            assert!((12_474_000..=12_526_600).contains(&all), "{all}");
            assert!(seen.ahead <= burst_worth(Burst::Auto) + UNIT);
        }
    }
}

#[test]
fn super_frames_and_weights_change_nothing() {
    let [mut owner, mut twin] = pair(Burst::Bytes(70_000));
    (owner.weight, twin.weight) = (Some(1), Some(100));
    (owner.quantum, twin.quantum) = (Some(65_536), Some(1538));
    let seen = run(&link(owner, twin, 0), SUPER, &[], 0);
    assert!(seen.ahead <= burst_worth(Burst::Bytes(70_000)) + 46 * 1538 * BYTE);
    seen.assert_shared(30);
}

#[test]
fn guests_with_classes_below_share_as_leaves_do() {
    for burst in [Burst::Auto, Burst::Bytes(3076)] {
        let [owner, twin] = pair(burst);
        let mut config = link(owner, twin, 3);
        for (minor, parent) in [(0x10, OWNER), (0x20, TWIN)] {
            config
                .classes
                .push(ClassConfig::new(id(9, minor)).parent(parent));
        }
        let seen = run(&config, FULL, &[], 0);
        assert!(seen.ahead <= burst_worth(burst) + 2 * UNIT);
        seen.assert_shared(30);
    }
}

#[test]
fn three_can_share() {
    let [owner, twin] = pair(Burst::Auto);
    let mut config = link(owner, twin, 0);
    let third = ClassConfig::new(id(9, 0x20)).parent(LOCAL).limits_of(OWNER);
    config.classes.push(third);
    let seen = run(&config, FULL, &[], 0);
    assert!(seen.ahead <= burst_worth(Burst::Auto) + 3 * UNIT);
    let all = seen.sent[0] + seen.sent[1];
    assert!((12_480_000..12_505_000).contains(&all));
    assert!(
        (30..=37).contains(&(seen.sent[0] * 100 / all)),
        "{:?}",
        seen.sent
    );
}

#[test]
fn packet_limits_are_shared_as_well() {
    for burst in [PacketBurst::Auto, PacketBurst::Segments(1)] {
        let [mut owner, twin] = pair(Burst::Auto);
        owner.pps = "10kpps".parse().ok();
        owner.pps_burst = burst;
        let seen = run(&link(owner, twin, 2), TINY, &[], 0);
        seen.assert_shared(30);
        let all = seen.frames[0] + seen.frames[1];
        assert!((9_980..=10_022).contains(&all), "{all}");
    }
}

/// A tree in which limits are shared at several places, and queues hold frames.
fn tangled() -> TreeConfig {
    let queue = LeafQueue::Fifo { frames: 8 };
    let leaf = |minor: u16, parent: ClassId| ClassConfig::new(id(9, minor)).parent(parent);
    let [mut owner, twin] = pair(Burst::Bytes(3076));
    owner.rate = Some(rate("20mbit"));
    let mut packets = leaf(3, TWIN).queue(queue);
    packets.pps = "4kpps".parse().ok();
    let mut config = link(owner, twin, 0);
    config.classes[1].rate = Some(rate("20mbit"));
    config.classes.extend([
        leaf(1, OWNER).queue(queue).rate(rate("5mbit")),
        leaf(2, OWNER).queue(queue).ceil(rate("30mbit")).prio(1),
        packets,
        leaf(4, TWIN).queue(queue).limits_of(id(9, 2)),
        leaf(5, UPLINK).queue(queue).limits_of(id(9, 3)),
        leaf(6, LOCAL).queue(queue),
    ]);
    config
}

/// The shared limits of that tree, the leaves below, and what may be ahead at most.
fn meters() -> Vec<(Excess, Vec<u16>, i128)> {
    let meter = |limit: &str, leaves: &[u16], bound: i128| {
        (Excess::new(rate(limit)), leaves.to_vec(), bound)
    };
    let units = 2 * 46 * 1538 * BYTE;
    vec![
        meter("100mbit", &[1, 2, 3, 4], 3076 * BYTE + units),
        meter("30mbit", &[2, 4], 7500 * BYTE + units),
    ]
}

#[test]
fn whatever_happens_limits_hold_and_wakes_come() {
    for seed in 0..40 {
        let mut rng = Rng(seed);
        let config = tangled();
        let mut engine = Engine::new(&config).unwrap();
        let keys = leaves(&config, &engine);
        let mut meters = meters();
        let mut packets = [0_i128; 2];
        let mut now = Time::from_nanos(1 << 30);
        for _ in 0..1500 {
            let (_, key) = keys[usize::try_from(rng.below(6)).unwrap()];
            match rng.below(12) {
                0..=4 => _ = engine.offer(key, Frame::new(0, mixed(&mut rng)), now),
                5 => assert!(engine.unblock(key, now)),
                6 => now = now.saturating_add(Span::from_nanos(rng.below(3_000_000))),
                7 => _ = engine.apply(&config, now).unwrap(),
                8 => {
                    let at = usize::try_from(rng.below(config.classes.len() as u64)).unwrap();
                    engine.retune(&config.classes[at], now).unwrap();
                }
                _ => {
                    for _ in 0..rng.below(6) {
                        let Some(grant) = engine.peek(now) else { break };
                        match rng.below(8) {
                            0 => {
                                engine.abort(Hold::Blocked);
                                continue;
                            }
                            1 => _ = engine.offer(key, Frame::new(0, FULL), now),
                            _ => {}
                        }
                        let shape = grant.frame.unwrap().shape;
                        assert!(engine.commit(shape).is_some());
                        let (id, _) = keys.iter().find(|(_, key)| *key == grant.leaf).unwrap();
                        let cost = Framing::ETHERNET.cost(shape);
                        for (meter, leaves, bound) in &mut meters {
                            if leaves.contains(&id.minor) {
                                meter.sent(now, cost.wire_bytes);
                                assert!(meter.highest() <= *bound, "seed {seed}");
                            }
                        }
                        if [3, 5].contains(&id.minor) {
                            let line = i128::from(now.as_nanos()) * 4000;
                            packets[1] = packets[1].min(packets[0] - line);
                            packets[0] += i128::from(cost.segments) * 1_000_000_000;
                            let ahead = packets[0] - line - packets[1];
                            assert!(ahead <= (8 + 2 * 46) * 1_000_000_000, "seed {seed}");
                        }
                    }
                }
            }
            match engine.next_wake(now) {
                Wake::Now => assert!(engine.peek(now).is_some(), "now, and nothing goes"),
                Wake::At(at) => {
                    assert!(at > now && engine.peek(now).is_none());
                    if rng.below(3) == 0 {
                        now = at;
                        assert!(engine.peek(now).is_some(), "a wake at which nothing goes");
                    }
                }
                Wake::Idle => assert!(engine.peek(now).is_none()),
            }
            engine.abort(Hold::Later);
            for class in engine.snapshot() {
                let stats = class.stats;
                assert_eq!(stats.offered.frames, stats.sent.frames + class.queued);
            }
        }
    }
}

#[test]
fn a_class_that_another_closed_is_named_in_the_next_wake() {
    let [owner, twin] = pair(Burst::Bytes(1538));
    let config = link(owner, twin, 0);
    let mut engine = Engine::new(&config).unwrap();
    let [one, other] = [OWNER, TWIN].map(|id| engine.leaf(id).unwrap());
    let now = Time::from_nanos(1 << 30);
    assert!(engine.backlogged(one, now));
    while engine.peek(now).is_some() {
        engine.commit(FULL);
    }
    assert!(matches!(engine.next_wake(now), Wake::At(_)));
    assert!(engine.backlogged(other, now));
    assert!(engine.peek(now).is_none());
    // Two frames went, the burst is one: after the time of another. The one that had nothing so far
    // goes first, for the other is ahead.
    let Wake::At(wake) = engine.next_wake(now) else {
        panic!("no wake");
    };
    let open = now.saturating_add(Span::from_nanos(1538 * 80));
    assert!(wake >= open && wake.since(open) < Span::from_nanos(1024));
    assert!(engine.peek(wake).is_some());
}

#[test]
fn changes_keep_credit_and_debt_and_give_nothing_away() {
    let queue = LeafQueue::Fifo { frames: 1000 };
    let [owner, twin] = pair(Burst::Bytes(100_000)).map(|class| class.queue(queue));
    let alone = |ceil: &str| {
        let mut class = ClassConfig::new(TWIN).ceil(rate(ceil)).queue(queue);
        class.cburst = Burst::Bytes(100_000);
        class
    };
    let trees = [
        link(owner.clone(), twin, 0),
        link(owner.clone(), alone(LIMIT), 0),
        link(owner, alone("50mbit"), 0),
    ];
    for seed in 0..20 {
        let mut rng = Rng(seed);
        let mut engine = Engine::new(&trees[0]).unwrap();
        let keys = [OWNER, TWIN].map(|id| engine.leaf(id).unwrap());
        let mut now = Time::from_nanos(1 << 30);
        let mut sent = 0;
        for change in 1..400 {
            for key in keys {
                (0..100).for_each(|_| _ = engine.offer(key, Frame::new(0, FULL), now));
            }
            let mut out = Vec::new();
            engine.poll(now, u32::MAX, &mut out);
            sent += out.len() as u64;
            let tree = usize::try_from(rng.below(3)).unwrap();
            engine.apply(&trees[tree], now).unwrap();
            now = now.saturating_add(Span::from_nanos(rng.below(1_000_000)));
            let earned = 2 * now.since(Time::from_nanos(1 << 30)).as_nanos() / 80;
            // Both bursts once, and a unit for every change, however often they part and join.
            assert!(
                sent * 1538 <= 200_000 + earned + 2 * 1538 * change,
                "seed {seed}"
            );
        }
    }
}

#[test]
fn retuning_whoever_has_the_limits_retunes_all() {
    let [owner, twin] = pair(Burst::Auto);
    let mut engine = Engine::new(&link(owner.clone(), twin.clone(), 0)).unwrap();
    let keys = [OWNER, TWIN].map(|id| engine.leaf(id).unwrap());
    let mut now = Time::from_nanos(1 << 30);
    for key in keys {
        assert!(engine.backlogged(key, now));
    }
    let mut changed = owner.clone().parent(UPLINK);
    changed.ceil = Some(rate("10mbit"));
    changed.cburst = Burst::Bytes(3076);
    engine.retune(&changed, now).unwrap();
    engine
        .retune(&twin.clone().parent(LOCAL).weight(9), now)
        .unwrap();
    let mut meter = Excess::new(rate("10mbit"));
    let mut sent = [0_u64; 2];
    let end = now.saturating_add(Span::from_nanos(1_000_000_000));
    while now < end {
        while let Some(grant) = engine.peek(now) {
            engine.commit(FULL);
            meter.sent(now, 1538);
            sent[usize::from(grant.leaf == keys[1])] += 1538;
        }
        let Wake::At(wake) = engine.next_wake(now) else {
            panic!("no wake");
        };
        now = wake;
    }
    assert!(meter.highest() <= 3076 * BYTE + 2 * UNIT);
    let all = sent[0] + sent[1];
    assert!((1_245_000..1_258_000).contains(&all), "{all}");
    assert!((30..=70).contains(&(sent[0] * 100 / all)), "{sent:?}");
    // What it must not become.
    let apart = ClassConfig::new(TWIN).parent(LOCAL);
    let refused = engine.retune(&apart, now);
    assert!(matches!(
        refused,
        Err(TreeError::Reshaped {
            what: "limits_of",
            ..
        })
    ));
    let own = twin.parent(LOCAL).ceil(rate("1mbit"));
    let refused = engine.retune(&own, now);
    assert!(matches!(
        refused,
        Err(TreeError::TwinWithLimits { what: "ceil", .. })
    ));
}

#[test]
fn a_ceiling_below_a_guarantee_that_shares_it_is_refused() {
    let [owner, twin] = pair(Burst::Auto);
    let guaranteed = twin.rate(rate("60mbit"));
    let mut config = link(owner.clone(), guaranteed, 0);
    config.classes[2].rate = Some(rate("60mbit"));
    let mut engine = Engine::new(&config).unwrap();
    let mut changed = owner.parent(UPLINK);
    changed.ceil = Some(rate("50mbit"));
    let refused = engine.retune(&changed, Time::from_nanos(5));
    assert!(matches!(
        refused,
        Err(TreeError::RateAboveCeil { id: TWIN, .. })
    ));
    changed.ceil = Some(rate("70mbit"));
    engine.retune(&changed, Time::from_nanos(5)).unwrap();
}

#[test]
fn a_twin_that_drains_keeps_to_the_shared_limit() {
    let queue = LeafQueue::Fifo { frames: 1000 };
    let [owner, twin] = pair(Burst::Bytes(3076)).map(|class| class.queue(queue));
    let mut engine = Engine::new(&link(owner.clone(), twin, 0)).unwrap();
    let keys = [OWNER, TWIN].map(|id| engine.leaf(id).unwrap());
    let start = Time::from_nanos(1 << 30);
    for key in keys {
        for _ in 0..400 {
            assert_eq!(engine.offer(key, Frame::new(0, FULL), start), Offer::Queued);
        }
    }
    let mut alone = link(owner, ClassConfig::new(id(1, 0x21)), 0);
    alone.frames = 4096;
    let (mut now, mut out) = (start, Vec::new());
    let mut meter = Excess::new(rate(LIMIT));
    for step in 0.. {
        if step % 50 == 7 {
            engine.apply(&alone, now).unwrap();
        }
        let before = out.len();
        let wake = engine.poll(now, u32::MAX, &mut out);
        (before..out.len()).for_each(|_| meter.sent(now, 1538));
        match wake {
            Wake::At(at) => now = at,
            Wake::Now => {}
            Wake::Idle => break,
        }
    }
    assert_eq!(out.len(), 800);
    assert!(meter.highest() <= 3076 * BYTE + 2 * UNIT);
}

fn refusal(classes: Vec<ClassConfig>) -> TreeError {
    tree("1gbit", classes).check().unwrap_err()
}

#[test]
fn what_cannot_be_shared_is_refused_by_name() {
    let owner = || child(1).ceil(rate("10mbit"));
    let twin = |minor| child(minor).limits_of(id(1, 1));
    let (one, two, three) = (id(1, 1), id(1, 2), id(1, 3));
    assert_eq!(
        refusal(vec![child(2).limits_of(id(7, 7))]),
        TreeError::NoTwin {
            id: two,
            other: id(7, 7)
        }
    );
    assert_eq!(
        refusal(vec![child(2).limits_of(two)]),
        TreeError::OwnTwin { id: two }
    );
    assert_eq!(
        refusal(vec![owner(), twin(2), child(3).limits_of(two)]),
        TreeError::TwinOfTwin {
            id: three,
            other: two,
            third: one
        }
    );
    assert_eq!(
        refusal(vec![owner(), child(2).limits_of(one).parent(one)]),
        TreeError::TwinAbove {
            id: two,
            above: one
        }
    );
    assert_eq!(
        refusal(vec![owner(), twin(2), twin(3).parent(two)]),
        TreeError::TwinAbove {
            id: three,
            above: two
        }
    );
    assert_eq!(
        refusal(vec![owner().parent(two), twin(2)]),
        TreeError::TwinAbove {
            id: one,
            above: two
        }
    );
    assert_eq!(
        refusal(vec![child(2).limits_of(id(1, 0))]),
        TreeError::TwinAbove {
            id: two,
            above: id(1, 0)
        }
    );
    type Set = fn(&mut ClassConfig);
    let set: [(&str, Set); 5] = [
        ("ceil", |class| class.ceil = Some(Rate::MAX)),
        ("cburst", |class| class.cburst = Burst::Bytes(5000)),
        ("pps", |class| class.pps = "1kpps".parse().ok()),
        ("ppsburst", |class| {
            class.pps_burst = PacketBurst::Segments(5)
        }),
        ("pace", |class| class.pace = true),
    ];
    for (what, set) in set {
        let mut class = twin(2);
        set(&mut class);
        let refused = refusal(vec![owner(), class]);
        assert_eq!(
            refused,
            TreeError::TwinWithLimits {
                id: two,
                other: one,
                what
            }
        );
        assert_eq!(refused.class(), Some(two));
        assert!(refused.to_string().contains(what));
    }
    let guaranteed = twin(2).rate(rate("20mbit"));
    assert!(matches!(
        refusal(vec![owner(), guaranteed]),
        TreeError::RateAboveCeil {
            id: ClassId { minor: 2, .. },
            ..
        }
    ));
}
