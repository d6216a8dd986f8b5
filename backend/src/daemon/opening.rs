//! The opener as all of the sessions thread share it, and the listening sockets it makes.

use std::cell::RefCell;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use crate::config::UplinkConfig;
use crate::control::answer::ProcessState;
use crate::listen::{AcceptError, Listener};
use crate::opener::{Opener, OpenerError};
use crate::uplink::Uplink;

/// A way to the opener; cheap to clone. Each call waits for the opener's answer.
#[derive(Clone, Debug)]
pub(super) struct Opening(Rc<RefCell<Opener>>);

impl Opening {
    pub(super) fn new(opener: Opener) -> Self {
        Self(Rc::new(RefCell::new(opener)))
    }

    /// What to watch for the end of the opener's process, if there is one.
    pub(super) fn fd(&self) -> Option<RawFd> {
        self.0.borrow().fd().map(|fd| fd.as_raw_fd())
    }

    /// Whether the opener's process has ended.
    pub(super) fn has_ended(&self) -> bool {
        self.0.borrow_mut().has_ended()
    }

    /// As [`Opener::uplink`].
    pub(super) fn uplink(&self, config: &UplinkConfig) -> Result<Uplink, OpenerError> {
        self.0.borrow_mut().uplink(config)
    }

    /// As [`Opener::set_mtu`].
    pub(super) fn set_mtu(&self, uplink: &str, mtu: u16) -> Result<(), OpenerError> {
        self.0.borrow_mut().set_mtu(uplink, mtu)
    }

    /// As [`Opener::remove`].
    pub(super) fn remove(&self, uplink: Uplink) -> Result<(), OpenerError> {
        self.0.borrow_mut().remove(uplink)
    }

    /// Makes the socket at `path`, as [`Listener::bind`] does.
    pub(super) fn listen(
        &self,
        path: &Path,
        mode: u32,
        group: Option<u32>,
    ) -> Result<Listening, OpenerError> {
        let listener = self.0.borrow_mut().listener(path, mode, group)?;
        let file = Some((path.to_owned(), self.clone()));
        Ok(Listening { listener, file })
    }

    /// As [`Opener::connect`].
    pub(super) fn connect(&self, path: &Path) -> Result<UnixStream, OpenerError> {
        self.0.borrow_mut().connect(path)
    }

    /// As [`Opener::state`]; none either if it has ended.
    pub(super) fn state(&self) -> Result<Option<ProcessState>, OpenerError> {
        match self.0.borrow_mut().state() {
            Err(OpenerError::Gone) => Ok(None),
            other => other,
        }
    }

    /// Has the opener read the configuration again. One that has ended is no reason to refuse a
    /// change that needs nothing opened.
    pub(super) fn reload(&self) -> Result<(), OpenerError> {
        match self.0.borrow_mut().reload() {
            Err(OpenerError::Gone) => Ok(()),
            other => other,
        }
    }

    /// The clean end, as [`Opener::end`].
    pub(super) fn end(&self) -> Result<(), OpenerError> {
        self.0.borrow_mut().end()
    }
}

/// A listening socket. Dropping it removes its file, if the opener made it here.
#[derive(Debug)]
pub(super) struct Listening {
    listener: Listener,
    file: Option<(PathBuf, Opening)>,
}

impl Listening {
    /// One that was handed in: its file is another's.
    pub(super) const fn inherited(listener: Listener) -> Self {
        Self {
            listener,
            file: None,
        }
    }

    /// As [`Listener::accept`].
    pub(super) fn accept(&self) -> Result<Option<UnixStream>, AcceptError> {
        self.listener.accept()
    }

    /// As [`Opener::set_access`], where the file is ours.
    pub(super) fn set_access(&self, mode: u32, group: Option<u32>) -> Result<(), OpenerError> {
        match &self.file {
            Some((path, opener)) => opener.0.borrow_mut().set_access(path, mode, group),
            None => Ok(()),
        }
    }
}

impl AsFd for Listening {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.listener.as_fd()
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        let Some((path, opener)) = &self.file else {
            return;
        };
        match opener.0.borrow_mut().unlisten(path) {
            // At the end the opener goes first, with all files.
            Ok(()) | Err(OpenerError::Gone) => {}
            Err(error) => log::debug!(event = "socket-stays"; "{error}"),
        }
    }
}
