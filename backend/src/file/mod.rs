//! What operators write in TOML files: class trees ([`tree`]) and traffic to try them with
//! ([`traffic`]).
//!
//! An unknown key is an error, a missing one means no limit or the default, zero is an error, and
//! every error names the file, the line and, where it is about one, the key.

mod error;
mod place;
pub mod traffic;
pub mod tree;
mod value;

pub use error::{Fault, FileError};
pub use place::Place;
pub use traffic::TrafficFile;
pub use tree::TreeFile;

use std::path::Path;

use serde::de::DeserializeOwned;

/// The text of a file.
fn text(path: &Path) -> Result<String, FileError> {
    std::fs::read_to_string(path).map_err(|source| FileError::Read {
        path: path.to_owned(),
        source,
    })
}

/// The keys of a file.
fn keys<T: DeserializeOwned>(path: &Path, text: &str) -> Result<T, FileError> {
    toml::from_str(text).map_err(|error: toml::de::Error| {
        let fault = Fault::Toml(error.message().to_owned());
        Place::new(path, text, error.span().unwrap_or(0..0)).fault(fault)
    })
}
