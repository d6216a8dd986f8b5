//! The queue of a leaf, of either kind.

use super::flows::{Flows, Sets};
use super::frame::Frame;
use super::frames::{Fifo, Frames};
use crate::class::{LeafQueue, Planned};
use crate::wire::FrameShape;

#[derive(Clone, Debug)]
pub(super) enum Queue {
    Fifo(Fifo),
    Flows(Flows),
}

impl Queue {
    /// An empty queue; none for a leaf that holds.
    pub(super) fn new(planned: &Planned, sets: &mut Sets, full_size: u32) -> Option<Self> {
        match planned.queue {
            LeafQueue::Hold => None,
            LeafQueue::Fifo { frames } => Some(Self::Fifo(Fifo::new(frames))),
            LeafQueue::Flows(config) => {
                let profile = &planned.profile;
                let (framing, unit) = (profile.framing(), profile.quantum);
                let settings = sets.settings(config, framing, unit, full_size);
                Some(Self::Flows(Flows::new(settings)))
            }
        }
    }

    /// Takes the settings of an empty queue over, if the frames can stay.
    pub(super) const fn retune(&mut self, new: &Self) -> bool {
        match (self, new) {
            (Self::Fifo(fifo), Self::Fifo(new)) => fifo.limit = new.limit,
            (Self::Flows(flows), Self::Flows(new)) => flows.retune(new.settings()),
            _ => return false,
        }
        true
    }

    pub(super) const fn frames(&self) -> u32 {
        match self {
            Self::Fifo(fifo) => fifo.frames,
            Self::Flows(flows) => flows.frames(),
        }
    }

    /// Takes a frame in, if there is room or can be made.
    #[inline]
    pub(super) fn push(
        &mut self,
        pool: &mut Frames,
        sets: &mut Sets,
        frame: Frame,
        now: u64,
    ) -> bool {
        match self {
            Self::Fifo(fifo) => pool.admits(fifo.frames) && fifo.push(pool, frame, now),
            Self::Flows(flows) => flows.push(pool, sets, frame, now),
        }
    }

    /// The frame that goes next, and whether it is to be marked.
    #[inline]
    pub(super) fn choose(
        &mut self,
        pool: &mut Frames,
        sets: &mut Sets,
        now: u64,
    ) -> Option<(Frame, bool)> {
        match self {
            Self::Fifo(fifo) => fifo.head(pool).map(|(frame, _)| (frame, false)),
            Self::Flows(flows) => flows.choose(pool, sets, now),
        }
    }

    /// The frame chosen last has gone as `sent`. Returns it if no part of it is left.
    #[inline]
    pub(super) fn sent(
        &mut self,
        pool: &mut Frames,
        sets: &mut Sets,
        sent: FrameShape,
    ) -> Option<Frame> {
        let chosen = match self {
            Self::Fifo(fifo) => fifo,
            Self::Flows(flows) => return flows.sent(pool, sets, sent),
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
    pub(super) fn take(&mut self, pool: &mut Frames, sets: &mut Sets) -> Option<Frame> {
        match self {
            Self::Fifo(fifo) => fifo.pop(pool),
            Self::Flows(flows) => flows.take(pool, sets),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_idle_leaf_takes_one_line_of_the_cache() {
        assert!(size_of::<Queue>() <= 64, "{}", size_of::<Queue>());
    }
}
