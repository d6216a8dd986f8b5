//! Flow sets: the memory of leaves that have frames.
//!
//! A *set* is a fixed number of buckets and as many hosts. A leaf takes as many sets as its
//! configuration asks for when its first frame comes, fewer if there are not enough, and gives them
//! back with its last frame, so that idle leaves of flows take nothing.
#![allow(clippy::indexing_slicing)] // sets, buckets and hosts are numbers that the pool gave out itself

use super::turns::{Bucket, Host, Turns};
use crate::engine::class::NONE;

/// Buckets of one set, and hosts.
pub(super) const SET: u32 = 64;
/// Sets of one leaf at most.
const MAX_SETS: usize = 4;

/// What a leaf needs besides its buckets; kept with its first set.
#[derive(Clone, Debug)]
pub(super) struct Head {
    /// Hosts in turn.
    pub(super) hosts: Turns,
    /// Wire bytes per round: the configured quantum, or the most that was sent at once since the leaf
    /// last was empty. Deficit round robin finds the next flow in constant time only if a round
    /// makes good for any frame (Shreedhar & Varghese 1995, §4).
    pub(super) quantum: i64,
    /// The bucket with most bytes, as far as is known.
    pub(super) fattest: u32,
    /// The bucket whose head was granted.
    pub(super) chosen: u32,
    places: Places,
    /// Frames of the fattest that were displaced since all were looked at.
    pub(super) displaced: u32,
    /// Whether any flow, and any host, has another place than its hash names first.
    pub(super) strays: [bool; 2],
    /// Buckets in use.
    pub(super) buckets: u32,
    /// The next free set.
    next: u32,
}

impl Head {
    const FREE: Self = Self {
        hosts: Turns::EMPTY,
        quantum: 0,
        fattest: NONE,
        chosen: NONE,
        places: Places([NONE; MAX_SETS]),
        displaced: 0,
        strays: [false; 2],
        buckets: 0,
        next: NONE,
    };

    pub(super) const fn places(&self) -> Places {
        self.places
    }
}

/// The sets of a leaf.
#[derive(Clone, Copy, Debug)]
pub(super) struct Places([u32; MAX_SETS]);

impl Places {
    /// A bucket, or host, by its number in the leaf, which is below the leaf's buckets.
    pub(super) const fn number(self, at: u32) -> u32 {
        let set = self.0[(at / SET) as usize];
        set.wrapping_mul(SET).wrapping_add(at % SET)
    }
}

/// All sets. In those that are free no bucket and no host is listed. Memory is set aside for all of them,
/// and touched when one is first needed: most leaves are idle.
#[derive(Debug)]
pub(super) struct Pool {
    pub(super) heads: Vec<Head>,
    pub(super) buckets: Vec<Bucket>,
    pub(super) hosts: Vec<Host>,
    free: u32,
    /// Sets that there is memory for.
    limit: u32,
}

impl Default for Pool {
    fn default() -> Self {
        Self {
            heads: Vec::new(),
            buckets: Vec::new(),
            hosts: Vec::new(),
            free: NONE,
            limit: 0,
        }
    }
}

impl Pool {
    /// Makes the pool at least this large.
    pub(super) fn grow(&mut self, sets: u32) {
        self.limit = self.limit.max(sets);
        let more = (self.limit as usize).saturating_sub(self.heads.len());
        let each = more.saturating_mul(SET as usize);
        self.heads.reserve_exact(more);
        self.buckets.reserve_exact(each);
        self.hosts.reserve_exact(each);
    }

    /// A set that nobody has, if there is one.
    fn vacant(&mut self) -> Option<u32> {
        if self.free != NONE {
            let set = self.free;
            self.free = self.heads[set as usize].next;
            return Some(set);
        }
        let set = u32::try_from(self.heads.len()).ok()?;
        (set < self.limit).then(|| {
            // There is memory for these, so nothing is allocated.
            let all = self.buckets.len().saturating_add(SET as usize);
            self.heads.push(Head::FREE);
            self.buckets.resize(all, Bucket::FREE);
            self.hosts.resize(all, Host::FREE);
            set
        })
    }

    #[cfg(test)]
    pub(super) fn free_sets(&self) -> usize {
        let first = (self.free != NONE).then_some(self.free);
        let next = |&set: &u32| Some(self.heads[set as usize].next).filter(|&next| next != NONE);
        let untouched = (self.limit as usize).saturating_sub(self.heads.len());
        std::iter::successors(first, next)
            .count()
            .saturating_add(untouched)
    }

    /// Takes sets for this many buckets, or as many as there are. Returns the first, if any, which
    /// stands for all.
    pub(super) fn take(&mut self, buckets: u32, quantum: i64) -> Option<u32> {
        let mut sets = [NONE; MAX_SETS];
        let mut room = 0_u32;
        for set in &mut sets {
            if room >= buckets {
                break;
            }
            let Some(vacant) = self.vacant() else { break };
            *set = vacant;
            room = room.saturating_add(SET);
        }
        let first = sets[0];
        (first != NONE).then(|| {
            self.heads[first as usize] = Head {
                places: Places(sets),
                quantum,
                buckets: buckets.min(room),
                ..Head::FREE
            };
            first
        })
    }

    /// Gives a leaf's sets back; no frame may be left in them.
    pub(super) fn release(&mut self, first: u32) {
        self.unlist_all(first);
        for set in self.heads[first as usize].places.0 {
            if set != NONE {
                self.give(set);
            }
        }
    }

    fn give(&mut self, set: u32) {
        self.heads[set as usize].next = self.free;
        self.free = set;
    }
}
