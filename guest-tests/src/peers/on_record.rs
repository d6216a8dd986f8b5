//! Figures that are checked in, so that it shows when code gets slower: instructions per frame, which do
//! not depend on what else the machine does, but on the compiler.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;

use crate::error::{Context, Error, Result};
use crate::process::output_of;

/// How much more than on record is too much.
const TOLERANCE: f64 = 1.05;

/// The head of the file.
const ABOUT: &str = "\
# Instructions per frame of the scheduler alone; a figure more than 5 % above fails `ci/bench qos`, where
# the compiler is the same. Written by `ci/bench qos --record`.
";

/// Figures by name, and the compiler that they belong to.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct OnRecord {
    compiler: String,
    figures: BTreeMap<String, f64>,
}

impl OnRecord {
    /// Nothing yet, for the compiler in use.
    ///
    /// # Errors
    /// [`Error::Io`] without a compiler.
    pub fn new() -> Result<Self> {
        let version = output_of("rustc", &["--version"])?;
        Ok(Self {
            compiler: String::from_utf8_lossy(&version).trim().to_owned(),
            figures: BTreeMap::new(),
        })
    }

    /// The figures that are checked in.
    ///
    /// # Errors
    /// [`Error::Io`] or [`Error::Output`] if the file is missing or no record.
    pub fn load() -> Result<Self> {
        let path = path();
        let text = fs::read_to_string(&path).context(format!("reading {}", path.display()))?;
        Self::parse(&text).ok_or_else(|| Error::Output {
            tool: "the file of instruction counts",
            reason: "a line is neither a comment, nor `rustc ...`, nor `NAME VALUE`".to_owned(),
            output: text,
        })
    }

    /// Makes these the figures that are checked in.
    ///
    /// # Errors
    /// [`Error::Io`] if the file cannot be written.
    pub fn save(&self) -> Result<()> {
        let path = path();
        fs::write(&path, self.text()).context(format!("writing {}", path.display()))
    }

    /// Takes a figure in.
    pub fn add(&mut self, name: &str, value: f64) {
        self.figures.insert(name.to_owned(), value);
    }

    /// The compiler's name and version.
    #[must_use]
    pub fn compiler(&self) -> &str {
        &self.compiler
    }

    /// A line for each figure of `new` that is too much more than here; `None` if they do not compare,
    /// being another compiler's.
    #[must_use]
    pub fn worse(&self, new: &Self) -> Option<Vec<String>> {
        let worse = |(name, &value): (&String, &f64)| {
            let &known = self.figures.get(name)?;
            let percent = (value / known - 1.0) * 100.0;
            (value > known * TOLERANCE)
                .then(|| format!("{name} is {value:.1}, {percent:.1} % above {known:.1}"))
        };
        let comparable = self.compiler == new.compiler;
        comparable.then(|| new.figures.iter().filter_map(worse).collect())
    }

    fn parse(text: &str) -> Option<Self> {
        let mut record = Self::default();
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            if line.starts_with("rustc ") {
                line.clone_into(&mut record.compiler);
                continue;
            }
            let (name, value) = line.split_once(' ')?;
            record.add(name, value.parse().ok()?);
        }
        Some(record)
    }

    fn text(&self) -> String {
        let mut text = format!("{ABOUT}{}\n", self.compiler);
        for (name, value) in &self.figures {
            // Writing to a string does not fail.
            let _ = writeln!(text, "{name} {value:.1}");
        }
        text
    }
}

/// Beside the program that is measured.
fn path() -> PathBuf {
    let here = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    here.join("../qos/examples/netqos_bench/instructions.txt")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(compiler: &str, figures: &[(&str, f64)]) -> OnRecord {
        let mut record = OnRecord {
            compiler: compiler.to_owned(),
            ..OnRecord::default()
        };
        for &(name, value) in figures {
            record.add(name, value);
        }
        record
    }

    #[test]
    fn a_record_is_read_as_it_was_written() {
        let record = record("rustc 1.95.0 (x)", &[("a.b", 10.5), ("c", 7.0)]);
        assert_eq!(OnRecord::parse(&record.text()), Some(record));
        assert_eq!(OnRecord::parse("a.b ten"), None);
    }

    #[test]
    fn more_than_five_percent_is_worse() {
        let known = record("rustc 1", &[("same", 100.0), ("more", 100.0)]);
        let new = record("rustc 1", &[("same", 104.9), ("more", 105.2), ("new", 1e9)]);
        let lines = known.worse(&new).unwrap();
        assert_eq!(lines, ["more is 105.2, 5.2 % above 100.0"]);
    }

    #[test]
    fn another_compilers_figures_do_not_compare() {
        let (known, new) = (record("rustc 1", &[]), record("rustc 2", &[]));
        assert_eq!(known.worse(&new), None);
    }

    #[test]
    fn the_record_that_is_checked_in_is_one() {
        OnRecord::load().unwrap();
    }
}
