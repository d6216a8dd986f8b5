//! The device half of virtio-net split rings, and what is known about the frames in them.
//!
//! Everything here reads memory that a hostile guest writes at the same time. The rules:
//!
//! - [`memory`] and [`vectored`] are the only modules with `unsafe` code. Every address is checked
//!   once against one generation of the memory table ([`GuestMap`]), and whatever keeps a resolved
//!   address also keeps that generation alive.
//! - A field that a decision depends on is read once, into a private copy ([`split`], [`Chain`]).
//! - A fault is either the ring's end ([`RingFault`]), or only that of one chain ([`ChainFault`])
//!   or frame ([`FrameFault`]), which is dropped while the ring goes on.
//!
//! Map: [`memory`] addresses and copies, [`vectored`] system calls on guest memory, [`chain`] one
//! popped chain, [`split`] the ring, [`net`] virtio-net headers and frame facts, [`surgery`] super-frames
//! joined and cut, `driver` (feature `test-driver`) the other half of the ring.
#![cfg_attr(
    not(test),
    deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)
)]

pub mod chain;
pub mod memory;
pub mod net;
pub mod split;
pub mod surgery;

pub mod vectored;

#[cfg(any(test, feature = "test-driver"))]
pub mod driver;

pub use chain::{Chain, ChainFault, Head, MAX_SEGMENTS};
pub use memory::{GuestMap, GuestMemory, IoVecs, MemoryFault};
pub use net::{
    ChecksumRequest, Facts, FrameFault, Gso, HEADER_LEN, Offloads, inspect, inspect_from_host,
};
pub use split::{
    Gather, GatherOutcome, Ring, RingFault, RingLayout, RingOptions, RingState, SetupError,
};

pub use surgery::{Accepts, Part, PeelFault, Train, peel, segment};
pub use vectored::write_vectored;
