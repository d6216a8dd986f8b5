//! Giving up what the process does not need once guests can speak to it.
//!
//! [`enter`] comes after everything that takes privileges or files, and before the first thread, because
//! all of this holds only for the calling thread and those that it makes ([`crate::opener`] has the order
//! of the whole start). Afterwards the process
//! - has no capability and cannot get one, by any program either (`no_new_privs`);
//! - opens files for reading only, below the directories named, `/etc` and its own `/proc/self`; opens no
//!   TCP connection or listener; signals no other process, and connects to nobody's abstract socket
//!   (landlock, as far as the kernel has it);
//! - leaves no core file, in which the guests' memory would be, and is closed to debuggers of its user.
//!
//! It keeps its user. Root without capabilities is still the owner of root's files: without landlock these
//! can be written, so the report says what holds, and [`SandboxConfig::require`] insists.

mod capabilities;
mod files;
pub mod seccomp;
pub mod state;
#[cfg(test)]
mod tests;

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use rustix::process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit};
use rustix::thread::CapabilitySet;
use thiserror::Error;

pub use self::files::Landlock;
pub use self::seccomp::{Filtering, Role, Seccomp};

/// What stays readable beside what the configuration names: the process's own state, and group names.
const READABLE: [&str; 2] = ["/proc/self", "/etc"];

/// What the process still needs after [`enter`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SandboxConfig {
    /// What it reads later, such as the directory of its configuration file; must exist.
    pub readable: Vec<PathBuf>,
    /// Whether a kernel that cannot hold all of it is an error.
    pub require: bool,
}

/// What holds after [`enter`]; its text is for one line of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Report {
    /// Whether the bounding set of capabilities is empty; it stays as it was without `CAP_SETPCAP`.
    pub bounded: bool,
    /// How much of the file system rules the kernel holds.
    pub landlock: Landlock,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bounding = if self.bounded { "empty" } else { "kept" };
        write!(
            f,
            "capabilities=none bounding={bounding} no_new_privs=yes dumpable=no landlock={}",
            self.landlock
        )
    }
}

/// Why the process may still have more than it should. The host is at fault, or we are; the daemon refuses
/// to start.
#[derive(Debug, Error)]
pub enum SandboxError {
    /// Other threads would keep everything.
    #[error("{0} threads run already and would stay outside of the sandbox")]
    Threads(usize),
    /// The kernel refused.
    #[error("cannot {0}: {1}")]
    System(&'static str, #[source] io::Error),
    /// They were dropped and are still there.
    #[error("capabilities are left after they were dropped: {0:?}")]
    Capabilities(CapabilitySet),
    /// A directory to be kept readable cannot be opened.
    #[error("{}: cannot be kept readable: {source}; does it exist?", .path.display())]
    Path {
        /// The path.
        path: PathBuf,
        /// What was wrong.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The rules for the file system could not be set.
    #[error("cannot restrict files with landlock: {0}")]
    Landlock(#[from] landlock::RulesetError),
    /// System calls could not be filtered.
    #[error("cannot restrict system calls: {0}")]
    Seccomp(#[from] seccompiler::Error),
    /// There is none, and it was demanded.
    #[error("the sandbox was demanded and there is none: {0}")]
    None(&'static str),
    /// System calls are not kept away, and all of the sandbox was demanded.
    #[error("the sandbox was demanded whole, and seccomp is {0}")]
    Unfiltered(Filtering),
    /// Not all of it holds, and all was demanded.
    #[error("the sandbox is incomplete and was demanded whole: {0}; it takes Linux 6.12 or newer")]
    Incomplete(Report),
}

/// Gives up everything but what `config` keeps. There is no way back.
///
/// # Errors
/// When another thread runs, or something could not be given up that this kernel knows of. The process is
/// then to end: it may have lost part of its privileges.
pub fn enter(config: &SandboxConfig) -> Result<Report, SandboxError> {
    let threads = std::fs::read_dir("/proc/self/task")
        .map_err(|e| SandboxError::System("count the threads", e))?
        .count();
    if threads != 1 {
        return Err(SandboxError::Threads(threads));
    }
    give_up(config)
}

/// As [`enter`], for this thread and those that it makes.
fn give_up(config: &SandboxConfig) -> Result<Report, SandboxError> {
    keep_only(CapabilitySet::empty())?;
    close_to_others()?;
    // A minimal container may lack one of ours, which is then not needed.
    let ours = READABLE.map(Path::new).into_iter();
    let readable: Vec<_> = ours
        .filter(|path| path.exists())
        .map(Path::to_owned)
        .chain(config.readable.iter().cloned())
        .collect();
    let report = Report {
        landlock: files::restrict(&readable)?,
        bounded: capabilities::is_bounded(),
    };
    if config.require && report.landlock != Landlock::Full {
        return Err(SandboxError::Incomplete(report));
    }
    Ok(report)
}

/// Leaves the calling thread with at most these capabilities, for good.
pub(crate) fn keep_only(keep: CapabilitySet) -> Result<(), SandboxError> {
    rustix::thread::set_no_new_privs(true)
        .map_err(|e| SandboxError::System("give up new privileges", e.into()))?;
    capabilities::reduce(keep)
}

/// No core file, no debugger.
fn close_to_others() -> Result<(), SandboxError> {
    let none = Rlimit {
        current: Some(0),
        maximum: Some(0),
    };
    setrlimit(Resource::Core, none)
        .map_err(|e| SandboxError::System("forbid core files", e.into()))?;
    set_dumpable_behavior(DumpableBehavior::NotDumpable)
        .map_err(|e| SandboxError::System("close the process to debuggers", e.into()))
}
