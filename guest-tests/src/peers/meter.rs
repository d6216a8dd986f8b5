//! Frames and bytes per second as the kernel counts them at an interface: the same for every back-end.

use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::error::{Error, Result};
use crate::netns::Namespace;
use crate::process::POLL;

/// How long an interface may take to appear, and a load to reach it.
const START: Duration = Duration::from_secs(20);
/// What is left out after the first frame: caches, clocks and the scheduler settle.
const SETTLE: Duration = Duration::from_millis(700);

/// What an interface counts in a second, or has counted.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rates {
    /// Frames; one that holds many segments is one.
    pub frames: f64,
    /// Their bytes, Ethernet header included; of a super-frame the headers are counted once.
    pub bytes: f64,
}

impl Rates {
    /// Segments of a bulk transfer whose segments all have `headers` and `payload` bytes, however many of
    /// them a frame holds: all that is not headers is payload.
    #[must_use]
    pub fn segments(&self, headers: usize, payload: usize) -> f64 {
        let number = |bytes| u32::try_from(bytes).map_or(f64::NAN, f64::from);
        (self.bytes - self.frames * number(headers)) / number(payload)
    }
}

/// Frames per second that arrive at an interface (`rx` of `ip -s link`) during `window`, which begins
/// shortly after the first.
///
/// # Errors
/// [`Error::Timeout`] when none arrives, [`Error::Command`] when there is no such interface.
pub fn frame_rate(namespace: &Namespace, interface: &str, window: Duration) -> Result<f64> {
    rates(namespace, interface, window).map(|rates| rates.frames)
}

/// The same with the bytes.
///
/// # Errors
/// As [`frame_rate`].
pub fn rates(namespace: &Namespace, interface: &str, window: Duration) -> Result<Rates> {
    let deadline = Instant::now() + START;
    let idle = loop {
        match received(namespace, interface) {
            Err(Error::Command { .. }) if Instant::now() < deadline => thread::sleep(POLL),
            counted => break counted?.frames,
        }
    };
    // More than the few frames that the host itself may cause.
    while received(namespace, interface)?.frames < idle + 1000.0 {
        if Instant::now() >= deadline {
            return Err(Error::Timeout {
                what: format!("traffic at {interface}"),
                timeout: START,
                log: namespace.ip(&format!("-s link show dev {interface}"))?,
            });
        }
        thread::sleep(POLL);
    }
    thread::sleep(SETTLE);
    let (start, first) = (Instant::now(), received(namespace, interface)?);
    thread::sleep(window);
    let (elapsed, last) = (start.elapsed(), received(namespace, interface)?);
    let per_second = |first: f64, last: f64| (last - first) / elapsed.as_secs_f64();
    Ok(Rates {
        frames: per_second(first.frames, last.frames),
        bytes: per_second(first.bytes, last.bytes),
    })
}

fn received(namespace: &Namespace, interface: &str) -> Result<Rates> {
    let text = namespace.ip(&format!("-s -j link show dev {interface}"))?;
    counted(&text).ok_or_else(|| Error::Output {
        tool: "ip",
        reason: "no count of received packets in it".to_owned(),
        output: text,
    })
}

fn counted(text: &str) -> Option<Rates> {
    let links: Value = serde_json::from_str(text).ok()?;
    let counters = links.get(0)?.get("stats64")?.get("rx")?;
    Some(Rates {
        frames: counters.get("packets")?.as_f64()?,
        bytes: counters.get("bytes")?.as_f64()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn received_packets_are_found() {
        let text =
            r#"[{"ifname":"t","stats64":{"rx":{"bytes":9,"packets":3},"tx":{"packets":7}}}]"#;
        let (frames, bytes) = (3.0, 9.0);
        assert_eq!(counted(text), Some(Rates { frames, bytes }));
        assert_eq!(counted("[]"), None);
    }

    #[test]
    fn segments_are_what_the_payload_amounts_to() {
        let rates = |frames, bytes| Rates { frames, bytes };
        let alone = rates(45.0, 45.0 * 64.0).segments(54, 10);
        let together = rates(1.0, 54.0 + 45.0 * 10.0).segments(54, 10);
        assert!((alone - 45.0).abs() < 1e-9 && (together - 45.0).abs() < 1e-9);
    }
}
