//! Another tree for a running engine: what stays keeps its frames, credit and debt, and its place.

mod queues;
mod removal;

use std::collections::{BTreeMap, BTreeSet};

use super::Engine;
use super::class::{Class, LeafKey, NONE, State};
use crate::class::{Arrival, Plan, Planned, Profile, Terms, TreeConfig, TreeError};
use crate::fair::{Seat, Share};
use crate::time::Time;
use crate::wheel::Wheel;

/// What [`Engine::apply`] did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Diff {
    /// Classes that are new.
    pub added: u32,
    /// Classes that stayed exactly as they were.
    pub kept: u32,
    /// Classes that stayed with other settings.
    pub retuned: u32,
    /// Classes that stayed below another parent.
    pub moved: u32,
    /// Classes that are gone, those included that only drain.
    pub removed: u32,
    /// Leaves that are gone and still have frames, which go in their turn
    /// ([`Removed::Drain`](crate::Removed::Drain)).
    pub draining: u32,
    /// Frames that waited in leaves that are gone or have no queue any more: the caller's again, and
    /// counted as dropped.
    pub dropped: Vec<u64>,
}

/// How far ahead of its siblings a class is.
struct Lead {
    class: LeafKey,
    parent: LeafKey,
    lead: [u64; 2],
}

impl Engine {
    /// Changes to another tree, at once and as a whole. Classes are recognised by their ids.
    ///
    /// A class that stays keeps its key, its queue, its counters and its fair share of the recent
    /// past. Limits keep credit and debt in bytes and segments; a limit or class that is new starts
    /// with its burst spent, so that changes give nothing away. What happens to the frames of leaves
    /// that are gone, [`TreeConfig::removed`] says.
    ///
    /// # Errors
    /// The tree may not run; the running one is unchanged.
    pub fn apply(&mut self, tree: &TreeConfig, now: Time) -> Result<Diff, TreeError> {
        self.rebuild(tree, now)
    }

    /// [`apply`](Self::apply); into an engine without classes, with all bursts to spend.
    pub(super) fn rebuild(&mut self, tree: &TreeConfig, now: Time) -> Result<Diff, TreeError> {
        let mut plan = Plan::new(tree)?;
        self.settle();
        let now = self.clock(now);
        let fresh = self.classes.is_empty();
        let mut diff = Diff::default();
        self.part_twins(None);
        let old_owners = self.owners();
        let leads = self.leads();
        let draining = self.remove_missing(&plan, tree.removed, &mut diff);
        let mut slots = self.slots(&plan);
        let old_profiles = std::mem::take(&mut self.profiles);
        self.keep_draining(draining, &mut plan, &mut slots, &old_profiles, &mut diff);
        let owners = self.link_twins(&mut plan, &slots, &old_owners);
        let mut profiles = BTreeMap::new();
        self.books.users.clear();
        for (planned, &index) in plan.classes.iter().zip(&slots) {
            let number = self.profile_number(&mut profiles, planned.profile);
            let old = old_profiles.get(self.class(index).profile as usize);
            let parent = planned.parent.and_then(|at| slots.get(at)).copied();
            let parent = parent.unwrap_or(NONE);
            let moved = self.class(index).parent != parent;
            let owner = old_owners.get(&self.class(index).key(index));
            let owner = owner.map(|owner| owner.index);
            let alone = owner.is_some() && owner != owners.get(&index).copied();
            match old {
                Some(old) => {
                    self.carry_over(index, old, &planned.profile, now);
                    if alone {
                        self.spend(index, &planned.profile, now);
                    }
                    if !self.draining.contains(&index) {
                        let changed =
                            *old != planned.profile || owner != owners.get(&index).copied();
                        count(&mut diff, moved, changed);
                    }
                }
                None => {
                    diff.added = diff.added.saturating_add(1);
                    if !fresh {
                        self.carry_over(index, &NEW, &planned.profile, now);
                    }
                }
            }
            if self.class(index).state == State::Throttled {
                self.end_wait(index);
            }
            let class = self.class_mut(index);
            class.id = planned.id;
            (class.profile, class.parent) = (number, parent);
            class.seat = Seat::new(planned.position);
            class.above = NONE;
            class.state = State::Idle;
        }
        self.join_twins(&owners);
        self.rebuild_queues(&plan, &slots, &mut diff);
        self.restore_leads(&leads);
        self.keep_books(&plan);
        self.frames.resize(tree.frames, tree.pool_share_percent);
        self.sets.finish(tree.flow_sets, plan.flow_sets());
        let more = self.classes.len().saturating_sub(self.stats.len());
        self.stats.reserve_exact(more);
        self.restart(now);
        Ok(diff)
    }

    /// Notes what the tree says for all classes, and what single changes are held against.
    fn keep_books(&mut self, plan: &Plan) {
        self.segment_bytes = plan.link.segment_bytes();
        let first = self.profiles.first().map(Profile::framing);
        let mut framings = self.profiles.iter().map(Profile::framing);
        let alike = framings.all(|framing| Some(framing) == first);
        let counts = |planned: &&Planned| planned.profile.pps.is_limit();
        let counting = plan.classes.iter().filter(counts).count();
        let inner = plan.classes.iter().filter(|planned| planned.children > 0);
        let books = &mut self.books;
        books.link = plan.link;
        books.families = inner.map(|planned| planned.family).collect();
        books.counting = u32::try_from(counting).unwrap_or(u32::MAX);
        books.alike = alike && self.segment_bytes == 0;
        self.plain = books.alike && counting == 0;
    }

    /// How far ahead of its siblings each class is.
    fn leads(&mut self) -> Vec<Lead> {
        let mut leads = Vec::new();
        let parents: Vec<u32> = self.classes.iter().map(|class| class.parent).collect();
        let keys: Vec<_> = (0..)
            .zip(&self.classes)
            .map(|(n, class)| class.key(n))
            .collect();
        for ((class, &key), &parent) in self.classes.iter_mut().zip(&keys).zip(&parents) {
            let Some(&parent) = keys.get(parent as usize) else {
                continue;
            };
            let profile = self.profiles.get(class.profile as usize);
            let fair = self.inners.get_mut(class.above as usize);
            let (Some(profile), Some(fair)) = (profile, fair) else {
                continue;
            };
            let waits = class.state.may_send();
            let waits = waits.then(|| class.state.tier(profile.prio));
            let lead = fair.leads(&mut class.seat, profile.prio, waits);
            if lead != [0; 2] {
                leads.push(Lead {
                    class: key,
                    parent,
                    lead,
                });
            }
        }
        leads
    }

    /// Gives the classes that did not move their leads back.
    fn restore_leads(&mut self, leads: &[Lead]) {
        for lead in leads {
            let Some(parent) = self.classes.get(lead.parent.index as usize) else {
                continue;
            };
            let parent = parent.key(lead.parent.index);
            let Some(class) = self.classes.get_mut(lead.class.index as usize) else {
                continue;
            };
            let stayed = class.key(lead.class.index) == lead.class
                && parent == lead.parent
                && class.parent == parent.index;
            let profile = self.profiles.get(class.profile as usize);
            if let (true, Some(profile), Some(fair)) =
                (stayed, profile, self.inners.get_mut(class.above as usize))
            {
                let shares = [&profile.green, &profile.excess];
                fair.lead(&mut class.seat, lead.lead, shares);
            }
        }
    }

    /// The arena's slot of every planned class: its own, or a vacant one.
    fn slots(&mut self, plan: &Plan) -> Vec<u32> {
        let used: BTreeSet<u32> = self.index.values().chain(&self.draining).copied().collect();
        let all = 0..u32::try_from(self.classes.len()).unwrap_or(NONE);
        let mut vacant: Vec<u32> = all.filter(|index| !used.contains(index)).rev().collect();
        let mut slots = Vec::with_capacity(plan.classes.len());
        for planned in &plan.classes {
            let index = self.index.get(&planned.id).copied().unwrap_or_else(|| {
                vacant.pop().unwrap_or_else(|| {
                    let index = u32::try_from(self.classes.len()).unwrap_or(NONE);
                    self.classes.push(Class::vacant(0));
                    index
                })
            });
            self.index.insert(planned.id, index);
            slots.push(index);
        }
        self.pps.resize(self.classes.len(), 0);
        self.root = slots.first().copied().unwrap_or(NONE);
        slots
    }

    /// Puts every leaf with a backlog where it belongs, in new wheels.
    fn restart(&mut self, now: Time) {
        self.wheel = Wheel::new(self.classes.len());
        self.overdue = false;
        for index in 0..u32::try_from(self.classes.len()).unwrap_or(NONE) {
            if self.class(index).backlog {
                self.place(index, now);
            }
        }
    }

    /// Carries a class's limits over from one profile to the next.
    pub(super) fn carry_over(&mut self, index: u32, old: &Profile, new: &Profile, now: Time) {
        let resume =
            |new: &Terms, arrival: Arrival, old: Terms| new.carried_over(arrival, old, now);
        if let Some(pps) = self.pps.get_mut(index as usize) {
            *pps = resume(&new.pps, *pps, old.pps);
        }
        let class = self.class_mut(index);
        class.ceil = resume(&new.ceil, class.ceil, old.ceil);
        class.rate = resume(&new.rate, class.rate, old.rate);
    }

    fn profile_number(&mut self, known: &mut BTreeMap<Profile, u32>, profile: Profile) -> u32 {
        let number = *known.entry(profile).or_insert_with(|| {
            self.profiles.push(profile);
            u32::try_from(self.profiles.len())
                .unwrap_or(0)
                .wrapping_sub(1)
        });
        self.books.users.add(number);
        number
    }
}

fn count(diff: &mut Diff, moved: bool, changed: bool) {
    let counter = match (moved, changed) {
        (true, _) => &mut diff.moved,
        (false, true) => &mut diff.retuned,
        (false, false) => &mut diff.kept,
    };
    *counter = counter.saturating_add(1);
}

/// The profile of a class that was not there: no limit and no guarantee.
const NEW: Profile = Profile {
    ceil: Terms::UNLIMITED,
    pps: Terms::UNLIMITED,
    rate: Terms::UNLIMITED,
    quantum: 0,
    green: Share::NONE,
    excess: Share::NONE,
    guarantee: 0,
    ceiling: 0,
    prio: 0,
    overhead: 0,
    mpu: 0,
};
