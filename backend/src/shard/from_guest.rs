//! From the guests to the uplink and to each other: the tree says who may send, and what may not go yet
//! waits in the guest's ring, or, where a ring leads to several leaves, in the pool.
//!
//! A frame is completed after the uplink has taken it, or once it is in the pool. Whatever a decision
//! depends on is read from the guest's memory once and sent from that copy.

use qos::{Frame, FrameShape, Grant, Hold};

use super::capture;
use super::counters::DropReason;
use super::judge::{Judged, keep_chain};
use super::lan::Lan;
use super::pool::{Target, Unit};
use super::port::{Now, Port};
use super::run::Moved;
use super::send::{Sent, mark};
use super::tree::{Owner, Path};
use super::work::{Turn, Work};
use super::{BATCH, Progress, VISIT_BYTES, VISIT_FRAMES, VISIT_KEPT};
use crate::control::Direction;
use crate::switch::Forward;

impl Lan {
    /// One visit to what guests send, within the budget.
    pub(super) fn serve_from_guest(&mut self, turn: &mut Turn<'_>) -> Progress {
        self.retry(turn.now);
        let (mut frames, mut bytes, mut published) = (0, 0_u64, 0);
        turn.kept = 0;
        while let Some(grant) = self.from.engine.peek(turn.now.time()) {
            if frames >= VISIT_FRAMES || bytes >= VISIT_BYTES || turn.kept >= VISIT_KEPT {
                self.from.engine.abort(Hold::Later);
                self.collect(true, turn);
                return Progress::More;
            }
            let moved = match (grant.frame, self.from.owner(grant.leaf)) {
                (None, Owner::Port(seat)) => {
                    let most = VISIT_FRAMES - frames;
                    self.send_run(&grant, seat.port, seat.path, most, turn)
                }
                (Some(frame), Owner::Flood) => Moved::one(self.replicate(frame, turn)),
                (Some(_), Owner::Port(seat)) if turn.ports.is_paused(seat.port) => {
                    self.from.engine.abort(Hold::Blocked);
                    Moved::one(0)
                }
                // Its port may be gone by now.
                (Some(frame), _) => Moved::one(self.send_from_pool(&grant, frame, turn)),
                (None, _) => {
                    self.from.engine.abort(Hold::Empty);
                    Moved::one(0)
                }
            };
            frames += moved.frames;
            turn.moved += usize::from(moved.bytes > 0);
            bytes += moved.bytes;
            if frames - published >= BATCH {
                published = frames;
                turn.publish();
                turn.now = Now::read();
            }
        }
        self.collect(true, turn);
        Self::progress(&mut self.from, turn.now)
    }

    /// The frame in the ring goes another way than was granted: it waits for leave to go there.
    pub(super) fn turn_to(&mut self, path: Path, index: u32, pair: usize, turn: &mut Turn<'_>) {
        let Some(port) = turn.ports.get_mut(index) else {
            return;
        };
        port.pairs[pair].path = path;
        if let Some(leaf) = port.from.first(path) {
            self.from.engine.abort(Hold::Later);
            self.from.engine.backlogged(leaf, turn.now.time());
        }
    }

    /// A port has nothing for this leaf: asks for kicks.
    pub(super) fn rest(&mut self, index: u32, turn: &mut Turn<'_>) {
        if let Some(port) = turn.ports.get_mut(index)
            && port.await_frames(turn.polling)
        {
            self.frames_wait(port, turn.now);
        }
    }

    /// Frames wait in some ring of a port whose frames wait there.
    pub(super) fn frames_wait(&mut self, port: &Port, now: Now) {
        for path in [Path::Uplink, Path::Local] {
            let waits = |pair: &super::port::Pair| !pair.empty && pair.path == path;
            if port.pairs.iter().any(waits)
                && let Some(leaf) = port.from.first(path)
            {
                self.from.engine.backlogged(leaf, now.time());
            }
        }
    }

    /// Sends a frame that goes the way that was granted.
    pub(super) fn send_judged(
        &mut self,
        grant: &Grant,
        index: u32,
        pair: usize,
        judged: &Judged,
        turn: &mut Turn<'_>,
    ) -> u32 {
        let cost = grant.framing.cost(judged.shape);
        if judged.path() == Path::Uplink
            && cost.segments > 1
            && cost.wire_bytes > grant.quantum
            && grant.segments(judged.shape) < cost.segments
            && turn.work.pool.has_room()
        {
            // Its parts go one after the other, from a copy, so that the ring's order holds.
            let cut = self.copy(index, pair, judged, turn);
            complete_pair(index, pair, turn);
            let Some(cut) = cut else { return 0 };
            if let Some(port) = turn.ports.get_mut(index) {
                port.cut[Path::Uplink as usize] = Some(cut);
            }
            return self.send_rest(grant, index, cut, Path::Uplink, turn);
        }
        // Before the uplink's tag and header change the frame where it lies.
        let copy = match judged.forward {
            Forward::Flood(flood) if self.floods(&flood) => {
                let target = Target::Flood(flood);
                Some(keep_chain(judged, target, Some(index), 0, turn.work))
            }
            _ => None,
        };
        let sent = match judged.forward {
            Forward::Flood(_) if self.uplink.queues() == 0 => Sent::Yes,
            Forward::Uplink(_) | Forward::Flood(_) => self.write_chain(pair, judged, turn.work),
            Forward::Port(delivery) => {
                self.cut_through(index, judged, delivery, turn);
                Sent::Yes
            }
        };
        if judged.path() == Path::Uplink && !self.took(sent, grant, turn) {
            if let Some(number) = copy.flatten() {
                turn.work.pool.free(number);
            }
            let running = turn.ports.get_mut(index);
            let running = running.and_then(|port| port.pairs[pair].transmit.active());
            if let Some(running) = running {
                running.ring.put_back(1);
            }
            return 0;
        }
        // The other guests have it even if the uplink is down.
        if let Some(number) = copy {
            self.queue_flood(number, Some(index), turn);
        }
        let Some(port) = turn.ports.get_mut(index) else {
            return 0;
        };
        let lost = match sent {
            Sent::Refused(reason) => Some(reason),
            Sent::Down => Some(DropReason::UplinkDown),
            Sent::Yes | Sent::Full => None,
        };
        match lost {
            Some(reason) => port.counters.from_guest.drops.add(reason, 1),
            None => {
                self.from.engine.commit(judged.shape);
                port.counters.from_guest.sent.add(judged.shape.len, cost);
            }
        }
        if port.tap.is_some() {
            let stays = judged.path() == Path::Local || self.uplink.queues() == 0;
            let verdict = match lost {
                Some(reason) => reason.word(),
                None if stays => capture::LOCAL,
                None => capture::SENT,
            };
            let leaf = Some(grant.leaf);
            port.capture_chain(Direction::FromGuest, leaf, verdict, &turn.work.chain);
        }
        complete(port, pair, turn.work);
        judged.shape.len
    }

    /// Copies the frame in the chain into the pool, as it goes to the uplink; its number.
    fn copy(
        &mut self,
        index: u32,
        pair: usize,
        judged: &Judged,
        turn: &mut Turn<'_>,
    ) -> Option<u32> {
        let number = keep_chain(judged, Target::Uplink, Some(index), pair, turn.work)?;
        self.flood_chain(index, judged, turn);
        turn.work.pool.retag(number, judged.uplink_tag());
        Some(number)
    }

    /// Sends on a super-frame of a ring of which parts have gone.
    pub(super) fn send_rest(
        &mut self,
        grant: &Grant,
        index: u32,
        cut: u32,
        path: Path,
        turn: &mut Turn<'_>,
    ) -> u32 {
        let Some(unit) = turn.work.pool.get(cut).copied() else {
            return 0;
        };
        let Some((sent, part)) = self.send_unit(grant, cut, unit.left, false, turn) else {
            return 0;
        };
        let left = unit.left.after(part);
        let Some(port) = turn.ports.get_mut(index) else {
            return 0;
        };
        if sent {
            self.from.engine.commit(part);
            let cost = grant.framing.cost(part);
            port.counters.from_guest.sent.add(part.len, cost);
        }
        match left.filter(|_| sent) {
            Some(left) => {
                if let Some(unit) = turn.work.pool.get_mut(cut) {
                    unit.left = left;
                }
            }
            None => {
                port.cut[path as usize] = None;
                let pool = &mut turn.work.pool;
                if sent {
                    let leaf = Some(grant.leaf);
                    port.capture_unit(Direction::FromGuest, leaf, capture::SENT, cut, pool);
                }
                pool.free(cut);
            }
        }
        part.len
    }

    /// Sends what the tree has at the head of a leaf, or hands it to its receiver.
    fn send_from_pool(&mut self, grant: &Grant, frame: Frame, turn: &mut Turn<'_>) -> u32 {
        let number = number(frame);
        let Some(unit) = turn.work.pool.get(number).copied() else {
            self.from.engine.commit(frame.shape);
            return 0;
        };
        if let Target::Port(_) = unit.target {
            if grant.mark {
                mark(number, turn.work);
            }
            self.from.engine.commit(frame.shape);
            self.count_sent(&unit, frame.shape, grant, turn);
            self.count_wait(&unit, grant, turn);
            Self::capture_sent(&unit, number, grant, capture::LOCAL, turn);
            if let Some(unit) = turn.work.pool.get_mut(number) {
                unit.left = frame.shape;
            }
            self.hand_over(number, Path::Local, turn);
            return frame.shape.len;
        }
        if !self.tries(turn.now) {
            self.hold_back(grant);
            return 0;
        }
        if grant.mark {
            mark(number, turn.work);
        }
        let Some((sent, part)) = self.send_unit(grant, number, frame.shape, frame.whole, turn)
        else {
            return 0;
        };
        let part = if sent { part } else { frame.shape };
        if sent {
            self.count_sent(&unit, part, grant, turn);
        }
        if self.from.engine.commit(part).is_some() {
            if sent {
                self.count_wait(&unit, grant, turn);
                Self::capture_sent(&unit, number, grant, capture::SENT, turn);
            }
            turn.work.pool.free(number);
        }
        part.len
    }

    /// Copies a frame of the pool that has gone as a whole, if its guest's frames are captured.
    fn capture_sent(
        unit: &Unit,
        number: u32,
        grant: &Grant,
        verdict: &'static str,
        turn: &mut Turn<'_>,
    ) {
        if let Some(port) = unit.source.and_then(|port| turn.ports.get_mut(port)) {
            let (leaf, pool) = (Some(grant.leaf), &turn.work.pool);
            port.capture_unit(Direction::FromGuest, leaf, verdict, number, pool);
        }
    }

    /// A frame of the pool has gone as a whole.
    fn count_wait(&self, unit: &Unit, grant: &Grant, turn: &mut Turn<'_>) {
        if let Owner::Port(seat) = self.from.owner(grant.leaf)
            && let Some(port) = turn.ports.get_mut(seat.port)
        {
            let waited = turn.now.nanos.saturating_sub(unit.since);
            port.from.waited(seat, grant.leaf, waited);
        }
    }

    fn count_sent(&self, unit: &Unit, shape: FrameShape, grant: &Grant, turn: &mut Turn<'_>) {
        if let Some(port) = unit.source.and_then(|port| turn.ports.get_mut(port)) {
            let cost = grant.framing.cost(shape);
            port.counters.from_guest.sent.add(shape.len, cost);
        }
    }
}

/// The number of a frame in the pool.
pub(super) fn number(frame: Frame) -> u32 {
    u32::try_from(frame.token).unwrap_or(u32::MAX)
}

/// Completes the frame in the chain.
pub(super) fn complete(port: &mut Port, pair: usize, work: &mut Work) {
    if let Some(running) = port.pairs[pair].transmit.active() {
        running.ring.complete(work.chain.head(), 0);
        work.touch(port.index, 2 * pair + 1);
    }
}

fn complete_pair(index: u32, pair: usize, turn: &mut Turn<'_>) {
    if let Some(port) = turn.ports.get_mut(index) {
        complete(port, pair, turn.work);
    }
}
