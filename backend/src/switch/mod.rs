//! The switch of one uplink's segment: which port a frame is for, and whether it may be sent at all.
//! Pure: bytes and the time come in, a decision goes out.
//!
//! Guests are hostile. What they send cannot move an address that a port owns, cannot take room from
//! another port's entries, and costs no allocation and no unbounded walk: tables are as large as
//! [`Limits`] says from the start, and hashed with a secret.
//!
//! ```text
//! from a guest ─▶ VLAN ─▶ guard ─▶ learn ─▶ snoop ─▶ forward ─▶ port | uplink | flood
//! from the uplink ─▶ VLAN ─▶ owned source? ─▶ forget ─▶ snoop ─▶ forward ─▶ port | flood
//! ```
//!
//! - *Owned* addresses are configured. Nobody else may send from them, in whatever VLAN.
//! - *Learned* ones are where ports without an owned address (*open* ports) have shown them, by VLAN, or
//!   without regard to tags on transparent ports. Frames from the uplink only undo that.
//! - A unicast that nobody here is known to have goes from a guest to the uplink and to open ports, and
//!   from the uplink to open ports, if there are any.
//! - A group is kept to those who joined while a querier keeps that knowledge fresh; else it is for all.
//!   Reports are only for those who ask for them, so that guests do not hold back their own.
//! - Ports in the same isolation group do not reach each other here. What one sends to another is
//!   refused, not handed to the uplink: an uplink that reflects it would undo the isolation.
//! - A new port gets all groups until it had the time to say which it wants.
//! - One unguarded transparent port by itself is a cable to the uplink: nothing is checked, learned or
//!   held back.
//! - Link control (pause, spanning tree, LLDP) passes to and from unguarded ports only.

mod arp;
mod forward;
mod groups;
mod guard;
mod limits;
mod memo;
mod multicast;
mod nd;
mod packet;
mod port;
mod receivers;
mod refused;
mod snoop;
mod stations;
mod table;
mod tags;
mod unicast;

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::time::Duration;

use ahash::RandomState;

use crate::args::MacAddr;

pub use forward::{Delivery, Flood, Forward, TagChange};
pub use limits::Limits;
pub use port::{Missed, PortError, PortRules};
pub use refused::Refused;

use groups::Groups;
use port::{Port, UNASKED};
use receivers::Receivers;
use stations::{Beyond, Stations, key, mac_of};
use tags::Tags;

/// Port numbers below this exist.
const MAX_PORTS: u32 = 1 << 16;

/// The switch of one uplink's segment.
///
/// Inputs are [`set_port`](Self::set_port) and [`remove_port`](Self::remove_port), which are control and
/// walk the tables, and [`from_guest`](Self::from_guest) and [`from_uplink`](Self::from_uplink), which
/// are the packet path. A [`Flood`] they answer is resolved by [`receivers`](Self::receivers). Times are
/// monotonic nanoseconds and never decrease; one that does counts as no time passed.
#[derive(Clone, Debug)]
pub struct Switch {
    ports: Vec<Option<Port>>,
    owners: HashMap<[u8; 6], u32, RandomState>,
    stations: Stations,
    beyond: Beyond,
    groups: Groups,
    /// Ports that own no address.
    open: usize,
    /// The only one of those.
    only_open: Option<u32>,
    /// The only port of all, if frames pass it as they are, and unchecked.
    alone: Option<u32>,
    transparent: usize,
    /// Ports that are not transparent.
    aware: usize,
    /// No port's `all_groups_until` is later.
    all_groups_until: u64,
    /// How often a port was changed.
    changes: u64,
}

impl Switch {
    /// A switch without ports. `seed` must be random and unknown to guests, or they could choose
    /// addresses that share a place in the tables.
    #[must_use]
    pub fn new(limits: Limits, seed: [u64; 4]) -> Self {
        let [a, b, c, d] = seed;
        let hasher = RandomState::with_seeds(a, b, c, d);
        let nanos = |time: Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        Self {
            ports: Vec::new(),
            owners: HashMap::with_hasher(hasher.clone()),
            stations: Stations::new(
                limits.stations,
                limits.stations_per_port,
                nanos(limits.station_age),
                hasher.clone(),
            ),
            beyond: Beyond::new(
                limits.uplink_stations,
                nanos(limits.station_age),
                hasher.clone(),
            ),
            groups: Groups::new(
                limits.groups,
                limits.groups_per_port,
                nanos(limits.group_age),
                hasher,
            ),
            open: 0,
            only_open: None,
            alone: None,
            transparent: 0,
            aware: 0,
            all_groups_until: 0,
            changes: 1,
        }
    }

    /// Adds a port, or changes its rules. Numbers are small: tables are indexed by them. What was
    /// learned elsewhere of an address that the port now owns is forgotten, and so is what the port
    /// itself was known to have if it changes VLAN or now owns an address.
    ///
    /// # Errors
    /// Why the rules cannot be; see [`PortError`].
    pub fn set_port(&mut self, port: u32, rules: PortRules) -> Result<(), PortError> {
        let at = usize::try_from(port)
            .ok()
            .filter(|_| port < MAX_PORTS)
            .ok_or(PortError::Number(port))?;
        if let Some(mac) = rules.mac
            && let Some(owner) = self.owners.get(&mac.octets())
            && *owner != port
        {
            return Err(PortError::Owned { mac, port: *owner });
        }
        let ports = at.saturating_add(1).max(self.ports.len());
        self.ports.resize_with(ports, || None);
        self.stations.grow(ports);
        self.groups.grow(ports);
        let mac = rules.mac.map(MacAddr::octets);
        let mut new = Port::new(rules);
        if let Some(old) = self.ports.get_mut(at).and_then(Option::take) {
            new.succeed(&old);
            if let Some(mac) = old.mac {
                self.owners.remove(&mac.octets());
            }
            if old.vlan != new.vlan {
                self.groups.forget_port(port);
            }
            if old.vlan != new.vlan || !new.is_open() {
                self.stations.forget_where(|_, behind| behind == port);
            }
        }
        if let Some(mac) = mac {
            self.owners.insert(mac, port);
            self.stations.forget_where(|key, _| mac_of(key) == mac);
        }
        if let Some(slot) = self.ports.get_mut(at) {
            *slot = Some(new);
        }
        self.all_groups_until = UNASKED;
        self.count();
        Ok(())
    }

    /// Removes a port and what it was known to have. Nothing happens if there is none.
    pub fn remove_port(&mut self, port: u32) {
        let slot = usize::try_from(port)
            .ok()
            .and_then(|at| self.ports.get_mut(at));
        let Some(old) = slot.and_then(Option::take) else {
            return;
        };
        if let Some(mac) = old.mac {
            self.owners.remove(&mac.octets());
        }
        self.stations.forget_where(|_, behind| behind == port);
        self.groups.forget_port(port);
        self.count();
    }

    /// What the tables had no room for on a port.
    #[must_use]
    pub fn missed(&self, port: u32) -> Missed {
        self.port(port).map(|port| port.missed).unwrap_or_default()
    }

    /// Learned addresses in all.
    #[must_use]
    pub fn stations(&self) -> usize {
        self.stations.len()
    }

    /// A frame from a guest. `head` holds its first bytes, from the destination address on: all of it, or
    /// at least [`ring::net::HEAD_LEN`].
    ///
    /// # Errors
    /// Why it must be dropped.
    #[inline]
    pub fn from_guest(&mut self, port: u32, head: &[u8], now: u64) -> Result<Forward, Refused> {
        let from = self.port(port).ok_or(Refused::NoPort)?;
        let (destination, source) = ends(head)?;
        if self.alone == Some(port) {
            return Ok(Forward::Uplink(TagChange::Keep));
        }
        let tags = from.vlan.admit(head)?;
        let facts = match &from.guard {
            // What one station gets is read no further.
            Some(guard) if guard.passes(head) => None,
            Some(guard) => Some(guard.check(head)?),
            None => None,
        };
        let mut known = true;
        if from.is_open() {
            let is_transparent = from.vlan.is_transparent();
            known = self.learn(port, is_transparent, source, &tags, now)?;
        }
        if destination[0] & 1 == 0 {
            let forward = self.unicast_from_guest(port, destination, tags, now)?;
            if known {
                self.note(port, head, forward, now);
            }
            return Ok(forward);
        }
        let audience = self.audience(Some(port), head, facts, destination, &tags, now);
        Ok(Forward::Flood(Flood {
            source: Some(port),
            tags,
            audience,
            now,
        }))
    }

    /// A frame from the uplink. `head` is as for [`Self::from_guest`]; `tag` is the control information of
    /// a VLAN tag that the kernel took off, if any.
    ///
    /// # Errors
    /// Why it must be dropped.
    #[inline]
    pub fn from_uplink(
        &mut self,
        head: &[u8],
        tag: Option<u16>,
        now: u64,
    ) -> Result<Forward, Refused> {
        let (destination, source) = ends(head)?;
        if let Some(port) = self.alone {
            let tag = tag.map_or(TagChange::Keep, TagChange::Push);
            return Ok(Forward::Port(Delivery { port, tag }));
        }
        let tags = Tags::read(head, tag)?;
        if !self.owners.is_empty() && self.owners.contains_key(&source) {
            return Err(Refused::SpoofedMac);
        }
        if self.stations.len() > 0 {
            self.stations.forget(key(0, source));
            if self.aware > 0 && tags.vlan != 0 {
                self.stations.forget(key(tags.vlan, source));
            }
        }
        // With one open port there is nobody to be spared.
        if self.open > 1 && source[0] & 1 == 0 {
            self.beyond.note(key(tags.vlan, source), now);
        }
        if destination[0] & 1 == 0 {
            return self.unicast_from_uplink(destination, tags, now);
        }
        let audience = self.audience(None, head, None, destination, &tags, now);
        Ok(Forward::Flood(Flood {
            source: None,
            tags,
            audience,
            now,
        }))
    }

    /// The ports that get a flood, each once: never the one it is from, nor one isolated from that.
    pub fn receivers<'a>(&'a self, flood: &'a Flood) -> impl Iterator<Item = Delivery> + 'a {
        Receivers::new(self, flood)
    }

    /// Counts the kinds of ports anew.
    fn count(&mut self) {
        self.changes = self.changes.wrapping_add(1);
        let mut open = (0_u32..).zip(&self.ports).filter_map(|(number, port)| {
            port.as_ref().filter(|port| port.is_open()).map(|_| number)
        });
        let first = open.next();
        let more = open.count();
        self.open = more.saturating_add(usize::from(first.is_some()));
        self.only_open = first.filter(|_| more == 0);
        let only = self.ports.iter().flatten().count() == 1;
        self.alone = self
            .only_open
            .filter(|number| only && self.port(*number).is_some_and(Port::is_plain));
        // What it joins from now on is not noted.
        if let Some(port) = self.alone.and_then(|number| self.port_mut(number)) {
            port.all_groups_until = UNASKED;
            self.all_groups_until = UNASKED;
        }
        let ports = self.ports.iter().flatten();
        (self.transparent, self.aware) = ports.fold((0, 0), |(transparent, aware), port| {
            if port.vlan.is_transparent() {
                (transparent + 1, aware)
            } else {
                (transparent, aware + 1)
            }
        });
    }

    #[inline]
    fn port(&self, number: u32) -> Option<&Port> {
        self.ports.get(usize::try_from(number).ok()?)?.as_ref()
    }

    fn port_mut(&mut self, number: u32) -> Option<&mut Port> {
        self.ports.get_mut(usize::try_from(number).ok()?)?.as_mut()
    }
}

/// Destination and source address.
#[inline]
fn ends(head: &[u8]) -> Result<([u8; 6], [u8; 6]), Refused> {
    let destination = head.first_chunk();
    let source = head.get(6..).and_then(<[u8]>::first_chunk);
    let ends = destination.zip(source).filter(|_| head.len() >= 14);
    let (destination, source) = ends.ok_or(Refused::Truncated)?;
    Ok((*destination, *source))
}
