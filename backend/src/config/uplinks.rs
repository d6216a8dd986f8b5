//! The uplinks of all files.

use std::fmt;

use super::fault::{ConfigFault, name_fault};
use super::guest::{MTUS, QUEUES};
use super::keys::{FloodKeys, Kind, RootKeys, UplinkKeys};
use super::load::File;
use super::numbers::within;
use super::{Direction, FloodConfig, Member, Refusal, RootConfig, UplinkConfig, UplinkKind};
use crate::file::text::{At, Found, Text};
use crate::file::value::Written;
use crate::file::{FileError, Place};
use crate::uplink::IfName;

/// The uplinks so far, and where they were written.
#[derive(Default)]
pub(super) struct Uplinks<'a> {
    pub(super) configs: Vec<UplinkConfig>,
    tables: Vec<Table<'a>>,
}

#[derive(Clone, Copy)]
struct Table<'a> {
    source: &'a Text,
    keys: &'a At<UplinkKeys>,
}

impl<'a> Uplinks<'a> {
    pub(super) fn add(&mut self, file: &'a File) -> Result<(), FileError> {
        for (name, keys) in &file.keys.uplink.0 {
            let source = &file.source;
            let table = Table { source, keys };
            let config = table.config(name.as_deref())?;
            self.check_own(&config, table)?;
            self.configs.push(config);
            self.tables.push(table);
        }
        Ok(())
    }

    /// Neither a name twice, nor an interface.
    fn check_own(&self, config: &UplinkConfig, table: Table<'_>) -> Result<(), FileError> {
        for (other, first) in self.configs.iter().zip(&self.tables) {
            let first = || first.place().line().to_string();
            if other.name == config.name {
                return Err(table.place().fault(ConfigFault::SameName {
                    what: "uplink",
                    name: config.name.clone(),
                    first: first(),
                    hint: "",
                }));
            }
            let device = config.kind.device();
            if let Some(device) = device.filter(|_| other.kind.device() == device) {
                let kind = table.keys.kind.found(table.source);
                return Err(kind.fault(ConfigFault::Taken {
                    what: "interface",
                    value: device.to_string(),
                    owner: other.name.clone(),
                    first: first(),
                    hint: "",
                }));
            }
        }
        Ok(())
    }

    /// Where an uplink is whose tree may not run.
    pub(super) fn place(&self, refusal: &Refusal) -> Option<Place> {
        let table = self.tables.get(refusal.uplink)?;
        let root = match (refusal.member, refusal.direction) {
            (Member::Guest { .. }, _) => return None,
            (Member::Uplink, Direction::FromGuest) => table.keys.from_guest.as_ref(),
            (Member::Uplink, Direction::ToGuest) => table.keys.to_guest.as_ref(),
        };
        let span = root.and_then(|root| match refusal.key {
            Some("cburst") => root.cburst.as_ref().map(At::span),
            _ => root.ceil.as_ref().map(At::span),
        });
        Some(span.map_or_else(|| table.place(), |span| table.source.place(span)))
    }
}

impl UplinkKind {
    /// The interface that is this uplink's alone.
    const fn device(&self) -> Option<&IfName> {
        match self {
            Self::Tap { name, .. } | Self::Packet(name) => Some(name),
            Self::Macvtap(_) | Self::None => None,
        }
    }
}

/// As a file says it.
impl fmt::Display for UplinkKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tap { name, .. } => write!(f, "tap:{name}"),
            Self::Packet(name) => write!(f, "packet:{name}"),
            Self::Macvtap(name) => write!(f, "macvtap:{name}"),
            Self::None => f.write_str("none"),
        }
    }
}

impl Table<'_> {
    fn place(&self) -> Place {
        self.source.place(self.keys.span())
    }

    fn config(&self, table: Option<&str>) -> Result<UplinkConfig, FileError> {
        let keys = self.keys;
        let mtu = keys.mtu.as_ref().map(|mtu| mtu.found(self.source));
        let mtu = mtu.map(|mtu| within("an MTU", mtu, &MTUS));
        Ok(UplinkConfig {
            name: self.checked_name(table)?,
            kind: self.kind()?,
            queues: self.queues()?,
            mtu: mtu.transpose()?,
            from_guest: root(keys.from_guest.as_ref()),
            to_guest: root(keys.to_guest.as_ref()),
            flood: flood(keys.flood.as_ref()),
        })
    }

    fn checked_name(&self, table: Option<&str>) -> Result<String, FileError> {
        let name = self.name(table)?;
        match name_fault(&name) {
            None => Ok(name),
            Some(fault) => Err(self.place().fault(fault)),
        }
    }

    fn name(&self, table: Option<&str>) -> Result<String, FileError> {
        let own = self.keys.name.as_ref().map(|name| name.found(self.source));
        match (table, own) {
            (Some(name), None) => Ok(name.to_owned()),
            (None, Some(name)) => Ok(name.value().clone()),
            (Some(_), Some(name)) => Err(name.fault(ConfigFault::Misplaced {
                key: "name",
                reason: "is what [uplink.NAME] has said already: leave it out",
            })),
            (None, None) => Err(self.place().fault(ConfigFault::Needs {
                what: "an uplink".to_owned(),
                needs: "a name: write name = \"...\", or [uplink.NAME]",
            })),
        }
    }

    fn kind(&self) -> Result<UplinkKind, FileError> {
        let found = self.keys.kind.found(self.source);
        let Written(kind) = found.value();
        let device = |name: &str| interface(found, name);
        let bridge = self.keys.bridge.as_ref().map(|it| it.found(self.source));
        let kind = match kind {
            Kind::Tap(name) => {
                let name = device(name)?;
                let bridge = bridge.map(|it| Ok((it, interface(it, it.value())?)));
                let bridge = bridge.transpose()?;
                if let Some((found, _)) = bridge.as_ref().filter(|(_, own)| *own == name) {
                    return Err(found.fault(ConfigFault::Misplaced {
                        key: "bridge",
                        reason: "names the tap itself: name the bridge it is to be a port of",
                    }));
                }
                let bridge = bridge.map(|(_, bridge)| bridge);
                return Ok(UplinkKind::Tap { name, bridge });
            }
            Kind::Packet(name) => UplinkKind::Packet(device(name)?),
            Kind::Macvtap(name) => UplinkKind::Macvtap(device(name)?),
            Kind::None => UplinkKind::None,
        };
        match bridge {
            Some(bridge) => Err(bridge.fault(ConfigFault::Misplaced {
                key: "bridge",
                reason: "is for taps: leave it out",
            })),
            None => Ok(kind),
        }
    }

    fn queues(&self) -> Result<u16, FileError> {
        let Some(queues) = &self.keys.queues else {
            return Ok(1);
        };
        let found = queues.found(self.source);
        let queues = within("queue pairs", found, &QUEUES)?;
        let Written(kind) = &*self.keys.kind;
        if queues > 1 && !matches!(kind, Kind::Tap(_)) {
            return Err(found.fault(ConfigFault::Misplaced {
                key: "queues",
                reason: "is for taps; other uplinks have one queue pair: leave it out",
            }));
        }
        Ok(queues)
    }
}

fn interface<T>(found: Found<'_, T>, name: &str) -> Result<IfName, FileError> {
    name.parse().map_err(|source| {
        let value = name.to_owned();
        found.fault(ConfigFault::Interface { value, source })
    })
}

fn root(keys: Option<&RootKeys>) -> RootConfig {
    let Some(keys) = keys else {
        return RootConfig::default();
    };
    let ceil = keys.ceil.as_ref().map(|ceil| ceil.0);
    let cburst = keys.cburst.as_ref().map(|cburst| cburst.0);
    RootConfig {
        ceil: ceil.map(|spec| spec.rate),
        cburst: cburst.or_else(|| ceil?.burst).unwrap_or_default(),
        overcommit: keys.overcommit.map(Into::into).unwrap_or_default(),
    }
}

fn flood(keys: Option<&FloodKeys>) -> FloodConfig {
    let keys = keys.copied().unwrap_or_default();
    FloodConfig {
        ceil: keys.ceil.map(|Written(spec)| spec.rate),
        pps: keys.pps.map(|Written(pps)| pps),
    }
}
