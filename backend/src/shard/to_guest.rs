//! From the uplink to the guests' receive rings, by way of their queues.
//!
//! The uplink is read eagerly, into queues of ours with flows and CoDel: the kernel's own queue would be
//! a thousand frames of latency. Only where a single guest without a limit is behind an uplink its
//! frames wait in the kernel while it has no buffers.

use qos::{Frame, FrameShape, Grant, Headers, Hold};
use ring::net::{HEAD_LEN, Header, MAX_FRAME_LEN, MIN_FRAME_LEN};
use ring::{FrameFault, GatherOutcome, HEADER_LEN, RingFault, inspect_from_host};

use super::arriving::{Arriving, accepts};
use super::capture;
use super::counters::DropReason;
use super::from_guest::number;
use super::judge::{inward, shape_of};
use super::lan::Lan;
use super::pool::{MOST_LANDED, Parts, Place, Target, Unit};
use super::port::{Lack, Now};
use super::send::{cut_segments, mark};
use super::tree::{Owner, Path, Seat};
use super::work::{Turn, Work};
use super::{Progress, VISIT_BYTES, VISIT_FRAMES};
use crate::control::Direction;
use crate::switch::{Forward, Refused, TagChange};

/// Frames that are read before they are delivered, while they are warm and where they were read.
const READ: usize = MOST_LANDED;

/// What became of a frame that was to be given to a guest.
enum Given {
    /// It has it, or part of it.
    Yes,
    /// It has no buffers.
    Blocked,
    /// Its frames are held.
    Paused,
    /// It is lost.
    Lost(DropReason),
}

impl Lan {
    /// One visit to what guests receive, within the budget.
    pub(super) fn serve_to_guest(&mut self, turn: &mut Turn<'_>) -> Progress {
        let (mut frames, mut bytes) = (0, 0_u64);
        loop {
            let read = self.read_uplink(turn);
            bytes += self.deliver(turn);
            frames += read;
            if read == 0 {
                break;
            }
            if frames >= VISIT_FRAMES || bytes >= VISIT_BYTES {
                self.collect(false, turn);
                return Progress::More;
            }
            turn.publish();
            turn.now = Now::read();
        }
        self.collect(false, turn);
        Self::progress(&mut self.to, turn.now)
    }

    /// Reads a batch from the uplink's queues; how many frames that were.
    fn read_uplink(&mut self, turn: &mut Turn<'_>) -> usize {
        let mut read = 0;
        // What did not go has to wait.
        turn.work.pool.settle();
        for queue in 0..self.queues.len() {
            while read < READ && self.queues[queue].readable && turn.work.pool.has_place() {
                if turn.draining || self.waits_in_kernel(turn) {
                    self.watch_readable(queue, false, turn.poller);
                    break;
                }
                if !self.read_frame(queue, turn) {
                    self.queues[queue].readable = false;
                    self.watch_readable(queue, self.carrier, turn.poller);
                    break;
                }
                read += 1;
                turn.moved += 1;
            }
        }
        self.hand_on_arriving(turn);
        read
    }

    /// Whether frames are left to the kernel for now.
    fn waits_in_kernel(&self, turn: &Turn<'_>) -> bool {
        let port = self.sole.and_then(|port| turn.ports.get(port));
        port.is_some_and(|port| !port.to.limited && !port.blocked.leaves.is_empty())
    }

    /// Reads one frame; false if there is none.
    fn read_frame(&mut self, queue: usize, turn: &mut Turn<'_>) -> bool {
        let received = match turn.work.pool.place() {
            Some(Place::Whole(unit)) => self.uplink.receive_whole(queue, unit),
            Some(Place::Parts(header, mut parts)) => self.uplink.receive(queue, header, &mut parts),
            None => return false,
        };
        let received = match received {
            Ok(received) => received,
            Err(rustix::io::Errno::INTR) => return true,
            // Nothing there, or the uplink is down: it reports when that changes.
            Err(_) => return false,
        };
        if let Err((reason, port)) = self.route(queue, &received, turn) {
            match port.and_then(|port| turn.ports.get_mut(port)) {
                Some(port) => {
                    port.counters.to_guest.drops.add(reason, 1);
                    if port.tap.is_some() {
                        let parts = turn.work.pool.read_parts();
                        let len = u32::try_from(received.len).unwrap_or(u32::MAX);
                        port.capture_parts(Direction::ToGuest, reason.word(), len, &parts);
                    }
                }
                None => self.refused.add(reason, 1),
            }
        }
        true
    }

    /// Takes the frame that was read to whom it is for; else why it is dropped, and whose it is if anybody's.
    fn route(
        &mut self,
        queue: usize,
        received: &crate::uplink::Received,
        turn: &mut Turn<'_>,
    ) -> Result<(), (DropReason, Option<u32>)> {
        if self.joins_arriving(queue, received, turn) {
            return Ok(());
        }
        let frame_len = u32::try_from(received.len).unwrap_or(u32::MAX);
        let pool = &mut turn.work.pool;
        let (header, head) = pool
            .read_head(received.len)
            .ok_or((DropReason::PoolFull, None))?;
        let shape = weigh_from_host(header, head, frame_len)
            .map_err(|fault| (DropReason::Frame(fault), self.sole))?;
        let tag = received.vlan.map(|tag| tag.tci);
        let forward = inward(self.sole, &mut self.switch, head, tag, turn.now);
        let forward = forward.map_err(|refused| (DropReason::Switch(refused), None))?;
        let (target, tag) = match forward {
            Forward::Port(delivery) => (Target::Port(delivery.port), delivery.tag),
            Forward::Flood(flood) => (Target::Flood(flood), TagChange::Keep),
            Forward::Uplink(_) => return Err((DropReason::Switch(Refused::Hairpin), None)),
        };
        let port = match target {
            Target::Port(port) => Some(port),
            _ => None,
        };
        let waits = port.filter(|_| tag == TagChange::Keep && shape.gso_size == 0);
        let accepts = waits.and_then(|port| accepts(turn.ports.get(port)?));
        let headers = accepts
            .is_none()
            .then(|| Headers::parse(head, frame_len, 0));
        let mut unit = Unit::new(shape, target);
        unit.pair = u16::try_from(queue).unwrap_or(0);
        let number = pool.admit(unit).ok_or((DropReason::PoolFull, port))?;
        self.hand_on_arriving(turn);
        match (port, headers) {
            (None, _) => self.queue_flood(Some(number), None, turn),
            (Some(_), Some(headers)) => {
                turn.work.pool.retag(number, tag);
                self.hand_over_with(number, &headers, Path::Uplink, turn);
            }
            (Some(port), None) => {
                self.arriving = accepts.map(|accepts| Arriving {
                    number,
                    port,
                    queue,
                    accepts,
                });
            }
        }
        Ok(())
    }

    /// Gives the guests what may go; bytes given.
    pub(super) fn deliver(&mut self, turn: &mut Turn<'_>) -> u64 {
        let mut bytes = 0;
        let mut budget = VISIT_FRAMES;
        while let Some(grant) = self.to.engine.peek(turn.now.time()) {
            let Some(frame) = grant.frame else {
                self.to.engine.abort(Hold::Empty);
                continue;
            };
            if budget == 0 {
                self.to.engine.abort(Hold::Later);
                break;
            }
            budget -= 1;
            turn.moved += 1;
            let Owner::Port(seat) = self.to.owner(grant.leaf) else {
                self.finish(frame, DropReason::NotListening, turn);
                continue;
            };
            if grant.mark {
                mark(number(frame), turn.work);
            }
            let shape = frame.shape;
            match self.give(&grant, frame, seat, turn) {
                Given::Yes => bytes += u64::from(shape.len),
                Given::Lost(reason) => self.finish(frame, reason, turn),
                Given::Paused => self.to.engine.abort(Hold::Blocked),
                Given::Blocked => {
                    self.to.engine.abort(Hold::Blocked);
                    if let Some(port) = turn.ports.get_mut(seat.port) {
                        self.blocked(grant.leaf, port, turn.now);
                    }
                    self.await_buffers(seat.port, turn);
                }
            }
        }
        bytes
    }

    /// Takes a frame off its queue that is not delivered.
    fn finish(&mut self, frame: Frame, reason: DropReason, turn: &mut Turn<'_>) {
        self.to.engine.commit(frame.shape);
        self.lose(number(frame), false, reason, turn);
    }

    /// Asks a guest without buffers for a kick; if it has some after all, its frames go on.
    fn await_buffers(&mut self, index: u32, turn: &mut Turn<'_>) {
        let Some(port) = turn.ports.get_mut(index) else {
            return;
        };
        let Some(pair) = port.receiving_pair(0) else {
            return;
        };
        let Some(running) = port.pairs[pair].receive.active() else {
            return;
        };
        // Entries that were there before do not suffice, so only new ones are worth a look.
        match running.ask_for_kick(turn.polling) {
            Ok(false) => {}
            Ok(true) => self.unblock(port, turn.now),
            Err(fault) => {
                port.break_ring(2 * pair, &fault, turn.poller);
                self.unblock(port, turn.now);
            }
        }
    }

    /// Gives a guest its next frame, or the part of it that may go now.
    fn give(&mut self, grant: &Grant, frame: Frame, seat: Seat, turn: &mut Turn<'_>) -> Given {
        let own = number(frame);
        let Some(port) = turn.ports.get_mut(seat.port) else {
            return Given::Lost(DropReason::NotListening);
        };
        if port.paused {
            return Given::Paused;
        }
        let Some(unit) = turn.work.pool.get(own).copied() else {
            return Given::Lost(DropReason::NotListening);
        };
        let Some(pair) = port.receiving_pair(usize::from(unit.pair)) else {
            return Given::Lost(DropReason::NotListening);
        };
        let Some(mut header) = turn.work.pool.header(own).copied() else {
            return Given::Lost(DropReason::PoolFull);
        };
        let lack = port.lacks(&header);
        let left = frame.shape;
        let segments = grant.framing.cost(left).segments;
        let count = match (lack, seat.path) {
            (Lack::Segmentation { .. }, _) => 1,
            (_, Path::Local) => segments,
            _ if frame.whole => segments,
            _ => grant.segments(left),
        };
        let (part, payload) = cut_segments(own, left, count, segments, turn.work);
        let Work {
            pool,
            part: cut,
            gather,
            whole,
            ..
        } = &mut *turn.work;
        let mut parts = Parts::new();
        match payload {
            Some((offset, len)) => {
                header = *cut.header();
                parts.push(cut.headers());
                pool.slices(own, offset, len, &mut parts);
            }
            None => pool.slices(own, 0, unit.len as usize, &mut parts),
        }
        let len: usize = parts.iter().map(|part| part.len()).sum();
        if len == 0 {
            return Given::Lost(DropReason::PoolFull);
        }
        if matches!(
            lack,
            Lack::Checksum | Lack::Segmentation { checksums: false }
        ) {
            let finished = finish_checksum(&mut header, &parts, whole);
            parts.clear();
            parts.push(finished);
        }
        let Some(running) = port.pairs[pair].receive.active() else {
            return Given::Lost(DropReason::NotListening);
        };
        let need = HEADER_LEN + len;
        let gathered = running.ring.gather(need, running.mergeable, gather);
        match gathered {
            Ok(GatherOutcome::Ready) => {}
            Ok(GatherOutcome::TooSmall) => return Given::Lost(DropReason::BufferTooSmall),
            Ok(GatherOutcome::TooFew) if port.blocked.stalled => {
                return Given::Lost(DropReason::Stalled);
            }
            Ok(GatherOutcome::TooFew) => return Given::Blocked,
            Err(fault) => return broken(port, pair, &fault, turn.poller),
        }
        running.ring.fill(gather, &header, &parts);
        running.no_kicks();
        port.blocked.since = None;
        port.blocked.stalled = false;
        let cost = grant.framing.cost(part);
        port.counters.to_guest.sent.add(part.len, cost);
        drop(parts);
        if self.to.engine.commit(part).is_some() {
            let waited = turn.now.nanos.saturating_sub(unit.since);
            port.to.waited(seat, grant.leaf, waited);
            let leaf = Some(grant.leaf);
            port.capture_unit(Direction::ToGuest, leaf, capture::SENT, own, pool);
            pool.free(own);
        }
        turn.work.touch(seat.port, 2 * pair);
        Given::Yes
    }
}

fn broken(
    port: &mut super::port::Port,
    pair: usize,
    fault: &RingFault,
    poller: &crate::poller::Poller,
) -> Given {
    port.break_ring(2 * pair, fault, poller);
    Given::Lost(DropReason::NotListening)
}

/// The shape of a frame of the host, which begins with these bytes.
#[inline]
fn weigh_from_host(
    header: &[u8; HEADER_LEN],
    head: &[u8],
    frame_len: u32,
) -> Result<FrameShape, FrameFault> {
    if !Header::is_plain(header) {
        return inspect_from_host(header, head, frame_len).map(|facts| shape_of(&facts));
    }
    // Nothing of the frame matters then but its length.
    if frame_len < MIN_FRAME_LEN {
        Err(FrameFault::Runt)
    } else if frame_len > MAX_FRAME_LEN {
        Err(FrameFault::TooLong)
    } else {
        Ok(FrameShape::single(frame_len))
    }
}

/// The bytes of a frame with its checksum finished, put together in `whole`, and a header that asks for
/// nothing.
fn finish_checksum<'a>(
    header: &mut [u8; HEADER_LEN],
    parts: &[&[u8]],
    whole: &'a mut [u8],
) -> &'a [u8] {
    let mut end = 0;
    for part in parts {
        if let Some(place) = whole.get_mut(end..end + part.len()) {
            place.copy_from_slice(part);
            end += part.len();
        }
    }
    let frame = &mut whole[..end];
    let len = u32::try_from(end).unwrap_or(u32::MAX);
    let head = &frame[..end.min(HEAD_LEN)];
    if let Ok(facts) = inspect_from_host(header, head, len)
        && let Some(request) = facts.checksum
    {
        ring::net::checksum::complete(frame, request);
    }
    *header = [0; HEADER_LEN];
    frame
}
