//! Frames to one station: where it is, and what becomes of those that nobody is known to have.

use super::forward::Audience;
use super::port::Port;
use super::stations::{Full, key};
use super::tags::Tags;
use super::{Delivery, Flood, Forward, Refused, Switch};

/// Where an address is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Port(u32),
    /// A port owns it that is not in the frame's VLAN.
    OtherVlan,
    Unknown,
}

impl Switch {
    pub(super) fn unicast_from_guest(
        &self,
        port: u32,
        destination: [u8; 6],
        tags: Tags,
        now: u64,
    ) -> Result<Forward, Refused> {
        let uplink = Forward::Uplink(tags.outside());
        match self.locate(destination, &tags, now) {
            Place::Port(to) if to == port => Err(Refused::Hairpin),
            Place::Port(to) => self.deliver(port, to, &tags),
            Place::OtherVlan => Ok(uplink),
            Place::Unknown => {
                let own = self.port(port).is_some_and(Port::is_open);
                let others = self.open.saturating_sub(usize::from(own));
                if others == 0 || self.beyond.has(key(tags.vlan, destination), now) {
                    return Ok(uplink);
                }
                Ok(Forward::Flood(Flood {
                    source: Some(port),
                    tags,
                    audience: Audience::Open,
                    now,
                }))
            }
        }
    }

    fn deliver(&self, from: u32, to: u32, tags: &Tags) -> Result<Forward, Refused> {
        let receiver = self.port(to).ok_or(Refused::NoDestination)?;
        let isolated = self
            .port(from)
            .is_some_and(|sender| sender.is_isolated_from(receiver));
        if isolated {
            return Err(Refused::Isolated);
        }
        let tag = receiver.vlan.take(tags).ok_or(Refused::NoDestination)?;
        Ok(Forward::Port(Delivery { port: to, tag }))
    }

    pub(super) fn unicast_from_uplink(
        &self,
        destination: [u8; 6],
        tags: Tags,
        now: u64,
    ) -> Result<Forward, Refused> {
        let to = match self.locate(destination, &tags, now) {
            Place::Port(to) => to,
            Place::OtherVlan => return Err(Refused::NoDestination),
            Place::Unknown => match self.only_open {
                Some(to) => to,
                None if self.open == 0 => return Err(Refused::NoDestination),
                None => {
                    return Ok(Forward::Flood(Flood {
                        source: None,
                        tags,
                        audience: Audience::Open,
                        now,
                    }));
                }
            },
        };
        let tag = self.port(to).and_then(|port| port.vlan.take(&tags));
        let tag = tag.ok_or(Refused::NoDestination)?;
        Ok(Forward::Port(Delivery { port: to, tag }))
    }

    /// Where an address is, for a frame with these tags.
    #[inline]
    fn locate(&self, mac: [u8; 6], tags: &Tags, now: u64) -> Place {
        if !self.owners.is_empty()
            && let Some(owner) = self.owners.get(&mac)
        {
            let member = self
                .port(*owner)
                .is_some_and(|port| port.vlan.take(tags).is_some());
            return if member {
                Place::Port(*owner)
            } else {
                Place::OtherVlan
            };
        }
        if self.stations.len() == 0 {
            return Place::Unknown;
        }
        let in_vlan = (self.aware > 0 && tags.vlan != 0)
            .then(|| self.stations.port_of(key(tags.vlan, mac), now))
            .flatten();
        let found = in_vlan.or_else(|| {
            (self.transparent > 0)
                .then(|| self.stations.port_of(key(0, mac), now))
                .flatten()
        });
        found.map_or(Place::Unknown, Place::Port)
    }

    /// Learns where the sender of a frame from an open port is; whether it is known now.
    #[inline]
    pub(super) fn learn(
        &mut self,
        port: u32,
        is_transparent: bool,
        source: [u8; 6],
        tags: &Tags,
        now: u64,
    ) -> Result<bool, Refused> {
        if !self.owners.is_empty() && self.owners.contains_key(&source) {
            return Err(Refused::SpoofedMac);
        }
        // A station has neither a group's address nor none.
        if source[0] & 1 != 0 || source == [0; 6] {
            return Ok(false);
        }
        let (vlan, other) = if is_transparent {
            (0, tags.vlan)
        } else {
            (tags.vlan, 0)
        };
        match self.stations.learn(key(vlan, source), port, now) {
            Ok(false) => Ok(true),
            Ok(true) => {
                self.beyond.forget(key(tags.vlan, source));
                // The station may have moved between a port that heeds tags and one that does not.
                if vlan != other {
                    self.stations.forget(key(other, source));
                }
                Ok(true)
            }
            Err(Full) => {
                if let Some(from) = self.port_mut(port) {
                    from.missed.stations += 1;
                }
                Ok(false)
            }
        }
    }
}
