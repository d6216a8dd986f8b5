//! The guest's end of the job channel: each job is a shell script in a process group of its own.

use std::collections::HashMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use guest_tests::protocol::{JOB_PORT, Output, Reply, Request};
use rustix::process::{Pid, Signal, kill_process_group};

/// Process groups of the running jobs.
type Running = Arc<Mutex<HashMap<u64, Pid>>>;

pub(crate) fn serve() -> io::Result<()> {
    let path = port()?;
    let mut requests = OpenOptions::new().read(true).write(true).open(path)?;
    let replies = Arc::new(Mutex::new(requests.try_clone()?));
    let running = Running::default();
    // A line that an earlier boot left unfinished ends here.
    replies
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .write_all(b"\n")?;
    reply(&replies, &Reply::Ready)?;
    let mut pending = Vec::new();
    let mut chunk = [0; 4096];
    loop {
        let count = requests.read(&mut chunk)?;
        if count == 0 {
            // Nobody is connected on the host's side.
            thread::sleep(Duration::from_millis(20));
        }
        pending.extend_from_slice(chunk.get(..count).unwrap_or(&[]));
        while let Some(end) = pending.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = pending.drain(..=end).collect();
            match serde_json::from_slice(&line) {
                Ok(Request::Run { id, script }) => run(id, &script, &replies, &running)?,
                Ok(Request::Kill { id }) => kill(id, &running),
                // An empty line, or half of one from before a reboot.
                Err(_) => {}
            }
        }
    }
}

/// The device of the virtio-serial port named [`JOB_PORT`].
fn port() -> io::Result<PathBuf> {
    for _ in 0..500 {
        for entry in fs::read_dir("/sys/class/virtio-ports")
            .into_iter()
            .flatten()
            .flatten()
        {
            let name = fs::read_to_string(entry.path().join("name")).unwrap_or_default();
            if name.trim() == JOB_PORT {
                return Ok(PathBuf::from("/dev").join(entry.file_name()));
            }
        }
        thread::sleep(Duration::from_millis(10));
    }
    Err(io::Error::other("there is no virtio-serial port for jobs"))
}

fn reply(replies: &Mutex<File>, reply: &Reply) -> io::Result<()> {
    let mut line = serde_json::to_vec(reply)?;
    line.push(b'\n');
    replies
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .write_all(&line)
}

fn run(id: u64, script: &str, replies: &Arc<Mutex<File>>, running: &Running) -> io::Result<()> {
    // Files rather than pipes, which a script's own background processes would keep open.
    let paths = ["out", "err"].map(|kind| format!("/tmp/job-{id}.{kind}"));
    let [stdout, stderr] = &paths;
    let started = Command::new("sh")
        .args(["-c", script])
        .process_group(0)
        .stdin(Stdio::null())
        .stdout(File::create(stdout)?)
        .stderr(File::create(stderr)?)
        .spawn();
    let child = match started {
        Ok(child) => child,
        Err(error) => {
            let (stdout, stderr) = (String::new(), error.to_string());
            let output = Output {
                status: 127,
                stdout,
                stderr,
            };
            return reply(replies, &Reply::Done { id, output });
        }
    };
    if let Some(pid) = i32::try_from(child.id()).ok().and_then(Pid::from_raw) {
        running
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(id, pid);
    }
    let (replies, running) = (Arc::clone(replies), Arc::clone(running));
    thread::spawn(move || {
        let output = finish(child, &paths);
        running
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&id);
        if let Err(error) = reply(&replies, &Reply::Done { id, output }) {
            eprintln!("guest-agent: job {id} could not be reported: {error}");
        }
    });
    Ok(())
}

fn finish(mut child: Child, paths: &[String; 2]) -> Output {
    let status = match child.wait() {
        Ok(status) => status
            .code()
            .unwrap_or_else(|| 128 + status.signal().unwrap_or(0)),
        Err(_) => 127,
    };
    let [stdout, stderr] = paths.each_ref().map(|path| {
        let bytes = fs::read(path).unwrap_or_default();
        let _ = fs::remove_file(path);
        String::from_utf8_lossy(&bytes).into_owned()
    });
    Output {
        status,
        stdout,
        stderr,
    }
}

fn kill(id: u64, running: &Running) {
    let pid = running
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .get(&id)
        .copied();
    if let Some(pid) = pid {
        // It may have ended just now.
        let _ = kill_process_group(pid, Signal::KILL);
    }
}
