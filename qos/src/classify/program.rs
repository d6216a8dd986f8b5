//! The rules of one class at work.

use std::fmt;

use super::bits::Mark;
use super::check::{Admission, Target};
use super::compile::Index;
use super::dscp::Dscp;
use super::error::ClassifierError;
use super::headers::Headers;
use super::rule::{Action, ProgramConfig, Rule, Then};
use super::verdict::{DropReason, Place};
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
    code: Code,
    pub(super) books: Books,
}

/// What never changes of a program.
#[derive(Clone)]
struct Code {
    index: Index,
    rules: Vec<Compiled>,
    steps: Vec<Step>,
    default: Target,
}

/// What frames change.
#[derive(Clone, Debug)]
pub(super) struct Books {
    limiters: Vec<Limiter>,
    pub(super) hits: Vec<Hits>,
    pub(super) defaults: u64,
}

/// Who is told what rules do with a frame, and says whether limits let it pass. Rules count from 0.
trait Ledger {
    /// A rule is applied.
    fn matched(&mut self, rule: usize);
    /// Its police does not let the frame pass.
    fn policed(&mut self, rule: usize);
    /// No rule decides.
    fn left(&mut self);
    /// Whether the limiter of this number lets a frame of this cost pass.
    fn passes(&mut self, limiter: usize, cost: Cost, now: Time) -> bool;
}

impl Ledger for Books {
    #[inline]
    fn matched(&mut self, rule: usize) {
        if let Some(hits) = self.hits.get_mut(rule) {
            hits.matches = hits.matches.wrapping_add(1);
        }
    }

    fn policed(&mut self, rule: usize) {
        if let Some(hits) = self.hits.get_mut(rule) {
            hits.policed = hits.policed.wrapping_add(1);
        }
    }

    #[inline]
    fn left(&mut self) {
        self.defaults = self.defaults.wrapping_add(1);
    }

    fn passes(&mut self, limiter: usize, cost: Cost, now: Time) -> bool {
        let Some(limiter) = self.limiters.get_mut(limiter) else {
            return true;
        };
        if !limiter.ready(now) {
            return false;
        }
        // Nothing waits for police, so no credit can be lost to a late poll.
        limiter.commit(now, cost, Demand::Fresh);
        true
    }
}

/// A frame that is only thought of: it is noted where it comes past, and nothing is charged or counted.
struct Look<'a> {
    class: ClassId,
    books: &'a Books,
    seen: &'a mut Vec<Place>,
}

impl Ledger for Look<'_> {
    fn matched(&mut self, rule: usize) {
        self.seen.push(Place {
            class: self.class,
            rule: Some(rule.saturating_add(1)),
        });
    }

    fn policed(&mut self, _: usize) {}

    fn left(&mut self) {
        self.seen.push(Place {
            class: self.class,
            rule: None,
        });
    }

    fn passes(&mut self, limiter: usize, _: Cost, now: Time) -> bool {
        let limiter = self.books.limiters.get(limiter);
        limiter.is_none_or(|limiter| limiter.ready(now))
    }
}

/// Without the tables, which are megabytes of text.
impl fmt::Debug for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut program = f.debug_struct("Program");
        program
            .field("class", &self.class)
            .field("rules", &self.code.rules.len());
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
            code: Code {
                index: Index::new(config.class, &config.rules, bytes)?,
                rules: Vec::with_capacity(config.rules.len()),
                steps: Vec::new(),
                default,
            },
            books: Books {
                limiters: Vec::new(),
                hits: vec![Hits::default(); config.rules.len()],
                defaults: 0,
            },
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
        let (code, limiters) = (&mut self.code, &mut self.books.limiters);
        let first = code.steps.len();
        for action in &rule.actions {
            let step = match action {
                Action::SetMark(mark) => Step::Mark(*mark),
                Action::SetDscp(dscp) => Step::Dscp(*dscp),
                Action::SetVlanPriority(priority) => Step::VlanPriority(*priority),
                Action::Police(limit) => {
                    limiters.push(Limiter::new(limit));
                    Step::Police(limiters.len().saturating_sub(1))
                }
            };
            code.steps.push(step);
        }
        code.rules.push(Compiled {
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
        self.code.run(headers, changes, cost, now, &mut self.books)
    }

    /// As [`Self::run`], without any effect but a note in `seen` of every rule that is applied.
    pub(super) fn look(
        &self,
        headers: &Headers,
        changes: &mut Changes,
        cost: Cost,
        now: Time,
        seen: &mut Vec<Place>,
    ) -> Ending {
        let (class, books) = (self.class, &self.books);
        let mut look = Look { class, books, seen };
        self.code.run(headers, changes, cost, now, &mut look)
    }
}

impl Code {
    #[inline]
    fn run(
        &self,
        headers: &Headers,
        changes: &mut Changes,
        cost: Cost,
        now: Time,
        ledger: &mut impl Ledger,
    ) -> Ending {
        let mut search = self.index.search(headers, changes.mark);
        let mut from = 0;
        while let Some(at) = self.index.next(&search, from) {
            let Some(rule) = self.rules.get(at) else {
                break;
            };
            ledger.matched(at);
            let mark = changes.mark;
            if rule.steps != 0 && !self.act(rule, changes, cost, now, ledger) {
                ledger.policed(at);
                return (Err(DropReason::Policed), Some(at));
            }
            match rule.next {
                Next::Rule(later) => from = later,
                Next::End(target) => return (Ok(target), Some(at)),
                Next::Drop => return (Err(DropReason::Rule), Some(at)),
            }
            if changes.mark != mark {
                self.index.remark(&mut search, changes.mark);
            }
        }
        ledger.left();
        (Ok(self.default), None)
    }

    /// Takes the steps of a rule; whether the frame conforms to its police.
    fn act(
        &self,
        rule: &Compiled,
        changes: &mut Changes,
        cost: Cost,
        now: Time,
        ledger: &mut impl Ledger,
    ) -> bool {
        for step in self.steps.iter().skip(rule.first).take(rule.steps) {
            match *step {
                Step::Mark(mark) => changes.mark = mark.set(changes.mark),
                Step::Dscp(dscp) => changes.dscp = Some(dscp),
                Step::VlanPriority(priority) => changes.vlan_priority = Some(priority),
                Step::Police(limiter) => {
                    if !ledger.passes(limiter, cost, now) {
                        return false;
                    }
                }
            }
        }
        true
    }
}
