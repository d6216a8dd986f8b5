//! Why a request was refused and why a session ended.

use rustix::io::Errno;
use thiserror::Error;

use super::request::Code;

/// A request that is well formed but cannot be granted. The front-end is at fault; the state
/// stays as it was, and the caller answers with a nonzero acknowledgement, ignores the request,
/// or closes the session where the specification leaves no way to say no.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum Refusal {
    /// The request is unknown, not offered, or its protocol feature was not acknowledged.
    #[error("it is not offered")]
    NotOffered,
    /// SET_OWNER came a second time.
    #[error("the session is already owned")]
    AlreadyOwned,
    /// Feature or protocol feature bits that were not offered.
    #[error("bits {0:#x} were not offered")]
    FeatureBits(u64),
    /// The features would change under a started ring.
    #[error("features cannot change while a ring is started")]
    FeaturesInUse,
    /// The request needs the features to be acknowledged before.
    #[error("no features have been acknowledged")]
    NoFeatures,
    /// SET_VRING_ENABLE without PROTOCOL_FEATURES acknowledged.
    #[error("PROTOCOL_FEATURES was not acknowledged")]
    NoProtocolFeatures,
    /// A ring index the port does not have.
    #[error("there is no ring {0}")]
    NoSuchRing(u64),
    /// A value outside what the field may hold.
    #[error("the value {0:#x} is out of bounds")]
    Value(u64),
    /// Size, addresses or base of a started ring.
    #[error("ring {0} is started")]
    RingStarted(u32),
    /// The ring was started before its size and addresses were set.
    #[error("ring {0} has no size or no addresses")]
    RingIncomplete(u32),
    /// Ring parts that are misaligned, outside the memory table, or overlap.
    #[error("the parts of ring {0} are misaligned, overlap, or lie outside the memory table")]
    RingAddresses(u32),
    /// Fewer descriptors than the message says.
    #[error("a descriptor is missing")]
    MissingDescriptor,
    /// A kick without descriptor, which asks for the ring to be polled for ever.
    #[error("ring {0} has no kick event, and rings are not polled")]
    PolledRing(u32),
    /// A kick, call or error descriptor that is no eventfd.
    #[error("the descriptor is no event")]
    NotAnEvent,
    /// No region, or more than there may be.
    #[error("{0} memory regions")]
    RegionCount(usize),
    /// A region of size zero, one that overflows, or one not on page boundaries.
    #[error("memory region {0} is empty, overflows, or is not on page boundaries")]
    RegionShape(usize),
    /// A region that overlaps another in guest or front-end addresses.
    #[error("memory region {0} overlaps another")]
    RegionOverlap(usize),
    /// A region that is no writable file, or longer than its file.
    #[error("memory region {0} is not within a writable file")]
    RegionFile(usize),
    /// REM_MEM_REG of a region that is not there.
    #[error("there is no such memory region")]
    NoSuchRegion,
}

/// A message that breaks the protocol's framing. The front-end is at fault; the session closes,
/// since nothing that follows can be trusted.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum Malformed {
    /// The header's version, reserved or reply bits.
    #[error("header flags {0:#x}")]
    Flags(u32),
    /// The header's size field, or a size that is not the request's.
    #[error("a body of {0} bytes")]
    Size(usize),
    /// More descriptors than the request may carry.
    #[error("{0} descriptors, more than it may carry")]
    Descriptors(usize),
    /// Descriptors attached to a later byte than the message's first.
    #[error("descriptors in the middle of it")]
    StrayDescriptors,
    /// The kernel could not deliver all descriptors (too many files are open).
    #[error("descriptors that could not be received")]
    LostDescriptors,
}

/// Why a session ended. The caller closes both sockets and waits for a new connection.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum CloseReason {
    /// The front-end closed its end between messages: the normal end.
    #[error("the front-end disconnected")]
    PeerClosed,
    /// The front-end closed its end inside a message.
    #[error("the front-end disconnected after {0} bytes of a message")]
    PeerClosedMidMessage(usize),
    /// The front-end sent a message that breaks the framing.
    #[error("the front-end sent {0} with {1}")]
    Malformed(Code, Malformed),
    /// The front-end asked for what cannot be granted, in a way that cannot be refused.
    #[error("the front-end sent {0}, which cannot be granted ({1})")]
    Refused(Code, Refusal),
    /// The front-end began a message and did not end it in time.
    #[error("the front-end did not complete a message in time")]
    MessageTimeout,
    /// The front-end did not take a reply in time.
    #[error("the front-end did not take a reply in time")]
    ReplyTimeout,
    /// The front-end's socket failed.
    #[error("the front-end's socket failed: {0}")]
    FrontEndSocket(Errno),
    /// A file behind the guest's memory was made shorter than the front-end had said, under us.
    #[error(
        "the file behind the guest's memory was cut short; what it held is gone, and so are its rings"
    )]
    MemoryCutShort,
    /// The engine failed on a request that the adapter had found good: a fault of ours, or a
    /// lack of resources (a mapping that the kernel refused).
    #[error("the engine failed on {0}")]
    EngineFailed(Code),
    /// The engine sent what was not asked for, or in a form that is not its own: our fault.
    #[error("the engine answered {0} unexpectedly")]
    EngineAnswer(Code),
    /// The engine's offers lack what the session is configured to offer: our fault.
    #[error("the engine does not offer features {0:#x}")]
    EngineFeatures(u64),
    /// The engine did not answer in time: the packet path is stuck.
    #[error("the engine did not answer in time")]
    EngineTimeout,
    /// The engine's socket closed or failed.
    #[error("the engine's socket failed: {0}")]
    EngineSocket(Errno),
}
