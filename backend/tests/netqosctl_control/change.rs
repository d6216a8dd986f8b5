//! What is changed: settings, files, guests.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::process::Stdio;

use netqos::control::{Applied, Conflict, Difference, Direction, Edit, Refusal, Request};
use serde_json::json;

use crate::stub::{GENERATION, Stub, err, ok, out, unchanged};

fn set(direction: impl Into<Option<Direction>>, dry_run: bool, generation: u64) -> Request {
    Request::Set {
        guest: "vm1".to_owned(),
        class: Some("voice".to_owned()),
        direction: direction.into(),
        settings: BTreeMap::from([
            ("ceil".to_owned(), Some("10mbit".to_owned())),
            ("weight".to_owned(), None),
        ]),
        dry_run,
        generation: Some(generation),
    }
}

fn edited(generation: u64) -> Applied {
    Applied {
        generation,
        changed: 1,
        differences: vec![Difference::Changed {
            guest: "vm1".to_owned(),
            edits: vec![Edit {
                setting: "from-guest voice ceil".to_owned(),
                from: Some("1gbit".to_owned()),
                to: Some("10mbit".to_owned()),
            }],
            ends_session: None,
        }],
        ..Applied::default()
    }
}

#[test]
fn a_setting_is_for_the_generation_that_runs_and_its_difference_is_shown() {
    let stub = Stub::says(edited(42));
    let output = stub.run(&[
        "set",
        "vm1/voice",
        "from-guest",
        "ceil=10mbit",
        "weight=none",
    ]);
    assert!(output.status.success(), "{output:?}");
    assert_eq!(
        stub.requests(),
        [set(Direction::FromGuest, false, GENERATION)]
    );
    assert_eq!(
        out(&output),
        "~ guest vm1\n    ~ from-guest voice ceil 1gbit -> 10mbit\n\
         Done: guests 1 changed. Generation 42 runs.\n"
    );
}

#[test]
fn both_directions_are_one_change() {
    let stub = Stub::says(edited(GENERATION + 1));
    let output = stub.run(&["set", "vm1:voice", "both", "ceil=10mbit", "weight="]);
    assert!(output.status.success(), "{output:?}");
    assert_eq!(stub.requests(), [set(None, false, GENERATION)]);
}

#[test]
fn a_rehearsal_changes_nothing_and_names_the_generation() {
    let stub = Stub::start(|_| {
        vec![ok(Applied {
            dry_run: true,
            ..edited(GENERATION)
        })]
    });
    let args = [
        "set",
        "vm1/voice",
        "from-guest",
        "ceil=10mbit",
        "weight=none",
        "--dry-run",
    ];
    let output = stub.run(&args);
    assert_eq!(
        stub.requests(),
        [set(Direction::FromGuest, true, GENERATION)]
    );
    assert!(out(&output).contains("nothing is changed"), "{output:?}");
    assert!(out(&output).contains("--generation 41"), "{output:?}");
}

#[test]
fn who_was_faster_is_told_with_exit_code_three() {
    let conflict = |differences| Refusal {
        error: "generation 41 is not the running one any more".to_owned(),
        conflict: Some(Conflict {
            generation: 43,
            differences,
        }),
    };
    let stub = Stub::start(move |_| {
        let refusal = conflict(Some(edited(43).differences));
        vec![serde_json::to_value(refusal).unwrap()]
    });
    let file = stub.folder.path().join("new.toml");
    fs::write(&file, "control = \"x\"\n").unwrap();
    let output = stub.run(&["apply", file.to_str().unwrap(), "--generation", "41"]);
    assert_eq!(output.status.code(), Some(3));
    assert_eq!(
        err(&output),
        "netqosctl: generation 41 is not the running one any more\n\
         What others have changed since:\n~ guest vm1\n    \
         ~ from-guest voice ceil 1gbit -> 10mbit\nThe running generation is 43.\n"
    );
    assert_eq!(out(&output), "");
}

#[test]
fn a_file_is_sent_whole_with_its_absolute_path() {
    let stub = Stub::says(unchanged());
    fs::write(stub.folder.path().join("new.toml"), "poll_us = 3\n").unwrap();
    let mut command = stub.command(&["apply", "new.toml", "--dry-run"]);
    let output = command.current_dir(stub.folder.path()).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let path = stub.folder.path().join("new.toml");
    assert_eq!(
        stub.requests(),
        [Request::Apply {
            text: "poll_us = 3\n".to_owned(),
            path: path.to_str().unwrap().to_owned(),
            dry_run: true,
            generation: Some(GENERATION),
        }]
    );
    let output = stub.run(&["apply", "/nowhere/new.toml"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(err(&output).contains("/nowhere/new.toml: "), "{output:?}");
}

#[test]
fn a_reload_is_asked_for_and_told() {
    let stub = Stub::says(unchanged());
    let output = stub.run(&["reload"]);
    assert_eq!(stub.requests(), [Request::Reload {}]);
    assert_eq!(out(&output), "Nothing is different. Generation 41 runs.\n");
}

#[test]
fn guests_are_added_with_keys_and_removed_without_a_generation() {
    let stub = Stub::says(Applied {
        generation: 42,
        added: 1,
        differences: vec![Difference::Added {
            guest: "vm9".to_owned(),
        }],
        ..Applied::default()
    });
    let args = [
        "guest", "add", "vm9", "--socket", "vm9.sock", "--rate", "10mbit", "--uplink", "lan",
    ];
    let output = stub.run(&args);
    let added = "+ guest vm9\nDone: guests 1 added. Generation 42 runs.\n";
    assert_eq!(out(&output), added);
    stub.run(&["guest", "del", "vm9", "--generation", "42"]);
    let requests = stub.requests();
    let Request::GuestAdd {
        guest,
        keys,
        generation: None,
    } = &requests[0]
    else {
        panic!("{requests:?}");
    };
    assert_eq!(guest, "vm9");
    let keys: toml::Table = keys.parse().unwrap();
    let expected = "socket = \"vm9.sock\"\nuplink = \"lan\"\nlimit = \"10mbit\"";
    assert_eq!(keys, expected.parse().unwrap());
    assert_eq!(
        requests[1],
        Request::GuestDel {
            guest: "vm9".to_owned(),
            generation: Some(42)
        }
    );
}

#[test]
fn guests_are_held_let_go_and_kicked_in_silence() {
    let stub = Stub::says(json!({}));
    let pause = |paused| Request::GuestPause {
        guest: "vm1".to_owned(),
        paused,
    };
    for args in [
        &["guest", "pause", "vm1"][..],
        &["guest", "resume", "vm1"],
        &["kick", "vm1"],
    ] {
        let output = stub.run(args);
        assert!(output.status.success(), "{output:?}");
        assert_eq!(out(&output), "");
    }
    let kick = Request::Kick {
        guest: "vm1".to_owned(),
    };
    assert_eq!(stub.requests(), [pause(true), pause(false), kick]);
}

#[test]
fn a_configuration_may_come_from_another_program() {
    let stub = Stub::says(unchanged());
    let mut command = stub.command(&["apply", "-"]);
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(b"poll_us = 4\n")
        .unwrap();
    assert!(child.wait().unwrap().success());
    let requests = stub.requests();
    assert!(
        matches!(&requests[..], [Request::Apply { text, .. }] if text == "poll_us = 4\n"),
        "{requests:?}"
    );
}
