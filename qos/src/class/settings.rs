//! The settings of one class: what is wrong with it alone, and what it runs by, given its place in
//! the tree. Shared by whole trees and by changes of single classes.

use super::config::{ClassConfig, DEFAULT_WEIGHT, FlowsConfig, LeafQueue, MAX_BUCKETS, TreeConfig};
use super::error::TreeError;
use super::id::ClassId;
use super::terms::Terms;
use crate::fair::{GREEN, Share, Tier};
use crate::time::Span;
use crate::units::{Burst, PacketBurst, Rate};
use crate::wire::Framing;

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
    /// Guarantee and ceiling in bit/s; zero for none.
    pub(crate) guarantee: u64,
    pub(crate) ceiling: u64,
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

    /// Whether it has a ceiling or a packet limit.
    pub(crate) const fn is_limited(&self) -> bool {
        self.ceil.is_limit() || self.pps.is_limit()
    }

    pub(crate) const fn framing(&self) -> Framing {
        Framing {
            overhead: self.overhead,
            mpu: self.mpu,
        }
    }
}

/// What a tree says for all its classes.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Link {
    /// Wire bytes of a full-size frame, as configured.
    pub(crate) frame: u32,
    pub(crate) segment_nanos: Option<u32>,
    /// The root's rate or ceiling.
    pub(crate) rate: Option<Rate>,
}

impl Link {
    pub(crate) fn of(tree: &TreeConfig) -> Self {
        let root = tree.classes.iter().find(|class| class.parent.is_none());
        Self {
            frame: tree.unit_wire_bytes,
            segment_nanos: tree.segment_nanos,
            rate: root.and_then(|root| root.rate.or(root.ceil)),
        }
    }

    /// Wire bytes of a full-size frame, at least one.
    pub(crate) fn unit(&self) -> u32 {
        self.frame.max(1)
    }

    /// Bytes that the link carries in the time of a segment, at least one; zero if segments cost no
    /// time.
    pub(crate) fn segment_bytes(&self) -> u64 {
        match (self.segment_nanos, self.rate) {
            (Some(nanos), Some(link)) => link.bytes_in(nanos.into()).max(1),
            _ => 0,
        }
    }

    /// The largest automatic quantum.
    fn most(&self) -> u64 {
        self.rate.map_or(LARGEST_QUANTUM, |link| {
            link.bytes_in(LINK_QUANTUM_NANOS).min(LARGEST_QUANTUM)
        })
    }
}

/// What a parent keeps of all its children.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Family {
    /// Sum of the children's guarantees, bit/s.
    pub(crate) guaranteed: u64,
    /// Sum of their weights.
    pub(crate) weights: u64,
    /// What the parent can count on or be held to, in bit/s, for the size of a quantum.
    pub(crate) share: Option<u64>,
}

impl Family {
    /// The same after a child that ran by `old` became `new`.
    pub(crate) fn with(self, old: &Profile, new: &Member<'_>) -> Self {
        let change = |sum: u64, old: u64, new: u64| sum.saturating_sub(old).saturating_add(new);
        let weights = [old.excess.weight(), weight(new.config)].map(u64::from);
        Self {
            guaranteed: change(self.guaranteed, old.guarantee, new.rate),
            weights: change(self.weights, weights[0], weights[1]),
            share: self.share,
        }
    }
}

/// A class at its place in the tree.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Member<'a> {
    pub(crate) config: &'a ClassConfig,
    pub(crate) is_root: bool,
    pub(crate) has_children: bool,
    /// Guarantee in bit/s after scaling; zero for none.
    pub(crate) rate: u64,
    pub(crate) framing: Framing,
    /// The lowest ceiling on the way to the root.
    pub(crate) lid: Option<Rate>,
}

/// What a class runs by.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Settings {
    pub(crate) profile: Profile,
    pub(crate) queue: LeafQueue,
    /// For [`Family::share`] of its children.
    pub(crate) share: Option<u64>,
}

impl<'a> Member<'a> {
    /// What it has to give to its children, in bit/s; `None` if that is not limited.
    pub(crate) fn given(&self) -> Option<u64> {
        match (self.is_root, self.config.rate.or(self.config.ceil)) {
            (true, link) => link.map(Rate::bits_per_second),
            (false, _) => Some(self.rate),
        }
    }

    /// Its settings, below a parent with this family, in which it is counted.
    pub(crate) fn settings(&self, link: &Link, above: Option<&Family>) -> Settings {
        let (unit, most) = (u64::from(link.unit()), link.most());
        let share = self.share(above);
        let auto = share.map_or(most, |bits| {
            let bytes = u128::from(bits).saturating_mul(QUANTUM_NANOS.into()) / 8_000_000_000;
            u64::try_from(bytes).unwrap_or(u64::MAX).min(most)
        });
        let quantum = self.config.quantum;
        let quantum = quantum.map_or_else(|| auto.max(unit), u64::from);
        Settings {
            profile: self.profile(quantum, unit),
            queue: self.patient(quantum),
            share,
        }
    }

    /// The queue of a leaf; one of flows waits at least as long as one and a half quanta take at the
    /// leaf's rate, or every quantum would seem to stand in a queue. That is the guarantee, at which it
    /// is served when all want something, else the lowest ceiling; a part by weight says little, for
    /// most of the others are idle most of the time.
    fn patient(&self, quantum: u64) -> LeafQueue {
        let rate = Rate::from_bits_per_second(self.rate).or(self.lid);
        match (self.config.queue, rate) {
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
    fn share(&self, above: Option<&Family>) -> Option<u64> {
        let ceil = self.config.ceil.map(Rate::bits_per_second);
        let fair = || {
            let above = above?;
            Some(scaled(
                above.share?,
                weight(self.config).into(),
                above.weights,
            ))
        };
        let counts_on = if self.rate > 0 {
            Some(self.rate)
        } else {
            fair()
        };
        match (counts_on, ceil) {
            (Some(share), Some(ceil)) => Some(share.min(ceil)),
            (share, ceil) => share.or(ceil),
        }
    }

    fn profile(&self, quantum: u64, unit: u64) -> Profile {
        let config = self.config;
        let rate = Rate::from_bits_per_second(self.rate);
        let cburst = if config.pace {
            Burst::Bytes(quantum)
        } else {
            config.cburst
        };
        let terms =
            |rate: Rate, burst: Burst| Terms::new(rate.inverse(), burst.tolerance(rate, unit));
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
            guarantee: self.rate,
            ceiling: config.ceil.map_or(0, Rate::bits_per_second),
            prio: config.prio,
            overhead: self.framing.overhead,
            mpu: self.framing.mpu,
        }
    }
}

/// `value * part / whole`, rounded down.
pub(super) fn scaled(value: u64, part: u64, whole: u64) -> u64 {
    let product = u128::from(value).saturating_mul(part.into());
    u64::try_from(product.checked_div(whole.into()).unwrap_or(0)).unwrap_or(u64::MAX)
}

pub(super) fn weight(config: &ClassConfig) -> u32 {
    let follows = || config.rate.map_or(DEFAULT_WEIGHT, kilobits);
    config.weight.unwrap_or_else(follows)
}

/// A rate as a weight.
fn kilobits(rate: Rate) -> u32 {
    u32::try_from(rate.bits_per_second() / 1000)
        .unwrap_or(u32::MAX)
        .max(1)
}

/// What is wrong with a class whatever the others are.
pub(crate) fn check_alone(link: &Link, class: &Member<'_>) -> Result<(), TreeError> {
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
        _ if class.has_children => return Err(TreeError::QueueOnInner { id }),
        LeafQueue::Fifo { frames: 0 } => return Err(TreeError::EmptyQueue { id }),
        LeafQueue::Flows(flows) => check_flows(id, &flows)?,
        LeafQueue::Fifo { .. } => {}
    }
    check_bursts(link, config)?;
    let own = config.rate.or(config.ceil);
    match link.segment_nanos {
        Some(nanos)
            if class.is_root && (own.is_none() || !(1..=1_000_000_000).contains(&nanos)) =>
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

fn check_bursts(link: &Link, config: &ClassConfig) -> Result<(), TreeError> {
    let (id, frame) = (config.id, link.frame);
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

/// Holds what the children of a class are guaranteed against what it has to give.
pub(crate) fn check_sum(id: ClassId, asked: u64, given: Option<u64>) -> Result<(), TreeError> {
    match given {
        Some(given) if asked > given => Err(TreeError::Overcommitted { id, asked, given }),
        _ => Ok(()),
    }
}
