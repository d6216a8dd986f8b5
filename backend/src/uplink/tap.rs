//! A host tap: opened, or made when absent, and taken away only when we made it.
//!
//! A tap that we make is persistent and bears [`OWN_ALIAS`] as its alias (`ip link show` prints it), so
//! it outlives a SIGKILL together with its bridge port and addresses, and the next run knows it again.

mod error;
mod parts;
#[cfg(test)]
mod tests;

use std::io;
use std::os::fd::OwnedFd;
use std::thread;
use std::time::{Duration, Instant};

use libc::{
    IFF_ATTACH_QUEUE, IFF_DETACH_QUEUE, IFF_MULTI_QUEUE, IFF_NO_PI, IFF_TAP, IFF_TUN_EXCL,
    IFF_VNET_HDR,
};
use log::warn;
use rustix::fs::{Mode, OFlags};

pub use self::error::TapError;
pub use self::parts::TapFacts;
use super::netlink::{Change, Link, Netlink, TunFacts};
use super::{IfName, Offload, sys};

/// The alias that marks a tap as made by us, and so as ours to remove.
pub const OWN_ALIAS: &str = "made by netqos-vhost, removed when it ends";

/// Bytes of virtio-net header before each frame: with `num_buffers` (virtio 1.3 §5.1.6).
pub const VNET_HDR_BYTES: usize = 12;

/// How long a taken tap may still become free. A killed process that had it in an io_uring keeps it
/// attached for 10 to 50 ms more (measured); too short would fail a restart, longer would only delay
/// a true complaint.
pub(super) const BUSY_PATIENCE: Duration = Duration::from_secs(1);

/// How often a taken tap is tried again.
pub(super) const BUSY_PAUSE: Duration = Duration::from_millis(20);

/// Which tap to open, and how it is to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TapConfig {
    /// The tap's name.
    pub name: IfName,
    /// Queue pairs, one file descriptor each; zero is taken as one.
    pub queues: u16,
    /// The tap's MTU in bytes, without the Ethernet header; unset leaves it as it is.
    pub mtu: Option<u16>,
    /// The bridge whose port the tap is to be.
    pub bridge: Option<IfName>,
}

/// An attached tap, with a 12-byte little-endian virtio-net header before each frame. Its carrier is off
/// until [`Tap::set_carrier`]. Dropping it leaves the device; [`Tap::remove_if_ours`] is the clean end.
#[derive(Debug)]
pub struct Tap {
    name: IfName,
    index: u32,
    mtu: u16,
    multi_queue: bool,
    made_by_us: bool,
    queues: Vec<OwnedFd>,
    enabled: Vec<bool>,
}

impl Tap {
    /// Opens the tap, making it when it is absent. A tap that is taken is tried for one second.
    ///
    /// What an existing tap lacks (up, MTU, bridge) is set; where that is not permitted, a missing
    /// bridge is an error and the rest a warning in the log.
    pub fn open(config: &TapConfig) -> Result<Self, TapError> {
        let mut netlink = Netlink::open().map_err(|source| TapError::Netlink {
            what: "open a socket".to_owned(),
            source,
        })?;
        let bridge = match &config.bridge {
            Some(bridge) => Some(bridge_index(&mut netlink, bridge)?),
            None => None,
        };
        let deadline = Instant::now() + BUSY_PATIENCE;
        let (mut tap, existing) = loop {
            match attach(config, &mut netlink) {
                Err(TapError::Busy { .. }) if Instant::now() < deadline => {
                    thread::sleep(BUSY_PAUSE)
                }
                Err(error) => return Err(error),
                Ok(attached) => break attached,
            }
        };
        tap.set_carrier(false)?;
        tap.set_header()?;
        tap.set_offload(Offload::NONE)?;
        match existing {
            Some(link) => tap.adjust(config, bridge, &link, &mut netlink)?,
            None => tap.furnish(config, bridge, &mut netlink)?,
        }
        Ok(tap)
    }

    /// The tap's name.
    pub fn name(&self) -> &IfName {
        &self.name
    }

    /// The tap's interface index.
    pub fn index(&self) -> u32 {
        self.index
    }

    /// The tap's MTU in bytes, as of [`Tap::open`] or the last [`Tap::set_mtu`].
    pub fn mtu(&self) -> u16 {
        self.mtu
    }

    /// One non-blocking file descriptor per queue pair.
    pub fn queues(&self) -> &[OwnedFd] {
        &self.queues
    }

    /// Whether this run, or an earlier one that was killed, made the tap.
    pub fn made_by_us(&self) -> bool {
        self.made_by_us
    }

    /// Tells the host what this tap's reader takes in one frame.
    pub fn set_offload(&self, offload: Offload) -> Result<(), TapError> {
        self.ioctl("set the offloads", |fd| {
            sys::set_offload(fd, offload.bits())
        })
    }

    /// Which offloads the kernel of this tap takes; all are off afterwards.
    pub fn probe_offloads(&self) -> Result<Offload, TapError> {
        let found = Offload::probe(|offload| self.set_offload(offload).is_ok());
        self.set_offload(Offload::NONE)?;
        Ok(found)
    }

    /// Turns the carrier on or off: off while no guest is there to read.
    pub fn set_carrier(&self, on: bool) -> Result<(), TapError> {
        self.ioctl("set the carrier", |fd| sys::set_carrier(fd, on))
    }

    /// Lets a queue pair take part, or takes it out: the host then sends nothing to it. A queue that is
    /// already so is left alone. All are enabled at first; the only queue of a single-queue tap stays so.
    pub fn set_queue_enabled(&mut self, index: usize, on: bool) -> Result<(), TapError> {
        let no_such_queue = || TapError::NoSuchQueue {
            name: self.name.clone(),
            index,
        };
        let (Some(queue), Some(enabled)) = (self.queues.get(index), self.enabled.get_mut(index))
        else {
            return Err(no_such_queue());
        };
        if *enabled == on {
            return Ok(());
        }
        if !self.multi_queue {
            return Err(no_such_queue());
        }
        let flags = if on {
            IFF_ATTACH_QUEUE
        } else {
            IFF_DETACH_QUEUE
        };
        sys::set_queue(queue, iff(flags)).map_err(|source| TapError::Setting {
            what: format!("switch queue {index}"),
            name: self.name.clone(),
            source,
        })?;
        *enabled = on;
        Ok(())
    }

    /// Sets the tap's MTU in bytes, without the Ethernet header; needs `CAP_NET_ADMIN`.
    pub fn set_mtu(&mut self, mtu: u16) -> Result<(), TapError> {
        let mut netlink = Netlink::open().map_err(|source| self.setting("set the MTU", source))?;
        self.change_mtu(mtu, &mut netlink)
    }

    /// Takes note of an MTU that somebody else has set.
    pub(super) fn note_mtu(&mut self, mtu: u16) {
        self.mtu = mtu;
    }

    /// The clean end: a tap that we made goes away, any other stays, its carrier off. One that another
    /// process has attached a queue to meanwhile stays as well, until that process ends.
    pub fn remove_if_ours(self) -> Result<(), TapError> {
        if !self.made_by_us {
            return Ok(());
        }
        self.ioctl("end the persistence", |fd| {
            match sys::set_persist(fd, false) {
                // Somebody deleted it before us.
                Err(error) if error.raw_os_error() == Some(libc::EBADFD) => Ok(()),
                done => done,
            }
        })
    }

    fn set_header(&self) -> Result<(), TapError> {
        let bytes = i32::try_from(VNET_HDR_BYTES).unwrap_or(i32::MAX);
        self.ioctl("set the header size", |fd| {
            sys::set_vnet_hdr_size(fd, bytes)
        })?;
        self.ioctl("set the header byte order", sys::set_vnet_le)
    }

    /// Makes a new tap what it is to be. Its persistence comes last, so that whatever fails before, or a
    /// SIGKILL, leaves nothing behind, and never a persistent tap without its mark.
    fn furnish(
        &mut self,
        config: &TapConfig,
        bridge: Option<u32>,
        netlink: &mut Netlink,
    ) -> Result<(), TapError> {
        // Without an owner, any user who may open /dev/net/tun could attach once we are gone.
        let uid = rustix::process::geteuid().as_raw();
        self.ioctl("set the owner", |fd| sys::set_owner(fd, uid))?;
        self.change("set the alias", Change::Alias(OWN_ALIAS), netlink)?;
        if let Some(mtu) = config.mtu {
            self.change_mtu(mtu, netlink)?;
        }
        if let Some(bridge) = bridge {
            self.change("set the bridge", Change::Master(bridge), netlink)?;
        }
        self.change("bring up", Change::Up, netlink)?;
        self.ioctl("set the persistence", |fd| sys::set_persist(fd, true))
    }

    /// Sets what an existing tap lacks.
    fn adjust(
        &mut self,
        config: &TapConfig,
        bridge: Option<u32>,
        link: &Link,
        netlink: &mut Netlink,
    ) -> Result<(), TapError> {
        if let Some(mtu) = config.mtu
            && let Err(error) = self.change_mtu(mtu, netlink)
        {
            warn!(interface:% = self.name, event = "mtu-kept"; "{error}; it stays at {}", self.mtu);
        }
        if let Some(bridge) = bridge
            && link.master != Some(bridge)
        {
            self.change("set the bridge", Change::Master(bridge), netlink)?;
        }
        if !link.up
            && let Err(error) = self.change("set the state up", Change::Up, netlink)
        {
            warn!(
                interface:% = self.name, event = "is-down";
                "{error}; no frame passes until `ip link set {} up`",
                self.name
            );
        }
        Ok(())
    }

    fn change_mtu(&mut self, mtu: u16, netlink: &mut Netlink) -> Result<(), TapError> {
        if self.mtu != mtu {
            self.change(&format!("set the MTU {mtu}"), Change::Mtu(mtu), netlink)?;
            self.mtu = mtu;
        }
        Ok(())
    }

    fn change(
        &self,
        what: &str,
        change: Change<'_>,
        netlink: &mut Netlink,
    ) -> Result<(), TapError> {
        netlink
            .change(self.index, change)
            .map_err(|source| self.setting(what, source))
    }

    /// An ioctl that speaks of the device as a whole, whichever queue it is done on.
    fn ioctl(&self, what: &str, call: impl Fn(&OwnedFd) -> io::Result<()>) -> Result<(), TapError> {
        match self.queues.first() {
            Some(fd) => call(fd).map_err(|source| self.setting(what, source)),
            None => Ok(()),
        }
    }

    fn setting(&self, what: &str, source: io::Error) -> TapError {
        TapError::Setting {
            what: what.to_owned(),
            name: self.name.clone(),
            source,
        }
    }
}

/// The interface index of a bridge.
fn bridge_index(netlink: &mut Netlink, bridge: &IfName) -> Result<u32, TapError> {
    let link = look_up(netlink, bridge)?.ok_or_else(|| TapError::NoBridge(bridge.clone()))?;
    match link.kind.as_deref() {
        Some("bridge") => Ok(link.index),
        kind => Err(TapError::NotABridge {
            name: bridge.clone(),
            kind: kind_name(kind),
        }),
    }
}

/// One try to attach to the tap or to make it; tells how an existing one was found.
fn attach(config: &TapConfig, netlink: &mut Netlink) -> Result<(Tap, Option<Link>), TapError> {
    let existing = look_up(netlink, &config.name)?;
    let queues = config.queues.max(1);
    let multi_queue = match &existing {
        Some(link) => usable_tap(&config.name, queues, link)?.multi_queue,
        None => queues > 1,
    };
    let mut flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR;
    if multi_queue {
        flags |= IFF_MULTI_QUEUE;
    }
    // Two of us that start at once must not both think they made it.
    let first = if existing.is_none() { IFF_TUN_EXCL } else { 0 };
    let mut fds = Vec::with_capacity(usize::from(queues));
    for queue in 0..queues {
        let fd = open_driver()?;
        let flags = if queue == 0 { flags | first } else { flags };
        sys::set_iff(&fd, &config.name, iff(flags))
            .map_err(|source| attach_error(config, existing.as_ref(), source))?;
        fds.push(fd);
    }
    let link = match &existing {
        Some(link) => link.clone(),
        None => look_up(netlink, &config.name)?.ok_or_else(|| TapError::Busy {
            name: config.name.clone(),
        })?,
    };
    let tap = Tap {
        name: config.name.clone(),
        index: link.index,
        mtu: u16::try_from(link.mtu).unwrap_or(u16::MAX),
        multi_queue,
        made_by_us: existing.is_none() || link.alias.as_deref() == Some(OWN_ALIAS),
        enabled: vec![true; fds.len()],
        queues: fds,
    };
    Ok((tap, existing))
}

/// Whether an existing device is a tap that nobody holds and that has room for our queues.
fn usable_tap(name: &IfName, queues: u16, link: &Link) -> Result<TunFacts, TapError> {
    let name = name.clone();
    match link.tun {
        None => Err(TapError::NotATap {
            name,
            kind: kind_name(link.kind.as_deref()),
        }),
        Some(tun) if !tun.tap => Err(TapError::Layer3 { name }),
        Some(tun) if queues > 1 && !tun.multi_queue => Err(TapError::SingleQueue { name, queues }),
        // The driver would let us in beside the other process and share its frames out between us.
        Some(tun) if tun.queues > 0 => Err(TapError::Busy { name }),
        Some(tun) => Ok(tun),
    }
}

fn open_driver() -> Result<OwnedFd, TapError> {
    let flags = OFlags::RDWR | OFlags::NONBLOCK | OFlags::CLOEXEC;
    rustix::fs::open("/dev/net/tun", flags, Mode::empty()).map_err(|errno| match errno {
        rustix::io::Errno::NOENT | rustix::io::Errno::NODEV | rustix::io::Errno::NXIO => {
            TapError::NoDriver
        }
        errno => TapError::Device(errno.into()),
    })
}

fn attach_error(config: &TapConfig, existing: Option<&Link>, source: io::Error) -> TapError {
    let name = config.name.clone();
    let uid = rustix::process::geteuid().as_raw();
    match (source.raw_os_error(), existing) {
        (Some(libc::EBUSY), _) => TapError::Busy { name },
        (Some(libc::EPERM), None) => TapError::MayNotMake { name, uid },
        (Some(libc::EPERM), Some(link)) => TapError::NotOwner {
            name,
            owner: link.tun.and_then(|tun| tun.owner),
            uid,
        },
        _ => TapError::Setting {
            what: "attach to the queues".to_owned(),
            name,
            source,
        },
    }
}

fn look_up(netlink: &mut Netlink, name: &IfName) -> Result<Option<Link>, TapError> {
    netlink.link(name).map_err(|source| TapError::Netlink {
        what: format!("look at {name}"),
        source,
    })
}

fn kind_name(kind: Option<&str>) -> String {
    kind.unwrap_or("hardware").to_owned()
}

/// Interface flags as `struct ifreq` carries them.
pub(super) fn iff(flags: libc::c_int) -> u16 {
    u16::try_from(flags).unwrap_or_default()
}
