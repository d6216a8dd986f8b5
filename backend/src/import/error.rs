//! Why nothing is imported.

use std::fmt;

use thiserror::Error;

use super::Kind;
use crate::file::error::nearest;

/// Something given that cannot be imported. The operator is at fault; `netqosctl` shows the message and
/// ends with exit code 2.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ImportError {
    /// No tool of that name is known.
    #[error("there is no kind `{word}`: {hint}")]
    Kind {
        /// What was written.
        word: String,
        /// What to write.
        hint: String,
    },
    /// It cannot be read at all.
    #[error("{place}: this is not {what}: {message}")]
    Syntax {
        /// Where.
        place: Place,
        /// What it was to be.
        what: &'static str,
        /// In the parser's words.
        message: String,
    },
    /// A value that cannot be.
    #[error("{place}: `{value}`: {reason}")]
    Value {
        /// Where.
        place: Place,
        /// What was written.
        value: String,
        /// What is wrong with it, and what to write.
        reason: String,
    },
    /// Something that has to be there.
    #[error("{place}: {what} is missing: {hint}")]
    Missing {
        /// Where.
        place: Place,
        /// What.
        what: &'static str,
        /// What to do.
        hint: &'static str,
    },
    /// A name that nothing has.
    #[error("{place}: there is no {what} `{name}`: {hint}")]
    Unknown {
        /// Where.
        place: Place,
        /// What it is the name of.
        what: &'static str,
        /// The name.
        name: String,
        /// What to write.
        hint: String,
    },
    /// There is nothing in it.
    #[error("there is nothing to import: write {0}")]
    Nothing(&'static str),
}

impl ImportError {
    /// A kind that is not known.
    pub(super) fn kind(word: &str) -> Self {
        let known = Kind::ALL.map(Kind::name);
        Self::Kind {
            word: word.to_owned(),
            hint: hint(word, &known),
        }
    }
}

/// Which of the known words was probably meant, or all there are.
pub(super) fn hint(word: &str, known: &[&str]) -> String {
    match nearest(word, known.iter().copied()) {
        Some(meant) => format!("did you mean `{meant}`?"),
        None if known.is_empty() => "none is defined".to_owned(),
        None => format!("write one of {}", known.join(", ")),
    }
}

/// Where in what was given something is: a line, what it is about there, or both.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// The line, from one; absent where the source has none to speak of, as JSON.
    pub line: Option<usize>,
    /// The key, or the way to it.
    pub key: String,
}

impl Place {
    /// A line.
    pub(super) const fn line(line: usize) -> Self {
        Self {
            line: Some(line),
            key: String::new(),
        }
    }

    /// A key in it.
    pub(super) fn key(&self, key: &str) -> Self {
        let key = match self.key.as_str() {
            "" => key.to_owned(),
            above => format!("{above}.{key}"),
        };
        Self {
            line: self.line,
            key,
        }
    }

    /// An entry of a list there.
    pub(super) fn entry(&self, index: usize) -> Self {
        Self {
            line: self.line,
            key: format!("{}[{index}]", self.key),
        }
    }

    /// A value here that cannot be.
    pub(super) fn value(&self, value: impl fmt::Display, reason: impl fmt::Display) -> ImportError {
        ImportError::Value {
            place: self.clone(),
            value: short(&value.to_string()),
            reason: reason.to_string(),
        }
    }

    /// A number here, in decimal.
    pub(super) fn number(&self, text: &str) -> Result<u64, ImportError> {
        text.parse()
            .map_err(|_| self.value(text, "write a whole number, not negative"))
    }
}

/// As much of a text as a message has room for, in one line.
pub(super) fn short(text: &str) -> String {
    const ROOM: usize = 80;
    let line = |c: char| if c.is_control() { ' ' } else { c };
    let mut short: String = text.chars().take(ROOM).map(line).collect();
    if text.chars().nth(ROOM).is_some() {
        short.push_str("...");
    }
    short
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.line, self.key.as_str()) {
            (None, "") => f.write_str("at the top"),
            (None, key) => f.write_str(key),
            (Some(line), "") => write!(f, "line {line}"),
            (Some(line), key) => write!(f, "line {line}: {key}"),
        }
    }
}
