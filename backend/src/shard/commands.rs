//! What the shard does when it is told something: rings and memory come and go between turns.

use std::fmt::Display;
use std::sync::Arc;
use std::sync::mpsc::SyncSender;

use qos::{Frame, Offer};
use ring::GuestMap;

use super::Shard;
use super::change::TreesChange;
use super::counters::DropReason;
use super::lan::Lan;
use super::mailbox::{Command, PortCommand, PortId, RingStart};
use super::port::{Now, Pair, Port, Ports};
use super::tree::{Path, Tree};
use super::work::Work;
use super::{offload, rarp, tag};
use crate::control::Direction;
use crate::poller::Poller;
use crate::switch::TagChange;
use crate::uplink::Offload;

/// A drain that was asked for.
#[derive(Debug)]
pub(super) struct Drain {
    /// Until when, in monotonic nanoseconds, as long as nobody was told that it is over.
    pub(super) deadline: Option<u64>,
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
            Command::Change(change, answer) => {
                let applied = self.change(*change);
                // Whoever asked may have given up meanwhile.
                let _ = answer.send(applied);
            }
            Command::Count(mut inquiry, answer) => {
                self.count(&mut inquiry);
                // Whoever asked may have given up meanwhile.
                let _ = answer.send(inquiry);
            }
            Command::Drain(deadline, done) => {
                self.drain = Some(Drain {
                    deadline: Some(deadline),
                    done,
                });
            }
            Command::Ping(answer) => {
                // Whoever asked may have given up meanwhile.
                let _ = answer.send(());
            }
            Command::Port(PortId(index), command) => self.apply_to_port(index, command),
        }
    }

    /// Answers a drain when nothing waits any more or its time is up.
    pub(super) fn answer_drain(&mut self, now: Now) {
        let Some(drain) = &mut self.drain else {
            return;
        };
        let over = |deadline: u64| self.work.pool.is_empty() || now.nanos >= deadline;
        if drain.deadline.is_some_and(over) {
            drain.deadline = None;
            // Whoever asked may have given up meanwhile.
            let _ = drain.done.send(());
        }
    }

    /// Applies one command. Those who wait for an answer may have gone: that is their affair.
    fn apply_to_port(&mut self, index: u32, command: PortCommand) {
        let poller = &self.poller;
        let Some(port) = self.ports.get_mut(index) else {
            return;
        };
        let lan = port.lan;
        match command {
            PortCommand::Start(vring, start) => port.start_ring(vring, *start, poller),
            PortCommand::Stop(vring, answer) => {
                let next = port.slot(vring).map_or(0, |slot| slot.stop(poller));
                let _ = answer.send(next);
            }
            PortCommand::Enable(vring, enabled, done) => {
                if let Some(slot) = port.slot(vring) {
                    slot.enable(enabled);
                }
                let _ = done.send(());
            }
            PortCommand::Kick(vring, kick) => {
                let set = port
                    .slot(vring)
                    .map_or(Ok(()), |slot| slot.set_kick(kick, poller));
                if let Err(error) = set {
                    port.break_ring(vring, &error, poller);
                }
            }
            PortCommand::Call(vring, call) => {
                if let Some(slot) = port.slot(vring) {
                    slot.set_call(call);
                }
                return;
            }
            PortCommand::Err(vring, err) => {
                if let Some(slot) = port.slot(vring) {
                    slot.set_err(err);
                }
                return;
            }
            PortCommand::Break(vring) => {
                port.break_ring(vring, &"the front-end took its memory away", poller);
            }
            PortCommand::Memory(map, done) => {
                // These keep the old generation mapped.
                self.work.chain.clear();
                self.work.gather.clear();
                port.set_memory(map, poller);
                let _ = done.send(());
            }
            PortCommand::Detach(done) => {
                self.work.chain.clear();
                self.work.gather.clear();
                port.reset(poller);
                let _ = done.send(());
                port.log_counters();
            }
            PortCommand::Announce(mac) => return self.announce(index, mac),
            PortCommand::Mtu(mtu) => return self.note_mtu(index, mtu),
            PortCommand::Rings(answer) => {
                let _ = answer.send(port.ring_reports());
                return;
            }
            PortCommand::KickAll(done) => {
                port.call_all();
                let _ = done.send(());
            }
            PortCommand::Pause(paused, done) => {
                if let Some(Some(lan)) = self.lans.get_mut(lan as usize) {
                    lan.pause(port, paused, Now::read());
                }
                let _ = done.send(());
            }
            PortCommand::Capture(tap, answer) => {
                let _ = answer.send(port.capture_by(tap));
                return;
            }
            PortCommand::Explain(direction, frame, answer) => {
                if let Some(explained) = self.explain(index, direction, &frame) {
                    let _ = answer.send(explained);
                }
                return;
            }
        }
        let Some(Some(lan)) = self.lans.get_mut(lan as usize) else {
            return;
        };
        lan.settle(&mut self.ports, &self.poller);
        if let Some(port) = self.ports.get_mut(index) {
            lan.go_on(port, Now::read());
        }
        if !lan.pending {
            lan.pending = true;
            self.pending.push_back(lan.index);
        }
    }

    /// Tells the uplink's switches where the guest is now.
    fn announce(&mut self, index: u32, mac: [u8; 6]) {
        let Some(port) = self.ports.get(index) else {
            return;
        };
        let Some(Some(lan)) = self.lans.get_mut(port.lan as usize) else {
            return;
        };
        let tag = match lan.sole {
            Some(_) => Some(TagChange::Keep),
            None => lan.announced(index, &rarp::announcement(mac), Now::read()),
        };
        if tag.is_some_and(|tag| lan.write_announcement(mac, tag)) {
            log::info!(port = port.name, event = "announced"; "");
        } else {
            log::warn!(
                port = port.name, event = "not-announced";
                "the uplink does not take the guest's announcement"
            );
        }
    }

    /// The uplink of this port has another MTU, which bounds what is read from it.
    fn note_mtu(&mut self, index: u32, mtu: u16) {
        let Some(port) = self.ports.get(index) else {
            return;
        };
        if let Some(Some(lan)) = self.lans.get_mut(port.lan as usize) {
            lan.uplink.note_mtu(mtu);
        }
    }
}

impl Port {
    fn start_ring(&mut self, vring: usize, start: RingStart, poller: &Poller) {
        self.features = start.features;
        let map = self.map.clone();
        let Some(slot) = self.slot(vring) else { return };
        match slot.start(start, map.as_ref(), poller) {
            Ok(()) => log::debug!(port = self.name, ring = vring, state = "running"; ""),
            Err(error) => self.break_ring(vring, &error, poller),
        }
    }

    /// Takes a ring out of use for something the guest or the front-end did.
    pub(super) fn break_ring(&mut self, vring: usize, fault: &dyn Display, poller: &Poller) {
        self.counters.broken_rings += 1;
        log::warn!(
            port = self.name, ring = vring, state = "broken";
            "{fault}; it stays out of use until the guest resets the device"
        );
        if let Some(slot) = self.slot(vring) {
            slot.broken(poller);
        }
    }

    fn set_memory(&mut self, map: Arc<GuestMap>, poller: &Poller) {
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

    pub(super) fn log_counters(&self) {
        self.counters.log(&self.name, module_path!());
    }
}

impl Lan {
    /// A transmit ring may have frames.
    pub(super) fn frames_came(&mut self, port: &mut Port, pair: usize, now: Now) {
        let Some(pair) = port.pairs.get_mut(pair) else {
            return;
        };
        pair.empty = false;
        let path = pair.path;
        if port.from.hold {
            if let Some(leaf) = port.from.first(path) {
                self.from.engine.backlogged(leaf, now.time());
            }
        } else if !port.staging {
            port.staging = true;
            self.staging.push_back(port.index);
        }
    }

    /// All of a port's rings are looked at again, because something about them changed.
    pub(super) fn go_on(&mut self, port: &mut Port, now: Now) {
        for pair in 0..port.pairs.len() {
            if port.pairs[pair].transmit.is_active() {
                self.frames_came(port, pair, now);
            }
        }
        self.unblock(port, now);
    }

    /// Brings carrier, offloads, queues and readiness in line with the rings that run.
    pub(super) fn settle(&mut self, ports: &mut Ports, poller: &Poller) {
        let runs = |pair: &Pair| pair.receive.is_active() || pair.transmit.is_active();
        let mut offload: Option<Offload> = None;
        let mut carrier = false;
        let mut listening = vec![false; self.queues.len()];
        for port in self.members.iter().filter_map(|&index| ports.get(index)) {
            if !port.pairs.iter().any(runs) {
                continue;
            }
            carrier = true;
            let own = offload::to_guest(port.features);
            offload = Some(offload.map_or(own, |other| other.and(own)));
            for (pair, queue) in port.pairs.iter().zip(&mut listening) {
                *queue |= pair.receive.is_active();
            }
        }
        if self.sole.is_none() {
            listening.fill(carrier);
        }
        let anybody = listening.contains(&true);
        for (index, listens) in listening.iter().enumerate() {
            // While nobody listens the first queue stays, or frames would have nowhere to go.
            self.attach(index, *listens || (index == 0 && !anybody));
        }
        let offload = offload.unwrap_or(Offload::NONE);
        if let Err(error) = self.uplink.set_offload(offload) {
            log::error!(uplink = self.name, event = "offload-kept"; "{error}");
        }
        if carrier != self.carrier {
            if carrier {
                self.drop_stale();
            }
            match self.uplink.set_carrier(carrier) {
                Ok(()) => self.carrier = carrier,
                Err(error) => log::warn!(uplink = self.name, event = "carrier-kept"; "{error}"),
            }
        }
        for (index, listens) in listening.into_iter().enumerate() {
            self.watch_readable(index, listens, poller);
        }
    }

    /// Sends what tells the uplink's switches where a guest is; whether that worked.
    fn write_announcement(&self, mac: [u8; 6], change: TagChange) -> bool {
        let mut unit = [0; tag::TAG_LEN + rarp::LEN];
        unit[tag::TAG_LEN..].copy_from_slice(&rarp::announcement(mac));
        let start = tag::change(&mut unit, tag::TAG_LEN, change);
        // Nothing is asked for by the header, so it may lose its end.
        let start = start + ring::HEADER_LEN - self.uplink.header_len();
        unit[start..start + self.uplink.header_len()].fill(0);
        let fd = self.uplink.fd(0);
        fd.is_some_and(|fd| rustix::io::write(fd, &unit[start..]).is_ok())
    }

    fn attach(&mut self, index: usize, attached: bool) {
        if self.queues.len() == 1 || self.queues[index].attached == attached {
            return;
        }
        match self.uplink.set_queue_enabled(index, attached) {
            Ok(()) => self.queues[index].attached = attached,
            Err(error) => {
                log::warn!(uplink = self.name, queue = index, event = "queue-kept"; "{error}")
            }
        }
    }

    /// Frames that the uplink kept since the last guest are of no use to the next.
    fn drop_stale(&mut self) {
        let mut byte = [0];
        let mut lost = 0;
        for queue in 0..self.queues.len() {
            let Some(fd) = self.uplink.fd(queue) else {
                continue;
            };
            while rustix::io::read(fd, &mut byte).is_ok() {
                lost += 1;
            }
        }
        self.refused.add(DropReason::NotListening, lost);
    }

    /// Changes both trees, or none; the frames that are dropped, and whether they were from guests.
    pub(super) fn change_trees(
        &mut self,
        change: &TreesChange,
        now: Now,
    ) -> Result<Vec<(u32, bool)>, qos::TreeError> {
        // The second one may not be refused after the first one has changed.
        if let (Some(_), Some(to)) = (&change.from_guest, &change.to_guest) {
            to.check()?;
        }
        let mut dropped = Vec::new();
        let trees: [(&mut Tree, _, bool); 2] = [
            (&mut self.from, &change.from_guest, true),
            (&mut self.to, &change.to_guest, false),
        ];
        for (tree, config, from) in trees {
            let Some(config) = config else { continue };
            let frames = tree.apply(config, now.time())?;
            let number = |token: u64| u32::try_from(token).unwrap_or(u32::MAX);
            dropped.extend(frames.into_iter().map(|token| (number(token), from)));
        }
        Ok(dropped)
    }

    /// A port's frames may wait elsewhere from now on: in its rings, or in the pool.
    pub(super) fn adapt(&mut self, port: &mut Port, work: &mut Work, now: Now) {
        if port.from.hold {
            self.staging.retain(|waits| *waits != port.index);
            port.staging = false;
            return;
        }
        for path in [Path::Uplink, Path::Local] {
            let Some(cut) = port.cut[path as usize].take() else {
                continue;
            };
            // What is left of it goes before all that is still in the ring.
            let left = work.pool.get(cut).map(|unit| unit.left);
            let queued = left.zip(port.from.first(path)).is_some_and(|(left, leaf)| {
                let frame = Frame::new(cut.into(), left);
                self.from.engine.offer(leaf, frame, now.time()) == Offer::Queued
            });
            if !queued {
                port.counters.from_guest.drops.add(DropReason::Removed, 1);
                let (reason, pool) = (DropReason::Removed.word(), &work.pool);
                port.capture_unit(Direction::FromGuest, None, reason, cut, pool);
                work.pool.free(cut);
            }
        }
    }

    /// A port is not behind this uplink any more.
    pub(super) fn drop_port(&mut self, port: &mut Port, work: &mut Work, now: Now) {
        self.unblock(port, now);
        self.members.retain(|member| *member != port.index);
        self.staging.retain(|waits| *waits != port.index);
        port.staging = false;
        for path in [Path::Uplink, Path::Local] {
            if let Some(cut) = port.cut[path as usize].take() {
                port.counters.from_guest.drops.add(DropReason::Removed, 1);
                let (reason, pool) = (DropReason::Removed.word(), &work.pool);
                port.capture_unit(Direction::FromGuest, None, reason, cut, pool);
                work.pool.free(cut);
            }
        }
        for leaf in port.from.keys() {
            self.from.disown(leaf);
        }
        for leaf in port.to.keys() {
            self.to.disown(leaf);
        }
        self.switch.remove_port(port.index);
    }
}
