//! What the packet threads have counted, asked for in pieces that keep no frame waiting for long.

use super::Service;
use crate::config::{Direction, GuestConfig, UplinkConfig};
use crate::shard::{Inquiry, LanCounters, LanInquiry, PortId, PortInquiry, ShardGone};

/// Look-ups of one question at most, unless one guest has more classes: what is about a guest is of one
/// moment.
const LOOK_UPS: usize = 1000;

/// What copying a port's or an uplink's counters costs, in look-ups.
const COPY: usize = 4;

impl Service {
    /// The question about a port, and about all classes of its guest if `classes`.
    pub(in crate::daemon) fn inquiry(
        &self,
        id: PortId,
        guest: &GuestConfig,
        classes: bool,
    ) -> PortInquiry {
        let known = |direction| match classes {
            true => self.ids.known(guest, guest.tree(direction)),
            false => Vec::new(),
        };
        PortInquiry::new(id, Direction::BOTH.map(known))
    }

    /// Has questions about ports answered, those about one port at one moment.
    pub(in crate::daemon) fn count(
        &self,
        questions: Vec<PortInquiry>,
    ) -> Result<Vec<PortInquiry>, ShardGone> {
        let mut answered = Vec::with_capacity(questions.len());
        let mut inquiry = Inquiry::default();
        let mut cost = 0_usize;
        for question in questions {
            let own = question.look_ups().saturating_add(COPY);
            if cost.saturating_add(own) > LOOK_UPS && cost > 0 {
                answered.append(&mut self.shards.count(std::mem::take(&mut inquiry))?.ports);
                cost = 0;
            }
            cost = cost.saturating_add(own);
            inquiry.ports.push(question);
        }
        answered.append(&mut self.shards.count(inquiry)?.ports);
        Ok(answered)
    }

    /// What is counted of these uplinks, in their order; none of one that is not served.
    pub(in crate::daemon) fn count_uplinks(
        &self,
        uplinks: &[UplinkConfig],
    ) -> Result<Vec<Option<LanCounters>>, ShardGone> {
        let mut answered = Vec::with_capacity(uplinks.len());
        for some in uplinks.chunks(LOOK_UPS / COPY) {
            let ids: Vec<_> = some
                .iter()
                .map(|uplink| self.lans.get(&uplink.name).map(|lan| lan.id))
                .collect();
            let lans = ids.iter().flatten().copied().map(LanInquiry::new);
            let inquiry = Inquiry {
                lans: lans.collect(),
                ..Inquiry::default()
            };
            let mut counted = self.shards.count(inquiry)?.lans.into_iter();
            let counted = ids
                .iter()
                .map(|id| id.and_then(|_| counted.next()?.counters));
            answered.extend(counted);
        }
        Ok(answered)
    }

    /// Whether an uplink's interface is there.
    pub(in crate::daemon) fn is_present(&self, uplink: &str) -> bool {
        self.lans.get(uplink).is_some_and(|lan| !lan.gone)
    }
}
