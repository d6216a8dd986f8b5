//! The daemon: opens what the command line names, then serves one front-end after the other until
//! a signal ends it.
//!
//! One thread owns the sessions; the shard has its own. The engine of a session runs on a thread
//! of the vhost-user-backend crate.

mod entrance;
mod live;
mod offer;
mod signals;

use std::io;
use std::sync::mpsc::RecvTimeoutError;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use qos::{Framing, LimiterConfig};

use self::entrance::{Arrival, Entrance};
use self::live::Live;
use self::signals::{Signal, Signals};
use crate::args::{LimitConfig, PortConfig};
use crate::engine::EngineFactory;
use crate::poller::{Interest, Poller, monotonic_nanos};
use crate::session::SessionConfig;
use crate::shard::{Command, PortSettings, Shard, ShardGone, ShardHandle};
use crate::uplink::{Tap, TapError};

pub use self::entrance::EntranceError;

/// How long a SIGTERM waits for what is queued to the guest.
const DRAIN: Duration = Duration::from_millis(800);

/// From when on a second signal ends the daemon at once. Some tools send each signal twice.
const PATIENCE: Duration = Duration::from_millis(200);

/// What a refused second front-end is logged as, at most once in this time.
const REFUSAL_LOG: Duration = Duration::from_secs(5);

/// What the link layer adds to the MTU: addresses and type, without check sequence.
const ETHERNET_HEADER: u64 = 14;

/// Why the daemon could not start, or had to end.
#[derive(Debug, thiserror::Error)]
pub enum DaemonError {
    /// The uplink cannot be had.
    #[error(transparent)]
    Tap(#[from] TapError),
    /// The front-end's socket cannot be had.
    #[error(transparent)]
    Entrance(#[from] EntranceError),
    /// The system is out of something the daemon needs from the start.
    #[error("cannot set up {0}: {1}; check the limits on open files, threads and memory")]
    System(&'static str, #[source] io::Error),
    /// The packet thread ended by itself.
    #[error(transparent)]
    Shard(#[from] ShardGone),
}

const ENTRANCE: u64 = 0;
const SIGNALS: u64 = 1;
const FRONT_END: u64 = 2;
const ENGINE: u64 = 3;

/// Serves the port until SIGTERM or SIGINT, or until the one connection it was handed ends.
///
/// # Errors
/// When something the port needs cannot be had; nothing is left behind then.
pub fn run(config: &PortConfig) -> Result<(), DaemonError> {
    let system = |what| move |error| DaemonError::System(what, error);
    // Before any descriptor of ours could have the number of one that was not handed in after all.
    let inherited = Entrance::inherited(&config.front_end)?;
    // Before there is anything that a signal's default would leave behind.
    let signals = Signals::new().map_err(system("signals"))?;
    let poller = Poller::new().map_err(system("epoll"))?;
    let entrance = inherited.map_or_else(|| Entrance::open(&config.front_end), Ok)?;
    let (shard, thread) = Shard::spawn(config.poll).map_err(system("the packet thread"))?;
    let engines = EngineFactory::new(shard.clone()).map_err(system("the engine's socket"))?;
    // Last, because what fails before needs nothing undone.
    let tap = Tap::open(&config.tap)?;
    let name = tap.name().to_string();
    let session = add_port(config, tap, &shard)?;
    let mut daemon = Daemon {
        poller,
        signals,
        entrance,
        engines,
        session,
        shard,
        name,
        live: None,
        refused: None,
        ended: false,
    };
    let served = daemon.serve();
    let finished = daemon.finish(thread);
    served.and(finished)
}

/// Gives the tap to the packet thread; what a session may then offer. Undone if it fails.
fn add_port(
    config: &PortConfig,
    tap: Tap,
    shard: &ShardHandle,
) -> Result<SessionConfig, DaemonError> {
    let session = match offer::session_config(config, &tap) {
        Ok(session) => session,
        Err(error) => {
            tap.remove_if_ours()?;
            return Err(error.into());
        }
    };
    let unit = u64::from(tap.mtu()) + ETHERNET_HEADER;
    let settings = PortSettings {
        queues: usize::from(config.queues),
        from_guest: limiter(&config.from_guest, unit),
        to_guest: limiter(&config.to_guest, unit),
        framing: Framing::ETHERNET,
        mac: config.mac,
    };
    let port = Box::new((tap, settings));
    match shard.ask(|answer| Command::AddPort(port, answer))? {
        Ok(()) => Ok(session),
        Err(refused) => {
            let (error, tap) = *refused;
            tap.remove_if_ours()?;
            Err(DaemonError::System("the tap's queues", error))
        }
    }
}

/// The limiter that a direction's options ask for.
fn limiter(limit: &LimitConfig, unit: u64) -> LimiterConfig {
    let overhead = u64::try_from(Framing::ETHERNET.overhead).unwrap_or(0);
    LimiterConfig {
        rate: limit.rate,
        burst: limit.burst,
        pps: limit.pps,
        unit_wire_bytes: unit + overhead,
        ..LimiterConfig::default()
    }
}

struct Daemon {
    poller: Poller,
    signals: Signals,
    entrance: Entrance,
    engines: EngineFactory,
    session: SessionConfig,
    shard: ShardHandle,
    name: String,
    live: Option<Live>,
    /// When a second front-end was last logged.
    refused: Option<Instant>,
    ended: bool,
}

impl Daemon {
    fn serve(&mut self) -> Result<(), DaemonError> {
        let system = |error| DaemonError::System("epoll", error);
        if let Some(fd) = self.entrance.fd() {
            self.poller
                .add(fd, ENTRANCE, Interest::READ)
                .map_err(system)?;
        }
        let signals = self.signals.fd();
        self.poller
            .add(signals, SIGNALS, Interest::READ)
            .map_err(system)?;
        log::info!("port={} state=waiting", self.name);
        let mut ready = Vec::new();
        while !self.ended {
            self.poller
                .wake_at(self.next_wake(Instant::now()))
                .map_err(system)?;
            self.poller.wait(true, &mut ready).map_err(system)?;
            for report in &ready {
                match report.token {
                    SIGNALS => self.take_signals()?,
                    FRONT_END => self.session_turn(Live::front_end_ready),
                    ENGINE => self.session_turn(Live::engine_ready),
                    _ => {}
                }
            }
            self.session_turn(Live::deadline_passed);
            self.take_arrivals();
        }
        Ok(())
    }

    /// When something is due though nothing is ready, in monotonic nanoseconds.
    fn next_wake(&self, now: Instant) -> Option<u64> {
        let retry = self.entrance.retry_at(self.live.is_some(), now);
        let deadline = self.live.as_ref().and_then(Live::deadline);
        let first = [retry, deadline].into_iter().flatten().min()?;
        let wait = first.saturating_duration_since(now).as_nanos();
        Some(monotonic_nanos().saturating_add(u64::try_from(wait).unwrap_or(u64::MAX)))
    }

    fn take_arrivals(&mut self) {
        let now = Instant::now();
        // A listener is emptied even while a session runs: a second front-end is refused at once.
        let listens = self.entrance.fd().is_some();
        while listens || self.live.is_none() {
            match self.entrance.arrival(now) {
                Arrival::Connection(stream) => {
                    // The one before may have hung up since the last look.
                    self.session_turn(|live, _| live.successor_came());
                    if self.live.is_none() {
                        self.begin(stream, now);
                    } else {
                        self.refuse(now);
                    }
                }
                Arrival::None => break,
                Arrival::Ended => {
                    self.ended = true;
                    break;
                }
            }
        }
        if let Some(fd) = self.entrance.fd() {
            let readable = !self.entrance.is_paused(now);
            let interest = Interest {
                readable,
                ..Interest::NONE
            };
            if let Err(error) = self.poller.change(fd, ENTRANCE, interest) {
                log::error!("port={} event=epoll-failed: {error}", self.name);
            }
        }
    }

    fn begin(&mut self, stream: std::os::unix::net::UnixStream, now: Instant) {
        let begun = Live::begin(stream, &self.engines, &self.session, &self.poller, now);
        match begun {
            Ok(live) => {
                log::info!("port={} session=open", self.name);
                self.live = Some(live);
            }
            Err(error) => log::error!("port={} session=failed: {error}", self.name),
        }
    }

    fn refuse(&mut self, now: Instant) {
        let recently = |last: Instant| now.saturating_duration_since(last) < REFUSAL_LOG;
        if !self.refused.is_some_and(recently) {
            self.refused = Some(now);
            log::warn!(
                "port={} session=refused: a front-end is connected already; \
                 stop it first, or give each guest a port of its own",
                self.name
            );
        }
    }

    fn session_turn(&mut self, turn: fn(&mut Live, Instant)) {
        let Some(live) = &mut self.live else { return };
        turn(live, Instant::now());
        if let Some(reason) = live.settle(&self.shard, &self.name, &self.poller) {
            log::info!("port={} session=closed: {reason}", self.name);
            if let Some(live) = self.live.take() {
                live.end(&self.poller);
            }
        }
    }

    fn take_signals(&mut self) -> Result<(), DaemonError> {
        for signal in self.signals.take() {
            match signal {
                Signal::Terminate => self.ended = true,
                Signal::Report => self.report()?,
            }
        }
        Ok(())
    }

    /// Logs the counters.
    fn report(&self) -> Result<(), ShardGone> {
        let counters = self.shard.ask(Command::Counters)?;
        log::info!(
            "port={} direction=from-guest {}",
            self.name,
            counters.from_guest
        );
        log::info!(
            "port={} direction=to-guest {}",
            self.name,
            counters.to_guest
        );
        log::info!(
            "port={} kicks={} wakes={} broken_rings={}",
            self.name,
            counters.kicks,
            counters.wakes,
            counters.broken_rings
        );
        Ok(())
    }

    /// Delivers what is queued, ends the session and gives the tap back.
    fn finish(mut self, thread: JoinHandle<Vec<Tap>>) -> Result<(), DaemonError> {
        log::info!("port={} state=ending", self.name);
        let drain = u64::try_from(DRAIN.as_nanos()).unwrap_or(u64::MAX);
        let deadline = monotonic_nanos().saturating_add(drain);
        let drained = self.shard.request(|done| Command::Drain(deadline, done))?;
        if let Err(RecvTimeoutError::Timeout) = drained.recv_timeout(PATIENCE) {
            self.signals.next_one_exits();
            drained.recv().map_err(|_| ShardGone)?;
        }
        self.report()?;
        if let Some(live) = self.live.take() {
            live.end(&self.poller);
        }
        self.shard.send(Command::End)?;
        // A panic aborts the process, so the thread returns.
        for tap in thread.join().unwrap_or_default() {
            tap.remove_if_ours()?;
        }
        Ok(())
    }
}
