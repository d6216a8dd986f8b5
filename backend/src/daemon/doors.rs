//! The entrances that a change of the configuration needs: opened before anything else changes, so that
//! one that cannot be had leaves everything as it was.

use std::collections::BTreeMap;

use super::EntranceError;
use super::diff::Diff;
use super::entrance::{Entrance, same_place};
use super::opening::Opening;
use super::table::Table;
use super::token::Token;
use crate::args::FrontEnd;
use crate::config::{Config, GuestConfig};
use crate::poller::{Interest, Poller};
use crate::shard::PortId;

/// Entrances that were handed in at the start, by the names of their guests.
pub(super) type Inherited = BTreeMap<String, Entrance>;

/// Takes the descriptors that the configuration says were handed in.
pub(super) fn inherited(config: &Config) -> Result<Inherited, EntranceError> {
    let mut all = Inherited::new();
    for guest in &config.guests {
        if let Some(entrance) = Entrance::inherited(&guest.front_end)? {
            all.insert(guest.name.clone(), entrance);
        }
    }
    Ok(all)
}

/// What is ready for a change.
#[derive(Debug, Default)]
pub(super) struct Doors {
    /// Entrances that are open and watched, by the port they are for.
    fresh: BTreeMap<PortId, Entrance>,
    /// Entrances that go from one port to another, whose guest has the same socket.
    passed_on: Vec<(PortId, PortId)>,
    /// Whose access rights were changed, and what they were.
    access: Vec<(PortId, FrontEnd)>,
}

impl Doors {
    /// Opens what is needed for `new` guests and for those whose front-end is met elsewhere. When one cannot
    /// be had, nothing has changed.
    pub(super) fn open(
        old: &Config,
        diff: &Diff<'_>,
        new: &[(PortId, &GuestConfig)],
        ports: &Table,
        mut inherited: Inherited,
        opener: &Opening,
        poller: &Poller,
    ) -> Result<Self, EntranceError> {
        let moved = diff
            .changed
            .iter()
            .filter(|changed| changed.moves_entrance());
        let moved = moved.filter_map(|changed| Some((ports.find(&changed.old.name)?, changed.new)));
        let mut doors = Self::default();
        for (id, guest) in moved.chain(new.iter().copied()) {
            let opened = match inherited.remove(&guest.name) {
                Some(entrance) => doors.watch(id, entrance, poller),
                None => doors.open_one(old, (id, guest), ports, opener, poller),
            };
            if let Err(error) = opened {
                doors.undo(ports);
                return Err(error);
            }
        }
        Ok(doors)
    }

    fn open_one(
        &mut self,
        old: &Config,
        (id, guest): (PortId, &GuestConfig),
        ports: &Table,
        opener: &Opening,
        poller: &Poller,
    ) -> Result<(), EntranceError> {
        let front_end = &guest.front_end;
        let at_that_place = |guest: &&GuestConfig| same_place(&guest.front_end, front_end);
        let holder = old.guests.iter().find(at_that_place);
        let held = holder.and_then(|holder| Some((ports.find(&holder.name)?, holder)));
        let Some((from, holder)) = held else {
            return self.watch(id, Entrance::open(front_end, opener)?, poller);
        };
        if holder.front_end != *front_end
            && let Some(entrance) = ports.get(from).map(|port| port.entrance())
        {
            // Noted before it is tried: a part of it may hold when it fails.
            self.access.push((from, holder.front_end.clone()));
            entrance.set_access(front_end)?;
        }
        if from != id {
            self.passed_on.push((from, id));
        }
        Ok(())
    }

    fn watch(
        &mut self,
        id: PortId,
        entrance: Entrance,
        poller: &Poller,
    ) -> Result<(), EntranceError> {
        if let Some(fd) = entrance.fd() {
            poller
                .add(fd, Token::Entrance(id).encode(), Interest::READ)
                .map_err(EntranceError::Watch)?;
        }
        self.fresh.insert(id, entrance);
        Ok(())
    }

    /// Closes what was opened, and gives back the rights that were there.
    pub(super) fn undo(self, ports: &Table) {
        for (id, front_end) in self.access {
            let restored = ports
                .get(id)
                .map(|port| port.entrance().set_access(&front_end));
            if let Some(Err(error)) = restored {
                log::warn!(event = "not-undone"; "{error}");
            }
        }
    }

    /// The entrances by the port they are for from now on. Those that are passed on leave their ports,
    /// which have closed ones until they get others or go.
    pub(super) fn take(self, ports: &mut Table, poller: &Poller) -> BTreeMap<PortId, Entrance> {
        let mut entrances = self.fresh;
        for (from, to) in self.passed_on {
            let Some(port) = ports.get_mut(from) else {
                continue;
            };
            let entrance = port.set_entrance(Entrance::closed());
            if let Some(fd) = entrance.fd()
                && let Err(error) = poller.change(fd, Token::Entrance(to).encode(), Interest::READ)
            {
                log::error!(port = port.name, event = "epoll-failed"; "{error}");
            }
            entrances.insert(to, entrance);
        }
        entrances
    }
}
