//! T10: who borrows how much from whom, over every combination of settings and of who is idle,
//! against the closed form in exact fractions.
#![allow(clippy::unwrap_used)] // in helpers, too, a panic is a failed test

mod common;

use common::drive::Drive;
use common::sim::{FULL, id, rate, tree};
use common::water::fill;
use qos::{ClassConfig, ClassId, TreeConfig};

const SECOND: u64 = 1_000_000_000;

/// Greedy sources on `leaves`, and a second of it: within half a percent, without more.
fn assert_closed_form(tree: &TreeConfig, leaves: &[ClassId]) {
    let mut drive = Drive::greedy(tree, leaves, FULL);
    // Bursts are 2 ms.
    drive.run_with(SECOND / 50, |_| ());
    let sent = drive.measure(SECOND);
    let demands = leaves.iter().map(|&leaf| (leaf, u64::MAX >> 8)).collect();
    let want = fill(tree, &demands);
    for (leaf, bytes) in leaves.iter().zip(sent) {
        let want = want[leaf].as_f64();
        let got = f64::from(u32::try_from(bytes).unwrap()) * 8.0;
        assert!(
            (got - want).abs() <= want * 0.005,
            "{leaf}: {got} instead of {want} of {leaves:?} in {tree:#?}"
        );
    }
}

/// Every subset of the leaves is backlogged once.
fn assert_matrix(tree: &TreeConfig, leaves: &[ClassId]) {
    for set in 1..1_u32 << leaves.len() {
        let active = (0..).zip(leaves).filter(|(n, _)| set >> n & 1 == 1);
        let active: Vec<ClassId> = active.map(|(_, &leaf)| leaf).collect();
        assert_closed_form(tree, &active);
    }
}

/// A class below `parent`, with a weight, as the closed form needs.
fn class(minor: u16, parent: u16, weight: u32) -> ClassConfig {
    ClassConfig::new(id(1, minor))
        .parent(id(1, parent))
        .weight(weight)
}

/// One of sixteen settings: with and without a rate, a ceiling, a heavier weight, a later priority.
fn set(mut class: ClassConfig, bits: usize, megabits: u64) -> ClassConfig {
    if bits & 1 != 0 {
        class = class.rate(rate(&format!("{megabits}mbit")));
    }
    if bits & 2 != 0 {
        class = class.ceil(rate(&format!("{}mbit", 2 * megabits)));
    }
    if bits & 4 != 0 {
        class = class.weight(3);
    }
    class.prio(if bits & 8 != 0 { 1 } else { 0 })
}

#[test]
fn every_pair_of_settings_on_two_levels_borrows_by_the_closed_form() {
    for first in 0..16 {
        for second in 0..16 {
            let classes = vec![
                set(class(1, 0, 1), first, 30),
                set(class(2, 0, 1), second, 20),
                class(3, 0, 2).rate(rate("10mbit")),
            ];
            let leaves = [id(1, 1), id(1, 2), id(1, 3)];
            assert_closed_form(
                &tree("100mbit", classes),
                &leaves[..2 + (first + second) % 2],
            );
        }
    }
}

#[test]
fn every_setting_of_a_guest_and_its_leaf_borrows_by_the_closed_form() {
    for guest in 0..16 {
        for leaf in 0..16 {
            // A leaf's guarantee needs its guest's.
            let guest = guest | leaf & 1;
            let classes = vec![
                set(class(1, 0, 1), guest, 40),
                class(2, 0, 1).rate(rate("20mbit")),
                set(class(3, 1, 1), leaf, 15),
                class(4, 1, 1),
            ];
            let leaves = [id(1, 2), id(1, 3), id(1, 4)];
            assert_closed_form(
                &tree("100mbit", classes),
                &leaves[..2 + (guest + leaf / 2) % 2],
            );
        }
    }
}

#[test]
fn two_levels_borrow_by_the_closed_form_whoever_is_idle() {
    let classes = vec![
        class(1, 0, 1).rate(rate("30mbit")),
        class(2, 0, 3).rate(rate("10mbit")).ceil(rate("50mbit")),
        class(3, 0, 2).prio(1),
        class(4, 0, 1).prio(1).rate(rate("5mbit")),
        class(5, 0, 1).prio(3).ceil(rate("20mbit")),
    ];
    let leaves: Vec<ClassId> = (1..6).map(|minor| id(1, minor)).collect();
    assert_matrix(&tree("100mbit", classes), &leaves);
}

#[test]
fn three_levels_borrow_from_the_nearest_first_whoever_is_idle() {
    let classes = vec![
        class(1, 0, 40).rate(rate("40mbit")).ceil(rate("100mbit")),
        class(2, 0, 60)
            .rate(rate("60mbit"))
            .ceil(rate("90mbit"))
            .prio(1),
        class(3, 1, 30).rate(rate("30mbit")),
        class(4, 1, 10).rate(rate("10mbit")).prio(1),
        class(5, 2, 1).rate(rate("20mbit")),
        class(6, 2, 1).ceil(rate("30mbit")),
    ];
    let leaves: Vec<ClassId> = (3..7).map(|minor| id(1, minor)).collect();
    assert_matrix(&tree("100mbit", classes), &leaves);
}

/// The tree of the HTB user guide (Devera 2002), ten times as fast in megabits: customer A has 40 of
/// 100, of which 30 for WWW and 10 for SMTP, and B has 60.
fn user_guide(ceil_a: &str, prio_smtp: u8) -> TreeConfig {
    let leaf = |minor, parent, megabits: u32| {
        let class = class(minor, parent, megabits);
        class.rate(rate(&format!("{megabits}mbit")))
    };
    let classes = vec![
        leaf(2, 0, 40).ceil(rate(ceil_a)),
        leaf(10, 2, 30),
        leaf(11, 2, 10).prio(prio_smtp),
        leaf(12, 0, 60),
    ];
    tree("100mbit", classes)
}

/// What A's WWW, A's SMTP and B get, in Mbit/s, with those whose demand is absent idle.
fn assert_user_guide(tree: &TreeConfig, want: [Option<f64>; 3]) {
    let all = [id(1, 10), id(1, 11), id(1, 12)];
    let active = all.iter().zip(want).filter(|(_, want)| want.is_some());
    let leaves: Vec<ClassId> = active.map(|(&leaf, _)| leaf).collect();
    assert_closed_form(tree, &leaves);
    let mut drive = Drive::greedy(tree, &leaves, FULL);
    drive.run_with(SECOND / 50, |_| ());
    let sent = drive.measure(SECOND);
    for (bytes, want) in sent.into_iter().zip(want.into_iter().flatten()) {
        let got = f64::from(u32::try_from(bytes).unwrap()) * 8e-6;
        assert!(
            (got - want).abs() <= want * 0.005,
            "{got} instead of {want}"
        );
    }
}

#[test]
fn the_cases_of_the_htb_user_guide_come_out_as_it_says() {
    let free = user_guide("100mbit", 0);
    // All busy: each its own.
    assert_user_guide(&free, [Some(30.0), Some(10.0), Some(60.0)]);
    // What SMTP leaves goes to its sibling first: A keeps its 40.
    assert_user_guide(&free, [Some(40.0), None, Some(60.0)]);
    // B idle: A's classes take all, 3 to 1.
    assert_user_guide(&free, [Some(75.0), Some(25.0), None]);
    // A idle: B takes all; and each of A's alone.
    assert_user_guide(&free, [None, None, Some(100.0)]);
    assert_user_guide(&free, [None, Some(100.0), None]);
    // A's ceiling of 60 binds what it borrows.
    let capped = user_guide("60mbit", 0);
    assert_user_guide(&capped, [Some(45.0), Some(15.0), None]);
    assert_user_guide(&capped, [Some(60.0), None, None]);
    // SMTP of later priority: what is left over is WWW's alone.
    let later = user_guide("100mbit", 1);
    assert_user_guide(&later, [Some(90.0), Some(10.0), None]);
    assert_user_guide(&later, [Some(30.0), Some(10.0), Some(60.0)]);
}
