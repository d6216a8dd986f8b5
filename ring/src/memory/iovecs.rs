//! Lists of checked ranges: what a chain consists of and what `writev` takes, and the copies in
//! and out of them.
#![allow(unsafe_code)]

use std::fmt;
use std::sync::Arc;

use super::{GuestMap, MemoryFault, copy_in};

/// Host addresses of ranges of guest memory: the segments of a chain, or what `writev` takes.
///
/// A reusable container. It keeps a share of the map its addresses come from, so they cannot
/// dangle; [`Self::clear`] gives it back.
#[derive(Default)]
pub struct IoVecs {
    list: Vec<libc::iovec>,
    map: Option<Arc<GuestMap>>,
}

// SAFETY: see `Window`: addresses inside a map that this owns a share of.
unsafe impl Send for IoVecs {}

impl fmt::Debug for IoVecs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list()
            .entries(self.list.iter().map(|v| (v.iov_base, v.iov_len)))
            .finish()
    }
}

impl IoVecs {
    /// An empty list with room for `capacity` segments before it allocates.
    #[must_use]
    pub fn with_capacity(capacity: usize) -> Self {
        Self {
            list: Vec::with_capacity(capacity),
            map: None,
        }
    }

    /// Forgets the segments and releases the memory map.
    pub fn clear(&mut self) {
        self.list.clear();
        self.map = None;
    }

    /// Number of segments.
    #[inline]
    #[must_use]
    pub fn len(&self) -> usize {
        self.list.len()
    }

    /// Whether there is no segment.
    #[inline]
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// The segments, as the kernel takes them. Valid until this list is changed or dropped.
    #[inline]
    #[must_use]
    pub fn as_raw(&self) -> &[libc::iovec] {
        &self.list
    }

    /// Forgets the segments and takes addresses from `map` from now on.
    #[inline]
    pub(crate) fn bind(&mut self, map: &Arc<GuestMap>) {
        self.list.clear();
        // The same map, nearly always: then no reference count is touched.
        if !self.map.as_ref().is_some_and(|own| Arc::ptr_eq(own, map)) {
            self.map = Some(Arc::clone(map));
        }
    }

    /// Appends `len` bytes at a guest address of the bound map.
    #[inline]
    pub(crate) fn push(
        &mut self,
        addr: u64,
        len: u32,
        hint: &mut usize,
    ) -> Result<(), MemoryFault> {
        let len = u64::from(len);
        let map = self.map.as_ref().ok_or(MemoryFault { addr, len })?;
        let iov_base = map.host_of(addr, len, hint)?.cast();
        // A region's length fits the address space, and `len` is inside one.
        let iov_len = usize::try_from(len).map_err(|_| MemoryFault { addr, len })?;
        self.list.push(libc::iovec { iov_base, iov_len });
        Ok(())
    }

    /// Drops all but the first `count` segments.
    pub(crate) fn truncate(&mut self, count: usize) {
        self.list.truncate(count);
    }

    /// Makes this the list of a part of `other`, whose map it shares.
    pub(crate) fn clone_part(&mut self, other: &Self, skip: usize, limit: usize) {
        self.list.clear();
        self.map.clone_from(&other.map);
        self.extend_from(other, skip, limit);
    }

    /// Appends all segments of `other`, if it is bound to the same map.
    #[inline]
    pub(crate) fn append(&mut self, other: &Self) {
        let same =
            matches!((&self.map, &other.map), (Some(own), Some(map)) if Arc::ptr_eq(own, map));
        debug_assert!(same, "segments of another memory generation");
        if same {
            self.list.extend_from_slice(&other.list);
        }
    }

    /// Appends a part of `other`'s bytes: `skip` bytes on, at most `limit` bytes.
    fn extend_from(&mut self, other: &Self, skip: usize, limit: usize) {
        let spans = other.spans(skip, limit);
        self.list.extend(spans.map(|(base, iov_len)| libc::iovec {
            iov_base: base.cast(),
            iov_len,
        }));
    }

    /// Makes this the list of a private prefix and a part of `other`, whose map it shares.
    pub(crate) fn prefixed(&mut self, prefix: &[u8], other: &Self, skip: usize, limit: usize) {
        self.list.clear();
        self.map.clone_from(&other.map);
        self.list.push(libc::iovec {
            iov_base: prefix.as_ptr().cast_mut().cast(),
            iov_len: prefix.len(),
        });
        self.extend_from(other, skip, limit);
    }

    /// The host ranges of at most `limit` bytes, from `skip` bytes on.
    fn spans(&self, skip: usize, limit: usize) -> impl Iterator<Item = (*mut u8, usize)> {
        let (mut skip, mut left) = (skip, limit);
        self.list.iter().filter_map(move |segment| {
            let passed = skip.min(segment.iov_len);
            skip = skip.saturating_sub(passed);
            let len = segment.iov_len.saturating_sub(passed).min(left);
            left = left.saturating_sub(len);
            let base = segment.iov_base.cast::<u8>().wrapping_add(passed);
            (len > 0).then_some((base, len))
        })
    }

    /// Copies bytes from `skip` on into `dst`, each read once. Returns how many there were.
    #[inline]
    pub(crate) fn copy_out(&self, skip: usize, dst: &mut [u8]) -> usize {
        let mut rest = dst;
        let mut copied = 0_usize;
        for (base, len) in self.spans(skip, rest.len()) {
            let Some((now, later)) = rest.split_at_mut_checked(len) else {
                break;
            };
            // SAFETY: a span lies inside a segment, which lies inside a region of the map we hold.
            unsafe { copy_in(base, now) };
            copied = copied.saturating_add(len);
            rest = later;
        }
        copied
    }

    /// A writer that starts at the first byte.
    pub(crate) fn writer(&self) -> Writer<'_> {
        Writer {
            list: &self.list,
            used: 0,
        }
    }
}

/// Writes through a list of segments, front to back.
pub(crate) struct Writer<'a> {
    list: &'a [libc::iovec],
    used: usize,
}

impl Writer<'_> {
    /// Writes private bytes; returns how many found room.
    #[inline]
    pub(crate) fn write(&mut self, src: &[u8]) -> usize {
        // SAFETY: the slice is valid for its length.
        unsafe { self.put(src.as_ptr(), src.len()) }
    }

    /// Writes `limit` bytes of another list from `skip` on; returns how many were copied.
    pub(crate) fn write_from(&mut self, source: &IoVecs, skip: usize, limit: usize) -> usize {
        source
            .spans(skip, limit)
            // SAFETY: a span lies inside a region of the map that `source` holds.
            .map(|(base, len)| unsafe { self.put(base, len) })
            .fold(0, usize::saturating_add)
    }

    /// # Safety
    /// `src` must be readable for `len` bytes.
    #[inline]
    unsafe fn put(&mut self, src: *const u8, len: usize) -> usize {
        let mut done = 0_usize;
        while done < len
            && let Some(segment) = self.list.first()
        {
            let room = segment.iov_len.saturating_sub(self.used);
            let count = room.min(len.saturating_sub(done));
            let dst = segment.iov_base.cast::<u8>().wrapping_add(self.used);
            // SAFETY: `count` is bounded by the segment, which the list's map keeps mapped, and by
            // `src`. Both may be guest memory and may overlap, which `copy` allows.
            unsafe { std::ptr::copy(src.wrapping_add(done), dst, count) };
            done = done.saturating_add(count);
            self.used = self.used.saturating_add(count);
            if count == room {
                self.list = self.list.get(1..).unwrap_or_default();
                self.used = 0;
            }
        }
        done
    }
}
