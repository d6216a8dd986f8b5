//! What a front-end is to be like.

use std::path::{Path, PathBuf};

use super::port::Port;
use super::receive::Buffers;
use crate::error::Result;

/// A front-end to be; see the module for an example.
#[derive(Debug, Clone)]
pub struct FrontEnd {
    pub(super) socket: PathBuf,
    /// All that is offered where unset.
    pub(super) features: Option<u64>,
    pub(super) without: u64,
    pub(super) pairs: usize,
    pub(super) ring_size: u16,
    pub(super) buffers: Option<Buffers>,
    pub(super) largest: usize,
    pub(super) posting: bool,
}

impl FrontEnd {
    /// A front-end that will connect to `socket`: one queue pair, rings of 256, every offered feature.
    #[must_use]
    pub fn connect(socket: &Path) -> Self {
        Self {
            socket: socket.to_owned(),
            features: None,
            without: 0,
            pairs: 1,
            ring_size: 256,
            buffers: None,
            largest: 65_550,
            posting: true,
        }
    }

    /// Acknowledges these features (masks of [`super::features`]); those without which there is no
    /// session are added.
    #[must_use]
    pub const fn features(mut self, features: u64) -> Self {
        self.features = Some(features);
        self
    }

    /// Leaves these features out.
    #[must_use]
    pub const fn without(mut self, features: u64) -> Self {
        self.without |= features;
        self
    }

    /// Queue pairs.
    #[must_use]
    pub const fn queues(mut self, pairs: usize) -> Self {
        self.pairs = pairs;
        self
    }

    /// Descriptors of each ring: a power of two.
    #[must_use]
    pub const fn ring_size(mut self, size: u16) -> Self {
        self.ring_size = size;
        self
    }

    /// What is posted for frames to the guest.
    #[must_use]
    pub fn buffers(mut self, buffers: Buffers) -> Self {
        self.buffers = Some(buffers);
        self
    }

    /// The largest frame that will be sent, in bytes. Small ones need less memory and are faster.
    #[must_use]
    pub const fn largest(mut self, len: usize) -> Self {
        self.largest = len;
        self
    }

    /// Posts no receive buffers at the start.
    #[must_use]
    pub const fn posting_nothing(mut self) -> Self {
        self.posting = false;
        self
    }

    /// Connects, negotiates, shares the memory and starts the rings. Refused, it tries again for a
    /// second.
    ///
    /// # Errors
    /// [`crate::Error::Io`] with the request that the daemon refused, or [`crate::Error::Setup`] if a
    /// feature was asked for that is not offered.
    pub fn start(self) -> Result<Port> {
        super::connect::start(self)
    }
}
