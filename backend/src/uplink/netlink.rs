//! Route netlink, as much as uplinks need: look at links, change, make and remove one.
//!
//! Messages are those of `netlink-packet-route`; the socket is blocking, and the kernel answers each
//! request before it returns, so no runtime is needed.

mod link;

use std::io;
use std::iter;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use netlink_packet_core::{
    DecodeError, NLM_F_ACK, NLM_F_CREATE, NLM_F_DUMP, NLM_F_EXCL, NLM_F_REQUEST, NetlinkBuffer,
    NetlinkHeader, NetlinkMessage, NetlinkPayload,
};
use netlink_packet_route::link::{
    AfSpecInet6, AfSpecUnspec, In6AddrGenMode, InfoData, InfoKind, InfoMacVtap, LinkAttribute,
    LinkExtentMask, LinkFlags, LinkInfo, LinkMessage, MacVtapMode,
};
use netlink_packet_route::{AddressFamily as Family, RouteNetlinkMessage};
use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType};

use super::name::IfName;
pub(super) use link::{Link, TunFacts};

/// Room for one datagram; a link without its statistics and virtual functions takes about 1 KiB, and
/// the kernel puts at most 32 KiB of links into one.
const ANSWER_BYTES: usize = 64 * 1024;

/// One change to a link.
#[derive(Clone, Copy, Debug)]
pub(super) enum Change<'a> {
    Up,
    /// Takes every multicast frame, whoever asked for it.
    AllMulticast,
    /// Gives itself no IPv6 address.
    NoOwnAddress,
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
        Ok(Self {
            socket: socket(SocketFlags::empty())?,
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
        let mut raise = |flag| {
            request.header.flags = flag;
            request.header.change_mask = flag;
        };
        match change {
            Change::Up => raise(LinkFlags::Up),
            Change::AllMulticast => raise(LinkFlags::Allmulti),
            Change::NoOwnAddress => {
                let none = AfSpecInet6::AddrGenMode(In6AddrGenMode::None);
                let spec = vec![AfSpecUnspec::Inet6(vec![none])];
                request.attributes.push(LinkAttribute::AfSpecUnspec(spec));
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

    /// All links. One that cannot be read is left out.
    pub(super) fn links(&mut self) -> io::Result<Vec<Link>> {
        let mut query = LinkMessage::default();
        query.attributes = vec![LinkAttribute::ExtMask(vec![LinkExtentMask::SkipStats])];
        self.send(
            RouteNetlinkMessage::GetLink(query),
            NLM_F_REQUEST | NLM_F_DUMP,
        )?;
        let mut links = Vec::new();
        let mut datagram = vec![0; ANSWER_BYTES];
        loop {
            let len = self.receive(&mut datagram)?;
            for message in messages(datagram.get(..len).unwrap_or_default()) {
                let Ok(message) = message else { continue };
                if message.header.sequence_number != self.sequence {
                    continue;
                }
                match message.payload {
                    NetlinkPayload::InnerMessage(RouteNetlinkMessage::NewLink(link)) => {
                        links.push(Link::from(link));
                    }
                    NetlinkPayload::Done(_) => return Ok(links),
                    NetlinkPayload::Error(error) => return Err(error.to_io()),
                    _ => {}
                }
            }
        }
    }

    /// Makes a macvtap in bridge mode on the link of index `lower`: down, with a random address and,
    /// unless `mtu` says, the MTU of `lower`.
    pub(super) fn make_macvtap(
        &mut self,
        name: &IfName,
        lower: u32,
        mtu: Option<u16>,
    ) -> io::Result<()> {
        let mut request = LinkMessage::default();
        request.attributes = vec![
            LinkAttribute::IfName(name.to_string()),
            LinkAttribute::Link(lower),
            LinkAttribute::LinkInfo(vec![
                LinkInfo::Kind(InfoKind::MacVtap),
                LinkInfo::Data(InfoData::MacVtap(vec![InfoMacVtap::Mode(
                    MacVtapMode::Bridge,
                )])),
            ]),
        ];
        let mtu = mtu.map(|mtu| LinkAttribute::Mtu(u32::from(mtu)));
        request.attributes.extend(mtu);
        self.ask(
            RouteNetlinkMessage::NewLink(request),
            NLM_F_REQUEST | NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL,
        )?;
        Ok(())
    }

    /// Removes the link of this index; one that is gone already is no error.
    pub(super) fn remove(&mut self, index: u32) -> io::Result<()> {
        let mut request = LinkMessage::default();
        request.header.index = index;
        match self.ask(
            RouteNetlinkMessage::DelLink(request),
            NLM_F_REQUEST | NLM_F_ACK,
        ) {
            Err(error) if error.raw_os_error() != Some(libc::ENODEV) => Err(error),
            _ => Ok(()),
        }
    }

    /// Sends one request and takes its one answer; `None` is a bare acknowledgement.
    fn ask(
        &mut self,
        message: RouteNetlinkMessage,
        flags: u16,
    ) -> io::Result<Option<RouteNetlinkMessage>> {
        self.send(message, flags)?;
        let mut answer = vec![0; ANSWER_BYTES];
        loop {
            let len = self.receive(&mut answer)?;
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

    fn send(&mut self, message: RouteNetlinkMessage, flags: u16) -> io::Result<()> {
        self.sequence = self.sequence.wrapping_add(1);
        let mut header = NetlinkHeader::default();
        header.flags = flags;
        header.sequence_number = self.sequence;
        let mut request = NetlinkMessage::new(header, NetlinkPayload::from(message));
        request.finalize();
        let mut bytes = vec![0; request.buffer_len()];
        request.serialize(&mut bytes);
        rustix::net::send(&self.socket, &bytes, SendFlags::empty())?;
        Ok(())
    }

    fn receive(&self, datagram: &mut [u8]) -> io::Result<usize> {
        receive(&self.socket, datagram)
    }
}

/// What the kernel says unasked whenever a link changes; does not block.
#[derive(Debug)]
pub(super) struct News {
    socket: OwnedFd,
    datagram: Vec<u8>,
}

/// One piece of [`News`].
#[derive(Debug)]
pub(super) enum Report {
    /// The link is there, so.
    Is(Link),
    /// The link of this index is gone.
    Gone(u32),
}

impl News {
    pub(super) fn open() -> io::Result<Self> {
        let socket = socket(SocketFlags::NONBLOCK)?;
        let groups = u32::try_from(libc::RTMGRP_LINK).unwrap_or_default();
        rustix::net::bind(&socket, &SocketAddrNetlink::new(0, groups))?;
        Ok(Self {
            socket,
            datagram: vec![0; ANSWER_BYTES],
        })
    }

    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// The next reports, or `WouldBlock`. `ENOBUFS` means that some were lost.
    pub(super) fn next(&mut self) -> io::Result<Vec<Report>> {
        let len = receive(&self.socket, &mut self.datagram)?;
        let messages = messages(self.datagram.get(..len).unwrap_or_default());
        Ok(messages
            .filter_map(Result::ok)
            .filter_map(Report::of)
            .collect())
    }
}

impl Report {
    /// Bridges tell of their ports under their own family, and of a port that leaves as of a link that
    /// is deleted: that is not meant here.
    fn of(message: NetlinkMessage<RouteNetlinkMessage>) -> Option<Self> {
        let NetlinkPayload::InnerMessage(message) = message.payload else {
            return None;
        };
        let plain = |link: &LinkMessage| link.header.interface_family == Family::Unspec;
        match message {
            RouteNetlinkMessage::NewLink(link) if plain(&link) => Some(Self::Is(Link::from(link))),
            RouteNetlinkMessage::DelLink(link) if plain(&link) => {
                Some(Self::Gone(link.header.index))
            }
            _ => None,
        }
    }
}

fn socket(flags: SocketFlags) -> io::Result<OwnedFd> {
    Ok(rustix::net::socket_with(
        AddressFamily::NETLINK,
        SocketType::RAW,
        flags | SocketFlags::CLOEXEC,
        // NETLINK_ROUTE is protocol 0.
        None,
    )?)
}

fn receive(socket: &OwnedFd, datagram: &mut [u8]) -> io::Result<usize> {
    let (len, _) = rustix::io::retry_on_intr(|| {
        rustix::net::recv(socket, &mut *datagram, RecvFlags::empty())
    })?;
    Ok(len)
}

/// The messages of one datagram; each starts at a multiple of four bytes (`NLMSG_ALIGN`).
fn messages(
    mut datagram: &[u8],
) -> impl Iterator<Item = Result<NetlinkMessage<RouteNetlinkMessage>, DecodeError>> {
    iter::from_fn(move || {
        let len = NetlinkBuffer::new_checked(datagram).ok()?.length();
        let len = usize::try_from(len).ok()?;
        let message = NetlinkMessage::deserialize(datagram.get(..len)?);
        datagram = datagram.get(len.next_multiple_of(4)..).unwrap_or_default();
        Some(message)
    })
}

fn unexpected(what: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}
