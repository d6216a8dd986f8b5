//! The time of a byte: rounded up, by less than one unit in the last place, at every rate.
#![allow(clippy::unwrap_used)] // in helpers, too, a panic is a failed test

mod common;

use common::rates;
use proptest::prelude::*;
use qos::{PacketRate, Rate};

/// Ticks of 2^-32 ns in a second, times eight bits.
const BYTE_AT_ONE_BIT: u128 = 8_000_000_000 << 32;
const SEGMENT_AT_ONE: u128 = 1_000_000_000 << 32;

/// How much too slow the rate is after rounding, in parts of 10^15; panics if it is too fast or
/// off by a whole unit in the last place.
fn slow_by(bits: u64) -> u128 {
    let inverse = Rate::from_bits_per_second(bits).unwrap().inverse();
    let product = u128::from(inverse.ticks_per_unit().get()) * u128::from(bits);
    let over = product
        .checked_sub(BYTE_AT_ONE_BIT)
        .expect("never too fast");
    assert!(over < u128::from(bits), "{bits}: rounded by a unit or more");
    over * 1_000_000_000_000_000 / product
}

#[test]
fn every_low_rate_is_rounded_up_by_less_than_a_unit() {
    for bits in 8..200_000 {
        slow_by(bits);
    }
}

#[test]
fn no_rate_up_to_the_largest_is_slow_by_a_millionth() {
    for rate in rates().chain([Rate::MIN, Rate::MAX]) {
        assert!(slow_by(rate.bits_per_second()) <= 1_000_000_000);
    }
}

#[test]
fn the_common_rates_are_met_to_a_few_parts_in_a_billion() {
    let giga = 1_000_000_000;
    assert!(slow_by(100 * giga) < 940_000);
    assert!(slow_by(400 * giga) < 940_000);
    assert!(slow_by(1600 * giga) < 25_000_000);
    for bits in [
        giga / 1000,
        giga / 100,
        giga / 10,
        giga,
        5 * giga,
        10 * giga,
    ] {
        assert!(slow_by(bits) < 100_000, "{bits}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_rate_is_rounded_up_by_less_than_a_unit(bits in 8_u64..=32_000_000_000_000) {
        prop_assert!(slow_by(bits) < 1_000_000_000);
    }

    #[test]
    fn any_packet_rate_is_rounded_up_by_less_than_a_unit(pps in 1_u64..=1_000_000_000_000) {
        let inverse = PacketRate::from_segments_per_second(pps).unwrap().inverse();
        let product = u128::from(inverse.ticks_per_unit().get()) * u128::from(pps);
        prop_assert!((SEGMENT_AT_ONE..SEGMENT_AT_ONE + u128::from(pps)).contains(&product));
    }
}
