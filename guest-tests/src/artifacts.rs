//! What the guests are made of: kernels and emulators fetched by `ci/test`, and our own binaries.

use std::env;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use crate::error::{Context, Error, Result};

/// Provides kernels, emulators and packages.
const FETCH: &str = "ci/test (it fetches them)";
/// Provides the binaries of the workspace.
const BUILD: &str = "ci/test or ci/bench (they build them)";

/// A guest's kernel: Debian's cloud flavour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kernel {
    /// Linux 6.1, Debian 12's own.
    V6_1,
    /// Linux 6.12, of Debian 12's backports.
    V6_12,
}

/// The emulator a guest runs in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum QemuVersion {
    /// QEMU 7.2, Debian 12's own, as installed.
    V7_2,
    /// QEMU 10.0, of Debian 12's backports, unpacked beside it.
    V10_0,
}

impl fmt::Display for Kernel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::V6_1 => "6.1",
            Self::V6_12 => "6.12",
        })
    }
}

impl fmt::Display for QemuVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::V7_2 => "7.2",
            Self::V10_0 => "10.0",
        })
    }
}

/// The folder that `ci/lib.sh` fills, `$NETQOS_CACHE` or `/var/cache/netqos-vhost`.
#[derive(Debug, Clone)]
pub struct Artifacts {
    root: PathBuf,
}

/// How to start an emulator.
#[derive(Debug, Clone)]
pub struct Emulator {
    /// The program.
    pub program: PathBuf,
    /// Folders for `-L`; none for an installed one.
    pub data: Vec<PathBuf>,
}

impl Artifacts {
    /// Finds the folder and checks that nothing is missing from it.
    ///
    /// # Errors
    /// [`Error::Missing`], naming what is missing and the command that provides it.
    pub fn locate() -> Result<Self> {
        let root = env::var_os("NETQOS_CACHE")
            .map_or_else(|| PathBuf::from("/var/cache/netqos-vhost"), PathBuf::from);
        for part in ["kernel-6.1", "kernel-6.12", "qemu-10.0"] {
            present(part, root.join(part).join("complete"), FETCH)?;
        }
        Ok(Self { root })
    }

    /// Where generated files may be kept.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// The kernel's image.
    #[must_use]
    pub fn kernel_image(&self, kernel: Kernel) -> PathBuf {
        self.root.join(format!("kernel-{kernel}/vmlinuz"))
    }

    /// The kernel's module folder, `lib/modules/VERSION`.
    ///
    /// # Errors
    /// [`Error::Missing`] if there is none.
    pub fn modules(&self, kernel: Kernel) -> Result<PathBuf> {
        let path = self.root.join(format!("kernel-{kernel}/lib/modules"));
        let mut entries = fs::read_dir(&path).context(format!("reading {}", path.display()))?;
        let missing = || Error::Missing {
            what: format!("the module folder of kernel {kernel}"),
            path: path.clone(),
            remedy: FETCH,
        };
        let entry = entries.next().ok_or_else(missing)?;
        Ok(entry.context("reading the module folder")?.path())
    }

    /// The emulator of that version.
    ///
    /// # Errors
    /// [`Error::Missing`] if it is not there.
    pub fn emulator(&self, version: QemuVersion) -> Result<Emulator> {
        let (prefix, data) = match version {
            QemuVersion::V7_2 => (PathBuf::from("/"), Vec::new()),
            QemuVersion::V10_0 => {
                let prefix = self.root.join("qemu-10.0");
                let data = ["usr/share/qemu", "usr/share/seabios"].map(|dir| prefix.join(dir));
                (prefix, data.to_vec())
            }
        };
        let program = prefix.join("usr/bin/qemu-system-x86_64");
        Ok(Emulator {
            program: present("QEMU", program, FETCH)?,
            data,
        })
    }
}

/// The harness's own program, run in guests and namespaces.
pub(crate) fn agent() -> Result<PathBuf> {
    built("NETQOS_AGENT", "guest-agent")
}

/// The daemon under test, for runs that [`crate::Daemon`] is too kind for.
///
/// # Errors
/// [`Error::Missing`] if it has not been built.
pub fn daemon_program() -> Result<PathBuf> {
    built("NETQOS_BIN", "netqos-vhost")
}

/// The operator's tool, which is built with the daemon.
///
/// # Errors
/// [`Error::Missing`] if it has not been built.
pub fn tool_program() -> Result<PathBuf> {
    let daemon = daemon_program()?;
    let path = daemon.with_file_name("netqosctl");
    present("netqosctl", path, BUILD)
}

/// The program that measures the engine and its models.
///
/// # Errors
/// [`Error::Missing`] if it has not been built.
pub(crate) fn scheduler_bench_program() -> Result<PathBuf> {
    built("NETQOS_SCHEDULER_BENCH", "netqos_bench")
}

/// The program that measures DPDK's `rte_sched`.
///
/// # Errors
/// [`Error::Missing`] if it has not been built.
pub(crate) fn rte_sched_program() -> Result<PathBuf> {
    built("NETQOS_RTE_SCHED", "rte_sched")
}

/// A program of the workspace: named by an environment variable, or built beside the running test.
fn built(variable: &str, name: &str) -> Result<PathBuf> {
    if let Some(path) = env::var_os(variable) {
        return present(name, PathBuf::from(path), BUILD);
    }
    let test = env::current_exe().context("finding the running test")?;
    // target/PROFILE/deps/test-HASH, or target/PROFILE/program.
    let folders = test.ancestors().skip(1).take(2);
    let candidates: Vec<PathBuf> = folders.map(|dir| dir.join(name)).collect();
    if let Some(found) = candidates.iter().find(|path| path.is_file()) {
        return Ok(found.clone());
    }
    present(name, candidates.last().cloned().unwrap_or_default(), BUILD)
}

fn present(what: &str, path: PathBuf, remedy: &'static str) -> Result<PathBuf> {
    if path.is_file() {
        return Ok(path);
    }
    Err(Error::Missing {
        what: what.to_owned(),
        path,
        remedy,
    })
}
