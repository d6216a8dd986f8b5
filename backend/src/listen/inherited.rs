//! Sockets that whoever started us left open (`--fd N`). Turning a bare number into a descriptor is the
//! only `unsafe` code here.
#![allow(unsafe_code)]

use std::collections::BTreeSet;
use std::io;
use std::os::fd::{BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::sync::{Mutex, PoisonError};

use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketType, sockopt};
use thiserror::Error;

use super::Listener;

/// Numbers already taken into ownership; a descriptor has one owner.
static TAKEN: Mutex<BTreeSet<RawFd>> = Mutex::new(BTreeSet::new());

/// An inherited socket.
#[derive(Debug)]
pub enum Inherited {
    /// It listens: accept from it. Its file is not ours to remove.
    Listening(Listener),
    /// It is the one connection; when it ends there is no other.
    Connected(UnixStream),
}

/// Why an inherited descriptor is no use. Whoever started us is at fault; the daemon refuses to start.
#[derive(Debug, Error)]
pub enum FdError {
    /// The same number twice.
    #[error("file descriptor {0} is already in use: give each port one of its own")]
    Twice(RawFd),
    /// Asked for while the daemon runs, when the number could be a descriptor of its own.
    #[error("file descriptor {0}: an inherited socket can only be named at the start; restart")]
    Late(RawFd),
    /// Nothing is open at that number.
    #[error("file descriptor {0} is not open: did the parent process close it on exec?")]
    NotOpen(RawFd),
    /// It is something else.
    #[error("file descriptor {0} is not a unix stream socket")]
    NotAUnixStream(RawFd),
    /// A socket that neither listens nor has a peer.
    #[error("file descriptor {0} is a unix socket that neither listens nor is connected")]
    Idle(RawFd),
    /// Its flags cannot be set.
    #[error("file descriptor {fd}: {source}")]
    Failed {
        /// The number.
        fd: RawFd,
        /// What the kernel said.
        source: io::Error,
    },
}

/// Takes ownership of the inherited socket at number `fd`. For the start of the process only: later on
/// the number could be a descriptor that the process opened itself.
pub fn from_fd(fd: RawFd) -> Result<Inherited, FdError> {
    let mut taken = TAKEN.lock().unwrap_or_else(PoisonError::into_inner);
    if taken.contains(&fd) {
        return Err(FdError::Twice(fd));
    }
    let listens = inspect(fd)?;
    taken.insert(fd);
    // SAFETY: `inspect` found it open, and `TAKEN`, still locked, has shown that no call before took it.
    // It comes from the parent process, so nothing else in this one owns it.
    let socket = unsafe { OwnedFd::from_raw_fd(fd) };
    prepare(&socket).map_err(|e| FdError::Failed {
        fd,
        source: e.into(),
    })?;
    Ok(if listens {
        Inherited::Listening(Listener::without_file(socket))
    } else {
        Inherited::Connected(UnixStream::from(socket))
    })
}

/// Whether the unix stream socket at this number listens; anything else is an error.
fn inspect(fd: RawFd) -> Result<bool, FdError> {
    // SAFETY: F_GETFD takes any number, touches no memory and changes nothing.
    if unsafe { libc::fcntl(fd, libc::F_GETFD) } < 0 {
        return Err(FdError::NotOpen(fd));
    }
    // SAFETY: it is open, as just seen, and nobody closes it during this function.
    let socket = unsafe { BorrowedFd::borrow_raw(fd) };
    let is_unix_stream = sockopt::socket_domain(socket) == Ok(AddressFamily::UNIX)
        && sockopt::socket_type(socket) == Ok(SocketType::STREAM);
    if !is_unix_stream {
        return Err(FdError::NotAUnixStream(fd));
    }
    if sockopt::socket_acceptconn(socket) == Ok(true) {
        return Ok(true);
    }
    match rustix::net::getpeername(socket) {
        Ok(_) => Ok(false),
        Err(_) => Err(FdError::Idle(fd)),
    }
}

fn prepare(socket: &OwnedFd) -> Result<(), Errno> {
    rustix::io::fcntl_setfd(socket, rustix::io::FdFlags::CLOEXEC)?;
    rustix::io::ioctl_fionbio(socket, true)
}
