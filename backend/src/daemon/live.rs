//! A session that runs: the adapter, its engine, and their place in the poller.

use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::net::UnixStream;
use std::time::Instant;

use super::offer;
use super::service::Service;
use super::token::Token;
use crate::engine::{Engine, EngineError, EngineFactory};
use crate::poller::{Interest, Poller};
use crate::session::{CloseReason, Event, SessionConfig, SessionIo};
use crate::shard::{PortCommand, PortHandle, PortId};

/// One front-end's session.
#[derive(Debug)]
pub(super) struct Live {
    id: PortId,
    io: SessionIo,
    port: PortHandle,
    engine: Engine,
    events: Vec<Event>,
    watched: [Interest; 2],
}

impl Live {
    /// Starts a session on a connection.
    pub(super) fn begin(
        stream: UnixStream,
        engines: &EngineFactory,
        config: &SessionConfig,
        id: PortId,
        port: PortHandle,
        poller: &Poller,
        now: Instant,
    ) -> Result<Self, EngineError> {
        let (engine, ours) = engines.start(offer::engine_config(config), port.clone())?;
        let mut events = Vec::new();
        let io = SessionIo::new(config.clone(), stream, ours, now, &mut events);
        let live = Self {
            id,
            io,
            port,
            engine,
            events,
            watched: [Interest::READ; 2],
        };
        for (fd, token) in live.sources() {
            if let Err(error) = poller.add(fd, token, Interest::READ) {
                live.end(poller);
                return Err(error.into());
            }
        }
        Ok(live)
    }

    /// What is watched, and as what.
    fn sources(&self) -> [(RawFd, u64); 2] {
        let (front_end, engine) = (self.io.front_end_fd(), self.io.engine_fd());
        [
            (front_end.as_raw_fd(), Token::FrontEnd(self.id).encode()),
            (engine.as_raw_fd(), Token::Engine(self.id).encode()),
        ]
    }

    pub(super) fn front_end_ready(&mut self, now: Instant) {
        self.io.on_front_end_ready(now, &mut self.events);
    }

    pub(super) fn successor_came(&mut self) {
        self.io.on_successor(&mut self.events);
    }

    pub(super) fn memory_was_lost(&mut self, _now: Instant) {
        if self.engine.has_lost_memory() {
            self.events.push(Event::Closed(CloseReason::MemoryCutShort));
        }
    }

    pub(super) fn engine_ready(&mut self, now: Instant) {
        self.io.on_engine_ready(now, &mut self.events);
    }

    pub(super) fn deadline_passed(&mut self, now: Instant) {
        if self.io.deadline().is_some_and(|deadline| deadline <= now) {
            self.io.on_deadline(now, &mut self.events);
        }
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        self.io.deadline()
    }

    /// Does what the session asked for; the reason, if it has ended.
    pub(super) fn settle(
        &mut self,
        name: &str,
        service: &Service,
        poller: &Poller,
    ) -> Option<CloseReason> {
        let mut closed = None;
        for event in self.events.drain(..) {
            let sent = match event {
                Event::Rarp(mac) => self.port.send(PortCommand::Announce(mac)),
                Event::SetMtu(mtu) => service.set_mtu(self.id, name, mtu),
                Event::Status(status) => {
                    log::debug!(port = name, status:% = format_args!("{status:#04x}"); "");
                    Ok(())
                }
                Event::RingLost(ring) => {
                    let vring = usize::try_from(ring).unwrap_or(usize::MAX);
                    self.port.send(PortCommand::Break(vring))
                }
                Event::Closed(reason) => {
                    closed = Some(reason);
                    Ok(())
                }
            };
            if let Err(error) = sent {
                log::error!(port = name, event = "shard-gone"; "{error}");
            }
        }
        if closed.is_none() {
            self.watch(name, poller);
        }
        closed
    }

    fn watch(&mut self, name: &str, poller: &Poller) {
        let wanted = [self.io.front_end_interest(), self.io.engine_interest()];
        for (index, (fd, token)) in self.sources().into_iter().enumerate() {
            if self.watched[index] == wanted[index] {
                continue;
            }
            match poller.change(fd, token, wanted[index]) {
                Ok(()) => self.watched[index] = wanted[index],
                Err(error) => log::error!(port = name, event = "epoll-failed"; "{error}"),
            }
        }
    }

    /// Ends the session; when this returns nothing of the guest is in use any more.
    pub(super) fn end(self, poller: &Poller) {
        // Those that were never added have nothing to be removed.
        for (fd, _) in self.sources() {
            let _ = poller.remove(fd);
        }
        drop(self.io);
        self.engine.end();
    }
}
