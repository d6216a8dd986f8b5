//! What can be wrong with a configuration.

use std::fmt;

use thiserror::Error;

use crate::file::error::nearest;
use crate::uplink::IfNameError;

/// What a configuration says that cannot be. The operator is at fault.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ConfigFault {
    /// A value that cannot be, with the reason.
    #[error("`{value}`: {reason}")]
    Value {
        /// What was written.
        value: String,
        /// What is wrong with it, and what to write.
        reason: &'static str,
    },
    /// A name that no interface can have.
    #[error("`{value}`: {source}")]
    Interface {
        /// What was written.
        value: String,
        /// What is wrong with it.
        source: IfNameError,
    },
    /// A number outside what it may be.
    #[error("{what} must be {least} to {most}, not {value}")]
    OutOfRange {
        /// What it is a number of.
        what: &'static str,
        /// What was written.
        value: u64,
        /// The least it may be.
        least: u64,
        /// The most it may be.
        most: u64,
    },
    /// Two of a kind have one name.
    #[error("the {what} `{name}` is defined already ({first}): give each its own name{hint}")]
    SameName {
        /// What they are.
        what: &'static str,
        /// The name.
        name: String,
        /// Where the first one is.
        first: String,
        /// How a pattern makes them differ.
        hint: &'static str,
    },
    /// Two guests have the same of something that is one guest's alone.
    #[error("the {what} {value} is that of `{owner}` already ({first}): give each its own{hint}")]
    Taken {
        /// What it is.
        what: &'static str,
        /// What it is of.
        value: String,
        /// Who has it.
        owner: String,
        /// Where that is.
        first: String,
        /// How a pattern makes them differ.
        hint: &'static str,
    },
    /// An uplink that is not defined.
    #[error("there is no uplink {0}")]
    NoUplink(Known),
    /// A template that is not defined.
    #[error("there is no template {0}")]
    NoTemplate(Known),
    /// A class that the guest does not have.
    #[error("the guest has no class {0}")]
    NoClass(Known),
    /// Something that has to be there.
    #[error("{what} needs {needs}")]
    Needs {
        /// What needs it.
        what: String,
        /// What is missing, and how to write it.
        needs: &'static str,
    },
    /// A key that does not go with what else is written.
    #[error("`{key}` {reason}")]
    Misplaced {
        /// The key.
        key: &'static str,
        /// Why, and what to do.
        reason: &'static str,
    },
    /// One VLAN twice in a list.
    #[error("VLAN {0} is in the list already: write it once")]
    VlanTwice(u16),
    /// More than one place for the frames of a rule.
    #[error("frames go to one place: write one of class, drop and goto")]
    TwoEnds,
    /// A rule without consequence.
    #[error(
        "this rule does nothing: write where its frames go (class, drop or goto) or what changes \
         (police, set_mark, set_dscp or set_vlan_priority)"
    )]
    IdleRule,
    /// A leaf whose frames have nowhere to wait.
    #[error("{class} cannot have queue = \"hold\": {reason}; write \"flows\" or \"fifo\"")]
    NoHold {
        /// The class.
        class: String,
        /// Why.
        reason: &'static str,
    },
    /// A pattern that names no files there are.
    #[error("`{pattern}`: {reason}")]
    Include {
        /// The pattern.
        pattern: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A tree or its rules may not run, in words that name guests and classes.
    #[error("{0}")]
    Tree(String),
    /// The guests are guaranteed more than their uplink carries.
    #[error(
        "with the {rate} of {who}, {what} of {above} are guaranteed {asked} together \
         in {direction}, but it has only {given} to give: raise its {raise}, lower theirs, or write \
         overcommit = \"scale\" at the uplink"
    )]
    Overcommitted {
        /// What the one is guaranteed that is too much.
        rate: String,
        /// Who that is.
        who: String,
        /// What is guaranteed: guests, or classes.
        what: &'static str,
        /// What they are below.
        above: String,
        /// All their guarantees.
        asked: String,
        /// What there is.
        given: String,
        /// In which direction, in words.
        direction: &'static str,
        /// What would have to be more.
        raise: &'static str,
    },
}

/// What is wrong with a name that logs, trees and paths are to have.
pub(super) fn name_fault(name: &str) -> Option<ConfigFault> {
    let bad = |c: char| c.is_control() || c.is_whitespace() || c == '/';
    (name.is_empty() || name.contains(bad)).then(|| ConfigFault::Value {
        value: name.to_owned(),
        reason: "a name has at least one character, and no space or slash",
    })
}

/// A name that is not known, and those that are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Known {
    name: String,
    nearest: Option<String>,
    known: Vec<String>,
}

/// Names that a message lists; more would bury it.
const LISTED: usize = 8;

impl Known {
    /// This name, which is none of those known.
    pub fn new<'a>(name: &str, known: impl Iterator<Item = &'a str> + Clone) -> Self {
        Self {
            name: name.to_owned(),
            nearest: nearest(name, known.clone()).map(str::to_owned),
            known: known.take(LISTED + 1).map(str::to_owned).collect(),
        }
    }
}

impl fmt::Display for Known {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}`: ", self.name)?;
        if let Some(nearest) = &self.nearest {
            return write!(f, "did you mean `{nearest}`?");
        }
        match self.known.get(..LISTED).unwrap_or(&self.known) {
            [] => f.write_str("none is defined"),
            names => {
                let more = if self.known.len() > LISTED {
                    ", ..."
                } else {
                    ""
                };
                write!(f, "write one of {}{more}", names.join(", "))
            }
        }
    }
}
