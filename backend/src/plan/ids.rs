//! Which class of an uplink's trees is which guest's: a class keeps its id when the configuration changes
//! around it, and so its queue, its credit and its counters.

use std::collections::BTreeMap;
use std::sync::Arc;

use qos::ClassId;

use crate::config::{Config, Direction, GuestConfig, GuestTree};

/// Numbers below this are for classes that every tree has.
const FIRST: u32 = 0x1_0000;

/// Ids given to classes by the name of the guest and their own. A copy shares what stays the same.
#[derive(Clone, Debug)]
pub struct Ids {
    guests: BTreeMap<String, Arc<Given>>,
    next: u32,
}

/// What one guest's classes were given.
#[derive(Clone, Debug)]
struct Given {
    own: u32,
    classes: BTreeMap<String, u32>,
}

impl Default for Ids {
    fn default() -> Self {
        Self {
            guests: BTreeMap::new(),
            next: FIRST,
        }
    }
}

impl Ids {
    /// The ids of a guest's classes, in their order: below the uplink, and below that of local frames.
    pub(super) fn pairs(&mut self, guest: &GuestConfig, tree: &GuestTree) -> Vec<[ClassId; 2]> {
        self.given(guest, tree).pairs(tree)
    }

    /// The same of a guest whose classes were given ids before; none of another.
    pub fn known(&self, guest: &GuestConfig, tree: &GuestTree) -> Vec<[ClassId; 2]> {
        let given = self.guests.get(&guest.name);
        given.map_or_else(Vec::new, |given| given.pairs(tree))
    }

    fn given(&mut self, guest: &GuestConfig, tree: &GuestTree) -> &Given {
        let mut next = self.next;
        let mut take = || {
            let number = next;
            next = next.saturating_add(2);
            number
        };
        let given = self.guests.entry(guest.name.clone()).or_insert_with(|| {
            Arc::new(Given {
                own: take(),
                classes: BTreeMap::new(),
            })
        });
        for name in tree.names.values() {
            if !given.classes.contains_key(name) {
                let number = take();
                Arc::make_mut(given).classes.insert(name.clone(), number);
            }
        }
        self.next = next;
        given
    }

    /// Forgets guests and classes that the configuration does not have, so that those that come and go do
    /// not add up. Their numbers are not given again.
    pub fn forget_others(&mut self, config: &Config) {
        let guests = config.guests.iter();
        let guests: BTreeMap<_, _> = guests.map(|guest| (guest.name.as_str(), guest)).collect();
        self.guests.retain(|name, given| {
            let Some(guest) = guests.get(name.as_str()) else {
                return false;
            };
            let has = |name: &String| {
                let trees = Direction::BOTH.map(|direction| guest.tree(direction));
                trees
                    .iter()
                    .any(|tree| tree.names.values().any(|own| own == name))
            };
            if !given.classes.keys().all(has) {
                Arc::make_mut(given).classes.retain(|name, _| has(name));
            }
            true
        });
    }
}

impl Given {
    fn pairs(&self, tree: &GuestTree) -> Vec<[ClassId; 2]> {
        let number = |class: ClassId| match tree.names.get(&class) {
            Some(name) => self.classes.get(name).copied(),
            None => Some(self.own),
        };
        let classes = tree.classes.iter();
        let numbers = classes.map(|class| number(class.id).unwrap_or(self.own));
        numbers.map(pair).collect()
    }
}

fn pair(number: u32) -> [ClassId; 2] {
    [number, number.saturating_add(1)].map(id)
}

fn id(number: u32) -> ClassId {
    let [a, b, c, d] = number.to_be_bytes();
    ClassId::new(u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]))
}
