//! Classes that share their limits: one arrival time for all of them.
//!
//! Each keeps a copy of the shared arrival time as its own, so that nobody else has to know, and
//! whatever one of them sends is brought to the others. Two things keep them from starving each other:
//! * one that waits in its parent's queue when another closes the limit stays there until it has had
//!   its turn, for one unit;
//! * one that has had more than another that waits finds the limit closed sooner, by what it is ahead:
//!   its copy lies so much later, by at most half of the burst. It loses no rate by that, for its
//!   arrival time goes on from where it is.

use std::collections::BTreeMap;

use super::Engine;
use super::class::{LeafKey, NONE, State};
use super::pass::charged;
use crate::class::{Arrival, Plan, Profile, Terms, ticks};
use crate::counters::FlowCounters;
use crate::time::Time;
use crate::wire::{FrameShape, Framing};

/// One of those who share.
#[derive(Clone, Copy, Debug)]
struct Member {
    class: u32,
    /// How far it is ahead of whoever of those who wait has had least, in time of ceiling and packet
    /// limit.
    leads: [u128; 2],
}

/// Those who share, whose limits they are first.
#[derive(Debug)]
struct Group {
    /// Arrival times of ceiling and packet limit.
    arrivals: [Arrival; 2],
    members: Vec<Member>,
}

/// All groups.
#[derive(Debug, Default)]
pub(super) struct Twins {
    groups: Vec<Group>,
    /// The group of every class; empty if there is no group.
    of: Vec<u32>,
}

impl Twins {
    pub(super) fn is_empty(&self) -> bool {
        self.groups.is_empty()
    }

    fn number(&self, class: u32) -> Option<usize> {
        let number = self.of.get(class as usize)?;
        Some(*number as usize).filter(|_| *number != NONE)
    }

    fn group(&self, class: u32) -> Option<&Group> {
        self.groups.get(self.number(class)?)
    }

    pub(super) fn contains(&self, class: u32) -> bool {
        self.group(class).is_some()
    }

    /// Whose limits a class has, if not its own.
    pub(super) fn owner(&self, class: u32) -> Option<u32> {
        let owner = self.group(class)?.members.first()?.class;
        (owner != class).then_some(owner)
    }

    /// All that share limits with a class, which is among them; none if nobody does.
    pub(super) fn all(&self, class: u32) -> impl Iterator<Item = u32> {
        let members = self.group(class).map(|group| group.members.as_slice());
        members
            .unwrap_or_default()
            .iter()
            .map(|member| member.class)
    }
}

impl Group {
    fn terms(profile: &Profile) -> [Terms; 2] {
        [profile.ceil, profile.pps]
    }

    /// Charges what a member sent.
    fn charge(&mut self, class: u32, terms: [Terms; 2], now: u128, units: [u64; 2]) {
        let member = self.members.iter_mut().find(|member| member.class == class);
        let Some(member) = member else {
            return;
        };
        for (kind, terms) in terms.iter().enumerate().filter(|(_, t)| t.is_limit()) {
            let (Some(arrival), Some(lead), Some(&units)) = (
                self.arrivals.get_mut(kind),
                member.leads.get_mut(kind),
                units.get(kind),
            ) else {
                continue;
            };
            // From zero the charge is the cost.
            *lead = lead.saturating_add(terms.charged(0, 0, units));
            *arrival = terms.charged(*arrival, now, units);
        }
    }

    /// Counts leads from whoever has had least of those who wait; others have none.
    fn level(&mut self, terms: [Terms; 2], waits: impl Fn(u32) -> bool) {
        for (kind, terms) in terms.iter().enumerate() {
            let lead = |member: &Member| member.leads.get(kind).copied().unwrap_or(0);
            let waiting = self.members.iter().filter(|member| waits(member.class));
            let least = waiting.map(lead).min().unwrap_or(0);
            for member in &mut self.members {
                let ahead = lead(member).saturating_sub(least);
                if let Some(lead) = member.leads.get_mut(kind) {
                    *lead = match waits(member.class) {
                        true => ahead.min(terms.half_burst()),
                        false => 0,
                    };
                }
            }
        }
    }
}

impl Engine {
    /// Brings what went through a class and all above it to those with whom they share limits; `units`
    /// says what a framing makes of it, in bytes and segments.
    #[cold]
    pub(super) fn charge_twins_above(
        &mut self,
        from: u32,
        now: Time,
        units: impl Fn(Framing) -> (u64, u64),
    ) {
        let mut at = from;
        while let Some(parent) = self.classes.get(at as usize).map(|class| class.parent) {
            self.charge_twins(at, now, &units);
            at = parent;
        }
    }

    /// The same for one class.
    pub(super) fn charge_twins(
        &mut self,
        class: u32,
        now: Time,
        units: impl Fn(Framing) -> (u64, u64),
    ) {
        let Some(number) = self.twins.number(class) else {
            return;
        };
        let profile = *self.profile(self.class(class));
        let Some(group) = self.twins.groups.get_mut(number) else {
            return;
        };
        let (bytes, segments) = units(profile.framing());
        let terms = Group::terms(&profile);
        group.charge(class, terms, ticks(now), [bytes, segments]);
        let classes = &self.classes;
        group.level(terms, |class| {
            let state = classes.get(class as usize).map(|class| class.state);
            !matches!(state, None | Some(State::Idle | State::Blocked))
        });
        self.copy_arrivals(number);
        self.place_twins(number, now);
    }

    /// Whether nobody waits of those with whom a class shares limits.
    pub(super) fn are_twins_at_rest(&self, class: u32) -> bool {
        let rests = |member: &Member| {
            let class = self.classes.get(member.class as usize);
            class.is_none_or(|class| matches!(class.state, State::Idle | State::Blocked))
        };
        let group = self.twins.group(class);
        group.is_none_or(|group| group.members.iter().all(rests))
    }

    /// As [`charge_twins_above`](Self::charge_twins_above), where nobody waits of those who share limits:
    /// then nobody is ahead of anybody, and all stay where they are.
    pub(super) fn charge_resting_twins(
        &mut self,
        from: u32,
        sent: &FlowCounters,
        last: FrameShape,
        framing: Framing,
        now: u128,
    ) {
        let mut at = from;
        while let Some(class) = self.classes.get(at as usize) {
            let parent = class.parent;
            if let Some(profile) = self.profiles.get(class.profile as usize)
                && profile.is_limited()
                && let Some(number) = self.twins.number(at)
                && let Some(group) = self.twins.groups.get_mut(number)
            {
                let (wire_bytes, segments) = charged(sent, last, framing, profile.framing());
                let terms = Group::terms(profile)
                    .into_iter()
                    .zip([wire_bytes, segments]);
                for (arrival, (terms, units)) in group.arrivals.iter_mut().zip(terms) {
                    if terms.is_limit() {
                        *arrival = terms.charged(*arrival, now, units);
                    }
                }
                for member in &mut group.members {
                    member.leads = [0; 2];
                }
                self.copy_arrivals(number);
            }
            at = parent;
        }
    }

    /// Gives every member of a group its copy of the arrival times.
    fn copy_arrivals(&mut self, number: usize) {
        let Some(group) = self.twins.groups.get(number) else {
            return;
        };
        let [ceil, pps] = group.arrivals;
        for member in &group.members {
            let [late, late_pps] = member.leads;
            let at = member.class as usize;
            if let Some(class) = self.classes.get_mut(at) {
                class.ceil = ceil.saturating_add(late);
            }
            if let Some(own) = self.pps.get_mut(at) {
                *own = pps.saturating_add(late_pps);
            }
        }
    }

    /// Moves all that share limits with a class to where they now belong.
    pub(super) fn place_twins_of(&mut self, class: u32, now: Time) {
        if let Some(number) = self.twins.number(class) {
            self.place_twins(number, now);
        }
    }

    /// Moves every member of a group to where it now belongs.
    fn place_twins(&mut self, number: usize, now: Time) {
        for at in 0.. {
            let group = self.twins.groups.get(number);
            let Some(member) = group.and_then(|group| group.members.get(at)) else {
                return;
            };
            let class = member.class;
            if self.class(class).state == State::Throttled {
                // It may open sooner than it was told.
                self.wheel.disarm(class);
            }
            self.place(class, now);
        }
    }

    /// Gives all members of a group, or of all groups, the shared arrival times as their own.
    pub(super) fn part_twins(&mut self, class: Option<u32>) {
        let one = class.map(|class| self.twins.number(class));
        for number in 0..self.twins.groups.len() {
            if one.is_none_or(|one| one == Some(number)) {
                if let Some(group) = self.twins.groups.get_mut(number) {
                    let members = group.members.iter_mut();
                    members.for_each(|member| member.leads = [0; 2]);
                }
                self.copy_arrivals(number);
            }
        }
    }

    /// Makes the arrival times of a class those of its group.
    pub(super) fn rejoin_twins(&mut self, class: u32) {
        let Some(number) = self.twins.number(class) else {
            return;
        };
        let owner = self.twins.owner(class).unwrap_or(class);
        let arrivals = [self.class(owner).ceil, self.pps(owner)];
        if let Some(group) = self.twins.groups.get_mut(number) {
            group.arrivals = arrivals;
        }
        self.copy_arrivals(number);
    }

    /// Who has whose limits, by their keys, if not their own.
    pub(super) fn owners(&self) -> BTreeMap<LeafKey, LeafKey> {
        let key = |index: u32| self.class(index).key(index);
        let groups = self.twins.groups.iter();
        let pairs = groups.flat_map(|group| {
            let mut members = group.members.iter().map(|member| key(member.class));
            let owner = members.next();
            members.filter_map(move |member| Some((member, owner?)))
        });
        pairs.collect()
    }

    /// Whose limits the classes of a plan have, in these slots, if not their own. Leaves that drain keep
    /// the `old` owners of theirs, if these are still there.
    pub(super) fn link_twins(
        &self,
        plan: &mut Plan,
        slots: &[u32],
        old: &BTreeMap<LeafKey, LeafKey>,
    ) -> BTreeMap<u32, u32> {
        let mut owners = BTreeMap::new();
        for (planned, &index) in plan.classes.iter().zip(slots) {
            if let Some(&owner) = planned.limits_of.and_then(|at| slots.get(at)) {
                owners.insert(index, owner);
            }
        }
        if old.is_empty() {
            return owners;
        }
        let places: BTreeMap<u32, usize> = slots.iter().copied().zip(0..).collect();
        for &index in &self.draining {
            let key = self.class(index).key(index);
            let owner = old.get(&key).filter(|owner| {
                let class = self.classes.get(owner.index as usize);
                class.is_some_and(|class| class.generation == owner.generation)
                    && !owners.contains_key(&owner.index)
            });
            let (Some(owner), Some(&place)) = (owner, places.get(&index)) else {
                continue;
            };
            let limits = places
                .get(&owner.index)
                .and_then(|at| plan.classes.get(*at));
            if let Some(limits) = limits.map(|limits| limits.profile)
                && let Some(planned) = plan.classes.get_mut(place)
            {
                planned.profile = planned.profile.limited_as(&limits);
                owners.insert(index, owner.index);
            }
        }
        owners
    }

    /// Makes the groups, after the limits of all classes were carried over.
    pub(super) fn join_twins(&mut self, owners: &BTreeMap<u32, u32>) {
        let mut twins = Twins::default();
        let member = |class| Member {
            class,
            leads: [0; 2],
        };
        if !owners.is_empty() {
            twins.of = vec![NONE; self.classes.len()];
        }
        for (&class, &owner) in owners {
            let number = twins.number(owner).unwrap_or_else(|| {
                twins.groups.push(Group {
                    arrivals: [self.class(owner).ceil, self.pps(owner)],
                    members: vec![member(owner)],
                });
                twins.groups.len().wrapping_sub(1)
            });
            if let Some(group) = twins.groups.get_mut(number) {
                group.members.push(member(class));
            }
            for at in [class, owner] {
                if let Some(of) = twins.of.get_mut(at as usize) {
                    *of = u32::try_from(number).unwrap_or(NONE);
                }
            }
        }
        self.twins = twins;
        (0..self.twins.groups.len()).for_each(|number| self.copy_arrivals(number));
    }

    /// Takes the credit of a class that has limits of its own again: those with whom it shared keep it.
    pub(super) fn spend(&mut self, index: u32, profile: &Profile, now: Time) {
        let spent = |terms: &Terms| terms.carried_over(0, Terms::UNLIMITED, now);
        let (ceil, pps) = (spent(&profile.ceil), spent(&profile.pps));
        let class = self.class_mut(index);
        class.ceil = class.ceil.max(ceil);
        if let Some(own) = self.pps.get_mut(index as usize) {
            *own = (*own).max(pps);
        }
    }
}
