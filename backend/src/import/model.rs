//! What is imported: guests, and what limits them.

use std::path::PathBuf;

use ipnet::IpNet;
use qos::classify::Dscp;
use qos::{Burst, Framing, PacketBurst, PacketRate, Rate};

use crate::args::MacAddr;
use crate::config::{Direction, VlanConfig};
use crate::uplink::IfName;

/// Guests as another tool describes them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Imported {
    /// The guests' NICs, in their order.
    pub guests: Vec<Guest>,
    /// What has no equal here and is about no guest.
    pub notes: Vec<String>,
}

/// One NIC of a guest.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Guest {
    /// What it is called.
    pub name: String,
    /// How its front-end is met.
    pub met: Met,
    /// What it is behind.
    pub behind: Behind,
    /// Its address.
    pub mac: Option<MacAddr>,
    /// What it may send from; empty: anything.
    pub addresses: Vec<IpNet>,
    /// Queue pairs.
    pub queues: Option<u16>,
    /// The largest MTU, in bytes.
    pub mtu: Option<u16>,
    /// Which VLANs it is in.
    pub vlan: VlanConfig,
    /// Whom it does not reach.
    pub isolation: Option<String>,
    /// What limits what it sends.
    pub from_guest: Branch,
    /// What limits what it receives.
    pub to_guest: Branch,
    /// What has no equal here.
    pub notes: Vec<String>,
}

impl Guest {
    /// A guest that nothing is known of but its name.
    pub(super) fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            ..Self::default()
        }
    }

    /// One of its directions.
    #[must_use]
    pub const fn branch(&self, direction: Direction) -> &Branch {
        match direction {
            Direction::FromGuest => &self.from_guest,
            Direction::ToGuest => &self.to_guest,
        }
    }

    /// One of its directions, to be changed.
    pub(super) const fn branch_mut(&mut self, direction: Direction) -> &mut Branch {
        match direction {
            Direction::FromGuest => &mut self.from_guest,
            Direction::ToGuest => &mut self.to_guest,
        }
    }
}

/// How a guest's front-end is met.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Met {
    /// The source does not say.
    #[default]
    Unsaid,
    /// It connects to this socket.
    Socket(PathBuf),
    /// It listens on this socket.
    Connect(PathBuf),
}

/// What a guest is behind.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Behind {
    /// The source does not say.
    #[default]
    Unsaid,
    /// A bridge of the host.
    Bridge(IfName),
    /// A tap that was its own, which can be its uplink as it is.
    Tap(IfName),
    /// An interface of the host.
    Interface(IfName),
    /// An interface of the host, through a macvtap.
    Macvtap(IfName),
}

/// One direction of a guest.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Branch {
    /// What limits all of it.
    pub own: Limits,
    /// The classes below.
    pub classes: Vec<Class>,
    /// The class of what has no other.
    pub default: Option<String>,
    /// The code point that all of its packets get.
    pub set_dscp: Option<Dscp>,
    /// Guarantees that do not fit shrink in proportion.
    pub scale: bool,
}

impl Branch {
    /// A direction with limits and without classes.
    pub(super) fn of(own: Limits) -> Self {
        Self {
            own,
            ..Self::default()
        }
    }

    /// Whether it says nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.own.is_unlimited()
            && self.own.notes.is_empty()
            && self.classes.is_empty()
            && self.set_dscp.is_none()
    }
}

/// A class of a guest.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Class {
    /// What it is called.
    pub name: String,
    /// The class above it; absent: the guest.
    pub parent: Option<String>,
    /// What limits it.
    pub limits: Limits,
}

/// What limits a guest in one direction, or a class.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Limits {
    /// What it is guaranteed.
    pub rate: Option<Rate>,
    /// What it never exceeds.
    pub ceil: Option<Rate>,
    /// How far it may run ahead of `rate`.
    pub burst: Option<Burst>,
    /// How far it may run ahead of `ceil`.
    pub cburst: Option<Burst>,
    /// Packets per second it never exceeds.
    pub pps: Option<PacketRate>,
    /// How far it may run ahead of `pps`.
    pub pps_burst: Option<PacketBurst>,
    /// Its share of what is left over.
    pub weight: Option<u32>,
    /// Who takes first of that.
    pub prio: u8,
    /// What a packet counts besides its bytes.
    pub framing: Option<Framing>,
    /// What has no equal here.
    pub notes: Vec<String>,
}

impl Limits {
    /// Neither limit nor guarantee.
    #[must_use]
    pub const fn is_unlimited(&self) -> bool {
        self.rate.is_none() && self.ceil.is_none() && self.pps.is_none()
    }

    /// Remarks that something has no equal here.
    pub(super) fn note(&mut self, note: impl Into<String>) {
        self.notes.push(note.into());
    }
}
