//! Why a frame is dropped.

/// A frame that must not go on. Its sender (the guest) is at fault; the caller completes the chain
/// with length 0, counts the reason, and the ring goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FrameFault {
    /// Shorter than an Ethernet header.
    #[error("frame shorter than an Ethernet header")]
    Runt,
    /// Longer than any IPv6 packet.
    #[error("frame longer than the largest packet")]
    TooLong,
    /// A segmentation type that virtio does not define.
    #[error("unknown segmentation type")]
    GsoUnknown,
    /// A segmentation type that was not negotiated.
    #[error("segmentation that was not negotiated")]
    GsoNotNegotiated,
    /// Segmentation without a checksum request.
    #[error("segmentation without a checksum request")]
    GsoWithoutChecksum,
    /// Segmentation into segments of no bytes.
    #[error("segment size 0")]
    GsoSizeZero,
    /// Segmentation below the smallest TCP segment size.
    #[error("segment size below the minimum")]
    GsoSizeSmall,
    /// UDP segmentation into more datagrams than the kernel takes.
    #[error("too many segments")]
    GsoTooManySegments,
    /// The frame does not carry the protocol that the segmentation type names.
    #[error("segmentation type and protocol differ")]
    GsoProtocol,
    /// The transport header is malformed, or lies deeper than [`super::HEAD_LEN`].
    #[error("bad transport header under segmentation")]
    GsoHeaders,
    /// A checksum request without the feature.
    #[error("checksum request that was not negotiated")]
    ChecksumNotNegotiated,
    /// A checksum request outside the frame, or on its addresses.
    #[error("checksum request out of range")]
    ChecksumRange,
}

impl FrameFault {
    /// Number of variants, for arrays of counters.
    pub const COUNT: usize = 12;
    /// Every variant, at its [`Self::index`].
    pub const ALL: [Self; Self::COUNT] = [
        Self::Runt,
        Self::TooLong,
        Self::GsoUnknown,
        Self::GsoNotNegotiated,
        Self::GsoWithoutChecksum,
        Self::GsoSizeZero,
        Self::GsoSizeSmall,
        Self::GsoTooManySegments,
        Self::GsoProtocol,
        Self::GsoHeaders,
        Self::ChecksumNotNegotiated,
        Self::ChecksumRange,
    ];

    /// A stable index below [`Self::COUNT`].
    #[must_use]
    pub const fn index(self) -> usize {
        self as usize
    }

    /// A stable name for counters.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Runt => "runt",
            Self::TooLong => "frame-too-long",
            Self::GsoUnknown => "gso-unknown",
            Self::GsoNotNegotiated => "gso-not-negotiated",
            Self::GsoWithoutChecksum => "gso-without-checksum",
            Self::GsoSizeZero => "gso-size-zero",
            Self::GsoSizeSmall => "gso-size-small",
            Self::GsoTooManySegments => "gso-segments",
            Self::GsoProtocol => "gso-protocol",
            Self::GsoHeaders => "gso-headers",
            Self::ChecksumNotNegotiated => "checksum-not-negotiated",
            Self::ChecksumRange => "checksum-range",
        }
    }
}
