//! The daemon behind `netqos-vhost`, and what its tool `netqosctl` shares with it.
//!
//! ```text
//! front-end ── socket ──▶ session (adapter) ──▶ engine (vhost-user-backend)
//!                                                  │ ring start, retune, stop
//!    guest memory ◀── ring crate ──▶ shard ◀───────┘
//!                                      │ class trees (qos crate), switch
//!                                      └──▶ uplink (tap, NIC, macvtap), or another guest
//! ```
//!
//! - [`session`] owns the front-end's socket: a firewall for messages, in front of the engine.
//! - [`engine`] puts one vhost-user-backend daemon behind each session.
//! - [`shard`] is the packet path: one thread that owns ports, trees and uplinks.
//! - [`shards`] spreads uplinks over several of them.
//! - [`plan`] puts together what the shard runs by.
//! - [`switch`] decides where frames go, and whether they may.
//! - [`uplink`] opens what frames leave by (tap, packet socket, macvtap) and watches links.
//! - [`listen`] makes the vhost-user socket.
//! - [`opener`] is the process that keeps the privileges, and opens what is asked of it.
//! - [`sandbox`] takes the privileges away from everything else.
//! - [`args`] is the command line.
//! - [`config`] is what command line and file come to.
//! - [`mod@file`] reads class trees, and traffic to try them with, from TOML.
//! - [`control`] is the protocol of the control socket, and its client.
//! - [`logging`] writes the log, and keeps it from being flooded.
//! - [`mod@import`] reads what other tools limit guests by.
//! - [`metrics`] writes the counters as Prometheus reads them.
//! - [`web`] tells the counters over HTTP.
//! - [`daemon`] puts these together and runs until a signal.

pub mod args;
pub mod config;
pub mod control;
pub mod daemon;
pub mod engine;
pub mod file;
pub mod import;
pub mod listen;
pub mod logging;
pub mod metrics;
pub mod opener;
pub mod plan;
pub mod poller;
pub mod sandbox;
pub mod session;
pub mod shard;
pub mod shards;
pub mod switch;
pub mod uplink;
pub mod web;
