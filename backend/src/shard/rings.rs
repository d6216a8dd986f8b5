//! A guest's rings, for people who look for what is stuck, and a push for those that are.

use virtio_bindings::virtio_ring::VIRTIO_RING_F_EVENT_IDX;

use super::offload::has;
use super::port::Port;
use super::slot::Slot;
use crate::control::RingReport;

impl Port {
    /// Where every ring stands, in the order of their numbers.
    pub(super) fn ring_reports(&self) -> Vec<RingReport> {
        let event_idx = has(self.features, VIRTIO_RING_F_EVENT_IDX);
        let slots = self.pairs.iter();
        let slots = slots.flat_map(|pair| [&pair.receive, &pair.transmit]);
        (0..)
            .zip(slots)
            .map(|(ring, slot)| report(ring, slot, event_idx))
            .collect()
    }

    /// Calls the guest for every ring that runs.
    pub(super) fn call_all(&mut self) {
        for pair in &mut self.pairs {
            let counters = &mut self.counters;
            for (slot, direction) in [
                (&mut pair.receive, &mut counters.to_guest),
                (&mut pair.transmit, &mut counters.from_guest),
            ] {
                let called = slot.active().is_some_and(|running| running.call());
                direction.calls += u64::from(called);
            }
        }
    }
}

fn report(ring: u32, slot: &Slot, event_idx: bool) -> RingReport {
    let (state, size, at) = slot.look();
    RingReport {
        ring,
        state: state.to_owned(),
        size,
        avail: at.avail,
        used: at.used,
        next: at.next,
        waiting: at.waiting,
        event_idx: event_idx && size != 0,
        used_event: at.used_event,
        avail_event: at.avail_event,
        no_interrupt: at.no_interrupt,
        no_notify: at.no_notify,
    }
}
