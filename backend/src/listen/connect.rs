//! Client mode: the front-end listens, and we connect as often as it takes.

use std::io;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::SocketAddrUnix;
use thiserror::Error;

use super::ListenError;

/// Wait after the first failure. A front-end that restarts is back in about this time.
const FIRST_WAIT: Duration = Duration::from_millis(100);

/// Longest wait: a guest whose front-end comes back is without a network at most this long.
const LONGEST_WAIT: Duration = Duration::from_secs(1);

/// Why a connection could not be made just now. The front-end or the operator is at fault; the caller
/// logs the first of a row ([`Connector::failures`]) and tries again after [`Connector::wait`].
#[derive(Debug, Error)]
pub enum ConnectError {
    /// Nobody listens there, or not yet.
    #[error("{}: no front-end is listening yet", .0.display())]
    NobodyListens(PathBuf),
    /// Its queue of connections is full.
    #[error("{}: the front-end does not accept connections", .0.display())]
    Busy(PathBuf),
    /// The socket is there and not for us.
    #[error("{}: may not connect, the socket's permissions do not let us in: {source}", .path.display())]
    Denied {
        /// The path.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// Anything else, such as a file that is no socket.
    #[error("{}: cannot connect: {source}", .path.display())]
    Failed {
        /// The path.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
}

/// Connects to a front-end that listens, and remembers how often that failed. It has no timer of its
/// own: the caller waits.
#[derive(Debug)]
pub struct Connector {
    path: PathBuf,
    address: SocketAddrUnix,
    failures: u32,
}

impl Connector {
    /// A connector to this path, which need not exist yet.
    pub fn new(path: &Path) -> Result<Self, ListenError> {
        Ok(Self {
            path: path.to_owned(),
            address: super::address(path)?,
            failures: 0,
        })
    }

    /// Tries once, without blocking.
    pub fn connect(&mut self) -> Result<UnixStream, ConnectError> {
        let tried = self.try_connect().map_err(|errno| self.error(errno));
        self.count(tried)
    }

    /// Tries once by way of somebody else, such as the process that may connect when we may not.
    pub fn connect_by<E>(
        &mut self,
        connect: impl FnOnce(&Path) -> Result<UnixStream, E>,
    ) -> Result<UnixStream, E> {
        let tried = connect(&self.path);
        self.count(tried)
    }

    fn count<E>(&mut self, tried: Result<UnixStream, E>) -> Result<UnixStream, E> {
        self.failures = match tried {
            Ok(_) => 0,
            Err(_) => self.failures.saturating_add(1),
        };
        tried
    }

    /// How many tries in a row have failed.
    pub fn failures(&self) -> u32 {
        self.failures
    }

    /// How long to wait before the next try: nothing at first, then doubling up to a second.
    pub fn wait(&self) -> Duration {
        match self.failures.checked_sub(1) {
            None => Duration::ZERO,
            // Five doublings are past the longest wait already.
            Some(before) => (FIRST_WAIT * (1 << before.min(5))).min(LONGEST_WAIT),
        }
    }

    fn try_connect(&self) -> Result<UnixStream, Errno> {
        let socket = super::stream_socket()?;
        rustix::io::retry_on_intr(|| rustix::net::connect(&socket, &self.address))?;
        Ok(UnixStream::from(socket))
    }

    fn error(&self, errno: Errno) -> ConnectError {
        let path = self.path.clone();
        let source = io::Error::from(errno);
        match errno {
            Errno::NOENT | Errno::CONNREFUSED => ConnectError::NobodyListens(path),
            Errno::AGAIN => ConnectError::Busy(path),
            Errno::ACCESS | Errno::PERM => ConnectError::Denied { path, source },
            _ => ConnectError::Failed { path, source },
        }
    }
}
