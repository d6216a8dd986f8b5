//! Another configuration for a running shard: uplinks, ports and trees come, go and change between two
//! turns, so that no frame sees half of it.

use std::collections::BTreeSet;
use std::io;

use qos::{Classifier, ClassifierError, TreeConfig, TreeError};

use super::Shard;
use super::counters::DropReason;
use super::lan::Lan;
use super::mailbox::{LanId, PortId};
use super::port::{Now, Port};
use super::tree::{PortTree, Tree, seeds};
use super::work::Turn;
use crate::logging::OPERATOR;
use crate::plan::{LanPlan, PortTreePlan};
use crate::switch::{Limits, PortError, PortRules, Switch};
use crate::uplink::Uplink;

/// What is to become of an uplink.
#[derive(Debug)]
pub struct LanChange {
    /// Its number.
    pub id: LanId,
    /// What logs call it.
    pub name: String,
    /// The device; `None` leaves the one there is.
    pub uplink: Option<Uplink>,
    /// The trees; an uplink that comes has both.
    pub trees: TreesChange,
}

/// What is to become of an uplink's trees; `None` leaves the one there is.
#[derive(Debug, Default, PartialEq)]
pub struct TreesChange {
    /// That of what guests send.
    pub from_guest: Option<TreeConfig>,
    /// That of what guests receive.
    pub to_guest: Option<TreeConfig>,
}

impl TreesChange {
    /// What leads from one plan to another.
    pub fn between(old: &LanPlan, new: &LanPlan) -> Self {
        let change = |old: &TreeConfig, new: &TreeConfig| (old != new).then(|| new.clone());
        Self {
            from_guest: change(&old.from_guest, &new.from_guest),
            to_guest: change(&old.to_guest, &new.to_guest),
        }
    }
}

/// What is to become of a port.
#[derive(Debug)]
pub struct PortChange {
    /// Its number.
    pub id: PortId,
    /// What logs call it.
    pub name: String,
    /// The uplink it is behind. One that is there already moves.
    pub lan: LanId,
    /// Queue pairs. Those of a port that is there already stay as they are.
    pub queues: usize,
    /// What the switch has to know of it.
    pub rules: PortRules,
    /// Its place in the tree of what guests send.
    pub from_guest: PortTreePlan,
    /// Its place in the tree of what guests receive.
    pub to_guest: PortTreePlan,
    /// Neighbouring frames of one flow may become one super-frame.
    pub coalesce: bool,
    /// Nothing of a frame decides where it goes: the uplink is this guest's alone.
    pub transparent: bool,
}

/// A change of what a shard serves. All or nothing: whatever can be refused was found out before, by who
/// made the change.
#[derive(Debug, Default)]
pub struct Change {
    /// Ports that go; their rings stop.
    pub ports_gone: Vec<PortId>,
    /// Uplinks that go, without ports by then.
    pub lans_gone: Vec<LanId>,
    /// Uplinks that come or change.
    pub lans: Vec<LanChange>,
    /// Ports that come or change, their uplinks among those that are there by then.
    pub ports: Vec<PortChange>,
}

impl Change {
    /// Finds out what is wrong with its trees and rules, as carrying it through would.
    ///
    /// # Errors
    /// What is wrong.
    pub fn check(&self) -> Result<(), ChangeError> {
        for lan in &self.lans {
            let TreesChange {
                from_guest,
                to_guest,
            } = &lan.trees;
            let mut trees = from_guest.iter().chain(to_guest);
            let checked = trees.try_for_each(TreeConfig::check);
            checked.map_err(|source| ChangeError::Tree {
                uplink: lan.name.clone(),
                source,
            })?;
        }
        for port in &self.ports {
            let plans = [&port.from_guest, &port.to_guest].into_iter();
            let mut rules = plans.filter_map(|plan| plan.classify.as_ref());
            let checked =
                rules.try_for_each(|(tree, rules)| Classifier::new(tree, rules).map(drop));
            checked.map_err(|source| ChangeError::Rules {
                guest: port.name.clone(),
                source,
            })?;
        }
        Ok(())
    }
}

/// What a change brought back.
#[derive(Debug, Default)]
pub struct Applied {
    /// Devices that are not used any more.
    pub retired: Vec<Uplink>,
    /// Frames that were dropped because nobody is there for them.
    pub dropped: u64,
}

/// A change that could not be carried through. Whoever made it is at fault, or the system is out of
/// something.
#[derive(Debug, thiserror::Error)]
pub enum ChangeError {
    /// A tree may not run.
    #[error("uplink {uplink}: {source}")]
    Tree {
        /// The uplink.
        uplink: String,
        /// What is wrong.
        source: TreeError,
    },
    /// Rules that do not fit their tree.
    #[error("guest {guest}: {source}")]
    Rules {
        /// The guest.
        guest: String,
        /// What is wrong.
        source: ClassifierError,
    },
    /// The switch cannot have it so.
    #[error("guest {guest}: {source}")]
    Port {
        /// The guest.
        guest: String,
        /// What is wrong.
        source: PortError,
    },
    /// No such uplink.
    #[error("guest {guest} is behind an uplink that is not there")]
    NoUplink {
        /// The guest.
        guest: String,
    },
    /// The uplink's queues cannot be watched.
    #[error("uplink {uplink}: cannot watch its queues: {source}; check the limit on open files")]
    Watch {
        /// The uplink.
        uplink: String,
        /// Why.
        source: io::Error,
    },
}

impl Shard {
    /// Carries a change through.
    pub(super) fn change(&mut self, change: Change) -> Result<Applied, ChangeError> {
        let mut applied = Applied::default();
        let now = Now::read();
        let mut touched = BTreeSet::new();
        for id in change.ports_gone {
            touched.extend(self.remove_port(id.0));
        }
        for id in change.lans_gone {
            self.remove_lan(id.0, &mut applied);
        }
        for lan in change.lans {
            self.change_lan(lan, now, &mut applied)?;
        }
        for port in change.ports {
            touched.insert(port.lan.0);
            self.change_port(port, now)?;
        }
        self.reseat();
        for index in touched {
            self.settle(index);
        }
        Ok(applied)
    }

    /// The uplink that the port was behind.
    fn remove_port(&mut self, index: u32) -> Option<u32> {
        let mut port = self.ports.remove(index)?;
        port.reset(&self.poller);
        self.work.chain.clear();
        self.work.gather.clear();
        port.log_counters();
        if let Some(Some(lan)) = self.lans.get_mut(port.lan as usize) {
            lan.drop_port(&mut port, &mut self.work, Now::read());
        }
        self.work.pool.forget_port(index);
        Some(port.lan)
    }

    fn remove_lan(&mut self, index: u32, applied: &mut Applied) {
        let Some(mut lan) = self.lans.get_mut(index as usize).and_then(Option::take) else {
            return;
        };
        lan.leave(&self.poller);
        lan.refused.log(&lan.name, OPERATOR);
        if let Some(due) = lan.due {
            self.due.remove(&(due, index));
        }
        applied.retired.push(lan.uplink);
    }

    fn change_lan(
        &mut self,
        change: LanChange,
        now: Now,
        applied: &mut Applied,
    ) -> Result<(), ChangeError> {
        let index = change.id.0 as usize;
        let refused = |source| ChangeError::Tree {
            uplink: change.name.clone(),
            source,
        };
        let watch = |source| ChangeError::Watch {
            uplink: change.name.clone(),
            source,
        };
        if let Some(Some(lan)) = self.lans.get_mut(index) {
            for (number, from) in lan.change_trees(&change.trees, now).map_err(refused)? {
                applied.dropped += 1;
                let mut turn = Turn::new(&mut self.ports, &mut self.work, &self.poller, now);
                lan.lose(number, from, DropReason::Removed, &mut turn);
            }
            if let Some(uplink) = change.uplink {
                let old = lan.replace(uplink, &self.poller).map_err(watch)?;
                applied.retired.push(old);
                lan.release(now);
                lan.settle(&mut self.ports, &self.poller);
            }
            return Ok(());
        }
        let TreesChange {
            from_guest: Some(from),
            to_guest: Some(to),
        } = &change.trees
        else {
            return Ok(());
        };
        let Some(uplink) = change.uplink else {
            return Ok(());
        };
        let trees = [
            Tree::new(from).map_err(refused)?,
            Tree::new(to).map_err(refused)?,
        ];
        let switch = Switch::new(Limits::default(), seeds());
        let lan = Lan::new(change.id.0, change.name.clone(), uplink, trees, switch);
        lan.join(&self.poller).map_err(watch)?;
        if self.lans.len() <= index {
            self.lans.resize_with(index + 1, || None);
        }
        self.lans[index] = Some(Box::new(lan));
        Ok(())
    }

    fn change_port(&mut self, change: PortChange, now: Now) -> Result<(), ChangeError> {
        let index = change.id.0;
        let moved = match self.ports.get(index) {
            Some(port) => (port.lan != change.lan.0).then_some(port.lan),
            None => None,
        };
        if let Some(old) = moved
            && let Some(Some(lan)) = self.lans.get_mut(old as usize)
            && let Some(port) = self.ports.get_mut(index)
        {
            lan.drop_port(port, &mut self.work, now);
            port.lan = change.lan.0;
            (port.from, port.to) = (PortTree::default(), PortTree::default());
            lan.settle(&mut self.ports, &self.poller);
        }
        let Some(Some(lan)) = self.lans.get_mut(change.lan.0 as usize) else {
            return Err(ChangeError::NoUplink { guest: change.name });
        };
        let refused = |source| ChangeError::Rules {
            guest: change.name.clone(),
            source,
        };
        let from = lan.from.seat(index, &change.from_guest).map_err(refused)?;
        let to = lan.to.seat(index, &change.to_guest).map_err(refused)?;
        if self.ports.get(index).is_none() {
            let port = Port::new(index, change.lan.0, change.name.clone(), change.queues);
            self.ports.insert(port);
        }
        let taken = |source| ChangeError::Port {
            guest: change.name.clone(),
            source,
        };
        lan.switch.set_port(index, change.rules).map_err(taken)?;
        if !lan.members.contains(&index) {
            lan.members.push(index);
        }
        lan.transparent = change.transparent;
        if let Some(port) = self.ports.get_mut(index) {
            port.name = change.name;
            port.coalesce = change.coalesce;
            for (own, seated) in [(&mut port.from, from), (&mut port.to, to)] {
                own.change(seated);
            }
            lan.adapt(port, &mut self.work, now);
            lan.go_on(port, now);
        }
        Ok(())
    }

    /// An uplink's ports have changed: it follows, and has a turn.
    fn settle(&mut self, index: u32) {
        let Some(Some(lan)) = self.lans.get_mut(index as usize) else {
            return;
        };
        lan.settle(&mut self.ports, &self.poller);
        if !lan.pending {
            lan.pending = true;
            self.pending.push_back(index);
        }
    }

    /// Uplinks whose ports changed look at who is alone with them.
    fn reseat(&mut self) {
        for lan in self.lans.iter_mut().flatten() {
            lan.sole = match lan.members[..] {
                [only] if lan.transparent => Some(only),
                _ => None,
            };
        }
    }
}
