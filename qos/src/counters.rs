//! Counters of what passed one point.

use crate::wire::Cost;

/// Frames, segments and bytes that passed. Each wraps at 2^64, as monitoring expects of a counter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FlowCounters {
    /// Frames, a super-frame counting once.
    pub frames: u64,
    /// Frames on the wire, a super-frame counting once per segment.
    pub segments: u64,
    /// Bytes of the frames as handed over, headers once per super-frame.
    pub bytes: u64,
    /// Bytes charged: every segment's headers, framing and padding.
    pub wire_bytes: u64,
}

impl FlowCounters {
    /// One frame that is no super-frame.
    #[inline]
    pub(crate) fn plain(len: u32, wire_bytes: u64) -> Self {
        Self {
            frames: 1,
            segments: 1,
            bytes: len.into(),
            wire_bytes,
        }
    }

    /// Counts one frame of `len` bytes that cost `cost`.
    pub fn add(&mut self, len: u32, cost: Cost) {
        self.frames = self.frames.wrapping_add(1);
        self.segments = self.segments.wrapping_add(u64::from(cost.segments));
        self.bytes = self.bytes.wrapping_add(u64::from(len));
        self.wire_bytes = self.wire_bytes.wrapping_add(cost.wire_bytes);
    }

    /// Adds what passed another point.
    pub fn merge(&mut self, other: &Self) {
        self.frames = self.frames.wrapping_add(other.frames);
        self.segments = self.segments.wrapping_add(other.segments);
        self.bytes = self.bytes.wrapping_add(other.bytes);
        self.wire_bytes = self.wire_bytes.wrapping_add(other.wire_bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_super_frame_is_one_frame_and_many_segments() {
        let mut counters = FlowCounters::default();
        let cost = Cost {
            wire_bytes: 70_000,
            segments: 46,
        };
        counters.add(65_000, cost);
        counters.add(65_000, cost);
        assert_eq!((counters.frames, counters.segments), (2, 92));
        assert_eq!((counters.bytes, counters.wire_bytes), (130_000, 140_000));
    }

    #[test]
    fn a_counter_at_its_end_starts_again() {
        let mut counters = FlowCounters {
            frames: u64::MAX,
            wire_bytes: u64::MAX,
            ..FlowCounters::default()
        };
        counters.add(
            1,
            Cost {
                wire_bytes: 2,
                segments: 1,
            },
        );
        assert_eq!((counters.frames, counters.wire_bytes), (0, 1));
    }
}
