use std::collections::HashMap;

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

fn table(capacity: usize) -> Table<u64, u32> {
    Table::new(capacity, RandomState::with_seeds(1, 2, 3, 4))
}

#[test]
fn a_full_table_takes_nothing_and_loses_nothing() {
    let mut table = table(2);
    for key in 0..2 {
        assert!(table.insert(key, 7, 0).is_some());
    }
    assert_eq!(table.insert(2, 7, 0), None);
    assert_eq!((table.len(), table.is_full()), (2, true));
    assert!(table.find(0).is_some() && table.find(1).is_some());
    let mut none = self::table(0);
    assert_eq!(none.insert(1, 1, 0), None);
    assert_eq!((none.find(1), none.oldest()), (None, None));
}

#[test]
fn nothing_happens_at_places_without_an_entry() {
    let mut table = table(4);
    let place = table.insert(1, 7, 0).unwrap();
    assert_eq!(table.remove(place), Some(7));
    assert_eq!(table.remove(place), None);
    assert_eq!(table.remove(NONE), None);
    table.touch(NONE, 9);
    assert_eq!(table.len(), 0);
    assert_eq!(table.places().count(), 0);
}

#[test]
fn an_entry_seen_again_within_a_second_keeps_its_place() {
    let mut table = table(4);
    let first = table.insert(1, 7, 0).unwrap();
    let second = table.insert(2, 7, 1).unwrap();
    table.touch(first, FRESH - 1);
    assert_eq!(table.oldest(), Some(first));
    table.touch(first, FRESH);
    assert_eq!(table.oldest(), Some(second));
    assert_eq!(table.seen(first), Some(FRESH));
}

/// The same in a map and a list of keys, oldest first.
#[derive(Default)]
struct Model {
    values: HashMap<u64, (u32, u64)>,
    order: Vec<u64>,
}

proptest! {
    #[test]
    fn it_agrees_with_a_map_and_a_list(
        steps in vec((0..5_u8, 0..12_u64, any::<u32>(), 0..3_u64), 0..300),
    ) {
        const CAPACITY: usize = 8;
        let mut table = table(CAPACITY);
        let mut model = Model::default();
        let mut now = 0;
        for (step, key, value, wait) in steps {
            now += wait * FRESH / 2;
            let place = table.find(key);
            prop_assert_eq!(place.is_some(), model.values.contains_key(&key));
            match (step, place) {
                (0 | 1, None) => {
                    let fits = model.order.len() < CAPACITY;
                    prop_assert_eq!(table.insert(key, value, now).is_some(), fits);
                    if fits {
                        model.values.insert(key, (value, now));
                        model.order.push(key);
                    }
                }
                (1, Some(place)) => *table.value_mut(place).unwrap() = {
                    model.values.get_mut(&key).unwrap().0 = value;
                    value
                },
                (2, Some(place)) => {
                    let removed = model.values.remove(&key).map(|(value, _)| value);
                    prop_assert_eq!(table.remove(place), removed);
                    model.order.retain(|other| *other != key);
                }
                (3, Some(place)) => {
                    table.touch(place, now);
                    let seen = &mut model.values.get_mut(&key).unwrap().1;
                    if now - *seen >= FRESH {
                        *seen = now;
                        model.order.retain(|other| *other != key);
                        model.order.push(key);
                    }
                }
                (4, _) => {
                    table.remove_where(|other, _| other % 4 == key % 4);
                    model.order.retain(|other| other % 4 != key % 4);
                    model.values.retain(|other, _| other % 4 != key % 4);
                }
                _ => {}
            }
            prop_assert_eq!(table.len(), model.order.len());
            let places: Vec<u32> = table.places().collect();
            let expected: Vec<u32> = model.order.iter().map(|key| table.find(*key).unwrap()).collect();
            prop_assert_eq!(places, expected);
            for (key, (value, seen)) in &model.values {
                let place = table.find(*key).unwrap();
                prop_assert_eq!((table.value(place), table.seen(place)), (Some(*value), Some(*seen)));
            }
        }
    }
}
