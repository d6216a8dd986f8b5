//! What a port has seen: every frame is counted as sent or as dropped for a reason.

use std::fmt;

use qos::FlowCounters;
use ring::{ChainFault, FrameFault};

/// Why a frame was not delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DropReason {
    /// The guest's chain does not hold a frame.
    Chain(ChainFault),
    /// The frame, or its virtio-net header, is not acceptable.
    Frame(FrameFault),
    /// The frame's source is not the address this port owns.
    SourceAddress,
    /// The uplink refused this frame and will refuse it again.
    UplinkRefused,
    /// The uplink was down for longer than frames are held.
    UplinkDown,
    /// The queue to the guest is full: more arrives than its rate lets through.
    QueueFull,
    /// The guest's buffers cannot hold the frame, however many it posts.
    BufferTooSmall,
    /// The guest posted no buffers for so long that frames are not held for it any more.
    Stalled,
    /// The guest was not listening: no receive ring ran.
    NotListening,
}

impl DropReason {
    const OWN: usize = 7;
    const COUNT: usize = Self::OWN + FrameFault::COUNT + ChainFault::COUNT;

    const fn index(self) -> usize {
        match self {
            Self::SourceAddress => 0,
            Self::UplinkRefused => 1,
            Self::UplinkDown => 2,
            Self::QueueFull => 3,
            Self::BufferTooSmall => 4,
            Self::Stalled => 5,
            Self::NotListening => 6,
            Self::Frame(fault) => Self::OWN + fault.index(),
            Self::Chain(fault) => Self::OWN + FrameFault::COUNT + fault.index(),
        }
    }

    fn name(index: usize) -> &'static str {
        const OWN: [&str; DropReason::OWN] = [
            "source-address",
            "uplink-refused",
            "uplink-down",
            "queue-full",
            "buffer-too-small",
            "stalled",
            "not-listening",
        ];
        OWN.into_iter()
            .chain(FrameFault::ALL.map(FrameFault::name))
            .chain(ChainFault::ALL.map(ChainFault::name))
            .nth(index)
            .unwrap_or("unknown")
    }
}

/// Frames dropped, by reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Drops([u64; DropReason::COUNT]);

impl Default for Drops {
    fn default() -> Self {
        Self([0; DropReason::COUNT])
    }
}

impl Drops {
    /// Counts `frames` dropped for `reason`.
    pub(crate) fn add(&mut self, reason: DropReason, frames: u64) {
        if let Some(count) = self.0.get_mut(reason.index()) {
            *count += frames;
        }
    }

    /// All of them.
    pub fn total(&self) -> u64 {
        self.0.iter().sum()
    }

    /// The reasons that occurred, with their counts.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> {
        (0..)
            .map(DropReason::name)
            .zip(self.0)
            .filter(|(_, count)| *count > 0)
    }
}

/// One direction of a port.
#[derive(Clone, Debug, Default)]
pub struct DirectionCounters {
    /// What went through.
    pub sent: FlowCounters,
    /// What did not.
    pub drops: Drops,
    /// Calls (interrupts) to the guest.
    pub calls: u64,
    /// Times the limiter made frames wait.
    pub throttled: u64,
}

impl fmt::Display for DirectionCounters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "frames={} segments={} bytes={} wire_bytes={} calls={} throttled={} drops={}",
            self.sent.frames,
            self.sent.segments,
            self.sent.bytes,
            self.sent.wire_bytes,
            self.calls,
            self.throttled,
            self.drops.total(),
        )?;
        for (reason, count) in self.drops.iter() {
            write!(f, " drop.{reason}={count}")?;
        }
        Ok(())
    }
}

/// Both directions of a port, and what happened to its rings.
#[derive(Clone, Debug, Default)]
pub struct PortCounters {
    /// The guest's transmit rings, towards the uplink.
    pub from_guest: DirectionCounters,
    /// The guest's receive rings.
    pub to_guest: DirectionCounters,
    /// Kicks seen.
    pub kicks: u64,
    /// Times the shard woke up.
    pub wakes: u64,
    /// Rings taken out of use because of what the guest or front-end did.
    pub broken_rings: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_has_a_place_and_a_name_of_its_own() {
        let mut names: Vec<_> = (0..DropReason::COUNT).map(DropReason::name).collect();
        assert!(!names.contains(&"unknown"));
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), DropReason::COUNT);
    }

    #[test]
    fn a_drop_shows_up_under_its_name() {
        let mut drops = Drops::default();
        drops.add(DropReason::QueueFull, 3);
        assert_eq!(drops.iter().collect::<Vec<_>>(), [("queue-full", 3)]);
        assert_eq!(drops.total(), 3);
    }
}
