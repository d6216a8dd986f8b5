//! A booted guest: runs jobs, reboots, is killed, and shows its console when a test fails.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::error::Result;
use crate::jobs::Channel;
use crate::place::{Job, Place};
use crate::process::{Process, tail};
use crate::qemu::BOOT_TIMEOUT;
use crate::qmp;

/// A running virtual machine; dropping it kills it.
#[derive(Debug)]
pub struct Guest {
    // Dropped first, so that QEMU's sockets are still there when it ends.
    process: Process,
    channel: Arc<Channel>,
    boot_time: Duration,
    scratch: TempDir,
}

/// Names of a guest's files in its scratch directory.
pub(crate) mod files {
    pub(crate) const CONSOLE: &str = "console";
    pub(crate) const JOBS: &str = "jobs";
    pub(crate) const LOG: &str = "qemu.log";
    pub(crate) const QMP: &str = "qmp";
}

/// A virtual machine that has been started; dropping it kills it.
#[derive(Debug)]
pub struct Booting {
    guest: Guest,
    start: Instant,
    timeout: Duration,
}

impl Booting {
    /// Connects to a started QEMU, whose guest may take `timeout` to boot.
    pub(crate) fn attach(
        mut process: Process,
        scratch: TempDir,
        timeout: Duration,
    ) -> Result<Self> {
        let start = Instant::now();
        let socket = scratch.path().join(files::JOBS);
        let console = scratch.path().join(files::CONSOLE);
        // The socket has a file a moment before it listens.
        let mut channel = None;
        process.wait_until("QEMU's start", timeout, || {
            channel = Channel::connect(&socket, console.clone()).ok();
            channel.is_some()
        })?;
        let channel = channel.map_or_else(|| Channel::connect(&socket, console), Ok)?;
        Ok(Self {
            guest: Guest {
                process,
                channel,
                boot_time: Duration::ZERO,
                scratch,
            },
            start,
            timeout,
        })
    }

    /// Waits until the guest takes jobs.
    ///
    /// # Errors
    /// As [`crate::Qemu::boot`].
    pub fn finish(self) -> Result<Guest> {
        let Self {
            mut guest,
            start,
            timeout,
        } = self;
        let left = timeout.saturating_sub(start.elapsed());
        if let Err(error) = guest.channel.wait_boot(0, left) {
            eprintln!("QEMU, {}", guest.process.log_tail());
            return Err(error);
        }
        guest.boot_time = start.elapsed();
        Ok(guest)
    }
}

impl Guest {
    /// From QEMU's start until it took jobs.
    #[must_use]
    pub fn boot_time(&self) -> Duration {
        self.boot_time
    }

    /// The emulator's process, for its usage and signals.
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    /// The last lines on the guest's console.
    #[must_use]
    pub fn console(&self) -> String {
        tail(&self.scratch.path().join(files::CONSOLE))
    }

    /// The guest reboots itself, in the order an administrator would see; returns when it takes jobs again.
    ///
    /// # Errors
    /// [`crate::Error::Timeout`] with the console if it does not come back.
    pub fn reboot(&self) -> Result<()> {
        let before = self.channel.boots();
        let _job = self.channel.start("reboot -f")?;
        self.channel.wait_boot(before, BOOT_TIMEOUT)
    }

    /// QEMU resets the machine under the running guest; returns when it takes jobs again.
    ///
    /// # Errors
    /// [`crate::Error::Timeout`] with the console if it does not come back.
    pub fn reset(&self) -> Result<()> {
        let before = self.channel.boots();
        self.qmp("system_reset", &json!({}))?;
        self.channel.wait_boot(before, BOOT_TIMEOUT)
    }

    /// Executes a command of QEMU's monitor.
    ///
    /// # Errors
    /// [`crate::Error::Output`] with QEMU's refusal.
    pub fn qmp(&self, command: &str, arguments: &Value) -> Result<Value> {
        qmp::execute(&self.scratch.path().join(files::QMP), command, arguments)
    }

    /// Kills QEMU, as a host's out-of-memory killer would.
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// Where its sockets and console are.
    #[must_use]
    pub fn scratch(&self) -> &Path {
        self.scratch.path()
    }
}

impl Place for Guest {
    fn start(&self, script: &str) -> Result<Box<dyn Job>> {
        Ok(Box::new(self.channel.start(script)?))
    }

    fn agent(&self) -> &str {
        "guest-agent"
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("guest's console, {}", self.console());
            eprintln!("QEMU, {}", self.process.log_tail());
        }
    }
}
