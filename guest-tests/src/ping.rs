//! Round trips, by ping.

use std::time::Duration;

use crate::error::{Error, Result};
use crate::place::Place;

/// What ping saw; times in milliseconds.
#[derive(Debug, Clone, PartialEq)]
pub struct Ping {
    /// Requests sent.
    pub sent: usize,
    /// Each answer's round trip, in order.
    pub times: Vec<f64>,
}

impl Ping {
    /// Requests without an answer.
    #[must_use]
    pub fn lost(&self) -> usize {
        self.sent.saturating_sub(self.times.len())
    }

    /// The shortest round trip; infinite without an answer.
    #[must_use]
    pub fn min(&self) -> f64 {
        self.times.iter().copied().fold(f64::INFINITY, f64::min)
    }

    /// The longest round trip; zero without an answer.
    #[must_use]
    pub fn max(&self) -> f64 {
        self.times.iter().copied().fold(0.0, f64::max)
    }

    /// The mean round trip; zero without an answer.
    #[must_use]
    pub fn average(&self) -> f64 {
        self.mean(|time| time)
    }

    /// The standard deviation, ping's `mdev`.
    #[must_use]
    pub fn deviation(&self) -> f64 {
        let average = self.average();
        self.mean(|time| (time - average).powi(2)).sqrt()
    }

    /// The round trip that this many percent of the requests stay below; infinite if so many had no answer.
    #[must_use]
    pub fn percentile(&self, percent: usize) -> f64 {
        let mut times = self.times.clone();
        times.sort_by(f64::total_cmp);
        let place = (self.sent * percent).div_ceil(100).max(1);
        times.get(place - 1).copied().unwrap_or(f64::INFINITY)
    }

    fn mean(&self, of: impl Fn(f64) -> f64) -> f64 {
        let count = u32::try_from(self.times.len()).unwrap_or(u32::MAX).max(1);
        self.times.iter().map(|time| of(*time)).sum::<f64>() / f64::from(count)
    }
}

/// Round trips to be measured.
#[derive(Debug, Clone)]
pub struct Pings {
    count: u32,
    every: Duration,
    options: String,
}

impl Pings {
    /// So many requests, 20 ms apart.
    #[must_use]
    pub fn count(count: u32) -> Self {
        Self {
            count,
            every: Duration::from_millis(20),
            options: String::new(),
        }
    }

    /// The time between two requests.
    #[must_use]
    pub fn every(mut self, every: Duration) -> Self {
        self.every = every;
        self
    }

    /// The byte that holds DSCP and ECN, as 0xb8 for EF; the answers have it too.
    #[must_use]
    pub fn tos(mut self, tos: u8) -> Self {
        self.options += &format!(" -Q {tos}");
        self
    }

    /// Measures, to an IPv4 or IPv6 address. Losses are a result, not an error.
    ///
    /// # Errors
    /// [`Error::Output`] if ping could not send at all.
    pub fn run(&self, from: &dyn Place, address: &str) -> Result<Ping> {
        let (count, every, options) = (self.count, self.every.as_secs_f64(), &self.options);
        let script = format!("ping -n -i {every} -W 2 -c {count}{options} {address}");
        let timeout = Duration::from_secs(20) + self.every * count * 3 / 2;
        let output = from.run(&script, timeout)?;
        parse(&output.stdout).ok_or_else(|| Error::Output {
            tool: "ping",
            reason: format!("status {}", output.status),
            output: output.stdout + &output.stderr,
        })
    }
}

/// Sends `count` requests, 20 ms apart, to an IPv4 or IPv6 address. Losses are a result, not an error.
///
/// # Errors
/// As [`Pings::run`].
pub fn ping(from: &dyn Place, address: &str, count: u32) -> Result<Ping> {
    Pings::count(count).run(from, address)
}

fn parse(text: &str) -> Option<Ping> {
    let summary = text
        .lines()
        .find(|line| line.contains("packets transmitted"))?;
    let sent = summary.split_whitespace().next()?.parse().ok()?;
    let times = text.lines().filter_map(|line| {
        let (_, rest) = line.split_once("time=")?;
        rest.split_whitespace().next()?.parse().ok()
    });
    Some(Ping {
        sent,
        times: times.collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lost_answers_are_counted_and_times_summed_up() {
        let text = "PING 192.0.2.1 (192.0.2.1) 56(84) bytes of data.\n\
            64 bytes from 192.0.2.1: icmp_seq=1 ttl=64 time=1.00 ms\n\
            64 bytes from 192.0.2.1: icmp_seq=3 ttl=64 time=3.00 ms\n\n\
            --- 192.0.2.1 ping statistics ---\n\
            3 packets transmitted, 2 received, 33.3333% packet loss, time 402ms\n";
        let ping = parse(text).unwrap();
        assert_eq!((ping.lost(), ping.times.len()), (1, 2));
        assert!((ping.average() - 2.0).abs() < 1e-9 && (ping.deviation() - 1.0).abs() < 1e-9);
        assert!((ping.percentile(50) - 3.0).abs() < 1e-9 && ping.percentile(99).is_infinite());
        assert!((ping.min() - 1.0).abs() < 1e-9 && (ping.max() - 3.0).abs() < 1e-9);
    }
}
