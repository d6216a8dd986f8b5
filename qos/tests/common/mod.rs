//! What the property tests share: a seeded random source and the exact arrival-curve meter.
#![allow(dead_code)] // each test file uses its part

pub(crate) mod bucket;
pub(crate) mod drive;
pub(crate) mod fluid;
pub(crate) mod frames;
pub(crate) mod ledger;
pub(crate) mod motley;
pub(crate) mod naive;
pub(crate) mod rules;
pub(crate) mod senders;
pub(crate) mod sim;
pub(crate) mod water;

use qos::{Rate, Span, Time};

/// SplitMix64 (Steele et al., OOPSLA 2014): small, seeded, the same on every machine.
pub(crate) struct Rng(pub(crate) u64);

impl Rng {
    /// The next 64 random bits.
    pub(crate) fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `bound`.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.bits() % bound
    }
}

/// Measures, over **every** window at once, how far a stream ran ahead of a rate: one pass that
/// keeps `A(t) - r t` and its running minimum. Exact: everything is scaled by the 8 * 10^9 * 2^32
/// that makes bytes and bits/s times ticks whole numbers.
pub(crate) struct Excess {
    rate: i128,
    sent: i128,
    lowest: i128,
    highest: i128,
}

/// The scale of one byte in [`Excess`].
pub(crate) const BYTE: i128 = 8_000_000_000 << 32;

impl Excess {
    pub(crate) fn new(rate: Rate) -> Self {
        Self {
            rate: rate.bits_per_second().into(),
            sent: 0,
            lowest: i128::MAX,
            highest: 0,
        }
    }

    /// Counts `bytes` that went at `now`.
    pub(crate) fn sent(&mut self, now: Time, bytes: u64) {
        let line = self.rate * ticks(now.since(Time::ZERO));
        self.lowest = self.lowest.min(self.sent - line);
        self.sent += i128::from(bytes) * BYTE;
        self.highest = self.highest.max(self.sent - line - self.lowest);
    }

    /// The largest excess of any window, in scaled bytes.
    pub(crate) fn highest(&self) -> i128 {
        self.highest
    }

    /// A span of time at the rate, in scaled bytes.
    pub(crate) fn worth(&self, span: Span) -> i128 {
        self.rate * ticks(span)
    }
}

/// A span in signed ticks.
pub(crate) fn ticks(span: Span) -> i128 {
    i128::try_from(span.ticks()).unwrap()
}

/// Rates from 8 kbit/s to 1.6 Tbit/s, log-spaced in steps of about 1.4, none of them round.
pub(crate) fn rates() -> impl Iterator<Item = Rate> {
    let next = |&bits: &u64| Some(bits + bits * 2 / 5 + 1);
    std::iter::successors(Some(8_000_u64), next)
        .take_while(|&bits| bits < 1_600_000_000_000)
        .chain([1_600_000_000_000])
        .map(|bits| Rate::from_bits_per_second(bits).unwrap())
}
