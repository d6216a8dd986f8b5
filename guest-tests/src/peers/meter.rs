//! Frames per second as the kernel counts them at an interface: the same for every back-end.

use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::error::{Error, Result};
use crate::netns::Namespace;
use crate::process::POLL;

/// How long a load may take to reach the interface.
const START: Duration = Duration::from_secs(20);
/// What is left out after the first frame: caches, clocks and the scheduler settle.
const SETTLE: Duration = Duration::from_millis(700);

/// Frames per second that arrive at an interface (`rx` of `ip -s link`) during `window`, which begins
/// shortly after the first.
///
/// # Errors
/// [`Error::Timeout`] when none arrives, [`Error::Command`] when there is no such interface.
pub fn frame_rate(namespace: &Namespace, interface: &str, window: Duration) -> Result<f64> {
    let idle = received(namespace, interface)?;
    let deadline = Instant::now() + START;
    // More than the few frames that the host itself may cause.
    while received(namespace, interface)? < idle.saturating_add(1000) {
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
    let frames = u32::try_from(last.saturating_sub(first)).unwrap_or(u32::MAX);
    Ok(f64::from(frames) / elapsed.as_secs_f64())
}

fn received(namespace: &Namespace, interface: &str) -> Result<u64> {
    let text = namespace.ip(&format!("-s -j link show dev {interface}"))?;
    packets(&text).ok_or_else(|| Error::Output {
        tool: "ip",
        reason: "no count of received packets in it".to_owned(),
        output: text,
    })
}

fn packets(text: &str) -> Option<u64> {
    let links: Value = serde_json::from_str(text).ok()?;
    let counters = links.get(0)?.get("stats64")?;
    counters.get("rx")?.get("packets")?.as_u64()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn received_packets_are_found() {
        let text =
            r#"[{"ifname":"t","stats64":{"rx":{"bytes":9,"packets":3},"tx":{"packets":7}}}]"#;
        assert_eq!(packets(text), Some(3));
        assert_eq!(packets("[]"), None);
    }
}
