//! How much is measured.

use std::time::Duration;

use clap::Args;

const ROUNDS: u16 = 3;
/// How long something is counted.
const WINDOW: Duration = Duration::from_secs(2);
const SHORT_WINDOW: Duration = Duration::from_secs(1);

/// Options of the benchmarks with contenders that take turns.
#[derive(Debug, Clone, Args)]
pub(crate) struct Choice {
    /// Rounds, in each of which every contender has a turn; 3 unless told otherwise, of `guest` 5
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    rounds: Option<u16>,

    /// Only frames of these lengths, where lengths differ
    #[arg(long, value_name = "BYTES", value_delimiter = ',')]
    sizes: Vec<u16>,

    /// Only these contenders, by the names in the figures
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    only: Vec<String>,

    /// One round, and shorter turns
    #[arg(long)]
    quick: bool,
}

impl Choice {
    pub(crate) fn rounds(&self) -> u16 {
        self.rounds.unwrap_or(if self.quick { 1 } else { ROUNDS })
    }

    /// The same with so many rounds, if nobody has said how many.
    pub(crate) fn usually(&self, rounds: u16) -> Self {
        let unsaid = if self.quick { 1 } else { rounds };
        Self {
            rounds: Some(self.rounds.unwrap_or(unsaid)),
            ..self.clone()
        }
    }

    pub(crate) const fn window(&self) -> Duration {
        if self.quick { SHORT_WINDOW } else { WINDOW }
    }

    pub(crate) fn has_size(&self, len: u16) -> bool {
        self.sizes.is_empty() || self.sizes.contains(&len)
    }

    pub(crate) fn has_contender(&self, name: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|only| only == name)
    }
}
