//! An uplink and the guests behind it: their switch, their trees, and what waits for whom.

use std::collections::VecDeque;
use std::os::fd::{AsRawFd, RawFd};

use qos::{LeafKey, Wake};
use ring::Accepts;

use super::Progress;
use super::arriving::Arriving;
use super::counters::{DropReason, Drops};
use super::from_guest::number;
use super::offload::joins;
use super::port::{Now, Port};
use super::token::{Kind, Token};
use super::tree::Tree;
use super::work::Turn;
use crate::control::Direction;
use crate::poller::{Interest, Poller};
use crate::switch::{Forward, Switch, TagChange};
use crate::uplink::Uplink;

/// How long frames wait for an uplink that is down before they are dropped, in nanoseconds.
const DOWN_HOLD: u64 = 1_000_000_000;

/// How often an uplink that is down is tried, in nanoseconds.
const DOWN_RETRY: u64 = 50_000_000;

/// How long frames wait for a guest that posts no buffers before they are dropped, in nanoseconds.
const STALL: u64 = 1_000_000_000;

/// One queue of the uplink.
#[derive(Clone, Copy, Debug)]
pub(super) struct Queue {
    /// What it is watched for.
    pub(super) interest: Interest,
    /// It may have frames.
    pub(super) readable: bool,
    /// It takes part in the uplink's spreading of flows.
    pub(super) attached: bool,
}

/// Whether the uplink takes frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Takes {
    /// As far as is known.
    Frames,
    /// Not before it is writable.
    Full,
    /// It is down since then, and to be tried then (monotonic nanoseconds).
    Down { since: u64, retry: u64 },
}

/// An uplink and the guests behind it.
#[derive(Debug)]
pub(super) struct Lan {
    pub(super) index: u32,
    pub(super) name: String,
    pub(super) uplink: Uplink,
    pub(super) queues: Vec<Queue>,
    pub(super) takes: Takes,
    /// The uplink's device is gone.
    pub(super) gone: bool,
    pub(super) carrier: bool,
    pub(super) from: Tree,
    pub(super) to: Tree,
    pub(super) switch: Switch,
    /// The ports behind it.
    pub(super) members: Vec<u32>,
    /// The only port there is, if frames pass between it and the uplink unlooked at.
    pub(super) sole: Option<u32>,
    /// Ports with rings whose frames are to be copied.
    pub(super) staging: VecDeque<u32>,
    /// Nothing of a frame decides where it goes, as long as there is one port.
    pub(super) transparent: bool,
    /// Of which frames from guests super-frames are made for the uplink.
    pub(super) joins: Accepts,
    /// The frame that came last from the uplink, as long as others may join it.
    pub(super) arriving: Option<Arriving>,
    /// Frames from the uplink that no port was charged with.
    pub(super) refused: Drops,
    /// Turns it had.
    pub(super) turns: u64,
    /// Leaves that wait for the uplink.
    pub(super) held: Vec<LeafKey>,
    /// Ports whose guests have no buffers, and when that has lasted too long.
    pub(super) stalls: VecDeque<(u64, u32)>,
    /// Waits for its turn.
    pub(super) pending: bool,
    /// When it is to have a turn though nothing happens.
    pub(super) due: Option<u64>,
}

impl Lan {
    pub(super) fn new(
        index: u32,
        name: String,
        uplink: Uplink,
        trees: [Tree; 2],
        switch: Switch,
    ) -> Self {
        let [from, to] = trees;
        let joins = Self::joins(&uplink);
        Self {
            index,
            name,
            queues: Self::queues(&uplink),
            uplink,
            takes: Takes::Frames,
            gone: false,
            carrier: false,
            from,
            to,
            switch,
            members: Vec::new(),
            sole: None,
            staging: VecDeque::new(),
            transparent: false,
            joins,
            arriving: None,
            refused: Drops::default(),
            turns: 0,
            held: Vec::new(),
            stalls: VecDeque::new(),
            pending: false,
            due: None,
        }
    }

    fn queues(uplink: &Uplink) -> Vec<Queue> {
        let queue = Queue {
            interest: Interest::NONE,
            readable: false,
            attached: true,
        };
        vec![queue; uplink.queues()]
    }

    /// What super-frames the uplink takes; none if it cannot tell.
    fn joins(uplink: &Uplink) -> Accepts {
        uplink.probe_offloads().map(joins).unwrap_or_default()
    }

    /// Puts the uplink's queues into the poller, not watched for anything yet.
    pub(super) fn join(&self, poller: &Poller) -> std::io::Result<()> {
        for queue in 0..self.queues.len() {
            if let Some(fd) = self.raw_fd(queue) {
                poller.add(fd, self.token(queue), Interest::NONE)?;
            }
        }
        Ok(())
    }

    /// Takes the uplink's queues out of the poller.
    pub(super) fn leave(&mut self, poller: &Poller) {
        for queue in 0..self.queues.len() {
            if let Some(fd) = self.raw_fd(queue) {
                // Those that cannot be removed are not in the set.
                let _ = poller.remove(fd);
            }
        }
    }

    /// Goes on with another uplink in place of the one before, which is given back.
    pub(super) fn replace(&mut self, uplink: Uplink, poller: &Poller) -> std::io::Result<Uplink> {
        if !self.gone {
            self.leave(poller);
        }
        self.queues = Self::queues(&uplink);
        self.joins = Self::joins(&uplink);
        let old = std::mem::replace(&mut self.uplink, uplink);
        self.gone = false;
        self.carrier = false;
        self.join(poller).map(|()| old)
    }

    fn raw_fd(&self, queue: usize) -> Option<RawFd> {
        self.uplink.fd(queue).map(|fd| fd.as_raw_fd())
    }

    fn token(&self, queue: usize) -> u64 {
        Token {
            port: self.index as usize,
            kind: Kind::Uplink(queue),
        }
        .encode()
    }

    /// Changes what an uplink queue is watched for, if that is a change.
    pub(super) fn watch(&mut self, index: usize, interest: Interest, poller: &Poller) {
        let (Some(fd), Some(queue)) = (self.raw_fd(index), self.queues.get(index)) else {
            return;
        };
        if self.gone || queue.interest == interest {
            return;
        }
        match poller.change(fd, self.token(index), interest) {
            Ok(()) => self.queues[index].interest = interest,
            Err(error) => {
                log::error!(uplink = self.name, queue = index, event = "epoll-failed"; "{error}")
            }
        }
    }

    /// Watches a queue for frames, or not.
    pub(super) fn watch_readable(&mut self, index: usize, readable: bool, poller: &Poller) {
        if let Some(queue) = self.queues.get(index) {
            let interest = Interest {
                readable,
                ..queue.interest
            };
            self.watch(index, interest, poller);
        }
    }

    fn watch_writable(&mut self, writable: bool, poller: &Poller) {
        for index in 0..self.queues.len() {
            let interest = Interest {
                writable,
                ..self.queues[index].interest
            };
            self.watch(index, interest, poller);
        }
    }

    /// One turn: copies what waits in rings, sends what may go, reads what has come, delivers it.
    pub(super) fn serve(&mut self, turn: &mut Turn<'_>) -> Progress {
        self.turns += 1;
        self.expire_stalls(turn);
        let staged = self.stage_rings(turn);
        let sent = self.serve_from_guest(turn);
        turn.publish();
        let read = self.serve_to_guest(turn);
        turn.publish();
        // What the uplink brought for several guests waits among what they send.
        let sent = sent.sooner(Self::progress(&mut self.from, turn.now));
        let staged = if !self.staging.is_empty() && turn.work.pool.has_room() {
            Progress::More
        } else {
            staged
        };
        let waits = [self.takes_again(), self.stalls.front().map(|(at, _)| *at)];
        let waits = waits.into_iter().flatten().map(Progress::At);
        waits.fold(staged.sooner(sent).sooner(read), Progress::sooner)
    }

    /// What a tree's next wake-up means for the shard.
    pub(super) fn progress(tree: &mut Tree, now: Now) -> Progress {
        match tree.engine.next_wake(now.time()) {
            Wake::Now => Progress::More,
            Wake::At(at) => Progress::At(at.ceil_nanos()),
            Wake::Idle => Progress::Idle,
        }
    }

    /// The uplink does not take frames.
    pub(super) fn full(&mut self, poller: &Poller) {
        if self.takes == Takes::Frames {
            self.takes = Takes::Full;
            self.watch_writable(true, poller);
        }
    }

    /// The uplink takes frames again.
    pub(super) fn writable(&mut self, poller: &Poller, now: Now) {
        self.watch_writable(false, poller);
        self.release(now);
    }

    /// The uplink is down: whether frames are still held for it.
    pub(super) fn down(&mut self, now: Now) -> bool {
        let since = match self.takes {
            Takes::Down { since, .. } => since,
            Takes::Frames | Takes::Full => now.nanos,
        };
        self.takes = Takes::Down {
            since,
            retry: now.nanos.saturating_add(DOWN_RETRY),
        };
        now.nanos.saturating_sub(since) < DOWN_HOLD
    }

    /// When an uplink that is down is tried again.
    fn takes_again(&self) -> Option<u64> {
        match self.takes {
            Takes::Down { retry, .. } if !self.held.is_empty() => Some(retry),
            _ => None,
        }
    }

    /// Whether frames for the uplink may be tried now.
    pub(super) fn tries(&mut self, now: Now) -> bool {
        match self.takes {
            Takes::Frames => true,
            Takes::Full => false,
            Takes::Down { retry, since } => {
                self.gone || retry <= now.nanos || now.nanos.saturating_sub(since) >= DOWN_HOLD
            }
        }
    }

    /// Leaves that waited for the uplink wait no more.
    pub(super) fn release(&mut self, now: Now) {
        self.takes = Takes::Frames;
        self.unhold(now);
    }

    /// Leaves that waited for the uplink have their turn.
    fn unhold(&mut self, now: Now) {
        for leaf in std::mem::take(&mut self.held) {
            self.from.engine.unblock(leaf, now.time());
        }
    }

    /// Tries an uplink that was down again, if it is time.
    pub(super) fn retry(&mut self, now: Now) {
        if matches!(self.takes, Takes::Down { retry, .. } if retry <= now.nanos) {
            self.unhold(now);
        }
    }

    /// The uplink's device was taken away: its queues would report that for ever.
    pub(super) fn is_gone(&mut self, poller: &Poller) {
        if self.gone {
            return;
        }
        self.leave(poller);
        self.gone = true;
        log::error!(
            uplink = self.name, state = "gone";
            "its device was deleted; frames are dropped until it is there again"
        );
    }

    /// A guest has no buffers for a frame of this leaf.
    pub(super) fn blocked(&mut self, leaf: LeafKey, port: &mut Port, now: Now) {
        port.blocked.leaves.push(leaf);
        if port.blocked.since.is_none() {
            port.blocked.since = Some(now.nanos);
            self.stalls
                .push_back((now.nanos.saturating_add(STALL), port.index));
        }
    }

    /// A guest has posted buffers, or is not waited for any more.
    pub(super) fn unblock(&mut self, port: &mut Port, now: Now) {
        for leaf in port.blocked.leaves.drain(..) {
            self.to.engine.unblock(leaf, now.time());
        }
    }

    /// Gives guests up that have left frames waiting for too long.
    fn expire_stalls(&mut self, turn: &mut Turn<'_>) {
        let now = turn.now;
        while let Some(&(at, index)) = self.stalls.front()
            && at <= now.nanos
        {
            self.stalls.pop_front();
            let Some(port) = turn.ports.get_mut(index) else {
                continue;
            };
            match port.blocked.since {
                Some(since) if now.nanos.saturating_sub(since) >= STALL => {
                    port.blocked.stalled = true;
                    if !port.blocked.logged {
                        port.blocked.logged = true;
                        log::warn!(
                            port = port.name, state = "stalled";
                            "the guest posts too few receive buffers; what does not fit is dropped \
                             until it posts more"
                        );
                    }
                    self.unblock(port, now);
                }
                Some(since) => {
                    let at = since.saturating_add(STALL);
                    self.stalls.push_back((at, index));
                }
                None => {}
            }
        }
    }

    /// Takes back from a tree the frames that it dropped.
    pub(super) fn collect(&mut self, from_guest: bool, turn: &mut Turn<'_>) {
        let dropped = |lan: &mut Self| match from_guest {
            true => lan.from.engine.dropped(),
            false => lan.to.engine.dropped(),
        };
        while let Some(frame) = dropped(self) {
            self.lose(number(frame), from_guest, DropReason::Queue, turn);
        }
    }

    /// Forgets a frame of the pool that is not delivered.
    pub(super) fn lose(
        &mut self,
        number: u32,
        from_guest: bool,
        reason: DropReason,
        turn: &mut Turn<'_>,
    ) {
        let Some(unit) = turn.work.pool.get(number) else {
            return;
        };
        let port = match unit.target {
            super::pool::Target::Port(port) if !from_guest => Some(port),
            _ => unit.source,
        };
        if let Some(port) = port.and_then(|port| turn.ports.get_mut(port)) {
            let counters = &mut port.counters;
            let direction = if from_guest {
                &mut counters.from_guest
            } else {
                &mut counters.to_guest
            };
            direction.drops.add(reason, 1);
            if port.tap.is_some() {
                let way = match from_guest {
                    true => Direction::FromGuest,
                    false => Direction::ToGuest,
                };
                let (leaf, reason, work) = (unit.leaf, reason.word(), &*turn.work);
                if work.in_chain == Some(number) {
                    port.capture_chain(way, leaf, reason, &work.chain);
                } else {
                    port.capture_unit(way, leaf, reason, number, &work.pool);
                }
            }
        } else if unit.source.is_none() {
            self.refused.add(reason, 1);
        }
        turn.work.pool.free(number);
    }

    /// Whether a guest that may send to the uplink says where it is; how its announcement is tagged.
    pub(super) fn announced(&mut self, port: u32, unit: &[u8], now: Now) -> Option<TagChange> {
        let frame = unit.get(ring::HEADER_LEN..)?;
        match self.switch.from_guest(port, frame, now.nanos).ok()? {
            Forward::Uplink(tag) => Some(tag),
            Forward::Flood(flood) => flood.uplink(),
            Forward::Port(_) => None,
        }
    }
}
