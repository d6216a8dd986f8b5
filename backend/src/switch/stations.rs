//! Which addresses are behind which port, as far as frames have shown.

use ahash::RandomState;

use super::table::Table;

/// Aged entries removed at most for each new one.
const REAPED: usize = 64;

/// The key of an address in a VLAN; 0 where tags do not count.
#[inline]
pub(super) fn key(vlan: u16, mac: [u8; 6]) -> u64 {
    let [a, b, c, d, e, f] = mac;
    u64::from(vlan) << 48 | u64::from_be_bytes([0, 0, a, b, c, d, e, f])
}

/// The address in a [`key`].
pub(super) fn mac_of(key: u64) -> [u8; 6] {
    let [_, _, mac @ ..] = key.to_be_bytes();
    mac
}

/// There is no room for one more entry. Nobody's entry makes way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Full;

/// The learned addresses, bounded for each port and in all.
#[derive(Clone, Debug)]
pub(super) struct Stations {
    table: Table<u64, u32>,
    /// Entries of each port.
    held: Vec<usize>,
    per_port: usize,
    /// Nanoseconds.
    age: u64,
    /// How often an entry has come or gone.
    changes: u64,
}

impl Stations {
    pub(super) fn new(capacity: usize, per_port: usize, age: u64, hasher: RandomState) -> Self {
        Self {
            table: Table::new(capacity, hasher),
            held: Vec::new(),
            per_port,
            age,
            changes: 0,
        }
    }

    /// Another number whenever an entry has come or gone.
    #[inline]
    pub(super) fn changes(&self) -> u64 {
        self.changes
    }

    /// Makes room in the counts for ports below `ports`.
    pub(super) fn grow(&mut self, ports: usize) {
        self.held.resize(self.held.len().max(ports), 0);
    }

    pub(super) fn len(&self) -> usize {
        self.table.len()
    }

    /// Entries of one port.
    pub(super) fn held(&self, port: u32) -> usize {
        held(&self.held, port)
    }

    /// Where `key` is.
    #[inline]
    pub(super) fn port_of(&self, key: u64, now: u64) -> Option<u32> {
        let place = self.table.find(key)?;
        let fresh = now.saturating_sub(self.table.seen(place)?) < self.age;
        fresh.then(|| self.table.value(place)).flatten()
    }

    /// Notes that `key` is behind `port`. Answers whether that is news.
    #[inline]
    pub(super) fn learn(&mut self, key: u64, port: u32, now: u64) -> Result<bool, Full> {
        let known = self.table.find(key);
        if let Some(place) = known
            && self.table.value(place) == Some(port)
        {
            self.table.touch(place, now);
            return Ok(false);
        }
        self.reap(now);
        if self.held(port) >= self.per_port {
            return Err(Full);
        }
        // The old entry may have been among the aged ones.
        if let Some(place) = self.table.find(key) {
            self.remove(place);
        }
        self.table.insert(key, port, now).ok_or(Full)?;
        self.changes = self.changes.wrapping_add(1);
        if let Some(count) = held_mut(&mut self.held, port) {
            *count += 1;
        }
        Ok(true)
    }

    /// Forgets where `key` is.
    #[inline]
    pub(super) fn forget(&mut self, key: u64) {
        if let Some(place) = self.table.find(key) {
            self.remove(place);
        }
    }

    /// Forgets the entries that `condemned` says.
    pub(super) fn forget_where(&mut self, mut condemned: impl FnMut(u64, u32) -> bool) {
        self.changes = self.changes.wrapping_add(1);
        let held = &mut self.held;
        self.table.remove_where(|key, port| {
            let condemned = condemned(key, port);
            if condemned && let Some(count) = held_mut(held, port) {
                *count = count.saturating_sub(1);
            }
            condemned
        });
    }

    fn reap(&mut self, now: u64) {
        for _ in 0..REAPED {
            let Some(place) = self.table.oldest() else {
                return;
            };
            let seen = self.table.seen(place).unwrap_or(now);
            if now.saturating_sub(seen) < self.age {
                return;
            }
            self.remove(place);
        }
    }

    fn remove(&mut self, place: u32) {
        self.changes = self.changes.wrapping_add(1);
        if let Some(port) = self.table.remove(place)
            && let Some(count) = held_mut(&mut self.held, port)
        {
            *count = count.saturating_sub(1);
        }
    }
}

pub(super) fn held(counts: &[usize], port: u32) -> usize {
    let at = usize::try_from(port).unwrap_or(usize::MAX);
    counts.get(at).copied().unwrap_or_default()
}

pub(super) fn held_mut(counts: &mut [usize], port: u32) -> Option<&mut usize> {
    counts.get_mut(usize::try_from(port).ok()?)
}

/// Addresses seen on the uplink's side. They only spare floods, so the oldest makes way for a new one.
#[derive(Clone, Debug)]
pub(super) struct Beyond {
    table: Table<u64, ()>,
    /// Nanoseconds.
    age: u64,
}

impl Beyond {
    pub(super) fn new(capacity: usize, age: u64, hasher: RandomState) -> Self {
        Self {
            table: Table::new(capacity, hasher),
            age,
        }
    }

    #[inline]
    pub(super) fn note(&mut self, key: u64, now: u64) {
        if let Some(place) = self.table.find(key) {
            self.table.touch(place, now);
            return;
        }
        if self.table.is_full()
            && let Some(place) = self.table.oldest()
        {
            self.table.remove(place);
        }
        self.table.insert(key, (), now);
    }

    #[inline]
    pub(super) fn has(&self, key: u64, now: u64) -> bool {
        let seen = self
            .table
            .find(key)
            .and_then(|place| self.table.seen(place));
        seen.is_some_and(|seen| now.saturating_sub(seen) < self.age)
    }

    pub(super) fn forget(&mut self, key: u64) {
        if let Some(place) = self.table.find(key) {
            self.table.remove(place);
        }
    }
}
