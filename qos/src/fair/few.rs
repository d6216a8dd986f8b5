//! A handful of children: compared one by one.

use super::{TIERS, Tag, Tier};

/// Who waits, one bit per child and tier.
#[derive(Debug, Default)]
pub(super) struct Few {
    waiting: [u64; TIERS],
}

impl Few {
    pub(super) fn insert(&mut self, child: u32, tier: Tier) {
        self.waiting[tier as usize] |= 1 << child;
    }

    /// Whether the tier is now empty.
    pub(super) fn remove(&mut self, child: u32, tier: Tier) -> bool {
        let waiting = &mut self.waiting[tier as usize];
        *waiting &= !(1 << child);
        *waiting == 0
    }

    /// The eligible child that finishes first; if none is eligible, time jumps.
    pub(super) fn pick(&self, tier: Tier, tags: &[Tag], now: &mut u128) -> Option<u32> {
        let waiting = self.waiting[tier as usize];
        if waiting.is_power_of_two() {
            let child = waiting.trailing_zeros();
            *now = (*now).max(tags[child as usize].start);
            return Some(child);
        }
        best(waiting, tags, *now).or_else(|| {
            let start = |child: u32| tags[child as usize].start;
            *now = bits(waiting).map(start).min()?;
            best(waiting, tags, *now)
        })
    }
}

/// The first to finish of those that may start; the first of equals.
fn best(waiting: u64, tags: &[Tag], now: u128) -> Option<u32> {
    let mut best = None;
    let mut least = u128::MAX;
    for child in bits(waiting) {
        let tag = &tags[child as usize];
        let finish = tag.finish();
        if tag.start <= now && finish < least {
            (best, least) = (Some(child), finish);
        }
    }
    best
}

/// The numbers of the set bits, lowest first.
pub(super) fn bits(mut word: u64) -> impl Iterator<Item = u32> {
    std::iter::from_fn(move || {
        let bit = word.trailing_zeros();
        word &= word.wrapping_sub(1);
        (bit < u64::BITS).then_some(bit)
    })
}
