//! The counters of all ports, for the log and for the control socket.

use std::collections::BTreeMap;

use qos::FlowCounters;
use serde::Serialize;

use super::Daemon;
use crate::logging::OPERATOR;
use crate::plan;
use crate::shard::{DirectionCounters, PortCounters, PortId, ShardGone};

/// What there is to know of a daemon at one time.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    generation: u64,
    ports: Vec<PortReport>,
    /// Only if asked for: every class of every tree, at most [`MOST_CLASSES`] of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    classes: Option<Vec<ClassReport>>,
}

/// Classes that one report tells of at most.
const MOST_CLASSES: usize = 1 << 16;

/// A class of a tree. An inner one counts what its leaves did.
#[derive(Debug, Serialize)]
struct ClassReport {
    uplink: String,
    direction: &'static str,
    /// The guest, or the guest and its class; of those that every tree has, what they are.
    class: String,
    /// Whether it is about frames between guests.
    local: bool,
    /// Frames that wait here. Those in a guest's ring are not counted.
    queued: u64,
    /// Taken into a queue.
    offered: Passed,
    sent: Passed,
    dropped: Passed,
    /// Frames for which there was no room.
    refused: u64,
    marked: u64,
    throttled: u64,
}

#[derive(Debug, Serialize)]
struct Passed {
    frames: u64,
    segments: u64,
    bytes: u64,
    wire_bytes: u64,
}

impl From<&FlowCounters> for Passed {
    fn from(counters: &FlowCounters) -> Self {
        Self {
            frames: counters.frames,
            segments: counters.segments,
            bytes: counters.bytes,
            wire_bytes: counters.wire_bytes,
        }
    }
}

#[derive(Debug, Serialize)]
struct PortReport {
    port: String,
    /// Whether a front-end is connected.
    session: bool,
    from_guest: DirectionReport,
    to_guest: DirectionReport,
    kicks: u64,
    wakes: u64,
    broken_rings: u64,
}

#[derive(Debug, Serialize)]
struct DirectionReport {
    frames: u64,
    segments: u64,
    bytes: u64,
    wire_bytes: u64,
    calls: u64,
    /// Frames dropped, by reason; those that did not occur are left out.
    drops: BTreeMap<&'static str, u64>,
}

impl From<&DirectionCounters> for DirectionReport {
    fn from(counters: &DirectionCounters) -> Self {
        Self {
            frames: counters.sent.frames,
            segments: counters.sent.segments,
            bytes: counters.sent.bytes,
            wire_bytes: counters.sent.wire_bytes,
            calls: counters.calls,
            drops: counters.drops.iter().collect(),
        }
    }
}

impl<R> Daemon<R> {
    /// The counters of all ports, and of all classes if `classes`.
    pub(super) fn report(&self, classes: bool) -> Result<Report, ShardGone> {
        let port = |(id, counters): (PortId, PortCounters)| {
            let port = self.ports.get(id)?;
            Some(PortReport {
                port: port.name.clone(),
                session: port.is_busy(),
                from_guest: (&counters.from_guest).into(),
                to_guest: (&counters.to_guest).into(),
                kicks: counters.kicks,
                wakes: counters.wakes,
                broken_rings: counters.broken_rings,
            })
        };
        Ok(Report {
            generation: self.generation,
            ports: self.counters()?.into_iter().filter_map(port).collect(),
            classes: classes.then(|| self.classes()).transpose()?,
        })
    }

    fn classes(&self) -> Result<Vec<ClassReport>, ShardGone> {
        let names = self.service.class_names();
        let mut all = Vec::new();
        for (uplink, [from, to]) in self.service.classes()? {
            let from = from.into_iter().map(|class| ("from-guest", class));
            let to = to.into_iter().map(|class| ("to-guest", class));
            let room = MOST_CLASSES.saturating_sub(all.len());
            all.extend(from.chain(to).take(room).map(|(direction, class)| {
                let (name, local) = match class.id {
                    plan::ROOT => ("(all)", false),
                    plan::UPLINK => ("(uplink)", false),
                    plan::LOCAL => ("(local)", true),
                    plan::FLOOD => ("(flood)", true),
                    id => (
                        names.get(&id).map_or("", String::as_str),
                        plan::is_local(id),
                    ),
                };
                ClassReport {
                    uplink: uplink.to_owned(),
                    direction,
                    class: name.to_owned(),
                    local,
                    queued: class.queued,
                    offered: (&class.stats.offered).into(),
                    sent: (&class.stats.sent).into(),
                    dropped: (&class.stats.dropped).into(),
                    refused: class.stats.refused,
                    marked: class.stats.marked,
                    throttled: class.stats.throttled,
                }
            }));
        }
        Ok(all)
    }

    /// Logs the counters of all ports.
    pub(super) fn log_report(&self) -> Result<(), ShardGone> {
        for (id, counters) in self.counters()? {
            let Some(port) = self.ports.get(id) else {
                continue;
            };
            let name = &port.name;
            counters.log(name, OPERATOR);
            log::info!(
                target: OPERATOR,
                port = name,
                kicks = counters.kicks,
                wakes = counters.wakes,
                broken_rings = counters.broken_rings;
                ""
            );
        }
        Ok(())
    }

    fn counters(&self) -> Result<Vec<(PortId, PortCounters)>, ShardGone> {
        let ids: Vec<_> = self.ports.iter().map(|(id, _)| id).collect();
        let counters = self.service.counters(&ids)?;
        let known = ids.into_iter().zip(counters);
        Ok(known
            .filter_map(|(id, counters)| Some((id, counters?)))
            .collect())
    }
}
