//! The limit against a plain token bucket on every history of a small domain, and the algebra of
//! its charges.
#![allow(clippy::unwrap_used)] // in helpers, too, a panic is a failed test

use proptest::prelude::*;
use qos::{Gcra, Rate, Span, Time};

/// One byte per nanosecond, so that the oracle below is exact.
fn byte_per_ns(burst: u64) -> Gcra {
    let rate: Rate = "8gbit".parse().unwrap();
    Gcra::new(rate.inverse(), rate.inverse().cost(burst))
}

/// The textbook bucket that a limit must equal: a level that fills by one byte per nanosecond up
/// to the burst and may be driven below zero by one unit.
#[derive(Clone, Copy)]
struct Bucket {
    level: i64,
    burst: i64,
}

impl Bucket {
    fn advance(&mut self, nanos: i64) {
        self.level = (self.level + nanos).min(self.burst);
    }

    fn ready(self) -> bool {
        self.level >= 0
    }
}

fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap()
}

/// Tries every pause and every unit after the history so far, `depth` steps deep.
fn explore(gcra: &Gcra, bucket: Bucket, now: u64, depth: u32) {
    let here = Time::from_nanos(now);
    assert_eq!(gcra.ready(here), bucket.ready());
    let wait = u64::try_from(-bucket.level).ok().filter(|&wait| wait > 0);
    let wake = wait.map(|wait| Time::from_nanos(now + wait));
    assert_eq!(gcra.next_wake(here), wake);
    if depth == 0 {
        return;
    }
    for pause in 0..4 {
        let mut bucket = bucket;
        bucket.advance(signed(pause));
        for units in 0..5 {
            let (mut gcra, mut bucket) = (gcra.clone(), bucket);
            if units > 0 && bucket.ready() {
                gcra.commit(Time::from_nanos(now + pause), units);
                bucket.level -= signed(units);
            }
            explore(&gcra, bucket, now + pause, depth - 1);
        }
    }
}

#[test]
fn every_short_history_agrees_with_a_token_bucket() {
    for burst in 0..5 {
        let bucket = Bucket {
            level: signed(burst),
            burst: signed(burst),
        };
        explore(&byte_per_ns(burst), bucket, 100, 4);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2048, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn split_and_joined_charges_leave_the_same_state(
        bits in 8_u64..=32_000_000_000_000,
        now: u64,
        parts in proptest::collection::vec(0_u64..1 << 40, 1..8),
    ) {
        let inverse = Rate::from_bits_per_second(bits).unwrap().inverse();
        let mut split = Gcra::new(inverse, Span::from_nanos(1000));
        let mut joined = split.clone();
        let now = Time::from_nanos(now);
        for &part in &parts {
            split.commit(now, part);
        }
        joined.commit(now, parts.iter().sum());
        prop_assert_eq!(split, joined);
    }

    #[test]
    fn a_clock_that_steps_back_never_lets_more_through(
        steps in proptest::collection::vec((0_u64..4000, 1_u64..3000), 1..60),
    ) {
        let mut gcra = byte_per_ns(1500);
        let (mut latest, mut sent, mut last) = (0, 0, 0);
        let first = steps[0].0;
        for &(now, units) in &steps {
            latest = latest.max(now);
            if gcra.ready(Time::from_nanos(now)) {
                gcra.commit(Time::from_nanos(now), units);
                sent += units;
                last = units;
            }
        }
        prop_assert!(sent <= latest - first + 1500 + last);
    }

    #[test]
    fn retuning_never_adds_credit(
        from in 8_u64..=32_000_000_000_000,
        to in 8_u64..=32_000_000_000_000,
        tolerances in (0_u64..1 << 34, 0_u64..1 << 34),
        sent in 0_u64..1 << 30,
    ) {
        let [from, to] = [from, to].map(|bits| Rate::from_bits_per_second(bits).unwrap().inverse());
        let [old, new] = [tolerances.0, tolerances.1].map(Span::from_nanos);
        let now = Time::from_nanos(1 << 50);
        let mut gcra = Gcra::new(from, old);
        gcra.commit(now, sent);
        let passes = |gcra: &Gcra| {
            // Bytes until the limit closes, by doubling steps.
            (0..62).rev().fold(0_u64, |bytes, log| {
                let mut probe = gcra.clone();
                probe.commit(now, bytes + (1 << log));
                if probe.ready(now) { bytes + (1 << log) } else { bytes }
            })
        };
        let before = passes(&gcra);
        gcra.retune(to, new, now);
        prop_assert!(passes(&gcra) <= before);
    }
}
