//! A daemon with one port in a namespace of its own, and both its ends within reach.

use std::ffi::OsString;

use super::builder::FrontEnd;
use super::meter::Meter;
use super::wire::Wire;
use crate::daemon::Daemon;
use crate::error::Result;
use crate::netns::Namespace;

const PORT: &str = "vm1";
const TAP: &str = "tap1";

/// What most tests of one port need.
#[derive(Debug)]
pub struct Lab {
    /// The host's end, at the daemon's tap.
    pub wire: Wire,
    /// The daemon.
    pub daemon: Daemon,
    /// Where it runs; nothing else sends there.
    pub namespace: Namespace,
}

impl Lab {
    /// Starts a daemon with these arguments beside its socket and tap. The tap takes frames of up to
    /// 65,535 bytes.
    ///
    /// # Errors
    /// As [`Namespace::new`], [`crate::DaemonBuilder::start`] and [`Wire::open`].
    pub fn new<A: Into<OsString>>(args: impl IntoIterator<Item = A>) -> Result<Self> {
        let namespace = Namespace::new()?;
        Wire::quiet(&namespace)?;
        let daemon = Daemon::new(&namespace)
            .port(PORT, TAP)
            .args(["--mtu", "65521"])
            .args(args)
            .start()?;
        let wire = Wire::open(&namespace, TAP)?;
        Ok(Self {
            wire,
            daemon,
            namespace,
        })
    }

    /// A front-end for the port.
    #[must_use]
    pub fn front_end(&self) -> FrontEnd {
        FrontEnd::connect(&self.daemon.socket(PORT))
    }

    /// Path of the port's socket.
    #[must_use]
    pub fn socket(&self) -> std::path::PathBuf {
        self.daemon.socket(PORT)
    }

    /// A meter of what the guest sends.
    ///
    /// # Errors
    /// As [`Meter::new`].
    pub fn meter(&self) -> Result<Meter> {
        Meter::new(&self.namespace, TAP)
    }
}
