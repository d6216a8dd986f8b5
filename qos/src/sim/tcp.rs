//! One TCP connection: what the sender has on the way, has lost and may send, and what the receiver has.

use std::collections::{BTreeMap, VecDeque};

use super::control::Window;
use super::events::Ack;
use super::scenario::{Control, Tcp};

/// Bounds and start of the retransmission timer: RFC 6298 §2.1 and what Linux has for its least.
const RTO_FIRST: u64 = 1_000_000_000;
const RTO_LEAST: u64 = 200_000_000;
const RTO_MOST: u64 = 60_000_000_000;

/// Segments sent as one frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Burst {
    /// Its number among all that this connection sent.
    pub(super) number: u64,
    pub(super) first: u64,
    pub(super) count: u32,
}

/// A burst, or the rest of it, that nothing is known of yet.
#[derive(Clone, Copy, Debug)]
struct Flight {
    burst: Burst,
    sent: u64,
}

/// A connection, both ends.
#[derive(Debug)]
pub(super) struct Connection {
    window: Window,
    control: Control,
    /// Segments of a burst at most.
    most: u32,
    autosize: bool,
    /// In the order of sending, which is the order of arrival.
    flights: VecDeque<Flight>,
    /// Segments in all flights.
    on_the_way: u64,
    /// Known to be lost and not sent again yet: first and count.
    lost: VecDeque<(u64, u32)>,
    next: u64,
    end: u64,
    bursts: u64,
    /// Congestion met by bursts before this one was answered already.
    answered: u64,
    /// The window was full when something could have been sent.
    limited: bool,
    round: Round,
    timer: Timer,
    received: Received,
    pub(super) counters: Counters,
}

/// Marks seen in the course of one window.
#[derive(Clone, Copy, Debug, Default)]
struct Round {
    /// The burst whose acknowledgement ends it.
    end: u64,
    acked: u64,
    marked: u64,
}

#[derive(Clone, Copy, Debug)]
struct Timer {
    smooth: u64,
    deviation: u64,
    rto: u64,
    /// When it runs out; `u64::MAX` while nothing is on the way.
    due: u64,
    /// When it will be looked at; `u64::MAX` for never.
    asked: u64,
}

/// What one connection did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counters {
    pub(super) sent: u64,
    pub(super) resent: u64,
    pub(super) timeouts: u64,
    /// Distinct segments that arrived.
    pub(super) arrived: u64,
    pub(super) reductions: u64,
}

impl Connection {
    pub(super) fn new(tcp: &Tcp) -> Self {
        let mss = u64::from(tcp.mss);
        Self {
            window: Window::new(tcp.control, tcp.window / mss),
            control: tcp.control,
            most: tcp.segments,
            autosize: tcp.autosize,
            flights: VecDeque::new(),
            on_the_way: 0,
            lost: VecDeque::new(),
            next: 0,
            end: tcp.bytes.map_or(u64::MAX, |bytes| bytes.div_ceil(mss)),
            bursts: 0,
            answered: 0,
            limited: false,
            round: Round::default(),
            timer: Timer {
                smooth: 0,
                deviation: 0,
                rto: RTO_FIRST,
                due: u64::MAX,
                asked: u64::MAX,
            },
            received: Received::default(),
            counters: Counters::default(),
        }
    }

    /// Whether everything has arrived.
    pub(super) const fn done(&self) -> bool {
        self.received.upto >= self.end
    }

    /// What to send now, if anything: what was lost first.
    pub(super) fn burst(&mut self, now: u64) -> Option<Burst> {
        let room = self.window.segments().saturating_sub(self.on_the_way);
        self.limited = false;
        let (first, count) = if let Some((first, count)) = self.lost.pop_front() {
            let part = count.min(self.size()).min(narrow(room));
            if part < count {
                self.lost
                    .push_front((first + u64::from(part), count - part));
            }
            self.counters.resent += u64::from(part);
            (first, part)
        } else {
            // Waiting for a third of the window makes frames large, as Linux does.
            let want = u64::from(self.size()).min(self.end - self.next);
            let patient = want.min((self.window.segments() / 3).max(1));
            let enough = room >= patient || (self.on_the_way == 0 && room > 0);
            let part = if enough { narrow(want.min(room)) } else { 0 };
            self.next += u64::from(part);
            (self.next - u64::from(part), part)
        };
        if count == 0 {
            self.limited = self.next < self.end;
            return None;
        }
        let burst = Burst {
            number: self.bursts,
            first,
            count,
        };
        self.bursts += 1;
        self.on_the_way += u64::from(count);
        self.counters.sent += u64::from(count);
        self.flights.push_back(Flight { burst, sent: now });
        if self.timer.due == u64::MAX {
            self.timer.due = now + self.timer.rto;
        }
        Some(burst)
    }

    /// Segments that a burst should have.
    fn size(&self) -> u32 {
        if !self.autosize || self.timer.smooth == 0 {
            return self.most;
        }
        let millisecond = self.window.segments() * 1_000_000 / self.timer.smooth;
        self.most.min(narrow(millisecond.max(2)))
    }

    /// Segments have arrived and the sender hears of it: returns how long that took, and how many
    /// were new to the receiver.
    pub(super) fn acknowledge(&mut self, ack: Ack, now: u64) -> (Option<u64>, u64) {
        let new = self.received.take(ack.first, ack.count);
        self.counters.arrived += new;
        let lost = self.give_up_before(ack);
        let front = self.flights.front_mut();
        let Some(flight) = front.filter(|flight| flight.burst.number == ack.burst) else {
            self.find_again(ack);
            return (None, new);
        };
        let rtt = now - flight.sent;
        flight.burst.first += u64::from(ack.count);
        flight.burst.count -= ack.count;
        if flight.burst.count == 0 {
            self.flights.pop_front();
        }
        self.on_the_way -= u64::from(ack.count);
        self.timer.measured(rtt);
        let waits = !self.flights.is_empty() || !self.lost.is_empty();
        self.timer.due = if waits {
            now + self.timer.rto
        } else {
            u64::MAX
        };
        self.note_marks(ack);
        let fresh = ack.burst >= self.answered;
        if fresh && (lost || ack.marked) {
            self.answer(!lost);
        } else if !lost && !ack.marked && self.limited {
            self.window.grow(ack.count.into(), now, rtt);
        }
        (Some(rtt), new)
    }

    /// The path keeps order, so whatever was sent before these segments and has not arrived is lost.
    /// Returns whether that is news to the congestion control.
    fn give_up_before(&mut self, ack: Ack) -> bool {
        let mut news = false;
        while let Some(flight) = self.flights.front_mut() {
            let burst = &mut flight.burst;
            let count = match burst.number {
                number if number < ack.burst => burst.count,
                number if number == ack.burst => narrow(ack.first.saturating_sub(burst.first)),
                _ => break,
            };
            if count > 0 {
                news |= burst.number >= self.answered;
                self.lost.push_back((burst.first, count));
                self.on_the_way -= u64::from(count);
                burst.first += u64::from(count);
                burst.count -= count;
            }
            if burst.number == ack.burst {
                break;
            }
            self.flights.pop_front();
        }
        news
    }

    /// Segments given up too early arrived after all: they need not be sent again.
    fn find_again(&mut self, ack: Ack) {
        let (first, last) = (ack.first, ack.first + u64::from(ack.count));
        for index in 0..self.lost.len() {
            let (start, count) = self.lost[index];
            let stop = start + u64::from(count);
            if start <= first && last <= stop {
                self.lost[index] = (start, narrow(first - start));
                self.lost.insert(index + 1, (last, narrow(stop - last)));
                break;
            }
        }
        self.lost.retain(|&(_, count)| count > 0);
    }

    fn note_marks(&mut self, ack: Ack) {
        if self.control != Control::Dctcp {
            return;
        }
        self.round.acked += u64::from(ack.count);
        if ack.marked {
            self.round.marked += u64::from(ack.count);
        }
        if ack.burst >= self.round.end {
            self.window.observe(self.round.marked, self.round.acked);
            self.round = Round {
                end: self.bursts,
                ..Round::default()
            };
        }
    }

    /// Answers congestion, once for all that is on the way.
    fn answer(&mut self, marked: bool) {
        self.window.shrink(marked);
        self.answered = self.bursts;
        self.counters.reductions += 1;
    }

    /// When the timer should be looked at, if nobody will before that.
    pub(super) fn timer(&mut self) -> Option<u64> {
        (self.timer.due < self.timer.asked).then(|| {
            self.timer.asked = self.timer.due;
            self.timer.due
        })
    }

    /// Looks at the timer. If it has run out, everything on the way counts as lost.
    pub(super) fn timeout(&mut self, now: u64) {
        self.timer.asked = u64::MAX;
        if now < self.timer.due {
            return;
        }
        let flights = self.flights.drain(..);
        let given_up = flights.map(|flight| (flight.burst.first, flight.burst.count));
        let mut lost: Vec<_> = given_up.chain(self.lost.drain(..)).collect();
        lost.sort_unstable();
        self.lost.extend(lost);
        self.on_the_way = 0;
        self.window.restart();
        self.answered = self.bursts;
        self.counters.timeouts += 1;
        self.timer.rto = (self.timer.rto * 2).min(RTO_MOST);
        self.timer.due = u64::MAX;
    }
}

impl Timer {
    /// RFC 6298 §2.
    fn measured(&mut self, rtt: u64) {
        if self.smooth == 0 {
            (self.smooth, self.deviation) = (rtt, rtt / 2);
        } else {
            let off = rtt.abs_diff(self.smooth);
            self.deviation = self.deviation - self.deviation / 4 + off / 4;
            self.smooth = self.smooth - self.smooth / 8 + rtt / 8;
        }
        self.rto = (self.smooth + 4 * self.deviation).clamp(RTO_LEAST, RTO_MOST);
    }
}

/// Which segments have arrived.
#[derive(Debug, Default)]
struct Received {
    /// All before this one.
    upto: u64,
    /// Stretches beyond it: first to end, apart from each other.
    beyond: BTreeMap<u64, u64>,
}

impl Received {
    /// Takes segments in; returns how many of them are new.
    fn take(&mut self, first: u64, count: u32) -> u64 {
        let last = first + u64::from(count);
        let (mut start, mut end) = (first.max(self.upto), last);
        if start >= end {
            return 0;
        }
        let mut new = end - start;
        while let Some((&from, &to)) = self.beyond.range(..=end).next_back() {
            if to < start {
                break;
            }
            new -= to.min(last).saturating_sub(from.max(first.max(self.upto)));
            (start, end) = (start.min(from), end.max(to));
            self.beyond.remove(&from);
        }
        if start <= self.upto {
            self.upto = end;
        } else {
            self.beyond.insert(start, end);
        }
        new
    }
}

/// A count of segments; more than fit never occur together.
fn narrow(count: u64) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests;
