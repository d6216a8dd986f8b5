//! A daemon of its own for each test, in a network namespace of its own, which ends with the test's thread.
#![allow(dead_code, reason = "each program of tests uses its part")]
#![allow(clippy::unwrap_used)] // in helpers, too, a panic is a failed test

use std::fmt::Write as _;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus};
use std::thread;
use std::time::{Duration, Instant};

use nix::sched::{CloneFlags, unshare};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

/// How long anything may take that is to happen at once.
pub(crate) const SOON: Duration = Duration::from_secs(5);

/// Runs `test` on a thread in a fresh network namespace, which the daemon it starts is in as well.
pub(crate) fn in_namespace(test: impl FnOnce() + Send + 'static) {
    let body = || {
        unshare(CloneFlags::CLONE_NEWNET)
            .expect("this test makes a network namespace of its own: run it as root");
        test();
    };
    if let Err(panic) = thread::spawn(body).join() {
        std::panic::resume_unwind(panic);
    }
}

pub(crate) fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < SOON, "waited too long for {what}");
        thread::sleep(Duration::from_millis(5));
    }
}

pub(crate) fn tap_exists(name: &str) -> bool {
    let shown = Command::new("ip").args(["link", "show", name]).output();
    shown.expect("iproute2 is needed").status.success()
}

/// A file of guests, each behind a tap of its own name, with keys of its own.
pub(crate) fn guests(guests: &[(&str, &str)]) -> String {
    let mut text = String::from("control = \"control.sock\"\n");
    for (name, keys) in guests {
        writeln!(
            text,
            "[uplink.{name}]\nkind = \"tap:{name}\"\n[guest.{name}]\nuplink = \"{name}\""
        )
        .unwrap();
        if !keys.contains("socket = ") {
            writeln!(text, "socket = \"{name}.sock\"").unwrap();
        }
        writeln!(text, "{keys}").unwrap();
    }
    text
}

pub(crate) struct Daemon {
    folder: TempDir,
    child: Child,
    generation: u64,
}

impl Daemon {
    /// Starts it on this file, and waits until it serves.
    pub(crate) fn start(file: &str) -> Self {
        Self::start_with(file, &[], &[])
    }

    /// With further options.
    pub(crate) fn start_args(file: &str, args: &[&str]) -> Self {
        Self::start_with(file, args, &[])
    }

    pub(crate) fn start_with(file: &str, args: &[&str], environment: &[(&str, PathBuf)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("netqos.toml"), file).unwrap();
        let log = fs::File::create(folder.path().join("log")).unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_netqos-vhost"))
            .args(["--config", "netqos.toml"])
            .args(args)
            .current_dir(&folder)
            .envs(environment.iter().cloned())
            .stderr(log)
            .spawn()
            .unwrap();
        let mut daemon = Self {
            folder,
            child,
            generation: 1,
        };
        wait_until("the control socket", || {
            assert!(
                daemon.child.try_wait().unwrap().is_none(),
                "{}",
                daemon.log()
            );
            UnixStream::connect(daemon.path("control.sock")).is_ok()
        });
        daemon
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.path("log")).unwrap()
    }

    pub(crate) fn wait_for(&self, line: &str) {
        wait_until(line, || self.log().contains(line));
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(self.child.id().try_into().unwrap()).unwrap();
        kill_process(pid, signal).unwrap();
    }

    pub(crate) fn ask(&self, request: &str) -> Value {
        let mut stream = UnixStream::connect(self.path("control.sock")).unwrap();
        writeln!(stream, "{request}").unwrap();
        let mut line = String::new();
        BufReader::new(stream).read_line(&mut line).unwrap();
        serde_json::from_str(&line).unwrap()
    }

    /// Has it serve this file; the numbers of guests added, removed and changed.
    pub(crate) fn apply(&mut self, file: &str) -> [u64; 3] {
        fs::write(self.path("netqos.toml"), file).unwrap();
        let answer = self.ask(r#"{"do":"reload"}"#);
        assert_eq!(answer["ok"], true, "{answer}");
        self.generation += 1;
        assert_eq!(answer["generation"], self.generation);
        ["added", "removed", "changed"].map(|key| answer[key].as_u64().unwrap())
    }

    /// Has it refuse this file, with words that say why.
    pub(crate) fn refuses(&self, file: &str, says: &[&str]) {
        let taps = self.taps();
        fs::write(self.path("netqos.toml"), file).unwrap();
        let answer = self.ask(r#"{"do":"reload"}"#);
        let error = answer["error"].as_str().unwrap();
        for word in says {
            assert!(error.contains(word), "`{word}` is not in: {error}");
        }
        self.wait_for("event=reload-refused");
        assert_eq!(self.taps(), taps);
        let report = self.ask(r#"{"do":"report"}"#);
        assert_eq!(report["generation"], self.generation);
    }

    /// The names of all interfaces here.
    pub(crate) fn taps(&self) -> String {
        let shown = Command::new("ip").args(["-br", "link"]).output().unwrap();
        let text = String::from_utf8(shown.stdout).unwrap();
        let names = text.lines().filter_map(|line| line.split(' ').next());
        names.collect::<Vec<_>>().join(" ")
    }

    pub(crate) fn connect(&self, socket: &str) -> FrontEnd {
        FrontEnd::new(UnixStream::connect(self.path(socket)).unwrap())
    }

    pub(crate) fn end(mut self) -> (ExitStatus, String) {
        self.signal(Signal::TERM);
        wait_until("the end", || self.child.try_wait().unwrap().is_some());
        let left = fs::read_dir(&self.folder).unwrap();
        let left = left.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut left: Vec<_> = left.collect();
        left.sort();
        assert_eq!(left, ["log", "netqos.toml"], "sockets are removed");
        (self.child.wait().unwrap(), self.log())
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // One that has ended already cannot be killed, and need not.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// As much of a front-end as tells whether it has a session.
pub(crate) struct FrontEnd(UnixStream);

impl FrontEnd {
    pub(crate) fn new(stream: UnixStream) -> Self {
        stream.set_read_timeout(Some(SOON)).unwrap();
        Self(stream)
    }

    /// The features it is offered (GET_FEATURES of the vhost-user protocol); none without a session.
    pub(crate) fn features(&mut self) -> Option<u64> {
        let request = [1_u32, 1, 0].map(u32::to_ne_bytes).concat();
        self.0.write_all(&request).ok()?;
        let mut reply = [0; 20];
        self.0.read_exact(&mut reply).ok()?;
        Some(u64::from_ne_bytes(reply[12..].try_into().unwrap()))
    }

    pub(crate) fn has_ended(&mut self) -> bool {
        matches!(self.0.read(&mut [0]), Ok(0) | Err(_))
    }
}
