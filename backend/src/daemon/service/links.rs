//! Uplinks: opened, given back, and opened again when their interface has returned.

use std::collections::BTreeSet;
use std::os::fd::{AsRawFd, RawFd};

use super::{Opened, Service, ServiceError};
use crate::args::MacAddr;
use crate::config::{UplinkConfig, UplinkKind};
use crate::shard::{self, LanChange, ShardGone, TreesChange};
use crate::uplink::Uplink;

impl Service {
    /// Readable when links have changed.
    pub(in crate::daemon) fn links_fd(&self) -> RawFd {
        self.links.fd().as_raw_fd()
    }

    /// Looks at what became of links: an uplink whose interface is there again is opened again. Gives the
    /// uplinks concerned and what they are now: `up`, `down` or `gone`.
    pub(in crate::daemon) fn links_changed(
        &mut self,
    ) -> Result<Vec<(String, &'static str)>, ShardGone> {
        let events: Vec<_> = match self.links.events() {
            Ok(events) => events.collect(),
            Err(error) => {
                log::warn!(event = "links-unknown"; "{error}");
                return Ok(Vec::new());
            }
        };
        let mut news = Vec::new();
        let mut again = BTreeSet::new();
        for event in events {
            for (name, lan) in &mut self.lans {
                if event.gone && lan.link == Some(event.index) {
                    log::error!(uplink = name, state = "gone"; "its interface was deleted");
                    lan.gone = true;
                    news.push((name.clone(), "gone"));
                    if makes_its_device(&lan.config.kind) {
                        again.insert(name.clone());
                    }
                } else if lan.gone && event.appeared && is_called(&lan.config.kind, &event.name) {
                    again.insert(name.clone());
                } else if lan.link == Some(event.index) && !event.gone {
                    let state = if event.carrier { "up" } else { "down" };
                    log::info!(uplink = name, link = state; "");
                    news.push((name.clone(), state));
                }
            }
        }
        for name in again {
            self.reopen(&name)?;
        }
        Ok(news)
    }

    pub(super) fn reopen(&mut self, name: &str) -> Result<(), ShardGone> {
        let Some(lan) = self.lans.get(name) else {
            return Ok(());
        };
        let uplink = match self.open(&lan.config, lan.address) {
            Ok(opened) => opened.uplink,
            Err(error) => {
                log::error!(uplink = name, state = "gone"; "{error}");
                return Ok(());
            }
        };
        let id = lan.id;
        if let Some(lan) = self.lans.get_mut(name) {
            lan.link = uplink.index();
            lan.gone = false;
        }
        let change = LanChange {
            id,
            name: name.to_owned(),
            uplink: Some(uplink),
            trees: TreesChange::default(),
        };
        let changed = self.change(shard::Change {
            lans: vec![change],
            ..shard::Change::default()
        });
        match changed {
            Ok(_) => log::info!(uplink = name, state = "back"; ""),
            Err(ServiceError::Shard(gone)) => return Err(gone),
            Err(error) => log::error!(uplink = name, state = "gone"; "{error}"),
        }
        Ok(())
    }

    /// Opens an uplink. A macvtap gets the address of its only guest.
    pub(super) fn open(
        &self,
        config: &UplinkConfig,
        address: Option<MacAddr>,
    ) -> Result<Opened, ServiceError> {
        let uplink = self.opener.uplink(config);
        let uplink = uplink.map_err(|error| ServiceError::Open(config.name.clone(), error))?;
        let addressed = match address {
            Some(address) => uplink.set_guest_address(address.octets()),
            None => Ok(()),
        };
        match addressed.and_then(|()| uplink.probe_offloads()) {
            Ok(offload) => Ok(Opened { uplink, offload }),
            Err(error) => {
                self.give_back(uplink);
                Err(ServiceError::Uplink(config.name.clone(), error))
            }
        }
    }

    pub(super) fn give_back(&self, uplink: Uplink) {
        let name = uplink.name().to_owned();
        if let Err(error) = self.opener.remove(uplink) {
            log::warn!(uplink = name, event = "not-removed"; "{error}");
        }
    }
}

/// Whether opening an uplink makes what is not there.
const fn makes_its_device(kind: &UplinkKind) -> bool {
    matches!(kind, UplinkKind::Tap { .. })
}

/// Whether the uplink can be opened once an interface of this name is there.
fn is_called(kind: &UplinkKind, link: &str) -> bool {
    match kind {
        UplinkKind::Tap { name, .. } | UplinkKind::Packet(name) | UplinkKind::Macvtap(name) => {
            name.as_str() == link
        }
        UplinkKind::None => false,
    }
}
