//! Files that are cut short while guest memory is mapped from them (hostile row 64).
//!
//! A load or store beyond the end of a file is a SIGBUS, and any front-end can shorten the file that it
//! passed. [`survive`] installs a handler for that: it maps empty pages over the whole region that
//! was met, so that the access is repeated and goes on, sets the flag of the region's [`GuestMap`],
//! and wakes whoever ends the session. A fault anywhere else ends the process, as ever.
//!
//! The handler looks regions up in a table without locks, of blocks that are never freed; what a writer
//! changes meanwhile it steps over, and the region that it was called for cannot change: the
//! thread that met it holds its map.
//!
//! [`GuestMap`]: super::GuestMap
#![allow(unsafe_code)]

#[cfg(test)]
mod tests;

use std::io;
use std::os::fd::{IntoRawFd, OwnedFd};
use std::ptr;
use std::sync::atomic::{
    AtomicBool, AtomicI32, AtomicPtr, AtomicU64, AtomicUsize, Ordering, fence,
};
use std::sync::{Arc, Mutex, PoisonError};

/// Regions of one block of the table.
const SLOTS: usize = 256;

/// The event to signal, once there is one.
static WAKE: AtomicI32 = AtomicI32::new(-1);
static FIRST: Block = Block::new();
/// Held by whoever changes the table; the handler never takes it.
static CHANGING: Mutex<()> = Mutex::new(());

/// A region, or none. While the version is odd, it is being changed.
struct Slot {
    version: AtomicU64,
    start: AtomicUsize,
    len: AtomicUsize,
    lost: AtomicPtr<AtomicBool>,
}

impl Slot {
    const fn new() -> Self {
        Self {
            version: AtomicU64::new(0),
            start: AtomicUsize::new(0),
            len: AtomicUsize::new(0),
            lost: AtomicPtr::new(ptr::null_mut()),
        }
    }

    /// Only with [`CHANGING`] held.
    fn set(&self, start: usize, len: usize, lost: *mut AtomicBool) {
        self.version.fetch_add(1, Ordering::Relaxed);
        fence(Ordering::Release);
        self.start.store(start, Ordering::Relaxed);
        self.len.store(len, Ordering::Relaxed);
        self.lost.store(lost, Ordering::Relaxed);
        self.version.fetch_add(1, Ordering::Release);
    }

    /// Start, length and flag, if it holds this address and is not being changed.
    fn holding(&self, address: usize) -> Option<(usize, usize, *mut AtomicBool)> {
        let version = self.version.load(Ordering::Acquire);
        let start = self.start.load(Ordering::Relaxed);
        let len = self.len.load(Ordering::Relaxed);
        let lost = self.lost.load(Ordering::Relaxed);
        fence(Ordering::Acquire);
        let stable = version.is_multiple_of(2) && self.version.load(Ordering::Relaxed) == version;
        let inside = address.checked_sub(start).is_some_and(|at| at < len);
        (stable && inside).then_some((start, len, lost))
    }
}

struct Block {
    slots: [Slot; SLOTS],
    next: AtomicPtr<Self>,
}

impl Block {
    const fn new() -> Self {
        Self {
            slots: [const { Slot::new() }; SLOTS],
            next: AtomicPtr::new(ptr::null_mut()),
        }
    }

    fn next(&self) -> Option<&'static Self> {
        let next = self.next.load(Ordering::Acquire);
        // SAFETY: a block that was linked is never freed nor changed but through its atomics.
        unsafe { next.as_ref() }
    }
}

/// A region in the table, until it is dropped.
pub(super) struct Watched {
    slot: &'static Slot,
    /// What the slot points to.
    _lost: Arc<AtomicBool>,
}

impl Watched {
    /// Has faults in these bytes of this process survived; `lost` is set then. They must be mapped for as
    /// long as this lives, and start at a page.
    pub(super) fn new(start: *mut u8, len: usize, lost: &Arc<AtomicBool>) -> Self {
        let _changing = CHANGING.lock().unwrap_or_else(PoisonError::into_inner);
        let slot = free_slot();
        slot.set(start.expose_provenance(), len, Arc::as_ptr(lost).cast_mut());
        Self {
            slot,
            _lost: Arc::clone(lost),
        }
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        let _changing = CHANGING.lock().unwrap_or_else(PoisonError::into_inner);
        self.slot.set(0, 0, ptr::null_mut());
    }
}

/// Only with [`CHANGING`] held.
fn free_slot() -> &'static Slot {
    let mut block = &FIRST;
    loop {
        let free = |slot: &&Slot| slot.len.load(Ordering::Relaxed) == 0;
        if let Some(slot) = block.slots.iter().find(free) {
            return slot;
        }
        block = block.next().unwrap_or_else(|| {
            let new: &'static Block = Box::leak(Box::new(Block::new()));
            block
                .next
                .store(ptr::from_ref(new).cast_mut(), Ordering::Release);
            new
        });
    }
}

/// Has this process survive that files of guest memory are cut short, from now on and for ever.
///
/// `wake`, a non-blocking eventfd, is signalled whenever [`GuestMap::is_lost`](super::GuestMap::is_lost)
/// has become true for some map.
///
/// # Errors
/// The handler cannot be installed.
pub fn survive(wake: OwnedFd) -> io::Result<()> {
    WAKE.store(wake.into_raw_fd(), Ordering::Release);
    let handler: extern "C" fn(libc::c_int, *mut libc::siginfo_t, *mut libc::c_void) = on_fault;
    set_action(handler as *const () as libc::sighandler_t, libc::SA_SIGINFO)
}

fn set_action(handler: libc::sighandler_t, flags: libc::c_int) -> io::Result<()> {
    // SAFETY: all zero is a value of this plain structure: no handler, flags or blocked signals.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    action.sa_sigaction = handler;
    action.sa_flags = flags;
    // SAFETY: the action is whole, and its handler, if it is ours, may be called at any moment: it
    // does nothing that is not safe in a signal handler.
    match unsafe { libc::sigaction(libc::SIGBUS, &raw const action, ptr::null_mut()) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Called by the kernel on the thread that met the fault. Only atomics and system calls from here on.
extern "C" fn on_fault(
    signal: libc::c_int,
    info: *mut libc::siginfo_t,
    _context: *mut libc::c_void,
) {
    // SAFETY: it has no conditions.
    let place = unsafe { libc::__errno_location() };
    // SAFETY: the thread's own error number, which what was interrupted may be about to read.
    let error = unsafe { place.read() };
    // SAFETY: with SA_SIGINFO the kernel passes a whole structure.
    let info = unsafe { &*info };
    // SAFETY: a SIGBUS of the kernel's has an address; in that of another process, a code of zero or
    // below, the same bytes are numbers too, and are not used.
    let address = unsafe { info.si_addr() }.addr();
    if info.si_code > 0 && mend(address) {
        wake();
    } else if set_action(libc::SIG_DFL, 0).is_ok() {
        // SAFETY: it ends this process when the handler returns, which is what the signal is for.
        unsafe { libc::raise(signal) };
    }
    // SAFETY: as above.
    unsafe { place.write(error) };
}

/// Maps empty pages over the region that holds this address; false if there is none.
fn mend(address: usize) -> bool {
    let mut block = Some(&FIRST);
    while let Some(this) = block {
        let found = this.slots.iter().find_map(|slot| slot.holding(address));
        if let Some((start, len, lost)) = found {
            return cover(start, len, lost);
        }
        block = this.next();
    }
    false
}

/// The whole region: a part of a mapping of huge pages could not be replaced, and one fault is enough.
fn cover(start: usize, len: usize, lost: *mut AtomicBool) -> bool {
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED | libc::MAP_NORESERVE;
    let pages = libc::PROT_READ | libc::PROT_WRITE;
    let at = ptr::with_exposed_provenance_mut(start);
    // SAFETY: only the region is replaced: all of it is guest memory, mapped by us, at which nothing
    // but atomic accesses and copies look, and whoever unmaps it unmaps what is there.
    let mapped = unsafe { libc::mmap(at, len, pages, flags, -1, 0) };
    if mapped == libc::MAP_FAILED {
        return false;
    }
    // SAFETY: the thread that met the fault holds the map, which holds the flag.
    if let Some(lost) = unsafe { lost.as_ref() } {
        lost.store(true, Ordering::Release);
    }
    true
}

fn wake() {
    let one = 1_u64.to_ne_bytes();
    let event = WAKE.load(Ordering::Acquire);
    // SAFETY: eight bytes of ours. An event that is full wakes all the same.
    unsafe { libc::write(event, one.as_ptr().cast(), one.len()) };
}
