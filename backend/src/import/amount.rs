//! Amounts in other tools' units, made into ours. What does not come out even is rounded down: no limit
//! gets looser.

use std::ops::RangeInclusive;

use qos::{Burst, Framing, PacketRate, Rate};

use super::{ImportError, Place};

/// The frame from its destination address on, without what the wire adds.
pub(super) const FRAME: Framing = Framing {
    overhead: 0,
    mpu: 0,
};

/// The packet in the frame, without its Ethernet header of 14 bytes.
pub(super) const PACKET: Framing = Framing {
    overhead: -14,
    mpu: 0,
};

/// `bits` in `per` seconds-parts: `rate(place, "…", 8 * bytes * 1000, milliseconds)`.
pub(super) fn rate(place: &Place, shown: u64, bits: u128, per: u64) -> Result<Rate, ImportError> {
    let bits = bits.checked_div(per.into());
    let rate = bits
        .and_then(|bits| u64::try_from(bits).ok())
        .and_then(Rate::from_bits_per_second);
    rate.ok_or_else(|| {
        let range = format!("this must come to {} to {}", Rate::MIN, Rate::MAX);
        place.value(
            shown,
            format_args!("{range}; without a limit, leave it out"),
        )
    })
}

/// As [`rate`], for a rate in a multiple of bit/s.
pub(super) fn multiple(place: &Place, amount: u64, bits: u64) -> Result<Rate, ImportError> {
    rate(place, amount, product(amount, bits), 1)
}

/// Packets in a part of a second.
pub(super) fn packets(
    place: &Place,
    shown: u64,
    packets: u128,
    per: u64,
) -> Result<PacketRate, ImportError> {
    let packets = packets.checked_div(per.into());
    let rate = packets
        .and_then(|packets| u64::try_from(packets).ok())
        .and_then(PacketRate::from_segments_per_second);
    rate.ok_or_else(|| {
        let range = format!(
            "this must come to {} to {}",
            PacketRate::MIN,
            PacketRate::MAX
        );
        place.value(
            shown,
            format_args!("{range}; without a limit, leave it out"),
        )
    })
}

/// A burst of `amount` units of as many bits.
pub(super) fn burst(amount: u64, bits: u64) -> Burst {
    let bytes = product(amount, bits) / 8;
    Burst::Bytes(u64::try_from(bytes).unwrap_or(u64::MAX))
}

/// The quantum by which HTB shares what is left over, in bytes, where none is written: the rate's bytes by
/// `r2q`, 10, within what the kernel bounds that by (`htb_change_class` of net/sched/sch_htb.c).
pub(super) fn quantum(bits_per_second: u64) -> u32 {
    const QUANTA: RangeInclusive<u64> = 1000..=200_000;
    let bytes = (bits_per_second / 8 / 10).clamp(*QUANTA.start(), *QUANTA.end());
    u32::try_from(bytes).unwrap_or(u32::MAX)
}

/// Never too large.
pub(super) fn product(a: u64, b: u64) -> u128 {
    u128::from(a).saturating_mul(b.into())
}
