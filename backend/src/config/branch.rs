//! What a guest has of one direction's tree.

use std::collections::{BTreeMap, BTreeSet};

use qos::{
    ClassConfig, ClassId, Classifier, ClassifierConfig, ClassifierError, LeafQueue, Overcommit,
    TreeConfig, TreeError,
};

use super::fault::{ConfigFault, Known};
use super::keys::{ClassKeys, DirectionKeys};
use super::layer::Layer;
use super::rules::RuleList;
use super::words::in_words;
use super::{Direction, GUEST, GuestTree};
use crate::file::settings::{QueueKey, Settings, key};
use crate::file::text::{At, Found, Text};
use crate::file::{Fault, FileError, Place};

/// One direction of a guest, from all tables that say something about it.
#[derive(Debug)]
pub(super) struct Branch<'a> {
    guest: &'a str,
    direction: Direction,
    settings: Settings<'a>,
    /// The classes, and the file they are in.
    classes: Vec<(&'a Text, &'a At<ClassKeys>)>,
    /// Whether the table of the classes, or a nearer one, says how the guest itself queues.
    queues: bool,
    rules: Option<RuleList<'a>>,
    default: Option<Found<'a, String>>,
    /// Where the guest itself is.
    own: Layer<'a>,
}

impl<'a> Branch<'a> {
    /// The tables are given nearest first.
    pub(super) fn new(
        guest: &'a str,
        direction: Direction,
        own: Layer<'a>,
        layers: &[Layer<'a>],
    ) -> Self {
        let mut branch = Self {
            guest,
            direction,
            settings: Settings::default(),
            classes: Vec::new(),
            queues: false,
            rules: None,
            default: None,
            own,
        };
        for layer in layers {
            let keys = match direction {
                Direction::FromGuest => &layer.keys.from_guest,
                Direction::ToGuest => &layer.keys.to_guest,
            };
            branch.add(layer, keys.as_ref());
        }
        branch
    }

    fn add(&mut self, layer: &Layer<'a>, keys: Option<&'a At<DirectionKeys>>) {
        let source = layer.source;
        let mut settings = keys.map_or_else(Settings::default, |keys| keys.settings(source));
        let limit = layer.keys.limit.as_ref();
        settings.ceil = settings.ceil.or_else(|| Some(limit?.found(source)));
        self.settings = self.settings.or(settings);
        let Some(keys) = keys else { return };
        if self.classes.is_empty() {
            self.queues = self.settings.queue.is_some();
            self.classes = keys.class.iter().map(|class| (source, class)).collect();
        }
        if self.rules.is_none() && !keys.rule.is_empty() {
            self.rules = Some(RuleList {
                source,
                rules: &keys.rule,
                default: None,
            });
        }
        let default = keys.default.as_ref().map(|default| default.found(source));
        self.default = self.default.or(default);
    }

    /// The classes and rules.
    ///
    /// # Errors
    /// They do not fit together.
    pub(super) fn tree(&self) -> Result<GuestTree, FileError> {
        let names = self.names()?;
        let classes = self.classes(&names)?;
        let lists = self.lists();
        let mut programs = Vec::new();
        for (id, list) in &lists {
            programs.extend(list.program(*id, &names)?);
        }
        let own_rules = programs.iter().any(|program| program.class == GUEST);
        if let Some((source, first)) = self.classes.first().filter(|_| !own_rules) {
            return Err(first.name.found(source).fault(ConfigFault::Needs {
                what: format!("guest `{}`", self.guest),
                needs: "to say which frames are of which class: write rules, or at least default = \
                        \"CLASS\" beside the classes",
            }));
        }
        let rules = ClassifierConfig::new(programs);
        let tree = TreeConfig {
            // Sums and bursts are held against the uplink when all guests are there.
            overcommit: Overcommit::Scale,
            unit_wire_bytes: 1,
            ..TreeConfig::new(classes)
        };
        tree.check().map_err(|error| self.refused(&error))?;
        Classifier::new(&tree, &rules).map_err(|error| self.refused_rules(&error, &lists))?;
        let names = names.into_iter();
        Ok(GuestTree {
            classes: tree.classes,
            names: names.map(|(name, id)| (id, name.to_owned())).collect(),
            rules,
        })
    }

    /// The classes by name; none twice.
    fn names(&self) -> Result<BTreeMap<&'a str, ClassId>, FileError> {
        let mut names: BTreeMap<&str, ClassId> = BTreeMap::new();
        for (number, (source, class)) in (1_u16..).zip(&self.classes) {
            let found = class.name.found(source);
            let name = found.value().as_str();
            if name.trim().is_empty() || name.contains([':', '\n']) {
                return Err(found.fault(Fault::Name(name.to_owned())));
            }
            if let Some(first) = names.insert(name, ClassId::new(0, number)) {
                let first = self
                    .class(first)
                    .map(|(source, class)| class.name.found(source));
                return Err(found.fault(Fault::SameName {
                    name: name.to_owned(),
                    first: first.map_or(0, |first| first.place().line),
                }));
            }
        }
        match self.classes.get(usize::from(u16::MAX)) {
            None => Ok(names),
            Some((source, class)) => Err(class.found(source).fault(ConfigFault::OutOfRange {
                what: "the number of a guest's classes",
                value: self.classes.len() as u64,
                least: 0,
                most: u16::MAX.into(),
            })),
        }
    }

    fn class(&self, id: ClassId) -> Option<&(&'a Text, &'a At<ClassKeys>)> {
        self.classes.get(usize::from(id.minor).checked_sub(1)?)
    }

    fn classes(&self, names: &BTreeMap<&str, ClassId>) -> Result<Vec<ClassConfig>, FileError> {
        let parents = self.classes.iter().map(|(source, class)| {
            let Some(parent) = &class.parent else {
                return Ok(GUEST);
            };
            names.get(parent.as_str()).copied().ok_or_else(|| {
                let known = Known::new(parent, names.keys().copied());
                parent.found(source).fault(ConfigFault::NoClass(known))
            })
        });
        let parents: Vec<ClassId> = parents.collect::<Result<_, _>>()?;
        let inner: BTreeSet<ClassId> = parents.iter().copied().collect();
        let leaves = (self.classes.len() + 1).saturating_sub(inner.len());
        // One ring for one leaf can be the queue; one for several would have them wait for each other.
        let holds = self.direction == Direction::FromGuest && leaves == 1;
        let make = |id, settings: &Settings<'_>| {
            let queue = match () {
                () if inner.contains(&id) || holds => QueueKey::Hold,
                () => QueueKey::Flows,
            };
            let class = settings.class(id, queue)?;
            if class.queue == LeafQueue::Hold && !inner.contains(&id) && !holds {
                return Err(self.place(id, Some("queue")).fault(ConfigFault::NoHold {
                    class: self.name(id),
                    reason: match self.direction {
                        Direction::FromGuest => {
                            "leaves of one ring would wait for each other there"
                        }
                        Direction::ToGuest => "what it receives has no ring to wait in",
                    },
                }));
            }
            Ok(class)
        };
        let mut own = self.settings;
        if !self.classes.is_empty() && !self.queues {
            // How guests queue that are leaves is nothing to one that has classes.
            (own.queue, own.fifo, own.flows) = (None, None, None);
        }
        let mut classes = vec![make(GUEST, &own)?];
        for (number, ((source, class), parent)) in (1..).zip(self.classes.iter().zip(parents)) {
            let class = make(ClassId::new(0, number), &class.settings(source))?;
            classes.push(class.parent(parent));
        }
        Ok(classes)
    }

    /// All lists of rules, and whose they are.
    fn lists(&self) -> Vec<(ClassId, RuleList<'a>)> {
        let own = self.rules.unwrap_or(RuleList {
            source: self.own.source,
            rules: &[],
            default: None,
        });
        let default = self.default;
        let mut lists = vec![(GUEST, RuleList { default, ..own })];
        for (number, &(source, class)) in (1..).zip(&self.classes) {
            let default = class.default.as_ref().map(|default| default.found(source));
            let list = RuleList {
                source,
                rules: &class.rule,
                default,
            };
            lists.push((ClassId::new(0, number), list));
        }
        lists
    }

    /// What messages call a class.
    fn name(&self, id: ClassId) -> String {
        match self.class(id) {
            Some((_, class)) => format!("class `{}` of guest `{}`", *class.name, self.guest),
            None => format!("guest `{}`", self.guest),
        }
    }

    /// Where a class is, or one of its settings.
    pub(super) fn place(&self, id: ClassId, key: Option<&str>) -> Place {
        let Some((source, class)) = self.class(id) else {
            let place = key.and_then(|key| self.settings.place(key));
            return place.unwrap_or_else(|| self.own.place());
        };
        let place = match key {
            Some("parent") => class.parent.as_ref().map(|at| at.found(source).place()),
            Some(key) => class.settings(source).place(key),
            None => None,
        };
        place.unwrap_or_else(|| class.name.found(source).place())
    }

    fn refused(&self, error: &TreeError) -> FileError {
        let place = match error.class() {
            Some(id) => self.place(id, key(error)),
            None => self.own.place(),
        };
        let text = in_words(&error.to_string(), |id| self.name(id));
        place.fault(ConfigFault::Tree(text))
    }

    fn refused_rules(
        &self,
        error: &ClassifierError,
        lists: &[(ClassId, RuleList<'_>)],
    ) -> FileError {
        let id = class_of(error);
        let list = lists.iter().find(|(class, _)| *class == id);
        let place = list.and_then(|(_, list)| list.place(error));
        let place = place.unwrap_or_else(|| self.place(id, None));
        let text = in_words(&error.to_string(), |id| self.name(id));
        place.fault(ConfigFault::Tree(text))
    }
}

/// The class whose rules are at fault.
const fn class_of(error: &ClassifierError) -> ClassId {
    match error {
        ClassifierError::Tree(_) => GUEST,
        ClassifierError::UnknownClass { class }
        | ClassifierError::Duplicate { class }
        | ClassifierError::TooManyRules { class, .. }
        | ClassifierError::TooLarge { class }
        | ClassifierError::TooManyMasks { class, .. }
        | ClassifierError::BackwardGoto { class, .. }
        | ClassifierError::GotoBeyondEnd { class, .. }
        | ClassifierError::UnknownTarget { class, .. }
        | ClassifierError::NotBelow { class, .. }
        | ClassifierError::NoProgram { class, .. }
        | ClassifierError::NoDefault { class }
        | ClassifierError::OutOfRange { class, .. }
        | ClassifierError::PoliceWithoutLimit { class, .. } => *class,
    }
}
