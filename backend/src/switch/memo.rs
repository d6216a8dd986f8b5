//! What a port's last frame to another port has shown: those after it go the same way, as long as nothing
//! has changed that could lead them elsewhere.

use super::tags::{be16, is_tag};
use super::{Delivery, Forward, Switch, TagChange};

/// For so long the tables are not asked again, nor told that the sender is still there. Their entries last
/// much longer, and only by the second.
const NANOS: u64 = 100_000_000;

/// Where untagged frames between two stations go.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Memo {
    /// Destination and source address.
    ends: [u8; 12],
    to: u32,
    /// Of the tables.
    version: u64,
    /// In monotonic nanoseconds.
    until: u64,
}

impl Switch {
    /// The port that a frame from a guest goes to as it is, if the last one of this port from and to the same
    /// addresses did: what [`from_guest`](Self::from_guest) would say, at a glance. `None` says nothing.
    /// `head` and `now` are as there.
    #[inline]
    #[must_use]
    pub fn again(&self, port: u32, head: &[u8], now: u64) -> Option<u32> {
        let from = self.port(port)?;
        let memo = &from.memo;
        let same = *head.first_chunk::<12>()? == memo.ends
            && memo.version == self.version()
            && now < memo.until
            && !is_tag(be16(head, 12)?);
        let passes = same && from.guard.as_ref().is_none_or(|guard| guard.passes(head));
        passes.then_some(memo.to)
    }

    /// Notes where a frame went whose sender is known to be behind this port.
    pub(super) fn note(&mut self, port: u32, head: &[u8], forward: Forward, now: u64) {
        let Forward::Port(Delivery {
            port: to,
            tag: TagChange::Keep,
        }) = forward
        else {
            return;
        };
        let (Some(ends), Some(ethertype)) = (head.first_chunk(), be16(head, 12)) else {
            return;
        };
        let (ends, version) = (*ends, self.version());
        if let Some(from) = self.port_mut(port)
            && !is_tag(ethertype)
        {
            from.memo = Memo {
                ends,
                to,
                version,
                until: now.saturating_add(NANOS),
            };
        }
    }

    /// Another number whenever a station has come, gone or moved, or a port was changed.
    #[inline]
    fn version(&self) -> u64 {
        self.changes.wrapping_add(self.stations.changes())
    }
}
