//! Where frames from the uplink are read.
//!
//! Each is read in one piece, which takes the kernel less than a list of blocks, one behind the other,
//! and lies there until more are to be read: a frame that goes on before that is never copied to
//! blocks. Long frames that have to wait are worth a list: those after one are read into blocks right
//! away.

use std::io::IoSliceMut;
use std::ops::Range;

use arrayvec::ArrayVec;
use ring::net::MAX_FRAME_LEN;
use ring::{HEADER_LEN, inspect_from_host};

use crate::shard::judge::shape_of;

use super::{BLOCK, HEADROOM, LANDED, MAX_BLOCKS, NONE, Parts, Pool, Unit, blocks_for, split_head};

/// Most frames that lie where they were read.
pub(in crate::shard) const MOST: usize = 32;

/// Bytes that they may take, but for the last: as much as stays in the nearest caches.
const ROOM: usize = 65_536;

/// Frames begin this far apart, so that copies of them are aligned alike.
const ALIGN: usize = 64;

/// Where the next frame is to be read.
#[derive(Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "made where it is used, once a frame; a box would be an allocation"
)]
pub(in crate::shard) enum Place<'a> {
    /// Header and frame in one piece, with room for more than the longest frame.
    Whole(&'a mut [u8]),
    /// The header here, the frame into these parts, which have room for more than the longest.
    Parts(
        &'a mut [u8; HEADER_LEN],
        ArrayVec<IoSliceMut<'a>, MAX_BLOCKS>,
    ),
}

/// Frames in one piece each.
#[derive(Debug)]
pub(super) struct Landing {
    pub(super) bytes: Box<[u8]>,
    /// The frames that came here, of which some may have gone.
    frames: ArrayVec<u32, MOST>,
    /// How many have not.
    here: usize,
    /// Where the next one is put, as in a first block.
    next: usize,
    /// The last frame was a long one that had to wait.
    long_waits: bool,
    /// The last frame was read into blocks instead.
    passed_by: bool,
}

impl Default for Landing {
    fn default() -> Self {
        // One byte more than the longest frame needs tells one that is too long.
        let most = ROOM + HEADROOM + MAX_FRAME_LEN as usize + 1;
        Self {
            bytes: vec![0; most].into_boxed_slice(),
            frames: ArrayVec::new(),
            here: 0,
            next: 0,
            long_waits: false,
            passed_by: false,
        }
    }
}

impl Landing {
    /// One of the frames has gone.
    pub(super) fn leave(&mut self) {
        self.here -= 1;
        if self.here == 0 {
            self.frames.clear();
            self.next = 0;
        }
    }
}

impl Pool {
    /// Where to read the next frame; [`Self::admit`] it, or it is forgotten by the next call.
    pub(in crate::shard) fn place(&mut self) -> Option<Place<'_>> {
        if !self.has_place() {
            self.settle();
        }
        if self.is_empty() {
            self.landing.long_waits = false;
        }
        self.landing.passed_by = self.landing.long_waits;
        if !self.landing.passed_by {
            let start = self.landing.next + HEADROOM - HEADER_LEN;
            let unit = self.landing.bytes.get_mut(start..)?;
            return Some(Place::Whole(unit));
        }
        let mut blocks = self.reserve.iter_mut();
        let (front, first) = blocks.next()?.split_at_mut(HEADROOM);
        let mut parts = ArrayVec::new();
        parts.push(IoSliceMut::new(first));
        parts.extend(blocks.map(|block| IoSliceMut::new(block.as_mut_slice())));
        Some(Place::Parts(front.last_chunk_mut()?, parts))
    }

    /// The header and the first bytes, 512 at most, of a frame of `len` bytes that was read.
    pub(in crate::shard) fn read_head(
        &mut self,
        len: usize,
    ) -> Option<(&mut [u8; HEADER_LEN], &mut [u8])> {
        if self.landing.passed_by {
            self.spare_head(len)
        } else {
            split_head(&mut self.landing.bytes, self.landing.next + HEADROOM, len)
        }
    }

    /// The frame that was read, and whatever lies behind it.
    pub(in crate::shard) fn read_parts(&self) -> Parts<'_> {
        if !self.landing.passed_by {
            let frame = self.landing.bytes.get(self.landing.next + HEADROOM..);
            return frame.into_iter().collect();
        }
        let first = self.reserve.first().map(|block| &block[HEADROOM..]);
        let others = self.reserve.iter().skip(1).map(|block| block.as_slice());
        first.into_iter().chain(others).collect()
    }

    /// Takes up the frame that was read, `unit.len` bytes of it; its number, or `None` if the pool is full.
    pub(in crate::shard) fn admit(&mut self, mut unit: Unit) -> Option<u32> {
        let blocks = blocks_for(unit.len);
        if self.landing.passed_by {
            self.landing.long_waits = blocks > 1;
            return self.keep(unit);
        }
        if self.most - self.used < blocks {
            return None;
        }
        unit.first = LANDED;
        unit.blocks = u32::try_from(blocks).unwrap_or(0);
        unit.base = self.landing.next;
        unit.start += unit.base;
        let end = unit.start + unit.len as usize;
        // Room to wait in is its own from now on.
        self.used += blocks;
        let number = self.put(unit);
        self.landing.next = end.next_multiple_of(ALIGN);
        self.landing.frames.push(number);
        self.landing.here += 1;
        Some(number)
    }

    /// Header and bytes of a frame that lies where it was read, in one piece.
    pub(in crate::shard) fn landed(&mut self, number: u32) -> Option<&mut [u8]> {
        let range = self.landed_range(number)?;
        self.landing.bytes.get_mut(range)
    }

    fn landed_range(&self, number: u32) -> Option<Range<usize>> {
        let unit = self.get(number).filter(|unit| unit.first == LANDED)?;
        Some(unit.start - HEADER_LEN..unit.start + unit.len as usize)
    }

    /// Such a frame and the one of `len` bytes that was read behind it and is not admitted, each with its header, if
    /// there is room for both as one.
    #[inline]
    pub(in crate::shard) fn neighbours(&self, number: u32, len: usize) -> Option<(&[u8], &[u8])> {
        let unit = self.get(number)?;
        let both = unit.len.saturating_add(u32::try_from(len).ok()?);
        let more = blocks_for(both).saturating_sub(unit.blocks as usize);
        if self.landing.passed_by || self.most - self.used < more {
            return None;
        }
        let next = self.landing.next + HEADROOM;
        Some((
            self.landing.bytes.get(self.landed_range(number)?)?,
            self.landing.bytes.get(next - HEADER_LEN..next + len)?,
        ))
    }

    /// Appends to a frame these bytes of its [neighbour](Self::neighbours), which is forgotten.
    #[inline]
    pub(in crate::shard) fn append(&mut self, number: u32, payload: Range<usize>) {
        let from = self.landing.next + HEADROOM - HEADER_LEN;
        let Some(unit) = self.units.get_mut(number as usize) else {
            return;
        };
        let end = unit.start + unit.len as usize;
        let payload = from + payload.start..from + payload.end;
        // It is behind what it is appended to.
        let after = end + payload.len();
        self.landing.bytes.copy_within(payload, end);
        unit.len = u32::try_from(after - unit.start).unwrap_or(unit.len);
        let blocks = blocks_for(unit.len);
        self.used += blocks - unit.blocks as usize;
        unit.blocks = u32::try_from(blocks).unwrap_or(unit.blocks);
        self.landing.next = after.next_multiple_of(ALIGN);
    }

    /// Reads from the header of a frame what it has become.
    pub(in crate::shard) fn weigh_anew(&mut self, number: u32) {
        let Some(len) = self.get(number).map(|unit| unit.len) else {
            return;
        };
        let Some((header, head)) = self.head_mut(number) else {
            return;
        };
        let Ok(facts) = inspect_from_host(header, head, len) else {
            return;
        };
        if let Some(unit) = self.get_mut(number) {
            unit.shape = shape_of(&facts);
            unit.left = unit.shape;
        }
    }

    /// Whether another frame can be read without those before it being moved.
    #[inline]
    pub(in crate::shard) fn has_place(&self) -> bool {
        self.landing.next <= ROOM && !self.landing.frames.is_full()
    }

    /// Copies frames into blocks that are still where they were read: they wait.
    #[inline]
    pub(in crate::shard) fn settle(&mut self) {
        if self.landing.here > 0 {
            for number in std::mem::take(&mut self.landing.frames) {
                self.move_to_blocks(number);
            }
            self.landing.here = 0;
            self.landing.next = 0;
        }
    }

    fn move_to_blocks(&mut self, number: u32) {
        // A number may be another frame's by now, but every frame is moved once.
        let landed = self.get(number).filter(|unit| unit.first == LANDED);
        let Some(unit) = landed.copied() else {
            return;
        };
        let end = unit.start + unit.len as usize;
        let mut first = NONE;
        // The last one first, so that each points to the one after it.
        for index in (0..unit.blocks as usize).rev() {
            let slot = self.take_slot();
            let from = unit.base + index * BLOCK;
            let to = end.min(from + BLOCK);
            if let (Some(place), Some(bytes)) = (
                self.slots.get_mut(slot as usize),
                self.landing.bytes.get(from..to),
            ) {
                place[..bytes.len()].copy_from_slice(bytes);
            }
            if let Some(next) = self.next.get_mut(slot as usize) {
                *next = first;
            }
            first = slot;
        }
        self.landing.long_waits = unit.blocks > 1;
        if let Some(unit) = self.get_mut(number) {
            unit.first = first;
            unit.start -= unit.base;
        }
    }
}
