//! Surgery on frames: super-frames joined of neighbours ([`coalesce`]) and cut into parts
//! ([`peel`](mod@peel)) or single segments ([`segment`](mod@segment)).
//!
//! The law of all of it: what the wire carries in the end is, byte for byte, what it would have
//! carried without.

pub mod coalesce;
pub mod peel;
pub mod segment;

#[cfg(test)]
pub(crate) mod flow;
#[cfg(test)]
pub(crate) mod reference;

pub use coalesce::{Accepts, Train};
pub use peel::{MAX_PART_HEADER, Part, PeelFault, peel};
pub use segment::segment;

const FIN: u8 = 0x01;
const SYN: u8 = 0x02;
const RST: u8 = 0x04;
const PSH: u8 = 0x08;
const ACK: u8 = 0x10;
const URG: u8 = 0x20;
const ECE: u8 = 0x40;
const CWR: u8 = 0x80;

/// Where a TCP header has its checksum.
const TCP_CHECKSUM: u16 = 16;
/// Where a UDP header has its checksum.
const UDP_CHECKSUM: u16 = 6;

fn take16(bytes: &[u8], at: usize) -> Option<u16> {
    bytes
        .get(at..)?
        .first_chunk()
        .copied()
        .map(u16::from_be_bytes)
}

fn put16(bytes: &mut [u8], at: usize, value: u16) -> Option<()> {
    *bytes.get_mut(at..)?.first_chunk_mut()? = value.to_be_bytes();
    Some(())
}
