//! A run: frames of one ring that go under one grant. They are taken off the ring together and written
//! together, neighbours of one flow as one super-frame; what the uplink took is charged and completed, in
//! the ring's order, and the rest is put back.

use arrayvec::ArrayVec;
use qos::{FlowCounters, FrameShape, Grant, Hold};
use ring::{Accepts, Head, RingFault, Train};

use super::counters::DropReason;
use super::judge::Judged;
use super::lan::Lan;
use super::port::Port;
use super::send::Sent;
use super::tag;
use super::tree::Path;
use super::work::{Turn, Work};
use crate::control::Direction;
use crate::switch::Forward;

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

/// What becomes of a frame that was taken off the ring.
#[derive(Clone, Copy, Debug)]
enum Fate {
    /// It is in the unit of this number.
    Written {
        unit: usize,
        joined: bool,
    },
    /// Another guest has it.
    Passed,
    Dropped(DropReason),
}

#[derive(Debug)]
struct Taken {
    head: Head,
    shape: FrameShape,
    fate: Fate,
}

/// What is written at once: one frame, or several joined.
#[derive(Clone, Copy, Debug)]
struct Unit {
    start: usize,
    end: usize,
    frames: u32,
    lost: Option<DropReason>,
}

/// The frames taken off one ring, in its order.
#[derive(Debug, Default)]
pub(super) struct Run {
    taken: ArrayVec<Taken, RUN_FRAMES>,
    units: ArrayVec<Unit, RUN_FRAMES>,
    /// The last unit, if others may join it.
    train: Train,
    /// What is charged if all of it goes.
    sum: FlowCounters,
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
            if run.taken.len() >= most {
                break End::Full;
            }
            if let Err(end) = self.take(grant, index, pair, path, &mut run, turn) {
                break end;
            }
        };
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
                self.cut_through(index, &judged, delivery, turn);
                Fate::Passed
            }
            Forward::Uplink(_) if self.uplink.queues() == 0 && port.tap.is_none() => {
                Fate::Dropped(DropReason::NoUplink)
            }
            Forward::Uplink(_) if whole && cost.segments == 1 && port.tap.is_none() => {
                let joins = port.coalesce.then_some(self.joins);
                run.add(&judged, joins, turn.work)
            }
            _ if run.taken.is_empty() => return Err(End::Alone(judged)),
            _ => {
                put_back(port, pair);
                return Err(End::Full);
            }
        };
        if !matches!(fate, Fate::Dropped(_)) {
            run.sum.add(judged.shape.len, cost);
        }
        run.note(turn.work.chain.head(), judged.shape, fate);
        Ok(())
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
        if run.taken.is_empty() {
            return Moved::one(0);
        }
        run.close(turn.work);
        let (written, stopped) = self.write_units(pair, run, turn);
        let Some(port) = turn.ports.get_mut(index) else {
            return Moved::one(0);
        };
        let mut sent = FlowCounters::default();
        let mut last = FrameShape::single(0);
        let (mut gone, mut coalesced) = (0, 0);
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

impl Run {
    fn clear(&mut self) {
        self.taken.clear();
        self.units.clear();
        self.sum = FlowCounters::default();
    }

    fn note(&mut self, head: Head, shape: FrameShape, fate: Fate) {
        // There is room: no more are taken than that.
        self.taken.push(Taken { head, shape, fate });
    }

    /// Makes the frame in the scratch buffer one that is written, or a part of the one before it if that
    /// may be.
    fn add(&mut self, judged: &Judged, joins: Option<Accepts>, work: &mut Work) -> Fate {
        let change = judged.uplink_tag();
        let end = judged.end;
        let start = tag::change(&mut work.scratch[..end], judged.start, change);
        if let Some(last) = self.units.last_mut()
            && let Some(payload) = self.train.join(&work.scratch[start..end])
        {
            let payload = start + payload.start..start + payload.end;
            let joined = last.end + payload.len();
            work.scratch.copy_within(payload, last.end);
            last.end = joined;
            last.frames += 1;
            work.filled = joined.next_multiple_of(LINE);
            return self.last(true);
        }
        self.close(work);
        if let Some(accepts) = joins {
            self.train.open(&work.scratch[start..end], accepts);
        }
        self.units.push(Unit {
            start,
            end,
            frames: 1,
            lost: None,
        });
        work.filled = end.next_multiple_of(LINE);
        self.last(false)
    }

    fn last(&self, joined: bool) -> Fate {
        let unit = self.units.len().saturating_sub(1);
        Fate::Written { unit, joined }
    }

    /// Nothing joins the last unit any more.
    fn close(&mut self, work: &mut Work) {
        if self.train.is_open()
            && let Some(last) = self.units.last()
        {
            self.train.close(&mut work.scratch[last.start..last.end]);
        }
    }
}

/// Frames in the scratch buffer begin on cache lines of their own.
const LINE: usize = 64;

fn put_back(port: &mut Port, pair: usize) {
    if let Some(running) = port.pairs[pair].transmit.active() {
        running.ring.put_back(1);
    }
}
