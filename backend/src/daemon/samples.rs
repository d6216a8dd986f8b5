//! Configurations for tests.

use std::fmt::Write;
use std::path::Path;

use crate::config::Config;

/// Guests of these names, each behind a tap of its own of the same name, with sockets that nobody opens.
pub(super) fn config(names: &[&str]) -> Config {
    let mut text = String::new();
    for name in names {
        let guest = format!(
            "[uplink.{name}]\nkind = \"tap:{name}\"\n\
             [guest.{name}]\nuplink = \"{name}\"\nsocket = \"/nowhere/{name}.sock\"\n"
        );
        text.write_str(&guest).unwrap();
    }
    Config::parse(Path::new("sample.toml"), &text).unwrap()
}
