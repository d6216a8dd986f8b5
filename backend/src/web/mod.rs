//! The counters over HTTP, read only: `/metrics` for Prometheus, `/api/report` and the page at `/` for
//! people.
//!
//! It is one thread that knows nothing but a connection to the control socket's callers, so whatever its
//! clients do costs the guests no more than any other caller of the control socket can. The socket is
//! made before the sandbox is entered ([`Listener::bind`]), the thread after it ([`Listener::serve`]).
//!
//! There is no password. What is bound to loopback is for the users of this machine; there a page of
//! another site cannot read it either, because only requests that name this machine are answered (see
//! [`address::names_this_machine`]). Anything else is for those who can reach the address.

pub mod address;
mod answers;
mod page;
mod reply;
mod server;

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::thread::{self, JoinHandle};

use thiserror::Error;
use tokio::runtime;
use tokio::sync::oneshot;

pub use self::address::{Address, AddressError};
use crate::control::Client;
use crate::sandbox::{Role, seccomp};

/// Why counters cannot be told over HTTP. The operator or the host is at fault; the daemon does not start.
#[derive(Debug, Error)]
pub enum WebError {
    /// The address cannot be had.
    #[error(
        "cannot listen on {address} for metrics: {error}; is it another's, or not of this host?"
    )]
    Bind {
        /// Where.
        address: SocketAddr,
        /// What the kernel says.
        #[source]
        error: io::Error,
    },
    /// The thread cannot be had.
    #[error(
        "cannot start the thread that answers HTTP: {0}; check the limits on files and threads"
    )]
    Thread(#[source] io::Error),
}

/// A socket that listens, and nobody answers on yet.
#[derive(Debug)]
pub struct Listener {
    socket: TcpListener,
    address: SocketAddr,
}

impl Listener {
    /// Listens there. Port 0 is any that is free.
    ///
    /// # Errors
    /// [`WebError::Bind`].
    pub fn bind(Address(address): Address) -> Result<Self, WebError> {
        let bound = || {
            let socket = TcpListener::bind(address)?;
            socket.set_nonblocking(true)?;
            let address = socket.local_addr()?;
            Ok(Self { socket, address })
        };
        bound().map_err(|error| WebError::Bind { address, error })
    }

    /// Where it listens.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Answers from now on, on a thread of its own, with what is told over this connection to the control
    /// socket.
    ///
    /// # Errors
    /// [`WebError::Thread`].
    pub fn serve(self, control: UnixStream) -> Result<Server, WebError> {
        let client = Client::over(control, Path::new("control"));
        let (end, ended) = oneshot::channel();
        let runtime = runtime::Builder::new_current_thread()
            .enable_all()
            .max_blocking_threads(1)
            .thread_name("http-control")
            .build()
            .map_err(WebError::Thread)?;
        let serve = move || {
            if let Err(error) = seccomp::enter(Role::Web) {
                log::error!(socket = "metrics", event = "not-confined"; "{error}; restart the daemon");
                return;
            }
            let served = runtime.block_on(server::serve(self.socket, self.address, client, ended));
            if let Err(error) = served {
                log::error!(socket = "metrics", event = "listen-failed"; "{error}; restart the daemon");
            }
            // A request to the daemon that is under way has nobody left who waits for it.
            runtime.shutdown_background();
        };
        let thread = thread::Builder::new().name("http".to_owned()).spawn(serve);
        Ok(Server {
            end: Some(end),
            thread: Some(thread.map_err(WebError::Thread)?),
        })
    }
}

/// The thread that answers. Dropping it ends it, and all connections.
#[derive(Debug)]
pub struct Server {
    end: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.end.take());
        if let Some(thread) = self.thread.take() {
            // One that panicked has said so.
            let _ = thread.join();
        }
    }
}
