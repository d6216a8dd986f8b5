//! Rows that several classes share: how many use each, so that one of them can get another.

/// A table of rows, and how many use each. No row is without users, so there are never more rows
/// than users.
#[derive(Clone, Debug, Default)]
pub(super) struct Users(Vec<u32>);

impl Users {
    /// Forgets all rows.
    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    /// One more uses this row, which is the next one if it is new.
    pub(super) fn add(&mut self, number: u32) {
        match self.0.get_mut(number as usize) {
            Some(users) => *users = users.saturating_add(1),
            None => self.0.push(1),
        }
    }

    /// Gives one user of the row `number` another row, and returns its number: the same if nobody else
    /// uses that. There is no search for an equal row; the next tree brings those together.
    pub(super) fn change<T: PartialEq>(&mut self, rows: &mut Vec<T>, number: u32, row: T) -> u32 {
        let at = number as usize;
        let (Some(old), Some(users)) = (rows.get_mut(at), self.0.get_mut(at)) else {
            return number;
        };
        if *old == row {
            return number;
        }
        if *users == 1 {
            *old = row;
            return number;
        }
        *users = users.saturating_sub(1);
        self.0.push(1);
        rows.push(row);
        u32::try_from(rows.len()).unwrap_or(0).wrapping_sub(1)
    }

    #[cfg(test)]
    pub(super) fn counts(&self) -> &[u32] {
        &self.0
    }
}
