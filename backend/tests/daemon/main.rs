//! The daemon with a file of several guests: sessions side by side, live changes, the control socket, and
//! a clean end.
#![allow(clippy::unwrap_used)] // in helpers, too, a panic is a failed test

mod log;
mod notify;
#[path = "../support/mod.rs"]
mod support;

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::net::UnixStream;
use std::time::Instant;

use netqos::control;
use rustix::process::Signal;
use serde_json::Value;
use tempfile::TempDir;

use support::{Daemon, FrontEnd, SOON, guests, in_namespace, tap_exists, wait_until};

/// VIRTIO_NET_F_MQ.
const MQ: u64 = 1 << 22;

#[test]
fn guests_come_and_go_beside_a_session_that_goes_on() {
    in_namespace(|| {
        let mut daemon = Daemon::start(&guests(&[("a", ""), ("b", "")]));
        let (mut a, mut b) = (daemon.connect("a.sock"), daemon.connect("b.sock"));
        assert!(a.features().is_some() && b.features().is_some());
        assert!(daemon.connect("a.sock").has_ended(), "one is enough");
        daemon.wait_for("port=a session=refused");

        let applied = daemon.apply(&guests(&[("a", ""), ("c", "")]));
        assert_eq!(applied, [1, 1, 0]);
        daemon.wait_for("event=applied guests=+1-1~0 generation=2");
        assert!(b.has_ended());
        assert!(!daemon.path("b.sock").exists() && !tap_exists("b"));
        assert!(daemon.connect("c.sock").features().is_some());
        assert!(a.features().is_some(), "nothing was asked of its session");

        // Signals do the same, and `b` gets the lowest number again.
        fs::write(daemon.path("netqos.toml"), guests(&[("b", ""), ("a", "")])).unwrap();
        daemon.signal(Signal::HUP);
        daemon.wait_for("event=applied guests=+1-1~0 generation=3");
        assert!(daemon.connect("b.sock").features().is_some());
        assert!(a.features().is_some());
        daemon.signal(Signal::USR1);
        daemon.wait_for("port=b direction=to-guest frames=0");

        let (status, log) = daemon.end();
        assert_eq!(status.code(), Some(0), "{log}");
        assert!(!tap_exists("a") && !tap_exists("b") && !tap_exists("c"));
    });
}

#[test]
fn a_session_ends_only_when_what_it_negotiated_changes() {
    in_namespace(|| {
        let mut daemon = Daemon::start(&guests(&[("a", ""), ("b", "")]));
        let (mut a, mut b) = (daemon.connect("a.sock"), daemon.connect("b.sock"));
        assert_eq!(a.features().unwrap() & MQ, 0);
        assert!(b.features().is_some());

        let limited = daemon.apply(&guests(&[("a", "limit = \"10mbit\""), ("b", "")]));
        assert_eq!(limited, [0, 0, 1]);
        let moved = "socket = \"elsewhere.sock\"\nlimit = \"10mbit\"";
        assert_eq!(daemon.apply(&guests(&[("a", moved), ("b", "")])), [0, 0, 1]);
        assert!(a.features().is_some(), "neither touches the session");
        assert!(!daemon.path("a.sock").exists());
        assert!(daemon.connect("elsewhere.sock").has_ended(), "it has one");

        let wide = "socket = \"elsewhere.sock\"\nqueues = 2";
        assert_eq!(daemon.apply(&guests(&[("a", wide), ("b", "")])), [0, 0, 1]);
        daemon.wait_for("port=a session=ended: its number of queue pairs has changed");
        assert!(a.has_ended());
        let mut again = daemon.connect("elsewhere.sock");
        assert_ne!(again.features().unwrap() & MQ, 0);
        assert!(b.features().is_some());
        assert_eq!(daemon.end().0.code(), Some(0));
        assert!(!tap_exists("a"));
    });
}

#[test]
fn sockets_change_hands_and_rights_without_being_closed() {
    in_namespace(|| {
        use std::os::unix::fs::{MetadataExt, PermissionsExt};
        let mut daemon = Daemon::start(&guests(&[("a", ""), ("b", "")]));
        let inode = |name: &str| fs::metadata(daemon.path(name)).unwrap().ino();
        let before = (inode("a.sock"), inode("b.sock"));
        // They swap sockets, while one is in use.
        let mut a = daemon.connect("a.sock");
        assert!(a.features().is_some());
        let swapped = [
            ("a", "socket = \"b.sock\""),
            ("b", "socket = \"a.sock\"\nqueues = 2"),
        ];
        assert_eq!(daemon.apply(&guests(&swapped)), [0, 0, 2]);
        let inode = |name: &str| fs::metadata(daemon.path(name)).unwrap().ino();
        assert_eq!((inode("a.sock"), inode("b.sock")), before);
        assert!(a.features().is_some());
        assert_ne!(
            daemon.connect("a.sock").features().unwrap() & MQ,
            0,
            "b's now"
        );
        // A guest under another name keeps the socket that front-ends know, and the tap of the old one.
        let renamed = guests(&[("b", "socket = \"a.sock\"\nqueues = 2")])
            + "[uplink.a]\nkind = \"tap:a\"\n[guest.z]\nuplink = \"a\"\nsocket = \"b.sock\"\nsocket_mode = \"0600\"\n";
        assert_eq!(daemon.apply(&renamed), [1, 1, 0]);
        assert!(a.has_ended());
        assert!(daemon.connect("b.sock").features().is_some());
        let file = fs::metadata(daemon.path("b.sock")).unwrap();
        assert_eq!(
            (file.ino(), file.permissions().mode() & 0o777),
            (before.1, 0o600)
        );
        assert_eq!(daemon.end().0.code(), Some(0));
    });
}

#[test]
fn a_file_that_cannot_be_served_changes_nothing() {
    in_namespace(|| {
        let served = [("a", ""), ("b", "")];
        let mut daemon = Daemon::start(&guests(&served));
        let mut a = daemon.connect("a.sock");
        assert!(a.features().is_some());
        daemon.refuses("nonsense = 1", &["nonsense", "netqos.toml"]);
        // The first new guest could be served and the second not: neither is, and `b` stays.
        let second = "socket = \"nowhere/d.sock\"";
        daemon.refuses(
            &guests(&[("a", ""), ("c", ""), ("d", second)]),
            &["nowhere"],
        );
        assert!(!daemon.path("c.sock").exists());
        let access = "socket_mode = \"0600\"";
        daemon.refuses(
            &guests(&[("a", access), ("b", ""), ("lo", "")]),
            &["lo", "not a tap"],
        );
        use std::os::unix::fs::PermissionsExt;
        let mode = fs::metadata(daemon.path("a.sock"))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o660);
        let other = UnixStream::connect(daemon.path("b.sock")).unwrap();
        assert!(FrontEnd::new(other).features().is_some());
        assert!(a.features().is_some());
        assert_eq!(daemon.apply(&guests(&[("a", ""), ("c", "")])), [1, 1, 0]);
        assert_eq!(daemon.end().0.code(), Some(0));
    });
}

#[test]
fn the_control_socket_answers_and_bounds_its_callers() {
    in_namespace(|| {
        let daemon = Daemon::start(&guests(&[("a", "")]));
        let pong = daemon.ask(r#"{"do":"ping"}"#);
        assert_eq!(
            (&pong["ok"], &pong["generation"]),
            (&true.into(), &1.into())
        );
        assert!(daemon.ask("hello")["error"].is_string());
        let _a = daemon.connect("a.sock");
        wait_until("the session", || {
            let report = daemon.ask(r#"{"do":"report"}"#);
            let port = &report["ports"][0];
            assert_eq!((&report["ok"], &port["port"]), (&true.into(), &"a".into()));
            assert_eq!(port["from_guest"]["frames"], 0);
            port["session"] == true
        });
        // Those who say nothing have their place for five seconds, and others go on.
        let call = || UnixStream::connect(daemon.path("control.sock")).unwrap();
        let silent: Vec<_> = (0..32).map(|_| call()).collect();
        let mut line = String::new();
        BufReader::new(call()).read_line(&mut line).unwrap();
        assert!(line.contains("too many callers"), "{line}");
        assert!(
            daemon.connect("a.sock").has_ended(),
            "sessions have their turn meanwhile"
        );
        let start = Instant::now();
        for mut caller in silent {
            assert_eq!(caller.read(&mut [0]).unwrap(), 0);
        }
        assert!(start.elapsed() < 2 * SOON);
        assert_eq!(daemon.ask(r#"{"do":"ping"}"#)["ok"], true);
        assert_eq!(daemon.end().0.code(), Some(0));
    });
}

#[test]
fn a_report_tells_of_the_guests_asked_for_and_of_their_classes() {
    let classes = r#"mac = "52:54:00:00:00:01"
        [guest.vm1.from_guest]
        rate = "1mbit"
        ceil = "50mbit"
        default = "rest"
        class = [{ name = "work", weight = 3 }, { name = "rest", parent = "work", prio = 2 },
            { name = "voice", rate = "1mbit", pps = "500" }]"#;
    in_namespace(move || {
        let daemon = Daemon::start(&guests(&[("vm1", classes), ("a", "")]));
        for _ in 0..2 {
            let mut front_end = daemon.connect("vm1.sock");
            assert!(front_end.features().is_some());
            drop(front_end);
            wait_until("the end of the session", || {
                daemon.ask(r#"{"do":"report","guests":["vm1"]}"#)["ports"][0]["session"] == false
            });
        }
        let asked = |request: &str| -> control::Report {
            let answer = daemon.ask(request);
            assert_eq!(answer["ok"], true, "{answer}");
            serde_json::from_value(answer).unwrap()
        };
        let all = asked(r#"{"do":"report"}"#);
        let names: Vec<_> = all.ports.iter().map(|port| port.port.as_str()).collect();
        assert_eq!((names, &all.classes), (vec!["a", "vm1"], &None));
        let kinds = all.uplinks.iter().map(|uplink| uplink.kind.as_str());
        assert_eq!(kinds.collect::<Vec<_>>(), ["tap:a", "tap:vm1"]);
        assert!(all.uplinks.iter().all(|up| up.present && up.guests == 1));
        assert!((1..1 << 40).contains(&all.uptime_nanos) && all.time_nanos > all.uptime_nanos);

        let one = asked(r#"{"do":"report","guests":["vm1"],"classes":true}"#);
        let [port] = &one.ports[..] else {
            panic!("{one:?}")
        };
        assert_eq!((port.sessions, &*port.uplink), (2, "vm1"));
        assert_eq!(port.mac.as_deref(), Some("52:54:00:00:00:01"));
        assert_eq!(port.from_guest.limits.ceil, Some(50_000_000));
        let classes = one.classes.unwrap();
        let told: Vec<_> = classes
            .iter()
            .filter(|class| class.direction == control::Direction::FromGuest && !class.local)
            .map(|class| (class.class.as_deref(), class.parent.as_deref()))
            .collect();
        let expected = [
            (None, None),
            (Some("work"), None),
            (Some("rest"), Some("work")),
            (Some("voice"), None),
        ];
        assert_eq!(told, expected);
        assert_eq!(classes.len(), 2 * 4 + 2);
        assert!(classes.iter().all(|class| class.state == "idle"));
        let voice = &classes[6].limits;
        assert_eq!((voice.rate, voice.pps), (Some(1_000_000), Some(500)));
        assert_eq!(
            (classes[2].limits.weight, classes[4].limits.prio),
            (Some(3), 2)
        );

        let unknown = daemon.ask(r#"{"do":"report","guests":["vm2"]}"#);
        let error = unknown["error"].as_str().unwrap();
        assert_eq!(error, "there is no guest `vm2`: did you mean `vm1`?");
    });
}
