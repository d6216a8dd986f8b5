//! The bounded queue of frames read from the uplink and not yet in the guest's ring.
//!
//! Frames lie one behind the other in a circular buffer, each contiguous, so the uplink is read
//! straight into the place where the frame waits. Nothing is allocated after it is made; the
//! memory behind it is touched only as far as it is used.

use std::collections::VecDeque;

use qos::Cost;
use ring::HEADER_LEN;
use ring::net::MAX_FRAME_LEN;

/// The largest unit an uplink hands over: the longest frame, and its header.
pub(crate) const MAX_UNIT: usize = HEADER_LEN + MAX_FRAME_LEN as usize;

/// Frames shorter than this count as long as this against the cap, so that the descriptions of
/// the frames are bounded as their bytes are.
const MIN_CHARGE: usize = 256;

/// A frame in the queue.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Queued {
    offset: usize,
    len: usize,
    /// What it costs on the wire.
    pub(crate) cost: Cost,
}

/// A queue of at most a number of bytes.
#[derive(Debug)]
pub(crate) struct Backlog {
    storage: Box<[u8]>,
    frames: VecDeque<Queued>,
    /// Where the next frame is read to; always followed by room for one unit.
    tail: usize,
    charged: usize,
    cap: usize,
}

impl Backlog {
    /// A queue that takes frames as long as it holds at most `cap` bytes.
    pub(crate) fn new(cap: usize) -> Self {
        // The first unit may be larger than the cap, one may be lost at the end of the buffer, and
        // one is where the next is being read to.
        let size = cap.saturating_add(3 * MAX_UNIT);
        Self {
            storage: vec![0; size].into_boxed_slice(),
            frames: VecDeque::with_capacity(cap / MIN_CHARGE + 2),
            tail: 0,
            charged: 0,
            cap,
        }
    }

    /// Whether `len` more bytes may be queued, when `ahead` bytes that have left the queue still
    /// keep the limiter busy. An empty queue takes any one frame.
    pub(crate) fn has_room(&self, len: usize, ahead: usize) -> bool {
        let waiting = self.charged.saturating_add(ahead);
        self.frames.is_empty() || waiting.saturating_add(len.max(MIN_CHARGE)) <= self.cap
    }

    /// Bytes that wait, as they count against the cap.
    pub(crate) fn charged(&self) -> usize {
        self.charged
    }

    /// Whether nothing waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }

    /// Where to read the next unit (header and frame) to. Whatever is there before
    /// [`Self::push`] is not part of the queue.
    pub(crate) fn spare(&mut self) -> &mut [u8] {
        if self.frames.is_empty() {
            // Light traffic then touches the same few pages over and over.
            self.tail = 0;
        } else if self.storage.len() - self.tail < MAX_UNIT {
            self.tail = 0;
        }
        &mut self.storage[self.tail..self.tail + MAX_UNIT]
    }

    /// Queues the `len` bytes that were read to [`Self::spare`]. Call only while
    /// [`Self::has_room`].
    pub(crate) fn push(&mut self, len: usize, cost: Cost) {
        self.frames.push_back(Queued {
            offset: self.tail,
            len,
            cost,
        });
        self.tail += len;
        self.charged += len.max(MIN_CHARGE);
    }

    /// The frame that waits longest: its header, its bytes, its cost.
    pub(crate) fn front(&self) -> Option<(&[u8; HEADER_LEN], &[u8], Cost)> {
        let frame = self.frames.front()?;
        let unit = self.storage.get(frame.offset..frame.offset + frame.len)?;
        let (header, payload) = unit.split_first_chunk()?;
        Some((header, payload, frame.cost))
    }

    /// Forgets the frame that waits longest.
    pub(crate) fn pop(&mut self) {
        if let Some(frame) = self.frames.pop_front() {
            self.charged -= frame.len.max(MIN_CHARGE);
        }
    }

    /// Forgets all frames and says how many there were.
    pub(crate) fn clear(&mut self) -> u64 {
        let count = self.frames.len();
        self.frames.clear();
        self.charged = 0;
        count as u64
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn cost() -> Cost {
        Cost {
            wire_bytes: 84,
            segments: 1,
        }
    }

    fn put(backlog: &mut Backlog, stamp: u8, len: usize) {
        backlog.spare()[..len].fill(stamp);
        backlog.push(len, cost());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        #[test]
        fn frames_come_out_whole_and_in_order_whatever_their_sizes(
            steps in prop::collection::vec((any::<bool>(), 26_usize..=MAX_UNIT), 1..400),
            cap in 1_usize..400_000,
        ) {
            let mut backlog = Backlog::new(cap);
            let mut model = VecDeque::new();
            let mut stamp = 0_u8;
            for (push, len) in steps {
                if push && backlog.has_room(len, 0) {
                    stamp = stamp.wrapping_add(1);
                    put(&mut backlog, stamp, len);
                    model.push_back((stamp, len));
                } else if let Some((stamp, len)) = model.pop_front() {
                    let (header, payload, _) = backlog.front().unwrap();
                    prop_assert_eq!(header.len() + payload.len(), len);
                    prop_assert!(header.iter().chain(payload).all(|byte| *byte == stamp));
                    backlog.pop();
                }
                // The place that is read to next never overlaps a frame that waits.
                backlog.spare().fill(0xee);
            }
        }
    }

    #[test]
    fn it_takes_what_fits_below_the_cap_and_one_frame_of_any_size() {
        let mut backlog = Backlog::new(3000);
        assert!(backlog.has_room(MAX_UNIT, 5000));
        put(&mut backlog, 1, 1526);
        assert!(!backlog.has_room(1526, 0));
        assert!(backlog.has_room(1400, 0));
        assert!(!backlog.has_room(1400, 100));
        put(&mut backlog, 2, 1400);
        backlog.pop();
        assert!(backlog.has_room(1526, 0));
        assert_eq!(backlog.clear(), 1);
        assert!(backlog.is_empty());
    }

    #[test]
    fn the_smallest_frames_do_not_grow_its_descriptions() {
        let mut backlog = Backlog::new(1 << 20);
        let before = backlog.frames.capacity();
        while backlog.has_room(26, 0) {
            put(&mut backlog, 0, 26);
        }
        assert_eq!(backlog.frames.capacity(), before);
    }
}
