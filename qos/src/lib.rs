//! Packet scheduling for virtual machines: pure, deterministic, clock-free.
//!
//! # Map
//! | module | owns |
//! |---|---|
//! | [`time`] | [`Time`] and [`Span`]: nanoseconds with a 32-bit fraction |
//! | [`units`] | what operators write: [`Rate`], [`PacketRate`], [`Burst`], [`PacketBurst`], [`RateSpec`] |
//! | [`wire`] | what a frame costs on the wire: [`Framing`], [`FrameShape`], [`Cost`] |
//! | [`inverse`] | [`Inverse`]: a rate as time per byte or per segment, rounded up |
//! | [`gcra`] | [`Gcra`]: one limit, kept as one instant |
//! | [`limiter`] | [`Limiter`]: a byte limit and a packet limit of one frame stream |
//! | [`counters`] | [`FlowCounters`]: what passed |
//!
//! # Promises
//! * Time comes in as a value and [`Limiter::next_wake`] goes out: no clock, no I/O, no thread, no
//!   global, no float, no `unsafe`. Equal calls give equal answers on every machine and build.
//! * Never faster than asked: in **every** window of length `t` a limit lets at most
//!   `rate * t + burst + one unit` pass, in wire bytes, without tolerance.
//! * Never slower by more than one part in a million while it is polled within its burst; what
//!   later polls lose is counted ([`Limiter::lost_credit`]).
//! * A closed limit always names the instant at which it opens ([`Limiter::next_wake`]), and it is
//!   open then. No frame is too big: it goes when the limit is open and leaves a debt.
//! * A frame is charged when it is committed, once, so a failed delivery costs nothing.
//! * No input panics, overflows or divides by zero.
//!
//! # Use
//! ```
//! use qos::{Demand, FrameShape, Framing, Limiter, LimiterConfig, Time};
//!
//! let mut limiter = Limiter::new(&LimiterConfig {
//!     rate: Some("10mbit".parse()?),
//!     ..LimiterConfig::default()
//! });
//! let cost = Framing::ETHERNET.cost(FrameShape::single(1514));
//! let now = Time::from_nanos(1_000);
//! while limiter.ready(now) {
//!     // deliver the frame here; only when that worked:
//!     limiter.commit(now, cost, Demand::Backlogged);
//! }
//! let wake = limiter.next_wake(now).ok_or("closed, so it says when it opens")?;
//! assert!(wake > now && limiter.ready(wake));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![forbid(unsafe_code)]
#![cfg_attr(
    not(test),
    warn(clippy::arithmetic_side_effects, clippy::indexing_slicing)
)]

pub mod counters;
pub mod gcra;
pub mod inverse;
pub mod limiter;
pub mod time;
pub mod units;
pub mod wire;

pub use counters::FlowCounters;
pub use gcra::Gcra;
pub use inverse::Inverse;
pub use limiter::{Demand, Limiter, LimiterConfig, queue_cap_bytes};
pub use time::{Span, Time};
pub use units::{Burst, PacketBurst, PacketRate, Quantity, Rate, RateSpec, UnitError};
pub use wire::{Cost, FrameShape, Framing};
