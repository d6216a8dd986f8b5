//! Why something was not opened.

use std::io;

use thiserror::Error;

use super::DEADLINE;

/// Why the opener did not do what it was asked for.
#[derive(Debug, Error)]
pub enum OpenerError {
    /// Its process did not start. The host is at fault; the daemon refuses to start.
    #[error(
        "cannot start the process that keeps the privileges: {0}; check the limits on processes and \
         memory, or go without it (--no-opener)"
    )]
    Start(#[source] io::Error),
    /// It started and has no use of its configuration. The operator is at fault.
    #[error("the process that keeps the privileges cannot go on: {0}")]
    NotReady(String),
    /// Its process has ended. Nothing can be opened any more; what is open stays so.
    #[error(
        "the process that keeps the privileges has ended; guests go on, and nothing new can be opened \
         until the daemon is restarted"
    )]
    Gone,
    /// It has not answered in time. An answer that comes later is thrown away.
    #[error(
        "the process that keeps the privileges has not answered in {} s; try again, or look what it \
         waits for",
        DEADLINE.as_secs()
    )]
    Late,
    /// The configuration does not name it.
    #[error("{0}")]
    NotAllowed(String),
    /// There was no file descriptor or memory left, on either side. Worth trying again later.
    #[error("{0}; close something, or raise the limit on open files")]
    Exhausted(String),
    /// It tried and could not: the message is that of the tap or socket concerned.
    #[error("{0}")]
    Failed(String),
    /// The request does not fit in a message, or the answer makes no sense. One of the two processes is
    /// broken.
    #[error("the process that keeps the privileges was not understood: {0}; restart the daemon")]
    Protocol(String),
}
