//! Super-frames: what is dropped of them, and that nothing is lost track of.
#![allow(clippy::cast_possible_truncation)] // random numbers below small bounds

use std::collections::BTreeMap;

use super::super::turns::{Place, Turn};
use super::*;
use crate::engine::Ack;

/// A super-frame of this many full segments.
fn super_frame(segments: u32) -> FrameShape {
    FrameShape {
        len: 66 + segments * 1448,
        headers: 66,
        gso_size: 1448,
    }
}

#[test]
fn of_a_super_frame_one_segment_is_dropped_and_the_caller_keeps_the_frame() {
    let mut link = Link::new("10mbit", FlowsConfig::default());
    let shape = super_frame(44);
    let frame = Frame::new(7, shape);
    let at = |now| Time::from_nanos(now);
    assert_eq!(
        link.engine.offer(link.leaf, frame, at(link.now)),
        Offer::Queued
    );
    // The caller peels one segment at a time; what it has not sent shrinks by what was dropped.
    let (mut left, mut cut) = (shape, 0);
    loop {
        while let Some(grant) = link.engine.peek(at(link.now)) {
            let head = grant.frame.unwrap();
            assert_eq!(head.token, 7);
            assert!(head.shape.len <= left.len);
            cut += (left.len - head.shape.len) / 1448;
            let (part, rest) = match head.shape.peel(1) {
                Some((part, rest)) => (part, Some(rest)),
                None => (head.shape, None),
            };
            let done = link.engine.commit(part);
            assert_eq!(done.is_some(), rest.is_none());
            left = rest.unwrap_or(left);
        }
        match link.engine.next_wake(at(link.now)) {
            Wake::At(wake) => link.now = wake.ceil_nanos(),
            _ => break,
        }
    }
    // 44 segments take 54 ms, which is within the interval; nothing was cut.
    assert_eq!(cut, 0);
    assert_eq!(link.engine.dropped(), None);
}

/// Sends a backlog of super-frames that takes a second, segment by segment.
fn drain_super_frames(frame: fn(u64) -> Frame) -> (ClassStats, usize) {
    let mut link = Link::new("10mbit", FlowsConfig::default());
    for token in 0..20 {
        let now = Time::from_nanos(link.now);
        assert_eq!(
            link.engine.offer(link.leaf, frame(token), now),
            Offer::Queued
        );
    }
    let mut back = 0;
    while link.engine.snapshot()[0].queued > 0 {
        while let Some(grant) = link.engine.peek(Time::from_nanos(link.now)) {
            let frame = grant.frame.unwrap();
            let part = frame.shape.peel(1).filter(|_| !frame.whole);
            link.engine
                .commit(part.map_or(frame.shape, |(part, _)| part));
        }
        back += std::iter::from_fn(|| link.engine.dropped()).count();
        link.next();
    }
    (link.engine.snapshot()[0].stats, back)
}

#[test]
fn a_standing_queue_of_super_frames_loses_single_segments() {
    let (stats, back) = drain_super_frames(|token| Frame::new(token, super_frame(44)));
    assert_eq!(
        (stats.dropped.frames, back),
        (0, 0),
        "no frame was dropped whole"
    );
    assert!((20..200).contains(&stats.dropped.segments), "{stats:?}");
    assert_eq!(stats.dropped.bytes, stats.dropped.segments * (66 + 1448));
    assert_eq!(stats.sent.segments + stats.dropped.segments, 20 * 44);
    let wire = stats.sent.wire_bytes + stats.dropped.wire_bytes;
    assert_eq!(wire, stats.offered.wire_bytes);
}

#[test]
fn a_super_frame_that_cannot_be_peeled_is_dropped_whole() {
    let whole = |token| Frame::new(token, super_frame(44)).whole();
    let (stats, back) = drain_super_frames(whole);
    assert!(back > 1, "{stats:?}");
    assert_eq!(stats.dropped.frames, back as u64);
    assert_eq!(stats.dropped.segments, back as u64 * 44);
}

#[test]
fn marked_super_frames_lose_nothing() {
    let able = |token| Frame::new(token, super_frame(44)).ecn(Ecn::Ect1);
    let (stats, back) = drain_super_frames(able);
    assert_eq!((stats.dropped.segments, back), (0, 0));
    assert!(stats.marked > 10, "{stats:?}");
}

/// Whatever the settings and the traffic: every frame comes back once, every byte is accounted for.
#[test]
fn random_traffic_conserves_frames_segments_and_bytes() {
    for seed in 0..60 {
        let mut random = Random(seed);
        let flows = FlowsConfig {
            frames: 1 + random.below(60) as u32,
            bytes: (seed % 3 == 0).then(|| 1 + random.below(200_000) as u32),
            buckets: 1 + random.below(256) as u16,
            quantum: (seed % 2 == 0).then(|| 1 + random.below(70_000) as u32),
            target_nanos: random.below(5 * MS),
            interval_nanos: random.below(100 * MS),
            ce_threshold_nanos: (seed % 4 == 0).then(|| random.below(10 * MS)),
            ce_threshold_ect1_only: seed % 8 == 0,
            ack_filter: seed % 3 != 0,
            host_isolation: seed % 2 != 0,
        };
        let mut link = Link::with(flows, |leaf| TreeConfig {
            frames: 40,
            pool_share_percent: (seed % 5 > 0).then(|| 1 + random.below(400) as u32),
            flow_sets: (seed % 7) as u32,
            ..TreeConfig::new(vec![
                ClassConfig::new(ClassId::new(1, 0)).ceil("50mbit".parse().unwrap()),
                leaf,
            ])
        });
        churn(&mut link, &mut random);
    }
}

fn random_frame(random: &mut Random, token: u64) -> Frame {
    let shape = match random.below(3) {
        0 => FrameShape::single(60 + random.below(1455) as u32),
        1 => super_frame(1 + random.below(44) as u32),
        _ => FrameShape::single(66),
    };
    let mut frame = Frame::new(token, shape)
        .flow((random.below(12) as u32) << 28)
        .host((random.below(3) as u32) << 29)
        .ecn(Ecn::from_bits((random.below(9) / 2) as u8));
    frame.whole = random.below(8) == 0;
    if shape.len == 66 {
        frame = frame.ack(Ack::new(random.below(50) as u32, 1));
    }
    frame
}

fn churn(link: &mut Link, random: &mut Random) {
    let mut waiting: BTreeMap<u64, FrameShape> = BTreeMap::new();
    for token in 0..3000 {
        link.now += random.below(3 * MS) / 4;
        let now = Time::from_nanos(link.now);
        let frame = random_frame(random, token);
        if link.engine.offer(link.leaf, frame, now) == Offer::Queued {
            waiting.insert(token, frame.shape);
        }
        for _ in 0..random.below(3) {
            let Some(grant) = link.engine.peek(now) else {
                break;
            };
            let head = grant.frame.unwrap();
            assert!(head.shape.len <= waiting[&head.token].len);
            match random.below(4) {
                0 => link.engine.abort(crate::engine::Hold::Later),
                1 => drop(link.engine.commit(head.shape)),
                _ => {
                    let k = 1 + random.below(9) as u32;
                    let part = head.shape.peel(k).map_or(head.shape, |(part, _)| part);
                    let done = link.engine.commit(part);
                    assert_eq!(done.is_some(), part == head.shape);
                    waiting.insert(head.token, head.shape.after(part).unwrap_or(head.shape));
                    if done.is_some() {
                        waiting.remove(&head.token);
                    }
                    continue;
                }
            }
            if link
                .engine
                .peek(now)
                .and_then(|grant| grant.frame)
                .map(|f| f.token)
                != Some(head.token)
            {
                waiting.remove(&head.token);
            }
        }
        if random.below(3) > 0 {
            collect(link, &mut waiting);
        }
        if token % 7 == 0 {
            check(link);
        }
    }
    while link.engine.snapshot()[0].queued > 0 {
        for (_, _) in link.send() {}
        link.next();
    }
    collect(link, &mut waiting);
    let stats = link.engine.snapshot()[0].stats;
    let segments = stats.sent.segments + stats.dropped.segments;
    assert_eq!(segments, stats.offered.segments);
    let wire = stats.sent.wire_bytes + stats.dropped.wire_bytes;
    assert_eq!(wire, stats.offered.wire_bytes);
    assert!(stats.ack_filtered <= stats.dropped.frames);
}

/// Takes back what was dropped: each once, and only what waited.
fn collect(link: &mut Link, waiting: &mut BTreeMap<u64, FrameShape>) {
    while let Some(frame) = link.engine.dropped() {
        let shape = waiting.remove(&frame.token);
        assert!(shape.is_some_and(|shape| frame.shape.len <= shape.len));
    }
}

/// What the leaf says of itself is what is in its buckets.
fn check(link: &Link) {
    let leaf = &link.engine.flows[0];
    let pool = &link.engine.sets.pool;
    let (mut frames, mut bytes) = (leaf.lone.queue.frames, 0);
    for bucket in &pool.buckets {
        frames += bucket.line.queue.frames;
        bytes += bucket.bytes;
        assert_eq!(bucket.bytes > 0, bucket.line.queue.frames > 0);
    }
    assert_eq!(frames, leaf.frames);
    assert!(leaf.set == NONE || bytes == leaf.bytes);
    assert_eq!(leaf.frames == 0, leaf.bytes == 0);
    assert!(leaf.frames > 0 || pool.free_sets() == pool.heads.len());
    if let Some(head) = pool.heads.get(leaf.set as usize) {
        // One round makes good for whatever anybody was charged.
        let round = -head.quantum + 1..=head.quantum;
        let flows = pool.buckets.iter().map(Turn::place);
        let hosts = pool.hosts.iter().map(Turn::place);
        for deficit in flows.chain(hosts).filter_map(Place::listed_deficit) {
            assert!(round.contains(&deficit), "{deficit} of {round:?}");
        }
    }
}
