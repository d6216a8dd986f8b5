//! What becomes of the opener when something goes wrong around it.

use std::io::{IoSlice, Write};
use std::mem::MaybeUninit;
use std::os::fd::AsFd;
use std::time::Instant;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags};
use rustix::process::{Pid, Resource, Rlimit, Signal, getrlimit, kill_process, prlimit, setrlimit};

use super::super::wire::{Answer, MAX_BYTES};
use super::*;

fn pid(opener: &mut Opener) -> Pid {
    Pid::from_child(&remote(opener).child)
}

fn is_over(opener: &Opener, patience: Duration) -> bool {
    let fd = opener.fd().unwrap();
    let mut polled = [PollFd::new(&fd, PollFlags::IN)];
    let patience = Timespec::try_from(patience).unwrap();
    poll(&mut polled, Some(&patience)).unwrap() > 0
}

/// Sends a packet as it is; what the opener makes of it.
fn say(opener: &mut Opener, packet: &[u8], fds: usize) -> Answer {
    let channel = &remote(opener).channel;
    let file = tempfile::tempfile().unwrap();
    let rights = vec![file.as_fd(); fds];
    let mut space = vec![MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(253))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if fds > 0 {
        assert!(control.push(SendAncillaryMessage::ScmRights(&rights)));
    }
    let packet = [IoSlice::new(packet)];
    rustix::net::sendmsg(channel.fd(), &packet, &mut control, SendFlags::empty()).unwrap();
    let answer = channel.receive::<Answer>(Some(Instant::now() + DEADLINE));
    answer.unwrap().body
}

#[test]
fn what_is_no_request_is_refused_and_does_no_harm() {
    in_namespace(|| {
        let place = Place::new("tap vm1");
        let mut opener = place.start();
        let deep = [b"{\"number\":1,\"body\":".as_slice(), &b"[".repeat(4000)].concat();
        let packets: [&[u8]; 10] = [
            b"",
            b"\0\xff\0",
            b"{}",
            b"null",
            br#"{"number":1,"body":"Reload","more":1}"#,
            br#"{"number":-1,"body":"Reload"}"#,
            br#"{"number":1,"body":{"Uplink":{"name":"vm1"}}}"#,
            br#"{"number":1,"body":{"Listen":{"path":[47,256],"mode":1,"group":null}}}"#,
            &[b' '; MAX_BYTES + 1],
            &deep,
        ];
        for packet in packets {
            let refusal = say(&mut opener, packet, 0).unwrap_err();
            let text = String::from_utf8_lossy(packet);
            assert_eq!(refusal.kind, RefusalKind::Malformed, "{text}");
        }
        let huge = say(&mut opener, &vec![b'['; 150_000], 0).unwrap_err();
        assert!(huge.message.contains("more than 8192 bytes"));
        let before = open_files(&mut opener);
        for _ in 0..10 {
            say(&mut opener, b"null", 253).unwrap_err();
            say(&mut opener, br#"{"number":1,"body":"Reload"}"#, 253).unwrap();
        }
        assert_eq!(open_files(&mut opener), before, "all are closed");
        // The name of a tap may not be one that the kernel would not take.
        let bad = br#"{"number":1,"body":{"Uplink":{"name":"vm1","kind":{"Tap":{"name":"a/b","bridge":null}},"queues":1,"mtu":null}}}"#;
        assert!(say(&mut opener, bad, 0).is_err());
        let missing = say(
            &mut opener,
            br#"{"number":1,"body":{"Remove":{"uplink":"vm1"}}}"#,
            0,
        );
        assert_eq!(missing.unwrap_err().kind, RefusalKind::NotAllowed);
        let uplink = opener.uplink(&tap("vm1", 1)).unwrap();
        let missing = say(
            &mut opener,
            br#"{"number":1,"body":{"Remove":{"uplink":"vm1"}}}"#,
            0,
        );
        assert!(missing.unwrap_err().message.contains("1 queues"));
        opener.remove(uplink).unwrap();
    });
}

fn open_files(opener: &mut Opener) -> usize {
    let pid = pid(opener).as_raw_pid();
    fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count()
}

#[test]
fn a_mode_is_permission_bits_and_a_path_has_its_length() {
    let place = Place::new("");
    place.configure(&format!("directory {}", place.path("").display()));
    let mut opener = place.start();
    let path = place.path("vm1.sock");
    let error = opener.listener(&path, 0o4777, None).unwrap_err();
    assert!(matches!(error, OpenerError::Protocol(_)), "{error}");
    assert!(!path.exists());
    let long = place.path(&"x".repeat(200));
    let error = opener.listener(&long, 0o600, None).unwrap_err();
    assert!(error.to_string().contains("107"), "{error}");
    let absurd = place.path(&"x".repeat(MAX_BYTES));
    let error = opener.connect(&absurd).unwrap_err();
    assert!(error.to_string().contains("too long to be sent"), "{error}");
    opener.reload().unwrap();
}

#[test]
fn a_configuration_that_cannot_be_read_is_told_at_the_start() {
    let place = Place::new("nonsense");
    let error = place.try_start().unwrap_err();
    assert!(matches!(error, OpenerError::NotReady(_)), "{error}");
    assert!(error.to_string().contains("line `nonsense`"), "{error}");
    let error = Opener::start_as(Command::new("/nonexistent")).unwrap_err();
    assert!(matches!(error, OpenerError::Start(_)), "{error}");
    let error = Opener::start_as(Command::new("/bin/true")).unwrap_err();
    assert!(matches!(error, OpenerError::Start(_)), "{error}");
}

#[test]
fn a_stranger_does_not_get_an_opener() {
    let place = Place::new("tap vm1");
    let mut command = Command::new("/proc/self/exe");
    command
        .args(["--exact", "opener::tests::the_opener", "--nocapture"])
        .env(CONFIGURATION, place.path("configuration"))
        .stdin(std::process::Stdio::null());
    let output = command.output().unwrap();
    assert!(!output.status.success());
    assert!(String::from_utf8_lossy(&output.stderr).contains("NotOurs"));
}

#[test]
fn its_death_is_seen_and_said() {
    let place = Place::new("");
    let mut opener = place.start();
    assert!(!is_over(&opener, Duration::ZERO));
    assert!(!opener.has_ended());
    kill_process(pid(&mut opener), Signal::KILL).unwrap();
    assert!(is_over(&opener, Duration::from_secs(2)));
    assert!(opener.has_ended());
    for _ in 0..2 {
        assert!(matches!(opener.reload(), Err(OpenerError::Gone)));
    }
    assert!(matches!(opener.end(), Err(OpenerError::Gone)));
}

#[test]
fn signals_to_the_whole_group_are_not_for_it() {
    let place = Place::new("");
    let mut opener = place.start();
    for signal in [
        Signal::TERM,
        Signal::INT,
        Signal::HUP,
        Signal::USR1,
        Signal::USR2,
    ] {
        kill_process(pid(&mut opener), signal).unwrap();
        opener.reload().unwrap();
    }
    opener.end().unwrap();
}

#[test]
fn left_alone_it_ends_and_leaves_taps_and_socket_files() {
    in_namespace(|| {
        let place = Place::new("");
        let path = place.path("vm1.sock");
        place.configure(&format!("tap vm1\nsocket {}", path.display()));
        let mut opener = place.start();
        let uplink = opener.uplink(&tap("vm1", 1)).unwrap();
        let listener = opener.listener(&path, 0o600, None).unwrap();
        // As a killed daemon does: everything is closed, nothing is said.
        let Some(Side::Remote(Remote {
            channel, mut child, ..
        })) = opener.side.take()
        else {
            panic!("no process");
        };
        drop((uplink, listener, channel));
        assert!(child.wait().unwrap().success());
        assert!(path.exists());
        let mut next = place.start();
        let uplink = next.uplink(&tap("vm1", 1)).unwrap();
        assert!(made_by_us(&uplink), "it has stayed, with its mark");
        next.listener(&path, 0o600, None).unwrap();
        next.remove(uplink).unwrap();
    });
}

#[test]
fn an_answer_that_comes_too_late_is_not_taken_for_the_next() {
    in_namespace(|| {
        let place = Place::new("tap vm1\ntap vm2");
        let mut opener = place.start();
        let pid = pid(&mut opener);
        kill_process(pid, Signal::STOP).unwrap();
        let stat = format!("/proc/{}/stat", pid.as_raw_pid());
        while !fs::read_to_string(&stat).unwrap().contains(") T ") {
            thread::sleep(Duration::from_millis(1));
        }
        let late = opener.uplink(&tap("vm1", 1));
        kill_process(pid, Signal::CONT).unwrap();
        assert!(matches!(late, Err(OpenerError::Late)), "{late:?}");
        let uplink = opener.uplink(&tap("vm2", 1)).unwrap();
        assert_eq!(uplink.name(), "vm2");
        // The late answer's descriptors are closed, or this would be taken.
        opener.uplink(&tap("vm1", 1)).unwrap();
    });
}

#[test]
fn an_opener_out_of_descriptors_says_so_and_recovers() {
    in_namespace(|| {
        let place = Place::new("");
        let path = place.path("vm1.sock");
        place.configure(&format!("tap vm1\nsocket {}", path.display()));
        let mut opener = place.start();
        let pid = Some(pid(&mut opener));
        let before = getrlimit(Resource::Nofile);
        // All numbers are taken; `poll` alone wants the limit to be as high as what it looks at.
        let none_left = Rlimit {
            current: Some(1),
            ..before
        };
        prlimit(pid, Resource::Nofile, none_left).unwrap();
        for _ in 0..2 {
            let error = opener.uplink(&tap("vm1", 1)).unwrap_err();
            assert!(matches!(error, OpenerError::Exhausted(_)), "{error}");
            let error = opener.listener(&path, 0o600, None).unwrap_err();
            assert!(matches!(error, OpenerError::Exhausted(_)), "{error}");
        }
        prlimit(pid, Resource::Nofile, before).unwrap();
        let uplink = opener.uplink(&tap("vm1", 1)).unwrap();
        prlimit(pid, Resource::Nofile, none_left).unwrap();
        let error = opener.remove(uplink).unwrap_err();
        assert!(matches!(error, OpenerError::Exhausted(_)), "{error}");
        prlimit(pid, Resource::Nofile, before).unwrap();
        let uplink = opener.uplink(&tap("vm1", 1)).unwrap();
        opener.remove(uplink).unwrap();
    });
}

#[test]
fn a_daemon_out_of_descriptors_says_so_and_recovers() {
    // The limit is the process's, so this happens in a child: this very test, run again.
    const CHILD: &str = "NETQOS_TEST_OPENER_NO_ROOM";
    if std::env::var_os(CHILD).is_none() {
        let status = Command::new("/proc/self/exe")
            .args([
                "--exact",
                "opener::tests::rude::a_daemon_out_of_descriptors_says_so_and_recovers",
            ])
            .env(CHILD, "1")
            .status();
        assert!(status.unwrap().success());
        return;
    }
    in_namespace(|| {
        let place = Place::new("tap vm1");
        let mut opener = place.start();
        let before = getrlimit(Resource::Nofile);
        // All numbers are taken; `poll` alone wants the limit to be as high as what it looks at.
        let none_left = Rlimit {
            current: Some(1),
            ..before
        };
        setrlimit(Resource::Nofile, none_left).unwrap();
        let error = opener.uplink(&tap("vm1", 1)).unwrap_err();
        setrlimit(Resource::Nofile, before).unwrap();
        assert!(matches!(error, OpenerError::Exhausted(_)), "{error}");
        opener.uplink(&tap("vm1", 1)).unwrap();
    });
}

#[test]
fn a_connection_handed_to_the_daemon_is_not_kept_open_by_it() {
    let place = Place::new("");
    let (ours, mut theirs) = UnixStream::pair().unwrap();
    // As one that was inherited.
    rustix::io::fcntl_setfd(&ours, rustix::io::FdFlags::empty()).unwrap();
    let _opener = place.start();
    drop(ours);
    // Processes that other tests start just then may have it a little longer; the opener would have it for
    // good.
    let deadline = Instant::now() + Duration::from_secs(20);
    let gone = loop {
        match theirs.write_all(b"x") {
            Ok(()) => assert!(Instant::now() < deadline, "somebody keeps it open"),
            Err(error) => break error,
        }
        thread::sleep(Duration::from_millis(10));
    };
    assert_eq!(gone.kind(), std::io::ErrorKind::BrokenPipe);
}
