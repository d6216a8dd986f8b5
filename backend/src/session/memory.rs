//! The memory table as the front-end described it: which ranges are well formed, and where a
//! front-end address lies in guest memory.

use super::config::{MAX_REGIONS, MAX_TABLE_REGIONS};
use super::machine::Fault;
use super::message::{Attachment, Fields, Kind};
use super::reason::{Malformed, Refusal};
use super::request::size;

/// Offset and size of a region in a file must be multiples of this on every file system, bytes.
pub(super) const PAGE: u64 = 4096;

/// One region of guest memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Region {
    /// Guest physical address.
    pub guest: u64,
    /// Length in bytes.
    pub len: u64,
    /// The same place in the front-end's address space.
    pub user: u64,
    /// Where the region begins in its file, in bytes.
    pub offset: u64,
}

impl Region {
    fn read(fields: &mut Fields<'_>) -> Result<Self, Malformed> {
        Ok(Self {
            guest: fields.u64()?,
            len: fields.u64()?,
            user: fields.u64()?,
            offset: fields.u64()?,
        })
    }

    /// Parses the body of ADD_MEM_REG and REM_MEM_REG.
    pub(super) fn parse_single(body: &[u8]) -> Result<Self, Malformed> {
        let mut fields = Fields::new(body);
        fields.u64()?;
        let region = Self::read(&mut fields)?;
        fields.end().map(|()| region)
    }

    fn overlaps(&self, other: &Self) -> bool {
        let meet =
            |a: u64, b: u64| a < b.saturating_add(other.len) && b < a.saturating_add(self.len);
        meet(self.guest, other.guest) || meet(self.user, other.user)
    }

    /// Checks the region by itself; `position` only names it in the refusal.
    fn check_shape(&self, position: usize) -> Result<(), Refusal> {
        let ends = [self.guest, self.user, self.offset].map(|start| start.checked_add(self.len));
        let aligned = self.len.is_multiple_of(PAGE) && self.offset.is_multiple_of(PAGE);
        if self.len == 0 || !aligned || ends.contains(&None) {
            return Err(Refusal::RegionShape(position));
        }
        Ok(())
    }

    /// Checks that the region lies in a file that can be mapped (hostile row 63). Its end was
    /// found not to overflow.
    fn check_file(&self, position: usize, attachment: &Attachment) -> Result<(), Refusal> {
        match attachment.kind {
            Kind::File {
                len,
                page,
                writable: true,
            } if self.offset.saturating_add(self.len) <= len
                && self.len.is_multiple_of(page)
                && self.offset.is_multiple_of(page) =>
            {
                Ok(())
            }
            _ => Err(Refusal::RegionFile(position)),
        }
    }

    /// Whether both describe the same memory; the offset is not compared (specification,
    /// "VHOST_USER_REM_MEM_REG").
    fn is_same(&self, other: &Self) -> bool {
        (self.guest, self.len, self.user) == (other.guest, other.len, other.user)
    }
}

/// The regions of a session.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Table {
    regions: Vec<Region>,
    /// How often each region was added again. QEMU 7.2 adds and removes every region once for each
    /// of its queue pairs.
    repeats: Vec<u32>,
}

impl Table {
    /// The regions, in no particular order.
    pub fn regions(&self) -> &[Region] {
        &self.regions
    }

    /// Parses and checks SET_MEM_TABLE. Sorts the descriptors with the regions by guest address,
    /// the order without which the engine fails, and returns the body to pass on.
    pub(super) fn parse(body: &[u8], fds: &mut Vec<Attachment>) -> Result<(Self, Vec<u8>), Fault> {
        let mut fields = Fields::new(body);
        let count = usize::try_from(fields.u32()?).unwrap_or(usize::MAX);
        fields.u32()?;
        if count.checked_mul(size::REGION) != body.len().checked_sub(size::TABLE_HEAD) {
            return Err(Malformed::Size(body.len()).into());
        }
        if fds.len() > count {
            return Err(Malformed::Descriptors(fds.len()).into());
        }
        if !(1..=MAX_TABLE_REGIONS).contains(&count) {
            return Err(Refusal::RegionCount(count).into());
        }
        if fds.len() < count {
            return Err(Refusal::MissingDescriptor.into());
        }
        let mut table = Self::default();
        for (position, attachment) in fds.iter().enumerate() {
            let region = Region::read(&mut fields)?;
            table.check_addition(&region, position, attachment)?;
            table.regions.push(region);
        }
        let mut pairs: Vec<_> = table.regions.drain(..).zip(fds.drain(..)).collect();
        pairs.sort_by_key(|(region, _)| region.guest);
        (table.regions, *fds) = pairs.into_iter().unzip();
        table.repeats = vec![0; table.regions.len()];
        let body = table.encode();
        Ok((table, body))
    }

    fn encode(&self) -> Vec<u8> {
        let count = u32::try_from(self.regions.len()).unwrap_or(u32::MAX);
        let mut body = Vec::with_capacity(size::TABLE_HEAD + self.regions.len() * size::REGION);
        body.extend_from_slice(&count.to_ne_bytes());
        body.extend_from_slice(&[0; 4]);
        for region in &self.regions {
            for number in [region.guest, region.len, region.user, region.offset] {
                body.extend_from_slice(&number.to_ne_bytes());
            }
        }
        body
    }

    fn check_addition(
        &self,
        region: &Region,
        position: usize,
        attachment: &Attachment,
    ) -> Result<(), Refusal> {
        region.check_shape(position)?;
        if self.regions.iter().any(|other| region.overlaps(other)) {
            return Err(Refusal::RegionOverlap(position));
        }
        region.check_file(position, attachment)
    }

    /// Takes one more region (ADD_MEM_REG); false if it is there already, and only counted.
    pub(super) fn add(&mut self, region: Region, attachment: &Attachment) -> Result<bool, Refusal> {
        if let Some(index) = self.regions.iter().position(|other| *other == region) {
            let repeats = self
                .repeats
                .get_mut(index)
                .ok_or(Refusal::RegionOverlap(index))?;
            *repeats = repeats.saturating_add(1);
            return Ok(false);
        }
        let position = self.regions.len();
        if position >= MAX_REGIONS {
            return Err(Refusal::RegionCount(position.saturating_add(1)));
        }
        self.check_addition(&region, position, attachment)?;
        self.regions.push(region);
        self.repeats.push(0);
        Ok(true)
    }

    /// The table with one region less (REM_MEM_REG), or `None` if it was added more than once and
    /// so is still wanted: then only the count is less.
    pub(super) fn without(&mut self, region: &Region) -> Result<Option<Self>, Refusal> {
        let found = self.regions.iter().position(|other| other.is_same(region));
        let index = found.ok_or(Refusal::NoSuchRegion)?;
        if let Some(repeats) = self.repeats.get_mut(index).filter(|repeats| **repeats > 0) {
            *repeats -= 1;
            return Ok(None);
        }
        let mut table = self.clone();
        table.regions.remove(index);
        table.repeats.remove(index);
        Ok(Some(table))
    }

    /// The guest address of `len` bytes at front-end address `user`, if one region holds them.
    pub(super) fn translate(&self, user: u64, len: u64) -> Option<u64> {
        let end = user.checked_add(len)?;
        self.regions.iter().find_map(|region| {
            let inside = user.checked_sub(region.user)?;
            (end <= region.user.saturating_add(region.len))
                .then(|| region.guest.saturating_add(inside))
        })
    }
}
