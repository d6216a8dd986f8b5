//! The control protocol: what is said over the daemon's control socket, and a client for it.
//!
//! The socket is a unix stream. Each way it carries one JSON object a line, at most [`MAX_REQUEST`]
//! bytes long from the client. A request is named by its `do`; the answer to it begins with `"ok":true`
//! and holds the facts asked for, or is a [`Refusal`] that says what to do. After `subscribe` and
//! `capture` further lines follow, each an [`Event`].
//!
//! ```text
//! > {"version":1,"do":"set","guest":"vm1","direction":"from-guest","settings":{"ceil":"50mbit"},"generation":3}
//! < {"ok":true,"generation":4,"added":0,"removed":0,"changed":1,"differences":[...]}
//! ```
//!
//! Who changes something says which generation of the configuration the change was made for. If that is
//! not the running one any more the change is refused, with what has changed since: so two operators
//! never overwrite each other unknowingly.

pub mod answer;
pub mod client;
pub mod event;
pub mod histogram;
pub mod report;
pub mod request;

pub use self::answer::{Applied, Conflict, Difference, Edit, Explanation, Refusal, Sandbox};
pub use self::client::{Client, ClientError};
pub use self::event::Event;
pub use self::histogram::Histogram;
pub use self::report::{
    ClassReport, Direction, DirectionReport, Limits, Passed, PortReport, Report, RingReport,
    UplinkReport,
};
pub use self::request::{Request, parse};

/// The version of the protocol. A client that says another one is refused; one that says none takes what
/// it gets.
pub const VERSION: u32 = 1;

/// The longest request in bytes, its line end included: a whole configuration fits.
pub const MAX_REQUEST: usize = 1 << 20;

/// Where the control socket is unless the operator says otherwise.
pub const DEFAULT_SOCKET: &str = "/run/netqos/control.sock";
