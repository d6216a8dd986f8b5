//! One connection to the control socket: requests in, answers out, never blocking.

use std::io::{self, Read, Write};
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use super::super::capture::Capturing;
use super::answer;
use super::inbox::Inbox;
use crate::control::{self, Event, Request};
use crate::poller::Interest;

/// How long a caller may take to send a request, or to take an answer, or stay silent.
const PATIENCE: Duration = Duration::from_secs(5);

/// Bytes that are read in one go.
const READ: usize = 16 << 10;

/// Bytes of events that may wait for a caller; what comes then is lost, and counted.
const MOST_WAITING: usize = 1 << 20;

/// The caller has gone, or is to be sent away.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Over {
    /// It has hung up, or has got its last answer.
    Gone,
    /// It was too slow.
    Late,
    /// It was told why it is sent away.
    Refused,
}

/// What came of a caller's turn.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// Nothing, so far.
    Nothing,
    /// It asks this.
    Request(Request),
    /// It said what is no request, and was told so.
    Refused,
}

/// A connection. At most one request is under way: the next is looked at when the answer is gone.
#[derive(Debug)]
pub(super) struct Caller {
    stream: UnixStream,
    inbox: Inbox,
    /// What is left of answers and events.
    outbox: Vec<u8>,
    sent: usize,
    /// No request is looked at any more.
    closing: bool,
    /// It may be silent for as long as it likes.
    patient: bool,
    /// It is told what happens.
    subscribed: bool,
    /// What is captured for it.
    capturing: Option<Capturing>,
    /// Events that there was no room for, and that it was not told of yet.
    lost: u64,
    by: Option<Instant>,
    /// What the poller watches it for.
    pub(super) watched: Interest,
}

impl Caller {
    /// Takes a connection, which does not block.
    pub(super) fn new(stream: UnixStream, now: Instant) -> Self {
        Self {
            stream,
            inbox: Inbox::default(),
            outbox: Vec::new(),
            sent: 0,
            closing: false,
            patient: false,
            subscribed: false,
            capturing: None,
            lost: 0,
            by: now.checked_add(PATIENCE),
            watched: Interest::READ,
        }
    }

    /// Takes a connection of our own, whose other end may be silent for as long as it likes.
    pub(super) fn patient(stream: UnixStream, now: Instant) -> Self {
        Self {
            patient: true,
            by: None,
            ..Self::new(stream, now)
        }
    }

    pub(super) fn fd(&self) -> RawFd {
        self.stream.as_raw_fd()
    }

    /// Who is at the other end.
    pub(super) fn stream(&self) -> &UnixStream {
        &self.stream
    }

    /// Tells it what happens from now on. It need not say anything any more.
    pub(super) const fn subscribe(&mut self) {
        (self.subscribed, self.patient) = (true, true);
    }

    /// Whether it is told what happens.
    pub(super) const fn is_subscribed(&self) -> bool {
        self.subscribed
    }

    /// Gives it what is captured from now on. It need not say anything any more.
    pub(super) fn capture(&mut self, capturing: Capturing) {
        (self.capturing, self.patient) = (Some(capturing), true);
    }

    /// Whether something is captured for it.
    pub(super) const fn is_capturing(&self) -> bool {
        self.capturing.is_some()
    }

    /// Sends what was captured, as far as it is taken. The rest waits where it is, until a turn.
    pub(super) fn pass_on(&mut self, now: Instant) -> Result<(), Over> {
        let Some(mut capturing) = self.capturing.take() else {
            return Ok(());
        };
        for event in capturing.drain() {
            self.send(&answer::line(&event), now)?;
            if self.is_sending() {
                break;
            }
        }
        if !capturing.is_over() {
            self.capturing = Some(capturing);
        }
        Ok(())
    }

    /// When its time is up.
    pub(super) const fn deadline(&self) -> Option<Instant> {
        self.by
    }

    /// What to watch it for. A request that waits here already is looked at when the socket is
    /// writable, which it is unless an answer is stuck.
    pub(super) fn interest(&self) -> Interest {
        let writable = self.is_sending() || self.inbox.has_request();
        Interest {
            readable: !writable,
            writable,
            ..Interest::NONE
        }
    }

    /// The socket is ready: sends, reads, and gives a request that is to be answered.
    pub(super) fn turn(&mut self, now: Instant) -> Result<Turn, Over> {
        self.flush(now)?;
        self.pass_on(now)?;
        if self.is_sending() {
            return Ok(Turn::Nothing);
        }
        if !self.inbox.has_request() {
            self.read()?;
        }
        match self.inbox.next() {
            Some(Ok(line)) => match control::parse(&line) {
                Ok(request) => return Ok(Turn::Request(request)),
                Err(error) => self.answer(&answer::refused(error).line, now)?,
            },
            Some(Err(too_long)) => {
                let told = self.dismiss(&answer::refused(too_long).line, now);
                told.map_err(|_| Over::Refused)?;
            }
            None if self.inbox.has_ended() => return Err(Over::Gone),
            None => return Ok(Turn::Nothing),
        }
        Ok(Turn::Refused)
    }

    /// Sends an event, if there is room for it; whether there was.
    pub(super) fn tell(&mut self, line: &[u8], now: Instant) -> Result<bool, Over> {
        if self
            .outbox
            .len()
            .saturating_sub(self.sent)
            .saturating_add(line.len())
            > MOST_WAITING
        {
            self.lost = self.lost.saturating_add(1);
            return Ok(false);
        }
        if self.lost > 0 {
            let events = std::mem::take(&mut self.lost);
            self.outbox
                .extend_from_slice(&answer::line(&Event::Lost { events }));
        }
        self.send(line, now)?;
        Ok(true)
    }

    /// Sends an answer, now or as soon as the caller takes it.
    pub(super) fn answer(&mut self, line: &[u8], now: Instant) -> Result<(), Over> {
        self.send(line, now)
    }

    fn send(&mut self, line: &[u8], now: Instant) -> Result<(), Over> {
        if !self.is_sending() {
            self.by = now.checked_add(PATIENCE);
        }
        self.outbox.extend_from_slice(line);
        self.flush(now)
    }

    /// Sends a last answer; the connection is over when it is gone.
    pub(super) fn dismiss(&mut self, line: &[u8], now: Instant) -> Result<(), Over> {
        self.closing = true;
        self.answer(line, now)
    }

    const fn is_sending(&self) -> bool {
        self.sent < self.outbox.len()
    }

    fn read(&mut self) -> Result<(), Over> {
        let mut buffer = [0; READ];
        let room = self.inbox.room().min(buffer.len());
        let into = buffer.get_mut(..room).unwrap_or_default();
        match self.stream.read(into) {
            Ok(len) => self.inbox.take(into.get(..len).unwrap_or_default()),
            Err(error) if is_later(&error) => {}
            Err(_) => return Err(Over::Gone),
        }
        Ok(())
    }

    fn flush(&mut self, now: Instant) -> Result<(), Over> {
        while let Some(rest) = self.outbox.get(self.sent..).filter(|rest| !rest.is_empty()) {
            match self.stream.write(rest) {
                Ok(len) => {
                    self.sent = self.sent.saturating_add(len);
                    // Whoever takes something is not silent.
                    self.by = now.checked_add(PATIENCE);
                }
                Err(error) if is_later(&error) => {
                    self.outbox.drain(..self.sent);
                    self.sent = 0;
                    return Ok(());
                }
                Err(_) => return Err(Over::Gone),
            }
        }
        if self.sent > 0 {
            // The memory of a long answer is not kept.
            (self.outbox, self.sent) = (Vec::new(), 0);
            self.by = now.checked_add(PATIENCE);
        }
        if self.patient {
            self.by = None;
        }
        if self.closing {
            Err(Over::Gone)
        } else {
            Ok(())
        }
    }
}

/// Whether a call is to be tried again when the socket is ready.
fn is_later(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::MAX_REQUEST;

    fn pair() -> (UnixStream, Caller, Instant) {
        let (ours, theirs) = UnixStream::pair().unwrap();
        ours.set_nonblocking(true).unwrap();
        let now = Instant::now();
        (theirs, Caller::new(ours, now), now)
    }

    fn read(stream: &mut UnixStream) -> String {
        let mut bytes = [0; 4096];
        let len = stream.read(&mut bytes).unwrap();
        String::from_utf8(bytes[..len].to_vec()).unwrap()
    }

    #[test]
    fn requests_are_given_one_at_a_time_and_nonsense_is_answered() {
        let (mut theirs, mut caller, now) = pair();
        theirs
            .write_all(b"{\"do\":\"ping\"}\nnonsense\n{\"do\":\"report\"}")
            .unwrap();
        assert_eq!(caller.turn(now).unwrap(), Turn::Request(Request::Ping {}));
        assert!(caller.interest().writable, "the next one waits");
        caller.answer(b"pong\n", now).unwrap();
        assert_eq!(read(&mut theirs), "pong\n");
        assert_eq!(caller.turn(now).unwrap(), Turn::Refused);
        assert!(read(&mut theirs).contains("not a request"));
        assert!(caller.interest().readable, "the last one is not whole");
        assert_eq!(caller.turn(now).unwrap(), Turn::Nothing);
        theirs.shutdown(std::net::Shutdown::Write).unwrap();
        assert_eq!(
            caller.turn(now).unwrap(),
            Turn::Request(Request::Report {
                guests: vec![],
                classes: false
            })
        );
        caller.answer(b"{}\n", now).unwrap();
        assert_eq!(read(&mut theirs), "{}\n");
        assert!(caller.turn(now).is_err());
    }

    #[test]
    fn a_request_without_end_is_told_so_and_sent_away() {
        let (mut theirs, mut caller, now) = pair();
        let writer = std::thread::spawn(move || {
            // The last of it may find nobody there any more.
            let _ = theirs.write_all(&vec![b'x'; 2 * MAX_REQUEST]);
            theirs
        });
        while caller.turn(now).is_ok() {}
        drop(caller);
        let mut theirs = writer.join().unwrap();
        assert!(read(&mut theirs).contains(&format!("{MAX_REQUEST} bytes")));
    }

    #[test]
    fn an_answer_that_is_not_taken_holds_the_next_request_back() {
        let (mut theirs, mut caller, now) = pair();
        theirs
            .write_all(b"{\"do\":\"ping\"}\n{\"do\":\"ping\"}\n")
            .unwrap();
        assert_ne!(caller.turn(now).unwrap(), Turn::Nothing);
        let long = vec![b'y'; 4 << 20];
        caller.answer(&long, now).unwrap();
        assert_eq!(caller.turn(now).unwrap(), Turn::Nothing);
        let interest = caller.interest();
        assert!(interest.writable && !interest.readable);
        let mut left = long.len();
        let mut bytes = vec![0; 1 << 16];
        let mut second = Turn::Nothing;
        while left > 0 {
            assert!(
                second == Turn::Nothing || left < 1 << 20,
                "all but the last bytes are sent first"
            );
            left -= theirs.read(&mut bytes).unwrap();
            if second == Turn::Nothing {
                second = caller.turn(now).unwrap();
            }
        }
        assert_eq!(second, Turn::Request(Request::Ping {}));
    }

    #[test]
    fn one_of_our_own_has_no_deadline_before_or_after_an_answer() {
        let (mut theirs, ours) = UnixStream::pair().unwrap();
        let now = Instant::now();
        let mut caller = Caller::patient(ours, now);
        assert_eq!(caller.deadline(), None);
        theirs.write_all(b"{\"do\":\"ping\"}\n").unwrap();
        let ping = Turn::Request(Request::Ping {});
        assert_eq!(caller.turn(now).unwrap(), ping);
        caller.answer(b"pong\n", now).unwrap();
        assert_eq!(caller.deadline(), None);
    }

    #[test]
    fn one_that_hangs_up_is_over() {
        let (theirs, mut caller, now) = pair();
        drop(theirs);
        assert!(caller.turn(now).is_err());
    }

    #[test]
    fn a_caller_that_is_silent_is_late_unless_it_may_be() {
        let (_theirs, caller, now) = pair();
        assert_eq!(caller.deadline(), now.checked_add(PATIENCE));
        let (_theirs, mut subscriber, now) = pair();
        subscriber.subscribe();
        subscriber.answer(b"{}\n", now).unwrap();
        assert_eq!(subscriber.deadline(), None);
        let (ours, _theirs) = UnixStream::pair().unwrap();
        assert_eq!(Caller::patient(ours, now).deadline(), None);
    }

    #[test]
    fn a_subscriber_that_takes_nothing_loses_events_and_is_told_how_many() {
        let (mut theirs, mut caller, now) = pair();
        caller.subscribe();
        let event = vec![b'e'; 1 << 16];
        let mut lost = 0_u64;
        while lost < 3 {
            lost += u64::from(!caller.tell(&event, now).unwrap());
        }
        assert!(caller.outbox.len() <= MOST_WAITING);
        assert!(caller.deadline().is_some(), "it takes too long already");
        let mut bytes = vec![0; 4 << 20];
        while caller.is_sending() {
            let _ = theirs.read(&mut bytes).unwrap();
            assert_eq!(caller.turn(now).unwrap(), Turn::Nothing);
        }
        theirs.set_nonblocking(true).unwrap();
        while theirs.read(&mut bytes).is_ok() {}
        assert!(caller.tell(b"next\n", now).unwrap());
        theirs.set_nonblocking(false).unwrap();
        assert_eq!(
            read(&mut theirs),
            "{\"event\":\"lost\",\"events\":3}\nnext\n"
        );
    }
}
