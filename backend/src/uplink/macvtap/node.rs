//! The way to a macvtap's character device.
//!
//! The kernel names it `/dev/tapN` after the interface index, which is unique only within a network namespace,
//! while `/dev` is often shared by several, and in a container it is often not there at all. So what
//! counts is the device number. Only sysfs tells it, and it tells it only for the namespace that
//! the sysfs was mounted in: where `/sys` is another's, a sysfs of our own is opened, mounted nowhere.

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Dev, FileType, Mode, OFlags, StatVfsMountFlags, makedev};
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsmount, fsopen};
use tempfile::TempDir;

use super::super::netlink::Link;

/// A path to the character device, for as long as this is kept.
#[derive(Debug)]
pub(super) struct Node {
    path: PathBuf,
    _private: Option<TempDir>,
}

impl Node {
    /// Finds the node of this macvtap, or makes one that nobody else sees.
    pub(super) fn find(link: &Link) -> io::Result<Self> {
        let number = number(link)?;
        let path = PathBuf::from(format!("/dev/tap{}", link.index));
        let found = fs::metadata(&path);
        if found.is_ok_and(|at| at.file_type().is_char_device() && at.rdev() == number) {
            return Ok(Self {
                path,
                _private: None,
            });
        }
        make(number)
    }

    /// Opens the device without blocking; each time a queue is added to it.
    pub(super) fn open(&self) -> io::Result<OwnedFd> {
        let flags = OFlags::RDWR | OFlags::NONBLOCK | OFlags::CLOEXEC;
        Ok(rustix::fs::open(&self.path, flags, Mode::empty())?)
    }
}

/// The device number of a macvtap of this thread's network namespace.
fn number(link: &Link) -> io::Result<Dev> {
    let open = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let host = rustix::fs::open("/sys", open, Mode::empty()).map_err(io::Error::from);
    if let Ok(number) = host.and_then(|sys| number_in(&sys, link)) {
        return Ok(number);
    }
    let context = fsopen("sysfs", FsOpenFlags::FSOPEN_CLOEXEC)?;
    fsconfig_create(&context)?;
    let sys = fsmount(
        &context,
        FsMountFlags::FSMOUNT_CLOEXEC,
        MountAttrFlags::empty(),
    )?;
    number_in(&sys, link)
}

/// The device number that a sysfs tells, if its link of the same name is the same link.
fn number_in(sys: &OwnedFd, link: &Link) -> io::Result<Dev> {
    let net = Path::new("class/net").join(&link.name);
    let read = |file: &str| -> io::Result<String> {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        let file = rustix::fs::openat(sys, net.join(file), flags, Mode::empty())?;
        let text = io::read_to_string(fs::File::from(file))?;
        Ok(text.trim().to_owned())
    };
    let address = link.address.map(|octets| {
        let octets = octets.map(|octet| format!("{octet:02x}"));
        octets.join(":")
    });
    // Another namespace may have the name and the index as well, but not the address.
    if read("ifindex")? != link.index.to_string() || Some(read("address")?) != address {
        return Err(io::ErrorKind::NotFound.into());
    }
    let number = read(&format!("tap{}/dev", link.index))?;
    let parts = number
        .split_once(':')
        .and_then(|(major, minor)| Some((major.parse().ok()?, minor.parse().ok()?)));
    let (major, minor) = parts.ok_or(io::ErrorKind::InvalidData)?;
    Ok(makedev(major, minor))
}

/// Makes a node in a directory that only we may enter, on a file system whose nodes work.
fn make(number: Dev) -> io::Result<Node> {
    let works = |dir: &PathBuf| {
        rustix::fs::statvfs(dir).is_ok_and(|at| !at.f_flag.contains(StatVfsMountFlags::NODEV))
    };
    let dirs = ["/dev".into(), "/run".into(), std::env::temp_dir()];
    let mut failure = io::Error::from(io::ErrorKind::NotFound);
    for dir in dirs.iter().filter(|dir| works(dir)) {
        match make_in(dir, number) {
            Ok(node) => return Ok(node),
            Err(error) => failure = error,
        }
    }
    Err(failure)
}

fn make_in(dir: &Path, number: Dev) -> io::Result<Node> {
    let private = tempfile::Builder::new()
        .prefix(".netqos-")
        .tempdir_in(dir)?;
    let path = private.path().join("macvtap");
    let mode = Mode::RUSR | Mode::WUSR;
    rustix::fs::mknodat(CWD, &path, FileType::CharacterDevice, mode, number)?;
    Ok(Node {
        path,
        _private: Some(private),
    })
}
