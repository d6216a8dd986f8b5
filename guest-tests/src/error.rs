//! What can go wrong in the harness. A test ends with one of these: nothing here is ever skipped over.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

/// A failure of the harness or of what it drives; the text is meant to be read in a test's output.
#[derive(thiserror::Error)]
pub enum Error {
    /// The machine lacks something the tests need; run the named command.
    #[error("{what} is missing at {path}: run {remedy}")]
    Missing {
        /// What was looked for.
        what: String,
        /// Where it was looked for.
        path: PathBuf,
        /// The command that provides it.
        remedy: &'static str,
    },
    /// The tests were started without the rights they need; start them as root.
    #[error(
        "the whole-system tests make network namespaces and must run as root: run ci/test as root"
    )]
    NotRoot,
    /// The operating system refused something; the machine is at fault.
    #[error("{what}: {source}")]
    Io {
        /// What was being done.
        what: String,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// A command ended with an error; its output tells who is at fault.
    #[error("`{command}` ended with status {status}\nstdout:\n{stdout}\nstderr:\n{stderr}")]
    Command {
        /// The command.
        command: String,
        /// Its exit status, 128 and the signal when killed.
        status: i32,
        /// Its standard output.
        stdout: String,
        /// Its standard error.
        stderr: String,
    },
    /// Something did not happen in time; `log` is the end of the log that may say why.
    #[error("{what} did not happen within {timeout:?}\n{log}")]
    Timeout {
        /// What was waited for.
        what: String,
        /// How long.
        timeout: Duration,
        /// The end of the process's log or of the guest's console.
        log: String,
    },
    /// A process (a guest, a daemon) ended while it was needed.
    #[error("{what} ended too early\n{log}")]
    Ended {
        /// Which process.
        what: String,
        /// The end of its log or console.
        log: String,
    },
    /// A tool's output could not be understood; the harness and the tool's version do not fit.
    #[error("unexpected output of {tool}: {reason}\n{output}")]
    Output {
        /// Which tool.
        tool: &'static str,
        /// What is wrong with it.
        reason: String,
        /// The output.
        output: String,
    },
    /// The test asked for something that cannot be built; the test is at fault.
    #[error("{0}")]
    Setup(&'static str),
    /// A figure is worse than the one that is on record; the code measured is at fault.
    #[error("worse than on record: {0}")]
    Worse(String),
}

/// Tests return these from `main`-like functions, which print `Debug`: print what a person can read.
impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The harness's result.
pub type Result<T> = std::result::Result<T, Error>;

/// Says what was being done when the operating system refused.
pub(crate) trait Context<T> {
    /// Turns an I/O error into [`Error::Io`].
    fn context(self, what: impl Into<String>) -> Result<T>;
}

impl<T, E: Into<std::io::Error>> Context<T> for std::result::Result<T, E> {
    fn context(self, what: impl Into<String>) -> Result<T> {
        self.map_err(|source| Error::Io {
            what: what.into(),
            source: source.into(),
        })
    }
}
