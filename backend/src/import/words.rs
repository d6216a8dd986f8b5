//! Lines and words of a shell, as far as commands that set limits need it.

use super::{ImportError, Place};

/// Lines with those joined that end with a backslash, and the number of the first.
pub(super) fn lines(text: &str) -> Vec<(usize, String)> {
    let mut lines: Vec<(usize, String)> = Vec::new();
    let mut goes_on = false;
    for (number, line) in (1..).zip(text.lines()) {
        let (line, more) = match line.strip_suffix('\\') {
            Some(line) => (line, true),
            None => (line, false),
        };
        match lines.last_mut().filter(|_| goes_on) {
            Some((_, last)) => {
                last.push(' ');
                last.push_str(line);
            }
            None => lines.push((number, line.to_owned())),
        }
        goes_on = more;
    }
    lines
}

/// The words of a line, quotes taken away, and what follows a `#` left out.
pub(super) fn words(place: &Place, line: &str) -> Result<Vec<String>, ImportError> {
    shlex::split(line).ok_or_else(|| ImportError::Syntax {
        place: place.clone(),
        what: "a command",
        message: "a quote is not closed, or a backslash is the last character".to_owned(),
    })
}

/// `KEY=VALUE` pairs between commas; commas in brackets or quotes are part of a value. A word without
/// `=` is a key with no value.
pub(super) fn pairs(text: &str) -> Vec<(String, Option<String>)> {
    let mut parts = vec![String::new()];
    let (mut depth, mut quote) = (0_usize, None);
    for c in text.chars() {
        match (c, quote) {
            (',', None) if depth == 0 => {
                parts.push(String::new());
                continue;
            }
            ('"' | '\'', None) => quote = Some(c),
            (c, Some(open)) if c == open => quote = None,
            ('[' | '{', None) => depth += 1,
            (']' | '}', None) => depth = depth.saturating_sub(1),
            _ => {}
        }
        if let Some(part) = parts.last_mut() {
            part.push(c);
        }
    }
    let pair = |part: &String| {
        let part = part.trim();
        match part.split_once('=') {
            Some((key, value)) => (key.trim().to_owned(), Some(unquoted(value).to_owned())),
            None => (part.to_owned(), None),
        }
    };
    let pairs = parts.iter().map(pair);
    pairs.filter(|(key, _)| !key.is_empty()).collect()
}

/// A value without the quotes around it.
pub(super) fn unquoted(value: &str) -> &str {
    let value = value.trim();
    ['"', '\'']
        .iter()
        .find_map(|&quote| value.strip_prefix(quote)?.strip_suffix(quote))
        .unwrap_or(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_comma_in_brackets_or_quotes_parts_nothing() {
        let got = pairs(r#"fd=[3,4],flag, key = "a,b" ,"#);
        let want = [("fd", Some("[3,4]")), ("flag", None), ("key", Some("a,b"))];
        let want = want.map(|(key, value)| (key.to_owned(), value.map(str::to_owned)));
        assert_eq!(got, want);
    }

    #[test]
    fn a_backslash_joins_lines_and_the_first_number_stays() {
        let got = lines("a \\\nb\nc");
        assert_eq!(got, [(1, "a  b".to_owned()), (3, "c".to_owned())]);
    }
}
