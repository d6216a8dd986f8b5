//! What the daemon is to do, fully parsed: uplinks, the guests behind them, and the class tree each
//! guest has in each direction. The command line and the configuration file both end here.
//!
//! ```toml
//! [uplink.wan]
//! kind = "packet:eth1"
//! from_guest = { ceil = "300mbit" }
//!
//! [defaults]
//! socket = "/run/netqos/{name}.sock"
//! limit = "100mbit"
//!
//! [guest.web]
//! mac = "52:54:00:00:00:01"
//! from_guest = { rate = "50mbit" }
//!
//! [guest."vm{n}"]              # a thousand more
//! count = 1000
//! mac = "52:54:00:00:01:00"
//! ```
//!
//! `keys` is what the file may say, and its descriptions are the help and the JSON schema; `load` reads
//! the files, `guest`, `branch` and `rules` make guests of them, `admit` puts whole trees together, and
//! `show` prints these.

mod admit;
mod branch;
mod edit;
mod fault;
mod guest;
mod help;
mod keys;
mod layer;
mod load;
mod named;
mod numbers;
mod rules;
mod schema;
mod show;
#[cfg(test)]
mod tests;
mod uplinks;
mod words;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ipnet::IpNet;
use qos::{Burst, ClassConfig, ClassId, ClassifierConfig, Overcommit, PacketRate, Rate};
use serde::{Deserialize, Serialize};
use thiserror::Error;

pub use self::admit::{Member, Refusal};
pub use self::edit::{EditError, guest_file};
pub use self::fault::{ConfigFault, Known};
pub use self::help::help;
pub use self::schema::{schema, schema_of};
use crate::args::{ArgsError, FrontEnd, MacAddr};
use crate::file::FileError;
use crate::file::text::Text;
use crate::sandbox::Seccomp;
use crate::uplink::IfName;
use crate::web;

/// Bytes of frames that the shards may hold in memory, unless the configuration says.
pub const DEFAULT_POOL_BYTES: u64 = 64 << 20;

/// Packet threads that one daemon may have.
pub const MAX_SHARDS: u16 = 64;

/// The id of a guest's own class in its [`GuestTree`]s.
pub const GUEST: ClassId = ClassId::new(0, 0);

/// Everything one daemon serves.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// How long the shard polls before it sleeps.
    pub poll: Duration,
    /// Packet threads.
    pub shards: u16,
    /// Bytes of frames that the shards may hold in memory, all guests together.
    pub pool_bytes: u64,
    /// The control socket; none if unset.
    pub control: Option<ControlConfig>,
    /// Where metrics are told over HTTP; nowhere if unset.
    pub metrics: Option<web::Address>,
    /// How the daemon shuts itself off from the host.
    pub sandbox: SandboxSettings,
    /// Where frames leave, by name; no name twice.
    pub uplinks: Vec<UplinkConfig>,
    /// The guests; no name, socket or address twice.
    pub guests: Vec<GuestConfig>,
}

/// What the operator says about the sandbox; it holds from the start of the daemon to its end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SandboxSettings {
    /// What becomes of a thread that makes a system call it has no business with.
    pub seccomp: Seccomp,
    /// Whether a kernel that cannot hold all of the sandbox is an error.
    pub require: bool,
}

/// Where `netqosctl` finds the daemon.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ControlConfig {
    /// The socket.
    pub path: PathBuf,
    /// Id of the group whose members may use it, besides root and the daemon's own user.
    pub group: Option<u32>,
}

/// Why there is no configuration. The operator is at fault; the program prints this and ends with exit
/// code 2.
#[derive(Debug, Error)]
pub enum ConfigError {
    /// The command line is wrong.
    #[error(transparent)]
    Args(#[from] ArgsError),
    /// The file is.
    #[error(transparent)]
    File(#[from] FileError),
}

impl Config {
    /// The guests behind the uplink at this position of [`Config::uplinks`], in their order.
    pub fn guests_of(&self, uplink: usize) -> impl Iterator<Item = &GuestConfig> {
        let behind = move |guest: &&GuestConfig| guest.uplink == uplink;
        self.guests.iter().filter(behind)
    }

    /// Reads a file, and those it includes.
    ///
    /// # Errors
    /// One cannot be read, or what they say cannot be, with file, line and key.
    pub fn load(path: &Path) -> Result<Self, FileError> {
        Self::load_with(path, None)
    }

    /// Reads a file, those it includes, and after them the text of one more.
    ///
    /// # Errors
    /// As [`Self::load`].
    pub fn load_with(path: &Path, more: Option<&str>) -> Result<Self, FileError> {
        let more = more.map(|more| Text::new(Path::new("(request)"), more.to_owned()));
        load::load(Text::read(path)?, more)
    }

    /// Reads the text of a file; the path is for messages and for what it includes.
    ///
    /// # Errors
    /// What it says cannot be, with file, line and key.
    pub fn parse(path: &Path, text: &str) -> Result<Self, FileError> {
        load::load(Text::new(path, text.to_owned()), None)
    }
}

/// The directories of a file and of those it includes or may include later, as far as they exist.
///
/// # Errors
/// The file cannot be read, or what it says cannot be, with line and key.
pub fn directories(path: &Path) -> Result<Vec<PathBuf>, FileError> {
    load::directories(Text::read(path)?)
}

/// Which way frames go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Direction {
    /// What guests send: virtio transmit rings, towards the uplink.
    FromGuest,
    /// What guests receive: virtio receive rings.
    ToGuest,
}

impl Direction {
    /// Both.
    pub const BOTH: [Self; 2] = [Self::FromGuest, Self::ToGuest];

    /// What the file calls it.
    #[must_use]
    pub const fn key(self) -> &'static str {
        match self {
            Self::FromGuest => "from_guest",
            Self::ToGuest => "to_guest",
        }
    }
}

/// Where frames leave the daemon, and what all guests behind it share.
#[derive(Clone, Debug, PartialEq)]
pub struct UplinkConfig {
    /// What guests call it.
    pub name: String,
    /// What it is.
    pub kind: UplinkKind,
    /// Queue pairs of a tap; other kinds have one.
    pub queues: u16,
    /// MTU in bytes, set on a tap we make; unset leaves it as it is.
    pub mtu: Option<u16>,
    /// The root of the tree towards the uplink.
    pub from_guest: RootConfig,
    /// The root of the tree from the uplink.
    pub to_guest: RootConfig,
    /// Limit of the copies that broadcast, multicast and unknown destinations cause.
    pub flood: FloodConfig,
}

impl UplinkConfig {
    /// The root of one direction's tree.
    #[must_use]
    pub const fn root(&self, direction: Direction) -> &RootConfig {
        match direction {
            Direction::FromGuest => &self.from_guest,
            Direction::ToGuest => &self.to_guest,
        }
    }
}

/// The kinds of uplink.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub enum UplinkKind {
    /// A host tap, made when absent.
    Tap {
        /// Its name.
        name: IfName,
        /// The bridge it is to be a port of.
        bridge: Option<IfName>,
    },
    /// A packet socket on an interface: a NIC or a veth, without a bridge.
    Packet(IfName),
    /// A macvtap made on this interface, through its character device.
    Macvtap(IfName),
    /// Guests talk only to each other.
    None,
}

/// The root of one direction's tree.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RootConfig {
    /// What the link carries, and what guarantees must fit in; unset: unlimited.
    pub ceil: Option<Rate>,
    /// How far `ceil` may be run ahead of.
    pub cburst: Burst,
    /// What happens when guarantees do not fit.
    pub overcommit: Overcommit,
}

/// The limit of replicated frames.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FloodConfig {
    /// Wire bits over time, counted once for each frame, before it is replicated; unset: unlimited.
    pub ceil: Option<Rate>,
    /// Frames per second; unset: unlimited.
    pub pps: Option<PacketRate>,
}

/// One guest NIC.
#[derive(Clone, Debug, PartialEq)]
pub struct GuestConfig {
    /// What logs and trees call it.
    pub name: String,
    /// How its front-end is met.
    pub front_end: FrontEnd,
    /// Position in [`Config::uplinks`].
    pub uplink: usize,
    /// Queue pairs.
    pub queues: u16,
    /// Bound of the MTU that the guest may set, in bytes; unset means the uplink's.
    pub mtu: Option<u16>,
    /// The address it owns: it sends from no other, and nobody else does.
    pub mac: Option<MacAddr>,
    /// IP addresses and prefixes it may send from; empty: any.
    pub addresses: Vec<IpNet>,
    /// Which VLANs it is in.
    pub vlan: VlanConfig,
    /// Guests with the same group here never reach each other directly; unset: it reaches all.
    pub isolation: Option<String>,
    /// Whether neighbouring frames of one flow become one super-frame where the far side takes those.
    pub coalesce: bool,
    /// What it may do that only servers and routers do.
    pub trust: Trust,
    /// The tree of what it sends.
    pub from_guest: GuestTree,
    /// The tree of what it receives.
    pub to_guest: GuestTree,
}

impl GuestConfig {
    /// Its tree of one direction.
    #[must_use]
    pub const fn tree(&self, direction: Direction) -> &GuestTree {
        match direction {
            Direction::FromGuest => &self.from_guest,
            Direction::ToGuest => &self.to_guest,
        }
    }
}

/// Which VLANs (IEEE 802.1Q) a port is in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum VlanConfig {
    /// Tags are nobody's business: frames pass as they are, and are switched by address alone.
    #[default]
    Transparent,
    /// Frames of this VLAN pass, untagged on the guest's side and tagged on the uplink's.
    Access(u16),
    /// Tagged frames of these VLANs pass as they are; untagged ones are in the native one, if any.
    Trunk {
        /// The VLANs, 1 to 4094, sorted, none twice.
        vlans: Vec<u16>,
        /// The VLAN of untagged frames.
        native: Option<u16>,
    },
}

/// What a guest may send that others would believe.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Trust {
    /// Answers of a DHCP or DHCPv6 server.
    pub dhcp_server: bool,
    /// Router advertisements and redirects.
    pub router: bool,
}

/// What one guest has of a tree: its own class, and those below it. The ids are the guest's own; where
/// the whole tree is put together each gets one that is unique there.
#[derive(Clone, Debug, PartialEq)]
pub struct GuestTree {
    /// The guest's class comes first and has no parent here; the others are below it.
    pub classes: Vec<ClassConfig>,
    /// What the classes are called, the guest's own excepted.
    pub names: BTreeMap<ClassId, String>,
    /// The rules that lead frames from the guest's class to its leaves; none if that is a leaf.
    pub rules: ClassifierConfig,
}

impl GuestTree {
    /// What one of its classes is called; nothing for the guest's own.
    #[must_use]
    pub fn name(&self, class: ClassId) -> Option<&str> {
        self.names.get(&class).map(String::as_str)
    }
}
