//! The host's side of a port: a packet socket on its tap, which sees and sends every byte, super-frames included.

use std::fs::File;
use std::num::NonZeroU32;
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::net::{AddressFamily, RecvFlags, SocketFlags, SocketType, recv, socket_with};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use super::frame::Frame;
use super::header::Header;
use super::queue::wait_readable;
use super::sys::{bind_packet, receive_tagged, set_option};
use crate::error::{Context, Error, Result};
use crate::netns::Namespace;
use crate::process::POLL;

/// Bytes of a packet socket's virtio-net header: one without `num_buffers`.
const HEADER: usize = 10;
/// Room for frames that wait, in bytes.
const ROOM: libc::c_int = 64 << 20;
/// How long the daemon may take to make its tap once its socket is there.
const APPEARANCE: Duration = Duration::from_secs(5);
/// `ETH_P_ALL`: every ethertype.
const ALL: u16 = 3;
/// The largest frame and its header.
const LARGEST: usize = 1 << 17;

/// A packet socket on an interface in a namespace (`PACKET_VNET_HDR`).
#[derive(Debug)]
pub struct Wire {
    socket: OwnedFd,
    /// Sends past the queueing discipline, which for some milliseconds after the carrier has come
    /// throws everything away; but cannot send what the kernel has to cut up.
    direct: OwnedFd,
}

impl Wire {
    /// Opens a packet socket on an interface. Frames of other ethertypes than the tests' own (plain
    /// ones, IPv4, IPv6) still come: silence the namespace with [`quiet`](Self::quiet) before.
    ///
    /// # Errors
    /// [`Error::Io`] if the namespace has no such interface.
    pub fn open(namespace: &Namespace, interface: &str) -> Result<Self> {
        opened(namespace, interface, || {
            let socket = open(interface, ALL)?;
            let direct = open_direct(interface)?;
            Ok(Self { socket, direct })
        })
    }

    /// Keeps the namespace's own stack from sending anything by itself: no IPv6, so no neighbour and
    /// multicast traffic. To be called before the interface is made.
    ///
    /// # Errors
    /// [`Error::Command`] with what the shell says.
    pub fn quiet(namespace: &Namespace) -> Result<()> {
        use crate::place::Place;
        namespace
            .shell("for key in default all; do echo 1 >/proc/sys/net/ipv6/conf/$key/disable_ipv6; done")
            .map(drop)
    }

    /// Sends a frame towards the guest. False when the interface's queue is full.
    ///
    /// # Errors
    /// [`Error::Io`] if the frame is longer than the interface's MTU, or the interface is down.
    pub fn send(&self, frame: &Frame) -> Result<bool> {
        let unit = unit(frame);
        let plain = frame.header.gso_type == 0;
        Self::send_unit(if plain { &self.direct } else { &self.socket }, &unit)
    }

    /// Sends the same frame `count` times; answers how many the interface's queue took.
    ///
    /// # Errors
    /// As [`Self::send`].
    pub fn repeat(&self, frame: &Frame, count: u64) -> Result<u64> {
        let mut taken = 0;
        for _ in 0..count {
            taken += u64::from(self.send(frame)?);
        }
        Ok(taken)
    }

    fn send_unit(socket: &OwnedFd, unit: &[u8]) -> Result<bool> {
        match rustix::io::write(socket, unit) {
            Ok(_) => Ok(true),
            Err(Errno::NOBUFS | Errno::AGAIN) => Ok(false),
            Err(error) => Err(error).context(format!("sending {} bytes", unit.len())),
        }
    }

    /// The next frame that the guest has sent, with the header as the kernel tells it, and its VLAN tag
    /// where it was.
    ///
    /// # Errors
    /// [`Error::Io`] if the interface is gone.
    pub fn receive(&self, timeout: Duration) -> Result<Option<Frame>> {
        let deadline = Instant::now() + timeout;
        let mut unit = [0; LARGEST];
        loop {
            match receive_tagged(&self.socket, &mut unit) {
                Ok((len, tag)) => {
                    let frame = parse(unit.get(..len).unwrap_or_default())?;
                    return Ok(Some(match tag {
                        Some(tag) => frame.tagged(tag),
                        None => frame,
                    }));
                }
                Err(error) => match Errno::from_io_error(&error) {
                    Some(Errno::AGAIN | Errno::INTR | Errno::NETDOWN) => {}
                    _ => return Err(error).context("receiving from a packet socket"),
                },
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(None);
            }
            wait_readable(self.socket.as_fd(), left)?;
        }
    }

    /// Shows the first bytes of every frame that comes to `look`, without their header, until `end`, which
    /// is asked whenever none has come for a while. Faster than [`Self::receive`].
    ///
    /// # Errors
    /// As [`Self::receive`].
    pub fn watch(&self, end: impl Fn() -> bool, mut look: impl FnMut(&[u8])) -> Result<()> {
        let mut unit = [0; HEADER + 118];
        loop {
            match recv(
                &self.socket,
                &mut unit,
                RecvFlags::DONTWAIT | RecvFlags::TRUNC,
            ) {
                Ok((len, _)) => look(unit.get(HEADER..len).unwrap_or_default()),
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN | Errno::NETDOWN) if end() => return Ok(()),
                Err(Errno::AGAIN | Errno::NETDOWN) => {
                    wait_readable(self.socket.as_fd(), Duration::from_millis(20))?;
                }
                Err(error) => return Err(error).context("receiving from a packet socket"),
            }
        }
    }

    /// Throws away what has come so far; answers how many frames that were.
    ///
    /// # Errors
    /// As [`Self::receive`].
    pub fn clear(&self) -> Result<u64> {
        let mut count = 0;
        while self.receive(Duration::ZERO)?.is_some() {
            count += 1;
        }
        Ok(count)
    }
}

/// A socket that only sends: past the queueing discipline, or through it, where the kernel can cut up what the
/// interface does not take whole.
pub(super) fn sending_socket(
    namespace: &Namespace,
    interface: &str,
    direct: bool,
) -> Result<OwnedFd> {
    opened(namespace, interface, || {
        if direct {
            open_direct(interface)
        } else {
            open(interface, 0)
        }
    })
}

/// Opens something on an interface, once it is there.
fn opened<T: Send>(
    namespace: &Namespace,
    interface: &str,
    open: impl Fn() -> std::io::Result<T> + Sync,
) -> Result<T> {
    let deadline = Instant::now() + APPEARANCE;
    loop {
        match in_namespace(namespace, || Ok(open()))? {
            Err(_) if Instant::now() < deadline => std::thread::sleep(POLL),
            opened => return opened.context(format!("opening a packet socket on {interface}")),
        }
    }
}

/// A frame with its header, as a packet socket takes it.
pub(super) fn unit(frame: &Frame) -> Vec<u8> {
    let mut unit = Vec::with_capacity(HEADER + frame.bytes.len());
    let [header @ .., _, _] = frame.header.to_bytes();
    unit.extend(header);
    unit.extend(&frame.bytes);
    unit
}

fn parse(unit: &[u8]) -> Result<Frame> {
    let (header, bytes) = unit
        .split_first_chunk::<HEADER>()
        .ok_or(Error::Setup("a packet socket gave less than a header"))?;
    let mut padded = [0; Header::LEN];
    for (to, from) in padded.iter_mut().zip(header) {
        *to = *from;
    }
    Ok(Frame {
        header: Header::from_bytes(padded),
        bytes: bytes.to_vec(),
    })
}

fn open(interface: &str, ethertype: u16) -> std::io::Result<OwnedFd> {
    let family = AddressFamily::PACKET;
    let socket = socket_with(family, SocketType::RAW, SocketFlags::CLOEXEC, None)?;
    set_option(&socket, libc::SOL_PACKET, libc::PACKET_VNET_HDR, 1)?;
    set_option(&socket, libc::SOL_PACKET, PACKET_IGNORE_OUTGOING, 1)?;
    set_option(&socket, libc::SOL_PACKET, libc::PACKET_AUXDATA, 1)?;
    set_option(&socket, libc::SOL_SOCKET, libc::SO_RCVBUFFORCE, ROOM)?;
    let index: NonZeroU32 = rustix::net::netdevice::name_to_index(&socket, interface)?
        .try_into()
        .map_err(|_| Errno::NODEV)?;
    bind_packet(&socket, index.get(), ethertype)?;
    Ok(socket)
}

fn open_direct(interface: &str) -> std::io::Result<OwnedFd> {
    let socket = open(interface, 0)?;
    set_option(&socket, libc::SOL_PACKET, libc::PACKET_QDISC_BYPASS, 1)?;
    Ok(socket)
}

/// `PACKET_IGNORE_OUTGOING` of linux/if_packet.h.
const PACKET_IGNORE_OUTGOING: libc::c_int = 23;

/// Runs something on a thread inside a network namespace. Sockets made there stay there.
pub(super) fn in_namespace<T: Send>(
    namespace: &Namespace,
    action: impl FnOnce() -> Result<T> + Send,
) -> Result<T> {
    let path = format!("/run/netns/{}", namespace.name());
    let file = File::open(&path).context(format!("opening {path}"))?;
    let inside = || {
        let kind = Some(LinkNameSpaceType::Network);
        move_into_link_name_space(file.as_fd(), kind).context(format!("entering {path}"))?;
        action()
    };
    std::thread::scope(|scope| {
        let ended = scope.spawn(inside).join();
        ended.unwrap_or(Err(Error::Setup("the thread in the namespace panicked")))
    })
}
