//! How the width of the screen is shared.

/// Which columns there are, and how wide.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Columns {
    pub(super) name: usize,
    pub(super) limit: bool,
    pub(super) bar: usize,
    pub(super) share: bool,
}

impl Columns {
    /// The columns of a screen so wide.
    pub(super) fn new(width: u16) -> Self {
        let width = usize::from(width);
        let mut columns = Self {
            name: 14,
            limit: width >= 94,
            bar: if width >= 70 { 8 } else { 0 },
            share: width >= 80,
        };
        let mut room = width.saturating_sub(columns.width());
        let longer = room.min(10);
        columns.name += longer;
        room -= longer;
        if columns.bar > 0 {
            let wider = (room / 2).min(16);
            columns.bar += wider;
            room -= 2 * wider;
        }
        columns.name += room.min(30);
        columns
    }

    const fn width(self) -> usize {
        self.name + 2 * self.one_way()
    }

    /// The width of one direction, with the space before it.
    pub(super) const fn one_way(self) -> usize {
        let limit = if self.limit { 7 } else { 0 };
        let bar = if self.bar > 0 { self.bar + 1 } else { 0 };
        let share = if self.share { 5 } else { 0 };
        7 + limit + bar + share + 6 + 6
    }
}
