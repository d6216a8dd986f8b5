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

    #[inline]
    pub(super) fn row(&self, mut value: u32) -> u16 {
        let mut page = 0;
        // The fourth octet at the latest names a row.
        for _ in 0..4 {
            let [octet, ..] = value.to_be_bytes();
            let entry = self.pages.get(usize::from(page));
            let entry = entry.and_then(|page| page.get(usize::from(octet)));
            let entry = entry.copied().unwrap_or(ROW);
            if entry & ROW != 0 {
                return entry & !ROW;
            }
            page = entry;
            value <<= 8;
        }
        0
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
