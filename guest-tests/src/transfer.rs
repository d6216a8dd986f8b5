//! Traffic of which every byte is accounted for: hashed TCP streams, numbered and checksummed datagrams.

use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use serde::de::DeserializeOwned;

use crate::error::{Error, Result};
use crate::pattern::Pattern;
use crate::place::{Job, Place, succeeded};
use crate::protocol::{DatagramReport, StreamReport};

static PORT: AtomicU16 = AtomicU16::new(7000);

/// A TCP transfer to be made.
#[derive(Debug, Clone)]
pub struct Transfer {
    bytes: u64,
    pause: Duration,
}

/// A TCP transfer going on.
#[derive(Debug)]
pub struct RunningTransfer {
    sender: Box<dyn Job>,
    receiver: Box<dyn Job>,
    bytes: u64,
    seed: u64,
}

impl Transfer {
    /// A transfer of so many bytes, as fast as it goes.
    #[must_use]
    pub fn bytes(bytes: u64) -> Self {
        Self {
            bytes,
            pause: Duration::ZERO,
        }
    }

    /// Pauses after every 64 KiB, so that the transfer lasts while something else happens.
    #[must_use]
    pub fn pause(mut self, pause: Duration) -> Self {
        self.pause = pause;
        self
    }

    /// Begins sending to `receiver`, which has `address`.
    ///
    /// # Errors
    /// What keeps the commands from being started.
    pub fn start(
        &self,
        sender: &dyn Place,
        receiver: &dyn Place,
        address: &str,
    ) -> Result<RunningTransfer> {
        let port = PORT.fetch_add(1, Ordering::Relaxed);
        let (bytes, pause) = (self.bytes, self.pause.as_micros());
        let to = socket_address(address, port);
        let seed = u64::from(port) << 32 | u64::from(std::process::id());
        let receiving = receiver.start(&format!("{} tcp-receive {port}", receiver.agent()))?;
        let sending = sender.start(&format!(
            "{} tcp-send {to} {bytes} {seed} --pause-us {pause}",
            sender.agent()
        ))?;
        Ok(RunningTransfer {
            sender: sending,
            receiver: receiving,
            bytes,
            seed,
        })
    }

    /// Sends, and checks that the same bytes arrived.
    ///
    /// # Errors
    /// As [`RunningTransfer::finish`].
    pub fn run(
        &self,
        sender: &dyn Place,
        receiver: &dyn Place,
        address: &str,
        timeout: Duration,
    ) -> Result<StreamReport> {
        self.start(sender, receiver, address)?.finish(timeout)
    }
}

impl RunningTransfer {
    /// Waits for the end and checks that what arrived has the length and SHA-256 of what was sent.
    ///
    /// # Errors
    /// [`Error::Output`] if it has not; [`Error::Command`] or [`Error::Timeout`] if a side failed.
    pub fn finish(mut self, timeout: Duration) -> Result<StreamReport> {
        succeeded("guest-agent tcp-send", self.sender.wait(timeout)?)?;
        let received: StreamReport = report(&mut *self.receiver, timeout)?;
        let sent = Pattern::report(self.seed, self.bytes);
        if sent == received {
            return Ok(received);
        }
        Err(Error::Output {
            tool: "guest-agent",
            reason: "the bytes that arrived are not those that were sent".to_owned(),
            output: format!("sent {sent:?}\nreceived {received:?}"),
        })
    }
}

/// Numbered, checksummed datagrams to be sent.
#[derive(Debug, Clone)]
pub struct Datagrams {
    count: u64,
    size: usize,
    rate: Option<u32>,
}

impl Datagrams {
    /// So many datagrams of 1400 bytes, as fast as they go.
    #[must_use]
    pub fn count(count: u64) -> Self {
        Self {
            count,
            size: 1400,
            rate: None,
        }
    }

    /// Bytes of UDP payload of each; at least 12.
    #[must_use]
    pub fn size(mut self, size: usize) -> Self {
        self.size = size;
        self
    }

    /// Datagrams a second.
    #[must_use]
    pub fn rate(mut self, rate: u32) -> Self {
        self.rate = Some(rate);
        self
    }

    /// Sends them to `receiver`, which has `address`, and returns what arrived how.
    ///
    /// # Errors
    /// [`Error::Command`] or [`Error::Timeout`] if a side failed.
    pub fn run(
        &self,
        sender: &dyn Place,
        receiver: &dyn Place,
        address: &str,
        timeout: Duration,
    ) -> Result<DatagramReport> {
        let port = PORT.fetch_add(1, Ordering::Relaxed);
        let (count, size, to) = (self.count, self.size, socket_address(address, port));
        let rate = self
            .rate
            .map_or_else(String::new, |rate| format!(" --rate {rate}"));
        let agent = receiver.agent();
        let mut receiving = receiver.start(&format!("{agent} udp-receive {port} {count}"))?;
        wait_bound(receiver, port)?;
        let send = format!(
            "{} udp-send {to} {count} --size {size}{rate}",
            sender.agent()
        );
        succeeded(&send, sender.run(&send, timeout)?)?;
        report(&mut *receiving, timeout)
    }
}

/// Waits until a UDP socket is bound to `port`, or the first datagrams would be refused.
fn wait_bound(place: &dyn Place, port: u16) -> Result<()> {
    let script = format!(
        "n=0; until grep -q ':{port:04X} ' /proc/net/udp6; do n=$((n + 1)); [ $n -lt 200 ] || exit 1; sleep 0.05; done"
    );
    place.shell(&script).map(drop)
}

fn socket_address(address: &str, port: u16) -> String {
    if address.contains(':') {
        format!("[{address}]:{port}")
    } else {
        format!("{address}:{port}")
    }
}

fn report<T: DeserializeOwned>(job: &mut dyn Job, timeout: Duration) -> Result<T> {
    let text = succeeded("guest-agent", job.wait(timeout)?)?;
    serde_json::from_str(&text).map_err(|error| Error::Output {
        tool: "guest-agent",
        reason: error.to_string(),
        output: text,
    })
}
