//! What is asked of one guest: where its rings stand, a push, a pause.

use std::sync::mpsc::SyncSender;

use super::Daemon;
use super::port::Port;
use crate::config::Known;
use crate::control::Event;
use crate::control::answer::Rings;
use crate::logging::OPERATOR;
use crate::shard::{PortCommand, PortHandle, PortId, ShardGone};

/// Why nothing can be asked of a guest.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum GuestError {
    /// No guest has this name.
    #[error("there is no guest {0}")]
    Unknown(Known),
    /// The packet thread does not have its port.
    #[error("guest `{0}` is not served: its uplink could not be opened; see the daemon's log")]
    Unserved(String),
}

impl<R> Daemon<R> {
    /// Where a guest's rings stand.
    pub(super) fn rings(&self, guest: &str) -> Result<Result<Rings, GuestError>, ShardGone> {
        let rings = self.ask(guest, PortCommand::Rings)?;
        Ok(rings.map(|rings| Rings {
            guest: guest.to_owned(),
            rings,
        }))
    }

    /// Has a guest's rings looked at, and calls the guest.
    pub(super) fn kick(&self, guest: &str) -> Result<Result<(), GuestError>, ShardGone> {
        self.ask(guest, PortCommand::KickAll)
    }

    /// Holds a guest's frames, or lets them go.
    pub(super) fn pause(
        &mut self,
        guest: &str,
        paused: bool,
    ) -> Result<Result<(), GuestError>, ShardGone> {
        if let Err(error) = self.ask(guest, |done| PortCommand::Pause(paused, done))? {
            return Ok(Err(error));
        }
        let port = self.ports.find(guest).and_then(|id| self.ports.get_mut(id));
        if let Some(port) = port.filter(|port| port.is_paused() != paused) {
            port.set_paused(paused);
            let state = if paused { "paused" } else { "going-on" };
            log::info!(target: OPERATOR, port = guest, state; "");
            self.publish(&Event::Paused {
                guest: guest.to_owned(),
                paused,
            });
        }
        Ok(Ok(()))
    }

    /// The port of a guest.
    pub(super) fn port_of(&self, guest: &str) -> Result<PortId, GuestError> {
        let known = || self.config.guests.iter().map(|guest| guest.name.as_str());
        self.ports
            .find(guest)
            .ok_or_else(|| GuestError::Unknown(Known::new(guest, known())))
    }

    /// Asks the port of a guest, and waits for the answer.
    pub(super) fn ask<T>(
        &self,
        guest: &str,
        make: impl FnOnce(SyncSender<T>) -> PortCommand,
    ) -> Result<Result<T, GuestError>, ShardGone> {
        let port = match self.port_of(guest) {
            Ok(id) => self.service.port(id),
            Err(error) => return Ok(Err(error)),
        };
        // No answer comes from a port that is not there.
        let answer = port.request(make)?.recv();
        Ok(answer.map_err(|_| GuestError::Unserved(guest.to_owned())))
    }
}

/// Has the frames of a port that was made anew held, if they were before. Its guest can only connect later.
pub(super) fn hold_again(port: &Port, handle: PortHandle) {
    if port.is_paused()
        && let Err(error) = handle.request(|done| PortCommand::Pause(true, done))
    {
        log::error!(port = port.name; "{error}");
    }
}
