//! Where in a file something is: the line, and the key if one is written there.

use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};

use super::{Fault, FileError};

/// A place in a file, as messages name it: `tree.toml:12: rate`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// The file.
    pub path: PathBuf,
    /// The line, from one.
    pub line: usize,
    /// The key whose value, or which itself, is at this place.
    pub key: Option<String>,
}

impl Place {
    /// The place of the bytes `span` of `text`.
    pub(super) fn new(path: &Path, text: &str, span: Range<usize>) -> Self {
        let before = text.get(..span.start).unwrap_or(text);
        let start = before.rfind('\n').map_or(0, |end| end + 1);
        let (head, tail) = text.split_at(before.len());
        Self {
            path: path.to_owned(),
            line: before.matches('\n').count() + 1,
            key: key(&head[start..], tail),
        }
    }

    /// The place of a key of the table that begins at `start`: its own line if it has one there, or the
    /// table's.
    pub(super) fn of_key(path: &Path, text: &str, start: usize, key: &str) -> Self {
        let table = text.get(start..).unwrap_or("");
        let end = table.find("\n[[").unwrap_or(table.len());
        let mut at = start;
        let mut lines = table[..end].split_inclusive('\n');
        let found = lines.any(|line| {
            let rest = line.trim_start().strip_prefix(key);
            let is_it = rest.is_some_and(|rest| rest.trim_start().starts_with('='));
            at += if is_it { 0 } else { line.len() };
            is_it
        });
        let at = if found { at } else { start };
        Self {
            key: Some(key.to_owned()),
            ..Self::new(path, text, at..at)
        }
    }

    /// The same without the key, for messages about another place.
    pub(crate) fn line(self) -> Self {
        Self { key: None, ..self }
    }

    pub(crate) fn fault(self, fault: impl Into<Fault>) -> FileError {
        FileError::Wrong {
            place: self,
            fault: Box::new(fault.into()),
        }
    }
}

/// The key of what stands between `head`, the beginning of a line, and `tail`.
fn key(head: &str, tail: &str) -> Option<String> {
    // The lists and inline tables that are open, with the key of each.
    let mut open: Vec<(char, Option<&str>)> = Vec::new();
    let (mut key, mut quote) = (None, None);
    for (at, c) in head.char_indices() {
        match c {
            _ if quote == Some(c) => quote = None,
            _ if quote.is_some() => {}
            '"' | '\'' => quote = Some(c),
            '=' => key = last_word(&head[..at]),
            '[' | '{' => open.push((c, key.take())),
            ']' | '}' => key = open.pop().and_then(|(_, key)| key),
            // What follows in an inline table is a key again.
            ',' => key = None,
            _ => {}
        }
    }
    let list = open.last().filter(|(bracket, _)| *bracket == '[');
    let key = key.or_else(|| list?.1);
    let end = tail.find(|c: char| !is_part(c)).unwrap_or(tail.len());
    let key = key.unwrap_or(&tail[..end]);
    (!key.is_empty()).then(|| key.to_owned())
}

/// What a bare key is made of.
fn is_part(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '_' | '-')
}

fn last_word(text: &str) -> Option<&str> {
    text.trim_end().rsplit(|c| !is_part(c)).next()
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.path.display(), self.line)?;
        match &self.key {
            Some(key) => write!(f, ": {key}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_named_by_its_line_and_key() {
        let text = "a = 1\n[[class]]\n  rate = \"x\"\nflows = { frames = 0, target = 3 }\n\
                    trunk = [{ a = 1 }, 7]\n";
        let place = |part: &str| {
            let start = text.find(part).unwrap();
            Place::new(Path::new("t.toml"), text, start..start + 1).to_string()
        };
        assert_eq!(place("1"), "t.toml:1: a");
        assert_eq!(place("[[class"), "t.toml:2");
        assert_eq!(place("rate"), "t.toml:3: rate");
        assert_eq!(place("\"x"), "t.toml:3: rate");
        assert_eq!(place("0"), "t.toml:4: frames");
        assert_eq!(place("target"), "t.toml:4: target");
        assert_eq!(place("3 }"), "t.toml:4: target");
        assert_eq!(place("7"), "t.toml:5: trunk");
        let end = Place::new(Path::new("t.toml"), text, text.len()..text.len());
        assert_eq!(end.to_string(), "t.toml:6");
    }
}
