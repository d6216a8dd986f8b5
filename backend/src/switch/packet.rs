//! The reading of headers that checks and snooping share: the ring crate's, by which frames are also
//! classified and charged, so that no two parts of the daemon see two packets in one frame.

use ring::HEADER_LEN;
use ring::net::{Facts, MAX_FRAME_LEN, Network, inspect_from_host};

use super::Refused;

/// Reads what the first bytes of a frame say. The frame may be longer.
#[inline]
pub(super) fn read(head: &[u8]) -> Result<Facts, Refused> {
    inspect_from_host(&[0; HEADER_LEN], head, MAX_FRAME_LEN).map_err(|_| Refused::Truncated)
}

/// Where the packet ends by its own account, from the start of the frame; the frame may be padded.
pub(super) fn end(head: &[u8], facts: &Facts) -> Option<usize> {
    let start = usize::from(facts.l3_offset);
    let (before, field) = match facts.network {
        Network::Ipv4 => (0, 2),
        Network::Ipv6 => (40, 4),
        Network::Arp | Network::Other => return None,
    };
    let len = super::tags::be16(head, start.checked_add(field)?)?;
    start.checked_add(before)?.checked_add(usize::from(len))
}

/// What is known of the packet from its transport header on. `None` if it has none, or keeps it
/// behind its own end.
pub(super) fn transport<'a>(head: &'a [u8], facts: &Facts) -> Option<&'a [u8]> {
    let end = end(head, facts)?.min(head.len());
    head.get(usize::from(facts.l4_offset?)..end)
}
