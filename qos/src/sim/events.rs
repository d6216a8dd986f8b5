//! What is to happen when: a heap ordered by time and, within one instant, by who was first to ask.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// Something that happens at an instant. Flows are named by their number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Event {
    /// A flow begins.
    Start(u32),
    /// A flow's next frame is due.
    Tick(u32),
    /// A sender hears that segments have arrived.
    Ack(Ack),
    /// A sender's retransmission timer may have run out.
    Timeout(u32),
    /// The wire has carried what it was given.
    WireFree,
    /// The engine asked to be polled.
    Poll,
    /// Counting begins.
    Measure,
}

/// Segments of one burst that arrived together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Ack {
    pub(super) flow: u32,
    /// The burst's number among all that its sender sent.
    pub(super) burst: u64,
    /// The first segment.
    pub(super) first: u64,
    pub(super) count: u32,
    /// Congestion was experienced on the way.
    pub(super) marked: bool,
}

/// The events to come.
#[derive(Debug, Default)]
pub(super) struct Agenda {
    heap: BinaryHeap<Reverse<(u64, u64, Event)>>,
    asked: u64,
}

impl Agenda {
    /// Has `event` happen at `at`, in nanoseconds.
    pub(super) fn add(&mut self, at: u64, event: Event) {
        self.heap.push(Reverse((at, self.asked, event)));
        self.asked += 1;
    }

    /// The next event not after `end`.
    pub(super) fn next(&mut self, end: u64) -> Option<(u64, Event)> {
        let &Reverse((at, _, event)) = self.heap.peek()?;
        (at <= end).then(|| self.heap.pop())?;
        Some((at, event))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_come_by_time_and_equal_times_by_who_asked_first() {
        let mut agenda = Agenda::default();
        agenda.add(7, Event::Tick(9));
        agenda.add(5, Event::Poll);
        agenda.add(7, Event::Tick(1));
        agenda.add(8, Event::WireFree);
        let order: Vec<_> = std::iter::from_fn(|| agenda.next(7)).collect();
        assert_eq!(
            order,
            [(5, Event::Poll), (7, Event::Tick(9)), (7, Event::Tick(1))]
        );
        assert_eq!(agenda.next(8), Some((8, Event::WireFree)));
    }
}
