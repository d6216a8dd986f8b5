//! The opener's process from within.

use std::ffi::CStr;
use std::fmt::Display;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use rustix::net::{AddressFamily, SocketType, sockopt};
use rustix::process::{Resource, getrlimit, setrlimit};
use rustix::thread::CapabilitySet;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1, SIGUSR2};
use thiserror::Error;

use super::policy::Policy;
use super::service::Service;
use super::wire::{
    Answer, Channel, Fault, Given, Numbered, Received, Refusal, RefusalKind, Request,
};
use crate::sandbox::{self, Role, seccomp};

/// What `ps` and `top` call the process.
const NAME: &CStr = c"netqos-opener";

/// Signals that are meant for the daemon, and reach its whole process group or service: from a terminal,
/// a service manager, or `killall`. The opener ends when the daemon does, not before.
const IGNORED: [i32; 5] = [SIGHUP, SIGINT, SIGTERM, SIGUSR1, SIGUSR2];

/// What opening takes: links and packet sockets; a macvtap's device node, where the host makes none;
/// directories, groups and modes of sockets that are another user's; configuration files likewise.
pub(super) const KEPT: CapabilitySet = CapabilitySet::NET_ADMIN
    .union(CapabilitySet::NET_RAW)
    .union(CapabilitySet::MKNOD)
    .union(CapabilitySet::SYS_ADMIN)
    .union(CapabilitySet::CHOWN)
    .union(CapabilitySet::FOWNER)
    .union(CapabilitySet::DAC_OVERRIDE)
    .union(CapabilitySet::DAC_READ_SEARCH);

/// Why the opener's process ended other than with the daemon.
#[derive(Debug, Error)]
pub enum ServeError {
    /// Somebody else than the daemon started it.
    #[error("{flag} is for the daemon's own use: standard input is not its socket", flag = super::FLAG)]
    NotOurs,
    /// The system is out of something it needs from the start, or a socket failed.
    #[error("the process that keeps the privileges cannot {0}: {1}")]
    System(&'static str, #[source] io::Error),
    /// Its configuration cannot be read. The daemon was told.
    #[error("the process that keeps the privileges cannot go on: {0}")]
    Load(String),
    /// It could not be left with less than it was started with.
    #[error(transparent)]
    Sandbox(#[from] sandbox::SandboxError),
}

/// Opens what the daemon at the other end of standard input asks for, until that ends. `load` reads
/// command line and configuration file anew, now and at each reload.
///
/// # Errors
/// When standard input is not the daemon's socket, or the configuration cannot be read.
pub fn serve<E: Display>(
    mut load: impl FnMut() -> Result<Policy, E> + Send + 'static,
) -> Result<(), ServeError> {
    let channel = channel()?;
    for signal in IGNORED {
        signal_hook::flag::register(signal, Arc::new(AtomicBool::new(false)))
            .map_err(|e| ServeError::System("ignore signals", e))?;
    }
    // Only a name: without it, all works.
    let _ = rustix::thread::set_name(NAME);
    // Each socket's file is pinned by a descriptor, and a reload may bring more of them.
    let mut files = getrlimit(Resource::Nofile);
    files.current = files.maximum;
    setrlimit(Resource::Nofile, files)
        .map_err(|e| ServeError::System("raise its limit on open files", e.into()))?;
    sandbox::keep_only(KEPT)?;
    let load = Box::new(move || load().map_err(|error| error.to_string()));
    let mut service = match Service::checking(load) {
        Ok(service) => service,
        Err(message) => {
            answer(
                &channel,
                0,
                Err(Refusal::new(RefusalKind::Failed, &message)),
            )?;
            return Err(ServeError::Load(message));
        }
    };
    seccomp::prepare(service.seccomp())?;
    seccomp::enter(Role::Opener)?;
    answer(&channel, 0, Ok((Given::Done, Vec::new())))?;
    match serve_requests(&channel, &mut service) {
        Err(error) => {
            service.leave();
            Err(error)
        }
        Ok(Ended::Asked) => Ok(()),
        Ok(Ended::Abandoned) => {
            service.leave();
            Ok(())
        }
    }
}

enum Ended {
    /// The daemon said so.
    Asked,
    /// The daemon died.
    Abandoned,
}

fn serve_requests(channel: &Channel, service: &mut Service) -> Result<Ended, ServeError> {
    loop {
        let (number, done, last) = match channel.receive::<Request>(None) {
            Ok(Received { number, body, fds }) => {
                let last = body == Request::End;
                let done = fds
                    .ok_or_else(lost)
                    .and_then(|fds| service.serve(body, fds));
                (number, done, last)
            }
            Err(Fault::Closed) => return Ok(Ended::Abandoned),
            Err(Fault::Socket(errno)) => {
                return Err(ServeError::System("read its socket", errno.into()));
            }
            // Its number is unknown, so that of no request stands for it.
            Err(Fault::Malformed(what)) => {
                let refusal = Refusal::new(RefusalKind::Malformed, what);
                (0, Err(refusal), false)
            }
            // Not without a deadline.
            Err(Fault::Late) => continue,
        };
        if answer(channel, number, done).is_err() {
            return Ok(Ended::Abandoned);
        }
        if last {
            return Ok(Ended::Asked);
        }
    }
}

/// Descriptors came along and there was no room for them.
fn lost() -> Refusal {
    let text = "the opener has too many files open to take more";
    Refusal::new(RefusalKind::Exhausted, text)
}

/// Sends the answer; the opener's own copies of the descriptors are closed afterwards.
fn answer(
    channel: &Channel,
    number: u64,
    done: Result<(Given, Vec<OwnedFd>), Refusal>,
) -> Result<(), ServeError> {
    let (body, fds): (Answer, _) = match done {
        Ok((given, fds)) => (Ok(given), fds),
        Err(refusal) => (Err(refusal), Vec::new()),
    };
    match channel.send(&Numbered { number, body }, &fds, None) {
        Ok(()) => Ok(()),
        Err(Fault::Socket(errno)) => Err(ServeError::System("answer", errno.into())),
        Err(_) => Err(ServeError::System(
            "answer",
            io::ErrorKind::BrokenPipe.into(),
        )),
    }
}

/// Standard input, if it is what the daemon makes it.
fn channel() -> Result<Channel, ServeError> {
    let stdin = io::stdin();
    let is_ours = sockopt::socket_domain(&stdin) == Ok(AddressFamily::UNIX)
        && sockopt::socket_type(&stdin) == Ok(SocketType::SEQPACKET);
    if !is_ours {
        return Err(ServeError::NotOurs);
    }
    let socket = stdin.as_fd().try_clone_to_owned();
    Ok(Channel::new(socket.map_err(|e| {
        ServeError::System("take over its socket", e)
    })?))
}
