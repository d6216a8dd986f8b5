//! Every quantity reads back what it prints, and no text makes a parser panic.
#![allow(clippy::unwrap_used)] // in helpers, too, a panic is a failed test

use proptest::prelude::*;
use qos::{Burst, PacketBurst, PacketRate, Rate, RateSpec};

fn rate() -> impl Strategy<Value = Rate> {
    let scale = proptest::sample::select(vec![1_u64, 1000, 1_000_000, 1 << 20, 1_000_000_000]);
    (8_u64..32_000, scale).prop_map(|(n, scale)| Rate::from_bits_per_second(n * scale).unwrap())
}

fn burst() -> impl Strategy<Value = Burst> {
    let size = prop_oneof![1..=u64::MAX, (1_u64..1 << 30).prop_map(|n| n << 10)];
    let nanos = prop_oneof![1..=u64::MAX, (1_u64..1 << 30).prop_map(|n| n * 1_000_000)];
    prop_oneof![
        Just(Burst::Auto),
        size.prop_map(Burst::Bytes),
        nanos.prop_map(Burst::Duration),
    ]
}

fn packet_burst() -> impl Strategy<Value = PacketBurst> {
    prop_oneof![
        Just(PacketBurst::Auto),
        (1..=u64::MAX).prop_map(PacketBurst::Segments),
        (1..=u64::MAX).prop_map(PacketBurst::Duration),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_printed_reads_back(
        rate in rate(),
        any_bits in 8_u64..=32_000_000_000_000,
        pps in 1_u64..=1_000_000_000_000,
        burst in burst(),
        packet_burst in packet_burst(),
        with_burst: bool,
    ) {
        prop_assert_eq!(rate.to_string().parse(), Ok(rate));
        let any_rate = Rate::from_bits_per_second(any_bits).unwrap();
        prop_assert_eq!(any_rate.to_string().parse(), Ok(any_rate));
        let pps = PacketRate::from_segments_per_second(pps).unwrap();
        prop_assert_eq!(pps.to_string().parse(), Ok(pps));
        prop_assert_eq!(burst.to_string().parse(), Ok(burst));
        prop_assert_eq!(packet_burst.to_string().parse(), Ok(packet_burst));
        let spec = RateSpec { rate, burst: with_burst.then_some(burst) };
        prop_assert_eq!(spec.to_string().parse(), Ok(spec));
    }

    #[test]
    fn decimals_are_exact(whole in 0_u64..30_000, thousandths in 0_u64..1000) {
        prop_assume!(whole * 1000 + thousandths > 0);
        let rate: Rate = format!("{whole}.{thousandths:03}gbit").parse().unwrap();
        prop_assert_eq!(rate.bits_per_second(), whole * 1_000_000_000 + thousandths * 1_000_000);
    }

    #[test]
    fn no_text_panics_a_parser_and_every_error_explains_itself(
        text in prop_oneof![".{0,40}", "[0-9.]{0,45}[a-zA-Z/@ ]{0,8}[0-9]{0,3}(ms|us|s|)"],
    ) {
        let errors = [
            text.parse::<Rate>().err(),
            text.parse::<PacketRate>().err(),
            text.parse::<Burst>().err(),
            text.parse::<PacketBurst>().err(),
            text.parse::<RateSpec>().err(),
        ];
        for error in errors.into_iter().flatten() {
            prop_assert!(error.to_string().contains("write"), "{}", error);
        }
    }
}
