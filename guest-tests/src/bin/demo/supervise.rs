//! The demo runs in a child of this process, so that whatever ends it, Ctrl-C or a crash, namespaces are
//! removed and the terminal is given back as it was.

use std::env;
use std::io::{self, stdin};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, ExitCode, ExitStatus};
use std::thread;

use guest_tests::{Error, Namespace, Result};
use rustix::process::{Pid, Signal, kill_process};
use rustix::termios::{OptionalActions, tcgetattr, tcsetattr};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

/// What a shell adds to the number of the signal that ended a process.
const SIGNALLED: i32 = 128;

/// Runs this program again as a child, with the same arguments, and cleans up behind it.
pub(crate) fn run() -> Result<ExitCode> {
    let failed = |what: &str| {
        let what = what.to_owned();
        move |source: io::Error| Error::Io { what, source }
    };
    let terminal = tcgetattr(stdin()).ok();
    let mut signals =
        Signals::new([SIGHUP, SIGINT, SIGTERM]).map_err(failed("taking over signals"))?;
    let handle = signals.handle();
    let mut child = start().map_err(failed("starting the demo"))?;
    let pid = Pid::from_child(&child);
    let forwarder = thread::spawn(move || {
        for _ in signals.forever() {
            // It may have ended just now.
            let _ = kill_process(pid, Signal::TERM);
        }
    });
    let status = child.wait().map_err(failed("waiting for the demo"))?;
    handle.close();
    // A thread that only forwards has nothing to tell.
    let _ = forwarder.join();
    if let Some(terminal) = terminal {
        // A terminal that has gone needs nothing.
        let _ = tcsetattr(stdin(), OptionalActions::Now, &terminal);
    }
    if !status.success() {
        // Making one removes what dead processes left.
        drop(Namespace::new()?);
    }
    if status.signal().is_some() {
        eprintln!("\nended early; guest, daemon and namespace are removed");
    }
    Ok(exit_code(status))
}

/// The guest, the daemon and the rest end with the child, as the child does with this process.
fn start() -> io::Result<Child> {
    Command::new("setpriv")
        .args(["--pdeathsig", "KILL"])
        .arg(env::current_exe()?)
        .arg("--supervised")
        .args(env::args_os().skip(1))
        .spawn()
}

fn exit_code(status: ExitStatus) -> ExitCode {
    let code = status
        .code()
        .unwrap_or_else(|| SIGNALLED + status.signal().unwrap_or(0));
    u8::try_from(code).map_or(ExitCode::FAILURE, ExitCode::from)
}
