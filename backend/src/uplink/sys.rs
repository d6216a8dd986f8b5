//! The ioctls of the tun driver and of macvtaps (linux/if_tun.h); all of this folder's `unsafe` code is
//! here and in [`packet`].
#![allow(unsafe_code)]

pub(super) mod packet;

use std::io;
use std::os::fd::OwnedFd;

use libc::{c_int, c_ulong};
use vmm_sys_util::ioctl::{ioctl_with_mut_ref, ioctl_with_ref, ioctl_with_val};
use vmm_sys_util::ioctl_iow_nr;

use super::name::IfName;

/// The ioctl letter of the tun driver.
const TUN: u32 = b'T' as u32;

ioctl_iow_nr!(TUNSETPERSIST, TUN, 203, c_int);
ioctl_iow_nr!(TUNSETIFF, TUN, 202, c_int);
ioctl_iow_nr!(TUNSETOWNER, TUN, 204, c_int);
ioctl_iow_nr!(TUNSETOFFLOAD, TUN, 208, libc::c_uint);
ioctl_iow_nr!(TUNSETSNDBUF, TUN, 212, c_int);
ioctl_iow_nr!(TUNSETVNETHDRSZ, TUN, 216, c_int);
ioctl_iow_nr!(TUNSETQUEUE, TUN, 217, c_int);
ioctl_iow_nr!(TUNSETVNETLE, TUN, 220, c_int);
ioctl_iow_nr!(TUNSETCARRIER, TUN, 226, c_int);

/// The requests of these drivers that each part of the daemon makes.
pub(crate) mod requests {
    use super::*;

    /// While an uplink is served: as guests come and go.
    pub(crate) fn serving() -> [c_ulong; 3] {
        [TUNSETOFFLOAD(), TUNSETCARRIER(), TUNSETQUEUE()]
    }

    /// When an uplink comes: what it can do, and the address of its guest.
    pub(crate) fn trying() -> [c_ulong; 2] {
        [TUNSETOFFLOAD(), libc::SIOCSIFHWADDR]
    }

    /// Making a device, opening and removing it.
    pub(crate) fn opening() -> [c_ulong; 9] {
        [
            TUNSETIFF(),
            TUNSETPERSIST(),
            TUNSETOWNER(),
            TUNSETOFFLOAD(),
            TUNSETSNDBUF(),
            TUNSETVNETHDRSZ(),
            TUNSETVNETLE(),
            TUNSETCARRIER(),
            libc::SIOCGIFHWADDR,
        ]
    }
}

/// The part of `struct ifreq` the drivers read, padded with zeros to its full size. Where the request is
/// about an Ethernet address, `flags` is the address family and the address follows.
#[repr(C)]
struct IfReq {
    name: [u8; libc::IFNAMSIZ],
    flags: u16,
    rest: [u8; size_of::<libc::ifreq>() - libc::IFNAMSIZ - size_of::<u16>()],
}

const _: () = assert!(size_of::<IfReq>() == size_of::<libc::ifreq>());

impl IfReq {
    fn new(name: [u8; libc::IFNAMSIZ], flags: u16) -> Self {
        Self {
            name,
            flags,
            rest: [0; _],
        }
    }
}

/// Attaches `fd`, an open `/dev/net/tun`, to the device `name`, which is made if there is none.
pub(super) fn set_iff(fd: &OwnedFd, name: &IfName, flags: u16) -> io::Result<()> {
    set_by_ref(fd, TUNSETIFF(), &IfReq::new(name.to_array(), flags))
}

/// Whether the device outlives its last file descriptor.
pub(super) fn set_persist(fd: &OwnedFd, on: bool) -> io::Result<()> {
    set_by_val(fd, TUNSETPERSIST(), c_ulong::from(on))
}

/// Which user may attach to the device without `CAP_NET_ADMIN`.
pub(super) fn set_owner(fd: &OwnedFd, uid: u32) -> io::Result<()> {
    set_by_val(fd, TUNSETOWNER(), c_ulong::from(uid))
}

/// What the reader of this device takes in one frame: `TUN_F_*` bits.
pub(super) fn set_offload(fd: &OwnedFd, bits: u32) -> io::Result<()> {
    set_by_val(fd, TUNSETOFFLOAD(), c_ulong::from(bits))
}

/// How many bytes of virtio-net header stand before each frame.
pub(super) fn set_vnet_hdr_size(fd: &OwnedFd, bytes: c_int) -> io::Result<()> {
    set_by_ref(fd, TUNSETVNETHDRSZ(), &bytes)
}

/// Header fields are little-endian, as virtio 1 has them, whatever the host is.
pub(super) fn set_vnet_le(fd: &OwnedFd) -> io::Result<()> {
    set_by_ref(fd, TUNSETVNETLE(), &1)
}

/// Turns the device's carrier on or off (Linux 5.0).
pub(super) fn set_carrier(fd: &OwnedFd, on: bool) -> io::Result<()> {
    set_by_ref(fd, TUNSETCARRIER(), &c_int::from(on))
}

/// Joins this queue to its multi-queue device again, or takes it out.
pub(super) fn set_queue(fd: &OwnedFd, flags: u16) -> io::Result<()> {
    set_by_ref(fd, TUNSETQUEUE(), &IfReq::new([0; libc::IFNAMSIZ], flags))
}

/// What the macvtap behind `fd` is to be: interface flags, of which it takes few.
pub(super) fn set_macvtap_flags(fd: &OwnedFd, flags: u16) -> io::Result<()> {
    set_by_ref(fd, TUNSETIFF(), &IfReq::new([0; libc::IFNAMSIZ], flags))
}

/// How many bytes of frames may be under way before a write says `EAGAIN`.
pub(super) fn set_send_buffer(fd: &OwnedFd, bytes: c_int) -> io::Result<()> {
    set_by_ref(fd, TUNSETSNDBUF(), &bytes)
}

/// The name (zero-padded) and Ethernet address of the tap or macvtap behind `fd`.
pub(super) fn identity(fd: &OwnedFd) -> io::Result<([u8; libc::IFNAMSIZ], [u8; 6])> {
    let mut request = IfReq::new([0; libc::IFNAMSIZ], 0);
    // SAFETY: the request takes a whole ifreq and writes one back; the reference outlives the call, the
    // driver keeps no pointer, and `fd` is open.
    check(unsafe { ioctl_with_mut_ref(fd, libc::SIOCGIFHWADDR, &mut request) })?;
    let address = request.rest.first_chunk().copied().unwrap_or_default();
    Ok((request.name, address))
}

/// Gives the macvtap behind `fd` this Ethernet address.
pub(super) fn set_address(fd: &OwnedFd, address: [u8; 6]) -> io::Result<()> {
    let mut request = IfReq::new([0; libc::IFNAMSIZ], libc::ARPHRD_ETHER);
    for (to, from) in request.rest.iter_mut().zip(address) {
        *to = from;
    }
    set_by_ref(fd, libc::SIOCSIFHWADDR, &request)
}

fn set_by_ref<T>(fd: &OwnedFd, request: c_ulong, value: &T) -> io::Result<()> {
    // SAFETY: the callers above pair each request with the type the driver reads for it (an int or a
    // whole ifreq); the reference outlives the call, the driver keeps no pointer, and `fd` is open. On
    // any other kind of file the request is refused, because no other driver has the letter `T` with
    // these numbers and a pointer to write through, and SIOCSIFHWADDR takes an ifreq everywhere.
    check(unsafe { ioctl_with_ref(fd, request, value) })
}

fn set_by_val(fd: &OwnedFd, request: c_ulong, value: c_ulong) -> io::Result<()> {
    // SAFETY: the callers above use only requests whose argument the tun driver takes as a number, so
    // no memory is touched; `fd` is open.
    check(unsafe { ioctl_with_val(fd, request, value) })
}

fn check(result: c_int) -> io::Result<()> {
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}
