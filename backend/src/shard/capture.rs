//! Copies of a guest's frames for an operator: each frame once, when it is known what becomes of it.
//!
//! Copies lie in slots that are made when the capture begins and go round between the shard and whoever
//! takes them. When there is none left a frame is counted as missed: nobody waits, and nothing is allocated
//! on the way of a frame.

use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel};
use std::time::SystemTime;

use qos::{ClassId, LeafKey};
use ring::net::MAX_FRAME_LEN;
use ring::{Chain, HEADER_LEN};
use vmm_sys_util::eventfd::{EFD_CLOEXEC, EFD_NONBLOCK, EventFd};

use super::pool::{Parts, Pool};
use super::port::Port;
use crate::control::Direction;

/// Bytes of all slots together, unless the fewest slots take more.
const MEMORY: usize = 4 << 20;

/// How many slots there are.
const SLOTS: std::ops::RangeInclusive<usize> = 16..=4096;

/// The frame went out by the uplink, or into the guest's ring.
pub(super) const SENT: &str = "sent";

/// The frame went to other guests.
pub(super) const LOCAL: &str = "local";

/// Which frames are wanted, and how much of them.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// Those in leaves with these ids below the uplink; of all, and of none, if absent.
    pub classes: Option<Vec<ClassId>>,
    /// Those of one direction.
    pub direction: Option<Direction>,
    /// Bytes of each frame at most.
    pub snap: u32,
    /// Frames at most.
    pub frames: u32,
}

/// A copy of a frame.
#[derive(Clone, Debug)]
pub struct FrameCopy {
    /// When it was known what becomes of it, in nanoseconds since 1970.
    pub time_nanos: u64,
    /// Which way it goes.
    pub direction: Direction,
    /// The id below the uplink of the leaf it was in, if it was in one.
    pub class: Option<ClassId>,
    /// What became of it: `sent`, `local`, or why it was dropped, as counters call it.
    pub verdict: &'static str,
    /// Bytes of the frame.
    pub len: u32,
    /// The first of them.
    pub data: Vec<u8>,
}

/// What both ends of a capture know of each other.
#[derive(Debug)]
struct Shared {
    wake: EventFd,
    /// The taker has been woken and has not looked yet.
    woken: AtomicBool,
    missed: AtomicU64,
    /// Nobody takes copies any more.
    closed: AtomicBool,
}

impl Shared {
    fn wake(&self) {
        // Its counter being full is as good as a wake-up.
        let _ = self.wake.write(1);
    }
}

/// The end that the shard has.
#[derive(Debug)]
pub struct Tap {
    wanted: Wanted,
    left: u32,
    free: Receiver<Box<FrameCopy>>,
    full: SyncSender<Box<FrameCopy>>,
    shared: Arc<Shared>,
}

/// The end that copies come out of. Dropping it ends the capture.
#[derive(Debug)]
pub struct Copies {
    full: Receiver<Box<FrameCopy>>,
    free: SyncSender<Box<FrameCopy>>,
    shared: Arc<Shared>,
}

/// No more copies come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Over {
    /// Frames of which there was no slot left for a copy.
    pub missed: u64,
}

impl Tap {
    /// Both ends of a capture, its slots made.
    ///
    /// # Errors
    /// When the process is out of descriptors.
    pub fn new(mut wanted: Wanted) -> io::Result<(Self, Copies)> {
        wanted.snap = wanted.snap.min(MAX_FRAME_LEN);
        let snap = usize::try_from(wanted.snap).unwrap_or(usize::MAX);
        let most = usize::try_from(wanted.frames).unwrap_or(usize::MAX);
        let slots = (MEMORY / snap.max(1)).clamp(*SLOTS.start(), *SLOTS.end());
        let slots = slots.min(most.max(1));
        let shared = Arc::new(Shared {
            wake: EventFd::new(EFD_CLOEXEC | EFD_NONBLOCK)?,
            woken: AtomicBool::new(false),
            missed: AtomicU64::new(0),
            closed: AtomicBool::new(false),
        });
        let (full, taken) = sync_channel(slots);
        let (back, free) = sync_channel(slots);
        for _ in 0..slots {
            let slot = FrameCopy {
                time_nanos: 0,
                direction: Direction::FromGuest,
                class: None,
                verdict: SENT,
                len: 0,
                data: Vec::with_capacity(snap),
            };
            // There is room for as many.
            let _ = back.try_send(Box::new(slot));
        }
        let copies = Copies {
            full: taken,
            free: back,
            shared: Arc::clone(&shared),
        };
        let tap = Self {
            left: wanted.frames,
            wanted,
            free,
            full,
            shared,
        };
        Ok((tap, copies))
    }

    /// Whether copies are still taken.
    pub(super) fn is_open(&self) -> bool {
        self.left > 0 && !self.shared.closed.load(Ordering::Relaxed)
    }

    fn wants(&self, seen: &Seen) -> bool {
        let direction = self.wanted.direction;
        let class = |wanted: &Vec<ClassId>| seen.class.is_some_and(|it| wanted.contains(&it));
        direction.is_none_or(|direction| direction == seen.direction)
            && self.wanted.classes.as_ref().is_none_or(class)
    }

    /// Copies a frame whose first bytes `fill` puts into what it is given; how many those are.
    fn copy(&mut self, seen: &Seen, fill: &mut dyn FnMut(&mut [u8]) -> usize) {
        if !self.wants(seen) {
            return;
        }
        let Ok(mut slot) = self.free.try_recv() else {
            self.shared.missed.fetch_add(1, Ordering::Relaxed);
            return;
        };
        let time = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
        slot.time_nanos = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        slot.direction = seen.direction;
        slot.class = seen.class;
        slot.verdict = seen.verdict;
        slot.len = seen.len;
        let len = usize::try_from(seen.len.min(self.wanted.snap)).unwrap_or(0);
        slot.data.clear();
        slot.data.resize(len, 0);
        let filled = fill(&mut slot.data);
        slot.data.truncate(filled);
        if self.full.try_send(slot).is_err() {
            self.left = 0;
            return;
        }
        self.left -= 1;
        if !self.shared.woken.swap(true, Ordering::AcqRel) {
            self.shared.wake();
        }
    }
}

impl Drop for Tap {
    fn drop(&mut self) {
        self.shared.wake();
    }
}

impl Drop for Copies {
    fn drop(&mut self) {
        self.shared.closed.store(true, Ordering::Relaxed);
    }
}

impl Copies {
    /// Readable when copies have come, or no more will.
    pub fn fd(&self) -> RawFd {
        self.shared.wake.as_raw_fd()
    }

    /// Forgets past wake-ups. Call before [`Self::take`], or one may be missed.
    pub fn clear_wake(&self) {
        // Nothing to read means nothing to forget.
        let _ = self.shared.wake.read();
        self.shared.woken.store(false, Ordering::Release);
    }

    /// Shows `look` the next copy, if there is one.
    ///
    /// # Errors
    /// [`Over`] when the last one has been shown: as many as were wanted have come, or the port is gone.
    pub fn take<T>(&self, look: impl FnOnce(&FrameCopy) -> T) -> Result<Option<T>, Over> {
        match self.full.try_recv() {
            Ok(slot) => {
                let looked = look(&slot);
                // Who filled it may be gone.
                let _ = self.free.try_send(slot);
                Ok(Some(looked))
            }
            Err(TryRecvError::Empty) => Ok(None),
            Err(TryRecvError::Disconnected) => Err(Over {
                missed: self.shared.missed.load(Ordering::Relaxed),
            }),
        }
    }
}

/// What is known of a frame that may be copied.
#[derive(Clone, Copy, Debug)]
struct Seen {
    direction: Direction,
    class: Option<ClassId>,
    verdict: &'static str,
    len: u32,
}

impl Port {
    /// Copies the frame in the chain to who captures this port's frames, if anybody does.
    #[inline]
    pub(super) fn capture_chain(
        &mut self,
        direction: Direction,
        leaf: Option<LeafKey>,
        verdict: &'static str,
        chain: &Chain,
    ) {
        if self.tap.is_some() {
            let len = chain.frame_len();
            self.capture(direction, leaf, verdict, len, &mut |bytes| {
                chain.copy_to(HEADER_LEN, bytes)
            });
        }
    }

    /// The same with a frame of the pool.
    #[inline]
    pub(super) fn capture_unit(
        &mut self,
        direction: Direction,
        leaf: Option<LeafKey>,
        verdict: &'static str,
        number: u32,
        pool: &Pool,
    ) {
        if self.tap.is_some() {
            let len = pool.get(number).map_or(0, |unit| unit.len);
            self.capture(direction, leaf, verdict, len, &mut |bytes| {
                let mut parts = Parts::new();
                pool.slices(number, 0, bytes.len(), &mut parts);
                fill(bytes, &parts)
            });
        }
    }

    /// The same with a frame that lies in these pieces.
    #[inline]
    pub(super) fn capture_parts(
        &mut self,
        direction: Direction,
        verdict: &'static str,
        len: u32,
        parts: &[&[u8]],
    ) {
        if self.tap.is_some() {
            self.capture(direction, None, verdict, len, &mut |bytes| {
                fill(bytes, parts)
            });
        }
    }

    #[cold]
    fn capture(
        &mut self,
        direction: Direction,
        leaf: Option<LeafKey>,
        verdict: &'static str,
        len: u32,
        fill: &mut dyn FnMut(&mut [u8]) -> usize,
    ) {
        let tree = match direction {
            Direction::FromGuest => &self.from,
            Direction::ToGuest => &self.to,
        };
        let seen = Seen {
            direction,
            class: leaf.and_then(|leaf| tree.id_of(leaf)),
            verdict,
            len,
        };
        if let Some(tap) = &mut self.tap {
            tap.copy(&seen, fill);
            if !tap.is_open() {
                self.tap = None;
            }
        }
    }

    /// Captures by `tap` from now on; false if somebody else does.
    pub(super) fn capture_by(&mut self, tap: Box<Tap>) -> bool {
        let free = self.tap.as_ref().is_none_or(|tap| !tap.is_open());
        if free {
            self.tap = Some(tap);
        }
        free
    }
}

/// Puts the first bytes of pieces into one; how many that were.
fn fill(mut bytes: &mut [u8], parts: &[&[u8]]) -> usize {
    let mut filled = 0;
    for part in parts {
        let len = part.len().min(bytes.len());
        let (first, rest) = bytes.split_at_mut(len);
        first.copy_from_slice(&part[..len]);
        bytes = rest;
        filled += len;
    }
    filled
}

#[cfg(test)]
mod tests;
