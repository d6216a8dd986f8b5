//! What a shard works with, made once and used for one frame after the other.

use std::collections::VecDeque;

use ring::{Chain, Gather, HEADER_LEN, IoVecs, Part, Train};

use super::poll::Looks;
use super::pool::Pool;
use super::port::{Now, Port, Ports};
use super::run::{RUN_FRAMES, Run};
use super::slot::Called;
use super::tag::TAG_LEN;
use super::tree::FlowHasher;
use crate::poller::Poller;

/// The largest frame that is copied out of the guest's memory whole. Up to here a copy and one
/// contiguous write cost less than an iovec.
pub(super) const COPY_MAX: usize = 2048;

/// Where a frame's header is copied to: room for a tag before it.
pub(super) const FRONT: usize = TAG_LEN;

/// What a copied frame takes in the scratch buffer.
const COPY_ROOM: usize = (FRONT + HEADER_LEN + COPY_MAX).next_multiple_of(64);

/// Buffers.
#[derive(Debug)]
pub(super) struct Work {
    pub(super) pool: Pool,
    pub(super) chain: Chain,
    /// The frame of the pool whose bytes are in `chain`, and not in the pool.
    pub(super) in_chain: Option<u32>,
    pub(super) gather: Gather,
    pub(super) iovecs: IoVecs,
    pub(super) part: Part,
    pub(super) hasher: FlowHasher,
    /// The headers and first bytes of frames, of the one in `chain` from [`FRONT`] behind `filled` on.
    pub(super) scratch: Box<[u8]>,
    /// Where those of frames end that are to be written.
    pub(super) filled: usize,
    /// What joins the frame that came last from an uplink.
    pub(super) train: Train,
    /// Frames that are sent together; none while they are.
    pub(super) run: Option<Box<Run>>,
    /// A frame put together from its parts, to be changed.
    pub(super) whole: Box<[u8]>,
    /// Rings that have something to be published.
    pub(super) dirty: Vec<(u32, usize)>,
    /// Calls that were put off: until when (monotonic nanoseconds), in that order, and of which rings.
    pub(super) owed: VecDeque<(u64, u32, usize)>,
}

impl Work {
    pub(super) fn new(pool_bytes: u64) -> Self {
        Self {
            pool: Pool::new(pool_bytes),
            chain: Chain::new(),
            in_chain: None,
            gather: Gather::new(),
            iovecs: IoVecs::with_capacity(ring::vectored::MAX_IOVECS),
            part: Part::new(),
            hasher: FlowHasher::default(),
            scratch: vec![0; (RUN_FRAMES + 1) * COPY_ROOM].into_boxed_slice(),
            filled: 0,
            train: Train::new(),
            run: None,
            whole: vec![0; ring::net::MAX_FRAME_LEN as usize].into_boxed_slice(),
            dirty: Vec::with_capacity(64),
            owed: VecDeque::with_capacity(64),
        }
    }

    /// Remembers that a ring has something to be published.
    #[inline]
    pub(super) fn touch(&mut self, port: u32, vring: usize) {
        if self.dirty.last() != Some(&(port, vring)) {
            self.dirty.push((port, vring));
        }
    }
}

/// One turn of a shard.
#[derive(Debug)]
pub(super) struct Turn<'a> {
    pub(super) ports: &'a mut Ports,
    pub(super) work: &'a mut Work,
    pub(super) poller: &'a Poller,
    pub(super) now: Now,
    /// Where to have rings looked at instead of asking for kicks, while the shard polls.
    pub(super) polling: Option<&'a Looks>,
    /// Nothing is taken from guests or uplinks any more.
    pub(super) draining: bool,
    /// Frames that were moved.
    pub(super) moved: usize,
    /// Frames from guests that had to wait for the guest they are for.
    pub(super) kept: usize,
}

impl<'a> Turn<'a> {
    /// A turn in which nothing is taken from anybody.
    pub(super) fn new(
        ports: &'a mut Ports,
        work: &'a mut Work,
        poller: &'a Poller,
        now: Now,
    ) -> Self {
        Self {
            ports,
            work,
            poller,
            now,
            polling: None,
            draining: true,
            moved: 0,
            kept: 0,
        }
    }
}

impl Turn<'_> {
    /// Makes visible to the guests what was completed.
    pub(super) fn publish(&mut self) {
        while let Some((port, vring)) = self.work.dirty.pop() {
            let Some(port) = self.ports.get_mut(port) else {
                continue;
            };
            let running = port.slot(vring).and_then(|slot| slot.active());
            match running.map(|running| running.publish(self.now.nanos)) {
                Some(Called::Yes) => count_call(port, vring),
                Some(Called::At(at)) => self.work.owed.push_back((at, port.index, vring)),
                Some(Called::No) | None => {}
            }
        }
    }
}

impl Work {
    /// Makes the calls that have been put off until now, where guests still want them; until when the
    /// next one is put off.
    pub(super) fn settle_calls(&mut self, ports: &mut Ports, now: u64) -> Option<u64> {
        while let Some(&(at, port, vring)) = self.owed.front() {
            if at > now {
                return Some(at);
            }
            self.owed.pop_front();
            if let Some(port) = ports.get_mut(port)
                && port.slot(vring).is_some_and(|slot| slot.settle_call())
            {
                count_call(port, vring);
            }
        }
        None
    }
}

fn count_call(port: &mut Port, vring: usize) {
    let counters = &mut port.counters;
    let direction = if vring.is_multiple_of(2) {
        &mut counters.to_guest
    } else {
        &mut counters.from_guest
    };
    direction.calls += 1;
}
