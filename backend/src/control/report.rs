//! Counters and states: what `netqosctl show` prints and metrics are made of.
//!
//! Counters count from the start of the daemon, or of the guest, and wrap at 2^64. All bytes are bytes,
//! all times nanoseconds, all rates bits per second of wire bytes.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Histogram;

/// Which way frames go.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize, Serialize, JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum Direction {
    /// What guests send.
    FromGuest,
    /// What guests receive.
    ToGuest,
}

impl Direction {
    /// Both.
    pub const BOTH: [Self; 2] = [Self::FromGuest, Self::ToGuest];

    /// How it is written.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::FromGuest => "from-guest",
            Self::ToGuest => "to-guest",
        }
    }
}

/// What there is to know of a daemon at one time. What is about one guest is of one moment.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub struct Report {
    /// How many configurations have been applied.
    pub generation: u64,
    /// When, on the monotonic clock.
    pub time_nanos: u64,
    /// For how long the daemon has been there.
    pub uptime_nanos: u64,
    /// The uplinks, by name.
    pub uplinks: Vec<UplinkReport>,
    /// The guests' ports, in the order of their names.
    pub ports: Vec<PortReport>,
    /// Every class of the ports that were asked for, only if asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub classes: Option<Vec<ClassReport>>,
    /// How the control socket fares.
    pub control: ControlReport,
}

/// The control socket's callers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub struct ControlReport {
    /// Requests answered.
    pub requests: u64,
    /// Of these, those that were refused.
    pub refused: u64,
    /// Callers sent away because they may not call, were too many, or were too slow.
    pub dismissed: u64,
    /// Events that a subscriber did not take in time.
    pub lost_events: u64,
}

/// An uplink.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub struct UplinkReport {
    /// Its name in the configuration.
    pub uplink: String,
    /// What it is: `tap:NAME`, `packet:IFACE`, `macvtap:IFACE` or `none`.
    pub kind: String,
    /// Whether its interface is there.
    pub present: bool,
    /// Guests behind it.
    pub guests: u64,
    /// Turns that the shard gave it.
    pub wakes: u64,
    /// What guests may send to it, all together.
    pub from_guest: Limits,
    /// What guests may receive from it, all together.
    pub to_guest: Limits,
    /// Frames from the uplink that no guest was charged with, by why they were dropped.
    pub drops: BTreeMap<String, u64>,
}

/// A guest's port.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub struct PortReport {
    /// The guest's name.
    pub port: String,
    /// The uplink it is behind.
    pub uplink: String,
    /// Whether a front-end is connected.
    pub session: bool,
    /// How many sessions there have been.
    pub sessions: u64,
    /// Whether its frames are held for now.
    pub paused: bool,
    /// The address it owns, if it is configured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mac: Option<String>,
    /// What it sends.
    pub from_guest: DirectionReport,
    /// What it receives.
    pub to_guest: DirectionReport,
    /// Kicks that came from it.
    pub kicks: u64,
    /// Turns that its uplink had.
    pub wakes: u64,
    /// Rings taken out of use because of what the guest or front-end did.
    pub broken_rings: u64,
    /// Sessions that ended because a file behind the guest's memory was cut short.
    #[serde(default)]
    pub lost_memories: u64,
}

/// One direction of a port.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub struct DirectionReport {
    /// Frames that went through, a super-frame counting once.
    pub frames: u64,
    /// The same, a super-frame counting once a segment.
    pub segments: u64,
    /// Bytes of the frames, headers once a super-frame.
    pub bytes: u64,
    /// Bytes charged: every segment's headers, framing and padding.
    pub wire_bytes: u64,
    /// Frames that were joined to the one before them, into one super-frame.
    #[serde(default)]
    pub coalesced: u64,
    /// Calls (interrupts) to the guest.
    pub calls: u64,
    /// Frames dropped, by reason; those that did not occur are left out.
    pub drops: BTreeMap<String, u64>,
    /// Frames that wait in queues of ours. Those in the guest's own ring are not counted.
    pub queued: u64,
    /// Frames sent with a congestion mark.
    pub marked: u64,
    /// How often the guest or a class of it had to wait for its own limit.
    pub throttled: u64,
    /// For how long, all waits of all of its classes together.
    pub throttled_nanos: u64,
    /// How long frames waited in queues of ours.
    pub sojourn: Histogram,
    /// The limits of the guest's own class.
    pub limits: Limits,
}

/// The limits and shares of a class; absent means none, or automatic.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub struct Limits {
    /// Guaranteed, in bit/s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate: Option<u64>,
    /// Never exceeded, in bit/s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ceil: Option<u64>,
    /// Its share of what is left over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weight: Option<u32>,
    /// Its place in the order of those that take what is left over; the least is first.
    pub prio: u8,
    /// Packets per second.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pps: Option<u64>,
}

/// A class of a guest, the guest's own included. An inner class counts what its leaves did.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub struct ClassReport {
    /// The uplink whose tree it is in.
    pub uplink: String,
    /// Which of the two trees.
    pub direction: Direction,
    /// The guest it belongs to.
    pub guest: String,
    /// Its name in the guest's tree; absent for the guest's own class.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub class: Option<String>,
    /// The class above it in the guest's tree; absent for the guest's own class and those right below.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<String>,
    /// Whether it is about frames between guests.
    pub local: bool,
    /// What it is doing: `idle`, `ready`, `throttled` or `blocked`.
    pub state: String,
    /// Its limits, which its local twin shares.
    pub limits: Limits,
    /// Frames that wait here. Those in a guest's ring are not counted.
    pub queued: u64,
    /// Taken into a queue.
    pub offered: Passed,
    /// Sent.
    pub sent: Passed,
    /// Dropped from a queue.
    pub dropped: Passed,
    /// Frames for which there was no room.
    pub refused: u64,
    /// Frames sent with a congestion mark.
    pub marked: u64,
    /// How often it had to wait for its own limits.
    pub throttled: u64,
    /// For how long, all waits together.
    pub throttled_nanos: u64,
    /// How long frames waited in its queue; empty for inner classes. Both twins together, with the one that
    /// is not local.
    pub sojourn: Histogram,
}

/// Frames that passed one point.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub struct Passed {
    /// Frames, a super-frame counting once.
    pub frames: u64,
    /// The same, a super-frame counting once a segment.
    pub segments: u64,
    /// Bytes of the frames, headers once a super-frame.
    pub bytes: u64,
    /// Bytes charged: every segment's headers, framing and padding.
    pub wire_bytes: u64,
}

impl From<&qos::FlowCounters> for Passed {
    fn from(counters: &qos::FlowCounters) -> Self {
        Self {
            frames: counters.frames,
            segments: counters.segments,
            bytes: counters.bytes,
            wire_bytes: counters.wire_bytes,
        }
    }
}

/// One ring of a guest (virtio 1.3 §2.7): its indices as of one moment, and what goes on in it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub struct RingReport {
    /// Its number among the device's rings: even ones are to-guest, odd ones from-guest.
    pub ring: u32,
    /// `unused`, `stopped`, `disabled`, `running` or `broken`.
    pub state: String,
    /// Descriptors it has.
    pub size: u16,
    /// The guest's available index.
    pub avail: u16,
    /// Our used index.
    pub used: u16,
    /// Up to where we have taken chains.
    pub next: u16,
    /// Chains that wait: available ones that we have not taken.
    pub waiting: u16,
    /// Whether event indices were negotiated (`VIRTIO_F_EVENT_IDX`).
    pub event_idx: bool,
    /// At which used index the guest wants to be called, if it says one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub used_event: Option<u16>,
    /// At which available index we want to be kicked, if we say one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub avail_event: Option<u16>,
    /// Whether the guest wants no calls (flag `VIRTQ_AVAIL_F_NO_INTERRUPT`).
    pub no_interrupt: bool,
    /// Whether we want no kicks (flag `VIRTQ_USED_F_NO_NOTIFY`).
    pub no_notify: bool,
}
