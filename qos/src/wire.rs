//! What a frame costs on the wire: every segment's headers, framing and padding, computed from the
//! shape of a super-frame without cutting it up.

/// What the link adds to each frame, and the least a frame can cost.
///
/// A frame's length is always counted from the destination address to the end of the payload: with
/// the 14-byte Ethernet header, without the frame check sequence (FCS).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Framing {
    /// Bytes added to every frame on the wire; negative takes bytes away, as tc's `overhead` may.
    pub overhead: i32,
    /// Bytes that even the smallest frame costs, overhead included.
    pub mpu: u32,
}

impl Framing {
    /// Ethernet as it occupies the medium: preamble 8, FCS 4, inter-frame gap 12; no frame takes
    /// less than 84 bytes of the link (IEEE 802.3: 64 + 20). The default.
    pub const ETHERNET: Self = Self {
        overhead: 24,
        mpu: 84,
    };
    /// Layer 2 as switch counters see it: FCS added, 64 bytes at least.
    pub const L2: Self = Self {
        overhead: 4,
        mpu: 64,
    };
    /// Layer 3: the frame less its Ethernet header, at least a bare IPv4 header of 20 bytes.
    pub const L3: Self = Self {
        overhead: -14,
        mpu: 20,
    };

    /// What `shape` costs. A super-frame costs to the byte what its segments would cost one by one:
    /// with payload `p = len - headers`, `n = ceil(p / gso_size)` segments, all but the last full.
    ///
    /// Total over all inputs: `headers` beyond `len` or a `gso_size` of zero or not below the payload
    /// make one segment. Never below `len` unless `overhead` is negative, and never below one byte;
    /// growing `len` never makes it cheaper. Saturates at `u64::MAX`.
    #[must_use]
    #[inline]
    pub fn cost(self, shape: FrameShape) -> Cost {
        if shape.gso_size == 0 {
            return Cost {
                wire_bytes: self.slot(shape.len.into()),
                segments: 1,
            };
        }
        self.cost_of_segments(shape)
    }

    #[inline(never)] // out of the way of plain frames
    fn cost_of_segments(self, shape: FrameShape) -> Cost {
        let payload = shape.len.saturating_sub(shape.headers);
        if payload <= shape.gso_size {
            return Cost {
                wire_bytes: self.slot(u64::from(shape.len)),
                segments: 1,
            };
        }
        let segments = payload.div_ceil(shape.gso_size.max(1));
        let full = segments.saturating_sub(1);
        // Below `payload`: `full` is the largest count of full segments that leaves something.
        let last = payload.saturating_sub(full.saturating_mul(shape.gso_size));
        let headers = u64::from(shape.headers);
        let wire_bytes = self
            .slot(headers.saturating_add(u64::from(shape.gso_size)))
            .saturating_mul(u64::from(full))
            .saturating_add(self.slot(headers.saturating_add(u64::from(last))));
        Cost {
            wire_bytes,
            segments,
        }
    }

    /// What one frame of `len` bytes, which are fewer than 2^34, takes of the link.
    #[inline]
    pub(crate) fn slot(self, len: u64) -> u64 {
        len.wrapping_add_signed(self.overhead.into())
            .cast_signed()
            .max(self.mpu.into())
            .max(1)
            .cast_unsigned()
    }
}

impl Default for Framing {
    fn default() -> Self {
        Self::ETHERNET
    }
}

/// The shape of a frame or super-frame, derived from its bytes and never from a guest's claim.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct FrameShape {
    /// Length in bytes from the destination address on, without FCS.
    pub len: u32,
    /// Bytes of headers that every segment repeats (link, network and transport).
    pub headers: u32,
    /// Payload bytes per segment; 0 for a frame that is not a super-frame.
    pub gso_size: u32,
}

impl FrameShape {
    /// A frame of `len` bytes that is not a super-frame.
    #[must_use]
    pub const fn single(len: u32) -> Self {
        Self {
            len,
            headers: 0,
            gso_size: 0,
        }
    }

    /// Cuts the first `segments` segments off a super-frame: their shape and that of the rest, both
    /// with the headers. `None` if nothing would be left on either side.
    ///
    /// Part and rest together cost to the byte what the whole does.
    #[must_use]
    pub fn peel(self, segments: u32) -> Option<(Self, Self)> {
        let payload = self.len.checked_sub(self.headers)?;
        let part = segments.checked_mul(self.gso_size)?;
        if part == 0 || part >= payload {
            return None;
        }
        let with = |payload: u32| Self {
            len: self.headers.saturating_add(payload),
            ..self
        };
        let part = with(part);
        Some((part, self.without(part)))
    }

    /// What is left of this frame after `sent`, which is the frame or a part peeled off it; `None` if
    /// nothing is.
    #[must_use]
    pub fn after(self, sent: Self) -> Option<Self> {
        let rest = self.without(sent);
        (sent.len < self.len && rest.len > rest.headers).then_some(rest)
    }

    /// Its payload less that of `part`, the headers kept.
    fn without(self, part: Self) -> Self {
        let gone = part.len.saturating_sub(self.headers);
        Self {
            len: self.len.saturating_sub(gone),
            ..self
        }
    }
}

/// What a frame is charged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Cost {
    /// Bytes of link time taken.
    pub wire_bytes: u64,
    /// Frames on the wire: what packet limits count.
    pub segments: u32,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_frames_cost_what_the_standard_says() {
        let wire = |framing: Framing, len| framing.cost(FrameShape::single(len)).wire_bytes;
        assert_eq!(wire(Framing::ETHERNET, 1514), 1538);
        assert_eq!(wire(Framing::ETHERNET, 60), 84);
        assert_eq!(wire(Framing::ETHERNET, 61), 85);
        assert_eq!(wire(Framing::ETHERNET, 14), 84);
        assert_eq!(wire(Framing::L2, 60), 64);
        assert_eq!(wire(Framing::L3, 1514), 1500);
        assert_eq!(wire(Framing::L3, 0), 20);
    }

    #[test]
    fn a_gso_size_of_one_costs_every_minimum_frame() {
        let shape = FrameShape {
            len: 65_535,
            headers: 54,
            gso_size: 1,
        };
        let cost = Framing::ETHERNET.cost(shape);
        assert_eq!(cost.segments, 65_481);
        assert_eq!(cost.wire_bytes, 65_481 * 84);
    }

    #[test]
    fn peeled_parts_cost_together_what_the_whole_does() {
        let whole = FrameShape {
            len: 66 + 10 * 1448 + 5,
            headers: 66,
            gso_size: 1448,
        };
        for segments in 1..=10 {
            let (part, rest) = whole.peel(segments).unwrap();
            let cost = |shape| Framing::ETHERNET.cost(shape).wire_bytes;
            assert_eq!(Framing::ETHERNET.cost(part).segments, segments);
            assert_eq!(cost(part) + cost(rest), cost(whole));
            assert_eq!(whole.after(part), Some(rest));
            assert_eq!(rest.after(rest), None);
        }
        for segments in [0, 11, u32::MAX] {
            assert_eq!(whole.peel(segments), None);
        }
        assert_eq!(FrameShape::single(1514).peel(1), None);
        assert_eq!(whole.after(whole), None);
    }

    #[test]
    fn of_what_has_no_payload_nothing_is_left_whatever_was_sent() {
        for len in [40, 54] {
            let shape = FrameShape {
                len,
                headers: 54,
                gso_size: 1448,
            };
            for sent in [0, 20, len, 1514] {
                assert_eq!(shape.after(FrameShape::single(sent)), None, "{len} {sent}");
            }
        }
    }

    #[test]
    fn extreme_shapes_neither_overflow_nor_come_cheap() {
        let edges = [0, 1, 2, 54, 1448, 65_535, u32::MAX - 1, u32::MAX];
        let framings = [
            Framing::ETHERNET,
            Framing {
                overhead: i32::MAX,
                mpu: u32::MAX,
            },
            Framing {
                overhead: 0,
                mpu: 0,
            },
        ];
        for framing in framings {
            for len in edges {
                for headers in edges {
                    for gso_size in edges {
                        let cost = framing.cost(FrameShape {
                            len,
                            headers,
                            gso_size,
                        });
                        assert!(cost.segments >= 1);
                        assert!(cost.wire_bytes >= u64::from(len).max(1));
                    }
                }
            }
        }
        let nothing = Framing {
            overhead: i32::MIN,
            mpu: 0,
        };
        assert_eq!(
            nothing.cost(FrameShape::single(u32::MAX >> 2)).wire_bytes,
            1
        );
    }
}
