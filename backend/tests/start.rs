//! The start of the daemon in the order that `netqos::opener` gives, in a program with one thread: this
//! one, which also is its own opener.
#![allow(
    clippy::unwrap_used,
    reason = "all of it is one test, which clippy knows only by its attribute"
)]

use std::fs::{File, OpenOptions};
use std::io::ErrorKind;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use netqos::config::{
    Config, ControlConfig, FloodConfig, RootConfig, SandboxSettings, UplinkConfig, UplinkKind,
};
use netqos::engine::EngineFactory;
use netqos::opener::{self, Opener, OpenerError, Policy};
use netqos::sandbox::{self, Landlock, SandboxConfig};
use nix::sched::{CloneFlags, unshare};

/// What the program is started with for the test itself.
const INSIDE: &str = "--inside";

fn config() -> Config {
    Config {
        poll: Duration::ZERO,
        shards: 1,
        pool_bytes: 0,
        control: Some(ControlConfig {
            path: "control.sock".into(),
            group: None,
        }),
        metrics: None,
        sandbox: SandboxSettings::default(),
        uplinks: vec![UplinkConfig {
            name: "uplink".to_owned(),
            kind: UplinkKind::Tap {
                name: "vm1".parse().unwrap(),
                bridge: None,
            },
            queues: 2,
            mtu: Some(1400),
            from_guest: RootConfig::default(),
            to_guest: RootConfig::default(),
            flood: FloodConfig::default(),
        }],
        guests: Vec::new(),
    }
}

fn main() {
    if std::env::args().any(|argument| argument == opener::FLAG) {
        let load = || Ok::<_, String>(Policy::from(&config()));
        return opener::serve(load).unwrap();
    }
    if std::env::args().any(|argument| argument == INSIDE) {
        return start();
    }
    // What is made in there can only be removed from here.
    let directory = tempfile::tempdir().unwrap();
    let status = Command::new("/proc/self/exe")
        .arg(INSIDE)
        .current_dir(directory.path())
        .status();
    assert!(status.unwrap().success());
    println!("start: ok");
}

fn start() {
    unshare(CloneFlags::CLONE_NEWNET)
        .expect("this test makes a network namespace of its own: run it as root");
    let mut opener = Opener::start().unwrap();
    let _engines = EngineFactory::new().unwrap();
    let report = sandbox::enter(&SandboxConfig {
        readable: vec![std::env::current_dir().unwrap()],
        require: true,
    })
    .unwrap();
    assert_eq!((report.bounded, report.landlock), (true, Landlock::Full));

    let config = config();
    let uplink = opener.uplink(&config.uplinks[0]).unwrap();
    assert_eq!((uplink.queues(), uplink.mtu()), (2, 1400));
    let control = Path::new("control.sock");
    let listener = opener.listener(control, 0o600, None).unwrap();
    let refused = opener.listener(Path::new("other.sock"), 0o600, None);
    assert!(matches!(refused, Err(OpenerError::NotAllowed(_))));

    let denied = || {
        let shadow = OpenOptions::new().append(true).open("/etc/shadow");
        let new = File::create("new");
        [shadow, new].map(|result| result.unwrap_err().kind())
    };
    let expected = [ErrorKind::PermissionDenied; 2];
    assert_eq!(denied(), expected);
    assert_eq!(std::thread::spawn(denied).join().unwrap(), expected);

    opener.remove(uplink).unwrap();
    drop(listener);
    assert!(control.exists());
    opener.end().unwrap();
    assert!(!control.exists());
}
