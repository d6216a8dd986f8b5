//! Guests whose memory is cut short under us: each costs its own session and not the process.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

use ring::memory::truncation;
use rustix::event::{EventfdFlags, eventfd};

use super::Daemon;
use super::live::Live;
use super::token::Token;
use crate::config::Config;
use crate::poller::{Interest, Poller};

/// Tells that a file behind the memory of some guest was found to be shorter than it was.
#[derive(Debug)]
pub(super) struct LostMemory(OwnedFd);

impl LostMemory {
    /// From now on the process survives that, and the poller tells of it.
    pub(super) fn watch(poller: &Poller) -> io::Result<Self> {
        let event = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        truncation::survive(event.try_clone()?)?;
        poller.add(event.as_raw_fd(), Token::Memory.encode(), Interest::READ)?;
        Ok(Self(event))
    }

    fn forget(&self) {
        let _ = rustix::io::read(&self.0, &mut [0; 8]);
    }
}

impl<R: Fn(Option<&str>) -> Result<Config, String>> Daemon<R> {
    /// Ends the sessions whose guest's memory was cut short.
    pub(super) fn end_those_without_memory(&mut self) {
        // Before they are looked at: what happens from here on is told anew.
        self.memory_lost.forget();
        let ids: Vec<_> = self.ports.iter().map(|(id, _)| id).collect();
        for id in ids {
            self.port_turn(id, |port, means| {
                port.session_turn(means, Live::memory_was_lost);
            });
        }
    }
}
