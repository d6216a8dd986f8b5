//! `netqosctl simulate` on the files that come with it, and on wrong ones.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn share(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("share/simulate")
        .join(name)
}

fn simulate(tree: &Path, more: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_netqosctl"))
        .arg("simulate")
        .arg(tree)
        .arg(share("traffic.toml"))
        .args(more)
        .output()
        .expect("netqosctl was built")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn the_example_shows_every_class_and_source_in_80_columns() {
    let output = simulate(&share("tree.toml"), &["--seconds", "6"]);
    assert!(output.status.success(), "{output:?}");
    let out = text(&output.stdout);
    for name in [
        "uplink",
        "  vm1 ",
        "    vm1-voice",
        "  vm2 ",
        "vm1-voice cbr x20",
        "vm3 flood",
    ] {
        assert!(
            out.lines().any(|line| line.starts_with(name)),
            "{name}:\n{out}"
        );
    }
    assert!(out.lines().all(|line| line.chars().count() <= 80), "{out}");
    assert_eq!(text(&output.stderr), "");
}

#[test]
fn the_voice_of_the_example_is_quick_and_the_link_full() {
    let output = simulate(&share("tree.toml"), &["--seconds", "6", "--json"]);
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let class = |name: &str| {
        let classes = report["classes"].as_array().unwrap();
        classes.iter().find(|class| class["name"] == name).unwrap()
    };
    assert!(class("uplink")["share_ppm"].as_u64().unwrap() > 990_000);
    assert!(class("vm1-voice")["delay"]["p99"].as_u64().unwrap() < 200_000);
    assert_eq!(class("uplink")["lost"], 0);
    assert!(class("vm2")["marked"].as_u64().unwrap() > 0);
    let again = simulate(&share("tree.toml"), &["--seconds", "6", "--json"]);
    assert_eq!(again.stdout, output.stdout);
}

#[test]
fn the_picture_names_every_leaf() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("out.svg");
    let path = path.to_str().unwrap();
    let output = simulate(&share("tree.toml"), &["--seconds", "6", "--svg", path]);
    assert!(output.status.success(), "{output:?}");
    let svg = std::fs::read_to_string(path).unwrap();
    assert!(svg.starts_with("<svg") && svg.trim_end().ends_with("</svg>"));
    for name in ["vm1-voice", "vm1-backup", "vm2", "vm3"] {
        assert!(svg.contains(name), "{name}");
    }
    let nowhere = simulate(
        &share("tree.toml"),
        &["--seconds", "6", "--svg", "/nowhere/x.svg"],
    );
    assert_eq!(nowhere.status.code(), Some(1), "{nowhere:?}");
    let error = text(&nowhere.stderr);
    assert!(error.starts_with("netqosctl: /nowhere/x.svg: "), "{error}");
}

#[test]
fn a_wrong_file_is_named_and_ends_with_two() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tree.toml");
    let tree = std::fs::read_to_string(share("tree.toml")).unwrap();
    std::fs::write(&path, tree.replacen("\"10mbit\"", "\"0\"", 1)).unwrap();
    let output = simulate(&path, &[]);
    assert_eq!(output.status.code(), Some(2));
    let error = text(&output.stderr);
    let line = tree
        .lines()
        .position(|line| line.contains("10mbit"))
        .unwrap()
        + 1;
    let place = format!("netqosctl: {}:{line}: rate: ", path.display());
    assert!(error.starts_with(&place), "{error}");
    assert!(output.stdout.is_empty());

    let missing = simulate(Path::new("/nowhere/tree.toml"), &[]);
    assert_eq!(missing.status.code(), Some(2));
    let usage = simulate(&share("tree.toml"), &["--seeds", "1"]);
    assert_eq!(usage.status.code(), Some(2));
}
