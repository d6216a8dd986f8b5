//! What can go wrong with a tap, each with what to do about it.

use std::io;

use thiserror::Error;

use crate::uplink::IfName;

/// Why a tap cannot be opened, set or removed. The operator or the host is at fault, never a guest; on
/// [`Tap::open`](super::Tap::open) the daemon refuses to start, later it logs and carries on.
#[derive(Debug, Error)]
pub enum TapError {
    /// The kernel has no tun driver loaded.
    #[error(
        "/dev/net/tun does not exist: load the driver (`modprobe tun`) or give the container the device"
    )]
    NoDriver,
    /// `/dev/net/tun` may not be opened.
    #[error(
        "/dev/net/tun cannot be opened ({0}): check its mode and, under a service manager, \
         `DeviceAllow=/dev/net/tun rw`"
    )]
    Device(#[source] io::Error),
    /// The route netlink socket failed.
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
    /// There is a device of this name, of another kind.
    #[error("{name} exists and is a {kind} device, not a tap: choose another name")]
    NotATap {
        /// The device.
        name: IfName,
        /// What it is.
        kind: String,
    },
    /// There is a tun device of this name, which carries packets without an Ethernet header.
    #[error(
        "{name} is a layer 3 tun device, not a tap: choose another name or make it with `mode tap`"
    )]
    Layer3 {
        /// The device.
        name: IfName,
    },
    /// More than one queue pair is asked of a tap made for one.
    #[error(
        "{name} was made for one queue and {queues} were asked: use `--queues 1`, or make it anew \
         with `ip tuntap add dev {name} mode tap multi_queue`"
    )]
    SingleQueue {
        /// The tap.
        name: IfName,
        /// Queue pairs asked for.
        queues: u16,
    },
    /// Another process holds the tap, and still did after a second of trying.
    #[error(
        "{name} is taken: another process has the tap open, so end that process or choose another name"
    )]
    Busy {
        /// The tap.
        name: IfName,
    },
    /// The tap does not exist and we may not make it.
    #[error(
        "{name} does not exist and making it needs CAP_NET_ADMIN: make it beforehand with \
         `ip tuntap add dev {name} mode tap user {uid}`"
    )]
    MayNotMake {
        /// The tap.
        name: IfName,
        /// Our effective user.
        uid: u32,
    },
    /// The tap belongs to somebody else.
    #[error(
        "{name} may not be opened: its owner is user {}, we are user {uid}, and others need CAP_NET_ADMIN",
        .owner.map_or_else(|| "anybody of its group".to_owned(), |owner| owner.to_string())
    )]
    NotOwner {
        /// The tap.
        name: IfName,
        /// The user it belongs to, if to one.
        owner: Option<u32>,
        /// Our effective user.
        uid: u32,
    },
    /// The bridge to join does not exist.
    #[error("the bridge {0} does not exist: make it with `ip link add {0} type bridge`")]
    NoBridge(IfName),
    /// What we should join is no bridge.
    #[error("{name} is a {kind} device, not a bridge")]
    NotABridge {
        /// The device.
        name: IfName,
        /// What it is.
        kind: String,
    },
    /// A setting failed on a tap that we hold.
    #[error("cannot {what} of {name}: {source}")]
    Setting {
        /// What was being done, as in "set the MTU 9000".
        what: String,
        /// The tap.
        name: IfName,
        /// What the kernel said.
        source: io::Error,
    },
    /// There is no such queue, or a single-queue tap's only one should be taken out.
    #[error("{name} has no queue {index} that can be switched")]
    NoSuchQueue {
        /// The tap.
        name: IfName,
        /// The queue pair asked for.
        index: usize,
    },
}
