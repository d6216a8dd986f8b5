//! What the reader of an uplink takes in one frame.

use libc::{TUN_F_CSUM, TUN_F_TSO_ECN, TUN_F_TSO4, TUN_F_TSO6, TUN_F_USO4, TUN_F_USO6};

/// Offloads of the to-guest direction: what the host may hand us unfinished, because the guest (or we)
/// can finish it. In the other direction the tap takes whatever the frame's virtio-net header describes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Offload {
    /// Frames whose checksum is still to be filled in; every other offload needs this one.
    pub csum: bool,
    /// TCP over IPv4 super-frames.
    pub tso4: bool,
    /// TCP over IPv6 super-frames.
    pub tso6: bool,
    /// TCP super-frames with the CWR bit; needs one of the two before.
    pub tso_ecn: bool,
    /// UDP super-frames, over IPv4 and IPv6 at once: the tun driver has both or neither (Linux 6.2).
    pub uso: bool,
}

impl Offload {
    /// No offload: whole, finished frames only.
    pub const NONE: Self = Self {
        csum: false,
        tso4: false,
        tso6: false,
        tso_ecn: false,
        uso: false,
    };

    /// Everything the tun driver knows.
    pub const ALL: Self = Self {
        csum: true,
        tso4: true,
        tso6: true,
        tso_ecn: true,
        uso: true,
    };

    /// Which offloads `takes` says yes to.
    pub(super) fn probe(takes: impl Fn(Self) -> bool) -> Self {
        let base = Self {
            csum: true,
            ..Self::NONE
        };
        if !takes(base) {
            return Self::NONE;
        }
        let tso4 = takes(Self { tso4: true, ..base });
        Self {
            csum: true,
            tso4,
            tso6: takes(Self { tso6: true, ..base }),
            tso_ecn: tso4
                && takes(Self {
                    tso4: true,
                    tso_ecn: true,
                    ..base
                }),
            uso: takes(Self { uso: true, ..base }),
        }
    }

    /// What both have.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self {
            csum: self.csum && other.csum,
            tso4: self.tso4 && other.tso4,
            tso6: self.tso6 && other.tso6,
            tso_ecn: self.tso_ecn && other.tso_ecn,
            uso: self.uso && other.uso,
        }
    }

    /// `TUN_F_*` bits. An offload whose base is missing is left out, where the driver would refuse the
    /// whole set (`set_offload`, drivers/net/tun.c; virtio 1.3 §5.1.3.1 has the same dependencies).
    pub(super) fn bits(self) -> u32 {
        if !self.csum {
            return 0;
        }
        let mut bits = TUN_F_CSUM;
        if self.tso4 {
            bits |= TUN_F_TSO4;
        }
        if self.tso6 {
            bits |= TUN_F_TSO6;
        }
        if self.tso_ecn && (self.tso4 || self.tso6) {
            bits |= TUN_F_TSO_ECN;
        }
        if self.uso {
            bits |= TUN_F_USO4 | TUN_F_USO6;
        }
        bits
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_offload_without_its_base_is_left_out() {
        let no_csum = Offload {
            csum: false,
            ..Offload::ALL
        };
        assert_eq!(no_csum.bits(), 0);
        let ecn_alone = Offload {
            csum: true,
            tso_ecn: true,
            ..Offload::NONE
        };
        assert_eq!(ecn_alone.bits(), TUN_F_CSUM);
    }

    #[test]
    fn uso_asks_for_both_families_together() {
        let uso = Offload {
            csum: true,
            uso: true,
            ..Offload::NONE
        };
        assert_eq!(uso.bits(), TUN_F_CSUM | TUN_F_USO4 | TUN_F_USO6);
    }
}
