//! One table of guests, with the template and the defaults behind it, made into guests.

use std::ops::RangeInclusive;
use std::path::PathBuf;

use ipnet::IpNet;

use super::branch::Branch;
use super::fault::{ConfigFault, Known, name_fault};
use super::keys::{GuestKeys, Network, TrustKeys};
use super::layer::{Layer, Stand};
use super::numbers::{VLANS, mac_at, prefix_at, trunk, within};
use super::{Direction, GuestConfig, GuestTree, Trust, UplinkConfig, VlanConfig};
use crate::args::{self, DEFAULT_SOCKET_MODE, FrontEnd, MAX_QUEUE_PAIRS, MacAddr};
use crate::file::text::{At, Found};
use crate::file::value::{OneOrMore, Written};
use crate::file::{FileError, Place};
use crate::listen::MAX_PATH_BYTES;

/// Guests that one pattern may make.
const COUNTS: RangeInclusive<u32> = 1..=1 << 16;

/// MTUs in bytes; IPv4 needs 68 (RFC 791).
pub(super) const MTUS: RangeInclusive<u16> = 68..=u16::MAX;

/// Queue pairs of a guest or a tap.
pub(super) const QUEUES: RangeInclusive<u16> = 1..=MAX_QUEUE_PAIRS;

/// One guest, or one pattern of guests: what it says itself, then its template, then the defaults.
#[derive(Debug)]
pub(super) struct Entry<'a> {
    name: &'a str,
    /// Which number comes first, and how many there are; none if it is no pattern.
    numbers: Option<(u32, u32)>,
    own: Layer<'a>,
    /// All three, nearest first.
    layers: Vec<Layer<'a>>,
}

impl<'a> Entry<'a> {
    pub(super) fn new(
        table: Option<&'a str>,
        own: Layer<'a>,
        behind: impl IntoIterator<Item = Layer<'a>>,
    ) -> Result<Self, FileError> {
        let mut layers = vec![own];
        layers.extend(behind);
        let mut entry = Self {
            name: "",
            numbers: None,
            own,
            layers,
        };
        entry.name = match (table, own.keys.name.as_ref()) {
            (None, Some(name)) => name.as_str(),
            (Some(name), None) => name,
            (Some(_), Some(name)) => {
                return Err(name.found(own.source).fault(ConfigFault::Misplaced {
                    key: "name",
                    reason: "is what [guest.NAME] has said already: leave it out",
                }));
            }
            (None, None) => {
                return Err(own.place().fault(ConfigFault::Needs {
                    what: "a guest".to_owned(),
                    needs: "a name: write name = \"...\", or [guest.NAME]",
                }));
            }
        };
        entry.numbers = entry.read_numbers(own)?;
        Ok(entry)
    }

    fn read_numbers(&self, own: Layer<'_>) -> Result<Option<(u32, u32)>, FileError> {
        let first = own.keys.first.as_ref();
        let Some(count) = own.keys.count.as_ref().map(|count| count.found(own.source)) else {
            return match first {
                Some(first) => Err(first.found(own.source).fault(ConfigFault::Misplaced {
                    key: "first",
                    reason: "is the first of many numbers: write count as well, or leave it out",
                })),
                None => Ok(None),
            };
        };
        within("count", count, &COUNTS)?;
        let first = first.map_or(1, |first| **first);
        match first.checked_add(*count.value()) {
            Some(_) => Ok(Some((first, *count.value()))),
            None => Err(count.fault(ConfigFault::OutOfRange {
                what: "first + count",
                value: u64::from(first) + u64::from(*count.value()),
                least: 1,
                most: u32::MAX.into(),
            })),
        }
    }

    pub(super) const fn is_pattern(&self) -> bool {
        self.numbers.is_some()
    }

    /// The place of a key of its own or of the tables behind; its own place if none has it.
    pub(super) fn place(&self, key: &str) -> Place {
        let place = match key {
            "name" => self
                .own
                .keys
                .name
                .as_ref()
                .map(|at| at.found(self.own.source).place()),
            "socket" => self.first(|keys| keys.socket.as_ref()).map(Found::place),
            "connect" => self.first(|keys| keys.connect.as_ref()).map(Found::place),
            "mac" => self.first(|keys| keys.mac.as_ref()).map(Found::place),
            _ => None,
        };
        place.unwrap_or_else(|| self.own.place())
    }

    /// A setting from the first table that has it.
    fn first<T>(&self, get: impl Fn(&'a GuestKeys) -> Option<&'a At<T>>) -> Option<Found<'a, T>> {
        let mut layers = self.layers.iter();
        layers.find_map(|layer| Some(get(layer.keys)?.found(layer.source)))
    }

    /// The class of one direction, and those below.
    pub(super) fn branch(&self, direction: Direction) -> Branch<'a> {
        Branch::new(self.name, direction, self.own, &self.layers)
    }

    /// The guests.
    ///
    /// # Errors
    /// Something one of them has cannot be.
    pub(super) fn guests(&self, uplinks: &[UplinkConfig]) -> Result<Vec<GuestConfig>, FileError> {
        let from_guest = self.branch(Direction::FromGuest).tree()?;
        let to_guest = self.branch(Direction::ToGuest).tree()?;
        let guest = |number| self.guest(number, uplinks, from_guest.clone(), to_guest.clone());
        match self.numbers {
            None => Ok(vec![guest(None)?]),
            Some((first, count)) => {
                let numbers = first..first.saturating_add(count);
                numbers.map(|number| guest(Some(number))).collect()
            }
        }
    }

    fn guest(
        &self,
        number: Option<u32>,
        uplinks: &[UplinkConfig],
        from_guest: GuestTree,
        to_guest: GuestTree,
    ) -> Result<GuestConfig, FileError> {
        let name = self.name(number)?;
        let stand = Stand {
            number,
            name: &name,
        };
        let isolation = self.first(|keys| keys.isolation.as_ref());
        Ok(GuestConfig {
            front_end: self.front_end(&stand)?,
            uplink: self.uplink(&stand, uplinks)?,
            queues: self
                .number("queue pairs", |keys| keys.queues.as_ref(), &QUEUES)?
                .unwrap_or(1),
            mtu: self.number("an MTU", |keys| keys.mtu.as_ref(), &MTUS)?,
            mac: self.mac(number)?,
            addresses: self.addresses(number)?,
            vlan: self.vlan()?,
            isolation: isolation.map(|group| stand.put(group)).transpose()?,
            coalesce: self.coalesces(),
            trust: self.trust(),
            from_guest,
            to_guest,
            name,
        })
    }

    fn name(&self, number: Option<u32>) -> Result<String, FileError> {
        let name = match number {
            Some(number) => self.name.replace("{n}", &number.to_string()),
            None => self.name.to_owned(),
        };
        let fault = match name.contains("{n}") {
            true => Some(ConfigFault::Value {
                value: name.clone(),
                reason: "{n} is for many guests: write count as well",
            }),
            false => name_fault(&name),
        };
        match fault {
            None => Ok(name),
            Some(fault) => Err(self.place("name").fault(fault)),
        }
    }

    fn front_end(&self, stand: &Stand<'_>) -> Result<FrontEnd, FileError> {
        // The nearest table that says how the guest is met decides.
        for layer in &self.layers {
            let path = |at: &'a At<String>| {
                let found = at.found(layer.source);
                let path = stand.put(found)?;
                match path.len() {
                    1..=MAX_PATH_BYTES => Ok(PathBuf::from(path)),
                    len => Err(found.fault(ConfigFault::OutOfRange {
                        what: "the length of a socket's path in bytes",
                        value: len as u64,
                        least: 1,
                        most: MAX_PATH_BYTES as u64,
                    })),
                }
            };
            return match (&layer.keys.socket, &layer.keys.connect) {
                (Some(socket), None) => Ok(FrontEnd::Listen {
                    path: path(socket)?,
                    mode: self.socket_mode()?,
                    group: self.socket_group()?,
                }),
                (None, Some(connect)) => Ok(FrontEnd::Connect {
                    path: path(connect)?,
                }),
                (Some(_), Some(connect)) => {
                    let connect = connect.found(layer.source);
                    Err(connect.fault(ConfigFault::Misplaced {
                        key: "connect",
                        reason: "excludes socket: the guest is met in one way",
                    }))
                }
                (None, None) => continue,
            };
        }
        Err(self.needs("a socket: write socket = \"PATH\", or connect = \"PATH\""))
    }

    fn socket_mode(&self) -> Result<u32, FileError> {
        let Some(mode) = self.first(|keys| keys.socket_mode.as_ref()) else {
            return Ok(DEFAULT_SOCKET_MODE);
        };
        args::mode(mode.value()).ok_or_else(|| {
            mode.fault(ConfigFault::Value {
                value: mode.value().clone(),
                reason: "write permission bits in octal, 0 to 0777, such as \"0660\"",
            })
        })
    }

    fn socket_group(&self) -> Result<Option<u32>, FileError> {
        let Some(group) = self.first(|keys| keys.socket_group.as_ref()) else {
            return Ok(None);
        };
        group_id(group).map(Some)
    }

    fn uplink(&self, stand: &Stand<'_>, uplinks: &[UplinkConfig]) -> Result<usize, FileError> {
        let Some(uplink) = self.first(|keys| keys.uplink.as_ref()) else {
            return match uplinks {
                [] => Err(self.needs("an uplink: define one with [uplink.NAME]")),
                [_] => Ok(0),
                _ => Err(self.needs("to say behind which uplink it is: write uplink = \"NAME\"")),
            };
        };
        let name = stand.put(uplink)?;
        let position = uplinks.iter().position(|known| known.name == name);
        position.ok_or_else(|| {
            let known = uplinks.iter().map(|uplink| uplink.name.as_str());
            uplink.fault(ConfigFault::NoUplink(Known::new(&name, known)))
        })
    }

    fn number(
        &self,
        what: &'static str,
        get: impl Fn(&'a GuestKeys) -> Option<&'a At<u16>>,
        range: &RangeInclusive<u16>,
    ) -> Result<Option<u16>, FileError> {
        let found = self.first(get);
        found.map(|found| within(what, found, range)).transpose()
    }

    fn mac(&self, number: Option<u32>) -> Result<Option<MacAddr>, FileError> {
        let Some(mac) = self.first(|keys| keys.mac.as_ref()) else {
            return Ok(None);
        };
        let Written(base) = *mac.value();
        let mac = mac_at(base, number.unwrap_or(0)).ok_or_else(|| {
            mac.fault(ConfigFault::Value {
                value: base.to_string(),
                reason: "adding the guest's number leaves the addresses of NICs",
            })
        });
        mac.map(Some)
    }

    fn addresses(&self, number: Option<u32>) -> Result<Vec<IpNet>, FileError> {
        let Some(found) = self.first(|keys| keys.addresses.as_ref()) else {
            return Ok(Vec::new());
        };
        let OneOrMore(addresses) = found.value();
        let moved = |&Network(prefix): &Network| {
            prefix_at(prefix, number.unwrap_or(0)).ok_or_else(|| {
                found.fault(ConfigFault::Value {
                    value: prefix.to_string(),
                    reason: "adding the guest's number goes beyond the last address",
                })
            })
        };
        addresses.iter().map(moved).collect()
    }

    fn vlan(&self) -> Result<VlanConfig, FileError> {
        let native = self.first(|keys| keys.native.as_ref());
        let nearest = |layer: &&Layer<'_>| layer.keys.vlan.is_some() || layer.keys.trunk.is_some();
        let Some(layer) = self.layers.iter().find(nearest) else {
            return match native {
                Some(native) => Err(native.fault(ConfigFault::Misplaced {
                    key: "native",
                    reason: "is the VLAN of a trunk's untagged frames: write trunk as well, or \
                             vlan instead",
                })),
                None => Ok(VlanConfig::Transparent),
            };
        };
        let native = native.map(|native| within("a VLAN", native, &VLANS));
        let vlan = layer
            .keys
            .vlan
            .as_ref()
            .map(|vlan| vlan.found(layer.source));
        let list = layer
            .keys
            .trunk
            .as_ref()
            .map(|list| list.found(layer.source));
        match (vlan, list) {
            (Some(_), Some(list)) => Err(list.fault(ConfigFault::Misplaced {
                key: "trunk",
                reason: "excludes vlan: for untagged frames of a trunk, write native",
            })),
            (Some(vlan), None) => within("a VLAN", vlan, &VLANS).map(VlanConfig::Access),
            (None, Some(list)) => Ok(VlanConfig::Trunk {
                vlans: trunk(list)?,
                native: native.transpose()?,
            }),
            (None, None) => Ok(VlanConfig::Transparent),
        }
    }

    fn coalesces(&self) -> bool {
        let mut layers = self.layers.iter();
        let said = layers.find_map(|layer| layer.keys.coalesce);
        said.unwrap_or(true)
    }

    fn trust(&self) -> Trust {
        let of = |get: fn(&TrustKeys) -> Option<bool>| {
            let mut layers = self.layers.iter();
            layers.find_map(|layer| get(layer.keys.trust.as_ref()?))
        };
        Trust {
            dhcp_server: of(|trust| trust.dhcp_server).unwrap_or(false),
            router: of(|trust| trust.router).unwrap_or(false),
        }
    }

    fn needs(&self, needs: &'static str) -> FileError {
        self.own.place().fault(ConfigFault::Needs {
            what: format!("guest `{}`", self.name),
            needs,
        })
    }
}

/// The id of a group of this host.
pub(super) fn group_id(group: Found<'_, Written<String>>) -> Result<u32, FileError> {
    let Written(name) = group.value();
    args::group(name).ok_or_else(|| {
        group.fault(ConfigFault::Value {
            value: name.clone(),
            reason: "this host has no such group",
        })
    })
}
