//! A file as it was read, and values that know where in it they were written.

use std::borrow::Cow;
use std::ops::{Deref, Range};
use std::path::{Path, PathBuf};

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::de::{Deserialize, DeserializeOwned, Deserializer};
use toml::Spanned;

use super::error::unknown_word;
use super::{Fault, FileError, Place};

/// A file as it was read.
#[derive(Debug)]
pub(crate) struct Text {
    path: PathBuf,
    text: String,
}

impl Text {
    /// A file of this text; the path is for messages.
    pub(crate) fn new(path: &Path, text: String) -> Self {
        let path = path.to_owned();
        Self { path, text }
    }

    /// Reads a file.
    ///
    /// # Errors
    /// It cannot be read.
    pub(crate) fn read(path: &Path) -> Result<Self, FileError> {
        match std::fs::read_to_string(path) {
            Ok(text) => Ok(Self::new(path, text)),
            Err(source) => Err(FileError::Read {
                path: path.to_owned(),
                source,
            }),
        }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// What it says, as far as that can be told key by key.
    ///
    /// # Errors
    /// It is not TOML, or has a key or value that does not belong there.
    pub(crate) fn keys<T: DeserializeOwned>(&self) -> Result<T, FileError> {
        toml::from_str(&self.text).map_err(|error: toml::de::Error| {
            let fault = Fault::Toml(unknown_word(error.message()));
            self.place(error.span().unwrap_or(0..0)).fault(fault)
        })
    }

    pub(crate) fn place(&self, span: Range<usize>) -> Place {
        Place::new(&self.path, &self.text, span)
    }
}

/// A value and which bytes of its file it is.
#[derive(Clone, Debug)]
pub(crate) struct At<T>(Spanned<T>);

impl<T> At<T> {
    pub(crate) fn span(&self) -> Range<usize> {
        self.0.span()
    }

    /// The value where it stands.
    pub(crate) const fn found<'a>(&'a self, source: &'a Text) -> Found<'a, T> {
        Found { source, at: self }
    }
}

impl<T> Deref for At<T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.0.get_ref()
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for At<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Spanned::deserialize(deserializer).map(Self)
    }
}

impl<T: JsonSchema> JsonSchema for At<T> {
    fn schema_name() -> Cow<'static, str> {
        T::schema_name()
    }

    fn schema_id() -> Cow<'static, str> {
        T::schema_id()
    }

    fn inline_schema() -> bool {
        T::inline_schema()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        T::json_schema(generator)
    }
}

/// A value of one file among several.
#[derive(Debug)]
pub(crate) struct Found<'a, T> {
    /// The file.
    pub(crate) source: &'a Text,
    /// The value in it.
    pub(crate) at: &'a At<T>,
}

// Derived, they would want the value to be `Copy` as well.
impl<T> Clone for Found<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Found<'_, T> {}

impl<'a, T> Found<'a, T> {
    pub(crate) fn value(self) -> &'a T {
        self.at
    }

    pub(crate) fn place(self) -> Place {
        self.source.place(self.at.span())
    }

    pub(crate) fn fault(self, fault: impl Into<Fault>) -> FileError {
        self.place().fault(fault)
    }
}
