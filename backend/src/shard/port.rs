//! A port: one guest NIC, its queue pairs, its uplink and its limits.

use std::io;
use std::os::fd::AsRawFd;
use std::sync::Arc;

use qos::{Demand, Framing, Limiter, LimiterConfig, Rate, Time};
use ring::{Chain, Gather, GuestMap, IoVecs};

use super::backlog::Backlog;
use super::counters::PortCounters;
use super::slot::Slot;
use super::token::{Kind, Token};
use crate::args::MacAddr;
use crate::poller::{Interest, Poller};
use crate::uplink::Tap;

/// What a port is given for its life.
#[derive(Clone, Debug)]
pub struct PortSettings {
    /// Queue pairs; the uplink has as many queues.
    pub queues: usize,
    /// Limit of what the guest sends.
    pub from_guest: LimiterConfig,
    /// Limit of what the guest receives.
    pub to_guest: LimiterConfig,
    /// What the wire adds to a frame.
    pub framing: Framing,
    /// The address this port owns; frames from another source are dropped.
    pub mac: Option<MacAddr>,
}

/// A transmit and a receive ring, and the uplink queue that goes with them.
#[derive(Debug)]
pub(super) struct Pair {
    /// From-guest.
    pub(super) transmit: Slot,
    /// To-guest.
    pub(super) receive: Slot,
    pub(super) backlog: Backlog,
    /// What the uplink queue is watched for.
    pub(super) interest: Interest,
    /// Since when (monotonic nanoseconds) the guest has had no buffers for a frame that waits.
    pub(super) blocked_since: Option<u64>,
    /// The guest left a frame waiting for so long that what does not fit is dropped at once, until
    /// something fits again.
    pub(super) stalled: bool,
    /// Whether the guest's stalls have been logged in this session: a guest could cause many.
    pub(super) stall_logged: bool,
    /// Whether frames have been waiting for the limiter.
    pub(super) demand: Demand,
    /// Whether the uplink queue takes part in the uplink's spreading of flows.
    pub(super) attached: bool,
}

impl Pair {
    fn new(port: usize, pair: usize, cap: usize) -> Self {
        let slot = |kind| Slot::new(Token { port, kind }.encode());
        Self {
            transmit: slot(Kind::Transmit(pair)),
            receive: slot(Kind::Receive(pair)),
            backlog: Backlog::new(cap),
            interest: Interest::NONE,
            blocked_since: None,
            stalled: false,
            stall_logged: false,
            demand: Demand::Fresh,
            attached: true,
        }
    }
}

/// One guest NIC.
#[derive(Debug)]
pub(super) struct Port {
    pub(super) index: usize,
    pub(super) tap: Tap,
    pub(super) pairs: Vec<Pair>,
    pub(super) mac: Option<MacAddr>,
    pub(super) framing: Framing,
    pub(super) from_guest: Limiter,
    pub(super) to_guest: Limiter,
    /// The limit of what the guest receives, in bytes over time.
    pub(super) rate_to_guest: Option<Rate>,
    /// Whether what the guest receives is limited, so that a queue of ours is where it waits.
    pub(super) shaped_to_guest: bool,
    pub(super) counters: PortCounters,
    pub(super) map: Option<Arc<GuestMap>>,
    /// Acknowledged by the running session.
    pub(super) features: u64,
    /// Where the round over the pairs goes on, per direction.
    pub(super) next_transmit: usize,
    pub(super) next_receive: usize,
    /// Nothing is taken from guest or uplink any more.
    pub(super) draining: bool,
    /// Whether the guest's frames have been waiting for the limiter.
    pub(super) demand: Demand,
    /// The shard looks again before it sleeps, so kicks are not needed.
    pub(super) polling: bool,
    /// The uplink's device is gone.
    pub(super) uplink_gone: bool,
    /// The uplink does not take frames since then (monotonic nanoseconds).
    pub(super) uplink_down_since: Option<u64>,
    pub(super) carrier: bool,
    pub(super) chain: Chain,
    pub(super) gather: Gather,
    pub(super) iovecs: IoVecs,
    pub(super) scratch: Box<[u8]>,
}

/// The largest frame that is copied out of the guest's memory whole. Up to here a copy and one
/// contiguous write cost less than an iovec.
pub(super) const COPY_MAX: usize = 2048;

impl Port {
    /// A port on `tap`, whose uplink queues are not watched yet.
    pub(super) fn new(index: usize, tap: Tap, settings: &PortSettings) -> Self {
        let shaped_to_guest = settings.to_guest.rate.is_some() || settings.to_guest.pps.is_some();
        let cap = super::to_guest::queue_cap(&settings.to_guest);
        let pairs = (0..settings.queues).map(|pair| Pair::new(index, pair, cap));
        Self {
            index,
            pairs: pairs.collect(),
            tap,
            mac: settings.mac,
            framing: settings.framing,
            from_guest: Limiter::new(&settings.from_guest),
            to_guest: Limiter::new(&settings.to_guest),
            rate_to_guest: settings.to_guest.rate,
            shaped_to_guest,
            counters: PortCounters::default(),
            map: None,
            features: 0,
            next_transmit: 0,
            next_receive: 0,
            polling: false,
            uplink_gone: false,
            draining: false,
            demand: Demand::Fresh,
            uplink_down_since: None,
            carrier: false,
            chain: Chain::new(),
            gather: Gather::new(),
            iovecs: IoVecs::with_capacity(ring::vectored::MAX_IOVECS),
            scratch: vec![0; ring::HEADER_LEN + COPY_MAX].into_boxed_slice(),
        }
    }

    /// Puts the uplink queues into the poller, not watched for anything yet.
    pub(super) fn join(&self, poller: &Poller) -> io::Result<()> {
        for (pair, queue) in self.tap.queues().iter().enumerate() {
            let token = Token {
                port: self.index,
                kind: Kind::Uplink(pair),
            };
            poller.add(queue.as_raw_fd(), token.encode(), Interest::NONE)?;
        }
        Ok(())
    }

    /// The slot of a vring: even ones are receive rings, odd ones transmit rings
    /// (virtio 1.3 §5.1.2).
    pub(super) fn slot(&mut self, vring: usize) -> Option<&mut Slot> {
        let pair = self.pairs.get_mut(vring / 2)?;
        Some(if vring.is_multiple_of(2) {
            &mut pair.receive
        } else {
            &mut pair.transmit
        })
    }
}

/// The time of a visit, read once for many frames.
#[derive(Clone, Copy, Debug)]
pub(super) struct Now {
    pub(super) nanos: u64,
}

impl Now {
    pub(super) fn read() -> Self {
        Self {
            nanos: crate::poller::monotonic_nanos(),
        }
    }

    pub(super) fn time(self) -> Time {
        Time::from_nanos(self.nanos)
    }
}
