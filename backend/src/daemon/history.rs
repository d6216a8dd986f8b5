//! What the last changes of the configuration were, so that whoever was slower can be told.

use std::collections::VecDeque;

use crate::control::{Conflict, Difference};

/// Changes that are remembered at most.
const MOST_CHANGES: usize = 64;
/// And differences of all of them together.
const MOST_DIFFERENCES: usize = 4096;

/// The last changes, the newest last.
#[derive(Debug, Default)]
pub(super) struct History {
    changes: VecDeque<(u64, Vec<Difference>)>,
    differences: usize,
}

impl History {
    /// Remembers how this generation came about.
    pub(super) fn push(&mut self, generation: u64, differences: &[Difference]) {
        self.differences += differences.len();
        self.changes.push_back((generation, differences.to_vec()));
        while self.changes.len() > MOST_CHANGES || self.differences > MOST_DIFFERENCES {
            let Some((_, oldest)) = self.changes.pop_front() else {
                return;
            };
            self.differences -= oldest.len();
        }
    }

    /// What has changed since `generation`, when another one runs; without the changes if one of them is
    /// forgotten, or there never was such a generation.
    pub(super) fn since(&self, generation: u64, running: u64) -> Conflict {
        let next = generation.checked_add(1);
        let known = self.changes.iter().any(|(number, _)| Some(*number) == next);
        let newer = self
            .changes
            .iter()
            .filter(|(number, _)| *number > generation);
        let differences = newer.flat_map(|(_, differences)| differences.iter().cloned());
        Conflict {
            generation: running,
            differences: (known && generation < running).then(|| differences.collect()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn added(guest: &str) -> Difference {
        Difference::Added {
            guest: guest.to_owned(),
        }
    }

    #[test]
    fn all_changes_since_are_told() {
        let mut history = History::default();
        for (generation, guest) in [(2, "a"), (3, "b"), (4, "c")] {
            history.push(generation, &[added(guest)]);
        }
        let conflict = history.since(2, 4);
        assert_eq!(conflict.generation, 4);
        assert_eq!(conflict.differences, Some(vec![added("b"), added("c")]));
    }

    #[test]
    fn what_is_forgotten_or_never_was_is_not_made_up() {
        let mut history = History::default();
        assert_eq!(history.since(7, 1).differences, None);
        for generation in 2..100 {
            history.push(generation, &[added("a")]);
        }
        assert_eq!(history.changes.len(), MOST_CHANGES);
        assert_eq!(history.since(3, 99).differences, None);
        assert_eq!(history.since(98, 99).differences, Some(vec![added("a")]));
        assert_eq!(history.since(100, 99).differences, None);
    }

    #[test]
    fn a_large_change_pushes_others_out_and_stays_within_the_bound() {
        let mut history = History::default();
        history.push(2, &[added("a")]);
        history.push(3, &vec![added("b"); MOST_DIFFERENCES]);
        assert_eq!(history.differences, MOST_DIFFERENCES);
        assert_eq!(history.since(1, 3).differences, None);
        history.push(4, &vec![added("c"); MOST_DIFFERENCES + 1]);
        assert_eq!((history.changes.len(), history.differences), (0, 0));
    }
}
