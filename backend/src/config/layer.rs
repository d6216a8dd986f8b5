//! Tables that say things about guests, and the texts in them that guests share.

use super::fault::ConfigFault;
use super::keys::GuestKeys;
use crate::file::text::{At, Found, Text};
use crate::file::{FileError, Place};

/// One table that says things about guests.
#[derive(Clone, Copy, Debug)]
pub(super) struct Layer<'a> {
    pub(super) source: &'a Text,
    pub(super) keys: &'a At<GuestKeys>,
}

impl Layer<'_> {
    pub(super) fn place(&self) -> Place {
        self.source.place(self.keys.span())
    }

    /// Whether a template, or the defaults, have only what several guests can have.
    pub(super) fn check_shared(&self) -> Result<(), FileError> {
        let keys = self.keys;
        let own = [
            ("name", keys.name.as_ref().map(At::span)),
            ("template", keys.template.as_ref().map(At::span)),
            ("count", keys.count.as_ref().map(At::span)),
            ("first", keys.first.as_ref().map(At::span)),
        ];
        for (key, span) in own {
            if let Some(span) = span {
                return Err(self.source.place(span).fault(ConfigFault::Misplaced {
                    key,
                    reason: "is a guest's own: write it at the guest",
                }));
            }
        }
        Ok(())
    }
}

/// What stands for numbers and names in the texts of a guest.
pub(super) struct Stand<'a> {
    pub(super) number: Option<u32>,
    pub(super) name: &'a str,
}

impl Stand<'_> {
    pub(super) fn put(&self, text: Found<'_, String>) -> Result<String, FileError> {
        let named = text.value().replace("{name}", self.name);
        match self.number {
            Some(number) => Ok(named.replace("{n}", &number.to_string())),
            None if named.contains("{n}") => Err(text.fault(ConfigFault::Misplaced {
                key: "{n}",
                reason: "is the number of one of many guests: write count as well, or no {n}",
            })),
            None => Ok(named),
        }
    }
}
