mod conflicts;
mod errors;
mod layers;
mod reads;
mod samples;
mod trees;

use std::path::Path;

use super::*;

/// A file around what a test is about: one uplink and the rest as given.
fn with_uplink(rest: &str) -> String {
    format!("[uplink.wan]\nkind = \"packet:eth1\"\n{rest}")
}

fn parse(text: &str) -> Result<Config, String> {
    Config::parse(Path::new("t.toml"), text).map_err(|error| error.to_string())
}
