//! A daemon of canned answers, and a run of `netqosctl` against it.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::process::{Command, Output};
use std::sync::{Arc, Mutex};
use std::thread;

use netqos::control::answer::Pong;
use netqos::control::{
    Applied, ClassReport, Direction, DirectionReport, Histogram, Limits, Passed, PortReport,
    Refusal, Report, Request, UplinkReport, parse,
};
use serde::Serialize;
use serde_json::{Value, json};
use tempfile::TempDir;

/// The generation that runs in it.
pub(crate) const GENERATION: u64 = 41;

/// It listens until the test's process ends.
pub(crate) struct Stub {
    pub(crate) folder: TempDir,
    requests: Arc<Mutex<Vec<Request>>>,
}

/// What one says to a request; some are followed by further lines.
pub(crate) type Answers = Vec<Value>;

impl Stub {
    /// Answers `ping` by itself, and all else by `answer`.
    pub(crate) fn start(answer: impl Fn(&Request) -> Answers + Send + Sync + 'static) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(folder.path().join("control.sock")).unwrap();
        let requests = Arc::new(Mutex::new(Vec::new()));
        let (seen, answer) = (requests.clone(), Arc::new(answer));
        thread::spawn(move || {
            for stream in listener.incoming() {
                let (seen, answer) = (seen.clone(), answer.clone());
                thread::spawn(move || serve(stream.unwrap(), &seen, &*answer));
            }
        });
        Self { folder, requests }
    }

    /// One that says the same to every request.
    pub(crate) fn says(value: impl Serialize) -> Self {
        let value = ok(value);
        Self::start(move |_| vec![value.clone()])
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.folder.path().join("control.sock")
    }

    /// What it was asked, pings left out.
    pub(crate) fn requests(&self) -> Vec<Request> {
        self.requests.lock().unwrap().clone()
    }

    /// Runs `netqosctl` with these arguments.
    pub(crate) fn run(&self, args: &[&str]) -> Output {
        self.command(args).output().unwrap()
    }

    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_netqosctl"));
        command.env("NETQOS_CONTROL", self.socket()).args(args);
        command
    }
}

fn serve(mut stream: UnixStream, seen: &Mutex<Vec<Request>>, answer: &dyn Fn(&Request) -> Answers) {
    let reader = BufReader::new(stream.try_clone().unwrap());
    for line in reader.split(b'\n') {
        let Ok(line) = line else { return };
        let request = parse(&line).unwrap();
        let answers = if request == (Request::Ping {}) {
            vec![ok(Pong {
                version: 1,
                daemon: "0.1.0".to_owned(),
                generation: GENERATION,
            })]
        } else {
            seen.lock().unwrap().push(request.clone());
            answer(&request)
        };
        for answer in answers {
            let mut text = serde_json::to_vec(&answer).unwrap();
            text.push(b'\n');
            if stream.write_all(&text).is_err() {
                return;
            }
        }
    }
}

/// Facts as the daemon sends them.
pub(crate) fn ok(value: impl Serialize) -> Value {
    let mut object = json!({"ok": true});
    if let Value::Object(facts) = serde_json::to_value(value).unwrap() {
        object.as_object_mut().unwrap().extend(facts);
    }
    object
}

pub(crate) fn refusal(error: &str) -> Value {
    let refusal = Refusal {
        error: error.to_owned(),
        conflict: None,
    };
    serde_json::to_value(refusal).unwrap()
}

pub(crate) fn out(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

pub(crate) fn err(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// A change of nothing.
pub(crate) fn unchanged() -> Applied {
    Applied {
        generation: GENERATION,
        ..Applied::default()
    }
}

/// Waits of which half were below 50 us, and the longest beyond a second.
pub(crate) fn waits() -> Histogram {
    let mut waits = Histogram::default();
    (0..95).for_each(|_| waits.add(40_000));
    (0..5).for_each(|_| waits.add(7_000_000));
    waits
}

fn direction(limits: Limits) -> DirectionReport {
    DirectionReport {
        frames: 1000,
        segments: 3000,
        bytes: 4_000_000,
        wire_bytes: 4_200_000,
        drops: [("no-room", 2), ("source-mac", 1)]
            .map(|(why, count)| (why.to_owned(), count))
            .into(),
        queued: 7,
        marked: 5,
        throttled: 12,
        throttled_nanos: 1_500_000_000,
        sojourn: waits(),
        limits,
        ..DirectionReport::default()
    }
}

/// A guest with limits.
pub(crate) fn port(name: &str) -> PortReport {
    let limits = Limits {
        rate: Some(100_000_000),
        ceil: Some(500_000_000),
        weight: Some(3),
        prio: 1,
        pps: Some(50_000),
    };
    PortReport {
        port: name.to_owned(),
        uplink: "lan".to_owned(),
        session: true,
        sessions: 3,
        paused: false,
        mac: Some("52:54:00:12:34:56".to_owned()),
        from_guest: direction(limits),
        to_guest: direction(Limits::default()),
        kicks: 17,
        wakes: 23,
        broken_rings: 0,
        lost_memories: 0,
    }
}

pub(crate) fn class(guest: &str, name: Option<&str>, local: bool) -> ClassReport {
    let sent = Passed {
        frames: 10,
        segments: 30,
        bytes: 40_000,
        wire_bytes: 42_000,
    };
    ClassReport {
        uplink: "lan".to_owned(),
        direction: Direction::FromGuest,
        guest: guest.to_owned(),
        class: name.map(str::to_owned),
        parent: None,
        local,
        state: "throttled".to_owned(),
        limits: Limits {
            rate: Some(2_000_000),
            ..Limits::default()
        },
        queued: 0,
        offered: sent,
        sent,
        dropped: Passed::default(),
        refused: 4,
        marked: 0,
        throttled: 0,
        throttled_nanos: 0,
        sojourn: Histogram::default(),
    }
}

pub(crate) fn report(ports: Vec<PortReport>, classes: Option<Vec<ClassReport>>) -> Report {
    Report {
        generation: GENERATION,
        time_nanos: 5_000_000_000,
        uptime_nanos: 4_000_000_000,
        uplinks: vec![UplinkReport {
            uplink: "lan".to_owned(),
            kind: "tap:lan".to_owned(),
            present: true,
            guests: ports.len() as u64,
            wakes: 1,
            from_guest: Limits::default(),
            to_guest: Limits::default(),
            drops: [("unknown".to_owned(), 1)].into(),
        }],
        ports,
        classes,
        control: Default::default(),
    }
}
