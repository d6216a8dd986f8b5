//! A port: one guest NIC, its queue pairs, and its place in the trees of its uplink.

use std::sync::Arc;

use qos::LeafKey;
use ring::GuestMap;
use virtio_bindings::virtio_net as bits;

use super::capture::Tap;
use super::counters::PortCounters;
use super::offload::{self, GUEST_USO4, GUEST_USO6, has};
use super::poll::Looks;
use super::slot::Slot;
use super::token::{Kind, Token};
use super::tree::{Path, PortTree};
use crate::poller::Poller;

/// A transmit and a receive ring.
#[derive(Debug)]
pub(super) struct Pair {
    /// From-guest.
    pub(super) transmit: Slot,
    /// To-guest.
    pub(super) receive: Slot,
    /// Where the frame that the transmit ring has next went when it was last looked at.
    pub(super) path: Path,
    /// The transmit ring had nothing when it was last looked at, and asked for a kick.
    pub(super) empty: bool,
}

impl Pair {
    fn new(port: usize, pair: usize) -> Self {
        let slot = |kind| Slot::new(Token { port, kind }.encode());
        Self {
            transmit: slot(Kind::Transmit(pair)),
            receive: slot(Kind::Receive(pair)),
            path: Path::Uplink,
            empty: true,
        }
    }

    /// Whether frames have come to a transmit ring that had none, which is asked to kick if this is the
    /// `last` look. One at fault is for whoever takes from it to find out.
    pub(super) fn has_come(&mut self, last: bool) -> bool {
        self.empty
            && self.transmit.active().is_some_and(|running| {
                let come = match last {
                    true => running.ask_for_kick(None),
                    false => running.look(),
                };
                come != Ok(false)
            })
    }
}

/// A guest that has no buffers for a frame that waits.
#[derive(Debug, Default)]
pub(super) struct Blocked {
    /// The leaves held back until it has.
    pub(super) leaves: Vec<LeafKey>,
    /// Since when, in monotonic nanoseconds.
    pub(super) since: Option<u64>,
    /// The guest left a frame waiting for so long that what does not fit is dropped at once, until
    /// something fits again.
    pub(super) stalled: bool,
    /// Whether the guest's stalls have been logged in this session: a guest could cause many.
    pub(super) logged: bool,
}

/// One guest NIC.
#[derive(Debug)]
pub(super) struct Port {
    pub(super) index: u32,
    pub(super) name: String,
    /// The uplink it is behind.
    pub(super) lan: u32,
    pub(super) pairs: Vec<Pair>,
    pub(super) from: PortTree,
    pub(super) to: PortTree,
    /// It sends from no other address.
    pub(super) counters: PortCounters,
    pub(super) map: Option<Arc<GuestMap>>,
    /// Acknowledged by the running session.
    pub(super) features: u64,
    /// Where the round over the pairs goes on.
    pub(super) next_transmit: usize,
    pub(super) blocked: Blocked,
    /// A super-frame of which parts have gone, for each path.
    pub(super) cut: [Option<u32>; 2],
    /// Waits to be copied from.
    pub(super) staging: bool,
    /// Its frames are held in both directions.
    pub(super) paused: bool,
    /// Neighbouring frames of one flow may become one super-frame.
    pub(super) coalesce: bool,
    /// Who captures its frames.
    pub(super) tap: Option<Box<Tap>>,
}

impl Port {
    pub(super) fn new(index: u32, lan: u32, name: String, queues: usize) -> Self {
        let pairs = (0..queues).map(|pair| Pair::new(index as usize, pair));
        Self {
            index,
            name,
            lan,
            pairs: pairs.collect(),
            from: PortTree::default(),
            to: PortTree::default(),
            counters: PortCounters::default(),
            map: None,
            features: 0,
            next_transmit: 0,
            blocked: Blocked::default(),
            cut: [None; 2],
            staging: false,
            paused: false,
            coalesce: true,
            tap: None,
        }
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

    /// Whether frames can be given to the guest.
    pub(super) fn listens(&self) -> bool {
        self.pairs.iter().any(|pair| pair.receive.is_active())
    }

    /// The pair with a running receive ring that this one stands for.
    pub(super) fn receiving_pair(&self, wanted: usize) -> Option<usize> {
        let count = self.pairs.len();
        let runs = |pair: &usize| {
            self.pairs
                .get(*pair)
                .is_some_and(|pair| pair.receive.is_active())
        };
        (0..count).map(|by| (wanted + by) % count).find(runs)
    }

    /// The next pair whose transmit ring may have a frame that goes this way.
    pub(super) fn sending_pair(&mut self, path: Path) -> Option<usize> {
        let count = self.pairs.len();
        for by in 0..count {
            let index = (self.next_transmit + by) % count;
            let pair = &self.pairs[index];
            if !pair.empty && pair.path == path && pair.transmit.is_active() {
                self.next_transmit = index + 1;
                return Some(index);
            }
        }
        None
    }

    /// Asks to be kicked for frames in the transmit rings that had none, or has them looked for; true if there are some after
    /// all, or the ring is at fault (whoever looks next will find out).
    pub(super) fn await_frames(&mut self, looks: Option<&Looks>) -> bool {
        let mut come = false;
        for pair in self.pairs.iter_mut().filter(|pair| pair.empty) {
            if let Some(running) = pair.transmit.active()
                && running.ask_for_kick(looks) != Ok(false)
            {
                pair.empty = false;
                come = true;
            }
        }
        come
    }

    /// What has to be done to a frame with this header before the guest can take it.
    #[inline]
    pub(super) fn lacks(&self, header: &[u8; ring::HEADER_LEN]) -> Lack {
        const NEEDS_CSUM: u8 = 1;
        const ECN: u8 = 0x80;
        let [flags, gso, ..] = *header;
        if flags & NEEDS_CSUM == 0 && gso == 0 {
            return Lack::Nothing;
        }
        let bit = match gso & !ECN {
            0 => bits::VIRTIO_NET_F_GUEST_CSUM,
            1 => bits::VIRTIO_NET_F_GUEST_TSO4,
            4 => bits::VIRTIO_NET_F_GUEST_TSO6,
            _ => GUEST_USO4,
        };
        let both = bit != GUEST_USO4 || has(self.features, GUEST_USO6);
        let ecn = gso & ECN == 0 || has(self.features, bits::VIRTIO_NET_F_GUEST_ECN);
        let checksums = has(self.features, bits::VIRTIO_NET_F_GUEST_CSUM);
        match (gso, checksums && has(self.features, bit) && both && ecn) {
            (_, true) => Lack::Nothing,
            (0, false) => Lack::Checksum,
            (_, false) => Lack::Segmentation { checksums },
        }
    }

    /// What the guest may leave to us in frames that it sends.
    pub(super) const fn offloads(&self) -> ring::Offloads {
        offload::from_guest(self.features)
    }

    /// Stops all rings and forgets all of the guest.
    pub(super) fn reset(&mut self, poller: &Poller) {
        for vring in 0..2 * self.pairs.len() {
            if let Some(slot) = self.slot(vring) {
                slot.clear(poller);
            }
        }
        self.map = None;
        self.features = 0;
        self.blocked.logged = false;
        self.blocked.stalled = false;
    }
}

/// What a guest cannot do itself with a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lack {
    /// It takes the frame as it is.
    Nothing,
    /// It wants checksums finished.
    Checksum,
    /// It takes no such super-frame; whether it takes segments without a checksum.
    Segmentation {
        /// It does.
        checksums: bool,
    },
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

    pub(super) fn time(self) -> qos::Time {
        qos::Time::from_nanos(self.nanos)
    }
}

/// The ports of a shard, by their numbers.
#[derive(Debug, Default)]
pub(super) struct Ports(Vec<Option<Box<Port>>>);

impl Ports {
    #[inline]
    pub(super) fn get(&self, index: u32) -> Option<&Port> {
        self.0.get(index as usize)?.as_deref()
    }

    #[inline]
    pub(super) fn get_mut(&mut self, index: u32) -> Option<&mut Port> {
        self.0.get_mut(index as usize)?.as_deref_mut()
    }

    /// Whether the frames of a port are held.
    #[inline]
    pub(super) fn is_paused(&self, index: u32) -> bool {
        self.get(index).is_some_and(|port| port.paused)
    }

    pub(super) fn insert(&mut self, port: Port) {
        let index = port.index as usize;
        if self.0.len() <= index {
            self.0.resize_with(index + 1, || None);
        }
        self.0[index] = Some(Box::new(port));
    }

    pub(super) fn remove(&mut self, index: u32) -> Option<Box<Port>> {
        self.0.get_mut(index as usize)?.take()
    }
}
