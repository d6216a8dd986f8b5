//! One port as the sessions thread has it: where its front-end comes in, and the session it has.

use std::os::unix::net::UnixStream;
use std::time::Instant;

use super::entrance::{Arrival, Entrance};
use super::live::Live;
use super::service::Service;
use super::token::Token;
use crate::engine::EngineFactory;
use crate::poller::{Interest, Poller};
use crate::session::{CloseReason, SessionConfig};
use crate::shard::PortId;

/// Connections taken from a listener in one visit, so that a flood of them leaves room for the other
/// ports of the thread.
const ARRIVALS_PER_VISIT: usize = 8;

/// What a port works with and all of them share.
#[derive(Clone, Copy, Debug)]
pub(super) struct Means<'a> {
    pub(super) poller: &'a Poller,
    pub(super) engines: &'a EngineFactory,
    pub(super) service: &'a Service,
}

/// One guest NIC.
#[derive(Debug)]
pub(super) struct Port {
    id: PortId,
    /// The guest's.
    pub(super) name: String,
    entrance: Entrance,
    /// Whether the listener, if there is one, is watched.
    watched: bool,
    /// What its sessions offer.
    offer: SessionConfig,
    live: Option<Live>,
    /// Nobody will come through the entrance any more.
    ended: bool,
    /// Sessions there have been.
    sessions: u64,
    /// How often a file behind the guest's memory was cut short.
    lost_memories: u64,
    /// What became of sessions since that was last asked.
    news: Vec<SessionNews>,
    /// Its frames are held, whatever becomes of its sessions.
    paused: bool,
}

/// What became of a session.
#[derive(Debug)]
pub(super) enum SessionNews {
    /// It has begun.
    Open,
    /// It has ended, and why.
    Closed(String),
}

impl Port {
    /// A port without a session, whose entrance the poller has, watched under its number.
    pub(super) fn new(id: PortId, name: &str, entrance: Entrance, offer: SessionConfig) -> Self {
        Self {
            id,
            name: name.to_owned(),
            entrance,
            watched: true,
            offer,
            live: None,
            ended: false,
            sessions: 0,
            lost_memories: 0,
            news: Vec::new(),
            paused: false,
        }
    }

    /// Whether a session runs.
    pub(super) const fn is_busy(&self) -> bool {
        self.live.is_some()
    }

    /// How many sessions there have been.
    pub(super) const fn sessions(&self) -> u64 {
        self.sessions
    }

    /// How often a session ended because a file behind the guest's memory was cut short.
    pub(super) const fn lost_memories(&self) -> u64 {
        self.lost_memories
    }

    /// What became of its sessions since the last call.
    pub(super) fn take_news(&mut self) -> Vec<SessionNews> {
        std::mem::take(&mut self.news)
    }

    /// Whether no session runs and none can come.
    pub(super) const fn is_over(&self) -> bool {
        self.ended && self.live.is_none()
    }

    /// Whether its frames are held.
    pub(super) const fn is_paused(&self) -> bool {
        self.paused
    }

    /// Notes whether its frames are held.
    pub(super) fn set_paused(&mut self, paused: bool) {
        self.paused = paused;
    }

    /// Where its front-end comes in.
    pub(super) const fn entrance(&self) -> &Entrance {
        &self.entrance
    }

    /// What its sessions offer from now on.
    pub(super) fn set_offer(&mut self, offer: SessionConfig) {
        self.offer = offer;
    }

    /// Another way in, which the poller has, watched under this port's number; gives the one before.
    pub(super) fn set_entrance(&mut self, entrance: Entrance) -> Entrance {
        (self.watched, self.ended) = (true, false);
        std::mem::replace(&mut self.entrance, entrance)
    }

    /// When it wants its turn though nothing is ready.
    pub(super) fn deadline(&self, now: Instant) -> Option<Instant> {
        let retry = if self.ended {
            None
        } else {
            self.entrance.retry_at(self.is_busy(), now)
        };
        let session = self.live.as_ref().and_then(Live::deadline);
        [retry, session].into_iter().flatten().min()
    }

    /// Lets the session, if there is one, have its turn.
    pub(super) fn session_turn(&mut self, means: Means<'_>, turn: fn(&mut Live, Instant)) {
        let Some(live) = &mut self.live else { return };
        turn(live, Instant::now());
        if let Some(reason) = live.settle(&self.name, means.service, means.poller) {
            log::info!(port = self.name, session = "closed"; "{reason}");
            self.lost_memories += u64::from(reason == CloseReason::MemoryCutShort);
            self.end_session(&reason.to_string(), means.poller);
        }
    }

    /// Ends the session for this reason; when this returns nothing of the guest is in use any more.
    pub(super) fn end_session(&mut self, why: &str, poller: &Poller) {
        if let Some(live) = self.live.take() {
            live.end(poller);
            self.news.push(SessionNews::Closed(why.to_owned()));
        }
    }

    /// Takes the front-ends that have come.
    pub(super) fn take_arrivals(&mut self, means: Means<'_>) {
        if self.ended {
            return;
        }
        let now = Instant::now();
        // A listener is emptied even while a session runs: a second front-end is refused at once.
        let listens = self.entrance.fd().is_some();
        for _ in 0..ARRIVALS_PER_VISIT {
            if !listens && self.live.is_some() {
                break;
            }
            match self.entrance.arrival(&self.name, now) {
                Arrival::Connection(stream) => self.welcome(stream, means, now),
                Arrival::None => break,
                Arrival::Ended => {
                    self.ended = true;
                    break;
                }
            }
        }
        self.watch(means.poller, now);
    }

    fn watch(&mut self, poller: &Poller, now: Instant) {
        let Some(fd) = self.entrance.fd() else { return };
        let wanted = !self.ended && !self.entrance.is_paused(now);
        if wanted == self.watched {
            return;
        }
        let interest = Interest {
            readable: wanted,
            ..Interest::NONE
        };
        match poller.change(fd, Token::Entrance(self.id).encode(), interest) {
            Ok(()) => self.watched = wanted,
            Err(error) => log::error!(port = self.name, event = "epoll-failed"; "{error}"),
        }
    }

    fn welcome(&mut self, stream: UnixStream, means: Means<'_>, now: Instant) {
        // The one before may have hung up since the last look.
        self.session_turn(means, |live, _| live.successor_came());
        if self.live.is_none() {
            self.begin(stream, means, now);
        } else {
            log::warn!(
                port = self.name, session = "refused";
                "a front-end is connected already; stop it first, or give each guest a port of its own"
            );
        }
    }

    fn begin(&mut self, stream: UnixStream, means: Means<'_>, now: Instant) {
        let handle = means.service.port(self.id);
        let Means {
            poller, engines, ..
        } = means;
        match Live::begin(stream, engines, &self.offer, self.id, handle, poller, now) {
            Ok(live) => {
                log::info!(port = self.name, session = "open"; "");
                self.sessions += 1;
                self.news.push(SessionNews::Open);
                self.live = Some(live);
            }
            Err(error) => {
                log::error!(port = self.name, session = "failed"; "{error}");
                self.entrance.pause(now);
            }
        }
    }
}
