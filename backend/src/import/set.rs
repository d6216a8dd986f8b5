//! What was imported as commands for a daemon that runs.

use super::write::comment;
use super::{Guest, Imported, Limits};
use crate::config::Direction;

/// What a command says of a limit that is not there.
const NONE: &str = "none";

impl Imported {
    /// A `netqosctl set` for each direction in which a guest is limited, for a shell; what else was
    /// imported belongs in the configuration file, and is a comment.
    #[must_use]
    pub fn to_set(&self) -> String {
        self.commands(settings)
    }

    /// The commands that take back what those of [`Imported::to_set`] set.
    #[must_use]
    pub fn to_unset(&self) -> String {
        let limits = ["rate", "ceil", "pps"];
        self.commands(|own| {
            let mut settings = settings(own);
            settings.retain(|(key, _)| limits.contains(key));
            for (_, value) in &mut settings {
                NONE.clone_into(value);
            }
            settings
        })
    }

    fn commands(&self, settings: impl Fn(&Limits) -> Vec<(&'static str, String)>) -> String {
        let mut text = String::new();
        for guest in &self.guests {
            for direction in Direction::BOTH {
                command(&mut text, guest, direction, &settings);
            }
        }
        text
    }
}

fn command(
    text: &mut String,
    guest: &Guest,
    direction: Direction,
    settings: impl Fn(&Limits) -> Vec<(&'static str, String)>,
) {
    let branch = guest.branch(direction);
    let settings = settings(&branch.own);
    if settings.is_empty() {
        return;
    }
    if !branch.classes.is_empty() {
        comment(text, "its classes belong in the configuration file");
    }
    if let Some(framing) = branch.own.framing {
        let (overhead, mpu) = (framing.overhead, framing.mpu);
        comment(
            text,
            &format!(
                "as counted with overhead = {overhead} and mpu = {mpu} in the configuration file"
            ),
        );
    }
    // Names have no zero byte, which is all that cannot be quoted.
    let name = shlex::try_quote(&guest.name).unwrap_or_default();
    text.push_str(&format!("netqosctl set {name} {}", word(direction)));
    for (key, value) in settings {
        // Rates, bursts and numbers are words as they are.
        text.push_str(&format!(" {key}={value}"));
    }
    text.push('\n');
}

/// What `netqosctl set` calls a direction.
const fn word(direction: Direction) -> &'static str {
    match direction {
        Direction::FromGuest => "from-guest",
        Direction::ToGuest => "to-guest",
    }
}

/// The keys of a class that can be set live, and their values.
pub(super) fn settings(limits: &Limits) -> Vec<(&'static str, String)> {
    let settings = [
        ("rate", limits.rate.map(|rate| rate.to_string())),
        ("burst", limits.burst.map(|burst| burst.to_string())),
        ("ceil", limits.ceil.map(|ceil| ceil.to_string())),
        ("cburst", limits.cburst.map(|burst| burst.to_string())),
        ("pps", limits.pps.map(|pps| pps.to_string())),
        ("ppsburst", limits.pps_burst.map(|burst| burst.to_string())),
        ("weight", limits.weight.map(|weight| weight.to_string())),
        ("prio", (limits.prio > 0).then(|| limits.prio.to_string())),
    ];
    let given = |(key, value): (_, Option<String>)| Some((key, value?));
    settings.into_iter().filter_map(given).collect()
}
