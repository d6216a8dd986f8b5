//! Taking system calls away (seccomp(2)): every kind of thread has a list of those it needs, and there is no
//! way to others.
//!
//! [`prepare`] comes once, before the first thread; then each thread calls [`enter`] as what it is, the
//! first one last, because a thread that is made has the filters of the one that makes it. The lists are in
//! `roles`, each call beside who needs it.
//!
//! The kernel notes which calls are allowed whatever their arguments, and then asks no filter about them
//! (Linux 5.11): so calls on the way of a frame have no conditions.

mod allowed;
mod roles;
#[cfg(test)]
mod tests;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Mutex, OnceLock, PoisonError};

use clap::ValueEnum;
use rustix::thread::{Pid, gettid, secure_computing_mode};
use schemars::JsonSchema;
use seccompiler::{BpfProgram, SeccompAction, TargetArch, apply_filter};
use serde::Deserialize;

use super::SandboxError;

pub use self::roles::Role;

/// What becomes of a thread that makes a call which is not on its list.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema, ValueEnum)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub enum Seccomp {
    /// The process is killed by SIGSYS
    #[default]
    Kill,
    /// The kernel logs the call and does it
    Log,
    /// Nothing: no call is looked at
    Off,
}

impl Seccomp {
    /// How it is written.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Kill => "kill",
            Self::Log => "log",
            Self::Off => "off",
        }
    }
}

/// What the filters of this process do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Filtering {
    /// What was asked for.
    As(Seccomp),
    /// None: the kernel was built without seccomp, or nobody has written down its processor's calls.
    Missing,
}

impl fmt::Display for Filtering {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::As(seccomp) => seccomp.name(),
            Self::Missing => "none(not in this kernel)",
        })
    }
}

/// The filters of one kind of thread, in the order in which they are set.
type Programs = Vec<BpfProgram>;

/// The filters of this process; without, [`enter`] does nothing.
static FILTERS: OnceLock<BTreeMap<Role, Programs>> = OnceLock::new();

/// What the threads of this process are that have filters, by their ids.
static ROLES: Mutex<BTreeMap<i32, Role>> = Mutex::new(BTreeMap::new());

thread_local! {
    /// Takes the thread out of [`ROLES`] at its end.
    static ENTERED: RefCell<Option<Entered>> = const { RefCell::new(None) };
}

struct Entered(Pid);

impl Drop for Entered {
    fn drop(&mut self) {
        let mut roles = ROLES.lock().unwrap_or_else(PoisonError::into_inner);
        roles.remove(&self.0.as_raw_pid());
    }
}

/// Makes the filters that [`enter`] sets. What is asked for after the first time is not heard.
///
/// # Errors
/// A list cannot be made into a filter, for which this program is at fault.
pub fn prepare(seccomp: Seccomp) -> Result<Filtering, SandboxError> {
    let forbidden = match seccomp {
        Seccomp::Kill => SeccompAction::KillProcess,
        Seccomp::Log => SeccompAction::Log,
        Seccomp::Off => return Ok(Filtering::As(seccomp)),
    };
    let Ok(processor) = TargetArch::try_from(std::env::consts::ARCH) else {
        return Ok(Filtering::Missing);
    };
    if secure_computing_mode().is_err() {
        return Ok(Filtering::Missing);
    }
    let programs = Role::ALL.map(|role| {
        let programs = role.allowed().programs(&forbidden, processor);
        programs.map(|programs| (role, programs))
    });
    let programs: Result<_, _> = programs.into_iter().collect();
    let programs = programs.map_err(|error| SandboxError::Seccomp(error.into()))?;
    FILTERS.get_or_init(|| programs);
    Ok(Filtering::As(seccomp))
}

/// From now on this thread, and those it makes, can make only the calls of this role, for good. Does nothing
/// where no filters were [`prepare`]d.
///
/// # Errors
/// The kernel refuses the filter, for want of memory; the thread is to end then.
pub fn enter(role: Role) -> Result<(), SandboxError> {
    let Some(programs) = FILTERS.get().and_then(|filters| filters.get(&role)) else {
        return Ok(());
    };
    for program in programs {
        apply_filter(program).map_err(SandboxError::Seccomp)?;
    }
    let thread = gettid();
    let mut roles = ROLES.lock().unwrap_or_else(PoisonError::into_inner);
    roles.insert(thread.as_raw_pid(), role);
    drop(roles);
    ENTERED.set(Some(Entered(thread)));
    Ok(())
}

/// As what the thread of this id has filters.
pub(super) fn role_of(thread: i32) -> Option<Role> {
    let roles = ROLES.lock().unwrap_or_else(PoisonError::into_inner);
    roles.get(&thread).copied()
}
