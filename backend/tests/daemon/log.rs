//! What the daemon writes into its log.

use std::process::Command;

use super::*;

/// The lines of a log that is written as JSON.
fn objects(log: &str) -> Vec<Value> {
    let object = |line| serde_json::from_str(line).unwrap_or_else(|_| panic!("not JSON: {line}"));
    log.lines().map(object).collect()
}

#[test]
fn every_line_can_be_an_object_with_the_pairs_of_the_text() {
    in_namespace(|| {
        let json = ["--log-format", "json"];
        let daemon = Daemon::start_with(&guests(&[("a", "")]), &json, &[]);
        drop(daemon.connect("a.sock"));
        daemon.wait_for("\"session\":\"closed\"");
        daemon.signal(Signal::HUP);
        daemon.wait_for("\"applied\"");
        daemon.signal(Signal::USR1);
        daemon.wait_for("\"broken_rings\"");
        fs::write(daemon.path("netqos.toml"), "guests = 1\n").unwrap();
        daemon.signal(Signal::HUP);
        daemon.wait_for("\"reload-refused\"");
        fs::write(daemon.path("netqos.toml"), "").unwrap();
        let (status, log) = daemon.end();
        assert_eq!(status.code(), Some(0), "{log}");

        let lines = objects(&log);
        for line in &lines {
            for key in ["time", "level", "target", "msg"] {
                assert!(line[key].is_string(), "{key} of {line}");
            }
            let time = line["time"].as_str().unwrap();
            assert!(time.contains('T') && time.ends_with('Z'), "{line}");
        }
        let with = |key: &str, value: &str| {
            let mut found = lines.iter().filter(|line| line[key] == value);
            found
                .next()
                .unwrap_or_else(|| panic!("{key}={value} is not in {log}"))
        };
        assert_eq!(with("session", "open")["port"], "a");
        let closed = with("session", "closed");
        assert_eq!(closed["port"], "a");
        assert_ne!(closed["msg"], "", "it says why");
        assert_eq!(with("event", "applied")["generation"], 1);
        assert_eq!(with("event", "applied")["guests"], "+0-0~0");
        let refused = with("event", "reload-refused");
        assert_eq!(refused["level"], "ERROR");
        assert!(refused["msg"].as_str().unwrap().contains("guests"));
        assert_eq!(with("direction", "from-guest")["frames"], 0);
        assert_eq!(with("state", "ending")["port"], "a");
    });
}

#[test]
fn why_there_is_no_service_is_an_object_too() {
    in_namespace(|| {
        let folder = tempfile::tempdir().unwrap();
        let file = "[uplink.u]\nkind = \"packet:absent\"\n\
                    [guest.a]\nuplink = \"u\"\nsocket = \"a.sock\"\n";
        fs::write(folder.path().join("netqos.toml"), file).unwrap();
        let output = Command::new(env!("CARGO_BIN_EXE_netqos-vhost"))
            .args(["--config", "netqos.toml", "--log-format", "json"])
            .current_dir(&folder)
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(1));
        let lines = objects(std::str::from_utf8(&output.stderr).unwrap());
        let last = lines.last().unwrap();
        assert_eq!(
            (&last["event"], &last["level"]),
            (&"failed".into(), &"ERROR".into())
        );
        assert!(last["msg"].as_str().unwrap().contains("absent"), "{last}");
    });
}

#[test]
fn a_front_end_cannot_flood_the_log_and_an_operator_is_told_all() {
    const CONNECTIONS: usize = 100;
    in_namespace(|| {
        let daemon = Daemon::start(&guests(&[("a", ""), ("b", "")]));
        for _ in 0..CONNECTIONS {
            // It may be refused while the one before is not gone yet.
            let _ = daemon.connect("a.sock").features();
        }
        assert!(daemon.connect("b.sock").features().is_some());
        daemon.wait_for("port=b session=closed");
        for reports in 1..=10 {
            daemon.signal(Signal::USR1);
            wait_until("a report", || {
                daemon.log().matches("port=a kicks=").count() == reports
            });
        }
        let log = daemon.end().1;
        for session in ["open", "closed"] {
            let lines = log.matches(&format!("port=a session={session}")).count();
            // On a slow machine, more than a burst has its time.
            assert!((5..CONNECTIONS / 4).contains(&lines), "{session}: {log}");
        }
    });
}
