//! Throughput, by iperf3, counted where it arrives.

use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use serde_json::Value;

use crate::error::{Error, Result};
use crate::place::{Job, Place, succeeded};

/// Each run has a port of its own, so that several may go on at once.
static PORT: AtomicU16 = AtomicU16::new(5201);

/// Longer than any test, in seconds.
const FOREVER: u32 = 3600;

/// A measurement to be made.
#[derive(Debug, Clone)]
pub struct Iperf3 {
    seconds: u32,
    options: String,
}

/// What a measurement saw.
#[derive(Debug, Clone)]
pub struct Throughput {
    /// Payload bits per second at the receiver.
    pub bits_per_second: f64,
    /// TCP segments sent again; zero for UDP.
    pub retransmits: u64,
    /// UDP datagrams lost; zero for TCP.
    pub lost: u64,
    /// UDP datagrams sent, of which some were lost; zero for TCP.
    pub datagrams: u64,
    /// UDP jitter in milliseconds (RFC 1889); zero for TCP.
    pub jitter_ms: f64,
    /// Payload bits per second of each interval, as the client counted them.
    pub intervals: Vec<f64>,
    /// All that iperf3 said.
    pub json: Value,
}

impl Throughput {
    /// Payload megabits (10^6) per second at the receiver.
    #[must_use]
    pub fn mbit(&self) -> f64 {
        self.bits_per_second / 1e6
    }
}

/// A measurement going on.
#[derive(Debug)]
pub struct RunningIperf3 {
    client: Box<dyn Job>,
    server: Box<dyn Job>,
    timeout: Duration,
}

impl Iperf3 {
    /// One TCP stream for that long.
    #[must_use]
    pub fn seconds(seconds: u32) -> Self {
        Self {
            seconds,
            options: String::new(),
        }
    }

    /// UDP at a payload rate such as `20M`; `0` is without limit.
    #[must_use]
    pub fn udp(self, rate: &str) -> Self {
        self.option(&format!("-u -b {rate}"))
    }

    /// So many streams at once.
    #[must_use]
    pub fn parallel(self, streams: u32) -> Self {
        self.option(&format!("-P {streams}"))
    }

    /// Another option of the client, as `-l 1400` or `-S 0xb8`.
    #[must_use]
    pub fn option(mut self, option: &str) -> Self {
        self.options += &format!(" {option}");
        self
    }

    /// Measures from `client` to `server`, which has `address`.
    ///
    /// # Errors
    /// [`Error::Command`] or [`Error::Output`] with what iperf3 said, [`Error::Timeout`].
    pub fn run(&self, client: &dyn Place, server: &dyn Place, address: &str) -> Result<Throughput> {
        self.start(client, server, address)?.finish()
    }

    /// Begins measuring; several measurements can go on at once.
    ///
    /// # Errors
    /// What keeps the commands from being started.
    pub fn start(
        &self,
        client: &dyn Place,
        server: &dyn Place,
        address: &str,
    ) -> Result<RunningIperf3> {
        let port = PORT.fetch_add(1, Ordering::Relaxed);
        let (seconds, options) = (self.seconds, &self.options);
        let server = server.start(&format!("iperf3 -s -1 -p {port}"))?;
        // The server needs a moment; until then the client is refused.
        let client = client.start(&format!(
            "n=0; while out=$(iperf3 -c {address} -p {port} -t {seconds}{options} --json); s=$?; \
             case $out in *refused*) n=$((n + 1)); [ $n -lt 100 ];; *) false;; esac; \
             do sleep 0.1; done; printf '%s\\n' \"$out\"; exit $s"
        ))?;
        Ok(RunningIperf3 {
            client,
            server,
            timeout: Duration::from_secs(u64::from(seconds) + 30),
        })
    }
}

impl RunningIperf3 {
    /// Waits for the end of the measurement.
    ///
    /// # Errors
    /// As [`Iperf3::run`].
    pub fn finish(mut self) -> Result<Throughput> {
        let output = self.client.wait(self.timeout)?;
        self.server.kill();
        let text = succeeded("iperf3", output)?;
        parse(&text).ok_or_else(|| Error::Output {
            tool: "iperf3",
            reason: "no result in it".to_owned(),
            output: text,
        })
    }
}

/// Bulk traffic that goes on until it is dropped.
#[derive(Debug)]
pub struct Bulk {
    _running: RunningIperf3,
}

impl Bulk {
    /// Begins to send, over four TCP streams with CUBIC, whatever is usual on the machine, from `client` to `server`, which has `address`.
    ///
    /// # Errors
    /// As [`Iperf3::start`].
    pub fn tcp(client: &dyn Place, server: &dyn Place, address: &str) -> Result<Self> {
        let test = Iperf3::seconds(FOREVER).parallel(4).option("-C cubic");
        Self::of(&test, client, server, address)
    }

    /// Begins to send UDP at a payload rate such as `20M`.
    ///
    /// # Errors
    /// As [`Iperf3::start`].
    pub fn udp(rate: &str, client: &dyn Place, server: &dyn Place, address: &str) -> Result<Self> {
        Self::of(
            &Iperf3::seconds(FOREVER).udp(rate).option("-l 1400"),
            client,
            server,
            address,
        )
    }

    fn of(test: &Iperf3, client: &dyn Place, server: &dyn Place, address: &str) -> Result<Self> {
        let _running = test.start(client, server, address)?;
        Ok(Self { _running })
    }
}

fn parse(text: &str) -> Option<Throughput> {
    let json: Value = serde_json::from_str(text).ok()?;
    let end = json.get("end")?;
    let received = end.get("sum_received").or_else(|| end.get("sum"))?;
    let udp = end
        .get("sum")
        .filter(|sum| sum.get("lost_packets").is_some());
    let count = |key: &str| udp.and_then(|sum| sum.get(key)?.as_u64()).unwrap_or(0);
    let sent = end.get("sum_sent").and_then(|sum| sum.get("retransmits"));
    let intervals = json.get("intervals").and_then(Value::as_array);
    let rate = |interval: &Value| interval.get("sum")?.get("bits_per_second")?.as_f64();
    // iperf3 3.12 fills sum_received of UDP with the sender's rate: take off what was lost.
    let mut bits_per_second = received.get("bits_per_second")?.as_f64()?;
    if let Some(percent) = udp.and_then(|sum| sum.get("lost_percent")?.as_f64()) {
        let sent = udp.and_then(|sum| sum.get("bits_per_second")?.as_f64())?;
        bits_per_second = sent * (1.0 - percent / 100.0);
    }
    Some(Throughput {
        bits_per_second,
        retransmits: sent.and_then(Value::as_u64).unwrap_or(0),
        lost: count("lost_packets"),
        datagrams: count("packets"),
        jitter_ms: udp
            .and_then(|sum| sum.get("jitter_ms")?.as_f64())
            .unwrap_or(0.0),
        intervals: intervals.into_iter().flatten().filter_map(rate).collect(),
        json,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tcp_is_counted_at_the_receiver() {
        let text = r#"{"intervals":[{"sum":{"bits_per_second":9.0}}],"end":{
            "sum_sent":{"bits_per_second":9.0,"retransmits":3},
            "sum_received":{"bits_per_second":8.0}}}"#;
        let result = parse(text).unwrap();
        assert!((result.bits_per_second - 8.0).abs() < 1e-9);
        assert_eq!((result.retransmits, result.intervals.len()), (3, 1));
    }

    #[test]
    fn lost_datagrams_are_no_throughput() {
        let text = r#"{"end":{"sum":{"bits_per_second":100.0,"lost_packets":1,"packets":4,
            "lost_percent":25.0,"jitter_ms":0.5}}}"#;
        let result = parse(text).unwrap();
        assert!((result.bits_per_second - 75.0).abs() < 1e-9);
        assert_eq!((result.lost, result.datagrams), (1, 4));
    }

    #[test]
    fn an_error_is_no_result() {
        assert!(parse(r#"{"start":{},"error":"unable to connect"}"#).is_none());
    }
}
