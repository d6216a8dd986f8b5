//! Any number of children, in groups.
//!
//! Group `i` holds children whose quantum takes between 2^(i-1) and 2^i of virtual time, in a ring of
//! slots 2^i wide by rounded start. A group stands for its first slot, so picking compares groups
//! and never children; there are at most 61 and mostly a few.

use super::few::bits;
use super::{LONGEST, TIERS, Tag, Tier};

/// Slots of a group. Starts of children that wait lie within a few slots around virtual time:
/// eligible before a charge, so at most one quantum beyond it after; and never much behind it,
/// because who is behind finishes first. A start beyond the ring goes into its last slot.
const SLOTS: u32 = 32;

const NONE: u32 = u32::MAX;

/// A child's neighbours in the circular list of its slot.
#[derive(Clone, Copy, Debug)]
struct Link {
    next: u32,
    prev: u32,
    group: u8,
    slot: u8,
}

/// Memory of one child's link.
#[cfg(test)]
pub(super) const LINK_BYTES: usize = size_of::<Link>();

/// Children of like ratio, by rounded start.
#[derive(Clone, Debug)]
struct Group {
    /// Number of the first slot in use: its start over 2^shift.
    front: u128,
    shift: u32,
    /// Slots in use; a slot's bit is its number modulo [`SLOTS`].
    used: u32,
    heads: [u32; SLOTS as usize],
}

impl Group {
    /// The start that all children of the first slot share.
    fn start(&self) -> u128 {
        self.front << self.shift
    }

    /// Bit of the slot for a child that starts at `start`; moves the front if it comes first.
    fn slot(&mut self, start: u128) -> u32 {
        let number = start >> self.shift;
        if self.used == 0 {
            self.front = number;
        }
        let ring = |number: u128| low(number) % SLOTS;
        let first = ring(self.front);
        if number >= self.front {
            let ahead = (number - self.front).min(u128::from(SLOTS - 1));
            return (first + low(ahead)) % SLOTS;
        }
        // How far the front can move back before the ring meets its own end.
        let behind = self.used.rotate_right(first).leading_zeros();
        let back = low((self.front - number).min(behind.into()));
        self.front -= u128::from(back);
        ring(self.front)
    }

    /// Moves the front to the first slot in use.
    fn settle(&mut self) {
        let first = low(self.front) % SLOTS;
        let skip = self.used.rotate_right(first).trailing_zeros();
        self.front += u128::from(skip % SLOTS);
    }
}

/// The low bits, which are all that a slot's place in its ring depends on.
#[allow(clippy::cast_possible_truncation)]
const fn low(number: u128) -> u32 {
    number as u32
}

/// The groups of one tier.
#[derive(Debug, Default)]
struct Groups {
    /// Groups in which somebody waits.
    active: u64,
    /// Where in `groups` each one is.
    place: Vec<u8>,
    groups: Vec<Group>,
}

impl Groups {
    fn group(&mut self, index: u32) -> &mut Group {
        &mut self.groups[usize::from(self.place[index as usize])]
    }

    /// Makes sure that there is a group `index`.
    fn provide(&mut self, index: u32) {
        let index = index as usize;
        if self.place.len() <= index {
            self.place.resize(index + 1, u8::MAX);
        }
        if self.place[index] == u8::MAX {
            self.place[index] = u8::try_from(self.groups.len()).unwrap_or(u8::MAX);
            self.groups.push(Group {
                front: 0,
                shift: u32::try_from(index).unwrap_or(LONGEST),
                used: 0,
                heads: [NONE; SLOTS as usize],
            });
        }
    }
}

/// Group of a child: the least power of two that its quantum does not exceed.
fn index(tag: &Tag) -> u32 {
    // The span is at least 16 and at most 2^60.
    u128::BITS - (tag.span() - 1).leading_zeros()
}

/// Who waits, by tier, group and slot.
#[derive(Debug)]
pub(super) struct Many {
    links: Vec<Link>,
    tiers: [Groups; TIERS],
}

impl Many {
    /// Room for so many children, with a group for every tag they can wait with.
    pub(super) fn new(children: usize, tags: impl Iterator<Item = (Tier, Tag)>) -> Self {
        let apart = Link {
            next: NONE,
            prev: NONE,
            group: 0,
            slot: 0,
        };
        let mut many = Self {
            links: vec![apart; children],
            tiers: Default::default(),
        };
        for (tier, tag) in tags {
            many.tiers[tier as usize].provide(index(&tag));
        }
        many
    }

    pub(super) fn insert(&mut self, child: u32, tier: Tier, tag: &Tag) {
        let index = index(tag);
        let tier = &mut self.tiers[tier as usize];
        tier.active |= 1 << index;
        let group = tier.group(index);
        let slot = group.slot(tag.start);
        group.used |= 1 << slot;
        let head = &mut group.heads[slot as usize];
        let (mut next, mut prev) = (child, child);
        if *head == NONE {
            *head = child;
        } else {
            // Last of its slot: before the head of the circle.
            next = *head;
            prev = self.links[next as usize].prev;
            self.links[next as usize].prev = child;
            self.links[prev as usize].next = child;
        }
        // Both are below 64.
        #[allow(clippy::cast_possible_truncation)]
        let (group, slot) = (index as u8, slot as u8);
        self.links[child as usize] = Link {
            next,
            prev,
            group,
            slot,
        };
    }

    /// Whether the tier is now empty.
    pub(super) fn remove(&mut self, child: u32, tier: Tier) -> bool {
        let link = self.links[child as usize];
        let tier = &mut self.tiers[tier as usize];
        let group = tier.group(link.group.into());
        let head = &mut group.heads[usize::from(link.slot)];
        if link.next == child {
            *head = NONE;
            group.used &= !(1 << link.slot);
            if group.used == 0 {
                tier.active &= !(1 << link.group);
            } else {
                group.settle();
            }
        } else {
            if *head == child {
                *head = link.next;
            }
            self.links[link.prev as usize].next = link.next;
            self.links[link.next as usize].prev = link.prev;
        }
        tier.active == 0
    }

    /// Moves a child to where its new start belongs: behind those that start with it.
    pub(super) fn keep(&mut self, child: u32, tier: Tier, tag: &Tag) {
        self.remove(child, tier);
        self.insert(child, tier, tag);
    }

    /// The first child of the eligible group that finishes first; if none is eligible, time jumps.
    pub(super) fn pick(&mut self, tier: Tier, now: &mut u128) -> Option<u32> {
        let tier = &mut self.tiers[tier as usize];
        let mut best = None;
        let (mut least, mut earliest) = (u128::MAX, u128::MAX);
        if !tier.active.is_power_of_two() {
            for index in bits(tier.active) {
                earliest = earliest.min(tier.group(index).start());
            }
            *now = (*now).max(earliest);
            for index in bits(tier.active) {
                let start = tier.group(index).start();
                let finish = start + (2 << index);
                if start <= *now && finish < least {
                    (best, least) = (Some(index), finish);
                }
            }
        } else {
            let index = tier.active.trailing_zeros();
            *now = (*now).max(tier.group(index).start());
            best = Some(index);
        }
        let group = tier.group(best?);
        let child = group.heads[(low(group.front) % SLOTS) as usize];
        (child != NONE).then_some(child)
    }
}
