//! What a caller that delivers frames before they are charged is told, and what it may answer.

use super::class::LeafKey;
use super::frame::Frame;
use crate::counters::FlowCounters;
use crate::wire::{Cost, FrameShape, Framing};

/// Leave to send one frame of a leaf, now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grant {
    /// Whose.
    pub leaf: LeafKey,
    /// The frame, if the leaf has a queue; otherwise the caller knows which. Its shape is what is left
    /// of it: its last bytes, less than last time if parts were sent, or dropped because it waited too
    /// long.
    pub frame: Option<Frame>,
    /// Whether the frame is to be marked as having met congestion (ECN's CE): a super-frame's header
    /// marks all its segments.
    pub mark: bool,
    /// Wire bytes that the leaf should send at once. A larger super-frame should be peeled: see
    /// [`segments`](Self::segments).
    pub quantum: u64,
    /// How the leaf is charged.
    pub framing: Framing,
    /// What else may go under this grant, if the leaf has no queue: whoever delivers several frames
    /// commits them together, by [`Engine::commit_burst`](super::Engine::commit_burst).
    pub room: Room,
}

/// What may go under one grant besides its first frame, which goes in any case.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Room {
    /// Frames besides the first.
    pub frames: u32,
    /// Wire bytes of all together, the first included, as [`Grant::framing`] counts them.
    pub bytes: u64,
    /// Segments of all together, the first frame's included.
    pub segments: u64,
}

impl Room {
    /// Whether a frame of this cost may go too, after these that went under the same grant.
    #[must_use]
    #[inline]
    pub const fn holds(&self, sent: &FlowCounters, next: Cost) -> bool {
        sent.frames <= self.frames as u64
            && sent.wire_bytes.saturating_add(next.wire_bytes) <= self.bytes
            && sent.segments.saturating_add(next.segments as u64) <= self.segments
    }
}

impl Grant {
    /// How many segments of this frame should go now: at least one, and as many as the quantum
    /// holds. Send [`FrameShape::peel`]'s first part, and commit its shape.
    #[must_use]
    pub fn segments(&self, shape: FrameShape) -> u32 {
        fitting(self.framing, self.quantum, shape)
    }
}

/// How many of a frame's segments a quantum holds: at least one.
pub(super) fn fitting(framing: Framing, quantum: u64, shape: FrameShape) -> u32 {
    let whole = framing.cost(shape);
    if whole.wire_bytes <= quantum || whole.segments <= 1 {
        return whole.segments;
    }
    let one = shape.peel(1).map_or(shape, |(part, _)| part);
    let each = framing.cost(one).wire_bytes.max(1);
    let most = quantum
        .checked_div(each)
        .unwrap_or(1)
        .clamp(1, whole.segments.into());
    u32::try_from(most).unwrap_or(whole.segments)
}

/// Why a granted frame did not go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hold {
    /// It may go next time; nothing changes. What is to be done when the uplink is full.
    Later,
    /// Nothing waits for this leaf after all. Only for a leaf without a queue.
    Empty,
    /// The leaf's receiver cannot take it: leave the leaf out until [`Engine::unblock`](super::Engine::unblock).
    Blocked,
}
