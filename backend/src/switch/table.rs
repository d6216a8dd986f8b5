//! A hash table of fixed size whose entries are also in the order in which they were last seen. All of
//! it is allocated when it is made, and no call but [`Table::remove_where`] walks more than a few entries.

use std::hash::Hash;
use std::iter;

use ahash::RandomState;

/// No entry.
pub(super) const NONE: u32 = u32::MAX;
/// An entry seen again within this many nanoseconds keeps its place, which spares writing at each frame.
const FRESH: u64 = 1_000_000_000;

/// A table of at most so many entries, by small keys. A *place* stays an entry's own until that is
/// removed.
#[derive(Clone, Debug)]
pub(super) struct Table<K, V> {
    hasher: RandomState,
    /// The first entry of each chain; their number is a power of two.
    heads: Box<[u32]>,
    slots: Vec<Slot<K, V>>,
    capacity: usize,
    /// The first of the slots without an entry, chained like those with one.
    free: u32,
    oldest: u32,
    newest: u32,
    len: usize,
}

#[derive(Clone, Debug)]
struct Slot<K, V> {
    key: K,
    seen: u64,
    value: V,
    chain: u32,
    older: u32,
    newer: u32,
}

impl<K: Copy + Eq + Hash, V: Copy> Table<K, V> {
    /// An empty table for `capacity` entries.
    pub(super) fn new(capacity: usize, hasher: RandomState) -> Self {
        let capacity = capacity.min(1 << 24);
        Self {
            hasher,
            heads: vec![NONE; capacity.saturating_mul(2).next_power_of_two()].into(),
            slots: Vec::with_capacity(capacity),
            capacity,
            free: NONE,
            oldest: NONE,
            newest: NONE,
            len: 0,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn is_full(&self) -> bool {
        self.len >= self.capacity
    }

    /// The place of `key`.
    #[inline]
    pub(super) fn find(&self, key: K) -> Option<u32> {
        let mut place = self.heads.get(self.bucket(key)).copied()?;
        while let Some(slot) = self.slot(place) {
            if slot.key == key {
                return Some(place);
            }
            place = slot.chain;
        }
        None
    }

    pub(super) fn value(&self, place: u32) -> Option<V> {
        Some(self.slot(place)?.value)
    }

    pub(super) fn value_mut(&mut self, place: u32) -> Option<&mut V> {
        Some(&mut self.slot_mut(place)?.value)
    }

    /// When the entry was last seen, within [`FRESH`].
    pub(super) fn seen(&self, place: u32) -> Option<u64> {
        Some(self.slot(place)?.seen)
    }

    /// The entry that was not seen for the longest.
    pub(super) fn oldest(&self) -> Option<u32> {
        (self.oldest != NONE).then_some(self.oldest)
    }

    /// Notes that an entry was seen.
    #[inline]
    pub(super) fn touch(&mut self, place: u32, now: u64) {
        let Some(seen) = self.seen(place) else { return };
        if now.saturating_sub(seen) < FRESH {
            return;
        }
        self.take_out_of_order(place);
        self.put_newest(place, now);
    }

    /// Adds an entry under a key that has none. `None`, and nothing done, if the table is full.
    pub(super) fn insert(&mut self, key: K, value: V, now: u64) -> Option<u32> {
        if self.is_full() {
            return None;
        }
        let bucket = self.bucket(key);
        let chain = self.heads.get(bucket).copied()?;
        let slot = Slot {
            key,
            seen: now,
            value,
            chain,
            older: NONE,
            newer: NONE,
        };
        let place = if let Some(free) = self.slot_mut(self.free) {
            let next = free.chain;
            *free = slot;
            std::mem::replace(&mut self.free, next)
        } else {
            let place = u32::try_from(self.slots.len()).ok()?;
            self.slots.push(slot);
            place
        };
        *self.heads.get_mut(bucket)? = place;
        self.put_newest(place, now);
        self.len += 1;
        Some(place)
    }

    /// Removes the entry at `place`, which must be one that a call here has named.
    pub(super) fn remove(&mut self, place: u32) -> Option<V> {
        let (key, value, chain) = {
            let slot = self.slot(place)?;
            (slot.key, slot.value, slot.chain)
        };
        let bucket = self.bucket(key);
        let mut before = NONE;
        let mut at = self.heads.get(bucket).copied()?;
        while at != place {
            before = at;
            at = self.slot(at)?.chain;
        }
        match self.slot_mut(before) {
            Some(slot) => slot.chain = chain,
            None => *self.heads.get_mut(bucket)? = chain,
        }
        self.take_out_of_order(place);
        let free = self.free;
        self.slot_mut(place)?.chain = free;
        self.free = place;
        self.len -= 1;
        Some(value)
    }

    /// Removes every entry that `condemned` says, oldest first. For changes of the configuration: it
    /// walks the whole table.
    pub(super) fn remove_where(&mut self, mut condemned: impl FnMut(K, V) -> bool) {
        let mut place = self.oldest;
        while let Some(slot) = self.slot(place) {
            let (key, value, newer) = (slot.key, slot.value, slot.newer);
            if condemned(key, value) {
                self.remove(place);
            }
            place = newer;
        }
    }

    /// All places, oldest first.
    pub(super) fn places(&self) -> impl Iterator<Item = u32> {
        iter::successors(self.oldest(), |place| {
            let newer = self.slot(*place)?.newer;
            (newer != NONE).then_some(newer)
        })
    }

    #[inline]
    fn bucket(&self, key: K) -> usize {
        let mask = self.heads.len().saturating_sub(1);
        // Of the hash only the low bits count, so a narrower usize loses nothing.
        #[expect(clippy::cast_possible_truncation, reason = "masked")]
        let hash = self.hasher.hash_one(key) as usize;
        hash & mask
    }

    #[inline]
    fn slot(&self, place: u32) -> Option<&Slot<K, V>> {
        self.slots.get(usize::try_from(place).ok()?)
    }

    #[inline]
    fn slot_mut(&mut self, place: u32) -> Option<&mut Slot<K, V>> {
        self.slots.get_mut(usize::try_from(place).ok()?)
    }

    fn take_out_of_order(&mut self, place: u32) {
        let Some(slot) = self.slot(place) else { return };
        let (older, newer) = (slot.older, slot.newer);
        match self.slot_mut(older) {
            Some(slot) => slot.newer = newer,
            None => self.oldest = newer,
        }
        match self.slot_mut(newer) {
            Some(slot) => slot.older = older,
            None => self.newest = older,
        }
    }

    fn put_newest(&mut self, place: u32, now: u64) {
        let older = std::mem::replace(&mut self.newest, place);
        if let Some(slot) = self.slot_mut(place) {
            slot.seen = now;
            slot.older = older;
            slot.newer = NONE;
        }
        match self.slot_mut(older) {
            Some(slot) => slot.newer = place,
            None => self.oldest = place,
        }
    }
}

#[cfg(test)]
mod tests;
