//! Each test is a process of its own, this test program run again for one test, because there is no way
//! back. There it is a thread's own sandbox, because test programs have others.

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use nix::sched::{CloneFlags, unshare};
use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use rustix::thread::{CapabilitySets, capabilities, set_capabilities};

use super::*;
use crate::engine::{EngineConfig, EngineFactory};
use crate::opener::tests::{Place, macvtap, packet, tap};
use crate::poller::{Interest, Poller};
use crate::shard::{Command as ShardCommand, PortId, Shard};
use crate::uplink::{Offload, Tap, TapConfig};

/// Runs `test` in a process of its own, in a fresh network namespace; `name` is the test that calls this.
fn alone(name: &str, test: impl FnOnce()) {
    const CHILD: &str = "NETQOS_TEST_SANDBOX";
    if std::env::var_os(CHILD).is_some() {
        unshare(CloneFlags::CLONE_NEWNET)
            .expect("this test makes a network namespace of its own: run it as root");
        return test();
    }
    // What is made in there can only be removed from here.
    let directory = tempfile::tempdir().unwrap();
    let status = Command::new("/proc/self/exe")
        .env("TMPDIR", directory.path())
        .args(["--exact", &format!("sandbox::tests::{name}")])
        .arg("--nocapture")
        .env(CHILD, "1")
        .status();
    assert!(status.unwrap().success());
}

fn denied<T: fmt::Debug>(result: io::Result<T>) {
    let error = result.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::PermissionDenied, "{error}");
}

fn tap_config(name: &str) -> TapConfig {
    TapConfig {
        name: name.parse().unwrap(),
        queues: 1,
        mtu: None,
        bridge: None,
    }
}

#[test]
fn what_is_given_up_is_gone_and_the_opener_still_opens() {
    alone(
        "what_is_given_up_is_gone_and_the_opener_still_opens",
        || {
            let place = Place::new("tap vm1");
            let mut opener = place.start();
            let outside = place.path("outside");
            fs::create_dir(&outside).unwrap();
            fs::create_dir(place.path("readable")).unwrap();
            fs::write(place.path("readable/file"), "text").unwrap();
            let report = give_up(&SandboxConfig {
                readable: vec![place.path("readable")],
                require: true,
            });
            let text = report.unwrap().to_string();
            assert_eq!(
                text,
                "capabilities=none bounding=empty no_new_privs=yes dumpable=no landlock=full"
            );

            // Root is the owner of all these, so it is not capabilities that are missing.
            denied(OpenOptions::new().append(true).open("/etc/shadow"));
            denied(
                OpenOptions::new()
                    .write(true)
                    .open(place.path("readable/file")),
            );
            denied(File::create(place.path("readable/new")));
            denied(fs::remove_file(place.path("readable/file")));
            denied(File::open(place.path("configuration")));
            denied(fs::read_dir(&outside));
            denied(File::open("/dev/net/tun"));
            denied(Command::new("/bin/true").status());
            denied(TcpListener::bind("127.0.0.1:0"));
            denied(TcpStream::connect("127.0.0.1:1"));
            let parent = Pid::from_raw(rustix::process::getppid().unwrap().as_raw_pid()).unwrap();
            assert!(test_kill_process(parent).is_err(), "no signal to others");
            assert!(kill_process(parent, Signal::URG).is_err());
            assert_eq!(
                fs::read_to_string(place.path("readable/file")).unwrap(),
                "text"
            );
            assert!(fs::read_to_string("/etc/group").unwrap().contains("root"));

            Tap::open(&tap_config("vm1")).unwrap_err();
            let uplink = opener.uplink(&tap("vm1", 1)).unwrap();
            opener.set_mtu("vm1", 9000).unwrap();
            opener.remove(uplink).unwrap();
            opener.end().unwrap();
        },
    );
}

#[test]
fn no_capability_is_left_nor_comes_back() {
    alone("no_capability_is_left_nor_comes_back", || {
        give_up(&SandboxConfig::default()).unwrap();
        let none = CapabilitySet::empty();
        let sets = capabilities(None).unwrap();
        assert_eq!(
            (sets.effective, sets.permitted, sets.inheritable),
            (none, none, none)
        );
        for one in [CapabilitySet::NET_ADMIN, CapabilitySet::SYS_ADMIN] {
            let raised = CapabilitySets {
                effective: one,
                permitted: one,
                inheritable: one,
            };
            assert!(set_capabilities(None, raised).is_err());
        }
        let status = fs::read_to_string("/proc/thread-self/status").unwrap();
        for set in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
            let line = format!("{set}:\t0000000000000000");
            assert!(status.contains(&line), "{status}");
        }
        assert!(status.contains("NoNewPrivs:\t1"), "{status}");
        // A new network namespace takes a capability, and so does the way back into another.
        assert!(unshare(CloneFlags::CLONE_NEWNET).is_err());
        let threads = std::thread::spawn(|| capabilities(None).unwrap());
        assert_eq!(threads.join().unwrap().permitted, none);
    });
}

#[test]
fn what_the_daemon_does_later_still_works() {
    alone("what_the_daemon_does_later_still_works", || {
        let place = Place::new("");
        let socket = place.path("vm1.sock");
        place.configure(&format!("tap vm1 2\nsocket {}", socket.display()));
        let mut opener = place.start();
        let engines = EngineFactory::new().unwrap();
        give_up(&SandboxConfig::default()).unwrap();

        let mut uplink = opener.uplink(&tap("vm1", 2)).unwrap();
        uplink.set_carrier(true).unwrap();
        uplink.set_offload(Offload::ALL).unwrap();
        for on in [false, true] {
            uplink.set_queue_enabled(1, on).unwrap();
        }
        let header = [0; 12];
        let frame = [header.as_slice(), &[0xff; 60]].concat();
        rustix::io::write(uplink.fd(1).unwrap(), &frame).unwrap();

        let listener = opener.listener(&socket, 0o600, None).unwrap();
        // A front-end is another process, outside of the sandbox.
        let mut front_end = opener.connect(&socket).unwrap();
        let mut session = listener.accept().unwrap().unwrap();
        front_end.write_all(b"x").unwrap();
        assert_eq!(session.read(&mut [0]).unwrap(), 1);

        map_a_memfd();
        let mut poller = Poller::new().unwrap();
        let event = rustix::event::eventfd(1, rustix::event::EventfdFlags::NONBLOCK).unwrap();
        let event_fd = std::os::fd::AsRawFd::as_raw_fd(&event.as_fd());
        poller.add(event_fd, 1, Interest::READ).unwrap();
        poller.wake_at(Some(1)).unwrap();
        let mut ready = Vec::new();
        poller.wait(true, &mut ready).unwrap();
        assert!(!ready.is_empty());
        UnixStream::pair().unwrap();
        let flag = Arc::new(AtomicBool::new(false));
        signal_hook::flag::register(signal_hook::consts::SIGUSR1, flag).unwrap();
        let cores = rustix::thread::sched_getaffinity(None).unwrap();
        rustix::thread::sched_setaffinity(None, &cores).unwrap();

        let (shard, thread) = Shard::spawn(0, std::time::Duration::ZERO, 1 << 20).unwrap();
        let config = EngineConfig {
            features: 0,
            protocol_features: 0,
            rings: 2,
            max_ring_size: 256,
        };
        let (engine, ours) = engines.start(config, shard.port(PortId(0))).unwrap();
        drop(ours);
        engine.end();
        shard.send(ShardCommand::End).unwrap();
        thread.join().unwrap();
        opener.remove(uplink).unwrap();
        opener.end().unwrap();
        assert!(!socket.exists());
    });
}

#[test]
fn uplinks_of_other_kinds_work_as_well() {
    alone("uplinks_of_other_kinds_work_as_well", || {
        for line in ["link add v0 up type veth peer v1", "link set v1 up"] {
            let status = Command::new("ip").args(line.split(' ')).status();
            assert!(status.expect("iproute2 is needed").success(), "ip {line}");
        }
        let place = Place::new("packet v0\nmacvtap v1");
        let mut opener = place.start();
        give_up(&SandboxConfig::default()).unwrap();
        let mut socket = opener.uplink(&packet("v0")).unwrap();
        socket.set_mtu(1400).unwrap();
        let mut device = opener.uplink(&macvtap("v1")).unwrap();
        device.set_guest_address([2, 0, 0, 0, 0, 1]).unwrap();
        device.set_offload(Offload::ALL).unwrap();
        // Its MTU takes a capability.
        device.set_mtu(1400).unwrap_err();
        opener.set_mtu("macvtap", 1400).unwrap();
        opener.set_mtu("packet", 1400).unwrap();

        let to_macvtap = [2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 0x88, 0xb5];
        let header = vec![0; socket.header_len()];
        let sent = [header.as_slice(), &to_macvtap, &[7; 50]].concat();
        rustix::io::write(socket.fd(0).unwrap(), &sent).unwrap();
        let mut frame = [0; 2000];
        let frames = std::iter::repeat_with(|| rustix::io::read(device.fd(0).unwrap(), &mut frame));
        // What the host itself says on the link may come before.
        let came = frames.take(100).flatten().any(|len| len == 12 + 64);
        assert!(came, "the frame crosses from one to the other");

        opener.remove(socket).unwrap();
        opener.remove(device).unwrap();
        opener.end().unwrap();
    });
}

/// As a session maps the memory of its guest.
fn map_a_memfd() {
    use vm_memory::{Bytes, FileOffset, GuestAddress, GuestMemoryMmap};
    let memory = rustix::fs::memfd_create("guest", rustix::fs::MemfdFlags::CLOEXEC).unwrap();
    let memory = File::from(memory);
    memory.set_len(1 << 20).unwrap();
    let range = (GuestAddress(0), 1 << 20, Some(FileOffset::new(memory, 0)));
    let map: GuestMemoryMmap = GuestMemoryMmap::from_ranges_with_files([range]).unwrap();
    map.write_obj(1_u64, GuestAddress(4096)).unwrap();
}

#[test]
fn a_second_thread_is_an_error_and_so_is_a_missing_directory() {
    alone(
        "a_second_thread_is_an_error_and_so_is_a_missing_directory",
        || {
            // The test program has one that waits for this.
            let error = enter(&SandboxConfig::default()).unwrap_err();
            assert!(matches!(error, SandboxError::Threads(2)), "{error}");
            let missing = SandboxConfig {
                readable: vec!["/nonexistent".into()],
                require: false,
            };
            let error = give_up(&missing).unwrap_err();
            assert!(matches!(error, SandboxError::Path { .. }), "{error}");
            assert!(error.to_string().contains("/nonexistent"), "{error}");
        },
    );
}

#[test]
fn a_level_below_full_is_named() {
    let report = |landlock| Report {
        bounded: false,
        landlock,
    };
    let ends = |landlock, end: &str| {
        let text = report(landlock).to_string();
        assert!(text.ends_with(end), "{text}");
    };
    ends(
        Landlock::Partial(3),
        "bounding=kept no_new_privs=yes dumpable=no landlock=partial(version 3)",
    );
    ends(Landlock::Off, "landlock=none(turned off)");
    ends(Landlock::Missing, "landlock=none(not in this kernel)");
}
