//! The daemon: opens what the configuration names, then serves the front-ends of all its ports until
//! a signal ends it.
//!
//! One thread owns the sessions of all ports, and the control socket; each shard has its own. The
//! engine of a session runs on a thread of the vhost-user-backend crate.

mod capture;
mod change;
mod control;
mod deadlines;
mod diff;
mod differences;
mod doors;
mod entrance;
mod explain;
mod guests;
mod history;
mod limits;
mod live;
mod memory;
mod notify;
mod offer;
mod opening;
mod port;
mod report;
mod requests;
mod restraint;
#[cfg(test)]
mod samples;
mod service;
mod signals;
mod table;
mod token;

use std::fmt::Display;
use std::io;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::{Duration, Instant};

use self::control::Control;
use self::deadlines::Deadlines;
use self::history::History;
use self::live::Live;
use self::memory::LostMemory;
use self::notify::Watchdog;
use self::opening::Opening;
use self::port::{Means, Port, SessionNews};
use self::restraint::Restraint;
use self::service::Service;
use self::signals::{Signal, Signals};
use self::table::Table;
use self::token::Token;
use crate::config::Config;
use crate::control::Event;
use crate::engine::EngineFactory;
use crate::logging::OPERATOR;
use crate::opener::{Opener, OpenerError};
use crate::poller::{Interest, Poller, monotonic_nanos};
use crate::sandbox::SandboxError;
use crate::shard::{PortId, ShardGone};
use crate::uplink::LinkMonitor;
use crate::web::{self, WebError};

pub use self::entrance::EntranceError;
pub use self::service::ServiceError;

/// How long a SIGTERM waits for what is queued to the guests.
const DRAIN: Duration = Duration::from_millis(800);

/// From when on a second signal ends the daemon at once. Some tools send each signal twice.
const PATIENCE: Duration = Duration::from_millis(200);

/// Why the daemon could not start, or had to end.
#[derive(Debug, thiserror::Error)]
pub enum DaemonError {
    /// A guest cannot be served as configured.
    #[error(transparent)]
    Service(#[from] ServiceError),
    /// The front-end's socket, or the control socket, cannot be had.
    #[error(transparent)]
    Entrance(#[from] EntranceError),
    /// The process that keeps the privileges cannot be had.
    #[error(transparent)]
    Opener(#[from] OpenerError),
    /// The privileges cannot be given up.
    #[error(transparent)]
    Sandbox(#[from] SandboxError),
    /// The system is out of something the daemon needs from the start.
    #[error("cannot set up {0}: {1}; check the limits on open files, threads and memory")]
    System(&'static str, #[source] io::Error),
    /// Metrics cannot be told over HTTP.
    #[error(transparent)]
    Metrics(#[from] WebError),
    /// A packet thread ended by itself.
    #[error(transparent)]
    Shard(#[from] ShardGone),
}

/// What becomes of the privileges that the daemon was started with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Privileges {
    /// It has what it has, opens everything itself and is in no sandbox. Why that is, for the log.
    Kept(&'static str),
    /// Another process has them ([`Opener::start`]), and the daemon goes into a [`sandbox`](crate::sandbox).
    GivenUp {
        /// What it can still read, such as the directory of its file.
        readable: Vec<PathBuf>,
    },
}

/// Whose deadline it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Timer {
    /// A port's: its session's, or the next try at its entrance.
    Port(PortId),
    /// The next try at the control socket.
    Control,
    /// A caller's of the control socket, by its place.
    Caller(u32),
    /// The next sign of life for the service manager.
    Watchdog,
}

/// Serves the guests of `config` until SIGTERM or SIGINT, or until none of them can come any more because
/// each was to use one connection that was handed over.
///
/// What becomes of its privileges is for `privileges` to say; no thread may run yet when they are given up.
///
/// `read` reads the configuration again, on SIGHUP and when the control socket is asked to; and with it the
/// text of one more file, if it is given that. What it gives is applied whole or, with a line in the log
/// that says why, not at all.
///
/// # Errors
/// When something a guest needs cannot be had; nothing is left behind then.
pub fn run<E: Display>(
    config: Config,
    privileges: Privileges,
    read: impl Fn(Option<&str>) -> Result<Config, E>,
) -> Result<(), DaemonError> {
    let system = |what| move |error| DaemonError::System(what, error);
    // Before any descriptor of ours could have the number of one that was not handed in after all.
    let inherited = doors::inherited(&config)?;
    limits::make_room();
    // Before there is anything that a signal's default would leave behind.
    let mut signals = Signals::new().map_err(system("signals"))?;
    let poller = Poller::new().map_err(system("epoll"))?;
    poller
        .add(signals.fd(), Token::Signals.encode(), Interest::READ)
        .map_err(system("epoll"))?;
    let metrics = config.metrics.map(web::Listener::bind).transpose()?;
    let opener = match &privileges {
        Privileges::GivenUp { .. } => Opener::start(),
        Privileges::Kept(_) => Ok(Opener::direct()),
    };
    let opener = match opener {
        Ok(opener) => Opening::new(opener),
        // A signal to all of us can reach the opener before it ignores it.
        Err(_) if signals.take().contains(&Signal::Terminate) => return Ok(()),
        Err(error) => return Err(error.into()),
    };
    if let Some(fd) = opener.fd() {
        poller
            .add(fd, Token::Opener.encode(), Interest::READ)
            .map_err(system("epoll"))?;
    }
    let memory_lost = LostMemory::watch(&poller).map_err(system("signals"))?;
    let engines = EngineFactory::new().map_err(system("the engine's socket"))?;
    let links = LinkMonitor::new().map_err(ServiceError::Links)?;
    let restraint = Restraint::begin(privileges, config.sandbox)?;
    let service = Service::start(&config, links, opener.clone())?;
    poller
        .add(service.links_fd(), Token::Links.encode(), Interest::READ)
        .map_err(system("epoll"))?;
    let mut daemon = Daemon {
        poller,
        signals,
        engines,
        memory_lost,
        opener,
        service,
        ports: Table::default(),
        control: Control::default(),
        timers: Deadlines::new(),
        // Nothing yet: the start is the first change.
        config: Rc::new(Config {
            control: None,
            uplinks: Vec::new(),
            guests: Vec::new(),
            ..config
        }),
        generation: 0,
        history: History::default(),
        epoch: (Instant::now(), monotonic_nanos()),
        read: |more: Option<&str>| read(more).map_err(|error| error.to_string()),
        watchdog: Watchdog::asked_for(),
        restraint,
        ended: false,
    };
    let metrics = metrics.map(|listener| daemon.tell_metrics(listener));
    let metrics = metrics.transpose()?;
    if let Err(error) = daemon.change(config, inherited) {
        // There is nothing to give back, and one error is enough.
        let _ = daemon.service.end();
        return Err(error);
    }
    if let Err(error) = daemon.restraint.complete() {
        let _ = daemon.finish();
        return Err(error.into());
    }
    notify::ready();
    daemon.feed_watchdog(Instant::now());
    let served = daemon.serve();
    drop(metrics);
    let finished = daemon.finish();
    served.and(finished)
}

/// Everything the sessions thread owns.
struct Daemon<R> {
    poller: Poller,
    signals: Signals,
    engines: EngineFactory,
    memory_lost: LostMemory,
    opener: Opening,
    service: Service,
    ports: Table,
    control: Control,
    timers: Deadlines<Timer>,
    /// What is served now.
    config: Rc<Config>,
    /// How many configurations have been applied.
    generation: u64,
    history: History,
    /// One moment on both clocks.
    epoch: (Instant, u64),
    read: R,
    watchdog: Option<Watchdog>,
    restraint: Restraint,
    ended: bool,
}

impl<R: Fn(Option<&str>) -> Result<Config, String>> Daemon<R> {
    /// Starts to tell metrics over HTTP, to whoever comes to the listener.
    fn tell_metrics(&mut self, listener: web::Listener) -> Result<web::Server, DaemonError> {
        let system = |error| DaemonError::System("metrics", error);
        let (ours, theirs) = UnixStream::pair().map_err(system)?;
        self.control.adopt(ours, &self.poller).map_err(system)?;
        let address = listener.address();
        let server = listener.serve(theirs)?;
        log::info!(metrics:% = format_args!("http://{address}/"); "");
        if !address.ip().to_canonical().is_loopback() {
            log::warn!(
                event = "metrics-exposed";
                "whoever reaches {address} can read the guests' names and \
                 counters, without a password; an address of loopback is for this machine only"
            );
        }
        Ok(server)
    }

    fn serve(&mut self) -> Result<(), DaemonError> {
        let system = |error| DaemonError::System("epoll", error);
        let mut ready = Vec::new();
        while !self.ended {
            self.poller.wake_at(self.next_wake()).map_err(system)?;
            self.poller.wait(true, &mut ready).map_err(system)?;
            for report in &ready {
                // Nothing else is ever registered.
                if let Some(token) = Token::decode(report.token) {
                    self.ready(token)?;
                }
            }
            let now = Instant::now();
            for timer in self.timers.take_due(now) {
                self.due(timer, now);
            }
        }
        Ok(())
    }

    /// When something is due though nothing is ready, in monotonic nanoseconds.
    fn next_wake(&self) -> Option<u64> {
        let (instant, nanos) = self.epoch;
        let wait = self.timers.first()?.saturating_duration_since(instant);
        let wait = u64::try_from(wait.as_nanos()).unwrap_or(u64::MAX);
        Some(nanos.saturating_add(wait))
    }

    fn ready(&mut self, token: Token) -> Result<(), DaemonError> {
        match token {
            Token::Signals => self.take_signals()?,
            Token::Links => self.links_changed()?,
            Token::Opener => self.look_after_opener(),
            Token::Memory => self.end_those_without_memory(),
            Token::Control => {
                let now = Instant::now();
                self.control
                    .take_arrivals(&self.poller, &mut self.timers, now);
            }
            Token::Caller(place) => self.take_request(place)?,
            Token::Capture(place) => {
                self.control.captured(place, &self.poller, &mut self.timers);
            }
            Token::Entrance(id) => self.port_turn(id, Port::take_arrivals),
            Token::FrontEnd(id) => self.port_turn(id, |port, means| {
                port.session_turn(means, Live::front_end_ready);
            }),
            Token::Engine(id) => self.port_turn(id, |port, means| {
                port.session_turn(means, Live::engine_ready);
            }),
        }
        Ok(())
    }

    fn due(&mut self, timer: Timer, now: Instant) {
        match timer {
            Timer::Port(id) => self.port_turn(id, |port, means| {
                port.session_turn(means, Live::deadline_passed);
                port.take_arrivals(means);
            }),
            Timer::Control => self
                .control
                .take_arrivals(&self.poller, &mut self.timers, now),
            Timer::Caller(place) => {
                self.control
                    .time_is_up(place, &self.poller, &mut self.timers);
            }
            Timer::Watchdog => self.feed_watchdog(now),
        }
    }

    /// Lets a port, if it is still there, have its turn.
    fn port_turn(&mut self, id: PortId, turn: impl FnOnce(&mut Port, Means<'_>)) {
        let means = Means {
            poller: &self.poller,
            engines: &self.engines,
            service: &self.service,
        };
        let Some(port) = self.ports.get_mut(id) else {
            return;
        };
        turn(port, means);
        let (deadline, is_over) = (port.deadline(Instant::now()), port.is_over());
        self.timers.set(Timer::Port(id), deadline);
        self.ended |= is_over && self.ports.iter().all(|(_, port)| port.is_over());
        self.tell_of_sessions(id);
    }

    /// Tells subscribers what became of a port's sessions.
    fn tell_of_sessions(&mut self, id: PortId) {
        let Some(port) = self.ports.get_mut(id) else {
            return;
        };
        let (guest, news) = (port.name.clone(), port.take_news());
        for news in news {
            let (connected, reason) = match news {
                SessionNews::Open => (true, None),
                SessionNews::Closed(reason) => (false, Some(reason)),
            };
            self.publish(&Event::Session {
                guest: guest.clone(),
                connected,
                reason,
            });
        }
    }

    fn links_changed(&mut self) -> Result<(), ShardGone> {
        for (uplink, state) in self.service.links_changed()? {
            self.publish(&Event::Link {
                uplink,
                state: state.to_owned(),
            });
        }
        Ok(())
    }

    /// Says so once when the opener has ended. Guests go on.
    fn look_after_opener(&self) {
        if !self.opener.has_ended() {
            return;
        }
        log::error!(
            event = "opener-gone";
            "the process that keeps the privileges has ended; guests go on, but until \
             the daemon is restarted no uplink or socket can be opened, no front-end be connected to, \
             and no uplink be given another MTU, and what was made stays at the end"
        );
        if let Some(fd) = self.opener.fd()
            && let Err(error) = self.poller.remove(fd)
        {
            log::error!(event = "epoll-failed"; "{error}");
        }
    }

    fn take_signals(&mut self) -> Result<(), DaemonError> {
        for signal in self.signals.take() {
            match signal {
                Signal::Terminate => self.ended = true,
                Signal::Report => self.log_report()?,
                // Refusals are in the log, and nobody waits for an answer.
                Signal::Reload => drop(self.reload()?),
            }
        }
        Ok(())
    }

    fn take_request(&mut self, place: u32) -> Result<(), DaemonError> {
        let now = Instant::now();
        let request = self
            .control
            .turn(place, &self.poller, &mut self.timers, now);
        let Some(request) = request else {
            return Ok(());
        };
        let answer = self.answer(place, request)?;
        self.control
            .answer(place, &answer, &self.poller, &mut self.timers);
        Ok(())
    }

    /// Delivers what is queued, ends the sessions and gives the uplinks back.
    fn finish(mut self) -> Result<(), DaemonError> {
        notify::stopping();
        for (_, port) in self.ports.iter() {
            log::info!(target: OPERATOR, port = port.name, state = "ending"; "");
        }
        let drain = u64::try_from(DRAIN.as_nanos()).unwrap_or(u64::MAX);
        let deadline = monotonic_nanos().saturating_add(drain);
        let mut drained = self.service.drain(deadline)?;
        if !drained.wait_for(PATIENCE)? {
            self.signals.next_one_exits();
            drained.wait()?;
        }
        self.log_report()?;
        for (_, port) in self.ports.iter_mut() {
            port.end_session("the daemon ends", &self.poller);
        }
        let ended = self.service.end();
        if let Err(error) = self.opener.end() {
            log::warn!(event = "not-removed"; "{error}");
        }
        Ok(ended?)
    }
}
