//! All that is asked of the packet threads about which uplinks and ports there are, and how they are served.
//!
//! A change is prepared first, which opens every uplink it needs and may fail without a trace; then
//! the sessions that cannot go on are ended by the caller, and it is committed.

mod counts;
mod links;
mod ports;

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use qos::ClassId;

use self::ports::only_address;
use super::offer;
use super::opening::Opening;
use crate::args::MacAddr;
use crate::config::{Config, GuestConfig, GuestTree, UplinkConfig, UplinkKind};
use crate::logging::OPERATOR;
use crate::opener::OpenerError;
use crate::plan::{self, Ids, LanPlan};
use crate::session::SessionConfig;
use crate::shard::{
    self, ChangeError, LanChange, LanId, PortCommand, PortHandle, PortId, ShardGone, TreesChange,
};
use crate::shards::{Answers, CommitError, Shards};
use crate::uplink::{LinkMonitor, Offload, Uplink, UplinkError};

/// Why the packet thread cannot serve a configuration.
#[derive(Debug, thiserror::Error)]
pub enum ServiceError {
    /// An uplink cannot be had, or not be given back.
    #[error("uplink {0}: {1}")]
    Open(String, #[source] OpenerError),
    /// An uplink cannot be set as needed.
    #[error("uplink {0}: {1}")]
    Uplink(String, #[source] UplinkError),
    /// What becomes of links cannot be known.
    #[error("cannot watch links: {0}")]
    Links(#[source] UplinkError),
    /// A packet thread cannot be had.
    #[error(
        "cannot set up a packet thread: {0}; check the limits on open files, threads and memory"
    )]
    Thread(#[source] io::Error),
    /// A packet thread could not take something on.
    #[error(transparent)]
    Change(#[from] ChangeError),
    /// A macvtap gives frames to one address only.
    #[error(
        "uplink {uplink}: a macvtap serves one guest, and has {guests}; give each guest one of its \
         own, or use packet:{lower}"
    )]
    SharedMacvtap {
        /// The uplink.
        uplink: String,
        /// The interface it is made on.
        lower: String,
        /// How many guests are behind it.
        guests: usize,
    },
    /// A packet thread ended by itself.
    #[error(transparent)]
    Shard(#[from] ShardGone),
}

impl From<CommitError> for ServiceError {
    fn from(error: CommitError) -> Self {
        match error {
            CommitError::Change(error) => Self::Change(error),
            CommitError::Gone(gone) => Self::Shard(gone),
        }
    }
}

/// Which ports are served how from now on.
#[derive(Debug)]
pub(super) struct Change<'a> {
    /// The configuration as it is to be, in which the guests below are.
    pub(super) config: &'a Config,
    /// Ports that are no more. Their sessions have ended before the commit.
    pub(super) removed: Vec<PortId>,
    /// Ports that are new.
    pub(super) added: Vec<(PortId, &'a GuestConfig)>,
    /// Ports to be made anew. Their sessions have ended before the commit.
    pub(super) replaced: Vec<(PortId, &'a GuestConfig)>,
    /// Ports whose limits or rules are others; their sessions go on.
    pub(super) retuned: Vec<(PortId, &'a GuestConfig)>,
    /// The ports of guests that stay, by name.
    pub(super) kept: BTreeMap<String, PortId>,
}

/// What was opened and planned for a change, and serves nobody yet.
#[derive(Debug, Default)]
pub(super) struct Prepared {
    uplinks: BTreeMap<String, Opened>,
    plans: BTreeMap<String, LanPlan>,
    ids: Ids,
}

/// An uplink with what it can do.
#[derive(Debug)]
struct Opened {
    uplink: Uplink,
    offload: Offload,
}

/// An uplink that is served.
#[derive(Debug)]
struct Lan {
    id: LanId,
    config: UplinkConfig,
    plan: LanPlan,
    offload: Offload,
    mtu: u16,
    /// Its interface, as the kernel counts them.
    link: Option<u32>,
    /// Its interface has vanished.
    gone: bool,
    guests: usize,
    /// The address of the only guest, if it is known.
    address: Option<MacAddr>,
}

/// The packet threads, and what they were given to serve.
#[derive(Debug)]
pub(super) struct Service {
    shards: Shards,
    links: LinkMonitor,
    opener: Opening,
    lans: BTreeMap<String, Lan>,
    /// Which uplink each port is behind, by name.
    homes: BTreeMap<PortId, String>,
    ids: Ids,
}

impl Service {
    /// Starts the packet threads, without any port.
    ///
    /// # Errors
    /// When the process is out of descriptors, memory or threads.
    pub(super) fn start(
        config: &Config,
        links: LinkMonitor,
        opener: Opening,
    ) -> Result<Self, ServiceError> {
        let shards = Shards::spawn(config.shards, config.poll, config.pool_bytes);
        Ok(Self {
            shards: shards.map_err(ServiceError::Thread)?,
            links,
            opener,
            lans: BTreeMap::new(),
            homes: BTreeMap::new(),
            ids: Ids::default(),
        })
    }

    /// The way to one port.
    pub(super) fn port(&self, id: PortId) -> PortHandle {
        self.shards.port(id)
    }

    /// The ids below the uplink of a guest's classes, in their order.
    pub(super) fn class_ids(&self, guest: &GuestConfig, tree: &GuestTree) -> Vec<ClassId> {
        let pairs = self.ids.known(guest, tree).into_iter();
        pairs.map(|[uplink, _]| uplink).collect()
    }

    /// Opens what a change needs. When it fails, nothing is left behind and nothing has changed.
    pub(super) fn prepare(&self, change: &Change<'_>) -> Result<Prepared, ServiceError> {
        let mut prepared = Prepared {
            ids: self.ids.clone(),
            ..Prepared::default()
        };
        for (index, uplink) in change.config.uplinks.iter().enumerate() {
            check(change.config, index)?;
            let plan = plan::lan(change.config, index, &mut prepared.ids);
            prepared.plans.insert(uplink.name.clone(), plan);
        }
        prepared.ids.forget_others(change.config);
        for (index, uplink) in change.config.uplinks.iter().enumerate() {
            // One that we have is kept, or opened again when it has been let go.
            let ours = self
                .lans
                .values()
                .any(|lan| stays(&lan.config, uplink) || holds(&lan.config, uplink));
            if ours {
                continue;
            }
            match self.open(uplink, only_address(change.config, index)) {
                Ok(opened) => drop(prepared.uplinks.insert(uplink.name.clone(), opened)),
                Err(error) => {
                    for opened in prepared.uplinks.into_values() {
                        self.give_back(opened.uplink);
                    }
                    return Err(error);
                }
            }
        }
        Ok(prepared)
    }

    /// Makes a change hold. Gives what the added and the replaced ports offer their front-ends; one
    /// that is missing there could not be served after all, and the log says why.
    ///
    /// # Errors
    /// Nothing has changed then, unless a packet thread is gone.
    pub(super) fn commit(
        &mut self,
        change: &Change<'_>,
        mut prepared: Prepared,
    ) -> Result<BTreeMap<PortId, SessionConfig>, ServiceError> {
        self.retire(change)?;
        let mut lans = Vec::new();
        let mut unserved = BTreeSet::new();
        let mut crowds = BTreeSet::new();
        for (index, uplink) in change.config.uplinks.iter().enumerate() {
            let Some(plan) = prepared.plans.remove(&uplink.name) else {
                continue;
            };
            let guests = change.config.guests_of(index).count();
            let address = only_address(change.config, index);
            if let Some(lan) = self.lans.get_mut(&uplink.name) {
                if (lan.guests == 1) != (guests == 1) {
                    crowds.insert(index);
                }
                let trees = TreesChange::between(&lan.plan, &plan);
                lan.config.clone_from(uplink);
                lan.guests = guests;
                lan.plan = plan;
                if lan.address != address && matches!(uplink.kind, UplinkKind::Macvtap(_)) {
                    log::warn!(
                        target: OPERATOR,
                        uplink = uplink.name, event = "not-applied";
                        "a macvtap has its guest's address from when it is opened; restart the daemon"
                    );
                }
                lan.address = address;
                if trees != TreesChange::default() {
                    lans.push(LanChange {
                        id: lan.id,
                        name: uplink.name.clone(),
                        uplink: None,
                        trees,
                    });
                }
                continue;
            }
            let opened = match prepared.uplinks.remove(&uplink.name) {
                Some(opened) => Ok(opened),
                None => self.open(uplink, address),
            };
            match opened {
                Ok(opened) => lans.push(self.add_lan(uplink, opened, plan, guests, address)),
                Err(error) => {
                    log::error!(
                        target: OPERATOR,
                        uplink = uplink.name, state = "unserved";
                        "{error}; then reload, or restart the daemon"
                    );
                    unserved.insert(index);
                }
            }
        }
        self.ids = prepared.ids;
        let ports = self.ports(change, &unserved, &crowds);
        let replaced = change.replaced.iter().map(|(id, _)| *id);
        let applied = self.change(shard::Change {
            ports_gone: change.removed.iter().copied().chain(replaced).collect(),
            lans_gone: Vec::new(),
            lans,
            ports,
        })?;
        for uplink in applied.retired {
            self.give_back(uplink);
        }
        self.settle_homes(change);
        let served = change.added.iter().chain(&change.replaced);
        let served = served.filter(|(_, guest)| !unserved.contains(&guest.uplink));
        let offer = |&(id, guest): &(PortId, &GuestConfig)| {
            let uplink = change.config.uplinks.get(guest.uplink)?;
            let lan = self.lans.get(&uplink.name)?;
            Some((id, offer::session_config(guest, lan.offload, lan.mtu)))
        };
        Ok(served.filter_map(offer).collect())
    }

    /// Takes away the uplinks that are configured no more, or as another device.
    fn retire(&mut self, change: &Change<'_>) -> Result<(), ServiceError> {
        let uplinks = &change.config.uplinks;
        let stays = |lan: &Lan| uplinks.iter().any(|uplink| stays(&lan.config, uplink));
        let gone: Vec<_> = self
            .lans
            .iter()
            .filter(|(_, lan)| !stays(lan))
            .map(|(name, lan)| (name.clone(), lan.id))
            .collect();
        if gone.is_empty() {
            return Ok(());
        }
        let replaced = change.replaced.iter().map(|(id, _)| *id);
        let applied = self.change(shard::Change {
            ports_gone: change.removed.iter().copied().chain(replaced).collect(),
            lans_gone: gone.iter().map(|(_, id)| *id).collect(),
            ..shard::Change::default()
        })?;
        for (name, _) in gone {
            self.lans.remove(&name);
        }
        for uplink in applied.retired {
            self.give_back(uplink);
        }
        Ok(())
    }

    fn add_lan(
        &mut self,
        config: &UplinkConfig,
        opened: Opened,
        plan: LanPlan,
        guests: usize,
        address: Option<MacAddr>,
    ) -> LanChange {
        let taken: BTreeSet<_> = self.lans.values().map(|lan| lan.id.0).collect();
        let free = (0..).find(|id| !taken.contains(id)).unwrap_or(u32::MAX);
        let lan = Lan {
            id: LanId(free),
            config: config.clone(),
            plan: plan.clone(),
            offload: opened.offload,
            mtu: opened.uplink.mtu(),
            link: opened.uplink.index(),
            gone: false,
            guests,
            address,
        };
        self.lans.insert(config.name.clone(), lan);
        LanChange {
            id: LanId(free),
            name: config.name.clone(),
            uplink: Some(opened.uplink),
            trees: TreesChange {
                from_guest: Some(plan.from_guest),
                to_guest: Some(plan.to_guest),
            },
        }
    }

    /// The guest of this port has another MTU, in bytes: so has an uplink that is its alone.
    pub(super) fn set_mtu(&self, id: PortId, port: &str, mtu: u16) -> Result<(), ShardGone> {
        let lan = self.homes.get(&id).and_then(|name| self.lans.get(name));
        let Some(lan) = lan.filter(|lan| lan.guests == 1) else {
            return Ok(());
        };
        match self.opener.set_mtu(&lan.config.name, mtu) {
            Ok(()) => self.port(id).send(PortCommand::Mtu(mtu)),
            Err(error) => {
                log::warn!(port, event = "mtu-kept", mtu; "the guest has this MTU, but: {error}");
                Ok(())
            }
        }
    }

    fn change(&mut self, change: shard::Change) -> Result<shard::Applied, ServiceError> {
        Ok(self.shards.change(change)?)
    }

    /// Asks the packet threads for a sign of life, without waiting; none if one cannot be asked now.
    pub(super) fn ping(&self) -> Option<Answers> {
        self.shards.ping()
    }

    /// Takes nothing more from guests or uplinks and delivers what is queued; answered when that is
    /// done, at the latest at the deadline (monotonic nanoseconds).
    pub(super) fn drain(&self, deadline: u64) -> Result<Answers, ShardGone> {
        self.shards.drain(deadline)
    }

    /// Ends the packet threads and gives the uplinks back.
    pub(super) fn end(self) -> Result<(), ServiceError> {
        let (uplinks, told) = self.shards.end();
        // One that cannot be given back is no reason to leave the others.
        let given_back: Vec<_> = uplinks
            .into_iter()
            .map(|uplink| {
                let name = uplink.name().to_owned();
                let removed = self.opener.remove(uplink);
                removed.map_err(|error| ServiceError::Open(name, error))
            })
            .collect();
        given_back.into_iter().collect::<Result<(), _>>()?;
        Ok(told?)
    }
}

/// Whether an uplink goes on as another one is configured.
fn stays(old: &UplinkConfig, new: &UplinkConfig) -> bool {
    old.name == new.name && same_device(old, new)
}

/// Whether the device of `new` cannot be opened before that of `old` has been let go.
fn holds(old: &UplinkConfig, new: &UplinkConfig) -> bool {
    match (&old.kind, &new.kind) {
        (UplinkKind::Tap { name: old, .. }, UplinkKind::Tap { name: new, .. })
        | (UplinkKind::Macvtap(old), UplinkKind::Macvtap(new))
        | (UplinkKind::Packet(old), UplinkKind::Packet(new)) => old == new,
        _ => false,
    }
}

/// Whether two configurations are of one device, opened in one way.
fn same_device(one: &UplinkConfig, other: &UplinkConfig) -> bool {
    let opened = |uplink: &UplinkConfig| (uplink.kind.clone(), uplink.queues, uplink.mtu);
    // What leads nowhere is told apart by its name.
    let named = one.kind != UplinkKind::None || one.name == other.name;
    opened(one) == opened(other) && named
}

fn check(config: &Config, index: usize) -> Result<(), ServiceError> {
    let uplink = &config.uplinks[index];
    let guests = config.guests_of(index).count();
    match &uplink.kind {
        UplinkKind::Macvtap(lower) if guests > 1 => Err(ServiceError::SharedMacvtap {
            uplink: uplink.name.clone(),
            lower: lower.to_string(),
            guests,
        }),
        _ => Ok(()),
    }
}
