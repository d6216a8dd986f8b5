//! A packet socket on an interface of the host: a NIC or a veth, without a bridge.
//!
//! The interface stays the host's own: it is not brought up, its MTU is not changed, and its address
//! and carrier are left alone. Frames go out through its queueing discipline; what that drops, a write
//! calls `ENOBUFS`. A super-frame longer than the interface's `gso_max_size` goes out in segments.
//!
//! Unfinished frames come whether or not anybody takes them, since the interface's GRO knows nothing of
//! the guest: there is no `set_offload` here, and who reads must finish such a frame itself or drop it.
//! Super-frames that the header cannot say (UDP before Linux 6.2) the kernel drops: the read
//! says `EINVAL`, and so does a write of one.
//!
//! When the interface goes down, the socket polls as in error until one read has said `ENETDOWN`; later ones
//! say `EAGAIN`. Writes say `ENETDOWN` while it is down, *and yet it polls as writable*, unlike a tap: wait
//! for a [`LinkMonitor`](super::LinkMonitor) or a timer, or the wait is a busy loop. The same goes for
//! `ENOBUFS`. Up again, the socket serves on by itself; what is written before the kernel has noticed the
//! carrier, up to a second, is lost without an error. When the interface vanishes, writes say `ENXIO` for
//! ever: open it again once its name is back.

#[cfg(test)]
mod tests;

use std::io::{self, IoSliceMut};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use log::warn;
use ring::HEADER_LEN;
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, sockopt};
use serde::{Deserialize, Serialize};

use super::facts::one;
use super::frame::{self, Received, Tag};
use super::netlink::{Link, Netlink};
use super::sys::packet as sys;
use super::tap::OWN_ALIAS;
use super::{IfName, Offload, UplinkError};

/// Bytes of a virtio-net header without `num_buffers`, as `PACKET_VNET_HDR` has it.
const SHORT_HEADER: usize = 10;

/// Bytes that may be on their way out. The kernel charges a super-frame with its bookkeeping, about
/// 70 KiB, so the default holds three; 64 keep any NIC's ring busy.
const SEND_BUFFER: usize = 64 * 72 * 1024;

/// Bytes that may wait to be read. A super-frame put together from small buffers is charged up to three
/// times its size.
const RECEIVE_BUFFER: usize = 2 * SEND_BUFFER;

/// An open packet socket. Its virtio-net headers are in the byte order of the host.
#[derive(Debug)]
pub struct Packet {
    facts: PacketFacts,
    socket: OwnedFd,
}

/// What there is to know of a [`Packet`] besides its descriptor.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PacketFacts {
    /// The interface.
    pub name: IfName,
    /// Its index.
    pub index: u32,
    /// Bytes that a frame may have, without the Ethernet header.
    pub mtu: u16,
    /// The interface's own MTU in bytes, when it was opened.
    pub interface_mtu: u16,
    /// Bytes of virtio-net header before each written frame: 12, or 10 before Linux 6.4.
    pub header_len: usize,
}

impl Packet {
    /// Opens a socket on an Ethernet interface and has it take frames for any address; needs
    /// `CAP_NET_RAW`. An `mtu` that is more than the interface's is a warning in the log.
    pub fn open(name: &IfName, mtu: Option<u16>) -> Result<Self, UplinkError> {
        let link = Netlink::open()
            .and_then(|mut netlink| netlink.link(name))
            .map_err(UplinkError::netlink(format!("look at {name}")))?
            .ok_or_else(|| UplinkError::NoInterface(name.clone()))?;
        usable(name, &link)?;
        if !link.up {
            warn!(
                interface:% = name, event = "is-down";
                "no frame passes until `ip link set {name} up`"
            );
        }
        let socket = socket(name)?;
        let header_len = set_header(&socket).map_err(UplinkError::setting("get headers", name))?;
        prepare(&socket, link.index).map_err(UplinkError::setting("set up the socket", name))?;
        sys::bind(&socket, link.index).map_err(|error| match error.raw_os_error() {
            Some(libc::ENODEV) => UplinkError::NoInterface(name.clone()),
            _ => UplinkError::setting("bind to the index", name)(error),
        })?;
        let interface_mtu = u16::try_from(link.mtu).unwrap_or(u16::MAX);
        let mut packet = Self {
            facts: PacketFacts {
                name: name.clone(),
                index: link.index,
                mtu: interface_mtu,
                interface_mtu,
                header_len,
            },
            socket,
        };
        if let Some(mtu) = mtu
            && let Err(error) = packet.set_mtu(mtu)
        {
            warn!(interface:% = name, event = "mtu-kept"; "{error}; it stays at {interface_mtu}");
        }
        Ok(packet)
    }

    /// The interface's name.
    pub fn name(&self) -> &IfName {
        &self.facts.name
    }

    /// The interface's index.
    pub fn index(&self) -> u32 {
        self.facts.index
    }

    /// Bytes that a frame may have, without the Ethernet header.
    pub fn mtu(&self) -> u16 {
        self.facts.mtu
    }

    /// Bounds [`Packet::mtu`]; the interface keeps its own, which is the most.
    pub fn set_mtu(&mut self, mtu: u16) -> Result<(), UplinkError> {
        if mtu > self.facts.interface_mtu {
            return Err(UplinkError::MtuTooLarge {
                name: self.facts.name.clone(),
                asked: mtu,
                most: self.facts.interface_mtu,
            });
        }
        self.facts.mtu = mtu;
        Ok(())
    }

    /// The socket: non-blocking, and a write is one frame behind its header.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// Bytes of virtio-net header before each written frame: 12, or 10 before Linux 6.4.
    pub fn header_len(&self) -> usize {
        self.facts.header_len
    }

    /// Reads one frame, as [`Uplink::receive`](super::Uplink::receive) says. What the host itself sends
    /// on the interface, and what is written here, never comes.
    pub fn receive(
        &self,
        header: &mut [u8; HEADER_LEN],
        parts: &mut [IoSliceMut<'_>],
    ) -> Result<Received, Errno> {
        let header_len = self.facts.header_len;
        let (len, told) = frame::scatter(header, header_len, parts, |all| {
            rustix::io::retry_on_intr(|| {
                sys::receive(&self.socket, all)
                    .map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))
            })
        })?;
        Ok(Received {
            len: len.saturating_sub(header_len),
            vlan: told.and_then(|told| tag(&told)),
        })
    }

    /// As [`Self::receive`], header and frame in one piece.
    pub fn receive_whole(&self, unit: &mut [u8]) -> Result<Received, Errno> {
        let header_len = self.facts.header_len;
        let by = HEADER_LEN.saturating_sub(header_len);
        let place = unit.get_mut(by..).ok_or(Errno::INVAL)?;
        let (len, told) = rustix::io::retry_on_intr(|| {
            sys::receive(&self.socket, &mut [IoSliceMut::new(&mut *place)])
                .map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))
        })?;
        if unit.len() < HEADER_LEN {
            return Err(Errno::INVAL);
        }
        unit.copy_within(by..HEADER_LEN, 0);
        frame::blank(unit, frame::HOST_HEADER_LEN)?;
        Ok(Received {
            len: len.saturating_sub(header_len),
            vlan: told.and_then(|told| tag(&told)),
        })
    }

    /// Which unfinished frames this kernel's packet sockets can say in a header: by its version, since any
    /// that are sent to find out would reach the wire.
    pub fn probe_offloads(&self) -> Offload {
        let version = rustix::system::uname();
        let release = version.release().to_string_lossy();
        Offload {
            uso: at_least(&release, (6, 2)),
            ..Offload::ALL
        }
    }

    /// Takes the uplink apart, to be put together again in another process.
    pub fn into_parts(self) -> (PacketFacts, Vec<OwnedFd>) {
        (self.facts, vec![self.socket])
    }

    /// Puts together what [`Packet::into_parts`] took apart.
    pub fn from_parts(facts: PacketFacts, fds: Vec<OwnedFd>) -> Result<Self, UplinkError> {
        let socket = one(facts.name.as_str(), fds)?;
        Ok(Self { facts, socket })
    }
}

fn usable(name: &IfName, link: &Link) -> Result<(), UplinkError> {
    if link.tun.is_some() && link.alias.as_deref() == Some(OWN_ALIAS) {
        return Err(UplinkError::OwnTap(name.clone()));
    }
    link.need_ethernet(name)
}

/// A socket that gets nothing yet: frames of other interfaces must not come before it is bound.
fn socket(name: &IfName) -> Result<OwnedFd, UplinkError> {
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    rustix::net::socket_with(AddressFamily::PACKET, SocketType::RAW, flags, None).map_err(|errno| {
        let name = name.clone();
        match errno {
            Errno::PERM | Errno::ACCESS => UplinkError::MayNotListen(name),
            errno => UplinkError::NoPacketSocket {
                name,
                source: errno.into(),
            },
        }
    })
}

/// Has frames carry a virtio-net header, of twelve bytes if the kernel knows them, and tells how many.
fn set_header(socket: &OwnedFd) -> io::Result<usize> {
    let long = libc::c_int::try_from(HEADER_LEN).unwrap_or_default();
    if sys::set_option(socket, libc::PACKET_VNET_HDR_SZ, long).is_ok() {
        return Ok(HEADER_LEN);
    }
    sys::set_option(socket, libc::PACKET_VNET_HDR, 1)?;
    Ok(SHORT_HEADER)
}

fn prepare(socket: &OwnedFd, index: u32) -> io::Result<()> {
    sys::set_option(socket, libc::PACKET_IGNORE_OUTGOING, 1)?;
    sys::set_option(socket, libc::PACKET_AUXDATA, 1)?;
    // Only CAP_NET_ADMIN may have more than the host's limit; less is slower, but works.
    sockopt::set_socket_send_buffer_size_force(socket, SEND_BUFFER)
        .or_else(|_| sockopt::set_socket_send_buffer_size(socket, SEND_BUFFER))?;
    sockopt::set_socket_recv_buffer_size_force(socket, RECEIVE_BUFFER)
        .or_else(|_| sockopt::set_socket_recv_buffer_size(socket, RECEIVE_BUFFER))?;
    sys::join_promiscuous(socket, index)
}

fn tag(told: &libc::tpacket_auxdata) -> Option<Tag> {
    (told.tp_status & libc::TP_STATUS_VLAN_VALID != 0).then_some(Tag {
        tpid: if told.tp_status & libc::TP_STATUS_VLAN_TPID_VALID != 0 {
            told.tp_vlan_tpid
        } else {
            0x8100
        },
        tci: told.tp_vlan_tci,
    })
}

/// Whether a kernel release such as `6.18.44-amd64` is that version or a later one; one that cannot be
/// read is not.
fn at_least(release: &str, version: (u32, u32)) -> bool {
    let mut numbers = release
        .split(|c: char| !c.is_ascii_digit())
        .map_while(|text| text.parse().ok());
    let found: Option<(u32, u32)> = numbers.next().zip(numbers.next());
    found.is_some_and(|found| found >= version)
}
