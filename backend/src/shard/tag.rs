//! VLAN tags put into frames and taken out of them (IEEE 802.1Q §9), with the virtio-net header before
//! the frame kept right.

use qos::FrameShape;
use ring::HEADER_LEN;

use crate::switch::TagChange;

/// Bytes of a tag.
const BYTES: u16 = 4;
/// The same, for places in memory.
pub(super) const TAG_LEN: usize = BYTES as usize;
/// Bytes before the tag: both addresses.
const ADDRESSES: usize = 12;
/// The type of an 802.1Q tag.
const TPID: [u8; 2] = [0x81, 0x00];

const NEEDS_CSUM: u8 = 1;

/// Changes the tag of the frame whose header begins at `start` of `bytes`, and says where the header
/// begins now. A push needs [`TAG_LEN`] bytes before `start`.
pub(super) fn change(bytes: &mut [u8], start: usize, change: TagChange) -> usize {
    let front = HEADER_LEN + ADDRESSES;
    match change {
        TagChange::Push(tci) if start >= TAG_LEN && bytes.len() >= start + front => {
            let new = start - TAG_LEN;
            bytes.copy_within(start..start + front, new);
            let [high, low] = tci.to_be_bytes();
            bytes[new + front..new + front + TAG_LEN]
                .copy_from_slice(&[TPID[0], TPID[1], high, low]);
            move_offsets(&mut bytes[new..], |at| at.saturating_add(BYTES));
            new
        }
        TagChange::Pop if bytes.len() >= start + front + TAG_LEN => {
            let new = start + TAG_LEN;
            bytes.copy_within(start..start + front, new);
            move_offsets(&mut bytes[new..], |at| at.saturating_sub(BYTES));
            new
        }
        TagChange::Set(tci) if bytes.len() >= start + front + TAG_LEN => {
            bytes[start + front + 2..start + front + TAG_LEN].copy_from_slice(&tci.to_be_bytes());
            start
        }
        _ => start,
    }
}

/// The header's offsets into the frame: length of all headers, and where the checksum starts (virtio
/// 1.3 §5.1.6).
fn move_offsets(header: &mut [u8], to: impl Fn(u16) -> u16) {
    let Some([flags, gso, h0, h1, _, _, c0, c1, ..]) = header.first_chunk_mut::<HEADER_LEN>()
    else {
        return;
    };
    let set = |low: &mut u8, high: &mut u8| {
        [*low, *high] = to(u16::from_le_bytes([*low, *high])).to_le_bytes();
    };
    if *gso != 0 {
        set(h0, h1);
    }
    if *flags & NEEDS_CSUM != 0 {
        set(c0, c1);
    }
}

/// The length of a frame whose header moved from `old` to `new`.
pub(super) fn length(len: u32, old: usize, new: usize) -> u32 {
    let by = u32::from(BYTES);
    match old.cmp(&new) {
        std::cmp::Ordering::Greater => len.saturating_add(by),
        std::cmp::Ordering::Less => len.saturating_sub(by),
        std::cmp::Ordering::Equal => len,
    }
}

/// The shape of such a frame.
pub(super) fn shape(shape: FrameShape, old: usize, new: usize) -> FrameShape {
    FrameShape {
        len: length(shape.len, old, new),
        headers: if shape.gso_size == 0 {
            shape.headers
        } else {
            length(shape.headers, old, new)
        },
        ..shape
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Four bytes of room, a header that asks for a checksum at 34, addresses, type, payload.
    fn unit() -> Vec<u8> {
        let mut bytes = vec![0; TAG_LEN];
        let mut header = [0; HEADER_LEN];
        header[..2].copy_from_slice(&[NEEDS_CSUM, 1]);
        header[2..4].copy_from_slice(&54_u16.to_le_bytes());
        header[6..8].copy_from_slice(&34_u16.to_le_bytes());
        bytes.extend(header);
        bytes.extend(1..=12);
        bytes.extend([0x08, 0x00, 0xaa, 0xbb]);
        bytes
    }

    #[test]
    fn what_is_pushed_is_popped_again() {
        let (plain, mut bytes) = (unit(), unit());
        let tagged = change(&mut bytes, TAG_LEN, TagChange::Push(0x2005));
        assert_eq!(tagged, 0);
        assert_eq!(
            bytes[HEADER_LEN + 12..HEADER_LEN + 18],
            [0x81, 0, 0x20, 5, 8, 0]
        );
        assert_eq!(bytes[2..4], 58_u16.to_le_bytes());
        assert_eq!(bytes[6..8], 38_u16.to_le_bytes());
        let back = change(&mut bytes, tagged, TagChange::Pop);
        assert_eq!(back, TAG_LEN);
        assert_eq!(bytes[back..], plain[back..]);
    }

    #[test]
    fn without_room_nothing_changes() {
        let mut bytes = unit();
        assert_eq!(change(&mut bytes, 2, TagChange::Push(5)), 2);
        assert_eq!(change(&mut bytes[..20], TAG_LEN, TagChange::Pop), TAG_LEN);
        assert_eq!(bytes, unit());
    }

    #[test]
    fn a_super_frame_grows_by_its_headers() {
        let whole = FrameShape {
            len: 3000,
            headers: 54,
            gso_size: 1448,
        };
        let grown = shape(whole, 4, 0);
        assert_eq!((grown.len, grown.headers), (3004, 58));
        assert_eq!(shape(grown, 0, 4), whole);
    }
}
