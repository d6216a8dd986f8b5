//! One ring of a port, as the shard holds it: stopped, running or broken.

use std::fs::File;
use std::os::fd::AsRawFd;
use std::sync::Arc;

use ring::{GuestMap, Ring, RingFault, RingOptions, RingState, SetupError};
use virtio_bindings::virtio_config::{VIRTIO_F_IN_ORDER, VIRTIO_F_VERSION_1};
use virtio_bindings::virtio_net::VIRTIO_NET_F_MRG_RXBUF;
use virtio_bindings::virtio_ring::{VIRTIO_RING_F_EVENT_IDX, VIRTIO_RING_F_INDIRECT_DESC};

use super::calls::{Due, Moderation};
use super::mailbox::RingStart;
use super::poll::Looks;
use super::token::{Kind, Token};
use crate::poller::{Interest, Poller};

/// Why a ring could not start. The front-end is at fault; the ring is broken until it is reset.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StartError {
    /// Ring started before there was memory for it.
    #[error("the front-end started the ring before it shared the guest's memory")]
    NoMemory,
    /// A driver for the interface before virtio 1.0.
    #[error("the guest's driver did not accept VIRTIO_F_VERSION_1; use a virtio 1.0 driver")]
    Legacy,
    /// Addresses or size make no ring.
    #[error("{0}")]
    Layout(#[from] SetupError),
    /// The kick descriptor cannot be waited for.
    #[error("the kick descriptor cannot be watched: {0}")]
    Kick(std::io::Error),
}

/// A ring that frames may pass through.
#[derive(Debug)]
pub(crate) struct Running {
    pub(crate) ring: Ring,
    /// Whether a frame may lie in several chains.
    pub(crate) mergeable: bool,
    kick: File,
    call: Option<File>,
    calls: Moderation,
    /// The port, if this is a transmit ring: one that may be looked at instead of asking for kicks.
    sends: Option<u32>,
    /// Whether the guest was asked to kick; spares asking again.
    asked: bool,
}

impl Running {
    fn start(
        start: RingStart,
        map: Option<&Arc<GuestMap>>,
        poller: &Poller,
        token: u64,
    ) -> Result<Self, StartError> {
        let map = map.ok_or(StartError::NoMemory)?;
        let has = |bit: u32| start.features & (1 << bit) != 0;
        if !has(VIRTIO_F_VERSION_1) {
            return Err(StartError::Legacy);
        }
        let options = RingOptions {
            event_idx: has(VIRTIO_RING_F_EVENT_IDX),
            indirect: has(VIRTIO_RING_F_INDIRECT_DESC),
            in_order: has(VIRTIO_F_IN_ORDER),
        };
        let ring = Ring::new(Arc::clone(map), start.layout, options, start.next_avail)?;
        poller
            .add(start.kick.as_raw_fd(), token, Interest::EDGE)
            .map_err(StartError::Kick)?;
        // What an earlier process published without a call is not known.
        start.call.iter().for_each(signal);
        Ok(Self {
            ring,
            mergeable: has(VIRTIO_NET_F_MRG_RXBUF),
            kick: start.kick,
            call: start.call,
            calls: Moderation::default(),
            sends: sender(token),
            asked: false,
        })
    }

    /// Makes what was completed visible, and calls the guest if it wants that.
    pub(super) fn publish(&mut self, now: u64) -> Called {
        let before = self.ring.published();
        let wanted = self.ring.publish();
        let after = self.ring.published();
        if before == after {
            return Called::No;
        }
        let due = match self.sends {
            Some(_) => self.calls.published(before, after, wanted, now),
            None => Due::Since(before),
        };
        match due {
            Due::Nothing => Called::No,
            Due::At(at) => Called::At(at),
            Due::Since(since) if wanted || self.ring.wants_call(since) => {
                self.call();
                Called::Yes
            }
            Due::Since(_) => Called::No,
        }
    }

    /// Calls the guest if it still wants a call that was put off; whether it was called.
    fn settle_call(&mut self) -> bool {
        let owed = self.calls.settle();
        owed.is_some_and(|since| self.ring.wants_call(since)) && self.call()
    }

    /// Asks to be kicked for entries that come, or has them looked for; true when some have come since
    /// the last look.
    pub(super) fn ask_for_kick(&mut self, looks: Option<&Looks>) -> Result<bool, RingFault> {
        if let Some(port) = self.sends
            && looks.is_some_and(|looks| looks.add(port))
        {
            return self.look();
        }
        self.asked = true;
        let come = self.ring.enable_kicks()?;
        if come {
            self.no_kicks();
        }
        Ok(come)
    }

    /// Whether entries have come since the last look.
    pub(super) fn look(&mut self) -> Result<bool, RingFault> {
        let seen = self.ring.pending();
        Ok(self.ring.available()? != seen)
    }

    /// Calls the guest, whether or not it wants that; false if there is nothing to call it by.
    pub(crate) fn call(&self) -> bool {
        self.call.iter().for_each(signal);
        self.call.is_some()
    }

    /// Spares the guest kicks while we look anyway.
    pub(crate) fn no_kicks(&mut self) {
        if self.asked {
            self.asked = false;
            self.ring.disable_kicks();
        }
    }
}

/// Whether a guest was called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Called {
    /// It wants no call, or one has been put off before.
    No,
    /// It was.
    Yes,
    /// [`Slot::settle_call`] is to say so at this time (monotonic nanoseconds).
    At(u64),
}

/// The port whose transmit ring kicks by this token.
fn sender(token: u64) -> Option<u32> {
    let token = Token::decode(token);
    let port = u32::try_from(token.port).ok();
    port.filter(|_| matches!(token.kind, Kind::Transmit(_)))
}

/// Adds one to an eventfd. Its counter being full is as good as a signal.
fn signal(event: &File) {
    let _ = rustix::io::write(event, &1_u64.to_ne_bytes());
}

#[derive(Debug)]
enum State {
    Stopped,
    Running(Box<Running>),
    /// Out of use until the front-end resets it; keeps the position for the answer.
    Broken,
}

/// A place for a ring.
#[derive(Debug)]
pub(crate) struct Slot {
    state: State,
    enabled: bool,
    next_avail: u16,
    /// Descriptors of the ring that is here, or was last in this session; 0 if there was none.
    size: u16,
    /// Where it stood when it was taken out of use.
    last: RingState,
    err: Option<File>,
    token: u64,
}

impl Slot {
    /// An empty place, whose kicks the poller reports as `token`.
    pub(crate) fn new(token: u64) -> Self {
        Self {
            state: State::Stopped,
            enabled: false,
            next_avail: 0,
            size: 0,
            last: RingState::default(),
            err: None,
            token,
        }
    }

    /// Puts a ring here, in place of whatever was.
    pub(crate) fn start(
        &mut self,
        mut start: RingStart,
        map: Option<&Arc<GuestMap>>,
        poller: &Poller,
    ) -> Result<(), StartError> {
        self.stop(poller);
        self.enabled = start.enabled;
        self.next_avail = start.next_avail;
        self.size = start.layout.size;
        self.last = RingState::default();
        self.err = start.err.take();
        match Running::start(start, map, poller, self.token) {
            Ok(running) => {
                self.state = State::Running(Box::new(running));
                Ok(())
            }
            Err(error) => {
                self.broken(poller);
                Err(error)
            }
        }
    }

    /// Takes the ring away and says where it stood.
    pub(crate) fn stop(&mut self, poller: &Poller) -> u16 {
        self.halt(poller);
        self.state = State::Stopped;
        self.next_avail
    }

    /// Takes the ring away, and forgets that there was one.
    pub(crate) fn clear(&mut self, poller: &Poller) {
        self.stop(poller);
        *self = Self::new(self.token);
    }

    /// What there is here: a word for it, the descriptors of the ring, and where that stands, or stood when
    /// it was taken out of use.
    pub(crate) fn look(&self) -> (&'static str, u16, RingState) {
        let state = match &self.state {
            State::Running(running) => {
                let state = if self.enabled { "running" } else { "disabled" };
                return (state, self.size, running.ring.state());
            }
            State::Broken => "broken",
            State::Stopped if self.size == 0 => "unused",
            State::Stopped => "stopped",
        };
        (state, self.size, self.last)
    }

    /// Takes the ring out of use until the front-end stops and starts it again.
    pub(crate) fn broken(&mut self, poller: &Poller) {
        self.halt(poller);
        self.state = State::Broken;
        if let Some(err) = &self.err {
            signal(err);
        }
    }

    fn halt(&mut self, poller: &Poller) {
        if let State::Running(running) = &mut self.state {
            // What was completed but not published belongs to the position we report.
            if running.ring.publish() {
                running.call();
            }
            running.settle_call();
            self.next_avail = running.ring.next_avail();
            self.last = running.ring.state();
            // It was added when the ring started.
            let _ = poller.remove(running.kick.as_raw_fd());
        }
    }

    /// The ring, if frames may pass.
    #[inline]
    pub(crate) fn active(&mut self) -> Option<&mut Running> {
        match &mut self.state {
            State::Running(running) if self.enabled => Some(running),
            _ => None,
        }
    }

    /// Calls the guest if it still wants a call that was put off; whether it was called.
    pub(super) fn settle_call(&mut self) -> bool {
        match &mut self.state {
            State::Running(running) => running.settle_call(),
            State::Stopped | State::Broken => false,
        }
    }

    /// Whether frames may pass.
    pub(crate) fn is_active(&self) -> bool {
        self.enabled && matches!(self.state, State::Running(_))
    }

    /// Lets frames pass or not.
    pub(crate) fn enable(&mut self, enabled: bool) {
        self.enabled = enabled;
    }

    /// Waits for kicks on another descriptor.
    pub(crate) fn set_kick(&mut self, kick: File, poller: &Poller) -> Result<(), StartError> {
        if let State::Running(running) = &mut self.state {
            // The old one was added when the ring started.
            let _ = poller.remove(running.kick.as_raw_fd());
            running.kick = kick;
            let added = poller.add(running.kick.as_raw_fd(), self.token, Interest::EDGE);
            return added.map_err(StartError::Kick);
        }
        Ok(())
    }

    /// Calls on another descriptor from now on, and once at once: a call may have been lost.
    pub(crate) fn set_call(&mut self, call: Option<File>) {
        if let State::Running(running) = &mut self.state {
            running.call = call;
            if let Some(call) = &running.call {
                signal(call);
            }
        }
    }

    /// Reports errors on another descriptor from now on.
    pub(crate) fn set_err(&mut self, err: Option<File>) {
        self.err = err;
    }

    /// Looks for the ring in another memory generation.
    pub(crate) fn rebind(&mut self, map: &Arc<GuestMap>) -> Result<(), SetupError> {
        match &mut self.state {
            State::Running(running) => running.ring.rebind(Arc::clone(map)),
            _ => Ok(()),
        }
    }
}
