//! Signals as readiness: what came is read from a socket, outside of any handler.

use std::io::{self, Read};
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1};
use signal_hook::{flag, low_level::pipe};

/// What a signal asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Signal {
    /// SIGTERM or SIGINT: end.
    Terminate,
    /// SIGUSR1: log the counters.
    Report,
    /// SIGHUP: read the configuration again.
    Reload,
}

/// The signals the daemon handles.
#[derive(Debug)]
pub(super) struct Signals {
    wake: UnixStream,
    terminate: Arc<AtomicBool>,
    report: Arc<AtomicBool>,
    reload: Arc<AtomicBool>,
    ending: Arc<AtomicBool>,
}

/// What the process ends with when it is told a second time.
const EXIT_IMPATIENT: i32 = 1;

impl Signals {
    /// Takes the signals over from their defaults.
    pub(super) fn new() -> io::Result<Self> {
        let (wake, write) = UnixStream::pair()?;
        wake.set_nonblocking(true)?;
        let signals = Self {
            wake,
            terminate: Arc::default(),
            report: Arc::default(),
            reload: Arc::default(),
            ending: Arc::default(),
        };
        for signal in [SIGTERM, SIGINT] {
            let ending = Arc::clone(&signals.ending);
            flag::register_conditional_shutdown(signal, EXIT_IMPATIENT, ending)?;
            flag::register(signal, Arc::clone(&signals.terminate))?;
            pipe::register(signal, write.try_clone()?)?;
        }
        for (signal, come) in [(SIGUSR1, &signals.report), (SIGHUP, &signals.reload)] {
            flag::register(signal, Arc::clone(come))?;
            pipe::register(signal, write.try_clone()?)?;
        }
        Ok(signals)
    }

    /// Readable when a signal has come.
    pub(super) fn fd(&self) -> RawFd {
        self.wake.as_raw_fd()
    }

    /// The signals that have come since the last call.
    pub(super) fn take(&mut self) -> Vec<Signal> {
        let mut wakes = [0; 64];
        while matches!(self.wake.read(&mut wakes), Ok(read) if read == wakes.len()) {}
        let come = |flag: &AtomicBool| flag.swap(false, Ordering::AcqRel);
        let mut signals = Vec::new();
        if come(&self.report) {
            signals.push(Signal::Report);
        }
        if come(&self.reload) {
            signals.push(Signal::Reload);
        }
        if come(&self.terminate) {
            signals.push(Signal::Terminate);
        }
        signals
    }

    /// From now on a further SIGTERM or SIGINT ends the process at once.
    pub(super) fn next_one_exits(&self) {
        self.ending.store(true, Ordering::Release);
    }
}
