//! The file of a listening socket: its access rights, and its removal only while it is still ours.

use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use log::debug;
use rustix::fs::{AtFlags, FileType, FlockOperation, Mode, OFlags, Stat};
use rustix::io::Errno;
use rustix::process::Gid;

use super::ListenError;

/// How long another start in the same directory may take before we go on beside it.
const LOCK_PATIENCE: Duration = Duration::from_secs(1);

/// Whether the path itself (no link is followed) is a socket.
pub(super) fn is_socket(path: &Path) -> Result<bool, Errno> {
    rustix::fs::lstat(path).map(|stat| is_socket_mode(&stat))
}

fn is_socket_mode(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::Socket
}

/// Keeps two starts from each taking the other's socket, bound and not yet listening, for a stale one.
/// Best effort: a directory we may not read, or one whose lock somebody sits on, goes unlocked.
pub(super) fn lock_directory(path: &Path) -> Result<Option<OwnedFd>, ListenError> {
    let directory = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let fd = match rustix::fs::open(directory, flags, Mode::empty()) {
        Ok(fd) => fd,
        Err(e @ (Errno::NOENT | Errno::NOTDIR)) => {
            return Err(ListenError::new("open the directory", path, e));
        }
        Err(_) => return Ok(None),
    };
    let deadline = Instant::now() + LOCK_PATIENCE;
    while rustix::fs::flock(&fd, FlockOperation::NonBlockingLockExclusive).is_err() {
        if Instant::now() >= deadline {
            return Ok(None);
        }
        thread::sleep(Duration::from_millis(10));
    }
    Ok(Some(fd))
}

/// A socket file that we made. Dropping it removes the file, if that is still the one we made.
#[derive(Debug)]
pub(crate) struct SocketFile {
    path: PathBuf,
    /// Open without any right to it (`O_PATH`): names the file whatever happens to its path, and keeps its inode
    /// number from being used again.
    pin: OwnedFd,
    stays: bool,
}

impl SocketFile {
    /// Takes charge of the file that `bind` has just made.
    pub(super) fn just_bound(path: &Path) -> Result<Self, ListenError> {
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fail = |e| ListenError::new("open the new socket file", path, e);
        let pin = rustix::fs::open(path, flags, Mode::empty()).map_err(fail)?;
        let stat = rustix::fs::fstat(&pin).map_err(fail)?;
        if !is_socket_mode(&stat) {
            return Err(ListenError::NotASocket(path.to_owned()));
        }
        Ok(Self {
            path: path.to_owned(),
            pin,
            stays: false,
        })
    }

    /// Lets go of the file, which stays.
    pub(crate) fn leave(mut self) {
        self.stays = true;
    }

    /// Sets group, then permission bits.
    pub(crate) fn set_access(&self, mode: u32, group: Option<u32>) -> Result<(), ListenError> {
        if let Some(group) = group {
            let group = Some(Gid::from_raw(group));
            rustix::fs::chownat(&self.pin, "", None, group, AtFlags::EMPTY_PATH)
                .map_err(|e| ListenError::new("set the group of the socket", &self.path, e))?;
        }
        // A descriptor without rights takes no fchmod; its entry in /proc names the same file.
        let file = format!("/proc/self/fd/{}", self.pin.as_raw_fd());
        rustix::fs::chmod(file, Mode::from_raw_mode(mode))
            .map_err(|e| ListenError::new("set the mode of the socket", &self.path, e))
    }

    fn still_at_its_path(&self) -> Result<bool, Errno> {
        let ours = rustix::fs::fstat(&self.pin)?;
        let there = rustix::fs::lstat(&self.path)?;
        Ok((ours.st_dev, ours.st_ino) == (there.st_dev, there.st_ino))
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if self.stays {
            return;
        }
        let removed = match self.still_at_its_path() {
            Ok(true) => rustix::fs::unlink(&self.path),
            Ok(false) => Ok(()),
            Err(e) => Err(e),
        };
        if let Err(e) = removed {
            debug!(path:% = self.path.display(), event = "socket-stays"; "{e}");
        }
    }
}
