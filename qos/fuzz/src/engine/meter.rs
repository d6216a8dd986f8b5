//! One limit held against exact integers: a leaky bucket that a unit may enter while no more than the
//! burst is in it, which is the promise for every window of time at once.

use std::collections::BTreeMap;

use qos::{Burst, PacketBurst, PacketRate, Rate, Span, Time};

/// One wire byte, scaled so that bits per second times ticks are whole numbers.
const BYTE: i128 = 8_000_000_000 << 32;
/// One segment, likewise.
const SEGMENT: i128 = 1_000_000_000 << 32;
/// What an automatic burst covers.
const AUTO: Span = Span::from_ticks(2_000_000 << 32);

/// The terms of a limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Terms {
    rate: i128,
    unit: i128,
    burst: i128,
}

impl Terms {
    /// A ceiling, where a full-size frame takes so many bytes.
    pub(super) fn bytes(rate: Rate, burst: Burst, full_size: u32) -> Self {
        let rate = i128::from(rate.bits_per_second());
        let burst = match burst {
            Burst::Auto => worth(rate, AUTO).max(i128::from(full_size.max(1)) * BYTE),
            Burst::Bytes(bytes) => i128::from(bytes).saturating_mul(BYTE),
            Burst::Duration(nanos) => worth(rate, Span::from_nanos(nanos)),
        };
        Self::new(rate, BYTE, burst)
    }

    /// A packet limit.
    pub(super) fn segments(rate: PacketRate, burst: PacketBurst) -> Self {
        let rate = i128::from(rate.segments_per_second());
        let burst = match burst {
            PacketBurst::Auto => worth(rate, AUTO).max(SEGMENT),
            PacketBurst::Segments(segments) => i128::from(segments).saturating_mul(SEGMENT),
            PacketBurst::Duration(nanos) => worth(rate, Span::from_nanos(nanos)),
        };
        Self::new(rate, SEGMENT, burst)
    }

    /// A burst beyond half of what the clock lasts is endless: not all of it can be owed.
    fn new(rate: i128, unit: i128, burst: i128) -> Self {
        let endless = burst >= worth(rate, Span::from_ticks(1 << 95));
        Self {
            rate,
            unit,
            burst: if endless { i128::MAX } else { burst },
        }
    }

    /// What is in a limit that has this much credit; more than its burst it never has.
    const fn level(&self, credit: i128) -> i128 {
        if self.burst == i128::MAX {
            return 0;
        }
        let level = self.burst.saturating_sub(credit);
        if level < 0 { 0 } else { level }
    }
}

fn worth(rate: i128, span: Span) -> i128 {
    let ticks = i128::try_from(span.ticks()).unwrap_or(i128::MAX);
    rate.saturating_mul(ticks)
}

/// A limit and what is in it.
#[derive(Clone, Debug)]
pub(super) struct Meter {
    terms: Terms,
    level: i128,
    last: Time,
    /// What each of those who share it sent last.
    units: BTreeMap<u32, i128>,
}

impl Meter {
    /// A limit with all its burst to spend.
    pub(super) fn full(terms: Terms) -> Self {
        Self {
            terms,
            level: 0,
            last: Time::ZERO,
            units: BTreeMap::new(),
        }
    }

    /// The limit that follows on `old`: credit and debt stay, and one that is new has no credit.
    pub(super) fn follow(old: Option<Self>, terms: Terms, now: Time) -> Self {
        let Some(mut old) = old else {
            return Self {
                level: terms.level(0),
                terms,
                last: now,
                units: BTreeMap::new(),
            };
        };
        if old.terms == terms {
            return old;
        }
        old.leak(now);
        let credit = old.terms.burst.saturating_sub(old.level);
        Self {
            level: terms.level(credit),
            terms,
            last: now,
            units: old.units,
        }
    }

    /// The same as of now.
    pub(super) fn at(mut self, now: Time) -> Self {
        self.leak(now);
        self
    }

    /// The same without credit.
    pub(super) fn spent(self) -> Self {
        Self {
            level: self.level.max(self.terms.level(0)),
            ..self
        }
    }

    fn leak(&mut self, now: Time) {
        let gone = worth(self.terms.rate, now.since(self.last));
        self.level = self.level.saturating_sub(gone).max(0);
        self.last = self.last.max(now);
    }

    /// Counts bytes or segments that a class sent; whether they were allowed to begin. Each of the others
    /// that share the limit may have sent one unit while this one waited for its turn.
    pub(super) fn pass(&mut self, class: u32, now: Time, units: u64) -> bool {
        self.leak(now);
        let others = self.units.iter().filter(|(other, _)| **other != class);
        let turns = others.fold(0_i128, |sum, (_, unit)| sum.saturating_add(*unit));
        let open = self.level <= self.terms.burst.saturating_add(turns);
        let units = i128::from(units).saturating_mul(self.terms.unit);
        self.level = self.level.saturating_add(units);
        self.units.insert(class, units);
        open
    }
}
