//! Rates the other way up: how long one byte or one segment takes.

use std::num::{NonZeroU64, NonZeroU128};

use crate::time::Span;

/// Time per unit as unsigned Q32.32 nanoseconds, rounded **up**, so that no limit is ever faster
/// than asked. A unit is a byte for a [`Rate`](crate::Rate), a segment for a
/// [`PacketRate`](crate::PacketRate).
///
/// Rounding adds less than 2^-32 ns per unit: at most 12 parts in 10^9 at 400 Gbit/s, 47 at
/// 1.6 Tbit/s, and under one in a million at the largest rate there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Inverse(NonZeroU64);

impl Inverse {
    /// `second / per_second` rounded up, where `second` is one second's worth of ticks per unit.
    /// The units keep `per_second` where the result is neither zero nor beyond 64 bits.
    pub(crate) fn of(second: u128, per_second: NonZeroU64) -> Self {
        let ticks = second.div_ceil(u128::from(per_second.get()));
        let ticks = u64::try_from(ticks).unwrap_or(u64::MAX);
        Self(NonZeroU64::new(ticks).unwrap_or(NonZeroU64::MIN))
    }

    /// An inverse taken apart before.
    pub(crate) fn from_ticks(ticks: u64) -> Option<Self> {
        NonZeroU64::new(ticks).map(Self)
    }

    /// Time per unit in ticks of 2^-32 ns.
    #[must_use]
    pub const fn ticks_per_unit(self) -> NonZeroU64 {
        self.0
    }

    /// How long `units` take. Exactly linear, so split and joined charges agree to the tick.
    #[must_use]
    pub fn cost(self, units: u64) -> Span {
        // 64 x 64 bits always fit 128.
        Span::from_ticks(u128::from(units).saturating_mul(u128::from(self.0.get())))
    }

    /// What `span`, earned at this rate, is worth at rate `new`: the same number of units,
    /// rounded down (`up` false) or up (`up` true) to the tick.
    pub(crate) fn convert(self, span: Span, new: Self, up: bool) -> Span {
        let (old, new) = (NonZeroU128::from(self.0), u128::from(new.0.get()));
        // Quotient and remainder apart: the remainder is below 2^64, so its product fits.
        let whole = span.ticks() / old;
        let rest = (span.ticks() % old).saturating_mul(new);
        let rest = if up {
            rest.div_ceil(old.get())
        } else {
            rest / old
        };
        Span::from_ticks(whole.saturating_mul(new).saturating_add(rest))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_convert_to_the_tick_below_or_above() {
        for old in [1, 2, 7, 1 << 33, u64::MAX] {
            for new in [1, 3, 1 << 33, u64::MAX] {
                let [from, to] = [old, new].map(|ticks| Inverse::from_ticks(ticks).unwrap());
                for units in [0_u128, 1, 5, 1 << 40, (1 << 60) + 7] {
                    for rest in [0, 1, u128::from(old) / 2, u128::from(old) - 1] {
                        let rest = rest.min(u128::from(old) - 1);
                        let span = Span::from_ticks(units * u128::from(old) + rest);
                        let exact = units * u128::from(new);
                        let product = rest * u128::from(new);
                        let down = exact + product / u128::from(old);
                        let up = exact + product.div_ceil(old.into());
                        assert_eq!(from.convert(span, to, false), Span::from_ticks(down));
                        assert_eq!(from.convert(span, to, true), Span::from_ticks(up));
                    }
                }
            }
        }
    }
}
