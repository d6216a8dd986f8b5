//! Where a class belongs: in its parent's queue, in a wheel, or nowhere.
//!
//! Every class is in exactly the places that its [`State`] says: `Green` and `Excess` wait in a tier
//! of the parent's queue, `Excess` with a guarantee also in the wheel of returning guarantees,
//! `Throttled` only in the wheel of releases, `Idle` and `Blocked` nowhere.

use super::class::{NONE, State};
use super::{EVENTS_PER_CALL, Engine};
use crate::class::ticks;
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
    pub(super) fn fire(&mut self, now: Time) {
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
    fn parent_ready(&self, index: u32) -> u8 {
        let parent = self.class(index).parent;
        self.classes
            .get(parent as usize)
            .and_then(|parent| self.inners.get(parent.body as usize))
            .map_or(0, |inner| inner.fair.ready())
    }

    /// The state a class should be in.
    pub(super) fn want(&self, index: u32, now: u128) -> State {
        let class = self.class(index);
        let profile = self.profile(class);
        let mut green = false;
        if class.leaf {
            match (class.backlog, class.blocked) {
                (false, _) => return State::Idle,
                (true, true) => return State::Blocked,
                (true, false) => {}
            }
        } else if let Some(inner) = self.inners.get(class.body as usize) {
            if inner.fair.ready() == 0 {
                return State::Idle;
            }
            green = inner.fair.has_green();
        }
        if !class.open(profile, now) {
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
        let class = self.class_mut(index);
        let (old, parent, position) = (class.state, class.parent, class.position);
        class.state = state;
        let class = self.class(index);
        let profile = self.profile(class);
        let prio = profile.prio;
        let timer = match state {
            State::Throttled => Some((Hand::Release, class.opens(profile))),
            State::Excess if profile.rate.is_limit() && parent != NONE => {
                Some((Hand::Green, profile.rate.opens(class.rate)))
            }
            _ => None,
        };
        if old != state {
            if parent != NONE {
                let fair = &mut self.inner_mut(parent).fair;
                if old.may_send() {
                    fair.remove(position, old.tier(prio));
                } else if state.may_send() {
                    fair.come_back(position, prio);
                }
                if state.may_send() {
                    fair.insert(position, state.tier(prio));
                }
            }
            if matches!(old, State::Throttled | State::Excess) {
                self.wheel.disarm(index);
            }
            if state == State::Throttled {
                let stats = self.stats_of(index);
                stats.throttled = stats.throttled.wrapping_add(1);
            }
        }
        if let Some((hand, at)) = timer
            && !self.wheel.contains(index)
        {
            self.wheel.arm(hand, index, at);
        }
    }
}
