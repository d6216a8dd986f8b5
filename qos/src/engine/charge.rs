//! What a visit costs every class on the way from its leaf to the root.

use super::Engine;
use super::class::{State, Way};
use super::late::Late;
use super::visit::Visit;
use crate::class::ticks;
use crate::fair::Fair;

impl Engine {
    /// What sharing counts: time of the link or of the core, whichever is more, in bytes of link
    /// time.
    pub(super) const fn work(&self, bytes: u64, segments: u64) -> u64 {
        let core = segments.saturating_mul(self.segment_bytes);
        if core > bytes { core } else { bytes }
    }

    /// Ends the visit, if there is one, so that the tree is up to date. A grant stays.
    #[inline]
    pub(super) fn settle(&mut self) {
        if let Some(visit) = self.visit.take() {
            if visit.granted {
                self.late = Some(Late::of(&visit));
            }
            self.charge(&visit);
        }
    }

    /// Ends the visit and the grant, if there are any.
    #[inline]
    pub(super) fn close(&mut self) {
        self.late = None;
        if let Some(visit) = self.visit.take() {
            self.charge(&visit);
        }
    }

    /// Charges every class on the way of a visit and moves each to where it now belongs.
    #[inline(never)]
    pub(super) fn charge(&mut self, visit: &Visit) {
        if visit.frames == 0 {
            return;
        }
        let now = ticks(visit.now);
        let mut way = Way {
            bytes: visit.bytes,
            segments: visit.segments,
            work: self.work(visit.bytes, visit.segments),
            guaranteed: false,
            below: 0,
        };
        let mut at = visit.leaf;
        while let Some(class) = self.classes.get_mut(at as usize) {
            let Some(profile) = self.profiles.get(class.profile as usize) else {
                return;
            };
            if !self.plain {
                (way.bytes, way.segments) = visit.charged(profile.framing());
                let core = way.segments.saturating_mul(self.segment_bytes);
                way.work = way.bytes.max(core);
            }
            let mut open = true;
            if !self.plain
                && profile.pps.is_limit()
                && let Some(pps) = self.pps.get_mut(at as usize)
            {
                *pps = profile.pps.charged(*pps, now, way.segments);
                open = profile.pps.ready(*pps, now);
            }
            let old = class.state;
            let state = class.charge(profile, now, open, &mut way);
            let (parent, above) = (class.parent, class.above);
            let Some(fair) = self.inners.get_mut(above as usize) else {
                // The root, which waits nowhere.
                if state != old {
                    self.enter(at, state);
                }
                break;
            };
            let tier = old.tier(profile.prio);
            let share = profile.share(tier);
            if state == old {
                let classes = self.classes.as_mut_slice();
                fair.charge(classes, at, tier, share, way.work);
                fair.keep(classes, at, tier);
                way.below = fair.ready();
            } else {
                class.state = State::Idle;
                let classes = self.classes.as_mut_slice();
                fair.charge(classes, at, tier, share, way.work);
                fair.remove(classes, at, tier, share);
                way.below = fair.ready();
                if old == State::Excess {
                    self.wheel.disarm(at);
                }
                if state != State::Idle {
                    self.join(at, state, true);
                    way.below = self.inners.get(above as usize).map_or(0, Fair::ready);
                }
            }
            at = parent;
        }
        if !self.twins.is_empty() {
            self.charge_twins(visit.leaf, visit.now, |framing| visit.charged(framing));
        }
    }
}
