//! Where frames leave the daemon.
//!
//! An [`Uplink`] is one of four things: a host [`tap`], a [`packet`] socket on a NIC, a [`macvtap`], or
//! nothing, when guests talk only to each other. Each opens what is there, makes what may be made, and
//! takes away only what it made. Links are looked at and changed over route netlink, so the daemon
//! works in a network namespace whose `/sys` is another's. A [`LinkMonitor`] tells what becomes of them.
//!
//! | | tap | packet | macvtap |
//! |---|---|---|---|
//! | header before a written frame | 12 | 12, or 10 before Linux 6.4 | 12 |
//! | unfinished frames come | as told | always | as told |
//! | VLAN tags of received frames | in the frame | beside it | in the frame |
//! | carrier | ours | the interface's | the interface's |
//! | write while it is down | `EIO` | `ENETDOWN` | lost |
//! | polls writable while it is down | no | yes | yes |
//! | write once it has vanished | `EBADFD` | `ENXIO` | lost |

mod error;
mod facts;
mod frame;
pub mod macvtap;
mod monitor;
mod name;
mod netlink;
mod offload;
pub mod packet;
mod sys;
pub mod tap;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;

use std::io::IoSliceMut;
use std::os::fd::{AsFd, BorrowedFd};

use ring::HEADER_LEN;
use rustix::io::Errno;

use crate::config::{UplinkConfig, UplinkKind};

pub use error::UplinkError;
pub use facts::{DeviceFacts, Facts};
pub use frame::{MAX_PARTS, Received, Tag};
pub use macvtap::{Macvtap, MacvtapConfig};
pub use monitor::{LinkEvent, LinkMonitor};
pub use name::{IfName, IfNameError};
pub use offload::Offload;
pub use packet::Packet;
pub use tap::{Tap, TapConfig, TapError};

pub(crate) use sys::requests;

/// The MTU in bytes of an uplink that leads nowhere, unless the configuration says: Ethernet's.
const DEFAULT_MTU: u16 = 1500;

/// Where frames leave the daemon. Dropping it leaves the host as it is; [`Uplink::remove_if_ours`] is the
/// clean end. When its link has vanished ([`LinkEvent::gone`]), it is opened again by the same
/// configuration: at once where we make the device, else once the name has returned.
#[derive(Debug)]
pub struct Uplink {
    name: String,
    device: Device,
}

/// The kinds of uplink, open.
#[derive(Debug)]
pub enum Device {
    /// A host tap.
    Tap(Tap),
    /// A packet socket on an interface.
    Packet(Packet),
    /// A macvtap on an interface.
    Macvtap(Macvtap),
    /// Guests talk only to each other.
    None {
        /// Bytes that a frame may have, without the Ethernet header.
        mtu: u16,
    },
}

impl Uplink {
    /// Opens what the configuration names, making a tap or macvtap that is absent.
    pub fn open(config: &UplinkConfig) -> Result<Self, UplinkError> {
        let device = match &config.kind {
            UplinkKind::Tap { name, bridge } => Device::Tap(Tap::open(&TapConfig {
                name: name.clone(),
                queues: config.queues,
                mtu: config.mtu,
                bridge: bridge.clone(),
            })?),
            UplinkKind::Packet(name) => Device::Packet(Packet::open(name, config.mtu)?),
            UplinkKind::Macvtap(lower) => Device::Macvtap(Macvtap::open(&MacvtapConfig {
                name: MacvtapConfig::derived_name(lower, &config.name),
                lower: lower.clone(),
                queues: config.queues,
                mtu: config.mtu,
            })?),
            UplinkKind::None => Device::None {
                mtu: config.mtu.unwrap_or(DEFAULT_MTU),
            },
        };
        let name = config.name.clone();
        Ok(Self { name, device })
    }

    /// What the configuration and logs call it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What it is.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// Queue pairs; none where frames lead nowhere.
    pub fn queues(&self) -> usize {
        match &self.device {
            Device::Tap(tap) => tap.queues().len(),
            Device::Packet(_) => 1,
            Device::Macvtap(macvtap) => macvtap.queues().len(),
            Device::None { .. } => 0,
        }
    }

    /// The descriptor of one queue pair: non-blocking, and what one `write` or `writev` takes is
    /// [`Uplink::header_len`] bytes of virtio-net header and one frame.
    ///
    /// `EAGAIN` asks to wait until it is writable. `ENOBUFS` is a frame that the interface's queueing
    /// discipline dropped: it polls as writable all the same. What a write says while the link is down or gone: see [`crate::uplink`].
    pub fn fd(&self, queue: usize) -> Option<BorrowedFd<'_>> {
        match &self.device {
            Device::Tap(tap) => tap.queues().get(queue).map(AsFd::as_fd),
            Device::Packet(packet) => (queue == 0).then(|| packet.fd()),
            Device::Macvtap(macvtap) => macvtap.queues().get(queue).map(AsFd::as_fd),
            Device::None { .. } => None,
        }
    }

    /// Bytes of virtio-net header before each *written* frame: twelve, or ten, then without
    /// `num_buffers`.
    pub fn header_len(&self) -> usize {
        match &self.device {
            Device::Packet(packet) => packet.header_len(),
            Device::Tap(_) | Device::Macvtap(_) | Device::None { .. } => HEADER_LEN,
        }
    }

    /// Reads one frame: its virtio-net header, `num_buffers` zero, into `header`, the frame into `parts`,
    /// in order. Does not block.
    ///
    /// `EAGAIN`: nothing is there. `EINVAL`: a frame was lost that the header cannot say, or there are
    /// more than [`MAX_PARTS`]. `EIO`, `ENETDOWN`: the link is down. `EBADFD`: the tap was deleted, or
    /// there is no such queue.
    pub fn receive(
        &self,
        queue: usize,
        header: &mut [u8; HEADER_LEN],
        parts: &mut [IoSliceMut<'_>],
    ) -> Result<Received, Errno> {
        let queues = match &self.device {
            Device::Packet(packet) if queue == 0 => return packet.receive(header, parts),
            Device::Packet(_) | Device::None { .. } => &[],
            Device::Tap(tap) => tap.queues(),
            Device::Macvtap(macvtap) => macvtap.queues(),
        };
        let fd = queues.get(queue).ok_or(Errno::BADFD)?;
        frame::read(fd, header, parts)
    }

    /// As [`Self::receive`], header and frame in one piece, which costs the kernel less. A frame that
    /// fills `unit` may have been longer, so give room for one byte more than is of use.
    pub fn receive_whole(&self, queue: usize, unit: &mut [u8]) -> Result<Received, Errno> {
        let queues = match &self.device {
            Device::Packet(packet) if queue == 0 => return packet.receive_whole(unit),
            Device::Packet(_) | Device::None { .. } => &[],
            Device::Tap(tap) => tap.queues(),
            Device::Macvtap(macvtap) => macvtap.queues(),
        };
        let fd = queues.get(queue).ok_or(Errno::BADFD)?;
        frame::read_whole(fd, unit)
    }

    /// Tells the host what may come unfinished, and only that comes then. A packet socket
    /// cannot be told, so its reader must finish what the guest does not take, or drop it by a counter.
    pub fn set_offload(&self, offload: Offload) -> Result<(), UplinkError> {
        match &self.device {
            Device::Tap(tap) => Ok(tap.set_offload(offload)?),
            Device::Macvtap(macvtap) => macvtap.set_offload(offload),
            Device::Packet(_) | Device::None { .. } => Ok(()),
        }
    }

    /// Which unfinished frames can be written and may come; nothing may come afterwards, where that can
    /// be told.
    pub fn probe_offloads(&self) -> Result<Offload, UplinkError> {
        match &self.device {
            Device::Tap(tap) => Ok(tap.probe_offloads()?),
            Device::Packet(packet) => Ok(packet.probe_offloads()),
            Device::Macvtap(macvtap) => macvtap.probe_offloads(),
            Device::None { .. } => Ok(Offload::ALL),
        }
    }

    /// Turns the carrier of a tap on or off; any other is the interface's own and stays.
    pub fn set_carrier(&self, on: bool) -> Result<(), UplinkError> {
        match &self.device {
            Device::Tap(tap) => Ok(tap.set_carrier(on)?),
            Device::Packet(_) | Device::Macvtap(_) | Device::None { .. } => Ok(()),
        }
    }

    /// Tells the uplink the Ethernet address of the guest behind it. A macvtap takes it as its own, and
    /// gets nothing for any other; the others get everything anyway.
    pub fn set_guest_address(&self, address: [u8; 6]) -> Result<(), UplinkError> {
        match &self.device {
            Device::Macvtap(macvtap) => macvtap.set_address(address),
            Device::Tap(_) | Device::Packet(_) | Device::None { .. } => Ok(()),
        }
    }

    /// Lets a queue pair take part, or takes it out: nothing comes to it then. An uplink's only queue
    /// cannot be taken out.
    pub fn set_queue_enabled(&mut self, queue: usize, on: bool) -> Result<(), UplinkError> {
        match &mut self.device {
            Device::Tap(tap) => Ok(tap.set_queue_enabled(queue, on)?),
            Device::Macvtap(macvtap) => macvtap.set_queue_enabled(queue, on),
            Device::Packet(_) if queue == 0 && on => Ok(()),
            Device::Packet(_) | Device::None { .. } => Err(UplinkError::NoSuchQueue {
                name: self.name.clone(),
                queue,
            }),
        }
    }

    /// Bytes that a frame may have, without the Ethernet header.
    pub fn mtu(&self) -> u16 {
        match &self.device {
            Device::Tap(tap) => tap.mtu(),
            Device::Packet(packet) => packet.mtu(),
            Device::Macvtap(macvtap) => macvtap.mtu(),
            Device::None { mtu } => *mtu,
        }
    }

    /// Sets the MTU in bytes of a tap or macvtap, which needs `CAP_NET_ADMIN`. The interface behind a
    /// packet socket keeps its own, which is the most that may be asked.
    pub fn set_mtu(&mut self, new: u16) -> Result<(), UplinkError> {
        match &mut self.device {
            Device::Tap(tap) => Ok(tap.set_mtu(new)?),
            Device::Packet(packet) => packet.set_mtu(new),
            Device::Macvtap(macvtap) => macvtap.set_mtu(new),
            Device::None { mtu } => {
                *mtu = new;
                Ok(())
            }
        }
    }

    /// Takes note of the MTU in bytes that a tap or macvtap was given by somebody else, such as the
    /// [`opener`](crate::opener).
    pub fn note_mtu(&mut self, new: u16) {
        match &mut self.device {
            Device::Tap(tap) => tap.note_mtu(new),
            Device::Macvtap(macvtap) => macvtap.note_mtu(new),
            Device::Packet(_) => {}
            Device::None { mtu } => *mtu = new,
        }
    }

    /// The interface index by which a [`LinkMonitor`] tells of it.
    pub fn index(&self) -> Option<u32> {
        match &self.device {
            Device::Tap(tap) => Some(tap.index()),
            Device::Packet(packet) => Some(packet.index()),
            Device::Macvtap(macvtap) => Some(macvtap.index()),
            Device::None { .. } => None,
        }
    }

    /// The clean end: what we made goes away, anything else stays.
    pub fn remove_if_ours(self) -> Result<(), UplinkError> {
        match self.device {
            Device::Tap(tap) => Ok(tap.remove_if_ours()?),
            Device::Macvtap(macvtap) => macvtap.remove_if_ours(),
            Device::Packet(_) | Device::None { .. } => Ok(()),
        }
    }
}

/// A tap alone, called by its own name.
impl From<Tap> for Uplink {
    fn from(tap: Tap) -> Self {
        Self {
            name: tap.name().to_string(),
            device: Device::Tap(tap),
        }
    }
}
