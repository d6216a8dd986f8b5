//! The rules of one class at work.

use std::fmt;

use super::bits::Mark;
use super::check::{Admission, Target};
use super::compile::Index;
use super::dscp::Dscp;
use super::error::ClassifierError;
use super::headers::Headers;
use super::rule::{Action, ProgramConfig, Rule, Then};
use super::verdict::DropReason;
use crate::class::ClassId;
use crate::limiter::{Demand, Limiter};
use crate::time::Time;
use crate::wire::Cost;

/// What a rule does, in a form that needs no more checks.
#[derive(Clone, Debug)]
enum Step {
    Mark(Mark),
    Dscp(Dscp),
    VlanPriority(u8),
    /// The limiter of this number.
    Police(usize),
}

/// Where a rule leads, rules counted from 0.
#[derive(Clone, Copy, Debug)]
enum Next {
    Rule(usize),
    End(Target),
    Drop,
}

#[derive(Clone, Copy, Debug)]
struct Compiled {
    /// The first of its steps, and how many it has.
    first: usize,
    steps: usize,
    next: Next,
}

/// What one rule has done so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Hits {
    pub(super) matches: u64,
    pub(super) policed: u64,
}

/// What rules have made of a frame so far.
#[derive(Clone, Copy, Debug)]
pub(super) struct Changes {
    pub(super) mark: u32,
    pub(super) dscp: Option<Dscp>,
    pub(super) vlan_priority: Option<u8>,
}

/// How a program ended, and by which of its rules, counted from 0.
pub(super) type Ending = (Result<Target, DropReason>, Option<usize>);

/// The rules of one class.
#[derive(Clone)]
pub(super) struct Program {
    pub(super) class: ClassId,
    index: Index,
    rules: Vec<Compiled>,
    steps: Vec<Step>,
    limiters: Vec<Limiter>,
    pub(super) hits: Vec<Hits>,
    default: Target,
    pub(super) defaults: u64,
}

/// Without the tables, which are megabytes of text.
impl fmt::Debug for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut program = f.debug_struct("Program");
        program
            .field("class", &self.class)
            .field("rules", &self.rules.len());
        program.finish_non_exhaustive()
    }
}

impl Program {
    /// `bytes` is what the tables of all programs so far take, and grows.
    pub(super) fn new(
        admission: &Admission<'_>,
        config: &ProgramConfig,
        bytes: &mut usize,
    ) -> Result<Self, ClassifierError> {
        let default = admission.default_of(config);
        let mut program = Self {
            class: config.class,
            index: Index::new(config.class, &config.rules, bytes)?,
            rules: Vec::with_capacity(config.rules.len()),
            steps: Vec::new(),
            limiters: Vec::new(),
            hits: vec![Hits::default(); config.rules.len()],
            default,
            defaults: 0,
        };
        for (after, rule) in (1_usize..).zip(&config.rules) {
            let next = match rule.then {
                Then::Continue => Next::Rule(after),
                Then::Goto(number) => Next::Rule(number.saturating_sub(1)),
                Then::Class(id) => Next::End(admission.target(id).unwrap_or(default)),
                Then::Drop => Next::Drop,
            };
            program.add(rule, next);
        }
        Ok(program)
    }

    fn add(&mut self, rule: &Rule, next: Next) {
        let first = self.steps.len();
        for action in &rule.actions {
            let step = match action {
                Action::SetMark(mark) => Step::Mark(*mark),
                Action::SetDscp(dscp) => Step::Dscp(*dscp),
                Action::SetVlanPriority(priority) => Step::VlanPriority(*priority),
                Action::Police(limit) => {
                    self.limiters.push(Limiter::new(limit));
                    Step::Police(self.limiters.len().saturating_sub(1))
                }
            };
            self.steps.push(step);
        }
        self.rules.push(Compiled {
            first,
            steps: rule.actions.len(),
            next,
        });
    }

    /// Runs the rules. Ends, as every rule leads to a later one.
    #[inline]
    pub(super) fn run(
        &mut self,
        headers: &Headers,
        changes: &mut Changes,
        cost: Cost,
        now: Time,
    ) -> Ending {
        let mut search = self.index.search(headers, changes.mark);
        let mut from = 0;
        while let Some(at) = self.index.next(&search, from) {
            let Some(&Compiled { first, steps, next }) = self.rules.get(at) else {
                break;
            };
            if let Some(hits) = self.hits.get_mut(at) {
                hits.matches = hits.matches.wrapping_add(1);
            }
            let mark = changes.mark;
            if steps != 0 && !self.act(first, steps, changes, cost, now) {
                if let Some(hits) = self.hits.get_mut(at) {
                    hits.policed = hits.policed.wrapping_add(1);
                }
                return (Err(DropReason::Policed), Some(at));
            }
            match next {
                Next::Rule(later) => from = later,
                Next::End(target) => return (Ok(target), Some(at)),
                Next::Drop => return (Err(DropReason::Rule), Some(at)),
            }
            if changes.mark != mark {
                self.index.remark(&mut search, changes.mark);
            }
        }
        self.defaults = self.defaults.wrapping_add(1);
        (Ok(self.default), None)
    }

    /// Takes the steps of a rule; whether the frame conforms to its police.
    fn act(
        &mut self,
        first: usize,
        count: usize,
        changes: &mut Changes,
        cost: Cost,
        now: Time,
    ) -> bool {
        for step in self.steps.iter().skip(first).take(count) {
            match *step {
                Step::Mark(mark) => changes.mark = mark.set(changes.mark),
                Step::Dscp(dscp) => changes.dscp = Some(dscp),
                Step::VlanPriority(priority) => changes.vlan_priority = Some(priority),
                Step::Police(limiter) => {
                    let Some(limiter) = self.limiters.get_mut(limiter) else {
                        continue;
                    };
                    if !limiter.ready(now) {
                        return false;
                    }
                    // Nothing waits for police, so no credit can be lost to a late poll.
                    limiter.commit(now, cost, Demand::Fresh);
                }
            }
        }
        true
    }
}
