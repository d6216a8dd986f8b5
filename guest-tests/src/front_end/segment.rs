//! A daemon with several guests from a configuration file, and all its ends within reach.

use super::builder::FrontEnd;
use super::meter::Meter;
use super::port::Port;
use super::wire::Wire;
use crate::counters::Counters;
use crate::daemon::Daemon;
use crate::error::Result;
use crate::netns::Namespace;

const FILE: &str = "netqos.toml";

/// Guests behind one daemon.
#[derive(Debug)]
pub struct Segment {
    /// The daemon.
    pub daemon: Daemon,
    /// Where it runs; nothing else sends there.
    pub namespace: Namespace,
}

impl Segment {
    /// Starts a daemon in a new namespace with this file, which describes the named guests and leaves
    /// out where their sockets are.
    ///
    /// # Errors
    /// As [`Namespace::new`] and [`Self::start`].
    pub fn new(text: &str, guests: &[&str]) -> Result<Self> {
        let namespace = Namespace::new()?;
        Wire::quiet(&namespace)?;
        Self::start(namespace, text, guests)
    }

    /// The same in a namespace that has been prepared.
    ///
    /// # Errors
    /// As [`crate::DaemonBuilder::start`].
    pub fn start(namespace: Namespace, text: &str, guests: &[&str]) -> Result<Self> {
        let text = format!("{text}\n[defaults]\nsocket = \"{{dir}}/{{name}}.sock\"\n");
        let builder = Daemon::new(&namespace)
            .file(FILE, &text)
            .args(["--config".to_owned(), format!("{{dir}}/{FILE}")]);
        let builder = guests
            .iter()
            .fold(builder, |builder, guest| builder.expect_socket(guest));
        Ok(Self {
            daemon: builder.start()?,
            namespace,
        })
    }

    /// A front-end for a guest.
    #[must_use]
    pub fn front_end(&self, guest: &str) -> FrontEnd {
        FrontEnd::connect(&self.daemon.socket(guest))
    }

    /// Running front-ends for guests, with all features.
    ///
    /// # Errors
    /// As [`FrontEnd::start`].
    pub fn ports<const N: usize>(&self, guests: [&str; N]) -> Result<[Port; N]> {
        let ports = guests
            .iter()
            .map(|guest| self.front_end(guest).start())
            .collect::<Result<Vec<_>>>()?;
        let ports = <[Port; N]>::try_from(ports);
        ports.map_err(|_| crate::error::Error::Setup("a front-end for each guest"))
    }

    /// The far end of an interface in the namespace.
    ///
    /// # Errors
    /// As [`Wire::open`].
    pub fn wire(&self, interface: &str) -> Result<Wire> {
        Wire::open(&self.namespace, interface)
    }

    /// A meter of what an interface in the namespace receives.
    ///
    /// # Errors
    /// As [`Meter::new`].
    pub fn meter(&self, interface: &str) -> Result<Meter> {
        Meter::new(&self.namespace, interface)
    }

    /// What has been counted for a guest.
    ///
    /// # Errors
    /// As [`Daemon::counters_of`].
    pub fn counters(&mut self, guest: &str) -> Result<Counters> {
        self.daemon.counters_of(guest)
    }
}
