//! The packet path: one thread that owns ports, their limiters and their uplink queues outright.
//!
//! It sleeps until a guest kicks, the uplink has frames, a limiter's time has come or the mailbox
//! has a command; then it visits each direction within a budget, so that no guest keeps it from
//! another. Nothing on the way of a frame locks or allocates.

mod backlog;
mod commands;
mod counters;
mod from_guest;
mod mailbox;
pub(crate) mod offload;
mod port;
mod rarp;
mod slot;
mod to_guest;
mod token;

use std::io;
use std::thread::JoinHandle;
use std::time::Duration;

use self::mailbox::Mailbox;
use self::port::{Now, Port};
use self::token::{Kind, Token};
use crate::poller::{Interest, Poller, Ready};
use crate::uplink::Tap;

pub use self::counters::{DirectionCounters, DropReason, Drops, PortCounters};
pub use self::mailbox::{Added, Command, RingStart, ShardGone, ShardHandle};
pub use self::port::PortSettings;

/// Frames one direction of a port may move before the others have their turn.
const VISIT_FRAMES: usize = 256;

/// Bytes one direction of a port may move before the others have their turn.
const VISIT_BYTES: u64 = 2 << 20;

/// When a port wants to be visited again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Progress {
    /// When something happens.
    Idle,
    /// At this time (monotonic nanoseconds), if nothing happens before.
    At(u64),
    /// As soon as the others have had their turn.
    More,
}

impl Progress {
    /// The earlier of two.
    fn sooner(self, other: Self) -> Self {
        match (self, other) {
            (Self::More, _) | (_, Self::More) => Self::More,
            (Self::At(a), Self::At(b)) => Self::At(a.min(b)),
            (Self::At(at), Self::Idle) | (Self::Idle, Self::At(at)) => Self::At(at),
            (Self::Idle, Self::Idle) => Self::Idle,
        }
    }
}

/// One packet thread.
#[derive(Debug)]
pub struct Shard {
    poller: Poller,
    mailbox: Mailbox,
    ports: Vec<Port>,
    poll: Duration,
    drain: Option<commands::Drain>,
    ended: bool,
}

impl Shard {
    /// Starts a packet thread that polls for `poll` before it sleeps. It ends by [`Command::End`]
    /// and gives the taps back.
    ///
    /// # Errors
    /// When the process is out of descriptors or threads.
    pub fn spawn(poll: Duration) -> io::Result<(ShardHandle, JoinHandle<Vec<Tap>>)> {
        let poller = Poller::new()?;
        let (mailbox, handle) = Mailbox::new()?;
        poller.add(mailbox.fd(), Token::MAILBOX.encode(), Interest::READ)?;
        let shard = Self {
            poller,
            mailbox,
            ports: Vec::new(),
            poll,
            drain: None,
            ended: false,
        };
        let thread = std::thread::Builder::new().name("shard".to_owned());
        Ok((handle, thread.spawn(move || shard.run())?))
    }

    fn run(mut self) -> Vec<Tap> {
        let mut ready = Vec::with_capacity(64);
        let (mut progress, mut poll_until) = (Progress::Idle, 0);
        let mut polling = false;
        while !self.ended {
            let block = progress != Progress::More && !polling;
            if let Err(error) = self.sleep(progress, block, &mut ready) {
                // Without readiness there is no service, and no way to mend it from here.
                log::error!("shard=0 state=ended: epoll failed: {error}; restart the daemon");
                break;
            }
            self.note(&ready);
            let mut now = Now::read();
            let before = self.frames();
            let polled = polling;
            progress = self.visit(&mut now, polled);
            if !self.poll.is_zero() {
                if self.frames() != before {
                    let window = u64::try_from(self.poll.as_nanos()).unwrap_or(u64::MAX);
                    poll_until = now.nanos.saturating_add(window);
                }
                polling = now.nanos < poll_until;
                if polled && !polling {
                    // The last look asks for kicks, which the polled ones did not.
                    progress = self.visit(&mut now, false);
                }
            }
        }
        self.ports.into_iter().map(|port| port.tap).collect()
    }

    /// Frames moved so far.
    fn frames(&self) -> u64 {
        let moved = |port: &Port| {
            let counters = &port.counters;
            counters
                .from_guest
                .sent
                .frames
                .wrapping_add(counters.to_guest.sent.frames)
        };
        self.ports.iter().map(moved).fold(0, u64::wrapping_add)
    }

    fn sleep(&mut self, progress: Progress, block: bool, ready: &mut Vec<Ready>) -> io::Result<()> {
        self.poller.wake_at(match progress {
            Progress::At(at) => Some(at),
            Progress::Idle | Progress::More => None,
        })?;
        self.poller.wait(block, ready)
    }

    /// Takes notice of what became ready. Rings and uplinks are looked at anyway at a visit.
    fn note(&mut self, ready: &[Ready]) {
        for report in ready {
            let token = Token::decode(report.token);
            match token.kind {
                Kind::Mailbox => self.take_commands(),
                Kind::Transmit(_) | Kind::Receive(_) => {
                    if let Some(port) = self.ports.get_mut(token.port) {
                        port.counters.kicks += 1;
                    }
                }
                Kind::Uplink(pair) => {
                    let Some(port) = self.ports.get_mut(token.port) else {
                        continue;
                    };
                    if report.broken {
                        port.uplink_is_gone(&self.poller);
                    } else if report.writable {
                        port.uplink_writable(pair, &self.poller);
                    }
                }
            }
        }
    }

    fn visit(&mut self, now: &mut Now, polling: bool) -> Progress {
        let mut progress = Progress::Idle;
        for port in &mut self.ports {
            port.polling = polling;
            port.counters.wakes += 1;
            let from = port.serve_from_guest(now, &self.poller);
            let to = port.serve_to_guest(now, &self.poller);
            progress = progress.sooner(from).sooner(to);
        }
        progress.sooner(self.drain_progress(*now))
    }
}
