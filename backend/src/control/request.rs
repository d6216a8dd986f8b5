//! What can be asked.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::VERSION;
use super::report::Direction;

/// A request, named by its `do`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(tag = "do", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Request {
    /// Tell that you are there: [`Pong`](super::answer::Pong).
    Ping {},
    /// Tell the counters: [`Report`](super::Report).
    Report {
        /// Of these guests only; of all if empty.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        guests: Vec<String>,
        /// Of every class as well.
        #[serde(default)]
        classes: bool,
    },
    /// Tell indices and flags of a guest's rings: [`Rings`](super::answer::Rings).
    Rings {
        /// Whose.
        guest: String,
    },
    /// Tell the counters as OpenMetrics text: [`Metrics`](super::answer::Metrics).
    Metrics {},
    /// Tell the class trees that are served, as text: [`Trees`](super::answer::Trees).
    Trees {},
    /// Tell what keeps the daemon from the host: [`Sandbox`](super::answer::Sandbox).
    Sandbox {},
    /// Read the configuration file again: [`Applied`](super::Applied).
    Reload {},
    /// Serve this configuration from now on: [`Applied`](super::Applied). Uplinks, and sockets outside of
    /// the directories given for them, can only be those of the daemon's own file.
    Apply {
        /// The text of a configuration file.
        text: String,
        /// What messages call it; what it includes is relative to it.
        path: String,
        /// Say what would change, and change nothing.
        #[serde(default)]
        dry_run: bool,
        /// The generation that the change was made for.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        generation: Option<u64>,
    },
    /// Change settings of a guest or of one of its classes: [`Applied`](super::Applied).
    Set {
        /// The guest.
        guest: String,
        /// One of its classes; the guest's own if absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        class: Option<String>,
        /// Of which tree; of both, in one change, if absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        direction: Option<Direction>,
        /// Keys of the file (`rate`, `ceil`, `weight` ...) and what they are to be, in the file's
        /// spelling; null for what is to be as if it had not been written.
        settings: BTreeMap<String, Option<String>>,
        /// Say what would change, and change nothing.
        #[serde(default)]
        dry_run: bool,
        /// The generation that the change was made for.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        generation: Option<u64>,
    },
    /// Serve one more guest: [`Applied`](super::Applied).
    GuestAdd {
        /// Its name.
        guest: String,
        /// What the file would say in its `[guest.NAME]` table, as TOML. Defaults and templates are
        /// those of the daemon's file.
        keys: String,
        /// The generation that the change was made for.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        generation: Option<u64>,
    },
    /// Serve a guest no more: [`Applied`](super::Applied).
    GuestDel {
        /// Its name.
        guest: String,
        /// The generation that the change was made for.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        generation: Option<u64>,
    },
    /// Hold a guest's frames in both directions, or let them go again.
    GuestPause {
        /// Its name.
        guest: String,
        /// Whether they are held.
        paused: bool,
    },
    /// Look at all of a guest's rings as if it had kicked, and call it.
    Kick {
        /// Whose.
        guest: String,
    },
    /// Tell which rules and classes a frame would meet: [`Explanation`](super::Explanation).
    Explain {
        /// Who would send it, or receive it.
        guest: String,
        /// Which way it would go.
        direction: Direction,
        /// The Ethernet frame, in base64.
        frame: String,
    },
    /// Send copies of a guest's frames as [`Event::Frame`](super::Event::Frame)s, until as many have come
    /// as were asked for, or the connection ends.
    Capture {
        /// Whose.
        guest: String,
        /// One of its classes only.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        class: Option<String>,
        /// One direction only.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        direction: Option<Direction>,
        /// Bytes of each frame at most.
        snap: u32,
        /// Frames at most.
        frames: u32,
    },
    /// Send [`Event`](super::Event)s from now on.
    Subscribe {},
}

/// Why bytes are no request.
#[derive(Debug, thiserror::Error)]
pub enum NotARequest {
    /// A list would be taken for an object's values, in their order.
    #[error("not a request: a JSON object is needed, such as {{\"do\":\"ping\"}}")]
    NoObject,
    /// Not JSON, or not one of ours.
    #[error("not a request: {0}")]
    Json(#[from] serde_json::Error),
    /// Of another version of the protocol.
    #[error(
        "the request is of version {0} of the protocol, and this daemon speaks version {VERSION}: use \
         the netqosctl that came with it"
    )]
    Version(u64),
}

/// Reads one line.
///
/// # Errors
/// It is no request, and why.
pub fn parse(line: &[u8]) -> Result<Request, NotARequest> {
    if line.trim_ascii_start().first() != Some(&b'{') {
        return Err(NotARequest::NoObject);
    }
    // Read twice, so that unknown keys beside the version are found.
    #[derive(Deserialize)]
    struct Versioned {
        version: Option<u64>,
    }
    let Versioned { version } = serde_json::from_slice(line)?;
    match version {
        None => Ok(serde_json::from_slice(line)?),
        Some(version) if version == u64::from(VERSION) => {
            let mut object: serde_json::Map<String, serde_json::Value> =
                serde_json::from_slice(line)?;
            object.remove("version");
            Ok(serde_json::from_value(object.into())?)
        }
        Some(version) => Err(NotARequest::Version(version)),
    }
}

/// The line that asks it, its version with it.
///
/// # Errors
/// Never for a request made of text and numbers; JSON's own otherwise.
pub fn line(request: &Request) -> Result<Vec<u8>, serde_json::Error> {
    #[derive(Serialize)]
    struct Versioned<'a> {
        version: u32,
        #[serde(flatten)]
        request: &'a Request,
    }
    let mut line = serde_json::to_vec(&Versioned {
        version: VERSION,
        request,
    })?;
    line.push(b'\n');
    Ok(line)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn requests_are_understood_with_and_without_a_version() {
        let report = |classes| Request::Report {
            guests: vec![],
            classes,
        };
        for (line, request) in [
            (r#"{"do":"ping"}"#, Request::Ping {}),
            (r#"{"version":1,"do":"ping"}"#, Request::Ping {}),
            (" {\"do\" : \"reload\"}\r", Request::Reload {}),
            (r#"{"do":"report"}"#, report(false)),
            (r#"{"do":"report","classes":true}"#, report(true)),
        ] {
            assert_eq!(parse(line.as_bytes()).unwrap(), request, "{line}");
        }
    }

    #[test]
    fn what_is_asked_is_what_is_read() {
        let request = Request::Set {
            guest: "vm1".to_owned(),
            class: None,
            direction: Some(Direction::FromGuest),
            settings: BTreeMap::from([
                ("ceil".to_owned(), Some("1gbit".to_owned())),
                ("rate".to_owned(), None),
            ]),
            dry_run: false,
            generation: Some(3),
        };
        let line = line(&request).unwrap();
        assert!(line.starts_with(br#"{"version":1,"#) && line.ends_with(b"\n"));
        assert_eq!(parse(&line).unwrap(), request);
    }

    #[test]
    fn nonsense_is_refused_with_a_reason_on_one_line() {
        let deep = "[".repeat(4000);
        let deep_version = format!("{{\"version\":{}", "[".repeat(4000));
        for line in [
            "",
            "ping",
            "{}",
            r#"{"do":"Ping"}"#,
            r#"{"do":"stop"}"#,
            r#"{"do":"ping","do":"reload"}"#,
            r#"{"do":"reload","force":true}"#,
            r#"{"version":1,"do":"reload","force":true}"#,
            r#"{"version":2,"do":"ping"}"#,
            r#"{"version":"1","do":"ping"}"#,
            r#"{"do":["ping"]}"#,
            r#"{"do":"ping"} x"#,
            r#"{"do":"set","guest":"a","direction":"up","settings":{}}"#,
            "[\"ping\"]",
            "\u{0}\u{1b}[2J",
            &deep,
            &deep_version,
        ] {
            let why = parse(line.as_bytes()).unwrap_err().to_string();
            assert!(!why.is_empty() && !why.contains('\n'), "{line}: {why}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_are_too_much_for_it(bytes in any::<Vec<u8>>()) {
            let _ = parse(&bytes);
        }
    }
}
