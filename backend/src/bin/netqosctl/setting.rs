//! What a command line says of guests, classes and settings, as far as it can be judged without a daemon.

use std::fmt::Display;
use std::str::FromStr;

use netqos::args::MacAddr;
use qos::{Burst, PacketBurst, PacketRate, RateSpec};
use thiserror::Error;

/// The keys that `netqosctl set` takes: those of a class whose value is one word.
pub(crate) const KEYS: [&str; 14] = [
    "rate", "ceil", "weight", "prio", "burst", "cburst", "pps", "ppsburst", "overhead", "mpu",
    "quantum", "pace", "queue", "fifo",
];

/// A word that cannot be meant.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub(crate) enum WordError {
    /// Nothing that a setting could be.
    #[error("write KEY=VALUE, such as ceil=100mbit")]
    NoSetting,
    /// A key that classes do not have.
    #[error("there is no key `{key}`: {hint}")]
    Key {
        /// What was written.
        key: String,
        /// What to write.
        hint: String,
    },
    /// A value that is not spelt as its key wants it.
    #[error("{0}")]
    Value(String),
    /// No guest is named.
    #[error("write the name of a guest, and if it is about one of its classes GUEST/CLASS")]
    NoGuest,
}

/// `` did you mean `NAME`? `` or, if nothing is near, which there are.
pub(crate) fn hint(word: &str, known: &[&str]) -> String {
    match nearest(word, known) {
        Some(nearest) => format!("did you mean `{nearest}`?"),
        None => format!("write one of {}", known.join(", ")),
    }
}

/// The known word that a mistyped one probably is.
fn nearest<'a>(word: &str, known: &[&'a str]) -> Option<&'a str> {
    let word = word.to_ascii_lowercase();
    let distance = |known: &&str| strsim::damerau_levenshtein(&word, known);
    let near = known.iter().map(|name| (distance(name), *name)).min()?;
    let most = word.chars().count().div_ceil(3);
    (near.0 <= most).then_some(near.1)
}

/// A guest, or one of its classes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    pub(crate) guest: String,
    pub(crate) class: Option<String>,
}

impl FromStr for Target {
    type Err = WordError;

    /// No guest's name has a slash, so what is before the first one is the guest.
    fn from_str(text: &str) -> Result<Self, WordError> {
        let split = text.split_once('/').or_else(|| text.split_once(':'));
        let (guest, class) = split.unwrap_or((text, ""));
        if guest.is_empty() {
            return Err(WordError::NoGuest);
        }
        Ok(Self {
            guest: guest.to_owned(),
            class: (!class.is_empty()).then(|| class.to_owned()),
        })
    }
}

/// A key and what it is to be; none for what is to be as if it had not been written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Setting {
    pub(crate) key: String,
    pub(crate) value: Option<String>,
}

impl FromStr for Setting {
    type Err = WordError;

    fn from_str(text: &str) -> Result<Self, WordError> {
        let (key, value) = text.split_once('=').ok_or(WordError::NoSetting)?;
        if !KEYS.contains(&key) {
            return Err(WordError::Key {
                key: key.to_owned(),
                hint: hint(key, &KEYS),
            });
        }
        let limit = matches!(key, "rate" | "ceil" | "pps");
        let value = match value {
            "" => None,
            "none" if !limit => None,
            value => Some(value.to_owned()),
        };
        match value.as_deref() {
            None | Some("none") => {}
            Some(value) => spelt(key, value)?,
        }
        Ok(Self {
            key: key.to_owned(),
            value,
        })
    }
}

/// Whether a value is spelt as the daemon reads it.
fn spelt(key: &str, value: &str) -> Result<(), WordError> {
    match key {
        "rate" | "ceil" => check::<RateSpec>(value),
        "burst" | "cburst" => check::<Burst>(value),
        "pps" => check::<PacketRate>(value),
        "ppsburst" => check::<PacketBurst>(value),
        "weight" | "mpu" | "quantum" | "fifo" => number::<u32>(value),
        "prio" => number::<u8>(value),
        "overhead" => number::<i32>(value),
        "pace" => one_of(value, &["true", "false"]),
        "queue" => one_of(value, &["hold", "fifo", "flows"]),
        _ => Ok(()),
    }
}

fn check<T: FromStr<Err: Display>>(value: &str) -> Result<(), WordError> {
    match value.parse::<T>() {
        Ok(_) => Ok(()),
        Err(error) => Err(WordError::Value(error.to_string())),
    }
}

fn number<T: FromStr>(value: &str) -> Result<(), WordError> {
    match value.parse::<T>() {
        Ok(_) => Ok(()),
        Err(_) => Err(WordError::Value(format!("`{value}` is not such a number"))),
    }
}

fn one_of(value: &str, known: &[&str]) -> Result<(), WordError> {
    if known.contains(&value) {
        return Ok(());
    }
    Err(WordError::Value(hint(value, known)))
}

/// A rate as the daemon's file has it.
pub(crate) fn rate(text: &str) -> Result<String, WordError> {
    check::<RateSpec>(text)?;
    Ok(text.to_owned())
}

/// A guest's address as the daemon's file has it.
pub(crate) fn mac(text: &str) -> Result<String, WordError> {
    check::<MacAddr>(text)?;
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn setting(key: &str, value: Option<&str>) -> Setting {
        Setting {
            key: key.to_owned(),
            value: value.map(str::to_owned),
        }
    }

    #[test]
    fn settings_are_keys_and_values_as_the_file_has_them() {
        for (text, expected) in [
            ("rate=10mbit", setting("rate", Some("10mbit"))),
            ("ceil=none", setting("ceil", Some("none"))),
            ("ceil=", setting("ceil", None)),
            ("weight=none", setting("weight", None)),
            ("prio=3", setting("prio", Some("3"))),
            ("cburst=10ms", setting("cburst", Some("10ms"))),
            ("queue=flows", setting("queue", Some("flows"))),
        ] {
            assert_eq!(text.parse(), Ok(expected), "{text}");
        }
    }

    #[test]
    fn a_wrong_word_is_answered_with_the_right_one() {
        for (text, hint) in [
            ("rat=1mbit", "there is no key `rat`: did you mean `rate`?"),
            (
                "cbrust=1k",
                "there is no key `cbrust`: did you mean `cburst`?",
            ),
            ("colour=red", "write one of rate, ceil, weight"),
            ("rate", "write KEY=VALUE"),
            ("ceil=10mbits", "10mbits"),
            ("prio=high", "`high` is not such a number"),
            ("queue=flow", "did you mean `flows`?"),
        ] {
            let error = text.parse::<Setting>().unwrap_err().to_string();
            assert!(error.contains(hint), "{text}: {error}");
        }
    }

    #[test]
    fn every_key_is_one_of_the_file() {
        let schema = netqos::config::schema();
        for key in KEYS {
            assert!(
                schema["$defs"]["ClassKeys"]["properties"][key].is_object(),
                "{key}"
            );
        }
    }

    #[test]
    fn a_target_is_a_guest_or_one_of_its_classes() {
        for (text, guest, class) in [
            ("vm1", "vm1", None),
            ("vm1/voice", "vm1", Some("voice")),
            ("vm1:voice", "vm1", Some("voice")),
            ("a:b/", "a:b", None),
            ("a:b/c:d", "a:b", Some("c:d")),
        ] {
            let target: Target = text.parse().unwrap();
            assert_eq!(
                (target.guest.as_str(), target.class.as_deref()),
                (guest, class)
            );
        }
        assert_eq!("/voice".parse::<Target>(), Err(WordError::NoGuest));
    }
}
