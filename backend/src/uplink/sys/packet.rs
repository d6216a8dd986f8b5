//! Packet sockets (linux/if_packet.h, packet(7)), as far as `rustix` has nothing for them.

use std::io::{self, IoSliceMut};
use std::mem;
use std::os::fd::{AsRawFd, OwnedFd};

use libc::{c_int, socklen_t};

use super::check;

/// Room for the one control message that is asked for, `PACKET_AUXDATA`, and as much again.
#[repr(C, align(8))]
struct Control([u8; 72]);

/// Binds a packet socket to the interface of this index; all protocols come from then on.
pub(in crate::uplink) fn bind(socket: &OwnedFd, index: u32) -> io::Result<()> {
    let mut address = link_address();
    address.sll_family = u16::try_from(libc::AF_PACKET).unwrap_or_default();
    address.sll_protocol = u16::try_from(libc::ETH_P_ALL).unwrap_or_default().to_be();
    address.sll_ifindex = i32::try_from(index).map_err(|_| io::ErrorKind::InvalidInput)?;
    // SAFETY: the pointer is to a whole sockaddr_ll that outlives the call, and the length is its size;
    // the kernel only reads it.
    check(unsafe {
        libc::bind(
            socket.as_raw_fd(),
            (&raw const address).cast(),
            length::<libc::sockaddr_ll>(),
        )
    })
}

/// Sets an option of level `SOL_PACKET` whose value is an int.
pub(in crate::uplink) fn set_option(
    socket: &OwnedFd,
    option: c_int,
    value: c_int,
) -> io::Result<()> {
    set(socket, option, &value)
}

/// Takes frames for any address from the interface of this index, for as long as the socket is open.
pub(in crate::uplink) fn join_promiscuous(socket: &OwnedFd, index: u32) -> io::Result<()> {
    let membership = libc::packet_mreq {
        mr_ifindex: i32::try_from(index).map_err(|_| io::ErrorKind::InvalidInput)?,
        mr_type: u16::try_from(libc::PACKET_MR_PROMISC).unwrap_or_default(),
        mr_alen: 0,
        mr_address: [0; 8],
    };
    set(socket, libc::PACKET_ADD_MEMBERSHIP, &membership)
}

/// Reads one frame into `parts`. The length is the frame's own, even where it did not fit; beside it
/// what the kernel says of the frame, if `PACKET_AUXDATA` is on.
pub(in crate::uplink) fn receive(
    socket: &OwnedFd,
    parts: &mut [IoSliceMut<'_>],
) -> io::Result<(usize, Option<libc::tpacket_auxdata>)> {
    let mut control = Control([0; _]);
    let mut message = message();
    // An IoSliceMut is an iovec, as std promises.
    message.msg_iov = parts.as_mut_ptr().cast();
    message.msg_iovlen = parts.len() as _;
    message.msg_control = (&raw mut control).cast();
    message.msg_controllen = size_of::<Control>() as _;
    let flags = libc::MSG_DONTWAIT | libc::MSG_TRUNC;
    // SAFETY: the iovecs are exclusive borrows of `parts`, which outlive the call, with their count; the
    // control buffer is ours, aligned for a cmsghdr, with its size; no name is asked for.
    let len = unsafe { libc::recvmsg(socket.as_raw_fd(), &raw mut message, flags) };
    let len = usize::try_from(len).map_err(|_| io::Error::last_os_error())?;
    Ok((len, auxdata(&message)))
}

/// The `PACKET_AUXDATA` among the control messages of `message`, which the kernel has filled in.
fn auxdata(message: &libc::msghdr) -> Option<libc::tpacket_auxdata> {
    // SAFETY: `msg_control` and `msg_controllen` describe the caller's control buffer, the latter now
    // what the kernel wrote; the macro gives null when no whole header fits into that.
    let first = unsafe { libc::CMSG_FIRSTHDR(message) };
    // SAFETY: the pointer is null, or to a header within the buffer, which is aligned for it; nothing
    // writes to the buffer meanwhile.
    let header = unsafe { first.as_ref() }?;
    // SAFETY: the macro only computes a number.
    let whole = unsafe { libc::CMSG_LEN(length::<libc::tpacket_auxdata>()) } as usize;
    // No other control message is asked for, so the first one is it or there is none.
    if header.cmsg_level != libc::SOL_PACKET
        || header.cmsg_type != libc::PACKET_AUXDATA
        || header.cmsg_len < whole
    {
        return None;
    }
    // SAFETY: the macro only adds the header's size to a pointer to a header in the buffer.
    let data = unsafe { libc::CMSG_DATA(first) };
    // SAFETY: the length checked above, which the kernel cuts to what it wrote, puts a whole tpacket_auxdata, of which any bytes are a valid one,
    // within the buffer; the read asks for no alignment.
    Some(unsafe { data.cast::<libc::tpacket_auxdata>().read_unaligned() })
}

fn set<T>(socket: &OwnedFd, option: c_int, value: &T) -> io::Result<()> {
    // SAFETY: the pointer is to a whole `T` that outlives the call, and the length is its size; the kernel
    // only reads it, and refuses a length that the option does not have.
    check(unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_PACKET,
            option,
            std::ptr::from_ref(value).cast(),
            length::<T>(),
        )
    })
}

fn link_address() -> libc::sockaddr_ll {
    // SAFETY: integers only, for which zeros are a value.
    unsafe { mem::zeroed() }
}

fn message() -> libc::msghdr {
    // SAFETY: integers and raw pointers only, for which zeros are a value.
    unsafe { mem::zeroed() }
}

fn length<T>() -> socklen_t {
    socklen_t::try_from(size_of::<T>()).unwrap_or(socklen_t::MAX)
}
