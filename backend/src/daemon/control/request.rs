//! What can be asked over the control socket, and how answers look: one JSON object a line each way.

use serde::{Deserialize, Serialize};

/// A request, named by its `do`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(tag = "do", rename_all = "kebab-case", deny_unknown_fields)]
pub(in crate::daemon) enum Request {
    /// Read the configuration again.
    Reload {},
    /// Tell the counters of all ports, and of all classes if asked.
    Report {
        /// Those of the class trees as well.
        #[serde(default)]
        classes: bool,
    },
    /// Tell that you are there.
    Ping {},
}

/// Why bytes are no request.
#[derive(Debug, thiserror::Error)]
pub(super) enum NotARequest {
    /// A list would be taken for an object's values, in their order.
    #[error("not a request: a JSON object is needed, such as {{\"do\":\"ping\"}}")]
    NoObject,
    /// Not JSON, or not one of ours.
    #[error("not a request: {0}")]
    Json(#[from] serde_json::Error),
}

/// Reads one line.
pub(super) fn parse(line: &[u8]) -> Result<Request, NotARequest> {
    if line.trim_ascii_start().first() != Some(&b'{') {
        return Err(NotARequest::NoObject);
    }
    Ok(serde_json::from_slice(line)?)
}

/// The line that says that something was done, with what there is to know.
pub(in crate::daemon) fn done(facts: impl Serialize) -> Vec<u8> {
    #[derive(Serialize)]
    struct Done<T> {
        ok: bool,
        #[serde(flatten)]
        facts: T,
    }
    line(&Done { ok: true, facts })
}

/// The line that says why something was not done.
pub(in crate::daemon) fn refused(why: impl std::fmt::Display) -> Vec<u8> {
    line(&serde_json::json!({ "error": why.to_string() }))
}

fn line(answer: &impl Serialize) -> Vec<u8> {
    // Answers have text for keys and no floats, so there is nothing that JSON cannot say.
    let mut line = serde_json::to_vec(answer)
        .unwrap_or_else(|_| br#"{"error":"the answer cannot be written as JSON"}"#.to_vec());
    line.push(b'\n');
    line
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_three_requests_are_understood() {
        assert_eq!(parse(br#"{"do":"ping"}"#).unwrap(), Request::Ping {});
        assert_eq!(
            parse(b" {\"do\" : \"reload\"}\r").unwrap(),
            Request::Reload {}
        );
        assert_eq!(
            parse(br#"{"do":"report"}"#).unwrap(),
            Request::Report { classes: false }
        );
        assert_eq!(
            parse(br#"{"do":"report","classes":true}"#).unwrap(),
            Request::Report { classes: true }
        );
    }

    #[test]
    fn anything_else_is_answered_with_a_reason_on_one_line() {
        let deep = "[".repeat(4000);
        for line in [
            "",
            "ping",
            "{}",
            r#"{"do":"Ping"}"#,
            r#"{"do":"stop"}"#,
            r#"{"do":"ping","do":"reload"}"#,
            r#"{"do":"reload","force":true}"#,
            r#"{"do":["ping"]}"#,
            r#"{"do":"ping"} x"#,
            "[\"ping\"]",
            "\u{0}\u{1b}[2J",
            &deep,
        ] {
            let answer = refused(parse(line.as_bytes()).unwrap_err());
            assert_eq!(answer.iter().filter(|byte| **byte == b'\n').count(), 1);
            assert!(answer.iter().all(|byte| *byte == b'\n' || *byte >= b' '));
            let answer: serde_json::Value = serde_json::from_slice(&answer).unwrap();
            assert!(answer["error"].is_string(), "{line}");
        }
    }

    #[test]
    fn an_answer_holds_its_facts_beside_ok() {
        let answer = done(serde_json::json!({ "generation": 3 }));
        assert_eq!(answer, b"{\"ok\":true,\"generation\":3}\n");
        assert_eq!(refused("a \"b\"\nc"), b"{\"error\":\"a \\\"b\\\"\\nc\"}\n");
    }

    proptest! {
        #[test]
        fn no_bytes_are_too_much_for_it(bytes in any::<Vec<u8>>()) {
            let _ = parse(&bytes);
        }
    }
}
