//! T15: the same trace on every run, build and machine, of a limiter and of a tree.
#![allow(clippy::unwrap_used)] // in helpers, too, a panic is a failed test

mod common;

use common::Rng;
use common::sim::{TINY, child, id, mixed, rate, tree};
use qos::{
    ClassConfig, Cost, Demand, Ecn, Engine, FlowsConfig, Frame, Hold, LeafQueue, Limiter,
    LimiterConfig, Offer, Removed, Span, Time, TreeConfig, Wake,
};

/// FNV-1a over everything a limiter answered during a fixed random history.
fn trace() -> u64 {
    let config = |rate: &str, pps: &str| LimiterConfig {
        rate: Some(rate.parse().unwrap()),
        pps: Some(pps.parse().unwrap()),
        ..LimiterConfig::default()
    };
    let configs = [config("123456789", "12345"), config("37gbit", "2mpps")];
    let mut rng = Rng(42);
    let mut limiter = Limiter::new(&configs[0]);
    let mut now = Time::from_nanos(1);
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    let mut mix = |value: u64| hash = (hash ^ value).wrapping_mul(0x0000_0100_0000_01b3);
    for step in 0..20_000 {
        if limiter.ready(now) {
            let cost = Cost {
                wire_bytes: 84 + rng.below(70_000),
                segments: 1 + u32::try_from(rng.below(46)).unwrap(),
            };
            limiter.commit(now, cost, Demand::Backlogged);
        }
        now = limiter.next_wake(now).unwrap_or(now);
        mix(now.as_nanos());
        mix(now.fraction().into());
        if step % 1000 == 999 {
            limiter.retune(&configs[step / 1000 % 2], now);
        }
    }
    mix(limiter.lost_credit().as_nanos());
    hash
}

#[test]
fn the_trace_of_a_limiter_is_the_same_in_every_run_and_build() {
    assert_eq!(trace(), trace());
    assert_eq!(trace(), 6_693_473_245_003_966_478);
}

/// Leaves that hold, queue and queue by flow, few or many, below two guests; `round` changes settings,
/// parents and members.
fn varied(round: u16, many: u16) -> TreeConfig {
    let mut classes = vec![
        child(1).rate(rate("300mbit")).ceil(rate("600mbit")),
        child(2).rate(rate("200mbit")).prio(1),
    ];
    for n in (0..9 + many).filter(|n| n % 7 != round % 7) {
        let queue = match n % 3 {
            0 => LeafQueue::Hold,
            1 => LeafQueue::Fifo { frames: 20 },
            _ => LeafQueue::Flows(FlowsConfig {
                frames: 40,
                buckets: 8,
                target_nanos: 200_000,
                interval_nanos: 2_000_000,
                ..FlowsConfig::default()
            }),
        };
        let parent = id(
            1,
            if (n + round).is_multiple_of(5) {
                2
            } else {
                1 + n % 2
            },
        );
        let mut class = ClassConfig::new(id(2, n)).parent(parent).queue(queue);
        class.weight = (n % 4 > 0).then(|| u32::from(1 + n * round));
        class.prio = u8::try_from(n % 3).unwrap();
        class.ceil = (n % 4 == 1).then(|| rate("47mbit"));
        class.rate = (n < 6).then(|| rate("9mbit"));
        classes.push(class);
    }
    TreeConfig {
        removed: Removed::Drop,
        ..tree("1gbit", classes)
    }
}

/// FNV-1a over everything an engine answered: grants, marks, frames given back, wakes and changes.
fn tree_trace(many: u16) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    let mut mix = |value: u64| hash = (hash ^ value).wrapping_mul(0x0000_0100_0000_01b3);
    let mut rng = Rng(77);
    let mut config = varied(1, many);
    let mut engine = Engine::new(&config).unwrap();
    let mut now = Time::from_nanos(1 << 33);
    for step in 0..2500_u64 {
        for class in &config.classes {
            let Some(leaf) = engine.leaf(class.id) else {
                continue;
            };
            if rng.below(3) > 0 {
                continue;
            }
            engine.unblock(leaf, now);
            let frame = Frame {
                token: step,
                shape: mixed(&mut rng),
                flow: (rng.bits() >> 32) as u32,
                ecn: if rng.below(2) == 0 {
                    Ecn::Ect0
                } else {
                    Ecn::NotEct
                },
                ..Frame::new(0, TINY)
            };
            if !engine.backlogged(leaf, now) {
                mix(u64::from(engine.offer(leaf, frame, now) == Offer::Queued));
            }
        }
        for _ in 0..200 {
            let Some(grant) = engine.peek(now) else { break };
            let named = |class: &ClassConfig| engine.leaf(class.id) == Some(grant.leaf);
            mix(config.classes.iter().position(named).unwrap() as u64);
            mix(grant.quantum + u64::from(grant.mark));
            match rng.below(30) {
                0 => engine.abort(Hold::Blocked),
                1 => engine.abort(Hold::Empty),
                2 => engine.abort(Hold::Later),
                _ => {
                    let shape = grant
                        .frame
                        .map_or_else(|| mixed(&mut rng), |frame| frame.shape);
                    mix(engine.commit(shape).map_or(0, |frame| frame.token));
                }
            }
        }
        while let Some(frame) = engine.dropped() {
            mix(frame.token);
        }
        if step % 100 == 99 {
            config = varied(u16::try_from(step / 100).unwrap(), many);
            let diff = engine.apply(&config, now).unwrap();
            diff.dropped.iter().copied().for_each(&mut mix);
            mix((diff.added + diff.removed + diff.moved).into());
        }
        now = match engine.next_wake(now) {
            Wake::At(at) => at.saturating_add(Span::from_nanos(rng.below(50_000))),
            Wake::Now => now,
            Wake::Idle => now.saturating_add(Span::from_nanos(10_000)),
        };
        mix(now.as_nanos());
        mix(now.fraction().into());
    }
    hash
}

/// What this engine decides. To be changed on purpose together with what it decides; that debug and
/// release agree on it is the point.
const TREE_TRACES: [u64; 2] = [10_297_922_311_900_842_751, 10_879_356_536_391_810_446];

#[test]
fn the_trace_of_a_tree_with_flows_and_changes_is_the_same_in_every_run_and_build() {
    let traces = || [0, 30].map(tree_trace);
    assert_eq!(traces(), traces());
    assert_eq!(traces(), TREE_TRACES);
}
