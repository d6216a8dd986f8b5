//! What a change came to, for people: `+` new, `-` gone, `~` changed.

use std::io::{self, Write};

use anstyle::Style;
use netqos::control::{Applied, Conflict, Difference, Edit};

use crate::text::{CHANGED, GONE, NEW, PLAIN, paragraph};

/// Prints what is different, and what it comes to.
pub(crate) fn print(out: &mut impl Write, applied: &Applied) -> io::Result<()> {
    differences(out, &applied.differences)?;
    paragraph(out, PLAIN, ["", "  "], &summary(applied))
}

/// Prints what others have changed meanwhile.
pub(crate) fn conflict(out: &mut impl Write, conflict: &Conflict) -> io::Result<()> {
    match conflict.differences.as_deref() {
        Some([]) => writeln!(out, "Nothing is different since."),
        Some(list) => {
            writeln!(out, "What others have changed since:")?;
            differences(out, list)
        }
        None => writeln!(out, "What others have changed since is not remembered."),
    }?;
    writeln!(out, "The running generation is {}.", conflict.generation)
}

/// Prints what is different, guest by guest.
pub(crate) fn differences(out: &mut impl Write, list: &[Difference]) -> io::Result<()> {
    for difference in list {
        match difference {
            Difference::Added { guest } => head(out, NEW, '+', &format!("guest {guest}"))?,
            Difference::Removed { guest } => head(out, GONE, '-', &format!("guest {guest}"))?,
            Difference::Changed {
                guest,
                edits,
                ends_session,
            } => {
                head(out, CHANGED, '~', &format!("guest {guest}"))?;
                self::edits(out, edits)?;
                if let Some(why) = ends_session {
                    let text = format!("! its session begins anew: {why}");
                    paragraph(out, GONE, ["    ", "      "], &text)?;
                }
            }
            Difference::Uplink { uplink, edits } => {
                head(out, CHANGED, '~', &format!("uplink {uplink}"))?;
                self::edits(out, edits)?;
            }
        }
    }
    Ok(())
}

fn head(out: &mut impl Write, style: Style, mark: char, text: &str) -> io::Result<()> {
    paragraph(out, style, [&format!("{mark} "), "  "], text)
}

fn edits(out: &mut impl Write, edits: &[Edit]) -> io::Result<()> {
    for Edit { setting, from, to } in edits {
        let (style, text) = match (from, to) {
            (None, Some(to)) => (NEW, format!("+ {setting} {to}")),
            (Some(from), None) => (GONE, format!("- {setting} {from}")),
            (Some(from), Some(to)) => (CHANGED, format!("~ {setting} {from} -> {to}")),
            (None, None) => (CHANGED, format!("~ {setting}")),
        };
        paragraph(out, style, ["    ", "      "], &text)?;
    }
    Ok(())
}

fn summary(applied: &Applied) -> String {
    let (guests, generation) = (guests(applied), applied.generation);
    match (applied.dry_run, applied.differences.is_empty()) {
        (true, true) => format!("Nothing would be different. Generation {generation} runs."),
        (true, false) => format!(
            "Rehearsed, nothing is changed{guests}. Generation {generation} runs: make the change \
             with --generation {generation}"
        ),
        (false, true) => format!("Nothing is different. Generation {generation} runs."),
        (false, false) => format!("Done{guests}. Generation {generation} runs."),
    }
}

fn guests(applied: &Applied) -> String {
    let counts = [
        (applied.added, "added"),
        (applied.removed, "removed"),
        (applied.changed, "changed"),
    ];
    let some = counts.iter().filter(|(count, _)| *count > 0);
    let words: Vec<_> = some
        .map(|(count, word)| format!("{count} {word}"))
        .collect();
    match words.is_empty() {
        true => String::new(),
        false => format!(": guests {}", words.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(applied: &Applied) -> String {
        let mut out = Vec::new();
        print(&mut out, applied).unwrap();
        anstream::adapter::strip_str(&String::from_utf8(out).unwrap()).to_string()
    }

    fn edit(setting: &str, from: Option<&str>, to: Option<&str>) -> Edit {
        Edit {
            setting: setting.to_owned(),
            from: from.map(str::to_owned),
            to: to.map(str::to_owned),
        }
    }

    #[test]
    fn every_kind_of_difference_has_its_mark() {
        let applied = Applied {
            generation: 7,
            dry_run: true,
            added: 1,
            removed: 0,
            changed: 1,
            differences: vec![
                Difference::Added {
                    guest: "vm3".to_owned(),
                },
                Difference::Removed {
                    guest: "vm4".to_owned(),
                },
                Difference::Changed {
                    guest: "vm1".to_owned(),
                    edits: vec![
                        edit("from-guest ceil", Some("1gbit"), Some("500mbit")),
                        edit("to-guest rate", None, Some("10mbit")),
                        edit("mac", Some("52:54:00:00:00:01"), None),
                    ],
                    ends_session: Some("its MTU is another".to_owned()),
                },
                Difference::Uplink {
                    uplink: "lan".to_owned(),
                    edits: vec![],
                },
            ],
        };
        assert_eq!(
            text(&applied),
            "+ guest vm3\n- guest vm4\n~ guest vm1\n    ~ from-guest ceil 1gbit -> 500mbit\n    \
             + to-guest rate 10mbit\n    - mac 52:54:00:00:00:01\n    \
             ! its session begins anew: its MTU is another\n~ uplink lan\n\
             Rehearsed, nothing is changed: guests 1 added, 1 changed. Generation 7 runs:\n  \
             make the change with --generation 7\n"
        );
    }

    #[test]
    fn nothing_is_said_to_be_nothing() {
        let applied = Applied {
            generation: 3,
            ..Applied::default()
        };
        assert_eq!(text(&applied), "Nothing is different. Generation 3 runs.\n");
    }
}
