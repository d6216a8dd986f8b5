//! T2, T3: the rate of a class over a long run, polled on time and late, between two exact token
//! buckets that are polled at the same instants: one of the rate asked, one slower by a millionth.
#![allow(clippy::unwrap_used)] // in helpers, too, a panic is a failed test

mod common;

use common::bucket::{Bucket, WHOLE};
use common::sim::{FULL, SUPER, TINY, child, id, rate};
use common::{BYTE, Rng, rates, ticks};
use qos::{Burst, ClassConfig, Engine, FrameShape, Framing, Rate, Span, Time, TreeConfig, Wake};

/// The burst of every limit here, as time, unless a frame is more.
const TOLERANCE: Span = Span::from_ticks(2_000_000 << 32);

/// The `n`th frame, whoever sends it: 60 B to 64 KB.
fn frame(n: u64) -> FrameShape {
    let random = Rng(n).bits();
    [
        FULL,
        TINY,
        SUPER,
        FrameShape::single(60 + (random >> 53) as u32),
    ][(random % 4) as usize]
}

/// Lets a bucket send at `now`; returns what did not fit.
fn replay(bucket: &mut Bucket, count: &mut u64, now: Time) -> i128 {
    let lost = bucket.fill(now);
    while bucket.open() {
        bucket.take(Framing::ETHERNET.cost(frame(*count)).wire_bytes);
        *count += 1;
    }
    lost
}

/// What a run did.
struct Run {
    /// Scaled as in [`BYTE`]: what the rate allows from the first wake on, and what went.
    due: i128,
    sent: i128,
    /// What the bucket of the rate asked lost to lateness, in the same scale.
    lost: i128,
    polls: u64,
}

/// One leaf with a ceiling of 2 ms burst, polled `0..=jitter` ns after each wake; fails where the
/// engine is ahead of the bucket of the rate asked, or behind the one that is slower by a millionth.
/// Without tolerance, at every poll: since every bucket sends the same frames in the same order, and
/// a slower one never sends a frame sooner, a rate between the two is between their counts.
fn polled(ceil: Rate, jitter: u64, polls: u64) -> Run {
    let mut leaf = child(1).ceil(ceil);
    leaf.cburst = Burst::Auto;
    let tree = TreeConfig::new(vec![ClassConfig::new(id(1, 0)), leaf]);
    let mut engine = Engine::new(&tree).unwrap();
    let key = engine.leaf(id(1, 1)).unwrap();
    let mut now = Time::from_nanos(1 << 30);
    let full = |millionths| Bucket::new(ceil, millionths, TOLERANCE, 1538, now);
    let (mut fast, mut slow) = (full(WHOLE), full(WHOLE - 1));
    let (mut count, mut fast_count, mut slow_count) = (0, 0, 0);
    let (mut rng, mut lost) = (Rng(jitter), 0);
    let (mut first, mut last, mut before) = (None, now, 0);
    let mut sent = 0;
    engine.backlogged(key, now);
    for poll in 0..=polls {
        let late = replay(&mut fast, &mut fast_count, now);
        // The burst is not lost to anybody before it is spent.
        lost += if poll > 0 { late } else { 0 };
        replay(&mut slow, &mut slow_count, now);
        while engine.peek(now).is_some() {
            engine.commit(frame(count));
            sent += Framing::ETHERNET.cost(frame(count)).wire_bytes;
            count += 1;
        }
        assert!(
            sent <= fast.sent,
            "{ceil}: {sent} sent, {} allowed",
            fast.sent
        );
        assert!(sent >= slow.sent, "{ceil}: {sent} sent, {} due", slow.sent);
        let Wake::At(wake) = engine.next_wake(now) else {
            panic!("backlogged and closed, but no wake");
        };
        if first.is_none() {
            (first, before) = (Some(wake), sent);
        }
        last = wake;
        now = Time::from_nanos(wake.ceil_nanos() + rng.below(jitter + 1));
    }
    let elapsed = ticks(last.since(first.unwrap()));
    Run {
        due: i128::from(ceil.bits_per_second()) * elapsed,
        sent: i128::from(sent - before) * BYTE,
        lost: lost / WHOLE,
        polls,
    }
}

#[test]
fn polled_when_it_says_a_class_is_never_faster_and_slower_by_a_millionth_at_most() {
    for ceil in rates() {
        let run = polled(ceil, 0, 1000);
        assert_eq!(run.lost, 0, "{ceil}");
    }
}

#[test]
fn polls_late_within_the_burst_lose_nothing() {
    for ceil in rates() {
        for jitter in [1000, 300_000, 1_990_000] {
            let run = polled(ceil, jitter, 100);
            assert_eq!(run.lost, 0, "{ceil} {jitter}");
        }
    }
}

#[test]
fn polls_later_than_the_burst_lose_what_the_integral_and_the_bucket_say() {
    let ceil = rate("100mbit");
    for jitter in [4_000_000_u64, 10_000_000, 40_000_000] {
        let run = polled(ceil, jitter, 40_000);
        let loss = run.due - run.sent;
        let close = |predicted: i128| (loss - predicted).abs() * 100 <= predicted;
        assert!(close(run.lost), "{jitter}: {loss} instead of {}", run.lost);
        // A poll j late loses j - 2 ms where that is positive: the mean over 0..J is the integral
        // (J - 2 ms)^2 / 2J.
        let over = i128::from(jitter) - 2_000_000;
        let mean = ((over * over) << 32) / (2 * i128::from(jitter));
        let integral = i128::from(ceil.bits_per_second()) * mean * i128::from(run.polls);
        assert!(close(integral), "{jitter}: {loss} instead of {integral}");
    }
}
