//! As much of Open vSwitch's database as was given.

use std::collections::BTreeMap;

use crate::import::error::hint;
use crate::import::words::{pairs, unquoted};
use crate::import::{ImportError, Place};

/// The tables that say something about limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Table {
    Interface,
    Port,
    Qos,
    Queue,
    /// Any other.
    Other,
}

impl Table {
    const NAMES: [(&'static str, Self); 4] = [
        ("interface", Self::Interface),
        ("port", Self::Port),
        ("qos", Self::Qos),
        ("queue", Self::Queue),
    ];

    /// The table of a name or an abbreviation of it, as ovs-vsctl takes them.
    pub(super) fn new(word: &str) -> Self {
        let word = word.to_ascii_lowercase();
        let fits = |(name, _): &&(&str, Self)| !word.is_empty() && name.starts_with(&word);
        Self::NAMES
            .iter()
            .find(fits)
            .map_or(Self::Other, |(_, table)| *table)
    }
}

/// A row.
#[derive(Clone, Debug)]
pub(super) struct Record {
    pub(super) table: Table,
    pub(super) line: usize,
    /// What other records call it: its UUID, its `@id` or its name.
    pub(super) ids: Vec<String>,
    columns: BTreeMap<String, String>,
}

/// The rows that were given.
#[derive(Clone, Debug, Default)]
pub(super) struct Database {
    records: Vec<Record>,
    pub(super) notes: Vec<String>,
}

impl Database {
    /// The record of this id, made if there is none.
    pub(super) fn record(&mut self, table: Table, id: &str, line: usize) -> &mut Record {
        let is = |record: &Record| record.table == table && record.ids.iter().any(|it| it == id);
        let known = self.records.iter().position(is);
        let at = known.unwrap_or(self.records.len());
        if known.is_none() {
            self.add(Record::new(table, id, line));
        }
        // It is there, or was just put there.
        let last = self.records.len().saturating_sub(1);
        &mut self.records[at.min(last)]
    }

    pub(super) fn add(&mut self, record: Record) {
        self.records.push(record);
    }

    pub(super) fn of(&self, table: Table) -> impl Iterator<Item = &Record> {
        self.records
            .iter()
            .filter(move |record| record.table == table)
    }

    /// The names of ports and interfaces, each once, and where they come first.
    pub(super) fn names(&self) -> Vec<(String, usize)> {
        let mut names: Vec<(String, usize)> = Vec::new();
        let records = self.records.iter();
        let named = records.filter(|it| matches!(it.table, Table::Interface | Table::Port));
        for record in named {
            let name = record.name();
            if names.iter().all(|(known, _)| *known != name) {
                names.push((name, record.line));
            }
        }
        names
    }

    pub(super) fn named(&self, table: Table, name: &str) -> Option<&Record> {
        self.of(table).find(|record| record.name() == name)
    }

    /// The record that another refers to.
    pub(super) fn referred(&self, table: Table, reference: &str) -> Option<&Record> {
        self.of(table)
            .find(|it| it.ids.iter().any(|id| id == reference))
    }

    /// Whether a port has this QoS.
    pub(super) fn has_port(&self, qos: &Record) -> bool {
        let mut ports = self.of(Table::Port);
        ports.any(|port| port.text("qos").is_some_and(|it| qos.ids.contains(&it)))
    }
}

impl Record {
    pub(super) fn new(table: Table, id: &str, line: usize) -> Self {
        Self {
            table,
            line,
            ids: vec![id.to_owned()],
            columns: BTreeMap::new(),
        }
    }

    /// Sets a column, or with a key the value of it in a map.
    pub(super) fn set_column(&mut self, column: &str, key: Option<&str>, value: &str) {
        let column = column.replace('-', "_");
        let Some(key) = key else {
            self.columns.insert(column, value.to_owned());
            return;
        };
        let map = self.columns.entry(column).or_default();
        let inner = map.strip_prefix('{').and_then(|map| map.strip_suffix('}'));
        let inner = inner.unwrap_or(map);
        let comma = if inner.is_empty() { "" } else { "," };
        *map = format!("{{{inner}{comma}{key}={value}}}");
    }

    /// Its name, or what refers to it.
    pub(super) fn name(&self) -> String {
        let name = self.text("name").filter(|name| !name.is_empty());
        let name = name
            .or_else(|| self.ids.first().cloned())
            .unwrap_or_default();
        name.trim_start_matches('@').to_owned()
    }

    pub(super) fn place(&self, column: &str) -> Place {
        let line = Place::line(self.line);
        match column {
            "" => line,
            column => line.key(column),
        }
    }

    /// A column as text; an empty set is an empty text.
    pub(super) fn text(&self, column: &str) -> Option<String> {
        let value = unquoted(self.columns.get(column)?);
        Some(if value == "[]" { "" } else { value }.to_owned())
    }

    pub(super) fn number(&self, column: &str) -> Result<Option<(u64, Place)>, ImportError> {
        let text = self.text(column).filter(|text| !text.is_empty());
        let place = self.place(column);
        text.map(|text| Ok((place.number(&text)?, place.clone())))
            .transpose()
    }

    /// The entries of a set.
    pub(super) fn set(&self, column: &str) -> Vec<String> {
        let text = self.text(column).unwrap_or_default();
        let inner = text.strip_prefix('[').and_then(|it| it.strip_suffix(']'));
        let entries = inner.unwrap_or(&text).split(',');
        let entries = entries.map(|entry| unquoted(entry).to_owned());
        entries.filter(|entry| !entry.is_empty()).collect()
    }

    /// The entries of a map.
    pub(super) fn map(&self, column: &str) -> Vec<(String, String)> {
        let text = self.text(column).unwrap_or_default();
        let inner = text.strip_prefix('{').and_then(|it| it.strip_suffix('}'));
        let entries = pairs(inner.unwrap_or(&text)).into_iter();
        let named = |(key, value): (String, Option<String>)| {
            let key = unquoted(&key).to_owned();
            Some((key, value?))
        };
        entries.filter_map(named).collect()
    }

    /// The value of a key in a map; the last one counts.
    pub(super) fn entry(&self, column: &str, key: &str) -> Option<String> {
        let mut entries = self.map(column).into_iter().rev();
        entries.find_map(|(known, value)| (known == key).then_some(value))
    }

    /// A number of `other_config`.
    pub(super) fn config(&self, key: &str) -> Result<Option<(u64, Place)>, ImportError> {
        let place = self.place("other_config").key(key);
        let text = self.entry("other_config", key);
        text.map(|text| Ok((place.number(&text)?, place.clone())))
            .transpose()
    }

    /// A reference to what was not given.
    pub(super) fn dangling(&self, column: &str, what: &'static str, name: &str) -> ImportError {
        ImportError::Unknown {
            place: self.place(column),
            what,
            name: name.to_owned(),
            hint: match name.strip_prefix('@') {
                Some(_) => "create it in the same command".to_owned(),
                None => "give what `ovs-vsctl list qos` and `ovs-vsctl list queue` print as well"
                    .to_owned(),
            },
        }
    }
}

/// The word that was probably meant, of those that begin a command.
pub(super) fn unknown_verb(place: Place, word: &str) -> ImportError {
    ImportError::Unknown {
        place,
        what: "command",
        name: word.to_owned(),
        hint: hint(word, &["set", "create", "add-port", "add-br"]),
    }
}
