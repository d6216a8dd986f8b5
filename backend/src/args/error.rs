//! Why a command line is refused.

use std::os::fd::RawFd;

use thiserror::Error;

use super::MacError;
use crate::config::ConfigFault;
use crate::uplink::{IfName, IfNameError};

/// Why a command line that clap took is refused all the same. The operator is at fault; the daemon
/// prints this and ends with exit code 2.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ArgsError {
    /// A rate, burst or packet rate cannot be read, or is zero.
    #[error("{option} `{value}`: {reason}")]
    Quantity {
        /// The option.
        option: &'static str,
        /// Its value as given.
        value: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A tap or bridge name that no interface can have.
    #[error("{option} `{value}`: {source}")]
    Name {
        /// The option.
        option: &'static str,
        /// Its value as given.
        value: String,
        /// What is wrong with it.
        source: IfNameError,
    },
    /// The guest's address is none.
    #[error("--mac `{value}`: {source}")]
    Mac {
        /// The value as given.
        value: String,
        /// What is wrong with it.
        source: MacError,
    },
    /// The socket mode is not octal, or more than permission bits.
    #[error("--socket-mode `{0}`: write permission bits in octal, 0 to 0777, such as 0660")]
    Mode(String),
    /// No such group on this host.
    #[error("--socket-group `{0}`: this host has no such group")]
    Group(String),
    /// A burst that would bound nothing.
    #[error("--burst needs a rate: give --rate, --rate-from-guest or --rate-to-guest as well")]
    BurstWithoutRate,
    /// The standard streams are no front-end.
    #[error("--fd {0}: an inherited socket has number 3 or more")]
    Fd(RawFd),
    /// The limits make no tree that may run.
    #[error("--rate, --burst and --pps: {0}")]
    Tree(Box<ConfigFault>),
    /// The tap and its bridge cannot be one device.
    #[error("--tap and --bridge both name `{0}`")]
    TapIsBridge(IfName),
    /// No tap or no front-end: only with `--print-capabilities`, which needs no port.
    #[error("{0} is missing")]
    Missing(&'static str),
}
