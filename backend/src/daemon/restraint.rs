//! What the daemon gives up before guests can speak to it, and what came of it.

use std::fmt::Display;

use super::{Daemon, Privileges};
use crate::config::SandboxSettings;
use crate::control::Sandbox;
use crate::sandbox::{
    self, Filtering, Report, Role, SandboxConfig, SandboxError, Seccomp, seccomp, state,
};

/// The sandbox as far as it is closed.
#[derive(Debug)]
pub(super) struct Restraint {
    /// What holds of files and privileges, or why they are kept.
    entered: Result<Report, &'static str>,
    filtering: Filtering,
}

impl Restraint {
    /// Gives up privileges and files, if they are to be given up, before the first thread. Threads that are
    /// made from then on can give up system calls.
    ///
    /// # Errors
    /// Something could not be given up that this kernel knows of, or that is required.
    pub(super) fn begin(
        privileges: Privileges,
        settings: SandboxSettings,
    ) -> Result<Self, SandboxError> {
        let SandboxSettings { seccomp, require } = settings;
        let entered = match privileges {
            Privileges::Kept(why) if require => return Err(SandboxError::None(why)),
            Privileges::Kept(why) => Err(why),
            Privileges::GivenUp { readable } => {
                Ok(sandbox::enter(&SandboxConfig { readable, require })?)
            }
        };
        let filtering = seccomp::prepare(seccomp)?;
        if require && filtering != Filtering::As(Seccomp::Kill) {
            return Err(SandboxError::Unfiltered(filtering));
        }
        Ok(Self { entered, filtering })
    }

    /// Gives up the system calls that this thread, which is the first one, needs no more, and logs what holds
    /// from now on.
    ///
    /// # Errors
    /// They cannot be given up.
    pub(super) fn complete(&self) -> Result<(), SandboxError> {
        seccomp::enter(match self.entered {
            Ok(_) => Role::Main,
            Err(_) => Role::Alone,
        })?;
        let seccomp = self.filtering;
        match &self.entered {
            Ok(report) => log::info!(
                sandbox = "entered",
                capabilities = "none",
                bounding = if report.bounded { "empty" } else { "kept" },
                no_new_privs = "yes",
                dumpable = "no",
                landlock:% = report.landlock,
                seccomp:%;
                ""
            ),
            Err(why) => log::info!(sandbox = "none", seccomp:%; "{why}"),
        }
        Ok(())
    }
}

impl<R> Daemon<R> {
    /// What keeps the daemon and its opener from the host.
    pub(super) fn sandbox_state(&self) -> Result<Sandbox, String> {
        let text = |error: &dyn Display| format!("the state cannot be read: {error}");
        let entered = &self.restraint.entered;
        Ok(Sandbox {
            none: entered.err().map(str::to_owned),
            landlock: entered
                .as_ref()
                .map_or_else(|_| "none".to_owned(), |report| report.landlock.to_string()),
            seccomp: self.restraint.filtering.to_string(),
            daemon: state::read().map_err(|error| text(&error))?,
            opener: self.opener.state().map_err(|error| text(&error))?,
        })
    }
}
