//! The daemon behind `netqos-vhost`, and what its tool `netqosctl` shares with it.
//!
//! ```text
//! front-end ── socket ──▶ session (adapter) ──▶ engine (vhost-user-backend)
//!                                                  │ ring start, retune, stop
//!    guest memory ◀── ring crate ──▶ shard ◀───────┘
//!                                      │ limiter (qos crate)
//!                                      └──▶ uplink (tap)
//! ```
//!
//! - [`session`] owns the front-end's socket: a firewall for messages, in front of the engine.
//! - [`engine`] puts one vhost-user-backend daemon behind each session.
//! - [`shard`] is the packet path: one thread that owns the port, its limiters and its tap.
//! - [`uplink`] opens and configures taps.
//! - [`listen`] makes the vhost-user socket.
//! - [`args`] is the command line.
//! - [`mod@file`] reads class trees, and traffic to try them with, from TOML.
//! - [`daemon`] puts these together and runs until a signal.

pub mod args;
pub mod daemon;
pub mod engine;
pub mod file;
pub mod listen;
pub mod poller;
pub mod session;
pub mod shard;
pub mod uplink;
