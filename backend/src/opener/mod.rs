//! A small process that keeps the privileges, so that the daemon itself can go without.
//!
//! The daemon starts itself a second time, with [`FLAG`], before it has a thread and before any guest
//! byte is seen. That process opens uplinks and sockets on request and passes their descriptors, one
//! JSON packet each over a socket pair that is its standard input. It believes nothing: what may be
//! opened is its [`Policy`], made from the operator's own words as it reads them itself.
//!
//! It keeps no descriptor of what it has opened. It ends when the daemon does: asked to
//! ([`Opener::end`]), it removes the socket files it made; left alone by a daemon that died, it leaves
//! them, and never touches a tap, so that the daemon's next life finds all as it was.
//!
//! # How the daemon starts, in this order
//!
//! 1. Parse the command line. If it has [`FLAG`] (hidden, no value): [`serve()`] with a closure that makes
//!    the [`Policy`] of [`Config`](crate::config::Config), read anew each time, and end with its result.
//!    The flag is added to the daemon's own arguments, so the closure sees what the daemon sees.
//! 2. Parse the configuration; take over inherited sockets ([`listen::from_fd`](crate::listen::from_fd)).
//! 3. [`Opener::start`], or [`Opener::direct`] when there are no privileges to keep ([`is_privileged`], or told
//!    so by `--no-opener`): then the daemon does the same by itself, and can open only what any process
//!    of its user can.
//! 4. Make what needs the file system: the private socket of the engines
//!    ([`EngineFactory::new`](crate::engine::EngineFactory::new)), a metrics listener on TCP. Signals too.
//! 5. [`sandbox::enter`](crate::sandbox::enter), still before the first thread; log its report.
//! 6. Through the opener: uplinks, listeners, the control socket. Then threads, and guests.
//! 7. On a reload: read the file, [`Opener::reload`], then open what is new. In client mode, connect with
//!    [`Connector::connect_by`](crate::listen::Connector::connect_by).
//! 8. At the clean end: [`Opener::remove`] every uplink, then [`Opener::end`].
//!
//! Watch [`Opener::fd`]: it becomes readable when the process has ended. Guests then go on.

mod error;
mod policy;
mod remote;
mod serve;
mod service;
mod sys;
#[cfg(test)]
pub(crate) mod tests;
mod wire;

use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

pub use self::error::OpenerError;
pub use self::policy::Policy;
use self::remote::Remote;
pub use self::serve::{ServeError, serve};
use self::service::Service;
use self::wire::{Given, Refusal, RefusalKind, Request, Wanted};
use crate::config::UplinkConfig;
use crate::control::answer::ProcessState;
use crate::listen::Listener;
use crate::uplink::Uplink;

/// The hidden option that makes the program the opener.
pub const FLAG: &str = "--opener";

/// Whether this process has a capability that opening takes, so that there is something to keep.
pub fn is_privileged() -> bool {
    rustix::thread::capabilities(None).is_ok_and(|sets| sets.permitted.intersects(serve::KEPT))
}

/// How long the opener may take for one request. A tap that is taken is waited for a second; the rest is
/// room for a busy host.
pub const DEADLINE: Duration = Duration::from_secs(5);

/// Opens what needs privileges, in a process of its own or in this one. Every call waits for its result,
/// at most [`DEADLINE`]. Dropping it is [`Opener::end`].
#[derive(Debug)]
pub struct Opener {
    side: Option<Side>,
}

#[derive(Debug)]
enum Side {
    Remote(Remote),
    Direct(Box<Service>),
}

impl Opener {
    /// Starts this program again as the opener, with the same arguments and [`FLAG`] before them.
    ///
    /// # Errors
    /// When no process can be started, or it cannot read its configuration.
    pub fn start() -> Result<Self, OpenerError> {
        let mut arguments = std::env::args_os();
        // What runs now, though its file may have been replaced.
        let mut command = Command::new("/proc/self/exe");
        if let Some(name) = arguments.next() {
            command.arg0(name);
        }
        command.arg(FLAG).args(arguments);
        Self::start_as(command)
    }

    /// Starts this command, which is to call [`serve()`].
    pub(crate) fn start_as(command: Command) -> Result<Self, OpenerError> {
        let remote = Remote::start(command)?;
        Ok(Self {
            side: Some(Side::Remote(remote)),
        })
    }

    /// No process: everything is opened by this one, with what it has.
    pub fn direct() -> Self {
        Self {
            side: Some(Side::Direct(Box::new(Service::trusting()))),
        }
    }

    /// Readable when the opener's process has ended, or when an answer has come too late;
    /// [`Opener::has_ended`] tells. `None` if there is no process.
    pub fn fd(&self) -> Option<BorrowedFd<'_>> {
        match &self.side {
            Some(Side::Remote(remote)) => Some(remote.fd()),
            _ => None,
        }
    }

    /// Whether the opener's process has ended; answers that came too late are thrown away.
    pub fn has_ended(&mut self) -> bool {
        match &mut self.side {
            Some(Side::Remote(remote)) => remote.has_ended(),
            Some(Side::Direct(_)) => false,
            None => true,
        }
    }

    /// Opens the uplink, making it where its kind allows.
    ///
    /// # Errors
    /// When the configuration that the opener has read does not have it like this, or it cannot be had.
    pub fn uplink(&mut self, config: &UplinkConfig) -> Result<Uplink, OpenerError> {
        match self.ask(Request::Uplink(Wanted::from(config)), Vec::new())? {
            (Given::Uplink(facts), fds) => {
                Uplink::from_parts(facts, fds).map_err(|e| OpenerError::Protocol(e.to_string()))
            }
            other => Err(unexpected(&other)),
        }
    }

    /// Sets the MTU, in bytes, of the tap or macvtap of this name in the configuration; other kinds have none
    /// of their own. Whoever has it does not learn of it: [`Uplink::mtu`] stays.
    ///
    /// # Errors
    /// When this opener has not opened it, or the kernel refuses.
    pub fn set_mtu(&mut self, uplink: &str, mtu: u16) -> Result<(), OpenerError> {
        let uplink = uplink.to_owned();
        self.do_it(Request::SetMtu { uplink, mtu }, Vec::new())
    }

    /// The clean end of an uplink: it goes away if we made it.
    ///
    /// # Errors
    /// When this opener has not opened it, or the kernel refuses. Its descriptors are closed all the same.
    pub fn remove(&mut self, uplink: Uplink) -> Result<(), OpenerError> {
        let (facts, fds) = uplink.into_parts();
        let uplink = facts.name;
        self.do_it(Request::Remove { uplink }, fds)
    }

    /// Makes the socket at `path` as [`Listener::bind`] does. Its file stays when the listener is
    /// dropped, until [`Opener::unlisten`] or [`Opener::end`].
    ///
    /// # Errors
    /// When the configuration does not name it, or it cannot be made.
    pub fn listener(
        &mut self,
        path: &Path,
        mode: u32,
        group: Option<u32>,
    ) -> Result<Listener, OpenerError> {
        let path = path.to_owned();
        let socket = self.socket(Request::Listen { path, mode, group })?;
        Ok(Listener::without_file(socket))
    }

    /// Removes the file of a socket made by [`Opener::listener`], if it is still the same.
    ///
    /// # Errors
    /// When this opener has not made it.
    pub fn unlisten(&mut self, path: &Path) -> Result<(), OpenerError> {
        let path = path.to_owned();
        self.do_it(Request::Unlisten { path }, Vec::new())
    }

    /// Changes the permission bits and the group (ours if `None`) of a socket made by [`Opener::listener`].
    ///
    /// # Errors
    /// When this opener has not made it, or may not give it to that group.
    pub fn set_access(
        &mut self,
        path: &Path,
        mode: u32,
        group: Option<u32>,
    ) -> Result<(), OpenerError> {
        let path = path.to_owned();
        self.do_it(Request::SetAccess { path, mode, group }, Vec::new())
    }

    /// Connects once, without waiting, to a front-end that listens.
    ///
    /// # Errors
    /// When the configuration does not name the socket, or nobody listens there.
    pub fn connect(&mut self, path: &Path) -> Result<UnixStream, OpenerError> {
        let path = path.to_owned();
        Ok(self.socket(Request::Connect { path })?.into())
    }

    /// What the opener's process may; none where it is this one.
    ///
    /// # Errors
    /// When it cannot be had.
    pub fn state(&mut self) -> Result<Option<ProcessState>, OpenerError> {
        if matches!(self.side, Some(Side::Direct(_))) {
            return Ok(None);
        }
        match self.ask(Request::State, Vec::new())? {
            (Given::State(state), _) => Ok(Some(state)),
            other => Err(unexpected(&other)),
        }
    }

    /// Has the opener read the configuration again. What is open stays so.
    ///
    /// # Errors
    /// When that cannot be read: then what was allowed before still is.
    pub fn reload(&mut self) -> Result<(), OpenerError> {
        self.do_it(Request::Reload, Vec::new())
    }

    /// The clean end: removes the files of all sockets made, and waits for the process to end. Whatever is
    /// asked of it afterwards is answered with [`OpenerError::Gone`].
    ///
    /// # Errors
    /// When the process does not answer; the files stay then, and the next start replaces them.
    pub fn end(&mut self) -> Result<(), OpenerError> {
        if self.side.is_none() {
            return Ok(());
        }
        let done = self.do_it(Request::End, Vec::new());
        if let (Ok(()), Some(Side::Remote(remote))) = (&done, self.side.take()) {
            remote.join();
        }
        done
    }

    fn socket(&mut self, request: Request) -> Result<OwnedFd, OpenerError> {
        let (given, mut fds) = self.ask(request, Vec::new())?;
        match (&given, fds.pop()) {
            (Given::Socket, Some(socket)) if fds.is_empty() => Ok(socket),
            _ => Err(unexpected(&(given, fds))),
        }
    }

    fn do_it(&mut self, request: Request, fds: Vec<OwnedFd>) -> Result<(), OpenerError> {
        match self.ask(request, fds)? {
            (Given::Done, fds) if fds.is_empty() => Ok(()),
            other => Err(unexpected(&other)),
        }
    }

    fn ask(
        &mut self,
        request: Request,
        fds: Vec<OwnedFd>,
    ) -> Result<(Given, Vec<OwnedFd>), OpenerError> {
        match &mut self.side {
            Some(Side::Remote(remote)) => remote.ask(request, &fds),
            Some(Side::Direct(service)) => Ok(service.serve(request, fds)?),
            None => Err(OpenerError::Gone),
        }
    }
}

impl Drop for Opener {
    fn drop(&mut self) {
        if let Err(error) = self.end() {
            log::debug!(event = "opener-end-failed"; "{error}");
        }
    }
}

impl From<Refusal> for OpenerError {
    fn from(Refusal { kind, message }: Refusal) -> Self {
        match kind {
            RefusalKind::NotAllowed => Self::NotAllowed(message),
            RefusalKind::Exhausted => Self::Exhausted(message),
            RefusalKind::Failed => Self::Failed(message),
            RefusalKind::Malformed => Self::Protocol(message),
        }
    }
}

fn unexpected((given, fds): &(Given, Vec<OwnedFd>)) -> OpenerError {
    OpenerError::Protocol(format!("{given:?} with {} descriptors", fds.len()))
}
