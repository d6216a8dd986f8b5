//! T11: a closed limiter names an instant after now at which it is open, and not one tick sooner.
#![allow(clippy::unwrap_used)] // in helpers, too, a panic is a failed test

mod common;

use common::Rng;
use proptest::prelude::*;
use qos::{Burst, Cost, Demand, Limiter, LimiterConfig, PacketBurst, PacketRate, Rate, Span, Time};

/// The contract itself, at one instant.
fn check(limiter: &Limiter, now: Time) -> Result<(), TestCaseError> {
    match limiter.next_wake(now) {
        None => prop_assert!(limiter.ready(now), "closed, and no wake"),
        Some(wake) => {
            prop_assert!(!limiter.ready(now), "a wake although it is open");
            prop_assert!(wake > now, "a wake that is not in the future");
            prop_assert!(limiter.ready(wake), "not open at its own wake");
            let before = wake.saturating_sub(Span::from_ticks(1));
            prop_assert!(!limiter.ready(before), "open before its wake");
            // The last nanosecond of the clock, centuries away, has no next one to arm.
            if wake.as_nanos() < u64::MAX {
                prop_assert!(limiter.ready(Time::from_nanos(wake.ceil_nanos())));
            }
        }
    }
    Ok(())
}

fn rate() -> impl Strategy<Value = Option<Rate>> {
    let bits = (3_u32..45).prop_flat_map(|log| (1_u64 << log)..(2 << log));
    bits.prop_map(|bits| Rate::from_bits_per_second(bits.min(32_000_000_000_000)))
}

fn pps() -> impl Strategy<Value = Option<PacketRate>> {
    (0_u32..40)
        .prop_flat_map(|log| (1_u64 << log)..(2 << log))
        .prop_map(PacketRate::from_segments_per_second)
}

fn burst() -> impl Strategy<Value = Burst> {
    prop_oneof![
        Just(Burst::Auto),
        Just(Burst::Bytes(0)),
        any::<u64>().prop_map(Burst::Bytes),
        (0..1_u64 << 34).prop_map(Burst::Duration),
    ]
}

prop_compose! {
    fn config()(
        rate in prop_oneof![4 => rate(), 1 => Just(None)],
        burst in burst(),
        pps in prop_oneof![1 => pps(), 1 => Just(None)],
        pps_burst in (0..1_u64 << 20).prop_map(PacketBurst::Segments),
    ) -> LimiterConfig {
        LimiterConfig { rate, burst, pps, pps_burst, ..LimiterConfig::default() }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_closed_limiter_always_names_the_instant_at_which_it_opens(
        configs in proptest::collection::vec(config(), 1..4),
        seed: u64,
        start in prop_oneof![Just(0_u64), any::<u64>(), Just(u64::MAX)],
    ) {
        let mut rng = Rng(seed);
        let mut limiter = Limiter::new(&configs[0]);
        let mut now = Time::from_nanos(start);
        for step in 0..150_usize {
            check(&limiter, now)?;
            let units = rng.bits() >> rng.below(64);
            let segments = u32::try_from(rng.bits() >> (32 + rng.below(32))).unwrap();
            match rng.below(8) {
                0 => now = now.saturating_add(Span::from_ticks((rng.bits() >> rng.below(64)).into())),
                1 => now = limiter.next_wake(now).unwrap_or(now),
                2 => now = now.saturating_sub(Span::from_nanos(rng.below(1 << 30))),
                3 => limiter.retune(&configs[step % configs.len()], now),
                _ => limiter.commit(now, Cost { wire_bytes: units, segments }, Demand::Fresh),
            }
        }
    }
}

#[test]
fn a_debt_of_any_part_of_a_nanosecond_gets_its_wake() {
    // At 32 Tbit/s a byte takes a quarter of a nanosecond and every commit leaves some fraction.
    for bits in [32_000_000_000_000, 1_600_000_000_000, 399_999_999_989] {
        let mut limiter = Limiter::new(&LimiterConfig {
            rate: Rate::from_bits_per_second(bits),
            burst: Burst::Bytes(0),
            ..LimiterConfig::default()
        });
        let mut now = Time::from_nanos(77);
        for units in (1..=40).cycle().take(4000) {
            let cost = Cost {
                wire_bytes: units,
                segments: 1,
            };
            assert!(limiter.ready(now));
            limiter.commit(now, cost, Demand::Backlogged);
            check(&limiter, now).unwrap();
            let wake = limiter.next_wake(now).unwrap();
            now = Time::from_nanos(wake.ceil_nanos());
        }
    }
}
