//! The honest guest: a frame now and then, how many get through and how long each takes.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use guest_tests::Result;
use guest_tests::front_end::{Frame, Port};

use crate::stage::{HONEST_MAC, HOST_MAC};

const REST: Duration = Duration::from_micros(200);

/// A guest that only does what it may, on a thread of its own.
pub(crate) struct Neighbour {
    stop: Arc<AtomicBool>,
    took: Arc<Mutex<Vec<Duration>>>,
    thread: Option<JoinHandle<()>>,
}

/// How a guest fared for a while.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fared {
    /// Frames per second.
    pub(crate) rate: f64,
    /// What one frame in a hundred took, from being shown to its completion.
    pub p99: Duration,
}

impl Neighbour {
    /// Lets it begin. It panics if a frame is not completed in time.
    pub(crate) fn new(mut port: Port) -> Self {
        let (stop, took) = (Arc::new(AtomicBool::new(false)), Arc::default());
        let (stopped, taken): (_, Arc<Mutex<Vec<_>>>) = (Arc::clone(&stop), Arc::clone(&took));
        let thread = std::thread::spawn(move || {
            let frame = Frame::plain(100, 7).from_mac(HONEST_MAC).to_mac(HOST_MAC);
            while !stopped.load(Ordering::Relaxed) {
                let start = Instant::now();
                port.send(&frame).expect("the honest guest sends");
                port.settle(Duration::from_secs(2))
                    .expect("the honest guest's frame leaves");
                let mut taken = taken.lock().unwrap_or_else(PoisonError::into_inner);
                taken.push(start.elapsed());
                drop(taken);
                takes_what_comes(&mut port).expect("the honest guest receives");
                std::thread::sleep(REST);
            }
        });
        Self {
            stop,
            took,
            thread: Some(thread),
        }
    }

    /// How it fares while something goes on, again and again for so long, once at least.
    pub(crate) fn beside(
        &self,
        lasting: Duration,
        mut attack: impl FnMut() -> Result<()>,
    ) -> Result<Fared> {
        self.take();
        let start = Instant::now();
        while start.elapsed() < lasting {
            attack()?;
        }
        let elapsed = start.elapsed();
        let mut took = self.take();
        took.sort_unstable();
        let count = u32::try_from(took.len()).unwrap_or(u32::MAX);
        let at = took.len().saturating_sub(1) * 99 / 100;
        Ok(Fared {
            rate: f64::from(count) / elapsed.as_secs_f64(),
            p99: took.get(at).copied().unwrap_or(Duration::MAX),
        })
    }

    fn take(&self) -> Vec<Duration> {
        std::mem::take(&mut *self.took.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Lets it end; it has to have got on until then.
    pub(crate) fn end(mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let thread = self.thread.take().expect("it ends once");
        assert!(thread.join().is_ok(), "the honest guest was disturbed");
    }
}

/// Broadcasts come to everybody.
fn takes_what_comes(port: &mut Port) -> Result<()> {
    let receive = &mut port.pair(0)?.receive;
    while receive.take()?.is_some() {}
    receive.refill();
    Ok(())
}

impl Drop for Neighbour {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}
