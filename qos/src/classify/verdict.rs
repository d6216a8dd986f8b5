//! What classification says of a frame.

use super::dscp::Dscp;
use crate::class::ClassId;

/// Why a frame does not go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DropReason {
    /// A rule says so.
    Rule,
    /// It exceeds what a rule polices.
    Policed,
    /// It was handed in at an entry that this classifier does not have: one of another classifier.
    /// Look the entry up again after every change of rules.
    Stale,
}

/// Where a frame goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fate {
    /// To this leaf of the tree.
    Leaf(ClassId),
    /// Nowhere.
    Drop(DropReason),
}

/// A rule of a class.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// Whose rule it is.
    pub class: ClassId,
    /// Its number, from 1; `None` for what applies when no rule decides.
    pub rule: Option<usize>,
}

/// What is to happen to one frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// Where it goes.
    pub fate: Fate,
    /// Its mark after all rules.
    pub mark: u32,
    /// The code point it goes out with, if not its own.
    pub set_dscp: Option<Dscp>,
    /// The priority its VLAN tag goes out with, if not its own.
    pub set_vlan_priority: Option<u8>,
    /// What decided it in the end.
    pub by: Place,
}

impl Verdict {
    /// The leaf it goes to, unless it is dropped.
    #[must_use]
    pub const fn leaf(&self) -> Option<ClassId> {
        match self.fate {
            Fate::Leaf(leaf) => Some(leaf),
            Fate::Drop(_) => None,
        }
    }
}
