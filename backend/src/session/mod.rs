//! The session adapter: owns a front-end's vhost-user socket and stands in front of the engine
//! (the vhost-user-backend crate), which sits behind a private socket.
//!
//! ```text
//! front-end ──▶ link ──▶ Session::front_end ──▶ link ──▶ engine
//!           ◀── link ◀── Session::engine    ◀── link ◀──
//! ```
//!
//! It is the firewall for every malformed message: it reads whole messages with a deadline,
//! checks sizes, descriptors and order, answers or defers what the engine cannot, passes the
//! rest on and relays the answers. Every front-end message is hostile.
//!
//! - [`Session`] is the pure state machine. It keeps back SET_VRING_ENABLE until SET_FEATURES
//!   (QEMU sends it so early, which the engine takes as fatal), and answers the messages that
//!   the engine lacks.
//! - [`SessionIo`] moves its messages over two sockets without ever blocking, so that one
//!   thread serves the sessions of all ports.

mod config;
mod device;
mod link;
mod machine;
mod memory;
mod message;
mod reason;
mod request;
mod ring;
mod setup;
mod shell;
#[cfg(test)]
mod tests;

pub use config::{
    MAX_REGIONS, MAX_TABLE_REGIONS, MIN_MTU, PROTOCOL_FEATURES, SessionConfig, protocol,
};
pub use machine::{Action, Session};
pub use memory::{Region, Table};
pub use message::{Attachment, HEADER_LEN, Header, Kind, MAX_BODY, MAX_DESCRIPTORS, Message};
pub use reason::{CloseReason, Malformed, Refusal};
pub use request::{Code, Request};
pub use ring::{Addresses, Ring};
pub use shell::{Event, SessionIo};
