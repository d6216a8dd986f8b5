//! The transmit ring: frames in slots of the guest's memory, chains of any shape, completions in order.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use ring::RingOptions;
use ring::driver::{Buffer, Used};

use super::frame::Frame;
use super::header::Header;
use super::memory::Memory;
use super::queue::Queue;
use super::shape::Shape;
use crate::error::{Error, Result};

/// How long a full ring may take to give a chain back.
const PATIENCE: Duration = Duration::from_secs(5);

/// A place for one chain: its frame and its indirect table.
#[derive(Debug)]
struct Slot {
    frame: u64,
    table: u64,
    buffers: Vec<Buffer>,
    indirect: bool,
    published: Instant,
}

/// A transmit ring.
#[derive(Debug)]
pub struct Transmit {
    queue: Queue,
    slots: Vec<Slot>,
    free: Vec<usize>,
    /// Head and slot of each chain under way, oldest first.
    under_way: VecDeque<(u16, usize)>,
    room: usize,
    completed: u64,
}

impl Transmit {
    pub(super) fn new(
        memory: &mut Memory,
        size: u16,
        options: RingOptions,
        largest: usize,
    ) -> Result<Self> {
        let queue = Queue::new(memory, size, options)?;
        let room = (Header::LEN + largest).next_multiple_of(64);
        let mut slots = Vec::with_capacity(usize::from(size));
        for _ in 0..size {
            let frame = memory.take(room as u64, 64)?;
            slots.push(Slot {
                frame,
                table: 0,
                buffers: Vec::new(),
                indirect: false,
                published: Instant::now(),
            });
        }
        for slot in &mut slots {
            slot.table = memory.take(u64::from(size) * 16, 16)?;
        }
        Ok(Self {
            queue,
            free: (0..slots.len()).rev().collect(),
            under_way: VecDeque::with_capacity(slots.len()),
            slots,
            room,
            completed: 0,
        })
    }

    /// The ring below.
    pub const fn queue(&mut self) -> &mut Queue {
        &mut self.queue
    }

    pub(super) const fn queue_ref(&self) -> &Queue {
        &self.queue
    }

    /// Chains completed so far.
    #[must_use]
    pub const fn completed(&self) -> u64 {
        self.completed
    }

    /// Chains that were added and are not completed.
    #[must_use]
    pub fn under_way(&self) -> usize {
        self.under_way.len()
    }

    /// Adds a frame, which the device sees at the next [`Queue::publish`]. False when the ring is full.
    ///
    /// # Errors
    /// [`Error::Setup`] if the frame is larger than the front-end was made for.
    pub fn push(&mut self, frame: &Frame, shape: &Shape) -> Result<bool> {
        let Some(index) = self.free.pop() else {
            return Ok(false);
        };
        self.write(index, frame, shape)?;
        let added = self.submit(index);
        if !added {
            self.free.push(index);
        }
        Ok(added)
    }

    fn write(&mut self, index: usize, frame: &Frame, shape: &Shape) -> Result<()> {
        let total = Header::LEN + frame.bytes.len();
        let slot = self.slots.get_mut(index).filter(|_| total <= self.room);
        let slot = slot.ok_or(Error::Setup(
            "the frame is larger than the front-end's largest",
        ))?;
        let driver = self.queue.driver();
        let written = driver
            .poke(slot.frame, &frame.header.to_bytes())
            .and_then(|()| driver.poke(slot.frame + Header::LEN as u64, &frame.bytes));
        written.map_err(|_| Error::Setup("a slot outside the guest's memory"))?;
        slot.indirect = shape.is_indirect();
        slot.buffers.clear();
        let mut at = slot.frame;
        for len in shape.cut(total) {
            slot.buffers.push(Buffer::readable(at, len));
            at += u64::from(len);
        }
        Ok(())
    }

    fn submit(&mut self, index: usize) -> bool {
        let Some(slot) = self.slots.get(index) else {
            return false;
        };
        let driver = self.queue.driver();
        let head = if slot.indirect {
            driver.add_indirect(&slot.buffers, slot.table)
        } else {
            driver.add(&slot.buffers)
        };
        let Some(head) = head else { return false };
        self.under_way.push_back((head, index));
        true
    }

    /// Adds a frame and shows it to the device, waiting while the ring is full.
    ///
    /// # Errors
    /// [`Error::Timeout`] if the ring stays full, and as [`Self::push`] and [`Self::collect`].
    pub fn send(&mut self, frame: &Frame, shape: &Shape) -> Result<()> {
        while self.collect()?.is_some() {}
        let deadline = Instant::now() + PATIENCE;
        while !self.push(frame, shape)? {
            if !self.wait_completion(PATIENCE)? || Instant::now() > deadline {
                return Err(full());
            }
            while self.collect()?.is_some() {}
        }
        self.queue.publish();
        Ok(())
    }

    /// Takes a completion.
    ///
    /// # Errors
    /// [`Error::Output`] if the device completed anything but the oldest chain, or wrote into it.
    pub fn collect(&mut self) -> Result<Option<Used>> {
        let Some(used) = self.queue.driver().collect() else {
            return Ok(None);
        };
        let oldest = self.under_way.pop_front();
        let Some((_, slot)) = oldest.filter(|(head, _)| u32::from(*head) == used.head) else {
            return Err(misbehaved(
                "completed out of order",
                format!("{used:?}, {oldest:?}"),
            ));
        };
        if used.len != 0 {
            return Err(misbehaved(
                "wrote into a transmit chain",
                format!("{used:?}"),
            ));
        }
        self.free.push(slot);
        self.completed += 1;
        Ok(Some(used))
    }

    /// Waits until every chain is completed.
    ///
    /// # Errors
    /// [`Error::Timeout`] if some are not, and as [`Self::collect`].
    pub fn settle(&mut self, timeout: Duration) -> Result<()> {
        let deadline = Instant::now() + timeout;
        loop {
            while self.collect()?.is_some() {}
            if self.under_way.is_empty() {
                return Ok(());
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() || !self.wait_completion(left)? {
                return Err(full());
            }
        }
    }

    /// Waits until there is something to collect.
    pub(super) fn wait_completion(&mut self, timeout: Duration) -> Result<bool> {
        let waited = self.queue.wait_for(timeout, |queue| {
            Ok(queue.driver().enable_calls().then_some(()))
        })?;
        Ok(waited.is_some())
    }

    /// Writes the frame into every slot, so that [`Self::resubmit`] need not.
    pub(super) fn prepare(&mut self, frame: &Frame, shape: &Shape) -> Result<()> {
        for index in 0..self.slots.len() {
            self.write(index, frame, shape)?;
        }
        Ok(())
    }

    /// Adds up to `most` prepared frames, stamped with `now`; answers how many.
    pub(super) fn resubmit(&mut self, most: usize, now: Instant) -> usize {
        let mut added = 0;
        while added < most
            && let Some(index) = self.free.pop()
        {
            if !self.submit(index) {
                self.free.push(index);
                break;
            }
            if let Some(slot) = self.slots.get_mut(index) {
                slot.published = now;
            }
            added += 1;
        }
        added
    }

    /// When the oldest chain under way was added by [`Self::resubmit`].
    pub(super) fn oldest_stamp(&self) -> Option<Instant> {
        let (_, slot) = self.under_way.front()?;
        self.slots.get(*slot).map(|slot| slot.published)
    }
}

fn full() -> Error {
    Error::Timeout {
        what: "the completion of the chains".to_owned(),
        timeout: PATIENCE,
        log: String::new(),
    }
}

pub(super) fn misbehaved(what: &str, detail: String) -> Error {
    Error::Output {
        tool: "the device",
        reason: format!("it {what}"),
        output: detail,
    }
}
