//! The wire: it takes what the engine grants, one frame at a time, and nothing while it is busy.

use super::events::{Ack, Event};
use super::scenario::Traffic;
use super::world::{Packet, World, index};
use crate::class::LeafQueue;
use crate::engine::{Grant, Hold, Wake};
use crate::time::Time;
use crate::units::Rate;
use crate::wire::FrameShape;

/// The link behind the root of the tree.
#[derive(Debug)]
pub(super) struct Wire {
    rate: Rate,
    /// Busy until then.
    free: Time,
    /// When the engine will be polled.
    poll: u64,
}

impl Wire {
    pub(super) const fn new(rate: Rate) -> Self {
        Self {
            rate,
            free: Time::ZERO,
            poll: u64::MAX,
        }
    }

    /// The engine is being polled.
    pub(super) const fn polled(&mut self) {
        self.poll = u64::MAX;
    }

    /// Is busy with these bytes from `now` on, or from when it is done with others; returns until when.
    fn occupy(&mut self, now: Time, bytes: u64) -> u64 {
        // A busy wire loses nothing to the clock's whole nanoseconds.
        let idle = now.since(self.free).as_nanos() > 0;
        let begin = if idle { now } else { self.free };
        self.free = begin.saturating_add(self.rate.inverse().cost(bytes));
        self.free.ceil_nanos()
    }
}

impl World {
    /// Sends while the wire is free and something may go.
    pub(super) fn send(&mut self) {
        let now = Time::from_nanos(self.now);
        while self.wire.free <= now {
            let grant = self.engine.peek(now);
            self.collect_dropped();
            let Some(grant) = grant else {
                return self.wait();
            };
            self.transmit(&grant);
        }
    }

    /// Nothing may go: comes back when the engine says.
    fn wait(&mut self) {
        let at = match self.engine.next_wake(Time::from_nanos(self.now)) {
            Wake::Now => self.now,
            Wake::At(at) => at.ceil_nanos(),
            Wake::Idle => return,
        };
        if at < self.wire.poll {
            self.wire.poll = at;
            self.agenda.add(at, Event::Poll);
        }
    }

    /// Puts a granted frame, or the part of it that should go now, onto the wire.
    fn transmit(&mut self, grant: &Grant) {
        let Some(&number) = self.by_key.get(&grant.leaf) else {
            return self.engine.abort(Hold::Empty);
        };
        if let Some(frame) = &grant.frame {
            self.catch_up(frame);
        }
        let held = self.leaves[number].held.front().copied();
        let Some(token) = grant.frame.map(|frame| frame.token).or(held) else {
            return self.engine.abort(Hold::Empty);
        };
        let whole = self.packets[index(token)].shape;
        let peeled = whole.peel(grant.segments(whole));
        let part = peeled.map_or(whole, |(part, _)| part);
        self.engine.commit(part);
        let cost = grant.framing.cost(part);
        let (packet, segments) = self.advance(token, part);
        let leaf = &mut self.leaves[number];
        if grant.frame.is_none() && peeled.is_none() {
            leaf.held.pop_front();
        }
        let waited = self.now - packet.since;
        leaf.meter.delay.add(waited, segments.into());
        if let Some(bin) = leaf.meter.series.get_mut(index(self.now / self.bin)) {
            *bin += cost.wire_bytes;
        }
        let flow = &self.flows[packet.flow as usize];
        let source = &mut self.sources[flow.source];
        source.delay.add(waited, segments.into());
        source.marked += u64::from(if grant.mark { segments } else { 0 });
        let left = self
            .wire
            .occupy(Time::from_nanos(self.now), cost.wire_bytes);
        self.agenda.add(left, Event::WireFree);
        self.deliver(&packet, part, segments, left, grant.mark);
        self.refill(packet.flow, number);
    }

    fn deliver(&mut self, packet: &Packet, part: FrameShape, count: u32, left: u64, marked: bool) {
        let flow = &self.flows[packet.flow as usize];
        let Traffic::Tcp(tcp) = flow.traffic else {
            self.sources[flow.source].arrived += u64::from(part.len);
            return;
        };
        let ack = Ack {
            flow: packet.flow,
            burst: packet.burst.number,
            first: packet.burst.first,
            count,
            marked,
        };
        self.agenda.add(left + tcp.rtt_nanos, Event::Ack(ack));
    }

    /// Something of a flow has gone: whoever waited for room in its leaf goes on.
    fn refill(&mut self, flow: u32, leaf: usize) {
        if self.leaves[leaf].queue == LeafQueue::Hold {
            self.pump(flow);
        }
        let floods = &mut self.leaves[leaf].floods;
        if let Some(&first) = floods.first() {
            // Another one comes first next time.
            floods.rotate_left(1);
            self.flood(first);
        }
        for at in 1..self.leaves[leaf].floods.len() {
            let flood = self.leaves[leaf].floods[at - 1];
            self.flood(flood);
        }
    }
}
