//! Finds the rules that match a frame, whatever their number: bit vectors per field (Lakshman and
//! Stiliadis, SIGCOMM 1998) with one summary word each (Baboescu and Varghese, SIGCOMM 2001).
//!
//! A field that no rule asks for takes no time and no space. A table has at most `2 n + 2` rows of
//! `n / 64 + 2` words for `n` rules, and three pages of 512 bytes for each end of a range: 17 MB for
//! 4096 rules that all differ in one field. All tables of a classifier together are held to
//! [`MAX_TABLE_BYTES`].

use super::error::ClassifierError;
use super::field::{Field, Spans, one};
use super::headers::Headers;
use super::rows::{Steps, WORD};
use super::rule::Rule;
use super::table::{Narrow, Wide};
use crate::class::ClassId;

/// Rules of one class at most, so that one word sums up which words of a row have bits.
pub const MAX_RULES: usize = WORD * WORD;
/// Different masks on the mark that the rules of one class may use; each is a field of its own.
pub const MAX_MARK_MASKS: usize = 8;
/// Bytes that the tables of a classifier take at most.
pub const MAX_TABLE_BYTES: usize = 64 << 20;
/// Fields of one class at most: IPv6 addresses count by themselves.
const MAX_COLUMNS: usize = Field::ALL.len() + MAX_MARK_MASKS;

#[derive(Clone, Debug)]
enum Table {
    Narrow(Field, Narrow),
    Wide(Field, Wide),
    Mark(u32, Narrow),
}

/// A field that rules ask for.
#[derive(Clone, Debug)]
struct Column {
    table: Table,
    /// Where its rows begin.
    base: usize,
}

/// The rules of one class, ready to be searched.
#[derive(Clone, Debug)]
pub(super) struct Index {
    rules: usize,
    /// Words of a row, the summary included.
    stride: usize,
    /// One bit for each word that has rules.
    words: u64,
    /// The rows of all columns.
    bits: Vec<u64>,
    /// Those that look at the mark come last.
    columns: Vec<Column>,
    marks: usize,
}

/// The search for the rules of one frame: the row of each column, and which words may have bits.
#[derive(Debug)]
pub(super) struct Search {
    rows: [usize; MAX_COLUMNS],
    live: u64,
}

impl Index {
    /// Compiles the rules of `class`. `bytes` is what the tables so far take, and grows.
    pub(super) fn new(
        class: ClassId,
        rules: &[Rule],
        bytes: &mut usize,
    ) -> Result<Self, ClassifierError> {
        let words = rules.len().div_ceil(WORD);
        let beyond = WORD.saturating_sub(words);
        let mut index = Self {
            rules: rules.len(),
            stride: words.saturating_add(1),
            words: u64::MAX
                .checked_shr(u32::try_from(beyond).unwrap_or(0))
                .unwrap_or(0),
            bits: Vec::new(),
            columns: Vec::new(),
            marks: 0,
        };
        for field in Field::ALL {
            let spans = |rule: &Rule| field.spans(&rule.matches);
            let spans: Vec<_> = rules.iter().map(spans).collect();
            index.column(class, &spans, bytes, |steps| {
                Some(if field.is_wide() {
                    Table::Wide(field, Wide::new(steps))
                } else {
                    Table::Narrow(field, Narrow::new(steps)?)
                })
            })?;
        }
        index.marks = index.columns.len();
        for mask in masks(class, rules)? {
            let spans = |rule: &Rule| {
                let mark = rule.matches.mark.filter(|mark| mark.mask() == mask)?;
                Some(one(mark.value(), 0))
            };
            let spans: Vec<_> = rules.iter().map(spans).collect();
            index.column(class, &spans, bytes, |steps| {
                Some(Table::Mark(mask, Narrow::new(steps)?))
            })?;
        }
        Ok(index)
    }

    /// Adds a column, if any rule asks for it.
    fn column(
        &mut self,
        class: ClassId,
        spans: &[Option<Spans>],
        bytes: &mut usize,
        table: impl FnOnce(&Steps) -> Option<Table>,
    ) -> Result<(), ClassifierError> {
        if spans.iter().all(Option::is_none) {
            return Ok(());
        }
        let built = Steps::of(spans).and_then(|(steps, rows)| Some((table(&steps)?, rows)));
        let (table, rows) = built.ok_or(ClassifierError::TooLarge { class })?;
        let pages = match &table {
            Table::Narrow(_, table) | Table::Mark(_, table) => table.bytes(),
            Table::Wide(_, table) => table.bytes(),
        };
        *bytes = bytes
            .saturating_add(pages)
            .saturating_add(rows.len().saturating_mul(8));
        if *bytes > MAX_TABLE_BYTES {
            return Err(ClassifierError::TooLarge { class });
        }
        let base = self.bits.len();
        self.bits.extend(rows);
        self.columns.push(Column { table, base });
        Ok(())
    }

    /// Begins a search for a frame.
    #[inline]
    pub(super) fn search(&self, headers: &Headers, mark: u32) -> Search {
        let mut search = Search {
            rows: [0; MAX_COLUMNS],
            live: self.words,
        };
        for (place, column) in search.rows.iter_mut().zip(&self.columns) {
            let row = match &column.table {
                Table::Narrow(field, table) => {
                    let value = field.value(headers);
                    let row = table.row(value.unwrap_or(0), field.octets());
                    if value.is_some() { row } else { 0 }
                }
                Table::Wide(field, table) => field.wide_value(headers).map_or(0, |v| table.row(v)),
                Table::Mark(mask, table) => table.row(mark & mask, 4),
            };
            *place = self.row(column, row);
            search.live &= self.word(*place, 0);
            if search.live == 0 {
                break;
            }
        }
        search
    }

    /// Goes on with another mark. Only after a rule was found, so that every column has its row.
    #[inline]
    pub(super) fn remark(&self, search: &mut Search, mark: u32) {
        search.live = self.words;
        for (at, (place, column)) in search.rows.iter_mut().zip(&self.columns).enumerate() {
            if at >= self.marks
                && let Table::Mark(mask, table) = &column.table
            {
                *place = self.row(column, table.row(mark & mask, 4));
            }
            search.live &= self.word(*place, 0);
        }
    }

    /// The first rule that matches, from this one on; both count from 0.
    #[inline]
    pub(super) fn next(&self, search: &Search, from: usize) -> Option<usize> {
        if from >= self.rules {
            return None;
        }
        let first = u32::try_from(from / WORD).ok()?;
        let begun = u64::MAX.wrapping_shl(u32::try_from(from % WORD).ok()?);
        let mut live = search.live & u64::MAX.wrapping_shl(first);
        let rows = search.rows.get(..self.columns.len())?;
        while live != 0 {
            let word = live.trailing_zeros();
            let mut bits = if word == first { begun } else { u64::MAX };
            let at = usize::try_from(word).ok()?;
            for &row in rows {
                bits &= self.word(row, at.saturating_add(1));
            }
            if bits != 0 {
                let bit = usize::try_from(bits.trailing_zeros()).ok()?;
                let rule = at.saturating_mul(WORD).saturating_add(bit);
                return (rule < self.rules).then_some(rule);
            }
            live &= live.wrapping_sub(1);
        }
        None
    }

    /// Where a row of a column begins.
    #[inline]
    fn row(&self, column: &Column, number: u16) -> usize {
        // Cannot pass the length of `bits`, which was added up from the same numbers.
        column
            .base
            .wrapping_add(self.stride.wrapping_mul(number.into()))
    }

    #[inline]
    fn word(&self, row: usize, at: usize) -> u64 {
        self.bits.get(row.wrapping_add(at)).copied().unwrap_or(0)
    }
}

/// The different masks on the mark.
fn masks(class: ClassId, rules: &[Rule]) -> Result<Vec<u32>, ClassifierError> {
    let mut masks = Vec::new();
    for (at, rule) in rules.iter().enumerate() {
        let Some(mark) = rule.matches.mark else {
            continue;
        };
        if !masks.contains(&mark.mask()) {
            if masks.len() == MAX_MARK_MASKS {
                let rule = at.saturating_add(1);
                return Err(ClassifierError::TooManyMasks { class, rule });
            }
            masks.push(mark.mask());
        }
    }
    Ok(masks)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::classify::{Match, Range};

    const CLASS: ClassId = ClassId::new(1, 0);

    #[test]
    fn tables_beyond_the_limit_are_refused() {
        // Two rows of two words and one page of 512 bytes.
        let rules = [Rule::new(Match::all().fragment(true))];
        let mut bytes = MAX_TABLE_BYTES - 544;
        assert!(Index::new(CLASS, &rules, &mut bytes).is_ok());
        assert_eq!(bytes, MAX_TABLE_BYTES);
        let mut bytes = MAX_TABLE_BYTES - 543;
        let said = Index::new(CLASS, &rules, &mut bytes)
            .unwrap_err()
            .to_string();
        assert!(said.starts_with("class 1:0 takes the tables of all rules beyond 64 MiB"));
    }

    #[test]
    fn the_worst_field_stays_below_its_bound() {
        let far = |at: u32| (at * 0x0007_1234, u32::MAX - at * 0x0007_4321);
        let rule = |at| {
            let (first, last) = far(at);
            Rule::new(Match::all().length(Range::new(first, last).unwrap()))
        };
        let rules: Vec<_> = (0..4096).map(rule).collect();
        let mut bytes = 0;
        Index::new(CLASS, &rules, &mut bytes).unwrap();
        assert!((10 << 20..17_000_000).contains(&bytes), "{bytes}");
    }

    #[test]
    fn what_no_rule_asks_for_takes_no_table() {
        let rules = vec![Rule::default(); 100];
        let mut bytes = 0;
        let index = Index::new(CLASS, &rules, &mut bytes).unwrap();
        assert_eq!(bytes, 0);
        let search = index.search(&Headers::default(), 0);
        let all = std::iter::successors(index.next(&search, 0), |at| index.next(&search, at + 1));
        assert!(all.eq(0..100));
    }
}
