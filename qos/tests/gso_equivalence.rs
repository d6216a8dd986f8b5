//! T13: the same payload costs the same to the byte as one super-frame, as peeled parts or as MTU
//! frames, and gets the same long-run share. The closed formula against plain segmentation.
#![allow(clippy::unwrap_used)] // in helpers, too, a panic is a failed test

mod common;

use common::Rng;
use proptest::prelude::*;
use qos::{Cost, Demand, FrameShape, Framing, Limiter, LimiterConfig, Time};

/// Cuts a super-frame into its segments and adds up what they cost.
fn by_segments(framing: Framing, shape: FrameShape) -> Cost {
    let mut cost = Cost::default();
    let mut payload = shape.len - shape.headers;
    loop {
        let part = if shape.gso_size == 0 {
            payload
        } else {
            payload.min(shape.gso_size)
        };
        let frame = framing.cost(FrameShape::single(shape.headers + part));
        cost.wire_bytes += frame.wire_bytes;
        cost.segments += 1;
        payload -= part;
        if payload == 0 {
            return cost;
        }
    }
}

/// Peels `segments` at a time off a super-frame and adds up what the parts cost.
fn by_peeling(framing: Framing, shape: FrameShape, segments: u32) -> Cost {
    let mut cost = Cost::default();
    let mut payload = shape.len - shape.headers;
    while payload > 0 {
        let part = payload.min(shape.gso_size.saturating_mul(segments));
        let peeled = framing.cost(FrameShape {
            len: shape.headers + part,
            ..shape
        });
        cost.wire_bytes += peeled.wire_bytes;
        cost.segments += peeled.segments;
        payload -= part;
    }
    cost
}

#[test]
fn the_formula_is_plain_segmentation_on_all_small_shapes() {
    let framings = [
        Framing::ETHERNET,
        Framing::L2,
        Framing::L3,
        Framing {
            overhead: 0,
            mpu: 0,
        },
        Framing {
            overhead: -9,
            mpu: 7,
        },
    ];
    for framing in framings {
        for headers in 0..20 {
            for len in headers..100 {
                for gso_size in 0..40 {
                    let shape = FrameShape {
                        len,
                        headers,
                        gso_size,
                    };
                    assert_eq!(
                        framing.cost(shape),
                        by_segments(framing, shape),
                        "{shape:?}"
                    );
                }
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2048, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whole_peeled_and_cut_cost_the_same_to_the_byte(
        headers in 34_u32..200,
        payload in 1_u32..66_000,
        gso_size in 40_u32..9000,
        peel in 1_u32..50,
        overhead in -20_i32..60,
        mpu in 0_u32..300,
    ) {
        let framing = Framing { overhead, mpu };
        let shape = FrameShape { len: headers + payload, headers, gso_size };
        let whole = framing.cost(shape);
        prop_assert_eq!(whole, by_segments(framing, shape));
        prop_assert_eq!(whole, by_peeling(framing, shape, peel));
    }

    #[test]
    fn a_longer_frame_is_never_cheaper_and_never_below_its_length(
        len: u32, more: u32, headers: u32, gso_size: u32,
        overhead in 0..=i32::MAX, mpu: u32,
    ) {
        let framing = Framing { overhead, mpu };
        let short = framing.cost(FrameShape { len, headers, gso_size });
        let len = len.saturating_add(more);
        let long = framing.cost(FrameShape { len, headers, gso_size });
        prop_assert!(long.wire_bytes >= short.wire_bytes && long.segments >= short.segments);
        prop_assert!(long.wire_bytes >= u64::from(len));
    }
}

/// Payload that passes a 50 Mbit/s limit in 20 s when sent in parts of `segments` segments, with
/// polls up to 1 ms late.
fn payload_in_twenty_seconds(segments: u32) -> u64 {
    let mut limiter = Limiter::new(&LimiterConfig {
        rate: Some("50mbit".parse().unwrap()),
        ..LimiterConfig::default()
    });
    let payload = segments * 1448;
    let cost = Framing::ETHERNET.cost(FrameShape {
        len: 66 + payload,
        headers: 66,
        gso_size: 1448,
    });
    let (mut rng, mut now, mut sent) = (Rng(segments.into()), Time::ZERO, 0);
    while now < Time::from_nanos(20_000_000_000) {
        while limiter.ready(now) {
            limiter.commit(now, cost, Demand::Backlogged);
            sent += u64::from(payload);
        }
        let wake = limiter.next_wake(now).unwrap();
        now = Time::from_nanos(wake.ceil_nanos() + rng.below(1_000_000));
    }
    sent
}

#[test]
fn super_frames_peels_and_single_frames_get_the_same_share() {
    let single = payload_in_twenty_seconds(1);
    for segments in [2, 8, 45] {
        let share = payload_in_twenty_seconds(segments);
        assert!(
            share.abs_diff(single) * 1000 <= single,
            "{segments}: {share} {single}"
        );
    }
}
