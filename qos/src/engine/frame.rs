//! A frame as the engine knows it: a handle and facts, never bytes.

use std::num::NonZeroU32;

use crate::wire::FrameShape;

/// The ECN field of a frame's IP header (RFC 3168 §5).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Ecn {
    /// Its sender does not understand marks: it is dropped instead. Also what is no IP at all.
    #[default]
    NotEct,
    /// ECT(1): a sender that answers marks in proportion (L4S, RFC 9331).
    Ect1,
    /// ECT(0): a sender that answers a mark as it does a loss.
    Ect0,
    /// Marked already, on its way here.
    Ce,
}

impl Ecn {
    /// The lowest two bits of an IPv4 TOS byte or IPv6 traffic class; higher ones do not matter.
    #[must_use]
    pub const fn from_bits(bits: u8) -> Self {
        match bits & 3 {
            0 => Self::NotEct,
            1 => Self::Ect1,
            2 => Self::Ect0,
            _ => Self::Ce,
        }
    }

    /// Whether the frame may be marked instead of dropped.
    #[must_use]
    pub const fn is_capable(self) -> bool {
        !matches!(self, Self::NotEct)
    }
}

/// What makes a frame a **pure TCP acknowledgement** that a later one of its flow makes useless.
///
/// Only for a frame that carries nothing else: no payload, of the TCP flags ACK alone (not ECE, CWR,
/// PSH, SYN, FIN, RST or URG), no options but timestamps (a SACK block or an unknown option tells
/// something of its own). Whether that is so is the caller's to see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ack {
    /// The acknowledgement number, which wraps.
    pub number: u32,
    check: NonZeroU32,
}

impl Ack {
    /// `check` is a second hash of the flow's five-tuple, independent of [`Frame::flow`] and both with
    /// a key that guests do not know: two flows are taken for one if all 64 bits are the same.
    #[must_use]
    pub const fn new(number: u32, check: u32) -> Self {
        let check = match NonZeroU32::new(check) {
            Some(check) => check,
            None => NonZeroU32::MIN,
        };
        Self { number, check }
    }

    /// Whether `newer` says all that this one says, and more: of the same flow if their
    /// [`Frame::flow`]s are the same, and less than half the number space ahead (RFC 9293 §3.4). One
    /// with the same number is a duplicate, by which senders recognise loss, and never replaces another.
    #[must_use]
    pub const fn is_outdone_by(self, newer: Self) -> bool {
        let ahead = newer.number.wrapping_sub(self.number);
        self.check.get() == newer.check.get() && ahead != 0 && ahead < 1 << 31
    }
}

/// A frame that waits in the engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame {
    /// The caller's handle; the engine only hands it back.
    pub token: u64,
    /// What it costs on the wire. While it waits this becomes what is **left** of it: always its end,
    /// for parts are sent and dropped off its front.
    pub shape: FrameShape,
    /// A hash of its flow, evenly spread over 32 bits; only a leaf of flows looks at it, as at all
    /// below.
    pub flow: u32,
    /// A hash of the host that its flow is counted to, evenly spread over 32 bits: the source's or
    /// the destination's address. Only for leaves with
    /// [`host_isolation`](crate::FlowsConfig::host_isolation).
    pub host: u32,
    /// What it acknowledges, if it does nothing else.
    pub ack: Option<Ack>,
    /// Whether it may be marked instead of dropped.
    pub ecn: Ecn,
    /// Whether it is a super-frame that cannot be peeled (TCP with SYN, RST or URG, tunnels): it is
    /// dropped as a whole or not at all.
    pub whole: bool,
}

impl Frame {
    /// A frame of no flow in particular, which cannot be marked.
    #[must_use]
    pub const fn new(token: u64, shape: FrameShape) -> Self {
        Self {
            token,
            shape,
            flow: 0,
            host: 0,
            ack: None,
            ecn: Ecn::NotEct,
            whole: false,
        }
    }

    /// Sets [`flow`](Self::flow).
    #[must_use]
    pub const fn flow(mut self, flow: u32) -> Self {
        self.flow = flow;
        self
    }

    /// Sets [`host`](Self::host).
    #[must_use]
    pub const fn host(mut self, host: u32) -> Self {
        self.host = host;
        self
    }

    /// Sets [`ack`](Self::ack).
    #[must_use]
    pub const fn ack(mut self, ack: Ack) -> Self {
        self.ack = Some(ack);
        self
    }

    /// Sets [`ecn`](Self::ecn).
    #[must_use]
    pub const fn ecn(mut self, ecn: Ecn) -> Self {
        self.ecn = ecn;
        self
    }

    /// Sets [`whole`](Self::whole).
    #[must_use]
    pub const fn whole(mut self) -> Self {
        self.whole = true;
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_stays_small() {
        assert!(size_of::<Frame>() <= 40, "{}", size_of::<Frame>());
    }

    #[test]
    fn ecn_is_read_as_the_standard_writes_it() {
        let all = [0x00, 0x01, 0x02, 0xff].map(Ecn::from_bits);
        assert_eq!(all, [Ecn::NotEct, Ecn::Ect1, Ecn::Ect0, Ecn::Ce]);
        assert_eq!(all.map(Ecn::is_capable), [false, true, true, true]);
    }

    #[test]
    fn an_acknowledgement_is_outdone_by_later_ones_of_its_flow_only() {
        let ack = |number| Ack::new(number, 7);
        assert!(ack(1).is_outdone_by(ack(2)));
        assert!(ack(u32::MAX - 1).is_outdone_by(ack(5)), "around the end");
        assert!(!ack(5).is_outdone_by(ack(u32::MAX - 1)));
        assert!(!ack(5).is_outdone_by(ack(5)), "a duplicate");
        assert!(!ack(0).is_outdone_by(ack(1 << 31)), "neither is ahead");
        assert!(!ack(1).is_outdone_by(Ack::new(2, 8)));
        assert!(Ack::new(1, 0).is_outdone_by(Ack::new(2, 0)));
    }
}
