//! Taking the file system, TCP and other processes away (landlock(7)).

use std::fmt;
use std::path::PathBuf;

use landlock::{
    ABI, Access, AccessFs, AccessNet, LandlockStatus, PathBeneath, PathFd, RestrictionStatus,
    Ruleset, RulesetAttr, RulesetCreatedAttr, RulesetStatus, Scope,
};

use super::SandboxError;

/// What is asked for: files since Linux 5.13, TCP since 6.7, ioctls on devices opened later since 6.10,
/// abstract sockets of and signals to other processes since 6.12. Later versions can also forbid
/// connecting to sockets with a path, which the engine's private one needs.
const WANTED: ABI = ABI::V6;

/// How much of the file system rules this kernel holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Landlock {
    /// All that was asked for.
    Full,
    /// What the kernel's version of landlock, given here, has.
    Partial(i32),
    /// None: the kernel has it turned off (`lsm=`).
    Off,
    /// None: the kernel is older than 5.13 or was built without it.
    Missing,
}

impl fmt::Display for Landlock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Full => f.write_str("full"),
            Self::Partial(version) => write!(f, "partial(version {version})"),
            Self::Off => f.write_str("none(turned off)"),
            Self::Missing => f.write_str("none(not in this kernel)"),
        }
    }
}

/// From now on this thread, and those it makes, open files only for reading and only below these paths,
/// use no TCP, and signal nobody else, as far as the kernel can see to it. What is open stays usable.
pub(super) fn restrict(readable: &[PathBuf]) -> Result<Landlock, SandboxError> {
    let read = AccessFs::ReadFile | AccessFs::ReadDir;
    let mut rules = Ruleset::default()
        .handle_access(AccessFs::from_all(WANTED))?
        .handle_access(AccessNet::from_all(WANTED))?
        .scope(Scope::from_all(WANTED))?
        .create()?;
    for path in readable {
        let fd = PathFd::new(path).map_err(|error| SandboxError::Path {
            path: path.clone(),
            source: error.into(),
        })?;
        rules = rules.add_rule(PathBeneath::new(fd, read))?;
    }
    Ok(level(&rules.restrict_self()?))
}

fn level(status: &RestrictionStatus) -> Landlock {
    match (&status.ruleset, status.landlock) {
        (RulesetStatus::FullyEnforced, _) => Landlock::Full,
        (_, LandlockStatus::Available { effective_abi, .. }) => {
            // Its variants are numbered as the kernel's versions are.
            Landlock::Partial(effective_abi as i32)
        }
        (_, LandlockStatus::NotEnabled) => Landlock::Off,
        (_, LandlockStatus::NotImplemented) => Landlock::Missing,
    }
}
