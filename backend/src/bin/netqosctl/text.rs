//! Text for terminals: 80 columns, and no control characters of others.

use std::borrow::Cow;
use std::io::{self, Write};

use anstyle::{AnsiColor, Style};
use textwrap::{Options, WordSplitter};

/// Columns of a terminal.
pub(crate) const WIDTH: usize = 80;

/// What is new, gone, changed, and what leads.
pub(crate) const NEW: Style = AnsiColor::Green.on_default();
pub(crate) const GONE: Style = AnsiColor::Red.on_default();
pub(crate) const CHANGED: Style = AnsiColor::Yellow.on_default();
pub(crate) const HEAD: Style = Style::new().bold();
pub(crate) const PLAIN: Style = Style::new();

/// Writes a paragraph whose first and other lines begin with `first` and `rest`.
pub(crate) fn paragraph(
    out: &mut impl Write,
    style: Style,
    [first, rest]: [&str; 2],
    text: &str,
) -> io::Result<()> {
    let options = Options::new(WIDTH)
        .initial_indent(first)
        .subsequent_indent(rest)
        .word_splitter(WordSplitter::NoHyphenation);
    let filled = textwrap::fill(&printable(text), options);
    writeln!(out, "{style}{filled}{style:#}")
}

/// A text in which nothing moves the cursor or changes colours: what others named is only shown.
pub(crate) fn printable(text: &str) -> Cow<'_, str> {
    if !text.contains(char::is_control) {
        return Cow::Borrowed(text);
    }
    text.replace(char::is_control, "?").into()
}

/// A text filled or cut to so many columns.
pub(crate) fn fit(text: &str, width: usize) -> String {
    let cut: String = text.chars().take(width).collect();
    format!("{cut:width$}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_paragraph_fits_a_terminal_whatever_it_holds() {
        let mut out = Vec::new();
        let long = "x".repeat(200);
        let text =
            format!("a name: {long} and\u{1b}[2J \u{7}words that go on for more than a line");
        paragraph(&mut out, PLAIN, ["+ ", "    "], &text).unwrap();
        let out = String::from_utf8(out).unwrap();
        assert!(out.starts_with("+ a name:"), "{out}");
        assert!(out.lines().all(|line| line.len() <= WIDTH), "{out}");
        assert!(out.contains("and?[2J ?words"), "{out}");
    }
}
