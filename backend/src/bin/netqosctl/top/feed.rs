//! Asks the daemon again and again, on a thread of its own: a slow answer never holds up a key.

use std::collections::BTreeSet;
use std::io;
use std::path::Path;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use netqos::control::{Client, ClientError, Report};

/// What the daemon said at one time.
#[derive(Clone, Debug)]
pub(super) struct Sample {
    /// All guests.
    pub(super) guests: Report,
    /// The classes of those that are unfolded.
    pub(super) classes: Option<Report>,
}

/// What it said, or why it says nothing.
pub(super) type Said = Result<Sample, String>;

type Names = BTreeSet<String>;

/// The thread ends after this is gone.
pub(super) struct Feed {
    wanted: Arc<Mutex<Names>>,
    wake: Sender<()>,
    said: Receiver<Said>,
}

impl Feed {
    pub(super) fn start(socket: &Path, interval: Duration) -> io::Result<Self> {
        let (wake, woken) = channel();
        let (say, said) = channel();
        let wanted = Arc::new(Mutex::new(Names::new()));
        let (socket, names) = (socket.to_owned(), wanted.clone());
        let body = move || serve(&socket, &names, &say, &woken, interval);
        thread::Builder::new().name("feed".to_owned()).spawn(body)?;
        Ok(Self { wanted, wake, said })
    }

    /// Asks for the classes of these guests from now on, and at once if they are others.
    pub(super) fn want(&self, names: &Names) {
        let mut wanted = self.wanted.lock().unwrap_or_else(PoisonError::into_inner);
        if *wanted != *names {
            wanted.clone_from(names);
            // A thread that has ended is told by what it said last.
            let _ = self.wake.send(());
        }
    }

    /// What came since.
    pub(super) fn next(&self) -> Option<Said> {
        self.said.try_recv().ok()
    }
}

fn serve(
    socket: &Path,
    wanted: &Mutex<Names>,
    say: &Sender<Said>,
    woken: &Receiver<()>,
    interval: Duration,
) {
    loop {
        let names = wanted
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        let sample = ask(socket, names).map_err(|error| error.to_string());
        if say.send(sample).is_err() {
            return;
        }
        match woken.recv_timeout(interval) {
            Ok(()) | Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
    }
}

/// Each time anew: so it is the daemon that listens now, whatever became of the one before.
fn ask(socket: &Path, mut names: Names) -> Result<Sample, ClientError> {
    let mut client = Client::connect(socket)?;
    let guests = client.report(&[], false)?;
    names.retain(|name| guests.ports.iter().any(|port| port.port == *name));
    let names: Vec<_> = names.into_iter().collect();
    let classes = match names.is_empty() {
        true => None,
        false => match client.report(&names, true) {
            Ok(classes) => Some(classes),
            // One of them has gone in between.
            Err(ClientError::Refused(_)) => None,
            Err(error) => return Err(error),
        },
    };
    Ok(Sample { guests, classes })
}
