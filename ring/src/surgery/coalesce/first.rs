//! The first frame of a train: whether others may follow it, and what they must be like.

use super::mask::mask;
use super::{Accepts, Checksums, KEPT, Train};
use crate::net::checksum::Sum;
use crate::net::{Gso, HEADER_LEN, MIN_TCP_GSO_SIZE};
use crate::surgery::{ACK, ECE, TCP_CHECKSUM, UDP_CHECKSUM};

const NEEDS_CHECKSUM: u8 = 1;
const TCP: u8 = 6;
const UDP: u8 = 17;
/// Longest IP packet, in bytes: its length fields have 16 bits.
const MAX_PACKET: u32 = 65_535;

impl Train {
    #[inline]
    pub(super) fn begin(&mut self, unit: &[u8], accepts: Accepts) -> Option<()> {
        let link: &[u8; 26] = unit.first_chunk()?;
        // A host's DATA_VALID would be lost with the frame's own header, so such a frame stays out.
        if link[0] & !NEEDS_CHECKSUM | link[1] != 0 {
            return None;
        }
        match [link[24], link[25]] {
            [0x08, 0x00] if hopeless(unit, accepts) => None,
            [0x08, 0x00] => self.ipv4(unit, 26, accepts),
            [0x86, 0xdd] => self.ipv6(unit, 26, accepts),
            [0x81, 0x00] | [0x88, 0xa8] => self.tagged(unit, accepts),
            _ => None,
        }
    }

    #[inline(never)]
    fn tagged(&mut self, unit: &[u8], accepts: Accepts) -> Option<()> {
        for l3 in [30_usize, 34] {
            match unit.get(l3.wrapping_sub(2)..)?.first_chunk()? {
                [0x08, 0x00] => return self.ipv4(unit, l3, accepts),
                [0x86, 0xdd] => return self.ipv6(unit, l3, accepts),
                [0x81, 0x00] | [0x88, 0xa8] => {}
                _ => return None,
            }
        }
        None
    }

    #[inline(never)]
    fn ipv4(&mut self, unit: &[u8], l3: usize, accepts: Accepts) -> Option<()> {
        let packet = unit.get(l3..)?;
        let (ip, covered) = packet.split_first_chunk::<20>()?;
        let total = usize::from(u16::from_be_bytes([ip[2], ip[3]]));
        // No options, no fragment, no padding behind the packet.
        if ip[0] != 0x45 || ip[6] & 0x3f | ip[7] != 0 || total != packet.len() {
            return None;
        }
        self.kind = match ip[9] {
            TCP if accepts.tcp4 => Gso::Tcp4,
            UDP if accepts.udp => Gso::Udp,
            _ => return None,
        };
        let field = self.opener(unit, covered, accepts)?;
        let addresses = Sum::new()
            .word(u32::from_be_bytes([ip[12], ip[13], ip[14], ip[15]]))
            .word(u32::from_be_bytes([ip[16], ip[17], ip[18], ip[19]]));
        self.ip_sum = addresses
            .word(u32::from_be_bytes([ip[0], ip[1], ip[6], ip[7]]))
            .word(u32::from(u16::from_be_bytes([ip[8], ip[9]])));
        self.pseudo = addresses.word(u32::from(ip[9]));
        self.id = u16::from_be_bytes([ip[4], ip[5]]);
        self.ipv4_is_right(ip)?;
        self.transport_is_right(covered, field)?;
        self.keep(unit, l3, 20, accepts.most_bytes)
    }

    #[inline(never)]
    fn ipv6(&mut self, unit: &[u8], l3: usize, accepts: Accepts) -> Option<()> {
        let (ip, covered) = unit.get(l3..)?.split_first_chunk::<40>()?;
        let len = usize::from(u16::from_be_bytes([ip[4], ip[5]]));
        if ip[0] >> 4 != 6 || len != covered.len() {
            return None;
        }
        self.kind = match ip[6] {
            TCP if accepts.tcp6 => Gso::Tcp6,
            UDP if accepts.udp => Gso::Udp,
            _ => return None,
        };
        let field = self.opener(unit, covered, accepts)?;
        let (_, addresses) = ip.split_at(8);
        self.pseudo = Sum::new().bytes(addresses).word(u32::from(ip[6]));
        self.transport_is_right(covered, field)?;
        self.keep(unit, l3, 40, accepts.most_bytes)
    }

    /// What the transport header must be for others to follow it, before anything is summed. Answers
    /// its checksum.
    #[inline]
    fn opener(&mut self, unit: &[u8], covered: &[u8], accepts: Accepts) -> Option<[u8; 2]> {
        let l4 = unit.len().wrapping_sub(covered.len());
        if self.kind == Gso::Udp {
            let udp: &[u8; 8] = covered.first_chunk()?;
            let len = usize::from(u16::from_be_bytes([udp[4], udp[5]]));
            let field = [udp[6], udp[7]];
            let absent = field == [0, 0];
            if len != covered.len() || absent && !accepts.zero_checksum_udp {
                return None;
            }
            self.payload(unit, l4.wrapping_add(8), 1)?;
            self.ask(unit, l4, UDP_CHECKSUM, absent)?;
            Some(field)
        } else {
            let tcp: &[u8; 20] = covered.first_chunk()?;
            let headers = usize::from(tcp[12] >> 4).wrapping_mul(4);
            if headers < 20 || tcp[13] & !ECE != ACK {
                return None;
            }
            // Shorter ones would make a super-frame that is refused from a guest.
            self.payload(unit, l4.wrapping_add(headers), MIN_TCP_GSO_SIZE)?;
            self.ask(unit, l4, TCP_CHECKSUM, false)?;
            self.flags = tcp[13];
            self.sequence = u32::from_be_bytes([tcp[4], tcp[5], tcp[6], tcp[7]])
                .wrapping_add(u32::from(self.size));
            Some([tcp[16], tcp[17]])
        }
    }

    /// Takes note of where the payload starts.
    #[inline]
    fn payload(&mut self, unit: &[u8], headers: usize, least: u16) -> Option<()> {
        self.size = u16::try_from(unit.len().checked_sub(headers)?).ok()?;
        self.headers = u8::try_from(headers).ok()?;
        (self.size >= least).then_some(())
    }

    /// Takes note of how the checksum is. One that is to be finished must be the transport's own.
    #[inline]
    fn ask(&mut self, unit: &[u8], l4: usize, offset: u16, absent: bool) -> Option<()> {
        let header: &[u8; HEADER_LEN] = unit.first_chunk()?;
        self.checksums = if header[0] & NEEDS_CHECKSUM != 0 {
            let start = usize::from(u16::from_le_bytes([header[6], header[7]]));
            let own = start == l4.wrapping_sub(HEADER_LEN)
                && u16::from_le_bytes([header[8], header[9]]) == offset;
            own.then_some(Checksums::Partial)?
        } else if absent {
            Checksums::Absent
        } else {
            Checksums::Complete
        };
        Some(())
    }

    /// Keeps what others are compared with. All that is cheap to refuse has been.
    #[inline]
    fn keep(&mut self, unit: &[u8], l3: usize, ip: usize, most_bytes: u32) -> Option<()> {
        let l4 = l3.wrapping_add(ip);
        self.l3 = u8::try_from(l3).ok()?;
        self.l4 = u8::try_from(l4).ok()?;
        self.len = u32::try_from(unit.len()).ok()?;
        let packet = MAX_PACKET.wrapping_add(u32::from(self.l3));
        self.most = packet.min(most_bytes.saturating_add(12));
        self.flow = *unit.get(l4.wrapping_sub(4)..)?.first_chunk()?;
        self.mask = mask(ip == 40, self.kind != Gso::Udp, l3)?;
        match unit.first_chunk::<KEPT>() {
            Some(head) => self.head = *head,
            None => {
                let headers = usize::from(self.headers);
                let head = self.head.get_mut(..headers)?;
                head.copy_from_slice(unit.get(..headers)?);
            }
        }
        Some(())
    }
}

/// Whether an untagged IPv4 frame certainly opens no train: the usual answer for the little price of
/// three bytes, read where they are if the header has no options, which none may have.
#[inline]
fn hopeless(unit: &[u8], accepts: Accepts) -> bool {
    match unit.first_chunk::<60>() {
        Some(unit) if unit[35] == TCP => !accepts.tcp4 || unit[59] & !ECE != ACK,
        Some(unit) if unit[35] == UDP => {
            let absent = [unit[52], unit[53]] == [0, 0] && !accepts.zero_checksum_udp;
            // A sum to be finished is never zero, so its frame may be judged in the same way.
            !accepts.udp || absent
        }
        Some(_) => true,
        None => false,
    }
}
