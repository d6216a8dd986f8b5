//! Hierarchical timing wheels: what is to happen when, in constant time and without a tick.
//!
//! Ten levels of 64 slots, each level 64 times as wide as the one below (Varghese and Lauck
//! 1987). The lowest slot is [`GRAIN_NANOS`] wide; a time is rounded **up** to it, so nothing fires
//! early. One bitmap per level finds the next slot in use, however far off it is.
#![allow(
    clippy::indexing_slicing, // slots are six-bit digits, entries below the length of the links
    clippy::arithmetic_side_effects // ticks are times over 1024; digits are bounded by their masks
)]

use crate::time::Time;

/// Nanoseconds of one tick, as a shift: 1.024 us.
const GRAIN_SHIFT: u32 = 10;
/// How late an entry fires at most because of rounding.
pub(crate) const GRAIN_NANOS: u64 = 1 << GRAIN_SHIFT;
const DIGIT: u32 = 6;
const SLOTS: usize = 1 << DIGIT;
/// Ticks have 54 bits, and one more when rounded up.
const LEVELS: usize = 10;
const NONE: u32 = u32::MAX;

/// A time as a tick, rounded up.
fn tick_at_or_after(time: Time) -> u64 {
    let nanos = time.ceil_nanos();
    (nanos >> GRAIN_SHIFT) + u64::from(nanos & (GRAIN_NANOS - 1) != 0)
}

/// The instant of a tick.
fn instant(tick: u64) -> Time {
    Time::from_nanos(tick.saturating_mul(GRAIN_NANOS))
}

#[derive(Clone, Copy, Debug)]
struct Link {
    tick: u64,
    next: u32,
    prev: u32,
    /// Where it is: level and slot; [`APART`] if nowhere.
    place: u16,
}

const APART: u16 = u16::MAX;

#[derive(Clone, Copy, Debug)]
struct Slot {
    head: u32,
    /// An entry with the least tick, if known.
    first: u32,
}

const EMPTY: Slot = Slot {
    head: NONE,
    first: NONE,
};

/// Which of the two wheels: what entries wait for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hand {
    /// The release of a limit.
    Release,
    /// The return of a guarantee.
    Green,
}

/// One wheel.
#[derive(Debug)]
struct Dial {
    /// No entry is due before this tick.
    cursor: u64,
    /// Nothing is due before this tick either, which may be later.
    quiet: u64,
    used: [u64; LEVELS],
    slots: Box<[[Slot; SLOTS]; LEVELS]>,
}

impl Dial {
    fn new() -> Self {
        Self {
            cursor: 0,
            quiet: u64::MAX,
            used: [0; LEVELS],
            slots: Box::new([[EMPTY; SLOTS]; LEVELS]),
        }
    }

    /// The lowest level in use and its first slot in use: nothing is due before that slot, because
    /// entries of a lower level agree with the cursor in more digits.
    fn nearest(&self) -> Option<(usize, usize)> {
        let level = self.used.iter().position(|&used| used != 0)?;
        Some((level, self.used[level].trailing_zeros() as usize))
    }

    /// First tick of a slot.
    fn start(&self, level: usize, slot: usize) -> u64 {
        let shift = DIGIT as usize * level;
        let above = self.cursor >> shift >> DIGIT << DIGIT << shift;
        above | ((slot as u64) << shift)
    }
}

/// Two wheels over the same entries, which are small numbers, each in one of them at most.
#[derive(Debug)]
pub(crate) struct Wheel {
    dials: [Dial; 2],
    links: Vec<Link>,
}

impl Wheel {
    /// Empty wheels for entries below `entries`.
    pub(crate) fn new(entries: usize) -> Self {
        let apart = Link {
            tick: 0,
            next: NONE,
            prev: NONE,
            place: APART,
        };
        Self {
            dials: [Dial::new(), Dial::new()],
            links: vec![apart; entries],
        }
    }

    /// Memory of one entry, in bytes.
    #[cfg(test)]
    pub(crate) const ENTRY_BYTES: usize = size_of::<Link>();

    /// Whether the entry is in a wheel.
    pub(crate) fn contains(&self, entry: u32) -> bool {
        self.links[entry as usize].place != APART
    }

    /// Sets what an entry waits for and until when, as of `now`; it may be in a wheel already.
    pub(crate) fn arm(&mut self, hand: Hand, entry: u32, at: Time, now: Time) {
        self.disarm(entry);
        let dial = &mut self.dials[hand as usize];
        if dial.quiet == u64::MAX {
            // Empty: keeps the cursor near, so that what is armed now starts low.
            dial.cursor = dial.cursor.max(now.as_nanos() >> GRAIN_SHIFT);
        }
        let tick = tick_at_or_after(at).max(dial.cursor);
        dial.quiet = dial.quiet.min(tick);
        self.links[entry as usize].tick = tick;
        self.link(hand as usize, entry, tick);
    }

    /// Takes an entry out, if it is in.
    pub(crate) fn disarm(&mut self, entry: u32) {
        let link = self.links[entry as usize];
        if link.place == APART {
            return;
        }
        let place = link.place as usize;
        let (level, slot) = (place / SLOTS % LEVELS, place % SLOTS);
        let dial = &mut self.dials[place / SLOTS / LEVELS];
        let own = &mut dial.slots[level][slot];
        if own.first == entry {
            own.first = NONE;
        }
        if own.head == entry {
            own.head = link.next;
        }
        if own.head == NONE {
            dial.used[level] &= !(1 << slot);
        }
        if link.prev != NONE {
            self.links[link.prev as usize].next = link.next;
        }
        if link.next != NONE {
            self.links[link.next as usize].prev = link.prev;
        }
        self.links[entry as usize].place = APART;
    }

    fn link(&mut self, hand: usize, entry: u32, tick: u64) {
        let dial = &mut self.dials[hand];
        let differs = tick ^ dial.cursor;
        let level = (differs.checked_ilog2().unwrap_or(0) / DIGIT) as usize;
        // Six bits.
        #[allow(clippy::cast_possible_truncation)]
        let slot = (tick >> (DIGIT as usize * level)) as usize % SLOTS;
        let own = dial.slots[level][slot];
        // A slot that was empty knows its first; one that has forgotten goes on not knowing.
        let first = match own {
            Slot { head: NONE, .. } => entry,
            Slot { first: NONE, .. } => NONE,
            Slot { first, .. } if tick < self.links[first as usize].tick => entry,
            Slot { first, .. } => first,
        };
        if own.head != NONE {
            self.links[own.head as usize].prev = entry;
        }
        dial.slots[level][slot] = Slot { head: entry, first };
        dial.used[level] |= 1 << slot;
        let link = &mut self.links[entry as usize];
        (link.next, link.prev) = (own.head, NONE);
        link.place = u16::try_from((hand * LEVELS + level) * SLOTS + slot).unwrap_or(APART);
    }

    /// The entry that is due first, and its instant (rounded up). Costs a look at every entry of one
    /// slot when the first of that slot was taken out since the last time.
    pub(crate) fn first(&mut self, hand: Hand) -> Option<(u32, Time)> {
        let dial = &mut self.dials[hand as usize];
        let (level, slot) = dial.nearest()?;
        let own = &mut dial.slots[level][slot];
        if own.first == NONE {
            let (mut at, mut least) = (own.head, u64::MAX);
            while at != NONE {
                let link = &self.links[at as usize];
                if link.tick < least {
                    (own.first, least) = (at, link.tick);
                }
                at = link.next;
            }
        }
        Some((own.first, instant(self.links[own.first as usize].tick)))
    }

    /// Whether anything may be due at `now`.
    #[inline]
    pub(crate) fn is_due(&self, now: Time) -> bool {
        let [release, green] = &self.dials;
        now.as_nanos() >> GRAIN_SHIFT >= release.quiet.min(green.quiet)
    }

    /// Takes out one entry that is due at `now`, or `None` when there is none left.
    pub(crate) fn pop(&mut self, hand: Hand, now: Time) -> Option<u32> {
        let now = now.as_nanos() >> GRAIN_SHIFT;
        let hand = hand as usize;
        loop {
            let dial = &mut self.dials[hand];
            if now < dial.quiet {
                return None;
            }
            let Some((level, slot)) = dial.nearest() else {
                (dial.cursor, dial.quiet) = (dial.cursor.max(now), u64::MAX);
                return None;
            };
            let start = dial.start(level, slot);
            if start > now {
                (dial.cursor, dial.quiet) = (dial.cursor.max(now), start);
                return None;
            }
            dial.cursor = dial.cursor.max(start);
            let head = dial.slots[level][slot].head;
            if level == 0 {
                self.disarm(head);
                return Some(head);
            }
            self.spread(hand, level, slot);
        }
    }

    /// Moves the entries of a slot that the cursor has reached to the levels below.
    fn spread(&mut self, hand: usize, level: usize, slot: usize) {
        let dial = &mut self.dials[hand];
        let mut entry = std::mem::replace(&mut dial.slots[level][slot], EMPTY).head;
        dial.used[level] &= !(1 << slot);
        while entry != NONE {
            let Link { tick, next, .. } = self.links[entry as usize];
            self.link(hand, entry, tick);
            entry = next;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    /// SplitMix64.
    fn random(state: &mut u64) -> u64 {
        *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (*state ^ (*state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb)
    }

    fn at(nanos: u64) -> Time {
        Time::from_nanos(nanos)
    }

    #[test]
    fn nothing_fires_early_and_nothing_later_than_a_grain() {
        let mut wheel = Wheel::new(4);
        wheel.arm(Hand::Release, 0, at(5000), at(0));
        assert_eq!(wheel.first(Hand::Release), Some((0, at(5120))));
        assert_eq!(wheel.pop(Hand::Release, at(5119)), None);
        assert_eq!(wheel.pop(Hand::Release, at(5120)), Some(0));
        assert_eq!(wheel.pop(Hand::Release, at(u64::MAX)), None);
    }

    #[test]
    fn nothing_is_looked_for_before_the_first_of_both_wheels() {
        let mut wheel = Wheel::new(2);
        assert!(!wheel.is_due(at(1 << 40)), "empty");
        wheel.arm(Hand::Release, 0, at(9000), at(0));
        wheel.arm(Hand::Green, 1, at(5000), at(0));
        assert!(!wheel.is_due(at(5119)) && wheel.is_due(at(5120)));
        assert_eq!(wheel.pop(Hand::Green, at(5120)), Some(1));
        assert_eq!(wheel.pop(Hand::Green, at(5120)), None);
        assert!(!wheel.is_due(at(9215)) && wheel.is_due(at(9216)));
    }

    #[test]
    fn what_is_armed_late_neither_fires_late_nor_hides_what_is_due() {
        let tick = |tick: u64| at(tick * GRAIN_NANOS);
        let mut wheel = Wheel::new(2);
        wheel.arm(Hand::Release, 0, tick((1 << 30) + 5), tick(1 << 30));
        assert_eq!(wheel.first(Hand::Release), Some((0, tick((1 << 30) + 5))));
        let mut wheel = Wheel::new(2);
        wheel.arm(Hand::Release, 0, tick(70), tick(0));
        wheel.arm(Hand::Release, 1, tick(81), tick(80));
        assert_eq!(wheel.pop(Hand::Release, tick(80)), Some(0));
        assert_eq!(wheel.pop(Hand::Release, tick(80)), None);
        assert_eq!(wheel.first(Hand::Release), Some((1, tick(81))));
    }

    #[test]
    fn a_time_that_has_passed_fires_at_once() {
        let mut wheel = Wheel::new(1);
        assert_eq!(wheel.pop(Hand::Release, at(1 << 40)), None);
        wheel.arm(Hand::Release, 0, at(7), at(0));
        assert_eq!(wheel.pop(Hand::Release, at(1 << 40)), Some(0));
    }

    #[test]
    fn the_end_of_the_clock_is_survived() {
        let mut wheel = Wheel::new(2);
        wheel.arm(Hand::Release, 0, Time::MAX, at(0));
        wheel.arm(Hand::Release, 1, at(u64::MAX - 5000), at(0));
        assert_eq!(wheel.first(Hand::Release).map(|(entry, _)| entry), Some(1));
        assert_eq!(wheel.pop(Hand::Release, at(u64::MAX - 2000)), Some(1));
        assert_eq!(wheel.pop(Hand::Release, at(u64::MAX - 2000)), None);
        assert_eq!(wheel.first(Hand::Release), Some((0, at(u64::MAX))));
    }

    #[test]
    fn random_histories_agree_with_a_sorted_map() {
        for seed in 0..40 {
            let mut state = seed;
            let mut wheel = Wheel::new(64);
            let mut model: BTreeMap<u32, u64> = BTreeMap::new();
            let mut now = random(&mut state) >> (20 + seed);
            for _ in 0..3000 {
                let entry = u32::try_from(random(&mut state) % 64).unwrap();
                let pause = random(&mut state) >> (random(&mut state) % 44 + 20);
                match random(&mut state) % 8 {
                    0..=3 => {
                        wheel.arm(Hand::Release, entry, at(now + pause), at(0));
                        model.insert(entry, (now + pause).div_ceil(GRAIN_NANOS));
                    }
                    4 => {
                        wheel.disarm(entry);
                        model.remove(&entry);
                    }
                    5 => now += pause,
                    _ => {
                        let due = now / GRAIN_NANOS;
                        while let Some(entry) = wheel.pop(Hand::Release, at(now)) {
                            assert!(model.remove(&entry).is_some_and(|tick| tick <= due));
                        }
                        assert!(
                            model.values().all(|&tick| tick > due),
                            "one was left behind"
                        );
                    }
                }
                assert_eq!(wheel.contains(entry), model.contains_key(&entry));
                let first = wheel.first(Hand::Release).map(|(_, time)| time.as_nanos());
                let want = model.values().min().map(|tick| tick * GRAIN_NANOS);
                if want.is_none_or(|want| want > now) {
                    assert_eq!(first, want);
                }
            }
        }
    }
}
