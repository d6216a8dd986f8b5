//! Why a command fails, and with which exit code.

use std::io;
use std::path::PathBuf;

use netqos::control::ClientError;
use thiserror::Error;

use crate::packet::PacketError;
use crate::simulate;

/// Why a command does not do what it should.
#[derive(Debug, Error)]
pub(crate) enum Failure {
    /// The daemon refuses, or cannot be reached.
    #[error(transparent)]
    Daemon(#[from] ClientError),
    /// What the operator gave is wrong.
    #[error(transparent)]
    Input(#[from] InputError),
    /// The result cannot be printed.
    #[error("cannot print the result: {0}")]
    Print(#[from] io::Error),
    /// A file cannot be written.
    #[error("{}: {error}", path.display())]
    Write {
        /// Which.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// Nothing can be simulated.
    #[error(transparent)]
    Simulate(#[from] simulate::Failure),
}

/// What the operator gave that cannot be used.
#[derive(Debug, Error)]
pub(crate) enum InputError {
    /// A file that cannot be read.
    #[error("{}: {error}", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// A file that is not TOML.
    #[error("{}: {error}", path.display())]
    Toml {
        /// Which.
        path: PathBuf,
        /// Where and why.
        error: Box<toml::de::Error>,
    },
    /// One key said by an option and by a file.
    #[error("{}: {key} is given by an option already: say it once", path.display())]
    Twice {
        /// Which file.
        path: PathBuf,
        /// The key.
        key: String,
    },
    /// A live screen without a terminal.
    #[error("a live screen needs a terminal: use show, or show --watch, instead")]
    NoTerminal,
    /// A capture file on a terminal.
    #[error("standard output is a terminal: write -w FILE, or pipe it into a program")]
    BytesOnTerminal,
    /// Words that are no frame.
    #[error(transparent)]
    Packet(#[from] PacketError),
    /// One setting twice.
    #[error("{0} is given more than once")]
    Repeated(String),
}

impl Failure {
    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            Self::Daemon(ClientError::Refused(refusal)) if refusal.conflict.is_some() => 3,
            Self::Daemon(ClientError::Connect { .. }) => 4,
            Self::Daemon(_) | Self::Print(_) | Self::Write { .. } => 1,
            Self::Input(_) => 2,
            Self::Simulate(failure) => failure.exit_code(),
        }
    }

    /// Whether whoever reads the output has seen enough, as with `head`.
    pub(crate) fn is_broken_pipe(&self) -> bool {
        match self {
            Self::Print(error) | Self::Simulate(simulate::Failure::Print(error)) => {
                error.kind() == io::ErrorKind::BrokenPipe
            }
            _ => false,
        }
    }
}
