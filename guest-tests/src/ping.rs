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

    fn mean(&self, of: impl Fn(f64) -> f64) -> f64 {
        let count = u32::try_from(self.times.len()).unwrap_or(u32::MAX).max(1);
        self.times.iter().map(|time| of(*time)).sum::<f64>() / f64::from(count)
    }
}

/// Sends `count` requests, 20 ms apart, to an IPv4 or IPv6 address. Losses are a result, not an error.
///
/// # Errors
/// [`Error::Output`] if ping could not send at all.
pub fn ping(from: &dyn Place, address: &str, count: u32) -> Result<Ping> {
    let script = format!("ping -n -i 0.02 -W 2 -c {count} {address}");
    let timeout = Duration::from_secs(20) + Duration::from_millis(30) * count;
    let output = from.run(&script, timeout)?;
    parse(&output.stdout).ok_or_else(|| Error::Output {
        tool: "ping",
        reason: format!("status {}", output.status),
        output: output.stdout + &output.stderr,
    })
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
        assert!((ping.min() - 1.0).abs() < 1e-9 && (ping.max() - 3.0).abs() < 1e-9);
    }
}
