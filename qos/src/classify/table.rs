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
