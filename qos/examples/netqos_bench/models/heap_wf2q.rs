//! WF2Q+ (Bennett and Zhang 1997) with two heaps: those who wait for their virtual start, and those whose
//! start has come, by virtual finish. One level, no limits; every packet is chosen anew.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use qos::Time;

use super::{Fifo, Packet, Scheduler, index, numbers};

/// Virtual time of a byte at weight 1, as a shift: lasts for 2^40 bytes at weight 1.
const SCALE: u32 = 24;

#[derive(Debug)]
struct Leaf {
    weight: u32,
    /// Virtual time of one byte.
    inverse: u64,
    start: u64,
    finish: u64,
    frames: Fifo,
}

type Heap = BinaryHeap<Reverse<(u64, u32)>>;

#[derive(Debug)]
pub(crate) struct HeapWf2q {
    leaves: Vec<Leaf>,
    now: u64,
    /// Weights of the leaves that have frames.
    weights: u64,
    /// By virtual start.
    waiting: Heap,
    /// By virtual finish.
    eligible: Heap,
}

impl HeapWf2q {
    /// A leaf for each weight.
    pub(crate) fn new(weights: &[u32]) -> Self {
        let leaf = |&weight: &u32| Leaf {
            weight,
            inverse: (1 << SCALE) / u64::from(weight),
            start: 0,
            finish: 0,
            frames: Fifo::new(),
        };
        Self {
            leaves: weights.iter().map(leaf).collect(),
            now: 0,
            weights: 0,
            waiting: Heap::with_capacity(weights.len()),
            eligible: Heap::with_capacity(weights.len()),
        }
    }

    /// Gives a leaf its place, for the frame at its head.
    fn place(&mut self, number: u32, start: u64, wire_bytes: u32) {
        let leaf = &mut self.leaves[index(number)];
        leaf.start = start;
        leaf.finish = start + u64::from(wire_bytes) * leaf.inverse;
        if start <= self.now {
            self.eligible.push(Reverse((leaf.finish, number)));
        } else {
            self.waiting.push(Reverse((start, number)));
        }
    }

    fn next(&mut self) -> Option<(u32, Packet)> {
        // If nobody's start has come, virtual time goes on to the first.
        if self.eligible.is_empty()
            && let Some(&Reverse((start, _))) = self.waiting.peek()
        {
            self.now = self.now.max(start);
        }
        while let Some(&Reverse((start, number))) = self.waiting.peek()
            && start <= self.now
        {
            self.waiting.pop();
            let finish = self.leaves[index(number)].finish;
            self.eligible.push(Reverse((finish, number)));
        }
        let Reverse((finish, number)) = self.eligible.pop()?;
        let leaf = &mut self.leaves[index(number)];
        let packet = leaf.frames.0.pop_front()?;
        self.now += (u64::from(packet.wire_bytes) << SCALE) / self.weights.max(1);
        match leaf.frames.0.front() {
            Some(next) => {
                let wire_bytes = next.wire_bytes;
                self.place(number, finish, wire_bytes);
            }
            None => self.weights -= u64::from(leaf.weight),
        }
        Some((number, packet))
    }
}

impl Scheduler for HeapWf2q {
    type Leaf = u32;
    type Packet = Packet;
    type Taken = (u32, Packet);

    fn leaves(&self) -> Vec<u32> {
        numbers(self.leaves.len())
    }

    fn packet(number: u64) -> Packet {
        Packet::minimum(number)
    }

    fn enqueue(&mut self, number: u32, packet: Packet, _: Time) -> bool {
        let leaf = &mut self.leaves[index(number)];
        match leaf.frames.push(packet) {
            None => return false,
            Some(false) => {}
            Some(true) => {
                self.weights += u64::from(leaf.weight);
                let start = leaf.finish.max(self.now);
                self.place(number, start, packet.wire_bytes);
            }
        }
        true
    }

    fn taken(&taken: &(u32, Packet)) -> (u32, Packet) {
        taken
    }

    fn dequeue(&mut self, _: Time, budget: usize, out: &mut Vec<(u32, Packet)>) {
        out.extend(std::iter::from_fn(|| self.next()).take(budget));
    }
}
