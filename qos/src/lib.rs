//! Packet scheduling for virtual machines: pure, deterministic, clock-free.
//!
//! # The model
//! A **tree** of classes stands for one direction of a link: root, guests, the classes of a guest;
//! frames belong to the leaves. A class may have
//! * `rate`, a **guarantee**: below it (*green*) it goes before everyone who is beyond his own;
//! * `ceil` and `pps`, **limits** that it and all below it never exceed, in any window of time;
//! * `weight` and `prio`, its claim to what guarantees leave over (*excess*): first by priority,
//!   then in proportion to weight, among the children of one parent.
//!
//! So a class gets its guarantee if it wants it, and what nobody claims goes to its nearest
//! relatives first. What it takes as excess does not count against its guarantee. Every frame is
//! charged to every class from its leaf to the root, by what it costs **on the wire**: a super-frame
//! by its segments, each with headers, framing and padding. A guest whose frames go two ways has a class
//! on each, and one of them the limits of the other ([`ClassConfig::limits_of`]).
//!
//! Frames wait where the leaf's [`LeafQueue`] says: with the caller (`Hold`), who only says that a leaf
//! is [`backlogged`](Engine::backlogged), so that limiting a guest is back-pressure and drops nothing;
//! or in the engine, as handles that the caller [`offer`](Engine::offer)s, first in first out (`Fifo`)
//! or by flow with CoDel and ECN (`Flows`), which hands back what it [`dropped`](Engine::dropped).
//!
//! The [`Engine`] **pulls**: nothing is pushed through it. [`Engine::peek`] says whose frame goes
//! next; the caller delivers it and then calls [`Engine::commit`], or [`Engine::abort`] if it could
//! not. Whoever can deliver for certain takes a burst with [`Engine::poll`]. When nothing may go,
//! [`Engine::next_wake`] says when. An idle class costs nothing, a throttled one a timer; every step
//! takes constant time, however many classes there are.
//!
//! A tree is changed while it works: [`Engine::apply`] another one, and classes that are in both keep
//! their frames, their credit and debt, and their fair share of the recent past.
//!
//! Which leaf a frame belongs to, a [`Classifier`] says from its [`Headers`]; and before a tree is used,
//! [`sim`] tries it out. Where several engines send by one limit, [`share_out`] divides it among them.
//!
//! ```
//! use qos::{ClassConfig, ClassId, Engine, FrameShape, Time, TreeConfig, Wake};
//!
//! let (link, web, bulk) = (ClassId::new(1, 0), ClassId::new(1, 1), ClassId::new(1, 2));
//! let mut engine = Engine::new(&TreeConfig::new(vec![
//!     ClassConfig::new(link).ceil("100mbit".parse()?),
//!     ClassConfig::new(web).parent(link).rate("60mbit".parse()?),
//!     ClassConfig::new(bulk).parent(link).rate("10mbit".parse()?).ceil("50mbit".parse()?),
//! ]))?;
//! let web = engine.leaf(web).ok_or("web is a leaf")?;
//! let bulk = engine.leaf(bulk).ok_or("bulk is a leaf")?;
//!
//! // Both rings have frames; a second of virtual time passes.
//! let (mut now, end) = (Time::from_nanos(0), Time::from_nanos(1_000_000_000));
//! engine.backlogged(web, now);
//! engine.backlogged(bulk, now);
//! let (mut from_web, mut from_bulk) = (0, 0);
//! while now < end {
//!     while let Some(grant) = engine.peek(now) {
//!         // Deliver the next frame of `grant.leaf` here; only when that worked:
//!         engine.commit(FrameShape::single(1514));
//!         *(if grant.leaf == web { &mut from_web } else { &mut from_bulk }) += 1538 * 8;
//!     }
//!     let Wake::At(wake) = engine.next_wake(now) else { break };
//!     now = wake;
//! }
//! // 70 Mbit/s are guaranteed; the other 30 go 6 to 1, as the weights follow the rates.
//! assert!((85_000_000..87_000_000).contains(&from_web), "{from_web}");
//! assert!((14_000_000..15_000_000).contains(&from_bulk), "{from_bulk}");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Map
//! | module | owns |
//! |---|---|
//! | [`class`] | what a tree is, and its admission: [`TreeConfig`], [`ClassConfig`], [`TreeError`] |
//! | [`classify`] | which leaf a frame belongs to: [`Headers`], [`ClassifierConfig`], [`Classifier`] |
//! | [`engine`] | the tree at work: [`Engine`] |
//! | [`time`] | [`Time`] and [`Span`]: nanoseconds with a 32-bit fraction |
//! | [`units`] | what operators write: [`Rate`], [`PacketRate`], [`Burst`], [`PacketBurst`], [`RateSpec`], [`Interval`] |
//! | [`wire`] | what a frame costs on the wire: [`Framing`], [`FrameShape`], [`Cost`] |
//! | [`inverse`] | [`Inverse`]: a rate as time per byte or per segment, rounded up |
//! | [`gcra`] | [`Gcra`]: one limit, kept as one instant |
//! | [`limiter`] | [`Limiter`]: a byte limit and a packet limit of one frame stream, without a tree |
//! | [`counters`] | [`FlowCounters`]: what passed |
//! | [`sim`] | a tree tried out in virtual time, with TCP among its traffic: [`sim::Scenario`] |
//!
//! Inside: `fair`, who of the children goes next, and `wheel`, what is to happen when.
//!
//! # Promises
//! * Time comes in as a value and the next wake-up goes out: no clock, no I/O, no thread, no
//!   global, no float, no `unsafe` (but for a processor's hint to fetch memory, which a crate of its own
//!   gives). Equal calls give equal answers on every machine and build.
//! * Never faster than asked: in **every** window of length `t` a limit lets at most
//!   `rate * t + burst + one unit` pass, in wire bytes, without tolerance.
//! * Never slower by more than one part in a million while it is polled within its burst; what
//!   later polls lose is counted by a limiter ([`Limiter::lost_credit`]).
//! * Whatever waits and is closed names the instant at which it opens, and something goes then:
//!   exactly for a [`Limiter`], rounded up to 1.024 us for an [`Engine`]. No frame is too big: it
//!   goes when its limits are open and leaves a debt.
//! * If anything that waits may go, [`Engine::peek`] names something.
//! * Among those who wait, shares of any window differ from the weights by a few quanta at most (three
//!   of each, by weight), on every level.
//! * A frame is charged when it is committed, once, so a failed delivery costs nothing.
//! * No frame is lost but by a queue that counts it: a change of the tree loses none unless told to.
//! * A tree that cannot work is refused with the class and the reason, and the running one stays.
//!   Other settings of a single class take constant time ([`Engine::retune`]).
//! * No input panics, overflows or divides by zero. Nothing is allocated while frames flow.
//!
//! # One stream, no tree
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

pub mod class;
pub mod classify;
pub mod counters;
pub mod engine;
mod fair;
pub mod gcra;
pub mod inverse;
pub mod limiter;
pub mod share_out;
pub mod sim;
pub mod time;
pub mod units;
mod wheel;
pub mod wire;

pub use class::{
    ClassConfig, ClassId, FlowsConfig, LeafQueue, Overcommit, Removed, TreeConfig, TreeError,
};
pub use classify::{Classifier, ClassifierConfig, ClassifierError, Headers, Verdict};
pub use counters::FlowCounters;
pub use engine::{
    Ack, Departure, Ecn, Engine, Frame, Grant, Hold, LeafKey, Offer, Passage, Room, Wake,
};
pub use gcra::Gcra;
pub use inverse::Inverse;
pub use limiter::{Demand, Limiter, LimiterConfig, queue_cap_bytes};
pub use time::{Span, Time};
pub use units::{Burst, Interval, PacketBurst, PacketRate, Quantity, Rate, RateSpec, UnitError};
pub use wire::{Cost, FrameShape, Framing};
