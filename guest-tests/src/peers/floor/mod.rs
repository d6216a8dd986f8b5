//! The kernel's own price of a frame: one thread that writes frames into a tap, with no back-end at all. Their
//! buffers are either its own, or another processor has just written them, as a guest does.

mod feed;
mod sink;
mod uring;

use std::fs::File;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use self::feed::{Source, Unit};
use self::sink::Sink;
use super::Cores;
use crate::error::{Context, Error, Result};
use crate::netns::Namespace;

/// Bytes of the header a tap with `vnet_hdr` takes unless told otherwise (`struct virtio_net_hdr`).
const HEADER_LEN: usize = 10;
/// Different frames that are written in turn, so that the processor's cache is used as it is with a ring.
const FRAMES: u16 = 1024;
/// Most frames that are taken at a time.
const BURST: usize = 64;

/// What is done with a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WriteKind {
    /// One `write` of the frame, into a tap without `vnet_hdr`.
    Plain,
    /// One `write` of header and frame, which lie together.
    Contiguous,
    /// One `writev` of a header and a frame.
    Vectored,
    /// `io_uring`, up to 64 at a time: header and frame in a registered buffer, into a registered file.
    Uring,
    /// No tap: it is copied to a place that stays in the cache.
    Copy,
}

impl WriteKind {
    const fn has_header(self) -> bool {
        !matches!(self, Self::Plain)
    }
}

/// Who has written the buffers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Buffers {
    /// The writing thread itself, once.
    Own,
    /// A thread on the generator's processor, every byte of each just before it is taken.
    Fed,
}

/// A thread that writes until it is dropped.
#[derive(Debug)]
pub struct Floor {
    stop: Arc<AtomicBool>,
    written: Arc<AtomicU64>,
    threads: Vec<JoinHandle<()>>,
}

impl Floor {
    /// Begins writing frames of `frame_len` bytes into the tap `interface`, which it makes, on the back-end's
    /// processor.
    ///
    /// # Errors
    /// [`Error::Io`] when the namespace or the tap cannot be entered.
    pub fn start(
        namespace: &Namespace,
        cores: Cores,
        interface: &str,
        (kind, buffers): (WriteKind, Buffers),
        frame_len: u16,
    ) -> Result<Self> {
        if kind != WriteKind::Copy {
            let header = if kind.has_header() { "vnet_hdr" } else { "" };
            namespace.ip(&format!("tuntap add dev {interface} mode tap {header}"))?;
            namespace.ip(&format!("link set {interface} up"))?;
        }
        let path = format!("/run/netns/{}", namespace.name());
        let namespace = File::open(&path).context(format!("opening {path}"))?;
        let units: Vec<Unit> = (0..FRAMES)
            .map(|index| Unit::new(frame_len.into(), index))
            .collect();
        let mut floor = Self {
            stop: Arc::default(),
            written: Arc::default(),
            threads: Vec::new(),
        };
        let (stop, written) = (Arc::clone(&floor.stop), Arc::clone(&floor.written));
        let interface = interface.to_owned();
        let (ready, started) = std::sync::mpsc::sync_channel(1);
        floor.threads.push(std::thread::spawn(move || {
            let start = || {
                Cores::pin_this_thread(cores.backend)?;
                let network = Some(LinkNameSpaceType::Network);
                move_into_link_name_space(namespace.as_fd(), network)
                    .context("entering the namespace")?;
                Sink::new(&interface, kind, &units)
            };
            match start() {
                Ok(sink) => {
                    let (source, feeder) = match buffers {
                        Buffers::Own => (Source::own(units), None),
                        Buffers::Fed => {
                            let (source, feeder) = feed::fed(units);
                            (source, Some(feeder))
                        }
                    };
                    // Whoever waits for it is still there.
                    let _ = ready.send(Ok(feeder));
                    write_until(&stop, &written, sink, source);
                }
                Err(error) => drop(ready.send(Err(error))),
            }
        }));
        let ended = Err(Error::Setup("the writing thread ended"));
        if let Some(feeder) = started.recv().unwrap_or(ended)? {
            let stop = Arc::clone(&floor.stop);
            floor.threads.push(std::thread::spawn(move || {
                if let Err(error) = Cores::pin_this_thread(cores.generator) {
                    eprintln!("{error}");
                }
                feeder.feed_until(&stop);
            }));
        }
        Ok(floor)
    }

    /// Frames per second that it gets rid of, by its own count.
    #[must_use]
    pub fn rate(&self, window: Duration) -> f64 {
        let (start, first) = (Instant::now(), self.written.load(Ordering::Relaxed));
        std::thread::sleep(window);
        let last = self.written.load(Ordering::Relaxed);
        let frames = u32::try_from(last - first).unwrap_or(u32::MAX);
        f64::from(frames) / start.elapsed().as_secs_f64()
    }
}

impl Drop for Floor {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            // It does nothing that can fail and is not shown already: no frames arrive.
            let _ = thread.join();
        }
    }
}

fn write_until(stop: &AtomicBool, written: &AtomicU64, mut sink: Sink, mut source: Source) {
    while !stop.load(Ordering::Relaxed) {
        let burst = source.take();
        if burst.is_empty() {
            std::hint::spin_loop();
            continue;
        }
        sink.write(burst);
        written.fetch_add(burst.len() as u64, Ordering::Relaxed);
        source.give_back();
    }
}
