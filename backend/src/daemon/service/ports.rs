//! What the packet thread has to know of each port.

use std::collections::{BTreeMap, BTreeSet};

use super::{Change, Service};
use crate::args::MacAddr;
use crate::config::{Config, Direction, VlanConfig};
use crate::plan;
use crate::shard::PortChange;
use crate::switch::PortRules;

impl Service {
    /// What the packet thread has to know of the ports that change, or whose uplink is not a single
    /// guest's any more, or is now.
    pub(super) fn ports(
        &mut self,
        change: &Change<'_>,
        unserved: &BTreeSet<usize>,
        crowds: &BTreeSet<usize>,
    ) -> Vec<PortChange> {
        let groups = groups(change.config);
        let changed = change.added.iter().chain(&change.replaced);
        let changed = changed.chain(&change.retuned).copied();
        let ids: BTreeMap<_, _> = changed
            .map(|(id, guest)| (guest.name.as_str(), id))
            .collect();
        let mut ports = Vec::new();
        for guest in &change.config.guests {
            if unserved.contains(&guest.uplink) {
                continue;
            }
            let Some(uplink) = change.config.uplinks.get(guest.uplink) else {
                continue;
            };
            let Some((lan, alone)) = self
                .lans
                .get(&uplink.name)
                .map(|lan| (lan.id, lan.guests == 1))
            else {
                continue;
            };
            let id = match ids.get(guest.name.as_str()) {
                Some(id) => Some(*id),
                None if crowds.contains(&guest.uplink) => change.kept.get(&guest.name).copied(),
                None => None,
            };
            let Some(id) = id else {
                continue;
            };
            let rules = PortRules {
                mac: guest.mac,
                addresses: guest.addresses.clone(),
                vlan: guest.vlan.clone(),
                isolation: guest
                    .isolation
                    .as_ref()
                    .and_then(|group| groups.get(group).copied()),
                trust: guest.trust,
            };
            let mut tree = |direction| plan::port(change.config, guest, direction, &mut self.ids);
            ports.push(PortChange {
                id,
                name: guest.name.clone(),
                lan,
                queues: usize::from(guest.queues),
                coalesce: guest.coalesce,
                transparent: alone && is_plain(&rules),
                rules,
                from_guest: tree(Direction::FromGuest),
                to_guest: tree(Direction::ToGuest),
            });
        }
        ports
    }

    pub(super) fn settle_homes(&mut self, change: &Change<'_>) {
        for id in &change.removed {
            self.homes.remove(id);
        }
        let placed = change.added.iter().chain(&change.replaced);
        for (id, guest) in placed.chain(&change.retuned) {
            if let Some(uplink) = change.config.uplinks.get(guest.uplink) {
                self.homes.insert(*id, uplink.name.clone());
            }
        }
    }
}

/// The address of the guest that is alone behind this uplink, if it has one.
pub(super) fn only_address(config: &Config, index: usize) -> Option<MacAddr> {
    let mut guests = config.guests_of(index);
    match (guests.next(), guests.next()) {
        (Some(guest), None) => guest.mac,
        _ => None,
    }
}

/// Whether nothing of a frame has to be looked at for the guest's sake.
fn is_plain(rules: &PortRules) -> bool {
    rules.mac.is_none()
        && rules.addresses.is_empty()
        && rules.isolation.is_none()
        && rules.vlan == VlanConfig::Transparent
}

/// Numbers for the isolation groups.
fn groups(config: &Config) -> BTreeMap<String, u32> {
    let names: BTreeSet<_> = config
        .guests
        .iter()
        .filter_map(|guest| guest.isolation.clone())
        .collect();
    names.into_iter().zip(0..).collect()
}
