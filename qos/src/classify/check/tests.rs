use super::*;
use crate::class::ClassConfig;
use crate::classify::{Classifier, Mark, Match};
use crate::limiter::LimiterConfig;

const ROOT: ClassId = ClassId::new(1, 0);
const GUEST: ClassId = ClassId::new(1, 1);
const WEB: ClassId = ClassId::new(1, 0x10);
const BULK: ClassId = ClassId::new(1, 0x11);
const OTHER: ClassId = ClassId::new(1, 2);

/// root - (guest - (web, bulk), other)
fn tree() -> TreeConfig {
    TreeConfig::new(vec![
        ClassConfig::new(ROOT),
        ClassConfig::new(GUEST).parent(ROOT),
        ClassConfig::new(WEB).parent(GUEST),
        ClassConfig::new(BULK).parent(GUEST),
        ClassConfig::new(OTHER).parent(ROOT),
    ])
}

fn all() -> Rule {
    Rule::new(Match::all())
}

fn root() -> ProgramConfig {
    ProgramConfig::new(ROOT).otherwise(OTHER)
}

/// What is said of these programs.
fn refusal(programs: Vec<ProgramConfig>) -> String {
    let refused = Classifier::new(&tree(), &ClassifierConfig::new(programs));
    refused.unwrap_err().to_string()
}

#[test]
fn what_cannot_run_is_refused_with_class_rule_and_reason() {
    let guest = || ProgramConfig::new(GUEST).otherwise(WEB);
    let nowhere = ClassId::new(9, 9);
    let vlan = |id| Rule::new(Match::all().vlan(id)).discard();
    let cases = [
        (
            vec![root().rule(all().goto(1))],
            "class 1:0, rule 1: goto 1 does not lead forward",
        ),
        (
            vec![root().rule(all()).rule(all().goto(1))],
            "class 1:0, rule 2: goto 1 does not lead",
        ),
        (
            vec![root().rule(all().goto(0))],
            "class 1:0, rule 1: goto 0 does not lead forward",
        ),
        (
            vec![root().rule(all().goto(2))],
            "class 1:0, rule 1: goto 2, but the class has only 1",
        ),
        (
            vec![root().rule(all().class(nowhere))],
            "class 1:0, rule 1: the tree has no class 9:9",
        ),
        (
            vec![ProgramConfig::new(nowhere)],
            "class 9:9 has rules, but the tree has no such class",
        ),
        (vec![root(), root()], "class 1:0 has rules twice"),
        (
            vec![guest().rule(all().class(OTHER))],
            "class 1:1, rule 1: class 1:2 does not lie below",
        ),
        (
            vec![guest().rule(all().class(GUEST))],
            "class 1:1, rule 1: class 1:1 does not lie below",
        ),
        (
            vec![guest().rule(all().class(ROOT))],
            "class 1:1, rule 1: class 1:0 does not lie below",
        ),
        (
            vec![ProgramConfig::new(GUEST).otherwise(OTHER)],
            "class 1:1, the default: class 1:2",
        ),
        (
            vec![ProgramConfig::new(WEB).otherwise(WEB)],
            "class 1:10, the default: class 1:10",
        ),
        (
            vec![root().rule(all().class(GUEST))],
            "class 1:0, rule 1: class 1:1 has children but",
        ),
        (
            vec![ProgramConfig::new(ROOT).otherwise(GUEST)],
            "class 1:0, the default: class 1:1 has",
        ),
        (vec![ProgramConfig::new(ROOT)], "class 1:0 has no default"),
        (
            vec![ProgramConfig::new(ROOT).rule(vlan(1))],
            "class 1:0 has no default",
        ),
        (
            vec![root().rule(vlan(4096))],
            "class 1:0, rule 1: vlan 4096 is too large",
        ),
        (
            vec![root().rule(Rule::new(Match::all().vlan_priority(8)))],
            "class 1:0, rule 1: vlan_priority 8 is too large; write 0 to 7",
        ),
        (
            vec![
                root()
                    .rule(all())
                    .rule(all().action(Action::SetVlanPriority(8))),
            ],
            "class 1:0, rule 2: the vlan priority to set 8 is too large",
        ),
        (
            vec![root().rule(all().action(Action::Police(LimiterConfig::default())))],
            "class 1:0, rule 1: police has neither rate nor pps",
        ),
    ];
    for (programs, want) in cases {
        let said = refusal(programs);
        assert!(said.starts_with(want), "{said}\n{want}");
    }
}

#[test]
fn an_unsound_tree_is_refused_for_its_own_reason() {
    let refused = Classifier::new(&TreeConfig::default(), &ClassifierConfig::default());
    let said = refused.unwrap_err().to_string();
    assert!(said.contains("no class is the root"), "{said}");
}

#[test]
fn limits_on_rules_masks_and_tables_hold() {
    let many = |count, rule: &dyn Fn(u32) -> Match| ProgramConfig {
        rules: (0..count).map(|at| Rule::new(rule(at))).collect(),
        ..root()
    };
    let said = refusal(vec![many(4097, &|_| Match::all())]);
    assert!(
        said.starts_with("class 1:0 has 4097 rules: a class has at most 4096"),
        "{said}"
    );
    let masks = |at| Match::all().mark(Mark::new(0, at));
    let said = refusal(vec![many(9, &masks)]);
    assert!(
        said.starts_with("class 1:0, rule 9: this is one mask on the mark too many"),
        "{said}"
    );
    assert!(Classifier::new(&tree(), &ClassifierConfig::new(vec![many(8, &masks)])).is_ok());
}

#[test]
fn rules_that_take_every_frame_need_no_default() {
    let program = ProgramConfig::new(ROOT).rule(all()).rule(all().discard());
    assert!(Classifier::new(&tree(), &ClassifierConfig::new(vec![program])).is_ok());
    let leaf = ProgramConfig::new(WEB).rule(all());
    assert!(Classifier::new(&tree(), &ClassifierConfig::new(vec![leaf])).is_ok());
}

#[test]
fn frames_enter_where_they_can_be_decided() {
    let guest = ProgramConfig::new(GUEST).otherwise(BULK);
    let classifier = Classifier::new(&tree(), &ClassifierConfig::new(vec![guest])).unwrap();
    for (class, yes) in [
        (ROOT, false),
        (GUEST, true),
        (WEB, true),
        (ClassId::new(9, 9), false),
    ] {
        assert_eq!(classifier.entry(class).is_some(), yes, "{class}");
    }
}
