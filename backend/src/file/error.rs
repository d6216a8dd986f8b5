//! Why a file is refused.

use std::io;
use std::path::PathBuf;

use qos::sim::ScenarioError;
use qos::{ClassId, TreeError};
use thiserror::Error;

use super::Place;
use crate::config::ConfigFault;

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
    /// It cannot be what the daemon is to do.
    #[error(transparent)]
    Config(Box<ConfigFault>),
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

impl From<ConfigFault> for Fault {
    fn from(fault: ConfigFault) -> Self {
        Self::Config(Box::new(fault))
    }
}

/// Of these words the one that was probably meant.
pub(crate) fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let length = word.chars().count();
    // A third of it wrong is a slip; more is another word.
    let most = length.div_ceil(3);
    let distance = |known: &&str| strsim::damerau_levenshtein(word, known);
    // What is that much longer or shorter need not be compared, which takes long for a long word.
    let alike = |known: &&str| known.chars().count().abs_diff(length) <= most;
    let nearest = known.into_iter().filter(alike).min_by_key(distance)?;
    (distance(&nearest) <= most).then_some(nearest)
}

/// A parser's message about a key or word that is not known, made to name the nearest one instead of
/// all there are.
pub(super) fn unknown_word(message: &str) -> String {
    let (what, rest) = match (
        message.strip_prefix("unknown field "),
        message.strip_prefix("unknown variant "),
    ) {
        (Some(rest), _) => ("key", rest),
        (_, Some(rest)) => ("word", rest),
        _ => return plain(message),
    };
    let mut words = rest.split('`').skip(1).step_by(2);
    let word = words.next().unwrap_or("");
    let known: Vec<&str> = words.collect();
    match nearest(word, known.iter().copied()) {
        Some(meant) => format!("unknown {what} `{word}`: did you mean `{meant}`?"),
        None if known.is_empty() => format!("unknown {what} `{word}`: leave it out"),
        None => format!("unknown {what} `{word}`: write one of {}", known.join(", ")),
    }
}

/// What a parser's message calls the types that values are to have, and what they are called here.
const TYPES: &[(&str, &str)] = &[
    ("u8", "a number of 0 to 255"),
    ("u16", "a number of 0 to 65535"),
    ("u32", "a number of 0 to 4294967295"),
    ("u64", "a number, not negative"),
    ("usize", "a number, not negative"),
    ("i32", "a number"),
    ("a string", "a text in quotes"),
    ("path string", "a path in quotes"),
    ("a boolean", "true or false"),
    ("a sequence", "a list"),
    ("a map", "a table"),
];

/// A parser's message in one line, without the names of types.
fn plain(message: &str) -> String {
    if message == "duplicate key" {
        let one =
            "this is here already: write it once, and named tables either as [X.NAME] or as [[X]]";
        return one.to_owned();
    }
    let message = message
        .replace('\n', " ")
        .replace("missing field", "missing key");
    let Some((fault, expected)) = message.split_once(", expected ") else {
        return message;
    };
    let known = TYPES.iter().find(|(name, _)| *name == expected);
    let expected = match known {
        Some((_, words)) => words,
        None if expected.starts_with("struct ") => "a table",
        None => expected,
    };
    format!("{fault}, expected {expected}")
}
