//! Several guests behind one daemon, as a configuration file describes them.

use crate::artifacts::{Kernel, QemuVersion};
use crate::daemon::Daemon;
use crate::error::Result;
use crate::guest::{Booting, Guest};
use crate::netns::Namespace;
use crate::nic::Nic;
use crate::qemu::Qemu;
use crate::report::Report;

/// The tap that [`Several::start`] gives an address, and that a configuration calls `tap:wan`.
pub const WAN: &str = "wan";

/// One daemon, its guests, and the namespace that is their host; they end in this order, guests first.
#[derive(Debug)]
pub struct Several {
    guests: Vec<Guest>,
    /// The daemon that serves all of them.
    pub daemon: Daemon,
    /// The host's side: [`Several::HOST`] where the uplink is [`WAN`].
    pub ns: Namespace,
}

impl Several {
    /// The host's address.
    pub const HOST: &'static str = "192.0.2.1";

    /// The hardware address of a guest, counted from zero.
    #[must_use]
    pub fn mac(guest: usize) -> String {
        format!("52:54:00:00:00:{:02x}", guest + 1)
    }

    /// The address of a guest, counted from zero.
    #[must_use]
    pub fn address(guest: usize) -> String {
        format!("192.0.2.{}", guest + 11)
    }

    /// Starts a daemon that serves `config` (see [`crate::DaemonBuilder::config`]), which gives the guests
    /// of these names the addresses of [`Several::mac`], and boots all of them at once.
    ///
    /// # Errors
    /// As [`crate::DaemonBuilder::start`] and [`Qemu::boot`].
    pub fn start(
        config: &str,
        names: &[&str],
        version: QemuVersion,
        kernel: Kernel,
    ) -> Result<Self> {
        let ns = Namespace::new()?;
        let daemon = names
            .iter()
            .fold(Daemon::new(&ns), |daemon, name| daemon.expect_socket(name))
            .config(config)
            .start()?;
        if config.contains(&format!("tap:{WAN}")) {
            ns.address(WAN, &format!("{}/24", Self::HOST))?;
        }
        let boot = |(index, name): (usize, &&str)| {
            let nic = Nic::vhost_user(daemon.socket(name))
                .mac(&Self::mac(index))
                .address(&format!("{}/24", Self::address(index)));
            Qemu::new(version, kernel).nic(nic).start()
        };
        let booting = names.iter().enumerate().map(boot);
        let booting = booting.collect::<Result<Vec<_>>>()?.into_iter();
        let guests = booting.map(Booting::finish).collect::<Result<_>>()?;
        Ok(Self { guests, daemon, ns })
    }

    /// A guest, counted from zero.
    ///
    /// # Panics
    /// If there are not so many: the test is at fault.
    #[must_use]
    pub fn guest(&self, guest: usize) -> &Guest {
        &self.guests[guest]
    }

    /// What the daemon has counted.
    ///
    /// # Errors
    /// As [`Daemon::report`].
    pub fn report(&self) -> Result<Report> {
        self.daemon.report()
    }
}
