//! Single segments of a super-frame, for a far side that cannot cut them itself.

#[cfg(test)]
mod tests;

use std::ops::Range;

use super::{Part, PeelFault, TCP_CHECKSUM, UDP_CHECKSUM, peel, put16};
use crate::net::checksum::Pieces;
use crate::net::{Facts, Gso, HEADER_LEN};

/// Writes the headers of segment `index` of a super-frame into `out` and returns where its payload
/// lies in the frame, as [`peel()`] does for one segment.
///
/// `head` is the copy that `facts` was made from, `frame` the whole frame, in pieces of any length.
/// With `finish` the segment has its checksum, and a virtio-net header that asks for nothing;
/// without, it asks for it. The result is the kernel's, byte for byte: a TCP checksum may be zero,
/// UDP's zero is 0xffff.
///
/// # Errors
/// See [`PeelFault`]; [`PeelFault::Range`] also when `frame` is shorter than `facts` say.
pub fn segment(
    facts: &Facts,
    head: &[u8],
    frame: &[&[u8]],
    index: u32,
    finish: bool,
    out: &mut Part,
) -> Result<Range<u32>, PeelFault> {
    let payload = peel(facts, head, index, 1, out)?;
    // A frame from a host may have asked for nothing, and a cut one needs its checksum nonetheless.
    if finish || facts.checksum.is_none() {
        let l4 = usize::from(facts.l4_offset.ok_or(PeelFault::Whole)?);
        let covered = out.headers().get(l4..).ok_or(PeelFault::Head)?;
        let sum = Pieces::default().piece(covered);
        let sum = add(sum, frame, &payload).ok_or(PeelFault::Range)?.finish();
        let (at, sum) = match (facts.gso, sum) {
            (Gso::Udp, 0) => (UDP_CHECKSUM, 0xffff),
            (Gso::Udp, sum) => (UDP_CHECKSUM, sum),
            (_, sum) => (TCP_CHECKSUM, sum),
        };
        let at = l4.saturating_add(usize::from(at));
        put16(out.headers_mut(), at, sum).ok_or(PeelFault::Head)?;
        out.set_header([0; HEADER_LEN]);
    }
    Ok(payload)
}

/// Adds a range of a frame in pieces; `None` if it is not all there.
fn add(mut sum: Pieces, frame: &[&[u8]], range: &Range<u32>) -> Option<Pieces> {
    let mut skip = usize::try_from(range.start).ok()?;
    let mut left = usize::try_from(range.end).ok()?.checked_sub(skip)?;
    for piece in frame {
        if left == 0 {
            break;
        }
        match piece.get(skip..) {
            Some(bytes) => {
                let bytes = bytes.get(..left).unwrap_or(bytes);
                sum = sum.piece(bytes);
                left = left.saturating_sub(bytes.len());
                skip = 0;
            }
            None => skip = skip.saturating_sub(piece.len()),
        }
    }
    (left == 0).then_some(sum)
}
