//! One system call that no crate here wraps; all of this folder's `unsafe` code is here.
#![allow(unsafe_code)]

/// The first descriptor that is not a standard stream.
const FIRST: libc::c_uint = 3;

/// Closes every open descriptor but the standard streams at the next `exec`, whoever opened it
/// (Linux 5.11; before, those opened without this flag by others stay open over it).
pub(super) fn close_all_on_exec() {
    // SAFETY: with this flag the call closes nothing and touches no memory; it only sets a flag of
    // descriptors, and nothing in this process hands any to a program other than by `Command`, which
    // makes its own copies afterwards.
    let done = unsafe {
        libc::close_range(
            FIRST,
            libc::c_uint::MAX,
            libc::CLOSE_RANGE_CLOEXEC.cast_signed(),
        )
    };
    if done < 0 {
        let error = std::io::Error::last_os_error();
        log::debug!(event = "close-on-exec-failed"; "{error}");
    }
}
