//! The fair queue of one inner class: which child goes next, in constant time.
//!
//! Worst-case fair weighted fair queueing (WF2Q+, Bennett and Zhang 1997): every child has a virtual
//! start, the queue a virtual time that advances by work over the weights of those who wait. Only a
//! child whose start has come is eligible, and of those the one whose quantum would finish first
//! goes. Two shapes hold the children: [`few`] compares them one by one, exactly; [`many`] compares
//! groups of children with like quantum-to-weight ratios (QFQ, Checconi, Rizzo and Valente 2013).
//!
//! There is one such queue per [`Tier`], and a child waits in one of them at a time.
#![allow(
    clippy::indexing_slicing, // children are numbered below the lengths by whoever builds the queue
    clippy::arithmetic_side_effects // virtual time is 128 bits wide; each step is argued
)]

mod few;
mod many;
#[cfg(test)]
mod tests;

use crate::class::Profile;
use few::Few;
use many::Many;

/// Which queue of a parent a child waits in: 0 for the guaranteed, 1 + prio for the rest.
pub(crate) type Tier = u8;

/// The tier of those below their guarantee.
pub(crate) const GREEN: Tier = 0;

/// Tiers of a parent: the guaranteed, and four priorities.
const TIERS: usize = 5;

/// Up to this many children are compared one by one, which a cache line or two of tags allows;
/// beyond, groups keep the cost of a choice constant.
const FEW: usize = 12;

/// Virtual time of one byte at weight 1, as a shift. With weights up to 2^32, the smallest frame
/// still moves the heaviest child by a thousand steps.
const SCALE: u32 = 36;

/// The inverse weight is `2^63 / weight`; this shift turns its product with bytes into [`SCALE`].
const INVERSE_SHIFT: u32 = 63 - SCALE;

/// Longest virtual time of one quantum, as a shift, so that it has a group: 2^24 bytes at weight 1.
const LONGEST: u32 = 60;

/// One charge counts at most this much work (a terabyte), so that no sum below overflows.
const MOST_WORK: u64 = 1 << 40;

/// A child's place in virtual time, in one tier.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tag {
    /// When its next quantum starts.
    start: u128,
    inverse: u64,
    weight: u32,
    quantum: u32,
}

impl Tag {
    fn new(weight: u32, quantum: u64) -> Self {
        let weight = weight.max(1);
        let inverse = (1 << 63) / u64::from(weight);
        let longest = (1_u128 << (LONGEST + INVERSE_SHIFT)) / u128::from(inverse);
        let most = u32::try_from(longest).unwrap_or(u32::MAX);
        Self {
            start: 0,
            inverse,
            weight,
            quantum: u32::try_from(quantum).unwrap_or(u32::MAX).clamp(1, most),
        }
    }

    /// Virtual time of `work` bytes: below 2^(40 + 63 - 27).
    fn cost(&self, work: u64) -> u128 {
        (u128::from(work.min(MOST_WORK)) * u128::from(self.inverse)) >> INVERSE_SHIFT
    }

    /// Virtual time of one quantum: at least 16, since weights have 32 bits, and at most 2^60.
    fn span(&self) -> u128 {
        (u128::from(self.quantum) * u128::from(self.inverse)) >> INVERSE_SHIFT
    }

    fn finish(&self) -> u128 {
        self.start + self.span()
    }
}

/// Virtual time of one tier. It lasts: at weight 1 alone, 2^92 bytes.
#[derive(Clone, Copy, Debug, Default)]
struct Virtual {
    now: u128,
    /// Weights of those who wait.
    weights: u64,
    /// What the last division left.
    rest: u64,
}

impl Virtual {
    /// Work of `bytes` was done for those who wait.
    fn advance(&mut self, bytes: u64) {
        let weights = self.weights.max(1);
        if bytes < 1 << 26 {
            // Below 2^62, and the rest below 2^52: a thousand thousand weights of 32 bits.
            let work = (bytes << SCALE) + self.rest.min(1 << 62);
            self.now += u128::from(work / weights);
            self.rest = work % weights;
        } else {
            self.now += (u128::from(bytes.min(MOST_WORK)) << SCALE) / u128::from(weights);
        }
    }
}

#[derive(Debug)]
enum Shape {
    Few(Few),
    Many(Box<Many>),
}

/// The children of one inner class that wait, by tier.
#[derive(Debug)]
pub(crate) struct Fair {
    tiers: [Virtual; TIERS],
    /// Tiers in which somebody waits, one bit each.
    ready: u8,
    /// Tags among the guaranteed; empty where no child has a rate.
    green: Vec<Tag>,
    excess: Vec<Tag>,
    shape: Shape,
}

impl Fair {
    /// Memory of one child among many, in bytes: two tags and a link.
    #[cfg(test)]
    pub(crate) const CHILD_BYTES: usize = 2 * size_of::<Tag>() + many::LINK_BYTES;

    /// A queue in which nobody waits, for these children.
    pub(crate) fn new(children: &[Profile]) -> Self {
        let tag = |weight, profile: &Profile| Tag::new(weight, profile.quantum);
        let excess: Vec<Tag> = children.iter().map(|p| tag(p.weight, p)).collect();
        let any_green = children.iter().any(|p| p.green > 0);
        let green: Vec<Tag> = children
            .iter()
            .take_while(|_| any_green)
            .map(|p| tag(p.green, p))
            .collect();
        let shape = if children.len() <= FEW {
            Shape::Few(Few::default())
        } else {
            let tiers = children.iter().zip(&excess);
            let tiers = tiers.map(|(p, &tag)| (1 + p.prio, tag));
            let all = tiers.chain(green.iter().map(|&tag| (GREEN, tag)));
            Shape::Many(Box::new(Many::new(children.len(), all)))
        };
        Self {
            tiers: [Virtual::default(); TIERS],
            ready: 0,
            green,
            excess,
            shape,
        }
    }

    /// Tiers in which somebody waits, one bit each.
    pub(crate) const fn ready(&self) -> u8 {
        self.ready
    }

    /// Whether somebody waits among the guaranteed.
    pub(crate) const fn has_green(&self) -> bool {
        self.ready & 1 != 0
    }

    /// The tags of a tier. A child may be green on its descendants' account without a rate of its
    /// own only where none of them has one either, which admission excludes.
    fn tags(&self, tier: Tier) -> &[Tag] {
        if tier == GREEN {
            &self.green
        } else {
            &self.excess
        }
    }

    fn tag_mut(&mut self, child: u32, tier: Tier) -> &mut Tag {
        let tags = if tier == GREEN {
            &mut self.green
        } else {
            &mut self.excess
        };
        &mut tags[child as usize]
    }

    /// A child has come back that did not wait in any tier: what it was behind is forfeited. To be
    /// followed by [`insert`](Self::insert).
    pub(crate) fn come_back(&mut self, child: u32, prio: u8) {
        let tier = 1 + prio;
        let now = self.tiers[tier as usize].now;
        let tag = self.tag_mut(child, tier);
        tag.start = tag.start.max(now);
    }

    /// A child begins to wait in a tier: at its own start. Whoever comes from the green tier finds
    /// virtual time where it left it, since nobody else is served before the green; so it may be
    /// behind, and keeps that.
    pub(crate) fn insert(&mut self, child: u32, tier: Tier) {
        let now = self.tiers[tier as usize].now;
        let tag = self.tag_mut(child, tier);
        if tier == GREEN {
            tag.start = tag.start.max(now);
        }
        let tag = *tag;
        self.tiers[tier as usize].weights += u64::from(tag.weight);
        self.ready |= 1 << tier;
        match &mut self.shape {
            Shape::Few(few) => few.insert(child, tier),
            Shape::Many(many) => many.insert(child, tier, &tag),
        }
    }

    /// A child that waits in `tier` no longer does.
    pub(crate) fn remove(&mut self, child: u32, tier: Tier) {
        let weight = self.tags(tier)[child as usize].weight;
        let own = &mut self.tiers[tier as usize];
        own.weights -= u64::from(weight);
        let empty = match &mut self.shape {
            Shape::Few(few) => few.remove(child, tier),
            Shape::Many(many) => many.remove(child, tier),
        };
        if empty {
            self.ready &= !(1 << tier);
        }
    }

    /// Who goes next: the best tier in which somebody waits, and the child there. Virtual time
    /// jumps to the earliest start if none has come.
    pub(crate) fn pick(&mut self) -> Option<(u32, Tier)> {
        let tier = u8::try_from(self.ready.trailing_zeros()).ok()?;
        let own = self.tiers.get_mut(usize::from(tier))?;
        let tags = if tier == GREEN {
            &self.green
        } else {
            &self.excess
        };
        let child = match &mut self.shape {
            Shape::Few(few) => few.pick(tier, tags, &mut own.now),
            Shape::Many(many) => many.pick(tier, &mut own.now),
        };
        Some((child?, tier))
    }

    /// A child that waits in `tier` did this much work; it goes on waiting if it `stays`, otherwise
    /// it is to be [`remove`](Self::remove)d.
    pub(crate) fn charge(&mut self, child: u32, tier: Tier, work: u64, stays: bool) {
        let tag = self.tag_mut(child, tier);
        tag.start += tag.cost(work);
        let tag = *tag;
        let own = &mut self.tiers[tier as usize];
        if own.weights == u64::from(tag.weight) {
            // Alone: time is where it is, without a division.
            own.now = own.now.max(tag.start);
        } else {
            own.advance(work);
        }
        if let (true, Shape::Many(many)) = (stays, &mut self.shape) {
            many.keep(child, tier, &tag);
        }
    }

    /// How far ahead of virtual time a child is, as bytes at weight 1 scaled, per kind of tier: what
    /// it must not lose when the queue is built anew.
    pub(crate) fn leads(&self, child: u32, prio: u8) -> [u128; 2] {
        let lead = |tags: &[Tag], tier: Tier| {
            let tag = tags.get(child as usize);
            tag.map_or(0, |tag| {
                tag.start.saturating_sub(self.tiers[tier as usize].now)
            })
        };
        [lead(&self.green, GREEN), lead(&self.excess, 1 + prio)]
    }

    /// Gives a child the lead it had in another queue.
    pub(crate) fn lead(&mut self, child: u32, [green, excess]: [u128; 2]) {
        for (tags, lead) in [(&mut self.green, green), (&mut self.excess, excess)] {
            if let Some(tag) = tags.get_mut(child as usize) {
                tag.start = lead.min(2 * tag.span());
            }
        }
    }
}
