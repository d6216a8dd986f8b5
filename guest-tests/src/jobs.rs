//! The host's end of the job channel: sends scripts to the guest, collects what they said, and counts
//! the guest's boots.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crate::error::{Context, Error, Result};
use crate::place::{Job, Output};
use crate::process::tail;
use crate::protocol::{Reply, Request};

/// What has come from the guest so far.
#[derive(Debug, Default)]
struct Heard {
    boots: u32,
    done: HashMap<u64, Output>,
    closed: bool,
}

#[derive(Debug)]
struct Shared {
    heard: Mutex<Heard>,
    changed: Condvar,
}

/// A connection to the guest; it outlives the guest's reboots.
#[derive(Debug)]
pub(crate) struct Channel {
    writer: Mutex<UnixStream>,
    shared: Arc<Shared>,
    next: AtomicU64,
    console: PathBuf,
}

impl Channel {
    /// Connects to QEMU's end of the port; `console` is quoted in errors.
    pub(crate) fn connect(socket: &Path, console: PathBuf) -> Result<Arc<Self>> {
        let writer = UnixStream::connect(socket).context("connecting to the guest's job port")?;
        let reader = writer.try_clone().context("duplicating the job port")?;
        let shared = Arc::new(Shared {
            heard: Mutex::default(),
            changed: Condvar::new(),
        });
        let for_reader = Arc::clone(&shared);
        thread::spawn(move || listen(reader, &for_reader));
        Ok(Arc::new(Self {
            writer: Mutex::new(writer),
            shared,
            next: AtomicU64::new(1),
            console,
        }))
    }

    /// How often the guest has booted.
    pub(crate) fn boots(&self) -> u32 {
        self.shared.lock().boots
    }

    /// Waits until it has booted more often than `before`.
    pub(crate) fn wait_boot(&self, before: u32, timeout: Duration) -> Result<()> {
        self.wait("the guest's boot", timeout, |heard| {
            (heard.boots > before).then_some(())
        })
    }

    pub(crate) fn start(self: &Arc<Self>, script: &str) -> Result<GuestJob> {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let script = script.to_owned();
        self.send(&Request::Run { id, script })?;
        Ok(GuestJob {
            channel: Arc::clone(self),
            id,
            over: false,
        })
    }

    fn send(&self, request: &Request) -> Result<()> {
        // The leading line end closes whatever an earlier boot read half of.
        let mut line = vec![b'\n'];
        serde_json::to_writer(&mut line, request).context("encoding a job")?;
        line.push(b'\n');
        let mut writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        writer.write_all(&line).map_err(|_| self.ended())
    }

    fn ended(&self) -> Error {
        Error::Ended {
            what: "the guest".to_owned(),
            log: tail(&self.console),
        }
    }

    fn wait<T>(
        &self,
        what: &str,
        timeout: Duration,
        mut ready: impl FnMut(&mut Heard) -> Option<T>,
    ) -> Result<T> {
        let deadline = Instant::now() + timeout;
        let mut heard = self.shared.lock();
        loop {
            if let Some(value) = ready(&mut heard) {
                return Ok(value);
            }
            if heard.closed {
                return Err(self.ended());
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(Error::Timeout {
                    what: what.to_owned(),
                    timeout,
                    log: tail(&self.console),
                });
            }
            let woken = self.shared.changed.wait_timeout(heard, left);
            heard = woken.unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Heard> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn listen(stream: UnixStream, shared: &Shared) {
    for line in BufReader::new(stream).split(b'\n') {
        let Ok(line) = line else { break };
        match serde_json::from_slice(&line) {
            Ok(Reply::Ready) => shared.lock().boots += 1,
            Ok(Reply::Done { id, output }) => {
                shared.lock().done.insert(id, output);
            }
            // An empty line, or one that a reboot cut short.
            Err(_) => continue,
        }
        shared.changed.notify_all();
    }
    shared.lock().closed = true;
    shared.changed.notify_all();
}

/// A script running in the guest.
#[derive(Debug)]
pub(crate) struct GuestJob {
    channel: Arc<Channel>,
    id: u64,
    over: bool,
}

impl Job for GuestJob {
    fn wait(&mut self, timeout: Duration) -> Result<Output> {
        let id = self.id;
        let what = format!("the end of job {id} in the guest");
        let done = self
            .channel
            .wait(&what, timeout, |heard| heard.done.remove(&id));
        match &done {
            Ok(_) => self.over = true,
            Err(_) => self.kill(),
        }
        done
    }

    fn kill(&mut self) {
        // A guest that is gone has no job left to kill.
        let _ = self.channel.send(&Request::Kill { id: self.id });
    }
}

impl Drop for GuestJob {
    fn drop(&mut self) {
        if !self.over {
            self.kill();
        }
    }
}
