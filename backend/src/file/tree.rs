//! A class tree in a file.
//!
//! ```toml
//! overcommit = "reject"        # or "scale"
//!
//! [[class]]
//! id = "1:0"                   # as in tc: hexadecimal
//! name = "uplink"              # optional; other places name a class by its name or id
//! ceil = "1gbit"
//!
//! [[class]]
//! id = "1:10"
//! name = "voice"
//! parent = "uplink"
//! rate = "5mbit"
//! queue = "flows"
//! [class.flows]
//! target = "5ms"
//! ```

use std::collections::BTreeMap;
use std::path::Path;

use qos::{ClassConfig, ClassId, Overcommit, Removed, TreeConfig, TreeError};
use schemars::JsonSchema;
use serde::Deserialize;

use super::settings::{FlowsKeys, Limit, QueueKey, Spelt, class_keys, key, set};
use super::text::{At, Text};
use super::value::Written;
use super::{Fault, FileError, Place};

/// A class tree as it was written, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TreeFile {
    /// The tree.
    pub tree: TreeConfig,
    /// What the classes are called that have a name.
    pub names: BTreeMap<ClassId, String>,
}

impl TreeFile {
    /// Reads a file.
    ///
    /// # Errors
    /// It cannot be read, or its tree may not run.
    pub fn load(path: &Path) -> Result<Self, FileError> {
        Self::of(&Text::read(path)?)
    }

    /// Reads the text of a file; the path is for messages.
    ///
    /// # Errors
    /// The tree may not run.
    pub fn parse(path: &Path, text: &str) -> Result<Self, FileError> {
        Self::of(&Text::new(path, text.to_owned()))
    }

    fn of(source: &Text) -> Result<Self, FileError> {
        let keys: FileKeys = source.keys()?;
        let file = Reader(source);
        let names = file.names(&keys.class)?;
        let classes = keys.class.iter().map(|class| file.class(class, &names));
        let mut tree = TreeConfig::new(classes.collect::<Result<_, _>>()?);
        set(&mut tree.overcommit, keys.overcommit.map(Into::into));
        set(&mut tree.unit_wire_bytes, keys.unit);
        set(&mut tree.removed, keys.removed.map(Into::into));
        set(&mut tree.frames, keys.frames);
        set(
            &mut tree.pool_share_percent,
            keys.pool_share_percent.map(Some),
        );
        set(&mut tree.flow_sets, keys.flow_sets);
        tree.segment_nanos = keys.segment_nanos;
        if let Err(error) = tree.check() {
            return Err(file.refused(error, &keys.class));
        }
        let names = names.into_iter().map(|(name, id)| (id, name)).collect();
        Ok(Self { tree, names })
    }

    /// The class of this name or id.
    #[must_use]
    pub fn class(&self, name: &str) -> Option<ClassId> {
        let named = self.names.iter().find(|(_, own)| *own == name);
        let exists = |id: &ClassId| self.tree.classes.iter().any(|class| class.id == *id);
        named
            .map(|(&id, _)| id)
            .or_else(|| name.parse().ok().filter(exists))
    }

    /// What to call a class: its name, or its id.
    #[must_use]
    pub fn name(&self, id: ClassId) -> String {
        self.names
            .get(&id)
            .cloned()
            .unwrap_or_else(|| id.to_string())
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct FileKeys {
    overcommit: Option<OvercommitKey>,
    removed: Option<RemovedKey>,
    unit: Option<u32>,
    segment_nanos: Option<u32>,
    frames: Option<u32>,
    pool_share_percent: Option<u32>,
    flow_sets: Option<u32>,
    #[serde(default)]
    class: Vec<At<ClassKeys>>,
}

/// What happens when guarantees do not fit.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub(crate) enum OvercommitKey {
    Reject,
    Scale,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
enum RemovedKey {
    Drain,
    Drop,
}

impl From<RemovedKey> for Removed {
    fn from(key: RemovedKey) -> Self {
        match key {
            RemovedKey::Drain => Self::Drain,
            RemovedKey::Drop => Self::Drop,
        }
    }
}

impl From<OvercommitKey> for Overcommit {
    fn from(key: OvercommitKey) -> Self {
        match key {
            OvercommitKey::Reject => Self::Reject,
            OvercommitKey::Scale => Self::Scale,
        }
    }
}

class_keys! {
    /// One class of a tree.
    ClassKeys {
        /// Its id, as in tc: major:minor, hexadecimal.
        id: At<Written<ClassId>>,
        /// What other places may call it.
        name: Option<At<String>>,
        /// The class above it, by its name or id; the root has none.
        parent: Option<At<String>>,
    }
}

/// One file as it is read.
struct Reader<'a>(&'a Text);

impl Reader<'_> {
    /// The classes by their names; neither a name nor an id twice.
    fn names(&self, classes: &[At<ClassKeys>]) -> Result<BTreeMap<String, ClassId>, FileError> {
        let (mut names, mut ids) = (BTreeMap::new(), BTreeMap::new());
        for class in classes {
            let Written(id) = *class.id;
            let place = class.id.found(self.0).place();
            if let Some(&first) = ids.get(&id) {
                return Err(place.fault(Fault::SameId { id, first }));
            }
            ids.insert(id, place.line);
            let Some(name) = &class.name else {
                continue;
            };
            let place = name.found(self.0).place();
            let name = String::clone(name);
            if name.trim().is_empty() || name.contains([':', '\n']) {
                return Err(place.fault(Fault::Name(name)));
            }
            if let Some(&(_, first)) = names.get(&name) {
                return Err(place.fault(Fault::SameName { name, first }));
            }
            names.insert(name, (id, place.line));
        }
        Ok(names
            .into_iter()
            .map(|(name, (id, _))| (name, id))
            .collect())
    }

    fn class(
        &self,
        class: &ClassKeys,
        names: &BTreeMap<String, ClassId>,
    ) -> Result<ClassConfig, FileError> {
        let parent = class.parent.as_ref().map(|parent| {
            let id = names.get(parent.as_str()).copied();
            let id = id.or_else(|| parent.parse().ok());
            id.ok_or_else(|| {
                let fault = Fault::NoClass(parent.to_string());
                parent.found(self.0).fault(fault)
            })
        });
        let Written(id) = *class.id;
        Ok(ClassConfig {
            parent: parent.transpose()?,
            ..class.settings(self.0).class(id, QueueKey::Hold)?
        })
    }

    /// A tree that may not run, shown at the class at fault and, if one is, the key.
    fn refused(&self, error: TreeError, classes: &[At<ClassKeys>]) -> FileError {
        let at = error.class().and_then(|id| {
            let same = |class: &&At<ClassKeys>| class.id.0 == id;
            classes.iter().find(same)
        });
        let start = at.map_or(0, |class| class.span().start);
        let place = match key(&error) {
            Some(key) => Place::of_key(self.0.path(), self.0.text(), start, key),
            None => self.0.place(start..start),
        };
        place.fault(error)
    }
}

#[cfg(test)]
mod tests;
