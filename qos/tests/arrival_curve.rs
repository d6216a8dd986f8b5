//! T1: in every window of length `t`, at most `rate * t + burst + one unit` passes. No tolerance.
#![allow(clippy::unwrap_used)] // in helpers, too, a panic is a failed test

mod common;

use common::{BYTE, Excess, Rng, rates};
use proptest::prelude::*;
use qos::{Burst, Cost, Demand, FrameShape, Framing, Limiter, LimiterConfig, Rate, Span, Time};

/// A frame or super-frame of 60 B to 64 KB.
fn any_cost(rng: &mut Rng) -> Cost {
    let shape = match rng.below(3) {
        0 => FrameShape::single(60),
        1 => FrameShape::single(60 + u32::try_from(rng.below(1455)).unwrap()),
        _ => FrameShape {
            len: 1515 + u32::try_from(rng.below(64_000)).unwrap(),
            headers: 66,
            gso_size: 1448,
        },
    };
    Framing::ETHERNET.cost(shape)
}

/// The burst of `config` in the meter's scale: exact bytes where it says bytes.
fn burst_bound(config: &LimiterConfig, meter: &Excess) -> i128 {
    match config.burst {
        Burst::Auto => (i128::from(config.unit_wire_bytes) * BYTE)
            .max(meter.worth(Span::from_nanos(2_000_000))),
        Burst::Bytes(bytes) => i128::from(bytes) * BYTE,
        Burst::Duration(nanos) => meter.worth(Span::from_nanos(nanos)),
    }
}

/// Sends with pauses, late polls and a budget per poll, the first of which is `first`; returns (highest excess, bound, largest unit).
fn run(rate: Rate, burst: Burst, seed: u64, first: u64) -> (i128, i128, i128) {
    let config = LimiterConfig {
        rate: Some(rate),
        burst,
        ..LimiterConfig::default()
    };
    let mut rng = Rng(seed);
    let mut limiter = Limiter::new(&config);
    let mut meter = Excess::new(rate);
    let mut now = Time::from_nanos(rng.below(1 << 40));
    let mut unit = 0;
    let mut budget = first;
    for _ in 0..400 {
        for _ in 0..budget {
            if !limiter.ready(now) {
                break;
            }
            let cost = any_cost(&mut rng);
            limiter.commit(now, cost, Demand::Fresh);
            meter.sent(now, cost.wire_bytes);
            unit = unit.max(i128::from(cost.wire_bytes) * BYTE);
        }
        budget = 1 + rng.below(64);
        let wake = limiter.next_wake(now).unwrap_or(now);
        let pause =
            Span::from_ticks(u128::from(rng.bits() >> (rng.below(56) + 8)) << rng.below(24));
        now = match rng.below(4) {
            0 => now.saturating_add(pause),
            1 => wake.saturating_add(pause),
            2 => wake,
            _ => Time::from_nanos(wake.ceil_nanos()),
        };
    }
    (meter.highest(), burst_bound(&config, &meter), unit)
}

#[test]
fn no_window_at_any_rate_exceeds_burst_and_one_unit() {
    for (seed, rate) in (0..).zip(rates()) {
        for burst in [
            Burst::Auto,
            Burst::Bytes(0),
            Burst::Bytes(3000),
            Burst::Bytes(1 << 20),
            Burst::Duration(20_000_000),
        ] {
            let (highest, bound, unit) = run(rate, burst, seed, u64::MAX);
            assert!(
                highest <= bound + unit,
                "{rate} {burst}: {highest} > {bound} + {unit}"
            );
            assert!(
                highest > bound,
                "{rate} {burst}: the burst was never used up"
            );
        }
    }
}

#[test]
fn retuning_amid_traffic_keeps_every_window_below_the_faster_rate_and_larger_burst() {
    let (slow, fast): (Rate, Rate) = ("7mbit".parse().unwrap(), "90mbit".parse().unwrap());
    let mut rng = Rng(3);
    let mut meter = Excess::new(fast);
    let config = |rate, burst| LimiterConfig {
        rate: Some(rate),
        burst: Burst::Bytes(burst),
        ..LimiterConfig::default()
    };
    let mut limiter = Limiter::new(&config(fast, 50_000));
    let (mut now, mut unit) = (Time::ZERO, 0);
    for _ in 0..20_000 {
        while limiter.ready(now) {
            let cost = any_cost(&mut rng);
            limiter.commit(now, cost, Demand::Fresh);
            meter.sent(now, cost.wire_bytes);
            unit = unit.max(i128::from(cost.wire_bytes) * BYTE);
        }
        now = now.saturating_add(Span::from_nanos(rng.below(3_000_000)));
        let rate = if rng.below(2) == 0 { slow } else { fast };
        limiter.retune(&config(rate, rng.below(50_001)), now);
    }
    assert!(meter.highest() <= 50_000 * BYTE + unit);
}

#[test]
fn ten_megabit_of_super_frames_stay_near_the_rate_over_any_five_seconds() {
    let rate: Rate = "10mbit".parse().unwrap();
    let config = LimiterConfig {
        rate: Some(rate),
        ..LimiterConfig::default()
    };
    let mut limiter = Limiter::new(&config);
    let super_frame = Framing::ETHERNET.cost(FrameShape {
        len: 65_226,
        headers: 66,
        gso_size: 1448,
    });
    let (mut now, mut sent) = (Time::from_nanos(1_000_000_000), Vec::new());
    while now < Time::from_nanos(31_000_000_000) {
        while limiter.ready(now) {
            limiter.commit(now, super_frame, Demand::Backlogged);
            sent.push(now);
        }
        now = limiter.next_wake(now).unwrap();
    }
    let window = Span::from_nanos(5_000_000_000);
    let fair = rate.bytes_in(5_000_000_000);
    for &start in &sent {
        let end = start.saturating_add(window);
        let count = sent.iter().filter(|&&at| at >= start && at < end).count();
        let bytes = u64::try_from(count).unwrap() * super_frame.wire_bytes;
        assert!(
            bytes <= fair + super_frame.wire_bytes + 2500,
            "{bytes} in 5 s"
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_window_exceeds_burst_and_one_unit(
        bits in (3_u32..45).prop_flat_map(|log| (1_u64 << log)..(2 << log)),
        burst in prop_oneof![
            Just(Burst::Auto),
            (0..1_u64 << 24).prop_map(Burst::Bytes),
            (0..1_u64 << 30).prop_map(Burst::Duration),
        ],
        seed: u64,
    ) {
        let rate = Rate::from_bits_per_second(bits.min(32_000_000_000_000)).unwrap();
        let (highest, bound, unit) = run(rate, burst, seed, 64);
        prop_assert!(highest <= bound + unit);
    }
}
