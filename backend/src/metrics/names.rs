//! Every metric there is.

use std::time::Duration;

use crate::control::{
    ClassReport, DirectionReport, Histogram, Limits, PortReport, Report, RingReport, UplinkReport,
};

/// What every name begins with, before an underscore.
pub const PREFIX: &str = "netqos";

/// How a metric behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It only grows, until the daemon is restarted or the guest made anew. Its name gets `_total`.
    Counter,
    /// It is what it is now.
    Gauge,
    /// Observations in buckets. Its name gets `_bucket`, `_sum` and `_count`.
    Histogram,
}

/// One metric.
#[derive(Clone, Copy, Debug)]
pub struct Metric {
    /// Its name without [`PREFIX`] and the suffix that its kind brings.
    pub(super) name: &'static str,
    /// How it behaves.
    pub kind: Kind,
    /// What it counts or tells.
    pub help: &'static str,
    /// Where its values are.
    pub(super) source: Source,
}

impl Metric {
    /// The names that queries have for it, with prefix and suffix.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        let suffixes: &[&str] = match self.kind {
            Kind::Counter => &["_total"],
            Kind::Gauge => &[""],
            Kind::Histogram => &["_bucket", "_sum", "_count"],
        };
        let name = |suffix| format!("{PREFIX}_{}{suffix}", self.name);
        suffixes.iter().map(name).collect()
    }

    /// Its labels, without the `le` of histograms.
    #[must_use]
    pub fn labels(&self) -> &'static [&'static str] {
        match self.source {
            Source::Build => &["version"],
            Source::Daemon(_) => &[],
            Source::UplinkKind => &["uplink", "kind"],
            Source::Uplink(_) => &["uplink"],
            Source::UplinkDrops => &["uplink", "reason"],
            Source::UplinkLimits(_) => &["uplink", "direction"],
            Source::Guest(_) => &["guest", "uplink"],
            Source::Direction(_) => &["guest", "uplink", "direction"],
            Source::Drops => &["guest", "uplink", "direction", "reason"],
            Source::Class(_) => &["guest", "uplink", "direction", "class", "local"],
            Source::Waits => &["guest", "uplink", "direction", "class"],
            Source::Ring(_) => &["guest", "direction", "queue"],
        }
    }
}

/// Where the values of a metric are, one for each of what is read.
#[derive(Clone, Copy, Debug)]
pub(super) enum Source {
    Build,
    Daemon(fn(&Report) -> Value<'_>),
    UplinkKind,
    Uplink(fn(&UplinkReport) -> Value<'_>),
    UplinkDrops,
    UplinkLimits(fn(&Limits) -> Value<'static>),
    Guest(fn(&PortReport) -> Value<'_>),
    Direction(fn(&DirectionReport) -> Value<'_>),
    Drops,
    Class(fn(&ClassReport) -> Value<'_>),
    /// Only of leaves, which have queues.
    Waits,
    Ring(fn(&RingReport) -> Value<'_>),
}

/// A value of a metric.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Value<'a> {
    /// It has none now.
    Absent,
    Whole(u64),
    Real(f64),
    Waits(&'a Histogram),
}

/// Every metric, in the order in which they are written.
pub const NAMES: &[Metric] = &[
    gauge(
        "build_info",
        "Always 1; the label says which version runs",
        Source::Build,
    ),
    gauge(
        "uptime_seconds",
        "For how long the daemon has been there",
        Source::Daemon(|d| seconds(d.uptime_nanos)),
    ),
    gauge(
        "config_generation",
        "How many configurations have been applied",
        Source::Daemon(|d| Value::Whole(d.generation)),
    ),
    counter(
        "control_requests",
        "Requests to the control socket that were answered",
        Source::Daemon(|d| Value::Whole(d.control.requests)),
    ),
    counter(
        "control_refused_requests",
        "Requests that were answered with a refusal",
        Source::Daemon(|d| Value::Whole(d.control.refused)),
    ),
    counter(
        "control_dismissed_callers",
        "Callers sent away because they may not call, were too many, or too slow",
        Source::Daemon(|d| Value::Whole(d.control.dismissed)),
    ),
    counter(
        "control_lost_events",
        "Events that a subscriber did not take in time",
        Source::Daemon(|d| Value::Whole(d.control.lost_events)),
    ),
    gauge(
        "uplink_info",
        "Always 1; the label says what kind of uplink it is",
        Source::UplinkKind,
    ),
    gauge(
        "uplink_present",
        "Whether the interface is there: 1 or 0",
        Source::Uplink(|u| yes(u.present)),
    ),
    gauge(
        "uplink_guests",
        "Guests behind the uplink",
        Source::Uplink(|u| Value::Whole(u.guests)),
    ),
    counter(
        "uplink_wakes",
        "Turns that the packet thread gave the uplink",
        Source::Uplink(|u| Value::Whole(u.wakes)),
    ),
    counter(
        "uplink_dropped_frames",
        "Frames from the uplink dropped before any guest was charged, by reason",
        Source::UplinkDrops,
    ),
    gauge(
        "uplink_rate_bytes_per_second",
        "What the uplink is guaranteed, in wire bytes; absent without a guarantee",
        Source::UplinkLimits(|l| bytes(l.rate)),
    ),
    gauge(
        "uplink_ceil_bytes_per_second",
        "What the uplink carries at most, in wire bytes; absent without a limit",
        Source::UplinkLimits(|l| bytes(l.ceil)),
    ),
    gauge(
        "guest_session_up",
        "Whether a front-end is connected: 1 or 0",
        Source::Guest(|g| yes(g.session)),
    ),
    gauge(
        "guest_paused",
        "Whether the guest's frames are held by the operator: 1 or 0",
        Source::Guest(|g| yes(g.paused)),
    ),
    counter(
        "guest_sessions",
        "Sessions that front-ends have begun",
        Source::Guest(|g| Value::Whole(g.sessions)),
    ),
    counter(
        "guest_kicks",
        "Kicks that came from the guest",
        Source::Guest(|g| Value::Whole(g.kicks)),
    ),
    counter(
        "guest_wakes",
        "Turns that the guest's uplink had",
        Source::Guest(|g| Value::Whole(g.wakes)),
    ),
    counter(
        "guest_broken_rings",
        "Rings taken out of use because of what guest or front-end did",
        Source::Guest(|g| Value::Whole(g.broken_rings)),
    ),
    counter(
        "guest_lost_memories",
        "Sessions that ended because a file behind the guest's memory was cut short",
        Source::Guest(|g| Value::Whole(g.lost_memories)),
    ),
    counter(
        "guest_wire_bytes",
        "Bytes charged: every segment's headers, framing and padding",
        Source::Direction(|d| Value::Whole(d.wire_bytes)),
    ),
    counter(
        "guest_bytes",
        "Bytes of the frames that went through, headers once a super-frame",
        Source::Direction(|d| Value::Whole(d.bytes)),
    ),
    counter(
        "guest_frames",
        "Frames that went through, a super-frame counting once",
        Source::Direction(|d| Value::Whole(d.frames)),
    ),
    counter(
        "guest_segments",
        "Frames that went through, a super-frame counting once a segment",
        Source::Direction(|d| Value::Whole(d.segments)),
    ),
    counter(
        "guest_coalesced_frames",
        "Frames that were joined to the one before them, into one super-frame",
        Source::Direction(|d| Value::Whole(d.coalesced)),
    ),
    counter(
        "guest_dropped_frames",
        "Frames dropped, by reason",
        Source::Drops,
    ),
    counter(
        "guest_marked_frames",
        "Frames sent with a congestion mark",
        Source::Direction(|d| Value::Whole(d.marked)),
    ),
    counter(
        "guest_calls",
        "Calls (interrupts) to the guest",
        Source::Direction(|d| Value::Whole(d.calls)),
    ),
    counter(
        "guest_throttled",
        "How often the guest or a class of it had to wait for its own limit",
        Source::Direction(|d| Value::Whole(d.throttled)),
    ),
    counter(
        "guest_throttled_seconds",
        "For how long the guest's classes waited for their own limits, all together",
        Source::Direction(|d| seconds(d.throttled_nanos)),
    ),
    histogram(
        "guest_sojourn_seconds",
        "How long frames waited in queues of the daemon",
        Source::Direction(|d| Value::Waits(&d.sojourn)),
    ),
    gauge(
        "guest_queued_frames",
        "Frames that wait in queues of the daemon; not those in the guest's own ring",
        Source::Direction(|d| Value::Whole(d.queued)),
    ),
    gauge(
        "guest_rate_bytes_per_second",
        "What the guest is guaranteed, in wire bytes; absent without a guarantee",
        Source::Direction(|d| bytes(d.limits.rate)),
    ),
    gauge(
        "guest_ceil_bytes_per_second",
        "What the guest never exceeds, in wire bytes; absent without a limit",
        Source::Direction(|d| bytes(d.limits.ceil)),
    ),
    gauge(
        "guest_ceil_segments_per_second",
        "Packets a second that the guest never exceeds; absent without a limit",
        Source::Direction(|d| d.limits.pps.map_or(Value::Absent, Value::Whole)),
    ),
    counter(
        "class_wire_bytes",
        "Bytes charged for what the class sent",
        Source::Class(|c| Value::Whole(c.sent.wire_bytes)),
    ),
    counter(
        "class_bytes",
        "Bytes of the frames that the class sent",
        Source::Class(|c| Value::Whole(c.sent.bytes)),
    ),
    counter(
        "class_frames",
        "Frames that the class sent, a super-frame counting once",
        Source::Class(|c| Value::Whole(c.sent.frames)),
    ),
    counter(
        "class_segments",
        "Frames that the class sent, a super-frame counting once a segment",
        Source::Class(|c| Value::Whole(c.sent.segments)),
    ),
    counter(
        "class_offered_frames",
        "Frames that the class took into its queue",
        Source::Class(|c| Value::Whole(c.offered.frames)),
    ),
    counter(
        "class_dropped_frames",
        "Frames dropped from the queue of the class",
        Source::Class(|c| Value::Whole(c.dropped.frames)),
    ),
    counter(
        "class_refused_frames",
        "Frames for which the class had no room",
        Source::Class(|c| Value::Whole(c.refused)),
    ),
    counter(
        "class_marked_frames",
        "Frames sent with a congestion mark",
        Source::Class(|c| Value::Whole(c.marked)),
    ),
    counter(
        "class_throttled",
        "How often the class had to wait for its own limits",
        Source::Class(|c| Value::Whole(c.throttled)),
    ),
    counter(
        "class_throttled_seconds",
        "For how long the class waited for its own limits",
        Source::Class(|c| seconds(c.throttled_nanos)),
    ),
    histogram(
        "class_sojourn_seconds",
        "How long frames waited in the queue of the class, those between guests as well; only of classes that have one",
        Source::Waits,
    ),
    gauge(
        "class_queued_frames",
        "Frames that wait in the class; not those in a guest's ring",
        Source::Class(|c| Value::Whole(c.queued)),
    ),
    gauge(
        "class_rate_bytes_per_second",
        "What the class is guaranteed, in wire bytes; absent without a guarantee",
        Source::Class(|c| bytes(c.limits.rate)),
    ),
    gauge(
        "class_ceil_bytes_per_second",
        "What the class never exceeds, in wire bytes; absent without a limit",
        Source::Class(|c| bytes(c.limits.ceil)),
    ),
    gauge(
        "class_weight",
        "The share of the class of what is left over; absent if automatic",
        Source::Class(|c| {
            c.limits
                .weight
                .map_or(Value::Absent, |weight| Value::Whole(weight.into()))
        }),
    ),
    gauge(
        "ring_size_descriptors",
        "Descriptors that the ring has",
        Source::Ring(|r| Value::Whole(r.size.into())),
    ),
    gauge(
        "ring_waiting_chains",
        "Descriptor chains in the ring that the daemon has not taken",
        Source::Ring(|r| Value::Whole(r.waiting.into())),
    ),
    gauge(
        "ring_running",
        "Whether the ring is served: 1 or 0",
        Source::Ring(|r| yes(r.state == "running")),
    ),
];

const fn counter(name: &'static str, help: &'static str, source: Source) -> Metric {
    Metric {
        name,
        kind: Kind::Counter,
        help,
        source,
    }
}

const fn gauge(name: &'static str, help: &'static str, source: Source) -> Metric {
    Metric {
        name,
        kind: Kind::Gauge,
        help,
        source,
    }
}

const fn histogram(name: &'static str, help: &'static str, source: Source) -> Metric {
    Metric {
        name,
        kind: Kind::Histogram,
        help,
        source,
    }
}

fn yes(holds: bool) -> Value<'static> {
    Value::Whole(holds.into())
}

fn seconds(nanos: u64) -> Value<'static> {
    Value::Real(Duration::from_nanos(nanos).as_secs_f64())
}

/// Bytes a second, of bits a second.
#[expect(
    clippy::cast_precision_loss,
    reason = "a float holds rates to the bit up to 9 Pbit/s"
)]
fn bytes(bits: Option<u64>) -> Value<'static> {
    bits.map_or(Value::Absent, |bits| Value::Real(bits as f64 / 8.0))
}
