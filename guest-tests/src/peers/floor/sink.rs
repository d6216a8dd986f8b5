//! Where the frames go: a tap, by any of several system calls, or memory.
#![allow(unsafe_code)]

use std::fs::{File, OpenOptions};
use std::io::{self, IoSlice, Write};
use std::os::fd::AsRawFd;

use super::feed::Unit;
use super::uring::Uring;
use super::{HEADER_LEN, WriteKind};
use crate::error::{Context, Result};

pub(super) enum Sink {
    Tap { tap: File, kind: WriteKind },
    Uring(Box<Uring>),
    Memory(Box<[u8]>),
}

impl Sink {
    /// One for these buffers, attached to the existing tap `interface` if it needs one.
    pub(super) fn new(interface: &str, kind: WriteKind, units: &[Unit]) -> Result<Self> {
        Ok(match kind {
            WriteKind::Copy => {
                let len = units.first().map_or(0, |unit| unit.bytes.len());
                Self::Memory(vec![0; len].into())
            }
            WriteKind::Uring => Self::Uring(Box::new(Uring::new(attach(interface, kind)?, units)?)),
            _ => Self::Tap {
                tap: attach(interface, kind)?,
                kind,
            },
        })
    }

    /// Gets rid of them. A full tap loses a frame, and the count shows it.
    pub(super) fn write(&mut self, units: &[Unit]) {
        match self {
            Self::Uring(uring) => uring.write(units),
            Self::Memory(place) => {
                for unit in units {
                    place.copy_from_slice(&unit.bytes);
                    std::hint::black_box(&place);
                }
            }
            Self::Tap { tap, kind } => {
                for unit in units {
                    let (header, frame) = unit.bytes.split_at(HEADER_LEN);
                    let _ = match kind {
                        WriteKind::Plain => tap.write(frame),
                        WriteKind::Vectored => {
                            tap.write_vectored(&[IoSlice::new(header), IoSlice::new(frame)])
                        }
                        _ => tap.write(&unit.bytes),
                    };
                }
            }
        }
    }
}

/// Opens a tap (Documentation/networking/tuntap.rst).
fn attach(interface: &str, kind: WriteKind) -> Result<File> {
    let tap = OpenOptions::new()
        .read(true)
        .write(true)
        .open("/dev/net/tun")
        .context("opening /dev/net/tun")?;
    let header = if kind.has_header() {
        libc::IFF_VNET_HDR
    } else {
        0
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
