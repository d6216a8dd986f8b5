//! A guest NIC that runs: its session, its memory, its queue pairs.

use std::time::Duration;

use vhost::VhostBackend;
use vhost::vhost_user::{Frontend, VhostUserFrontend};

use super::connect::{asked, start_ring};
use super::frame::Frame;
use super::load::{Absorbed, Flood, Flooded};
use super::memory::Memory;
use super::queue::Queue;
use super::raw::RawSession;
use super::receive::Receive;
use super::shape::Shape;
use super::transmit::Transmit;
use crate::error::{Error, Result};

/// A transmit and a receive ring.
#[derive(Debug)]
pub struct Pair {
    /// From the guest.
    pub transmit: Transmit,
    /// To the guest.
    pub receive: Receive,
}

/// A guest NIC that runs. Dropping it closes the session, as a killed virtual machine monitor does.
pub struct Port {
    session: Frontend,
    raw: RawSession,
    memory: Memory,
    features: u64,
    pairs: Vec<Pair>,
}

impl std::fmt::Debug for Port {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Port")
            .field("features", &self.features)
            .field("pairs", &self.pairs)
            .finish_non_exhaustive()
    }
}

impl Port {
    pub(super) const fn new(
        session: Frontend,
        raw: RawSession,
        memory: Memory,
        features: u64,
        pairs: Vec<Pair>,
    ) -> Self {
        Self {
            session,
            raw,
            memory,
            features,
            pairs,
        }
    }

    /// The features that were acknowledged.
    #[must_use]
    pub const fn features(&self) -> u64 {
        self.features
    }

    /// A queue pair.
    ///
    /// # Errors
    /// [`Error::Setup`] if there is no such pair.
    pub fn pair(&mut self, index: usize) -> Result<&mut Pair> {
        let pair = self.pairs.get_mut(index);
        pair.ok_or(Error::Setup("the front-end has no such queue pair"))
    }

    /// A ring, by the number the session's messages have for it.
    ///
    /// # Errors
    /// [`Error::Setup`] if there is no such ring.
    pub fn ring(&mut self, index: usize) -> Result<&mut Queue> {
        let pair = self.pair(index / 2)?;
        Ok(if index.is_multiple_of(2) {
            pair.receive.queue()
        } else {
            pair.transmit.queue()
        })
    }

    /// The guest's memory.
    pub const fn memory(&mut self) -> &mut Memory {
        &mut self.memory
    }

    /// The session's honest half.
    pub const fn session(&mut self) -> &mut Frontend {
        &mut self.session
    }

    /// The session's bytes. What is answered here is not answered to [`Self::session`].
    pub const fn raw(&mut self) -> &mut RawSession {
        &mut self.raw
    }

    /// Sends a frame on the first pair, in one descriptor.
    ///
    /// # Errors
    /// As [`Transmit::send`].
    pub fn send(&mut self, frame: &Frame) -> Result<()> {
        self.send_as(frame, &Shape::WHOLE)
    }

    /// Sends a frame on the first pair, cut as `shape` says.
    ///
    /// # Errors
    /// As [`Transmit::send`].
    pub fn send_as(&mut self, frame: &Frame, shape: &Shape) -> Result<()> {
        self.pair(0)?.transmit.send(frame, shape)
    }

    /// Waits for a frame on the first pair, and posts buffers anew.
    ///
    /// # Errors
    /// As [`Receive::take`].
    pub fn receive(&mut self, timeout: Duration) -> Result<Option<Frame>> {
        self.pair(0)?.receive.wait(timeout)
    }

    /// Waits until the daemon has completed all that was sent.
    ///
    /// # Errors
    /// As [`Transmit::settle`].
    pub fn settle(&mut self, timeout: Duration) -> Result<()> {
        let mut pairs = self.pairs.iter_mut();
        pairs.try_for_each(|pair| pair.transmit.settle(timeout))
    }

    /// Sends as fast as the ring takes it, on the first pair.
    ///
    /// # Errors
    /// As [`Transmit::flood`].
    pub fn flood(&mut self, flood: &Flood) -> Result<Flooded> {
        self.pair(0)?.transmit.flood(flood)
    }

    /// Receives as fast as frames come, on the first pair, and looks at no more than their length.
    ///
    /// # Errors
    /// As [`Receive::take`].
    pub fn absorb(&mut self, duration: Duration) -> Result<Absorbed> {
        self.pair(0)?.receive.absorb(duration)
    }

    /// Starts both rings of a pair where their drivers stand.
    ///
    /// # Errors
    /// [`Error::Io`] with the request that was refused.
    pub fn start_pair(&mut self, index: usize) -> Result<()> {
        let pair = self.pairs.get(index);
        let pair = pair.ok_or(Error::Setup("the front-end has no such queue pair"))?;
        let (session, memory) = (&mut self.session, &self.memory);
        let rings = [pair.receive.queue_ref(), pair.transmit.queue_ref()];
        for (offset, queue) in rings.into_iter().enumerate() {
            start_ring(session, memory, 2 * index + offset, queue, 0)?;
        }
        Ok(())
    }

    /// Stops a ring and answers where it stood (GET_VRING_BASE).
    ///
    /// # Errors
    /// [`Error::Io`] if the session is gone.
    pub fn stop_ring(&mut self, index: usize) -> Result<u32> {
        asked("GET_VRING_BASE", self.session.get_vring_base(index))
    }

    /// Lets a ring carry frames or not.
    ///
    /// # Errors
    /// [`Error::Io`] if the session is gone.
    pub fn enable_ring(&mut self, index: usize, enable: bool) -> Result<()> {
        asked(
            "SET_VRING_ENABLE",
            self.session.set_vring_enable(index, enable),
        )
    }
}
