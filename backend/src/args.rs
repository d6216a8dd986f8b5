//! The command line of `netqos-vhost`: one guest NIC, one socket, one tap; or a file.
//!
//! clap takes the words apart ([`Args`]); [`Args::config`] then parses their meaning into a [`Config`],
//! so nothing further down sees an unchecked value.

mod error;
mod mac;
mod one_guest;
#[cfg(test)]
mod tests;

use std::os::fd::RawFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{ArgGroup, Parser};
use qos::{Burst, PacketRate, Rate, RateSpec};

pub use self::error::ArgsError;
pub use self::mac::{MacAddr, MacError};
use crate::config::{self, Config, ConfigError, MAX_SHARDS, SandboxSettings};
use crate::daemon::Privileges;
use crate::logging;
use crate::opener::{self, Policy};
use crate::sandbox::Seccomp;
use crate::uplink::{IfName, TapConfig};
use crate::web;

/// What `--print-capabilities` prints (QEMU's `docs/interop/vhost-user.json`,
/// `VHostUserBackendCapabilities`; a net back-end has no optional features there).
pub const CAPABILITIES: &str = r#"{"type": "net"}"#;

/// Most queue pairs one port may have.
pub const MAX_QUEUE_PAIRS: u16 = 16;

/// Permission bits of the socket unless `--socket-mode` says otherwise.
pub const DEFAULT_SOCKET_MODE: u32 = 0o660;

const ABOUT: &str = "Serves guests' NICs over vhost-user sockets, limits their rates and forwards \
                     to host taps and interfaces. One guest is told on the command line, several in \
                     a file.";

const EXAMPLES: &str = "\
Examples:
  netqos-vhost --socket /run/vm1.sock --tap vm1 --rate 1gbit
  netqos-vhost --socket /run/vm1.sock --tap vm1 --bridge br0 \\
               --rate-from-guest 100mbit --rate-to-guest 500mbit --pps 50000
  netqos-vhost --config /etc/netqos.toml --check
  qemu-system-x86_64 -machine q35,memory-backend=mem \\
      -object memory-backend-memfd,id=mem,size=512M,share=on \\
      -chardev socket,id=c0,path=/run/vm1.sock,reconnect=1 \\
      -netdev vhost-user,id=n0,chardev=c0 -device virtio-net-pci,netdev=n0 ...

Rates:
  10mbit, 1gbit, 2.5gbit     bits per second, thousands (10^3, 10^6, 10^9)
  10mibit, 1gibit            bits per second, by 1024
  5mbps, 5MB/s               BYTES per second, as tc and xl read them
  10Mb/s@20ms                as in an xl `vif` line: rate and refill interval
  '10mbit burst 32k'         with its own burst (or give --burst, which wins)
  Leave the option out for no limit; zero is an error. What is limited is what the wire would
  carry: preamble, gap, checksum and every segment's headers count.
  A guest over its limit waits in its own queue: nothing of it is dropped.

The tap:
  One that does not exist is made, brought up and kept over a crash, and removed when
  netqos-vhost ends on SIGTERM or SIGINT. One that exists is used as it is and stays. Its carrier
  is off while no guest is attached. Making one needs CAP_NET_ADMIN; to run without, make it before:
    ip tuntap add dev vm1 mode tap user UID [multi_queue]

Exit code: 0 after SIGTERM or SIGINT, 2 for a wrong command line, 1 for anything else.";

/// The command line as clap reads it; [`Args::port`] gives its meaning.
#[derive(Clone, Debug, Parser)]
#[command(name = "netqos-vhost", version, about = ABOUT, after_help = EXAMPLES)]
#[command(
    override_usage = "netqos-vhost <--socket PATH|--connect PATH|--fd N> --tap NAME [OPTIONS]\n       \
                      netqos-vhost --config FILE [--check]"
)]
#[command(group = ArgGroup::new("front_end").args(["socket", "connect", "fd"]))]
pub struct Args {
    /// Serve the uplinks and guests of this file (see --help-config)
    #[arg(long, value_name = "FILE", conflicts_with_all = [
        "socket", "connect", "fd", "socket_mode", "socket_group", "tap", "bridge", "rate",
        "rate_from_guest", "rate_to_guest", "burst", "pps", "queues", "mtu", "mac", "poll_us", "control",
    ])]
    config: Option<PathBuf>,

    /// Print what would be served, as class trees, and exit: 2 if something is wrong
    #[arg(long)]
    check: bool,

    /// Print every key of the file with its meaning, and exit
    #[arg(long)]
    help_config: bool,

    /// Print the JSON schema of the file, and exit
    #[arg(long)]
    print_config_schema: bool,

    /// Listen for the front-end on this unix socket; a stale one is replaced
    #[arg(long, alias = "socket-path", value_name = "PATH",
          required_unless_present_any = ["connect", "fd", "config", "help_config",
                                         "print_config_schema", "print_capabilities"])]
    socket: Option<PathBuf>,

    /// Connect to the front-end, which listens on this unix socket, and try again until it does
    #[arg(long, value_name = "PATH")]
    connect: Option<PathBuf>,

    /// Use this inherited file descriptor: a unix stream socket, listening or connected
    #[arg(long, value_name = "N")]
    fd: Option<RawFd>,

    /// Permission bits of the socket, octal [default: 0660]
    #[arg(long, value_name = "OCTAL", conflicts_with_all = ["connect", "fd"])]
    socket_mode: Option<String>,

    /// Group of the socket, so that QEMU run by another user may connect
    #[arg(long, value_name = "NAME|GID", conflicts_with_all = ["connect", "fd"])]
    socket_group: Option<String>,

    /// The host tap to forward to; made if it does not exist
    #[arg(
        long,
        value_name = "NAME",
        required_unless_present_any = ["config", "help_config", "print_config_schema",
                                       "print_capabilities"]
    )]
    tap: Option<String>,

    /// Make the tap a port of this bridge
    #[arg(long, value_name = "BRIDGE")]
    bridge: Option<String>,

    /// Limit each direction to this rate
    #[arg(long, value_name = "RATE", allow_hyphen_values = true)]
    rate: Option<String>,

    /// Limit what the guest sends
    #[arg(
        long,
        value_name = "RATE",
        conflicts_with = "rate",
        allow_hyphen_values = true
    )]
    rate_from_guest: Option<String>,

    /// Limit what the guest receives
    #[arg(
        long,
        value_name = "RATE",
        conflicts_with = "rate",
        allow_hyphen_values = true
    )]
    rate_to_guest: Option<String>,

    /// How much a rested guest may send at once, as a size (64k) or as time at its rate (10ms)
    #[arg(long, value_name = "SIZE|DURATION")]
    burst: Option<String>,

    /// Limit each direction to this many packets per second; a segment counts as a packet
    #[arg(long, value_name = "N")]
    pps: Option<String>,

    /// Queue pairs of the NIC
    #[arg(long, value_name = "PAIRS", default_value_t = 1,
          value_parser = clap::value_parser!(u16).range(1..=i64::from(MAX_QUEUE_PAIRS)))]
    queues: u16,

    /// MTU of the tap, and the largest the guest may set [default: as the tap has it]
    #[arg(long, value_name = "BYTES", value_parser = clap::value_parser!(u16).range(68..))]
    mtu: Option<u16>,

    /// The guest's MAC address: frames it sends from any other are dropped
    #[arg(long, value_name = "MAC")]
    mac: Option<String>,

    /// Poll this long before sleeping, in microseconds: less delay for more processor time
    #[arg(long, value_name = "MICROSECONDS", default_value_t = 0,
          value_parser = clap::value_parser!(u32).range(0..=1_000_000))]
    poll_us: u32,

    /// Where netqosctl finds the daemon, a unix socket [default: none]
    #[arg(long, value_name = "PATH")]
    control: Option<PathBuf>,

    /// Tell metrics, and show them on a page, over HTTP at this address; a port alone is for this machine
    /// only. There is no password
    #[arg(long, value_name = "ADDR:PORT")]
    metrics: Option<web::Address>,

    /// Serve the uplinks of the file by this many packet threads, 1 to 64, whatever it says itself
    #[arg(long, value_name = "N", requires = "config", conflicts_with_all = ["socket", "connect", "fd"],
          value_parser = clap::value_parser!(u16).range(1..=i64::from(MAX_SHARDS)))]
    shards: Option<u16>,

    /// Open everything in this process, which then keeps its privileges; of the sandbox it has only
    /// the filters of system calls
    #[arg(long)]
    no_opener: bool,

    /// What happens when a thread makes a system call it has no business with, whatever the file says [default: kill]
    #[arg(long, value_enum, value_name = "MODE")]
    seccomp: Option<Seccomp>,

    /// Let a reload add sockets in this directory, whatever the file named at the start; may be repeated
    #[arg(long, value_name = "DIR")]
    socket_dir: Vec<PathBuf>,

    /// How to write the log, to standard error: key=value pairs and words, or a JSON object a line
    #[arg(long, value_enum, value_name = "FORMAT", default_value_t)]
    log_format: logging::Format,

    /// Be the process that keeps the privileges ([`crate::opener::FLAG`])
    #[arg(long, hide = true)]
    opener: bool,

    /// Print what this back-end can do as JSON, and exit
    #[arg(long)]
    print_capabilities: bool,
}

/// How the front-end is met.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FrontEnd {
    /// We listen and it connects.
    Listen {
        /// Where.
        path: PathBuf,
        /// Permission bits of the socket.
        mode: u32,
        /// Group id of the socket; ours if unset.
        group: Option<u32>,
    },
    /// It listens and we connect, again and again.
    Connect {
        /// Where.
        path: PathBuf,
    },
    /// A socket that whoever started us left open at this number.
    Fd(RawFd),
}

/// The limits of one direction; absent means unlimited.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LimitConfig {
    /// Wire bits over time.
    pub rate: Option<Rate>,
    /// How far `rate` may be run ahead of: `--burst`, else what the rate's own spelling says.
    pub burst: Burst,
    /// Packets per second, a segment counted as one.
    pub pps: Option<PacketRate>,
}

/// One guest NIC, fully parsed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortConfig {
    /// How the front-end is met.
    pub front_end: FrontEnd,
    /// The tap to forward to.
    pub tap: TapConfig,
    /// Limits of what the guest sends.
    pub from_guest: LimitConfig,
    /// Limits of what the guest receives.
    pub to_guest: LimitConfig,
    /// Queue pairs, 1 to [`MAX_QUEUE_PAIRS`].
    pub queues: u16,
    /// Bound of NET_SET_MTU in bytes; unset means the tap's.
    pub mtu: Option<u16>,
    /// The only address the guest may send from.
    pub mac: Option<MacAddr>,
    /// How long the shard polls before it sleeps.
    pub poll: Duration,
}

impl Args {
    /// Whether to print [`CAPABILITIES`] and end, whatever else was given.
    pub fn print_capabilities(&self) -> bool {
        self.print_capabilities
    }

    /// The file to serve; none where flags say what.
    #[must_use]
    pub fn config_file(&self) -> Option<&Path> {
        self.config.as_deref()
    }

    /// Whether to print what would be served and end.
    #[must_use]
    pub fn check(&self) -> bool {
        self.check
    }

    /// Whether to print the keys of the file and end, whatever else was given.
    #[must_use]
    pub fn help_config(&self) -> bool {
        self.help_config
    }

    /// Whether to print the schema of the file and end, whatever else was given.
    #[must_use]
    pub fn print_config_schema(&self) -> bool {
        self.print_config_schema
    }

    /// Whether to be the process that keeps the privileges, and nothing else.
    #[must_use]
    pub fn opener(&self) -> bool {
        self.opener
    }

    /// How to write the log.
    #[must_use]
    pub fn log_format(&self) -> logging::Format {
        self.log_format
    }

    /// What becomes of the privileges. The daemon keeps its own when told to, and when it has none that
    /// another process could be of use with.
    ///
    /// # Errors
    /// The file cannot be read, or names what cannot be.
    pub fn privileges(&self) -> Result<Privileges, ConfigError> {
        if self.no_opener {
            return Ok(Privileges::Kept("--no-opener says so"));
        }
        if !opener::is_privileged() {
            return Ok(Privileges::Kept("there are no privileges to give up"));
        }
        let readable = match self.config_file() {
            Some(path) => config::directories(path)?,
            None => Vec::new(),
        };
        Ok(Privileges::GivenUp { readable })
    }

    /// What the command line and its file, read now, allow to be opened.
    ///
    /// # Errors
    /// A flag is wrong, or the file is.
    pub fn policy(&self) -> Result<Policy, ConfigError> {
        let policy = Policy::from(&self.config()?);
        let directories = self.socket_dir.iter();
        Ok(directories.fold(policy, |policy, path| policy.with_socket_directory(path)))
    }

    /// What the command line means: what its file says, or one guest behind one tap.
    ///
    /// # Errors
    /// A flag is wrong, or the file is.
    pub fn config(&self) -> Result<Config, ConfigError> {
        self.config_with(None)
    }

    /// What is to be served, and what more is said in the text of another file, if that is given.
    ///
    /// # Errors
    /// A flag's value or the file is wrong, or there is no file to which more could be added.
    pub fn config_with(&self, more: Option<&str>) -> Result<Config, ConfigError> {
        let config = match self.config_file() {
            Some(path) => Config::load_with(path, more)?,
            None => one_guest::config(self.port()?, self.control.clone())?,
        };
        Ok(Config {
            metrics: self.metrics.or(config.metrics),
            shards: self.shards.unwrap_or(config.shards),
            sandbox: SandboxSettings {
                seccomp: self.seccomp.unwrap_or(config.sandbox.seccomp),
                ..config.sandbox
            },
            ..config
        })
    }

    /// What the flags for one guest mean.
    pub fn port(&self) -> Result<PortConfig, ArgsError> {
        let front_end = self.front_end()?;
        let tap = self.tap()?;
        let burst = quantity::<Burst>("--burst", self.burst.as_deref())?;
        let pps = quantity::<PacketRate>("--pps", self.pps.as_deref())?;
        let both = quantity::<RateSpec>("--rate", self.rate.as_deref())?;
        let from_guest = quantity("--rate-from-guest", self.rate_from_guest.as_deref())?;
        let to_guest = quantity("--rate-to-guest", self.rate_to_guest.as_deref())?;
        if burst.is_some() && both.is_none() && from_guest.is_none() && to_guest.is_none() {
            return Err(ArgsError::BurstWithoutRate);
        }
        let limit = |own: Option<RateSpec>| {
            let spec = own.or(both);
            LimitConfig {
                rate: spec.map(|spec| spec.rate),
                burst: burst.or_else(|| spec?.burst).unwrap_or_default(),
                pps,
            }
        };
        Ok(PortConfig {
            front_end,
            tap,
            from_guest: limit(from_guest),
            to_guest: limit(to_guest),
            queues: self.queues,
            mtu: self.mtu,
            mac: self.mac.as_deref().map(mac).transpose()?,
            poll: Duration::from_micros(self.poll_us.into()),
        })
    }

    fn front_end(&self) -> Result<FrontEnd, ArgsError> {
        match (&self.socket, &self.connect, self.fd) {
            (Some(path), _, _) => Ok(FrontEnd::Listen {
                path: path.clone(),
                mode: self.mode()?,
                group: self.group()?,
            }),
            (_, Some(path), _) => Ok(FrontEnd::Connect { path: path.clone() }),
            (_, _, Some(fd)) if fd >= 3 => Ok(FrontEnd::Fd(fd)),
            (_, _, Some(fd)) => Err(ArgsError::Fd(fd)),
            _ => Err(ArgsError::Missing("--socket, --connect or --fd")),
        }
    }

    fn mode(&self) -> Result<u32, ArgsError> {
        let Some(text) = self.socket_mode.as_deref() else {
            return Ok(DEFAULT_SOCKET_MODE);
        };
        mode(text).ok_or_else(|| ArgsError::Mode(text.to_owned()))
    }

    fn group(&self) -> Result<Option<u32>, ArgsError> {
        let Some(text) = self.socket_group.as_deref() else {
            return Ok(None);
        };
        let group = group(text).ok_or_else(|| ArgsError::Group(text.to_owned()));
        group.map(Some)
    }

    fn tap(&self) -> Result<TapConfig, ArgsError> {
        let tap = self.tap.as_deref().ok_or(ArgsError::Missing("--tap"))?;
        let name = if_name("--tap", tap)?;
        let bridge = self
            .bridge
            .as_deref()
            .map(|bridge| if_name("--bridge", bridge))
            .transpose()?;
        if bridge.as_ref() == Some(&name) {
            return Err(ArgsError::TapIsBridge(name));
        }
        Ok(TapConfig {
            name,
            queues: self.queues,
            mtu: self.mtu,
            bridge,
        })
    }
}

/// A rate, burst or packet rate, if one was given.
fn quantity<T>(option: &'static str, value: Option<&str>) -> Result<Option<T>, ArgsError>
where
    T: std::str::FromStr<Err: std::fmt::Display>,
{
    let Some(value) = value else {
        return Ok(None);
    };
    value
        .parse()
        .map(Some)
        .map_err(|reason: T::Err| ArgsError::Quantity {
            option,
            value: value.to_owned(),
            reason: reason.to_string(),
        })
}

fn if_name(option: &'static str, value: &str) -> Result<IfName, ArgsError> {
    value.parse().map_err(|source| ArgsError::Name {
        option,
        value: value.to_owned(),
        source,
    })
}

fn mac(value: &str) -> Result<MacAddr, ArgsError> {
    value.parse().map_err(|source| ArgsError::Mac {
        value: value.to_owned(),
        source,
    })
}

/// Permission bits in octal.
pub(crate) fn mode(value: &str) -> Option<u32> {
    let digits = !value.is_empty() && value.bytes().all(|b| b.is_ascii_digit());
    let mode = u32::from_str_radix(value, 8).ok()?;
    (digits && mode <= 0o777).then_some(mode)
}

/// A group by its number or, failing that, by its name; none if this host has none such.
pub(crate) fn group(value: &str) -> Option<u32> {
    if let Ok(gid) = value.parse::<u32>()
        && gid != u32::MAX
    {
        return Some(gid);
    }
    let group = nix::unistd::Group::from_name(value).ok()??;
    Some(group.gid.as_raw())
}
