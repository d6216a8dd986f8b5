//! Who has the memory, and what becomes of a leaf that has none.

use super::*;

/// A link with as many leaves of flows.
fn leaves(count: u16, flow_sets: u32, flows: FlowsConfig) -> (Engine, Vec<LeafKey>) {
    let root = ClassId::new(1, 0);
    let leaf = |minor| {
        let class = ClassConfig::new(ClassId::new(1, minor)).parent(root);
        class.queue(LeafQueue::Flows(flows))
    };
    let mut classes = vec![ClassConfig::new(root).ceil("10gbit".parse().unwrap())];
    classes.extend((1..=count).map(leaf));
    let tree = TreeConfig {
        flow_sets,
        ..TreeConfig::new(classes)
    };
    let engine = Engine::new(&tree).unwrap();
    let keys = (1..=count).map(|minor| engine.leaf(ClassId::new(1, minor)).unwrap());
    let keys = keys.collect();
    (engine, keys)
}

fn free(engine: &Engine) -> usize {
    engine.sets.pool.free_sets()
}

fn drain(engine: &mut Engine, now: &mut Time) -> Vec<u64> {
    let mut sent = Vec::new();
    loop {
        while let Some(grant) = engine.peek(*now) {
            let frame = grant.frame.unwrap();
            engine.commit(frame.shape);
            sent.push(frame.token);
        }
        match engine.next_wake(*now) {
            Wake::At(at) => *now = at,
            Wake::Now => {}
            Wake::Idle => return sent,
        }
    }
}

#[test]
fn a_set_takes_about_nine_kibibytes() {
    use super::super::pool::{Head, SET};
    use super::super::turns::{Bucket, Host};
    let set = size_of::<Head>() + SET as usize * (size_of::<Bucket>() + size_of::<Host>());
    assert!((8500..9400).contains(&set), "{set}");
}

#[test]
fn many_leaves_in_turn_use_few_sets() {
    let (mut engine, keys) = leaves(1000, 3, FlowsConfig::default());
    let mut now = Time::from_nanos(MS);
    for round in 0..3000 {
        for near in 0..3 {
            let leaf = keys[(round + near * 17) % keys.len()];
            for flow in 0..40 {
                let frame = Frame::new(0, FULL).flow(flow << 26);
                assert_eq!(engine.offer(leaf, frame, now), Offer::Queued);
            }
        }
        assert_eq!(free(&engine), 0);
        assert_eq!(drain(&mut engine, &mut now).len(), 120);
        assert_eq!(free(&engine), 3);
    }
    assert_eq!(engine.snapshot()[0].stats.crowded, 0);
}

#[test]
fn no_more_sets_are_made_than_leaves_could_use() {
    let flows = FlowsConfig {
        buckets: 65,
        ..FlowsConfig::default()
    };
    assert_eq!(free(&leaves(3, 64, flows).0), 6);
    assert_eq!(free(&leaves(50, 64, flows).0), 64);
    assert_eq!(free(&leaves(50, 0, flows).0), 0);
}

#[test]
fn a_leaf_without_a_set_is_a_plain_queue_until_it_is_empty() {
    let (mut engine, keys) = leaves(2, 1, FlowsConfig::default());
    let mut now = Time::from_nanos(MS);
    let offer = |engine: &mut Engine, leaf: usize, flow: u32| {
        let frame = Frame::new(flow.into(), FULL).flow(flow << 26);
        assert_eq!(engine.offer(keys[leaf], frame, now), Offer::Queued);
    };
    offer(&mut engine, 0, 0);
    for flow in [1, 1, 1, 2] {
        offer(&mut engine, 1, flow);
    }
    let sent = drain(&mut engine, &mut now);
    let second: Vec<u64> = sent.into_iter().filter(|&token| token > 0).collect();
    assert_eq!(second, [1, 1, 1, 2], "in the order in which they came");
    let crowded = |engine: &mut Engine, at: usize| engine.snapshot()[at].stats.crowded;
    assert_eq!((crowded(&mut engine, 1), crowded(&mut engine, 2)), (0, 1));

    for flow in [1_u32, 1, 1, 2] {
        let frame = Frame::new(flow.into(), FULL).flow(flow << 26);
        assert_eq!(engine.offer(keys[1], frame, now), Offer::Queued);
    }
    assert_eq!(
        drain(&mut engine, &mut now),
        [1, 2, 1, 1],
        "the set is free"
    );
    assert_eq!(crowded(&mut engine, 0), 1);
}

#[test]
fn a_plain_queue_is_under_control_too() {
    let tree = |class: ClassConfig| TreeConfig {
        flow_sets: 0,
        ..TreeConfig::new(vec![
            ClassConfig::new(ClassId::new(1, 0)).ceil("10mbit".parse().unwrap()),
            class,
        ])
    };
    let mut link = Link::with(FlowsConfig::default(), tree);
    overload(&mut link, false);
    let stats = link.stats();
    assert!((5..100).contains(&stats.dropped.frames), "{stats:?}");
    let mut link = Link::with(FlowsConfig::default(), tree);
    let (marks, _) = overload(&mut link, true);
    assert!(marks > 5, "{marks}");
}

#[test]
fn a_leaf_takes_as_many_sets_as_there_are() {
    let flows = FlowsConfig {
        buckets: 256,
        frames: 4000,
        ..FlowsConfig::default()
    };
    let (mut engine, keys) = leaves(2, 6, flows);
    let mut now = Time::from_nanos(MS);
    for (leaf, left) in [(0, 2), (1, 0)] {
        for flow in 0..256_u32 {
            let frame = Frame::new(0, FULL).flow(flow << 24);
            assert_eq!(engine.offer(keys[leaf], frame, now), Offer::Queued);
        }
        assert_eq!(free(&engine), left);
    }
    assert_eq!(engine.snapshot()[0].stats.crowded, 1);
    assert_eq!(drain(&mut engine, &mut now).len(), 512);
    assert_eq!(free(&engine), 6);
}

#[test]
fn a_new_tree_gives_the_sets_of_leaves_that_go_to_others() {
    let (mut engine, keys) = leaves(2, 2, FlowsConfig::default());
    let now = Time::from_nanos(MS);
    for &key in &keys {
        assert_eq!(engine.offer(key, Frame::new(1, FULL), now), Offer::Queued);
    }
    let root = ClassConfig::new(ClassId::new(1, 0)).ceil("10gbit".parse().unwrap());
    let leaf = ClassConfig::new(ClassId::new(1, 1)).parent(root.id);
    let flows = FlowsConfig {
        buckets: 1,
        frames: 7,
        ..FlowsConfig::default()
    };
    let tree = TreeConfig {
        removed: crate::Removed::Drop,
        ..TreeConfig::new(vec![root, leaf.queue(LeafQueue::Flows(flows))])
    };
    assert_eq!(engine.apply(&tree, now).unwrap().dropped, [1]);
    assert_eq!(free(&engine), 1);
    assert_eq!(engine.snapshot()[0].queued, 1);
}
