//! All packet threads of the daemon, and which of them serves what.
//!
//! An uplink, its trees and the guests behind it are one shard's, for as long as the uplink is there: so
//! nothing on the way of a frame is shared between threads, and limits hold as they do with one. A new
//! uplink goes to the shard with the fewest guests. With a single shard everything is its own, and
//! nothing here is between it and whoever asks.

mod answers;
mod split;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::io;
use std::thread::JoinHandle;
use std::time::Duration;

pub(crate) use self::answers::Answers;
use crate::logging::OPERATOR;
use crate::shard::{
    Applied, Change, ChangeError, Command, Inquiry, LanId, PortHandle, PortId, Shard, ShardGone,
    ShardHandle,
};
use crate::uplink::Uplink;

/// Bytes of frames that a shard may hold at least: a few of the largest super-frames.
pub(crate) const LEAST_POOL: u64 = 1 << 20;

/// Why the packet threads did not carry a change through.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CommitError {
    /// Something of it is wrong.
    #[error(transparent)]
    Change(#[from] ChangeError),
    /// One of them ended by itself.
    #[error(transparent)]
    Gone(#[from] ShardGone),
}

/// The packet threads.
#[derive(Debug)]
pub(crate) struct Shards {
    shards: Vec<Running>,
    homes: Homes,
}

#[derive(Debug)]
struct Running {
    handle: ShardHandle,
    thread: JoinHandle<Vec<Uplink>>,
}

/// Which shard everything is on, by its number.
#[derive(Clone, Debug, Default)]
struct Homes {
    lans: BTreeMap<LanId, usize>,
    ports: BTreeMap<PortId, usize>,
}

impl Shards {
    /// Starts `count` packet threads, one at least, which poll for `poll` before they sleep and together
    /// hold at most `pool_bytes` of frames in memory, or [`LEAST_POOL`] each.
    ///
    /// # Errors
    /// When the process is out of descriptors or threads; none is left then.
    pub(crate) fn spawn(count: u16, poll: Duration, pool_bytes: u64) -> io::Result<Self> {
        let count = count.max(1);
        let pool_bytes = match count {
            1 => pool_bytes,
            _ => (pool_bytes / u64::from(count)).max(LEAST_POOL),
        };
        let mut shards = Self {
            shards: Vec::with_capacity(count.into()),
            homes: Homes::default(),
        };
        for number in 0..count {
            match Shard::spawn(number, poll, pool_bytes) {
                Ok((handle, thread)) => shards.shards.push(Running { handle, thread }),
                Err(error) => {
                    // They serve nothing yet.
                    let _ = shards.end();
                    return Err(error);
                }
            }
        }
        Ok(shards)
    }

    /// The way to one port. Nothing is there for one that no change has brought.
    pub(crate) fn port(&self, id: PortId) -> PortHandle {
        let home = self.homes.ports.get(&id).copied().unwrap_or(0);
        self.shards[home].handle.port(id)
    }

    /// Carries a change through, in one turn of every shard that it is about. What is wrong with it is found
    /// out before any of them has it, unless the system is out of something.
    pub(crate) fn change(&mut self, change: Change) -> Result<Applied, CommitError> {
        if self.shards.len() == 1 {
            let (change, shard) = (Box::new(change), &self.shards[0].handle);
            return Ok(shard.ask(|answer| Command::Change(change, answer))??);
        }
        let mut homes = self.homes.clone();
        let placed = homes.follow(&change, self.shards.len());
        let parts = split::change(change, &self.homes, &homes, self.shards.len());
        if parts.iter().filter(|part| part.is_some()).count() > 1 {
            parts.iter().flatten().try_for_each(Change::check)?;
        }
        // All have their part before any answer is waited for.
        let mut waits = Vec::with_capacity(parts.len());
        for (running, part) in self.shards.iter().zip(parts) {
            let Some(part) = part.map(Box::new) else {
                continue;
            };
            let wait = running
                .handle
                .request(|answer| Command::Change(part, answer))?;
            waits.push(wait);
        }
        let mut applied = Applied::default();
        let mut refused = Ok(());
        for wait in waits {
            match wait.recv().map_err(|_| ShardGone)? {
                Ok(part) => {
                    applied.retired.extend(part.retired);
                    applied.dropped += part.dropped;
                }
                Err(error) => refused = Err(error),
            }
        }
        self.homes = homes;
        refused?;
        for (uplink, shard) in placed {
            log::info!(target: OPERATOR, uplink, shard; "");
        }
        Ok(applied)
    }

    /// Has questions answered, those about one port at one moment, in their order.
    pub(crate) fn count(&self, inquiry: Inquiry) -> Result<Inquiry, ShardGone> {
        let ask = |running: &Running, inquiry: Box<Inquiry>| {
            let handle = &running.handle;
            handle.request(|answer| Command::Count(inquiry, answer))
        };
        if let [only] = &self.shards[..] {
            let answered = ask(only, Box::new(inquiry))?.recv();
            return answered.map(|inquiry| *inquiry).map_err(|_| ShardGone);
        }
        let (parts, order) = split::inquiry(inquiry, &self.homes, self.shards.len());
        let mut waits = Vec::with_capacity(parts.len());
        for (running, part) in self.shards.iter().zip(parts) {
            let is_empty = part.ports.is_empty() && part.lans.is_empty();
            waits.push(match is_empty {
                true => None,
                false => Some(ask(running, Box::new(part))?),
            });
        }
        let mut answers = Vec::with_capacity(waits.len());
        for wait in waits {
            answers.push(match wait {
                Some(wait) => *wait.recv().map_err(|_| ShardGone)?,
                None => Inquiry::default(),
            });
        }
        Ok(order.merge(answers))
    }

    /// Asks all for a sign of life, without waiting; none if one of them cannot be asked now.
    pub(crate) fn ping(&self) -> Option<Answers> {
        let asked = self.shards.iter().map(|running| running.handle.ping());
        asked.collect::<Option<Vec<_>>>().map(Answers::from)
    }

    /// Has all take nothing more from guests or uplinks and deliver what is queued; answered when that is
    /// done, at the latest at the deadline (monotonic nanoseconds).
    pub(crate) fn drain(&self, deadline: u64) -> Result<Answers, ShardGone> {
        let ask = |running: &Running| {
            let handle = &running.handle;
            handle.request(|done| Command::Drain(deadline, done))
        };
        let asked: Result<Vec<_>, _> = self.shards.iter().map(ask).collect();
        asked.map(Answers::from)
    }

    /// Ends all, and gives the uplinks back; and whether one had ended before.
    pub(crate) fn end(self) -> (Vec<Uplink>, Result<(), ShardGone>) {
        let told = self
            .shards
            .iter()
            .map(|running| running.handle.send(Command::End));
        // Every one is told, whatever became of another.
        let told: Vec<_> = told.collect();
        let threads = self.shards.into_iter().map(|running| running.thread);
        // A panic aborts the process, so the threads return.
        let uplinks = threads.flat_map(|thread| thread.join().unwrap_or_default());
        (uplinks.collect(), told.into_iter().collect())
    }
}

impl Homes {
    /// Brings itself in line with a change that is to come; the names of the uplinks that are new, and
    /// their shards.
    fn follow(&mut self, change: &Change, count: usize) -> Vec<(String, usize)> {
        for id in &change.ports_gone {
            self.ports.remove(id);
        }
        for id in &change.lans_gone {
            self.lans.remove(id);
        }
        let mut guests: BTreeMap<LanId, usize> = BTreeMap::new();
        for port in &change.ports {
            *guests.entry(port.lan).or_default() += 1;
        }
        let guests = |id| guests.get(&id).copied().unwrap_or(0);
        let new = change.lans.iter();
        let mut new: Vec<_> = new
            .filter(|lan| !self.lans.contains_key(&lan.id))
            .map(|lan| (lan.id, &lan.name))
            .collect();
        for port in &change.ports {
            if let Some(home) = self.lans.get(&port.lan) {
                self.ports.insert(port.id, *home);
            }
        }
        // Those with the most guests first, so that the others can make up for them.
        new.sort_by_key(|(id, _)| std::cmp::Reverse(guests(*id)));
        let mut loads = self.loads(count);
        let mut placed = Vec::with_capacity(new.len());
        for (id, name) in new {
            let loads_of = loads.iter_mut().enumerate();
            let Some((shard, load)) = loads_of.min_by_key(|(_, load)| **load) else {
                continue;
            };
            load.guests += guests(id);
            load.uplinks += 1;
            self.lans.insert(id, shard);
            placed.push((name.clone(), shard));
        }
        for port in &change.ports {
            if let Some(home) = self.lans.get(&port.lan) {
                self.ports.insert(port.id, *home);
            }
        }
        placed
    }

    /// What every shard has to serve.
    fn loads(&self, count: usize) -> Vec<Load> {
        let mut loads = vec![Load::default(); count];
        for home in self.ports.values() {
            loads[*home].guests += 1;
        }
        for home in self.lans.values() {
            loads[*home].uplinks += 1;
        }
        loads
    }
}

/// What a shard has to serve. Guests count first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Load {
    guests: usize,
    uplinks: usize,
}
