//! From the uplink to the guest's receive rings.
//!
//! A limited guest has a queue of ours, a few milliseconds deep at its rate, which is filled
//! eagerly: the kernel's own queue would be a thousand frames of latency. Without a limit frames
//! pass one by one and wait in the kernel while the guest has no buffers.

use std::os::fd::AsFd;

use qos::{Cost, Demand, FrameShape, Framing, LimiterConfig};
use ring::{FrameFault, GatherOutcome, HEADER_LEN, inspect_from_host};
use rustix::io::Errno;

use super::backlog::MAX_UNIT;
use super::counters::DropReason;
use super::port::{Now, Port};
use super::{Progress, VISIT_BYTES, VISIT_FRAMES};
use crate::poller::{Interest, Poller};

/// Frames between two publications.
const BATCH: usize = 32;

/// How long frames wait for a guest that posts no buffers before they are dropped, in nanoseconds.
const STALL: u64 = 1_000_000_000;

/// The longest queue to a guest, in bytes: memory is bounded however high the limit. Up to
/// 17 Gbit/s it is not what bounds the queue.
const MAX_QUEUE: u64 = 32 << 20;

/// The queue to a guest, in bytes: one unit without a limit.
pub(super) fn queue_cap(limit: &LimiterConfig) -> usize {
    let unit = MAX_UNIT as u64;
    let cap = match limit.rate {
        Some(rate) => qos::queue_cap_bytes(rate, unit).min(MAX_QUEUE),
        None if limit.pps.is_some() => 2 * unit,
        None => 1,
    };
    usize::try_from(cap).unwrap_or(usize::MAX)
}

/// Why a pair's turn ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stop {
    /// The uplink has nothing more.
    Dry,
    /// The batch is full.
    Batch,
    /// The limiter makes the queue wait.
    Throttled,
    /// The guest has no buffers for the next frame.
    Blocked,
}

impl Port {
    /// One visit to the uplink's queues, in turn, within the budget.
    pub(super) fn serve_to_guest(&mut self, now: &mut Now, poller: &Poller) -> Progress {
        let mut progress = Progress::Idle;
        let (mut frames, mut bytes) = (0, 0);
        for _ in 0..self.pairs.len() {
            let pair = self.next_receive;
            self.next_receive = (pair + 1) % self.pairs.len();
            loop {
                if frames >= VISIT_FRAMES || bytes >= VISIT_BYTES {
                    return Progress::More;
                }
                let before = self.counters.to_guest.sent.bytes;
                let stop = self.receive_turn(pair, now, poller);
                frames += BATCH;
                bytes += self.counters.to_guest.sent.bytes - before;
                if stop != Stop::Batch {
                    progress = progress.sooner(self.after_turn(pair, stop, *now, poller));
                    break;
                }
                *now = Now::read();
            }
        }
        progress
    }

    /// One batch: reads and delivers alternately, so that a frame is copied while it is warm.
    fn receive_turn(&mut self, pair: usize, now: &Now, poller: &Poller) -> Stop {
        if !self.pairs[pair].receive.is_active() {
            return self.nobody_listens(pair);
        }
        let mut stop = Stop::Batch;
        for _ in 0..BATCH {
            let delivered = self.deliver(pair, now, poller);
            let may_read = match delivered {
                Stop::Dry => true,
                // With a limit the uplink is read on, into the queue; without one it is left alone.
                _ => self.shaped_to_guest,
            };
            if self.draining || !may_read {
                stop = delivered;
                break;
            }
            if !self.fetch(pair, now) {
                stop = delivered;
                break;
            }
        }
        if let Some(running) = self.pairs[pair].receive.active()
            && running.publish()
        {
            self.counters.to_guest.calls += 1;
        }
        stop
    }

    /// Moves queued frames into the guest's ring, as many as limiter and buffers allow.
    fn deliver(&mut self, pair: usize, now: &Now, poller: &Poller) -> Stop {
        let Some(slot) = self.pairs.get_mut(pair) else {
            return Stop::Dry;
        };
        loop {
            let Some((header, payload, cost)) = slot.backlog.front() else {
                return Stop::Dry;
            };
            if !self.to_guest.ready(now.time()) {
                return Stop::Throttled;
            }
            let Some(running) = slot.receive.active() else {
                return Stop::Dry;
            };
            let need = HEADER_LEN + payload.len();
            match running
                .ring
                .gather(need, running.mergeable, &mut self.gather)
            {
                Ok(GatherOutcome::Ready) => {
                    running.ring.fill(&mut self.gather, header, &[payload]);
                    self.to_guest.commit(now.time(), cost, slot.demand);
                    let len = u32::try_from(payload.len()).unwrap_or(u32::MAX);
                    self.counters.to_guest.sent.add(len, cost);
                    slot.blocked_since = None;
                    slot.stalled = false;
                }
                Ok(GatherOutcome::TooSmall) => {
                    self.counters
                        .to_guest
                        .drops
                        .add(DropReason::BufferTooSmall, 1);
                }
                Ok(GatherOutcome::TooFew) if slot.stalled => {
                    self.counters.to_guest.drops.add(DropReason::Stalled, 1);
                }
                Ok(GatherOutcome::TooFew) => return Stop::Blocked,
                Err(fault) => {
                    self.break_ring(2 * pair, &fault, poller);
                    return Stop::Dry;
                }
            }
            slot.backlog.pop();
        }
    }

    /// Bytes that a frame read for `pair` would wait for besides those of its own queue: what was
    /// delivered ahead of the rate, and the queues of the other pairs, which share the limit.
    fn bytes_ahead(&self, pair: usize, now: Now) -> usize {
        let Some(rate) = self.rate_to_guest else {
            return 0;
        };
        let wake = self.to_guest.next_wake(now.time());
        let wait = wake.map_or(0, |at| at.ceil_nanos().saturating_sub(now.nanos));
        let debt = usize::try_from(rate.bytes_in(wait)).unwrap_or(usize::MAX);
        let others = self
            .pairs
            .iter()
            .enumerate()
            .filter(|(index, _)| *index != pair);
        let queued = others.map(|(_, other)| other.backlog.charged());
        queued.fold(debt, usize::saturating_add)
    }

    /// Reads one frame from the uplink into the queue, or drops it; false when there is none.
    fn fetch(&mut self, pair: usize, now: &Now) -> bool {
        let ahead = self.bytes_ahead(pair, *now);
        let Some(slot) = self.pairs.get_mut(pair) else {
            return false;
        };
        let Some(uplink) = self.tap.queues().get(pair) else {
            return false;
        };
        let unit = slot.backlog.spare();
        let len = match rustix::io::read(uplink.as_fd(), &mut *unit) {
            Ok(len) => len,
            Err(Errno::INTR) => return true,
            // Nothing there, or the uplink is down: it reports when that changes.
            Err(_) => return false,
        };
        let admitted = if !slot.backlog.has_room(len, ahead) {
            Err(DropReason::QueueFull)
        } else {
            cost_of(&slot.backlog.spare()[..len], self.framing)
        };
        match admitted {
            Ok(cost) => slot.backlog.push(len, cost),
            Err(reason) => self.counters.to_guest.drops.add(reason, 1),
        }
        true
    }

    /// A pair without a running ring: what waits for it is of no use to anybody.
    fn nobody_listens(&mut self, pair: usize) -> Stop {
        let lost = self.pairs[pair].backlog.clear();
        self.counters
            .to_guest
            .drops
            .add(DropReason::NotListening, lost);
        Stop::Dry
    }

    /// Arranges for the pair's next turn.
    fn after_turn(&mut self, pair: usize, stop: Stop, now: Now, poller: &Poller) -> Progress {
        let listening = self.pairs[pair].receive.is_active() && !self.draining;
        let mut interest = Interest {
            readable: listening,
            ..self.pairs[pair].interest
        };
        let mut progress = Progress::Idle;
        match stop {
            Stop::Dry | Stop::Batch => {
                self.pairs[pair].blocked_since = None;
                self.pairs[pair].demand = Demand::Fresh;
                if let Some(running) = self.pairs[pair].receive.active() {
                    running.no_kicks();
                }
            }
            Stop::Throttled => {
                self.pairs[pair].demand = Demand::Backlogged;
                self.counters.to_guest.throttled += 1;
                progress = self
                    .to_guest
                    .next_wake(now.time())
                    .map_or(Progress::More, |at| Progress::At(at.ceil_nanos()));
            }
            Stop::Blocked => {
                interest.readable &= self.shaped_to_guest;
                progress = self.blocked(pair, now, poller);
            }
        }
        self.watch_uplink(pair, interest, poller);
        progress
    }

    /// The guest has no buffers: wait for its kick, but not for ever.
    fn blocked(&mut self, pair: usize, now: Now, poller: &Poller) -> Progress {
        let Some(slot) = self.pairs.get_mut(pair) else {
            return Progress::Idle;
        };
        let Some(running) = slot.receive.active() else {
            return Progress::Idle;
        };
        // Entries that were there before do not suffice, so only new ones are worth a look.
        match running.ask_for_kick(self.polling) {
            Ok(true) => return Progress::More,
            Ok(false) => {}
            Err(fault) => {
                self.break_ring(2 * pair, &fault, poller);
                return Progress::Idle;
            }
        }
        let since = *slot.blocked_since.get_or_insert(now.nanos);
        if now.nanos.saturating_sub(since) < STALL {
            return Progress::At(since + STALL);
        }
        slot.stalled = true;
        if !slot.stall_logged {
            slot.stall_logged = true;
            log::warn!(
                "port={} queue={pair} state=stalled: the guest posts too few receive buffers; what \
                 does not fit is dropped until it posts more",
                self.tap.name()
            );
        }
        Progress::More
    }
}

/// What a unit from the uplink costs on the wire.
fn cost_of(unit: &[u8], framing: Framing) -> Result<Cost, DropReason> {
    let (header, frame) = unit
        .split_first_chunk()
        .ok_or(DropReason::Frame(FrameFault::Runt))?;
    let len = u32::try_from(frame.len()).unwrap_or(u32::MAX);
    let facts = inspect_from_host(header, frame, len).map_err(DropReason::Frame)?;
    Ok(framing.cost(FrameShape {
        len,
        headers: u32::from(facts.headers_len),
        gso_size: u32::from(facts.gso_size),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limit(rate: &str) -> LimiterConfig {
        LimiterConfig {
            rate: Some(rate.parse().unwrap()),
            ..LimiterConfig::default()
        }
    }

    #[test]
    fn the_queue_is_fifteen_milliseconds_deep_within_bounds() {
        assert_eq!(queue_cap(&limit("1gbit")), 1_875_000);
        assert_eq!(queue_cap(&limit("1mbit")), 2 * MAX_UNIT);
        assert_eq!(queue_cap(&limit("32tbit")), 32 << 20);
        assert_eq!(queue_cap(&LimiterConfig::default()), 1);
    }
}
