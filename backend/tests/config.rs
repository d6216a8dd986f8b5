//! `netqos-vhost --config` and what goes with it, on the samples and on wrong files.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn share(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("share")
        .join(name)
}

fn run(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_netqos-vhost"))
        .args(arguments)
        .output()
        .expect("netqos-vhost was built")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn a_file_is_checked_and_its_trees_are_shown() {
    let sample = share("config/host.toml");
    let output = run(&["--config", sample.to_str().expect("a text"), "--check"]);
    assert!(output.status.success(), "{output:?}");
    let out = text(&output.stdout);
    assert!(out.starts_with("from_guest of uplink wan"), "{out}");
    assert!(out.ends_with(": all in order\n"), "{out}");
}

#[test]
fn flags_are_checked_in_the_same_way() {
    let output = run(&[
        "--socket", "/run/a", "--tap", "vm1", "--rate", "1gbit", "--check",
    ]);
    assert!(output.status.success(), "{output:?}");
    assert!(text(&output.stdout).contains("\n  vm1: ceil 1Gbit, flows\n"));
}

#[test]
fn a_wrong_file_is_named_with_its_line_and_ends_with_two() {
    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(&file, "[uplink.a]\nkimd = \"none\"\n").expect("room");
    let path = file.path().to_str().expect("a text");
    let output = run(&["--config", path, "--check"]);
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(
        text(&output.stderr),
        format!("netqos-vhost: {path}:2: kimd: unknown key `kimd`: did you mean `kind`?\n")
    );
}

#[test]
fn keys_and_schema_are_printed_without_anything_to_serve() {
    let help = run(&["--help-config"]);
    assert!(help.status.success());
    assert!(text(&help.stdout).contains("\n  overcommit = "));
    let schema = run(&["--print-config-schema"]);
    let published = std::fs::read_to_string(share("netqos.schema.json")).expect("it is there");
    assert_eq!(text(&schema.stdout), published);
}
