//! What is looked at: reports, rings, trees, metrics, guests.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Command, Stdio};

use netqos::control::answer::{Metrics, Rings, Trees};
use netqos::control::{Report, Request, RingReport};
use serde_json::Value;

use crate::stub::{GENERATION, Stub, class, err, ok, out, port, refusal, report};

fn schema() -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("share/netqos-report.schema.json");
    serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap()
}

#[test]
fn guests_and_classes_are_shown_as_tc_shows_them() {
    let classes = vec![class("vm1", None, true), class("vm1", Some("voice"), false)];
    let stub = Stub::says(report(vec![port("vm1")], Some(classes)));
    let output = stub.run(&["show", "vm1", "--classes"]);
    assert!(output.status.success(), "{output:?}");
    assert_eq!(
        stub.requests(),
        [Request::Report {
            guests: vec!["vm1".to_owned()],
            classes: true
        }]
    );
    assert_eq!(
        out(&output),
        "\
guest vm1 uplink lan mac 52:54:00:12:34:56 connected
 sessions 3 kicks 17 turns 23 broken rings 0
 from-guest rate 100Mbit ceil 500Mbit pps 50k weight 3 prio 1
  Sent 4000000 bytes 3000 pkt (dropped 3, overlimits 12, marked 5)
  backlog 7p delay p50 <50us p99 <10ms throttled 1.5s
  drops: no-room 2, source-mac 1
 to-guest rate none ceil none prio 0
  Sent 4000000 bytes 3000 pkt (dropped 3, overlimits 12, marked 5)
  backlog 7p delay p50 <50us p99 <10ms throttled 1.5s
  drops: no-room 2, source-mac 1
 class vm1 from-guest local rate 2Mbit ceil none prio 0 throttled
  Sent 40000 bytes 30 pkt (dropped 4, overlimits 0, marked 0)
  backlog 0p delay p50 - p99 - throttled 0ns
 class vm1/voice from-guest rate 2Mbit ceil none prio 0 throttled
  Sent 40000 bytes 30 pkt (dropped 4, overlimits 0, marked 0)
  backlog 0p delay p50 - p99 - throttled 0ns
"
    );
}

#[test]
fn nothing_is_wider_than_a_terminal_whatever_guests_are_called() {
    let name = "n".repeat(150);
    let mut wide = port(&name);
    wide.from_guest.bytes = u64::MAX;
    wide.from_guest.segments = u64::MAX;
    wide.from_guest.throttled = u64::MAX;
    wide.from_guest.drops = (0..20).map(|n| (format!("reason-{n}"), u64::MAX)).collect();
    let classes = vec![class(&name, Some("c\u{1b}[2J"), true)];
    let stub = Stub::says(report(vec![wide], Some(classes)));
    for args in [&["show", "--classes"][..], &["guest", "list"]] {
        let text = out(&stub.run(args));
        assert!(text.lines().count() > 1);
        for line in text.lines() {
            assert!(line.chars().count() <= 80, "{line}");
            assert!(!line.contains('\u{1b}'), "{line:?}");
        }
    }
}

#[test]
fn json_is_the_report_and_fits_its_published_schema() {
    let classes = vec![class("vm1", None, true), class("vm1", Some("voice"), false)];
    let sent = report(vec![port("vm1")], Some(classes));
    let stub = Stub::says(&sent);
    let output = stub.run(&["show", "--classes", "--json"]);
    let read: Report = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(read, sent);
    let validator = jsonschema::validator_for(&schema()).unwrap();
    let mut value: Value = serde_json::from_slice(&output.stdout).unwrap();
    if let Err(error) = validator.validate(&value) {
        panic!("{error}");
    }
    value["ports"][0]["from_guest"]["bytes"] = "many".into();
    assert!(!validator.is_valid(&value));
}

#[test]
fn the_published_schema_is_the_one_that_is_printed() {
    let output = Stub::says(()).run(&["show", "--schema"]);
    let printed: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(
        printed == schema(),
        "store what `netqosctl show --schema` prints as share/netqos-report.schema.json"
    );
}

#[test]
fn watching_tells_rates_and_ends_when_nobody_reads() {
    let first = report(vec![port("vm1")], None);
    let mut later = first.clone();
    later.time_nanos += 2_000_000_000;
    later.ports[0].from_guest.wire_bytes += 25_000_000;
    later.ports[0].from_guest.segments += 20_000;
    let answers = std::sync::Mutex::new(vec![later, first]);
    let stub = Stub::start(move |_| {
        let mut answers = answers.lock().unwrap();
        match answers.len() {
            1 => vec![ok(&answers[0])],
            _ => vec![ok(answers.pop().unwrap())],
        }
    });
    let mut command = stub.command(&["show", "--watch", "1"]);
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let rate = lines.find_map(|line| {
        line.unwrap()
            .split_once(" rate 100M")
            .map(|it| it.1.to_owned())
    });
    // The limits' rate comes first, and is that of the guest.
    assert_eq!(
        rate.as_deref(),
        Some("bit ceil 500Mbit pps 50k weight 3 prio 1")
    );
    let measured = lines.find(|line| line.as_ref().unwrap().contains("rate 100Mbit 10kpps"));
    assert!(measured.is_some());
    drop(lines);
    assert!(child.wait().unwrap().success());
}

#[test]
fn the_daemons_own_sentence_says_what_is_wrong() {
    let stub = Stub::start(|_| vec![refusal("there is no guest `vm2`: did you mean `vm1`?")]);
    let output = stub.run(&["show", "vm2"]);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(
        err(&output),
        "netqosctl: there is no guest `vm2`: did you mean `vm1`?\n"
    );
    assert_eq!(out(&output), "");
}

#[test]
fn without_a_daemon_the_exit_code_is_four_and_the_socket_named() {
    let stub = Stub::says(());
    let output = stub.run(&["--control", "/nowhere/control.sock", "show"]);
    assert_eq!(output.status.code(), Some(4));
    let error = err(&output);
    assert!(
        error.starts_with("netqosctl: /nowhere/control.sock: "),
        "{error}"
    );
}

#[test]
fn a_reader_that_has_seen_enough_is_no_failure() {
    let ports = (0..5000).map(|n| port(&format!("vm{n}"))).collect();
    let stub = Stub::says(report(ports, None));
    let mut command = stub.command(&["show"]);
    let mut child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut first = [0; 10];
    let mut stdout = child.stdout.take().unwrap();
    stdout.read_exact(&mut first).unwrap();
    drop(stdout);
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{output:?}");
    assert_eq!(err(&output), "");
}

#[test]
fn rings_are_a_table() {
    let rings = Rings {
        guest: "vm1".to_owned(),
        rings: vec![
            RingReport {
                ring: 0,
                state: "running".to_owned(),
                size: 256,
                avail: 65535,
                used: 65000,
                next: 65001,
                waiting: 534,
                event_idx: true,
                used_event: Some(65100),
                avail_event: Some(3),
                ..RingReport::default()
            },
            RingReport {
                ring: 1,
                state: "disabled".to_owned(),
                size: 32768,
                no_interrupt: true,
                ..RingReport::default()
            },
        ],
    };
    let output = Stub::says(rings).run(&["ring", "vm1"]);
    let text = out(&output);
    let lines: Vec<_> = text.lines().take(3).collect();
    assert_eq!(
        lines,
        [
            "ring direction  state      size  avail   used   next waiting call at kick at",
            "0    to-guest   running     256  65535  65000  65001     534   65100       3",
            "1    from-guest disabled  32768      0      0      0       0   never     any",
        ]
    );
    assert!(text.lines().all(|line| line.len() <= 80), "{text}");
}

#[test]
fn trees_and_metrics_are_printed_as_they_are() {
    let trees = Trees {
        text: "lan\n  vm1 \u{1b}[31mred\n".to_owned(),
        generation: GENERATION,
    };
    let output = Stub::says(trees).run(&["trees"]);
    assert_eq!(out(&output), "lan\n  vm1 ?[31mred\ngeneration 41\n");
    let text = "# TYPE netqos_up gauge\nnetqos_up 1\n# EOF\n".to_owned();
    let output = Stub::says(Metrics { text: text.clone() }).run(&["metrics"]);
    assert_eq!(out(&output), text);
}

#[test]
fn guests_are_listed_with_what_they_are_doing() {
    let mut paused = port("vm2");
    paused.paused = true;
    paused.mac = None;
    let stub = Stub::says(report(vec![port("vm1"), paused], None));
    assert_eq!(
        out(&stub.run(&["guest", "list"])),
        "\
guest                uplink      state     mac                from max   to max
vm1                  lan         connected 52:54:00:12:34:56      500M        -
vm2                  lan         paused    any                    500M        -
"
    );
}

#[test]
fn a_wrong_command_line_ends_with_two() {
    let binary = env!("CARGO_BIN_EXE_netqosctl");
    for (args, says) in [
        (&["shwo"][..], "show"),
        (&["show", "--watch", "vm1"], "names of guests come before"),
        (&["set", "vm1", "upwards", "ceil=1gbit"], "from-guest"),
        (
            &["set", "vm1", "both", "cail=1gbit"],
            "did you mean `ceil`?",
        ),
        (&["guest", "add", "vm1", "--mac", "1"], "hexadecimal"),
    ] {
        let output = Command::new(binary).args(args).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{args:?}");
        assert!(err(&output).contains(says), "{args:?}: {}", err(&output));
    }
}

#[test]
fn a_live_screen_needs_a_terminal() {
    let stub = Stub::says(());
    let output = stub.run(&["top"]);
    assert_eq!(output.status.code(), Some(2));
    let sentence =
        "netqosctl: a live screen needs a terminal: use show, or show --watch, instead\n";
    assert_eq!(err(&output), sentence);
}
