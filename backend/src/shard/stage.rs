//! Rings whose frames belong to several leaves: they are copied into the pool in the ring's order, and
//! completed at once, so that no leaf keeps another's frames back.

use qos::{LeafKey, Offer};
use ring::HEADER_LEN;
use ring::net::HEAD_LEN;

use super::capture;
use super::counters::DropReason;
use super::from_guest::complete;
use super::judge::{fill_from_chain, sort};
use super::lan::Lan;
use super::pool::{Target, Unit};
use super::work::{Turn, Work};
use super::{BATCH, Progress, tag};
use crate::control::Direction;
use crate::switch::Forward;

/// What became of a look at a ring.
enum Looked {
    /// There was a frame.
    Frame,
    /// There was none, or the ring is of no use.
    Nothing,
}

impl Lan {
    /// Copies what waits in rings, a batch of each port.
    pub(super) fn stage_rings(&mut self, turn: &mut Turn<'_>) -> Progress {
        if turn.draining {
            self.staging.clear();
            return Progress::Idle;
        }
        for _ in 0..self.staging.len() {
            if !turn.work.pool.has_room() {
                // What goes out makes room; nothing can wait that does not go out in the end.
                return Progress::Idle;
            }
            let Some(index) = self.staging.pop_front() else {
                break;
            };
            if self.stage(index, turn) {
                self.staging.push_back(index);
            } else if let Some(port) = turn.ports.get_mut(index) {
                port.staging = false;
            }
        }
        turn.publish();
        self.collect(true, turn);
        if self.staging.is_empty() {
            Progress::Idle
        } else {
            Progress::More
        }
    }

    /// Copies a batch from a port's rings, in turn; whether there may be more.
    fn stage(&mut self, index: u32, turn: &mut Turn<'_>) -> bool {
        let port = turn.ports.get(index).filter(|port| !port.paused);
        let Some(pairs) = port.map(|port| port.pairs.len()) else {
            return false;
        };
        let mut idle = 0;
        for frame in 0..BATCH {
            if idle >= pairs {
                break;
            }
            if !turn.work.pool.has_room() {
                return true;
            }
            match self.stage_frame(index, frame % pairs, turn) {
                Looked::Frame => idle = 0,
                Looked::Nothing => idle += 1,
            }
        }
        if idle < pairs {
            return true;
        }
        turn.ports
            .get_mut(index)
            .is_some_and(|port| port.await_frames(turn.polling))
    }

    fn stage_frame(&mut self, index: u32, pair: usize, turn: &mut Turn<'_>) -> Looked {
        let Some(port) = turn.ports.get_mut(index) else {
            return Looked::Nothing;
        };
        let Some(running) = port.pairs[pair].transmit.active() else {
            return Looked::Nothing;
        };
        running.no_kicks();
        match running.ring.pop(&mut turn.work.chain) {
            Ok(true) => {}
            Ok(false) => {
                port.pairs[pair].empty = true;
                return Looked::Nothing;
            }
            Err(fault) => {
                port.break_ring(2 * pair + 1, &fault, turn.poller);
                return Looked::Nothing;
            }
        }
        port.pairs[pair].empty = false;
        let staged = self.stage_chain(index, pair, turn);
        if let Some(port) = turn.ports.get_mut(index) {
            if let Err((reason, leaf)) = staged {
                port.counters.from_guest.drops.add(reason, 1);
                let chain = &turn.work.chain;
                port.capture_chain(Direction::FromGuest, leaf, reason.word(), chain);
            }
            complete(port, pair, turn.work);
        }
        Looked::Frame
    }

    /// Copies the frame in the chain to the leaf that it belongs to.
    fn stage_chain(
        &mut self,
        index: u32,
        pair: usize,
        turn: &mut Turn<'_>,
    ) -> Result<(), (DropReason, Option<LeafKey>)> {
        let unsorted = |reason| (reason, None);
        let Some(port) = turn.ports.get_mut(index) else {
            return Ok(());
        };
        let judged = self.judge(port, turn.work, turn.now);
        let mut judged = judged.map_err(unsorted)?;
        let Work { scratch, .. } = &mut *turn.work;
        let end = judged.end.min(judged.start + HEADER_LEN + HEAD_LEN);
        let head = &mut scratch[judged.start + HEADER_LEN..end];
        let path = judged.path();
        let sorted = sort(&mut port.from, head, judged.shape, path, turn.now);
        let (leaf, headers) = sorted.map_err(unsorted)?;
        let (target, tag) = match judged.forward {
            Forward::Uplink(_) => (Target::Uplink, judged.uplink_tag()),
            Forward::Port(delivery) => (Target::Port(delivery.port), delivery.tag),
            Forward::Flood(_) => {
                self.flood_chain(index, &judged, turn);
                if self.uplink.queues() == 0 {
                    if let Some(port) = turn.ports.get_mut(index) {
                        let (leaf, chain) = (Some(leaf), &turn.work.chain);
                        port.capture_chain(Direction::FromGuest, leaf, capture::LOCAL, chain);
                    }
                    return Ok(());
                }
                (Target::Uplink, judged.uplink_tag())
            }
        };
        if !turn.work.pool.has_room() {
            return Err((DropReason::PoolFull, Some(leaf)));
        }
        let scratch = &mut turn.work.scratch[..judged.end];
        let start = tag::change(scratch, judged.start, tag);
        judged.shape = tag::shape(judged.shape, judged.start, start);
        judged.start = start;
        let mut unit = Unit::new(judged.shape, target);
        unit.source = Some(index);
        unit.since = turn.now.nanos;
        unit.leaf = Some(leaf);
        unit.pair = u16::try_from(pair).unwrap_or(0);
        let number = turn.work.pool.promise(unit);
        let frame = turn.work.hasher.frame(number, judged.shape, &headers);
        // What is large is not copied where an older frame would have been copied for nothing then: a
        // guest that fills its ring would have us do nothing else.
        let large = (judged.copied as u64) < turn.work.chain.readable_len();
        let offer = if large {
            self.from.engine.offer_costly(leaf, frame, turn.now.time())
        } else {
            self.from.engine.offer(leaf, frame, turn.now.time())
        };
        if offer != Offer::Queued {
            turn.work.pool.free(number);
            return Err((DropReason::QueueFull, Some(leaf)));
        }
        fill_from_chain(&judged, turn.work);
        if !turn.work.pool.fulfil(number) {
            // It stays in the queue without bytes, and is lost when its turn comes.
            log::debug!(uplink = self.name, event = "pool-full"; "");
        }
        Ok(())
    }
}
