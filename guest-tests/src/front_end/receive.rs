//! The receive ring: buffers of chosen size and number, and frames put together from them.

use std::time::Duration;

use ring::RingOptions;
use ring::driver::{Buffer, Used};

use super::frame::Frame;
use super::header::Header;
use super::memory::Memory;
use super::queue::Queue;
use super::transmit::misbehaved;
use crate::error::{Error, Result};

/// What a driver posts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Buffers {
    lengths: Vec<u32>,
    most: usize,
}

impl Buffers {
    /// Chains of one buffer of `len` bytes each.
    #[must_use]
    pub fn of(len: u32) -> Self {
        Self::chains(&[len])
    }

    /// Chains of buffers of these lengths.
    #[must_use]
    pub fn chains(lengths: &[u32]) -> Self {
        Self {
            lengths: lengths.to_vec(),
            most: usize::MAX,
        }
    }

    /// No more than `most` of them at a time; otherwise as many as the ring holds.
    #[must_use]
    pub const fn at_most(mut self, most: usize) -> Self {
        self.most = most;
        self
    }

    /// Chains that a ring of `size` descriptors holds.
    fn chains_in(&self, size: u16) -> usize {
        (usize::from(size) / self.lengths.len().max(1)).min(self.most)
    }

    /// Bytes for a ring of `size` descriptors, with room to align each chain.
    pub(super) fn bytes(&self, size: u16) -> u64 {
        let each: u64 = self.lengths.iter().map(|len| u64::from(*len)).sum();
        self.chains_in(size) as u64 * (each + 64)
    }

    /// What suits the features: small mergeable buffers, or large ones behind a header of their own.
    pub(super) fn suiting(mergeable: bool) -> Self {
        if mergeable {
            Self::of(2048)
        } else {
            Self::chains(&[12, 65_600])
        }
    }
}

/// A receive ring.
#[derive(Debug)]
pub struct Receive {
    queue: Queue,
    mergeable: bool,
    buffers: Buffers,
    slots: Vec<u64>,
    free: Vec<usize>,
    /// The slot of each head.
    posted: Vec<Option<usize>>,
    keep: usize,
    frames: u64,
}

impl Receive {
    pub(super) fn new(
        memory: &mut Memory,
        size: u16,
        options: RingOptions,
        mergeable: bool,
        buffers: Buffers,
    ) -> Result<Self> {
        let queue = Queue::new(memory, size, options)?;
        let each: u64 = buffers.lengths.iter().map(|len| u64::from(*len)).sum();
        let slots = (0..buffers.chains_in(size))
            .map(|_| memory.take(each, 64))
            .collect::<Result<Vec<_>>>()?;
        Ok(Self {
            queue,
            mergeable,
            buffers,
            free: (0..slots.len()).rev().collect(),
            keep: slots.len(),
            slots,
            posted: vec![None; usize::from(size)],
            frames: 0,
        })
    }

    /// The ring below.
    pub const fn queue(&mut self) -> &mut Queue {
        &mut self.queue
    }

    pub(super) const fn queue_ref(&self) -> &Queue {
        &self.queue
    }

    /// Chains posted and not used.
    #[must_use]
    pub fn posted(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    /// Frames taken so far.
    #[must_use]
    pub const fn frames(&self) -> u64 {
        self.frames
    }

    /// How many chains [`Self::refill`] keeps posted; those posted already stay.
    pub fn keep_posted(&mut self, chains: usize) {
        self.keep = chains.min(self.slots.len());
    }

    /// Posts chains until as many are posted as are to be.
    pub fn refill(&mut self) {
        while self.posted() < self.keep
            && let Some(index) = self.free.pop()
        {
            if !self.post(index) {
                self.free.push(index);
                break;
            }
        }
        self.queue.publish();
    }

    fn post(&mut self, index: usize) -> bool {
        let Some(mut at) = self.slots.get(index).copied() else {
            return false;
        };
        let mut buffers = [Buffer::writable(0, 0); 64];
        let lengths = &self.buffers.lengths;
        for (buffer, len) in buffers.iter_mut().zip(lengths) {
            *buffer = Buffer::writable(at, *len);
            at += u64::from(*len);
        }
        let added = buffers
            .get(..lengths.len())
            .and_then(|buffers| self.queue.driver().add(buffers));
        let slot = added.and_then(|head| self.posted.get_mut(usize::from(head)));
        slot.is_some_and(|slot| {
            *slot = Some(index);
            true
        })
    }

    /// Takes a frame, whole. Posts nothing anew.
    ///
    /// # Errors
    /// [`Error::Output`] if the device used what was not posted, wrote no header, or did not show all
    /// of a frame's chains at once (virtio 1.3 §5.1.6.4.1).
    pub fn take(&mut self) -> Result<Option<Frame>> {
        let Some((header, mut chain)) = self.first_chain()? else {
            return Ok(None);
        };
        let mut bytes = chain.split_off(Header::LEN);
        for _ in 1..self.chains_of(&header)? {
            let Some((used, at)) = self.use_chain()? else {
                return Err(misbehaved("showed half a frame", format!("{header:?}")));
            };
            bytes.extend(self.read(at, used.len as usize)?);
        }
        self.frames += 1;
        Ok(Some(Frame { header, bytes }))
    }

    /// Takes a frame without a look at more than its header; answers its length in bytes.
    pub(super) fn skip(&mut self) -> Result<Option<u64>> {
        let Some((used, at)) = self.use_chain()? else {
            return Ok(None);
        };
        let header = self.header(used, at)?;
        let mut len = u64::from(used.len);
        for _ in 1..self.chains_of(&header)? {
            let Some((used, _)) = self.use_chain()? else {
                return Err(misbehaved("showed half a frame", format!("{header:?}")));
            };
            len += u64::from(used.len);
        }
        self.frames += 1;
        Ok(Some(len.saturating_sub(Header::LEN as u64)))
    }

    /// Waits for a frame and refills.
    ///
    /// # Errors
    /// As [`Self::take`].
    pub fn wait(&mut self, timeout: Duration) -> Result<Option<Frame>> {
        let end = std::time::Instant::now() + timeout;
        loop {
            if let Some(frame) = self.take()? {
                self.refill();
                return Ok(Some(frame));
            }
            let left = end.saturating_duration_since(std::time::Instant::now());
            let came = self.queue.wait_for(left, |queue| {
                Ok(queue.driver().enable_calls().then_some(()))
            })?;
            if came.is_none() {
                return Ok(None);
            }
        }
    }

    fn first_chain(&mut self) -> Result<Option<(Header, Vec<u8>)>> {
        let Some((used, at)) = self.use_chain()? else {
            return Ok(None);
        };
        let header = self.header(used, at)?;
        Ok(Some((header, self.read(at, used.len as usize)?)))
    }

    /// The header at the start of a frame's first chain. A device splits it only where buffers are
    /// shorter than it, which mergeable ones may not be.
    fn header(&mut self, used: Used, at: u64) -> Result<Header> {
        let mut bytes = [0; Header::LEN];
        if (used.len as usize) < bytes.len() {
            return Err(misbehaved("wrote no header", format!("{used:?}")));
        }
        let read = self.queue.driver().peek(at, &mut bytes);
        read.map_err(|_| Error::Setup("a slot outside the guest's memory"))?;
        Ok(Header::from_bytes(bytes))
    }

    fn chains_of(&self, header: &Header) -> Result<u16> {
        match header.num_buffers {
            0 => Err(misbehaved("set no num_buffers", format!("{header:?}"))),
            chains if self.mergeable || chains == 1 => Ok(chains),
            _ => Err(misbehaved("merged unasked", format!("{header:?}"))),
        }
    }

    fn use_chain(&mut self) -> Result<Option<(Used, u64)>> {
        let Some(used) = self.queue.driver().collect() else {
            return Ok(None);
        };
        let head = usize::try_from(used.head).unwrap_or(usize::MAX);
        let slot = self.posted.get_mut(head).and_then(Option::take);
        let place = slot.and_then(|slot| Some((slot, *self.slots.get(slot)?)));
        let Some((slot, at)) = place else {
            return Err(misbehaved("used what was not posted", format!("{used:?}")));
        };
        self.free.push(slot);
        let room: u32 = self.buffers.lengths.iter().sum();
        if used.len > room {
            return Err(misbehaved("used more than was posted", format!("{used:?}")));
        }
        Ok(Some((used, at)))
    }

    fn read(&mut self, at: u64, len: usize) -> Result<Vec<u8>> {
        let mut bytes = vec![0; len];
        match self.queue.driver().peek(at, &mut bytes) {
            Ok(()) => Ok(bytes),
            Err(_) => Err(misbehaved(
                "wrote more than there was room",
                len.to_string(),
            )),
        }
    }
}
