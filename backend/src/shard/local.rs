//! From guest to guest: whole, with one copy, into the receiver's queue or straight into its ring.

use qos::{Frame, Framing, Headers, LeafKey, Offer, Verdict, classify::rewrite};
use ring::net::HEAD_LEN;
use ring::{GatherOutcome, HEADER_LEN};

use super::capture;
use super::counters::DropReason;
use super::from_guest::number;
use super::judge::{Judged, fill_from_chain, keep_chain, receive};
use super::lan::Lan;
use super::pool::{Target, Unit};
use super::port::{Lack, Port};
use super::tag;
use super::tree::{Owner, Path};
use super::work::{Turn, Work};
use crate::control::Direction;
use crate::switch::{Delivery, Flood};

impl Lan {
    /// Hands the frame in the chain to another guest: into its ring if it can take it at once, else into
    /// its queue.
    pub(super) fn cut_through(
        &mut self,
        source: u32,
        judged: &Judged,
        delivery: Delivery,
        turn: &mut Turn<'_>,
    ) {
        let mut judged = *judged;
        let old = judged.start;
        judged.start = tag::change(&mut turn.work.scratch[..judged.end], old, delivery.tag);
        judged.shape = tag::shape(judged.shape, old, judged.start);
        let to = delivery.port;
        // Without rules the headers say nothing as long as the frame need not wait.
        let by_rules = turn.ports.get(to).is_some_and(|to| to.to.classifies());
        if !by_rules && self.pass_unread(&judged, to, turn) {
            return;
        }
        let mut unit = Unit::new(judged.shape, Target::Port(to));
        unit.source = Some(source);
        if !turn.work.pool.has_room() {
            if let Some(port) = turn.ports.get_mut(to) {
                port.counters.to_guest.drops.add(DropReason::PoolFull, 1);
                let (reason, chain) = (DropReason::PoolFull.word(), &turn.work.chain);
                port.capture_chain(Direction::ToGuest, None, reason, chain);
            }
            return;
        }
        let work = &mut *turn.work;
        let number = work.pool.promise(unit);
        let head = &work.scratch[judged.start + HEADER_LEN..judged.end];
        let head = &head[..head.len().min(HEAD_LEN)];
        let headers = Headers::parse(head, judged.shape.len, 0);
        turn.work.in_chain = Some(number);
        let queued = self.queue_to_guest(number, &headers, Path::Local, turn);
        turn.work.in_chain = None;
        let Some(verdict) = queued else {
            return;
        };
        if let Some(verdict) = verdict {
            let head = &mut turn.work.scratch[judged.start + HEADER_LEN..judged.end];
            rewrite::apply(head, &verdict);
        }
        if self.pass_through(number, &judged, to, turn) {
            return;
        }
        turn.kept += 1;
        fill_from_chain(&judged, turn.work);
        if !turn.work.pool.fulfil(number) {
            // It stays in the queue without bytes, and is lost when its turn comes.
            log::debug!(uplink = self.name, event = "pool-full"; "");
        }
    }

    /// Writes the frame in the chain into the ring of a receiver without rules, if nothing keeps it from
    /// going at once.
    fn pass_unread(&mut self, judged: &Judged, to: u32, turn: &mut Turn<'_>) -> bool {
        let Some(port) = turn.ports.get_mut(to) else {
            return false;
        };
        // Whoever has no buffers would be looked at for nothing.
        if !port.blocked.leaves.is_empty() {
            return false;
        }
        let Some(leaf) = port.to.first(Path::Local) else {
            return false;
        };
        let Some(pair) = place_for(judged, port, turn.work) else {
            return false;
        };
        let passes = self.to.engine.pass(leaf, judged.shape, turn.now.time());
        let Some(running) = port.pairs[pair].receive.active() else {
            return false;
        };
        if !passes {
            running.ring.release(&mut turn.work.gather);
            return false;
        }
        let framing = self.to.engine.framing(leaf).unwrap_or_default();
        self.place(judged, leaf, framing, port, pair, turn.work);
        true
    }

    /// Fills the buffers that were found with the frame in the chain, which has left this leaf.
    fn place(
        &self,
        judged: &Judged,
        leaf: LeafKey,
        framing: Framing,
        port: &mut Port,
        pair: usize,
        work: &mut Work,
    ) {
        let (header, prefix) = work.scratch[judged.start..judged.end].split_at(HEADER_LEN);
        let (Some(header), Some(running)) =
            (header.first_chunk(), port.pairs[pair].receive.active())
        else {
            return;
        };
        let (gather, chain) = (&mut work.gather, &work.chain);
        running
            .ring
            .fill_from(gather, header, prefix, chain, judged.copied);
        let cost = framing.cost(judged.shape);
        port.counters.to_guest.sent.add(judged.shape.len, cost);
        if let Owner::Port(seat) = self.to.owner(leaf) {
            port.to.waited(seat, leaf, 0);
        }
        port.capture_chain(Direction::ToGuest, Some(leaf), capture::SENT, chain);
        work.touch(port.index, 2 * pair);
    }

    /// Writes the frame in the chain into the receiver's ring, if it is the one to go next.
    fn pass_through(&mut self, own: u32, judged: &Judged, to: u32, turn: &mut Turn<'_>) -> bool {
        let Some(grant) = self.to.engine.peek(turn.now.time()) else {
            return false;
        };
        let next = grant
            .frame
            .filter(|frame| number(*frame) == own && !grant.mark);
        let Some(frame) = next.filter(|frame| frame.shape == judged.shape) else {
            return false;
        };
        let Some(port) = turn.ports.get_mut(to) else {
            return false;
        };
        let Some(pair) = place_for(judged, port, turn.work) else {
            return false;
        };
        self.place(judged, grant.leaf, grant.framing, port, pair, turn.work);
        self.to.engine.commit(frame.shape);
        turn.work.pool.free(own);
        true
    }

    /// Hands a frame of the pool to its receiver.
    pub(super) fn hand_over(&mut self, number: u32, path: Path, turn: &mut Turn<'_>) {
        let Some(len) = turn.work.pool.get(number).map(|unit| unit.len) else {
            return;
        };
        let Some((_, head)) = turn.work.pool.head_mut(number) else {
            self.lose(number, false, DropReason::PoolFull, turn);
            return;
        };
        let headers = Headers::parse(head, len, 0);
        self.hand_over_with(number, &headers, path, turn);
    }

    /// As [`Self::hand_over`], where the frame's headers are known.
    pub(super) fn hand_over_with(
        &mut self,
        number: u32,
        headers: &Headers,
        path: Path,
        turn: &mut Turn<'_>,
    ) {
        let queued = self.queue_to_guest(number, headers, path, turn);
        if let Some(Some(verdict)) = queued
            && let Some((_, head)) = turn.work.pool.head_mut(number)
        {
            rewrite::apply(head, &verdict);
        }
    }

    /// Gives a frame of the pool to the queue of its receiver, and says what the receiver's rules have to
    /// say about its bytes; `None` if the frame was lost.
    #[expect(
        clippy::option_option,
        reason = "queued or not, and then changed or not"
    )]
    fn queue_to_guest(
        &mut self,
        number: u32,
        headers: &Headers,
        path: Path,
        turn: &mut Turn<'_>,
    ) -> Option<Option<Verdict>> {
        let unit = turn.work.pool.get_mut(number)?;
        unit.since = turn.now.nanos;
        let unit = *unit;
        let Target::Port(to) = unit.target else {
            return None;
        };
        let queued = match turn.ports.get_mut(to) {
            Some(port) => {
                let listens = port.listens();
                match receive(listens, &mut port.to, headers, unit.left, path, turn.now) {
                    Err(reason) => Err(reason),
                    Ok((leaf, verdict)) => {
                        if let Some(unit) = turn.work.pool.get_mut(number) {
                            unit.leaf = Some(leaf);
                        }
                        let frame = turn.work.hasher.frame(number, unit.left, headers);
                        match self.to.engine.offer(leaf, frame, turn.now.time()) {
                            Offer::Queued => Ok(verdict),
                            Offer::Refused => Err(DropReason::QueueFull),
                            Offer::Gone => Err(DropReason::NotListening),
                        }
                    }
                }
            }
            None => Err(DropReason::NotListening),
        };
        match queued {
            Ok(verdict) => Some(verdict),
            Err(reason) => {
                self.lose(number, false, reason, turn);
                None
            }
        }
    }

    /// Queues a copy of the frame in the chain for all who are to have it, if there is anybody.
    pub(super) fn flood_chain(&mut self, source: u32, judged: &Judged, turn: &mut Turn<'_>) {
        let Judged { forward, .. } = *judged;
        let crate::switch::Forward::Flood(flood) = forward else {
            return;
        };
        if !self.floods(&flood) {
            return;
        }
        let number = keep_chain(judged, Target::Flood(flood), Some(source), 0, turn.work);
        self.queue_flood(number, Some(source), turn);
    }

    /// Queues a frame of the pool for all who are to have it.
    pub(super) fn queue_flood(
        &mut self,
        number: Option<u32>,
        source: Option<u32>,
        turn: &mut Turn<'_>,
    ) {
        let refused = match (number, self.from.flood) {
            (Some(number), Some(leaf)) => {
                let shape = turn.work.pool.get(number).map(|unit| unit.shape);
                let frame = shape.map(|shape| Frame::new(number.into(), shape));
                let queued =
                    frame.map(|frame| self.from.engine.offer(leaf, frame, turn.now.time()));
                if queued == Some(Offer::Queued) {
                    return;
                }
                turn.work.pool.free(number);
                DropReason::Flood
            }
            _ => DropReason::PoolFull,
        };
        match source.map(|port| turn.ports.get_mut(port)) {
            Some(Some(port)) => port.counters.from_guest.drops.add(refused, 1),
            Some(None) => {}
            None => self.refused.add(refused, 1),
        }
    }

    /// Copies a frame to all who are to have it; its bytes.
    pub(super) fn replicate(&mut self, frame: Frame, turn: &mut Turn<'_>) -> u32 {
        let own = number(frame);
        self.from.engine.commit(frame.shape);
        let Some(unit) = turn.work.pool.get(own).copied() else {
            return 0;
        };
        let Target::Flood(flood) = unit.target else {
            turn.work.pool.free(own);
            return 0;
        };
        let path = if unit.source.is_some() {
            Path::Local
        } else {
            Path::Uplink
        };
        // Floods are rare, and bounded by their class.
        let receivers: Vec<Delivery> = self.switch.receivers(&flood).collect();
        if receivers.is_empty() && unit.source.is_none() {
            self.refused.add(DropReason::NotListening, 1);
        }
        for delivery in receivers {
            let copy = turn.work.pool.duplicate(own, Target::Port(delivery.port));
            match copy {
                Some(copy) => {
                    turn.work.pool.retag(copy, delivery.tag);
                    self.hand_over(copy, path, turn);
                }
                None => {
                    if let Some(port) = turn.ports.get_mut(delivery.port) {
                        port.counters.to_guest.drops.add(DropReason::PoolFull, 1);
                        let (reason, pool) = (DropReason::PoolFull.word(), &turn.work.pool);
                        port.capture_unit(Direction::ToGuest, None, reason, own, pool);
                    }
                }
            }
        }
        turn.work.pool.free(own);
        frame.shape.len
    }

    /// Whether a flood would have any receiver.
    pub(super) fn floods(&self, flood: &Flood) -> bool {
        self.switch.receivers(flood).next().is_some()
    }
}

/// Gathers buffers of a receiver for the frame in the chain, if it takes that as it is; the pair whose they
/// are.
fn place_for(judged: &Judged, port: &mut Port, work: &mut Work) -> Option<usize> {
    let header = work.scratch[judged.start..judged.end].first_chunk()?;
    if port.paused || port.lacks(header) != Lack::Nothing {
        return None;
    }
    let pair = port.receiving_pair(0)?;
    let running = port.pairs[pair].receive.active()?;
    let need = HEADER_LEN + judged.shape.len as usize;
    let gathered = running
        .ring
        .gather(need, running.mergeable, &mut work.gather);
    (gathered == Ok(GatherOutcome::Ready)).then_some(pair)
}
