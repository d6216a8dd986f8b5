//! What the kernel says of a link, reduced to what uplinks ask.

use netlink_packet_core::{DefaultNla, Nla};
use netlink_packet_route::link::{
    InfoData, InfoTun, LinkAttribute, LinkFlags, LinkInfo, LinkLayerType, LinkMessage,
};

use crate::uplink::{IfName, UplinkError};

// Attributes inside IFLA_INFO_DATA of a tun link (linux/if_link.h, IFLA_TUN_*).
const IFLA_TUN_OWNER: u16 = 1;
const IFLA_TUN_TYPE: u16 = 3;
const IFLA_TUN_PERSIST: u16 = 6;
const IFLA_TUN_MULTI_QUEUE: u16 = 7;
const IFLA_TUN_NUM_QUEUES: u16 = 8;
const IFLA_TUN_NUM_DISABLED_QUEUES: u16 = 9;

/// What the kernel says of one link.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::uplink) struct Link {
    pub(in crate::uplink) index: u32,
    pub(in crate::uplink) name: String,
    /// Whether its frames begin with an Ethernet header; the loopback's are not meant to leave.
    pub(in crate::uplink) ethernet: bool,
    /// Its Ethernet address.
    pub(in crate::uplink) address: Option<[u8; 6]>,
    /// Index of the link this one is made on.
    pub(in crate::uplink) lower: Option<u32>,
    /// `tun`, `bridge`, `veth` ...; a hardware device has none.
    pub(in crate::uplink) kind: Option<String>,
    pub(in crate::uplink) mtu: u32,
    pub(in crate::uplink) up: bool,
    pub(in crate::uplink) carrier: bool,
    pub(in crate::uplink) alias: Option<String>,
    /// Index of the bridge (or bond) this link is a port of.
    pub(in crate::uplink) master: Option<u32>,
    /// What only a tun or tap device has.
    pub(in crate::uplink) tun: Option<TunFacts>,
}

/// What the kernel says of a tun or tap device.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::uplink) struct TunFacts {
    /// Layer 2 (tap), not layer 3 (tun).
    pub(in crate::uplink) tap: bool,
    pub(in crate::uplink) multi_queue: bool,
    pub(in crate::uplink) persistent: bool,
    /// The user who may attach without `CAP_NET_ADMIN`; without one, anybody may.
    pub(in crate::uplink) owner: Option<u32>,
    /// File descriptors attached to a multi-queue device, enabled or not; the kernel gives none for others.
    pub(in crate::uplink) queues: u32,
}

impl From<LinkMessage> for Link {
    fn from(message: LinkMessage) -> Self {
        let mut link = Self {
            index: message.header.index,
            ethernet: message.header.link_layer_type == LinkLayerType::Ether,
            up: message.header.flags.contains(LinkFlags::Up),
            ..Self::default()
        };
        for attribute in message.attributes {
            match attribute {
                LinkAttribute::IfName(name) => link.name = name,
                LinkAttribute::Address(address) => link.address = address.try_into().ok(),
                LinkAttribute::Link(index) => link.lower = Some(index),
                LinkAttribute::Mtu(mtu) => link.mtu = mtu,
                LinkAttribute::Carrier(carrier) => link.carrier = carrier != 0,
                LinkAttribute::IfAlias(alias) => link.alias = Some(alias),
                LinkAttribute::Controller(index) => link.master = Some(index),
                LinkAttribute::LinkInfo(infos) => link.learn(infos),
                _ => {}
            }
        }
        link
    }
}

impl Link {
    /// Refuses a link without Ethernet frames.
    pub(in crate::uplink) fn need_ethernet(&self, name: &IfName) -> Result<(), UplinkError> {
        if self.ethernet {
            return Ok(());
        }
        Err(UplinkError::NotEthernet {
            name: name.clone(),
            kind: self.kind_name(),
        })
    }

    /// Its kind in words.
    pub(in crate::uplink) fn kind_name(&self) -> String {
        let kind = self.kind.as_deref();
        kind.unwrap_or("hardware or loopback").to_owned()
    }

    fn learn(&mut self, infos: Vec<LinkInfo>) {
        for info in infos {
            match info {
                LinkInfo::Kind(kind) => self.kind = Some(kind.to_string()),
                LinkInfo::Data(InfoData::Tun(facts)) => self.tun = Some(TunFacts::from(facts)),
                _ => {}
            }
        }
    }
}

impl From<Vec<InfoTun>> for TunFacts {
    fn from(attributes: Vec<InfoTun>) -> Self {
        let mut facts = Self::default();
        for attribute in attributes {
            let InfoTun::Other(attribute) = attribute else {
                continue;
            };
            let value = number(&attribute);
            match attribute.kind() {
                IFLA_TUN_OWNER => facts.owner = Some(value),
                IFLA_TUN_TYPE => facts.tap = value == IFF_TAP,
                IFLA_TUN_PERSIST => facts.persistent = value != 0,
                IFLA_TUN_MULTI_QUEUE => facts.multi_queue = value != 0,
                IFLA_TUN_NUM_QUEUES | IFLA_TUN_NUM_DISABLED_QUEUES => {
                    facts.queues = facts.queues.saturating_add(value);
                }
                _ => {}
            }
        }
        facts
    }
}

/// `IFF_TAP` (linux/if_tun.h) as the type attribute carries it.
const IFF_TAP: u32 = 2;

/// An attribute of one or four bytes, in host order as netlink has it.
fn number(attribute: &DefaultNla) -> u32 {
    let mut value = vec![0; attribute.value_len()];
    attribute.emit_value(&mut value);
    match value[..] {
        [byte] => u32::from(byte),
        [a, b, c, d] => u32::from_ne_bytes([a, b, c, d]),
        _ => 0,
    }
}
