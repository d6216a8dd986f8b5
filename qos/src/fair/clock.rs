//! Virtual time: 96 bits, of which 64 are compared where all is near, so that it never ends.

/// The virtual time of one tier. At weight 1 alone it lasts 2^60 bytes, and then starts again.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Clock {
    pub(super) now: u64,
    laps: u32,
}

/// A point in the virtual time of one tier.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Mark {
    pub(super) at: u64,
    laps: u32,
}

/// How far `to` lies after `from`; negative if before. Both lie within 2^63 of each other.
#[inline]
pub(super) const fn ahead(from: u64, to: u64) -> i64 {
    to.wrapping_sub(from).cast_signed()
}

impl Clock {
    /// Goes on by `step`.
    #[inline]
    pub(super) fn advance(&mut self, step: u64) {
        let (now, lap) = self.now.overflowing_add(step);
        self.now = now;
        self.laps = self.laps.wrapping_add(lap.into());
    }

    /// Goes on to a time that is near, if it has not come yet.
    #[inline]
    pub(super) fn reach(&mut self, time: u64) {
        let step = ahead(self.now, time);
        if step > 0 {
            self.advance(step.cast_unsigned());
        }
    }

    /// Completes the mark of whoever stops waiting, near now: it may be far when it is used again.
    #[inline]
    pub(super) fn stamp(&self, mark: &mut Mark) {
        let lap = if ahead(self.now, mark.at) >= 0 {
            u32::from(mark.at < self.now)
        } else {
            0_u32.wrapping_sub(u32::from(mark.at > self.now))
        };
        mark.laps = self.laps.wrapping_add(lap);
    }

    /// Moves a mark that was stamped to now, unless it still lies ahead. After a whole round of the
    /// laps an old mark may look as if it did; with one chance in 2^32, and then it is near.
    #[inline]
    pub(super) fn catch_up(&self, mark: &mut Mark) {
        let laps = mark.laps.wrapping_sub(self.laps);
        let still = laps == 1 || laps == 0 && mark.at > self.now;
        if !still {
            *mark = Mark {
                at: self.now,
                laps: self.laps,
            };
        }
    }
}

impl Mark {
    /// A mark at the beginning of time, or ahead of a clock that stands there.
    pub(super) const fn start(at: u64) -> Self {
        Self { at, laps: 0 }
    }

    /// Moves a mark that was stamped.
    pub(super) const fn advance(&mut self, step: u64) {
        let (at, lap) = self.at.overflowing_add(step);
        self.at = at;
        self.laps = self.laps.wrapping_add(lap as u32);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_keep_their_lead_over_a_lap_and_lose_it_with_time() {
        for now in [0, 5, u64::MAX - 3, u64::MAX] {
            for lead in [-7_i64, -1, 0, 1, 9, 1 << 60] {
                let clock = Clock { now, laps: 7 };
                let mut mark = Mark {
                    at: now.wrapping_add_signed(lead),
                    laps: 0,
                };
                clock.stamp(&mut mark);
                for passed in [0, 1, 8, 1 << 59, 1 << 62, u64::MAX] {
                    let mut later = clock;
                    later.advance(passed);
                    let mut mark = mark;
                    later.catch_up(&mut mark);
                    let left = (i128::from(lead) - i128::from(passed)).max(0);
                    assert_eq!(
                        i128::from(ahead(later.now, mark.at)),
                        left,
                        "{now} {lead} {passed}"
                    );
                }
            }
        }
    }

    #[test]
    fn reaching_never_goes_back() {
        let mut clock = Clock {
            now: u64::MAX - 1,
            laps: 0,
        };
        clock.reach(3);
        assert_eq!((clock.now, clock.laps), (3, 1));
        clock.reach(u64::MAX);
        assert_eq!((clock.now, clock.laps), (3, 1));
    }
}
