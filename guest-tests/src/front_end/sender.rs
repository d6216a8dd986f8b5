//! Load from the host's side of an interface: a thread that sends the same frame again and again, in short
//! stretches, so that another busy thread may have the rest of its processor.

use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::frame::Frame;
use super::wire::{sending_socket, unit};
use crate::error::{Error, Result};
use crate::netns::Namespace;
use crate::peers::Cores;
use crate::process::output_of;

/// How long is sent at a stretch, and how long then not: whoever else is on this processor has that time.
const STRETCH: Duration = Duration::from_micros(60);
const REST: Duration = Duration::from_micros(40);

/// How much is sent.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Pace {
    /// As much as goes in somewhat more than half of the time. What a full interface drops counts as sent.
    Most,
    /// So many frames a second, in bursts of [`Pace::BURST`].
    Frames(f64),
}

impl Pace {
    /// Frames that are sent at once at a given pace.
    pub const BURST: u32 = 8;
}

/// A thread that sends until it is dropped.
#[derive(Debug)]
pub struct Sender {
    stop: Arc<AtomicBool>,
    sent: Arc<AtomicU64>,
    thread: Option<JoinHandle<()>>,
}

impl Sender {
    /// Begins to send into `interface`. A super-frame that it does not take whole is cut by the kernel. The
    /// thread runs on the processor `processor` before all usual ones, so that its pace is kept.
    ///
    /// # Errors
    /// [`Error::Io`] without such an interface, [`Error::Command`] if the thread may not go first.
    pub fn start(
        namespace: &Namespace,
        interface: &str,
        processor: usize,
        frame: &Frame,
        pace: Pace,
    ) -> Result<Self> {
        // A queue before the interface's own would only take time.
        let words = [
            "-n",
            namespace.name(),
            "qdisc",
            "replace",
            "dev",
            interface,
            "root",
            "noqueue",
        ];
        output_of("tc", &words)?;
        let direct = frame.header.gso_type == 0;
        let socket = sending_socket(namespace, interface, direct)?;
        let unit = unit(frame);
        let (stop, sent) = (Arc::<AtomicBool>::default(), Arc::<AtomicU64>::default());
        let (stopped, counted) = (Arc::clone(&stop), Arc::clone(&sent));
        let (ready, started) = std::sync::mpsc::sync_channel(1);
        let thread = thread::spawn(move || {
            let first = Cores::pin_this_thread(processor).and_then(|()| go_first());
            let failed = first.is_err();
            // Whoever waits for it is still there.
            let _ = ready.send(first);
            if !failed {
                send_until(&stopped, &counted, &socket, &unit, pace);
            }
        });
        let sender = Self {
            stop,
            sent,
            thread: Some(thread),
        };
        let ended = Err(Error::Setup("the sending thread ended"));
        started.recv().unwrap_or(ended)?;
        Ok(sender)
    }

    /// Frames sent so far; a super-frame is one.
    #[must_use]
    pub fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }
}

impl Drop for Sender {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // It does not panic.
            let _ = thread.join();
        }
    }
}

/// Makes the calling thread a real-time one of the lowest rank (sched(7)).
fn go_first() -> Result<()> {
    let thread = rustix::thread::gettid().to_string();
    output_of("chrt", &["--fifo", "--pid", "1", &thread]).map(drop)
}

fn send_until(stop: &AtomicBool, sent: &AtomicU64, socket: &impl AsFd, unit: &[u8], pace: Pace) {
    // What an interface that is not up yet refuses is gone.
    let send = || {
        let taken = rustix::io::write(socket, unit).is_ok();
        sent.fetch_add(taken.into(), Ordering::Relaxed);
    };
    let mut due = Instant::now();
    while !stop.load(Ordering::Relaxed) {
        match pace {
            Pace::Most => {
                let start = Instant::now();
                while start.elapsed() < STRETCH {
                    send();
                }
                thread::sleep(REST);
            }
            Pace::Frames(rate) => {
                (0..Pace::BURST).for_each(|_| send());
                due += Duration::from_secs_f64(f64::from(Pace::BURST) / rate.max(1.0));
                thread::sleep(due.saturating_duration_since(Instant::now()));
            }
        }
    }
}
