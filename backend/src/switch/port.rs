//! What the switch knows about one port.

use ipnet::IpNet;

use super::guard::Guard;
use super::memo::Memo;
use super::tags::Membership;
use crate::args::MacAddr;
use crate::config::{Trust, VlanConfig};

/// What the operator says about a port.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PortRules {
    /// The address it owns: it sends from no other, and nobody else does. Unset: it may have any that
    /// no port owns, and is found by what it sends.
    pub mac: Option<MacAddr>,
    /// IP addresses and prefixes it may send from; empty: any.
    pub addresses: Vec<IpNet>,
    /// Which VLANs it is in.
    pub vlan: VlanConfig,
    /// Ports with the same group here never reach each other directly.
    pub isolation: Option<u32>,
    /// What it may do that only servers and routers do.
    pub trust: Trust,
}

/// Why a port cannot have its rules. The operator is at fault; the switch stays as it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PortError {
    /// Another port owns the address.
    #[error(
        "{mac} is already the address of port {port}; give each port its own, or remove that port first"
    )]
    Owned {
        /// The address.
        mac: MacAddr,
        /// Who owns it.
        port: u32,
    },
    /// The number is beyond what tables are made for.
    #[error(
        "port number {0} is too large; number ports from 0, and reuse the numbers of ports that are gone"
    )]
    Number(u32),
}

/// For `all_groups_until` of a port that nobody asked yet which groups it wants.
pub(super) const UNASKED: u64 = u64::MAX;

/// A port as the packet path needs it.
#[derive(Clone, Debug)]
pub(super) struct Port {
    pub(super) mac: Option<MacAddr>,
    pub(super) vlan: Membership,
    pub(super) isolation: Option<u32>,
    /// What its frames are checked for, if at all.
    pub(super) guard: Option<Guard>,
    /// Whether it is a router, whose questions about groups keep what is known of them fresh.
    pub(super) is_router: bool,
    /// Until when it gets all groups, in monotonic nanoseconds: it is new, asked for reports, or joined
    /// more groups than it may.
    pub(super) all_groups_until: u64,
    /// Until when it also gets what others report, because it asked. Nobody else may: who hears another
    /// report a group does not report it (RFC 2236 §3).
    pub(super) reports_until: u64,
    pub(super) missed: Missed,
    pub(super) memo: Memo,
}

/// What a port's tables had no room for. Nothing is lost by it but efficiency.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Missed {
    /// Frames whose source address was not learned.
    pub stations: u64,
    /// Group memberships not recorded; the port gets all groups instead.
    pub groups: u64,
}

impl Port {
    pub(super) fn new(rules: PortRules) -> Self {
        let PortRules {
            mac,
            addresses,
            vlan,
            isolation,
            trust,
        } = rules;
        let guarded = mac.is_some() || !addresses.is_empty() || isolation.is_some();
        Self {
            mac,
            vlan: Membership::new(&vlan),
            isolation,
            guard: guarded.then(|| Guard::new(mac, addresses, trust)),
            is_router: trust.router,
            all_groups_until: UNASKED,
            reports_until: 0,
            missed: Missed::default(),
            memo: Memo::default(),
        }
    }

    /// Whether the port may have addresses that nobody knows of.
    pub(super) fn is_open(&self) -> bool {
        self.mac.is_none()
    }

    /// The same port as `old`, under new rules.
    pub(super) fn succeed(&mut self, old: &Self) {
        self.missed = old.missed;
        self.reports_until = old.reports_until;
        if self.vlan == old.vlan {
            self.all_groups_until = old.all_groups_until;
        }
    }

    /// Whether frames pass it as they are, and unchecked.
    pub(super) fn is_plain(&self) -> bool {
        self.guard.is_none() && self.vlan.is_transparent()
    }

    /// Whether the two may not reach each other directly.
    #[inline]
    pub(super) fn is_isolated_from(&self, other: &Self) -> bool {
        self.isolation.is_some() && self.isolation == other.isolation
    }
}
