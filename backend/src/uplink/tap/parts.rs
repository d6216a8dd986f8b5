//! A tap taken apart and put together again, in another process.

use std::os::fd::OwnedFd;

use serde::{Deserialize, Serialize};

use super::Tap;
use crate::uplink::facts::check_count;
use crate::uplink::{IfName, UplinkError};

/// What there is to know of a [`Tap`] besides its descriptors.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TapFacts {
    /// The tap's name.
    pub name: IfName,
    /// Its interface index.
    pub index: u32,
    /// Its MTU in bytes, without the Ethernet header.
    pub mtu: u16,
    /// Whether it was made for more than one queue.
    pub multi_queue: bool,
    /// Whether we made it, and so remove it.
    pub made_by_us: bool,
    /// Queue pairs that are open, one descriptor each.
    pub queues: usize,
}

impl Tap {
    /// Takes the tap apart. All its queues count as enabled when it is put together again.
    pub fn into_parts(self) -> (TapFacts, Vec<OwnedFd>) {
        let facts = TapFacts {
            name: self.name,
            index: self.index,
            mtu: self.mtu,
            multi_queue: self.multi_queue,
            made_by_us: self.made_by_us,
            queues: self.queues.len(),
        };
        (facts, self.queues)
    }

    /// Puts together what [`Tap::into_parts`] took apart.
    pub fn from_parts(facts: TapFacts, fds: Vec<OwnedFd>) -> Result<Self, UplinkError> {
        check_count(facts.name.as_str(), facts.queues, &fds)?;
        Ok(Self {
            name: facts.name,
            index: facts.index,
            mtu: facts.mtu,
            multi_queue: facts.multi_queue,
            made_by_us: facts.made_by_us,
            enabled: vec![true; fds.len()],
            queues: fds,
        })
    }
}
