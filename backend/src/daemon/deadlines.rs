//! When something is due though nothing is ready: one deadline each for many, the earliest at hand.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

/// At most one deadline for each key. Setting one, and finding the earliest, take logarithmic time,
/// so thousands of ports without a deadline cost nothing.
#[derive(Debug)]
pub(super) struct Deadlines<K> {
    order: BTreeSet<(Instant, K)>,
    of: BTreeMap<K, Instant>,
}

impl<K: Copy + Ord> Deadlines<K> {
    /// None yet.
    pub(super) const fn new() -> Self {
        Self {
            order: BTreeSet::new(),
            of: BTreeMap::new(),
        }
    }

    /// Replaces the deadline of `key`.
    pub(super) fn set(&mut self, key: K, at: Option<Instant>) {
        let before = match at {
            Some(at) => self.of.insert(key, at),
            None => self.of.remove(&key),
        };
        if before == at {
            return;
        }
        if let Some(before) = before {
            self.order.remove(&(before, key));
        }
        if let Some(at) = at {
            self.order.insert((at, key));
        }
    }

    /// The earliest.
    pub(super) fn first(&self) -> Option<Instant> {
        self.order.first().map(|(at, _)| *at)
    }

    /// Takes out those that have passed by `now`, earliest first. Those set again meanwhile are for
    /// the next call, however soon they are, so that they cannot keep the caller busy for ever.
    pub(super) fn take_due(&mut self, now: Instant) -> Vec<K> {
        let mut due = Vec::new();
        while let Some(&(at, key)) = self.order.first()
            && at <= now
        {
            self.order.pop_first();
            self.of.remove(&key);
            due.push(key);
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn due_ones_come_once_and_in_order() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut deadlines = Deadlines::new();
        deadlines.set('a', Some(at(30)));
        deadlines.set('b', Some(at(10)));
        deadlines.set('c', Some(at(20)));
        deadlines.set('d', Some(at(20)));
        assert_eq!(deadlines.first(), Some(at(10)));
        deadlines.set('b', Some(at(40)));
        deadlines.set('d', None);
        assert_eq!(deadlines.take_due(at(19)), []);
        assert_eq!(deadlines.take_due(at(30)), ['c', 'a']);
        assert_eq!(deadlines.take_due(at(30)), []);
        assert_eq!(deadlines.first(), Some(at(40)));
        deadlines.set('b', None);
        assert_eq!(deadlines.first(), None);
    }

    proptest! {
        #[test]
        fn it_agrees_with_a_plain_table(
            steps in prop::collection::vec((0_u8..8, prop::option::of(0_u64..50), 0_u64..50), 1..200),
        ) {
            let start = Instant::now();
            let at = |ms| start + Duration::from_millis(ms);
            let mut deadlines = Deadlines::new();
            let mut table = BTreeMap::new();
            for (key, deadline, now) in steps {
                deadlines.set(key, deadline.map(at));
                match deadline {
                    Some(deadline) => table.insert(key, deadline),
                    None => table.remove(&key),
                };
                prop_assert_eq!(deadlines.first(), table.values().min().map(|ms| at(*ms)));
                let mut due: Vec<_> = table.iter().filter(|(_, ms)| **ms <= now).map(|(k, ms)| (*ms, *k)).collect();
                due.sort_unstable();
                table.retain(|_, ms| *ms > now);
                let due: Vec<_> = due.into_iter().map(|(_, key)| key).collect();
                prop_assert_eq!(deadlines.take_due(at(now)), due);
            }
        }
    }
}
