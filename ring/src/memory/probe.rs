//! A seam for tests of double fetches: it sees every load of guest bytes on this thread, and can
//! change them right after, as a guest would.

use std::cell::RefCell;

/// What happens after each load.
pub(crate) enum Probe {
    /// Count, for each host address, how often it was read.
    Count(std::collections::BTreeMap<usize, u32>),
    /// Invert the bytes just read, unless they lie in the exempt range of host addresses.
    Flip(std::ops::Range<usize>),
}

thread_local! {
    static PROBE: RefCell<Option<Probe>> = const { RefCell::new(None) };
}

/// Installs or removes the probe of this thread and returns the old one.
pub(crate) fn install(probe: Option<Probe>) -> Option<Probe> {
    PROBE.with(|slot| slot.replace(probe))
}

/// Called by [`super`] after each load of `len` bytes at `host`.
pub(crate) fn on_read(host: *const u8, len: usize) {
    PROBE.with(|slot| match &mut *slot.borrow_mut() {
        None => {}
        Some(Probe::Count(counts)) => {
            for offset in 0..len {
                *counts.entry(host.addr() + offset).or_default() += 1;
            }
        }
        Some(Probe::Flip(exempt)) => {
            for offset in 0..len {
                let byte = host.wrapping_add(offset).cast_mut();
                if exempt.contains(&byte.addr()) {
                    continue;
                }
                // SAFETY: the byte was just read, so it is mapped.
                let value = unsafe { byte.read_volatile() };
                // SAFETY: as above; guest memory is mapped writable.
                unsafe { byte.write_volatile(!value) };
            }
        }
    });
}
