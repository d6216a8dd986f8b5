//! The fair queue of one inner class: which child goes next, in constant time.
//!
//! Worst-case fair weighted fair queueing (WF2Q+, Bennett and Zhang 1997): every child has a virtual
//! start, the queue a virtual time that advances by work over the weights of those who wait. Only a
//! child whose start has come is eligible, and of those the one whose quantum would finish first
//! goes. Two shapes hold the children: [`few`] compares them one by one, exactly; [`many`] compares
//! groups of children with like quantum-to-weight ratios (QFQ, Checconi, Rizzo and Valente 2013).
//!
//! There is one such queue per [`Tier`], and a child waits in one of them at a time. What a queue
//! keeps per child lies with the child, in its [`Seat`].
#![allow(
    clippy::indexing_slicing, // children are numbered below the lengths by whoever builds the queue
    clippy::arithmetic_side_effects // small numbers, and virtual time, whose steps are argued
)]

mod clock;
mod few;
mod many;
mod share;
mod sparse;
#[cfg(test)]
mod tests;

use std::slice;

use prefetch_index::prefetch_index;

use clock::{Clock, Mark};
use few::Few;
use many::Groups;
pub(crate) use many::{link, unlink};
use share::Pace;
pub(crate) use share::Share;

/// Which queue of a parent a child waits in: 0 for the guaranteed, 1 + prio for the rest.
pub(crate) type Tier = u8;

/// The tier of those below their guarantee.
pub(crate) const GREEN: Tier = 0;

/// Tiers of a parent: the guaranteed, and four priorities.
const TIERS: usize = 5;

/// Up to this many children are compared one by one, which a cache line or two of tags allows;
/// beyond, groups keep the cost of a choice constant.
const FEW: usize = 12;

/// No child.
const NONE: u32 = u32::MAX;

/// What a queue keeps of a child, lying with the child, so that whoever serves it has it at hand.
#[derive(Clone, Debug)]
pub(crate) struct Seat {
    /// When its next quantum starts, in the green tier and in that of its priority. Not used among
    /// few.
    starts: [Mark; 2],
    /// Neighbours among those who start with it.
    next: u32,
    prev: u32,
    /// Its number among its siblings.
    position: u32,
    /// Where it waits among many.
    slot: u8,
    /// Its group among many, in the green tier and in that of its priority.
    groups: [u8; 2],
}

impl Seat {
    /// The seat of the child with this number, anywhere so far.
    pub(crate) fn new(position: u32) -> Self {
        Self {
            starts: Default::default(),
            next: NONE,
            prev: NONE,
            position,
            slot: 0,
            groups: [0; 2],
        }
    }
}

impl Seat {
    /// Who starts with this child and after it, if anybody does.
    #[inline]
    pub(crate) const fn follower(&self) -> u32 {
        self.next
    }

    /// The next and the previous one of those who start with this child.
    const fn neighbours(&self) -> [u32; 2] {
        [self.next, self.prev]
    }
}

/// Where the seats are.
pub(crate) trait Seats {
    /// The seat of a child.
    fn seat(&self, child: u32) -> &Seat;
    /// The same, to be changed.
    fn seat_mut(&mut self, child: u32) -> &mut Seat;
}

/// Which of a seat's two marks a tier uses.
const fn kind(tier: Tier) -> usize {
    (tier != GREEN) as usize
}

/// The numbers of the set bits, lowest first.
fn bits(mut word: u64) -> impl Iterator<Item = u32> {
    std::iter::from_fn(move || {
        let bit = word.trailing_zeros();
        word &= word.wrapping_sub(1);
        (bit < u64::BITS).then_some(bit)
    })
}

/// One tier: its virtual time and who waits in it.
#[derive(Debug, Default)]
#[repr(C)] // what is fetched ahead depends on the order
struct Row {
    clock: Clock,
    /// Children, or groups of them, that wait: one bit each.
    active: u64,
    /// Weights of those who wait.
    weights: u64,
    pace: Pace,
    groups: Groups,
}

/// The children of one inner class that wait, by tier. What most visits need comes first.
#[derive(Debug)]
#[repr(C, align(64))]
pub(crate) struct Fair {
    /// Tiers in which somebody waits, one bit each.
    ready: u8,
    /// Who came last, among few.
    latest: u32,
    /// Present if the children are few.
    few: Option<Few>,
    rows: [Row; TIERS],
}

impl Fair {
    /// A queue in which nobody waits, for these children.
    pub(crate) fn new(children: &[u32]) -> Self {
        Self {
            ready: 0,
            latest: NONE,
            few: (children.len() <= FEW).then(|| Few::new(children)),
            rows: Default::default(),
        }
    }

    /// Makes sure that a child can wait with these shares. To be called before it waits, and
    /// whenever its shares changed.
    pub(crate) fn provide(&mut self, seat: &mut Seat, prio: u8, green: &Share, excess: &Share) {
        if self.few.is_none() {
            let [green_row, excess_row] = [GREEN, 1 + prio].map(usize::from);
            seat.groups = [
                self.rows[green_row].groups.provide(green),
                self.rows[excess_row].groups.provide(excess),
            ];
        }
    }

    /// Tiers in which somebody waits, one bit each.
    #[inline]
    pub(crate) const fn ready(&self) -> u8 {
        self.ready
    }

    /// Whether somebody waits among the guaranteed.
    #[inline]
    pub(crate) const fn has_green(&self) -> bool {
        self.ready & 1 != 0
    }

    /// A child has come back that did not wait in any tier: what it was behind is forfeited. To be
    /// followed by [`insert`](Self::insert).
    #[inline]
    pub(crate) fn come_back(&mut self, seat: &mut Seat, prio: u8) {
        let tier = 1 + prio;
        let clock = self.rows[tier as usize].clock;
        clock.catch_up(self.mark_mut(seat, kind(tier)));
    }

    /// A child begins to wait in a tier: at its own start. Whoever comes from the green tier finds
    /// virtual time where it left it, since nobody else is served before the green; so it may be
    /// behind, and keeps that.
    #[inline]
    pub(crate) fn insert<S: Seats + ?Sized>(
        &mut self,
        seats: &mut S,
        child: u32,
        tier: Tier,
        share: &Share,
    ) {
        self.ready |= 1 << tier;
        let row = &mut self.rows[tier as usize];
        row.weights += u64::from(share.weight);
        if let Some(few) = &mut self.few {
            self.latest = child;
            let position = seats.seat(child).position;
            row.active |= 1 << position;
            let tag = few.tag_mut(position, kind(tier));
            if tier == GREEN {
                row.clock.catch_up(&mut tag.start);
            }
            tag.begin(share);
        } else {
            let seat = seats.seat_mut(child);
            if tier == GREEN {
                row.clock.catch_up(&mut seat.starts[kind(tier)]);
            }
            let groups = &mut row.groups;
            let last = groups.insert(&mut row.active, seat, child, kind(tier));
            link(seats, last, child);
        }
    }

    /// A child that waits in `tier` no longer does.
    #[inline]
    pub(crate) fn remove<S: Seats + ?Sized>(
        &mut self,
        seats: &mut S,
        child: u32,
        tier: Tier,
        share: &Share,
    ) {
        let row = &mut self.rows[tier as usize];
        row.weights -= u64::from(share.weight);
        if let Some(few) = &mut self.few {
            let position = seats.seat(child).position;
            row.active &= !(1 << position);
            row.clock
                .stamp(&mut few.tag_mut(position, kind(tier)).start);
        } else {
            let seat = seats.seat_mut(child);
            row.groups.remove(&mut row.active, seat, kind(tier));
            row.clock.stamp(&mut seat.starts[kind(tier)]);
            let neighbours = seat.neighbours();
            unlink(seats, neighbours);
        }
        if row.active == 0 {
            self.ready &= !(1 << tier);
        }
    }

    /// Who goes next: the best tier in which somebody waits, and the child there. Virtual time
    /// jumps to the earliest start if none has come.
    #[inline(always)]
    pub(crate) fn pick(&mut self) -> Option<u32> {
        let tier = self.ready.trailing_zeros();
        let row = self.rows.get_mut(tier as usize)?;
        match &self.few {
            Some(few) => few.pick(row.active, usize::from(tier != 0), &mut row.clock),
            None => row.groups.pick(row.active, &mut row.clock),
        }
    }

    /// Fetches one of these queues, as far as most visits need it.
    #[inline]
    pub(crate) fn prefetch(queues: &[Self], number: u32) {
        if let Some(fair) = queues.get(number as usize) {
            let [green, excess, ..] = &fair.rows;
            prefetch_index(slice::from_ref(&fair.ready), 0);
            prefetch_index(slice::from_ref(&green.groups), 0);
            prefetch_index(slice::from_ref(&excess.groups), 0);
        }
    }

    /// Fetches what is known of few children.
    #[inline]
    pub(crate) fn prefetch_children(&self) {
        if let Some(few) = &self.few {
            few.prefetch();
        }
    }

    /// Who probably goes next, without any change.
    #[inline]
    pub(crate) fn guess(&self) -> Option<u32> {
        let row = self.rows.get(self.ready.trailing_zeros() as usize)?;
        match &self.few {
            Some(_) => Some(self.latest),
            None => row.groups.first(row.active),
        }
    }

    /// A child that waits in `tier` did this much work. To be followed by [`keep`](Self::keep) or
    /// [`remove`](Self::remove).
    #[inline]
    pub(crate) fn charge<S: Seats + ?Sized>(
        &mut self,
        seats: &mut S,
        child: u32,
        tier: Tier,
        share: &Share,
        work: u64,
    ) {
        let row = &mut self.rows[tier as usize];
        let cost = share.cost(work);
        let start = if let Some(few) = &mut self.few {
            let tag = few.tag_mut(seats.seat(child).position, kind(tier));
            tag.start.at = tag.start.at.wrapping_add(cost);
            tag.begin(share);
            tag.start.at
        } else {
            let start = &mut seats.seat_mut(child).starts[kind(tier)].at;
            *start = start.wrapping_add(cost);
            *start
        };
        if row.weights == u64::from(share.weight) {
            // Alone: time is where it is, without a division.
            row.clock.reach(start);
        } else {
            row.clock.advance(row.pace.progress(work, row.weights));
        }
    }

    /// Charges a child that waits in no tier any more: it comes back so much later.
    pub(crate) fn charge_absent(&mut self, seat: &mut Seat, tier: Tier, share: &Share, work: u64) {
        let clock = self.rows[tier as usize].clock;
        let mark = self.mark_mut(seat, kind(tier));
        clock.catch_up(mark);
        mark.advance(share.cost(work));
    }

    /// A child that was charged goes on waiting in its tier.
    #[inline]
    pub(crate) fn keep<S: Seats + ?Sized>(&mut self, seats: &mut S, child: u32, tier: Tier) {
        if self.few.is_none() {
            self.rows[tier as usize]
                .groups
                .keep(seats, child, kind(tier));
        }
    }

    fn mark_mut<'a>(&'a mut self, seat: &'a mut Seat, kind: usize) -> &'a mut Mark {
        match &mut self.few {
            Some(few) => &mut few.tag_mut(seat.position, kind).start,
            None => &mut seat.starts[kind],
        }
    }

    /// How far ahead of virtual time a child is, per kind of tier: what it must not lose when the
    /// queue is built anew. It waits in the tier `waits`, if in any.
    pub(crate) fn leads(&mut self, seat: &mut Seat, prio: u8, waits: Option<Tier>) -> [u64; 2] {
        [GREEN, 1 + prio].map(|tier| {
            let clock = self.rows[tier as usize].clock;
            let mut mark = *self.mark_mut(seat, kind(tier));
            if waits == Some(tier) {
                clock.stamp(&mut mark);
            }
            clock.catch_up(&mut mark);
            mark.at.wrapping_sub(clock.now)
        })
    }

    /// Gives a child that waits in no tier other shares, and another priority. It starts when it would
    /// have, but at most two quanta ahead of virtual time; with another priority it keeps its lead.
    pub(crate) fn reshare(&mut self, seat: &mut Seat, prios: [u8; 2], shares: [&Share; 2]) {
        let [old, prio] = prios;
        let leads = self.leads(seat, old, None);
        for (tier, (lead, share)) in [GREEN, 1 + prio]
            .into_iter()
            .zip(leads.into_iter().zip(shares))
        {
            let most = 2 * share.span;
            if lead > most || (tier != GREEN && old != prio) {
                let clock = self.rows[tier as usize].clock;
                let mut mark = Mark::start(clock.now.wrapping_add(lead.min(most)));
                clock.stamp(&mut mark);
                *self.mark_mut(seat, kind(tier)) = mark;
            }
        }
        self.provide(seat, prio, shares[0], shares[1]);
    }

    /// Gives a child the lead it had in another queue, where nobody was served yet.
    pub(crate) fn lead(&mut self, seat: &mut Seat, leads: [u64; 2], shares: [&Share; 2]) {
        for (kind, (lead, share)) in leads.into_iter().zip(shares).enumerate() {
            *self.mark_mut(seat, kind) = Mark::start(lead.min(2 * share.span));
        }
    }
}
