//! What is known about a frame: the virtio-net header, checked against the frame's own bytes.
//!
//! A guest's header is a set of claims. [`inspect`] accepts those that the bytes bear out and that
//! were negotiated, and [`Facts::header`] writes a new header from what was found: lengths are
//! recomputed, unknown flags are gone, nothing the guest wrote passes through unread.

mod facts;
mod fault;
mod header;
mod parse;

pub mod checksum;

#[cfg(test)]
pub(crate) mod frames;
#[cfg(test)]
mod tests;

pub use facts::{ChecksumRequest, Facts, Fragment, Gso, Network};
pub use fault::FrameFault;
pub(crate) use header::Fields;
pub use header::{Header, Offloads};

use parse::Layers;

/// Bytes of the virtio-net header with `VIRTIO_F_VERSION_1` (virtio 1.3 §5.1.6).
pub const HEADER_LEN: usize = 12;
/// Bytes of a frame that decisions may depend on: what the caller copies before [`inspect`].
pub const HEAD_LEN: usize = 512;
/// Shortest frame: an Ethernet header (hostile row 26).
pub const MIN_FRAME_LEN: u32 = 14;
/// Longest frame: the largest IPv6 packet with two VLAN tags.
pub const MAX_FRAME_LEN: u32 = 14 + 8 + 40 + 65_535;
/// Smallest segment payload a guest may ask for with TCP (the kernel's `TCP_MIN_SND_MSS`).
pub const MIN_TCP_GSO_SIZE: u16 = 48;
/// Most segments a guest may ask for with UDP (the kernel's `UDP_MAX_SEGMENTS`).
pub const MAX_UDP_SEGMENTS: u32 = 128;

/// Checks a frame from a guest.
///
/// `header` and `head` are private copies, `head` of the first `min(frame_len, HEAD_LEN)` bytes
/// after the header; `frame_len` does not count the header; `offloads` is what was negotiated.
///
/// # Errors
/// Why the frame must be dropped; see [`FrameFault`].
pub fn inspect(
    header: &[u8; HEADER_LEN],
    head: &[u8],
    frame_len: u32,
    offloads: Offloads,
) -> Result<Facts, FrameFault> {
    let header = Header::parse(header);
    let layers = Layers::parse(head, frame_len)?;
    let checksum = if header.needs_checksum() {
        if !offloads.csum {
            return Err(FrameFault::ChecksumNotNegotiated);
        }
        Some(checked_request(&header, &layers, frame_len)?)
    } else {
        None
    };
    let gso = header.gso()?;
    if gso == Gso::None {
        return Ok(Facts::new(frame_len, layers, checksum));
    }
    if !offloads.allow(gso, header.ecn()) {
        return Err(FrameFault::GsoNotNegotiated);
    }
    check_gso(&header, gso, &layers, checksum)?;
    let mut facts = Facts::new(frame_len, layers, checksum);
    facts.set_gso(gso, header.gso_size, header.ecn());
    if gso == Gso::Udp && facts.segments > MAX_UDP_SEGMENTS {
        return Err(FrameFault::GsoTooManySegments);
    }
    Ok(facts)
}

/// Reads a frame that came from the host's kernel, whose offload claims are taken as they are as
/// far as they lie inside the frame. `DATA_VALID` and the checksum request are kept.
///
/// # Errors
/// What no guest could be given: a runt, or an offload that does not fit the frame.
pub fn inspect_from_host(
    header: &[u8; HEADER_LEN],
    head: &[u8],
    frame_len: u32,
) -> Result<Facts, FrameFault> {
    let header = Header::parse(header);
    let layers = Layers::parse(head, frame_len)?;
    let checksum = header.needs_checksum().then(|| header.request());
    if checksum.is_some_and(|request| request.end() > frame_len) {
        return Err(FrameFault::ChecksumRange);
    }
    let gso = header.gso()?;
    if gso != Gso::None {
        check_gso_layers(&header, gso, &layers)?;
    }
    let mut facts = Facts::new(frame_len, layers, checksum);
    facts.data_valid = header.data_valid();
    facts.set_gso(gso, header.gso_size, header.ecn());
    Ok(facts)
}

/// Hostile rows 32 and 33, and one more: the checksum is written by whoever finishes it, so it
/// must not land on bytes that were classified or checked against spoofing.
fn checked_request(
    header: &Header,
    layers: &Layers,
    frame_len: u32,
) -> Result<ChecksumRequest, FrameFault> {
    let request = header.request();
    if request.end() > frame_len {
        return Err(FrameFault::ChecksumRange);
    }
    let transport = layers.transport_offset();
    let own = layers
        .checksum_offset()
        .is_some_and(|offset| request.start == transport && request.offset == offset);
    let behind = if layers.has_ports() {
        transport.saturating_add(8)
    } else {
        transport
    };
    if own || request.start >= behind {
        Ok(request)
    } else {
        Err(FrameFault::ChecksumRange)
    }
}

/// Hostile rows 28 to 31 and 39.
fn check_gso(
    header: &Header,
    gso: Gso,
    layers: &Layers,
    checksum: Option<ChecksumRequest>,
) -> Result<(), FrameFault> {
    let Some(request) = checksum else {
        return Err(FrameFault::GsoWithoutChecksum);
    };
    check_gso_layers(header, gso, layers)?;
    if gso != Gso::Udp && header.gso_size < MIN_TCP_GSO_SIZE {
        return Err(FrameFault::GsoSizeSmall);
    }
    if request.start != layers.transport_offset() {
        return Err(FrameFault::ChecksumRange);
    }
    Ok(())
}

/// What a super-frame needs whoever sent it: the headers that it claims, whole and in the copy.
fn check_gso_layers(header: &Header, gso: Gso, layers: &Layers) -> Result<(), FrameFault> {
    if header.gso_size == 0 {
        return Err(FrameFault::GsoSizeZero);
    }
    if !layers.carries(gso) {
        return Err(FrameFault::GsoProtocol);
    }
    if layers.headers_len().is_none() {
        return Err(FrameFault::GsoHeaders);
    }
    Ok(())
}
