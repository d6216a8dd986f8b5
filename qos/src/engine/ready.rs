//! Where a class belongs: in its parent's queue, in a wheel, or nowhere.
//!
//! Every class is in exactly the places that its [`State`] says: `Green` and `Excess` wait in a tier
//! of the parent's queue, `Excess` with a guarantee also in the wheel of returning guarantees,
//! `Throttled` only in the wheel of releases, `Idle` and `Blocked` nowhere.

use super::class::{NONE, State};
use super::{EVENTS_PER_CALL, Engine};
use crate::class::ticks;
use crate::fair::{Fair, Seats};
use crate::time::Time;
use crate::wheel::Hand;

impl Engine {
    /// Moves a class to where it now belongs, and its ancestors as far as that concerns them.
    pub(super) fn place(&mut self, index: u32, now: Time) {
        let now = ticks(now);
        let mut at = index;
        while at != NONE {
            let before = self.parent_ready(at);
            self.enter(at, self.want(at, now));
            if self.parent_ready(at) == before {
                return;
            }
            at = self.class(at).parent;
        }
    }

    /// Handles the timer events that are due.
    #[inline]
    pub(super) fn fire(&mut self, now: Time) {
        if self.wheel.is_due(now) {
            self.fire_due(now);
        }
    }

    fn fire_due(&mut self, now: Time) {
        self.overdue = true;
        for _ in 0..EVENTS_PER_CALL {
            // Releases first: whoever is released below its guarantee is green at once.
            let due = self
                .wheel
                .pop(Hand::Release, now)
                .or_else(|| self.wheel.pop(Hand::Green, now));
            let Some(index) = due else {
                self.overdue = false;
                return;
            };
            self.place(index, now);
        }
    }

    /// The tiers that wait in the parent, which is all it passes on to its own parent.
    pub(super) fn parent_ready(&self, index: u32) -> u8 {
        let above = self.class(index).above;
        self.inners.get(above as usize).map_or(0, Fair::ready)
    }

    /// The state a class should be in. Who waits for its turn already keeps it, whatever those do with whom
    /// it shares limits.
    #[inline]
    pub(super) fn want(&self, index: u32, now: u128) -> State {
        self.want_with(index, now, || {
            self.class(index).state.may_send() && self.twins.contains(index)
        })
    }

    /// The state a class should be in whose limits count as open if it `has_turn`.
    #[inline]
    pub(super) fn want_with(
        &self,
        index: u32,
        now: u128,
        has_turn: impl FnOnce() -> bool,
    ) -> State {
        let class = self.class(index);
        let profile = self.profile(class);
        let mut green = false;
        if class.is_leaf() {
            match (class.backlog, class.blocked) {
                (false, _) => return State::Idle,
                (true, true) => return State::Blocked,
                (true, false) => {}
            }
        } else if let Some(inner) = self.inners.get(class.body as usize) {
            if inner.ready() == 0 {
                return State::Idle;
            }
            green = inner.has_green();
        }
        let open = profile.ceil.ready(class.ceil, now)
            && (!profile.pps.is_limit() || profile.pps.ready(self.pps(index), now));
        if !open && !has_turn() {
            State::Throttled
        } else if green || class.below_rate(profile, now) {
            State::Green
        } else {
            State::Excess
        }
    }

    /// Brings a class into a state. A state it is in already only gets its timer back, in case that
    /// has fired too soon for limits that were changed since.
    pub(super) fn enter(&mut self, index: u32, state: State) {
        let old = self.class(index).state;
        if old == state {
            self.arm(index, state);
            return;
        }
        if old.may_send() {
            self.leave(index, old);
        }
        if matches!(old, State::Throttled | State::Excess) {
            self.wheel.disarm(index);
            if old == State::Throttled {
                self.end_wait(index);
            }
        }
        self.join(index, state, old.may_send());
    }

    /// Takes a class out of its parent's queue.
    fn leave(&mut self, index: u32, old: State) {
        let class = self.class(index);
        let above = class.above;
        let Some(profile) = self.profiles.get(class.profile as usize) else {
            return;
        };
        if let Some(fair) = self.inners.get_mut(above as usize) {
            let tier = old.tier(profile.prio);
            let classes = self.classes.as_mut_slice();
            fair.remove(classes, index, tier, profile.share(tier));
        }
    }

    /// Brings a class that is in no place into a state; `waited` if it waited until now in another.
    #[inline]
    pub(super) fn join(&mut self, index: u32, state: State, waited: bool) {
        let class = self.class_mut(index);
        class.state = state;
        let (number, above) = (class.profile, class.above);
        let Some(profile) = self.profiles.get(number as usize) else {
            return;
        };
        if state.may_send()
            && let Some(fair) = self.inners.get_mut(above as usize)
        {
            let tier = state.tier(profile.prio);
            let classes = self.classes.as_mut_slice();
            if !waited {
                fair.come_back(classes.seat_mut(index), profile.prio);
            }
            fair.insert(classes, index, tier, profile.share(tier));
        }
        if state == State::Throttled {
            let tally = self.tally(index);
            tally.throttled = tally.throttled.wrapping_add(1);
        }
        if matches!(state, State::Throttled | State::Excess) {
            self.arm(index, state);
        }
    }

    /// Sets the timer that a state needs, unless it is set.
    pub(super) fn arm(&mut self, index: u32, state: State) {
        let class = self.class(index);
        let profile = self.profile(class);
        let (hand, at) = match state {
            State::Throttled => (Hand::Release, self.opens(index)),
            State::Excess if profile.rate.is_limit() && class.parent != NONE => {
                (Hand::Green, profile.rate.opens(class.rate))
            }
            _ => return,
        };
        if !self.wheel.contains(index) {
            if hand == Hand::Release {
                let now = self.now.as_nanos();
                self.tally(index).wait(now, at.as_nanos());
            }
            self.wheel.arm(hand, index, at, self.now);
        }
    }
}
