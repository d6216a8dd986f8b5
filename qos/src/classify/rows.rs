//! Sets of rules as rows of bits, one row for each set of values that the same rules accept.
//!
//! The first word of a row sums the others up: its bit `n` is set if word `n` has any. There are at most
//! 64 words, so one look at the first words of all fields leaves few of the others to look at.

use std::collections::BTreeMap;

use super::field::Spans;
use super::table::MOST;

/// Rules in one word.
pub(super) const WORD: usize = 64;

/// The bit of a rule, and the word it is in.
fn place(rule: usize) -> (usize, u64) {
    let bit = u32::try_from(rule % WORD).unwrap_or(0);
    (rule / WORD, 1_u64.wrapping_shl(bit))
}

/// A set of rules under construction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct RuleSet(Vec<u64>);

impl RuleSet {
    /// No rule out of this many.
    pub(super) fn none(rules: usize) -> Self {
        Self(vec![0; rules.div_ceil(WORD)])
    }

    pub(super) fn insert(&mut self, rule: usize) {
        let (word, bit) = place(rule);
        if let Some(word) = self.0.get_mut(word) {
            *word |= bit;
        }
    }

    fn remove(&mut self, rule: usize) {
        let (word, bit) = place(rule);
        if let Some(word) = self.0.get_mut(word) {
            *word &= !bit;
        }
    }

    /// The summary, then the words.
    fn row(&self) -> Vec<u64> {
        let mut summary = Self(vec![0]);
        for (at, &word) in self.0.iter().enumerate() {
            if word != 0 {
                summary.insert(at);
            }
        }
        summary.0.iter().chain(&self.0).copied().collect()
    }
}

/// The rows of one field, each kept once.
#[derive(Debug, Default)]
struct Rows {
    bits: Vec<u64>,
    known: BTreeMap<Vec<u64>, u16>,
}

impl Rows {
    /// The number of the row of this set; `None` if there are too many.
    fn number(&mut self, set: &RuleSet) -> Option<u16> {
        let row = set.row();
        if let Some(&number) = self.known.get(&row) {
            return Some(number);
        }
        let number = u16::try_from(self.known.len()).ok();
        let number = number.filter(|&number| usize::from(number) < MOST)?;
        self.bits.extend(&row);
        self.known.insert(row, number);
        Some(number)
    }
}

/// The values of a field cut where the accepting rules change: from each start on, up to the next, the
/// row of this number says who accepts.
#[derive(Debug)]
pub(super) struct Steps(Vec<(u128, u16)>);

impl Steps {
    /// Steps and rows of a field, given what each rule accepts of it; `None` for a rule that does not
    /// ask. Row 0 is that of frames without the field. `None` if there are too many rows.
    pub(super) fn of(rules: &[Option<Spans>]) -> Option<(Self, Vec<u64>)> {
        let mut set = RuleSet::none(rules.len());
        let mut changes = Vec::new();
        for (rule, spans) in rules.iter().enumerate() {
            let Some(spans) = spans else {
                set.insert(rule);
                continue;
            };
            for &(first, last) in spans {
                changes.push((first, true, rule));
                changes.extend(last.checked_add(1).map(|after| (after, false, rule)));
            }
        }
        // At one value the ends come before the beginnings, so that spans may touch.
        changes.sort_unstable();
        let mut rows = Rows::default();
        let mut steps = vec![(0, rows.number(&set)?)];
        for group in changes.chunk_by(|(one, ..), (other, ..)| one == other) {
            for &(_, begins, rule) in group {
                if begins {
                    set.insert(rule);
                } else {
                    set.remove(rule);
                }
            }
            let row = rows.number(&set)?;
            match (group.first(), steps.last_mut()) {
                (Some((0, ..)), Some(first)) => first.1 = row,
                (_, Some(last)) if last.1 == row => {}
                (Some(&(start, ..)), _) => steps.push((start, row)),
                (None, _) => {}
            }
        }
        Some((Self(steps), rows.bits))
    }

    /// The row of all values from `first` to `last`, if it is the same one.
    pub(super) fn only_row(&self, first: u128, last: u128) -> Option<u16> {
        let after = self.0.partition_point(|&(start, _)| start <= first);
        let &(_, row) = self.0.get(after.saturating_sub(1))?;
        let next = self.0.get(after);
        next.is_none_or(|&(start, _)| start > last).then_some(row)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (u128, u16)> {
        self.0.iter().copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_begins_where_the_accepting_rules_change() {
        let rules = [
            Some(vec![(10, 19)]),
            None,
            Some(vec![(15, 15), (16, u128::MAX)]),
        ];
        let (steps, bits) = Steps::of(&rules).unwrap();
        assert_eq!(
            steps.iter().collect::<Vec<_>>(),
            [(0, 0), (10, 1), (15, 2), (20, 3)]
        );
        assert_eq!(bits, [1, 0b010, 1, 0b011, 1, 0b111, 1, 0b110]);
        assert_eq!(steps.only_row(10, 14), Some(1));
        assert_eq!(steps.only_row(10, 15), None);
        assert_eq!(steps.only_row(20, u128::MAX), Some(3));
    }

    #[test]
    fn the_first_word_tells_which_others_have_bits() {
        let mut rules = vec![Some(vec![(5, 5)]); 200];
        rules[130] = None;
        let (_, bits) = Steps::of(&rules).unwrap();
        assert_eq!(bits[..5], [0b0100, 0, 0, 1 << 2, 0]);
        assert_eq!(bits[5..], [0b1111, u64::MAX, u64::MAX, u64::MAX, 0xff]);
    }
}
