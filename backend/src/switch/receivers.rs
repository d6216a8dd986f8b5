//! Who gets a flood.

use super::forward::Audience;
use super::port::Port;
use super::table::NONE;
use super::{Delivery, Flood, Switch};

/// The ports that get one flood, each once.
#[derive(Debug)]
pub(super) struct Receivers<'a> {
    switch: &'a Switch,
    flood: &'a Flood,
    source: Option<&'a Port>,
    /// The members of the group not yet named.
    members: u32,
    /// The ports not yet looked at.
    ports: std::ops::Range<u32>,
}

impl<'a> Receivers<'a> {
    pub(super) fn new(switch: &'a Switch, flood: &'a Flood) -> Self {
        let every = 0..u32::try_from(switch.ports.len()).unwrap_or(u32::MAX);
        let (members, ports) = match flood.audience {
            Audience::Group(key) => {
                // Few segments have ports that get all groups, and only then all ports are looked at.
                let some = switch.all_groups_until > flood.now;
                (switch.groups.first(key), if some { every } else { 0..0 })
            }
            _ => (NONE, every),
        };
        Self {
            switch,
            flood,
            source: flood.source.and_then(|number| switch.port(number)),
            members,
            ports,
        }
    }

    fn delivery(&self, number: u32, port: &Port) -> Option<Delivery> {
        if self.flood.source == Some(number) {
            return None;
        }
        if self.source.is_some_and(|from| from.is_isolated_from(port)) {
            return None;
        }
        let tag = port.vlan.take(&self.flood.tags)?;
        Some(Delivery { port: number, tag })
    }

    fn is_meant(&self, number: u32, port: &Port) -> bool {
        let now = self.flood.now;
        match self.flood.audience {
            Audience::All => true,
            Audience::Open => port.is_open(),
            Audience::Unguarded => port.guard.is_none(),
            Audience::Routers => port.reports_until > now,
            Audience::Group(key) => {
                port.all_groups_until > now && !self.switch.groups.has(key, number, now)
            }
        }
    }
}

impl Iterator for Receivers<'_> {
    type Item = Delivery;

    fn next(&mut self) -> Option<Delivery> {
        while let Some((number, next)) = self.switch.groups.next(self.members, self.flood.now) {
            self.members = next;
            let found = self.switch.port(number);
            if let Some(delivery) = found.and_then(|port| self.delivery(number, port)) {
                return Some(delivery);
            }
        }
        while let Some(number) = self.ports.next() {
            let found = self.switch.port(number);
            if let Some(port) = found.filter(|port| self.is_meant(number, port))
                && let Some(delivery) = self.delivery(number, port)
            {
                return Some(delivery);
            }
        }
        None
    }
}
