//! The vhost-user socket: made, taken over from a dead predecessor, connected to or inherited.
//!
//! Everything here is done before a guest is there; afterwards only [`Listener::accept`] and
//! [`Connector::connect`] are called. All sockets are non-blocking and close on exec.

mod connect;
mod file;
mod inherited;
#[cfg(test)]
mod tests;

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use rustix::fs::Mode;
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
use thiserror::Error;

pub use self::connect::{ConnectError, Connector};
pub(crate) use self::file::SocketFile;
pub use self::inherited::{FdError, Inherited, from_fd};

/// Longest path of a unix socket in bytes: `sun_path` (linux/un.h) less the closing zero.
pub const MAX_PATH_BYTES: usize = 107;

/// Connections that may wait to be accepted. One front-end is served at a time; the rest is room for
/// one that comes again before its old connection is seen to be gone.
const BACKLOG: i32 = 8;

/// Why the socket cannot be made. The operator is at fault; the daemon refuses to start.
#[derive(Debug, Error)]
pub enum ListenError {
    /// More bytes than a socket address holds.
    #[error("{}: the path has {len} bytes, and a unix socket's may have {MAX_PATH_BYTES}", .path.display())]
    TooLong {
        /// The path.
        path: PathBuf,
        /// Its length in bytes.
        len: usize,
    },
    /// The directory does not exist.
    #[error("{}: the directory does not exist; make it first", .0.display())]
    NoDirectory(PathBuf),
    /// A process listens there.
    #[error("{}: another process is listening on this socket; end it or choose another path", .0.display())]
    Taken(PathBuf),
    /// There is something else, which we do not touch.
    #[error("{}: exists and is not a stream socket; remove it or choose another path", .0.display())]
    NotASocket(PathBuf),
    /// Something is not permitted.
    #[error("{}: may not {what}: {source}", .path.display())]
    Denied {
        /// What was being done.
        what: &'static str,
        /// The path.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// Anything else the kernel may refuse.
    #[error("{}: cannot {what}: {source}", .path.display())]
    Failed {
        /// What was being done.
        what: &'static str,
        /// The path.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
}

impl ListenError {
    fn new(what: &'static str, path: &Path, errno: Errno) -> Self {
        let path = path.to_owned();
        match errno {
            Errno::NOENT | Errno::NOTDIR => Self::NoDirectory(path),
            Errno::ADDRINUSE => Self::Taken(path),
            Errno::ACCESS | Errno::PERM | Errno::ROFS => Self::Denied {
                what,
                path,
                source: errno.into(),
            },
            _ => Self::Failed {
                what,
                path,
                source: errno.into(),
            },
        }
    }
}

/// Why no connection was accepted although one may be waiting.
#[derive(Debug, Error)]
pub enum AcceptError {
    /// No file descriptor or memory is left. The connection keeps waiting: the caller logs this once
    /// and tries again later, because the listener stays readable.
    #[error("a connection is waiting and no descriptor or memory is left for it: {0}")]
    Exhausted(#[source] io::Error),
    /// The listener itself is of no more use: the caller ends the port.
    #[error("the listening socket failed: {0}")]
    Failed(#[source] io::Error),
}

/// A listening unix stream socket. Dropping it removes its file, if that is still the one we made.
#[derive(Debug)]
pub struct Listener {
    socket: UnixListener,
    /// Whoever passed us a listening socket also keeps its file.
    file: Option<SocketFile>,
}

impl Listener {
    /// Makes the socket at `path` with these permission bits and this group (ours if `None`).
    ///
    /// Nobody can connect before mode and group are set, because the socket listens only afterwards.
    /// A socket file that nobody listens on any more is replaced.
    pub fn bind(path: &Path, mode: u32, group: Option<u32>) -> Result<Self, ListenError> {
        let address = address(path)?;
        let _lock = file::lock_directory(path)?;
        clear_the_way(path, &address)?;
        let socket = stream_socket().map_err(|e| ListenError::new("make a socket", path, e))?;
        // The file is born with the socket's mode: nobody may use it until it is set below.
        rustix::fs::fchmod(&socket, Mode::empty())
            .map_err(|e| ListenError::new("set the mode", path, e))?;
        rustix::net::bind(&socket, &address)
            .map_err(|e| ListenError::new("make the socket file", path, e))?;
        let file = SocketFile::just_bound(path)?;
        file.set_access(mode, group)?;
        rustix::net::listen(&socket, BACKLOG).map_err(|e| ListenError::new("listen", path, e))?;
        Ok(Self {
            socket: UnixListener::from(socket),
            file: Some(file),
        })
    }

    /// The listener whose file another process keeps.
    pub(crate) fn without_file(socket: OwnedFd) -> Self {
        Self {
            socket: UnixListener::from(socket),
            file: None,
        }
    }

    /// Takes the listener apart: the socket for whoever accepts, the file for whoever is to remove it.
    pub(crate) fn into_parts(self) -> (OwnedFd, Option<SocketFile>) {
        (self.socket.into(), self.file)
    }

    /// Accepts one connection, non-blocking as the listener is; `None` when none is waiting.
    pub fn accept(&self) -> Result<Option<UnixStream>, AcceptError> {
        loop {
            match rustix::net::accept_with(
                &self.socket,
                SocketFlags::CLOEXEC | SocketFlags::NONBLOCK,
            ) {
                Ok(stream) => return Ok(Some(UnixStream::from(stream))),
                Err(Errno::AGAIN) => return Ok(None),
                Err(Errno::INTR | Errno::CONNABORTED) => {}
                Err(e @ (Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM)) => {
                    return Err(AcceptError::Exhausted(e.into()));
                }
                Err(e) => return Err(AcceptError::Failed(e.into())),
            }
        }
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// The socket address of a path.
fn address(path: &Path) -> Result<SocketAddrUnix, ListenError> {
    let len = path.as_os_str().len();
    if len > MAX_PATH_BYTES {
        return Err(ListenError::TooLong {
            path: path.to_owned(),
            len,
        });
    }
    SocketAddrUnix::new(path).map_err(|e| ListenError::new("name the socket", path, e))
}

fn stream_socket() -> Result<OwnedFd, Errno> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)
}

/// Removes a socket that nobody listens on, and nothing else.
fn clear_the_way(path: &Path, address: &SocketAddrUnix) -> Result<(), ListenError> {
    match file::is_socket(path) {
        Err(Errno::NOENT) => return Ok(()),
        Err(e) => return Err(ListenError::new("look at it", path, e)),
        Ok(false) => return Err(ListenError::NotASocket(path.to_owned())),
        Ok(true) => {}
    }
    let probe = stream_socket().map_err(|e| ListenError::new("make a socket", path, e))?;
    match rustix::net::connect(&probe, address) {
        // A full queue of connections is a live listener too.
        Ok(()) | Err(Errno::AGAIN) => Err(ListenError::Taken(path.to_owned())),
        Err(Errno::CONNREFUSED) => match rustix::fs::unlink(path) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(e) => Err(ListenError::new("replace the stale socket", path, e)),
        },
        Err(Errno::NOENT) => Ok(()),
        Err(Errno::PROTOTYPE) => Err(ListenError::NotASocket(path.to_owned())),
        Err(e) => Err(ListenError::new("tell whether somebody listens", path, e)),
    }
}
