//! Processes that end with the test: started with a parent-death signal and a log file, killed on drop,
//! watched through `/proc`.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};

use crate::error::{Context, Error, Result};

/// How often something without a notification is looked at.
pub(crate) const POLL: Duration = Duration::from_millis(10);

/// What a process has used so far, from `/proc`.
#[derive(Debug, Clone, Copy)]
pub struct Usage {
    /// Resident memory in bytes, memory shared with others (as guests' memory is) included.
    pub resident: u64,
    /// Resident memory of its own in bytes: anonymous pages, and program and libraries.
    pub own: u64,
    /// Processor time, user and system, of all its threads.
    pub cpu: Duration,
    /// Open file descriptors.
    pub descriptors: usize,
    /// Threads.
    pub threads: usize,
    /// Times its threads have been switched away from: an upper bound of how often they woke.
    pub switches: u64,
}

/// A child process in a process group of its own; dropping it kills the group.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    log: PathBuf,
    status: Option<ExitStatus>,
}

impl Process {
    /// Starts `program`, inside the network namespace `netns` if one is named. Standard output goes to
    /// `stdout` if given, and what is left, standard error included, to `log`.
    ///
    /// # Errors
    /// [`Error::Io`] if a file cannot be made or the program cannot be started.
    pub fn start<A: AsRef<OsStr>>(
        netns: Option<&str>,
        program: impl AsRef<OsStr>,
        args: impl IntoIterator<Item = A>,
        log: &Path,
        stdout: Option<&Path>,
    ) -> Result<Self> {
        let name = program.as_ref().to_string_lossy().into_owned();
        let errors = File::create(log).context(format!("creating {}", log.display()))?;
        let output = match stdout {
            Some(path) => File::create(path).context(format!("creating {}", path.display()))?,
            None => errors.try_clone().context("duplicating the log")?,
        };
        // The death signal keeps a killed test from leaving guests and daemons behind.
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL"]);
        if let Some(netns) = netns {
            command.args(["ip", "netns", "exec", netns]);
        }
        let child = command
            .arg(program)
            .args(args)
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(output)
            .stderr(errors)
            .spawn()
            .context(format!("starting {name}"))?;
        Ok(Self {
            name,
            child,
            log: log.to_owned(),
            status: None,
        })
    }

    /// The process's number; `setpriv` and `ip netns exec` become the program itself.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The last lines of its log.
    #[must_use]
    pub fn log_tail(&self) -> String {
        tail(&self.log)
    }

    /// Its exit status if it has ended.
    ///
    /// # Errors
    /// [`Error::Io`] if it cannot be waited for.
    pub fn try_wait(&mut self) -> Result<Option<ExitStatus>> {
        if self.status.is_none() {
            let what = format!("waiting for {}", self.name);
            self.status = self.child.try_wait().context(what)?;
        }
        Ok(self.status)
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// [`Error::Timeout`] if it is still there after `timeout`.
    pub fn wait(&mut self, timeout: Duration) -> Result<ExitStatus> {
        let deadline = Instant::now() + timeout;
        loop {
            if let Some(status) = self.try_wait()? {
                return Ok(status);
            }
            if Instant::now() >= deadline {
                return Err(Error::Timeout {
                    what: format!("the end of {}", self.name),
                    timeout,
                    log: self.log_tail(),
                });
            }
            std::thread::sleep(POLL);
        }
    }

    /// Waits until `condition` holds; fails when the process ends before that.
    ///
    /// # Errors
    /// [`Error::Ended`] or [`Error::Timeout`], with the end of the log.
    pub fn wait_until(
        &mut self,
        what: &str,
        timeout: Duration,
        mut condition: impl FnMut() -> bool,
    ) -> Result<()> {
        let deadline = Instant::now() + timeout;
        while !condition() {
            if self.try_wait()?.is_some() {
                return Err(Error::Ended {
                    what: self.name.clone(),
                    log: self.log_tail(),
                });
            }
            if Instant::now() >= deadline {
                return Err(Error::Timeout {
                    what: what.to_owned(),
                    timeout,
                    log: self.log_tail(),
                });
            }
            std::thread::sleep(POLL);
        }
        Ok(())
    }

    /// Sends a signal to its process group; one that has ended already is left alone.
    pub fn signal(&mut self, signal: Signal) {
        if matches!(self.try_wait(), Ok(None))
            && let Some(pid) = i32::try_from(self.pid()).ok().and_then(Pid::from_raw)
        {
            // It may end just now: then there is nobody to tell.
            let _ = kill_process_group(pid, signal);
        }
    }

    /// Kills it and waits for its end.
    pub fn kill(&mut self) {
        self.signal(Signal::KILL);
        if let Ok(status) = self.child.wait() {
            self.status = Some(status);
        }
    }

    /// Memory, processor time, descriptors and threads.
    ///
    /// # Errors
    /// [`Error::Io`] if the process has ended.
    pub fn usage(&self) -> Result<Usage> {
        let proc = PathBuf::from(format!("/proc/{}", self.pid()));
        let what = || format!("reading {}", proc.display());
        let status = fs::read_to_string(proc.join("status")).context(what())?;
        let stat = fs::read_to_string(proc.join("stat")).context(what())?;
        let descriptors = fs::read_dir(proc.join("fd")).context(what())?.count();
        let field = |name: &str| status_field(&status, name);
        let tasks = fs::read_dir(proc.join("task")).context(what())?;
        // A thread may end while the others are looked at.
        let switches = tasks.flatten().map(|task| {
            let status = fs::read_to_string(task.path().join("status")).unwrap_or_default();
            let field = |name: &str| status_field(&status, name).unwrap_or(0);
            field("voluntary_ctxt_switches:") + field("nonvoluntary_ctxt_switches:")
        });
        let ticks = cpu_ticks(&stat).unwrap_or(0);
        Ok(Usage {
            resident: field("VmRSS:").unwrap_or(0) * 1024,
            own: (field("RssAnon:").unwrap_or(0) + field("RssFile:").unwrap_or(0)) * 1024,
            switches: switches.sum(),
            cpu: Duration::from_millis(ticks * 1000 / rustix::param::clock_ticks_per_second()),
            descriptors,
            threads: usize::try_from(field("Threads:").unwrap_or(0)).unwrap_or(0),
        })
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A number of `/proc/PID/status`.
fn status_field(status: &str, name: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}

/// User and system time from a line of `/proc/PID/stat`: fields 14 and 15 (proc(5)), counted from
/// behind the name, which may itself hold spaces and brackets.
fn cpu_ticks(stat: &str) -> Option<u64> {
    let (_, fields) = stat.rsplit_once(") ")?;
    let mut fields = fields.split(' ').skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some(user + system)
}

/// An exit status as a shell shows it.
pub(crate) fn shell_status(status: ExitStatus) -> i32 {
    status
        .code()
        .unwrap_or_else(|| 128 + status.signal().unwrap_or(0))
}

/// The last 40 lines of a file, for a failure's text.
pub(crate) fn tail(path: &Path) -> String {
    let bytes = fs::read(path).unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    let lines: Vec<&str> = text.lines().collect();
    let shown = lines.get(lines.len().saturating_sub(40)..).unwrap_or(&[]);
    format!("end of {}:\n{}", path.display(), shown.join("\n"))
}

/// Runs a command to its end and returns its standard output.
pub(crate) fn output_of(program: &str, args: &[&str]) -> Result<Vec<u8>> {
    let output = Command::new(program)
        .args(args)
        .stdin(Stdio::null())
        .output()
        .context(format!("running {program}"))?;
    if !output.status.success() {
        return Err(Error::Command {
            command: format!("{program} {}", args.join(" ")),
            status: shell_status(output.status),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        });
    }
    Ok(output.stdout)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processor_time_is_found_behind_a_name_with_brackets() {
        let stat = "7 (a) b) S 1 7 7 0 -1 4194304 1 2 3 4 50 25 0 0 20 0 1 0 9 9 9";
        assert_eq!(cpu_ticks(stat), Some(75));
    }

    #[test]
    fn a_dropped_process_is_gone() {
        let dir = tempfile::tempdir().unwrap();
        let process = Process::start(None, "sleep", ["60"], &dir.path().join("log"), None).unwrap();
        let proc = PathBuf::from(format!("/proc/{}", process.pid()));
        assert!(proc.exists());
        drop(process);
        assert!(!proc.exists());
    }
}
