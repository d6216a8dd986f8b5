//! The real daemon, which serves all this out of its sandbox.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::process::{Child, Command};
use std::thread;
use std::time::{Duration, Instant};

use nix::sched::{CloneFlags, unshare};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use super::promtool;
use super::stub::{SOON, report};

const FILE: &str = "metrics = \"127.0.0.1:0\"\n\
    [uplink.wan]\nkind = \"tap:wan\"\n\
    [guest.a]\nsocket = \"a.sock\"\nlimit = \"8mbit\"\n\
    [guest.\"b\"]\nsocket = \"b.sock\"\n";

/// Runs `test` on a thread in a fresh network namespace with a loopback of its own.
fn in_namespace(test: impl FnOnce() + Send + 'static) {
    let body = || {
        unshare(CloneFlags::CLONE_NEWNET)
            .expect("this test makes a network namespace of its own: run it as root");
        let up = Command::new("ip")
            .args(["link", "set", "lo", "up"])
            .status();
        assert!(up.expect("iproute2 is needed").success());
        test();
    };
    if let Err(panic) = thread::spawn(body).join() {
        std::panic::resume_unwind(panic);
    }
}

struct Daemon {
    folder: TempDir,
    child: Child,
}

impl Daemon {
    fn start(file: &str, flags: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("netqos.toml"), file).unwrap();
        let log = fs::File::create(folder.path().join("log")).unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_netqos-vhost"))
            .args(["--config", "netqos.toml"])
            .args(flags)
            .current_dir(&folder)
            .stderr(log)
            .spawn()
            .unwrap();
        Self { folder, child }
    }

    fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap()
    }

    /// The rest of the line of the log in which this stands.
    fn wait_for(&self, text: &str) -> String {
        let start = Instant::now();
        loop {
            let log = self.log();
            let line = log.lines().find_map(|line| Some(line.split_once(text)?.1));
            // Not a line that is still being written.
            if let Some(rest) = line.filter(|_| log.ends_with('\n')) {
                return rest.to_owned();
            }
            assert!(start.elapsed() < SOON, "no {text} in {log}");
            thread::sleep(Duration::from_millis(5));
        }
    }

    fn end(mut self) -> String {
        let pid = Pid::from_raw(self.child.id().try_into().unwrap()).unwrap();
        kill_process(pid, Signal::TERM).unwrap();
        assert_eq!(self.child.wait().unwrap().code(), Some(0), "{}", self.log());
        self.log()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // One that has ended already cannot be killed, and need not.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn get(address: &str, path: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(SOON)).unwrap();
    let head = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    stream.write_all(head.as_bytes()).unwrap();
    let mut reply = String::new();
    stream.read_to_string(&mut reply).unwrap();
    assert!(reply.starts_with("HTTP/1.1 200 OK\r\n"), "{reply}");
    reply.split_once("\r\n\r\n").unwrap().1.to_owned()
}

#[test]
fn the_daemon_tells_its_counters_out_of_its_sandbox() {
    in_namespace(|| {
        let daemon = Daemon::start(FILE, &[]);
        let address = daemon.wait_for("metrics=http://");
        let address = address.trim_end_matches('/');
        daemon.wait_for("port=b state=waiting");
        let metrics = get(address, "/metrics");
        assert_eq!(promtool::run(&["check", "metrics"], &metrics), "");
        for line in [
            "netqos_uplink_present{uplink=\"wan\"} 1",
            "netqos_guest_session_up{guest=\"b\",uplink=\"wan\"} 0",
            "netqos_guest_ceil_bytes_per_second{guest=\"a\",uplink=\"wan\",direction=\"to-guest\"} 1000000",
            "netqos_class_frames_total{guest=\"a\",uplink=\"wan\",direction=\"from-guest\",local=\"true\"} 0",
        ] {
            assert!(metrics.contains(line), "{line} is not in\n{metrics}");
        }
        assert!(
            !metrics.contains("netqos_ring_running{"),
            "none is connected"
        );
        // A front-end that asks for the features (GET_FEATURES of the vhost-user protocol) has a session.
        let mut front_end = UnixStream::connect(daemon.folder.path().join("a.sock")).unwrap();
        let get_features = [1_u32, 1, 0].map(u32::to_ne_bytes).concat();
        front_end.write_all(&get_features).unwrap();
        front_end.read_exact(&mut [0; 20]).unwrap();
        thread::sleep(Duration::from_millis(300));
        let metrics = get(address, "/metrics");
        for line in [
            "netqos_guest_session_up{guest=\"a\",uplink=\"wan\"} 1",
            "netqos_guest_sessions_total{guest=\"a\",uplink=\"wan\"} 1",
            "netqos_ring_running{guest=\"a\",direction=\"from-guest\",queue=\"0\"} 0",
            "netqos_ring_waiting_chains{guest=\"a\",direction=\"to-guest\",queue=\"0\"} 0",
        ] {
            assert!(metrics.contains(line), "{line} is not in\n{metrics}");
        }
        // Longer than a caller of the control socket may be silent.
        thread::sleep(Duration::from_secs(6));
        let report = report(&get(address, "/api/report?classes=a"));
        assert_eq!(report.ports.len(), 1);
        assert!(
            report
                .classes
                .unwrap()
                .iter()
                .all(|class| class.guest == "a")
        );
        assert!(get(address, "/").starts_with("<!doctype html>"));
        let log = daemon.end();
        assert!(log.contains("sandbox=entered"), "{log}");
        assert!(!log.contains("event=metrics-exposed"), "{log}");
    });
}

#[test]
fn the_flag_comes_before_the_file_and_the_network_is_warned_about() {
    in_namespace(|| {
        let daemon = Daemon::start(FILE, &["--metrics", "0.0.0.0:0"]);
        let address = daemon.wait_for("metrics=http://0.0.0.0:");
        let address = format!("127.0.0.1:{}", address.trim_end_matches('/'));
        daemon.wait_for("WARN");
        daemon.wait_for("event=metrics-exposed: whoever reaches 0.0.0.0:");
        assert!(get(&address, "/metrics").contains("netqos_uptime_seconds "));
        daemon.end();
    });
}

#[test]
fn an_address_that_is_anothers_is_named_before_anything_is_opened() {
    in_namespace(|| {
        let other = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = other.local_addr().unwrap().port().to_string();
        let mut daemon = Daemon::start(FILE, &["--metrics", &port]);
        assert_eq!(daemon.child.wait().unwrap().code(), Some(1));
        let log = daemon.log();
        let says = format!("cannot listen on 127.0.0.1:{port} for metrics: Address already in use");
        assert!(log.contains(&says), "{log}");
        assert!(!daemon.folder.path().join("a.sock").exists());
    });
}
