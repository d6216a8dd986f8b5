//! What the crates in use do not wrap: binding and setting up packet sockets (packet(7)), and borrowing an event.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use vmm_sys_util::eventfd::EventFd;

/// Ties a packet socket to `interface` (an index). It receives what has this ethertype, or nothing
/// with 0.
pub(super) fn bind_packet(socket: impl AsFd, interface: u32, ethertype: u16) -> io::Result<()> {
    // SAFETY: all zeroes is a value of this plain struct.
    let mut address: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
    address.sll_family = u16::try_from(libc::AF_PACKET).unwrap_or(0);
    address.sll_protocol = ethertype.to_be();
    address.sll_ifindex = i32::try_from(interface).unwrap_or(0);
    let len = libc::socklen_t::try_from(size_of::<libc::sockaddr_ll>()).unwrap_or(0);
    // SAFETY: the pointer is to a live struct of the length given, which the kernel only reads.
    let bound = unsafe {
        libc::bind(
            socket.as_fd().as_raw_fd(),
            std::ptr::from_ref(&address).cast(),
            len,
        )
    };
    check(bound)
}

/// Sets an option whose value is an `int`.
pub(super) fn set_option(
    socket: impl AsFd,
    level: libc::c_int,
    option: libc::c_int,
    value: libc::c_int,
) -> io::Result<()> {
    let len = libc::socklen_t::try_from(size_of::<libc::c_int>()).unwrap_or(0);
    // SAFETY: the pointer is to a live integer of the length given, which the kernel only reads.
    let set = unsafe {
        libc::setsockopt(
            socket.as_fd().as_raw_fd(),
            level,
            option,
            std::ptr::from_ref(&value).cast(),
            len,
        )
    };
    check(set)
}

/// A frame, its length, and the VLAN tag that the kernel took off, if the socket was asked for
/// `PACKET_AUXDATA`. Does not wait.
pub(super) fn receive_tagged(
    socket: impl AsFd,
    unit: &mut [u8],
) -> io::Result<(usize, Option<u16>)> {
    let mut part = libc::iovec {
        iov_base: unit.as_mut_ptr().cast(),
        iov_len: unit.len(),
    };
    let mut control = [0_u64; 8];
    // SAFETY: all zeroes is a value of this plain struct.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_iov = &raw mut part;
    message.msg_iovlen = 1;
    message.msg_control = control.as_mut_ptr().cast();
    message.msg_controllen = size_of_val(&control);
    let fd = socket.as_fd().as_raw_fd();
    // SAFETY: the message leads to live buffers of the lengths given, which the kernel writes to.
    let len = unsafe { libc::recvmsg(fd, &raw mut message, libc::MSG_DONTWAIT) };
    let Ok(len) = usize::try_from(len) else {
        return Err(io::Error::last_os_error());
    };
    // SAFETY: the kernel has filled in the control buffer, which is still there, and its length.
    let first = unsafe { libc::CMSG_FIRSTHDR(&raw const message) };
    if first.is_null() {
        return Ok((len, None));
    }
    // SAFETY: it points to a whole header in the control buffer, which is aligned for it.
    let header = unsafe { first.read() };
    if (header.cmsg_level, header.cmsg_type) != (libc::SOL_PACKET, libc::PACKET_AUXDATA) {
        return Ok((len, None));
    }
    // SAFETY: the header is followed by its data.
    let data = unsafe { libc::CMSG_DATA(first) };
    // SAFETY: data of this type is a `tpacket_auxdata`, for which the buffer has room.
    let auxiliary = unsafe { data.cast::<libc::tpacket_auxdata>().read_unaligned() };
    let valid = auxiliary.tp_status & libc::TP_STATUS_VLAN_VALID != 0;
    Ok((len, valid.then_some(auxiliary.tp_vlan_tci)))
}

/// The event's descriptor, for as long as the event is borrowed.
pub(super) fn event_fd(event: &EventFd) -> BorrowedFd<'_> {
    // SAFETY: the event owns the descriptor and outlives the borrow.
    unsafe { BorrowedFd::borrow_raw(event.as_raw_fd()) }
}

fn check(result: libc::c_int) -> io::Result<()> {
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}
