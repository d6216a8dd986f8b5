use std::collections::HashMap;

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

const AGE: u64 = 260 * SECOND;

fn groups(capacity: usize, per_port: usize) -> Groups {
    let mut groups = Groups::new(capacity, per_port, AGE, RandomState::with_seeds(1, 2, 3, 4));
    groups.grow(8);
    groups
}

fn members(groups: &Groups, key: u64, now: u64) -> Vec<u32> {
    let mut at = groups.first(key);
    let mut found = Vec::new();
    while let Some((port, next)) = groups.next(at, now) {
        found.push(port);
        at = next;
    }
    found.sort_unstable();
    found
}

#[test]
fn a_port_has_its_share_and_no_more() {
    let mut groups = groups(8, 3);
    for key in 0..3 {
        assert_eq!(groups.join(key, 0, 0), Ok(()));
        assert_eq!(groups.join(key, 0, 0), Ok(()), "again");
    }
    assert_eq!(groups.join(3, 0, 0), Err(Full));
    assert_eq!(groups.held(0), 3);
    for key in 0..3 {
        assert_eq!(groups.join(key, 1, 0), Ok(()));
    }
    assert_eq!(groups.join(0, 2, 0), Ok(()));
    assert_eq!(groups.join(1, 2, 0), Ok(()));
    assert_eq!(groups.join(2, 2, 0), Err(Full), "in all");
    groups.forget_port(0);
    assert_eq!((groups.held(0), groups.held(1), groups.held(2)), (0, 3, 2));
    assert_eq!(members(&groups, 0, 0), [1, 2]);
    assert_eq!(groups.join(2, 2, 0), Ok(()));
}

#[test]
fn aged_groups_make_room() {
    let mut groups = groups(4, 4);
    for key in 0..4 {
        assert_eq!(groups.join(key, 0, 0), Ok(()));
    }
    assert_eq!(groups.join(9, 1, AGE - 1), Err(Full));
    assert_eq!(groups.join(9, 1, AGE), Ok(()));
    assert_eq!((groups.held(0), groups.held(1)), (0, 1));
}

#[test]
fn queriers_are_known_by_vlan_and_family() {
    let mut groups = groups(4, 4);
    assert!(groups.queried(7, Family::V6, SECOND));
    assert!(!groups.queried(7, Family::V6, SECOND));
    assert!(groups.is_queried(7, Family::V6, 2 * SECOND));
    assert!(!groups.is_queried(7, Family::V4, 2 * SECOND));
    assert!(!groups.is_queried(8, Family::V6, 2 * SECOND));
    assert!(!groups.is_queried(7, Family::V6, 256 * SECOND));
    assert!(!groups.queried(4096, Family::V6, SECOND));
    assert!(!groups.is_queried(4096, Family::V6, SECOND));
}

proptest! {
    #[test]
    fn memberships_agree_with_a_map(
        steps in vec((0..4_u8, 0..6_u64, 0..4_u32, 0..100_u64), 0..200),
    ) {
        // Nothing is ever full here.
        let mut groups = groups(24, 6);
        let mut model: HashMap<(u64, u32), u64> = HashMap::new();
        let mut now = 0;
        for (step, key, port, wait) in steps {
            now += wait * SECOND;
            match step {
                0 | 1 => {
                    prop_assert_eq!(groups.join(key, port, now), Ok(()));
                    model.insert((key, port), now + AGE);
                }
                2 => {
                    groups.leave(key, port, now);
                    if let Some(until) = model.get_mut(&(key, port)) {
                        *until = (*until).min(now + LAST_MEMBER);
                    }
                }
                _ => {
                    groups.forget_port(port);
                    model.retain(|(_, member), _| *member != port);
                }
            }
            for key in 0..6 {
                let mut expected: Vec<u32> = model.iter()
                    .filter(|((other, _), until)| *other == key && **until > now)
                    .map(|((_, port), _)| *port)
                    .collect();
                expected.sort_unstable();
                prop_assert_eq!(&members(&groups, key, now), &expected);
                for port in 0..4 {
                    prop_assert_eq!(groups.has(key, port, now), expected.contains(&port));
                }
            }
        }
        let held: usize = (0..4).map(|port| groups.held(port)).sum();
        for port in 0..4 {
            groups.forget_port(port);
        }
        prop_assert!(held <= 24);
        prop_assert_eq!((groups.first.len() + groups.members.len(), (0..4).map(|port| groups.held(port)).sum()), (0, 0_usize));
    }
}
