//! What was counted, told between two turns: what is about one port is of one moment.
//!
//! Whoever asks makes room for the answers, so that the shard neither allocates nor frees, and asks about
//! no more at a time than may keep the frames waiting: every class costs a look-up.

use qos::ClassId;
use qos::engine::ClassSnapshot;

use super::Shard;
use super::counters::{Drops, PortCounters};
use super::mailbox::{LanId, PortId};
use super::port::Now;
use crate::control::Histogram;

/// Questions, and room for the answers.
#[derive(Clone, Debug, Default)]
pub struct Inquiry {
    /// About ports.
    pub ports: Vec<PortInquiry>,
    /// About uplinks.
    pub lans: Vec<LanInquiry>,
}

/// What is asked about a port.
#[derive(Clone, Debug)]
pub struct PortInquiry {
    /// Which.
    pub id: PortId,
    /// Its classes in the tree of what guests send, and in that of what they receive.
    pub classes: [Vec<ClassInquiry>; 2],
    /// The answer; none if there is no such port.
    pub counters: Option<PortCounters>,
}

/// What is asked about a class of a port.
#[derive(Clone, Debug)]
pub struct ClassInquiry {
    /// Its ids in the tree: below the uplink, and below that of local frames.
    pub ids: [ClassId; 2],
    /// The answers, of each by itself ([`qos::Engine::stats_of`]); none of one that the tree does not have.
    pub twins: [Option<ClassSnapshot>; 2],
    /// How long frames waited in both.
    pub sojourn: Histogram,
}

/// What is asked about an uplink.
#[derive(Clone, Debug)]
pub struct LanInquiry {
    /// Which.
    pub id: LanId,
    /// The answer; none if there is no such uplink.
    pub counters: Option<LanCounters>,
}

/// What is counted of an uplink.
#[derive(Clone, Debug, Default)]
pub struct LanCounters {
    /// Turns it had.
    pub turns: u64,
    /// Frames from it that no port was charged with.
    pub refused: Drops,
    /// Whether its device has been taken away.
    pub gone: bool,
}

impl PortInquiry {
    /// A question about a port and these of its classes.
    pub fn new(id: PortId, classes: [Vec<[ClassId; 2]>; 2]) -> Self {
        let classes = classes.map(|ids| ids.into_iter().map(ClassInquiry::new).collect());
        Self {
            id,
            classes,
            counters: None,
        }
    }

    /// How many classes have to be looked up.
    pub fn look_ups(&self) -> usize {
        let classes = self.classes.iter().map(Vec::len).sum::<usize>();
        classes.saturating_mul(2)
    }
}

impl ClassInquiry {
    fn new(ids: [ClassId; 2]) -> Self {
        Self {
            ids,
            twins: [None; 2],
            sojourn: Histogram::default(),
        }
    }
}

impl LanInquiry {
    /// A question about an uplink.
    pub const fn new(id: LanId) -> Self {
        Self { id, counters: None }
    }
}

impl Shard {
    /// Answers.
    pub(super) fn count(&self, inquiry: &mut Inquiry) {
        let now = Now::read();
        for port in &mut inquiry.ports {
            self.count_port(port, now);
        }
        for LanInquiry { id, counters } in &mut inquiry.lans {
            let lan = self.lans.get(id.0 as usize).and_then(Option::as_ref);
            *counters = lan.map(|lan| LanCounters {
                turns: lan.turns,
                refused: lan.refused,
                gone: lan.gone,
            });
        }
    }

    fn count_port(&self, inquiry: &mut PortInquiry, now: Now) {
        let Some(port) = self.ports.get(inquiry.id.0) else {
            return;
        };
        let mut counters = port.counters.clone();
        if let Some(Some(lan)) = self.lans.get(port.lan as usize) {
            counters.wakes = lan.turns;
            let trees = [(&lan.from, &port.from), (&lan.to, &port.to)];
            for (classes, (tree, own)) in inquiry.classes.iter_mut().zip(trees) {
                // They are in the order of the classes.
                let mut leaves = own.sojourns().peekable();
                for class in classes {
                    class.twins = class.ids.map(|id| tree.engine.stats_of(id, now.time()));
                    if let Some((_, sojourn)) = leaves.next_if(|(id, _)| *id == class.ids[0]) {
                        class.sojourn = *sojourn;
                    }
                }
            }
        }
        inquiry.counters = Some(counters);
    }
}
