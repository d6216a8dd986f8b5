//! Prometheus' own checks.

use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};

/// Where `ci/test` unpacks it, else wherever it is installed.
fn promtool() -> PathBuf {
    let cache = std::env::var_os("NETQOS_CACHE");
    let cache = cache.map_or_else(|| PathBuf::from("/var/cache/netqos-vhost"), PathBuf::from);
    let fetched = cache.join("promtool/usr/bin/promtool");
    if fetched.exists() {
        fetched
    } else {
        PathBuf::from("promtool")
    }
}

/// What it says to this input; an error ends the test.
pub(crate) fn run(arguments: &[&str], input: &str) -> String {
    let child = Command::new(promtool())
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let mut child = child.expect("promtool is needed: ci/test fetches it, or install prometheus");
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_owned();
    // It may end before it has read all.
    let writer = std::thread::spawn(move || stdin.write_all(input.as_bytes()).is_ok());
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8(said).unwrap();
    assert!(output.status.success(), "{said}");
    said
}
