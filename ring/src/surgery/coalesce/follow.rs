//! The frames that follow the first.

use std::ops::Range;

use super::{MAX_UDP_TRAIN, Train};
use crate::net::Gso;
use crate::surgery::{FIN, PSH};

impl Train {
    #[inline(never)]
    pub(super) fn follow(&mut self, unit: &[u8]) -> Option<Range<usize>> {
        let headers = usize::from(self.headers);
        let (head, payload) = unit.split_at_checked(headers)?;
        let short = u32::try_from(payload.len()).ok()?;
        let len = self.len.saturating_add(short);
        if short == 0 || short > u32::from(self.size) || len > self.most || !self.alike(head) {
            return None;
        }
        let covered = self.network(unit)?;
        let ending = self.ends(covered)?;

        self.frames = self.frames.wrapping_add(1);
        self.len = len;
        self.id = self.id.wrapping_add(1);
        self.sequence = self.sequence.wrapping_add(short);
        self.ending = ending;
        let full = self.kind == Gso::Udp && self.frames >= MAX_UDP_TRAIN;
        if ending != 0 || full || short < u32::from(self.size) {
            self.most = 0;
        }
        Some(headers..unit.len())
    }

    /// Whether the headers are the first frame's wherever the mask says so.
    #[inline]
    fn alike(&self, headers: &[u8]) -> bool {
        let (words, _) = headers.as_chunks::<8>();
        let (head, _) = self.head.as_chunks::<8>();
        let (mask, _) = self.mask.as_chunks::<8>();
        let mut differs = 0;
        for ((word, head), mask) in words.iter().zip(head).zip(mask) {
            let word = u64::from_ne_bytes(*word) ^ u64::from_ne_bytes(*head);
            differs |= word & u64::from_ne_bytes(*mask);
        }
        // The last word, some of which may have been compared before.
        let kept = |bytes: &[u8]| bytes.get(..headers.len()).and_then(last);
        let (Some(word), Some(head), Some(mask)) =
            (last(headers), kept(&self.head), kept(self.mask))
        else {
            return false;
        };
        differs | (word ^ head) & mask == 0
    }

    /// What of the network header may differ must differ as segmentation will make it. Answers the
    /// packet's payload.
    #[inline]
    fn network<'a>(&self, unit: &'a [u8]) -> Option<&'a [u8]> {
        let packet = unit.get(usize::from(self.l3)..)?;
        if self.is_ipv4() {
            let (ip, covered) = packet.split_first_chunk::<20>()?;
            let total = usize::from(u16::from_be_bytes([ip[2], ip[3]]));
            let id = u16::from_be_bytes([ip[4], ip[5]]);
            if total != packet.len() || id != self.id.wrapping_add(1) {
                return None;
            }
            self.ipv4_is_right(ip)?;
            Some(covered)
        } else {
            let (ip, covered) = packet.split_first_chunk::<40>()?;
            let len = usize::from(u16::from_be_bytes([ip[4], ip[5]]));
            (len == covered.len()).then_some(covered)
        }
    }

    /// The same of the transport header. Answers FIN and PSH.
    #[inline]
    fn ends(&self, covered: &[u8]) -> Option<u8> {
        if self.kind == Gso::Udp {
            let udp: &[u8; 8] = covered.first_chunk()?;
            let len = usize::from(u16::from_be_bytes([udp[4], udp[5]]));
            if len != covered.len() {
                return None;
            }
            self.transport_is_right(covered, [udp[6], udp[7]])?;
            Some(0)
        } else {
            let tcp: &[u8; 20] = covered.first_chunk()?;
            let sequence = u32::from_be_bytes([tcp[4], tcp[5], tcp[6], tcp[7]]);
            if sequence != self.sequence || tcp[13] & !(FIN | PSH) != self.flags {
                return None;
            }
            self.transport_is_right(covered, [tcp[16], tcp[17]])?;
            Some(tcp[13] & (FIN | PSH))
        }
    }
}

#[inline]
fn last(bytes: &[u8]) -> Option<u64> {
    bytes.last_chunk().copied().map(u64::from_ne_bytes)
}
