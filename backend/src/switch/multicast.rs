//! Frames to a group: who gets them, and what they teach about groups.

use ring::Facts;

use super::forward::Audience;
use super::groups::{self, Family};
use super::port::UNASKED;
use super::snoop::{self, Message};
use super::stations::key;
use super::tags::Tags;
use super::{Switch, guard, packet};

impl Switch {
    /// Who gets a frame to a group address, after what it says about groups was noted.
    pub(super) fn audience(
        &mut self,
        from: Option<u32>,
        head: &[u8],
        facts: Option<Facts>,
        group: [u8; 6],
        tags: &Tags,
        now: u64,
    ) -> Audience {
        let Some(family) = snoop::family(group) else {
            return if guard::is_link_control(group) {
                Audience::Unguarded
            } else {
                Audience::All
            };
        };
        let facts = facts.or_else(|| packet::read(head).ok());
        let message = facts.and_then(|facts| Message::parse(head, &facts));
        let queried = self.groups.is_queried(tags.vlan, family, now);
        match message {
            Some(Message::Query(family)) => {
                self.queried(from, family, tags, now);
                Audience::All
            }
            Some(Message::Report(report)) => {
                if let Some(from) = from {
                    report.for_each(|group, wanted| {
                        self.reported(from, key(tags.vlan, group), wanted, now);
                    });
                }
                if queried {
                    Audience::Routers
                } else {
                    Audience::All
                }
            }
            None if queried && snoop::is_restrictable(group) => {
                let key = key(tags.vlan, group);
                let joined = self.groups.next(self.groups.first(key), now);
                joined.map_or(Audience::All, |_| Audience::Group(key))
            }
            None => Audience::All,
        }
    }

    /// Notes a querier, if it is to be believed: the uplink's or a trusted router's. Others could ask so
    /// that the switch listens and the guests do not answer, and have them forgotten.
    fn queried(&mut self, from: Option<u32>, family: Family, tags: &Tags, now: u64) {
        let believed = |number| self.port(number).is_some_and(|port| port.is_router);
        if !from.is_none_or(believed) {
            return;
        }
        // What ports want is known once they have had the time to answer.
        let is_first = self.groups.queried(tags.vlan, family, now);
        for port in self.ports.iter_mut().flatten() {
            if port.vlan.take(tags).is_none() {
                continue;
            }
            if port.all_groups_until == UNASKED {
                port.all_groups_until = now.saturating_add(groups::ROUND);
            } else if is_first {
                let until = now.saturating_add(groups::RESPONSE);
                port.all_groups_until = port.all_groups_until.max(until);
            }
        }
        if let Some(from) = from {
            self.give_all_groups(from, now);
            let until = now.saturating_add(self.groups.age());
            if let Some(port) = self.port_mut(from) {
                port.reports_until = until;
            }
        }
        let ports = self.ports.iter().flatten();
        let until = ports.map(|port| port.all_groups_until).max();
        self.all_groups_until = until.unwrap_or_default();
    }

    fn reported(&mut self, from: u32, key: u64, wanted: bool, now: u64) {
        if !wanted {
            self.groups.leave(key, from, now);
        } else if self.groups.join(key, from, now).is_err() {
            self.give_all_groups(from, now);
            if let Some(port) = self.port_mut(from) {
                port.missed.groups += 1;
            }
        }
    }

    fn give_all_groups(&mut self, port: u32, now: u64) {
        let until = now.saturating_add(self.groups.age());
        if let Some(port) = self.port_mut(port) {
            port.all_groups_until = port.all_groups_until.max(until);
            self.all_groups_until = self.all_groups_until.max(until);
        }
    }
}
