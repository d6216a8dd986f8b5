//! Which ports joined which multicast groups, as their reports say (RFC 4541).
//!
//! Groups are told apart by VLAN and Ethernet address. Thirty-two IPv4 groups share an address, so a
//! port may get a few it did not ask for, and none too few.

use ahash::RandomState;

use super::stations::{Full, held, held_mut};
use super::table::{NONE, Table};

/// Aged memberships removed at most for each report of one.
const REAPED: usize = 64;
const SECOND: u64 = 1_000_000_000;
/// How long a group that a port left still goes there: another station behind the port may answer the
/// querier's last question (RFC 2236 §8.8: one second, asked twice).
const LAST_MEMBER: u64 = 2 * SECOND;
/// For how long a querier counts as present (RFC 3376 §8.5).
const QUERIER: u64 = 255 * SECOND;
/// Within which stations answer a query, if it asks as queriers do (RFC 3376 §8.3).
pub(super) const RESPONSE: u64 = 10 * SECOND;
/// Within which every querier has asked, and was answered (RFC 3376 §8.2).
pub(super) const ROUND: u64 = 125 * SECOND + RESPONSE;
/// VLANs, and none.
const VLANS: usize = 4096;

/// The memberships, bounded for each port and in all.
#[derive(Clone, Debug)]
pub(super) struct Groups {
    /// The first member of each group, by its key. There are no empty groups, so there are never more
    /// than members.
    first: Table<u64, u32>,
    /// By group and port.
    members: Table<(u64, u32), Member>,
    /// Groups of each port.
    held: Vec<usize>,
    per_port: usize,
    /// Nanoseconds.
    age: u64,
    /// Until when a querier counts as present, by VLAN, for IPv4 and IPv6.
    queriers: Vec<[u64; 2]>,
}

/// One port's membership in one group, chained to the group's others.
#[derive(Clone, Copy, Debug)]
struct Member {
    key: u64,
    port: u32,
    until: u64,
    before: u32,
    behind: u32,
}

/// The two families of multicast, which have queriers of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Family {
    V4,
    V6,
}

impl Groups {
    pub(super) fn new(capacity: usize, per_port: usize, age: u64, hasher: RandomState) -> Self {
        Self {
            first: Table::new(capacity, hasher.clone()),
            members: Table::new(capacity, hasher),
            held: Vec::new(),
            per_port,
            age,
            queriers: vec![[0; 2]; VLANS],
        }
    }

    /// Makes room in the counts for ports below `ports`.
    pub(super) fn grow(&mut self, ports: usize) {
        self.held.resize(self.held.len().max(ports), 0);
    }

    /// Groups of one port.
    pub(super) fn held(&self, port: u32) -> usize {
        held(&self.held, port)
    }

    /// For how long a membership lasts, in nanoseconds.
    pub(super) fn age(&self) -> u64 {
        self.age
    }

    /// Notes that someone asks a VLAN's members for reports. Answers whether nobody had for long.
    pub(super) fn queried(&mut self, vlan: u16, family: Family, now: u64) -> bool {
        let pair = self.queriers.get_mut(usize::from(vlan));
        let Some(until) = pair.and_then(|pair| pair.get_mut(family as usize)) else {
            return false;
        };
        let before = std::mem::replace(until, now.saturating_add(QUERIER));
        before <= now
    }

    /// Whether what is known about a VLAN's groups is kept up to date. Without a querier nobody repeats
    /// a report, and members would be forgotten one by one.
    #[inline]
    pub(super) fn is_queried(&self, vlan: u16, family: Family, now: u64) -> bool {
        let pair = self.queriers.get(usize::from(vlan));
        pair.and_then(|pair| pair.get(family as usize))
            .is_some_and(|until| *until > now)
    }

    /// Notes that `port` wants the group `key`.
    pub(super) fn join(&mut self, key: u64, port: u32, now: u64) -> Result<(), Full> {
        self.reap(now);
        let until = now.saturating_add(self.age);
        if let Some(place) = self.members.find((key, port)) {
            if let Some(member) = self.members.value_mut(place) {
                member.until = until;
            }
            self.members.touch(place, now);
            return Ok(());
        }
        if self.held(port) >= self.per_port {
            return Err(Full);
        }
        let group = self.first.find(key);
        let behind = group.and_then(|group| self.first.value(group));
        let behind = behind.unwrap_or(NONE);
        let member = Member {
            key,
            port,
            until,
            before: NONE,
            behind,
        };
        let place = self.members.insert((key, port), member, now).ok_or(Full)?;
        if let Some(next) = self.members.value_mut(behind) {
            next.before = place;
        }
        match group.and_then(|group| self.first.value_mut(group)) {
            Some(first) => *first = place,
            None => {
                self.first.insert(key, place, now);
            }
        }
        if let Some(count) = held_mut(&mut self.held, port) {
            *count += 1;
        }
        Ok(())
    }

    /// Notes that `port` does not want the group `key` any more.
    pub(super) fn leave(&mut self, key: u64, port: u32, now: u64) {
        let found = self.members.find((key, port));
        if let Some(member) = found.and_then(|place| self.members.value_mut(place)) {
            member.until = member.until.min(now.saturating_add(LAST_MEMBER));
        }
    }

    /// Where the members of a group begin; see [`Self::next`].
    #[inline]
    pub(super) fn first(&self, key: u64) -> u32 {
        let first = self.first.find(key).and_then(|at| self.first.value(at));
        first.unwrap_or(NONE)
    }

    /// The port of the first current member from `at` on, and where the others begin.
    #[inline]
    pub(super) fn next(&self, mut at: u32, now: u64) -> Option<(u32, u32)> {
        while let Some(member) = self.members.value(at) {
            if member.until > now {
                return Some((member.port, member.behind));
            }
            at = member.behind;
        }
        None
    }

    /// Whether `port` wants the group.
    pub(super) fn has(&self, key: u64, port: u32, now: u64) -> bool {
        let found = self.members.find((key, port));
        found
            .and_then(|place| self.members.value(place))
            .is_some_and(|member| member.until > now)
    }

    /// Forgets everything about `port`. It walks all memberships.
    pub(super) fn forget_port(&mut self, port: u32) {
        let all: Vec<u32> = self.members.places().collect();
        for place in all {
            if self
                .members
                .value(place)
                .is_some_and(|member| member.port == port)
            {
                self.remove(place);
            }
        }
    }

    /// Removes memberships whose last report is too old, oldest first.
    fn reap(&mut self, now: u64) {
        for _ in 0..REAPED {
            let Some(place) = self.members.oldest() else {
                return;
            };
            let member = self.members.value(place);
            if member.is_none_or(|member| member.until > now) {
                return;
            }
            self.remove(place);
        }
    }

    fn remove(&mut self, place: u32) {
        let Some(member) = self.members.remove(place) else {
            return;
        };
        if let Some(next) = self.members.value_mut(member.behind) {
            next.before = member.before;
        }
        if let Some(before) = self.members.value_mut(member.before) {
            before.behind = member.behind;
        } else if let Some(group) = self.first.find(member.key) {
            if member.behind == NONE {
                self.first.remove(group);
            } else if let Some(first) = self.first.value_mut(group) {
                *first = member.behind;
            }
        }
        if let Some(count) = held_mut(&mut self.held, member.port) {
            *count = count.saturating_sub(1);
        }
    }
}

#[cfg(test)]
mod tests;
