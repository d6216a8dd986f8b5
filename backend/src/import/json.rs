//! JSON with the way to each value, for messages.

use serde_json::{Map, Value};

use super::{ImportError, Place};

/// A value and where it is.
#[derive(Clone, Debug)]
pub(super) struct Json<'a> {
    pub(super) value: &'a Value,
    pub(super) place: Place,
}

/// Reads the text.
pub(super) fn parse(text: &str) -> Result<Value, ImportError> {
    serde_json::from_str(text).map_err(|error| ImportError::Syntax {
        place: Place::line(error.line().max(1)),
        what: "JSON",
        message: error.to_string(),
    })
}

impl<'a> Json<'a> {
    pub(super) fn new(value: &'a Value) -> Self {
        Self {
            value,
            place: Place::default(),
        }
    }

    /// The value as a table.
    pub(super) fn table(&self) -> Result<&'a Map<String, Value>, ImportError> {
        let table = self.value.as_object();
        table.ok_or_else(|| self.wrong("write a table: { ... }"))
    }

    /// The value of a key; null counts as absent.
    pub(super) fn get(&self, key: &str) -> Option<Self> {
        let value = self.value.get(key)?;
        let place = self.place.key(key);
        (!value.is_null()).then_some(Self { value, place })
    }

    /// The entries of a list.
    pub(super) fn list(&self) -> Result<Vec<Self>, ImportError> {
        let list = self.value.as_array();
        let list = list.ok_or_else(|| self.wrong("write a list: [ ... ]"))?;
        let entry = |(index, value)| Self {
            value,
            place: self.place.entry(index),
        };
        Ok(list.iter().enumerate().map(entry).collect())
    }

    /// A whole number that is not negative.
    pub(super) fn number(&self) -> Result<u64, ImportError> {
        let number = self.value.as_u64();
        number.ok_or_else(|| self.wrong("write a whole number, not negative"))
    }

    pub(super) fn text(&self) -> Result<&'a str, ImportError> {
        let text = self.value.as_str();
        text.ok_or_else(|| self.wrong("write a text in quotes"))
    }

    /// A text that is something else as well.
    pub(super) fn parsed<T: std::str::FromStr<Err: std::fmt::Display>>(
        &self,
    ) -> Result<T, ImportError> {
        let text = self.text()?;
        text.parse().map_err(|error| self.wrong(error))
    }

    pub(super) fn wrong(&self, reason: impl std::fmt::Display) -> ImportError {
        self.place.value(self.value, reason)
    }

    /// The keys of a table that are not among those given.
    pub(super) fn others(&self, known: &[&str]) -> Vec<String> {
        let keys = self.value.as_object().into_iter().flat_map(Map::keys);
        keys.filter(|key| !known.contains(&key.as_str()))
            .cloned()
            .collect()
    }
}
