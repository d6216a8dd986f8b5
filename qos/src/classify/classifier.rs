//! All programs of a tree together: down from class to class until a frame is in a leaf.

use std::collections::BTreeMap;

use super::check::{Admission, Target};
use super::error::ClassifierError;
use super::headers::Headers;
use super::program::{Changes, Ending, Program};
use super::rule::ClassifierConfig;
use super::verdict::{DropReason, Fate, Place, Verdict};
use crate::class::{ClassId, TreeConfig};
use crate::time::Time;
use crate::wire::Cost;

/// A class at which frames are handed in, looked up once. Good for the classifier it is from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    class: ClassId,
    target: Target,
}

/// What a rule, or a default, has done so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RuleCounters {
    /// Which one.
    pub place: Place,
    /// Frames it was applied to.
    pub matches: u64,
    /// Those of them that its police dropped.
    pub policed: u64,
}

/// Says to which leaf of a tree a frame belongs. Sound once built: every frame is decided in at most as
/// many programs as the tree has levels, and nothing is allocated.
#[derive(Clone, Debug)]
pub struct Classifier {
    programs: Vec<Program>,
    entries: BTreeMap<ClassId, Target>,
    root: Option<Entry>,
}

impl Classifier {
    /// Compiles rules for a tree. All police start with their bursts to spend, all counters at zero.
    ///
    /// # Errors
    /// The first thing wrong, with class and rule.
    pub fn new(tree: &TreeConfig, config: &ClassifierConfig) -> Result<Self, ClassifierError> {
        let admission = Admission::new(tree, config)?;
        let mut bytes = 0;
        let programs = admission.programs.iter();
        let programs = programs.map(|program| Program::new(&admission, program, &mut bytes));
        let programs = programs.collect::<Result<_, _>>()?;
        let mut classifier = Self {
            programs,
            entries: admission.entries().collect(),
            root: None,
        };
        classifier.root = admission.root().and_then(|root| classifier.entry(root));
        Ok(classifier)
    }

    /// The entry of a class. `None` if the tree has no such class, or if it has children but neither
    /// rules nor a default.
    #[must_use]
    pub fn entry(&self, class: ClassId) -> Option<Entry> {
        let &target = self.entries.get(&class)?;
        Some(Entry { class, target })
    }

    /// Classifies a frame from the root on, which must be an [`entry`](Self::entry); otherwise `None`.
    /// `cost` is what the frame costs the police.
    #[inline]
    pub fn classify(&mut self, headers: &Headers, cost: Cost, now: Time) -> Option<Verdict> {
        let root = self.root?;
        Some(self.classify_from(root, headers, cost, now))
    }

    /// Classifies a frame from this class on. `cost` is what the frame costs the police.
    #[inline]
    pub fn classify_from(
        &mut self,
        entry: Entry,
        headers: &Headers,
        cost: Cost,
        now: Time,
    ) -> Verdict {
        decide(entry, headers.mark, |number, changes| {
            let program = self.programs.get_mut(number)?;
            Some((program.class, program.run(headers, changes, cost, now)))
        })
    }

    /// What [`classify_from`](Self::classify_from) would say, and every rule and default that it would
    /// apply, in that order. Nothing is counted, and no police charged.
    #[must_use]
    pub fn explain(
        &self,
        entry: Entry,
        headers: &Headers,
        cost: Cost,
        now: Time,
    ) -> (Verdict, Vec<Place>) {
        let mut seen = Vec::new();
        let verdict = decide(entry, headers.mark, |number, changes| {
            let program = self.programs.get(number)?;
            let end = program.look(headers, changes, cost, now, &mut seen);
            Some((program.class, end))
        });
        (verdict, seen)
    }

    /// What every rule and, after the rules of each class, its default have done, in the order in which
    /// they were configured.
    pub fn counters(&self) -> impl Iterator<Item = RuleCounters> {
        self.programs.iter().flat_map(|program| {
            let class = program.class;
            let rules = program
                .books
                .hits
                .iter()
                .zip(1..)
                .map(move |(hits, number)| RuleCounters {
                    place: Place {
                        class,
                        rule: Some(number),
                    },
                    matches: hits.matches,
                    policed: hits.policed,
                });
            rules.chain([RuleCounters {
                place: Place { class, rule: None },
                matches: program.books.defaults,
                policed: 0,
            }])
        })
    }
}

/// Goes down from class to class, `run` being what the rules of the program with a number say.
#[inline]
fn decide(
    entry: Entry,
    mark: u32,
    mut run: impl FnMut(usize, &mut Changes) -> Option<(ClassId, Ending)>,
) -> Verdict {
    let mut changes = Changes {
        mark,
        dscp: None,
        vlan_priority: None,
    };
    let mut target = entry.target;
    let mut by = Place {
        class: entry.class,
        rule: None,
    };
    // Ends, as every program hands frames only further down.
    let fate = loop {
        let number = match target {
            Target::Leaf(leaf) => break Fate::Leaf(leaf),
            Target::Program(number) => number,
        };
        let Some((class, (end, rule))) = run(number, &mut changes) else {
            break Fate::Drop(DropReason::Stale);
        };
        by = Place {
            class,
            rule: rule.map(|at| at.saturating_add(1)),
        };
        match end {
            Ok(next) => target = next,
            Err(reason) => break Fate::Drop(reason),
        }
    };
    Verdict {
        fate,
        mark: changes.mark,
        set_dscp: changes.dscp,
        set_vlan_priority: changes.vlan_priority,
        by,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::class::ClassConfig;
    use crate::classify::{Action, Mark, Match, ProgramConfig, Rule};
    use crate::{LimiterConfig, PacketBurst};

    const ROOT: ClassId = ClassId::new(1, 0);
    const LEAF: ClassId = ClassId::new(1, 1);
    const COST: Cost = Cost {
        wire_bytes: 84,
        segments: 1,
    };

    fn classifier(programs: Vec<ProgramConfig>) -> Classifier {
        let tree = TreeConfig::new(vec![
            ClassConfig::new(ROOT),
            ClassConfig::new(LEAF).parent(ROOT),
        ]);
        Classifier::new(&tree, &ClassifierConfig::new(programs)).unwrap()
    }

    #[test]
    fn an_entry_of_another_classifier_drops_frames_instead_of_misleading_them() {
        let entry = classifier(vec![ProgramConfig::new(ROOT).otherwise(LEAF)]).entry(ROOT);
        let mut other = classifier(Vec::new());
        assert_eq!(other.classify(&Headers::default(), COST, Time::ZERO), None);
        let verdict = other.classify_from(entry.unwrap(), &Headers::default(), COST, Time::ZERO);
        assert_eq!(verdict.fate, Fate::Drop(DropReason::Stale));
        assert_eq!(verdict.leaf(), None);
    }

    #[test]
    fn every_rule_and_every_default_counts_its_frames() {
        let long = Rule::new(Match::all().length("1000-2000".parse().unwrap())).class(LEAF);
        let program = ProgramConfig::new(ROOT).rule(long).otherwise(LEAF);
        let mut classifier = classifier(vec![program]);
        for len in [999, 1000, 2000, 2001, 1500] {
            let headers = Headers::parse(&[], len, 0);
            let verdict = classifier.classify(&headers, COST, Time::ZERO).unwrap();
            assert_eq!(verdict.leaf(), Some(LEAF));
        }
        let counts: Vec<_> = classifier
            .counters()
            .map(|c| (c.place.rule, c.matches))
            .collect();
        assert_eq!(counts, [(Some(1), 3), (None, 2)]);
    }

    #[test]
    fn what_is_explained_is_what_would_be_done_and_leaves_no_trace() {
        let police = LimiterConfig {
            pps: Some("1pps".parse().unwrap()),
            pps_burst: PacketBurst::Segments(2),
            ..LimiterConfig::default()
        };
        let mark = Rule::new(Match::all()).action(Action::SetMark(Mark::new(1, 1)));
        let marked = Rule::new(Match::all().mark(Mark::new(1, 1)));
        let program = ProgramConfig::new(ROOT)
            .rule(mark.goto(3))
            .rule(Rule::new(Match::all()).discard())
            .rule(marked.action(Action::Police(police)))
            .otherwise(LEAF);
        let mut classifier = classifier(vec![program]);
        let entry = classifier.entry(ROOT).unwrap();
        let headers = Headers::parse(&[], 100, 0);
        let mut fates = Vec::new();
        for _ in 0..8 {
            let said = classifier.explain(entry, &headers, COST, Time::ZERO);
            assert_eq!(said, classifier.explain(entry, &headers, COST, Time::ZERO));
            let (verdict, seen) = said;
            assert_eq!(
                verdict,
                classifier.classify_from(entry, &headers, COST, Time::ZERO)
            );
            let rules: Vec<_> = seen.iter().map(|place| place.rule).collect();
            match verdict.fate {
                Fate::Leaf(_) => assert_eq!(rules, [Some(1), Some(3), None]),
                Fate::Drop(_) => assert_eq!(rules, [Some(1), Some(3)]),
            }
            fates.push(verdict.fate);
        }
        let passed = fates.iter().filter(|fate| **fate == Fate::Leaf(LEAF));
        let passed = passed.count() as u64;
        assert!(
            (1..8).contains(&passed),
            "the police has its say: {fates:?}"
        );
        let counts = classifier.counters().map(|c| (c.matches, c.policed));
        assert_eq!(
            counts.collect::<Vec<_>>(),
            [(8, 0), (0, 0), (8, 8 - passed), (passed, 0)]
        );
    }
}
