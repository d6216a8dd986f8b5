//! The frames that wait in the shard's own memory: from a ring that leads to several leaves, from one
//! guest to another, and from the uplink to a guest.
//!
//! A frame lies in blocks of one size, taken from a fixed number for all guests together. Blocks are
//! allocated when they are first needed and then go round, the last used first, so light traffic
//! touches the same few over and over.

mod landing;
#[cfg(test)]
mod tests;

use arrayvec::ArrayVec;
use qos::{FrameShape, LeafKey};
use ring::HEADER_LEN;
use ring::net::{HEAD_LEN, MAX_FRAME_LEN};

use self::landing::Landing;
use super::tag;
use crate::switch::{Flood, TagChange};

pub(super) use self::landing::{MOST as MOST_LANDED, Place};

/// Bytes of a block.
pub(super) const BLOCK: usize = 4096;

/// Where a frame begins in its first block: behind its virtio-net header, with room for a VLAN tag.
pub(super) const HEADROOM: usize = 32;

/// Blocks of the longest frame.
pub(super) const MAX_BLOCKS: usize = (MAX_FRAME_LEN as usize + HEADROOM).div_ceil(BLOCK);

/// Pieces that a frame may be handed on in: its blocks, and headers in place of its own.
pub(super) const MAX_PARTS: usize = MAX_BLOCKS + 2;

/// A frame in pieces.
pub(super) type Parts<'a> = ArrayVec<&'a [u8], MAX_PARTS>;

const NONE: u32 = u32::MAX;

/// In place of a first block: the frame lies where it was read.
const LANDED: u32 = NONE - 1;

/// A port that is never there.
const NOBODY: u32 = u32::MAX;

type Block = Box<[u8; BLOCK]>;

fn block() -> Block {
    Box::new([0; BLOCK])
}

/// Blocks of a frame of `len` bytes.
fn blocks_for(len: u32) -> usize {
    (len as usize + HEADROOM).div_ceil(BLOCK)
}

/// Where a frame of the pool goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Target {
    /// To the uplink.
    Uplink,
    /// To a port.
    Port(u32),
    /// To all ports that the switch names for it.
    Flood(Flood),
}

/// What is known of a frame of the pool.
#[derive(Clone, Copy, Debug)]
pub(super) struct Unit {
    first: u32,
    blocks: u32,
    /// Where what would be its first block begins, of a frame that lies where it was read.
    base: usize,
    /// Where the frame begins in its first block, or where it was read.
    start: usize,
    /// Bytes of the frame.
    pub(super) len: u32,
    /// The frame as it is stored, of which parts may have gone.
    pub(super) shape: FrameShape,
    /// What is left of it.
    pub(super) left: FrameShape,
    pub(super) target: Target,
    /// The port it is from; none if from the uplink.
    pub(super) source: Option<u32>,
    /// Which pair it goes by.
    pub(super) pair: u16,
    /// Since when it waits where it is, in monotonic nanoseconds.
    pub(super) since: u64,
    /// The leaf it waits in, or was to wait in.
    pub(super) leaf: Option<LeafKey>,
}

/// The frames and their blocks.
#[derive(Debug)]
pub(super) struct Pool {
    slots: Vec<Block>,
    next: Vec<u32>,
    free: u32,
    most: usize,
    used: usize,
    units: Vec<Unit>,
    free_units: Vec<u32>,
    /// Blocks of no frame, which the next one is read into.
    reserve: Vec<Block>,
    landing: Landing,
}

impl Pool {
    /// A pool of at most this many bytes, and at least the longest frame.
    pub(super) fn new(bytes: u64) -> Self {
        let most = usize::try_from(bytes).unwrap_or(usize::MAX) / BLOCK;
        Self {
            slots: Vec::new(),
            next: Vec::new(),
            free: NONE,
            most: most.clamp(MAX_BLOCKS, u32::MAX as usize - 1),
            used: 0,
            units: Vec::new(),
            free_units: Vec::new(),
            reserve: (0..MAX_BLOCKS).map(|_| block()).collect(),
            landing: Landing::default(),
        }
    }

    /// Whether any one frame fits in.
    pub(super) fn has_room(&self) -> bool {
        self.most - self.used >= MAX_BLOCKS
    }

    /// Whether no frame waits.
    pub(super) fn is_empty(&self) -> bool {
        self.units.len() == self.free_units.len()
    }

    /// The header and the first bytes, 512 at most, of what was put into [`Self::fill_spare`].
    pub(super) fn spare_head(&mut self, len: usize) -> Option<(&mut [u8; HEADER_LEN], &mut [u8])> {
        split_head(self.reserve.first_mut()?.as_mut_slice(), HEADROOM, len)
    }

    /// Changes the tag of a frame; its length and shape change with it.
    pub(super) fn retag(&mut self, number: u32, change: TagChange) {
        let Some(unit) = self.units.get_mut(number as usize) else {
            return;
        };
        let Some(front) = front(&mut self.slots, &mut self.landing, unit.first) else {
            return;
        };
        let start = unit.start - HEADER_LEN;
        let end = front.len().min(start + HEADER_LEN + unit.len as usize);
        let new = tag::change(&mut front[..end], start, change);
        unit.start = new + HEADER_LEN;
        unit.len = tag::length(unit.len, start, new);
        unit.shape = tag::shape(unit.shape, start, new);
        unit.left = tag::shape(unit.left, start, new);
    }

    /// Copies a frame to where no frame is, `read` bringing its bytes from an offset on.
    pub(super) fn fill_spare(
        &mut self,
        len: usize,
        mut read: impl FnMut(usize, &mut [u8]) -> usize,
    ) {
        let mut at = 0;
        for (index, block) in self.reserve.iter_mut().enumerate() {
            if at >= len {
                break;
            }
            let start = if index == 0 { HEADROOM } else { 0 };
            let room = &mut block[start..];
            let wanted = room.len().min(len - at);
            at += read(at, &mut room[..wanted]);
        }
    }

    /// Keeps what was put into [`Self::fill_spare`], `unit.len` bytes of it; its number, or `None` if the pool
    /// is full.
    pub(super) fn keep(&mut self, mut unit: Unit) -> Option<u32> {
        let blocks = blocks_for(unit.len);
        if blocks > self.reserve.len() || self.most - self.used < blocks {
            return None;
        }
        unit.first = NONE;
        unit.blocks = 0;
        // The last one first, so that each points to the one after it.
        for index in (0..blocks).rev() {
            let slot = self.take_slot();
            if let (Some(place), Some(full)) = (
                self.slots.get_mut(slot as usize),
                self.reserve.get_mut(index),
            ) {
                std::mem::swap(place, full);
            }
            if let Some(next) = self.next.get_mut(slot as usize) {
                *next = unit.first;
            }
            unit.first = slot;
            unit.blocks += 1;
        }
        self.used += blocks;
        Some(self.put(unit))
    }

    /// A number for a frame without bytes here yet.
    pub(super) fn promise(&mut self, mut unit: Unit) -> u32 {
        unit.first = NONE;
        unit.blocks = 0;
        self.put(unit)
    }

    /// Brings what was put into [`Self::fill_spare`] under the number of a promised frame; false if the pool
    /// is full.
    pub(super) fn fulfil(&mut self, number: u32) -> bool {
        let Some(promised) = self.get(number).copied() else {
            return false;
        };
        let Some(kept) = self.keep(promised) else {
            return false;
        };
        let Some(unit) = self.get(kept).copied() else {
            return false;
        };
        if let Some(place) = self.units.get_mut(number as usize) {
            *place = unit;
        }
        self.free_units.push(kept);
        true
    }

    fn put(&mut self, unit: Unit) -> u32 {
        if let Some(number) = self.free_units.pop() {
            if let Some(place) = self.units.get_mut(number as usize) {
                *place = unit;
            }
            return number;
        }
        self.units.push(unit);
        u32::try_from(self.units.len() - 1).unwrap_or(NONE)
    }

    fn take_slot(&mut self) -> u32 {
        if let Some(&next) = self.next.get(self.free as usize) {
            return std::mem::replace(&mut self.free, next);
        }
        self.slots.push(block());
        self.next.push(NONE);
        u32::try_from(self.slots.len() - 1).unwrap_or(NONE)
    }

    /// A frame by its number, as long as it was not freed.
    pub(super) fn get(&self, number: u32) -> Option<&Unit> {
        self.units.get(number as usize)
    }

    pub(super) fn get_mut(&mut self, number: u32) -> Option<&mut Unit> {
        self.units.get_mut(number as usize)
    }

    /// A port is gone: what is for it is for nobody, and what came from it from nobody (which is not from
    /// the uplink), or both would be taken for those of the next port of this number.
    pub(super) fn forget_port(&mut self, port: u32) {
        for unit in &mut self.units {
            if unit.target == Target::Port(port) {
                unit.target = Target::Port(NOBODY);
            }
            if unit.source == Some(port) {
                unit.source = Some(NOBODY);
            }
        }
    }

    /// Forgets a frame. Call it once.
    pub(super) fn free(&mut self, number: u32) {
        let Some(unit) = self.units.get(number as usize) else {
            return;
        };
        let mut slot = unit.first;
        if slot == LANDED {
            self.landing.leave();
        }
        self.used -= unit.blocks as usize;
        while let Some(next) = self.next.get_mut(slot as usize) {
            let after = std::mem::replace(next, self.free);
            self.free = slot;
            slot = after;
        }
        self.free_units.push(number);
    }

    /// The header and the first bytes, 512 at most, of a frame.
    pub(super) fn head_mut(&mut self, number: u32) -> Option<(&mut [u8; HEADER_LEN], &mut [u8])> {
        let unit = self.units.get(number as usize)?;
        let (start, len) = (unit.start, unit.len as usize);
        let front = front(&mut self.slots, &mut self.landing, unit.first)?;
        split_head(front, start, len)
    }

    /// The header of a frame that has its bytes here.
    pub(super) fn header(&self, number: u32) -> Option<&[u8; HEADER_LEN]> {
        let unit = self.units.get(number as usize)?;
        self.front(unit.first)?.get(..unit.start)?.last_chunk()
    }

    /// A copy of a frame, for another target; `None` if the pool is full.
    pub(super) fn duplicate(&mut self, number: u32, target: Target) -> Option<u32> {
        self.settle();
        let mut unit = *self.get(number)?;
        if self.most - self.used < unit.blocks as usize {
            return None;
        }
        let mut slot = unit.first;
        let mut blocks = self.reserve.iter_mut();
        while let (Some(from), Some(&next)) =
            (self.slots.get(slot as usize), self.next.get(slot as usize))
        {
            blocks.next()?.copy_from_slice(from.as_slice());
            slot = next;
        }
        unit.target = target;
        self.keep(unit)
    }

    /// The bytes of a frame from `offset` on, `len` of them, added to `parts` in order.
    pub(super) fn slices<'a>(
        &'a self,
        number: u32,
        offset: usize,
        len: usize,
        parts: &mut Parts<'a>,
    ) {
        let Some(unit) = self.units.get(number as usize) else {
            return;
        };
        if unit.first == LANDED {
            let frame = self.landing.bytes.get(unit.start..).unwrap_or_default();
            parts.extend(frame.get(offset..offset + len));
            return;
        }
        let (mut slot, mut left) = (unit.first, len);
        // As if what is before it were part of the frame.
        let mut skip = offset + unit.start;
        while left > 0
            && let (Some(block), Some(&next)) =
                (self.slots.get(slot as usize), self.next.get(slot as usize))
        {
            if skip < BLOCK {
                let part = &block[skip..BLOCK.min(skip + left)];
                left -= part.len();
                parts.push(part);
                skip = 0;
            } else {
                skip -= BLOCK;
            }
            slot = next;
        }
    }

    /// The bytes from the first block on that lie in one piece.
    fn front(&self, first: u32) -> Option<&[u8]> {
        match first {
            LANDED => Some(&self.landing.bytes),
            _ => self.slots.get(first as usize).map(|block| block.as_slice()),
        }
    }

    /// A frame of at most one block together with its header before it, which lie in one piece.
    pub(super) fn contiguous(&self, number: u32) -> Option<&[u8]> {
        let unit = self.units.get(number as usize)?;
        if unit.blocks != 1 {
            return None;
        }
        let start = unit.start;
        self.front(unit.first)?
            .get(start - HEADER_LEN..start + unit.len as usize)
    }
}

impl Unit {
    /// A frame of this shape, whose bytes are still to come.
    pub(super) const fn new(shape: FrameShape, target: Target) -> Self {
        Self {
            first: NONE,
            blocks: 0,
            base: 0,
            start: HEADROOM,
            len: shape.len,
            shape,
            left: shape,
            target,
            source: None,
            pair: 0,
            since: 0,
            leaf: None,
        }
    }
}

/// [`Pool::front`], to be changed.
fn front<'a>(slots: &'a mut [Block], landing: &'a mut Landing, first: u32) -> Option<&'a mut [u8]> {
    match first {
        LANDED => Some(&mut landing.bytes),
        _ => slots
            .get_mut(first as usize)
            .map(|block| block.as_mut_slice()),
    }
}

fn split_head(
    first: &mut [u8],
    start: usize,
    len: usize,
) -> Option<(&mut [u8; HEADER_LEN], &mut [u8])> {
    let (front, frame) = first.split_at_mut_checked(start)?;
    let head = len.min(HEAD_LEN).min(frame.len());
    Some((front.last_chunk_mut()?, &mut frame[..head]))
}
