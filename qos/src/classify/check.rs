//! Admission: whether rules can run on a tree, and where each of their ends leads.

use std::collections::BTreeMap;

use super::compile::MAX_RULES;
use super::error::{ClassifierError, Position};
use super::rule::{Action, ClassifierConfig, ProgramConfig, Rule, Then};
use crate::class::{ClassId, Plan, TreeConfig};

/// Where a frame goes that has left a program or not met one yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Target {
    /// It belongs to this leaf.
    Leaf(ClassId),
    /// It is up to the rules of the class with this number.
    Program(usize),
}

/// One class of the tree, as far as rules are concerned.
#[derive(Debug)]
struct Node {
    parent: Option<ClassId>,
    is_leaf: bool,
    program: Option<usize>,
}

/// The tree and the programs, found to fit each other.
#[derive(Debug)]
pub(super) struct Admission<'a> {
    root: Option<ClassId>,
    nodes: BTreeMap<ClassId, Node>,
    /// In the order in which they were written, which is also how they are numbered.
    pub(super) programs: &'a [ProgramConfig],
}

impl<'a> Admission<'a> {
    pub(super) fn new(
        tree: &TreeConfig,
        config: &'a ClassifierConfig,
    ) -> Result<Self, ClassifierError> {
        let plan = Plan::new(tree)?;
        let parent = |at: Option<usize>| Some(plan.classes.get(at?)?.id);
        let node = |parent, children| Node {
            parent,
            is_leaf: children == 0,
            program: None,
        };
        let nodes = plan.classes.iter();
        let nodes = nodes.map(|class| (class.id, node(parent(class.parent), class.children)));
        let mut admission = Self {
            root: plan.classes.first().map(|class| class.id),
            nodes: nodes.collect(),
            programs: &config.programs,
        };
        for (number, program) in config.programs.iter().enumerate() {
            let class = program.class;
            let node = admission.nodes.get_mut(&class);
            let node = node.ok_or(ClassifierError::UnknownClass { class })?;
            if node.program.replace(number).is_some() {
                return Err(ClassifierError::Duplicate { class });
            }
        }
        for program in admission.programs {
            admission.check(program)?;
        }
        Ok(admission)
    }

    pub(super) const fn root(&self) -> Option<ClassId> {
        self.root
    }

    /// Every class at which frames may be handed in.
    pub(super) fn entries(&self) -> impl Iterator<Item = (ClassId, Target)> {
        self.nodes
            .keys()
            .filter_map(|&id| Some((id, self.target(id)?)))
    }

    /// Where frames for this class go; `None` if it does not exist or cannot say.
    pub(super) fn target(&self, id: ClassId) -> Option<Target> {
        let node = self.nodes.get(&id)?;
        let leaf = node.is_leaf.then_some(Target::Leaf(id));
        node.program.map(Target::Program).or(leaf)
    }

    /// Where frames go that no rule of this program decides. Frames never get there if there is no
    /// default, as [`Self::check`] has made sure; the class itself then is as good as any.
    pub(super) fn default_of(&self, program: &ProgramConfig) -> Target {
        let default = program.default.and_then(|id| self.target(id));
        default.unwrap_or(Target::Leaf(program.class))
    }

    fn check(&self, program: &ProgramConfig) -> Result<(), ClassifierError> {
        let class = program.class;
        let rules = program.rules.len();
        if rules > MAX_RULES {
            return Err(ClassifierError::TooManyRules { class, rules });
        }
        for (number, rule) in (1_usize..).zip(&program.rules) {
            check_numbers(class, number, rule)?;
            match rule.then {
                Then::Continue | Then::Drop => {}
                Then::Class(target) => self.check_target(class, Position::Rule(number), target)?,
                Then::Goto(target) => check_goto(class, number, target, rules)?,
            }
        }
        if let Some(default) = program.default {
            return self.check_target(class, Position::Default, default);
        }
        let is_leaf = self.nodes.get(&class).is_some_and(|node| node.is_leaf);
        let ends = program.rules.last().is_some_and(Rule::takes_all);
        if is_leaf || ends {
            return Ok(());
        }
        Err(ClassifierError::NoDefault { class })
    }

    /// Frames go down, and only to who knows what to do with them.
    fn check_target(
        &self,
        class: ClassId,
        position: Position,
        target: ClassId,
    ) -> Result<(), ClassifierError> {
        let Some(node) = self.nodes.get(&target) else {
            return Err(ClassifierError::UnknownTarget {
                class,
                position,
                target,
            });
        };
        let up = |id: &ClassId| self.nodes.get(id)?.parent;
        let mut above = std::iter::successors(node.parent, up);
        if !above.any(|id| id == class) {
            return Err(ClassifierError::NotBelow {
                class,
                position,
                target,
            });
        }
        if self.target(target).is_none() {
            return Err(ClassifierError::NoProgram {
                class,
                position,
                target,
            });
        }
        Ok(())
    }
}

fn check_goto(
    class: ClassId,
    rule: usize,
    target: usize,
    rules: usize,
) -> Result<(), ClassifierError> {
    if target <= rule {
        return Err(ClassifierError::BackwardGoto {
            class,
            rule,
            target,
        });
    }
    if target > rules {
        return Err(ClassifierError::GotoBeyondEnd {
            class,
            rule,
            target,
            rules,
        });
    }
    Ok(())
}

/// Numbers that are wider than the field they are for, and police without a limit.
fn check_numbers(class: ClassId, rule: usize, config: &Rule) -> Result<(), ClassifierError> {
    let within = |what, value: Option<u16>, most| match value {
        Some(value) if value > most => Err(ClassifierError::OutOfRange {
            class,
            rule,
            what,
            value,
            most,
        }),
        _ => Ok(()),
    };
    within("vlan", config.matches.vlan, 4095)?;
    within(
        "vlan_priority",
        config.matches.vlan_priority.map(u16::from),
        7,
    )?;
    for action in &config.actions {
        match action {
            Action::SetVlanPriority(value) => {
                within("the vlan priority to set", Some((*value).into()), 7)?;
            }
            Action::Police(limit) if limit.rate.is_none() && limit.pps.is_none() => {
                return Err(ClassifierError::PoliceWithoutLimit { class, rule });
            }
            Action::Police(_) | Action::SetMark(_) | Action::SetDscp(_) => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
