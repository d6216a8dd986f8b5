//! The queue of a leaf, of either kind.

use super::flows::Flows;
use super::frame::Frame;
use super::frames::{Fifo, Frames};
use crate::class::LeafQueue;
use crate::wire::{FrameShape, Framing};

#[derive(Clone, Debug)]
pub(super) enum Queue {
    Fifo(Fifo),
    Flows(Box<Flows>),
}

impl Queue {
    /// An empty queue; none for a leaf that holds.
    pub(super) fn new(kind: LeafQueue, framing: Framing) -> Option<Self> {
        match kind {
            LeafQueue::Hold => None,
            LeafQueue::Fifo { frames } => Some(Self::Fifo(Fifo::new(frames))),
            LeafQueue::Flows(config) => Some(Self::Flows(Box::new(Flows::new(config, framing)))),
        }
    }

    /// Takes other settings over, if the frames can stay.
    pub(super) fn retune(&mut self, kind: LeafQueue, framing: Framing) -> bool {
        match (self, kind) {
            (Self::Fifo(fifo), LeafQueue::Fifo { frames }) => {
                fifo.limit = frames;
                true
            }
            (Self::Flows(flows), LeafQueue::Flows(config))
                if flows.config().buckets == config.buckets =>
            {
                flows.retune(config, framing);
                true
            }
            _ => false,
        }
    }

    pub(super) const fn frames(&self) -> u32 {
        match self {
            Self::Fifo(fifo) => fifo.frames,
            Self::Flows(flows) => flows.frames(),
        }
    }

    /// The frame chosen last has gone as `sent`. Returns it if no part of it is left.
    #[inline]
    pub(super) fn sent(&mut self, pool: &mut Frames, sent: FrameShape) -> Option<Frame> {
        let chosen = match self {
            Self::Fifo(fifo) => fifo,
            Self::Flows(flows) => return flows.sent(pool, sent),
        };
        let rest = chosen.head(pool)?.0.shape.after(sent);
        match rest {
            None => chosen.pop(pool),
            Some(rest) => {
                chosen.shrink(pool, rest);
                None
            }
        }
    }

    /// Any frame, to empty the queue.
    pub(super) fn take(&mut self, pool: &mut Frames) -> Option<Frame> {
        match self {
            Self::Fifo(fifo) => fifo.pop(pool),
            Self::Flows(flows) => flows.take(pool),
        }
    }
}
