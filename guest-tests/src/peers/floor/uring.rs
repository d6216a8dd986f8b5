//! Writes by io_uring, a burst a system call, with everything registered that can be (io_uring(7)).
#![allow(unsafe_code)]

use std::fs::File;
use std::os::fd::AsRawFd;

use io_uring::{IoUring, opcode, types};

use super::BURST;
use super::feed::Unit;
use crate::error::{Context, Result};

/// A ring for one tap.
pub(super) struct Uring {
    ring: IoUring,
    _tap: File,
}

impl Uring {
    pub(super) fn new(tap: File, units: &[Unit]) -> Result<Self> {
        let entries = u32::try_from(BURST).unwrap_or(u32::MAX);
        let ring = IoUring::builder()
            .setup_single_issuer()
            .build(entries)
            .context("making an io_uring")?;
        let submitter = ring.submitter();
        submitter
            .register_files(&[tap.as_raw_fd()])
            .context("registering the tap")?;
        let buffers: Vec<libc::iovec> = units
            .iter()
            .map(|unit| libc::iovec {
                iov_base: unit.bytes.as_ptr().cast_mut().cast(),
                iov_len: unit.bytes.len(),
            })
            .collect();
        // SAFETY: each entry is a live heap buffer that stays where it is while its `Unit` is moved about; the
        // kernel keeps its pages, and only writes from them, at times when `write` has the unit borrowed.
        unsafe { submitter.register_buffers(&buffers) }.context("registering the buffers")?;
        Ok(Self { ring, _tap: tap })
    }

    /// Writes them and waits until all are written; what cannot be is lost.
    pub(super) fn write(&mut self, units: &[Unit]) {
        let mut queue = self.ring.submission();
        for unit in units {
            let len = u32::try_from(unit.bytes.len()).unwrap_or(u32::MAX);
            let entry =
                opcode::WriteFixed::new(types::Fixed(0), unit.bytes.as_ptr(), len, unit.index)
                    .build();
            // SAFETY: the buffer is borrowed until this function has seen the write's completion.
            let _ = unsafe { queue.push(&entry) };
        }
        let mut left = queue.len();
        drop(queue);
        while left > 0 {
            // Interrupted, it goes on.
            let _ = self.ring.submit_and_wait(left);
            left = left.saturating_sub(self.ring.completion().count());
        }
    }
}
