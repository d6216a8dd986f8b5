//! What a port has seen: every frame is counted as sent or as dropped for a reason.

use log::kv::Value;
use qos::FlowCounters;
use ring::{ChainFault, FrameFault};

use crate::logging;
use crate::switch::Refused;

/// Why a frame was not delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DropReason {
    /// The guest's chain does not hold a frame.
    Chain(ChainFault),
    /// The frame, or its virtio-net header, is not acceptable.
    Frame(FrameFault),
    /// The switch does not take it from here, or knows nobody for it.
    Switch(Refused),
    /// A rule says so.
    Rule,
    /// The uplink refused this frame and will refuse it again.
    UplinkRefused,
    /// The uplink was down for longer than frames are held.
    UplinkDown,
    /// There is no uplink.
    NoUplink,
    /// The queue is full: more comes than its rate lets through.
    QueueFull,
    /// It waited for too long among frames of its flow, or others needed its place more.
    Queue,
    /// All memory for frames is in use.
    PoolFull,
    /// More frames for several guests came than their class lets through.
    Flood,
    /// Its guest or class was removed.
    Removed,
    /// The guest's buffers cannot hold the frame, however many it posts.
    BufferTooSmall,
    /// The guest posted no buffers for so long that frames are not held for it any more.
    Stalled,
    /// The guest was not listening: no receive ring ran.
    NotListening,
}

impl DropReason {
    const OWN: [&str; 12] = [
        "rule",
        "uplink-refused",
        "uplink-down",
        "no-uplink",
        "queue-full",
        "queue",
        "pool-full",
        "flood",
        "removed",
        "buffer-too-small",
        "stalled",
        "not-listening",
    ];
    const FRAME: usize = Self::OWN.len();
    const CHAIN: usize = Self::FRAME + FrameFault::COUNT;
    const SWITCH: usize = Self::CHAIN + ChainFault::COUNT;
    const COUNT: usize = Self::SWITCH + Refused::COUNT;

    const fn index(self) -> usize {
        match self {
            Self::Rule => 0,
            Self::UplinkRefused => 1,
            Self::UplinkDown => 2,
            Self::NoUplink => 3,
            Self::QueueFull => 4,
            Self::Queue => 5,
            Self::PoolFull => 6,
            Self::Flood => 7,
            Self::Removed => 8,
            Self::BufferTooSmall => 9,
            Self::Stalled => 10,
            Self::NotListening => 11,
            Self::Frame(fault) => Self::FRAME + fault.index(),
            Self::Chain(fault) => Self::CHAIN + fault.index(),
            Self::Switch(refused) => Self::SWITCH + refused.index(),
        }
    }

    /// Its name in counters.
    pub(super) fn word(self) -> &'static str {
        Self::name(self.index())
    }

    fn name(index: usize) -> &'static str {
        Self::OWN
            .into_iter()
            .chain(FrameFault::ALL.map(FrameFault::name))
            .chain(ChainFault::ALL.map(ChainFault::name))
            .chain(Refused::ALL.map(Refused::name))
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

    /// As pairs of a log line, the total first.
    fn pairs<'a>(&self) -> impl Iterator<Item = (String, Value<'a>)> {
        let reason = |(reason, count): (_, u64)| (format!("drop.{reason}"), Value::from(count));
        let total = ("drops".to_owned(), Value::from(self.total()));
        std::iter::once(total).chain(self.iter().map(reason))
    }

    /// Logs them as those of an uplink, of frames that no guest was charged with.
    #[track_caller]
    pub(crate) fn log(&self, uplink: &str, target: &str) {
        let about = ("uplink".to_owned(), Value::from(uplink));
        let pairs: Vec<_> = std::iter::once(about).chain(self.pairs()).collect();
        logging::info(target, &pairs);
    }
}

/// One direction of a port.
#[derive(Clone, Debug, Default)]
pub struct DirectionCounters {
    /// What went through.
    pub sent: FlowCounters,
    /// Frames that were joined to the one before them, into one super-frame.
    pub coalesced: u64,
    /// What did not.
    pub drops: Drops,
    /// Calls (interrupts) to the guest.
    pub calls: u64,
}

impl DirectionCounters {
    /// Logs them as those of a port's `direction`.
    #[track_caller]
    fn log(&self, port: &str, direction: &str, target: &str) {
        let about = [("port", port), ("direction", direction)];
        let counts = [
            ("frames", self.sent.frames),
            ("segments", self.sent.segments),
            ("bytes", self.sent.bytes),
            ("wire_bytes", self.sent.wire_bytes),
            ("coalesced", self.coalesced),
            ("calls", self.calls),
        ];
        let about = about.map(|(key, value)| (key.to_owned(), Value::from(value)));
        let counts = counts.map(|(key, count)| (key.to_owned(), Value::from(count)));
        let pairs = about.into_iter().chain(counts).chain(self.drops.pairs());
        let pairs: Vec<_> = pairs.collect();
        logging::info(target, &pairs);
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
    /// Turns that its uplink had.
    pub wakes: u64,
    /// Rings taken out of use because of what the guest or front-end did.
    pub broken_rings: u64,
}

impl PortCounters {
    /// Logs what went through a port called `name`, a line for each direction.
    pub(crate) fn log(&self, name: &str, target: &str) {
        self.from_guest.log(name, "from-guest", target);
        self.to_guest.log(name, "to-guest", target);
    }
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
