//! The packet path: one thread that owns ports, the uplinks they are behind, and their trees outright.
//!
//! It sleeps until a guest kicks, an uplink has frames, a class may send again or the mailbox has a
//! command; then every uplink with anything to do has a turn within a budget, so that no guest keeps it
//! from another. Nothing on the way of a frame locks or allocates.

mod arriving;
mod calls;
mod capture;
mod change;
mod commands;
mod counters;
mod explain;
mod from_guest;
mod judge;
mod lan;
mod local;
mod mailbox;
pub(crate) mod offload;
mod passing;
mod pause;
mod poll;
mod pool;
mod port;
mod rarp;
mod report;
mod rings;
mod run;
mod send;
mod slot;
mod stage;
mod tag;
mod to_guest;
mod token;
mod tree;
mod work;

use std::collections::{BTreeSet, VecDeque};
use std::io;
use std::thread::JoinHandle;
use std::time::Duration;

use self::lan::Lan;
use self::mailbox::Mailbox;
use self::poll::{Looks, Window};
use self::port::{Now, Ports};
use self::token::{Kind, Token};
use self::work::{Turn, Work};
use crate::poller::{Interest, Poller, Ready};
use crate::sandbox::{Role, seccomp};
use crate::uplink::{Device, Uplink};

pub use self::capture::{Copies, FrameCopy, Over, Tap, Wanted};
pub use self::change::{Applied, Change, ChangeError, LanChange, PortChange, TreesChange};
pub use self::counters::{DirectionCounters, DropReason, Drops, PortCounters};
pub use self::explain::{Explained, Goal, Sorted};
pub use self::mailbox::{
    Command, LanId, PortCommand, PortHandle, PortId, RingStart, ShardGone, ShardHandle,
};
pub use self::report::{ClassInquiry, Inquiry, LanCounters, LanInquiry, PortInquiry};

/// Frames one direction of an uplink may move before the others have their turn.
const VISIT_FRAMES: usize = 256;

/// Frames from guest to guest that may have to wait for their receivers before these have their turn. Were it
/// many, queues would fill faster than they are emptied though the receivers could take all.
const VISIT_KEPT: usize = 32;

/// Bytes one direction of an uplink may move before the others have their turn.
const VISIT_BYTES: u64 = 2 << 20;

/// Frames between two publications: completions are never held longer than these take.
const BATCH: usize = 64;

/// When an uplink wants another turn.
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
    number: u16,
    poller: Poller,
    mailbox: Mailbox,
    lans: Vec<Option<Box<Lan>>>,
    ports: Ports,
    work: Work,
    /// Uplinks that have something to do, by their numbers.
    pending: VecDeque<u32>,
    /// And those that will have, and when (monotonic nanoseconds).
    due: BTreeSet<(u64, u32)>,
    window: Window,
    /// Looks on instead of sleeping.
    polling: bool,
    looks: Looks,
    /// When the next call that was put off is due (monotonic nanoseconds).
    call_at: Option<u64>,
    drain: Option<commands::Drain>,
    ended: bool,
}

impl Shard {
    /// Starts the packet thread of this number, which polls for up to `poll` before it sleeps and holds at most `pool_bytes` of
    /// frames in memory. It ends by [`Command::End`] and gives the uplinks back.
    ///
    /// # Errors
    /// When the process is out of descriptors or threads.
    pub fn spawn(
        number: u16,
        poll: Duration,
        pool_bytes: u64,
    ) -> io::Result<(ShardHandle, JoinHandle<Vec<Uplink>>)> {
        let poller = Poller::new()?;
        let (mailbox, handle) = Mailbox::new()?;
        poller.add(mailbox.fd(), Token::MAILBOX.encode(), Interest::READ)?;
        let shard = Self {
            number,
            poller,
            mailbox,
            lans: Vec::new(),
            ports: Ports::default(),
            work: Work::new(pool_bytes),
            pending: VecDeque::new(),
            due: BTreeSet::new(),
            window: Window::new(poll),
            polling: false,
            looks: Looks::new(),
            call_at: None,
            drain: None,
            ended: false,
        };
        let name = match number {
            0 => "shard".to_owned(),
            _ => format!("shard-{number}"),
        };
        let thread = std::thread::Builder::new().name(name);
        Ok((handle, thread.spawn(move || shard.confine().run())?))
    }

    /// As a packet thread has it. One that cannot be confined serves nobody.
    fn confine(mut self) -> Self {
        if let Err(error) = seccomp::enter(Role::Shard) {
            log::error!(shard = self.number, state = "ended"; "{error}; restart the daemon");
            self.ended = true;
        }
        self
    }

    fn run(mut self) -> Vec<Uplink> {
        let mut ready = Vec::with_capacity(64);
        while !self.ended {
            let slept = match self.wait(&mut ready) {
                Ok(slept) => slept,
                Err(error) => {
                    // Without readiness there is no service, and no way to mend it from here.
                    log::error!(shard = self.number, state = "ended"; "epoll failed: {error}; restart the daemon");
                    break;
                }
            };
            self.note(&ready);
            let now = Now::read();
            if slept {
                self.window.woke(now.nanos);
            }
            if !ready.is_empty() {
                self.window.moved(now.nanos);
            }
            self.polling = self.window.lasts(now.nanos);
            self.wake_due(now);
            self.look_at_rings(now);
            if self.serve(now) {
                self.window.moved(now.nanos);
                self.polling = self.window.lasts(now.nanos);
            }
            self.answer_drain(now);
            self.call_at = self.work.settle_calls(&mut self.ports, now.nanos);
        }
        self.work.settle_calls(&mut self.ports, u64::MAX);
        let lans = self.lans.into_iter().flatten();
        lans.map(|lan| lan.uplink).collect()
    }

    /// Waits until there is something to do, or with something to do only looks; whether it waited.
    fn wait(&mut self, ready: &mut Vec<Ready>) -> io::Result<bool> {
        let idle = self.pending.is_empty();
        if idle && self.polling && self.looks.only_rings() {
            ready.clear();
            return Ok(false);
        }
        let block = idle && !self.polling;
        if block {
            let drain = self.drain.as_ref().and_then(|drain| drain.deadline);
            let due = self.due.first().map(|(at, _)| *at);
            let wake = [drain, due, self.call_at].into_iter().flatten().min();
            self.poller.wake_at(wake)?;
        }
        self.poller.wait(block, ready)?;
        Ok(block)
    }

    /// Takes notice of what became ready.
    fn note(&mut self, ready: &[Ready]) {
        for report in ready {
            let token = Token::decode(report.token);
            let index = u32::try_from(token.port).unwrap_or(u32::MAX);
            match token.kind {
                Kind::Mailbox => self.take_commands(),
                Kind::Transmit(pair) => self.kicked(index, pair, true),
                Kind::Receive(pair) => self.kicked(index, pair, false),
                Kind::Uplink(queue) => self.uplink_ready(index, queue, report),
            }
        }
    }

    /// A guest has kicked a ring.
    fn kicked(&mut self, index: u32, pair: usize, transmit: bool) {
        let Some(port) = self.ports.get_mut(index) else {
            return;
        };
        port.counters.kicks += 1;
        let Some(Some(lan)) = self.lans.get_mut(port.lan as usize) else {
            return;
        };
        let now = Now::read();
        if transmit {
            lan.frames_came(port, pair, now);
        } else {
            lan.unblock(port, now);
        }
        if !lan.pending {
            lan.pending = true;
            self.pending.push_back(lan.index);
        }
    }

    fn uplink_ready(&mut self, index: u32, queue: usize, report: &Ready) {
        let Some(Some(lan)) = self.lans.get_mut(index as usize) else {
            return;
        };
        // A packet socket reports an interface that went down as an error, which a read takes away.
        let error = report.broken && matches!(lan.uplink.device(), Device::Packet(_));
        if report.broken && !error {
            lan.is_gone(&self.poller);
        }
        if report.writable {
            lan.writable(&self.poller, Now::read());
        }
        if (report.readable || error)
            && let Some(queue) = lan.queues.get_mut(queue)
        {
            queue.readable = true;
        }
        if !lan.pending {
            lan.pending = true;
            self.pending.push_back(index);
        }
    }

    /// Uplinks whose time has come have something to do.
    fn wake_due(&mut self, now: Now) {
        while let Some(&(at, index)) = self.due.first()
            && at <= now.nanos
        {
            self.due.pop_first();
            if let Some(Some(lan)) = self.lans.get_mut(index as usize) {
                lan.due = None;
                if !lan.pending {
                    lan.pending = true;
                    self.pending.push_back(index);
                }
            }
        }
    }

    /// Looks for frames in the rings that were not asked to kick. The last look asks them.
    fn look_at_rings(&mut self, now: Now) {
        let last = !self.polling;
        let Self {
            looks,
            ports,
            lans,
            pending,
            ..
        } = self;
        looks.retain(|index| {
            let Some(port) = ports.get_mut(index) else {
                return false;
            };
            let Some(Some(lan)) = lans.get_mut(port.lan as usize) else {
                return false;
            };
            let mut come = false;
            for pair in 0..port.pairs.len() {
                if port.pairs[pair].has_come(last) {
                    come = true;
                    lan.frames_came(port, pair, now);
                }
            }
            if come && !lan.pending {
                lan.pending = true;
                pending.push_back(lan.index);
            }
            !come && !last
        });
    }

    /// Gives every uplink with something to do its turn; whether any frame moved.
    fn serve(&mut self, now: Now) -> bool {
        let mut moved = false;
        for _ in 0..self.pending.len() {
            let Some(index) = self.pending.pop_front() else {
                break;
            };
            let Some(Some(lan)) = self.lans.get_mut(index as usize) else {
                continue;
            };
            let mut turn = Turn {
                polling: self.polling.then_some(&self.looks),
                draining: self.drain.is_some(),
                ..Turn::new(&mut self.ports, &mut self.work, &self.poller, now)
            };
            lan.pending = false;
            let progress = lan.serve(&mut turn);
            moved |= turn.moved > 0;
            let due = match progress {
                Progress::Idle => None,
                Progress::At(at) => Some(at),
                Progress::More => {
                    lan.pending = true;
                    self.pending.push_back(index);
                    None
                }
            };
            if lan.due != due {
                if let Some(old) = lan.due {
                    self.due.remove(&(old, index));
                }
                if let Some(at) = due {
                    self.due.insert((at, index));
                }
                lan.due = due;
            }
        }
        moved
    }
}
