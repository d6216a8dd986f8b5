//! The tree that all are measured with: root, guests, and leaves dealt out to the guests in turn.

use qos::{Burst, ClassConfig, ClassId, LeafQueue, Rate, TreeConfig};

use crate::Result;
use crate::models::HtbClass;

/// Link rate in bit/s.
pub(crate) const LINK: u64 = 400_000_000_000;

/// How far a class may run ahead, in nanoseconds: nobody meets a limit, but everybody has one.
const BURST_NANOS: u64 = 100_000_000;

const ROOT: ClassId = ClassId::new(1, 0);

/// Leaves of one major number, which has 16 bits for them.
const PER_MAJOR: u32 = 1 << 15;

#[derive(Debug)]
pub(crate) struct Tree {
    leaves: u32,
    guests: u32,
}

impl Tree {
    /// About as many guests as leaves per guest, or as many guests as leaves.
    pub(crate) fn new(leaves: u32, lone: bool) -> Self {
        let square = |&guests: &u32| u64::from(guests) * u64::from(guests) * 2 >= leaves.into();
        let guests = if lone {
            leaves
        } else {
            (1..).find(square).unwrap_or(1)
        };
        Self { leaves, guests }
    }

    /// The leaves with their guests.
    pub(crate) fn leaves(&self) -> impl Iterator<Item = (ClassId, u32)> {
        let guests = self.guests.max(1);
        (0..self.leaves).map(move |leaf| (id(100, leaf), leaf % guests))
    }

    /// For the engine.
    pub(crate) fn config(&self, queue: LeafQueue) -> Result<TreeConfig> {
        let class = |id: ClassId, part: u32| -> Result<ClassConfig> {
            let rate = |rate| Rate::from_bits_per_second(rate).ok_or("too many leaves");
            let (guarantee, ceil) = rates(part);
            let mut class = ClassConfig::new(id)
                .rate(rate(guarantee)?)
                .ceil(rate(ceil)?);
            class.cburst = Burst::Duration(BURST_NANOS);
            class.burst = class.cburst;
            Ok(class)
        };
        let mut classes = vec![class(ROOT, 1)?];
        for guest in 0..self.guests {
            classes.push(class(id(2, guest), self.guests)?.parent(ROOT));
        }
        for (leaf, guest) in self.leaves() {
            let class = class(leaf, self.part())?;
            classes.push(class.parent(id(2, guest)).queue(queue));
        }
        Ok(TreeConfig {
            frames: self.leaves * 88 + 64,
            ..TreeConfig::new(classes)
        })
    }

    /// For the model.
    pub(crate) fn htb(&self) -> Vec<HtbClass> {
        let class = |parent, part| {
            let (rate, ceil) = rates(part);
            HtbClass {
                parent,
                rate,
                ceil,
                burst: BURST_NANOS,
            }
        };
        let guests = (0..self.guests).map(|_| class(Some(0), self.guests));
        let leaves = self.leaves();
        let leaves = leaves.map(|(_, guest)| class(Some(1 + guest), self.part()));
        [class(None, 1)]
            .into_iter()
            .chain(guests)
            .chain(leaves)
            .collect()
    }

    /// How many of its leaves the link could have, if all guests had as many.
    fn part(&self) -> u32 {
        self.guests * self.leaves.div_ceil(self.guests.max(1))
    }
}

/// Guarantee and ceiling of one of `parts`.
fn rates(parts: u32) -> (u64, u64) {
    let rate = LINK / u64::from(parts.max(1));
    (rate, (rate * 2).min(LINK))
}

/// A class by its number among those of its kind.
fn id(kind: u16, number: u32) -> ClassId {
    let (high, low) = (number / PER_MAJOR, number % PER_MAJOR);
    // Both fit: a tree has fewer than 2^31 classes.
    let part = |value: u32| u16::try_from(value).unwrap_or(u16::MAX);
    ClassId::new(kind.saturating_add(part(high)), part(low))
}
