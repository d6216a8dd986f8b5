//! A class tree at work in a shard, and what a port has of it.

use std::hash::{BuildHasher, Hash, Hasher};

use qos::classify::{Entry, Fate, Place};
use qos::{
    ClassId, Classifier, ClassifierError, Ecn, Engine, Frame, FrameShape, Framing, Headers,
    LeafKey, Time, TreeConfig, TreeError, Verdict,
};

use crate::control::Histogram;
use crate::plan::{FLOOD, PortTreePlan};

/// Which of a guest's two places in a tree a frame is charged to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Path {
    /// To or from the uplink.
    Uplink,
    /// From guest to guest.
    Local,
}

/// A leaf's place in a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Seat {
    pub(super) port: u32,
    /// Its number among the port's leaves of this direction.
    leaf: u16,
    pub(super) path: Path,
}

/// Whose a leaf is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Owner {
    /// Nobody's any more.
    Nobody,
    /// A port's.
    Port(Seat),
    /// That of frames to be replicated.
    Flood,
}

/// The tree of one direction.
#[derive(Debug)]
pub(super) struct Tree {
    pub(super) engine: Engine,
    owners: Vec<Owner>,
    /// The leaf of frames to be replicated, if the tree has one.
    pub(super) flood: Option<LeafKey>,
}

impl Tree {
    pub(super) fn new(config: &TreeConfig) -> Result<Self, TreeError> {
        let mut tree = Self {
            engine: Engine::new(config)?,
            owners: Vec::new(),
            flood: None,
        };
        tree.find_flood();
        Ok(tree)
    }

    /// Changes to another tree; numbers of the frames that it drops.
    pub(super) fn apply(&mut self, config: &TreeConfig, now: Time) -> Result<Vec<u64>, TreeError> {
        let diff = self.engine.apply(config, now)?;
        self.find_flood();
        Ok(diff.dropped)
    }

    fn find_flood(&mut self) {
        self.flood = self.engine.leaf(FLOOD);
        if let Some(flood) = self.flood {
            self.own(flood, Owner::Flood);
        }
    }

    fn own(&mut self, leaf: LeafKey, owner: Owner) {
        let index = leaf.index() as usize;
        if self.owners.len() <= index {
            self.owners.resize(index + 1, Owner::Nobody);
        }
        self.owners[index] = owner;
    }

    /// Forgets whose a leaf was.
    pub(super) fn disown(&mut self, leaf: LeafKey) {
        self.own(leaf, Owner::Nobody);
    }

    /// Whose this leaf is.
    #[inline]
    pub(super) fn owner(&self, leaf: LeafKey) -> Owner {
        let owner = self.owners.get(leaf.index() as usize);
        owner.copied().unwrap_or(Owner::Nobody)
    }

    /// What a port has of this tree from now on.
    pub(super) fn seat(
        &mut self,
        port: u32,
        plan: &PortTreePlan,
    ) -> Result<PortTree, ClassifierError> {
        let mut leaves = Vec::with_capacity(plan.leaves.len());
        // A guest has no more classes than that.
        for (number, leaf) in (0_u16..).zip(&plan.leaves) {
            let mut key = |id: ClassId, path: Path| {
                let key = self.engine.leaf(id)?;
                let leaf = number;
                self.own(key, Owner::Port(Seat { port, leaf, path }));
                Some(key)
            };
            leaves.push(Leaf {
                own: leaf.own,
                id: leaf.uplink,
                uplink: key(leaf.uplink, Path::Uplink),
                local: key(leaf.local, Path::Local),
            });
        }
        let classifier = match &plan.classify {
            Some((tree, rules)) => Some(classifier(tree, rules)?),
            None => None,
        };
        let queues = if plan.hold { 0 } else { leaves.len() };
        Ok(PortTree {
            sojourns: vec![Histogram::default(); queues].into_boxed_slice(),
            leaves,
            classifier,
            hold: plan.hold,
            limited: plan.limited,
        })
    }
}

fn classifier(
    tree: &TreeConfig,
    rules: &qos::ClassifierConfig,
) -> Result<(Classifier, Option<Entry>), ClassifierError> {
    let classifier = Classifier::new(tree, rules)?;
    let root = tree.classes.iter().find(|class| class.parent.is_none());
    let entry = root.and_then(|root| classifier.entry(root.id));
    Ok((classifier, entry))
}

/// A leaf of a port, in its two places.
#[derive(Clone, Copy, Debug)]
struct Leaf {
    own: ClassId,
    /// Its id below the uplink.
    id: ClassId,
    uplink: Option<LeafKey>,
    local: Option<LeafKey>,
}

impl Leaf {
    const fn key(&self, path: Path) -> Option<LeafKey> {
        match path {
            Path::Uplink => self.uplink,
            Path::Local => self.local,
        }
    }
}

/// What a port has of one direction's tree.
#[derive(Debug, Default)]
pub(super) struct PortTree {
    leaves: Vec<Leaf>,
    /// How long frames waited in each leaf; of none if they wait in the guest's ring.
    sojourns: Box<[Histogram]>,
    classifier: Option<(Classifier, Option<Entry>)>,
    /// Frames wait in the guest's ring.
    pub(super) hold: bool,
    /// Frames may have to wait for a limit.
    pub(super) limited: bool,
}

impl PortTree {
    /// The leaf of a port that has one, or that takes what no rule takes elsewhere.
    #[inline]
    pub(super) fn first(&self, path: Path) -> Option<LeafKey> {
        self.leaves.first()?.key(path)
    }

    /// All leaves, in both places.
    pub(super) fn keys(&self) -> impl Iterator<Item = LeafKey> {
        let keys = self
            .leaves
            .iter()
            .flat_map(|leaf| [leaf.uplink, leaf.local]);
        keys.flatten()
    }

    /// Counts how long a frame waited in a leaf, in nanoseconds.
    #[inline]
    pub(super) fn waited(&mut self, seat: Seat, leaf: LeafKey, nanos: u64) {
        if let Some(sojourn) = self.sojourn(seat, leaf) {
            sojourn.add(nanos);
        }
    }

    #[inline]
    fn sojourn(&mut self, seat: Seat, leaf: LeafKey) -> Option<&mut Histogram> {
        let number = usize::from(seat.leaf);
        // A leaf that is another's now may still be said to be in its old place.
        let own = self.leaves.get(number)?.key(seat.path);
        self.sojourns.get_mut(number).filter(|_| own == Some(leaf))
    }

    /// Counts frames that went through a leaf at once.
    pub(super) fn did_not_wait(&mut self, seat: Seat, leaf: LeafKey, frames: u64) {
        if let Some(sojourn) = self.sojourn(seat, leaf) {
            sojourn.add_none(frames);
        }
    }

    /// The ids below the uplink of all leaves with a queue, in their order, and how long frames waited in
    /// them.
    pub(super) fn sojourns(&self) -> impl Iterator<Item = (ClassId, &Histogram)> {
        let ids = self.leaves.iter().map(|leaf| leaf.id);
        ids.zip(&self.sojourns)
    }

    /// Becomes another one; leaves that stay keep what was counted.
    pub(super) fn change(&mut self, mut new: Self) {
        for (leaf, sojourn) in new.leaves.iter().zip(&mut new.sojourns) {
            let old = self.leaves.iter().zip(&self.sojourns);
            let mut stays = old.filter(|(old, _)| old.uplink == leaf.uplink);
            if let Some((_, old)) = stays.next() {
                *sojourn = *old;
            }
        }
        *self = new;
    }

    /// Whether frames are told apart by rules.
    pub(super) const fn classifies(&self) -> bool {
        self.classifier.is_some()
    }

    /// Which leaf a frame belongs to, and what the rules say about it besides; `None` if they drop it.
    pub(super) fn classify(
        &mut self,
        headers: &Headers,
        shape: FrameShape,
        path: Path,
        now: Time,
    ) -> Option<(LeafKey, Option<Verdict>)> {
        let Some((classifier, Some(entry))) = &mut self.classifier else {
            return Some((self.first(path)?, None));
        };
        let cost = Framing::ETHERNET.cost(shape);
        let verdict = classifier.classify_from(*entry, headers, cost, now);
        self.place(verdict, path)
    }

    /// As [`Self::classify`], without any effect but a note in `seen` of what was applied.
    pub(super) fn look(
        &self,
        headers: &Headers,
        shape: FrameShape,
        path: Path,
        now: Time,
        seen: &mut Vec<Place>,
    ) -> Option<(LeafKey, Option<Verdict>)> {
        let Some((classifier, Some(entry))) = &self.classifier else {
            return Some((self.first(path)?, None));
        };
        let cost = Framing::ETHERNET.cost(shape);
        let (verdict, places) = classifier.explain(*entry, headers, cost, now);
        seen.extend(places);
        self.place(verdict, path)
    }

    #[inline]
    fn place(&self, verdict: Verdict, path: Path) -> Option<(LeafKey, Option<Verdict>)> {
        let Fate::Leaf(id) = verdict.fate else {
            return None;
        };
        let leaf = self.leaves.iter().find(|leaf| leaf.own == id)?;
        Some((leaf.key(path)?, Some(verdict)))
    }

    /// The id of a leaf below the uplink, whichever of its two places is meant.
    pub(super) fn id_of(&self, key: LeafKey) -> Option<ClassId> {
        let is_it = |leaf: &&Leaf| [leaf.uplink, leaf.local].contains(&Some(key));
        self.leaves.iter().find(is_it).map(|leaf| leaf.id)
    }

    /// What the guest's own tree calls a leaf.
    pub(super) fn own_id(&self, key: LeafKey) -> Option<ClassId> {
        let is_it = |leaf: &&Leaf| [leaf.uplink, leaf.local].contains(&Some(key));
        self.leaves.iter().find(is_it).map(|leaf| leaf.own)
    }
}

/// Tells flows apart by a hash that no guest can foresee.
#[derive(Debug)]
pub(super) struct FlowHasher(ahash::RandomState);

impl Default for FlowHasher {
    fn default() -> Self {
        let [a, b, c, d] = seeds();
        Self(ahash::RandomState::with_seeds(a, b, c, d))
    }
}

/// Numbers that nobody outside can know.
pub(super) fn seeds() -> [u64; 4] {
    std::array::from_fn(|_| std::hash::RandomState::new().build_hasher().finish())
}

impl FlowHasher {
    /// What the scheduler has to know of a frame.
    pub(super) fn frame(&self, token: u32, shape: FrameShape, headers: &Headers) -> Frame {
        let mut hasher = self.0.build_hasher();
        (headers.source, headers.destination).hash(&mut hasher);
        (headers.source_port, headers.destination_port).hash(&mut hasher);
        match headers.protocol {
            Some(protocol) => protocol.0.hash(&mut hasher),
            None => (headers.source_mac, headers.destination_mac).hash(&mut hasher),
        }
        let frame = Frame::new(token.into(), shape)
            .flow(fold(hasher.finish()))
            .host(fold(self.0.hash_one(headers.source)))
            .ecn(Ecn::from_bits(headers.ecn.unwrap_or(0)));
        let whole = headers
            .tcp_flags
            .is_some_and(|flags| flags & UNPEELABLE != 0);
        if whole { frame.whole() } else { frame }
    }
}

/// TCP's SYN, RST and URG, with which a super-frame is never cut.
const UNPEELABLE: u8 = 0x02 | 0x04 | 0x20;

fn fold(hash: u64) -> u32 {
    let [a, b, c, d, e, f, g, h] = hash.to_ne_bytes();
    u32::from_ne_bytes([a, b, c, d]) ^ u32::from_ne_bytes([e, f, g, h])
}

#[cfg(test)]
mod tests;
