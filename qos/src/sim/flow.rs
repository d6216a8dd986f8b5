//! One flow as it runs: when its next frame is due, or the connection that decides.

use super::random::Random;
use super::scenario::{Control, Pace, Source, Traffic};
use super::tcp::Connection;
use crate::time::{Span, Time};
use crate::units::Rate;
use crate::wire::{FrameShape, Framing};

/// A flow at work.
#[derive(Debug)]
pub(super) struct Flow {
    /// Number of its source.
    pub(super) source: usize,
    /// Number of its leaf.
    pub(super) leaf: usize,
    pub(super) traffic: Traffic,
    pub(super) hash: u32,
    pub(super) stop: u64,
    /// Frames of it that wait.
    pub(super) waiting: u32,
    /// A flood that found no room will try again.
    pub(super) retries: bool,
    pub(super) connection: Option<Box<Connection>>,
    /// Between two frames of one that has a rate.
    interval: Span,
    due: Time,
    /// When a flow with pauses pauses next.
    pause: u64,
}

impl Flow {
    pub(super) fn new(source: usize, leaf: usize, config: &Source, random: &mut Random) -> Self {
        let interval = interval(config.traffic);
        // Flows of one kind would otherwise send all at the same instants.
        let period = match config.traffic {
            Traffic::Cbr(_) => interval.as_nanos(),
            Traffic::OnOff(on_off) => on_off.on_nanos + on_off.off_nanos,
            Traffic::Flood(_) => 0,
            Traffic::Tcp(tcp) => tcp.rtt_nanos,
        };
        let start = config.start_nanos.saturating_add(random.below(period));
        let connection = match config.traffic {
            Traffic::Tcp(tcp) => Some(Box::new(Connection::new(&tcp))),
            _ => None,
        };
        Self {
            source,
            leaf,
            traffic: config.traffic,
            hash: random.hash(),
            stop: config.stop_nanos.unwrap_or(u64::MAX),
            waiting: 0,
            retries: false,
            connection,
            interval,
            due: Time::from_nanos(start),
            pause: 0,
        }
    }

    /// When its next frame is due.
    pub(super) fn due(&self) -> u64 {
        self.due.ceil_nanos()
    }

    /// A frame of `segments` segments of it.
    pub(super) fn shape(&self, segments: u32) -> FrameShape {
        match self.traffic {
            Traffic::Cbr(cbr) => FrameShape::single(cbr.frame),
            Traffic::OnOff(on_off) => FrameShape::single(on_off.frame),
            Traffic::Flood(flood) => FrameShape::single(flood.frame),
            Traffic::Tcp(tcp) => FrameShape {
                len: tcp.headers + tcp.mss * segments,
                headers: tcp.headers,
                gso_size: tcp.mss,
            },
        }
    }

    pub(super) const fn ecn(&self) -> bool {
        match self.traffic {
            Traffic::Tcp(tcp) => tcp.ecn || matches!(tcp.control, Control::Dctcp),
            _ => false,
        }
    }

    /// A frame was due and is sent: says when the next one is.
    pub(super) fn step(&mut self, now: u64, random: &mut Random) {
        self.due = self.due.saturating_add(self.interval);
        if let Traffic::OnOff(on_off) = self.traffic {
            let vary = |nanos: u64, random: &mut Random| nanos / 2 + random.below(nanos + 1);
            if self.pause == 0 {
                self.pause = now + vary(on_off.on_nanos, random);
            }
            if self.due.as_nanos() >= self.pause {
                let pause = vary(on_off.off_nanos, random);
                self.due = Time::from_nanos(self.pause + pause);
                self.pause = self.due.as_nanos() + vary(on_off.on_nanos, random);
            }
        }
    }
}

fn interval(traffic: Traffic) -> Span {
    let at = |rate: Rate, frame| {
        let cost = Framing::ETHERNET.cost(FrameShape::single(frame));
        rate.inverse().cost(cost.wire_bytes)
    };
    match traffic {
        Traffic::Cbr(cbr) => match cbr.pace {
            Pace::Rate(rate) => at(rate, cbr.frame),
            Pace::Interval(nanos) => Span::from_nanos(nanos),
        },
        Traffic::OnOff(on_off) => at(on_off.rate, on_off.frame),
        Traffic::Flood(_) | Traffic::Tcp(_) => Span::ZERO,
    }
}
