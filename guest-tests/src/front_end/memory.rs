//! The guest's memory: one region in a memfd, handed out from its start.

use std::fs::File;
use std::os::fd::AsRawFd;
use std::sync::Arc;

use ring::{GuestMap, GuestMemory};
use rustix::fs::{MemfdFlags, ftruncate, memfd_create};
use vhost::VhostUserMemoryRegionInfo;
use vm_memory::{FileOffset, GuestAddress, GuestMemoryBackend, GuestMemoryRegion, GuestRegionMmap};

use crate::error::{Context, Error, Result};

/// Guest physical address where the memory starts. Nothing is mapped below it.
pub const GUEST_BASE: u64 = 0x4000_0000;

const PAGE: u64 = 4096;

/// A guest's memory; its pages take room only once they are written.
#[derive(Debug)]
pub struct Memory {
    file: File,
    map: Arc<GuestMap>,
    user: u64,
    len: u64,
    next: u64,
}

impl Memory {
    /// Makes a memory of at least `len` bytes.
    ///
    /// # Errors
    /// [`Error::Io`] if the kernel has no room for it.
    pub fn new(len: u64) -> Result<Self> {
        let len = len.next_multiple_of(PAGE);
        let memfd = memfd_create("guest", MemfdFlags::CLOEXEC).context("making guest memory")?;
        ftruncate(&memfd, len).context("sizing guest memory")?;
        let file = File::from(memfd);
        let shared = file.try_clone().context("duplicating guest memory")?;
        let offset = Some(FileOffset::new(shared, 0));
        let size = usize::try_from(len).unwrap_or(usize::MAX);
        let other = |error: String| Error::Io {
            what: "mapping guest memory".to_owned(),
            source: std::io::Error::other(error),
        };
        let region = GuestRegionMmap::from_range(GuestAddress(GUEST_BASE), size, offset)
            .map_err(|error| other(error.to_string()))?;
        let user = region.as_ptr().addr() as u64;
        let memory =
            GuestMemory::from_regions(vec![region]).map_err(|error| other(error.to_string()))?;
        debug_assert_eq!(memory.iter().map(GuestMemoryRegion::len).sum::<u64>(), len);
        Ok(Self {
            file,
            map: Arc::new(GuestMap::new(Arc::new(memory))),
            user,
            len,
            next: GUEST_BASE,
        })
    }

    /// Hands out `len` bytes, aligned to `align`, and answers their guest address.
    ///
    /// # Errors
    /// [`Error::Setup`] when the memory is used up.
    pub fn take(&mut self, len: u64, align: u64) -> Result<u64> {
        let start = self.next.next_multiple_of(align);
        let end = start.saturating_add(len);
        if end > self.end() {
            return Err(Error::Setup(
                "the guest's memory is too small for its rings",
            ));
        }
        self.next = end;
        Ok(start)
    }

    /// The first guest address behind it.
    #[must_use]
    pub const fn end(&self) -> u64 {
        GUEST_BASE + self.len
    }

    /// The mapping.
    #[must_use]
    pub const fn map(&self) -> &Arc<GuestMap> {
        &self.map
    }

    /// The file behind it.
    #[must_use]
    pub const fn file(&self) -> &File {
        &self.file
    }

    /// A guest address as this process, and so the session's messages, know it.
    #[must_use]
    pub const fn user_address(&self, guest: u64) -> u64 {
        guest.wrapping_sub(GUEST_BASE).wrapping_add(self.user)
    }

    /// The region as the memory table describes it.
    #[must_use]
    pub fn region(&self) -> VhostUserMemoryRegionInfo {
        VhostUserMemoryRegionInfo {
            guest_phys_addr: GUEST_BASE,
            memory_size: self.len,
            userspace_addr: self.user,
            mmap_offset: 0,
            mmap_handle: self.file.as_raw_fd(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_do_not_overlap_and_end_with_the_memory() {
        let mut memory = Memory::new(8192).unwrap();
        let first = memory.take(100, 16).unwrap();
        let second = memory.take(100, 64).unwrap();
        assert_eq!((first, second), (GUEST_BASE, GUEST_BASE + 128));
        assert!(memory.take(8192, 1).is_err());
        assert_eq!(memory.end(), GUEST_BASE + 8192);
    }
}
