//! The lines that answer requests.

use serde::Serialize;

use crate::control::Refusal;

/// What a request is answered with.
#[derive(Debug)]
pub(in crate::daemon) struct Answer {
    /// The line.
    pub(in crate::daemon) line: Vec<u8>,
    /// Whether it was done as asked.
    pub(in crate::daemon) done: bool,
}

/// Something was done, with what there is to know.
pub(in crate::daemon) fn done(facts: impl Serialize) -> Answer {
    #[derive(Serialize)]
    struct Done<T> {
        ok: bool,
        #[serde(flatten)]
        facts: T,
    }
    Answer {
        line: line(&Done { ok: true, facts }),
        done: true,
    }
}

/// Something was not done, and why.
pub(in crate::daemon) fn refused(why: impl std::fmt::Display) -> Answer {
    refusal(&Refusal {
        error: why.to_string(),
        conflict: None,
    })
}

/// Something was not done, and what others have changed meanwhile.
pub(in crate::daemon) fn refusal(refusal: &Refusal) -> Answer {
    Answer {
        line: line(refusal),
        done: false,
    }
}

/// One line.
pub(in crate::daemon) fn line(answer: &impl Serialize) -> Vec<u8> {
    // Answers have text for keys and no floats, so there is nothing that JSON cannot say.
    let mut line = serde_json::to_vec(answer)
        .unwrap_or_else(|_| br#"{"error":"the answer cannot be written as JSON"}"#.to_vec());
    line.push(b'\n');
    line
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::parse;

    #[test]
    fn a_refusal_is_one_line_whatever_was_asked() {
        for request in ["", "[\"ping\"]", "\u{0}\u{1b}[2J", r#"{"do":"stop"}"#] {
            let answer = refused(parse(request.as_bytes()).unwrap_err()).line;
            assert_eq!(answer.iter().filter(|byte| **byte == b'\n').count(), 1);
            assert!(answer.iter().all(|byte| *byte == b'\n' || *byte >= b' '));
            let answer: serde_json::Value = serde_json::from_slice(&answer).unwrap();
            assert!(answer["error"].is_string(), "{request}");
        }
    }

    #[test]
    fn an_answer_holds_its_facts_beside_ok() {
        let answer = done(serde_json::json!({ "generation": 3 }));
        assert_eq!(answer.line, b"{\"ok\":true,\"generation\":3}\n");
        assert_eq!(
            refused("a \"b\"\nc").line,
            b"{\"error\":\"a \\\"b\\\"\\nc\"}\n"
        );
    }
}
