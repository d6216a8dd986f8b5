//! Moves a session's messages between its two sockets. Never blocks: an outer epoll loop says
//! when a socket is ready and when a deadline has passed.

use std::os::fd::{BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::io::Errno;

use super::config::SessionConfig;
use super::link::{Broken, Link};
use super::machine::{Action, Session};
use super::reason::CloseReason;
use super::request::Code;
use crate::poller::Interest;

/// Messages taken from a front-end in one visit, so that a flood of them leaves room for the
/// other sessions of the thread.
const VISIT_BUDGET: usize = 16;

/// What the daemon has to know of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// Broadcast a RARP request for this MAC address.
    Rarp([u8; 6]),
    /// The MTU is now this many bytes.
    SetMtu(u16),
    /// The guest's driver set its status byte (virtio 1.3 §2.1); zero is a reset.
    Status(u8),
    /// A started ring was stopped because a change of the memory table took it away.
    RingLost(u32),
    /// The session has ended: drop it. Nothing follows.
    Closed(CloseReason),
}

/// One session on its two sockets, the front-end's and the engine's.
///
/// Watch both descriptors, level-triggered, for their interest (which changes with every call
/// below), call the `on_` function when one is ready, failed or hung up, and
/// [`on_deadline`](Self::on_deadline) when [`deadline`](Self::deadline) has passed. Dropping it
/// closes both sockets and every descriptor that was received and not passed on.
#[derive(Debug)]
pub struct SessionIo {
    session: Session,
    front_end: Link,
    engine: Link,
    message_deadline: Duration,
    engine_deadline: Duration,
    message_by: Option<Instant>,
    reply_by: Option<Instant>,
    engine_by: Option<Instant>,
    closed: bool,
}

impl SessionIo {
    /// Takes both sockets (stream sockets, blocking or not) and starts the session.
    pub fn new(
        config: SessionConfig,
        front_end: impl Into<OwnedFd>,
        engine: impl Into<OwnedFd>,
        now: Instant,
        events: &mut Vec<Event>,
    ) -> Self {
        let mut io = Self {
            message_deadline: config.message_deadline,
            engine_deadline: config.engine_deadline,
            session: Session::new(config),
            front_end: Link::new(front_end.into()),
            engine: Link::new(engine.into()),
            message_by: None,
            reply_by: None,
            engine_by: None,
            closed: false,
        };
        let mut actions = Vec::new();
        io.session.start(&mut actions);
        io.perform(actions, now, events);
        io
    }

    /// The state machine, to look at.
    pub fn session(&self) -> &Session {
        &self.session
    }

    /// The front-end's socket.
    pub fn front_end_fd(&self) -> BorrowedFd<'_> {
        self.front_end.fd()
    }

    /// The engine's socket.
    pub fn engine_fd(&self) -> BorrowedFd<'_> {
        self.engine.fd()
    }

    /// What to watch the front-end's socket for. It is not read while an answer is under way.
    pub fn front_end_interest(&self) -> Interest {
        Interest {
            readable: self.may_read(),
            writable: !self.closed && self.front_end.is_sending(),
            ..Interest::NONE
        }
    }

    /// What to watch the engine's socket for.
    pub fn engine_interest(&self) -> Interest {
        Interest {
            readable: !self.closed,
            writable: !self.closed && self.engine.is_sending(),
            ..Interest::NONE
        }
    }

    /// When [`on_deadline`](Self::on_deadline) is due, if nothing happens before.
    pub fn deadline(&self) -> Option<Instant> {
        [self.message_by, self.reply_by, self.engine_by]
            .into_iter()
            .flatten()
            .min()
    }

    fn may_read(&self) -> bool {
        !self.closed && !self.session.is_waiting() && !self.front_end.is_sending()
    }

    /// The front-end's socket is readable, writable, failed or hung up.
    pub fn on_front_end_ready(&mut self, now: Instant, events: &mut Vec<Event>) {
        self.flush(now, events);
        if !self.closed && !self.may_read() && self.front_end.is_abandoned() {
            self.close(CloseReason::PeerClosed, events);
        }
        for _ in 0..VISIT_BUDGET {
            if !self.may_read() {
                return;
            }
            match self.front_end.receive() {
                Ok(Some(message)) => {
                    self.message_by = None;
                    let mut actions = Vec::new();
                    self.session.front_end(message, &mut actions);
                    self.perform(actions, now, events);
                }
                Ok(None) => {
                    self.time_message(now);
                    return;
                }
                Err(broken) => return self.close(front_end_reason(broken), events),
            }
        }
    }

    /// Another front-end has come: ends the session if its own has gone, even if that left
    /// messages, whose answers nobody would read.
    pub fn on_successor(&mut self, events: &mut Vec<Event>) {
        if self.front_end.is_abandoned() {
            self.close(CloseReason::PeerClosed, events);
        }
    }

    /// A message has to be whole in time, counted from its first byte (hostile row 54).
    fn time_message(&mut self, now: Instant) {
        if !self.front_end.is_mid_message() {
            self.message_by = None;
        } else if self.message_by.is_none() {
            self.message_by = now.checked_add(self.message_deadline);
        }
    }

    /// The engine's socket is readable, writable, failed or hung up.
    pub fn on_engine_ready(&mut self, now: Instant, events: &mut Vec<Event>) {
        self.flush(now, events);
        while !self.closed {
            match self.engine.receive() {
                Ok(Some(message)) => {
                    self.engine_by = None;
                    let mut actions = Vec::new();
                    self.session.engine(message, &mut actions);
                    self.perform(actions, now, events);
                }
                Ok(None) => return,
                Err(broken) => return self.close(engine_reason(broken), events),
            }
        }
    }

    /// Ends the session if a deadline has passed by `now`.
    pub fn on_deadline(&mut self, now: Instant, events: &mut Vec<Event>) {
        let over = |by: Option<Instant>| by.is_some_and(|by| by <= now);
        if self.closed {
        } else if over(self.engine_by) {
            self.close(CloseReason::EngineTimeout, events);
        } else if over(self.message_by) {
            self.close(CloseReason::MessageTimeout, events);
        } else if over(self.reply_by) {
            self.close(CloseReason::ReplyTimeout, events);
        }
    }

    fn perform(&mut self, actions: Vec<Action>, now: Instant, events: &mut Vec<Event>) {
        for action in actions {
            match action {
                Action::ToEngine(message) => {
                    self.engine_by = now.checked_add(self.engine_deadline);
                    self.engine.queue(message);
                }
                Action::ToFrontEnd(message) => self.front_end.queue(message),
                Action::Rarp(mac) => events.push(Event::Rarp(mac)),
                Action::SetMtu(mtu) => events.push(Event::SetMtu(mtu)),
                Action::Status(status) => events.push(Event::Status(status)),
                Action::RingLost(ring) => events.push(Event::RingLost(ring)),
                Action::Close(reason) => return self.close(reason, events),
            }
        }
        self.flush(now, events);
    }

    fn flush(&mut self, now: Instant, events: &mut Vec<Event>) {
        if self.closed {
            return;
        }
        if let Err(error) = self.engine.flush() {
            return self.close(CloseReason::EngineSocket(error), events);
        }
        match self.front_end.flush() {
            Ok(()) if !self.front_end.is_sending() => self.reply_by = None,
            Ok(()) if self.reply_by.is_some() => {}
            Ok(()) => self.reply_by = now.checked_add(self.message_deadline),
            Err(Errno::PIPE | Errno::CONNRESET) => self.close(CloseReason::PeerClosed, events),
            Err(error) => self.close(CloseReason::FrontEndSocket(error), events),
        }
    }

    fn close(&mut self, reason: CloseReason, events: &mut Vec<Event>) {
        if self.closed {
            return;
        }
        self.closed = true;
        (self.message_by, self.reply_by, self.engine_by) = (None, None, None);
        events.push(Event::Closed(reason));
    }
}

fn front_end_reason(broken: Broken) -> CloseReason {
    match broken {
        Broken::Ended(0) | Broken::Socket(Errno::CONNRESET) => CloseReason::PeerClosed,
        Broken::Ended(bytes) => CloseReason::PeerClosedMidMessage(bytes),
        Broken::Malformed(code, fault) => CloseReason::Malformed(Code(code), fault),
        Broken::Socket(error) => CloseReason::FrontEndSocket(error),
    }
}

fn engine_reason(broken: Broken) -> CloseReason {
    match broken {
        Broken::Ended(_) => CloseReason::EngineSocket(Errno::PIPE),
        Broken::Malformed(code, _) => CloseReason::EngineAnswer(Code(code)),
        Broken::Socket(error) => CloseReason::EngineSocket(error),
    }
}
