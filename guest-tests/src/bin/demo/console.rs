//! `--keep`: the guest's serial console on the reader's terminal.

use std::io::{self, IsTerminal, Read, Write, stdin, stdout};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::sync::mpsc::{Sender, channel};
use std::thread;

use guest_tests::{Error, Guest, Job, Place, Result};
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr};
use serde_json::json;

use crate::measure::{GUEST, HOST, Setup, Stage};

/// Ctrl-] leaves, as with telnet and virsh.
const LEAVE: u8 = 0x1d;

/// Boots a guest with this limit and lends its console until the reader leaves.
pub(crate) fn keep(setup: &Setup, rate: &str) -> Result<()> {
    if !stdin().is_terminal() {
        return Err(Error::Setup(
            "--keep needs a terminal: its input is the guest's console",
        ));
    }
    println!("Booting a guest behind netqos-vhost --rate {rate} ...");
    let mut stage = Stage::start(setup, &["--rate", rate])?;
    let _server = stage.ns.start("iperf3 -s")?;
    explain(&mut stage, rate);
    let socket = console_socket(&stage.guest)?;
    let _shell = shell(&stage.guest)?;
    bridge(socket)?;
    println!("\r\nRemoving the guest, the daemon and the namespace.");
    Ok(())
}

fn explain(stage: &mut Stage, rate: &str) {
    let (ns, pid) = (stage.ns.name().to_owned(), stage.daemon.process().pid());
    let log = stage.daemon.folder().join("log");
    let log = log.display();
    println!(
        "
The guest has {GUEST}, the host's side of its link {HOST}. Each direction is limited
to {rate}. In the guest (an iperf3 server runs on both sides):
    ping {HOST}
    iperf3 -c {HOST}            from-guest; with -R to-guest
    iperf3 -c {HOST} -u -b 0 -l 1400
    ethtool -k eth0
In another terminal of this machine, as root:
    kill -USR1 {pid}; tail -n3 {log}
    ip netns exec {ns} iperf3 -c {GUEST}
    ip netns exec {ns} tcpdump -ni tap1
    tail -f {log}
Ctrl-] leaves and removes all of it.
"
    );
}

/// Moves the guest's serial port from the console's file to a socket, and connects to it.
fn console_socket(guest: &Guest) -> Result<UnixStream> {
    let path = guest.scratch().join("terminal");
    let address = json!({"type": "unix", "data": {"path": path}});
    let socket = json!({"addr": address, "server": true, "wait": false});
    let backend = json!({"type": "socket", "data": socket});
    guest.qmp(
        "chardev-change",
        &json!({"id": "serial0", "backend": backend}),
    )?;
    UnixStream::connect(&path).map_err(failed("connecting to the guest's console"))
}

/// A shell on the console, started again when it ends. It is busybox's, which can edit lines; the aliases
/// are the programs that it would otherwise replace with its own.
fn shell(guest: &Guest) -> Result<Box<dyn Job>> {
    let size = tcgetwinsize(stdout()).map_or_else(
        |_| String::new(),
        |size| format!("rows {} cols {}", size.ws_row, size.ws_col),
    );
    guest.start(&format!(
        "printf '%s\\n' 'alias ip=/usr/bin/ip ping=/usr/bin/ping tc=/usr/bin/tc' \
             'PS1=\"guest# \"' >/ashrc
         export ENV=/ashrc TERM=xterm
         cd /root
         iperf3 -s -D
         stty {size} </dev/ttyS0
         while :; do setsid -c ash -i </dev/ttyS0 >/dev/ttyS0 2>&1; done"
    ))
}

/// Bytes in both directions until the reader leaves or the guest is gone.
fn bridge(socket: UnixStream) -> Result<()> {
    let _raw = RawMode::enter()?;
    let (over, ended) = channel();
    for (name, copy) in [
        ("keyboard", keyboard as fn(&UnixStream) -> io::Result<()>),
        ("screen", screen),
    ] {
        let socket = socket
            .try_clone()
            .map_err(failed("duplicating the console"))?;
        let over: Sender<()> = over.clone();
        let run = move || {
            // Either way the console is over, and why is plain to see: the guest is gone.
            let _ = copy(&socket);
            let _ = over.send(());
        };
        let started = thread::Builder::new().name(name.to_owned()).spawn(run);
        started.map_err(failed("starting a thread"))?;
    }
    // The threads hold the senders, so this ends with the first of them.
    let _ = ended.recv();
    socket
        .shutdown(Shutdown::Both)
        .or_else(|error| match error.kind() {
            io::ErrorKind::NotConnected => Ok(()),
            _ => Err(error),
        })
        .map_err(failed("leaving the console"))
}

fn keyboard(mut socket: &UnixStream) -> io::Result<()> {
    let mut buffer = [0; 256];
    loop {
        let count = stdin().lock().read(&mut buffer)?;
        let typed = buffer.get(..count).unwrap_or_default();
        if typed.is_empty() || typed.contains(&LEAVE) {
            return Ok(());
        }
        socket.write_all(typed)?;
    }
}

fn screen(mut socket: &UnixStream) -> io::Result<()> {
    let mut buffer = [0; 4096];
    loop {
        let count = socket.read(&mut buffer)?;
        let shown = buffer.get(..count).unwrap_or_default();
        if shown.is_empty() {
            return Ok(());
        }
        let mut out = stdout().lock();
        out.write_all(shown)?;
        out.flush()?;
    }
}

/// The terminal passing every key on, until dropped.
#[derive(Debug)]
struct RawMode(Termios);

impl RawMode {
    fn enter() -> Result<Self> {
        let set = || {
            let before = tcgetattr(stdin())?;
            let mut raw = before.clone();
            raw.make_raw();
            tcsetattr(stdin(), OptionalActions::Now, &raw)?;
            Ok(Self(before))
        };
        set().map_err(failed("setting the terminal to raw mode"))
    }
}

impl Drop for RawMode {
    fn drop(&mut self) {
        // A terminal that has gone needs nothing.
        let _ = tcsetattr(stdin(), OptionalActions::Now, &self.0);
    }
}

fn failed(what: &'static str) -> impl FnOnce(io::Error) -> Error {
    move |source| Error::Io {
        what: what.to_owned(),
        source,
    }
}
