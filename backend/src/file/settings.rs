//! The settings that a class has in every kind of file.

use qos::{
    Burst, ClassConfig, ClassId, FlowsConfig, Framing, Interval, LeafQueue, PacketBurst,
    PacketRate, RateSpec, TreeError,
};
use schemars::JsonSchema;
use serde::Deserialize;

use super::text::{At, Found};
use super::value::{OrNone, Written};
use super::{Fault, FileError, Place};

/// Frames of a first-in-first-out queue unless the class says.
const FIFO_FRAMES: u32 = 1000;

/// A key whose value has a spelling of its own.
pub(crate) type Spelt<T> = Option<At<Written<T>>>;

/// A limit or guarantee.
pub(crate) type Limit<T> = Option<At<Written<OrNone<T>>>>;

/// A table that has the settings of a class besides the keys given here. Whoever uses it imports the
/// types of the keys as well.
macro_rules! class_keys {
    ($(#[$meta:meta])* $name:ident { $($(#[$doc:meta])* $field:ident: $kind:ty,)* }) => {
        $(#[$meta])*
        #[derive(Debug, serde::Deserialize, schemars::JsonSchema)]
        #[serde(deny_unknown_fields)]
        pub(crate) struct $name {
            $($(#[$doc])* pub(crate) $field: $kind,)*
            /// What it is guaranteed, on the wire: served before anything that exceeds a guarantee.
            /// Guarantees must fit into that of the class above, or into the uplink.
            rate: Limit<qos::RateSpec>,
            /// What it never exceeds, on the wire, with all classes below it. Absent: unlimited.
            ceil: Limit<qos::RateSpec>,
            /// Its share of what guarantees leave over, among its siblings of the same prio.
            /// Absent: its rate in kbit/s, or 1000 without a rate.
            #[schemars(range(min = 1))]
            weight: Option<At<u32>>,
            /// Who takes first of what guarantees leave over: 0 (first, the default) to 3 (last).
            #[schemars(range(max = 3))]
            prio: Option<At<u8>>,
            /// How far it may run ahead of rate, as a size or as time at the rate.
            burst: Spelt<qos::Burst>,
            /// How far it may run ahead of ceil, as a size or as time at the ceil.
            cburst: Spelt<qos::Burst>,
            /// Packets per second it never exceeds; a segment counts as one. Absent: unlimited.
            pps: Limit<qos::PacketRate>,
            /// How far it may run ahead of pps, in packets or as time.
            ppsburst: Spelt<qos::PacketBurst>,
            /// Bytes counted for each packet besides its own. Default: 24, what Ethernet adds.
            overhead: Option<At<i32>>,
            /// Bytes that even the smallest packet is counted as. Default: 84, as on Ethernet.
            mpu: Option<At<u32>>,
            /// Wire bytes it may send in one go. Absent: what 100 us at its rate carry.
            #[schemars(range(min = 1))]
            quantum: Option<At<u32>>,
            /// Whether its frames are spread evenly below ceil instead of sent in bursts.
            pace: Option<At<bool>>,
            /// Where frames wait: hold (in the guest's own ring; nothing is copied or dropped),
            /// fifo, or flows (a queue for each flow, kept short by CoDel and ECN).
            queue: Option<At<QueueKey>>,
            /// Frames that a fifo holds. Default: 1000. Only with queue = "fifo".
            #[schemars(range(min = 1))]
            fifo: Option<At<u32>>,
            /// How flows are queued. Only with queue = "flows".
            flows: Option<At<FlowsKeys>>,
        }

        impl $name {
            /// Its settings, each with its place.
            pub(crate) fn settings<'a>(
                &'a self,
                source: &'a $crate::file::text::Text,
            ) -> $crate::file::settings::Settings<'a> {
                $crate::file::settings::settings_of!(self, source)
            }
        }
    };
}
pub(crate) use class_keys;

/// The settings of one class, each from the table that has it.
macro_rules! settings {
    ($($key:ident: $kind:ty,)*) => {
        /// The settings of a class, each with its place; absent what no table says.
        #[derive(Clone, Copy, Debug, Default)]
        pub(crate) struct Settings<'a> {
            $(pub(crate) $key: Option<Found<'a, $kind>>,)*
        }

        impl Settings<'_> {
            /// These, and what they leave open from another table.
            pub(crate) fn or(self, other: Self) -> Self {
                Self { $($key: self.$key.or(other.$key),)* }
            }

            /// Where a setting was written.
            pub(crate) fn place(&self, key: &str) -> Option<Place> {
                match key {
                    $(stringify!($key) => self.$key.map(Found::place),)*
                    _ => None,
                }
            }
        }
    };
}

macro_rules! settings_of {
    ($keys:ident, $source:ident) => {
        $crate::file::settings::settings_of!($keys, $source:
            rate ceil weight prio burst cburst pps ppsburst overhead mpu quantum pace queue fifo flows)
    };
    ($keys:ident, $source:ident: $($key:ident)*) => {
        $crate::file::settings::Settings {
            $($key: $keys.$key.as_ref().map(|at| at.found($source)),)*
        }
    };
}
pub(crate) use settings_of;

settings! {
    rate: Written<OrNone<RateSpec>>,
    ceil: Written<OrNone<RateSpec>>,
    weight: u32,
    prio: u8,
    burst: Written<Burst>,
    cburst: Written<Burst>,
    pps: Written<OrNone<PacketRate>>,
    ppsburst: Written<PacketBurst>,
    overhead: i32,
    mpu: u32,
    quantum: u32,
    pace: bool,
    queue: QueueKey,
    fifo: u32,
    flows: FlowsKeys,
}

/// Where frames wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub(crate) enum QueueKey {
    Hold,
    Fifo,
    Flows,
}

/// How flows are queued (RFC 8289, RFC 8290).
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct FlowsKeys {
    /// Frames that may wait. Default: 1024.
    #[schemars(range(min = 1))]
    frames: Option<u32>,
    /// Bytes that may wait. Absent: as many as the frames have.
    #[schemars(range(min = 1))]
    bytes: Option<u32>,
    /// Flows told apart, 1 to 256. Default: 64.
    #[schemars(range(min = 1, max = 256))]
    buckets: Option<u16>,
    /// Wire bytes that a flow may send per round. Absent: one full-size frame.
    #[schemars(range(min = 1))]
    quantum: Option<u32>,
    /// How long a frame may wait as a rule. Default: 5ms.
    target: Option<Written<Interval>>,
    /// How long it may wait longer before frames are dropped or marked. Default: 100ms.
    interval: Option<Written<Interval>>,
    /// Beyond this wait every frame that can be is marked at once. Absent: never.
    ce_threshold: Option<Written<Interval>>,
    /// Whether ce_threshold is for frames of L4S senders, ECT(1), alone.
    ce_threshold_ect1_only: Option<bool>,
    /// Whether an acknowledgement that waits is dropped when a later one of its flow comes.
    ack_filter: Option<bool>,
    /// Whether turns go to hosts first and to a host's flows then.
    host_isolation: Option<bool>,
}

impl FlowsKeys {
    fn config(&self) -> FlowsConfig {
        let mut config = FlowsConfig::default();
        let nanos = |key: Option<Written<Interval>>| key.map(|Written(time)| time.as_nanos());
        set(&mut config.frames, self.frames);
        set(&mut config.buckets, self.buckets);
        set(&mut config.target_nanos, nanos(self.target));
        set(&mut config.interval_nanos, nanos(self.interval));
        config.ce_threshold_nanos = nanos(self.ce_threshold);
        (config.bytes, config.quantum) = (self.bytes, self.quantum);
        set(
            &mut config.ce_threshold_ect1_only,
            self.ce_threshold_ect1_only,
        );
        set(&mut config.ack_filter, self.ack_filter);
        set(&mut config.host_isolation, self.host_isolation);
        config
    }
}

/// A setting that was written replaces the default.
pub(crate) fn set<T>(setting: &mut T, written: Option<T>) {
    if let Some(written) = written {
        *setting = written;
    }
}

/// The value of a setting that was written.
fn value<T: Copy>(found: Option<Found<'_, T>>) -> Option<T> {
    found.map(|found| *found.value())
}

/// The value of a setting that was written in its own spelling.
fn written<T: Copy>(found: Option<Found<'_, Written<T>>>) -> Option<T> {
    value(found).map(|Written(value)| value)
}

fn given<T: Copy>(found: Option<Found<'_, Written<OrNone<T>>>>) -> Option<T> {
    written(found).and_then(|OrNone(value)| value)
}

impl Settings<'_> {
    /// The class of these settings, without a parent; `queue` is where frames wait if they do not say.
    ///
    /// # Errors
    /// Settings of a queue that it does not have.
    pub(crate) fn class(&self, id: ClassId, queue: QueueKey) -> Result<ClassConfig, FileError> {
        let (rate, ceil) = (given(self.rate), given(self.ceil));
        let burst = |own, spec: Option<RateSpec>| {
            let own: Option<Burst> = written(own);
            own.or_else(|| spec?.burst).unwrap_or_default()
        };
        Ok(ClassConfig {
            rate: rate.map(|spec| spec.rate),
            ceil: ceil.map(|spec| spec.rate),
            weight: value(self.weight),
            prio: value(self.prio).unwrap_or(0),
            burst: burst(self.burst, rate),
            cburst: burst(self.cburst, ceil),
            pps: given(self.pps),
            pps_burst: written(self.ppsburst).unwrap_or_default(),
            framing: self.framing(),
            quantum: value(self.quantum),
            queue: self.queue(queue)?,
            pace: value(self.pace).unwrap_or(false),
            ..ClassConfig::new(id)
        })
    }

    fn framing(&self) -> Option<Framing> {
        let default = Framing::ETHERNET;
        (self.overhead.is_some() || self.mpu.is_some()).then(|| Framing {
            overhead: value(self.overhead).unwrap_or(default.overhead),
            mpu: value(self.mpu).unwrap_or(default.mpu),
        })
    }

    fn queue(&self, default: QueueKey) -> Result<LeafQueue, FileError> {
        let kind = value(self.queue).unwrap_or(default);
        match (self.fifo, self.flows) {
            (Some(fifo), _) if kind != QueueKey::Fifo => {
                return Err(fifo.fault(Fault::OtherQueue { queue: "fifo" }));
            }
            (_, Some(flows)) if kind != QueueKey::Flows => {
                return Err(flows.fault(Fault::OtherQueue { queue: "flows" }));
            }
            _ => {}
        }
        Ok(match kind {
            QueueKey::Hold => LeafQueue::Hold,
            QueueKey::Fifo => LeafQueue::Fifo {
                frames: value(self.fifo).unwrap_or(FIFO_FRAMES),
            },
            QueueKey::Flows => {
                let flows = self.flows.map(|flows| flows.value().config());
                LeafQueue::Flows(flows.unwrap_or_default())
            }
        })
    }
}

/// The key that an error is about.
pub(crate) const fn key(error: &TreeError) -> Option<&'static str> {
    match error {
        TreeError::SecondRoot { .. }
        | TreeError::Orphan { .. }
        | TreeError::Cycle { .. }
        | TreeError::TooDeep { .. } => Some("parent"),
        TreeError::ZeroWeight { .. } => Some("weight"),
        TreeError::ZeroQuantum { .. } => Some("quantum"),
        TreeError::EmptyQueue { .. }
        | TreeError::TooManyBuckets { .. }
        | TreeError::QueueOnInner { .. } => Some("queue"),
        TreeError::Prio { .. } => Some("prio"),
        TreeError::RateAboveCeil { .. } => Some("ceil"),
        TreeError::Overcommitted { .. } => Some("rate"),
        TreeError::SmallBurst { what, .. } => Some(what),
        TreeError::SmallPacketBurst { .. } => Some("ppsburst"),
        TreeError::PaceWithoutCeil { .. } => Some("pace"),
        TreeError::SegmentTime { .. } => Some("segment_nanos"),
        _ => None,
    }
}
