//! Operators at the control socket: they change what is served without a file, learn what others did, and
//! cannot overwrite each other or hold the daemon up.
#![allow(clippy::unwrap_used)] // in helpers, too, a panic is a failed test

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;

use netqos::control::{
    Applied, Client, ClientError, Difference, Direction, Edit, Event, Refusal, Request,
};

use rustix::process::{Gid, Uid};
use rustix::thread::{set_thread_groups, set_thread_res_gid, set_thread_res_uid};

use support::{Daemon, SOON, guests, in_namespace, wait_until};

const TWO: [(&str, &str); 2] = [("a", "from_guest = { ceil = \"50mbit\" }"), ("b", "")];

fn client(daemon: &Daemon) -> Client {
    Client::connect(&daemon.path("control.sock")).unwrap()
}

fn set(guest: &str, key: &str, value: Option<&str>, generation: Option<u64>) -> Request {
    Request::Set {
        guest: guest.to_owned(),
        class: None,
        direction: Some(Direction::FromGuest),
        settings: BTreeMap::from([(key.to_owned(), value.map(str::to_owned))]),
        dry_run: false,
        generation,
    }
}

fn refused(outcome: Result<Applied, ClientError>) -> Refusal {
    match outcome {
        Err(ClientError::Refused(refusal)) => refusal,
        other => panic!("not refused: {other:?}"),
    }
}

/// The one edit of the one guest that a change came to.
fn edit(applied: &Applied) -> (&str, &Edit) {
    match &applied.differences[..] {
        [Difference::Changed { guest, edits, .. }] => match &edits[..] {
            [edit] => (guest, edit),
            _ => panic!("{edits:?}"),
        },
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_limit_is_set_live_and_the_file_is_in_force_again_after_a_reload() {
    in_namespace(|| {
        let daemon = Daemon::start(&guests(&TWO));
        let mut session = daemon.connect("a.sock");
        assert!(session.features().is_some());
        let mut client = client(&daemon);
        let applied = client
            .change(&set("a", "ceil", Some("20mbit"), Some(1)))
            .unwrap();
        assert_eq!((applied.generation, applied.changed), (2, 1));
        let (guest, edit_made) = edit(&applied);
        assert_eq!(
            (guest, edit_made.setting.as_str()),
            ("a", "from_guest ceil")
        );
        assert_eq!(edit_made.from.as_deref(), Some("50Mbit"));
        assert_eq!(edit_made.to.as_deref(), Some("20Mbit"));
        assert!(client.trees().unwrap().text.contains("ceil 20Mbit"));
        assert!(session.features().is_some(), "its session goes on");
        let again = client.change(&Request::Reload {}).unwrap();
        assert_eq!(edit(&again).1.to.as_deref(), Some("50Mbit"));
        assert_eq!(daemon.end().0.code(), Some(0));
    });
}

#[test]
fn whoever_was_slower_is_told_what_has_changed() {
    in_namespace(|| {
        let daemon = Daemon::start(&guests(&TWO));
        let (mut one, mut other) = (client(&daemon), client(&daemon));
        one.change(&set("a", "weight", Some("7"), Some(1))).unwrap();
        let refusal = refused(other.change(&set("a", "weight", Some("9"), Some(1))));
        assert!(refusal.error.contains("generation 2"), "{}", refusal.error);
        let conflict = refusal.conflict.unwrap();
        assert_eq!(conflict.generation, 2);
        let [Difference::Changed { edits, .. }] = &conflict.differences.unwrap()[..] else {
            panic!("one guest has changed");
        };
        assert_eq!(edits[0].to.as_deref(), Some("7"));
        other
            .change(&set("a", "weight", Some("9"), Some(2)))
            .unwrap();
        assert_eq!(daemon.end().0.code(), Some(0));
    });
}

#[test]
fn what_cannot_be_changes_nothing_and_is_said_with_what_was_meant() {
    in_namespace(|| {
        let daemon = Daemon::start(&guests(&[("vm1", ""), ("vm2", "")]));
        let mut client = client(&daemon);
        for (request, said) in [
            (set("vm3x", "ceil", Some("1mbit"), None), "`vm"),
            (set("vm1", "ciel", Some("1mbit"), None), "`ceil`"),
            (set("vm1", "ceil", Some("1mbot"), None), "mbit"),
            (
                Request::GuestDel {
                    guest: "vn1".to_owned(),
                    generation: None,
                },
                "`vm1`",
            ),
            (
                Request::GuestAdd {
                    guest: "new".to_owned(),
                    keys: "uplink = \"vm7\"\nsocket = \"n.sock\"".to_owned(),
                    generation: None,
                },
                "did you mean `vm",
            ),
            (
                Request::GuestAdd {
                    guest: "new".to_owned(),
                    keys: "uplink = \"vm1\"\nsocket = \"nowhere/n.sock\"".to_owned(),
                    generation: None,
                },
                "nowhere",
            ),
            (
                Request::Apply {
                    text: "nonsense = 1".to_owned(),
                    path: "proposal.toml".to_owned(),
                    dry_run: false,
                    generation: None,
                },
                "proposal.toml",
            ),
        ] {
            let why = refused(client.change(&request)).error;
            assert!(why.contains(said), "{why} should say {said}");
            assert_eq!(client.ping().unwrap().generation, 1);
        }
        assert_eq!(daemon.end().0.code(), Some(0));
    });
}

#[test]
fn guests_come_and_go_without_a_file() {
    in_namespace(|| {
        let daemon = Daemon::start_args(&guests(&TWO), &["--socket-dir", "."]);
        let mut client = client(&daemon);
        let add = Request::GuestAdd {
            guest: "c".to_owned(),
            keys: "uplink = \"a\"\nsocket = \"c.sock\"\n[from_guest]\nceil = \"5mbit\"".to_owned(),
            generation: Some(1),
        };
        assert_eq!(client.change(&add).unwrap().added, 1);
        assert!(daemon.connect("c.sock").features().is_some());
        assert!(client.trees().unwrap().text.contains("ceil 5Mbit"));
        let again = refused(client.change(&Request::GuestAdd {
            guest: "c".to_owned(),
            keys: "socket = \"d.sock\"\nuplink = \"a\"".to_owned(),
            generation: None,
        }));
        assert!(again.error.contains("is there already"), "{}", again.error);
        let del = Request::GuestDel {
            guest: "c".to_owned(),
            generation: None,
        };
        assert_eq!(client.change(&del).unwrap().removed, 1);
        assert!(!daemon.path("c.sock").exists());
        assert_eq!(daemon.end().0.code(), Some(0));
    });
}

#[test]
fn a_rehearsal_says_what_would_change_and_changes_nothing() {
    in_namespace(|| {
        let daemon = Daemon::start(&guests(&TWO));
        let mut client = client(&daemon);
        let apply = |dry_run| Request::Apply {
            text: guests(&[("a", "from_guest = { ceil = \"60mbit\" }"), ("b", "")]),
            path: "proposal.toml".to_owned(),
            dry_run,
            generation: None,
        };
        let rehearsed = client.change(&apply(true)).unwrap();
        assert!(rehearsed.dry_run);
        assert_eq!(edit(&rehearsed).1.to.as_deref(), Some("60Mbit"));
        assert_eq!(client.ping().unwrap().generation, 1);
        let applied = client.change(&apply(false)).unwrap();
        assert_eq!(applied.differences, rehearsed.differences);
        assert_eq!(applied.generation, 2);
        assert_eq!(daemon.end().0.code(), Some(0));
    });
}

#[test]
fn subscribers_are_told_of_changes_and_sessions() {
    in_namespace(|| {
        let daemon = Daemon::start(&guests(&TWO));
        let mut subscriber = client(&daemon);
        let _: serde_json::Value = subscriber.ask(&Request::Subscribe {}).unwrap();
        let mut next = || subscriber.event(Some(SOON)).unwrap().unwrap();
        client(&daemon)
            .change(&set("b", "ceil", Some("1gbit"), None))
            .unwrap();
        match next() {
            Event::Applied { generation: 2, .. } => {}
            other => panic!("{other:?}"),
        }
        let session = daemon.connect("b.sock");
        let connected = |connected| Event::Session {
            guest: "b".to_owned(),
            connected,
            reason: None,
        };
        assert_eq!(next(), connected(true));
        drop(session);
        match next() {
            Event::Session {
                connected: false,
                reason: Some(_),
                ..
            } => {}
            other => panic!("{other:?}"),
        }
        assert_eq!(daemon.end().0.code(), Some(0));
    });
}

/// Ten clients that send garbage, never read or never finish.
#[test]
fn bad_clients_are_sent_away_and_counted_and_hold_nobody_up() {
    in_namespace(|| {
        let daemon = Daemon::start(&guests(&TWO));
        let mut session = daemon.connect("a.sock");
        let connect = || UnixStream::connect(daemon.path("control.sock")).unwrap();
        let mut never_end: Vec<_> = (0..4).map(|_| connect()).collect();
        for stream in &mut never_end {
            stream.write_all(b"{\"do\":\"set\",\"guest\":\"").unwrap();
        }
        let never_read: Vec<_> = (0..3)
            .map(|_| {
                let stream = connect();
                stream.set_nonblocking(true).unwrap();
                let request = b"{\"do\":\"report\",\"classes\":true}\n".repeat(64);
                // Until nothing more fits.
                while (&stream).write(&request).is_ok() {}
                stream
            })
            .collect();
        let garbage: Vec<_> = (0..3)
            .map(|_| {
                let mut stream = connect();
                stream.set_nonblocking(true).unwrap();
                for _ in 0..64 {
                    let _ = stream.write(&[0xff; 4096]);
                }
                stream
            })
            .collect();
        let mut operator = client(&daemon);
        for round in 0..20 {
            let weight = (round + 1).to_string();
            operator
                .change(&set("a", "weight", Some(&weight), None))
                .unwrap();
            assert!(session.features().is_some());
        }
        let report = || client(&daemon).report(&[], false).unwrap().control;
        wait_until("all to be sent away", || {
            std::thread::sleep(Duration::from_millis(100));
            report().dismissed >= 10
        });
        assert!(report().requests >= 21);
        for mut stream in never_end {
            assert_eq!(stream.read(&mut [0; 16]).unwrap(), 0);
        }
        drop((never_read, garbage));
        assert!(session.features().is_some());
        assert_eq!(daemon.end().0.code(), Some(0));
    });
}

/// Runs `body` as another user, of this group and no other. Only this thread is, and it ends.
fn as_stranger<T: Send + 'static>(group: u32, body: impl FnOnce() -> T + Send + 'static) -> T {
    let thread = std::thread::spawn(move || {
        let (uid, gid) = (Uid::from_raw(STRANGER), Gid::from_raw(group));
        set_thread_groups(&[]).unwrap();
        set_thread_res_gid(gid, gid, gid).unwrap();
        set_thread_res_uid(uid, uid, uid).unwrap();
        body()
    });
    thread.join().unwrap()
}

/// A user, and a group, that have no rights here.
const STRANGER: u32 = 65_534;

#[test]
fn strangers_are_refused_with_a_sentence_and_members_of_the_group_are_not() {
    in_namespace(|| {
        let file = guests(&TWO);
        let grouped = format!("control_group = \"{STRANGER}\"\n{file}");
        let mut daemon = Daemon::start(&file);
        let everybody = fs::Permissions::from_mode(0o755);
        fs::set_permissions(daemon.path("."), everybody).unwrap();
        let path = daemon.path("control.sock");
        let ping =
            move |group, path: PathBuf| as_stranger(group, move || Client::connect(&path)?.ping());
        let why = ping(STRANGER, path.clone()).unwrap_err().to_string();
        assert!(why.contains("may you connect"), "{why}");
        // Even if somebody opens the socket's file to all.
        fs::set_permissions(&path, fs::Permissions::from_mode(0o666)).unwrap();
        let why = ping(STRANGER, path.clone()).unwrap_err().to_string();
        assert!(why.contains("control_group"), "{why}");
        assert_eq!(
            client(&daemon)
                .report(&[], false)
                .unwrap()
                .control
                .dismissed,
            1
        );
        daemon.apply(&grouped);
        let member = ping(STRANGER, path.clone());
        assert_eq!(member.unwrap().version, 1);
        let other = ping(STRANGER - 1, path).unwrap_err().to_string();
        assert!(other.contains("may you connect"), "{other}");
        assert_eq!(daemon.end().0.code(), Some(0));
    });
}
