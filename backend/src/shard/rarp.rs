//! The announcement of a guest that has moved here (RFC 903 request, as QEMU sends it).

use ring::HEADER_LEN;

/// The smallest frame without its check sequence.
const MIN_FRAME: usize = 60;

/// Bytes of an announcement, its virtio-net header included.
pub(super) const LEN: usize = HEADER_LEN + MIN_FRAME;

/// A reverse ARP request of `mac` for itself, to everybody, behind an empty virtio-net header.
pub(super) fn announcement(mac: [u8; 6]) -> [u8; LEN] {
    let mut unit = [0; LEN];
    let parts: [&[u8]; 8] = [
        &[0; HEADER_LEN],
        &[0xff; 6],
        &mac,
        // EtherType RARP; Ethernet, IPv4, their address lengths; request reverse.
        &[0x80, 0x35, 0, 1, 8, 0, 6, 4, 0, 3],
        &mac,
        &[0; 4],
        &mac,
        &[0; 4],
    ];
    let bytes = parts.into_iter().flatten();
    unit.iter_mut()
        .zip(bytes)
        .for_each(|(to, from)| *to = *from);
    unit
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_a_reverse_arp_request_for_the_guest_itself() {
        let mac = [2, 0, 0, 0, 0, 7];
        let unit = announcement(mac);
        let frame = &unit[HEADER_LEN..];
        assert_eq!(unit[..HEADER_LEN], [0; HEADER_LEN]);
        assert_eq!(frame[..6], [0xff; 6]);
        assert_eq!(frame[6..12], mac);
        assert_eq!(frame[12..14], [0x80, 0x35]);
        assert_eq!(frame[20..22], [0, 3]);
        assert_eq!(frame[22..28], mac);
        assert_eq!(frame[32..38], mac);
        assert_eq!(frame[38..], [0; 22]);
    }
}
