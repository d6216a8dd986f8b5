//! What can go wrong with an uplink, each with what to do about it.

use std::io;

use thiserror::Error;

use super::{IfName, TapError};

/// Why an uplink cannot be opened, set or removed. The operator or the host is at fault, never a guest;
/// on [`Uplink::open`](super::Uplink::open) the daemon refuses to start, later it logs and carries on.
#[derive(Debug, Error)]
pub enum UplinkError {
    /// Something about a tap.
    #[error(transparent)]
    Tap(#[from] TapError),
    /// A route netlink socket failed.
    #[error(
        "cannot {what} over netlink: {source} (under a service manager, allow AF_NETLINK in \
         `RestrictAddressFamilies=`)"
    )]
    Netlink {
        /// What was being done.
        what: String,
        /// What the kernel said.
        source: io::Error,
    },
    /// There is no such interface.
    #[error("there is no interface {0}: make it, or choose one that `ip link` lists")]
    NoInterface(IfName),
    /// The interface carries no Ethernet frames, or is the loopback.
    #[error("{name} is no Ethernet interface ({kind}): choose a NIC, a veth or the like")]
    NotEthernet {
        /// The interface.
        name: IfName,
        /// What it is.
        kind: String,
    },
    /// A packet socket on a tap of ours would have us read what we write.
    #[error("{0} is a tap that netqos-vhost made: open it as a tap, not by a packet socket")]
    OwnTap(IfName),
    /// Packet sockets are not permitted to us.
    #[error("a packet socket on {0} needs CAP_NET_RAW: run as root or grant the capability")]
    MayNotListen(IfName),
    /// The kernel has no packet sockets, or the service manager forbids them.
    #[error(
        "a packet socket on {name} cannot be had: {source} (the kernel needs CONFIG_PACKET; under a \
         service manager, allow AF_PACKET in `RestrictAddressFamilies=`)"
    )]
    NoPacketSocket {
        /// The interface.
        name: IfName,
        /// What the kernel said.
        source: io::Error,
    },
    /// The kernel has no macvtap driver.
    #[error("a macvtap on {0} cannot be made: load the driver (`modprobe macvtap`)")]
    NoDriver(IfName),
    /// The macvtap does not exist and we may not make it.
    #[error("making the macvtap {name} on {lower} needs CAP_NET_ADMIN: run as root")]
    MayNotMake {
        /// The macvtap.
        name: IfName,
        /// What it is to be on.
        lower: IfName,
    },
    /// The interface already gives its frames to somebody else.
    #[error(
        "{0} takes no macvtap: it is a port of a bridge or bond, so take it out of there first"
    )]
    LowerTaken(IfName),
    /// There is a device of the macvtap's name that is no macvtap on the interface.
    #[error(
        "{name} exists and is no macvtap on {lower}: rename it or remove it (`ip link del {name}`)"
    )]
    NotOnLower {
        /// The device.
        name: IfName,
        /// What a macvtap of this name would be on.
        lower: IfName,
    },
    /// Another process has the macvtap open.
    #[error(
        "{0} is taken: another process has the macvtap open, so end that process or name the uplink \
         otherwise"
    )]
    Busy(IfName),
    /// The macvtap's character device cannot be opened.
    #[error(
        "the character device of {name} cannot be opened: {source} (we may open /dev/tap{index} or, \
         where that is not this macvtap, need CAP_SYS_ADMIN to look for its number and CAP_MKNOD to make \
         the node; under a service manager, `DeviceAllow=char-macvtap rwm`)"
    )]
    NoNode {
        /// The macvtap.
        name: IfName,
        /// Its interface index.
        index: u32,
        /// What the kernel said.
        source: io::Error,
    },
    /// What was opened as the macvtap's character device belongs to another one.
    #[error("the character device opened for {0} is another macvtap's: start again")]
    WrongNode(IfName),
    /// The interface is the host's own and carries less than was asked.
    #[error("{name} has an MTU of {most} and {asked} was asked: `ip link set {name} mtu {asked}`")]
    MtuTooLarge {
        /// The interface.
        name: IfName,
        /// Bytes asked for.
        asked: u16,
        /// Bytes the interface takes.
        most: u16,
    },
    /// A setting failed on an uplink that we hold.
    #[error("cannot {what} of {name}: {source}")]
    Setting {
        /// What was being done, as in "set the MTU 9000".
        what: String,
        /// The interface.
        name: IfName,
        /// What the kernel said.
        source: io::Error,
    },
    /// There is no such queue, or an uplink's only one should be taken out.
    #[error("{name} has no queue {queue} that can be switched")]
    NoSuchQueue {
        /// The uplink.
        name: String,
        /// The queue pair asked for.
        queue: usize,
    },
    /// The descriptors handed over do not belong to what is told of them.
    #[error("{name} has {expected} queues and came with {got} descriptors")]
    Parts {
        /// The uplink.
        name: String,
        /// Queues it has.
        expected: usize,
        /// Descriptors that came.
        got: usize,
    },
}

impl UplinkError {
    pub(super) fn netlink(what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let what = what.into();
        |source| Self::Netlink { what, source }
    }

    pub(super) fn setting(
        what: impl Into<String>,
        name: &IfName,
    ) -> impl FnOnce(io::Error) -> Self {
        let (what, name) = (what.into(), name.clone());
        |source| Self::Setting { what, name, source }
    }
}
