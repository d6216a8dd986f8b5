//! Another tree for a running engine: what stays keeps its frames, credit and debt, and its place.

use std::collections::{BTreeMap, BTreeSet};

use super::class::{Class, NONE, State};
use super::queue::Queue;
use super::snapshot::ClassStats;
use super::{Engine, Inner};
use crate::class::{ClassId, Plan, Planned, Profile, Terms, TreeConfig, TreeError};
use crate::fair::Fair;
use crate::time::Time;
use crate::units::Rate;
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
    /// Classes that are gone.
    pub removed: u32,
    /// Frames that waited in leaves that are gone or have no queue any more: the caller's again, and
    /// counted as dropped.
    pub dropped: Vec<u64>,
}

/// How far ahead of its siblings each class is, with its parent.
type Leads = BTreeMap<ClassId, (ClassId, [u128; 2])>;

impl Engine {
    /// Changes to another tree, at once and as a whole. Classes are recognised by their ids.
    ///
    /// A class that stays keeps its key, its queue, its counters and its fair share of the recent
    /// past. Limits keep credit and debt in bytes and segments; a limit or class that is new starts
    /// with its burst spent, so that changes give nothing away.
    ///
    /// # Errors
    /// The tree may not run; the running one is unchanged.
    pub fn apply(&mut self, tree: &TreeConfig, now: Time) -> Result<Diff, TreeError> {
        self.rebuild(tree, now)
    }

    /// [`apply`](Self::apply); into an engine without classes, with all bursts to spend.
    pub(super) fn rebuild(&mut self, tree: &TreeConfig, now: Time) -> Result<Diff, TreeError> {
        let plan = Plan::new(tree)?;
        self.settle();
        let now = self.clock(now);
        let fresh = self.classes.is_empty();
        let mut diff = Diff::default();
        let leads = self.leads();
        self.remove_missing(&plan, &mut diff);
        let slots = self.slots(&plan);
        let old_profiles = std::mem::take(&mut self.profiles);
        let mut profiles = BTreeMap::new();
        for (planned, &index) in plan.classes.iter().zip(&slots) {
            let number = self.profile_number(&mut profiles, planned.profile);
            let old = old_profiles.get(self.class(index).profile as usize);
            let parent = planned.parent.and_then(|at| slots.get(at)).copied();
            let parent = parent.unwrap_or(NONE);
            let class = self.class_mut(index);
            let moved = class.parent != parent;
            match old {
                Some(old) => {
                    retune(class, old, &planned.profile, now);
                    count(&mut diff, moved, *old != planned.profile);
                }
                None => {
                    diff.added = diff.added.saturating_add(1);
                    class.id = planned.id;
                    if !fresh {
                        retune(class, &NEW, &planned.profile, now);
                    }
                }
            }
            (class.profile, class.parent) = (number, parent);
            class.position = planned.position;
            class.state = State::Idle;
        }
        self.rebuild_queues(&plan, &slots, &mut diff);
        self.restore_leads(&leads);
        let link = tree.classes.iter().find(|class| class.parent.is_none());
        let link = link.and_then(|root| root.rate.or(root.ceil));
        self.segment_bytes = segment_bytes(tree.segment_nanos, link);
        self.frames.resize(tree.frames, tree.pool_share_percent);
        self.sets.finish(tree.flow_sets.min(plan.flow_sets()));
        let more = self.classes.len().saturating_sub(self.stats.len());
        self.stats.reserve_exact(more);
        self.restart(now);
        Ok(diff)
    }

    /// How far ahead of its siblings each class is.
    fn leads(&self) -> Leads {
        let mut leads = Leads::new();
        for (&id, &index) in &self.index {
            let class = self.class(index);
            let Some(parent) = self.classes.get(class.parent as usize) else {
                continue;
            };
            if let Some(inner) = self.inners.get(parent.body as usize) {
                let lead = inner.fair.leads(class.position, self.profile(class).prio);
                if lead != [0; 2] {
                    leads.insert(id, (parent.id, lead));
                }
            }
        }
        leads
    }

    /// Gives the classes that did not move their leads back.
    fn restore_leads(&mut self, leads: &Leads) {
        for (id, &(parent, lead)) in leads {
            let Some(&index) = self.index.get(id) else {
                continue;
            };
            let class = self.class(index);
            let (above, position) = (class.parent, class.position);
            if above != NONE && self.class(above).id == parent {
                self.inner_mut(above).fair.lead(position, lead);
            }
        }
    }

    /// Takes out the classes that the plan does not have. Their counters go to the nearest ancestor
    /// that stays, so that no sum ever falls.
    fn remove_missing(&mut self, plan: &Plan, diff: &mut Diff) {
        let stay: BTreeSet<_> = plan.classes.iter().map(|class| class.id).collect();
        let gone: Vec<u32> = self
            .index
            .iter()
            .filter(|(id, _)| !stay.contains(id))
            .map(|(_, &index)| index)
            .collect();
        for &index in &gone {
            self.drop_frames(index, diff);
            if self.class(index).stats == NONE {
                continue;
            }
            let own = std::mem::take(self.stats_of(index));
            let mut heir = self.class(index).parent;
            while heir != NONE && !stay.contains(&self.class(heir).id) {
                heir = self.class(heir).parent;
            }
            if heir != NONE {
                self.stats_of(heir).add(&own);
            }
        }
        for index in gone {
            let id = self.class(index).id;
            self.index.remove(&id);
            let old = self.class(index);
            let stats = old.stats;
            let mut vacant = Class::vacant(old.generation.wrapping_add(1));
            // A slot keeps its block of counters, which is zero now.
            vacant.stats = stats;
            *self.class_mut(index) = vacant;
            diff.removed = diff.removed.saturating_add(1);
        }
    }

    /// Empties a leaf's queue into the diff.
    fn drop_frames(&mut self, index: u32, diff: &mut Diff) {
        let class = self.class(index);
        let (leaf, body) = (class.leaf, class.body as usize);
        if !leaf {
            return;
        }
        let framing = self.profile(class).framing();
        let mut dropped = ClassStats::default().dropped;
        if let Some(queue) = self.queues.get_mut(body) {
            while let Some(frame) = queue.take(&mut self.frames, &mut self.sets) {
                dropped.add(frame.shape.len, framing.cost(frame.shape));
                diff.dropped.push(frame.token);
            }
            self.class_mut(index).backlog = false;
        }
        if dropped.frames > 0 {
            self.stats_of(index).dropped.merge(&dropped);
        }
    }

    /// The arena's slot of every planned class: its own, or a vacant one.
    fn slots(&mut self, plan: &Plan) -> Vec<u32> {
        let used: BTreeSet<u32> = self.index.values().copied().collect();
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
        self.root = slots.first().copied().unwrap_or(NONE);
        slots
    }

    /// Makes the children's queues and the leaves' own.
    fn rebuild_queues(&mut self, plan: &Plan, slots: &[u32], diff: &mut Diff) {
        let mut families: Vec<(Vec<Profile>, Vec<u32>)> = Vec::new();
        families.resize_with(slots.len(), Default::default);
        for (planned, &index) in plan.classes.iter().zip(slots) {
            let family = planned.parent.and_then(|at| families.get_mut(at));
            if let Some((profiles, children)) = family {
                profiles.push(planned.profile);
                children.push(index);
            }
        }
        let mut queues = Vec::new();
        self.sets.begin();
        self.inners.clear();
        let all = plan.classes.iter().zip(slots).zip(families);
        for ((planned, &index), (profiles, children)) in all {
            let number = if planned.children > 0 {
                self.keep_queue(index, planned, plan.full_size, diff);
                let fair = Fair::new(&profiles);
                self.inners.push(Inner { fair, children });
                self.inners.len()
            } else if let Some(queue) = self.keep_queue(index, planned, plan.full_size, diff) {
                queues.push(queue);
                queues.len()
            } else {
                0
            };
            let class = self.class_mut(index);
            class.body = u32::try_from(number).unwrap_or(0).wrapping_sub(1);
            class.leaf = planned.children == 0;
        }
        self.queues = queues;
        self.refresh_backlogs(slots);
    }

    /// The queue of a class from now on: its own, if that can stay, or an empty one, whose
    /// predecessor's frames are dropped. Inner classes have none.
    fn keep_queue(
        &mut self,
        index: u32,
        planned: &Planned,
        full_size: u32,
        diff: &mut Diff,
    ) -> Option<Queue> {
        let new = Queue::new(planned, &mut self.sets, full_size);
        let class = self.class(index);
        let body = class.body as usize;
        if class.leaf
            && let Some(queue) = self.queues.get_mut(body)
        {
            if let Some(new) = &new
                && queue.retune(new)
            {
                return Some(queue.clone());
            }
            self.drop_frames(index, diff);
        }
        new
    }

    /// Whatever is no leaf has no backlog of its own; a queue knows whether it has one.
    fn refresh_backlogs(&mut self, slots: &[u32]) {
        for &index in slots {
            let class = self.class(index);
            let (leaf, body) = (class.leaf, class.body as usize);
            let queued = self.queues.get(body).map(|queue| queue.frames() > 0);
            let class = self.class_mut(index);
            class.backlog = leaf && queued.unwrap_or(class.backlog);
            class.blocked &= leaf;
        }
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

    fn profile_number(&mut self, known: &mut BTreeMap<Profile, u32>, profile: Profile) -> u32 {
        *known.entry(profile).or_insert_with(|| {
            self.profiles.push(profile);
            u32::try_from(self.profiles.len())
                .unwrap_or(0)
                .wrapping_sub(1)
        })
    }
}

/// Bytes that the root's link carries in the time of a segment, at least one.
fn segment_bytes(nanos: Option<u32>, link: Option<Rate>) -> u64 {
    match (nanos, link) {
        (Some(nanos), Some(link)) => link.bytes_in(nanos.into()).max(1),
        _ => 0,
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
    green: 0,
    weight: 0,
    prio: 0,
    overhead: 0,
    mpu: 0,
};

/// Carries a class's limits over from one profile to the next.
fn retune(class: &mut Class, old: &Profile, new: &Profile, now: Time) {
    for (arrival, old, new) in [
        (&mut class.ceil, old.ceil, new.ceil),
        (&mut class.pps, old.pps, new.pps),
        (&mut class.rate, old.rate, new.rate),
    ] {
        *arrival = new.carried_over(*arrival, old, now);
    }
}
