//! The keys of the file. Their descriptions here are those of `--help-config` and of the schema.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;
use std::str::FromStr;

use ipnet::IpNet;
use qos::classify::{Range, SpellingError};
use qos::{Burst, PacketRate, RateSpec};
use schemars::JsonSchema;
use serde::Deserialize;

use super::named::Named;
use super::rules::RuleKeys;
use crate::args::MacAddr;
use crate::file::settings::{FlowsKeys, Limit, QueueKey, Spelt, class_keys};
use crate::file::text::At;
use crate::file::tree::OvercommitKey;
use crate::file::value::{OneOrMore, OrNone, Spelled, Written};
use crate::sandbox::Seccomp;
use crate::web;

/// What netqos-vhost serves: uplinks, and the guests behind them.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "netqos-vhost configuration")]
pub(crate) struct FileKeys {
    /// More files with uplinks, templates and guests, which are read in the order of their names:
    /// a name or shell pattern, relative to this file's directory, or a list of them.
    pub(crate) include: Option<At<OneOrMore<String>>>,
    /// How many microseconds to poll before sleeping: less delay for more processor time.
    /// Default: 0.
    #[schemars(range(max = 1_000_000))]
    pub(crate) poll_us: Option<At<u32>>,
    /// Packet threads, 1 to 64. Each uplink is served by one of them with all its guests, a new one by
    /// that with the fewest guests. Default: 1.
    #[schemars(range(min = 1, max = 64))]
    pub(crate) shards: Option<At<u16>>,
    /// Bytes of frames held in memory at most, all guests together; of several shards each has an
    /// equal part, which is 1m at least. Default: 64m.
    pub(crate) pool: Option<At<Written<Size>>>,
    /// The unix socket on which netqosctl finds the daemon. Absent: none.
    pub(crate) control: Option<At<PathBuf>>,
    /// A group, by its name or number, whose members may use netqosctl as well. Absent: only root
    /// and the daemon's own user may.
    pub(crate) control_group: Option<At<Written<String>>>,
    /// Where HTTP clients find metrics, and browsers a page that shows them: ADDR:PORT, or a port
    /// that only this machine can reach. There is no password. Absent: nowhere.
    pub(crate) metrics: Option<At<Written<web::Address>>>,
    /// How the daemon shuts itself off from the host.
    pub(crate) sandbox: Option<At<SandboxKeys>>,
    /// Where frames leave: `[uplink.NAME]`, or `[[uplink]]` with a name; in one file only one of them.
    #[serde(default)]
    pub(crate) uplink: Named<UplinkKeys>,
    /// What all guests have that neither they nor their template say.
    pub(crate) defaults: Option<At<GuestKeys>>,
    /// What guests have that name it and do not say otherwise: `[template.NAME]`.
    #[serde(default)]
    pub(crate) template: BTreeMap<String, At<GuestKeys>>,
    /// The guests' NICs: `[guest.NAME]`, or `[[guest]]` with a name; in one file only one of them.
    #[serde(default)]
    pub(crate) guest: Named<GuestKeys>,
}

/// How the daemon shuts itself off from the host.
#[derive(Clone, Copy, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SandboxKeys {
    /// What happens when a thread makes a system call that it has no business with: kill (the
    /// process ends by SIGSYS, the default), log (the kernel logs the call and does it), or off.
    pub(crate) seccomp: Option<Seccomp>,
    /// Whether the daemon ends at its start when the kernel cannot hold all of the sandbox.
    /// Default: false.
    pub(crate) require: Option<bool>,
}

/// Where frames leave the daemon.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct UplinkKeys {
    /// What guests call it; only in `[[uplink]]`.
    pub(crate) name: Option<At<String>>,
    /// What it is: tap:NAME (made when absent), packet:INTERFACE (a packet socket on a NIC or
    /// veth), macvtap:INTERFACE (made on the interface), or none (guests reach only each other).
    pub(crate) kind: At<Written<Kind>>,
    /// The bridge that a tap is to be a port of.
    pub(crate) bridge: Option<At<String>>,
    /// MTU in bytes, set on a tap or macvtap we make. Absent: as it is.
    #[schemars(range(min = 68))]
    pub(crate) mtu: Option<At<u16>>,
    /// Queue pairs of a tap, 1 to 16. Default: 1.
    #[schemars(range(min = 1, max = 16))]
    pub(crate) queues: Option<At<u16>>,
    /// What the uplink carries of what guests send.
    pub(crate) from_guest: Option<RootKeys>,
    /// What the uplink carries of what guests receive.
    pub(crate) to_guest: Option<RootKeys>,
    /// Limit of broadcasts, multicasts and frames to unknown addresses.
    pub(crate) flood: Option<FloodKeys>,
}

/// The root of one direction's tree.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RootKeys {
    /// What the link carries, and what guarantees must fit into. Absent: unlimited.
    pub(crate) ceil: Option<At<Written<RateSpec>>>,
    /// How far it may run ahead of ceil, as a size or as time at the ceil.
    pub(crate) cburst: Option<At<Written<Burst>>>,
    /// What happens when guarantees do not fit: reject (an error, the default), or scale (all
    /// shrink in proportion).
    pub(crate) overcommit: Option<OvercommitKey>,
}

/// The limit of frames that are replicated.
#[derive(Clone, Copy, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct FloodKeys {
    /// Rate of such frames, each counted once. Absent: unlimited.
    pub(crate) ceil: Option<Written<RateSpec>>,
    /// Such frames per second. Absent: unlimited.
    pub(crate) pps: Option<Written<PacketRate>>,
}

/// One NIC of a guest, or with count many of them: `[guest."vm{n}"]`.
///
/// In name, socket, connect, uplink and isolation `{n}` stands for the guest's number; in all of
/// them but the name `{name}` stands for its name.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct GuestKeys {
    /// What logs and trees call it; only in `[[guest]]`.
    pub(crate) name: Option<At<String>>,
    /// The template it follows. What both say, the guest says; a list of classes or rules is
    /// taken whole. Only of guests.
    pub(crate) template: Option<At<String>>,
    /// This many guests, numbered. Only of guests.
    #[schemars(range(min = 1, max = 65536))]
    pub(crate) count: Option<At<u32>>,
    /// The first of the numbers. Default: 1. Only with count.
    pub(crate) first: Option<At<u32>>,
    /// Listen for the front-end on this unix socket.
    pub(crate) socket: Option<At<String>>,
    /// Permission bits of the socket, octal, as text. Default: "0660".
    #[schemars(extend("examples" = ["0660"]))]
    pub(crate) socket_mode: Option<At<String>>,
    /// Group of the socket, by its name or number.
    pub(crate) socket_group: Option<At<Written<String>>>,
    /// Connect to the front-end, which listens on this unix socket, until it answers.
    pub(crate) connect: Option<At<String>>,
    /// The address it owns: it sends from no other, and nobody else does. With count, the
    /// guest's number is added. Absent: any.
    pub(crate) mac: Option<At<Written<MacAddr>>>,
    /// Addresses and prefixes it may send from; one, or a list. With count, each is moved on by
    /// the guest's number. Absent: any.
    pub(crate) addresses: Option<At<OneOrMore<Network>>>,
    /// The uplink it is behind. Absent: the only one.
    pub(crate) uplink: Option<At<String>>,
    /// Queue pairs, 1 to 16. Default: 1.
    #[schemars(range(min = 1, max = 16))]
    pub(crate) queues: Option<At<u16>>,
    /// The largest MTU the guest may set, in bytes. Absent: the uplink's.
    #[schemars(range(min = 68))]
    pub(crate) mtu: Option<At<u16>>,
    /// The VLAN it is in, 1 to 4094: untagged on its side, tagged on the uplink's. Absent, and
    /// without trunk: tags are nobody's business.
    #[schemars(range(min = 1, max = 4094))]
    pub(crate) vlan: Option<At<u16>>,
    /// The VLANs whose tagged frames pass as they are: numbers, or ranges such as "100-199".
    pub(crate) trunk: Option<At<OneOrMore<Vlans>>>,
    /// The VLAN of its untagged frames. Only with trunk.
    #[schemars(range(min = 1, max = 4094))]
    pub(crate) native: Option<At<u16>>,
    /// Guests with the same word here never reach each other directly.
    pub(crate) isolation: Option<At<String>>,
    /// Whether neighbouring frames of one flow become one super-frame where the far side takes
    /// those. Default: true.
    pub(crate) coalesce: Option<bool>,
    /// What it may do that only servers and routers do.
    pub(crate) trust: Option<TrustKeys>,
    /// The ceil of both directions, unless they have their own.
    pub(crate) limit: Option<At<Written<OrNone<RateSpec>>>>,
    /// The class of what it sends, and those below.
    pub(crate) from_guest: Option<At<DirectionKeys>>,
    /// The class of what it receives, and those below.
    pub(crate) to_guest: Option<At<DirectionKeys>>,
}

/// What a guest may send that others would believe.
#[derive(Clone, Copy, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct TrustKeys {
    /// Answers of a DHCP or DHCPv6 server.
    pub(crate) dhcp_server: Option<bool>,
    /// Router advertisements and redirects.
    pub(crate) router: Option<bool>,
}

class_keys! {
    /// The class of a guest in one direction. Without classes below it is a leaf, which holds
    /// from-guest (the guest's own ring is the queue) and queues by flow to-guest.
    DirectionKeys {
        /// The classes below it.
        #[serde(default)]
        class: Vec<At<ClassKeys>>,
        /// Which frames belong to which of them; tried in this order.
        #[serde(default)]
        rule: Vec<At<RuleKeys>>,
        /// The class of what no rule decides.
        default: Option<At<String>>,
    }
}

class_keys! {
    /// A class of a guest. Leaves queue by flow unless they say otherwise.
    ClassKeys {
        /// What rules and trees call it.
        name: At<String>,
        /// The class above it. Absent: the guest itself.
        parent: Option<At<String>>,
        /// Which of its frames belong to which class below it. Not for leaves.
        #[serde(default)]
        rule: Vec<At<RuleKeys>>,
        /// The class below it for what no rule decides.
        default: Option<At<String>>,
    }
}

/// A network, or an address alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Network(pub(crate) IpNet);

impl Spelled for web::Address {
    const EXAMPLES: &'static [&'static str] = &["127.0.0.1:9555", "9555", "[::]:9555"];
    const LEAST: Option<u64> = Some(0);
}

impl FromStr for Network {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let address = text.parse::<IpAddr>().map(IpNet::from).ok();
        let network = address.or_else(|| text.parse().ok()).ok_or_else(|| {
            format!(
                "`{text}` is neither address nor prefix: write for example `192.0.2.7` or \
                 `2001:db8::/64`"
            )
        })?;
        if network.trunc() != network {
            return Err(format!(
                "`{text}` has bits set beyond its length: write `{}` for the prefix or `{}` for \
                 the address",
                network.trunc(),
                network.addr()
            ));
        }
        Ok(Self(network))
    }
}

impl Spelled for Network {
    const EXAMPLES: &'static [&'static str] = &["192.0.2.7", "2001:db8::/64"];
    const LEAST: Option<u64> = None;
}

/// A VLAN, or all from one to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Vlans(pub(crate) Range<u16>);

impl FromStr for Vlans {
    type Err = SpellingError;

    fn from_str(text: &str) -> Result<Self, SpellingError> {
        text.parse().map(Self)
    }
}

impl Spelled for Vlans {
    const EXAMPLES: &'static [&'static str] = &["10", "100-199"];
}

/// A number of bytes as tc writes sizes, by powers of 1024: `64m`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Size(pub(crate) u64);

impl FromStr for Size {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.parse() {
            Ok(Burst::Bytes(bytes)) => Ok(Self(bytes)),
            _ => Err(format!("`{text}` is not a size: write for example `64m`")),
        }
    }
}

impl Spelled for Size {
    const EXAMPLES: &'static [&'static str] = &["64m", "1g"];
}

/// The kind of an uplink, with the interface it is on if it is on one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A tap.
    Tap(String),
    /// A packet socket.
    Packet(String),
    /// A macvtap.
    Macvtap(String),
    /// No uplink at all.
    None,
}

impl FromStr for Kind {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "none" {
            return Ok(Self::None);
        }
        match text.split_once(':') {
            Some(("tap", name)) => Ok(Self::Tap(name.to_owned())),
            Some(("packet", name)) => Ok(Self::Packet(name.to_owned())),
            Some(("macvtap", name)) => Ok(Self::Macvtap(name.to_owned())),
            _ => Err(format!(
                "`{text}` is no kind of uplink: write tap:NAME, packet:INTERFACE, \
                 macvtap:INTERFACE or none"
            )),
        }
    }
}

impl Spelled for Kind {
    const EXAMPLES: &'static [&'static str] = &["tap:NAME", "packet:eth0", "macvtap:eth0", "none"];
    const LEAST: Option<u64> = None;
}
