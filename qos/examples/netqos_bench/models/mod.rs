//! Schedulers as others build them, on the same leaves and in the same language, to measure ours against.
//!
//! [`Drr`] shares and does nothing else, [`HeapWf2q`] is fair packet by packet, [`RbtreeHtb`] has rates,
//! ceilings and three levels. Leaves are first in first out, numbered from zero.

mod drr;
mod heap_wf2q;
mod rbtree_htb;

use std::collections::VecDeque;

use qos::Time;

pub(crate) use drr::Drr;
pub(crate) use heap_wf2q::HeapWf2q;
pub(crate) use rbtree_htb::{HtbClass, RbtreeHtb};

/// Wire bytes that a class of the least weight may send in one go: one full-size frame.
pub(crate) const QUANTUM: u32 = 1538;

/// What can be measured: frames go in at leaves, and come out in the scheduler's order.
pub(crate) trait Scheduler {
    /// How a leaf is named.
    type Leaf: Copy + PartialEq;
    /// What waits.
    type Packet: Copy;
    /// What comes out.
    type Taken: Copy;

    /// The leaves, in the order in which they were configured.
    fn leaves(&self) -> Vec<Self::Leaf>;

    /// A frame of 60 bytes, 64 with its checksum, with a number of its own.
    fn packet(number: u64) -> Self::Packet;

    /// Takes a frame in, if there is room.
    fn enqueue(&mut self, leaf: Self::Leaf, packet: Self::Packet, now: Time) -> bool;

    /// Takes a burst of frames in, if there is room for all.
    fn enqueue_burst(&mut self, burst: &[(Self::Leaf, Self::Packet)], now: Time) -> bool {
        burst
            .iter()
            .all(|&(leaf, packet)| self.enqueue(leaf, packet, now))
    }

    /// Appends up to `budget` frames that may go at `now`.
    fn dequeue(&mut self, now: Time, budget: usize, out: &mut Vec<Self::Taken>);

    /// The leaf and the frame that came out.
    fn taken(taken: &Self::Taken) -> (Self::Leaf, Self::Packet);
}

/// A frame as the models know it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Packet {
    pub(crate) number: u64,
    pub(crate) wire_bytes: u32,
}

impl Packet {
    /// A minimum frame: 84 bytes on the wire.
    pub(crate) const fn minimum(number: u64) -> Self {
        Self {
            number,
            wire_bytes: 84,
        }
    }
}

/// Frames of one leaf.
#[derive(Clone, Debug)]
struct Fifo(VecDeque<Packet>);

impl Fifo {
    /// Frames that may wait.
    const LIMIT: usize = 128;

    fn new() -> Self {
        Self(VecDeque::with_capacity(Self::LIMIT))
    }

    /// Takes a frame in, if there is room; says whether it is the only one.
    fn push(&mut self, packet: Packet) -> Option<bool> {
        if self.0.len() >= Self::LIMIT {
            return None;
        }
        self.0.push_back(packet);
        Some(self.0.len() == 1)
    }
}

/// A leaf's number in a list of leaves.
fn index(leaf: u32) -> usize {
    leaf as usize
}

/// The numbers of this many leaves.
fn numbers(leaves: usize) -> Vec<u32> {
    (0..).take(leaves).collect()
}
