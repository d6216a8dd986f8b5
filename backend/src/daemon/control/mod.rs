//! The control socket: one JSON object a line each way, on the poller of the sessions.
//!
//! Only root and the daemon's own user may call. Callers are few, requests short, and whoever is slow
//! is sent away, so that nobody can keep memory or places.

pub(super) mod answer;
mod caller;
mod inbox;

use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use self::caller::{Caller, Over};
use super::deadlines::Deadlines;
use super::opening::{Listening, Opening};
use super::token::Token;
use super::{EntranceError, Timer};
use crate::control::Request;
use crate::listen::AcceptError;
use crate::poller::{Interest, Poller};

/// Callers at one time.
const MAX_CALLERS: usize = 8;

/// Only the daemon's own user may connect; root always may.
const MODE: u32 = 0o600;

/// How long to leave the listener alone when there is no descriptor left for a connection.
const EXHAUSTED_WAIT: Duration = Duration::from_millis(200);

/// The control socket and its callers.
#[derive(Debug, Default)]
pub(super) struct Control {
    listener: Option<Listening>,
    callers: [Option<Caller>; MAX_CALLERS],
    /// There was no descriptor left at the last try.
    exhausted: bool,
}

/// Makes the socket and puts it into the poller; whoever drops it undoes both.
pub(super) fn open(
    path: &Path,
    opener: &Opening,
    poller: &Poller,
) -> Result<Listening, EntranceError> {
    let listener = opener.listen(path, MODE, None)?;
    let fd = listener.as_fd().as_raw_fd();
    poller
        .add(fd, Token::Control.encode(), Interest::READ)
        .map_err(EntranceError::Watch)?;
    Ok(listener)
}

impl Control {
    /// Listens there from now on, or nowhere. Callers stay, except where nobody may call any more.
    pub(super) fn listen(&mut self, listener: Option<Listening>) {
        self.exhausted = false;
        self.listener = listener;
    }

    /// Takes those who have come.
    pub(super) fn take_arrivals(
        &mut self,
        poller: &Poller,
        timers: &mut Deadlines<Timer>,
        now: Instant,
    ) {
        for _ in 0..MAX_CALLERS {
            let Some(listener) = &self.listener else {
                return;
            };
            match listener.accept() {
                Ok(None) => break,
                Ok(Some(stream)) => self.welcome(stream, poller, timers, now),
                Err(AcceptError::Exhausted(error)) => {
                    if !self.exhausted {
                        log::warn!("control event=accept-failed: {error}");
                    }
                    self.exhausted = true;
                    timers.set(Timer::Control, now.checked_add(EXHAUSTED_WAIT));
                    self.watch(Interest::NONE, poller);
                    return;
                }
                Err(AcceptError::Failed(error)) => {
                    log::error!("control event=listen-failed: {error}; restart the daemon");
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
        let turn = self.caller(place)?.turn(now);
        let (request, turn) = match turn {
            Ok(request) => (request, Ok(())),
            Err(over) => (None, Err(over)),
        };
        self.after(place, turn, poller, timers);
        request
    }

    /// Answers the request of a caller.
    pub(super) fn answer(
        &mut self,
        place: u32,
        line: &[u8],
        poller: &Poller,
        timers: &mut Deadlines<Timer>,
    ) {
        if let Some(caller) = self.caller(place) {
            let answered = caller.answer(line, Instant::now());
            self.after(place, answered, poller, timers);
        }
    }

    /// Sends a caller away whose time is up.
    pub(super) fn time_is_up(
        &mut self,
        place: u32,
        poller: &Poller,
        timers: &mut Deadlines<Timer>,
    ) {
        self.after(place, Err(Over), poller, timers);
    }

    fn welcome(
        &mut self,
        stream: UnixStream,
        poller: &Poller,
        timers: &mut Deadlines<Timer>,
        now: Instant,
    ) {
        let mut caller = Caller::new(stream, now);
        let place = self.callers.iter().position(Option::is_none);
        let why = match (
            is_permitted(&caller),
            place.and_then(|p| u32::try_from(p).ok()),
        ) {
            (false, _) => "only root and the daemon's own user may call",
            (true, None) => "too many callers: try again when one of them has gone",
            (true, Some(place)) => {
                let token = Token::Caller(place).encode();
                match poller.add(caller.fd(), token, Interest::READ) {
                    Ok(()) => {
                        timers.set(Timer::Caller(place), caller.deadline());
                        if let Some(slot) = self.slot(place) {
                            *slot = Some(caller);
                        }
                        return;
                    }
                    Err(_) => "no memory is left for another caller",
                }
            }
        };
        // A socket that is new takes one line; there is no other try.
        let _ = caller.dismiss(&answer::refused(why), now);
    }

    /// Keeps poller and timers in line with a caller that had its turn.
    fn after(
        &mut self,
        place: u32,
        turn: Result<(), Over>,
        poller: &Poller,
        timers: &mut Deadlines<Timer>,
    ) {
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
        let Some(listener) = &self.listener else {
            return;
        };
        let fd = listener.as_fd().as_raw_fd();
        if let Err(error) = poller.change(fd, Token::Control.encode(), interest) {
            log::error!("control event=epoll-failed: {error}");
        }
    }
}

/// Whether the caller may ask at all (SO_PEERCRED, unix(7)).
fn is_permitted(caller: &Caller) -> bool {
    caller
        .uid()
        .is_some_and(|uid| uid.is_root() || uid == rustix::process::geteuid())
}
