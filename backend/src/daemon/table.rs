//! The ports of a daemon, by number and by name.

use std::collections::{BTreeMap, BTreeSet};

use super::port::Port;
use crate::shard::PortId;

/// All ports. A new one gets the lowest number that is free, so numbers stay as few as ports.
#[derive(Debug, Default)]
pub(super) struct Table {
    slots: Vec<Option<Port>>,
    free: BTreeSet<u32>,
    names: BTreeMap<String, PortId>,
}

impl Table {
    /// The `count` lowest numbers that are free. They stay so until they are inserted.
    pub(super) fn vacant(&self, count: usize) -> Vec<PortId> {
        let above = u32::try_from(self.slots.len()).unwrap_or(u32::MAX);
        let free = self.free.iter().copied();
        free.chain(above..u32::MAX)
            .take(count)
            .map(PortId)
            .collect()
    }

    /// Puts a port under a number that was free.
    pub(super) fn insert(&mut self, id: PortId, port: Port) {
        let Ok(index) = usize::try_from(id.0) else {
            return;
        };
        while self.slots.len() <= index {
            self.free.extend(u32::try_from(self.slots.len()));
            self.slots.push(None);
        }
        self.free.remove(&id.0);
        self.names.insert(port.name.clone(), id);
        if let Some(slot) = self.slots.get_mut(index) {
            *slot = Some(port);
        }
    }

    /// Takes a port out; its number is free then.
    pub(super) fn remove(&mut self, id: PortId) -> Option<Port> {
        let port = self.slots.get_mut(usize::try_from(id.0).ok()?)?.take()?;
        self.free.insert(id.0);
        // A port of the same name may have come meanwhile.
        if self.names.get(&port.name) == Some(&id) {
            self.names.remove(&port.name);
        }
        Some(port)
    }

    /// One port.
    pub(super) fn get(&self, id: PortId) -> Option<&Port> {
        self.slots.get(usize::try_from(id.0).ok()?)?.as_ref()
    }

    /// One port, to be changed.
    pub(super) fn get_mut(&mut self, id: PortId) -> Option<&mut Port> {
        self.slots.get_mut(usize::try_from(id.0).ok()?)?.as_mut()
    }

    /// The number of the port of this guest.
    pub(super) fn find(&self, name: &str) -> Option<PortId> {
        self.names.get(name).copied()
    }

    /// All, by number.
    pub(super) fn iter(&self) -> impl Iterator<Item = (PortId, &Port)> {
        (0..)
            .map(PortId)
            .zip(&self.slots)
            .filter_map(|(id, port)| Some((id, port.as_ref()?)))
    }

    /// All, by number, to be changed.
    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = (PortId, &mut Port)> {
        (0..)
            .map(PortId)
            .zip(&mut self.slots)
            .filter_map(|(id, port)| Some((id, port.as_mut()?)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::daemon::entrance::Entrance;
    use crate::session::SessionConfig;

    fn port(id: PortId, name: &str) -> Port {
        Port::new(id, name, Entrance::closed(), SessionConfig::new(0, 2))
    }

    fn numbers(table: &Table, count: usize) -> Vec<u32> {
        table.vacant(count).into_iter().map(|id| id.0).collect()
    }

    #[test]
    fn the_lowest_free_numbers_are_given_first() {
        let mut table = Table::default();
        assert_eq!(numbers(&table, 3), [0, 1, 2]);
        for (id, name) in table.vacant(4).into_iter().zip(["a", "b", "c", "d"]) {
            table.insert(id, port(id, name));
        }
        for id in [2, 0] {
            assert!(table.remove(PortId(id)).is_some());
            assert!(table.remove(PortId(id)).is_none());
        }
        assert_eq!(numbers(&table, 4), [0, 2, 4, 5]);
        let new = PortId(2);
        table.insert(new, port(new, "e"));
        assert_eq!(table.find("e"), Some(new));
        assert_eq!(table.find("c"), None);
        let left: Vec<_> = table.iter().map(|(id, port)| (id.0, &*port.name)).collect();
        assert_eq!(left, [(1, "b"), (2, "e"), (3, "d")]);
    }

    #[test]
    fn one_beyond_the_end_leaves_those_between_free() {
        let mut table = Table::default();
        table.insert(PortId(2), port(PortId(2), "c"));
        assert_eq!(numbers(&table, 3), [0, 1, 3]);
        assert_eq!(table.iter_mut().count(), 1);
        assert!(table.get_mut(PortId(9)).is_none());
    }
}
