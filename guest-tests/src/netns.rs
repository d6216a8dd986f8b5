//! Network namespaces that go away with the test, and those that killed runs left behind.

use std::path::{Path, PathBuf};
use std::sync::Once;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::artifacts;
use crate::error::{Error, Result};
use crate::place::{Job, Output, Place};
use crate::process::{Process, output_of, shell_status};
use crate::scratch;

static NUMBER: AtomicU32 = AtomicU32::new(0);
static SWEEP: Once = Once::new();

/// A network namespace with its loopback up; dropping it ends what runs inside and removes it.
#[derive(Debug)]
pub struct Namespace {
    name: String,
    agent: String,
    scratch: TempDir,
}

impl Namespace {
    /// Makes a namespace, after having removed those of dead earlier runs.
    ///
    /// # Errors
    /// [`Error::NotRoot`], [`Error::Missing`] without the harness's own program, or what `ip` says.
    pub fn new() -> Result<Self> {
        if !rustix::process::geteuid().is_root() {
            return Err(Error::NotRoot);
        }
        SWEEP.call_once(sweep);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("{}{number}", scratch::prefix());
        let agent = artifacts::agent()?.to_string_lossy().into_owned();
        let scratch = scratch::folder("ns")?;
        output_of("ip", &["netns", "add", &name])?;
        let namespace = Self {
            name,
            agent,
            scratch,
        };
        // Addresses are used at once: no test waits for duplicate address detection.
        namespace.shell(
            "for key in default all; do echo 0 >/proc/sys/net/ipv6/conf/$key/accept_dad; done",
        )?;
        namespace.ip("link set lo up")?;
        Ok(namespace)
    }

    /// Its name, for `ip netns exec`.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Runs `ip` in it, its words given as one string: `ns.ip("link set tap0 up")`.
    ///
    /// # Errors
    /// [`Error::Command`] with what `ip` says.
    pub fn ip(&self, words: &str) -> Result<String> {
        let mut args = vec!["-n", &self.name];
        args.extend(words.split_whitespace());
        let output = output_of("ip", &args)?;
        Ok(String::from_utf8_lossy(&output).into_owned())
    }

    /// Gives an interface an address with its prefix length, IPv4 or IPv6, and brings it up.
    ///
    /// # Errors
    /// [`Error::Command`] with what `ip` says.
    pub fn address(&self, interface: &str, address: &str) -> Result<()> {
        let option = if address.contains(':') { "nodad" } else { "" };
        self.ip(&format!("addr add {address} dev {interface} {option}"))?;
        self.ip(&format!("link set {interface} up")).map(drop)
    }

    /// Makes a persistent tap with `vnet_hdr`, up, with `queues` queues.
    ///
    /// # Errors
    /// [`Error::Command`] with what `ip` says.
    pub fn add_tap(&self, interface: &str, queues: u16) -> Result<()> {
        let multi = if queues > 1 { "multi_queue" } else { "" };
        self.ip(&format!(
            "tuntap add dev {interface} mode tap vnet_hdr {multi}"
        ))?;
        self.ip(&format!("link set {interface} up")).map(drop)
    }

    fn scratch_file(&self, kind: &str) -> PathBuf {
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        self.scratch.path().join(format!("{kind}-{number}"))
    }
}

impl Place for Namespace {
    fn start(&self, script: &str) -> Result<Box<dyn Job>> {
        let (stdout, stderr) = (self.scratch_file("stdout"), self.scratch_file("stderr"));
        let netns = Some(self.name.as_str());
        let process = Process::start(netns, "sh", ["-c", script], &stderr, Some(&stdout))?;
        Ok(Box::new(HostJob {
            process,
            stdout,
            stderr,
        }))
    }

    fn agent(&self) -> &str {
        &self.agent
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        remove(&self.name);
    }
}

/// A command in a namespace.
#[derive(Debug)]
struct HostJob {
    process: Process,
    stdout: PathBuf,
    stderr: PathBuf,
}

impl Job for HostJob {
    fn wait(&mut self, timeout: Duration) -> Result<Output> {
        let status = self.process.wait(timeout).inspect_err(|_| {
            self.process.kill();
        })?;
        let read = |path: &Path| {
            let bytes = std::fs::read(path).unwrap_or_default();
            String::from_utf8_lossy(&bytes).into_owned()
        };
        Ok(Output {
            status: shell_status(status),
            stdout: read(&self.stdout),
            stderr: read(&self.stderr),
        })
    }

    fn kill(&mut self) {
        self.process.kill();
    }
}

/// Ends every process inside a namespace and removes it. Errors are left: there is no one to tell.
fn remove(name: &str) {
    let pids = output_of("ip", &["netns", "pids", name]).unwrap_or_default();
    for pid in String::from_utf8_lossy(&pids).split_whitespace() {
        if let Some(pid) = pid.parse().ok().and_then(Pid::from_raw) {
            let _ = kill_process(pid, Signal::KILL);
        }
    }
    let _ = output_of("ip", &["netns", "del", name]);
}

/// Removes the namespaces and folders of runs that are no longer there.
fn sweep() {
    scratch::sweep();
    let list = output_of("ip", &["netns", "list"]).unwrap_or_default();
    for line in String::from_utf8_lossy(&list).lines() {
        let name = line.split_whitespace().next().unwrap_or_default();
        if scratch::is_left_over(name) {
            remove(name);
        }
    }
}
