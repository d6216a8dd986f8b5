//! Guest memory: one generation of the memory table, checked addresses, and the loads, stores and
//! copies that everything else is built from.
//!
//! This is the module with the raw pointers. What it promises to the rest: a pointer it hands out
//! lies inside one region of a [`GuestMap`] that outlives it; every load happens exactly once,
//! because it is atomic or is a copy that the compiler may not repeat (hostile row 51).
#![allow(unsafe_code)]

mod iovecs;
#[cfg(test)]
pub(crate) mod probe;
#[cfg(test)]
mod tests;
pub mod truncation;

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU16, AtomicU32, AtomicU64, Ordering, compiler_fence};

use vm_memory::volatile_memory::PtrGuardMut;
use vm_memory::{Address, GuestMemoryBackend, GuestMemoryRegion};

pub use iovecs::IoVecs;
pub(crate) use iovecs::Writer;
use truncation::Watched;

/// The memory of one guest, as vhost-user-backend maps it.
pub type GuestMemory = vm_memory::GuestMemoryMmap<()>;

/// An address range that is not wholly inside one region. The guest (for chains) or the front-end
/// (for rings) is at fault; the ring cannot go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{len} bytes at guest address {addr:#x} are not inside one memory region")]
pub struct MemoryFault {
    /// Guest physical address of the first byte.
    pub addr: u64,
    /// Length in bytes.
    pub len: u64,
}

struct Region {
    start: u64,
    len: u64,
    host: *mut u8,
    /// Keeps the pages mapped where mappings are made on demand (Xen grants).
    _guard: PtrGuardMut,
}

impl Region {
    #[inline]
    fn host_of(&self, addr: u64, len: u64) -> Option<*mut u8> {
        let offset = addr.checked_sub(self.start)?;
        let left = self.len.checked_sub(offset)?;
        if len > left {
            return None;
        }
        Some(self.host.wrapping_add(usize::try_from(offset).ok()?))
    }
}

/// The regions of one generation of a guest's memory table, flattened for fast look-up.
///
/// It owns the generation: mappings are released when the last ring, chain or list that resolved
/// an address through it is gone.
pub struct GuestMap {
    /// First, so that no region is watched any more when it is unmapped.
    _watched: Box<[Watched]>,
    lost: Arc<AtomicBool>,
    regions: Box<[Region]>,
    memory: Arc<GuestMemory>,
}

// SAFETY: the pointers lead into shared mappings owned by `memory`, which is itself Send and Sync;
// every access through them is atomic or a copy that tolerates concurrent writers.
unsafe impl Send for GuestMap {}
// SAFETY: as above; a `GuestMap` is never changed after it is made.
unsafe impl Sync for GuestMap {}

impl fmt::Debug for GuestMap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list()
            .entries(self.regions.iter().map(|r| (r.start, r.len)))
            .finish()
    }
}

impl GuestMap {
    /// Flattens `memory`. A region that cannot be mapped whole counts as absent.
    #[must_use]
    pub fn new(memory: Arc<GuestMemory>) -> Self {
        Self::with_flag(memory, Arc::default())
    }

    /// The same, with a flag, which may be that of other maps too, to be set when a file behind it turns
    /// out to have been cut short: see [`truncation`].
    #[must_use]
    pub fn with_flag(memory: Arc<GuestMemory>, lost: Arc<AtomicBool>) -> Self {
        let mut regions: Vec<Region> = memory
            .iter()
            .filter_map(|region| {
                let guard = region.as_volatile_slice().ok()?.ptr_guard_mut();
                Some(Region {
                    start: region.start_addr().raw_value(),
                    len: region.len(),
                    host: guard.as_ptr(),
                    _guard: guard,
                })
            })
            .collect();
        regions.sort_by_key(|region| region.start);
        let watch = |region: &Region| {
            let len = usize::try_from(region.len).unwrap_or(usize::MAX);
            Watched::new(region.host, len, &lost)
        };
        Self {
            _watched: regions.iter().map(watch).collect(),
            lost,
            regions: regions.into_boxed_slice(),
            memory,
        }
    }

    /// Whether a file behind it was found to be shorter than it was: what it held is gone, and the
    /// guest's rings with it.
    #[must_use]
    pub fn is_lost(&self) -> bool {
        self.lost.load(Ordering::Acquire)
    }

    /// The memory table this map was made from.
    #[must_use]
    pub fn memory(&self) -> &Arc<GuestMemory> {
        &self.memory
    }

    /// Finds the host address of `len` bytes, trying the region of the last hit first.
    #[inline]
    fn host_of(&self, addr: u64, len: u64, hint: &mut usize) -> Result<*mut u8, MemoryFault> {
        if let Some(region) = self.regions.get(*hint)
            && let Some(host) = region.host_of(addr, len)
        {
            return Ok(host);
        }
        self.search(addr, len, hint)
    }

    #[cold]
    fn search(&self, addr: u64, len: u64, hint: &mut usize) -> Result<*mut u8, MemoryFault> {
        let after = self.regions.partition_point(|r| r.start <= addr);
        let found = after.checked_sub(1).and_then(|index| {
            let host = self.regions.get(index)?.host_of(addr, len)?;
            Some((index, host))
        });
        let (index, host) = found.ok_or(MemoryFault { addr, len })?;
        *hint = index;
        Ok(host)
    }

    /// Asks for the first bytes of a range that will be read soon.
    #[inline]
    pub(crate) fn prefetch(&self, addr: u64, len: u32, hint: &mut usize) {
        if let Ok(host) = self.host_of(addr, u64::from(len), hint) {
            let lines = (0..len).step_by(CACHE_LINE).take(PREFETCHED_LINES);
            lines.for_each(|at| prefetch(host.wrapping_add(at as usize)));
        }
    }

    /// Resolves a range for as long as the map is borrowed.
    #[inline]
    pub(crate) fn view(
        &self,
        addr: u64,
        len: usize,
        hint: &mut usize,
    ) -> Result<View<'_>, MemoryFault> {
        let host = self.host_of(addr, len as u64, hint)?;
        Ok(View {
            host,
            len,
            map: PhantomData,
        })
    }
}

/// Lines of a range that are asked for: enough for a small frame, and for the processor to see that the
/// rest of a large one follows.
const PREFETCHED_LINES: usize = 4;
const CACHE_LINE: usize = 64;

/// Asks for a cache line, wherever it lies.
#[inline]
fn prefetch(host: *const u8) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: a prefetch reads nothing into the program and does not fault, whatever the address.
    unsafe {
        std::arch::x86_64::_mm_prefetch::<{ std::arch::x86_64::_MM_HINT_T0 }>(host.cast());
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = host;
}

/// A checked range of guest memory, borrowed from its map.
///
/// Loads and stores outside the range do nothing (a load answers 0): the callers mask their
/// indices, and debug builds assert it.
#[derive(Clone, Copy)]
pub(crate) struct View<'a> {
    host: *mut u8,
    len: usize,
    map: PhantomData<&'a GuestMap>,
}

impl View<'_> {
    /// The host address of a naturally aligned `T` at `offset`.
    #[inline]
    fn at<T>(&self, offset: usize) -> Option<*mut T> {
        let end = offset.checked_add(size_of::<T>());
        let host = self.host.wrapping_add(offset).cast::<T>();
        let inside = end.is_some_and(|end| end <= self.len) && host.is_aligned();
        debug_assert!(inside, "offset {offset} of {} bytes", self.len);
        inside.then_some(host)
    }

    /// Whether the first byte is aligned to `align` in this process.
    pub(crate) fn is_aligned_to(&self, align: usize) -> bool {
        self.host.addr().is_multiple_of(align)
    }

    /// Asks for the bytes at `offset`, which will be read soon.
    #[inline]
    pub(crate) fn prefetch(&self, offset: usize) {
        prefetch(self.host.wrapping_add(offset));
    }

    /// Loads a little-endian `u16`, once.
    #[inline]
    pub(crate) fn load_u16(&self, offset: usize, order: Ordering) -> u16 {
        let Some(host) = self.at::<u16>(offset) else {
            return 0;
        };
        // SAFETY: `at` checked bounds and alignment, and the map borrowed by `self` keeps the page.
        let value = unsafe { AtomicU16::from_ptr(host) }.load(order);
        #[cfg(test)]
        probe::on_read(host.cast(), 2);
        u16::from_le(value)
    }

    /// Stores a little-endian `u16`.
    #[inline]
    pub(crate) fn store_u16(&self, offset: usize, value: u16, order: Ordering) {
        if let Some(host) = self.at::<u16>(offset) {
            // SAFETY: as in `load_u16`.
            unsafe { AtomicU16::from_ptr(host) }.store(value.to_le(), order);
        }
    }

    /// Stores a little-endian `u32`.
    #[inline]
    pub(crate) fn store_u32(&self, offset: usize, value: u32) {
        if let Some(host) = self.at::<u32>(offset) {
            // SAFETY: as in `load_u16`.
            unsafe { AtomicU32::from_ptr(host) }.store(value.to_le(), Ordering::Relaxed);
        }
    }

    /// Loads the 16 bytes of descriptor `index`, once, as two little-endian words.
    ///
    /// Indirect tables need no alignment, hence the second way.
    #[inline]
    pub(crate) fn load_descriptor(&self, index: u16) -> [u64; 2] {
        let offset = usize::from(index).saturating_mul(16);
        if !self.is_aligned_to(8) {
            return self.load_unaligned(offset);
        }
        let (Some(low), Some(high)) = (
            self.at::<u64>(offset),
            self.at::<u64>(offset.saturating_add(8)),
        ) else {
            return [0, 0];
        };
        // SAFETY: as in `load_u16`.
        let low_word = unsafe { AtomicU64::from_ptr(low) }.load(Ordering::Relaxed);
        // SAFETY: as in `load_u16`.
        let high_word = unsafe { AtomicU64::from_ptr(high) }.load(Ordering::Relaxed);
        #[cfg(test)]
        probe::on_read(low.cast(), 16);
        [u64::from_le(low_word), u64::from_le(high_word)]
    }

    #[cold]
    fn load_unaligned(&self, offset: usize) -> [u64; 2] {
        let Some(host) = self.at::<[u8; 16]>(offset) else {
            return [0, 0];
        };
        let mut bytes = [0; 16];
        // SAFETY: `at` checked the bounds; the destination is private.
        unsafe { copy_in(host.cast(), &mut bytes) };
        let both = u128::from_le_bytes(bytes);
        [low_word(both), low_word(both >> 64)]
    }

    /// Copies guest bytes out; the lengths of the range and of `dst` both bound it.
    #[inline]
    pub(crate) fn read(&self, offset: usize, dst: &mut [u8]) -> usize {
        let count = dst.len().min(self.len.saturating_sub(offset));
        if let Some(dst) = dst.get_mut(..count) {
            // SAFETY: `offset + count` was bounded by the range; the destination is private.
            unsafe { copy_in(self.host.wrapping_add(offset), dst) };
        }
        count
    }

    /// Copies private bytes in; the lengths of the range and of `src` both bound it.
    #[inline]
    pub(crate) fn write(&self, offset: usize, src: &[u8]) -> usize {
        let count = src.len().min(self.len.saturating_sub(offset));
        // SAFETY: `offset + count` was bounded by the range, `count` by `src`.
        unsafe { std::ptr::copy(src.as_ptr(), self.host.wrapping_add(offset), count) };
        count
    }
}

/// The low half of two words.
#[expect(
    clippy::cast_possible_truncation,
    reason = "the half is what is wanted"
)]
const fn low_word(both: u128) -> u64 {
    both as u64
}

/// Copies shared bytes into a private buffer, once.
///
/// The fence keeps the compiler from replacing a later read of `dst` by a second read of `src`.
///
/// # Safety
/// `src` must be mapped for `dst.len()` bytes.
#[inline]
unsafe fn copy_in(src: *const u8, dst: &mut [u8]) {
    // SAFETY: promised by the caller; `dst` is private memory and cannot overlap guest memory.
    unsafe { std::ptr::copy_nonoverlapping(src, dst.as_mut_ptr(), dst.len()) };
    compiler_fence(Ordering::SeqCst);
    #[cfg(test)]
    probe::on_read(src, dst.len());
}

/// A checked range of guest memory that keeps its map alive.
pub(crate) struct Window {
    host: *mut u8,
    len: usize,
    _map: Arc<GuestMap>,
}

// SAFETY: see `GuestMap`; a window is a pointer into the map that it owns a share of.
unsafe impl Send for Window {}
// SAFETY: as above; all access is atomic.
unsafe impl Sync for Window {}

impl Window {
    pub(crate) fn new(map: &Arc<GuestMap>, addr: u64, len: usize) -> Result<Self, MemoryFault> {
        let view = map.view(addr, len, &mut 0)?;
        Ok(Self {
            host: view.host,
            len,
            _map: Arc::clone(map),
        })
    }

    /// The range, for as long as the window is borrowed.
    #[inline]
    pub(crate) fn view(&self) -> View<'_> {
        View {
            host: self.host,
            len: self.len,
            map: PhantomData,
        }
    }
}
