//! Huge pages for DPDK, borrowed from the machine: the number reserved before is there again afterwards.

use std::fs;
use std::path::Path;

use tempfile::TempDir;

use crate::error::{Context, Error, Result};
use crate::process::output_of;
use crate::scratch;

/// The kernel's pool of 2 MiB pages (Documentation/admin-guide/mm/hugetlbpage.rst).
const POOL: &str = "/sys/kernel/mm/hugepages/hugepages-2048kB";

/// Reserved 2 MiB pages and a hugetlbfs of our own; dropping it unmounts and gives back. What uses the
/// pages must have been dropped before.
#[derive(Debug)]
pub struct HugePages {
    folder: TempDir,
    before: u64,
    mounted: bool,
}

impl HugePages {
    /// Reserves `count` pages beyond those that are reserved already, and mounts a hugetlbfs.
    ///
    /// # Errors
    /// [`Error::Setup`] when the kernel has no pages or not so many, else what it said.
    pub fn reserve(count: u64) -> Result<Self> {
        if !Path::new(POOL).is_dir() {
            return Err(Error::Setup(
                "DPDK needs huge pages of 2 MiB, which this kernel does not have",
            ));
        }
        let mut pages = Self {
            folder: scratch::folder("huge")?,
            before: number("nr_hugepages")?,
            mounted: false,
        };
        let spare = number("free_hugepages")?;
        resize(pages.before.saturating_add(count))?;
        if number("free_hugepages")?.saturating_sub(spare) < count {
            return Err(Error::Setup(
                "the kernel could not reserve enough huge pages of 2 MiB: free some memory",
            ));
        }
        let path = pages.path().display().to_string();
        output_of(
            "mount",
            &["-t", "hugetlbfs", "-o", "pagesize=2M", "netqos", &path],
        )?;
        pages.mounted = true;
        Ok(pages)
    }

    /// Where the file system is mounted, for `--huge-dir`.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.folder.path()
    }
}

impl Drop for HugePages {
    fn drop(&mut self) {
        if self.mounted {
            // Lazily: a process that is only just ending may still hold a page.
            let path = self.path().display().to_string();
            let _ = output_of("umount", &["--lazy", &path]);
        }
        if let Err(error) = resize(self.before) {
            eprintln!("{POOL}/nr_hugepages was {} before: {error}", self.before);
        }
    }
}

fn number(name: &str) -> Result<u64> {
    let path = format!("{POOL}/{name}");
    let text = fs::read_to_string(&path).context(format!("reading {path}"))?;
    text.trim().parse().map_err(|_| Error::Output {
        tool: "the kernel",
        reason: format!("{path} holds no number"),
        output: text.clone(),
    })
}

fn resize(pages: u64) -> Result<()> {
    let path = format!("{POOL}/nr_hugepages");
    fs::write(&path, pages.to_string()).context(format!("writing {path}"))
}
