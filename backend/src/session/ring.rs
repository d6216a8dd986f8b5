//! What the front-end has said about each ring, and which of it may be said when.

use super::machine::Fault;
use super::memory::Table;
use super::message::{Attachment, Fields, Kind};
use super::reason::{Malformed, Refusal};

/// The parts of a ring at front-end addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Addresses {
    /// Descriptor table.
    pub descriptors: u64,
    /// Used ring.
    pub used: u64,
    /// Available ring.
    pub available: u64,
}

/// One ring as the front-end described it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ring {
    /// Size in descriptors.
    pub size: Option<u16>,
    /// Where to start, if the front-end said so since the ring last stopped.
    pub base: Option<u16>,
    /// Where it lies; forgotten when a memory table takes it away.
    pub addresses: Option<Addresses>,
    /// It got its kick event and was not stopped since.
    pub started: bool,
    /// SET_VRING_ENABLE's last value that reached the engine.
    pub enabled: bool,
    /// SET_VRING_ENABLE's last value that waits for SET_FEATURES.
    pub deferred: Option<bool>,
}

impl Ring {
    /// Grants a change of a setting of the ring: never while it is started (hostile row 19).
    pub(super) fn check_stopped(&self, index: u32) -> Result<(), Refusal> {
        if self.started {
            return Err(Refusal::RingStarted(index));
        }
        Ok(())
    }

    /// Checks that the ring may start: it has a size, and its addresses hold for that size.
    pub(super) fn check_complete(&self, index: u32, table: &Table) -> Result<(), Refusal> {
        let (Some(size), Some(addresses)) = (self.size, self.addresses) else {
            return Err(Refusal::RingIncomplete(index));
        };
        addresses
            .resolve(size, table)
            .map(|_| ())
            .ok_or(Refusal::RingAddresses(index))
    }

    /// Whether the ring, if it lies anywhere, lies at the same guest addresses in both tables.
    pub(super) fn stays(&self, old: &Table, new: &Table) -> bool {
        let size = self.size.unwrap_or(1);
        self.addresses
            .is_none_or(|addresses| match addresses.resolve(size, new) {
                Some(places) => addresses.resolve(size, old) == Some(places),
                None => false,
            })
    }
}

impl Addresses {
    /// Parses SET_VRING_ADDR: the ring, its flags and the addresses. The log address that ends
    /// the body has no meaning without dirty logging.
    pub(super) fn parse(body: &[u8]) -> Result<(u32, u32, Self), Malformed> {
        let mut fields = Fields::new(body);
        let (index, flags) = (fields.u32()?, fields.u32()?);
        let addresses = Self {
            descriptors: fields.u64()?,
            used: fields.u64()?,
            available: fields.u64()?,
        };
        fields.u64()?;
        fields.end().map(|()| (index, flags, addresses))
    }

    /// The guest addresses of the three parts of a ring of `size` descriptors. `None` if a part
    /// is not aligned by 16, 4 and 2 bytes (virtio 1.3 §2.7) in both address spaces, does not
    /// lie within one region, or overlaps another.
    pub(super) fn resolve(&self, size: u16, table: &Table) -> Option<[u64; 3]> {
        let size = u64::from(size);
        let parts = [
            (self.descriptors, 16 * size, 16),
            (self.used, 6 + 8 * size, 4),
            (self.available, 6 + 2 * size, 2),
        ];
        let mut spans = [(0, 0); 3];
        for ((user, len, align), span) in parts.into_iter().zip(&mut spans) {
            let guest = table.translate(user, len)?;
            if !user.is_multiple_of(align) || !guest.is_multiple_of(align) {
                return None;
            }
            *span = (guest, guest.saturating_add(len));
        }
        let [descriptors, used, available] = spans;
        let apart = |a: (u64, u64), b: (u64, u64)| a.1 <= b.0 || b.1 <= a.0;
        (apart(descriptors, used) && apart(descriptors, available) && apart(used, available))
            .then_some(spans.map(|(start, _)| start))
    }
}

/// Checks the number of a kick, call or error message against the descriptors that came with it
/// (hostile rows 57, 58, 60) and returns the ring. The low byte is the ring, bit 8 says that
/// there is no descriptor, and no other bit exists.
pub(super) fn check_event(value: u64, fds: &[Attachment]) -> Result<u32, Fault> {
    const INDEX: u64 = 0xff;
    const NO_DESCRIPTOR: u64 = 0x100;
    let [index, ..] = (value & INDEX).to_le_bytes();
    if value & !(INDEX | NO_DESCRIPTOR) != 0 {
        return Err(Refusal::NoSuchRing(value).into());
    }
    let promised = value & NO_DESCRIPTOR == 0;
    match fds {
        [] if promised => Err(Refusal::MissingDescriptor.into()),
        [_, ..] if !promised => Err(Malformed::Descriptors(fds.len()).into()),
        // A pipe or a socket could make the packet path wait.
        [fd, ..] if fd.kind != Kind::Anonymous => Err(Refusal::NotAnEvent.into()),
        _ => Ok(u32::from(index)),
    }
}
