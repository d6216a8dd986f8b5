use proptest::prelude::*;

use super::*;
use crate::class::{ClassConfig, FlowsConfig, LeafQueue, Removed, TreeConfig};
use crate::engine::{Frame, Hold, Offer, Wake};
use crate::wire::FrameShape;

const ROOT: ClassId = ClassId::new(1, 0);
const INNER: ClassId = ClassId::new(1, 1);
const ONE: ClassId = ClassId::new(1, 2);
const TWO: ClassId = ClassId::new(1, 3);
const MS: u64 = 1_000_000;

fn at(nanos: u64) -> Time {
    Time::from_nanos(nanos)
}

fn class(id: ClassId, parent: ClassId) -> ClassConfig {
    ClassConfig::new(id).parent(parent)
}

fn slow(id: ClassId, parent: ClassId) -> ClassConfig {
    class(id, parent).ceil("1mbit".parse().unwrap())
}

fn tree(children: Vec<ClassConfig>) -> TreeConfig {
    let root = ClassConfig::new(ROOT).ceil("1gbit".parse().unwrap());
    TreeConfig {
        removed: Removed::Drop,
        ..TreeConfig::new([vec![root], children].concat())
    }
}

/// Sends from a leaf that holds until its ceiling is closed; when that opens, in nanoseconds.
fn throttle(engine: &mut Engine, id: ClassId, now: u64) -> u64 {
    let leaf = engine.leaf(id).unwrap();
    assert!(engine.backlogged(leaf, at(now)));
    while engine.peek(at(now)).is_some() {
        engine.commit(FrameShape::single(1514));
    }
    let Wake::At(wake) = engine.next_wake(at(now)) else {
        panic!("nothing to wait for");
    };
    wake.as_nanos()
}

fn waited(engine: &Engine, id: ClassId, now: u64) -> u64 {
    engine.stats_of(id, at(now)).unwrap().stats.throttled_nanos
}

#[test]
fn a_wait_counts_while_it_lasts_and_no_longer() {
    let mut engine = Engine::new(&tree(vec![slow(ONE, ROOT)])).unwrap();
    let opens = throttle(&mut engine, ONE, 5 * MS);
    let length = opens - 5 * MS;
    assert!(length > MS, "{length}");
    assert_eq!(waited(&engine, ONE, 5 * MS), 0);
    assert_eq!(waited(&engine, ONE, 6 * MS), MS);
    assert_eq!(engine.snapshot()[0].stats.throttled_nanos, 0, "as of then");
    // Whoever comes late has not been kept by a limit for longer; wheels are up to 1024 ns late.
    assert!(engine.peek(at(opens + 50 * MS)).is_some());
    engine.abort(Hold::Empty);
    let counted = waited(&engine, ONE, opens + 90 * MS);
    assert!((length - 1024..=length).contains(&counted), "{counted}");
    let sum = engine.snapshot()[0].stats;
    assert_eq!((sum.throttled, sum.throttled_nanos), (1, counted));
}

#[test]
fn a_wait_that_a_change_ends_counts_up_to_the_change() {
    let mut engine = Engine::new(&tree(vec![slow(ONE, ROOT)])).unwrap();
    throttle(&mut engine, ONE, 0);
    engine.retune(&class(ONE, ROOT), at(MS)).unwrap();
    assert_eq!(waited(&engine, ONE, 90 * MS), MS);

    engine.retune(&slow(ONE, ROOT), at(100 * MS)).unwrap();
    throttle(&mut engine, ONE, 100 * MS);
    engine
        .apply(&tree(vec![class(ONE, ROOT)]), at(102 * MS))
        .unwrap();
    assert_eq!(waited(&engine, ONE, 190 * MS), 3 * MS);
}

#[test]
fn a_wait_that_goes_on_through_a_change_counts_once() {
    let mut engine = Engine::new(&tree(vec![slow(ONE, ROOT)])).unwrap();
    let opens = throttle(&mut engine, ONE, 0);
    engine.apply(&tree(vec![slow(ONE, ROOT)]), at(MS)).unwrap();
    engine.retune(&slow(ONE, ROOT), at(2 * MS)).unwrap();
    assert_eq!(waited(&engine, ONE, 3 * MS), 3 * MS);
    let end = waited(&engine, ONE, opens + 90 * MS);
    assert!((opens - 2048..=opens).contains(&end), "{end} of {opens}");
}

#[test]
fn what_ended_is_in_the_class_above_it() {
    let inner = vec![class(INNER, ROOT), slow(ONE, INNER), class(TWO, INNER)];
    let mut engine = Engine::new(&tree(inner)).unwrap();
    throttle(&mut engine, ONE, 0);
    let sent = engine.stats_of(ONE, at(0)).unwrap().stats.sent;
    let left = tree(vec![class(INNER, ROOT), class(TWO, INNER)]);
    engine.apply(&left, at(MS)).unwrap();
    assert_eq!(engine.stats_of(ONE, at(MS)), None);
    let inner = engine.stats_of(INNER, at(90 * MS)).unwrap();
    assert_eq!((inner.stats.sent, inner.stats.throttled_nanos), (sent, MS));
    assert_eq!(
        engine.stats_of(ROOT, at(MS)).unwrap().stats,
        ClassStats::default()
    );
}

proptest! {
    #[test]
    fn classes_by_themselves_add_up_to_the_snapshot(
        steps in prop::collection::vec((0..3_u8, 1..4_u64), 1..200)
    ) {
        let flows = LeafQueue::Flows(FlowsConfig::default());
        let mut engine = Engine::new(&tree(vec![
            slow(INNER, ROOT),
            class(ONE, INNER).queue(LeafQueue::Fifo { frames: 3 }),
            slow(TWO, INNER).queue(flows),
        ]))
        .unwrap();
        let leaves = [ONE, TWO].map(|id| engine.leaf(id).unwrap());
        let mut now = 0;
        for (token, (step, by)) in (0..).zip(steps) {
            match step {
                0 | 1 => {
                    let frame = Frame::new(token, FrameShape::single(1000));
                    let offer = engine.offer(leaves[usize::from(step)], frame, at(now));
                    prop_assert!(offer != Offer::Gone);
                }
                _ => {
                    now += by * MS;
                    while let Some(grant) = engine.peek(at(now)) {
                        engine.commit(grant.frame.unwrap().shape);
                    }
                    let _ = engine.next_wake(at(now));
                }
            }
            let mut whole = engine.snapshot();
            let alone: Vec<_> = whole
                .iter()
                .map(|class| engine.stats_of(class.id, at(now)).unwrap())
                .collect();
            for class in &mut whole {
                let mut sum = ClassStats::default();
                let mut queued = 0;
                for own in &alone {
                    let mut way = std::iter::successors(Some(own.id), |id| {
                        alone.iter().find(|class| class.id == *id)?.parent
                    });
                    if way.any(|id| id == class.id) {
                        sum.add(&own.stats);
                        queued += own.queued;
                    }
                }
                prop_assert_eq!((class.stats, class.queued), (sum, queued));
            }
        }
    }
}
