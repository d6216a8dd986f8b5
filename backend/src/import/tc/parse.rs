//! Reads lines of tc, as it takes and as it prints them.

use std::fmt::Display;
use std::str::FromStr;

use qos::{Burst, ClassId, Framing, Rate};

use super::{Device, HtbClass};
use crate::import::error::{hint, short};
use crate::import::words::words;
use crate::import::{ImportError, Limits, Place};

/// What `tc -s` prints below a class or qdisc.
const STATISTICS: &[&str] = &["Sent", "backlog", "rate", "lended:", "tokens:"];

/// Keys of an HTB class.
const CLASS_KEYS: &[&str] = &[
    "dev",
    "parent",
    "classid",
    "root",
    "leaf",
    "prio",
    "quantum",
    "rate",
    "ceil",
    "burst",
    "buffer",
    "maxburst",
    "cburst",
    "cbuffer",
    "mtu",
    "mpu",
    "overhead",
    "linklayer",
    "level",
];

/// Keys of a token bucket filter.
const TBF_KEYS: &[&str] = &[
    "dev",
    "parent",
    "handle",
    "root",
    "refcnt",
    "rate",
    "burst",
    "buffer",
    "maxburst",
    "limit",
    "latency",
    "lat",
    "peakrate",
    "mtu",
    "minburst",
    "mpu",
    "overhead",
    "linklayer",
];

/// What was read so far.
#[derive(Debug, Default)]
pub(super) struct Parser {
    pub(super) devices: Vec<Device>,
    pub(super) notes: Vec<String>,
    /// The device of `tc class show dev`, whose output does not name it.
    shown: Option<String>,
}

/// The words of a line that are left.
struct Words {
    place: Place,
    words: std::vec::IntoIter<String>,
}

impl Words {
    fn next(&mut self) -> Option<String> {
        self.words.next()
    }

    /// The value after a key.
    fn value(&mut self, key: &str) -> Result<String, ImportError> {
        let place = self.place.key(key);
        let value = self.words.next();
        value.ok_or_else(|| place.value(key, "write a value after it"))
    }

    fn parsed<T: FromStr<Err: Display>>(&mut self, key: &str) -> Result<T, ImportError> {
        let value = self.value(key)?;
        let place = self.place.key(key);
        value.parse().map_err(|error| place.value(&value, error))
    }

    /// A size, which may say its cell after a slash.
    fn burst(&mut self, key: &str) -> Result<Burst, ImportError> {
        let value = self.value(key)?;
        let size = value.split('/').next().unwrap_or("");
        let place = self.place.key(key);
        match size.parse() {
            Ok(Burst::Bytes(bytes)) => Ok(Burst::Bytes(bytes)),
            Ok(_) => Err(place.value(&value, "write a size, such as 15k")),
            Err(error) => Err(place.value(&value, error)),
        }
    }

    /// Bytes, which tc prints with a `b`.
    fn bytes<T: TryFrom<i64>>(&mut self, key: &str) -> Result<T, ImportError> {
        let value = self.value(key)?;
        let digits = value.strip_suffix('b').unwrap_or(&value);
        let number: Option<i64> = digits.parse().ok();
        let bytes = number.and_then(|number| T::try_from(number).ok());
        let place = self.place.key(key);
        bytes.ok_or_else(|| place.value(&value, "write a number of bytes"))
    }

    /// A class, or nothing for the qdisc itself.
    fn id(&mut self, key: &str) -> Result<Option<ClassId>, ImportError> {
        let value = self.value(key)?;
        let whole = match value.strip_suffix(':') {
            Some(major) => format!("{major}:0"),
            None => value.clone(),
        };
        let place = self.place.key(key);
        let id: ClassId = whole.parse().map_err(|error| place.value(&value, error))?;
        Ok((id.minor != 0).then_some(id))
    }
}

impl Parser {
    /// Reads one line.
    pub(super) fn line(&mut self, line: usize, text: &str) -> Result<(), ImportError> {
        let place = Place::line(line);
        let mut words = Words {
            words: words(&place, text)?.into_iter(),
            place,
        };
        let Some(first) = words.next() else {
            return Ok(());
        };
        match first.as_str() {
            "tc" | "/sbin/tc" | "/usr/sbin/tc" => self.command(words, text),
            "class" => self.printed_class(words, text),
            "qdisc" => self.printed_qdisc(words, text),
            word if STATISTICS.contains(&word) => Ok(()),
            word => Err(ImportError::Syntax {
                place: words.place,
                what: "a line of tc",
                message: format!("it begins with `{word}`, and not with tc, class or qdisc"),
            }),
        }
    }

    fn command(&mut self, mut words: Words, text: &str) -> Result<(), ImportError> {
        let mut object = words.next();
        while object.as_ref().is_some_and(|word| word.starts_with('-')) {
            object = words.next();
        }
        let verb = words.next().unwrap_or_default();
        match (object.as_deref(), verb.as_str()) {
            (_, "show" | "list" | "ls") => {
                let mut rest = words.words;
                self.shown = rest.find(|word| word == "dev").and_then(|_| rest.next());
                Ok(())
            }
            (Some("class"), "add" | "change" | "replace") => self.class(words, None, text),
            (Some("qdisc"), "add" | "change" | "replace") => self.qdisc(words, text),
            _ => {
                self.notes.push(format!("{}: no equal", short(text)));
                Ok(())
            }
        }
    }

    fn printed_class(&mut self, mut words: Words, text: &str) -> Result<(), ImportError> {
        let kind = words.value("class")?;
        if kind != "htb" {
            self.notes.push(format!("{}: no equal", short(text)));
            return Ok(());
        }
        let id = words.id("classid")?;
        self.class(words, id, text)
    }

    /// The rest of a class, whose id and kind are among it unless given.
    fn class(
        &mut self,
        mut words: Words,
        printed: Option<ClassId>,
        text: &str,
    ) -> Result<(), ImportError> {
        let mut device = self.shown.clone();
        let (mut id, mut parent, mut is_htb) = (printed, None, printed.is_some());
        let (mut rate, mut linklayer) = (None, None);
        let mut class = HtbClass {
            line: words.place.line.unwrap_or(0),
            id: ClassId::new(0, 0),
            parent: None,
            rate: Rate::MIN,
            ceil: None,
            burst: None,
            cburst: None,
            prio: 0,
            quantum: None,
            framing: Framing {
                overhead: 0,
                mpu: 0,
            },
            notes: Vec::new(),
        };
        while let Some(word) = words.next() {
            match word.as_str() {
                "dev" => device = Some(words.value("dev")?),
                "root" => parent = None,
                "parent" => parent = words.id("parent")?,
                "classid" => id = words.id("classid")?,
                "htb" => is_htb = true,
                _ if !is_htb => {
                    self.notes.push(format!("{}: no equal", short(text)));
                    return Ok(());
                }
                "rate" => rate = Some(words.parsed("rate")?),
                "ceil" => class.ceil = Some(words.parsed("ceil")?),
                "burst" | "buffer" | "maxburst" => class.burst = Some(words.burst("burst")?),
                "cburst" | "cbuffer" => class.cburst = Some(words.burst("cburst")?),
                "prio" => class.prio = words.parsed("prio")?,
                "quantum" => class.quantum = Some(words.bytes("quantum")?),
                "overhead" => class.framing.overhead = words.bytes("overhead")?,
                "mpu" => class.framing.mpu = words.bytes("mpu")?,
                "linklayer" => linklayer = Some(words.value("linklayer")?),
                "leaf" | "mtu" | "level" => drop(words.value(&word)?),
                _ => return Err(unknown(&words.place, word, CLASS_KEYS)),
            }
        }
        let missing = |what, hint| {
            let place = words.place.clone();
            ImportError::Missing { place, what, hint }
        };
        class.id = id.ok_or_else(|| missing("classid", "a class has one, such as 1:10"))?;
        class.rate = rate.ok_or_else(|| missing("rate", "an HTB class has one"))?;
        class.parent = parent;
        note_linklayer(linklayer, &mut class.notes);
        let device = self.device(device, class.line);
        // A change says all of a class again.
        device.classes.retain(|known| known.id != class.id);
        device.classes.push(class);
        Ok(())
    }

    fn printed_qdisc(&mut self, mut words: Words, text: &str) -> Result<(), ImportError> {
        let kind = words.value("qdisc")?;
        let handle = words.next();
        let mut rest = handle.into_iter().collect::<Vec<_>>();
        rest.retain(|word| !word.ends_with(':'));
        rest.extend(words.words);
        // As the command has it: where, then what.
        let options = rest.iter().position(|word| !is_place(word, &rest));
        let at = options.unwrap_or(rest.len());
        rest.insert(at, kind);
        let words = Words {
            words: rest.into_iter(),
            place: words.place,
        };
        self.qdisc(words, text)
    }

    fn qdisc(&mut self, mut words: Words, text: &str) -> Result<(), ImportError> {
        let mut device = self.shown.clone();
        let mut is_root = false;
        while let Some(word) = words.next() {
            match word.as_str() {
                "dev" => device = Some(words.value("dev")?),
                "root" => is_root = true,
                "parent" | "handle" | "refcnt" => drop(words.value(&word)?),
                "htb" if is_root => return self.htb(device, words),
                "tbf" if is_root => return self.tbf(device, words),
                _ => break,
            }
        }
        self.notes.push(format!("{}: no equal", short(text)));
        Ok(())
    }

    fn htb(&mut self, device: Option<String>, mut words: Words) -> Result<(), ImportError> {
        let mut default = None;
        while let Some(word) = words.next() {
            if word != "default" {
                continue;
            }
            let value = words.value("default")?;
            let digits = value.strip_prefix("0x").unwrap_or(&value);
            let minor = u16::from_str_radix(digits, 16);
            let place = words.place.key("default");
            let minor = minor.map_err(|_| place.value(&value, "write a class's minor number"))?;
            default = (minor > 0).then_some(minor);
        }
        let line = words.place.line.unwrap_or(0);
        self.device(device, line).default = default;
        Ok(())
    }

    fn tbf(&mut self, device: Option<String>, mut words: Words) -> Result<(), ImportError> {
        let mut framing = Framing {
            overhead: 0,
            mpu: 0,
        };
        let mut limits = Limits::default();
        let mut linklayer = None;
        while let Some(word) = words.next() {
            match word.as_str() {
                "root" => {}
                "rate" => limits.ceil = Some(words.parsed("rate")?),
                "burst" | "buffer" | "maxburst" => limits.cburst = Some(words.burst("burst")?),
                "overhead" => framing.overhead = words.bytes("overhead")?,
                "mpu" => framing.mpu = words.bytes("mpu")?,
                "linklayer" => linklayer = Some(words.value("linklayer")?),
                "peakrate" => {
                    let peak = words.value("peakrate")?;
                    limits.note(format!(
                        "peakrate {peak}: no equal; pace = true spreads frames"
                    ));
                }
                "latency" | "lat" | "limit" => {
                    let value = words.value(&word)?;
                    limits.note(format!("{word} {value}: no equal; write flows = {{ ... }}"));
                }
                "mtu" | "minburst" | "refcnt" => drop(words.value(&word)?),
                _ => return Err(unknown(&words.place, word, TBF_KEYS)),
            }
        }
        if limits.ceil.is_none() {
            let place = words.place;
            let (what, hint) = ("rate", "a token bucket filter has one");
            return Err(ImportError::Missing { place, what, hint });
        }
        limits.framing = Some(framing);
        note_linklayer(linklayer, &mut limits.notes);
        let line = words.place.line.unwrap_or(0);
        self.device(device, line).tbf = Some(limits);
        Ok(())
    }

    fn device(&mut self, name: Option<String>, line: usize) -> &mut Device {
        let known = self.devices.iter().position(|device| device.name == name);
        let at = known.unwrap_or(self.devices.len());
        if known.is_none() {
            self.devices.push(Device {
                name,
                line,
                ..Device::default()
            });
        }
        // It is there, or was just put there.
        let last = self.devices.len().saturating_sub(1);
        &mut self.devices[at.min(last)]
    }
}

/// Whether a printed word says where a qdisc is, or is the value of one that does.
fn is_place(word: &str, words: &[String]) -> bool {
    let keys = ["dev", "parent", "refcnt"];
    let before = words.iter().position(|known| known == word);
    let before = before.and_then(|at| words.get(at.checked_sub(1)?));
    word == "root"
        || keys.contains(&word)
        || before.is_some_and(|before| keys.contains(&before.as_str()))
}

fn unknown(place: &Place, name: String, known: &[&str]) -> ImportError {
    ImportError::Unknown {
        place: place.clone(),
        what: "key",
        hint: hint(&name, known),
        name,
    }
}

fn note_linklayer(linklayer: Option<String>, notes: &mut Vec<String>) {
    if let Some(linklayer) = linklayer.filter(|it| it != "ethernet") {
        notes.push(format!(
            "linklayer {linklayer}: no equal; its cells are not counted"
        ));
    }
}
