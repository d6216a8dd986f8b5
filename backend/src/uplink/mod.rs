//! Where frames leave the daemon.
//!
//! [`tap`] opens a host tap, makes it when it is absent, and takes away only what it made. Links are
//! looked at and changed over route netlink, never through `/sys`, so the daemon works in
//! a network namespace whose `/sys` is another's.

mod name;
mod netlink;
mod offload;
mod sys;
pub mod tap;

pub use name::{IfName, IfNameError};
pub use offload::Offload;
pub use tap::{Tap, TapConfig, TapError};
