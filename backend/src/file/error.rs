//! Why a file is refused.

use std::io;
use std::path::PathBuf;

use qos::sim::ScenarioError;
use qos::{ClassId, TreeError};
use thiserror::Error;

use super::Place;

/// A file that cannot be used. The operator is at fault; whoever reads it shows the message and ends
/// with exit code 2.
#[derive(Debug, Error)]
pub enum FileError {
    /// It cannot be read.
    #[error("{}: {source}", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// What it says is wrong.
    #[error("{place}: {fault}")]
    Wrong {
        /// Where.
        place: Place,
        /// What is wrong there.
        fault: Box<Fault>,
    },
}

/// What is wrong at one place of a file.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Fault {
    /// It is not TOML, or has a key or value that does not belong there: in the parser's words.
    #[error("{0}")]
    Toml(String),
    /// The tree may not run.
    #[error(transparent)]
    Tree(#[from] TreeError),
    /// The traffic cannot be simulated.
    #[error(transparent)]
    Scenario(#[from] ScenarioError),
    /// Two classes have one name.
    #[error("the name `{name}` is taken by the class on line {first}: give each its own")]
    SameName {
        /// The name.
        name: String,
        /// Where it was given first.
        first: usize,
    },
    /// Two classes have one id.
    #[error("the id {id} is taken by the class on line {first}: give each its own")]
    SameId {
        /// The id.
        id: ClassId,
        /// Where it was given first.
        first: usize,
    },
    /// A name that would read as an id, or as nothing.
    #[error("`{0}` is no name for a class: write letters and digits, no colon")]
    Name(String),
    /// A class that is not there.
    #[error("there is no class `{0}`: write the name or the id of one in the tree")]
    NoClass(String),
    /// Settings of a queue that the class does not have.
    #[error("only a class with queue = \"{queue}\" has these: add that, or leave them out")]
    OtherQueue {
        /// The queue that has them.
        queue: &'static str,
    },
    /// A setting that this kind of traffic does not have.
    #[error("a source of kind \"{kind}\" has no `{key}`: leave it out; it has {has}")]
    OtherKind {
        /// The kind.
        kind: &'static str,
        /// The key.
        key: &'static str,
        /// The keys there are, but for those that all kinds have.
        has: String,
    },
    /// A setting that this kind of traffic needs.
    #[error("a source of kind \"{kind}\" needs {needs}")]
    Needs {
        /// The kind.
        kind: &'static str,
        /// What is missing.
        needs: &'static str,
    },
}
