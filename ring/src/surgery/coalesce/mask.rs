//! Which bits of the headers must be equal in all frames of a train.

use super::{HEADER_LEN, KEPT};

/// Of each kind of frame, for no, one and two VLAN tags.
static TCP4: [[u8; KEPT]; 3] = masks(20, true);
static UDP4: [[u8; KEPT]; 3] = masks(20, false);
static TCP6: [[u8; KEPT]; 3] = masks(40, true);
static UDP6: [[u8; KEPT]; 3] = masks(40, false);

/// The mask of frames whose network header starts at `l3` in the unit.
pub(super) fn mask(v6: bool, tcp: bool, l3: usize) -> Option<&'static [u8; KEPT]> {
    let masks = match (v6, tcp) {
        (false, true) => &TCP4,
        (false, false) => &UDP4,
        (true, true) => &TCP6,
        (true, false) => &UDP6,
    };
    masks.get(l3.wrapping_sub(HEADER_LEN.wrapping_add(14)) >> 2)
}

const fn masks(ip: usize, tcp: bool) -> [[u8; KEPT]; 3] {
    [at(26, ip, tcp), at(30, ip, tcp), at(34, ip, tcp)]
}

const fn at(l3: usize, ip: usize, tcp: bool) -> [u8; KEPT] {
    // Of the virtio-net header, the lengths are hints or the device's to write.
    let mask = without([0xff; KEPT], 2, 4);
    let mask = without(mask, 10, 2);
    let mask = if ip == 20 {
        // Length and identification, and the checksum.
        without(without(mask, l3.wrapping_add(2), 4), l3.wrapping_add(10), 2)
    } else {
        without(mask, l3.wrapping_add(4), 2)
    };
    let l4 = l3.wrapping_add(ip);
    if tcp {
        let sequence = without(mask, l4.wrapping_add(4), 4);
        let flags = without(sequence, l4.wrapping_add(13), 1);
        without(flags, l4.wrapping_add(16), 2)
    } else {
        without(mask, l4.wrapping_add(4), 4)
    }
}

/// Lets bytes differ: they are checked one by one.
const fn without(mut mask: [u8; KEPT], at: usize, len: usize) -> [u8; KEPT] {
    let (_, from) = mask.split_at_mut(at);
    let (mut field, _) = from.split_at_mut(len);
    while let [byte, rest @ ..] = field {
        *byte = 0;
        field = rest;
    }
    mask
}
