//! From what is configured to what a shard runs by: the class trees of every uplink, put together from
//! what each of its guests has, and what every port has to know.
//!
//! ```text
//! root ─┬─ uplink (its ceil) ─┬─ guest ── classes ...      to or from the uplink
//!       │                     └─ guest
//!       └─ local ─┬─ guest ── classes ...                  between guests
//!                 ├─ guest
//!                 └─ flood                                 copies to several guests
//! ```
//!
//! A guest is in the tree twice, so that frames between guests are not charged to the uplink; its local
//! classes have the limits of its others, so that a guest's own limits hold for all it sends.

mod ids;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use qos::{ClassConfig, ClassId, ClassifierConfig, FlowsConfig, LeafQueue, Rate, TreeConfig};

pub use self::ids::Ids;
use crate::config::{Config, Direction, GuestConfig, GuestTree, RootConfig};

/// The root of every tree.
pub const ROOT: ClassId = ClassId::new(0, 1);
/// All that goes to or comes from the uplink.
pub const UPLINK: ClassId = ClassId::new(0, 2);
/// All that goes from guest to guest.
pub const LOCAL: ClassId = ClassId::new(0, 3);
/// What is replicated.
pub const FLOOD: ClassId = ClassId::new(0, 4);

/// Frames that wait to be replicated at most.
const FLOOD_FRAMES: u32 = 256;

/// Wire bytes that a guest without any limit may send in one go: the longest super-frame.
const UNLIMITED_QUANTUM: u32 = 128 << 10;

/// Frames that wait in one tree at most, for each guest and in all.
const FRAMES_PER_GUEST: u32 = 4096;
const MOST_FRAMES: u32 = 65_536;

/// How long a queue to a guest may get at its ceiling, in nanoseconds, if the configuration gives it no
/// number of bytes: a round trip across a continent, in which CoDel has done its part.
const QUEUE_NANOS: u64 = 100_000_000;
/// And within which bounds, in bytes; the longest is also that of a queue without a ceiling. Several of
/// them fit in the memory for frames, so that no guest keeps others out of it.
const QUEUE_BYTES: std::ops::RangeInclusive<u64> = 150_000..=(8 << 20);

/// A leaf of a guest's tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeafPlan {
    /// Its id in the guest's own tree, which the guest's rules speak of.
    pub own: ClassId,
    /// Its class below the uplink's.
    pub uplink: ClassId,
    /// Its class below that of local frames.
    pub local: ClassId,
}

/// What a port has of one direction's trees.
#[derive(Clone, Debug, PartialEq)]
pub struct PortTreePlan {
    /// The leaves; the first one takes what no rule takes elsewhere.
    pub leaves: Vec<LeafPlan>,
    /// The guest's own tree and rules, if frames have to be told apart.
    pub classify: Option<(TreeConfig, ClassifierConfig)>,
    /// Frames wait in the guest's ring, not here.
    pub hold: bool,
    /// Frames may have to wait for a limit of the guest's or of the uplink's.
    pub limited: bool,
}

/// Both trees of one uplink.
#[derive(Clone, Debug, PartialEq)]
pub struct LanPlan {
    /// What guests send.
    pub from_guest: TreeConfig,
    /// What guests receive.
    pub to_guest: TreeConfig,
}

/// A whole tree of one uplink and direction.
#[derive(Clone, Debug)]
pub struct Whole {
    /// The tree.
    pub tree: TreeConfig,
    /// Whose the classes are that are not every tree's: the positions of the guest in the configuration
    /// and of the class in the guest's tree.
    pub owners: BTreeMap<ClassId, (usize, usize)>,
}

/// Puts the trees of one uplink together. They may run if the configuration was admitted
/// ([`Config::admit`]).
pub fn lan(config: &Config, uplink: usize, ids: &mut Ids) -> LanPlan {
    let mut tree = |direction| whole(config, uplink, direction, ids).tree;
    LanPlan {
        from_guest: tree(Direction::FromGuest),
        to_guest: tree(Direction::ToGuest),
    }
}

/// What a port has to know of its trees in one direction.
pub fn port(
    config: &Config,
    guest: &GuestConfig,
    direction: Direction,
    ids: &mut Ids,
) -> PortTreePlan {
    let tree = guest.tree(direction);
    let is_leaf = |id: ClassId| tree.classes.iter().all(|class| class.parent != Some(id));
    let pairs = ids.pairs(guest, tree);
    let leaves: Vec<_> = tree
        .classes
        .iter()
        .zip(pairs)
        .filter(|(class, _)| is_leaf(class.id))
        .map(|(class, [uplink, local])| LeafPlan {
            own: class.id,
            uplink,
            local,
        })
        .collect();
    let hold = direction == Direction::FromGuest
        && leaves.len() == 1
        && tree
            .classes
            .iter()
            .all(|class| class.queue == LeafQueue::Hold);
    let classify = leaves.len() > 1 || tree.rules != ClassifierConfig::default();
    let root = config
        .uplinks
        .get(guest.uplink)
        .map(|uplink| uplink.root(direction));
    let bounded = |class: &ClassConfig| class.ceil.is_some() || class.pps.is_some();
    PortTreePlan {
        classify: classify.then(|| (TreeConfig::new(tree.classes.clone()), tree.rules.clone())),
        hold,
        limited: root.is_some_and(|root| root.ceil.is_some()) || tree.classes.iter().any(bounded),
        leaves,
    }
}

/// One direction's tree of an uplink; without classes if there is no such uplink.
pub fn whole(config: &Config, uplink: usize, direction: Direction, ids: &mut Ids) -> Whole {
    let mut whole = Whole {
        tree: TreeConfig::default(),
        owners: BTreeMap::new(),
    };
    let Some(link) = config.uplinks.get(uplink) else {
        return whole;
    };
    let root = link.root(direction);
    let mut classes = vec![
        ClassConfig::new(ROOT),
        ClassConfig {
            ceil: root.ceil,
            // An uplink without a ceiling can keep what its guests are guaranteed, whatever that is.
            rate: root.ceil.or_else(|| guaranteed(config, uplink, direction)),
            cburst: root.cburst,
            weight: Some(1),
            ..ClassConfig::new(UPLINK).parent(ROOT)
        },
        ClassConfig::new(LOCAL).parent(ROOT).weight(1),
    ];
    if direction == Direction::FromGuest {
        classes.push(ClassConfig {
            ceil: link.flood.ceil,
            pps: link.flood.pps,
            ..ClassConfig::new(FLOOD)
                .parent(LOCAL)
                .queue(LeafQueue::Fifo {
                    frames: FLOOD_FRAMES,
                })
        });
    }
    let mut count = 0_u32;
    for (index, guest) in config.guests.iter().enumerate() {
        if guest.uplink != uplink {
            continue;
        }
        count = count.saturating_add(1);
        for (position, pair) in classes_of(guest, direction, root, ids)
            .into_iter()
            .enumerate()
        {
            whole
                .owners
                .extend(pair.iter().map(|class| (class.id, (index, position))));
            classes.extend(pair);
        }
    }
    whole.tree = TreeConfig {
        overcommit: root.overcommit,
        unit_wire_bytes: link.unit_wire_bytes(),
        frames: count
            .max(1)
            .saturating_mul(FRAMES_PER_GUEST)
            .min(MOST_FRAMES),
        flow_sets: count.saturating_mul(2).clamp(64, 1024),
        ..TreeConfig::new(classes)
    };
    whole
}

/// What all guests of an uplink are guaranteed together.
fn guaranteed(config: &Config, uplink: usize, direction: Direction) -> Option<Rate> {
    let guests = config.guests_of(uplink);
    let rates = guests.filter_map(|guest| guest.tree(direction).classes.first()?.rate);
    let bits = rates.map(Rate::bits_per_second);
    Rate::from_bits_per_second(bits.fold(0, u64::saturating_add))
}

/// A guest's classes, each below the uplink and once more below that of local frames.
fn classes_of(
    guest: &GuestConfig,
    direction: Direction,
    root: &RootConfig,
    ids: &mut Ids,
) -> Vec<[ClassConfig; 2]> {
    let tree = guest.tree(direction);
    let mut classes = Vec::with_capacity(tree.classes.len());
    let pairs = ids.pairs(guest, tree);
    for (class, &[uplink, local]) in tree.classes.iter().zip(&pairs) {
        let lid = lid(tree, class, root);
        let place = |parent| tree.classes.iter().position(|other| other.id == parent);
        let parents = class.parent.and_then(place).and_then(|at| pairs.get(at));
        let [above, above_local] = parents.copied().unwrap_or([UPLINK, LOCAL]);
        let leaf = tree
            .classes
            .iter()
            .all(|other| other.parent != Some(class.id));
        let unlimited = lid.is_none() && class.rate.is_none();
        let own = ClassConfig {
            id: uplink,
            parent: Some(above),
            queue: if leaf {
                queue(class.queue, direction, lid)
            } else {
                class.queue
            },
            quantum: class
                .quantum
                .or_else(|| unlimited.then_some(UNLIMITED_QUANTUM)),
            ..class.clone()
        };
        let twin = ClassConfig {
            weight: class.weight,
            prio: class.prio,
            framing: class.framing,
            queue: own.queue,
            quantum: own.quantum,
            ..ClassConfig::new(local)
                .parent(above_local)
                .limits_of(uplink)
        };
        classes.push([own, twin]);
    }
    classes
}

/// The lowest ceiling from a class up to the uplink.
fn lid(tree: &GuestTree, class: &ClassConfig, root: &RootConfig) -> Option<Rate> {
    let parent = |class: &&ClassConfig| {
        let parent = class.parent?;
        tree.classes.iter().find(|other| other.id == parent)
    };
    // A loop of parents is found when the tree is checked.
    let path = std::iter::successors(Some(class), parent).take(tree.classes.len());
    path.map(|class| class.ceil)
        .chain([root.ceil])
        .flatten()
        .min()
}

/// The queue of a leaf. To a guest frames cannot be held back in a ring, and they have a bound in bytes.
fn queue(queue: LeafQueue, direction: Direction, lid: Option<Rate>) -> LeafQueue {
    let flows = match queue {
        LeafQueue::Hold if direction == Direction::ToGuest => FlowsConfig::default(),
        LeafQueue::Flows(flows) => flows,
        other => return other,
    };
    let bytes = lid.map_or(u64::MAX, |lid| lid.bytes_in(QUEUE_NANOS));
    let bytes = bytes.clamp(*QUEUE_BYTES.start(), *QUEUE_BYTES.end());
    LeafQueue::Flows(FlowsConfig {
        bytes: flows.bytes.or_else(|| u32::try_from(bytes).ok()),
        ..flows
    })
}
