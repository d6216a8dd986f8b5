//! What an operator sees when something is not as the daemon needs it: one sentence on standard error, the
//! right exit status, at once, and nothing left behind.

use std::fs::{self, Permissions};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use guest_tests::{Daemon, Namespace, Output, Place, Result, daemon_program};
use tempfile::TempDir;

/// A tap that another process holds is tried for a second; everything else is known at once.
const AT_ONCE: Duration = Duration::from_millis(2500);
/// A wrong command line.
const USAGE: i32 = 2;
/// Anything else that is in the way.
const FAILURE: i32 = 1;

/// A folder for sockets that any user may write to, with a copy of the daemon that any user may run.
#[derive(Debug)]
struct Scene {
    ns: Namespace,
    folder: TempDir,
}

impl Scene {
    fn new() -> Result<Self> {
        let folder = tempfile::tempdir().expect("a folder for sockets");
        let program = folder.path().join("netqos-vhost");
        fs::copy(daemon_program()?, program).expect("a copy of the daemon");
        fs::set_permissions(folder.path(), Permissions::from_mode(0o777)).expect("its mode");
        let ns = Namespace::new()?;
        Ok(Self { ns, folder })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Runs the daemon behind the words of `prefix` until it ends by itself.
    fn run(&self, prefix: &str, args: &str) -> Result<(Output, Duration)> {
        let folder = self.folder.path().display();
        let script = format!("cd {folder}; exec {prefix} ./netqos-vhost {args}");
        let start = Instant::now();
        let output = self.ns.run(&script, Duration::from_secs(10))?;
        Ok((output, start.elapsed()))
    }

    /// What the folder holds and which interfaces there are.
    fn inventory(&self) -> Result<(Vec<PathBuf>, String)> {
        let entries = fs::read_dir(self.folder.path()).expect("the folder");
        let mut files: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
        files.sort();
        Ok((files, self.ns.ip("-o link show")?))
    }

    /// The daemon must refuse to start, with one sentence that holds each of `says`.
    fn refuses(&self, prefix: &str, args: &str, status: i32, says: &[&str]) -> Result<()> {
        let before = self.inventory()?;
        let (output, took) = self.run(prefix, args)?;
        let text = output.stderr.trim_end();
        assert_eq!(output.status, status, "{args}: {text}");
        assert!(took < AT_ONCE, "{args}: took {took:?}");
        assert_eq!(output.stdout, "", "{args}");
        assert_eq!(text.lines().count(), 1, "{args}: {text}");
        assert!(text.starts_with("netqos-vhost: "), "{args}: {text}");
        for part in says {
            assert!(text.contains(part), "{args}: `{part}` is not in: {text}");
        }
        assert_clean(text);
        assert_eq!(before, self.inventory()?, "{args}: something stayed behind");
        Ok(())
    }
}

/// Nothing that speaks of the program's inside.
fn assert_clean(text: &str) {
    for word in ["panicked", "RUST_BACKTRACE", "Os {", "Err(", ".rs:"] {
        assert!(!text.contains(word), "{text}");
    }
}

#[test]
fn what_cannot_be_meant_is_refused_with_the_option_and_the_reason() -> Result<()> {
    let scene = Scene::new()?;
    let cases: [(&str, &[&str]); 14] = [
        ("--rate 10furlongs", &["--rate", "10furlongs", "mbit"]),
        ("--rate 0", &["--rate", "zero", "leave"]),
        ("--rate 0mbit", &["--rate", "zero"]),
        ("--rate=-5mbit", &["--rate"]),
        ("--rate ''", &["--rate"]),
        ("--rate-to-guest 1parsec", &["--rate-to-guest", "parsec"]),
        ("--pps 0", &["--pps", "zero"]),
        ("--rate 1mbit --burst 0", &["--burst"]),
        ("--burst 64k", &["--burst", "--rate"]),
        ("--mac 01:00:5e:00:00:01", &["--mac", "multicast"]),
        ("--socket-mode 999", &["--socket-mode", "octal"]),
        (
            "--socket-group no-such-group",
            &["--socket-group", "no-such-group"],
        ),
        ("--bridge tap1", &["--bridge", "tap1"]),
        ("--bridge a/b", &["--bridge", "'/'"]),
    ];
    for (option, says) in cases {
        let args = format!("--socket vm1.sock --tap tap1 {option}");
        scene.refuses("", &args, USAGE, says)?;
    }
    let long = "--socket vm1.sock --tap a23456789012345x";
    scene.refuses("", long, USAGE, &["--tap", "16 bytes", "15"])?;
    scene.refuses("", "--fd 1 --tap tap1", USAGE, &["--fd 1", "3 or more"])
}

#[test]
fn what_clap_refuses_ends_with_its_status_and_shows_the_usage() -> Result<()> {
    let scene = Scene::new()?;
    let before = scene.inventory()?;
    for args in [
        "",
        "--tap tap1",
        "--socket vm1.sock",
        "--socket vm1.sock --tap tap1 --no-such-option",
        "--socket vm1.sock --connect vm2.sock --tap tap1",
        "--socket vm1.sock --tap tap1 --queues 0",
        "--socket vm1.sock --tap tap1 --rate 1mbit --rate-to-guest 1mbit",
    ] {
        let (output, took) = scene.run("", args)?;
        assert_eq!((output.status, &*output.stdout), (USAGE, ""), "{args}");
        assert!(output.stderr.starts_with("error: "), "{}", output.stderr);
        assert!(took < AT_ONCE, "{args}: took {took:?}");
        assert_clean(&output.stderr);
    }
    assert_eq!(before, scene.inventory()?);
    Ok(())
}

#[test]
fn what_is_in_the_way_on_the_host_is_named() -> Result<()> {
    let scene = Scene::new()?;
    scene.ns.ip("link add br0 type bridge")?;
    scene.ns.ip("tuntap add dev single mode tap")?;
    scene.ns.ip("tuntap add dev layer3 mode tun")?;
    fs::write(scene.path("precious"), "kept").expect("a file");
    let long = format!("--socket {}.sock --tap tap1", "x".repeat(120));
    let cases: [(&str, &[&str]); 10] = [
        (
            "--socket nowhere/vm1.sock --tap tap1",
            &["nowhere/vm1.sock", "directory"],
        ),
        (&long, &["107", "bytes"]),
        (
            "--socket precious --tap tap1",
            &["precious", "not a stream socket"],
        ),
        (
            "--socket vm1.sock --tap tap1 --bridge br9",
            &["br9", "does not exist", "ip link add"],
        ),
        (
            "--socket vm1.sock --tap tap1 --bridge lo",
            &["lo", "not a bridge"],
        ),
        (
            "--socket vm1.sock --tap br0",
            &["br0", "bridge", "not a tap"],
        ),
        ("--socket vm1.sock --tap lo", &["lo", "not a tap"]),
        ("--socket vm1.sock --tap layer3", &["layer3", "tun"]),
        (
            "--socket vm1.sock --tap single --queues 2",
            &["single", "one queue", "multi_queue"],
        ),
        ("--fd 77 --tap tap1", &["77", "not open"]),
    ];
    for (args, says) in cases {
        scene.refuses("", args, FAILURE, says)?;
    }
    let kept = fs::read_to_string(scene.path("precious")).expect("the file");
    assert_eq!(kept, "kept");
    Ok(())
}

#[test]
fn a_user_without_rights_learns_which_right_is_missing_and_how_to_do_without() -> Result<()> {
    let scene = Scene::new()?;
    let nobody = "setpriv --reuid 65534 --regid 65534 --clear-groups --";
    let make = [
        "tap1",
        "CAP_NET_ADMIN",
        "ip tuntap add dev tap1 mode tap user 65534",
    ];
    scene.refuses(nobody, "--socket vm1.sock --tap tap1", FAILURE, &make)?;
    scene.ns.ip("tuntap add dev roots mode tap user 0")?;
    let owner = ["roots", "user 0", "user 65534"];
    scene.refuses(nobody, "--socket vm1.sock --tap roots", FAILURE, &owner)?;
    let denied = ["/proc/vm1.sock"];
    scene.refuses(
        nobody,
        "--socket /proc/vm1.sock --tap tap1",
        FAILURE,
        &denied,
    )?;

    // The advice given is good: with a tap of their own they need no right.
    scene.ns.ip("tuntap add dev own mode tap user 65534")?;
    scene.ns.ip("link set own up")?;
    let (output, _) = scene.run(
        &format!("timeout --preserve-status -s TERM 1 {nobody}"),
        "--socket vm1.sock --tap own",
    )?;
    assert_eq!(output.status, 0, "{}", output.stderr);
    assert!(output.stderr.contains("state=waiting"), "{}", output.stderr);
    assert!(scene.ns.ip("link show own").is_ok());
    assert!(!scene.path("vm1.sock").exists());
    Ok(())
}

#[test]
fn a_tap_or_socket_of_a_live_daemon_is_taken_and_the_live_one_goes_on() -> Result<()> {
    let scene = Scene::new()?;
    let mut live = Daemon::new(&scene.ns).port("vm1", "tap1").start()?;
    // Both make the socket first and the tap after it.
    let socket = live.socket("vm1");
    live.process().wait_until("the tap", AT_ONCE, || {
        scene
            .ns
            .ip("link show tap1 up")
            .is_ok_and(|text| !text.is_empty())
    })?;
    scene.refuses(
        "",
        "--socket vm2.sock --tap tap1",
        FAILURE,
        &["tap1 is taken"],
    )?;
    let taken = format!("--socket {} --tap tap2", socket.display());
    scene.refuses(
        "",
        &taken,
        FAILURE,
        &["another process is listening", "vm1.sock"],
    )?;
    assert!(is_socket(&socket));
    assert!(scene.ns.ip("link show tap1").is_ok());
    assert!(live.process().try_wait()?.is_none(), "{}", live.log());
    assert!(live.terminate()?.success());
    assert!(!socket.exists());
    assert!(scene.ns.ip("link show tap1").is_err());
    Ok(())
}

#[test]
fn a_stale_socket_is_replaced_and_removed_at_the_end() -> Result<()> {
    let scene = Scene::new()?;
    let path = scene.path("vm1.sock");
    drop(UnixListener::bind(&path).expect("a socket"));
    assert!(is_socket(&path));
    let mut job = scene.ns.start(&format!(
        "cd {}; exec timeout --preserve-status -s TERM 1 ./netqos-vhost --socket vm1.sock --tap tap1",
        scene.folder.path().display()
    ))?;
    let start = Instant::now();
    while std::os::unix::net::UnixStream::connect(&path).is_err() {
        assert!(
            start.elapsed() < AT_ONCE,
            "nobody took the stale socket over"
        );
        std::thread::sleep(Duration::from_millis(10));
    }
    let output = job.wait(Duration::from_secs(10))?;
    assert_eq!(output.status, 0, "{}", output.stderr);
    assert!(!path.exists());
    assert!(scene.ns.ip("link show tap1").is_err());
    Ok(())
}

fn is_socket(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|meta| meta.file_type().is_socket())
}

#[test]
fn questions_are_answered_on_standard_output_whatever_else_is_missing() -> Result<()> {
    let scene = Scene::new()?;
    let answer = |args: &str| -> Result<String> {
        let (output, took) = scene.run("", args)?;
        assert_eq!((output.status, &*output.stderr), (0, ""), "{args}");
        assert!(took < AT_ONCE, "{args}: took {took:?}");
        Ok(output.stdout)
    };
    for args in [
        "--print-capabilities",
        "--socket vm1.sock --tap lo --print-capabilities",
    ] {
        let text = answer(args)?;
        let json: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        assert_eq!(
            json.get("type").and_then(|kind| kind.as_str()),
            Some("net"),
            "{text}"
        );
    }
    let version = answer("--version")?;
    assert!(version.starts_with("netqos-vhost "), "{version}");
    let help = answer("--help")?;
    for word in [
        "--socket",
        "--connect",
        "--fd",
        "--tap",
        "--rate",
        "--queues",
        "Exit code",
    ] {
        assert!(help.contains(word), "{word} is not in the help");
    }
    assert_eq!(scene.inventory()?.0, [scene.path("netqos-vhost")]);
    Ok(())
}
