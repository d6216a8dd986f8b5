//! What both rings of a pair have: the driver half, its events, and their counts.

use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ring::driver::{Driver, layout_at};
use ring::{GuestMap, RingLayout, RingOptions};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use vmm_sys_util::eventfd::{EFD_CLOEXEC, EFD_NONBLOCK, EventFd};

use super::memory::Memory;
use super::sys::event_fd;
use crate::error::{Context, Error, Result};

/// A ring of the port, seen from the driver.
#[derive(Debug)]
pub struct Queue {
    driver: Driver,
    layout: RingLayout,
    kick: EventFd,
    call: EventFd,
    err: EventFd,
    kicks: u64,
    calls: u64,
    kicking: bool,
}

impl Queue {
    pub(super) fn new(memory: &mut Memory, size: u16, options: RingOptions) -> Result<Self> {
        let (_, len) = layout_at(0, size);
        let (layout, _) = layout_at(memory.take(len, 64)?, size);
        let map: Arc<GuestMap> = Arc::clone(memory.map());
        let driver = Driver::new(map, layout, options, 0)
            .map_err(|_| Error::Setup("a ring needs a size that is a power of two"))?;
        let event = || EventFd::new(EFD_CLOEXEC | EFD_NONBLOCK).context("making an event");
        Ok(Self {
            driver,
            layout,
            kick: event()?,
            call: event()?,
            err: event()?,
            kicks: 0,
            calls: 0,
            kicking: true,
        })
    }

    /// The driver half, for honest and other use. Chains added here are the caller's to collect.
    pub const fn driver(&mut self) -> &mut Driver {
        &mut self.driver
    }

    /// Where the ring lies.
    #[must_use]
    pub const fn layout(&self) -> RingLayout {
        self.layout
    }

    /// The event that the device waits for.
    #[must_use]
    pub const fn kick_event(&self) -> &EventFd {
        &self.kick
    }

    /// The event that the device calls with.
    #[must_use]
    pub const fn call_event(&self) -> &EventFd {
        &self.call
    }

    /// The event that the device reports a broken ring with.
    #[must_use]
    pub const fn err_event(&self) -> &EventFd {
        &self.err
    }

    /// Kicks the device, whether it wants that or not.
    pub fn kick(&mut self) {
        self.kicks += 1;
        // A counter that is full is as good as a kick.
        let _ = self.kick.write(1);
    }

    /// Leaves all kicks out from now on, or not.
    pub const fn set_kicking(&mut self, kicking: bool) {
        self.kicking = kicking;
    }

    /// Shows the device what was added, and kicks it if it wants that.
    pub fn publish(&mut self) {
        if self.driver.publish() && self.kicking {
            self.kick();
        }
    }

    /// Kicks given so far.
    #[must_use]
    pub const fn kicks(&self) -> u64 {
        self.kicks
    }

    /// Calls received so far.
    pub fn calls(&mut self) -> u64 {
        self.calls += self.call.read().unwrap_or(0);
        self.calls
    }

    /// Waits for a call; false when none came within `timeout`.
    ///
    /// # Errors
    /// [`Error::Io`] if the event cannot be waited for.
    pub fn wait_call(&mut self, timeout: Duration) -> Result<bool> {
        let before = self.calls;
        wait_readable(event_fd(&self.call), timeout)?;
        Ok(self.calls() > before)
    }

    /// Whether the device has called this ring broken, waiting up to `timeout` for it.
    ///
    /// # Errors
    /// [`Error::Io`] if the event cannot be waited for.
    pub fn is_broken(&mut self, timeout: Duration) -> Result<bool> {
        wait_readable(event_fd(&self.err), timeout)
    }

    /// Waits until `ready` answers something, asking to be called meanwhile.
    pub(super) fn wait_for<T>(
        &mut self,
        timeout: Duration,
        mut ready: impl FnMut(&mut Self) -> Result<Option<T>>,
    ) -> Result<Option<T>> {
        let deadline = Instant::now() + timeout;
        loop {
            if let Some(value) = ready(self)? {
                return Ok(Some(value));
            }
            if self.driver.enable_calls() {
                continue;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(None);
            }
            self.wait_call(left)?;
        }
    }
}

/// Waits until a descriptor is readable or hung up; false when that took longer than `timeout`.
pub(super) fn wait_readable(fd: BorrowedFd<'_>, timeout: Duration) -> Result<bool> {
    let deadline = Instant::now() + timeout;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let time = Timespec::try_from(left).map_err(|_| Error::Setup("a timeout too long"))?;
        let mut fds = [PollFd::from_borrowed_fd(fd, PollFlags::IN)];
        match poll(&mut fds, Some(&time)) {
            Ok(ready) => return Ok(ready > 0),
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error).context("waiting for a descriptor"),
        }
    }
}
