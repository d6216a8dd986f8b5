//! Classes that another tree does not have: what becomes of their frames and counters.

use std::collections::BTreeMap;

use super::Diff;
use crate::class::{ClassId, Family, LeafQueue, Plan, Planned, Profile, Removed, Terms};
use crate::counters::FlowCounters;
use crate::engine::Engine;
use crate::engine::class::{Class, Kind, NONE};
use crate::engine::frame::Frame;

impl Engine {
    /// Takes out the classes that the plan does not have. Their counters go to the nearest ancestor
    /// that stays, so that no sum ever falls. Returns the leaves that have frames left to drain, each
    /// with its nearest ancestor that still has children.
    pub(super) fn remove_missing(
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
            let mut heir = self.class(index).parent;
            while heir != NONE && !stay.contains_key(&self.class(heir).id) {
                heir = self.class(heir).parent;
            }
            self.part_late(index, heir);
            if self.class(index).stats == NONE {
                continue;
            }
            self.end_wait(index);
            let own = std::mem::take(self.tally(index));
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
    pub(super) fn keep_draining(
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
                limits_of: None,
                position,
                children: 0,
                queue: self.closed_queue(class),
                profile: Profile {
                    rate: Terms::UNLIMITED,
                    guarantee: 0,
                    ..profile
                },
                family: Family::default(),
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
    pub(super) fn drop_frames(&mut self, index: u32, diff: &mut Diff) {
        let framing = self.profile(self.class(index)).framing();
        let mut dropped = FlowCounters::default();
        while let Some(frame) = self.take_any(index) {
            dropped.add(frame.shape.len, framing.cost(frame.shape));
            diff.dropped.push(frame.token);
        }
        if dropped.frames > 0 {
            self.class_mut(index).backlog = false;
            self.tally(index).dropped(&dropped);
            self.drop_late(index);
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
}
