//! From the guest's transmit rings to the uplink, in direct mode: the limiter says when the ring
//! is looked at, so what may not go yet waits in the guest, and nothing is dropped to hold a rate.
//!
//! A frame is completed after the uplink has taken it. Whatever a decision depends on is read from
//! the guest's memory once and sent from that copy.

use std::os::fd::AsFd;

use qos::{Demand, FrameShape, Time};
use ring::net::{HEAD_LEN, Header, MAX_FRAME_LEN, MIN_FRAME_LEN};
use ring::{FrameFault, HEADER_LEN, Offloads, inspect};
use rustix::io::Errno;

use super::counters::DropReason;
use super::port::{Now, Port};
use super::{Progress, VISIT_BYTES, VISIT_FRAMES, offload};
use crate::poller::{Interest, Poller};

/// Frames between two publications: completions are never held longer than these take.
const BATCH: usize = 64;

/// How long frames wait for an uplink that is down before they are dropped, in nanoseconds.
const DOWN_HOLD: u64 = 1_000_000_000;

/// How often an uplink that is down is tried, in nanoseconds.
pub(super) const DOWN_RETRY: u64 = 50_000_000;

/// What became of one frame.
enum Sent {
    /// The uplink took it.
    Yes(FrameShape),
    /// It never will.
    Dropped(DropReason),
    /// Not now.
    Full,
    /// The uplink is down.
    Down,
}

/// What became of one ring's turn.
enum Turn {
    Empty,
    Some { frames: usize, bytes: u64 },
    Held(Progress),
}

impl Port {
    /// One visit to the transmit rings, in turn, within the budget.
    pub(super) fn serve_from_guest(&mut self, now: &mut Now, poller: &Poller) -> Progress {
        if self.draining {
            return Progress::Idle;
        }
        let (mut frames, mut bytes) = (0, 0);
        let mut empty = 0;
        while empty < self.pairs.len() {
            if !self.from_guest.ready(now.time()) {
                return self.throttle_from_guest(now.time(), poller);
            }
            if frames >= VISIT_FRAMES || bytes >= VISIT_BYTES {
                return Progress::More;
            }
            let pair = self.next_transmit;
            self.next_transmit = (pair + 1) % self.pairs.len();
            match self.transmit_turn(pair, now, poller) {
                Turn::Empty => empty += 1,
                Turn::Some {
                    frames: f,
                    bytes: b,
                } => {
                    empty = 0;
                    frames += f;
                    bytes += b;
                    *now = Now::read();
                }
                Turn::Held(progress) => return progress,
            }
        }
        self.demand = Demand::Fresh;
        self.wait_for_kicks(poller)
    }

    /// Nothing may go before the limiter's time; without frames there is nothing to wake for.
    fn throttle_from_guest(&mut self, now: Time, poller: &Poller) -> Progress {
        if matches!(self.wait_for_kicks(poller), Progress::Idle) {
            return Progress::Idle;
        }
        self.demand = Demand::Backlogged;
        self.counters.from_guest.throttled += 1;
        self.from_guest
            .next_wake(now)
            .map_or(Progress::More, |at| Progress::At(at.ceil_nanos()))
    }

    /// Asks for kicks on empty rings; [`Progress::More`] if one is not empty after all.
    fn wait_for_kicks(&mut self, poller: &Poller) -> Progress {
        let mut progress = Progress::Idle;
        for pair in 0..self.pairs.len() {
            let Some(running) = self.pairs[pair].transmit.active() else {
                continue;
            };
            if running.ring.pending() > 0 {
                progress = Progress::More;
                continue;
            }
            match running.ask_for_kick(self.polling) {
                Ok(false) => {}
                Ok(true) => progress = Progress::More,
                Err(fault) => self.break_ring(2 * pair + 1, &fault, poller),
            }
        }
        progress
    }

    fn transmit_turn(&mut self, pair: usize, now: &Now, poller: &Poller) -> Turn {
        let Some(running) = self.pairs[pair].transmit.active() else {
            return Turn::Empty;
        };
        running.no_kicks();
        let offloads = offload::from_guest(self.features);
        let (mut frames, mut bytes) = (0, 0);
        let mut held = None;
        while frames < BATCH && self.from_guest.ready(now.time()) {
            let Some(running) = self.pairs[pair].transmit.active() else {
                break;
            };
            match running.ring.pop(&mut self.chain) {
                Ok(true) => {}
                Ok(false) => break,
                Err(fault) => {
                    self.break_ring(2 * pair + 1, &fault, poller);
                    break;
                }
            }
            frames += 1;
            bytes += self.chain.readable_len();
            let mut sent = self.transmit_frame(pair, offloads);
            if matches!(sent, Sent::Down) {
                sent = self.uplink_down(now.nanos);
            } else {
                self.uplink_down_since = None;
            }
            match sent {
                Sent::Yes(shape) => {
                    let cost = self.framing.cost(shape);
                    self.from_guest.commit(now.time(), cost, self.demand);
                    self.counters.from_guest.sent.add(shape.len, cost);
                }
                Sent::Dropped(reason) => self.counters.from_guest.drops.add(reason, 1),
                Sent::Full => held = Some(self.wait_for_uplink(pair, poller)),
                Sent::Down => held = Some(Progress::At(now.nanos + DOWN_RETRY)),
            }
            let Some(running) = self.pairs[pair].transmit.active() else {
                break;
            };
            if held.is_some() {
                running.ring.put_back(1);
                break;
            }
            running.ring.complete(self.chain.head(), 0);
        }
        if let Some(running) = self.pairs[pair].transmit.active()
            && running.publish()
        {
            self.counters.from_guest.calls += 1;
        }
        match held {
            Some(progress) => Turn::Held(progress),
            None if frames == 0 => Turn::Empty,
            None => Turn::Some { frames, bytes },
        }
    }

    /// Sends the frame in `self.chain`.
    fn transmit_frame(&mut self, pair: usize, offloads: Offloads) -> Sent {
        if let Err(fault) = self.chain.verdict() {
            return Sent::Dropped(DropReason::Chain(fault));
        }
        let frame_len = self.chain.frame_len();
        if frame_len > MAX_FRAME_LEN {
            return Sent::Dropped(DropReason::Frame(FrameFault::TooLong));
        }
        let total = HEADER_LEN + frame_len as usize;
        let wanted = if total <= self.scratch.len() {
            total
        } else {
            HEADER_LEN + HEAD_LEN
        };
        let copied = self.chain.copy_to(0, &mut self.scratch[..wanted]);
        let shape = match self.shape(copied, frame_len, offloads) {
            Ok(shape) => shape,
            Err(reason) => return Sent::Dropped(reason),
        };
        let Some(uplink) = self.tap.queues().get(pair).map(AsFd::as_fd) else {
            return Sent::Dropped(DropReason::UplinkRefused);
        };
        let prefix = &self.scratch[..copied];
        let written = if copied == total {
            rustix::io::write(uplink, prefix)
        } else {
            ring::write_vectored(uplink, prefix, &self.chain, copied, &mut self.iovecs)
                .map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::INVAL))
        };
        match written {
            Ok(_) => Sent::Yes(shape),
            Err(Errno::AGAIN | Errno::NOBUFS | Errno::INTR) => Sent::Full,
            Err(Errno::IO | Errno::NETDOWN | Errno::BADFD) => Sent::Down,
            Err(_) => Sent::Dropped(DropReason::UplinkRefused),
        }
    }

    /// What the copied frame takes on the wire; its header is replaced by what the uplink is to do.
    fn shape(
        &mut self,
        copied: usize,
        frame_len: u32,
        offloads: Offloads,
    ) -> Result<FrameShape, DropReason> {
        let runt = DropReason::Frame(FrameFault::Runt);
        let (header, head) = self.scratch[..copied].split_first_chunk_mut().ok_or(runt)?;
        if let Some(mac) = self.mac
            && head.get(6..12) != Some(&mac.octets()[..])
        {
            return Err(DropReason::SourceAddress);
        }
        if Header::is_plain(header) {
            // Nothing of the frame matters then but its length: most small frames go this way.
            *header = [0; HEADER_LEN];
            return if frame_len < MIN_FRAME_LEN {
                Err(runt)
            } else {
                Ok(FrameShape::single(frame_len))
            };
        }
        let facts = inspect(header, head, frame_len, offloads).map_err(DropReason::Frame)?;
        *header = facts.header();
        Ok(FrameShape {
            len: facts.frame_len,
            headers: u32::from(facts.headers_len),
            gso_size: u32::from(facts.gso_size),
        })
    }

    /// Holds frames for a while, then drops them, so that an uplink that stays down does not keep
    /// frames that nobody waits for any more.
    fn uplink_down(&mut self, nanos: u64) -> Sent {
        let since = *self.uplink_down_since.get_or_insert(nanos);
        if nanos.saturating_sub(since) >= DOWN_HOLD {
            Sent::Dropped(DropReason::UplinkDown)
        } else {
            Sent::Down
        }
    }

    fn wait_for_uplink(&mut self, pair: usize, poller: &Poller) -> Progress {
        let interest = Interest {
            writable: true,
            ..self.pairs[pair].interest
        };
        self.watch_uplink(pair, interest, poller);
        Progress::Idle
    }
}
