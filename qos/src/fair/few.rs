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

    #[inline]
    pub(super) fn tags_mut(&mut self, position: u32) -> &mut [Tag; 2] {
        &mut self.0[position as usize].tags
    }

    /// Fetches the first children.
    #[inline]
    pub(super) fn prefetch(&self) {
        prefetch_index(&self.0, 0);
    }

    /// The eligible child that finishes first, the first of equals; if none is eligible, time jumps.
    #[inline]
    pub(super) fn pick(&self, waiting: u64, kind: usize, clock: &mut Clock) -> Option<u32> {
        let mut best = None;
        // All that may start are alike in that; of others those that start first will be eligible.
        let (mut soonest, mut least) = (i64::MAX, i64::MAX);
        for position in bits(waiting) {
            let child = &self.0[position as usize];
            let tag = &child.tags[kind];
            let start = ahead(clock.now, tag.start.at).max(0);
            let finish = ahead(clock.now, tag.finish);
            if start < soonest || start == soonest && finish < least {
                (soonest, least) = (start, finish);
                best = Some(child.number);
            }
        }
        if best.is_some() && soonest > 0 {
            clock.advance(soonest.cast_unsigned());
        }
        best
    }
}
