//! Deficit round robin (Shreedhar and Varghese 1995): the least that a fair scheduler can do. One level,
//! no limits.

use std::collections::VecDeque;

use qos::Time;

use super::{Fifo, Packet, QUANTUM, Scheduler, index, numbers};

#[derive(Debug)]
struct Leaf {
    quantum: u32,
    /// Bytes it may still send in this round.
    deficit: u32,
    frames: Fifo,
}

#[derive(Debug)]
pub(crate) struct Drr {
    leaves: Vec<Leaf>,
    /// Leaves with frames; the first is being served.
    round: VecDeque<u32>,
}

impl Drr {
    /// A leaf for each weight. The least weight should be one.
    pub(crate) fn new(weights: &[u32]) -> Self {
        let leaf = |&weight| Leaf {
            quantum: QUANTUM * weight,
            deficit: 0,
            frames: Fifo::new(),
        };
        Self {
            leaves: weights.iter().map(leaf).collect(),
            round: VecDeque::with_capacity(weights.len()),
        }
    }
}

impl Scheduler for Drr {
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
                leaf.deficit = leaf.quantum;
                self.round.push_back(number);
            }
        }
        true
    }

    fn taken(&taken: &(u32, Packet)) -> (u32, Packet) {
        taken
    }

    fn dequeue(&mut self, _: Time, budget: usize, out: &mut Vec<(u32, Packet)>) {
        let mut left = budget;
        while left > 0
            && let Some(&number) = self.round.front()
        {
            let leaf = &mut self.leaves[index(number)];
            while left > 0
                && let Some(&packet) = leaf.frames.0.front()
            {
                if packet.wire_bytes > leaf.deficit {
                    leaf.deficit += leaf.quantum;
                    self.round.rotate_left(1);
                    break;
                }
                leaf.deficit -= packet.wire_bytes;
                leaf.frames.0.pop_front();
                out.push((number, packet));
                left -= 1;
            }
            // Whoever has emptied its queue starts anew when it comes back.
            if leaf.frames.0.is_empty() {
                self.round.pop_front();
            }
        }
    }
}
