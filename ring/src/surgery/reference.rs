//! Segmentation as plain as can be, for tests to compare with.

use super::*;
use crate::net::checksum::{Sum, complete};
use crate::net::frames::EVERY;
use crate::net::{ChecksumRequest, Gso, HEADER_LEN, Network, inspect};

/// What travels: the virtio-net header, then the frame.
pub(crate) type Sent = ([u8; HEADER_LEN], Vec<u8>);

/// The pseudo-header sum a sender stores.
pub(crate) fn seed_of(frame: &[u8], l4: usize, kind: Gso) -> u16 {
    let facts = inspect(
        &[0; HEADER_LEN],
        &frame[..frame.len().min(512)],
        u32::try_from(frame.len()).unwrap(),
        EVERY,
    )
    .unwrap();
    let protocol = if kind == Gso::Udp { 17 } else { 6 };
    let len = u32::try_from(frame.len() - l4).unwrap();
    Sum::default()
        .pseudo_header(
            facts.source.unwrap(),
            facts.destination.unwrap(),
            protocol,
            len,
        )
        .fold()
}

/// Cuts a frame to what the wire carries, as plainly as can be.
pub(crate) fn reference(sent: &Sent) -> Vec<Vec<u8>> {
    let (header, frame) = sent;
    let facts = inspect(
        header,
        &frame[..frame.len().min(512)],
        u32::try_from(frame.len()).unwrap(),
        EVERY,
    )
    .unwrap();
    let request = facts.checksum.unwrap();
    let (l3, l4) = (usize::from(facts.l3_offset), usize::from(request.start));
    let field = l4 + usize::from(request.offset);
    let kind = if request.offset == 6 {
        Gso::Udp
    } else {
        Gso::Tcp4
    };
    assert_eq!(
        u16::from_be_bytes([frame[field], frame[field + 1]]),
        seed_of(frame, l4, kind)
    );
    let (headers, payload) = frame.split_at(usize::from(facts.headers_len));
    let size = if facts.gso == Gso::None {
        payload.len()
    } else {
        usize::from(facts.gso_size)
    };
    let pieces: Vec<_> = payload.chunks(size).collect();
    let mut segments = Vec::new();
    for (index, piece) in pieces.iter().enumerate() {
        let mut segment = [headers, piece].concat();
        let len = segment.len();
        if facts.network == Network::Ipv4 {
            let total = u16::try_from(len - l3).unwrap();
            segment[l3 + 2..l3 + 4].copy_from_slice(&total.to_be_bytes());
            let id = u16::from_be_bytes([segment[l3 + 4], segment[l3 + 5]])
                .wrapping_add(u16::try_from(index).unwrap());
            segment[l3 + 4..l3 + 6].copy_from_slice(&id.to_be_bytes());
            segment[l3 + 10..l3 + 12].fill(0);
            let sum = Sum::default().bytes(&segment[l3..l4]).finish();
            segment[l3 + 10..l3 + 12].copy_from_slice(&sum.to_be_bytes());
        } else {
            let total = u16::try_from(len - l3 - 40).unwrap();
            segment[l3 + 4..l3 + 6].copy_from_slice(&total.to_be_bytes());
        }
        if kind == Gso::Udp {
            let total = u16::try_from(len - l4).unwrap();
            segment[l4 + 4..l4 + 6].copy_from_slice(&total.to_be_bytes());
        } else {
            let sequence = u32::from_be_bytes(segment[l4 + 4..l4 + 8].try_into().unwrap())
                .wrapping_add(u32::try_from(index * size).unwrap());
            segment[l4 + 4..l4 + 8].copy_from_slice(&sequence.to_be_bytes());
            if index + 1 < pieces.len() {
                segment[l4 + 13] &= !(FIN | PSH);
            }
            if index > 0 {
                segment[l4 + 13] &= !CWR;
            }
        }
        let seed = seed_of(&segment, l4, kind);
        segment[field..field + 2].copy_from_slice(&seed.to_be_bytes());
        finish(&mut segment, request);
        segments.push(segment);
    }
    segments
}

/// Finishes a checksum as the kernel's segmentation does: only UDP's zero becomes 0xffff.
pub(crate) fn finish(frame: &mut [u8], request: ChecksumRequest) {
    assert!(complete(frame, request));
    let field = usize::from(request.start + request.offset);
    if request.offset == TCP_CHECKSUM && frame[field..field + 2] == [0xff, 0xff] {
        frame[field..field + 2].fill(0);
    }
}
