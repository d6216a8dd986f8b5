//! Whose turn it is: deficit round robin over hosts, and over each host's flows.
//!
//! Both levels follow DRR++ (MacGregor & Shi 2000): who was not there a moment ago goes first, until
//! it has used up a quantum; then it joins the old ones. Who runs empty before may come back as new in
//! the same round of the old ones with what is left of its quantum, where FQ-CoDel (RFC 8290 §4.2)
//! lets it wait behind all of them: so whoever sends less than a quantum a round never waits for the
//! bulky, however it sends that. Without host isolation all flows belong to one host.
#![allow(clippy::indexing_slicing)] // links are numbers that the pool gave out itself

use super::ack::Latest;
use super::codel::Line;
use super::pool::Pool;
use crate::engine::class::NONE;

/// Places in which a flow or host is looked for, from the one that its hash names: flows whose
/// hashes name the same bucket stay apart as long as one of these is free (as in CAKE).
const WAYS: u32 = 8;

/// A queue of things with numbers, linked through themselves.
#[derive(Clone, Copy, Debug)]
struct List {
    head: u32,
    tail: u32,
}

impl List {
    const EMPTY: Self = Self {
        head: NONE,
        tail: NONE,
    };

    fn push<T: Turn>(&mut self, all: &mut [T], number: u32) {
        all[number as usize].place_mut().next = NONE;
        if self.head == NONE {
            self.head = number;
        } else {
            all[self.tail as usize].place_mut().next = number;
        }
        self.tail = number;
    }

    fn pop<T: Turn>(&mut self, all: &[T]) -> Option<u32> {
        let head = (self.head != NONE).then_some(self.head)?;
        self.head = all[head as usize].place().next;
        Some(head)
    }
}

/// Those that are new, and those that are not.
#[derive(Clone, Copy, Debug)]
pub(super) struct Turns {
    new: List,
    old: List,
    /// Which round of the old ones this is, and who is its last; [`NONE`] while there are none.
    round: u32,
    last: u32,
}

impl Turns {
    pub(super) const EMPTY: Self = Self {
        new: List::EMPTY,
        old: List::EMPTY,
        round: 0,
        last: NONE,
    };

    /// Something has come that was not there: as new with a whole quantum, or in the round in which it
    /// ran empty with what was left of it.
    fn enter<T: Turn>(&mut self, all: &mut [T], number: u32, quantum: i64) {
        let own = all[number as usize].place_mut();
        // What it rested with may be from before the leaf was empty, when quanta were larger.
        let left = own.deficit.max(1_i64.saturating_sub(quantum));
        let resumes = own.rested == self.round && own.rested != NONE;
        own.rested = NONE;
        own.deficit = if resumes { left } else { quantum };
        if own.deficit > 0 {
            self.new.push(all, number);
        } else {
            self.grow_old(all, number, quantum);
        }
    }

    fn grow_old<T: Turn>(&mut self, all: &mut [T], number: u32, quantum: i64) {
        let own = all[number as usize].place_mut();
        own.deficit = own.deficit.saturating_add(quantum).min(quantum);
        self.old.push(all, number);
        if self.last == NONE {
            self.last = number;
        }
    }

    fn first(&self) -> Option<u32> {
        let list = if self.new.head == NONE {
            self.old
        } else {
            self.new
        };
        (list.head != NONE).then_some(list.head)
    }

    /// Ends the turn of the first: it leaves if it is idle, else it goes behind the old ones with a
    /// quantum more.
    fn pass<T: Turn>(&mut self, all: &mut [T], quantum: i64, idle: bool) {
        let was_new = self.new.head != NONE;
        let list = if was_new {
            &mut self.new
        } else {
            &mut self.old
        };
        let Some(number) = list.pop(all) else {
            return;
        };
        if !was_new && number == self.last {
            // Whoever comes behind the last one is of the next round.
            self.round = self.round.wrapping_add(1);
            self.last = if self.old.head == NONE {
                NONE
            } else {
                self.old.tail
            };
        }
        if idle {
            let own = all[number as usize].place_mut();
            own.listed = false;
            own.rested = if was_new { self.round } else { NONE };
        } else {
            self.grow_old(all, number, quantum);
        }
    }

    /// Takes all out.
    fn clear<T: Turn>(&mut self, all: &mut [T], mut each: impl FnMut(&mut [T], u32)) {
        for list in [&mut self.new, &mut self.old] {
            while let Some(number) = list.pop(all) {
                each(all, number);
                let own = all[number as usize].place_mut();
                (own.listed, own.rested) = (false, NONE);
            }
        }
    }
}

/// The turn of a flow or a host.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    deficit: i64,
    next: u32,
    /// The hash that it is for.
    key: u32,
    /// The round in which it ran empty while it was new, with what was left of its quantum; [`NONE`] if
    /// it did not.
    rested: u32,
    /// It is in a list.
    listed: bool,
    /// Others have it too, until it leaves.
    shared: bool,
}

impl Place {
    const FREE: Self = Self {
        deficit: 0,
        next: NONE,
        key: 0,
        rested: NONE,
        listed: false,
        shared: false,
    };

    /// Whether it is in a list, and if so for which hash.
    fn holder(&self) -> Option<u32> {
        self.listed.then_some(self.key)
    }

    #[cfg(test)]
    pub(super) fn listed_deficit(&self) -> Option<i64> {
        self.listed.then_some(self.deficit)
    }
}

/// What takes turns.
pub(super) trait Turn {
    fn place(&self) -> &Place;
    fn place_mut(&mut self) -> &mut Place;
}

/// Flows of one hash value, as a rule one.
#[derive(Clone, Debug)]
pub(super) struct Bucket {
    pub(super) line: Line,
    /// What waits, by the frames' own lengths.
    pub(super) bytes: u64,
    pub(super) latest: Latest,
    place: Place,
    host: u32,
}

impl Bucket {
    pub(super) const FREE: Self = Self {
        line: Line::EMPTY,
        bytes: 0,
        latest: Latest::NONE,
        place: Place::FREE,
        host: NONE,
    };
}

impl Turn for Bucket {
    fn place(&self) -> &Place {
        &self.place
    }

    fn place_mut(&mut self) -> &mut Place {
        &mut self.place
    }
}

/// Flows of one host.
#[derive(Clone, Debug)]
pub(super) struct Host {
    flows: Turns,
    place: Place,
}

impl Host {
    pub(super) const FREE: Self = Self {
        flows: Turns::EMPTY,
        place: Place::FREE,
    };
}

impl Turn for Host {
    fn place(&self) -> &Place {
        &self.place
    }

    fn place_mut(&mut self) -> &mut Place {
        &mut self.place
    }
}

/// Where something with this hash is, else could be. Where all places are taken it shares the
/// first, and as long as others have what they share, whoever has no place of his own belongs there:
/// or a flow would find another place while frames of it wait in this one, and overtake itself.
fn find<T: Turn>(
    all: &mut [T],
    strays: &mut bool,
    hash: u32,
    mut ways: impl Iterator<Item = u32>,
) -> u32 {
    let Some(home) = ways.next() else {
        return 0;
    };
    let holder = all[home as usize].place().holder();
    if holder == Some(hash) || (holder.is_none() && !*strays) {
        return home;
    }
    let mut vacant = None;
    for number in std::iter::once(home).chain(ways) {
        match all[number as usize].place().holder() {
            Some(holder) if holder == hash => return number,
            Some(_) => {}
            None => vacant = vacant.or(Some(number)),
        }
    }
    let shared = &mut all[home as usize].place_mut().shared;
    match vacant {
        Some(vacant) if holder.is_none() || !*shared => {
            *strays |= vacant != home;
            vacant
        }
        _ => {
            *shared = true;
            home
        }
    }
}

impl Pool {
    /// The bucket of a flow from now on, among those in turn.
    pub(super) fn bucket(&mut self, first: u32, flow: u32, host: u32, quantum: i64) -> u32 {
        let ways = self.ways(first, flow);
        let strays = &mut self.heads[first as usize].strays[0];
        let number = find(&mut self.buckets, strays, flow, ways);
        if self.buckets[number as usize].place.listed {
            return number;
        }
        let host = self.host(first, host, quantum);
        let own = &mut self.buckets[number as usize];
        if own.place.key != flow || own.host != host || own.place.rested == NONE {
            *own = Bucket {
                host,
                ..Bucket::FREE
            };
            own.place.key = flow;
        }
        (own.place.listed, own.place.shared) = (true, false);
        let flows = &mut self.hosts[host as usize].flows;
        flows.enter(&mut self.buckets, number, quantum);
        number
    }

    /// Where something with this hash may be, best first.
    fn ways(&self, first: u32, hash: u32) -> impl Iterator<Item = u32> + use<> {
        let head = &self.heads[first as usize];
        let (count, places) = (head.buckets, head.places());
        // Both factors have 32 bits, and the product's upper half is below the count.
        let home = u64::from(hash).wrapping_mul(count.into()) >> 32;
        let home = u32::try_from(home).unwrap_or(0);
        (0..WAYS.min(count)).map(move |way| {
            let at = home.saturating_add(way);
            places.number(if at < count {
                at
            } else {
                at.wrapping_sub(count)
            })
        })
    }

    fn host(&mut self, first: u32, key: u32, quantum: i64) -> u32 {
        let ways = self.ways(first, key);
        let strays = &mut self.heads[first as usize].strays[1];
        let number = find(&mut self.hosts, strays, key, ways);
        let own = &mut self.hosts[number as usize];
        if !own.place.listed {
            if own.place.key != key || own.place.rested == NONE {
                *own = Host::FREE;
                own.place.key = key;
            }
            (own.place.listed, own.place.shared) = (true, false);
            let hosts = &mut self.heads[first as usize].hosts;
            hosts.enter(&mut self.hosts, number, quantum);
        }
        number
    }

    /// The bucket whose turn it is.
    ///
    /// Takes constant time on average: whoever is passed over either leaves, or moves from the new
    /// to the old, once for every time it was entered; or it has used up its quantum, and what it
    /// gets for the next round makes good for the one frame that took it below zero.
    pub(super) fn choose(&mut self, first: u32) -> Option<u32> {
        let Self {
            heads,
            buckets,
            hosts,
            ..
        } = self;
        let head = &mut heads[first as usize];
        loop {
            let number = head.hosts.first()?;
            let host = &mut hosts[number as usize];
            let mut idle = false;
            if host.place.deficit > 0 {
                let bucket = host.choose(buckets, head.quantum);
                if bucket.is_some() {
                    return bucket;
                }
                idle = true;
            }
            head.hosts.pass(hosts, head.quantum, idle);
        }
    }

    /// Charges a flow and its host for what was sent.
    pub(super) fn charge(&mut self, first: u32, bucket: u32, cost: i64) {
        let head = &mut self.heads[first as usize];
        head.quantum = head.quantum.max(cost);
        let bucket = &mut self.buckets[bucket as usize];
        bucket.place.deficit = bucket.place.deficit.saturating_sub(cost);
        let host = &mut self.hosts[bucket.host as usize];
        host.place.deficit = host.place.deficit.saturating_sub(cost);
    }

    /// Takes everybody out of turn.
    pub(super) fn unlist_all(&mut self, first: u32) {
        let Self {
            heads,
            buckets,
            hosts,
            ..
        } = self;
        heads[first as usize].hosts.clear(hosts, |hosts, number| {
            hosts[number as usize].flows.clear(buckets, |_, _| {});
        });
    }
}

impl Host {
    /// The flow whose turn it is, if any has frames.
    fn choose(&mut self, buckets: &mut [Bucket], quantum: i64) -> Option<u32> {
        loop {
            let number = self.flows.first()?;
            let bucket = &buckets[number as usize];
            let idle = bucket.line.queue.frames == 0;
            if !idle && bucket.place.deficit > 0 {
                return Some(number);
            }
            self.flows.pass(buckets, quantum, idle);
        }
    }
}
