//! What one process has to tell another beside the descriptors of an uplink that it hands over.

use std::os::fd::OwnedFd;

use serde::{Deserialize, Serialize};

use super::macvtap::MacvtapFacts;
use super::packet::PacketFacts;
use super::tap::TapFacts;
use super::{Device, Macvtap, Packet, Tap, Uplink, UplinkError};

/// An [`Uplink`] without its descriptors.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Facts {
    /// What logs call it.
    pub name: String,
    /// What it is.
    pub device: DeviceFacts,
}

/// A [`Device`] without its descriptors.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum DeviceFacts {
    /// A tap.
    Tap(TapFacts),
    /// A packet socket.
    Packet(PacketFacts),
    /// A macvtap.
    Macvtap(MacvtapFacts),
    /// Nothing.
    None {
        /// Bytes that a frame may have, without the Ethernet header.
        mtu: u16,
    },
}

impl Uplink {
    /// Takes the uplink apart, to be put together again in another process. That must happen before
    /// queues are switched: all are enabled then.
    pub fn into_parts(self) -> (Facts, Vec<OwnedFd>) {
        let (device, fds) = match self.device {
            Device::Tap(tap) => {
                let (facts, fds) = tap.into_parts();
                (DeviceFacts::Tap(facts), fds)
            }
            Device::Packet(packet) => {
                let (facts, fds) = packet.into_parts();
                (DeviceFacts::Packet(facts), fds)
            }
            Device::Macvtap(macvtap) => {
                let (facts, fds) = macvtap.into_parts();
                (DeviceFacts::Macvtap(facts), fds)
            }
            Device::None { mtu } => (DeviceFacts::None { mtu }, Vec::new()),
        };
        let name = self.name;
        (Facts { name, device }, fds)
    }

    /// Puts together what [`Uplink::into_parts`] took apart. The descriptors come in the same order.
    pub fn from_parts(facts: Facts, fds: Vec<OwnedFd>) -> Result<Self, UplinkError> {
        let Facts { name, device } = facts;
        let device = match device {
            DeviceFacts::Tap(facts) => Device::Tap(Tap::from_parts(facts, fds)?),
            DeviceFacts::Packet(facts) => Device::Packet(Packet::from_parts(facts, fds)?),
            DeviceFacts::Macvtap(facts) => Device::Macvtap(Macvtap::from_parts(facts, fds)?),
            DeviceFacts::None { mtu } => {
                check_count(&name, 0, &fds)?;
                Device::None { mtu }
            }
        };
        Ok(Self { name, device })
    }
}

/// The only descriptor.
pub(super) fn one(name: &str, fds: Vec<OwnedFd>) -> Result<OwnedFd, UplinkError> {
    let parts = <[OwnedFd; 1]>::try_from(fds);
    parts.map(|[fd]| fd).map_err(|fds| wrong(name, 1, &fds))
}

/// Whether as many descriptors came as there are queues.
pub(super) fn check_count(name: &str, queues: usize, fds: &[OwnedFd]) -> Result<(), UplinkError> {
    if fds.len() == queues {
        Ok(())
    } else {
        Err(wrong(name, queues, fds))
    }
}

fn wrong(name: &str, expected: usize, fds: &[OwnedFd]) -> UplinkError {
    UplinkError::Parts {
        name: name.to_owned(),
        expected,
        got: fds.len(),
    }
}
