//! The daemon's control socket: what it has counted of each guest, at a known time.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use serde::Deserialize;

use crate::error::{Context, Error, Result};

/// How long the daemon may take to answer.
const TIMEOUT: Duration = Duration::from_secs(10);

/// What the daemon had counted at one time.
#[derive(Debug, Clone)]
pub struct Report {
    /// When that was: half-way between question and answer.
    pub at: Instant,
    /// How many configurations it has applied.
    pub generation: u64,
    /// Its ports, by their guests' names.
    pub ports: BTreeMap<String, Port>,
}

/// What there is of a port.
#[derive(Debug, Clone, Deserialize)]
pub struct Port {
    /// What the guest sent.
    pub from_guest: Counted,
    /// What the guest was sent.
    pub to_guest: Counted,
}

/// One direction of a port.
#[derive(Debug, Clone, Deserialize)]
pub struct Counted {
    /// Frames delivered; a super-frame is one.
    pub frames: u64,
    /// Frames on the wire: the segments of super-frames.
    pub segments: u64,
    /// Bytes on the wire, with all that a cable carries.
    pub wire_bytes: u64,
    /// Frames dropped, by reason.
    pub drops: BTreeMap<String, u64>,
}

impl Report {
    /// A guest's port.
    ///
    /// # Errors
    /// [`Error::Output`] if the daemon does not know it.
    pub fn port(&self, name: &str) -> Result<&Port> {
        self.ports.get(name).ok_or_else(|| Error::Output {
            tool: "the daemon's report",
            reason: format!("no port {name} in it"),
            output: format!("{self:?}"),
        })
    }

    /// Seconds between an earlier report and this one.
    #[must_use]
    pub fn seconds_since(&self, earlier: &Self) -> f64 {
        self.at.saturating_duration_since(earlier.at).as_secs_f64()
    }
}

impl Counted {
    /// Frames dropped, for whatever reason.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.drops.values().sum()
    }
}

#[derive(Debug, Deserialize)]
struct Answer {
    generation: u64,
    ports: Vec<Named>,
}

#[derive(Debug, Deserialize)]
struct Named {
    port: String,
    #[serde(flatten)]
    counted: Port,
}

/// Asks the daemon behind `socket`.
pub(crate) fn report(socket: &Path) -> Result<Report> {
    let mut stream = UnixStream::connect(socket).context("connecting to the control socket")?;
    let failed = "asking over the control socket";
    stream.set_read_timeout(Some(TIMEOUT)).context(failed)?;
    let asked = Instant::now();
    stream.write_all(b"{\"do\":\"report\"}\n").context(failed)?;
    let mut line = String::new();
    BufReader::new(stream)
        .read_line(&mut line)
        .context(failed)?;
    let at = asked + asked.elapsed() / 2;
    parse(&line, at).map_err(|error| Error::Output {
        tool: "the daemon's report",
        reason: error.to_string(),
        output: line,
    })
}

fn parse(line: &str, at: Instant) -> serde_json::Result<Report> {
    let answer: Answer = serde_json::from_str(line)?;
    let ports = answer.ports.into_iter();
    Ok(Report {
        at,
        generation: answer.generation,
        ports: ports.map(|named| (named.port, named.counted)).collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_is_read_by_the_names_of_its_guests() {
        let line = r#"{"ok":true,"generation":2,"ports":[{"port":"vm1","session":true,
            "from_guest":{"frames":1,"segments":3,"bytes":4000,"wire_bytes":4100,"calls":0,"drops":{}},
            "to_guest":{"frames":2,"segments":2,"bytes":128,"wire_bytes":168,"calls":1,
            "drops":{"queue":3,"stalled":4}},"kicks":1,"wakes":2,"broken_rings":0}]}"#;
        let report = parse(line, Instant::now()).unwrap();
        let port = report.port("vm1").unwrap();
        assert_eq!((report.generation, port.from_guest.wire_bytes), (2, 4100));
        assert_eq!((port.from_guest.dropped(), port.to_guest.dropped()), (0, 7));
        assert!(report.port("vm2").is_err());
        assert!(parse("{\"error\":\"no\"}", Instant::now()).is_err());
    }
}
