//! Vectored system calls on guest memory: the one place where the kernel reads it for us.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

use crate::chain::Chain;
use crate::memory::IoVecs;

/// Most buffers the kernel takes in one call (`UIO_MAXIOV`).
pub const MAX_IOVECS: usize = 1024;

/// Writes `prefix` and the readable bytes of `chain` from `offset` on, with one `writev`.
///
/// `scratch` is reused between calls and left empty.
///
/// # Errors
/// `InvalidInput` when there are more than [`MAX_IOVECS`] buffers (the caller drops the frame), and
/// whatever `writev` reports.
pub fn write_vectored(
    fd: BorrowedFd<'_>,
    prefix: &[u8],
    chain: &Chain,
    offset: usize,
    scratch: &mut IoVecs,
) -> io::Result<usize> {
    chain.prefixed_iovecs(prefix, offset, scratch);
    let list = scratch.as_raw();
    let result = match libc::c_int::try_from(list.len()) {
        Ok(count) if list.len() <= MAX_IOVECS => {
            // SAFETY: the first buffer is `prefix`, borrowed for the call; the others are guest
            // memory that the map held by `scratch` keeps mapped. The kernel only reads them.
            let written = unsafe { libc::writev(fd.as_raw_fd(), list.as_ptr(), count) };
            usize::try_from(written).map_err(|_| io::Error::last_os_error())
        }
        _ => Err(io::ErrorKind::InvalidInput.into()),
    };
    scratch.clear();
    result
}
