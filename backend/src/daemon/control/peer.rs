//! Who is at the other end of a connection (unix(7): SO_PEERCRED, SO_PEERGROUPS). All of this folder's
//! `unsafe` code is here.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;

use rustix::net::sockopt::socket_peercred;

/// Groups that a process may be in (`NGROUPS_MAX`, linux/limits.h).
const MOST_GROUPS: usize = 65_536;

/// Whether whoever connected may ask at all: root, our own user, and members of `group`.
pub(super) fn is_permitted(stream: &UnixStream, group: Option<u32>) -> bool {
    let Ok(peer) = socket_peercred(stream) else {
        return false;
    };
    let member = |group: u32| {
        peer.gid.as_raw() == group || groups(stream).is_ok_and(|groups| groups.contains(&group))
    };
    peer.uid.is_root() || peer.uid == rustix::process::geteuid() || group.is_some_and(member)
}

/// The supplementary groups that the process was in when it connected.
fn groups(stream: &UnixStream) -> io::Result<Vec<u32>> {
    let mut groups = vec![0_u32; 64];
    loop {
        let room = std::mem::size_of_val(groups.as_slice());
        let mut len = libc::socklen_t::try_from(room).unwrap_or(libc::socklen_t::MAX);
        // SAFETY: the kernel writes at most `len` bytes to `groups`, which has that many, and the length
        // that it wrote or would need to `len`; both live until the call is over.
        let failed = unsafe {
            libc::getsockopt(
                stream.as_raw_fd(),
                libc::SOL_SOCKET,
                libc::SO_PEERGROUPS,
                groups.as_mut_ptr().cast(),
                &raw mut len,
            )
        } != 0;
        let error = io::Error::last_os_error();
        let needed = usize::try_from(len).unwrap_or(usize::MAX) / size_of::<u32>();
        if !failed {
            groups.truncate(needed);
            return Ok(groups);
        }
        if error.raw_os_error() != Some(libc::ERANGE) || needed > MOST_GROUPS {
            return Err(error);
        }
        groups.resize(needed.max(groups.len()), 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_own_groups_are_those_of_a_process_that_we_are_connected_to() {
        let (ours, _theirs) = UnixStream::pair().unwrap();
        let mut told = groups(&ours).unwrap();
        let own = rustix::process::getgroups().unwrap();
        let mut own: Vec<u32> = own.into_iter().map(rustix::process::Gid::as_raw).collect();
        told.sort_unstable();
        own.sort_unstable();
        assert_eq!(told, own);
    }

    #[test]
    fn our_own_user_is_permitted_without_a_group() {
        let (ours, _theirs) = UnixStream::pair().unwrap();
        assert!(is_permitted(&ours, None));
        assert!(is_permitted(&ours, Some(12_345)));
    }
}
