//! The guest's file system: busybox, the traffic tools with their libraries, the virtio modules in load
//! order, and our init. Built once per kernel and kept while nothing it is made of changes.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::BufWriter;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use crate::artifacts::{self, Artifacts, Kernel};
use crate::cpio::Archive;
use crate::error::{Context, Error, Result};
use crate::process::output_of;
use crate::scratch;

const INIT: &str = include_str!("init.sh");

/// Held while an archive is looked for and made.
static BUILDING: Mutex<()> = Mutex::new(());

/// Modules a guest loads, after what they depend on.
const MODULES: [&str; 7] = [
    "virtio_pci",
    "virtio_console",
    "virtio_net",
    "af_packet",
    "8021q",
    "sch_fq",
    "sch_fq_codel",
];

/// Programs of the host that a guest gets, with their shared libraries. Its shell is dash: busybox's would
/// run its own `ip` and `ping` rather than these.
const TOOLS: [&str; 7] = [
    "/usr/bin/dash",
    "/usr/bin/iperf3",
    "/usr/sbin/ethtool",
    "/usr/bin/ping",
    "/usr/sbin/ip",
    "/usr/sbin/tc",
    "/usr/bin/tcpdump",
];

/// A built initramfs.
#[derive(Debug, Clone)]
pub struct Initramfs {
    path: PathBuf,
}

impl Initramfs {
    /// Builds the initramfs for a kernel, or finds the one built before.
    ///
    /// # Errors
    /// [`Error::Missing`] if a program or module is not there.
    pub fn build(artifacts: &Artifacts, kernel: Kernel) -> Result<Self> {
        let modules = load_order(&artifacts.modules(kernel)?)?;
        let programs = programs()?;
        let sources = modules.iter().chain(programs.iter().map(|(_, path)| path));
        let key = fingerprint(sources)?;
        let folder = artifacts.root().join("initramfs");
        let path = folder.join(format!("{kernel}-{key:08x}.cpio"));
        // Two guests of one process may boot at once.
        let _building = BUILDING.lock().unwrap_or_else(PoisonError::into_inner);
        if !path.is_file() {
            fs::create_dir_all(&folder).context("making the initramfs folder")?;
            discard_older(&folder, kernel);
            let partial = folder.join(format!("partial-{}", std::process::id()));
            write(&partial, &modules, &programs)?;
            fs::rename(&partial, &path).context("naming the initramfs")?;
        }
        Ok(Self { path })
    }

    /// The archive.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// Archives of this kernel made of other sources; a guest being booted from one has it in memory.
fn discard_older(folder: &Path, kernel: Kernel) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let name = entry.file_name();
        if name.to_string_lossy().starts_with(&format!("{kernel}-")) {
            let _ = fs::remove_file(entry.path());
        }
    }
}

/// Changes when a source or the init script does.
fn fingerprint<'a>(sources: impl Iterator<Item = &'a PathBuf>) -> Result<u32> {
    let mut hash = crc32fast::Hasher::new();
    hash.update(INIT.as_bytes());
    for path in sources {
        let what = format!("looking at {}", path.display());
        let meta = fs::metadata(path).context(what)?;
        let line = format!("{} {} {}\n", path.display(), meta.len(), meta.mtime_nsec());
        hash.update(line.as_bytes());
        hash.update(&meta.mtime().to_le_bytes());
    }
    Ok(hash.finalize())
}

/// Where each program goes in the guest, and where it comes from: tools, then their libraries.
fn programs() -> Result<Vec<(String, PathBuf)>> {
    let agent = artifacts::agent()?;
    let mut sources: Vec<PathBuf> = TOOLS.map(PathBuf::from).to_vec();
    sources.push(agent);
    let mut placed = vec![("bin/busybox".to_owned(), PathBuf::from("/bin/busybox"))];
    let mut libraries = BTreeSet::new();
    for source in sources {
        if !source.is_file() {
            return Err(Error::Missing {
                what: "a program for the guest".to_owned(),
                path: source,
                remedy: "ci/test (it installs them)",
            });
        }
        libraries.extend(libraries_of(&source)?);
        let name = source.file_name().unwrap_or_default().to_string_lossy();
        placed.push((format!("usr/bin/{name}"), source));
    }
    for library in libraries {
        let inside = library.to_string_lossy().trim_start_matches('/').to_owned();
        placed.push((inside, library));
    }
    Ok(placed)
}

/// The shared libraries that `ldd` says a program needs, the dynamic loader included.
fn libraries_of(program: &Path) -> Result<Vec<PathBuf>> {
    let output = output_of("ldd", &[&program.to_string_lossy()])?;
    let text = String::from_utf8_lossy(&output).into_owned();
    let paths = text.lines().filter_map(|line| {
        let path = line.split_whitespace().find(|word| word.starts_with('/'))?;
        Some(PathBuf::from(path))
    });
    Ok(paths.collect())
}

/// The files of [`MODULES`], each after those it depends on; those built into the kernel left out.
fn load_order(folder: &Path) -> Result<Vec<PathBuf>> {
    let read = |name: &str| {
        let path = folder.join(name);
        fs::read_to_string(&path).context(format!("reading {}", path.display()))
    };
    let (dependencies, builtin) = (read("modules.dep")?, read("modules.builtin")?);
    let mut order: Vec<PathBuf> = Vec::new();
    for module in MODULES {
        let is = |path: &str| module_name(path) == Some(module);
        let line = dependencies.lines().find_map(|line| {
            let (path, needs) = line.split_once(':')?;
            is(path).then_some((path, needs))
        });
        let Some((path, needs)) = line else {
            if builtin.lines().any(is) {
                continue;
            }
            return Err(Error::Missing {
                what: format!("kernel module {module}"),
                path: folder.to_owned(),
                remedy: "ci/test (it fetches the kernels)",
            });
        };
        // modules.dep lists what must be loaded first last.
        let needs = needs.split_whitespace().rev();
        for file in needs.chain([path]).map(|path| folder.join(path)) {
            if !order.contains(&file) {
                order.push(file);
            }
        }
    }
    Ok(order)
}

/// `virtio_net` of `kernel/drivers/net/virtio_net.ko.xz`.
fn module_name(path: &str) -> Option<&str> {
    path.rsplit('/').next()?.split('.').next()
}

fn write(path: &Path, modules: &[PathBuf], programs: &[(String, PathBuf)]) -> Result<()> {
    let file = File::create(path).context(format!("creating {}", path.display()))?;
    let mut archive = Archive::new(BufWriter::new(file));
    let made = "writing the initramfs";
    let mut folders = BTreeSet::from(["dev".to_owned(), "modules".to_owned()]);
    for (inside, _) in programs {
        let parents = Path::new(inside).ancestors().skip(1);
        let named = parents.filter(|folder| !folder.as_os_str().is_empty());
        folders.extend(named.map(|folder| folder.to_string_lossy().into_owned()));
    }
    for folder in folders {
        archive.folder(&folder).context(made)?;
    }
    // The kernel opens the console before init mounts devtmpfs.
    archive.device("dev/console", 5, 1).context(made)?;
    archive.link("bin/sh", "/usr/bin/dash").context(made)?;
    archive.file("init", 0o755, INIT.as_bytes()).context(made)?;
    for (inside, source) in programs {
        let content = stripped(source)?;
        archive.file(inside, 0o755, &content).context(made)?;
    }
    let mut order = String::new();
    for module in modules {
        let name = format!(
            "{}.ko",
            module_name(&module.to_string_lossy()).unwrap_or_default()
        );
        let content = unpacked(module)?;
        archive
            .file(&format!("modules/{name}"), 0o644, &content)
            .context(made)?;
        order += &format!("{name}\n");
    }
    archive
        .file("modules/order", 0o644, order.as_bytes())
        .context(made)?;
    archive.finish().context(made).map(drop)
}

/// A program's bytes without debug information: an emulated processor loads the rest much sooner.
fn stripped(program: &Path) -> Result<Vec<u8>> {
    let folder = scratch::folder("strip")?;
    let copy = folder.path().join("program");
    let (from, to) = (program.to_string_lossy(), copy.to_string_lossy());
    output_of("strip", &["-o", &to, &from])?;
    fs::read(&copy).context(format!("reading {}", copy.display()))
}

/// A module's bytes; newer Debian kernels ship them compressed.
fn unpacked(module: &Path) -> Result<Vec<u8>> {
    if module
        .extension()
        .is_some_and(|extension| extension == "xz")
    {
        return output_of("xz", &["-dc", &module.to_string_lossy()]);
    }
    fs::read(module).context(format!("reading {}", module.display()))
}
