//! Where front-ends come in: a listener, a peer to connect to, or one connection handed over.

use std::io;
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use super::opening::{Listening, Opening};
use crate::args::FrontEnd;
use crate::listen::{AcceptError, Connector, FdError, Inherited, ListenError, from_fd};
use crate::opener::OpenerError;

/// How long to leave a listener alone when there is no descriptor left for a connection.
const EXHAUSTED_WAIT: Duration = Duration::from_millis(200);

/// The front-end cannot be met as asked.
#[derive(Debug, thiserror::Error)]
pub enum EntranceError {
    /// The path given is of no use.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// The socket cannot be made, or not be accessed as asked.
    #[error(transparent)]
    Open(#[from] OpenerError),
    /// The descriptor given is of no use.
    #[error(transparent)]
    Fd(#[from] FdError),
    /// No memory is left to watch it.
    #[error("cannot watch the front-end's socket: {0}")]
    Watch(#[source] io::Error),
}

#[derive(Debug)]
enum Kind {
    Listen(Listening),
    Connect(Connector, Opening),
    /// The one connection, until it is used.
    Once(Option<UnixStream>),
}

/// Gives connections of front-ends, one after the other.
#[derive(Debug)]
pub(super) struct Entrance {
    kind: Kind,
    /// Not to be tried before.
    pause: Option<Instant>,
    /// There was no descriptor left at the last try.
    exhausted: bool,
}

/// What a try brought.
#[derive(Debug)]
pub(super) enum Arrival {
    /// A front-end.
    Connection(UnixStream),
    /// None now; more may come.
    None,
    /// None any more.
    Ended,
}

/// Whether both meet their front-ends at the same socket: it is kept then, never opened twice.
pub(super) fn same_place(one: &FrontEnd, other: &FrontEnd) -> bool {
    match (one, other) {
        (FrontEnd::Listen { path: one, .. }, FrontEnd::Listen { path: other, .. }) => one == other,
        _ => one == other,
    }
}

impl Entrance {
    /// Takes the descriptor that was handed in, if that is what is asked for. For the start only.
    pub(super) fn inherited(front_end: &FrontEnd) -> Result<Option<Self>, EntranceError> {
        let FrontEnd::Fd(fd) = front_end else {
            return Ok(None);
        };
        Ok(Some(Self::new(match from_fd(*fd)? {
            Inherited::Listening(listener) => Kind::Listen(Listening::inherited(listener)),
            Inherited::Connected(stream) => Kind::Once(Some(stream)),
        })))
    }

    /// Opens what is asked for.
    pub(super) fn open(front_end: &FrontEnd, opener: &Opening) -> Result<Self, EntranceError> {
        Ok(match front_end {
            FrontEnd::Listen { path, mode, group } => {
                Self::new(Kind::Listen(opener.listen(path, *mode, *group)?))
            }
            FrontEnd::Connect { path } => {
                Self::new(Kind::Connect(Connector::new(path)?, opener.clone()))
            }
            FrontEnd::Fd(fd) => return Err(FdError::Late(*fd).into()),
        })
    }

    /// One that nobody comes through any more.
    pub(super) const fn closed() -> Self {
        Self::new(Kind::Once(None))
    }

    const fn new(kind: Kind) -> Self {
        Self {
            kind,
            pause: None,
            exhausted: false,
        }
    }

    /// Sets who may connect, where that is ours to say.
    pub(super) fn set_access(&self, front_end: &FrontEnd) -> Result<(), OpenerError> {
        match (&self.kind, front_end) {
            (Kind::Listen(listener), FrontEnd::Listen { mode, group, .. }) => {
                listener.set_access(*mode, *group)
            }
            _ => Ok(()),
        }
    }

    /// What to watch for arrivals, if there is such a thing.
    pub(super) fn fd(&self) -> Option<RawFd> {
        match &self.kind {
            Kind::Listen(listener) => Some(listener.as_fd().as_raw_fd()),
            Kind::Connect(..) | Kind::Once(_) => None,
        }
    }

    /// When to try again without being told by [`Self::fd`]; `busy` while a session runs.
    pub(super) fn retry_at(&self, busy: bool, now: Instant) -> Option<Instant> {
        match self.kind {
            Kind::Listen(_) => self.pause,
            Kind::Connect(..) | Kind::Once(_) if busy => None,
            Kind::Connect(..) | Kind::Once(_) => Some(self.pause.unwrap_or(now)),
        }
    }

    /// Leaves arrivals alone for a while: there is no descriptor, thread or memory left for one.
    pub(super) fn pause(&mut self, now: Instant) {
        self.pause = now.checked_add(EXHAUSTED_WAIT);
    }

    /// Whether arrivals are not to be looked at for now.
    pub(super) fn is_paused(&self, now: Instant) -> bool {
        self.pause.is_some_and(|until| until > now)
    }

    /// Looks for a front-end of `port`.
    pub(super) fn arrival(&mut self, port: &str, now: Instant) -> Arrival {
        if self.is_paused(now) {
            return Arrival::None;
        }
        self.pause = None;
        match &mut self.kind {
            Kind::Once(stream) => stream.take().map_or(Arrival::Ended, Arrival::Connection),
            Kind::Listen(listener) => match listener.accept() {
                Ok(connection) => {
                    self.exhausted = false;
                    connection.map_or(Arrival::None, Arrival::Connection)
                }
                Err(AcceptError::Failed(error)) => {
                    log::error!(port, event = "listen-failed"; "{error}; restart the daemon");
                    Arrival::Ended
                }
                Err(error @ AcceptError::Exhausted(_)) => {
                    if !self.exhausted {
                        self.exhausted = true;
                        log::warn!(port, event = "accept-failed"; "{error}");
                    }
                    self.pause(now);
                    Arrival::None
                }
            },
            Kind::Connect(connector, opener) => {
                match connector.connect_by(|path| opener.connect(path)) {
                    Ok(stream) => Arrival::Connection(stream),
                    Err(error) => {
                        if connector.failures() == 1 {
                            log::info!(port, event = "connect-retry"; "{error}");
                        }
                        self.pause = now.checked_add(connector.wait());
                        Arrival::None
                    }
                }
            }
        }
    }
}
