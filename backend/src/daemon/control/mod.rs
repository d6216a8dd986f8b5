//! The control socket: one JSON object a line each way, on the poller of the sessions.
//!
//! Root, the daemon's own user and, if one is configured, the members of a group may call. Callers are
//! few, requests short, and whoever is slow is sent away, so that nobody can keep memory or places.

pub(super) mod answer;
mod caller;
mod inbox;
mod peer;

use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use self::answer::Answer;
use self::caller::{Caller, Over, Turn};
use super::capture::{CaptureError, Capturing};
use super::deadlines::Deadlines;
use super::opening::{Listening, Opening};
use super::token::Token;
use super::{EntranceError, Timer};
use crate::config::ControlConfig;
use crate::control::report::ControlReport;
use crate::control::{Event, Request};
use crate::listen::AcceptError;
use crate::poller::{Interest, Poller};

/// Callers from outside at one time.
const MAX_CALLERS: usize = 32;

/// Only the daemon's own user may connect, and the members of a group if there is one; root always may.
const MODE: u32 = 0o600;
const GROUP_MODE: u32 = 0o660;

/// How long to leave the listener alone when there is no descriptor left for a connection.
const EXHAUSTED_WAIT: Duration = Duration::from_millis(200);

/// The control socket as it was opened.
#[derive(Debug)]
pub(super) struct Open {
    listener: Listening,
    group: Option<u32>,
}

/// The control socket and its callers.
#[derive(Debug, Default)]
pub(super) struct Control {
    open: Option<Open>,
    /// Those from outside have the first [`MAX_CALLERS`] places.
    callers: Vec<Option<Caller>>,
    /// There was no descriptor left at the last try.
    exhausted: bool,
    report: ControlReport,
}

/// Makes the socket and puts it into the poller; whoever drops it undoes both.
pub(super) fn open(
    place: &ControlConfig,
    opener: &Opening,
    poller: &Poller,
) -> Result<Open, EntranceError> {
    let listener = opener.listen(&place.path, mode(place.group), place.group)?;
    let fd = listener.as_fd().as_raw_fd();
    poller
        .add(fd, Token::Control.encode(), Interest::READ)
        .map_err(EntranceError::Watch)?;
    Ok(Open {
        listener,
        group: place.group,
    })
}

/// Permission bits of the socket.
const fn mode(group: Option<u32>) -> u32 {
    match group {
        Some(_) => GROUP_MODE,
        None => MODE,
    }
}

impl Control {
    /// Lets the members of this group call from now on, and of no other.
    pub(super) fn set_group(&mut self, group: Option<u32>) {
        let Some(open) = self.open.as_mut().filter(|open| open.group != group) else {
            return;
        };
        // Who may ask is decided by `group`; the file's rights only keep others from connecting.
        open.group = group;
        if let Err(error) = open.listener.set_access(mode(group), group) {
            log::error!(socket = "control", event = "access-failed"; "{error}; restart the daemon");
        }
    }

    /// Listens there from now on, or nowhere. Callers stay, except where nobody may call any more.
    pub(super) fn listen(&mut self, open: Option<Open>) {
        self.exhausted = false;
        self.open = open;
    }

    /// How it fares.
    pub(super) const fn report(&self) -> ControlReport {
        self.report
    }

    /// Takes one end of a connection of our own, whose other end may stay silent.
    ///
    /// # Errors
    /// The poller has no room for it.
    pub(super) fn adopt(&mut self, stream: UnixStream, poller: &Poller) -> io::Result<()> {
        stream.set_nonblocking(true)?;
        let caller = Caller::patient(stream, Instant::now());
        let place = self.callers.len().max(MAX_CALLERS);
        let number = u32::try_from(place).unwrap_or(u32::MAX);
        poller.add(caller.fd(), Token::Caller(number).encode(), Interest::READ)?;
        self.put(place, caller);
        Ok(())
    }

    /// Takes those who have come.
    pub(super) fn take_arrivals(
        &mut self,
        poller: &Poller,
        timers: &mut Deadlines<Timer>,
        now: Instant,
    ) {
        for _ in 0..MAX_CALLERS {
            let Some(open) = &self.open else {
                return;
            };
            let group = open.group;
            match open.listener.accept() {
                Ok(None) => break,
                Ok(Some(stream)) => self.welcome(stream, group, poller, timers, now),
                Err(AcceptError::Exhausted(error)) => {
                    if !self.exhausted {
                        log::warn!(socket = "control", event = "accept-failed"; "{error}");
                    }
                    self.exhausted = true;
                    timers.set(Timer::Control, now.checked_add(EXHAUSTED_WAIT));
                    self.watch(Interest::NONE, poller);
                    return;
                }
                Err(AcceptError::Failed(error)) => {
                    log::error!(
                        socket = "control", event = "listen-failed";
                        "{error}; restart the daemon"
                    );
                    self.watch(Interest::NONE, poller);
                    return;
                }
            }
        }
        if std::mem::take(&mut self.exhausted) {
            self.watch(Interest::READ, poller);
        }
    }

    /// Lets a caller have its turn; a request of its, to be given to [`Self::answer`] when it is done.
    pub(super) fn turn(
        &mut self,
        place: u32,
        poller: &Poller,
        timers: &mut Deadlines<Timer>,
        now: Instant,
    ) -> Option<Request> {
        let turn = match self.caller(place)?.turn(now) {
            Ok(turn) => turn,
            Err(over) => {
                self.after(place, Err(over), poller, timers);
                return None;
            }
        };
        self.after(place, Ok(()), poller, timers);
        match turn {
            Turn::Nothing => None,
            Turn::Refused => {
                self.count(false);
                None
            }
            Turn::Request(request) => Some(request),
        }
    }

    /// Counts a request that was answered, whether or not it was refused.
    fn count(&mut self, done: bool) {
        self.report.requests = self.report.requests.wrapping_add(1);
        if !done {
            self.report.refused = self.report.refused.wrapping_add(1);
        }
    }

    /// Answers the request of a caller.
    pub(super) fn answer(
        &mut self,
        place: u32,
        answer: &Answer,
        poller: &Poller,
        timers: &mut Deadlines<Timer>,
    ) {
        self.count(answer.done);
        if let Some(caller) = self.caller(place) {
            let answered = caller.answer(&answer.line, Instant::now());
            self.after(place, answered, poller, timers);
        }
    }

    /// Tells a caller what happens, from now on.
    pub(super) fn subscribe(&mut self, place: u32) {
        if let Some(caller) = self.caller(place) {
            caller.subscribe();
        }
    }

    /// Gives a caller what is captured, from now on.
    ///
    /// # Errors
    /// It is given something already, or the poller has no room.
    pub(super) fn capture(
        &mut self,
        place: u32,
        capturing: Capturing,
        poller: &Poller,
    ) -> Result<(), CaptureError> {
        let token = Token::Capture(place).encode();
        let Some(caller) = self.caller(place) else {
            return Ok(());
        };
        if caller.is_capturing() {
            return Err(CaptureError::Twice);
        }
        poller.add(capturing.fd(), token, Interest::READ)?;
        caller.capture(capturing);
        Ok(())
    }

    /// Passes on to a caller what was captured for it.
    pub(super) fn captured(&mut self, place: u32, poller: &Poller, timers: &mut Deadlines<Timer>) {
        if let Some(caller) = self.caller(place) {
            let passed = caller.pass_on(Instant::now());
            self.after(place, passed, poller, timers);
        }
    }

    /// Tells all subscribers what has happened.
    pub(super) fn publish(
        &mut self,
        event: &Event,
        poller: &Poller,
        timers: &mut Deadlines<Timer>,
    ) {
        let line = answer::line(event);
        let now = Instant::now();
        for place in 0..u32::try_from(self.callers.len()).unwrap_or(u32::MAX) {
            let subscriber = self.caller(place).filter(|caller| caller.is_subscribed());
            let Some(told) = subscriber.map(|caller| caller.tell(&line, now)) else {
                continue;
            };
            if told == Ok(false) {
                self.report.lost_events = self.report.lost_events.wrapping_add(1);
            }
            self.after(place, told.map(drop), poller, timers);
        }
    }

    /// Sends a caller away whose time is up.
    pub(super) fn time_is_up(
        &mut self,
        place: u32,
        poller: &Poller,
        timers: &mut Deadlines<Timer>,
    ) {
        self.after(place, Err(Over::Late), poller, timers);
    }

    fn welcome(
        &mut self,
        stream: UnixStream,
        group: Option<u32>,
        poller: &Poller,
        timers: &mut Deadlines<Timer>,
        now: Instant,
    ) {
        let mut caller = Caller::new(stream, now);
        let is_free = |place: &usize| matches!(self.callers.get(*place), None | Some(None));
        let place = (0..MAX_CALLERS).find(is_free);
        let number = place.and_then(|place| u32::try_from(place).ok());
        let why = match (peer::is_permitted(caller.stream(), group), place, number) {
            (false, ..) => {
                "only root, the daemon's own user and the members of `control_group`, if the file has \
                 one, may call"
            }
            (true, Some(place), Some(number)) => {
                let token = Token::Caller(number).encode();
                match poller.add(caller.fd(), token, Interest::READ) {
                    Ok(()) => {
                        timers.set(Timer::Caller(number), caller.deadline());
                        self.put(place, caller);
                        return;
                    }
                    Err(_) => "no memory is left for another caller",
                }
            }
            (true, ..) => "too many callers: try again when one of them has gone",
        };
        self.report.dismissed = self.report.dismissed.wrapping_add(1);
        // A socket that is new takes one line; there is no other try.
        let _ = caller.dismiss(&answer::refused(why).line, now);
    }

    fn put(&mut self, place: usize, caller: Caller) {
        if self.callers.len() <= place {
            self.callers.resize_with(place.saturating_add(1), || None);
        }
        if let Some(slot) = self.callers.get_mut(place) {
            *slot = Some(caller);
        }
    }

    /// Keeps poller and timers in line with a caller that had its turn.
    fn after(
        &mut self,
        place: u32,
        turn: Result<(), Over>,
        poller: &Poller,
        timers: &mut Deadlines<Timer>,
    ) {
        if turn == Err(Over::Refused) {
            self.count(false);
        }
        if matches!(turn, Err(Over::Late | Over::Refused)) {
            self.report.dismissed = self.report.dismissed.wrapping_add(1);
        }
        let Some(slot) = self.slot(place) else { return };
        let Some(caller) = slot else { return };
        let wanted = caller.interest();
        let kept = turn.is_ok()
            && (wanted == caller.watched
                || poller
                    .change(caller.fd(), Token::Caller(place).encode(), wanted)
                    .is_ok());
        if kept {
            caller.watched = wanted;
            timers.set(Timer::Caller(place), caller.deadline());
        } else {
            // Closing it takes it out of the poller.
            *slot = None;
            timers.set(Timer::Caller(place), None);
        }
    }

    fn slot(&mut self, place: u32) -> Option<&mut Option<Caller>> {
        self.callers.get_mut(usize::try_from(place).ok()?)
    }

    fn caller(&mut self, place: u32) -> Option<&mut Caller> {
        self.slot(place)?.as_mut()
    }

    fn watch(&self, interest: Interest, poller: &Poller) {
        let Some(open) = &self.open else {
            return;
        };
        let fd = open.listener.as_fd().as_raw_fd();
        if let Err(error) = poller.change(fd, Token::Control.encode(), interest) {
            log::error!(socket = "control", event = "epoll-failed"; "{error}");
        }
    }
}
