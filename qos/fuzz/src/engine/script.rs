//! What bytes stand for: trees and calls. Most trees can run, for what is wrong with a tree is told by
//! admission, and nothing happens after that.

use arbitrary::Arbitrary;
use qos::class::MAX_DEPTH;
use qos::{
    Ack, Burst, ClassConfig, ClassId, Ecn, FlowsConfig, Frame, FrameShape, Framing, Hold,
    LeafQueue, Overcommit, PacketBurst, PacketRate, Rate, Removed, TreeConfig,
};

/// Classes of a tree at most.
const CLASSES: usize = 12;

/// Whether a class between root and leaf may be charged in a way of its own. Off as long as an engine
/// charges whatever lies above it so as well, if that is charged like the leaf.
const FRAMED_BETWEEN: bool = true;

/// From this number of a framing on a class has the limits of another.
const SHARES: u8 = 0xc0;

/// A whole run.
#[derive(Arbitrary, Debug)]
pub(super) struct Script {
    /// Played once more with every burst offered frame by frame.
    pub(super) twice: bool,
    pub(super) start: Length,
    pub(super) tree: Tree,
    pub(super) steps: Vec<Step>,
}

/// One call and whether everything is looked at behind it, which ends visits.
#[derive(Arbitrary, Debug)]
pub(super) struct Step {
    pub(super) quiet: bool,
    pub(super) call: Call,
}

/// A length of time: four bits of it and where they stand.
#[derive(Arbitrary, Clone, Copy, Debug)]
pub(super) struct Length(u8, u8);

impl Length {
    /// In nanoseconds, from zero to two months.
    pub(super) fn nanos(self) -> u64 {
        u64::from(self.0 & 0x1f) << (self.1 % 49)
    }
}

/// A tree by its classes, and what all of them share.
#[derive(Arbitrary, Debug)]
pub(super) struct Tree {
    classes: Vec<Class>,
    traits: Traits,
    flaw: u8,
}

#[derive(Arbitrary, Debug)]
struct Traits {
    reject: bool,
    drop: bool,
    segment: Option<u16>,
    full_size: u8,
    frames: u8,
    share: u8,
    flow_sets: u8,
}

#[derive(Arbitrary, Debug)]
pub(super) struct Class {
    id: u8,
    parent: u8,
    rate: Option<Speed>,
    ceil: Option<Speed>,
    pps: Option<Speed>,
    bursts: [Run; 3],
    weight: Option<u16>,
    prio: u8,
    framing: u8,
    quantum: Option<u16>,
    pace: bool,
    queue: Queue,
}

/// A rate: its upper bits and how many there are.
#[derive(Arbitrary, Clone, Copy, Debug)]
pub(super) struct Speed(u8, u8);

impl Speed {
    fn number(self) -> u64 {
        let shift = u32::from(self.1) % 42;
        (256 + u64::from(self.0)) << shift >> 8
    }

    fn rate(self) -> Rate {
        let bits = self.number().saturating_mul(8);
        Rate::from_bits_per_second(bits).unwrap_or(Rate::MAX)
    }

    fn packets(self) -> PacketRate {
        PacketRate::from_segments_per_second(self.number()).unwrap_or(PacketRate::MAX)
    }
}

#[derive(Arbitrary, Clone, Copy, Debug)]
enum Run {
    Auto,
    Units(u16),
    Many(u8),
    Time(Length),
}

impl Run {
    fn bytes(self) -> Burst {
        match self {
            Self::Auto => Burst::Auto,
            Self::Units(bytes) => Burst::Bytes(bytes.into()),
            Self::Many(shift) => Burst::Bytes(u64::MAX >> (shift % 48)),
            Self::Time(length) => Burst::Duration(length.nanos()),
        }
    }

    fn segments(self) -> PacketBurst {
        match self {
            Self::Auto => PacketBurst::Auto,
            Self::Units(segments) => PacketBurst::Segments(segments.into()),
            Self::Many(shift) => PacketBurst::Segments(u64::MAX >> (shift % 64)),
            Self::Time(length) => PacketBurst::Duration(length.nanos()),
        }
    }
}

#[derive(Arbitrary, Clone, Copy, Debug)]
pub(super) enum Queue {
    Hold,
    Fifo(u8),
    Flows {
        frames: u8,
        bytes: Option<u16>,
        buckets: u8,
        quantum: Option<u16>,
        target: Length,
        interval: Length,
        mark_at: Option<Length>,
        ect1_only: bool,
        ack_filter: bool,
        hosts: bool,
    },
}

impl Queue {
    fn config(self) -> LeafQueue {
        match self {
            Self::Hold => LeafQueue::Hold,
            Self::Fifo(frames) => LeafQueue::Fifo {
                frames: u32::from(frames) + 1,
            },
            Self::Flows {
                frames,
                bytes,
                buckets,
                quantum,
                target,
                interval,
                mark_at,
                ect1_only,
                ack_filter,
                hosts,
            } => LeafQueue::Flows(FlowsConfig {
                frames: u32::from(frames) + 1,
                bytes: bytes.map(|bytes| u32::from(bytes) + 1),
                buckets: [1, 2, 4, 16, 64, 65, 128, 256][usize::from(buckets % 8)],
                quantum: quantum.map(|bytes| u32::from(bytes) + 1),
                target_nanos: target.nanos(),
                interval_nanos: interval.nanos(),
                ce_threshold_nanos: mark_at.map(Length::nanos),
                ce_threshold_ect1_only: ect1_only,
                ack_filter,
                host_isolation: hosts,
            }),
        }
    }
}

impl Class {
    fn config(&self) -> ClassConfig {
        let [burst, cburst, pps_burst] = self.bursts;
        ClassConfig {
            id: ClassId::new(1, u16::from(self.id % 16)),
            parent: None,
            rate: self.rate.map(Speed::rate),
            ceil: self.ceil.map(Speed::rate),
            weight: self.weight.map(|weight| u32::from(weight) + 1),
            prio: self.prio % 4,
            burst: burst.bytes(),
            cburst: cburst.bytes(),
            pps: self.pps.map(Speed::packets),
            pps_burst: pps_burst.segments(),
            framing: match self.framing % 8 {
                0 => Some(Framing::L2),
                1 => Some(Framing::L3),
                2 => Some(Framing {
                    overhead: -100,
                    mpu: 0,
                }),
                3 => Some(Framing::ETHERNET),
                _ => None,
            },
            quantum: self.quantum.map(|bytes| u32::from(bytes) + 1),
            queue: self.queue.config(),
            pace: self.pace,
            limits_of: (self.framing >= SHARES)
                .then(|| ClassId::new(1, u16::from(self.framing >> 3 & 7))),
        }
    }
}

impl Tree {
    pub(super) fn config(&self) -> TreeConfig {
        let mut tree = TreeConfig {
            overcommit: if self.traits.reject {
                Overcommit::Reject
            } else {
                Overcommit::Scale
            },
            removed: if self.traits.drop {
                Removed::Drop
            } else {
                Removed::Drain
            },
            unit_wire_bytes: [0, 84, 1538, 1538, 9038][usize::from(self.traits.full_size % 5)],
            segment_nanos: self.traits.segment.map(|nanos| u32::from(nanos) + 1),
            frames: u32::from(self.traits.frames),
            pool_share_percent: [None, Some(1), Some(100), Some(200), Some(u32::MAX)]
                [usize::from(self.traits.share % 5)],
            flow_sets: u32::from(self.traits.flow_sets % 5),
            ..TreeConfig::default()
        };
        for class in self.classes.iter().take(CLASSES) {
            add(&mut tree, class);
        }
        if tree.classes.is_empty() {
            tree.classes.push(ClassConfig::new(ClassId::new(1, 0)));
        }
        mend(&mut tree);
        spoil(&mut tree, self.flaw);
        tree
    }
}

/// Adds a class below one that is there.
fn add(tree: &mut TreeConfig, class: &Class) {
    let mut config = class.config();
    if tree.classes.len() >= CLASSES || tree.classes.iter().any(|other| other.id == config.id) {
        return;
    }
    config.parent = pick(&tree.classes, class.parent).map(|parent| parent.id);
    tree.classes.push(config);
}

fn pick<T>(all: &[T], number: u8) -> Option<&T> {
    all.get(usize::from(number).checked_rem(all.len())?)
}

fn is_below(tree: &TreeConfig, class: ClassId, above: ClassId) -> bool {
    let parent = |id: &ClassId| tree.classes.iter().find(|class| class.id == *id)?.parent;
    std::iter::successors(Some(class), parent)
        .take(CLASSES + 1)
        .any(|id| id == above)
}

/// Lets no class have limits that it cannot have, and none besides.
fn mend_twins(tree: &mut TreeConfig) {
    for at in 0..tree.classes.len() {
        let (id, Some(other)) = (tree.classes[at].id, tree.classes[at].limits_of) else {
            continue;
        };
        let owner = tree.classes.iter().find(|class| class.id == other);
        let group = |class: &&ClassConfig| class.id == other || class.limits_of == Some(other);
        let apart = tree.classes.iter().filter(group).all(|class| {
            class.id == id || !is_below(tree, class.id, id) && !is_below(tree, id, class.id)
        });
        let owner = owner.filter(|owner| apart && owner.limits_of.is_none() && other != id);
        let ceil = owner.map(|owner| owner.ceil);
        let class = &mut tree.classes[at];
        let Some(ceil) = ceil else {
            class.limits_of = None;
            continue;
        };
        *class = ClassConfig {
            ceil: None,
            cburst: Burst::Auto,
            pps: None,
            pps_burst: PacketBurst::Auto,
            pace: false,
            ..class.clone()
        };
        class.rate = class
            .rate
            .map(|rate| ceil.map_or(rate, |ceil| rate.min(ceil)));
    }
}

/// Makes a tree one that can run, as long as its parents are in order.
fn mend(tree: &mut TreeConfig) {
    let full_size = tree.unit_wire_bytes;
    let parents: Vec<_> = tree
        .classes
        .iter()
        .filter_map(|class| class.parent)
        .collect();
    for class in &mut tree.classes {
        if let (Some(rate), Some(ceil)) = (class.rate, class.ceil) {
            class.rate = Some(rate.min(ceil));
        }
        class.pace &= class.ceil.is_some();
        if parents.contains(&class.id) {
            class.queue = LeafQueue::Hold;
            if class.parent.is_some() && !FRAMED_BETWEEN {
                class.framing = None;
            }
        }
        for (rate, burst) in [
            (class.rate, &mut class.burst),
            (class.ceil, &mut class.cburst),
        ] {
            *burst = match (*burst, rate) {
                (Burst::Bytes(bytes), _) => Burst::Bytes(bytes.max(full_size.into())),
                (Burst::Duration(nanos), Some(rate)) if rate.bytes_in(nanos) < full_size.into() => {
                    Burst::Auto
                }
                (burst, _) => burst,
            };
        }
        let enough = match (class.pps_burst, class.pps) {
            (PacketBurst::Segments(segments), _) => segments > 0,
            (PacketBurst::Duration(nanos), Some(pps)) => {
                u128::from(nanos) << 32 >= u128::from(pps.inverse().ticks_per_unit().get())
            }
            _ => true,
        };
        if !enough {
            class.pps_burst = PacketBurst::Auto;
        }
    }
    let linked = tree
        .classes
        .first()
        .is_some_and(|root| root.rate.or(root.ceil).is_some());
    tree.segment_nanos = tree.segment_nanos.filter(|_| linked);
    while let Some(deep) = tree
        .classes
        .iter()
        .position(|class| depth(tree, class.id) > MAX_DEPTH)
    {
        let gone = tree.classes[deep].id;
        tree.classes
            .retain(|class| class.id != gone && class.parent != Some(gone));
    }
    mend_twins(tree);
}

fn depth(tree: &TreeConfig, class: ClassId) -> usize {
    let parent = |id: &ClassId| tree.classes.iter().find(|class| class.id == *id)?.parent;
    std::iter::successors(Some(class), parent)
        .take(CLASSES + 1)
        .count()
}

/// What no tree may have; most numbers spoil nothing.
fn spoil(tree: &mut TreeConfig, flaw: u8) {
    let Some(last) = tree.classes.len().checked_sub(1) else {
        return;
    };
    let first = tree.classes[0].id;
    let class = &mut tree.classes[last];
    match flaw {
        0x81 => class.parent = Some(ClassId::new(9, 9)),
        0x82 => class.parent = Some(class.id),
        0x83 => class.parent = None,
        0x84 => class.weight = Some(0),
        0x85 => class.quantum = Some(0),
        0x86 => class.prio = 4,
        0x87 => (class.rate, class.ceil) = (Some(Rate::MAX), Some(Rate::MIN)),
        0x88 => (class.pace, class.ceil) = (true, None),
        0x89 => class.queue = LeafQueue::Fifo { frames: 0 },
        0x8a => (class.ceil, class.cburst) = (Some(Rate::MIN), Burst::Bytes(1)),
        0x8b => {
            class.pps = Some(PacketRate::MIN);
            class.pps_burst = PacketBurst::Duration(999_999_999);
        }
        0x8c => {
            class.queue = LeafQueue::Flows(FlowsConfig {
                buckets: 257,
                ..FlowsConfig::default()
            });
        }
        0x8d => tree.classes[0].queue = LeafQueue::Fifo { frames: 1 },
        0x8e => tree.classes[last].id = first,
        0x8f => tree.segment_nanos = Some(0),
        0x90 => tree.pool_share_percent = Some(0),
        0x91 => tree.classes.clear(),
        0x92 => tree.overcommit = Overcommit::Reject,
        _ => {}
    }
}

/// A frame, and what a queue of flows asks of it.
#[derive(Arbitrary, Clone, Copy, Debug)]
pub(super) struct Cargo {
    pub(super) shape: Shape,
    flow: u8,
    host: u8,
    ack: Option<u8>,
    ecn: u8,
    whole: bool,
}

impl Cargo {
    pub(super) fn frame(self, token: u64) -> Frame {
        let spread = |number: u8| u32::from(number % 32).wrapping_mul(0x9e37_79b9);
        Frame {
            flow: spread(self.flow),
            host: spread(self.host & 3),
            ack: self.ack.map(|number| Ack::new(number.into(), 1)),
            ecn: Ecn::from_bits(self.ecn),
            whole: self.whole,
            ..Frame::new(token, self.shape.shape())
        }
    }
}

#[derive(Arbitrary, Clone, Copy, Debug)]
pub(super) enum Shape {
    Small,
    Full,
    Super(u8),
    Fine(u8),
    Any(u16),
    Odd { len: u16, headers: u8, gso: u16 },
    Huge(u8),
}

impl Shape {
    pub(super) fn shape(self) -> FrameShape {
        let cut = |len: u32, headers: u32, gso_size: u32| FrameShape {
            len,
            headers,
            gso_size,
        };
        match self {
            Self::Small => FrameShape::single(60),
            Self::Full => FrameShape::single(1514),
            Self::Super(parts) => cut(54 + 1448 * (u32::from(parts % 45) + 1), 54, 1448),
            Self::Fine(len) => cut(42 + 16 * u32::from(len), 42, 1),
            Self::Any(len) => FrameShape::single(len.into()),
            Self::Odd { len, headers, gso } => cut(len.into(), headers.into(), gso.into()),
            Self::Huge(shift) => cut((1 << 24) >> (shift % 24), 54, 536),
        }
    }
}

/// What is sent of a frame that was granted.
#[derive(Arbitrary, Clone, Copy, Debug)]
pub(super) enum Portion {
    Whole,
    /// As the grant says.
    Quantum,
    Segments(u8),
}

/// A change of the tree at work. Classes are named by their place.
#[derive(Arbitrary, Debug)]
pub(super) enum Change {
    Settings(u8, Class),
    Move { class: u8, below: u8 },
    Remove(u8),
    Add(Class),
    Rate(u8, Option<Speed>),
    Ceil(u8, Option<Speed>),
    Queue(u8, Queue),
    Pool { frames: u8, share: u8, drop: bool },
    Spoil(u8),
    Nothing,
}

impl Change {
    /// The place of the class that is changed by itself, if it can be and its number is high.
    pub(super) fn alone(&self, count: usize) -> Option<usize> {
        match *self {
            Self::Settings(number, _)
            | Self::Rate(number, _)
            | Self::Ceil(number, _)
            | Self::Queue(number, _)
                if number >= 0x80 =>
            {
                usize::from(number).checked_rem(count)
            }
            _ => None,
        }
    }

    pub(super) fn make(&self, tree: &mut TreeConfig) {
        let count = tree.classes.len();
        let place = |number: u8| usize::from(number).checked_rem(count).unwrap_or(0);
        match self {
            Self::Settings(number, class) => {
                let old = &mut tree.classes[place(*number)];
                *old = ClassConfig {
                    id: old.id,
                    parent: old.parent,
                    ..class.config()
                };
            }
            Self::Move { class, below } => {
                let (class, below) = (place(*class), place(*below));
                let (id, parent) = (tree.classes[class].id, tree.classes[below].id);
                // The root stays where it is, and nobody goes below himself.
                if tree.classes[class].parent.is_some() && !is_below(tree, parent, id) {
                    tree.classes[class].parent = Some(parent);
                }
            }
            Self::Remove(number) => {
                let gone = tree.classes[place(*number)].id;
                let below: Vec<bool> = tree
                    .classes
                    .iter()
                    .map(|class| is_below(tree, class.id, gone))
                    .collect();
                let mut below = below.into_iter();
                tree.classes
                    .retain(|class| !below.next().unwrap_or(false) || class.parent.is_none());
            }
            Self::Add(class) => add(tree, class),
            Self::Rate(number, speed) => {
                tree.classes[place(*number)].rate = speed.map(Speed::rate);
            }
            Self::Ceil(number, speed) => {
                tree.classes[place(*number)].ceil = speed.map(Speed::rate);
            }
            Self::Queue(number, queue) => tree.classes[place(*number)].queue = queue.config(),
            Self::Pool {
                frames,
                share,
                drop,
            } => {
                tree.frames = u32::from(*frames);
                tree.pool_share_percent = Some(u32::from(*share) + 1);
                tree.removed = if *drop { Removed::Drop } else { Removed::Drain };
            }
            Self::Nothing | Self::Spoil(_) => {}
        }
        mend(tree);
        if let Self::Spoil(flaw) = self {
            spoil(tree, 0x81 + flaw % 18);
        }
    }
}

/// A call. Leaves are named by their place among those there are.
#[derive(Arbitrary, Debug)]
pub(super) enum Call {
    Offer(u8, Cargo),
    /// Several of a leaf, one by one.
    Flood(u8, u8, Cargo),
    Burst(Vec<(u8, Cargo)>),
    /// Several of a leaf, in a burst.
    Train(u8, u8, Cargo),
    Backlogged(u8),
    AllBacklogged,
    Serve(u8, Portion, Shape),
    Poll(u8),
    Hold(Why),
    Stray(Shape),
    Unblock(u8),
    Wait(Length),
    Back(Length),
    ToWake,
    /// From wake to wake, and all that goes goes.
    Run(u8),
    Apply(Tree),
    Change(Change),
    Changes(Vec<Change>),
}

#[derive(Arbitrary, Clone, Copy, Debug)]
pub(super) enum Why {
    Later,
    Empty,
    Blocked,
}

impl Why {
    pub(super) const fn hold(self) -> Hold {
        match self {
            Self::Later => Hold::Later,
            Self::Empty => Hold::Empty,
            Self::Blocked => Hold::Blocked,
        }
    }
}
