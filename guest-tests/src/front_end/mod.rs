//! The light front-end: a guest NIC without a guest.
//!
//! ```no_run
//! # fn main() -> guest_tests::Result<()> {
//! use std::time::Duration;
//! use guest_tests::front_end::{Frame, Lab};
//!
//! let lab = Lab::new(["--rate", "100mbit"])?;
//! let mut port = lab.front_end().queues(1).ring_size(256).start()?;
//! let frame = Frame::plain(1514, 7);
//! port.send(&frame)?;
//! assert_eq!(lab.wire.receive(Duration::from_secs(1))?.unwrap().bytes, frame.bytes);
//! # Ok(())
//! # }
//! ```
//!
//! The map: [`FrontEnd`] negotiates and gives a [`Port`], whose [`Pair`]s are a [`Transmit`] and a
//! [`Receive`] ring in its [`Memory`]; a [`Shape`] says how a [`Frame`] is cut into descriptors;
//! [`Flood`] measures at full speed; [`Wire`] is the other end, at the daemon's tap, with a
//! [`Meter`] for rates, and a [`Sender`] is load from there; [`Lab`] is a daemon with a wire, [`Segment`] one with several guests. [`raw`] speaks the socket's bytes,
//! and every ring gives its driver half away ([`Queue::driver`]), for front-ends that mean no good.
//!
//! A port has no thread: one thread may drive thousands of them.

mod builder;
mod connect;
mod echo;
pub mod features;
mod frame;
mod header;
mod lab;
mod load;
mod memory;
mod meter;
mod port;
mod queue;
pub mod raw;
mod receive;
mod segment;
mod sender;
mod shape;
mod sys;
mod transmit;
mod wire;

pub use builder::FrontEnd;
pub use frame::{ETHERTYPE, Frame};
pub use header::Header;
pub use lab::Lab;
pub use load::{Absorbed, Flood, Flooded};
pub use memory::{GUEST_BASE, Memory};
pub use meter::{Meter, Sample, excess};
pub use port::{Pair, Port};
pub use queue::Queue;
pub use receive::{Buffers, Receive};
pub use segment::Segment;
pub use sender::{Pace, Sender};
pub use shape::Shape;
pub use transmit::Transmit;
pub use wire::Wire;
