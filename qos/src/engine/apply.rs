//! Another tree for a running engine: what stays keeps its frames, credit and debt, and its place.

use std::collections::{BTreeMap, BTreeSet};

use super::Engine;
use super::class::{Class, Kind, LeafKey, NONE, State};
use super::flows::Flows;
use super::frame::Frame;
use super::frames::Fifo;
use crate::class::{
    Arrival, ClassId, LeafQueue, Plan, Planned, Profile, Removed, Terms, TreeConfig, TreeError,
};
use crate::counters::FlowCounters;
use crate::fair::{Fair, Seat, Share};
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
    /// Classes that are gone, those included that only drain.
    pub removed: u32,
    /// Leaves that are gone and still have frames, which go in their turn ([`Removed::Drain`]).
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
        let leads = self.leads();
        let draining = self.remove_missing(&plan, tree.removed, &mut diff);
        let mut slots = self.slots(&plan);
        let old_profiles = std::mem::take(&mut self.profiles);
        self.keep_draining(draining, &mut plan, &mut slots, &old_profiles, &mut diff);
        let mut profiles = BTreeMap::new();
        for (planned, &index) in plan.classes.iter().zip(&slots) {
            let number = self.profile_number(&mut profiles, planned.profile);
            let old = old_profiles.get(self.class(index).profile as usize);
            let parent = planned.parent.and_then(|at| slots.get(at)).copied();
            let parent = parent.unwrap_or(NONE);
            let moved = self.class(index).parent != parent;
            match old {
                Some(old) => {
                    self.carry_over(index, old, &planned.profile, now);
                    if !self.draining.contains(&index) {
                        count(&mut diff, moved, *old != planned.profile);
                    }
                }
                None => {
                    diff.added = diff.added.saturating_add(1);
                    if !fresh {
                        self.carry_over(index, &NEW, &planned.profile, now);
                    }
                }
            }
            let class = self.class_mut(index);
            class.id = planned.id;
            (class.profile, class.parent) = (number, parent);
            class.seat = Seat::new(planned.position);
            class.above = NONE;
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

    /// Takes out the classes that the plan does not have. Their counters go to the nearest ancestor
    /// that stays, so that no sum ever falls. Returns the leaves that have frames left to drain, each
    /// with its nearest ancestor that still has children.
    fn remove_missing(
        &mut self,
        plan: &Plan,
        removed: Removed,
        diff: &mut Diff,
    ) -> BTreeMap<u32, usize> {
        let places = plan.classes.iter().zip(0_usize..);
        let stay: BTreeMap<_, _> = places.map(|(class, at)| (class.id, at)).collect();
        let missing = self.index.iter().filter(|(id, _)| !stay.contains_key(id));
        let mut gone: Vec<u32> = missing.map(|(_, &index)| index).collect();
        diff.removed = u32::try_from(gone.len()).unwrap_or(u32::MAX);
        gone.extend(std::mem::take(&mut self.draining));
        let mut draining = BTreeMap::new();
        for &index in &gone {
            let inner = self.ancestors(index).find_map(|id| {
                let &at = stay.get(&id)?;
                (plan.classes.get(at)?.children > 0).then_some(at)
            });
            let root = plan.classes.first().filter(|root| root.children > 0);
            let parent = inner.or_else(|| root.map(|_| 0));
            match parent.filter(|_| removed == Removed::Drain) {
                Some(parent) if self.queued(self.class(index)) > 0 => {
                    draining.insert(index, parent);
                    continue;
                }
                _ => self.drop_frames(index, diff),
            }
            if self.class(index).stats == NONE {
                continue;
            }
            let own = std::mem::take(self.tally(index));
            let mut heir = self.class(index).parent;
            while heir != NONE && !stay.contains_key(&self.class(heir).id) {
                heir = self.class(heir).parent;
            }
            if heir != NONE {
                self.tally(heir).inherit(&own);
            }
        }
        for index in gone {
            let id = self.class(index).id;
            if self.index.get(&id) == Some(&index) {
                self.index.remove(&id);
            }
            if draining.contains_key(&index) {
                continue;
            }
            let old = self.class(index);
            let stats = old.stats;
            let mut vacant = Class::vacant(old.generation.wrapping_add(1));
            // A slot keeps its block of counters, which is zero now.
            vacant.stats = stats;
            *self.class_mut(index) = vacant;
        }
        self.draining = draining.keys().copied().collect();
        draining
    }

    /// The ids of a class's ancestors, the nearest first.
    fn ancestors(&self, index: u32) -> impl Iterator<Item = ClassId> {
        let up = |index: u32| self.classes.get(self.class(index).parent as usize);
        let next = move |class: &&Class| self.classes.get(class.parent as usize);
        std::iter::successors(up(index), next).map(|class| class.id)
    }

    /// Adds leaves that drain to the plan: with their limits, and a share of what is left.
    fn keep_draining(
        &mut self,
        draining: BTreeMap<u32, usize>,
        plan: &mut Plan,
        slots: &mut Vec<u32>,
        profiles: &[Profile],
        diff: &mut Diff,
    ) {
        for (index, parent) in draining {
            let class = self.class(index);
            let (Some(&profile), Some(above)) = (
                profiles.get(class.profile as usize),
                plan.classes.get_mut(parent),
            ) else {
                continue;
            };
            let position = above.children;
            above.children = above.children.saturating_add(1);
            plan.classes.push(Planned {
                id: class.id,
                parent: Some(parent),
                position,
                children: 0,
                queue: self.closed_queue(class),
                profile: Profile {
                    rate: Terms::UNLIMITED,
                    ..profile
                },
            });
            slots.push(index);
            diff.draining = diff.draining.saturating_add(1);
        }
    }

    /// The settings of a leaf's queue that takes no more.
    fn closed_queue(&self, class: &Class) -> LeafQueue {
        match class.kind {
            Kind::Inner | Kind::Hold => LeafQueue::Hold,
            Kind::Fifo => LeafQueue::Fifo { frames: 0 },
            Kind::Flows => {
                let flows = self.flows.get(class.body as usize);
                let config = flows.map(|flows| *self.sets.config(flows.settings()));
                config.map_or(LeafQueue::Hold, LeafQueue::Flows)
            }
        }
    }

    /// Empties a leaf's queue into the diff.
    fn drop_frames(&mut self, index: u32, diff: &mut Diff) {
        let framing = self.profile(self.class(index)).framing();
        let mut dropped = FlowCounters::default();
        while let Some(frame) = self.take_any(index) {
            dropped.add(frame.shape.len, framing.cost(frame.shape));
            diff.dropped.push(frame.token);
        }
        if dropped.frames > 0 {
            self.class_mut(index).backlog = false;
            self.tally(index).dropped(&dropped);
        }
    }

    /// Any frame of a leaf's queue, to empty it.
    fn take_any(&mut self, index: u32) -> Option<Frame> {
        let class = self.classes.get_mut(index as usize)?;
        match class.kind {
            Kind::Inner | Kind::Hold => None,
            Kind::Fifo => class.fifo.pop(&mut self.frames),
            Kind::Flows => {
                let flows = self.flows.get_mut(class.body as usize)?;
                flows.take(&mut self.frames, &mut self.sets)
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

    /// Makes the children's queues and the leaves' own.
    fn rebuild_queues(&mut self, plan: &Plan, slots: &[u32], diff: &mut Diff) {
        let mut families: Vec<Vec<u32>> = vec![Vec::new(); slots.len()];
        for (planned, &index) in plan.classes.iter().zip(slots) {
            let family = planned.parent.and_then(|at| families.get_mut(at));
            if let Some(children) = family {
                children.push(index);
            }
        }
        self.sets.begin();
        let mut old_flows: Vec<_> = std::mem::take(&mut self.flows)
            .into_iter()
            .map(Some)
            .collect();
        self.inners.clear();
        for ((planned, &index), children) in plan.classes.iter().zip(slots).zip(&families) {
            self.requeue(index, planned, plan.full_size, &mut old_flows, diff);
            if !children.is_empty() {
                let number = u32::try_from(self.inners.len()).unwrap_or(NONE);
                self.inners.push(Fair::new(children));
                self.class_mut(index).body = number;
                for &child in children {
                    self.class_mut(child).above = number;
                }
            }
        }
        // Parents come first, so every child knows its parent's queue by now.
        for (planned, &index) in plan.classes.iter().zip(slots) {
            let Some(class) = self.classes.get_mut(index as usize) else {
                continue;
            };
            let profile = &planned.profile;
            if let Some(fair) = self.inners.get_mut(class.above as usize) {
                fair.provide(
                    &mut class.seat,
                    profile.prio,
                    &profile.green,
                    &profile.excess,
                );
            }
        }
    }

    /// Gives a class the queue it shall have from now on: its own with other settings, or an empty
    /// one, whose predecessor's frames are dropped. Inner classes have none.
    fn requeue(
        &mut self,
        index: u32,
        planned: &Planned,
        full_size: u32,
        old_flows: &mut [Option<Flows>],
        diff: &mut Diff,
    ) {
        let kind = if planned.children > 0 {
            Kind::Inner
        } else {
            Kind::of(planned.queue)
        };
        let class = self.class(index);
        let mut flows = match class.kind {
            Kind::Flows => old_flows
                .get_mut(class.body as usize)
                .and_then(Option::take),
            _ => None,
        };
        let stays = class.kind == kind;
        if !stays {
            if let Some(flows) = flows.take() {
                self.class_mut(index).body = self.push_flows(flows);
            }
            self.drop_frames(index, diff);
            let class = self.class_mut(index);
            class.kind = kind;
            class.backlog = false;
            class.fifo = Fifo::new(0);
            if kind == Kind::Inner {
                class.blocked = false;
            }
        }
        match planned.queue {
            LeafQueue::Fifo { frames } => self.class_mut(index).fifo.limit = frames,
            LeafQueue::Flows(config) if kind == Kind::Flows => {
                let profile = &planned.profile;
                let (framing, unit) = (profile.framing(), profile.quantum);
                let settings = self.sets.settings(config, framing, unit, full_size);
                let mut flows = flows.unwrap_or_else(|| Flows::new(settings));
                flows.retune(settings);
                self.class_mut(index).body = self.push_flows(flows);
            }
            _ => {}
        }
    }

    fn push_flows(&mut self, flows: Flows) -> u32 {
        self.flows.push(flows);
        u32::try_from(self.flows.len()).unwrap_or(0).wrapping_sub(1)
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
    fn carry_over(&mut self, index: u32, old: &Profile, new: &Profile, now: Time) {
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
    green: Share::NONE,
    excess: Share::NONE,
    prio: 0,
    overhead: 0,
    mpu: 0,
};
