//! What operators write in TOML files: class trees ([`tree`]) and traffic to try them with
//! ([`traffic`]).
//!
//! An unknown key is an error, a missing one means no limit or the default, zero is an error, and
//! every error names the file, the line and, where it is about one, the key.

pub(crate) mod error;
mod place;
pub(crate) mod settings;
pub(crate) mod text;
pub mod traffic;
pub mod tree;
pub(crate) mod value;

pub use error::{Fault, FileError};
pub use place::Place;
pub use traffic::TrafficFile;
pub use tree::TreeFile;
