//! The queues of another tree: of the children of inner classes, and the leaves' own.

use super::Diff;
use crate::class::{LeafQueue, Plan, Planned};
use crate::engine::Engine;
use crate::engine::class::{Kind, NONE};
use crate::engine::fifo::Fifo;
use crate::engine::flows::{Flows, Settings};
use crate::fair::Fair;

impl Engine {
    /// Makes the children's queues and the leaves' own.
    pub(super) fn rebuild_queues(&mut self, plan: &Plan, slots: &[u32], diff: &mut Diff) {
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
            self.requeue(index, planned, plan.link.unit(), &mut old_flows, diff);
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
            self.part_late(index, index);
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
                let settings = Settings::new(config, framing, unit, full_size);
                let settings = self.sets.settings(settings);
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
}
