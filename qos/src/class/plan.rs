//! Admission: a configuration turned into a tree that is known to be sound, parents first.

use std::collections::BTreeMap;

use super::config::{ClassConfig, LeafQueue, MAX_DEPTH, Overcommit, TreeConfig};
use super::error::TreeError;
use super::id::ClassId;
use super::settings::{Family, Link, Member, Profile, check_alone, check_sum, scaled, weight};
use super::twins::{owners, resolved};
use crate::units::Rate;

/// Classes in a tree at most.
const MAX_CLASSES: usize = 1 << 20;

/// One class of a sound tree.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Planned {
    pub(crate) id: ClassId,
    /// Position of the parent in the plan; `None` for the root, which comes first.
    pub(crate) parent: Option<usize>,
    /// Position of the class whose limits it has, if not its own.
    pub(crate) limits_of: Option<usize>,
    /// Its number among its siblings, and how many children it has itself.
    pub(crate) position: u32,
    pub(crate) children: u32,
    pub(crate) queue: LeafQueue,
    pub(crate) profile: Profile,
    pub(crate) family: Family,
}

/// A sound tree: parents before children, siblings in the order in which they were written.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) classes: Vec<Planned>,
    pub(crate) link: Link,
}

impl Plan {
    pub(crate) fn new(tree: &TreeConfig) -> Result<Self, TreeError> {
        let parents = parents(tree)?;
        let order = order(tree, &parents)?;
        let owners = owners(tree, &parents)?;
        let tree = &*resolved(tree, &owners);
        let mut draft = Draft::new(tree, &parents, &order);
        for class in &draft.classes {
            check_alone(&draft.link, &class.member)?;
        }
        if tree.pool_share_percent == Some(0) {
            return Err(TreeError::ZeroPoolShare);
        }
        draft.admit()?;
        let mut plan = draft.finish();
        plan.share_limits(&order, &owners);
        Ok(plan)
    }

    /// Gives classes the limits of their owners, which come in this order.
    fn share_limits(&mut self, order: &[usize], owners: &[Option<usize>]) {
        if owners.iter().all(Option::is_none) {
            return;
        }
        let places: BTreeMap<usize, usize> = order.iter().copied().zip(0..).collect();
        for (place, at) in order.iter().enumerate() {
            let owner = owners.get(*at).copied().flatten();
            let owner = owner.and_then(|owner| places.get(&owner)).copied();
            let limits = owner.and_then(|owner| self.classes.get(owner));
            if let Some(limits) = limits.map(|limits| limits.profile)
                && let Some(class) = self.classes.get_mut(place)
            {
                class.profile = class.profile.limited_as(&limits);
                class.limits_of = owner;
            }
        }
    }

    /// Flow sets that the leaves could use.
    pub(crate) fn flow_sets(&self) -> u32 {
        let sets = |class: &Planned| match class.queue {
            LeafQueue::Flows(flows) => u32::from(flows.buckets).div_ceil(64),
            _ => 0,
        };
        self.classes.iter().map(sets).fold(0, u32::saturating_add)
    }
}

/// The parent of every class, as an index.
fn parents(tree: &TreeConfig) -> Result<Vec<Option<usize>>, TreeError> {
    let mut index = BTreeMap::new();
    let mut root: Option<ClassId> = None;
    for (at, class) in tree.classes.iter().enumerate() {
        let id = class.id;
        if at >= MAX_CLASSES {
            return Err(TreeError::TooMany { id });
        }
        if index.insert(id, at).is_some() {
            return Err(TreeError::Duplicate { id });
        }
        match (class.parent, root) {
            (None, Some(root)) => return Err(TreeError::SecondRoot { id, root }),
            (None, None) => root = Some(id),
            (Some(_), _) => {}
        }
    }
    root.ok_or(TreeError::NoRoot)?;
    let of = |class: &ClassConfig| match class.parent {
        None => Ok(None),
        Some(parent) => match index.get(&parent) {
            Some(&at) => Ok(Some(at)),
            None => Err(TreeError::Orphan {
                id: class.id,
                parent,
            }),
        },
    };
    tree.classes.iter().map(of).collect()
}

/// The classes sorted by level, otherwise as they were written.
fn order(tree: &TreeConfig, parents: &[Option<usize>]) -> Result<Vec<usize>, TreeError> {
    let mut levels = Vec::with_capacity(parents.len());
    for (at, class) in tree.classes.iter().enumerate() {
        let up = |&at: &usize| parents.get(at).copied().flatten();
        // A walk longer than there are classes has met one of them twice.
        let level = std::iter::successors(Some(at), up)
            .take(parents.len().saturating_add(1).min(64))
            .count();
        if level > parents.len() || (level == 64 && in_cycle(at, parents)) {
            return Err(TreeError::Cycle { id: class.id });
        }
        if level > MAX_DEPTH {
            let id = class.id;
            return Err(TreeError::TooDeep { id, level });
        }
        levels.push((level, at));
    }
    levels.sort_unstable();
    Ok(levels.into_iter().map(|(_, at)| at).collect())
}

/// Whether the walk from `at` upwards never ends.
fn in_cycle(at: usize, parents: &[Option<usize>]) -> bool {
    let up = |&at: &usize| parents.get(at).copied().flatten();
    std::iter::successors(Some(at), up)
        .nth(parents.len())
        .is_some()
}

/// A class on its way to a plan.
struct DraftClass<'a> {
    member: Member<'a>,
    parent: Option<usize>,
    position: u32,
    children: u32,
    family: Family,
}

struct Draft<'a> {
    overcommit: Overcommit,
    link: Link,
    classes: Vec<DraftClass<'a>>,
}

impl<'a> Draft<'a> {
    fn new(tree: &'a TreeConfig, parents: &[Option<usize>], order: &[usize]) -> Self {
        let mut place = vec![0_usize; order.len()];
        let mut classes: Vec<DraftClass<'a>> = Vec::with_capacity(order.len());
        for &at in order {
            let Some(config) = tree.classes.get(at) else {
                continue;
            };
            let above = parents.get(at).copied().flatten();
            let parent = above.and_then(|above| place.get(above).copied());
            let mut position = 0;
            let mut member = Member {
                config,
                is_root: parent.is_none(),
                has_children: false,
                rate: config.rate.map_or(0, Rate::bits_per_second),
                framing: config.framing.unwrap_or_default(),
                lid: config.ceil,
            };
            if let Some(above) = parent.and_then(|parent| classes.get_mut(parent)) {
                position = above.children;
                above.children = above.children.saturating_add(1);
                above.member.has_children = true;
                let weights = &mut above.family.weights;
                *weights = weights.saturating_add(u64::from(weight(config)));
                member.framing = config.framing.unwrap_or(above.member.framing);
                member.lid = [member.lid, above.member.lid].into_iter().flatten().min();
            }
            if let Some(place) = place.get_mut(at) {
                *place = classes.len();
            }
            classes.push(DraftClass {
                member,
                parent,
                position,
                children: 0,
                family: Family::default(),
            });
        }
        Self {
            overcommit: tree.overcommit,
            link: Link::of(tree),
            classes,
        }
    }

    /// Sums up what the children of every class are guaranteed.
    fn sum_up(&mut self) {
        for at in 0..self.classes.len() {
            let Some(class) = self.classes.get_mut(at) else {
                continue;
            };
            // Parents come first.
            class.family.guaranteed = 0;
            let (parent, rate) = (class.parent, class.member.rate);
            if let Some(above) = parent.and_then(|parent| self.classes.get_mut(parent)) {
                let sum = &mut above.family.guaranteed;
                *sum = sum.saturating_add(rate);
            }
        }
    }

    /// Holds the sums of guarantees against what each parent has to give, or scales them.
    fn admit(&mut self) -> Result<(), TreeError> {
        self.sum_up();
        // What the children of a parent get of what they asked for, where that is too much.
        let mut cuts: Vec<Option<(u64, u64)>> = vec![None; self.classes.len()];
        for at in 0..self.classes.len() {
            let Some(class) = self.classes.get_mut(at) else {
                continue;
            };
            let member = &mut class.member;
            // Parents come first, so what they have to give is final.
            let cut = class.parent.and_then(|parent| cuts.get(parent).copied()?);
            if let Some((given, asked)) = cut {
                member.rate = scaled(member.rate, given, asked);
            }
            let (given, asked) = (member.given(), class.family.guaranteed);
            if self.overcommit == Overcommit::Reject {
                check_sum(member.config.id, asked, given)?;
            } else if let (Some(given), Some(cut)) = (given, cuts.get_mut(at)) {
                *cut = (asked > given).then_some((given, asked));
            }
        }
        if self.overcommit == Overcommit::Scale {
            self.sum_up();
        }
        Ok(())
    }

    fn finish(mut self) -> Plan {
        let mut planned = Vec::with_capacity(self.classes.len());
        for at in 0..self.classes.len() {
            let above = self.classes.get(at).and_then(|class| class.parent);
            let above = above.and_then(|above| self.classes.get(above));
            let above = above.map(|above| above.family);
            let Some(class) = self.classes.get_mut(at) else {
                continue;
            };
            let settings = class.member.settings(&self.link, above.as_ref());
            class.family.share = settings.share;
            planned.push(Planned {
                id: class.member.config.id,
                parent: class.parent,
                limits_of: None,
                position: class.position,
                children: class.children,
                queue: settings.queue,
                profile: settings.profile,
                family: class.family,
            });
        }
        Plan {
            classes: planned,
            link: self.link,
        }
    }
}

#[cfg(test)]
mod tests;
