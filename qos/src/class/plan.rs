//! Admission: a configuration turned into a tree that is known to be sound, parents first.

use std::collections::BTreeMap;

use super::config::{
    ClassConfig, DEFAULT_WEIGHT, FlowsConfig, LeafQueue, MAX_BUCKETS, MAX_DEPTH, Overcommit,
    TreeConfig,
};
use super::error::TreeError;
use super::id::ClassId;
use super::terms::Terms;
use crate::fair::{GREEN, Share, Tier};
use crate::time::Span;
use crate::units::{Burst, PacketBurst, Rate};
use crate::wire::Framing;

/// Classes in a tree at most.
const MAX_CLASSES: usize = 1 << 20;
/// How long one class may hold the others up by what it sends in one go: its own share of that is
/// what the quantum is made from.
const QUANTUM_NANOS: u64 = 100_000;
/// And how long the link may be held up, whoever sends.
const LINK_QUANTUM_NANOS: u64 = 50_000;
/// The largest super-frame; no automatic quantum is larger.
const LARGEST_QUANTUM: u64 = 65_536;

/// Everything about a class that classes with equal settings share.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Profile {
    pub(crate) ceil: Terms,
    pub(crate) pps: Terms,
    pub(crate) rate: Terms,
    /// Wire bytes of one visit.
    pub(crate) quantum: u64,
    /// Its part among the guaranteed.
    pub(crate) green: Share,
    /// Its part among those that take what is left.
    pub(crate) excess: Share,
    pub(crate) prio: u8,
    pub(crate) overhead: i32,
    pub(crate) mpu: u32,
}

impl Profile {
    /// Its part in a tier of its parent's queue.
    pub(crate) const fn share(&self, tier: Tier) -> &Share {
        if tier == GREEN {
            &self.green
        } else {
            &self.excess
        }
    }

    pub(crate) const fn framing(&self) -> Framing {
        Framing {
            overhead: self.overhead,
            mpu: self.mpu,
        }
    }
}

/// One class of a sound tree.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Planned {
    pub(crate) id: ClassId,
    /// Position of the parent in the plan; `None` for the root, which comes first.
    pub(crate) parent: Option<usize>,
    /// Its number among its siblings, and how many children it has itself.
    pub(crate) position: u32,
    pub(crate) children: u32,
    pub(crate) queue: LeafQueue,
    pub(crate) profile: Profile,
}

/// A sound tree: parents before children, siblings in the order in which they were written.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) classes: Vec<Planned>,
    /// Wire bytes of a full-size frame.
    pub(crate) full_size: u32,
}

impl Plan {
    pub(crate) fn new(tree: &TreeConfig) -> Result<Self, TreeError> {
        let parents = parents(tree)?;
        let order = order(tree, &parents)?;
        let mut draft = Draft::new(tree, &parents, &order);
        for class in &draft.classes {
            check_alone(tree, class)?;
        }
        if tree.pool_share_percent == Some(0) {
            return Err(TreeError::ZeroPoolShare);
        }
        draft.admit()?;
        draft.finish()
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

/// What is wrong with a class whatever the others are.
fn check_alone(tree: &TreeConfig, class: &DraftClass<'_>) -> Result<(), TreeError> {
    let config = class.config;
    let id = config.id;
    if config.weight == Some(0) {
        return Err(TreeError::ZeroWeight { id });
    }
    if config.quantum == Some(0) {
        return Err(TreeError::ZeroQuantum { id });
    }
    if config.prio > 3 {
        let prio = config.prio;
        return Err(TreeError::Prio { id, prio });
    }
    if let (Some(rate), Some(ceil)) = (config.rate, config.ceil)
        && rate > ceil
    {
        return Err(TreeError::RateAboveCeil { id, rate, ceil });
    }
    if config.pace && config.ceil.is_none() {
        return Err(TreeError::PaceWithoutCeil { id });
    }
    match config.queue {
        LeafQueue::Hold => {}
        _ if class.children > 0 => return Err(TreeError::QueueOnInner { id }),
        LeafQueue::Fifo { frames: 0 } => return Err(TreeError::EmptyQueue { id }),
        LeafQueue::Flows(flows) => check_flows(id, &flows)?,
        LeafQueue::Fifo { .. } => {}
    }
    check_bursts(tree, config)?;
    let link = config.rate.or(config.ceil);
    match tree.segment_nanos {
        Some(nanos)
            if class.parent.is_none()
                && (link.is_none() || !(1..=1_000_000_000).contains(&nanos)) =>
        {
            Err(TreeError::SegmentTime { id, nanos })
        }
        _ => Ok(()),
    }
}

fn check_flows(id: ClassId, flows: &FlowsConfig) -> Result<(), TreeError> {
    let buckets = flows.buckets;
    if flows.frames == 0 || flows.bytes == Some(0) || buckets == 0 {
        return Err(TreeError::EmptyQueue { id });
    }
    if buckets > MAX_BUCKETS {
        return Err(TreeError::TooManyBuckets { id, buckets });
    }
    if flows.quantum == Some(0) {
        return Err(TreeError::ZeroQuantum { id });
    }
    Ok(())
}

fn check_bursts(tree: &TreeConfig, config: &ClassConfig) -> Result<(), TreeError> {
    let (id, frame) = (config.id, tree.unit_wire_bytes);
    let limits = [
        ("burst", config.rate, config.burst),
        ("cburst", config.ceil, config.cburst),
    ];
    for (what, rate, burst) in limits {
        let bytes = match (rate, burst) {
            (None, _) | (_, Burst::Auto) => continue,
            (_, Burst::Bytes(bytes)) => bytes,
            (Some(rate), Burst::Duration(nanos)) => rate.bytes_in(nanos),
        };
        if bytes < u64::from(frame) {
            return Err(TreeError::SmallBurst {
                id,
                what,
                bytes,
                frame,
            });
        }
    }
    match config.pps {
        Some(pps) if config.pps_burst != PacketBurst::Auto => {
            let least = pps.inverse().cost(1);
            // The inverse is rounded up by less than a tick; so may be the time written.
            let enough = config
                .pps_burst
                .tolerance(pps)
                .saturating_add(Span::from_ticks(1));
            (enough >= least)
                .then_some(())
                .ok_or(TreeError::SmallPacketBurst { id })
        }
        _ => Ok(()),
    }
}

/// A class on its way to a plan.
struct DraftClass<'a> {
    config: &'a ClassConfig,
    parent: Option<usize>,
    position: u32,
    children: u32,
    /// Guarantee in bit/s after scaling; zero for none.
    rate: u64,
    /// Sum of the children's weights.
    weights: u64,
    framing: Framing,
    /// What it can count on or be held to, in bit/s, for the size of a quantum.
    share: Option<u64>,
    /// The lowest ceiling on the way to the root.
    lid: Option<Rate>,
}

struct Draft<'a> {
    tree: &'a TreeConfig,
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
            let mut class = DraftClass {
                config,
                parent,
                position: 0,
                children: 0,
                rate: config.rate.map_or(0, Rate::bits_per_second),
                weights: 0,
                framing: config.framing.unwrap_or_default(),
                share: None,
                lid: config.ceil,
            };
            if let Some(above) = parent.and_then(|parent| classes.get_mut(parent)) {
                class.position = above.children;
                above.children = above.children.saturating_add(1);
                above.weights = above.weights.saturating_add(u64::from(weight(config)));
                class.framing = config.framing.unwrap_or(above.framing);
                class.lid = [class.lid, above.lid].into_iter().flatten().min();
            }
            if let Some(place) = place.get_mut(at) {
                *place = classes.len();
            }
            classes.push(class);
        }
        Self { tree, classes }
    }

    /// Holds the sums of guarantees against what each parent has to give, or scales them.
    fn admit(&mut self) -> Result<(), TreeError> {
        let mut asked = vec![0_u64; self.classes.len()];
        for class in &self.classes {
            if let Some(sum) = class.parent.and_then(|parent| asked.get_mut(parent)) {
                *sum = sum.saturating_add(class.rate);
            }
        }
        // What the children of a parent get of what they asked for, where that is too much.
        let mut cuts: Vec<Option<(u64, u64)>> = vec![None; self.classes.len()];
        for at in 0..self.classes.len() {
            let Some(class) = self.classes.get_mut(at) else {
                continue;
            };
            // Parents come first, so what they have to give is final.
            let cut = class.parent.and_then(|parent| cuts.get(parent).copied()?);
            if let Some((given, asked)) = cut {
                class.rate = scaled(class.rate, given, asked);
            }
            let given = match (class.parent, class.config.rate.or(class.config.ceil)) {
                (None, None) => continue,
                (None, Some(link)) => link.bits_per_second(),
                (Some(_), _) => class.rate,
            };
            let asked = asked.get(at).copied().unwrap_or(0);
            if asked <= given {
                continue;
            }
            if self.tree.overcommit == Overcommit::Reject {
                let id = class.config.id;
                return Err(TreeError::Overcommitted { id, asked, given });
            }
            if let Some(cut) = cuts.get_mut(at) {
                *cut = Some((given, asked));
            }
        }
        Ok(())
    }

    fn finish(mut self) -> Result<Plan, TreeError> {
        let link = self
            .classes
            .first()
            .and_then(|root| root.config.rate.or(root.config.ceil));
        let unit = u64::from(self.tree.unit_wire_bytes.max(1));
        let most = link.map_or(LARGEST_QUANTUM, |link| {
            link.bytes_in(LINK_QUANTUM_NANOS).min(LARGEST_QUANTUM)
        });
        let mut planned = Vec::with_capacity(self.classes.len());
        for at in 0..self.classes.len() {
            let above = self.classes.get(at).and_then(|class| class.parent);
            let above = above.and_then(|above| self.classes.get(above));
            let above = above.and_then(|above| Some((above.share?, above.weights)));
            let Some(class) = self.classes.get_mut(at) else {
                continue;
            };
            class.share = share(class, above);
            let auto = class.share.map_or(most, |bits| {
                let bytes = u128::from(bits).saturating_mul(QUANTUM_NANOS.into()) / 8_000_000_000;
                u64::try_from(bytes).unwrap_or(u64::MAX).min(most)
            });
            let quantum = class
                .config
                .quantum
                .map_or_else(|| auto.max(unit), u64::from);
            planned.push(Planned {
                id: class.config.id,
                parent: class.parent,
                position: class.position,
                children: class.children,
                queue: patient(class, quantum),
                profile: profile(class, quantum, unit),
            });
        }
        Ok(Plan {
            classes: planned,
            full_size: self.tree.unit_wire_bytes.max(1),
        })
    }
}

/// The queue of a leaf; one of flows waits at least as long as one and a half quanta take at the
/// leaf's rate, or every quantum would seem to stand in a queue. That is the guarantee, at which it
/// is served when all want something, else the lowest ceiling; a part by weight says little, for
/// most of the others are idle most of the time.
fn patient(class: &DraftClass<'_>, quantum: u64) -> LeafQueue {
    let rate = Rate::from_bits_per_second(class.rate).or(class.lid);
    match (class.config.queue, rate) {
        (LeafQueue::Flows(flows), Some(rate)) => {
            let one = rate.inverse().cost(quantum).as_nanos();
            let target = flows.target_nanos.max(one.saturating_add(one / 2));
            LeafQueue::Flows(FlowsConfig {
                target_nanos: target,
                interval_nanos: flows.interval_nanos.max(target.saturating_mul(2)),
                ..flows
            })
        }
        (queue, _) => queue,
    }
}

/// What a class can count on: its guarantee, else its part by weight of what its parent can, and
/// never more than it may use.
fn share(class: &DraftClass<'_>, above: Option<(u64, u64)>) -> Option<u64> {
    let ceil = class.config.ceil.map(Rate::bits_per_second);
    let fair = || {
        let (share, weights) = above?;
        Some(scaled(share, weight(class.config).into(), weights))
    };
    let counts_on = if class.rate > 0 {
        Some(class.rate)
    } else {
        fair()
    };
    match (counts_on, ceil) {
        (Some(share), Some(ceil)) => Some(share.min(ceil)),
        (share, ceil) => share.or(ceil),
    }
}

/// `value * part / whole`, rounded down.
fn scaled(value: u64, part: u64, whole: u64) -> u64 {
    let product = u128::from(value).saturating_mul(part.into());
    u64::try_from(product.checked_div(whole.into()).unwrap_or(0)).unwrap_or(u64::MAX)
}

fn weight(config: &ClassConfig) -> u32 {
    let follows = || config.rate.map_or(DEFAULT_WEIGHT, kilobits);
    config.weight.unwrap_or_else(follows)
}

/// A rate as a weight.
fn kilobits(rate: Rate) -> u32 {
    u32::try_from(rate.bits_per_second() / 1000)
        .unwrap_or(u32::MAX)
        .max(1)
}

fn profile(class: &DraftClass<'_>, quantum: u64, unit: u64) -> Profile {
    let config = class.config;
    let rate = Rate::from_bits_per_second(class.rate);
    let cburst = if config.pace {
        Burst::Bytes(quantum)
    } else {
        config.cburst
    };
    let terms = |rate: Rate, burst: Burst| Terms::new(rate.inverse(), burst.tolerance(rate, unit));
    Profile {
        ceil: config
            .ceil
            .map_or(Terms::UNLIMITED, |ceil| terms(ceil, cburst)),
        pps: config.pps.map_or(Terms::UNLIMITED, |pps| {
            Terms::new(pps.inverse(), config.pps_burst.tolerance(pps))
        }),
        rate: rate.map_or(Terms::UNLIMITED, |rate| terms(rate, config.burst)),
        quantum,
        green: Share::new(rate.map_or(0, kilobits), quantum),
        excess: Share::new(weight(config), quantum),
        prio: config.prio,
        overhead: class.framing.overhead,
        mpu: class.framing.mpu,
    }
}

#[cfg(test)]
mod tests;
