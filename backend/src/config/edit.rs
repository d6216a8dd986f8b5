//! Changes to a configuration that is served already: what `netqosctl set` and `guest` ask for.

use std::collections::BTreeMap;
use std::path::Path;

use qos::{ClassConfig, Framing, Overcommit, TreeConfig};
use thiserror::Error;

use super::fault::{Known, name_fault};
use super::words::in_words;
use super::{Config, Direction, GUEST, GuestConfig, GuestTree};
use crate::args::FrontEnd;
use crate::file::FileError;
use crate::file::settings::{FlowsKeys, Limit, QueueKey, Spelt, class_keys};
use crate::file::text::{At, Text};

/// Keys whose values are not text.
const NUMBERS: [&str; 5] = ["weight", "prio", "overhead", "mpu", "quantum"];

/// Keys that say what a class is made of, which cannot change while frames wait in it.
const FIXED: [&str; 3] = ["queue", "fifo", "flows"];

/// Why a change cannot be. Nothing has changed then.
#[derive(Debug, Error)]
pub enum EditError {
    /// A guest that is not served.
    #[error("there is no guest {0}")]
    NoGuest(Known),
    /// A class that the guest does not have.
    #[error("guest `{guest}` has no such class {direction}: {known}")]
    NoClass {
        /// The guest.
        guest: String,
        /// In which tree.
        direction: &'static str,
        /// The class.
        known: Known,
    },
    /// A setting that cannot be, in the words of the file.
    #[error("{0}")]
    Setting(#[from] FileError),
    /// A setting that only the file can change.
    #[error("`{0}` cannot be changed while it is in use: write it into the file, and reload")]
    Fixed(String),
    /// No setting is named.
    #[error("nothing is to be set: name a setting and its value, such as ceil and 50mbit")]
    Nothing,
    /// The tree may not run then.
    #[error("{0}")]
    Refused(String),
    /// A guest of this name is there.
    #[error("guest `{0}` is there already: delete it first, or set what is to be different")]
    Exists(String),
    /// Something that is one guest's alone is another's.
    #[error("the {what} of `{guest}` is that of guest `{owner}` already: give each its own")]
    Taken {
        /// What it is.
        what: &'static str,
        /// The new guest.
        guest: String,
        /// Who has it.
        owner: String,
    },
    /// An uplink that is not served.
    #[error("there is no uplink {0}")]
    NoUplink(Known),
    /// The tables for a guest are not TOML, or its name cannot be.
    #[error("the keys of guest `{guest}`: {reason}")]
    Keys {
        /// The guest.
        guest: String,
        /// What is wrong.
        reason: String,
    },
}

class_keys! {
    /// The settings that can be set.
    SetKeys {}
}

impl Config {
    /// Changes settings of a guest, or of one of its classes; those without a value are as if they had not
    /// been written.
    ///
    /// # Errors
    /// There is no such guest, class or setting, or the whole could not run.
    pub fn set(
        &mut self,
        guest: &str,
        class: Option<&str>,
        direction: Direction,
        settings: &BTreeMap<String, Option<String>>,
    ) -> Result<(), EditError> {
        if settings.is_empty() {
            return Err(EditError::Nothing);
        }
        let position = self.position(guest)?;
        let Some(found) = self.guests.get_mut(position) else {
            return Ok(());
        };
        let tree = match direction {
            Direction::FromGuest => &mut found.from_guest,
            Direction::ToGuest => &mut found.to_guest,
        };
        tree.set(guest, class, direction, settings)?;
        self.admit()
            .map_err(|refusal| EditError::Refused(refusal.fault.to_string()))
    }

    /// Takes a guest out.
    ///
    /// # Errors
    /// There is no such guest.
    pub fn remove_guest(&mut self, guest: &str) -> Result<(), EditError> {
        let position = self.position(guest)?;
        self.guests.remove(position);
        Ok(())
    }

    /// Takes a guest over from another configuration, behind the uplink of the same name.
    ///
    /// # Errors
    /// Either has no such guest or uplink, what it has is another guest's, or the whole could not run.
    pub fn add_guest(&mut self, guest: &str, from: &Self) -> Result<(), EditError> {
        if self.guests.iter().any(|other| other.name == guest) {
            return Err(EditError::Exists(guest.to_owned()));
        }
        let position = from.position(guest)?;
        let Some(mut new) = from.guests.get(position).cloned() else {
            return Ok(());
        };
        let uplink = from.uplinks.get(new.uplink);
        let uplink = uplink.map_or("", |uplink| uplink.name.as_str());
        let known = self.uplinks.iter().map(|uplink| uplink.name.as_str());
        let place = known.clone().position(|known| known == uplink);
        new.uplink = place.ok_or_else(|| EditError::NoUplink(Known::new(uplink, known)))?;
        for other in &self.guests {
            if let Some(what) = in_common(&new, other) {
                return Err(EditError::Taken {
                    what,
                    guest: guest.to_owned(),
                    owner: other.name.clone(),
                });
            }
        }
        self.guests.push(new);
        self.admit()
            .map_err(|refusal| EditError::Refused(refusal.fault.to_string()))
    }

    /// Where a guest is in [`Config::guests`].
    ///
    /// # Errors
    /// There is none of this name; the message has the nearest one.
    pub fn position(&self, guest: &str) -> Result<usize, EditError> {
        let known = self.guests.iter().map(|guest| guest.name.as_str());
        let position = known.clone().position(|known| known == guest);
        position.ok_or_else(|| EditError::NoGuest(Known::new(guest, known)))
    }
}

/// What two guests cannot both have.
fn in_common(one: &GuestConfig, other: &GuestConfig) -> Option<&'static str> {
    let socket = |guest: &GuestConfig| match &guest.front_end {
        FrontEnd::Listen { path, .. } | FrontEnd::Connect { path } => Some(path.clone()),
        FrontEnd::Fd(_) => None,
    };
    let same = |what, same: bool| same.then_some(what);
    same("MAC address", one.mac.is_some() && one.mac == other.mac).or_else(|| {
        let sockets = (socket(one), socket(other));
        same("socket", sockets.0.is_some() && sockets.0 == sockets.1)
    })
}

/// The text of a file with one guest: `keys` is what its table says.
///
/// # Errors
/// The name cannot be a guest's, or the keys are not TOML.
pub fn guest_file(guest: &str, keys: &str) -> Result<String, EditError> {
    let wrong = |reason: String| EditError::Keys {
        guest: guest.to_owned(),
        reason,
    };
    if let Some(fault) = name_fault(guest) {
        return Err(wrong(fault.to_string()));
    }
    let keys: toml::Table =
        toml::from_str(keys).map_err(|error| wrong(error.message().to_owned()))?;
    if keys.contains_key("count") {
        return Err(wrong(
            "count is for many guests: add them one by one".to_owned(),
        ));
    }
    let table = |name: &str, value: toml::Table| {
        toml::Table::from_iter([(name.to_owned(), toml::Value::Table(value))])
    };
    let file = table("guest", table(guest, keys));
    toml::to_string(&file).map_err(|error| wrong(error.to_string()))
}

impl GuestTree {
    fn set(
        &mut self,
        guest: &str,
        class: Option<&str>,
        direction: Direction,
        settings: &BTreeMap<String, Option<String>>,
    ) -> Result<(), EditError> {
        let id = match class {
            None => GUEST,
            Some(class) => {
                let known = self.names.values().map(String::as_str);
                let id = self.names.iter().find(|(_, name)| *name == class);
                *id.ok_or_else(|| EditError::NoClass {
                    guest: guest.to_owned(),
                    direction: direction.key(),
                    known: Known::new(class, known),
                })?
                .0
            }
        };
        if let Some(class) = self.classes.iter_mut().find(|class| class.id == id) {
            *class = edited(class, settings)?;
        }
        let tree = TreeConfig {
            // Sums and bursts are held against the uplink, with all guests.
            overcommit: Overcommit::Scale,
            unit_wire_bytes: 1,
            ..TreeConfig::new(self.classes.clone())
        };
        tree.check().map_err(|error| {
            let name = |id| match self.name(id) {
                Some(class) => format!("class `{class}` of guest `{guest}`"),
                None => format!("guest `{guest}`"),
            };
            EditError::Refused(in_words(&error.to_string(), name))
        })
    }
}

/// The class with other settings.
fn edited(
    class: &ClassConfig,
    settings: &BTreeMap<String, Option<String>>,
) -> Result<ClassConfig, EditError> {
    let mut written = toml::Table::new();
    for (key, value) in settings {
        if FIXED.contains(&key.as_str()) {
            return Err(EditError::Fixed(key.clone()));
        }
        // A key that is not known is found when it is read, so it is written even without a value.
        let value = value.as_deref().unwrap_or("none");
        let number = NUMBERS.contains(&key.as_str()).then(|| value.parse().ok());
        let toml = match (number.flatten(), value.parse()) {
            (Some(number), _) => toml::Value::Integer(number),
            (None, Ok(truth)) => toml::Value::Boolean(truth),
            (None, Err(_)) => toml::Value::String(value.to_owned()),
        };
        written.insert(key.clone(), toml);
    }
    // Those that are to be unset need not have a spelling for that, once they are known to exist.
    let known = |key: &str| key_names().contains(&key);
    written.retain(|key, _| !known(key) || settings.get(key).is_some_and(Option::is_some));
    let text = toml::to_string(&written).map_err(|error| EditError::Refused(error.to_string()))?;
    let source = Text::new(Path::new("(set)"), text);
    let keys: SetKeys = source.keys()?;
    let wanted = keys.settings(&source).class(class.id, QueueKey::Hold)?;
    let is_set = |key: &str| settings.contains_key(key);
    let mut edited = class.clone();
    if is_set("rate") {
        edited.rate = wanted.rate;
    }
    if is_set("ceil") {
        edited.ceil = wanted.ceil;
    }
    // A rate can have its own burst in its spelling.
    if is_set("burst") || wanted.burst != qos::Burst::Auto {
        edited.burst = wanted.burst;
    }
    if is_set("cburst") || wanted.cburst != qos::Burst::Auto {
        edited.cburst = wanted.cburst;
    }
    if is_set("weight") {
        edited.weight = wanted.weight;
    }
    if is_set("prio") {
        edited.prio = wanted.prio;
    }
    if is_set("pps") {
        edited.pps = wanted.pps;
    }
    if is_set("ppsburst") {
        edited.pps_burst = wanted.pps_burst;
    }
    if is_set("quantum") {
        edited.quantum = wanted.quantum;
    }
    if is_set("pace") {
        edited.pace = wanted.pace;
    }
    if is_set("overhead") || is_set("mpu") {
        edited.framing = framing(class.framing, wanted.framing, &is_set);
    }
    Ok(edited)
}

/// How frames are charged when one of the two figures is written anew.
fn framing(
    before: Option<Framing>,
    wanted: Option<Framing>,
    is_set: &impl Fn(&str) -> bool,
) -> Option<Framing> {
    let usual = Framing::ETHERNET;
    let (before, wanted) = (before.unwrap_or(usual), wanted.unwrap_or(usual));
    let framing = Framing {
        overhead: if is_set("overhead") {
            wanted.overhead
        } else {
            before.overhead
        },
        mpu: if is_set("mpu") {
            wanted.mpu
        } else {
            before.mpu
        },
    };
    (framing != usual).then_some(framing)
}

/// The keys that can be set.
const fn key_names() -> [&'static str; 12] {
    [
        "rate", "ceil", "weight", "prio", "burst", "cburst", "pps", "ppsburst", "overhead", "mpu",
        "quantum", "pace",
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = r#"
[uplink.wan]
kind = "none"
from_guest = { ceil = "100mbit" }
[guest.web]
socket = "/run/web.sock"
mac = "52:54:00:00:00:01"
[guest.web.from_guest]
rate = "10mbit"
ceil = "50mbit"
default = "bulk"
[[guest.web.from_guest.class]]
name = "voice"
rate = "1mbit"
[[guest.web.from_guest.class]]
name = "bulk"
[guest.db]
socket = "/run/db.sock"
"#;

    fn config() -> Config {
        Config::parse(Path::new("sample.toml"), FILE).unwrap()
    }

    fn set(
        guest: &str,
        class: Option<&str>,
        settings: &[(&str, Option<&str>)],
    ) -> Result<Config, String> {
        let mut config = config();
        let settings = settings
            .iter()
            .map(|(key, value)| ((*key).to_owned(), value.map(str::to_owned)))
            .collect();
        let set = config.set(guest, class, Direction::FromGuest, &settings);
        set.map(|()| config).map_err(|error| error.to_string())
    }

    #[test]
    fn settings_are_as_if_the_file_had_said_them() {
        let edited = set(
            "web",
            None,
            &[("ceil", Some("20mbit")), ("weight", Some("7"))],
        )
        .unwrap();
        let file = FILE.replace("ceil = \"50mbit\"", "ceil = \"20mbit\"\nweight = 7");
        assert_eq!(
            edited,
            Config::parse(Path::new("sample.toml"), &file).unwrap()
        );
        let edited = set("web", Some("voice"), &[("rate", None), ("prio", Some("1"))]).unwrap();
        let file = FILE.replace("rate = \"1mbit\"", "prio = 1");
        assert_eq!(
            edited,
            Config::parse(Path::new("sample.toml"), &file).unwrap()
        );
        let edited = set(
            "db",
            None,
            &[("ceil", Some("10Mb/s@20ms")), ("pps", Some("5000"))],
        );
        let file = format!("{FILE}from_guest = {{ ceil = \"10Mb/s@20ms\", pps = 5000 }}\n");
        assert_eq!(
            edited.unwrap(),
            Config::parse(Path::new("sample.toml"), &file).unwrap()
        );
    }

    #[test]
    fn framing_and_pace_are_set_and_unset() {
        let settings = [("overhead", Some("4")), ("pace", Some("true"))];
        let edited = set("web", None, &settings).unwrap();
        let own = &edited.guests[0].from_guest.classes[0];
        assert_eq!(
            own.framing,
            Some(Framing {
                overhead: 4,
                mpu: Framing::ETHERNET.mpu
            })
        );
        assert!(own.pace);
        let mut again = edited;
        let unset = BTreeMap::from([("overhead".to_owned(), None), ("pace".to_owned(), None)]);
        again
            .set("web", None, Direction::FromGuest, &unset)
            .unwrap();
        assert_eq!(again, config());
    }

    #[test]
    fn what_cannot_be_is_refused_with_what_was_meant() {
        let ceil = [("ceil", Some("1mbit"))];
        for (outcome, said) in [
            (set("wbe", None, &ceil), "did you mean `web`?"),
            (set("web", Some("voise"), &ceil), "did you mean `voice`?"),
            (set("web", None, &[("ciel", Some("1mbit"))]), "`ceil`"),
            (set("web", None, &[("ciel", None)]), "`ceil`"),
            (set("web", None, &[("ceil", Some("1mbti"))]), "mbit"),
            (set("web", None, &[("ceil", Some("0"))]), "0"),
            (set("web", None, &[("weight", Some("much"))]), "weight"),
            (
                set("web", None, &[("queue", Some("fifo"))]),
                "write it into the file",
            ),
            (set("web", None, &[]), "nothing is to be set"),
            (set("web", None, &ceil), "guest `web`"),
            (set("db", None, &[("rate", Some("95mbit"))]), "uplink `wan`"),
        ] {
            let why = outcome.unwrap_err();
            assert!(why.contains(said), "{why} should say {said}");
        }
    }

    #[test]
    fn guests_come_and_go() {
        let mut config = config();
        config.remove_guest("db").unwrap();
        assert_eq!(config.guests.len(), 1);
        let text = guest_file(
            "new",
            "socket = \"/run/{name}.sock\"\nfrom_guest = { ceil = \"5mbit\" }",
        );
        let file = format!("{FILE}{}", text.unwrap());
        let from = Config::parse(Path::new("sample.toml"), &file).unwrap();
        config.add_guest("new", &from).unwrap();
        config.add_guest("db", &from).unwrap();
        let names: Vec<_> = config
            .guests
            .iter()
            .map(|guest| guest.name.as_str())
            .collect();
        assert_eq!(names, ["web", "new", "db"]);
        let again = config.add_guest("new", &from).unwrap_err().to_string();
        assert!(again.contains("is there already"), "{again}");
    }

    #[test]
    fn what_is_one_guests_alone_stays_so() {
        let mut config = config();
        let mut from = config.clone();
        from.guests[1].name = "twin".to_owned();
        let same = config.add_guest("twin", &from).unwrap_err().to_string();
        assert!(same.contains("socket") && same.contains("`db`"), "{same}");
        from.uplinks[0].name = "lan".to_owned();
        let elsewhere = config.add_guest("twin", &from).unwrap_err().to_string();
        assert!(elsewhere.contains("no uplink `lan`"), "{elsewhere}");
    }

    #[test]
    fn the_keys_of_a_guest_cannot_be_those_of_a_file() {
        let file = guest_file("a", "[uplink.b]\nkind = \"none\"").unwrap();
        assert!(file.contains("[guest.a.uplink.b]"), "{file}");
        for (name, keys) in [("a b", ""), ("a", "count = 3"), ("a", "x = = 1"), ("", "")] {
            assert!(guest_file(name, keys).is_err(), "{name} {keys}");
        }
    }
}
