//! Live changes: from the configuration that is served to another one, whole or not at all.
//!
//! First everything that may fail and can be undone: sockets and uplinks are opened. Then the sessions
//! that cannot go on are ended, the packet thread is told, and last the table of ports follows.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;
use std::rc::Rc;
use std::time::Instant;

use super::diff::{Changed, Diff};
use super::differences::differences;
use super::doors::{Doors, Inherited};
use super::port::Port;
use super::service::{Change, ServiceError};
use super::{Daemon, DaemonError, Timer, control, guests, limits, notify};
use crate::config::{Config, GuestConfig};
use crate::control::{Applied, Event};
use crate::logging::OPERATOR;
use crate::session::SessionConfig;
use crate::shard::{PortId, ShardGone};

/// What ports offer their front-ends.
type Offers = BTreeMap<PortId, SessionConfig>;

impl<R: Fn(Option<&str>) -> Result<Config, String>> Daemon<R> {
    /// Reads the configuration again and serves what it says; the reason, if that cannot be done. The
    /// log says either.
    pub(super) fn reload(&mut self) -> Result<Result<Applied, String>, ShardGone> {
        notify::reloading();
        let read = (self.read)(None).and_then(|config| {
            // It is to allow what is new, and reads for itself what that is.
            let allowed = self.opener.reload().map(|()| config);
            allowed.map_err(|error| error.to_string())
        });
        let outcome = match read {
            Ok(config) => self.apply(config),
            Err(why) => {
                refused(&why);
                Ok(Err(why))
            }
        };
        notify::ready();
        outcome
    }

    /// Serves another configuration, for an operator; the reason, if that cannot be done. The log says
    /// either.
    pub(super) fn apply(&mut self, config: Config) -> Result<Result<Applied, String>, ShardGone> {
        match self.change(config, Inherited::new()) {
            Ok(applied) => {
                log::info!(
                    target: OPERATOR,
                    event = "applied",
                    guests:% = format_args!(
                        "+{}-{}~{}",
                        applied.added, applied.removed, applied.changed
                    ),
                    generation = applied.generation;
                    ""
                );
                Ok(Ok(applied))
            }
            Err(DaemonError::Shard(gone) | DaemonError::Service(ServiceError::Shard(gone))) => {
                Err(gone)
            }
            Err(error) => {
                refused(&error);
                Ok(Err(error.to_string()))
            }
        }
    }

    /// What [`Self::apply`] would come to, as far as that can be told without trying.
    pub(super) fn rehearse(&self, new: &Config) -> Applied {
        let diff = Diff::between(&self.config, new);
        Applied {
            generation: self.generation,
            dry_run: true,
            differences: differences(&diff, &self.config, new),
            ..counted(&diff)
        }
    }

    /// Serves `new` from now on. The descriptors that it says were handed in are in `inherited`.
    ///
    /// # Errors
    /// What is in the way. Unless the packet thread is gone, everything is as it was.
    pub(super) fn change(
        &mut self,
        mut new: Config,
        inherited: Inherited,
    ) -> Result<Applied, DaemonError> {
        let old = Rc::clone(&self.config);
        limits::raise(&new);
        let diff = Diff::between(&old, &new);
        let vacant = self.ports.vacant(diff.new.len());
        let added: Vec<_> = vacant.into_iter().zip(diff.new.iter().copied()).collect();
        let (ports, opener) = (&self.ports, &self.opener);
        let doors = Doors::open(&old, &diff, &added, ports, inherited, opener, &self.poller)?;
        let served = self.serve_as(&diff, &old, &new, added.clone());
        let (listener, offers) = match served {
            Ok(served) => served,
            Err(error) => {
                doors.undo(&self.ports);
                return Err(error);
            }
        };
        if let Some(listener) = listener {
            self.control.listen(listener);
        } else if let Some(control) = &new.control {
            self.control.set_group(control.group);
        }
        let unserved = self.follow(&diff, added, doors, offers);
        let differences = differences(&diff, &old, &new);
        if *old != new {
            self.generation += 1;
            self.history.push(self.generation, &differences);
        }
        let applied = Applied {
            generation: self.generation,
            differences,
            ..counted(&diff)
        };
        if self.generation > 1 && old.poll != new.poll {
            log::warn!(
                target: OPERATOR,
                event = "not-applied";
                "how long to poll changes when the daemon is restarted"
            );
        }
        if self.generation > 1 && old.shards != new.shards {
            log::warn!(
                target: OPERATOR,
                event = "not-applied";
                "the number of shards changes when the daemon is restarted"
            );
        }
        if self.generation > 1 && old.metrics != new.metrics {
            log::warn!(
                target: OPERATOR,
                event = "not-applied";
                "where metrics are told changes when the daemon is restarted"
            );
        }
        if self.generation > 1 && old.sandbox != new.sandbox {
            log::warn!(
                target: OPERATOR,
                event = "not-applied";
                "the sandbox changes when the daemon is restarted"
            );
        }
        // The next reload tries them again, as new ones.
        new.guests.retain(|guest| !unserved.contains(&guest.name));
        self.config = Rc::new(new);
        self.publish(&Event::Applied {
            generation: applied.generation,
            differences: applied.differences.clone(),
        });
        Ok(applied)
    }

    /// Opens what is left to be opened, ends the sessions that cannot go on, and has the packet thread
    /// serve the new configuration. Gives the new control socket, if that is another now, and what the
    /// new ports, and those made anew, offer.
    fn serve_as(
        &mut self,
        diff: &Diff<'_>,
        old: &Config,
        new: &Config,
        added: Vec<(PortId, &GuestConfig)>,
    ) -> Result<(Option<Option<control::Open>>, Offers), DaemonError> {
        let ids = |changed: &Changed<'_>| self.ports.find(&changed.old.name);
        let changed = diff.changed.iter();
        let changed = changed.filter_map(|changed| Some((ids(changed)?, changed)));
        let (ending, going_on): (Vec<_>, Vec<_>) =
            changed.partition(|(_, changed)| changed.ends_session.is_some());
        let gone = diff.gone.iter();
        let change = Change {
            config: new,
            removed: gone
                .filter_map(|guest| self.ports.find(&guest.name))
                .collect(),
            added,
            replaced: guests(&ending),
            retuned: guests(&going_on),
            kept: self
                .ports
                .iter()
                .map(|(id, port)| (port.name.clone(), id))
                .collect(),
        };
        let path = |config: &Config| config.control.as_ref().map(|control| control.path.clone());
        let listener = if path(old) == path(new) {
            None
        } else {
            let place = new.control.as_ref();
            Some(
                place
                    .map(|place| control::open(place, &self.opener, &self.poller))
                    .transpose()?,
            )
        };
        let prepared = self.service.prepare(&change)?;
        for id in &change.removed {
            self.end_session(*id, "the guest is not configured any more");
        }
        for (id, changed) in &ending {
            self.end_session(*id, changed.ends_session.unwrap_or_default());
        }
        Ok((listener, self.service.commit(&change, prepared)?))
    }

    fn end_session(&mut self, id: PortId, why: &str) {
        if let Some(port) = self.ports.get_mut(id).filter(|port| port.is_busy()) {
            log::info!(
                target: OPERATOR,
                port = port.name, session = "ended";
                "{why}; its front-end has to connect again"
            );
            port.end_session(why, &self.poller);
            self.tell_of_sessions(id);
        }
    }

    /// Brings the table of ports in line with what is served now. Gives the names of the guests that could
    /// not be served after all, and have no port.
    fn follow(
        &mut self,
        diff: &Diff<'_>,
        added: Vec<(PortId, &GuestConfig)>,
        doors: Doors,
        mut offers: Offers,
    ) -> BTreeSet<String> {
        let mut unserved = BTreeSet::new();
        let mut entrances = doors.take(&mut self.ports, &self.poller);
        for guest in &diff.gone {
            self.remove(&guest.name);
            log::info!(target: OPERATOR, port = guest.name, state = "removed"; "");
        }
        for changed in &diff.changed {
            let Some(id) = self.ports.find(&changed.old.name) else {
                continue;
            };
            let Some(port) = self.ports.get_mut(id) else {
                continue;
            };
            match (offers.remove(&id), changed.ends_session) {
                (Some(offer), _) => {
                    port.set_offer(offer);
                    guests::hold_again(port, self.service.port(id));
                }
                (None, None) => {}
                (None, Some(_)) => {
                    self.remove(&changed.old.name);
                    unserved.insert(changed.new.name.clone());
                    continue;
                }
            }
            if let Some(entrance) = entrances.remove(&id) {
                // The one before closes here, and its file goes.
                drop(port.set_entrance(entrance));
            }
            self.timers
                .set(Timer::Port(id), port.deadline(Instant::now()));
            log::info!(target: OPERATOR, port = changed.new.name, state = "changed"; "");
        }
        for (id, guest) in added {
            let (Some(entrance), Some(offer)) = (entrances.remove(&id), offers.remove(&id)) else {
                unserved.insert(guest.name.clone());
                continue;
            };
            let port = Port::new(id, &guest.name, entrance, offer);
            self.timers
                .set(Timer::Port(id), port.deadline(Instant::now()));
            self.ports.insert(id, port);
            log::info!(target: OPERATOR, port = guest.name, state = "waiting"; "");
        }
        unserved
    }

    fn remove(&mut self, name: &str) {
        if let Some(id) = self.ports.find(name) {
            self.timers.set(Timer::Port(id), None);
            // Its listener closes here, and the listener's file goes.
            drop(self.ports.remove(id));
        }
    }
}

/// How many guests are different.
fn counted(diff: &Diff<'_>) -> Applied {
    Applied {
        added: diff.new.len(),
        removed: diff.gone.len(),
        changed: diff.changed.len(),
        ..Applied::default()
    }
}

fn refused(why: &dyn Display) {
    log::error!(
        target: OPERATOR,
        event = "reload-refused";
        "{why}; everything stays as it was"
    );
}

/// The guests of these ports, as they are to be.
fn guests<'a>(ports: &[(PortId, &Changed<'a>)]) -> Vec<(PortId, &'a GuestConfig)> {
    let port = |&(id, changed): &(PortId, &Changed<'a>)| (id, changed.new);
    ports.iter().map(port).collect()
}
