//! The daemon under test, started in a network namespace as an operator would start it.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::Duration;

use rustix::process::Signal;
use tempfile::TempDir;

use crate::artifacts;
use crate::counters::Counters;
use crate::error::{Context, Result};
use crate::netns::Namespace;
use crate::process::{Process, Usage};
use crate::report::{self, Report};
use crate::scratch;

/// How long the daemon may take to make its sockets.
const START_TIMEOUT: Duration = Duration::from_secs(10);
/// How long it may take to end when asked to.
const STOP_TIMEOUT: Duration = Duration::from_secs(10);
/// Names in the daemon's folder.
const CONFIG: &str = "netqos.toml";
const CONTROL: &str = "control.sock";

/// What the daemon is to be started with.
#[derive(Debug, Clone)]
pub struct DaemonBuilder {
    netns: String,
    args: Vec<OsString>,
    ports: Vec<(String, String)>,
    program: Option<PathBuf>,
    files: Vec<(String, String)>,
}

/// A running `netqos-vhost`; dropping it kills it. Its folder, and so its sockets' paths, outlive a
/// [`Daemon::restart`].
#[derive(Debug)]
pub struct Daemon {
    process: Process,
    builder: DaemonBuilder,
    folder: TempDir,
}

impl DaemonBuilder {
    /// One guest: `--socket FOLDER/NAME.sock --tap TAP`. Without any, the daemon gets only
    /// [`DaemonBuilder::args`].
    #[must_use]
    pub fn port(mut self, name: &str, tap: &str) -> Self {
        self.ports.push((name.to_owned(), tap.to_owned()));
        self
    }

    /// More arguments; `{dir}` in them becomes the daemon's folder.
    #[must_use]
    pub fn args<A: Into<OsString>>(mut self, args: impl IntoIterator<Item = A>) -> Self {
        self.args.extend(args.into_iter().map(Into::into));
        self
    }

    /// Writes a file into the daemon's folder, as its configuration; `{dir}` in the text becomes the folder.
    #[must_use]
    pub fn file(mut self, name: &str, text: &str) -> Self {
        self.files.push((name.to_owned(), text.to_owned()));
        self
    }

    /// Serves what this text says, a configuration file; in it `{dir}` is the daemon's folder. The text has
    /// neither `control` nor `[defaults]`: the control socket is [`Daemon::report`]'s, and each guest's
    /// socket is `{dir}/NAME.sock`, which those named by [`DaemonBuilder::expect_socket`] are waited for.
    #[must_use]
    pub fn config(self, text: &str) -> Self {
        self.file(CONFIG, &whole_config(text))
            .args(["--config", &format!("{{dir}}/{CONFIG}")])
    }

    /// Waits for the socket `NAME.sock` of a port that a configuration file describes.
    #[must_use]
    pub fn expect_socket(mut self, name: &str) -> Self {
        self.ports.push((name.to_owned(), String::new()));
        self
    }

    /// Another program than the workspace's daemon.
    #[must_use]
    pub fn program(mut self, program: impl Into<PathBuf>) -> Self {
        self.program = Some(program.into());
        self
    }

    /// Starts it and waits for its sockets. They are not connected to: a connection is a session.
    ///
    /// # Errors
    /// [`crate::Error::Missing`] if it has not been built; [`crate::Error::Ended`] or
    /// [`crate::Error::Timeout`] with its log if its sockets do not appear.
    pub fn start(self) -> Result<Daemon> {
        let folder = scratch::folder("daemon")?;
        let process = self.spawn(folder.path())?;
        Ok(Daemon {
            process,
            builder: self,
            folder,
        })
    }

    fn spawn(&self, folder: &Path) -> Result<Process> {
        let program = match &self.program {
            Some(program) => program.clone(),
            None => artifacts::daemon_program()?,
        };
        let directory = folder.to_string_lossy();
        let sockets: Vec<PathBuf> = self
            .ports
            .iter()
            .map(|(name, _)| socket(folder, name))
            .collect();
        let mut args: Vec<OsString> = Vec::new();
        for ((_, tap), socket) in self.ports.iter().zip(&sockets) {
            if !tap.is_empty() {
                args.extend(["--socket".into(), socket.into(), "--tap".into(), tap.into()]);
            }
        }
        args.extend(self.args.iter().map(|arg| match arg.to_str() {
            Some(text) => text.replace("{dir}", &directory).into(),
            None => arg.clone(),
        }));
        for (name, text) in &self.files {
            let text = text.replace("{dir}", &directory);
            std::fs::write(folder.join(name), text).context("writing the daemon's files")?;
        }
        for socket in &sockets {
            // One that a killed daemon left would look like the new one's.
            let _ = std::fs::remove_file(socket);
        }
        let log = folder.join("log");
        let mut process = Process::start(Some(&self.netns), program, args, &log, None)?;
        process.wait_until("the daemon's sockets", START_TIMEOUT, || {
            sockets.iter().all(|socket| socket.exists())
        })?;
        Ok(process)
    }
}

impl Daemon {
    /// Begins describing a daemon that is to run in a namespace.
    #[must_use]
    #[expect(
        clippy::new_ret_no_self,
        reason = "it reads as what it is for: a daemon described, then started"
    )]
    pub fn new(namespace: &Namespace) -> DaemonBuilder {
        DaemonBuilder {
            netns: namespace.name().to_owned(),
            args: Vec::new(),
            ports: Vec::new(),
            program: None,
            files: Vec::new(),
        }
    }

    /// Path of a port's socket.
    #[must_use]
    pub fn socket(&self, name: &str) -> PathBuf {
        socket(self.folder.path(), name)
    }

    /// The daemon's folder: sockets, files, log.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Everything it has logged since its last start.
    #[must_use]
    pub fn log(&self) -> String {
        let bytes = std::fs::read(self.folder.path().join("log")).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Its process, for signals.
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    /// Its process's number.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// Memory, processor time, descriptors and threads.
    ///
    /// # Errors
    /// [`crate::Error::Io`] if it has ended.
    pub fn usage(&self) -> Result<Usage> {
        self.process.usage()
    }

    /// What it has counted, as it logs it on SIGUSR1; of several ports, the last one's.
    ///
    /// # Errors
    /// [`crate::Error::Timeout`] with its log if it does not.
    pub fn counters(&mut self) -> Result<Counters> {
        self.logged(Counters::parse)
    }

    /// What it has counted for one of its ports.
    ///
    /// # Errors
    /// As [`Self::counters`].
    pub fn counters_of(&mut self, port: &str) -> Result<Counters> {
        self.logged(|log| Counters::parse_port(log, port))
    }

    fn logged(&mut self, parse: impl Fn(&str) -> Option<Counters>) -> Result<Counters> {
        let before = self.log().len();
        self.process.signal(Signal::USR1);
        let log = self.folder.path().join("log");
        let mut found = None;
        self.process
            .wait_until("the daemon's counters", STOP_TIMEOUT, || {
                let bytes = std::fs::read(&log).unwrap_or_default();
                let new = bytes.get(before..).unwrap_or(&[]);
                found = parse(&String::from_utf8_lossy(new));
                found.is_some()
            })?;
        Ok(found.unwrap_or_default())
    }

    /// What it has counted of each guest, as it tells over its control socket. Only for a daemon with a
    /// [`DaemonBuilder::config`].
    ///
    /// # Errors
    /// [`crate::Error::Io`] or [`crate::Error::Output`] if it does not answer.
    pub fn report(&self) -> Result<Report> {
        report::report(&self.folder.path().join(CONTROL))
    }

    /// Replaces the text of its [`DaemonBuilder::config`] and has it read it (SIGHUP), without waiting for
    /// what comes of it.
    ///
    /// # Errors
    /// [`crate::Error::Io`] if the file cannot be written.
    pub fn reconfigure(&mut self, text: &str) -> Result<()> {
        let text = whole_config(text).replace("{dir}", &self.folder.path().to_string_lossy());
        std::fs::write(self.folder.path().join(CONFIG), text)
            .context("writing the daemon's configuration")?;
        self.process.signal(Signal::HUP);
        Ok(())
    }

    /// Asks it to end (SIGTERM) and waits until it has.
    ///
    /// # Errors
    /// [`crate::Error::Timeout`] with its log if it does not.
    pub fn terminate(&mut self) -> Result<ExitStatus> {
        self.process.signal(Signal::TERM);
        self.process.wait(STOP_TIMEOUT)
    }

    /// Kills it (SIGKILL).
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// Starts it again with the same arguments and sockets; one still running is killed first.
    ///
    /// # Errors
    /// As [`DaemonBuilder::start`].
    pub fn restart(&mut self) -> Result<()> {
        self.process.kill();
        self.process = self.builder.spawn(self.folder.path())?;
        Ok(())
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the daemon, {}", self.process.log_tail());
        }
    }
}

/// A configuration with the places that are the harness's.
fn whole_config(text: &str) -> String {
    format!(
        "control = \"{{dir}}/{CONTROL}\"\n{text}\n[defaults]\nsocket = \"{{dir}}/{{name}}.sock\"\n"
    )
}

fn socket(folder: &Path, name: &str) -> PathBuf {
    folder.join(format!("{name}.sock"))
}
