//! CoDel (RFC 8289): whether a queue stands, told by how long its frames wait.

use super::settings::Settings;
use crate::engine::fifo::Fifo;
use crate::engine::frame::{Ecn, Frame};
use crate::engine::frames::Frames;
use crate::wire::FrameShape;

/// No frame has waited too long lately.
const GOOD: u64 = 0;
/// In a bout of drops.
const DROPPING: u64 = u64::MAX;
/// A bout this many intervals after the last one starts anew (RFC 8289 §5.5).
const LATELY: u64 = 16;

/// The control law's state for one queue; times in nanoseconds.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Codel {
    /// [`GOOD`], [`DROPPING`], or when frames will have waited too long for a whole interval.
    phase: u64,
    /// When to drop or mark next.
    next: u64,
    /// Drops that the present pace stands for, and how many of them were so when the bout began.
    count: u32,
    last_count: u32,
}

impl Codel {
    /// The time between this drop and the next: `interval / sqrt(count)`.
    fn pause(&self, interval: u64) -> u64 {
        // The root of a 64-bit number in 2^16ths: at least 2^16, so the quotient is defined.
        let root = (u64::from(self.count.max(1)) << 32).isqrt();
        let product = u128::from(interval) << 16;
        u64::try_from(product.checked_div(root.into()).unwrap_or(0)).unwrap_or(u64::MAX)
    }

    /// Whether a frame that waited this long should be dropped or marked now. `short` says that too
    /// little is queued for that, however long it waited.
    pub(super) fn strikes(
        &mut self,
        now: u64,
        sojourn: u64,
        short: bool,
        target: u64,
        interval: u64,
    ) -> bool {
        if sojourn < target || short {
            self.phase = GOOD;
            return false;
        }
        match self.phase {
            GOOD => {
                // Neither of the special values.
                self.phase = now.saturating_add(interval).clamp(1, u64::MAX - 1);
                false
            }
            DROPPING if now < self.next => false,
            DROPPING => {
                self.count = self.count.saturating_add(1);
                self.next = self.next.saturating_add(self.pause(interval));
                true
            }
            patience if now < patience => false,
            _ => {
                // Take up where the last bout left off, if that was lately.
                let lately = now.saturating_sub(self.next) < interval.saturating_mul(LATELY);
                let delta = self.count.saturating_sub(self.last_count);
                self.count = if lately && delta > 1 { delta } else { 1 };
                self.last_count = self.count;
                self.phase = DROPPING;
                self.next = now.saturating_add(self.pause(interval));
                true
            }
        }
    }
}

/// What is to become of the frame at a queue's head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Send,
    Mark,
    Drop,
}

/// Frames in line, under control.
#[derive(Clone, Debug)]
pub(super) struct Line {
    pub(super) queue: Fifo,
    codel: Codel,
}

impl Line {
    pub(super) const EMPTY: Self = Self {
        queue: Fifo::new(u32::MAX),
        codel: Codel {
            phase: GOOD,
            next: 0,
            count: 0,
            last_count: 0,
        },
    };

    /// Takes a frame in at the end. A line that ran empty stands no more, whatever it did before.
    pub(super) fn push(&mut self, pool: &mut Frames, frame: Frame, now: u64) -> bool {
        if self.queue.frames == 0 {
            self.codel.phase = GOOD;
        }
        self.queue.push(pool, &frame, Some(now))
    }

    /// Judges the head. `bytes` wait in this line and `all` in the leaf.
    ///
    /// Nothing is dropped of a line that holds no more than a full-size frame (RFC 8289 §5.4), nor of
    /// a leaf that holds no more than one unit, nor the only frame of a line if it cannot be cut: a
    /// unit on its way is no standing queue.
    pub(super) fn judge(
        &mut self,
        pool: &Frames,
        settings: &Settings,
        now: u64,
        bytes: u64,
        all: u64,
    ) -> Verdict {
        let Some((frame, since)) = self.queue.head(pool) else {
            return Verdict::Send;
        };
        let config = &settings.config;
        let sojourn = now.saturating_sub(since);
        let short = bytes <= settings.full_size
            || all <= settings.unit
            || (self.queue.frames <= 1 && cut(&frame).is_none());
        let (target, interval) = (config.target_nanos, config.interval_nanos);
        let strikes = self.codel.strikes(now, sojourn, short, target, interval);
        let step = config.ce_threshold_nanos.is_some_and(|most| sojourn > most)
            && (frame.ecn == Ecn::Ect1 || !config.ce_threshold_ect1_only);
        match frame.ecn.is_capable() {
            true if strikes || step => Verdict::Mark,
            false if strikes => Verdict::Drop,
            _ => Verdict::Send,
        }
    }
}

/// A frame's first segment and the rest of it, if it is a super-frame that may be cut.
pub(super) fn cut(frame: &Frame) -> Option<(FrameShape, FrameShape)> {
    (!frame.whole).then(|| frame.shape.peel(1))?
}
