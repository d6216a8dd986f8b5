//! What is told frame by frame and event by event.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use netqos::control::{Difference, Direction, Event, Explanation, Request};
use serde_json::{Value, json};

use crate::stub::{Stub, err, ok, out, port, refusal, report};

fn event(event: &Event) -> Value {
    serde_json::to_value(event).unwrap()
}

/// A broadcast of the guest, cut to its Ethernet and ARP headers.
const ARP: &str =
    "ffffffffffff525400123456080600010800060400015254001234560a0000010000000000000a000002";

fn frame() -> Vec<u8> {
    let digits = ARP
        .as_bytes()
        .chunks(2)
        .map(|pair| std::str::from_utf8(pair).unwrap());
    digits
        .map(|pair| u8::from_str_radix(pair, 16).unwrap())
        .collect()
}

fn captured(direction: Direction, class: Option<&str>, verdict: &str) -> Value {
    event(&Event::Frame {
        time_nanos: 1_700_000_000_123_456_789,
        direction,
        class: class.map(str::to_owned),
        verdict: verdict.to_owned(),
        len: 60,
        data: BASE64_STANDARD.encode(frame()),
    })
}

fn capturing() -> Stub {
    Stub::start(|_| {
        vec![
            ok(json!({})),
            captured(Direction::FromGuest, Some("voice"), "sent"),
            captured(Direction::ToGuest, None, "no-room"),
            event(&Event::CaptureEnd { missed: 3 }),
        ]
    })
}

/// What tshark reads in the fields of a file.
fn fields(path: &Path) -> Vec<String> {
    let mut command = Command::new("tshark");
    command.args(["-n", "-T", "fields", "-E", "separator=|"]);
    for field in [
        "frame.comment",
        "frame.interface_name",
        "frame.time_epoch",
        "frame.len",
        "frame.cap_len",
        "arp.dst.proto_ipv4",
    ] {
        command.args(["-e", field]);
    }
    let output = command.arg("-r").arg(path).output();
    let output = output.expect("tshark is needed: apt-get install tshark");
    assert!(output.status.success(), "{output:?}");
    out(&output).lines().map(str::to_owned).collect()
}

#[test]
fn a_capture_opens_in_wireshark_with_class_and_verdict_in_its_comments() {
    let stub = capturing();
    let path = stub.folder.path().join("vm1.pcapng");
    let args = [
        "capture",
        "vm1",
        "--class",
        "voice",
        "--direction",
        "from-guest",
        "--frames",
        "2",
        "-w",
    ];
    let output = stub.command(&args).arg(&path).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    assert_eq!(err(&output), "frames captured: 2, missed: 3\n");
    let expected = [
        "from-guest, class `voice`, sent|vm1|1700000000.123456789|60|42|10.0.0.2",
        "to-guest, class none of its own, no-room|vm1|1700000000.123456789|60|42|10.0.0.2",
    ];
    assert_eq!(fields(&path), expected);
    assert_eq!(
        stub.requests(),
        [Request::Capture {
            guest: "vm1".to_owned(),
            class: Some("voice".to_owned()),
            direction: Some(Direction::FromGuest),
            snap: 65_550,
            frames: 2,
        }]
    );
    let piped = stub.run(&["capture", "vm1", "-w", "-"]);
    std::fs::write(&path, piped.stdout).unwrap();
    assert_eq!(fields(&path), expected);
}

#[test]
fn without_a_file_every_frame_is_told_in_words() {
    let output = capturing().run(&["capture", "vm1"]);
    let text = out(&output);
    assert_eq!(
        text.split_whitespace().collect::<Vec<_>>().join(" "),
        "0.000000s from-guest, class `voice`, sent, 60 bytes: 52:54:00:12:34:56 > ff:ff:ff:ff:ff:ff, \
         ARP who-has 10.0.0.2 tell 10.0.0.1 \
         0.000000s to-guest, class none of its own, no-room, 60 bytes: 52:54:00:12:34:56 > \
         ff:ff:ff:ff:ff:ff, ARP who-has 10.0.0.2 tell 10.0.0.1"
    );
    assert!(text.lines().all(|line| line.len() <= 80), "{text}");
}

#[test]
fn a_capture_that_is_refused_or_has_no_daemon_leaves_no_file() {
    let stub = Stub::start(|_| vec![refusal("vm1 is captured already")]);
    let path = stub.folder.path().join("x.pcapng");
    let output = stub
        .command(&["capture", "vm1", "-w"])
        .arg(&path)
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(!path.exists());
}

#[test]
fn a_capture_ends_with_its_time_and_with_a_signal() {
    let stub = Stub::start(|_| vec![ok(json!({})), captured(Direction::FromGuest, None, "sent")]);
    let output = stub.run(&["capture", "vm1", "--seconds", "1"]);
    assert_eq!(err(&output), "frames captured: 1, missed: 0\n");

    let mut command = stub.command(&["capture", "vm1"]);
    let command = command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert!(lines.next().unwrap().unwrap().starts_with("0.000000s"));
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{output:?}");
    assert_eq!(err(&output), "frames captured: 1, missed: 0\n");
}

#[test]
fn events_are_told_one_by_one() {
    let events = [
        Event::Session {
            guest: "vm1".to_owned(),
            connected: true,
            reason: None,
        },
        Event::Session {
            guest: "vm1".to_owned(),
            connected: false,
            reason: Some("it closed its socket".to_owned()),
        },
        Event::Paused {
            guest: "vm1".to_owned(),
            paused: true,
        },
        Event::Link {
            uplink: "lan".to_owned(),
            state: "down".to_owned(),
        },
        Event::Applied {
            generation: 5,
            differences: vec![Difference::Added {
                guest: "vm2".to_owned(),
            }],
        },
        Event::Lost { events: 4 },
    ];
    let sent: Vec<_> = events.iter().map(event).collect();
    let stub = Stub::start(move |_| {
        let mut answers = vec![ok(json!({}))];
        answers.extend(sent.clone());
        answers
    });
    let read = |args: &[&str], count: usize| {
        let mut child = stub.command(args).stdout(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let lines: Vec<_> = lines.take(count).map(Result::unwrap).collect();
        child.kill().unwrap();
        child.wait().unwrap();
        lines
    };
    let lines = read(&["events", "--json"], events.len());
    let told: Vec<Event> = lines
        .iter()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(told, events);
    let lines = read(&["events"], events.len() + 1);
    let without_time = |line: &String| {
        line.split_once("Z ")
            .map_or(line.as_str(), |it| it.1)
            .to_owned()
    };
    assert_eq!(
        lines.iter().map(without_time).collect::<Vec<_>>(),
        [
            "guest vm1 is connected",
            "guest vm1 has gone: it closed its socket",
            "guest vm1 is paused",
            "uplink lan is down",
            "generation 5 is served",
            "+ guest vm2",
            "4 events were lost: they were not taken in time",
        ]
    );
}

#[test]
fn a_frame_in_words_is_explained_step_by_step() {
    let stub = Stub::start(|request| match request {
        Request::Explain { .. } => vec![ok(Explanation {
            guest: "vm1".to_owned(),
            direction: Direction::FromGuest,
            steps: vec![
                "it is from the guest's own address".to_owned(),
                "rule 1 matches: dscp EF; class voice".to_owned(),
            ],
            class: Some("voice".to_owned()),
            to: Some("uplink".to_owned()),
            drop: None,
        })],
        _ => vec![ok(report(vec![port("vm1")], None))],
    });
    let output = stub.run(&[
        "explain",
        "vm1",
        "udp 192.0.2.1:53 > 198.18.0.1:1234 dscp EF",
    ]);
    assert!(output.status.success(), "{output:?}");
    assert_eq!(
        out(&output),
        "\
from-guest of vm1: 42 bytes, 52:54:00:12:34:56 > 02:00:00:00:00:01, IPv4
  192.0.2.1:53 > 198.18.0.1:1234 dscp EF, UDP
  1. it is from the guest's own address
  2. rule 1 matches: dscp EF; class voice
class: voice
goes to: uplink
"
    );
    let requests = stub.requests();
    let Some(Request::Explain { frame, .. }) = requests.last() else {
        panic!("{requests:?}");
    };
    let frame = BASE64_STANDARD.decode(frame).unwrap();
    assert_eq!(&frame[6..12], [0x52, 0x54, 0, 0x12, 0x34, 0x56]);
}

#[test]
fn words_that_are_no_frame_end_with_two_before_a_daemon_is_asked() {
    let stub = Stub::says(json!({}));
    let output = stub.run(&["explain", "vm1", "upd", "dst", "192.0.2.1"]);
    assert_eq!(output.status.code(), Some(2));
    let sentence = "netqosctl: `upd` is not understood: did you mean `udp`?\n";
    assert_eq!(err(&output), sentence);
    assert!(stub.requests().is_empty());
}

#[test]
fn completions_and_manual_pages_name_every_command() {
    let stub = Stub::says(json!({}));
    for shell in ["bash", "zsh", "fish"] {
        let script = out(&stub.run(&["completions", shell]));
        assert!(
            script.contains("simulate") && script.contains("dry-run"),
            "{shell}"
        );
    }
    let page = out(&stub.run(&["man"]));
    assert!(page.contains(".TH netqosctl 1") && page.contains("no daemon can be reached"));
    let folder = stub.folder.path().join("man1");
    let output = stub.command(&["man"]).arg(&folder).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    for page in ["netqosctl", "netqosctl-show", "netqosctl-guest-add"] {
        let text = std::fs::read_to_string(folder.join(format!("{page}.1"))).unwrap();
        assert!(text.contains(".SH SYNOPSIS"), "{page}");
    }
    assert!(!folder.join("netqosctl-help.1").exists());
}
