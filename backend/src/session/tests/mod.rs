//! Recorded orders, hostile rows, random scripts, real sockets, and the real engine.

mod engine;
mod hostile;
mod orders;
mod random;
mod sockets;
mod support;
