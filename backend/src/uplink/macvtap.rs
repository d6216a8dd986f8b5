//! A macvtap: a second address on an interface of the host, read and written through a character device.
//!
//! It is made in bridge mode, marked as taps are ([`OWN_ALIAS`]), and removed on a clean end; a SIGKILL
//! leaves it, and the next run knows it again by its derived name. Its driver gives it what is sent to its
//! own address and what is sent to groups, and nothing else: so it serves *one* guest, whose address it
//! must be given ([`Macvtap::set_address`]). The host itself cannot be reached over it.
//!
//! Two processes must not share it, or each gets some of its frames: the first locks its node in `/dev`.
//! Where there is none and each makes its own (in a container), nothing keeps them apart.
//!
//! Its carrier is the interface's. While either is down, or when both have vanished, writes are taken
//! and lost without an error, and reads say `EAGAIN`: only a [`LinkMonitor`](super::LinkMonitor) tells.

mod node;
#[cfg(test)]
mod tests;

use std::io;
use std::os::fd::OwnedFd;
use std::thread;
use std::time::Instant;

use libc::{
    IFF_ATTACH_QUEUE, IFF_DETACH_QUEUE, IFF_MULTI_QUEUE, IFF_NO_PI, IFF_TAP, IFF_VNET_HDR, c_int,
};
use log::{debug, warn};
use rustix::fs::FlockOperation;
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use self::node::Node;
use super::facts::check_count;
use super::netlink::{Change, Link, Netlink};
use super::tap::{BUSY_PATIENCE, BUSY_PAUSE, OWN_ALIAS, VNET_HDR_BYTES, iff};
use super::{IfName, Offload, UplinkError, sys};

/// Bytes of frames that may be under way. The driver's default, the host's for sockets, holds three
/// super-frames; a tap has no limit.
const SEND_BUFFER: c_int = 64 * 72 * 1024;

/// Bytes of the interface's name that a macvtap's name begins with; a dash and six digits follow.
const STEM: usize = 8;

/// Which macvtap to open, and how it is to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MacvtapConfig {
    /// The interface it is on.
    pub lower: IfName,
    /// Its own name.
    pub name: IfName,
    /// Queue pairs, one file descriptor each; zero is taken as one.
    pub queues: u16,
    /// Its MTU in bytes, without the Ethernet header, when it is made; unset means the interface's.
    pub mtu: Option<u16>,
}

impl MacvtapConfig {
    /// The macvtap's name for an uplink of this name: it says the interface, is the same in every run, and
    /// another for every uplink.
    pub fn derived_name(lower: &IfName, uplink: &str) -> IfName {
        let mut hash = crc32fast::Hasher::new();
        hash.update(lower.as_str().as_bytes());
        hash.update(b"/");
        hash.update(uplink.as_bytes());
        let end = lower.as_str().floor_char_boundary(STEM);
        let stem = lower.as_str().get(..end).unwrap_or_default();
        let name = format!("{stem}-{:06x}", hash.finalize() & 0xff_ffff);
        // It is a name as `lower` is one: no character is new but these, and it has at most 15 bytes.
        name.parse().unwrap_or_else(|_| lower.clone())
    }
}

/// An open macvtap, with a 12-byte little-endian virtio-net header before each frame. Dropping it leaves
/// the device; [`Macvtap::remove_if_ours`] is the clean end.
#[derive(Debug)]
pub struct Macvtap {
    facts: MacvtapFacts,
    queues: Vec<OwnedFd>,
    enabled: Vec<bool>,
}

/// What there is to know of a [`Macvtap`] besides its descriptors.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MacvtapFacts {
    /// The macvtap's own name.
    pub name: IfName,
    /// The interface it is on.
    pub lower: IfName,
    /// Its own interface index.
    pub index: u32,
    /// Its MTU in bytes, without the Ethernet header.
    pub mtu: u16,
    /// Whether we made it, and so remove it.
    pub made_by_us: bool,
    /// Queue pairs that are open, one descriptor each.
    pub queues: usize,
}

impl Macvtap {
    /// Opens the macvtap, making it when it is absent, which needs `CAP_NET_ADMIN`. One that is taken is
    /// tried for one second.
    pub fn open(config: &MacvtapConfig) -> Result<Self, UplinkError> {
        let mut netlink = Netlink::open().map_err(UplinkError::netlink("open a socket"))?;
        let (link, made) = find_or_make(config, &mut netlink)?;
        let opened = Self::open_link(config, &link, made, &mut netlink);
        let failed = matches!(&opened, Err(error) if !matches!(error, UplinkError::Busy(_)));
        if made && failed {
            // What is told is why it could not be opened. One that another was faster to take is left.
            let _ = netlink.remove(link.index);
        }
        opened
    }

    fn open_link(
        config: &MacvtapConfig,
        link: &Link,
        made: bool,
        netlink: &mut Netlink,
    ) -> Result<Self, UplinkError> {
        let name = &config.name;
        let mut change = |what: &str, change| {
            let setting = UplinkError::setting(what, name);
            netlink.change(link.index, change).map_err(setting)
        };
        if made {
            change("set the alias", Change::Alias(OWN_ALIAS))?;
            // Without, IPv6 neighbours are never found: nobody tells the host which groups a guest joins.
            change("take all multicast", Change::AllMulticast)?;
            // The host would speak on the wire as the guest, whose address the macvtap has. Without IPv6 in
            // the kernel this cannot be said, and is not needed.
            if let Err(error) = change("set the IPv6 address mode", Change::NoOwnAddress) {
                debug!(interface:% = name, event = "not-set"; "{error}");
            }
        }
        let macvtap = Self {
            facts: MacvtapFacts {
                name: name.clone(),
                lower: config.lower.clone(),
                index: link.index,
                mtu: u16::try_from(link.mtu).unwrap_or(u16::MAX),
                made_by_us: made || link.alias.as_deref() == Some(OWN_ALIAS),
                queues: usize::from(config.queues.max(1)),
            },
            enabled: vec![true; usize::from(config.queues.max(1))],
            queues: open_queues(config, link)?,
        };
        macvtap.set_offload(Offload::NONE)?;
        if !link.up
            && let Err(error) = change("set the state up", Change::Up)
        {
            if made {
                return Err(error);
            }
            warn!(
                interface:% = name, event = "is-down";
                "{error}; no frame passes until `ip link set {name} up`"
            );
        }
        Ok(macvtap)
    }

    /// The macvtap's own name.
    pub fn name(&self) -> &IfName {
        &self.facts.name
    }

    /// Its own interface index.
    pub fn index(&self) -> u32 {
        self.facts.index
    }

    /// Its MTU in bytes, as of [`Macvtap::open`] or the last [`Macvtap::set_mtu`].
    pub fn mtu(&self) -> u16 {
        self.facts.mtu
    }

    /// One non-blocking file descriptor per queue pair.
    pub fn queues(&self) -> &[OwnedFd] {
        &self.queues
    }

    /// Whether this run, or an earlier one that was killed, made it.
    pub fn made_by_us(&self) -> bool {
        self.facts.made_by_us
    }

    /// Tells the host what this macvtap's reader takes in one frame; the driver finishes the others.
    pub fn set_offload(&self, offload: Offload) -> Result<(), UplinkError> {
        self.ioctl("set the offloads", |fd| {
            sys::set_offload(fd, offload.bits())
        })
    }

    /// Which offloads the kernel of this macvtap takes; all are off afterwards.
    pub fn probe_offloads(&self) -> Result<Offload, UplinkError> {
        let found = Offload::probe(|offload| self.set_offload(offload).is_ok());
        self.set_offload(Offload::NONE)?;
        Ok(found)
    }

    /// Makes the guest's Ethernet address the macvtap's; needs no capability once it is open. An address
    /// that another macvtap on the interface has is refused (`EADDRINUSE`).
    pub fn set_address(&self, address: [u8; 6]) -> Result<(), UplinkError> {
        self.ioctl("set the address", |fd| sys::set_address(fd, address))
    }

    /// Lets a queue pair take part, or takes it out, as [`Tap::set_queue_enabled`](super::Tap::set_queue_enabled).
    pub fn set_queue_enabled(&mut self, queue: usize, on: bool) -> Result<(), UplinkError> {
        let no_such_queue = || UplinkError::NoSuchQueue {
            name: self.facts.name.to_string(),
            queue,
        };
        let (Some(fd), Some(enabled)) = (self.queues.get(queue), self.enabled.get_mut(queue))
        else {
            return Err(no_such_queue());
        };
        if *enabled == on {
            return Ok(());
        }
        if self.queues.len() == 1 {
            return Err(no_such_queue());
        }
        let flags = if on {
            IFF_ATTACH_QUEUE
        } else {
            IFF_DETACH_QUEUE
        };
        sys::set_queue(fd, iff(flags)).map_err(UplinkError::setting(
            format!("switch queue {queue}"),
            &self.facts.name,
        ))?;
        *enabled = on;
        Ok(())
    }

    /// Takes note of an MTU that somebody else has set.
    pub(super) fn note_mtu(&mut self, mtu: u16) {
        self.facts.mtu = mtu;
    }

    /// Sets the macvtap's MTU in bytes, at most the interface's; needs `CAP_NET_ADMIN`.
    pub fn set_mtu(&mut self, mtu: u16) -> Result<(), UplinkError> {
        if self.facts.mtu != mtu {
            Netlink::open()
                .and_then(|mut netlink| netlink.change(self.facts.index, Change::Mtu(mtu)))
                .map_err(UplinkError::setting(
                    format!("set the MTU {mtu}"),
                    &self.facts.name,
                ))?;
            self.facts.mtu = mtu;
        }
        Ok(())
    }

    /// The clean end: a macvtap that we made goes away, which needs `CAP_NET_ADMIN`; any other stays.
    pub fn remove_if_ours(self) -> Result<(), UplinkError> {
        if !self.facts.made_by_us {
            return Ok(());
        }
        Netlink::open()
            .and_then(|mut netlink| netlink.remove(self.facts.index))
            .map_err(UplinkError::setting("remove", &self.facts.name))
    }

    /// Takes the macvtap apart. All its queues count as enabled when it is put together again.
    pub fn into_parts(self) -> (MacvtapFacts, Vec<OwnedFd>) {
        (self.facts, self.queues)
    }

    /// Puts together what [`Macvtap::into_parts`] took apart.
    pub fn from_parts(facts: MacvtapFacts, fds: Vec<OwnedFd>) -> Result<Self, UplinkError> {
        check_count(facts.name.as_str(), facts.queues, &fds)?;
        Ok(Self {
            facts,
            enabled: vec![true; fds.len()],
            queues: fds,
        })
    }

    /// An ioctl that speaks of the device as a whole, whichever queue it is done on.
    fn ioctl(
        &self,
        what: &str,
        call: impl Fn(&OwnedFd) -> io::Result<()>,
    ) -> Result<(), UplinkError> {
        match self.queues.first() {
            Some(fd) => call(fd).map_err(UplinkError::setting(what, &self.facts.name)),
            None => Ok(()),
        }
    }
}

/// The macvtap on the interface, and whether it has just been made.
fn find_or_make(
    config: &MacvtapConfig,
    netlink: &mut Netlink,
) -> Result<(Link, bool), UplinkError> {
    let MacvtapConfig { lower, name, .. } = config;
    let look_up = |netlink: &mut Netlink, name: &IfName| {
        let at = UplinkError::netlink(format!("look at {name}"));
        netlink.link(name).map_err(at)
    };
    let lower_link =
        look_up(netlink, lower)?.ok_or_else(|| UplinkError::NoInterface(lower.clone()))?;
    lower_link.need_ethernet(lower)?;
    let mut made = false;
    let link = match look_up(netlink, name)? {
        Some(link) => link,
        None => {
            match netlink.make_macvtap(name, lower_link.index, config.mtu) {
                Ok(()) => made = true,
                // Another that starts at the same time was faster.
                Err(error) if error.raw_os_error() == Some(libc::EEXIST) => {}
                Err(error) => return Err(make_error(config, error)),
            }
            look_up(netlink, name)?.ok_or_else(|| UplinkError::NoInterface(name.clone()))?
        }
    };
    if link.kind.as_deref() != Some("macvtap") || link.lower != Some(lower_link.index) {
        return Err(UplinkError::NotOnLower {
            name: name.clone(),
            lower: lower.clone(),
        });
    }
    Ok((link, made))
}

fn make_error(config: &MacvtapConfig, source: io::Error) -> UplinkError {
    let MacvtapConfig { lower, name, .. } = config.clone();
    match source.raw_os_error() {
        Some(libc::EPERM) => UplinkError::MayNotMake { name, lower },
        Some(libc::EOPNOTSUPP) => UplinkError::NoDriver(lower),
        Some(libc::EBUSY) => UplinkError::LowerTaken(lower),
        _ => UplinkError::setting(format!("make the macvtap {name}"), &lower)(source),
    }
}

/// Opens and sets up all queues. The first one's lock tells other processes that it is taken.
fn open_queues(config: &MacvtapConfig, link: &Link) -> Result<Vec<OwnedFd>, UplinkError> {
    let name = &config.name;
    let no_node = |source| UplinkError::NoNode {
        name: name.clone(),
        index: link.index,
        source,
    };
    let node = Node::find(link).map_err(no_node)?;
    let mut queues = Vec::new();
    for queue in 0..config.queues.max(1) {
        let fd = node.open().map_err(no_node)?;
        let identity = sys::identity(&fd).map_err(UplinkError::setting("ask the address", name))?;
        if Some(identity) != link.address.map(|address| (name.to_array(), address)) {
            return Err(UplinkError::WrongNode(name.clone()));
        }
        if queue == 0 {
            lock(&fd, name)?;
        }
        set_up(&fd, config.queues > 1).map_err(UplinkError::setting("set up a queue", name))?;
        queues.push(fd);
    }
    Ok(queues)
}

fn lock(fd: &OwnedFd, name: &IfName) -> Result<(), UplinkError> {
    let deadline = Instant::now() + BUSY_PATIENCE;
    loop {
        match rustix::fs::flock(fd, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(()),
            Err(Errno::WOULDBLOCK) if Instant::now() < deadline => thread::sleep(BUSY_PAUSE),
            Err(Errno::WOULDBLOCK) => return Err(UplinkError::Busy(name.clone())),
            Err(errno) => return Err(UplinkError::setting("lock the device", name)(errno.into())),
        }
    }
}

fn set_up(fd: &OwnedFd, multi_queue: bool) -> io::Result<()> {
    let mut flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR;
    if multi_queue {
        flags |= IFF_MULTI_QUEUE;
    }
    sys::set_macvtap_flags(fd, iff(flags))?;
    sys::set_vnet_hdr_size(fd, c_int::try_from(VNET_HDR_BYTES).unwrap_or_default())?;
    sys::set_vnet_le(fd)?;
    sys::set_send_buffer(fd, SEND_BUFFER)
}
