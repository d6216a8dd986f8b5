//! The kernel's own price of a frame: one thread that writes frames into a tap, with no back-end at all.
#![allow(unsafe_code)]

use std::fs::{File, OpenOptions};
use std::io::{self, IoSlice, Write};
use std::os::fd::{AsFd, AsRawFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use super::Cores;
use crate::error::{Context, Error, Result};
use crate::netns::Namespace;

/// Bytes of the header a tap with `vnet_hdr` takes unless told otherwise (`struct virtio_net_hdr`).
const HEADER_LEN: usize = 10;
/// Different frames that are written in turn, so that the processor's cache is used as it is with a ring.
const FRAMES: usize = 1024;

/// How a frame is handed over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WriteKind {
    /// One `write` of the frame, into a tap without `vnet_hdr`.
    Plain,
    /// One `write` of header and frame, which lie together.
    Contiguous,
    /// One `writev` of a header and a frame.
    Vectored,
}

/// A thread that writes until it is dropped.
#[derive(Debug)]
pub struct Floor {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Floor {
    /// Begins writing frames of `frame_len` bytes into the existing tap `interface`, on the back-end's
    /// processor.
    ///
    /// # Errors
    /// [`Error::Io`] when the namespace or the tap cannot be entered.
    pub fn start(
        namespace: &Namespace,
        cores: Cores,
        interface: &str,
        kind: WriteKind,
        frame_len: usize,
    ) -> Result<Self> {
        let path = format!("/run/netns/{}", namespace.name());
        let namespace = File::open(&path).context(format!("opening {path}"))?;
        let interface = interface.to_owned();
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let (ready, started) = std::sync::mpsc::sync_channel(1);
        let thread = std::thread::spawn(move || {
            let tap = enter(&namespace, cores).and_then(|()| attach(&interface, kind));
            match tap {
                Ok(tap) => {
                    // Whoever waits for it is still there.
                    let _ = ready.send(Ok(()));
                    write_until(&stopped, tap, kind, frame_len);
                }
                Err(error) => drop(ready.send(Err(error))),
            }
        });
        let floor = Self {
            stop,
            thread: Some(thread),
        };
        started
            .recv()
            .unwrap_or(Err(Error::Setup("the writing thread ended")))?;
        Ok(floor)
    }
}

impl Drop for Floor {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // It does nothing that can fail and is not shown already: no frames arrive.
            let _ = thread.join();
        }
    }
}

fn enter(namespace: &File, cores: Cores) -> Result<()> {
    cores.pin_this_thread()?;
    let network = Some(LinkNameSpaceType::Network);
    move_into_link_name_space(namespace.as_fd(), network).context("entering the namespace")
}

/// Opens a tap (Documentation/networking/tuntap.rst).
fn attach(interface: &str, kind: WriteKind) -> Result<File> {
    let tap = OpenOptions::new()
        .read(true)
        .write(true)
        .open("/dev/net/tun")
        .context("opening /dev/net/tun")?;
    let header = match kind {
        WriteKind::Plain => 0,
        WriteKind::Contiguous | WriteKind::Vectored => libc::IFF_VNET_HDR,
    };
    let flags = libc::IFF_TAP | libc::IFF_NO_PI | header;
    let mut name = [0; libc::IFNAMSIZ];
    for (to, from) in name.iter_mut().zip(interface.bytes()) {
        *to = from.cast_signed();
    }
    let request = libc::ifreq {
        ifr_name: name,
        ifr_ifru: libc::__c_anonymous_ifr_ifru {
            // The flags of a tap fit a short (uapi/linux/if_tun.h).
            ifru_flags: i16::try_from(flags).unwrap_or_default(),
        },
    };
    // SAFETY: TUNSETIFF reads and writes one `ifreq`, which outlives the call; the descriptor is open.
    let result = unsafe { libc::ioctl(tap.as_raw_fd(), libc::TUNSETIFF, &request) };
    if result < 0 {
        return Err(io::Error::last_os_error()).context(format!("attaching to {interface}"));
    }
    Ok(tap)
}

fn write_until(stop: &AtomicBool, mut tap: File, kind: WriteKind, frame_len: usize) {
    let frames: Vec<Vec<u8>> = (0..FRAMES).map(|number| unit(frame_len, number)).collect();
    while !stop.load(Ordering::Relaxed) {
        for unit in &frames {
            let (header, frame) = unit.split_at(HEADER_LEN);
            // A full tap loses the frame, and the count shows it.
            let _ = match kind {
                WriteKind::Plain => tap.write(frame),
                WriteKind::Contiguous => tap.write(unit),
                WriteKind::Vectored => {
                    tap.write_vectored(&[IoSlice::new(header), IoSlice::new(frame)])
                }
            };
        }
    }
}

/// An empty header and a UDP frame from 198.18.0.1 to 198.18.0.2, as testpmd's generator makes them.
fn unit(frame_len: usize, number: usize) -> Vec<u8> {
    let [.., high, low] = number.to_be_bytes();
    let [.., total_high, total_low] = frame_len.saturating_sub(14).to_be_bytes();
    let [.., udp_high, udp_low] = frame_len.saturating_sub(34).to_be_bytes();
    let headers = [
        2, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 1, 8, 0, // Ethernet
        0x45, 0, total_high, total_low, 0, 0, 0, 0, 64, 17, 0, 0, 198, 18, 0, 1, 198, 18, 0, 2, 0,
        9, 0, 9, udp_high, udp_low, 0, 0, high, low,
    ];
    let mut unit = vec![0; HEADER_LEN];
    unit.extend(headers);
    unit.resize(HEADER_LEN + frame_len.max(headers.len()), 0);
    unit
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_unit_is_header_and_frame() {
        assert_eq!(unit(64, 7).len(), HEADER_LEN + 64);
        assert_eq!(
            unit(1500, 0)[HEADER_LEN + 16..][..2],
            1486_u16.to_be_bytes()
        );
    }
}
