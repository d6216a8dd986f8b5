//! Route netlink, as much as a tap needs: look at one link, change one link.
//!
//! Messages are those of `netlink-packet-route`; the socket is blocking, and the kernel answers each
//! request before it returns, so no runtime is needed.

use std::io;
use std::os::fd::OwnedFd;

use netlink_packet_core::{
    DefaultNla, NLM_F_ACK, NLM_F_REQUEST, NetlinkHeader, NetlinkMessage, NetlinkPayload, Nla,
};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::link::{
    InfoData, InfoTun, LinkAttribute, LinkExtentMask, LinkFlags, LinkInfo, LinkMessage,
};
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType};

use super::name::IfName;

/// Room for one answer; a link without its statistics and virtual functions takes about 1 KiB.
const ANSWER_BYTES: usize = 64 * 1024;

// Attributes inside IFLA_INFO_DATA of a tun link (linux/if_link.h, IFLA_TUN_*).
const IFLA_TUN_OWNER: u16 = 1;
const IFLA_TUN_TYPE: u16 = 3;
const IFLA_TUN_PERSIST: u16 = 6;
const IFLA_TUN_MULTI_QUEUE: u16 = 7;
const IFLA_TUN_NUM_QUEUES: u16 = 8;
const IFLA_TUN_NUM_DISABLED_QUEUES: u16 = 9;

/// What the kernel says of one link.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Link {
    pub(super) index: u32,
    /// `tun`, `bridge`, `veth` ...; a hardware device has none.
    pub(super) kind: Option<String>,
    pub(super) mtu: u32,
    pub(super) up: bool,
    pub(super) carrier: bool,
    pub(super) alias: Option<String>,
    /// Index of the bridge (or bond) this link is a port of.
    pub(super) master: Option<u32>,
    /// What only a tun or tap device has.
    pub(super) tun: Option<TunFacts>,
}

/// What the kernel says of a tun or tap device.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct TunFacts {
    /// Layer 2 (tap), not layer 3 (tun).
    pub(super) tap: bool,
    pub(super) multi_queue: bool,
    pub(super) persistent: bool,
    /// The user who may attach without `CAP_NET_ADMIN`; without one, anybody may.
    pub(super) owner: Option<u32>,
    /// File descriptors attached to a multi-queue device, enabled or not; the kernel gives none for others.
    pub(super) queues: u32,
}

/// One change to a link.
#[derive(Clone, Copy, Debug)]
pub(super) enum Change<'a> {
    Up,
    Mtu(u16),
    Alias(&'a str),
    Master(u32),
}

/// A blocking route netlink socket of this thread's network namespace.
#[derive(Debug)]
pub(super) struct Netlink {
    socket: OwnedFd,
    sequence: u32,
}

impl Netlink {
    pub(super) fn open() -> io::Result<Self> {
        let socket = rustix::net::socket_with(
            AddressFamily::NETLINK,
            SocketType::RAW,
            SocketFlags::CLOEXEC,
            // NETLINK_ROUTE is protocol 0.
            None,
        )?;
        Ok(Self {
            socket,
            sequence: 0,
        })
    }

    /// The link of this name, if there is one.
    pub(super) fn link(&mut self, name: &IfName) -> io::Result<Option<Link>> {
        let mut query = LinkMessage::default();
        query.attributes = vec![
            LinkAttribute::IfName(name.to_string()),
            LinkAttribute::ExtMask(vec![LinkExtentMask::SkipStats]),
        ];
        match self.ask(RouteNetlinkMessage::GetLink(query), NLM_F_REQUEST) {
            Ok(Some(RouteNetlinkMessage::NewLink(link))) => Ok(Some(Link::from(link))),
            Ok(_) => Err(unexpected("an answer that is no link")),
            Err(error) if error.raw_os_error() == Some(libc::ENODEV) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Applies one change to the link of this index.
    pub(super) fn change(&mut self, index: u32, change: Change<'_>) -> io::Result<()> {
        let mut request = LinkMessage::default();
        request.header.index = index;
        match change {
            Change::Up => {
                request.header.flags = LinkFlags::Up;
                request.header.change_mask = LinkFlags::Up;
            }
            Change::Mtu(mtu) => request.attributes.push(LinkAttribute::Mtu(u32::from(mtu))),
            Change::Alias(alias) => request
                .attributes
                .push(LinkAttribute::IfAlias(alias.to_owned())),
            Change::Master(master) => request.attributes.push(LinkAttribute::Controller(master)),
        }
        self.ask(
            RouteNetlinkMessage::SetLink(request),
            NLM_F_REQUEST | NLM_F_ACK,
        )?;
        Ok(())
    }

    /// Sends one request and takes its one answer; `None` is a bare acknowledgement.
    fn ask(
        &mut self,
        message: RouteNetlinkMessage,
        flags: u16,
    ) -> io::Result<Option<RouteNetlinkMessage>> {
        self.sequence = self.sequence.wrapping_add(1);
        let mut header = NetlinkHeader::default();
        header.flags = flags;
        header.sequence_number = self.sequence;
        let mut request = NetlinkMessage::new(header, NetlinkPayload::from(message));
        request.finalize();
        let mut bytes = vec![0; request.buffer_len()];
        request.serialize(&mut bytes);
        rustix::net::send(&self.socket, &bytes, SendFlags::empty())?;

        let mut answer = vec![0; ANSWER_BYTES];
        loop {
            let (len, _) = rustix::io::retry_on_intr(|| {
                rustix::net::recv(&self.socket, &mut answer[..], RecvFlags::empty())
            })?;
            let answer = NetlinkMessage::<RouteNetlinkMessage>::deserialize(
                answer.get(..len).unwrap_or_default(),
            )
            .map_err(unexpected)?;
            if answer.header.sequence_number != self.sequence {
                continue;
            }
            return match answer.payload {
                NetlinkPayload::InnerMessage(inner) => Ok(Some(inner)),
                NetlinkPayload::Error(error) if error.code.is_some() => Err(error.to_io()),
                _ => Ok(None),
            };
        }
    }
}

fn unexpected(what: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

impl From<LinkMessage> for Link {
    fn from(message: LinkMessage) -> Self {
        let mut link = Self {
            index: message.header.index,
            up: message.header.flags.contains(LinkFlags::Up),
            ..Self::default()
        };
        for attribute in message.attributes {
            match attribute {
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
