//! When a guest is called for what it sent: at once in a quiet ring, seldom in a busy one.
//!
//! What is completed is published at once in any case. A guest that is busy finds it by itself, when it
//! sends the next frame or looks after what it receives, and then the call that was put off is not wanted
//! any more (virtio 1.3 §2.7.7.2). Byte queue limits and TCP's small queues live on completions, so a call
//! is put off for less than they notice.

/// How long a call may be put off, in nanoseconds: what ethtool(8) calls `tx-usecs`.
const HOLD: u64 = 64_000;

/// How many completions are worth a call at once: what ethtool(8) calls `tx-frames`.
const FRAMES: u16 = 8;

/// Publications that are further apart than this, in nanoseconds, are no load.
const LOAD: u64 = 1_000_000;

/// What is to be done about a publication.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Due {
    /// Nothing, or nothing more than before.
    Nothing,
    /// A call, if the driver wants one for what was published since this used index.
    Since(u16),
    /// What [`Moderation::settle`] says at this time (monotonic nanoseconds).
    At(u64),
}

/// The calls of one transmit ring.
#[derive(Debug, Default)]
pub(super) struct Moderation {
    /// When something was published last.
    last: u64,
    /// The used index before the first publication whose call was put off, and until when it is.
    owed: Option<(u16, u64)>,
    /// Somebody was told [`Due::At`], and will settle it.
    queued: bool,
}

impl Moderation {
    /// The used index moved from `before` to `after`, and the driver `wanted` a call for that.
    pub(super) fn published(&mut self, before: u16, after: u16, wanted: bool, now: u64) -> Due {
        let busy = now.saturating_sub(self.last) < LOAD;
        self.last = now;
        let (since, until) = match self.owed {
            Some(owed) => owed,
            None if wanted => (before, now.saturating_add(HOLD)),
            None => return Due::Nothing,
        };
        if !busy || now >= until || after.wrapping_sub(since) >= FRAMES {
            self.owed = None;
            return Due::Since(since);
        }
        self.owed = Some((since, until));
        if self.queued {
            return Due::Nothing;
        }
        self.queued = true;
        Due::At(until)
    }

    /// The time that was told has come: since which used index a call is owed, if one is.
    pub(super) fn settle(&mut self) -> Option<u16> {
        self.queued = false;
        self.owed.take().map(|(since, _)| since)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: u64 = 5 * LOAD;

    /// A ring in which frames have just been sent.
    fn busy() -> Moderation {
        let mut calls = Moderation::default();
        assert_eq!(calls.published(0, 1, true, START), Due::Since(0));
        calls
    }

    #[test]
    fn a_lone_completion_is_called_for_at_once() {
        let mut calls = Moderation::default();
        for number in 0..10 {
            let now = START + u64::from(number) * LOAD;
            let due = calls.published(number, number + 1, true, now);
            assert_eq!(due, Due::Since(number));
        }
    }

    #[test]
    fn under_load_a_call_waits_its_time_and_covers_what_comes_meanwhile() {
        let mut calls = busy();
        let at = START + 10_000;
        assert_eq!(calls.published(1, 2, true, at), Due::At(at + HOLD));
        assert_eq!(calls.published(2, 4, false, at + 10), Due::Nothing);
        assert_eq!(calls.published(4, 5, true, at + 20), Due::Nothing);
        assert_eq!(calls.settle(), Some(1));
        assert_eq!(calls.settle(), None);
    }

    #[test]
    fn many_completions_are_worth_a_call_at_once() {
        let mut calls = busy();
        let at = START + 10;
        assert_eq!(
            calls.published(1, 1 + FRAMES, true, at),
            Due::Since(1),
            "in one publication"
        );
        for number in 0..FRAMES - 1 {
            let index = 100 + number;
            let due = calls.published(index, index + 1, true, at);
            assert_eq!(due == Due::At(at + HOLD), number == 0, "{due:?}");
        }
        let due = calls.published(99 + FRAMES, 100 + FRAMES, true, at);
        assert_eq!(due, Due::Since(100), "in several");
        assert_eq!(calls.settle(), None, "which settled it");
    }

    #[test]
    fn a_call_that_nobody_settled_in_time_is_due_with_the_next_publication() {
        let mut calls = busy();
        let at = START + 10;
        calls.published(1, 2, true, at);
        assert_eq!(calls.published(2, 3, false, at + HOLD), Due::Since(1));
    }

    #[test]
    fn what_the_driver_does_not_want_is_not_put_off() {
        let mut calls = busy();
        assert_eq!(calls.published(1, 2, false, START + 10), Due::Nothing);
        assert_eq!(calls.settle(), None);
    }

    #[test]
    fn an_index_that_wraps_counts_on() {
        let mut calls = busy();
        let at = START + 10;
        assert!(matches!(
            calls.published(65_533, 65_535, true, at),
            Due::At(_)
        ));
        assert_eq!(calls.published(65_535, 4, false, at), Due::Nothing);
        assert_eq!(calls.published(4, 5, false, at), Due::Since(65_533));
    }
}
