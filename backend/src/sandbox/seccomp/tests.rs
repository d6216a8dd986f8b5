//! Each act is done in a process of its own, this test program run again for one act, because it kills.

use std::fs::{File, OpenOptions};
use std::io::{IoSliceMut, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, ExitStatus};
use std::thread;

use nix::sched::{CloneFlags, unshare};
use nix::spawn::{PosixSpawnAttr, PosixSpawnFileActions, posix_spawn};
use nix::sys::ptrace;
use nix::sys::uio::{RemoteIoVec, process_vm_readv};
use nix::unistd::execv;
use rustix::process::{Resource, Rlimit, Signal, kill_process, prlimit};
use vm_memory::mmap::MmapRegion;

use super::*;

/// What the act of a child is: a mode, a role, and a name in [`ACTS`].
const ACT: &str = "NETQOS_TEST_SECCOMP";

/// What the child ends with when it has survived.
const SURVIVED: i32 = 77;

/// Those that speak to guests and front-ends, or to the network.
const CONFINED: &[Role] = &[Role::Main, Role::Engine, Role::Shard, Role::Web];

/// Those that have no file or socket to open.
const CLOSED: &[Role] = &[Role::Engine, Role::Shard, Role::Web];

const EVERYBODY: &[Role] = &Role::ALL;

/// An act, and who dies of it.
struct Act {
    name: &'static str,
    forbidden: &'static [Role],
    run: fn(),
}

const ACTS: &[Act] = &[
    Act {
        name: "a program is run",
        forbidden: EVERYBODY,
        run: || _ = execv(c"/bin/true", &[c"true"]),
    },
    Act {
        name: "a process is made",
        forbidden: EVERYBODY,
        run: || _ = another_process(),
    },
    Act {
        name: "a TCP connection is made",
        forbidden: EVERYBODY,
        run: || _ = TcpStream::connect("127.0.0.1:1"),
    },
    Act {
        name: "a unix socket is made",
        forbidden: CLOSED,
        run: || _ = UnixStream::connect("/nonexistent"),
    },
    Act {
        name: "a file is opened for writing",
        forbidden: &[Role::Main],
        run: || _ = OpenOptions::new().write(true).open("/dev/null"),
    },
    Act {
        name: "a file is removed",
        forbidden: CONFINED,
        run: || _ = std::fs::remove_file("/nonexistent"),
    },
    Act {
        name: "another process gets a signal",
        forbidden: EVERYBODY,
        run: || _ = kill_process(parent(), Signal::URG),
    },
    Act {
        name: "another process is traced",
        forbidden: EVERYBODY,
        run: || _ = ptrace::attach(nobody()),
    },
    Act {
        name: "another process is read",
        forbidden: EVERYBODY,
        run: || {
            let mut byte = [0];
            let there = RemoteIoVec { base: 4096, len: 1 };
            let here = &mut [IoSliceMut::new(&mut byte)];
            let _ = process_vm_readv(nobody(), here, &[there]);
        },
    },
    Act {
        name: "memory becomes executable",
        forbidden: CLOSED,
        run: || _ = executable_memory(),
    },
    Act {
        name: "another namespace is entered",
        forbidden: EVERYBODY,
        run: || _ = unshare(CloneFlags::CLONE_NEWNET),
    },
    Act {
        name: "limits of another process are changed",
        forbidden: EVERYBODY,
        run: || {
            let none = Rlimit {
                current: Some(0),
                maximum: Some(0),
            };
            _ = prlimit(Some(parent()), Resource::Rtprio, none);
        },
    },
    Act {
        name: "what the log is written with",
        forbidden: &[],
        run: || writeln!(std::io::stderr(), "still here").unwrap(),
    },
];

/// A process that there cannot be, or the one that runs the test would be stopped.
fn nobody() -> nix::unistd::Pid {
    nix::unistd::Pid::from_raw(i32::MAX)
}

fn parent() -> rustix::process::Pid {
    rustix::process::getppid().expect("the test")
}

fn another_process() -> nix::Result<nix::unistd::Pid> {
    let (files, attributes) = (PosixSpawnFileActions::init()?, PosixSpawnAttr::init()?);
    posix_spawn(c"/bin/true", &files, &attributes, &[c"true"], &[c""])
}

fn executable_memory() -> Result<MmapRegion, impl fmt::Debug> {
    let prot = libc::PROT_READ | libc::PROT_EXEC;
    MmapRegion::build(None, 4096, prot, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS)
}

/// The act itself, in the child.
#[test]
fn the_act() {
    let Ok(text) = std::env::var(ACT) else {
        return;
    };
    let [seccomp, role, name] = text.splitn(3, '/').collect::<Vec<_>>()[..] else {
        panic!("{text}");
    };
    let seccomp = Seccomp::from_str(seccomp, false).unwrap();
    let role = Role::ALL.into_iter().find(|it| it.name() == role).unwrap();
    prepare(seccomp).unwrap();
    let run: fn() = match name {
        "abort" => || std::process::abort(),
        "refused" => refused,
        _ => ACTS.iter().find(|act| act.name == name).unwrap().run,
    };
    let body = move || {
        enter(role).unwrap();
        run();
        signal_hook::low_level::exit(SURVIVED);
    };
    thread::spawn(body).join().unwrap();
}

/// How a process ends in which a thread of this role does this.
fn end_of(seccomp: Seccomp, role: Role, name: &str) -> ExitStatus {
    let act = format!("{}/{}/{name}", seccomp.name(), role.name());
    let status = Command::new("/proc/self/exe")
        .args(["--exact", "sandbox::seccomp::tests::the_act", "--nocapture"])
        .env(ACT, act)
        .output();
    status.unwrap().status
}

#[test]
fn each_kind_of_thread_dies_of_what_it_has_no_business_with_and_of_nothing_else() {
    for act in ACTS {
        let free = end_of(Seccomp::Off, Role::Shard, act.name);
        assert_eq!(free.signal(), None, "{}: {free}", act.name);
        for role in Role::ALL {
            let end = end_of(Seccomp::Kill, role, act.name);
            let expected = match act.forbidden.contains(&role) {
                true => (Some(libc::SIGSYS), None),
                false => (None, Some(SURVIVED)),
            };
            let (name, role) = (act.name, role.name());
            assert_eq!(
                (end.signal(), end.code()),
                expected,
                "{name}, {role}: {end}"
            );
        }
    }
}

#[test]
fn a_call_that_is_only_logged_is_made() {
    let end = end_of(Seccomp::Log, Role::Shard, "a unix socket is made");
    assert_eq!(end.code(), Some(SURVIVED), "{end}");
}

#[test]
fn an_abort_is_an_abort() {
    for role in Role::ALL {
        let end = end_of(Seccomp::Kill, role, "abort");
        assert_eq!(end.signal(), Some(libc::SIGABRT), "{}", role.name());
    }
}

#[test]
fn what_libraries_can_do_without_fails_and_threads_can_be_made_where_they_are_needed() {
    for role in Role::ALL {
        let end = end_of(Seccomp::Kill, role, "refused");
        assert_eq!(end.code(), Some(SURVIVED), "{}: {end}", role.name());
    }
}

/// In the child: what is answered as by a kernel that does not have it.
fn refused() {
    let me = gettid().as_raw_pid();
    let role = role_of(me).expect("this thread has a role");
    if CLOSED.contains(&role) {
        let error = File::open("/etc/hostname").unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::ENOSYS));
    } else {
        executable_memory().unwrap_err();
    }
    if [Role::Main, Role::Alone, Role::Web].contains(&role) {
        let thread = thread::spawn(move || (role_of(me), role_of(gettid().as_raw_pid())));
        assert_eq!(thread.join().unwrap(), (Some(role), None));
    }
}
