//! Files that operators name, `-` for standard input.

use std::fs;
use std::io;
use std::path::Path;

use crate::failure::InputError;

pub(crate) fn read(path: &Path) -> Result<String, InputError> {
    let text = match path.as_os_str() == "-" {
        true => io::read_to_string(io::stdin()),
        false => fs::read_to_string(path),
    };
    text.map_err(|error| InputError::Read {
        path: path.to_owned(),
        error,
    })
}
