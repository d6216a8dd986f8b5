//! T2 and T3: the rate over a long run, polled on time and late.
#![allow(clippy::unwrap_used)] // in helpers, too, a panic is a failed test

mod common;

use common::{BYTE, Rng, rates, ticks};
use qos::{Burst, Cost, Demand, FrameShape, Framing, Limiter, LimiterConfig, Rate, Span, Time};

/// Parts in a million that the rate may fall short.
const MILLION: i128 = 1_000_000;

fn limiter(rate: Rate, burst: Burst) -> Limiter {
    Limiter::new(&LimiterConfig {
        rate: Some(rate),
        burst,
        ..LimiterConfig::default()
    })
}

/// A 60 B frame, a full frame or a super-frame of up to 64 KB.
fn mixed(rng: &mut Rng) -> Cost {
    Framing::ETHERNET.cost(match rng.below(3) {
        0 => FrameShape::single(60),
        1 => FrameShape::single(1514),
        _ => FrameShape {
            len: 2000 + u32::try_from(rng.below(63_000)).unwrap(),
            headers: 54,
            gso_size: 1460,
        },
    })
}

/// Sends all that is allowed at `now`; returns the bytes.
fn send_all(limiter: &mut Limiter, now: Time, rng: &mut Rng) -> i128 {
    send(limiter, now, rng, Demand::Backlogged)
}

/// Like [`send_all`], for the frames that find the limiter unused.
fn spend_burst(limiter: &mut Limiter, now: Time, rng: &mut Rng) -> i128 {
    send(limiter, now, rng, Demand::Fresh)
}

fn send(limiter: &mut Limiter, now: Time, rng: &mut Rng, demand: Demand) -> i128 {
    let mut bytes = 0;
    while limiter.ready(now) {
        let cost = mixed(rng);
        limiter.commit(now, cost, demand);
        bytes += i128::from(cost.wire_bytes);
    }
    bytes
}

#[test]
fn polled_when_it_says_the_rate_is_met_to_one_in_a_million_and_never_exceeded() {
    for (seed, rate) in (0..).zip(rates()) {
        for burst in [Burst::Auto, Burst::Bytes(0), Burst::Bytes(200_000)] {
            let (mut rng, mut limiter) = (Rng(seed), limiter(rate, burst));
            let start = Time::from_nanos(5_000_000_000);
            spend_burst(&mut limiter, start, &mut rng);
            let first = limiter.next_wake(start).unwrap();
            let (mut now, mut sent) = (first, 0);
            for _ in 0..1500 {
                sent += send_all(&mut limiter, now, &mut rng);
                now = limiter.next_wake(now).unwrap();
            }
            let due = i128::from(rate.bits_per_second()) * ticks(now.since(first));
            let error = sent * BYTE - due;
            assert!(error <= 0, "{rate} {burst}: too fast by {error}");
            assert!(
                -error * MILLION <= due,
                "{rate} {burst}: too slow by {error}"
            );
            assert_eq!(limiter.lost_credit(), Span::ZERO);
        }
    }
}

/// What `polls` polls, each up to `jitter` ns after its wake, sent and should have sent (scaled
/// bytes), and the limiter.
fn late(rate: Rate, jitter: u64, polls: u64) -> (i128, i128, Limiter) {
    let mut rng = Rng(jitter);
    let mut limiter = limiter(rate, Burst::Duration(2_000_000));
    let start = Time::from_nanos(5_000_000_000);
    spend_burst(&mut limiter, start, &mut rng);
    let first = limiter.next_wake(start).unwrap();
    let (mut now, mut sent) = (first, 0);
    for _ in 0..polls {
        let late = now.saturating_add(Span::from_nanos(rng.below(jitter + 1)));
        sent += send_all(&mut limiter, late, &mut rng);
        now = limiter.next_wake(late).unwrap();
    }
    let due = i128::from(rate.bits_per_second()) * ticks(now.since(first));
    (sent * BYTE, due, limiter)
}

#[test]
fn polls_that_come_late_within_the_burst_lose_nothing() {
    for rate in rates().filter(|rate| rate.bits_per_second() < 20_000_000_000) {
        for jitter in [1000, 300_000, 2_000_000] {
            let (sent, due, limiter) = late(rate, jitter, 150);
            assert!(
                sent <= due && (due - sent) * MILLION <= due,
                "{rate} {jitter}"
            );
            assert_eq!(limiter.lost_credit(), Span::ZERO, "{rate} {jitter}");
        }
    }
}

#[test]
fn polls_later_than_the_burst_lose_what_is_predicted_and_count_it() {
    let rate: Rate = "100mbit".parse().unwrap();
    for jitter in [4_000_000_u64, 10_000_000] {
        let polls = 40_000;
        let (sent, due, limiter) = late(rate, jitter, polls);
        // A poll that is `j` late loses j - 2 ms if that is positive; for j uniform in 0..J the
        // mean is (J - 2 ms)^2 / 2J.
        let over = u128::from(jitter - 2_000_000);
        let mean = Span::from_ticks(((over * over) << 32) / (2 * u128::from(jitter)));
        let predicted = i128::from(rate.bits_per_second()) * ticks(mean) * i128::from(polls);
        let lost = due - sent;
        assert!(
            (lost - predicted).abs() * 100 <= predicted,
            "{jitter}: {lost} {predicted}"
        );
        let counted = i128::from(rate.bits_per_second()) * ticks(limiter.lost_credit());
        assert!(
            (lost - counted).abs() * MILLION <= lost,
            "{jitter}: {lost} {counted}"
        );
    }
}

#[test]
fn timers_of_whole_nanoseconds_cost_no_rate_while_there_is_a_burst() {
    let rate: Rate = "400gbit".parse().unwrap();
    let (mut rng, mut limiter) = (Rng(1), limiter(rate, Burst::Bytes(1538)));
    let (mut now, mut sent) = (Time::ZERO, 0);
    for _ in 0..200_000 {
        sent += send_all(&mut limiter, now, &mut rng);
        now = Time::from_nanos(limiter.next_wake(now).unwrap().ceil_nanos());
    }
    let due = i128::from(rate.bits_per_second()) * ticks(now.since(Time::ZERO));
    // The burst and one unit at the start, a nanosecond at the end.
    let edge = (1538 + 70_000) * BYTE;
    assert!((sent * BYTE - due).abs() <= due / MILLION + edge);
    assert_eq!(limiter.lost_credit(), Span::ZERO);
}
