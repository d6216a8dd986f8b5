//! Readiness and time for one thread: an epoll set, and one absolute timer inside it.
//!
//! The `epoll` crate waits in whole milliseconds, so time comes in through a timerfd on the
//! monotonic clock. It is armed anew only for an earlier time, or when it has fired.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};

use epoll::{ControlOptions, Event, Events};
use rustix::time::{
    ClockId, Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, clock_gettime,
    timerfd_create, timerfd_settime,
};

/// Nanoseconds of the monotonic clock, now.
#[inline]
pub fn monotonic_nanos() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    // The monotonic clock counts up from boot: neither part is ever negative.
    let seconds = u64::try_from(now.tv_sec).unwrap_or(0);
    let nanos = u64::try_from(now.tv_nsec).unwrap_or(0);
    seconds
        .saturating_mul(NANOS_PER_SECOND)
        .saturating_add(nanos)
}

const NANOS_PER_SECOND: u64 = 1_000_000_000;

/// Most events one [`Poller::wait`] returns; the rest come with the next call.
const EVENTS_PER_WAIT: usize = 64;

/// The token the timer reports. Registered descriptors must use others.
const TIMER: u64 = u64::MAX;

/// One readiness report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ready {
    /// What was given to [`Poller::add`].
    pub token: u64,
    /// Readable, or in a state that a read reports (end of file, error).
    pub readable: bool,
    /// Writable.
    pub writable: bool,
    /// Failed or hung up.
    pub broken: bool,
}

/// What a descriptor is watched for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Interest {
    /// Wake when readable.
    pub readable: bool,
    /// Wake when writable.
    pub writable: bool,
    /// Report each time it becomes ready, not as long as it is: an eventfd need not be read then.
    pub edge: bool,
}

impl Interest {
    /// Wake as long as readable.
    pub const READ: Self = Self {
        readable: true,
        writable: false,
        edge: false,
    };
    /// Wake at every write to an eventfd, and every time a timer fires.
    pub const EDGE: Self = Self {
        readable: true,
        writable: false,
        edge: true,
    };
    /// Watched for errors only.
    pub const NONE: Self = Self {
        readable: false,
        writable: false,
        edge: false,
    };

    fn events(self) -> Events {
        let mut events = Events::empty();
        events.set(Events::EPOLLIN, self.readable);
        events.set(Events::EPOLLOUT, self.writable);
        events.set(Events::EPOLLET, self.edge);
        events
    }
}

/// An epoll set with a timer.
#[derive(Debug)]
pub struct Poller {
    set: RawFd,
    timer: OwnedFd,
    armed: Option<u64>,
    buffer: [Event; EVENTS_PER_WAIT],
}

impl Poller {
    /// An empty set with a disarmed timer.
    ///
    /// # Errors
    /// The kernel's, when the process is out of descriptors or memory.
    pub fn new() -> io::Result<Self> {
        let timer = timerfd_create(
            TimerfdClockId::Monotonic,
            TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK,
        )?;
        let set = epoll::create(true)?;
        let poller = Self {
            set,
            timer,
            armed: None,
            buffer: [Event::new(Events::empty(), 0); EVENTS_PER_WAIT],
        };
        poller.add(poller.timer.as_raw_fd(), TIMER, Interest::EDGE)?;
        Ok(poller)
    }

    /// Watches `fd` (level-triggered) and reports it as `token`.
    ///
    /// # Errors
    /// The kernel's: `fd` is in the set already, is not pollable, or is not open.
    pub fn add(&self, fd: RawFd, token: u64, interest: Interest) -> io::Result<()> {
        self.control(ControlOptions::EPOLL_CTL_ADD, fd, token, interest)
    }

    /// Changes what `fd` is watched for.
    ///
    /// # Errors
    /// The kernel's: `fd` is not in the set.
    pub fn change(&self, fd: RawFd, token: u64, interest: Interest) -> io::Result<()> {
        self.control(ControlOptions::EPOLL_CTL_MOD, fd, token, interest)
    }

    /// Stops watching `fd`.
    ///
    /// # Errors
    /// The kernel's: `fd` is not in the set.
    pub fn remove(&self, fd: RawFd) -> io::Result<()> {
        self.control(ControlOptions::EPOLL_CTL_DEL, fd, 0, Interest::NONE)
    }

    fn control(
        &self,
        operation: ControlOptions,
        fd: RawFd,
        token: u64,
        interest: Interest,
    ) -> io::Result<()> {
        epoll::ctl(
            self.set,
            operation,
            fd,
            Event::new(interest.events(), token),
        )
    }

    /// Sets when the next [`Self::wait`] returns at the latest: at `at` nanoseconds of the
    /// monotonic clock, or whenever something is ready if `None`. It may return before, at a time that
    /// was set earlier: a needless wake is rarer than a time that moves, and costs no more.
    ///
    /// # Errors
    /// The kernel's.
    pub fn wake_at(&mut self, at: Option<u64>) -> io::Result<()> {
        let Some(at) = at else { return Ok(()) };
        if self.armed.is_some_and(|armed| armed <= at) {
            return Ok(());
        }
        // All zero would disarm it, so the epoch itself is armed one nanosecond late.
        let value = at.max(1);
        let seconds = i64::try_from(value / NANOS_PER_SECOND).unwrap_or(i64::MAX);
        let nanos = i64::try_from(value % NANOS_PER_SECOND).unwrap_or(0);
        let zero = Timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        timerfd_settime(
            &self.timer,
            TimerfdTimerFlags::ABSTIME,
            &Itimerspec {
                it_interval: zero,
                it_value: Timespec {
                    tv_sec: seconds,
                    tv_nsec: nanos,
                },
            },
        )?;
        self.armed = Some(at);
        Ok(())
    }

    /// Waits until something is ready or the timer fires, and appends the reports to `ready`
    /// (which it clears first). The timer itself is not reported. With `block` false it only looks.
    ///
    /// # Errors
    /// The kernel's; an interrupting signal is no error and reports nothing.
    pub fn wait(&mut self, block: bool, ready: &mut Vec<Ready>) -> io::Result<()> {
        ready.clear();
        let count = match epoll::wait(self.set, if block { -1 } else { 0 }, &mut self.buffer) {
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => 0,
            Err(error) => return Err(error),
        };
        for event in self.buffer.into_iter().take(count) {
            let token = event.data;
            let events = Events::from_bits_retain(event.events);
            if token == TIMER {
                // An edge, which need not be read away.
                self.armed = None;
                continue;
            }
            let broken = events.intersects(Events::EPOLLERR | Events::EPOLLHUP);
            ready.push(Ready {
                token,
                readable: broken || events.contains(Events::EPOLLIN),
                writable: broken || events.contains(Events::EPOLLOUT),
                broken,
            });
        }
        Ok(())
    }
}

impl Drop for Poller {
    fn drop(&mut self) {
        // The descriptor is ours alone; a failure to close it has no remedy.
        let _ = epoll::close(self.set);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::event::{EventfdFlags, eventfd};

    #[test]
    fn the_timer_ends_a_wait_not_before_its_time() {
        let mut poller = Poller::new().unwrap();
        let mut ready = Vec::new();
        let at = monotonic_nanos() + 2_000_000;
        poller.wake_at(Some(at)).unwrap();
        poller.wait(true, &mut ready).unwrap();
        assert!(monotonic_nanos() >= at);
        assert_eq!(ready, []);
    }

    #[test]
    fn a_time_in_the_past_fires_at_once_and_only_once() {
        let mut poller = Poller::new().unwrap();
        let mut ready = Vec::new();
        poller.wake_at(Some(0)).unwrap();
        poller.wait(true, &mut ready).unwrap();
        let fd = eventfd(0, EventfdFlags::CLOEXEC).unwrap();
        poller.add(fd.as_raw_fd(), 7, Interest::READ).unwrap();
        rustix::io::write(&fd, &1_u64.to_ne_bytes()).unwrap();
        poller.wait(true, &mut ready).unwrap();
        assert_eq!(
            ready,
            [Ready {
                token: 7,
                readable: true,
                writable: false,
                broken: false
            }]
        );
    }

    #[test]
    fn a_time_that_moves_away_leaves_the_timer_armed_and_one_that_comes_closer_does_not() {
        let mut poller = Poller::new().unwrap();
        let now = monotonic_nanos();
        poller.wake_at(Some(now + 2_000_000)).unwrap();
        poller.wake_at(Some(now + 60_000_000_000)).unwrap();
        poller.wake_at(None).unwrap();
        assert_eq!(poller.armed, Some(now + 2_000_000));
        poller.wait(true, &mut Vec::new()).unwrap();
        assert_eq!(poller.armed, None);
        poller.wake_at(Some(now + 60_000_000_000)).unwrap();
        poller.wake_at(Some(now + 4_000_000)).unwrap();
        poller.wait(true, &mut Vec::new()).unwrap();
        assert!(monotonic_nanos() >= now + 4_000_000);
    }

    #[test]
    fn an_edge_is_reported_for_every_write_without_a_read() {
        let mut poller = Poller::new().unwrap();
        let mut ready = Vec::new();
        let fd = eventfd(0, EventfdFlags::CLOEXEC).unwrap();
        poller.add(fd.as_raw_fd(), 7, Interest::EDGE).unwrap();
        for _ in 0..3 {
            rustix::io::write(&fd, &1_u64.to_ne_bytes()).unwrap();
            poller.wait(false, &mut ready).unwrap();
            assert_eq!(ready.len(), 1);
            poller.wait(false, &mut ready).unwrap();
            assert_eq!(ready, []);
        }
    }

    #[test]
    fn an_unwatched_descriptor_is_not_reported() {
        let mut poller = Poller::new().unwrap();
        let mut ready = Vec::new();
        let fd = eventfd(1, EventfdFlags::CLOEXEC).unwrap();
        poller.add(fd.as_raw_fd(), 7, Interest::READ).unwrap();
        poller.change(fd.as_raw_fd(), 7, Interest::NONE).unwrap();
        poller.wait(false, &mut ready).unwrap();
        assert_eq!(ready, []);
        poller.change(fd.as_raw_fd(), 7, Interest::READ).unwrap();
        poller.wait(false, &mut ready).unwrap();
        assert_eq!(ready.len(), 1);
        poller.remove(fd.as_raw_fd()).unwrap();
        poller.wait(false, &mut ready).unwrap();
        assert_eq!(ready, []);
    }
}
