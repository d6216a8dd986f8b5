//! Where a command can run: in a guest or in a network namespace of the host. Traffic helpers take two
//! places and do not care which is which.

use std::fmt::Debug;
use std::time::Duration;

use crate::error::{Error, Result};
pub use crate::protocol::Output;

/// How long [`Place::shell`] waits.
pub const SHELL_TIMEOUT: Duration = Duration::from_secs(60);

/// A guest or a namespace.
pub trait Place: Debug {
    /// Starts a shell script and returns without waiting for it.
    ///
    /// # Errors
    /// Whatever keeps it from being started.
    fn start(&self, script: &str) -> Result<Box<dyn Job>>;

    /// Path of the `guest-agent` program there.
    fn agent(&self) -> &str;

    /// Runs a shell script to its end, whatever its status.
    ///
    /// # Errors
    /// [`Error::Timeout`] after `timeout`, when it has been killed.
    fn run(&self, script: &str, timeout: Duration) -> Result<Output> {
        self.start(script)?.wait(timeout)
    }

    /// Runs a shell script that must succeed within a minute, and returns its standard output.
    ///
    /// # Errors
    /// [`Error::Command`] if its status is not zero.
    fn shell(&self, script: &str) -> Result<String> {
        succeeded(script, self.run(script, SHELL_TIMEOUT)?)
    }
}

/// A running command; dropping it kills it.
pub trait Job: Debug + Send {
    /// Waits for its end; kills it when that does not come.
    ///
    /// # Errors
    /// [`Error::Timeout`] after `timeout`, [`Error::Ended`] if its guest is gone.
    fn wait(&mut self, timeout: Duration) -> Result<Output>;

    /// Kills it.
    fn kill(&mut self);
}

/// The standard output of a command that must have succeeded.
pub(crate) fn succeeded(script: &str, output: Output) -> Result<String> {
    if output.status == 0 {
        return Ok(output.stdout);
    }
    Err(Error::Command {
        command: script.to_owned(),
        status: output.status,
        stdout: output.stdout,
        stderr: output.stderr,
    })
}
