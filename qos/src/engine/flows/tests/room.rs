//! Caps, shares of the pool, and the ack filter.
#![allow(clippy::cast_possible_truncation)] // random numbers below small bounds

use super::*;
use crate::engine::Ack;

fn dropped(link: &mut Link) -> Vec<Frame> {
    std::iter::from_fn(|| link.engine.dropped()).collect()
}

fn offer(link: &mut Link, frame: Frame) -> Offer {
    let now = Time::from_nanos(link.now);
    link.engine.offer(link.leaf, frame, now)
}

#[test]
fn bytes_are_capped_and_the_fattest_flow_pays() {
    let flows = FlowsConfig {
        bytes: Some(20_000),
        ..FlowsConfig::default()
    };
    let mut link = Link::new("1mbit", flows);
    for token in 0..100 {
        let flow = if token % 10 == 9 { 1 } else { 2 };
        let frame = Frame::new(token, FULL).flow(flow << 26);
        assert_eq!(offer(&mut link, frame), Offer::Queued);
    }
    let lost = dropped(&mut link);
    assert_eq!(lost.len(), 100 - 13);
    // The thin one has most in the end, when the fat one has been cut down to it.
    let thin = lost.iter().filter(|frame| frame.flow == 1 << 26).count();
    assert!(thin <= 4, "{thin} of the thin one");
    // One frame may always wait, however large, but not behind another.
    let large = Frame::new(0, FrameShape::single(60_000)).flow(3 << 26);
    let mut link = Link::new("1mbit", flows);
    assert_eq!(offer(&mut link, large), Offer::Queued);
    assert_eq!(offer(&mut link, large), Offer::Queued);
    assert_eq!(dropped(&mut link).len(), 1);
}

#[test]
fn a_costly_frame_displaces_only_others() {
    let flows = FlowsConfig {
        bytes: Some(20_000),
        ..FlowsConfig::default()
    };
    let mut link = Link::new("1mbit", flows);
    let now = Time::from_nanos(link.now);
    let mut costly = |token, flow: u32| {
        let frame = Frame::new(token, FULL).flow(flow << 26);
        let offer = link.engine.offer_costly(link.leaf, frame, now);
        let lost: Vec<_> = std::iter::from_fn(|| link.engine.dropped()).collect();
        (offer, lost.len())
    };
    for token in 0..13 {
        assert_eq!(costly(token, 2), (Offer::Queued, 0));
    }
    // The fat flow keeps what it has; a thin one comes in at its expense.
    assert_eq!(costly(13, 2), (Offer::Refused, 0));
    assert_eq!(costly(14, 1), (Offer::Queued, 1));
    assert_eq!(costly(15, 2), (Offer::Refused, 0));
    assert_eq!(link.stats().refused, 2);
}

#[test]
fn the_fattest_flow_loses_whoever_comes() {
    let flows = FlowsConfig {
        frames: 100,
        ..FlowsConfig::default()
    };
    let mut link = Link::new("1mbit", flows);
    let mut random = Random(5);
    let mut queued = [0_i64; 40];
    for token in 0..5000 {
        let flow = (random.below(40) * random.below(40) / 40) as u32;
        let frame = Frame::new(token, FULL).flow(flow << 26);
        assert_eq!(offer(&mut link, frame), Offer::Queued);
        queued[flow as usize] += 1;
        let most = *queued.iter().max().unwrap();
        for lost in dropped(&mut link) {
            let flow = &mut queued[(lost.flow >> 26) as usize];
            assert!(*flow + 8 >= most && *flow > 1, "{flow} of {most}");
            *flow -= 1;
        }
    }
}

#[test]
fn a_fat_flow_loses_though_only_others_move() {
    let flows = FlowsConfig {
        frames: 40,
        ..FlowsConfig::default()
    };
    let mut link = Link::new("1mbit", flows);
    let mut queued = [20_i32, 20];
    for token in 0..60_u64 {
        let flow = if token < 40 { token % 2 } else { token - 38 };
        let frame = Frame::new(token, FULL).flow((flow as u32) << 26);
        assert_eq!(offer(&mut link, frame), Offer::Queued);
        for lost in dropped(&mut link) {
            queued[(lost.flow >> 26) as usize] -= 1;
        }
    }
    assert!(queued.iter().all(|&queued| queued >= 7), "{queued:?}");
}

#[test]
fn a_full_pool_refuses_and_nobody_loses_for_it() {
    let mut link = Link::with(FlowsConfig::default(), |leaf| TreeConfig {
        frames: 10,
        pool_share_percent: None,
        ..TreeConfig::new(vec![
            ClassConfig::new(ClassId::new(1, 0)).ceil("1mbit".parse().unwrap()),
            leaf,
        ])
    });
    for n in 0..20 {
        let want = if n < 10 {
            Offer::Queued
        } else {
            Offer::Refused
        };
        assert_eq!(link.offer(n, false), want);
    }
    assert_eq!(link.engine.dropped(), None);
    assert_eq!(link.stats().refused, 10);
}

#[test]
fn an_acknowledgement_that_has_gone_is_not_looked_for() {
    let flows = FlowsConfig {
        ack_filter: true,
        ..FlowsConfig::default()
    };
    let mut link = Link::new("1mbit", flows);
    let ack = |token, number| Frame::new(token, FULL).ack(Ack::new(number, 1));
    for frame in [ack(1, 5), Frame::new(2, FULL), Frame::new(3, FULL)] {
        assert_eq!(offer(&mut link, frame), Offer::Queued);
    }
    assert!(link.engine.peek(Time::from_nanos(link.now)).is_some());
    assert_eq!(link.engine.commit(FULL), Some(ack(1, 5)));
    assert_eq!(offer(&mut link, ack(4, 6)), Offer::Queued);
    assert_eq!(link.engine.dropped(), None);
}

#[test]
fn a_granted_frame_is_never_taken_away() {
    let flows = FlowsConfig {
        frames: 3,
        ack_filter: true,
        ..FlowsConfig::default()
    };
    for flow_sets in [0, 1] {
        let mut link = Link::with(flows, |leaf| TreeConfig {
            flow_sets,
            ..TreeConfig::new(vec![ClassConfig::new(ClassId::new(1, 0)), leaf])
        });
        let ack = |n: u32| Frame::new(n.into(), FULL).ack(Ack::new(n, 1));
        assert_eq!(offer(&mut link, ack(0)), Offer::Queued);
        let granted = link.engine.peek(Time::from_nanos(link.now));
        let granted = granted.unwrap().frame;
        for n in 1..10 {
            assert_eq!(offer(&mut link, ack(n)), Offer::Queued);
        }
        assert_eq!(link.engine.commit(FULL), granted);
        assert!(dropped(&mut link).iter().all(|frame| frame.token > 0));
    }
    // With nothing else to lose the newcomer is refused.
    let one = FlowsConfig { frames: 1, ..flows };
    let mut link = Link::new("1gbit", one);
    assert_eq!(link.offer(1, false), Offer::Queued);
    assert!(link.engine.peek(Time::from_nanos(link.now)).is_some());
    assert_eq!(link.offer(2, false), Offer::Refused);
    assert!(link.engine.commit(FULL).is_some());
}

/// Two leaves of a kind below a slow link, and a pool of 90 frames.
fn two(queue: LeafQueue) -> (Engine, [LeafKey; 2]) {
    let root = ClassId::new(1, 0);
    let leaf = |minor| {
        ClassConfig::new(ClassId::new(1, minor))
            .parent(root)
            .queue(queue)
    };
    let slow = ClassConfig::new(root).ceil("1mbit".parse().unwrap());
    let tree = TreeConfig {
        frames: 90,
        ..TreeConfig::new(vec![slow, leaf(1), leaf(2)])
    };
    let engine = Engine::new(&tree).unwrap();
    let key = |minor| engine.leaf(ClassId::new(1, minor)).unwrap();
    let keys = [key(1), key(2)];
    (engine, keys)
}

#[test]
fn no_leaf_takes_the_whole_pool() {
    let flows = LeafQueue::Flows(FlowsConfig::default());
    for queue in [LeafQueue::Fifo { frames: 1000 }, flows] {
        let (mut engine, [first, second]) = two(queue);
        let now = Time::from_nanos(MS);
        let fill = |engine: &mut Engine, key| {
            for token in 0..200 {
                let taken = engine.offer(key, Frame::new(token, FULL), now);
                assert!(taken == Offer::Queued || matches!(queue, LeafQueue::Fifo { .. }));
                while engine.dropped().is_some() {}
            }
        };
        fill(&mut engine, first);
        // q = 2 (90 - q)
        assert_eq!(engine.snapshot()[1].queued, 60);
        fill(&mut engine, second);
        let queued = engine.snapshot()[2].queued;
        assert_eq!(queued, 20, "q = 2 (30 - q)");
        // The first is over its share now; as frames come it shrinks, if it can.
        fill(&mut engine, first);
        let queued = engine.snapshot()[1].queued;
        match queue {
            LeafQueue::Flows(_) => assert!((36..=48).contains(&queued), "{queued}"),
            _ => assert_eq!(queued, 60),
        }
    }
}

/// An acknowledgement's flow, number (none if zero), check and ECN field.
type Given = (u32, u32, u32, Ecn);

/// Offers acknowledgements, and says which are dropped.
fn filtered(acks: &[Given]) -> Vec<u64> {
    let flows = FlowsConfig {
        ack_filter: true,
        ..FlowsConfig::default()
    };
    let mut link = Link::new("1mbit", flows);
    for (token, &(flow, number, check, ecn)) in (0..).zip(acks) {
        let mut frame = Frame::new(token, FrameShape::single(66))
            .flow(flow)
            .ecn(ecn);
        if number > 0 {
            frame = frame.ack(Ack::new(number, check));
        }
        assert_eq!(offer(&mut link, frame), Offer::Queued);
    }
    let lost: Vec<u64> = dropped(&mut link).iter().map(|frame| frame.token).collect();
    assert_eq!(link.stats().ack_filtered, lost.len() as u64);
    lost
}

#[test]
fn only_acknowledgements_that_say_less_are_filtered() {
    const NOT: Ecn = Ecn::NotEct;
    let end = u32::MAX;
    let cases: [(&str, &[Given], &[u64]); 9] = [
        (
            "later ones",
            &[(0, 5, 1, NOT), (0, 6, 1, NOT), (0, 9, 1, NOT)],
            &[1, 0],
        ),
        ("around the end", &[(0, end, 1, NOT), (0, 3, 1, NOT)], &[0]),
        ("an older one", &[(0, 3, 1, NOT), (0, end, 1, NOT)], &[]),
        (
            "duplicates",
            &[(0, 5, 1, NOT), (0, 5, 1, NOT), (0, 5, 1, NOT)],
            &[],
        ),
        (
            "other frames between",
            &[(0, 5, 1, NOT), (0, 0, 0, NOT), (0, 6, 1, NOT)],
            &[0],
        ),
        (
            "what says more than a number",
            &[(0, 0, 0, NOT), (0, 6, 1, NOT)],
            &[],
        ),
        (
            "another flow of the bucket",
            &[(0, 5, 1, NOT), (0, 6, 2, NOT)],
            &[],
        ),
        (
            "another flow of its check",
            &[(0, 5, 1, NOT), (1, 6, 1, NOT)],
            &[],
        ),
        ("a mark", &[(0, 5, 1, Ecn::Ce), (0, 6, 1, Ecn::Ect0)], &[]),
    ];
    for (what, acks, lost) in cases {
        assert_eq!(filtered(acks), lost, "{what}");
    }
}

#[test]
fn a_filter_that_is_off_drops_nothing() {
    let mut link = Link::new("1mbit", FlowsConfig::default());
    for n in 1..50 {
        let frame = Frame::new(0, FULL).ack(Ack::new(n, 1));
        assert_eq!(offer(&mut link, frame), Offer::Queued);
    }
    assert_eq!(link.engine.dropped(), None);
}

#[test]
fn random_acknowledgements_leave_in_order_and_the_last_always_does() {
    let flows = FlowsConfig {
        ack_filter: true,
        frames: 30,
        buckets: 2,
        ..FlowsConfig::default()
    };
    let mut random = Random(9);
    let mut link = Link::new("5mbit", flows);
    let mut numbers = [u32::MAX - 500; 6];
    let mut last = [0_u64; 6];
    for token in 0..20_000 {
        let flow = random.below(6) as usize;
        let mut frame = Frame::new(token, FULL).flow((flow as u32) << 29);
        if random.below(3) > 0 {
            numbers[flow] = numbers[flow].wrapping_add(random.below(2) as u32);
            frame = frame.ack(Ack::new(numbers[flow], flow as u32));
        }
        assert_eq!(offer(&mut link, frame), Offer::Queued);
        while let Some(grant) = link.engine.peek(Time::from_nanos(link.now)) {
            let frame = grant.frame.unwrap();
            let flow = (frame.flow >> 29) as usize;
            assert!(frame.token >= last[flow], "in order");
            last[flow] = frame.token;
            link.engine.commit(frame.shape);
        }
        link.now += random.below(4 * MS);
        dropped(&mut link);
    }
    let stats = link.engine.snapshot()[0].stats;
    assert!(stats.ack_filtered > 100, "{stats:?}");
}

#[test]
fn step_marks_may_be_for_l4s_senders_only() {
    for (only, marks) in [(false, [false, true, true]), (true, [false, true, false])] {
        let flows = FlowsConfig {
            ce_threshold_nanos: Some(MS),
            ce_threshold_ect1_only: only,
            ..FlowsConfig::default()
        };
        let mut link = Link::new("10mbit", flows);
        let kinds = [Ecn::NotEct, Ecn::Ect1, Ecn::Ect0];
        for (token, ecn) in (0..).zip(kinds) {
            let frame = Frame::new(token, FULL).ecn(ecn);
            assert_eq!(offer(&mut link, frame), Offer::Queued);
        }
        link.now += 2 * MS;
        let mut seen = Vec::new();
        while seen.len() < 3 {
            seen.extend(link.send().into_iter().map(|(_, mark)| mark));
            link.next();
        }
        assert_eq!(seen, marks);
    }
}
