//! Frames of a run that go on to another guest at once: from its sender's ring by way of the scratch buffer
//! into its receiver's, and charged together.

use std::ops::Range;

use qos::{FlowCounters, FrameShape, Passage};
use ring::net::{HEAD_LEN, Header, MIN_FRAME_LEN};
use ring::{HEADER_LEN, Head};

use super::lan::Lan;
use super::port::{Lack, Now, Port};
use super::tree::{Owner, Path};
use super::work::{COPY_MAX, FRONT, Turn, Work};

/// Frames that have gone to one guest under one leave, and are not charged yet.
#[derive(Clone, Copy, Debug)]
pub(super) struct Passing {
    to: u32,
    pair: usize,
    passage: Passage,
    sent: FlowCounters,
    last: FrameShape,
}

/// A frame that was taken off its ring, and goes where the one before it went.
#[derive(Debug)]
pub(super) struct Follower {
    pub(super) head: Head,
    /// Where header and frame are in the scratch buffer.
    pub(super) unit: Range<usize>,
    pub(super) shape: FrameShape,
    pub(super) to: u32,
}

impl Lan {
    /// Takes the next frame off a ring, if it goes the way of the one before it and nobody has to look at it:
    /// most small frames between two guests. It is whole in the scratch buffer then. Otherwise nothing is
    /// taken.
    #[inline]
    pub(super) fn follows(
        &self,
        port: &mut Port,
        pair: usize,
        work: &mut Work,
        now: Now,
    ) -> Option<Follower> {
        if port.tap.is_some() || port.from.hold && port.from.classifies() {
            return None;
        }
        let unit = work.scratch.get_mut(FRONT..FRONT + HEADER_LEN + COPY_MAX)?;
        let running = port.pairs[pair].transmit.active()?;
        let (head, copied) = running.ring.take_lone(unit)?;
        let unit = FRONT..FRONT + copied;
        let follower = self.leads(port.index, &mut work.scratch[unit.clone()], now);
        match follower {
            Some((to, shape)) => Some(Follower {
                head,
                unit,
                shape,
                to,
            }),
            None => {
                running.ring.put_back(1);
                None
            }
        }
    }

    /// Where a frame leads that asks for nothing, if that is where the one before it led.
    #[inline]
    fn leads(&self, port: u32, unit: &mut [u8], now: Now) -> Option<(u32, FrameShape)> {
        let (header, frame) = unit.split_first_chunk_mut::<HEADER_LEN>()?;
        let len = u32::try_from(frame.len()).ok()?;
        if len < MIN_FRAME_LEN || !Header::is_plain(header) {
            return None;
        }
        *header = [0; HEADER_LEN];
        let head = &frame[..frame.len().min(HEAD_LEN)];
        let to = self.switch.again(port, head, now.nanos)?;
        Some((to, FrameShape::single(len)))
    }

    /// Puts a frame that is whole in the scratch buffer into the ring of a guest that takes it as it is and at
    /// once. Otherwise false: it goes by itself, once those before it are [settled](Self::settle_passed).
    #[inline]
    pub(super) fn pass_along(
        &mut self,
        passing: &mut Option<Passing>,
        unit: Range<usize>,
        shape: FrameShape,
        to: u32,
        turn: &mut Turn<'_>,
    ) -> bool {
        self.leave_for(passing, shape, to, turn)
            && passing
                .as_mut()
                .is_some_and(|passing| passing.place(unit, shape, turn))
    }

    /// Charges what has gone.
    pub(super) fn settle_passed(&mut self, passing: &mut Option<Passing>, turn: &mut Turn<'_>) {
        let Some(gone) = passing.take().filter(|gone| gone.sent.frames > 0) else {
            return;
        };
        self.to.engine.passed(&gone.passage, &gone.sent, gone.last);
        if let Some(port) = turn.ports.get_mut(gone.to) {
            port.counters.to_guest.sent.merge(&gone.sent);
            let leaf = gone.passage.leaf();
            if let Owner::Port(seat) = self.to.owner(leaf) {
                port.to.did_not_wait(seat, leaf, gone.sent.frames);
            }
        }
        turn.work.touch(gone.to, 2 * gone.pair);
    }

    /// Whether a frame may go to a guest, under the leave there is or another one.
    #[inline]
    fn leave_for(
        &mut self,
        passing: &mut Option<Passing>,
        shape: FrameShape,
        to: u32,
        turn: &mut Turn<'_>,
    ) -> bool {
        if let Some(now) = passing
            && now.to == to
        {
            let cost = now.passage.framing.cost(shape);
            if now.sent.frames == 0 || now.passage.room.holds(&now.sent, cost) {
                return true;
            }
        }
        self.settle_passed(passing, turn);
        *passing = self.passing_to(to, turn);
        passing.is_some()
    }

    /// Leave for frames to go to a guest at once, if it has neither rules nor anybody who captures, and waits
    /// for nothing.
    fn passing_to(&mut self, to: u32, turn: &mut Turn<'_>) -> Option<Passing> {
        let port = turn.ports.get_mut(to)?;
        let waits = port.paused || !port.blocked.leaves.is_empty();
        if waits || port.tap.is_some() || port.to.classifies() {
            return None;
        }
        let pair = port.receiving_pair(0)?;
        let leaf = port.to.first(Path::Local)?;
        let passage = self.to.engine.passage(leaf, turn.now.time())?;
        Some(Passing {
            to,
            pair,
            passage,
            sent: FlowCounters::default(),
            last: FrameShape::single(0),
        })
    }
}

impl Passing {
    #[inline]
    fn place(&mut self, unit: Range<usize>, shape: FrameShape, turn: &mut Turn<'_>) -> bool {
        let unit = &turn.work.scratch[unit];
        let Some((header, frame)) = unit.split_first_chunk::<HEADER_LEN>() else {
            return false;
        };
        let Some(port) = turn.ports.get_mut(self.to) else {
            return false;
        };
        if port.lacks(header) != Lack::Nothing {
            return false;
        }
        let placed = match port.pairs[self.pair].receive.active() {
            Some(running) => running.ring.place_lone(header, frame),
            None => false,
        };
        if placed {
            let cost = self.passage.framing.cost(shape);
            self.sent.add(shape.len, cost);
            self.last = shape;
        }
        placed
    }
}
