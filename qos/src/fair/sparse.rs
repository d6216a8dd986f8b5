//! Children that come for one visit and leave again: in one step what otherwise are several.

use super::{Fair, GREEN, NONE, Seat, Share, Tier, kind};

impl Fair {
    /// A child comes that did not wait in any tier: [`come_back`](Self::come_back) and
    /// [`insert`](Self::insert) in one, to be followed by [`link`](super::link) with what this returns first.
    /// The other is whether the tiers that wait are others now.
    #[inline(always)]
    pub(crate) fn arrive(
        &mut self,
        seat: &mut Seat,
        child: u32,
        [prio, tier]: [u8; 2],
        share: &Share,
    ) -> (u32, bool) {
        let before = self.ready;
        self.ready |= 1 << tier;
        let excess = self.rows[usize::from(1 + prio)].clock;
        let row = &mut self.rows[tier as usize];
        row.weights += u64::from(share.weight);
        let kind = kind(tier);
        let mut last = NONE;
        if let Some(few) = &mut self.few {
            self.latest = child;
            row.active |= 1 << seat.position;
            let tags = few.tags_mut(seat.position);
            excess.catch_up(&mut tags[1].start);
            if tier == GREEN {
                row.clock.catch_up(&mut tags[kind].start);
            }
            tags[kind].begin(share);
        } else {
            excess.catch_up(&mut seat.starts[1]);
            if tier == GREEN {
                row.clock.catch_up(&mut seat.starts[kind]);
            }
            let groups = &mut row.groups;
            last = groups.insert(&mut row.active, seat, child, kind);
        }
        (last, before != self.ready)
    }

    /// Charges a child and takes it out of its tier, as [`charge`](Self::charge) and
    /// [`remove`](Self::remove) do; returns those between whom it was, for [`unlink`](super::unlink). Who
    /// still waits says [`ready`](Self::ready).
    #[inline(always)]
    pub(crate) fn depart(
        &mut self,
        seat: &mut Seat,
        tier: Tier,
        share: &Share,
        work: u64,
    ) -> [u32; 2] {
        let row = &mut self.rows[tier as usize];
        let (kind, weights) = (kind(tier), row.weights);
        row.weights = weights - u64::from(share.weight);
        let mut neighbours = [NONE; 2];
        let start = if let Some(few) = &mut self.few {
            row.active &= !(1 << seat.position);
            &mut few.tag_mut(seat.position, kind).start
        } else {
            row.groups.remove(&mut row.active, seat, kind);
            neighbours = seat.neighbours();
            &mut seat.starts[kind]
        };
        start.at = start.at.wrapping_add(share.cost(work));
        if row.weights == 0 {
            row.clock.reach(start.at);
        } else {
            row.clock.advance(row.pace.progress(work, weights));
        }
        row.clock.stamp(start);
        if row.active == 0 {
            self.ready &= !(1 << tier);
        }
        neighbours
    }

    /// A child that waits in no tier did this much work while nobody waited in any: as if it had come
    /// to `tier`, had its turn, and left again.
    #[inline]
    pub(crate) fn pass(&mut self, seat: &mut Seat, tier: Tier, share: &Share, work: u64) {
        let clock = &mut self.rows[tier as usize].clock;
        let mark = match &mut self.few {
            Some(few) => &mut few.tag_mut(seat.position, kind(tier)).start,
            None => &mut seat.starts[kind(tier)],
        };
        clock.catch_up(mark);
        mark.advance(share.cost(work));
        clock.reach(mark.at);
        clock.stamp(mark);
    }
}
