//! Who has which rights: the opener what opening takes, the daemon none, and what each does when the other
//! is gone.

use std::collections::BTreeSet;
use std::fs::{self, Permissions};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::process::Command;
use std::time::{Duration, Instant};

use guest_tests::front_end::{Frame, FrontEnd, Port, Shape, Wire};
use guest_tests::{Daemon, Namespace, Result, daemon_program, tool_program};
use rustix::io::FdFlags;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

const SOON: Duration = Duration::from_secs(5);

/// Two guests on one tap, which the daemon makes.
const TWO: &str = r#"
[uplink.lan]
kind = "tap:lan0"
[defaults]
socket = "{dir}/{name}.sock"
[guest.a]
uplink = "lan"
[guest.b]
uplink = "lan"
"#;

/// One more, on a tap of its own.
const THIRD: &str = r#"
[uplink.wan]
kind = "tap:wan0"
[guest.c]
uplink = "wan"
"#;

fn start(ns: &Namespace) -> Result<Daemon> {
    let mut daemon = Daemon::new(ns)
        .file("netqos.toml", TWO)
        .args(["--config", "{dir}/netqos.toml"])
        .expect_socket("a")
        .expect_socket("b")
        .start()?;
    logs(&mut daemon, "sandbox=")?;
    Ok(daemon)
}

fn logs(daemon: &mut Daemon, text: &str) -> Result<()> {
    let log = daemon.folder().join("log");
    daemon.process().wait_until(text, SOON, || {
        fs::read_to_string(&log).is_ok_and(|log| log.contains(text))
    })
}

fn front_end(daemon: &Daemon, name: &str) -> Result<Port> {
    FrontEnd::connect(&daemon.socket(name)).start()
}

/// The session takes frames.
fn goes_on(port: &mut Port) -> Result<()> {
    port.send_as(&Frame::plain(100, 1), &Shape::WHOLE)?;
    port.settle(SOON)
}

/// Adds the third guest and has the file read again.
fn add_third(daemon: &mut Daemon) {
    let file = daemon.folder().join("netqos.toml");
    let text = fs::read_to_string(&file).expect("the file") + THIRD;
    fs::write(&file, text).expect("the file");
    let pid = daemon.process().pid();
    signal(pid, Signal::HUP);
}

fn signal(pid: u32, signal: Signal) {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
    kill_process(pid.expect("a process"), signal).expect("a signal");
}

/// The only child of the daemon.
fn opener(daemon: &mut Daemon) -> u32 {
    let pid = daemon.process().pid();
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"));
    let children = children.expect("the daemon's children");
    let mut children = children.split_whitespace();
    let opener = children.next().expect("a child").parse();
    assert_eq!(children.next(), None);
    opener.expect("a number")
}

/// Ended, though perhaps nobody has asked how.
fn is_over(pid: u32) -> bool {
    match fs::read_to_string(format!("/proc/{pid}/stat")) {
        Ok(stat) => stat
            .rsplit_once(") ")
            .is_some_and(|(_, rest)| rest.starts_with('Z')),
        Err(_) => true,
    }
}

fn ends(pid: u32) {
    let start = Instant::now();
    while !is_over(pid) {
        assert!(start.elapsed() < SOON, "process {pid} has not ended");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A line of each thread's `/proc/PID/task/TID/status`.
fn of_all_threads(pid: u32, name: &str) -> Vec<String> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).expect("threads");
    let value = |task: fs::DirEntry| {
        let status = fs::read_to_string(task.path().join("status")).expect("a status");
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        line.expect("a line").trim().to_owned()
    };
    tasks.flatten().map(value).collect()
}

/// No thread of the process is without a filter of its calls.
fn all_filtered(pid: u32) {
    let modes = of_all_threads(pid, "Seccomp:");
    assert!(modes.iter().all(|mode| mode == "2"), "{modes:?}");
}

/// What `netqosctl sandbox --json` prints.
fn sandbox(daemon: &Daemon) -> Result<Value> {
    let output = Command::new(tool_program()?)
        .arg("--control")
        .arg(daemon.folder().join("control.sock"))
        .args(["sandbox", "--json"])
        .output()
        .expect("netqosctl runs");
    assert!(output.status.success(), "{output:?}");
    Ok(serde_json::from_slice(&output.stdout).expect("JSON"))
}

/// The roles of a process's threads, each once.
fn roles(process: &Value) -> BTreeSet<&str> {
    let threads = process["threads"].as_array().expect("threads").iter();
    threads
        .map(|thread| {
            assert_eq!(thread["seccomp"], "filter", "{thread}");
            thread["role"].as_str().expect("a role")
        })
        .collect()
}

#[test]
fn the_tool_says_what_each_thread_may() -> Result<()> {
    let ns = Namespace::new()?;
    let text = format!("control = \"{{dir}}/control.sock\"\nmetrics = 9555\n{TWO}");
    let mut daemon = Daemon::new(&ns)
        .file("netqos.toml", &text)
        .args(["--config", "{dir}/netqos.toml"])
        .expect_socket("a")
        .start()?;
    logs(&mut daemon, "sandbox=entered")?;
    let (pid, opener) = (daemon.process().pid(), opener(&mut daemon));
    let mut port = front_end(&daemon, "a")?;
    goes_on(&mut port)?;
    let told = sandbox(&daemon)?;
    assert_eq!(
        (&told["landlock"], &told["seccomp"]),
        (&"full".into(), &"kill".into())
    );
    let (daemons, openers) = (&told["daemon"], &told["opener"]);
    assert_eq!(
        (&daemons["pid"], &openers["pid"]),
        (&pid.into(), &opener.into())
    );
    assert_eq!(daemons["dumpable"], false);
    for set in [
        "inheritable",
        "permitted",
        "effective",
        "bounding",
        "ambient",
    ] {
        assert_eq!(
            daemons["capabilities"][set],
            Value::Array(Vec::new()),
            "{set}"
        );
    }
    let may = openers["capabilities"]["effective"].to_string();
    assert!(
        may.contains("cap_net_admin") && !may.contains("cap_sys_ptrace"),
        "{may}"
    );
    for process in [daemons, openers] {
        assert_eq!(process["no_new_privs"], true);
    }
    assert_eq!(roles(daemons), ["engine", "main", "shard", "web"].into());
    assert_eq!(roles(openers), ["opener"].into());
    drop(port);
    assert!(daemon.terminate()?.success(), "{}", daemon.log());
    Ok(())
}

#[test]
fn calls_are_not_looked_at_where_the_operator_says_so() -> Result<()> {
    let ns = Namespace::new()?;
    let mut daemon = Daemon::new(&ns)
        .port("vm1", "tap1")
        .args(["--seccomp", "off"])
        .start()?;
    logs(&mut daemon, "seccomp=off")?;
    let (pid, opener) = (daemon.process().pid(), opener(&mut daemon));
    for pid in [pid, opener] {
        assert!(
            of_all_threads(pid, "Seccomp:")
                .iter()
                .all(|mode| mode == "0")
        );
    }
    goes_on(&mut front_end(&daemon, "vm1")?)?;
    assert!(daemon.terminate()?.success(), "{}", daemon.log());
    Ok(())
}

#[test]
fn the_daemon_has_no_capability_and_its_opener_opens_what_a_reload_adds() -> Result<()> {
    let ns = Namespace::new()?;
    let mut daemon = start(&ns)?;
    assert!(daemon.log().contains("sandbox=entered"), "{}", daemon.log());
    let (pid, opener) = (daemon.process().pid(), opener(&mut daemon));
    let mut port = front_end(&daemon, "a")?;
    goes_on(&mut port)?;
    for set in ["CapInh:", "CapPrm:", "CapEff:", "CapBnd:", "CapAmb:"] {
        let values = of_all_threads(pid, set);
        assert!(values.len() > 2, "{values:?}");
        assert!(
            values.iter().all(|value| value == "0000000000000000"),
            "{set} {values:?}"
        );
    }
    assert!(
        of_all_threads(pid, "NoNewPrivs:")
            .iter()
            .all(|value| value == "1")
    );
    assert_ne!(of_all_threads(opener, "CapEff:"), ["0000000000000000"]);
    all_filtered(pid);
    all_filtered(opener);
    assert_eq!(of_all_threads(opener, "NoNewPrivs:"), ["1"]);

    add_third(&mut daemon);
    logs(&mut daemon, "event=applied guests=+1-0~0")?;
    assert!(
        ns.ip("link show wan0 up")
            .is_ok_and(|text| !text.is_empty())
    );
    goes_on(&mut port)?;
    goes_on(&mut front_end(&daemon, "c")?)?;
    assert!(
        !daemon.log().contains("port=a session=closed"),
        "{}",
        daemon.log()
    );

    let third = daemon.socket("c");
    assert!(third.exists());
    assert!(daemon.terminate()?.success(), "{}", daemon.log());
    assert!(is_over(opener), "the daemon waits for its opener's end");
    for socket in ["a", "b", "c"] {
        assert!(!daemon.socket(socket).exists());
    }
    assert!(ns.ip("link show lan0").is_err() && ns.ip("link show wan0").is_err());
    Ok(())
}

#[test]
fn an_opener_left_alone_ends_and_leaves_all_for_the_next_start() -> Result<()> {
    let ns = Namespace::new()?;
    let mut daemon = start(&ns)?;
    let opener = opener(&mut daemon);
    signal(daemon.process().pid(), Signal::KILL);
    ends(opener);
    assert!(daemon.socket("a").exists());
    assert!(ns.ip("link show lan0").is_ok());
    daemon.restart()?;
    logs(&mut daemon, "sandbox=entered")?;
    goes_on(&mut front_end(&daemon, "b")?)?;
    assert!(daemon.terminate()?.success(), "{}", daemon.log());
    assert!(!daemon.socket("a").exists());
    assert!(ns.ip("link show lan0").is_err());
    Ok(())
}

#[test]
fn guests_go_on_when_the_opener_dies_and_what_is_missing_is_said_once() -> Result<()> {
    let ns = Namespace::new()?;
    let mut daemon = start(&ns)?;
    let mut port = front_end(&daemon, "a")?;
    let opener = opener(&mut daemon);
    signal(opener, Signal::KILL);
    logs(&mut daemon, "event=opener-gone")?;
    assert!(is_over(opener));
    goes_on(&mut port)?;
    add_third(&mut daemon);
    logs(&mut daemon, "event=reload-refused")?;
    goes_on(&mut port)?;
    goes_on(&mut front_end(&daemon, "b")?)?;
    assert_eq!(daemon.log().matches("event=opener-gone").count(), 1);
    let status = daemon.terminate()?;
    assert_eq!(
        status.code(),
        Some(1),
        "the tap stays, which is no clean end"
    );
    assert!(
        daemon.log().contains("netqos-vhost: uplink lan: "),
        "{}",
        daemon.log()
    );
    Ok(())
}

#[test]
fn one_process_can_have_all_of_it() -> Result<()> {
    let ns = Namespace::new()?;
    let mut daemon = Daemon::new(&ns)
        .port("vm1", "tap1")
        .args(["--no-opener"])
        .start()?;
    logs(
        &mut daemon,
        "sandbox=none seccomp=kill: --no-opener says so",
    )?;
    let pid = daemon.process().pid();
    all_filtered(pid);
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"));
    assert_eq!(children.expect("children"), "");
    goes_on(&mut front_end(&daemon, "vm1")?)?;
    assert!(daemon.terminate()?.success());
    assert!(!daemon.socket("vm1").exists() && ns.ip("link show tap1").is_err());
    Ok(())
}

#[test]
fn a_user_without_rights_serves_an_inherited_socket_and_a_tap_of_its_own() -> Result<()> {
    let ns = Namespace::new()?;
    Wire::quiet(&ns)?;
    ns.ip("tuntap add dev own mode tap user 65534")?;
    ns.ip("link set own up")?;
    let folder = tempfile::tempdir().expect("a folder");
    fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).expect("its mode");
    let program = folder.path().join("netqos-vhost");
    fs::copy(daemon_program()?, &program).expect("a copy of the daemon");
    let socket = folder.path().join("vm1.sock");
    let listener = UnixListener::bind(&socket).expect("a listener");
    rustix::io::fcntl_setfd(&listener, FdFlags::empty()).expect("a descriptor to inherit");
    let number = listener.as_fd().as_raw_fd().to_string();
    let nobody = [
        "--reuid",
        "65534",
        "--regid",
        "65534",
        "--clear-groups",
        "--",
    ];
    let program = program.to_string_lossy();
    let mut daemon = Daemon::new(&ns)
        .program("setpriv")
        .args(nobody)
        .args([&*program, "--fd", &number, "--tap", "own"])
        .start()?;
    drop(listener);
    logs(
        &mut daemon,
        "sandbox=none seccomp=kill: there are no privileges to give up",
    )?;
    all_filtered(daemon.process().pid());
    assert_eq!(
        of_all_threads(daemon.process().pid(), "Uid:")[0],
        "65534\t65534\t65534\t65534"
    );
    let wire = Wire::open(&ns, "own")?;
    let mut port = FrontEnd::connect(&socket).start()?;
    let frame = Frame::plain(1000, 7);
    port.send(&frame)?;
    let come = wire.receive(SOON)?.expect("the frame arrives");
    assert_eq!(come.bytes, frame.bytes);
    assert!(daemon.terminate()?.success(), "{}", daemon.log());
    assert!(socket.exists() && ns.ip("link show own").is_ok());
    Ok(())
}
