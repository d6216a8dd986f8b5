//! A handful of children: compared one by one.

use prefetch_index::prefetch_index;

use super::clock::{Clock, Mark, ahead};
use super::{Share, bits};

/// A child's place in virtual time, in one tier.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Tag {
    pub(super) start: Mark,
    finish: u64,
}

impl Tag {
    /// Its next quantum starts where its mark is.
    pub(super) const fn begin(&mut self, share: &Share) {
        self.finish = self.start.at.wrapping_add(share.span);
    }
}

/// A child's number, and its tags of the green tier and of its priority's.
#[derive(Clone, Copy, Debug)]
struct Child {
    tags: [Tag; 2],
    number: u32,
}

/// The children.
#[derive(Debug)]
pub(super) struct Few(Box<[Child]>);

impl Few {
    pub(super) fn new(children: &[u32]) -> Self {
        let child = |&number| Child {
            tags: Default::default(),
            number,
        };
        Self(children.iter().map(child).collect())
    }

    #[inline]
    pub(super) fn tag_mut(&mut self, position: u32, kind: usize) -> &mut Tag {
        &mut self.0[position as usize].tags[kind]
    }

    /// Fetches the first children.
    #[inline]
    pub(super) fn prefetch(&self) {
        prefetch_index(&self.0, 0);
    }

    /// The eligible child that finishes first; if none is eligible, time jumps.
    pub(super) fn pick(&self, waiting: u64, kind: usize, clock: &mut Clock) -> Option<u32> {
        let start = |position: u32| self.0[position as usize].tags[kind].start.at;
        let position = if waiting.is_power_of_two() {
            let position = waiting.trailing_zeros();
            clock.reach(start(position));
            position
        } else {
            self.best(waiting, kind, clock.now).or_else(|| {
                let lead = |position| ahead(clock.now, start(position));
                let first = bits(waiting).min_by_key(|&position| lead(position))?;
                clock.reach(start(first));
                self.best(waiting, kind, clock.now)
            })?
        };
        Some(self.0[position as usize].number)
    }

    /// The first to finish of those that may start; the first of equals.
    fn best(&self, mut waiting: u64, kind: usize, now: u64) -> Option<u32> {
        let mut best = None;
        let mut least = i64::MAX;
        while waiting != 0 {
            let position = waiting.trailing_zeros();
            waiting &= waiting - 1;
            let tag = &self.0[position as usize].tags[kind];
            let finish = ahead(now, tag.finish);
            if ahead(now, tag.start.at) <= 0 && finish < least {
                (best, least) = (Some(position), finish);
            }
        }
        best
    }
}
