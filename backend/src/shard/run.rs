//! A run: frames of one ring that go under one grant. They are taken off the ring together and written
//! together, neighbours of one flow as one super-frame; what the uplink took is charged and completed, in
//! the ring's order, and the rest is put back.

mod taken;

use qos::{FrameShape, Grant, Hold};
use ring::{Accepts, RingFault};

use super::counters::DropReason;
use super::judge::Judged;
use super::lan::Lan;
use super::passing::Follower;
use super::port::Port;
use super::send::Sent;
use super::tree::Path;
use super::work::Turn;
use crate::control::Direction;
use crate::switch::{Forward, TagChange};

use taken::Fate;
pub(super) use taken::Run;

/// Frames of a run at most.
pub(super) const RUN_FRAMES: usize = 64;

/// What a run has moved.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Moved {
    /// Frames that were looked at.
    pub(super) frames: usize,
    /// Bytes that were sent.
    pub(super) bytes: u64,
}

impl Moved {
    pub(super) fn one(bytes: u32) -> Self {
        Self {
            frames: 1,
            bytes: bytes.into(),
        }
    }
}

/// Why nothing more is taken.
#[derive(Debug)]
enum End {
    /// There is no more room, or what comes next goes alone.
    Full,
    /// The ring is empty.
    Empty,
    /// The next frame goes the other way.
    Turned(Path),
    /// The first frame goes alone.
    Alone(Judged),
    /// The ring is of no use any more.
    Broken(RingFault),
    /// The port is gone.
    Gone,
}

impl Lan {
    /// Sends what a ring has for the way that was granted, as far as the grant goes; no more than `most`
    /// frames.
    pub(super) fn send_run(
        &mut self,
        grant: &Grant,
        index: u32,
        path: Path,
        most: usize,
        turn: &mut Turn<'_>,
    ) -> Moved {
        if path == Path::Uplink && !self.tries(turn.now) {
            self.hold_back(grant);
            return Moved::one(0);
        }
        let Some(port) = turn.ports.get_mut(index) else {
            self.from.engine.abort(Hold::Empty);
            return Moved::one(0);
        };
        if port.paused {
            self.from.engine.abort(Hold::Blocked);
            return Moved::one(0);
        }
        if let Some(cut) = port.cut[path as usize] {
            return Moved::one(self.send_rest(grant, index, cut, path, turn));
        }
        let Some(pair) = port.sending_pair(path).filter(|_| !turn.draining) else {
            self.from.engine.abort(Hold::Empty);
            self.rest(index, turn);
            return Moved::one(0);
        };
        if let Some(running) = port.pairs[pair].transmit.active() {
            running.no_kicks();
        }
        // Copies for whoever captures are made frame by frame.
        let most = match port.tap {
            Some(_) => 1,
            None => most.clamp(1, RUN_FRAMES),
        };
        let mut run = turn.work.run.take().unwrap_or_default();
        let end = loop {
            if run.frames() >= most {
                break End::Full;
            }
            if let Err(end) = self.take(grant, index, pair, path, &mut run, turn) {
                break end;
            }
        };
        self.settle_passed(&mut run.passing, turn);
        let mut moved = self.finish_run(grant, index, pair, &mut run, turn);
        run.clear();
        turn.work.filled = 0;
        turn.work.run = Some(run);
        match end {
            End::Full | End::Gone => {}
            End::Empty => {
                if let Some(port) = turn.ports.get_mut(index) {
                    port.pairs[pair].empty = true;
                }
            }
            End::Turned(path) => self.turn_to(path, index, pair, turn),
            End::Alone(judged) => {
                moved = Moved::one(self.send_judged(grant, index, pair, &judged, turn));
            }
            End::Broken(fault) => {
                if let Some(port) = turn.ports.get_mut(index) {
                    port.break_ring(2 * pair + 1, &fault, turn.poller);
                }
            }
        }
        moved
    }

    /// Takes the next frame off the ring, if it goes with the others.
    fn take(
        &mut self,
        grant: &Grant,
        index: u32,
        pair: usize,
        path: Path,
        run: &mut Run,
        turn: &mut Turn<'_>,
    ) -> Result<(), End> {
        if path == Path::Local && run.taken.is_empty() {
            let port = turn.ports.get_mut(index).ok_or(End::Gone)?;
            if let Some(follower) = self.follows(port, pair, turn.work, turn.now)
                && self.send_ahead(grant, index, pair, follower, run, turn)?
            {
                return Ok(());
            }
        }
        let port = turn.ports.get_mut(index).ok_or(End::Gone)?;
        let running = port.pairs[pair].transmit.active().ok_or(End::Gone)?;
        match running.ring.pop(&mut turn.work.chain) {
            Ok(true) => {}
            Ok(false) => return Err(End::Empty),
            Err(fault) => return Err(End::Broken(fault)),
        }
        let judged = match self.judge(port, turn.work, turn.now) {
            Ok(judged) => judged,
            Err(reason) => {
                let chain = &turn.work.chain;
                port.capture_chain(Direction::FromGuest, None, reason.word(), chain);
                run.note(chain.head(), FrameShape::single(0), Fate::Dropped(reason));
                return Ok(());
            }
        };
        if judged.path() != path {
            put_back(port, pair);
            return Err(End::Turned(judged.path()));
        }
        let cost = grant.framing.cost(judged.shape);
        if run.sum.frames > 0 && !grant.room.holds(&run.sum, cost) {
            put_back(port, pair);
            return Err(End::Full);
        }
        let whole = judged.copied as u64 == turn.work.chain.readable_len();
        let fate = match judged.forward {
            Forward::Port(delivery) if port.tap.is_none() => {
                let (unit, shape, to) = (judged.start..judged.end, judged.shape, delivery.port);
                let as_is = whole && delivery.tag == TagChange::Keep;
                if !as_is || !self.pass_along(&mut run.passing, unit, shape, to, turn) {
                    self.settle_passed(&mut run.passing, turn);
                    self.cut_through(index, &judged, delivery, turn);
                }
                Fate::Passed
            }
            Forward::Uplink(_) if self.uplink.queues() == 0 && port.tap.is_none() => {
                Fate::Dropped(DropReason::NoUplink)
            }
            Forward::Uplink(_) if whole && cost.segments == 1 && port.tap.is_none() => {
                let joins = port.coalesce.then_some(self.joins);
                run.add(&judged, joins, turn.work)
            }
            _ if run.frames() == 0 => return Err(End::Alone(judged)),
            _ => {
                put_back(port, pair);
                return Err(End::Full);
            }
        };
        run.note(turn.work.chain.head(), judged.shape, fate);
        if !matches!(fate, Fate::Dropped(_)) {
            run.sum.add(judged.shape.len, cost);
        }
        Ok(())
    }

    /// Passes a frame on to another guest, ahead of all that was taken. Otherwise it is put back: false if it
    /// has to go by itself.
    #[inline]
    fn send_ahead(
        &mut self,
        grant: &Grant,
        index: u32,
        pair: usize,
        follower: Follower,
        run: &mut Run,
        turn: &mut Turn<'_>,
    ) -> Result<bool, End> {
        let Follower {
            head,
            unit,
            shape,
            to,
        } = follower;
        let cost = grant.framing.cost(shape);
        let has_room = run.sum.frames == 0 || grant.room.holds(&run.sum, cost);
        let passed = has_room && self.pass_along(&mut run.passing, unit, shape, to, turn);
        let port = turn.ports.get_mut(index).ok_or(End::Gone)?;
        if !passed {
            put_back(port, pair);
        } else if let Some(running) = port.pairs[pair].transmit.active() {
            run.sum.add(shape.len, cost);
            run.last = shape;
            running.ring.complete(head, 0);
        }
        match has_room {
            true => Ok(passed),
            false => Err(End::Full),
        }
    }

    /// Writes what is to be written, and completes and charges what has gone.
    fn finish_run(
        &mut self,
        grant: &Grant,
        index: u32,
        pair: usize,
        run: &mut Run,
        turn: &mut Turn<'_>,
    ) -> Moved {
        if run.frames() == 0 {
            return Moved::one(0);
        }
        run.close(turn.work);
        let (written, stopped) = self.write_units(pair, run, turn);
        let Some(port) = turn.ports.get_mut(index) else {
            return Moved::one(0);
        };
        let mut sent = run.gone_ahead();
        let mut last = run.last;
        let (mut gone, mut coalesced) = (run.frames() - run.taken.len(), 0);
        for taken in run.taken.drain(..) {
            let lost = match taken.fate {
                Fate::Written { unit, .. } if unit >= written => break,
                Fate::Written { unit, .. } => run.units.get(unit).and_then(|unit| unit.lost),
                Fate::Passed => None,
                Fate::Dropped(reason) => Some(reason),
            };
            match lost {
                Some(reason) => port.counters.from_guest.drops.add(reason, 1),
                None => {
                    coalesced +=
                        u64::from(matches!(taken.fate, Fate::Written { joined: true, .. }));
                    sent.add(taken.shape.len, grant.framing.cost(taken.shape));
                    last = taken.shape;
                }
            }
            if let Some(running) = port.pairs[pair].transmit.active() {
                running.ring.complete(taken.head, 0);
            }
            gone += 1;
        }
        if let Some(running) = port.pairs[pair].transmit.active() {
            running.ring.put_back(running.ring.outstanding());
        }
        if gone > 0 {
            turn.work.touch(index, 2 * pair + 1);
        }
        if sent.frames > 0 {
            port.counters.from_guest.sent.merge(&sent);
            port.counters.from_guest.coalesced += coalesced;
            self.from.engine.commit_burst(&sent, last);
        } else if stopped {
            self.hold_back(grant);
        }
        Moved {
            frames: gone.max(1),
            bytes: sent.bytes,
        }
    }

    /// Writes units until the uplink takes no more: how many are done with, and whether it stopped.
    fn write_units(&mut self, pair: usize, run: &mut Run, turn: &mut Turn<'_>) -> (usize, bool) {
        for done in 0..run.units.len() {
            let Some(unit) = run.units.get_mut(done) else {
                break;
            };
            let bytes = &mut turn.work.scratch[unit.start..unit.end];
            match self.write_copy(pair, bytes) {
                Sent::Yes => {}
                Sent::Refused(reason) => {
                    unit.lost = Some(reason);
                    if unit.frames > 1 {
                        self.join_no_more();
                    }
                }
                Sent::Full => {
                    self.full(turn.poller);
                    return (done, true);
                }
                Sent::Down if self.down(turn.now) => return (done, true),
                Sent::Down => {
                    unit.lost = Some(DropReason::UplinkDown);
                    continue;
                }
            }
            self.takes_frames(turn.now);
        }
        (run.units.len(), false)
    }
}

impl Lan {
    /// The uplink refuses what other frames were joined to: better slow than lost.
    #[cold]
    fn join_no_more(&mut self) {
        self.joins = Accepts::default();
        log::warn!(
            uplink = self.name, event = "joins-no-more";
            "it refused a super-frame made of small frames; frames go to it one by one from now on"
        );
    }
}

fn put_back(port: &mut Port, pair: usize) {
    if let Some(running) = port.pairs[pair].transmit.active() {
        running.ring.put_back(1);
    }
}
