//! What the shard does when it is told something: rings and memory come and go between visits.

use std::fmt::Display;
use std::io;
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::sync::mpsc::SyncSender;

use ring::GuestMap;

use super::counters::DropReason;
use super::mailbox::{Added, Command, RingStart};
use super::port::{Now, Port, PortSettings};
use super::rarp;
use super::token::{Kind, Token};
use super::{Progress, Shard, offload};
use crate::poller::{Interest, Poller};
use crate::uplink::Tap;

/// A drain that was asked for.
#[derive(Debug)]
pub(super) struct Drain {
    deadline: u64,
    done: SyncSender<()>,
}

impl Shard {
    pub(super) fn take_commands(&mut self) {
        self.mailbox.clear_wake();
        while let Some(command) = self.mailbox.take() {
            self.apply(command);
        }
    }

    fn apply(&mut self, command: Command) {
        match command {
            Command::End => self.ended = true,
            Command::AddPort(port, answer) => {
                let (tap, settings) = *port;
                let added = self.add_port(tap, &settings);
                let _ = answer.send(added);
            }
            Command::Drain(deadline, done) => {
                for port in &mut self.ports {
                    port.draining = true;
                }
                self.drain = Some(Drain { deadline, done });
            }
            command => {
                // Sessions name no port yet: a daemon has one.
                if let Some(port) = self.ports.first_mut() {
                    port.apply(command, &self.poller);
                }
            }
        }
    }

    fn add_port(&mut self, tap: Tap, settings: &PortSettings) -> Added {
        let port = Port::new(self.ports.len(), tap, settings);
        if let Err(error) = port.join(&self.poller) {
            return Err(Box::new((error, port.tap)));
        }
        self.ports.push(port);
        Ok(())
    }

    /// Answers a drain when nothing waits any more or its time is up.
    pub(super) fn drain_progress(&mut self, now: Now) -> Progress {
        let Some(drain) = &self.drain else {
            return Progress::Idle;
        };
        let waiting = self.ports.iter().any(Port::has_backlog);
        if waiting && now.nanos < drain.deadline {
            return Progress::At(drain.deadline);
        }
        // Whoever asked may have given up meanwhile.
        let _ = drain.done.send(());
        self.drain = None;
        Progress::Idle
    }
}

impl Port {
    /// Applies one command. Those who wait for an answer may have gone: that is their affair.
    fn apply(&mut self, command: Command, poller: &Poller) {
        match command {
            Command::Start(vring, start) => self.start_ring(vring, *start, poller),
            Command::Stop(vring, answer) => {
                let next = self.slot(vring).map_or(0, |slot| slot.stop(poller));
                self.after_change(poller);
                let _ = answer.send(next);
            }
            Command::Enable(vring, enabled, done) => {
                if let Some(slot) = self.slot(vring) {
                    slot.enable(enabled);
                }
                self.after_change(poller);
                let _ = done.send(());
            }
            Command::Kick(vring, kick) => {
                let set = self
                    .slot(vring)
                    .map_or(Ok(()), |slot| slot.set_kick(kick, poller));
                if let Err(error) = set {
                    self.break_ring(vring, &error, poller);
                }
            }
            Command::Call(vring, call) => {
                if let Some(slot) = self.slot(vring) {
                    slot.set_call(call);
                }
            }
            Command::Err(vring, err) => {
                if let Some(slot) = self.slot(vring) {
                    slot.set_err(err);
                }
            }
            Command::Break(vring) => {
                self.break_ring(vring, &"the front-end took its memory away", poller);
            }
            Command::Memory(map, done) => {
                self.set_memory(map, poller);
                let _ = done.send(());
            }
            Command::Detach(done) => {
                self.detach(poller);
                let _ = done.send(());
            }
            Command::Announce(mac) => self.announce(mac),
            Command::Mtu(mtu) => {
                if let Err(error) = self.tap.set_mtu(mtu) {
                    log::warn!(
                        "port={}: the guest's MTU is {mtu}, but: {error}",
                        self.tap.name()
                    );
                }
            }
            Command::Counters(answer) => {
                let _ = answer.send(self.counters.clone());
            }
            // Those of the whole shard were handled by it.
            Command::AddPort(..) | Command::Drain(..) | Command::End => {}
        }
    }

    fn start_ring(&mut self, vring: usize, start: RingStart, poller: &Poller) {
        self.features = start.features;
        let map = self.map.clone();
        let Some(slot) = self.slot(vring) else { return };
        match slot.start(start, map.as_ref(), poller) {
            Ok(()) => {
                log::debug!("port={} ring={vring} state=running", self.tap.name());
                self.set_offloads();
            }
            Err(error) => self.break_ring(vring, &error, poller),
        }
        self.after_change(poller);
    }

    /// Takes a ring out of use for something the guest or the front-end did.
    pub(super) fn break_ring(&mut self, vring: usize, fault: &dyn Display, poller: &Poller) {
        self.counters.broken_rings += 1;
        log::warn!(
            "port={} ring={vring} state=broken: {fault}; it stays out of use until the guest \
             resets the device",
            self.tap.name()
        );
        if let Some(slot) = self.slot(vring) {
            slot.broken(poller);
        }
        self.after_change(poller);
    }

    fn set_offloads(&self) {
        if let Err(error) = self.tap.set_offload(offload::to_guest(self.features)) {
            log::error!("port={}: {error}", self.tap.name());
        }
    }

    fn set_memory(&mut self, map: Arc<GuestMap>, poller: &Poller) {
        // These keep the old generation mapped.
        self.chain.clear();
        self.gather.clear();
        for vring in 0..2 * self.pairs.len() {
            let Some(slot) = self.slot(vring) else {
                continue;
            };
            if let Err(error) = slot.rebind(&map) {
                self.break_ring(vring, &error, poller);
            }
        }
        self.map = Some(map);
    }

    fn detach(&mut self, poller: &Poller) {
        for vring in 0..2 * self.pairs.len() {
            if let Some(slot) = self.slot(vring) {
                slot.stop(poller);
                slot.enable(false);
                slot.set_err(None);
            }
        }
        self.chain.clear();
        self.gather.clear();
        self.map = None;
        self.features = 0;
        self.after_change(poller);
        log::info!(
            "port={} direction=from-guest {}",
            self.tap.name(),
            self.counters.from_guest
        );
        log::info!(
            "port={} direction=to-guest {}",
            self.tap.name(),
            self.counters.to_guest
        );
    }

    /// Brings carrier, uplink queues and readiness in line with the rings that run.
    fn after_change(&mut self, poller: &Poller) {
        let listening = self.pairs.iter().any(|pair| pair.receive.is_active());
        let carrier = listening || self.pairs.iter().any(|pair| pair.transmit.is_active());
        for index in 0..self.pairs.len() {
            // While nobody listens the first queue stays, or frames would have nowhere to go.
            let listens = self.pairs[index].receive.is_active();
            self.attach(index, listens || (index == 0 && !listening));
            if !listens {
                let lost = self.pairs[index].backlog.clear();
                self.counters
                    .to_guest
                    .drops
                    .add(DropReason::NotListening, lost);
                self.pairs[index].stalled = false;
                self.pairs[index].stall_logged = false;
                self.pairs[index].blocked_since = None;
            }
            let readable = listens && !self.draining;
            self.watch_uplink(
                index,
                Interest {
                    readable,
                    ..self.pairs[index].interest
                },
                poller,
            );
        }
        if carrier != self.carrier {
            if carrier {
                self.drop_stale();
            }
            match self.tap.set_carrier(carrier) {
                Ok(()) => self.carrier = carrier,
                Err(error) => log::warn!("port={}: {error}", self.tap.name()),
            }
        }
    }

    /// Frames that the uplink kept since the last guest are of no use to the next.
    fn drop_stale(&mut self) {
        let mut lost = 0;
        for (pair, uplink) in self.pairs.iter_mut().zip(self.tap.queues()) {
            while rustix::io::read(uplink, pair.backlog.spare()).is_ok() {
                lost += 1;
            }
        }
        self.counters
            .to_guest
            .drops
            .add(DropReason::NotListening, lost);
    }

    fn attach(&mut self, pair: usize, attached: bool) {
        if self.pairs.len() == 1 || self.pairs[pair].attached == attached {
            return;
        }
        match self.tap.set_queue_enabled(pair, attached) {
            Ok(()) => self.pairs[pair].attached = attached,
            Err(error) => log::warn!("port={} queue={pair}: {error}", self.tap.name()),
        }
    }

    /// Changes what an uplink queue is watched for, if that is a change.
    pub(super) fn watch_uplink(&mut self, pair: usize, interest: Interest, poller: &Poller) {
        let Some(fd) = self.tap.queues().get(pair).map(AsRawFd::as_raw_fd) else {
            return;
        };
        if self.uplink_gone || self.pairs[pair].interest == interest {
            return;
        }
        let token = Token {
            port: self.index,
            kind: Kind::Uplink(pair),
        }
        .encode();
        match poller.change(fd, token, interest) {
            Ok(()) => self.pairs[pair].interest = interest,
            Err(error) => log::error!("port={} queue={pair}: {error}", self.tap.name()),
        }
    }

    /// The uplink's device was taken away: its queues would report that for ever.
    pub(super) fn uplink_is_gone(&mut self, poller: &Poller) {
        if self.uplink_gone {
            return;
        }
        self.uplink_gone = true;
        log::error!(
            "port={} uplink=gone: the tap was deleted; restart the daemon to have it again",
            self.tap.name()
        );
        for queue in self.tap.queues() {
            // Those that cannot be removed are not in the set.
            let _ = poller.remove(queue.as_raw_fd());
        }
    }

    /// The uplink takes frames again.
    pub(super) fn uplink_writable(&mut self, pair: usize, poller: &Poller) {
        if let Some(interest) = self.pairs.get(pair).map(|pair| pair.interest) {
            self.watch_uplink(
                pair,
                Interest {
                    writable: false,
                    ..interest
                },
                poller,
            );
        }
    }

    /// Tells the uplink's switches where the guest is now.
    fn announce(&mut self, mac: [u8; 6]) {
        let unit = rarp::announcement(mac);
        let sent = self
            .tap
            .queues()
            .first()
            .map(|uplink| rustix::io::write(uplink, &unit));
        match sent {
            Some(Ok(_)) => log::info!("port={} event=announced", self.tap.name()),
            Some(Err(error)) => log::warn!(
                "port={}: cannot announce the guest: {}",
                self.tap.name(),
                io::Error::from(error)
            ),
            None => {}
        }
    }

    /// Whether frames wait for the guest.
    fn has_backlog(&self) -> bool {
        self.pairs
            .iter()
            .any(|pair| pair.receive.is_active() && !pair.backlog.is_empty())
    }
}
