//! What the opener may open.

use std::path::{Component, Path, PathBuf};

use super::wire::Wanted;
use crate::args::FrontEnd;
use crate::config::{Config, FloodConfig, RootConfig, UplinkConfig};
use crate::sandbox::Seccomp;

/// What the opener may open, because the operator's own words name it. Requests come from a process
/// that guests may have taken over, so the opener makes its policy itself, from the command line and
/// the file that it reads itself, at its start and at each reload.
///
/// - An uplink is opened exactly as the configuration has it: kind, interface, bridge, queues, MTU.
/// - Sockets are those that the configuration names, for listening or connecting, or lie directly in a
///   directory that the operator gave for the sockets of guests to come (`--socket-dir`).
/// - MTU and removal are for uplinks that this opener has opened.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Policy {
    /// Paths of the sockets, absolute.
    sockets: Vec<PathBuf>,
    /// Directories of further sockets, absolute.
    directories: Vec<PathBuf>,
    uplinks: Vec<UplinkConfig>,
    seccomp: Seccomp,
}

impl From<&Config> for Policy {
    fn from(config: &Config) -> Self {
        let front_ends = config.guests.iter().filter_map(|guest| {
            match &guest.front_end {
                FrontEnd::Listen { path, .. } | FrontEnd::Connect { path } => Some(path),
                // It is open already.
                FrontEnd::Fd(_) => None,
            }
        });
        Self {
            sockets: front_ends
                .chain(config.control.as_ref().map(|control| &control.path))
                .filter_map(|path| absolute(path))
                .collect(),
            directories: Vec::new(),
            uplinks: config.uplinks.clone(),
            seccomp: config.sandbox.seccomp,
        }
    }
}

impl Policy {
    /// Allows any socket directly in this directory as well.
    #[must_use]
    pub fn with_socket_directory(mut self, directory: &Path) -> Self {
        self.directories.extend(absolute(directory));
        self
    }

    /// What becomes of the opener when it makes a system call that opening does not take.
    pub(super) const fn seccomp(&self) -> Seccomp {
        self.seccomp
    }

    /// Why the uplink may not be opened, if so.
    pub(super) fn check_uplink(&self, wanted: &Wanted) -> Result<(), String> {
        let Wanted { name, .. } = wanted;
        match self.uplinks.iter().find(|uplink| uplink.name == *name) {
            None => Err(format!(
                "uplink `{name}` is not in the configuration as it was last read; add it there and \
                 reload"
            )),
            Some(uplink) if Wanted::from(uplink) != *wanted => Err(format!(
                "uplink `{name}` is not as the configuration had it when it was last read; reload"
            )),
            Some(_) => Ok(()),
        }
    }

    /// Why there may be no socket at this path, if so.
    pub(super) fn check_socket(&self, path: &Path) -> Result<(), String> {
        let named = |path: &PathBuf| self.sockets.contains(path);
        let in_directory = |path: &PathBuf| {
            let is_plain = matches!(path.components().next_back(), Some(Component::Normal(_)));
            let parent = path.parent().map(Path::to_owned);
            is_plain && parent.is_some_and(|parent| self.directories.contains(&parent))
        };
        if absolute(path).is_some_and(|path| named(&path) || in_directory(&path)) {
            return Ok(());
        }
        Err(format!(
            "{}: the configuration, as it was last read, names no such socket; add it there and \
             reload, or give its directory with --socket-dir",
            path.display()
        ))
    }
}

impl From<&UplinkConfig> for Wanted {
    fn from(config: &UplinkConfig) -> Self {
        Self {
            name: config.name.clone(),
            kind: config.kind.clone(),
            queues: config.queues,
            mtu: config.mtu,
        }
    }
}

/// As far as opening goes: the rest of the configuration is the shard's.
impl From<Wanted> for UplinkConfig {
    fn from(wanted: Wanted) -> Self {
        Self {
            name: wanted.name,
            kind: wanted.kind,
            queues: wanted.queues,
            mtu: wanted.mtu,
            from_guest: RootConfig::default(),
            to_guest: RootConfig::default(),
            flood: FloodConfig::default(),
        }
    }
}

/// The path from the root on. Links and `..` stay as they are, so that two spellings of one place are
/// not taken for one another. Daemon and opener have the same current directory.
fn absolute(path: &Path) -> Option<PathBuf> {
    std::path::absolute(path).ok()
}
