//! What a division promises, for random wants, and for parts that take notice in any order.

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

const GBIT: u64 = 1_000_000_000;

fn want(rate: u64, guaranteed: u64, weight: u32) -> Want {
    Want {
        rate,
        guaranteed,
        weight,
    }
}

fn divided(total: u64, wants: &[Want]) -> Vec<u64> {
    let mut parts = vec![0; wants.len()];
    divide(total, wants, &mut parts);
    parts
}

fn sum(parts: &[u64]) -> u128 {
    parts.iter().map(|part| u128::from(*part)).sum()
}

fn rates() -> impl Strategy<Value = u64> {
    prop_oneof![
        Just(0),
        Just(u64::MAX),
        1_u64..20,
        1_000_u64..1_000 * GBIT,
        any::<u64>()
    ]
}

fn wants() -> impl Strategy<Value = Vec<Want>> {
    let weights = prop_oneof![Just(0), 1_u32..10, any::<u32>()];
    let one = (rates(), rates(), weights);
    vec(
        one.prop_map(|(rate, floor, weight)| want(rate, floor, weight)),
        1..17,
    )
}

#[test]
fn shares_follow_the_weights_and_what_one_does_not_want_is_the_others() {
    let all = u64::MAX;
    let rows: [(&[Want], &[u64]); 7] = [
        (&[want(all, 0, 1), want(all, 0, 1)], &[500, 500]),
        (&[want(all, 0, 3), want(all, 0, 1)], &[750, 250]),
        (&[want(100, 0, 3), want(all, 0, 1)], &[100, 900]),
        // A guarantee comes first, and the rest is divided by weight.
        (&[want(all, 600, 1), want(all, 0, 1)], &[800, 200]),
        // Nobody is given what he is guaranteed and does not want, while others do.
        (&[want(0, 600, 1), want(all, 0, 1)], &[0, 1000]),
        // What nobody wants is for whoever begins.
        (&[want(0, 0, 1), want(200, 0, 1)], &[400, 600]),
        // Guarantees that do not fit are cut in proportion.
        (&[want(all, 1500, 1), want(all, 500, 9)], &[750, 250]),
    ];
    for (wants, parts) in rows {
        assert_eq!(divided(1000, wants), parts, "{wants:?}");
    }
    assert_eq!(divided(1000, &[]), []);
}

proptest! {
    #[test]
    fn the_parts_are_the_whole(total: u64, wants in wants()) {
        prop_assert_eq!(sum(&divided(total, &wants)), u128::from(total));
    }

    #[test]
    fn a_guarantee_that_is_admitted_is_given_as_far_as_it_is_wanted(total: u64, wants in wants()) {
        let floors: Vec<_> = wants.iter().map(Want::floor).collect();
        if sum(&floors) <= total.into() {
            for (part, floor) in divided(total, &wants).iter().zip(&floors) {
                prop_assert!(part >= floor);
            }
        }
    }

    /// Weighted max-min: nobody has more over his guarantee, by weight, than one who wants more.
    #[test]
    fn nobody_has_more_at_the_cost_of_one_with_less(total: u64, wants in wants()) {
        let floors: Vec<_> = wants.iter().map(Want::floor).collect();
        prop_assume!(sum(&floors) <= total.into());
        let parts = divided(total, &wants);
        let extra = |at: usize| u128::from(parts[at] - floors[at]);
        // What rounding down takes from each, and gives to the first.
        let rounding = wants.len() as u128;
        for (own, want) in wants.iter().enumerate().filter(|(at, want)| parts[*at] < want.rate) {
            for (at, other) in wants.iter().enumerate() {
                prop_assert!(u128::from(parts[at]) <= u128::from(other.rate) + rounding);
                let most = (extra(own) + rounding) * other.weight() + rounding * want.weight();
                prop_assert!(extra(at) * want.weight() <= most, "{at} against {own}: {parts:?}");
            }
        }
    }

    /// A part's wants change what others get, but never their guarantee or the order of their shares.
    #[test]
    fn whoever_wants_more_gets_no_less(total: u64, wants in wants(), at: prop::sample::Index, more: u64) {
        let at = at.index(wants.len());
        let before = divided(total, &wants);
        let mut greedy = wants.clone();
        greedy[at].rate = wants[at].rate.saturating_add(more);
        let after = divided(total, &greedy);
        let rounding = wants.len() as u64;
        let useful = before[at].min(wants[at].rate);
        prop_assert!(after[at].saturating_add(rounding) >= useful);
    }
}

/// What happens between those who divide and those who send.
#[derive(Clone, Debug)]
enum Step {
    Renew(Vec<Want>),
    /// A part looks at its lease and goes by it from now on.
    Look(prop::sample::Index),
    /// It is known what a part goes by.
    Known(prop::sample::Index),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        wants().prop_map(Step::Renew),
        any::<prop::sample::Index>().prop_map(Step::Look),
        any::<prop::sample::Index>().prop_map(Step::Known),
    ];
    vec(step, 1..50)
}

/// As many wants as there are parts.
fn fit(mut wants: Vec<Want>, parts: usize) -> Vec<Want> {
    wants.resize(parts, Want::default());
    wants
}

proptest! {
    // Each case is a long script.
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// The bound: the rates gone by never add up to more than the whole, in whatever order the parts
    /// look and are heard of.
    #[test]
    fn the_rates_gone_by_never_exceed_the_whole(total: u64, parts in 1_usize..9, steps in steps()) {
        let mut leases = Leases::new(total, parts);
        let mut goes_by: Vec<_> = (0..parts).map(|part| leases.lease(part)).collect();
        for step in steps {
            match step {
                Step::Renew(wants) => leases.renew(&fit(wants, parts)),
                Step::Look(part) => {
                    let part = part.index(parts);
                    goes_by[part] = leases.lease(part);
                }
                Step::Known(part) => {
                    let part = part.index(parts);
                    if goes_by[part] == leases.lease(part) {
                        leases.went_by(part);
                    }
                }
            }
            prop_assert!(sum(&goes_by) <= total.into(), "{goes_by:?}");
        }
    }

    /// Two rounds in which all take notice bring any state to the division, also of another whole.
    #[test]
    fn two_rounds_bring_what_is_wanted(
        total: u64, new: u64, parts in 1_usize..9, steps in steps(), last in wants(),
    ) {
        let mut leases = Leases::new(total, parts);
        for step in steps {
            match step {
                Step::Renew(wants) => leases.renew(&fit(wants, parts)),
                Step::Look(_) => {}
                Step::Known(part) => leases.went_by(part.index(parts)),
            }
        }
        let last = fit(last, parts);
        leases.set_total(new);
        for _ in 0..3 {
            (0..parts).for_each(|part| leases.went_by(part));
            leases.renew(&last);
        }
        let reached: Vec<_> = (0..parts).map(|part| leases.lease(part)).collect();
        prop_assert_eq!(reached, divided(new, &last));
    }

    /// Told at once and noticed within an interval, a division is overshot by what is moved in that time:
    /// no more than the interval times the whole, whatever the number of parts.
    #[test]
    fn parts_told_at_once_overshoot_by_one_interval_at_most(
        total in 0_u64..10_000 * GBIT, rounds in vec((wants(), vec(0_u64..=100, 8)), 1..8),
    ) {
        const INTERVAL: u64 = 100;
        let mut goes_by = divided(total, &[Want::default(); 8]);
        for (wants, noticed_at) in rounds {
            let parts = divided(total, &fit(wants, 8));
            let sent: u128 = goes_by
                .iter()
                .zip(&parts)
                .zip(&noticed_at)
                .map(|((old, new), at)| {
                    u128::from(*old) * u128::from(*at) + u128::from(*new) * u128::from(INTERVAL - at)
                })
                .sum();
            prop_assert!(sent <= 2 * u128::from(total) * u128::from(INTERVAL));
            let raises = goes_by.iter().zip(&parts).map(|(old, new)| new.saturating_sub(*old));
            let raised: u128 = raises.map(u128::from).sum();
            let allowed = (u128::from(total) + raised) * u128::from(INTERVAL);
            prop_assert!(sent <= allowed && raised <= u128::from(total));
            goes_by = parts;
        }
    }
}
