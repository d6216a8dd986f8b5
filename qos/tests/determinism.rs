//! T15, as far as limiters go: the same trace on every run, build and machine.
#![allow(clippy::unwrap_used)] // in helpers, too, a panic is a failed test

mod common;

use common::Rng;
use qos::{Cost, Demand, Limiter, LimiterConfig, Time};

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
fn the_trace_is_the_same_in_every_run_and_build() {
    assert_eq!(trace(), trace());
    assert_eq!(trace(), 6_693_473_245_003_966_478);
}
