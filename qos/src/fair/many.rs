//! Any number of children, in groups.
//!
//! Group `i` holds children whose quantum takes between 2^(i-1) and 2^i of virtual time, in a ring of
//! slots 2^i wide by rounded start. A group stands for its first slot, so picking compares groups
//! and never children; there are at most 61 and mostly a few.

use super::clock::{Clock, ahead};
use super::{NONE, Seat, Seats, Share, bits};

/// Slots of a group. Starts of children that wait lie within a few slots around virtual time:
/// eligible before a charge, so at most one quantum beyond it after; and never much behind it,
/// because who is behind finishes first. A start beyond the ring goes into its last slot.
const SLOTS: u32 = 32;

/// Those who start together, in the order in which they came.
#[derive(Clone, Copy, Debug)]
struct Slot {
    head: u32,
    tail: u32,
}

const EMPTY: Slot = Slot {
    head: NONE,
    tail: NONE,
};

/// Children of like ratio, by rounded start.
#[derive(Clone, Debug)]
struct Group {
    /// The start that all children of the first slot share, rounded down to slots.
    start: u64,
    shift: u32,
    /// Which slot of the ring is the first.
    first: u32,
    /// Slots in use.
    used: u32,
    slots: [Slot; SLOTS as usize],
}

impl Group {
    const fn new(shift: u32) -> Self {
        Self {
            start: 0,
            shift,
            first: 0,
            used: 0,
            slots: [EMPTY; SLOTS as usize],
        }
    }

    /// Ring place of the slot for a child that starts at `start`; moves the first if it comes before.
    #[inline(always)]
    fn place(&mut self, start: u64) -> u32 {
        let rounded = start >> self.shift << self.shift;
        if self.used == 0 {
            self.start = rounded;
            return self.first;
        }
        let lead = ahead(self.start, rounded);
        if lead >= 0 {
            let slots = lead.cast_unsigned() >> self.shift;
            return (self.first + low(slots.min(u64::from(SLOTS - 1)))) % SLOTS;
        }
        // How far the first can move back before the ring meets its own end.
        let room = self.used.rotate_right(self.first).leading_zeros();
        let back = low((lead.unsigned_abs() >> self.shift).min(room.into()));
        self.start = self.start.wrapping_sub(u64::from(back) << self.shift);
        self.first = self.first.wrapping_sub(back) % SLOTS;
        self.first
    }

    /// Puts a child behind those that start with it; returns the last of these, for the caller to link.
    #[inline(always)]
    fn insert(&mut self, seat: &mut Seat, child: u32, kind: usize) -> u32 {
        let place = self.place(seat.starts[kind].at);
        self.used |= 1 << place;
        let slot = &mut self.slots[(place % SLOTS) as usize];
        let last = std::mem::replace(&mut slot.tail, child);
        if last == NONE {
            slot.head = child;
        }
        (seat.next, seat.prev) = (NONE, last);
        // Below 32.
        seat.slot = u8::try_from(place).unwrap_or(0);
        last
    }

    /// Takes the child with this seat out, but for what its neighbours know of it.
    #[inline(always)]
    fn remove(&mut self, seat: &Seat) {
        let place = u32::from(seat.slot) % SLOTS;
        let slot = &mut self.slots[place as usize];
        if seat.prev == NONE {
            slot.head = seat.next;
        }
        if seat.next == NONE {
            slot.tail = seat.prev;
        }
        if slot.head == NONE {
            self.used &= !(1 << place);
            // To the first slot in use; nowhere if there is none.
            let skip = self.used.rotate_right(self.first).trailing_zeros() % SLOTS;
            self.first = (self.first + skip) % SLOTS;
            self.start = self.start.wrapping_add(u64::from(skip) << self.shift);
        }
    }
}

/// Tells the `last` of those who start with a child that it comes next.
#[inline(always)]
pub(crate) fn link<S: Seats + ?Sized>(seats: &mut S, last: u32, child: u32) {
    if last != NONE {
        seats.seat_mut(last).next = child;
    }
}

/// Tells those between whom a child was that it is there no more.
#[inline(always)]
pub(crate) fn unlink<S: Seats + ?Sized>(seats: &mut S, [next, prev]: [u32; 2]) {
    if prev != NONE {
        seats.seat_mut(prev).next = next;
    }
    if next != NONE {
        seats.seat_mut(next).prev = prev;
    }
}

/// The low bits of a number that has no others.
#[allow(clippy::cast_possible_truncation)]
const fn low(number: u64) -> u32 {
    number as u32
}

/// The groups of one tier.
#[derive(Debug, Default)]
pub(super) struct Groups(Vec<Group>);

impl Groups {
    /// The number of the group for this share; makes it if there is none.
    pub(super) fn provide(&mut self, share: &Share) -> u8 {
        let shift = u32::from(share.group);
        let found = self.0.iter().position(|group| group.shift == shift);
        let number = found.unwrap_or_else(|| {
            self.0.push(Group::new(shift));
            self.0.len() - 1
        });
        // There are at most 61 shifts.
        u8::try_from(number).unwrap_or(u8::MAX)
    }

    /// Lets a child wait; to be followed by [`link`], with what this returns.
    #[inline(always)]
    pub(super) fn insert(
        &mut self,
        active: &mut u64,
        seat: &mut Seat,
        child: u32,
        kind: usize,
    ) -> u32 {
        let number = seat.groups[kind];
        *active |= 1 << number;
        self.0[usize::from(number)].insert(seat, child, kind)
    }

    /// Lets the child with this seat wait no more; to be followed by [`unlink`].
    #[inline(always)]
    pub(super) fn remove(&mut self, active: &mut u64, seat: &Seat, kind: usize) {
        let number = seat.groups[kind];
        let group = &mut self.0[usize::from(number)];
        group.remove(seat);
        if group.used == 0 {
            *active &= !(1 << number);
        }
    }

    /// Moves a child to where its new start belongs: behind those that start with it.
    #[inline]
    pub(super) fn keep<S: Seats + ?Sized>(&mut self, seats: &mut S, child: u32, kind: usize) {
        let seat = seats.seat_mut(child);
        let group = &mut self.0[usize::from(seat.groups[kind])];
        let place = group.place(seat.starts[kind].at);
        if place != seat.slot.into() || seat.next != NONE {
            group.remove(seat);
            let neighbours = seat.neighbours();
            let last = group.insert(seat, child, kind);
            unlink(seats, neighbours);
            link(seats, last, child);
        }
    }

    /// The first child of some group.
    #[inline]
    pub(super) fn first(&self, active: u64) -> Option<u32> {
        let group = self.0.get(active.trailing_zeros() as usize)?;
        let child = group.slots[(group.first % SLOTS) as usize].head;
        (child != NONE).then_some(child)
    }

    /// The first child of the eligible group that finishes first; if none is eligible, time jumps.
    #[inline(always)]
    pub(super) fn pick(&self, active: u64, clock: &mut Clock) -> Option<u32> {
        let best = if active.is_power_of_two() {
            let only = active.trailing_zeros();
            clock.reach(self.0[only as usize].start);
            only
        } else {
            self.best(active, clock)
        };
        let group = self.0.get(best as usize)?;
        let child = group.slots[(group.first % SLOTS) as usize].head;
        (child != NONE).then_some(child)
    }

    fn best(&self, active: u64, clock: &mut Clock) -> u32 {
        let lead = |number: u32| ahead(clock.now, self.0[number as usize].start);
        let first = bits(active).min_by_key(|&number| lead(number));
        let mut best = first.unwrap_or(u32::MAX);
        if let Some(first) = first {
            clock.reach(self.0[first as usize].start);
        }
        let mut least = i64::MAX;
        for number in bits(active) {
            let group = &self.0[number as usize];
            let lead = ahead(clock.now, group.start);
            // Shifts are at most 60, and starts near.
            let finish = lead.saturating_add(2 << group.shift);
            if lead <= 0 && finish < least {
                (best, least) = (number, finish);
            }
        }
        best
    }
}
