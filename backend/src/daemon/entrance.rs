//! Where front-ends come in: a listener, a peer to connect to, or one connection handed over.

use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use crate::args::FrontEnd;
use crate::listen::{AcceptError, Connector, FdError, Inherited, ListenError, Listener, from_fd};

/// How long to leave a listener alone when there is no descriptor left for a connection.
const EXHAUSTED_WAIT: Duration = Duration::from_millis(200);

/// The front-end cannot be met as asked.
#[derive(Debug, thiserror::Error)]
pub enum EntranceError {
    /// The path given is of no use.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// The descriptor given is of no use.
    #[error(transparent)]
    Fd(#[from] FdError),
}

#[derive(Debug)]
enum Kind {
    Listen(Listener),
    Connect(Connector),
    /// The one connection, until it is used.
    Once(Option<UnixStream>),
}

/// Gives connections of front-ends, one after the other.
#[derive(Debug)]
pub(super) struct Entrance {
    kind: Kind,
    /// Not to be tried before.
    pause: Option<Instant>,
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

impl Entrance {
    /// Takes the descriptor that was handed in, if that is what the command line asks for.
    pub(super) fn inherited(front_end: &FrontEnd) -> Result<Option<Self>, EntranceError> {
        let FrontEnd::Fd(fd) = front_end else {
            return Ok(None);
        };
        Ok(Some(Self::new(match from_fd(*fd)? {
            Inherited::Listening(listener) => Kind::Listen(listener),
            Inherited::Connected(stream) => Kind::Once(Some(stream)),
        })))
    }

    /// Opens what the command line asks for.
    pub(super) fn open(front_end: &FrontEnd) -> Result<Self, EntranceError> {
        Ok(match front_end {
            FrontEnd::Listen { path, mode, group } => {
                Self::new(Kind::Listen(Listener::bind(path, *mode, *group)?))
            }
            FrontEnd::Connect { path } => Self::new(Kind::Connect(Connector::new(path)?)),
            // Taken already: this says so.
            FrontEnd::Fd(fd) => return Err(FdError::Twice(*fd).into()),
        })
    }

    const fn new(kind: Kind) -> Self {
        Self { kind, pause: None }
    }

    /// What to watch for arrivals, if there is such a thing.
    pub(super) fn fd(&self) -> Option<RawFd> {
        match &self.kind {
            Kind::Listen(listener) => Some(listener.as_fd().as_raw_fd()),
            Kind::Connect(_) | Kind::Once(_) => None,
        }
    }

    /// When to try again without being told by [`Self::fd`]; `busy` while a session runs.
    pub(super) fn retry_at(&self, busy: bool, now: Instant) -> Option<Instant> {
        match self.kind {
            Kind::Listen(_) => self.pause,
            Kind::Connect(_) | Kind::Once(_) if busy => None,
            Kind::Connect(_) | Kind::Once(_) => Some(self.pause.unwrap_or(now)),
        }
    }

    /// Whether arrivals are not to be looked at for now.
    pub(super) fn is_paused(&self, now: Instant) -> bool {
        self.pause.is_some_and(|until| until > now)
    }

    /// Looks for a front-end.
    pub(super) fn arrival(&mut self, now: Instant) -> Arrival {
        if self.is_paused(now) {
            return Arrival::None;
        }
        self.pause = None;
        match &mut self.kind {
            Kind::Once(stream) => stream.take().map_or(Arrival::Ended, Arrival::Connection),
            Kind::Listen(listener) => match listener.accept() {
                Ok(connection) => connection.map_or(Arrival::None, Arrival::Connection),
                Err(AcceptError::Failed(error)) => {
                    log::error!("event=listen-failed: {error}; restart the daemon");
                    Arrival::Ended
                }
                Err(error @ AcceptError::Exhausted(_)) => {
                    log::warn!("event=accept-failed: {error}");
                    self.pause = now.checked_add(EXHAUSTED_WAIT);
                    Arrival::None
                }
            },
            Kind::Connect(connector) => match connector.connect() {
                Ok(stream) => Arrival::Connection(stream),
                Err(error) => {
                    if connector.failures() == 1 {
                        log::info!("event=connect-retry: {error}");
                    }
                    self.pause = now.checked_add(connector.wait());
                    Arrival::None
                }
            },
        }
    }
}
