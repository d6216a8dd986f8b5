//! The hook of libvirt, with a `netqosctl` that notes what it is to set.

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};

use tempfile::TempDir;

use crate::sample_text;

/// A folder with a `netqosctl` that imports, and notes everything else and ends with `status`.
fn stub(status: u8) -> TempDir {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let script = format!(
        "#!/bin/sh\n[ \"$1\" = import ] && exec {} \"$@\"\necho \"$@\" >>{}/calls\nexit {status}\n",
        env!("CARGO_BIN_EXE_netqosctl"),
        folder.path().display()
    );
    let path = folder.path().join("netqosctl");
    fs::write(&path, script).expect("the folder takes a file");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("it is ours");
    folder
}

fn hook(stub: &Path, operation: &str, xml: &str) -> (ExitStatus, Vec<String>) {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("share/libvirt/qemu");
    let path = format!("{}:/usr/bin:/bin", stub.display());
    let mut child = Command::new(script)
        .args(["web", operation, "begin", "-"])
        .env("PATH", path)
        .stdin(Stdio::piped())
        .spawn()
        .expect("the hook may be executed");
    let mut stdin = child.stdin.take().expect("it is piped");
    // A hook that has nothing to do reads nothing.
    let _ = stdin.write_all(xml.as_bytes());
    drop(stdin);
    let status = child.wait().expect("it ends");
    let calls = fs::read_to_string(stub.join("calls")).unwrap_or_default();
    (status, calls.lines().map(str::to_owned).collect())
}

const SET: [&str; 3] = [
    "set web from-guest ceil=10240Kbit cburst=256Kb",
    "set web to-guest rate=1600Kbit ceil=8Mbit cburst=1Mb",
    "set web-backup from-guest ceil=4Mbit cburst=500Kb",
];

const UNSET: [&str; 3] = [
    "set web from-guest ceil=none",
    "set web to-guest rate=none ceil=none",
    "set web-backup from-guest ceil=none",
];

#[test]
fn limits_are_set_when_a_domain_starts_or_is_met_again_and_end_with_it() {
    let xml = sample_text("libvirt.xml");
    let nothing: &[&str] = &[];
    for (operation, want) in [
        ("started", &SET[..]),
        ("reconnect", &SET[..]),
        ("release", &UNSET[..]),
        ("prepare", nothing),
        ("stopped", nothing),
    ] {
        let stub = stub(0);
        let (status, calls) = hook(stub.path(), operation, &xml);
        assert!(status.success(), "{operation}: {status}");
        assert_eq!(calls, want, "{operation}");
    }
}

#[test]
fn interfaces_that_libvirt_limits_itself_are_left_to_it() {
    let xml = "<domain><name>web</name><devices><interface type='bridge'><source bridge='br0'/><bandwidth>\
               <outbound average='1000'/></bandwidth></interface></devices></domain>";
    let stub = stub(0);
    let (status, calls) = hook(stub.path(), "started", xml);
    assert!(status.success());
    assert!(calls.is_empty(), "{calls:?}");
}

#[test]
fn a_domain_without_interfaces_starts() {
    let stub = stub(0);
    let (status, calls) = hook(stub.path(), "started", "<domain><name>web</name></domain>");
    assert!(status.success(), "{status}");
    assert!(calls.is_empty(), "{calls:?}");
}

#[test]
fn only_a_domain_that_starts_fails_without_its_limits() {
    let xml = sample_text("libvirt.xml");
    for (operation, succeeds) in [("started", false), ("reconnect", true), ("release", true)] {
        let stub = stub(1);
        let (status, calls) = hook(stub.path(), operation, &xml);
        assert_eq!(status.success(), succeeds, "{operation}");
        assert_eq!(calls.len(), 1, "the first failure ends it: {calls:?}");
    }
    let stub = stub(0);
    let (status, calls) = hook(stub.path(), "started", "<domain>");
    assert!(!status.success() && calls.is_empty());
}
