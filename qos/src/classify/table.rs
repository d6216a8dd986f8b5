//! From the value of a field to the number of the row that says which rules accept it.

use super::rows::Steps;

/// Marks what is a row number and not a page number.
const ROW: u16 = 1 << 15;
/// More pages or rows than these cannot be numbered.
pub(super) const MOST: usize = 1 << 15;

/// Values of 32 bits, looked up octet by octet: at most four steps, and one or two where a field has
/// eight or sixteen bits.
#[derive(Clone, Debug)]
pub(super) struct Narrow {
    pages: Vec<[u16; 256]>,
}

impl Narrow {
    /// `None` if it would take too many pages.
    pub(super) fn new(steps: &Steps) -> Option<Self> {
        let mut table = Self { pages: Vec::new() };
        table.page(steps, 0, 24)?;
        Some(table)
    }

    /// Adds the page of the values from `base` on, whose next octet is `shift` bits up.
    fn page(&mut self, steps: &Steps, base: u128, shift: u32) -> Option<u16> {
        let number = self.pages.len();
        let name = u16::try_from(number).ok().filter(|&name| name < ROW)?;
        self.pages.push([0; 256]);
        let width = 1_u128.wrapping_shl(shift);
        let mut first = base;
        for octet in 0..256 {
            let last = first.saturating_add(width).saturating_sub(1);
            let entry = match steps.only_row(first, last) {
                Some(row) => row | ROW,
                None => self.page(steps, first, shift.saturating_sub(8))?,
            };
            *self.pages.get_mut(number)?.get_mut(octet)? = entry;
            first = first.saturating_add(width);
        }
        Some(name)
    }

    /// The row of a value whose field has this many octets.
    ///
    /// No branch depends on the value: which way it goes differs from frame to frame, and a wrong guess
    /// costs more than the steps it would spare.
    #[inline]
    pub(super) fn row(&self, mut value: u32, octets: u32) -> u16 {
        let mut entry = 0;
        for _ in 0..octets {
            let [octet, ..] = value.to_be_bytes();
            let found = entry & ROW != 0;
            let page = if found { 0 } else { usize::from(entry) };
            let page = self.pages.get(page);
            let below = page.map_or(ROW, |page| {
                page.get(usize::from(octet)).copied().unwrap_or(ROW)
            });
            entry = if found { entry } else { below };
            value <<= 8;
        }
        entry & !ROW
    }

    pub(super) const fn bytes(&self) -> usize {
        self.pages.len().saturating_mul(512)
    }
}

/// Values of 128 bits, searched among the sorted beginnings of intervals.
#[derive(Clone, Debug)]
pub(super) struct Wide {
    starts: Box<[u128]>,
    rows: Box<[u16]>,
}

impl Wide {
    pub(super) fn new(steps: &Steps) -> Self {
        let (starts, rows): (Vec<_>, Vec<_>) = steps.iter().unzip();
        Self {
            starts: starts.into(),
            rows: rows.into(),
        }
    }

    #[inline]
    pub(super) fn row(&self, value: u128) -> u16 {
        let after = self.starts.partition_point(|&start| start <= value);
        let row = self.rows.get(after.saturating_sub(1));
        row.copied().unwrap_or(0)
    }

    pub(super) const fn bytes(&self) -> usize {
        self.starts.len().saturating_mul(18)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Spans of six rules, and every value at which something may change.
    fn spans_and_edges(seed: &mut u64, most: u128) -> (Vec<(u128, u128)>, Vec<u128>) {
        let mut random = || {
            *seed = seed.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
            let wide = u128::from(*seed) << 64 | u128::from(seed.rotate_left(23));
            // As often small differences as large ones.
            wide.checked_shr(u32::try_from(*seed >> 40).unwrap() % 128)
                .unwrap()
                & most
        };
        let pairs: Vec<_> = (0..6).map(|_| (random(), random())).collect();
        let spans: Vec<_> = pairs.iter().map(|&(a, b)| (a.min(b), a.max(b))).collect();
        let near = |at: u128| [at.saturating_sub(1), at, at.saturating_add(1).min(most)];
        let ends = spans.iter().flat_map(|&(first, last)| [first, last]);
        let edges = ends.chain([0, most]).flat_map(near).collect();
        (spans, edges)
    }

    #[test]
    fn every_value_finds_the_rules_whose_spans_hold_it() {
        let mut seed = 1;
        for most in [u128::from(u32::MAX), u128::MAX] {
            for _ in 0..300 {
                let (spans, edges) = spans_and_edges(&mut seed, most);
                let rules: Vec<_> = spans.iter().map(|&span| Some(vec![span])).collect();
                let (steps, bits) = Steps::of(&rules).unwrap();
                let (narrow, wide) = (Narrow::new(&steps).unwrap(), Wide::new(&steps));
                for value in edges {
                    let row = match u32::try_from(value) {
                        Ok(value) if most < u128::MAX => narrow.row(value, 4),
                        _ => wide.row(value),
                    };
                    let holds = |at: usize| spans[at].0 <= value && value <= spans[at].1;
                    let want = (0..6)
                        .filter(|&at| holds(at))
                        .map(|at| 1 << at)
                        .sum::<u64>();
                    assert_eq!(bits[usize::from(row) * 2 + 1], want, "{spans:?} {value}");
                }
            }
        }
    }
}
