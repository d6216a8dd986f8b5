//! Beginnings and ends: guests that leave, daemons that are ended or killed, and who keeps the tap.

use std::io::Read;
use std::os::fd::AsRawFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::time::{Duration, Instant};

use guest_tests::{Daemon, Guest, Iperf3, Kernel, Namespace, Nic, Qemu, QemuVersion, Result, ping};
use rustix::io::FdFlags;
use rustix::process::Signal;

const HOST: &str = "192.0.2.1";
const GUEST: &str = "192.0.2.2";
const HOST6: &str = "2001:db8::1";
/// How long a SIGTERM under load may take.
const END: Duration = Duration::from_secs(2);
/// For whatever should happen at once.
const SOON: Duration = Duration::from_secs(5);

fn nic(socket: &Path) -> Nic {
    addressed(Nic::vhost_user(socket))
}

fn addressed(nic: Nic) -> Nic {
    nic.address("192.0.2.2/24").address("2001:db8::2/64")
}

fn give_addresses(ns: &Namespace) -> Result<()> {
    ns.address("tap1", "192.0.2.1/24")?;
    ns.address("tap1", "2001:db8::1/64")
}

fn tap_exists(ns: &Namespace) -> bool {
    ns.ip("link show tap1").is_ok()
}

fn has_its_addresses(ns: &Namespace) -> Result<()> {
    let text = ns.ip("addr show dev tap1")?;
    assert!(text.contains(HOST) && text.contains(HOST6), "{text}");
    Ok(())
}

/// Waits until the guest is reached, which a reconnecting front-end may take a moment for.
fn reaches(guest: &Guest) -> Result<()> {
    let start = Instant::now();
    while ping(guest, HOST, 1)?.lost() > 0 {
        assert!(start.elapsed() < SOON, "{}", guest.console());
    }
    assert_eq!(ping(guest, HOST, 5)?.lost(), 0);
    assert_eq!(ping(guest, HOST6, 5)?.lost(), 0);
    Ok(())
}

/// A TCP stream goes on over the daemon's death, on the same connection: iperf3 has but one.
fn survives_a_kill(daemon: &mut Daemon, ns: &Namespace, guest: &Guest) -> Result<()> {
    let stream = Iperf3::seconds(10).start(guest, ns, HOST)?;
    std::thread::sleep(Duration::from_secs(3));
    daemon.kill();
    has_its_addresses(ns)?;
    daemon.restart()?;
    has_its_addresses(ns)?;
    let result = stream.finish()?;
    let rates = &result.intervals;
    println!("megabits a second over a SIGKILL: {:.0?}", megabits(rates));
    let (before, after) = (rates[1], rates[rates.len() - 2]);
    assert!(before > 1e6 && after > 1e6, "{rates:?}");
    reaches(guest)
}

fn megabits(rates: &[f64]) -> Vec<f64> {
    rates.iter().map(|rate| rate / 1e6).collect()
}

fn refuses_a_second(daemon: &mut Daemon, guest: &Guest) -> Result<()> {
    let mut second = UnixStream::connect(daemon.socket("vm1")).expect("a connection");
    second.set_read_timeout(Some(SOON)).expect("a timeout");
    let start = Instant::now();
    assert_eq!(second.read(&mut [0]).expect("the end of it"), 0);
    assert!(start.elapsed() < Duration::from_secs(1));
    let log = daemon.log();
    assert!(log.contains("session=refused"), "{log}");
    assert_eq!(ping(guest, HOST, 20)?.lost(), 0);
    Ok(())
}

/// The daemon outlives a guest that is gone, and its port can be had again at once.
fn serves_the_next(
    daemon: &mut Daemon,
    ns: &Namespace,
    mut guest: Guest,
    next: Qemu,
) -> Result<Guest> {
    guest.kill();
    let guest = next.boot()?;
    assert!(daemon.process().try_wait()?.is_none(), "{}", daemon.log());
    reaches(&guest)?;
    let down = Iperf3::seconds(1).run(ns, &guest, GUEST)?;
    assert!(down.mbit() > 1.0, "{} Mbit/s", down.mbit());
    Ok(guest)
}

fn ends_under_load(daemon: &mut Daemon, ns: &Namespace, guest: &Guest) -> Result<()> {
    let _up = Iperf3::seconds(20).start(guest, ns, HOST)?;
    let _down = Iperf3::seconds(20).start(ns, guest, GUEST)?;
    std::thread::sleep(Duration::from_millis(1500));
    let start = Instant::now();
    let status = daemon.terminate()?;
    let took = start.elapsed();
    println!("SIGTERM under load: {status}, {took:?}");
    assert!(status.success(), "{status}\n{}", daemon.log());
    assert!(took < END, "{took:?}\n{}", daemon.log());
    assert!(!tap_exists(ns), "the tap it made is still there");
    assert!(!daemon.socket("vm1").exists());
    Ok(())
}

fn life(version: QemuVersion, kernel: Kernel) -> Result<()> {
    let ns = Namespace::new()?;
    let mut daemon = Daemon::new(&ns)
        .port("vm1", "tap1")
        .args(["--rate", "200mbit"])
        .start()?;
    give_addresses(&ns)?;
    let nic = nic(&daemon.socket("vm1")).reconnect(Duration::from_millis(100));
    let machine = Qemu::new(version, kernel).nic(nic);
    let guest = machine.clone().boot()?;
    reaches(&guest)?;
    survives_a_kill(&mut daemon, &ns, &guest)?;
    refuses_a_second(&mut daemon, &guest)?;
    let guest = serves_the_next(&mut daemon, &ns, guest, machine)?;
    // Made by the daemon that was killed, and still ours to remove.
    ends_under_load(&mut daemon, &ns, &guest)
}

#[test]
fn a_guest_of_qemu_7_2_and_its_daemon_come_and_go() -> Result<()> {
    life(QemuVersion::V7_2, Kernel::V6_1)
}

#[test]
fn a_guest_of_qemu_10_0_and_its_daemon_come_and_go() -> Result<()> {
    life(QemuVersion::V10_0, Kernel::V6_1)
}

#[test]
fn a_tap_of_somebody_else_stays_and_one_of_ours_outlives_only_a_kill() -> Result<()> {
    let ns = Namespace::new()?;
    ns.add_tap("tap1", 1)?;
    give_addresses(&ns)?;
    let mut daemon = Daemon::new(&ns).port("vm1", "tap1").start()?;
    waits(&mut daemon)?;
    assert!(daemon.terminate()?.success());
    has_its_addresses(&ns)?;
    daemon.restart()?;
    waits(&mut daemon)?;
    daemon.kill();
    has_its_addresses(&ns)?;
    ns.ip("link del tap1")?;

    for signal in [Signal::TERM, Signal::INT] {
        daemon.restart()?;
        waits(&mut daemon)?;
        assert!(tap_exists(&ns));
        daemon.kill();
        assert!(tap_exists(&ns), "it should outlive a SIGKILL");
        daemon.restart()?;
        waits(&mut daemon)?;
        daemon.process().signal(signal);
        assert!(daemon.process().wait(END)?.success());
        assert!(!tap_exists(&ns), "it should not outlive {signal:?}");
    }
    Ok(())
}

#[test]
fn a_sigterm_in_the_middle_of_the_start_leaves_nothing_behind() -> Result<()> {
    let ns = Namespace::new()?;
    let mut daemon = Daemon::new(&ns).port("vm1", "tap1").start()?;
    for _ in 0..10 {
        // Its socket is there, and its tap perhaps.
        let status = daemon.terminate()?;
        assert!(status.success(), "{status}\n{}", daemon.log());
        assert!(!tap_exists(&ns) && !daemon.socket("vm1").exists());
        daemon.restart()?;
    }
    Ok(())
}

/// Its socket comes before its tap.
fn waits(daemon: &mut Daemon) -> Result<()> {
    logs(daemon, "state=waiting")
}

fn logs(daemon: &mut Daemon, text: &str) -> Result<()> {
    let log = daemon.folder().join("log");
    let what = format!("`{text}` in its log");
    daemon.process().wait_until(&what, SOON, || {
        std::fs::read_to_string(&log).is_ok_and(|log| log.contains(text))
    })
}

#[test]
fn the_daemon_connects_to_a_qemu_that_listens_and_again_when_either_has_gone() -> Result<()> {
    let ns = Namespace::new()?;
    let mut daemon = Daemon::new(&ns)
        .args(["--connect", "{dir}/qemu.sock", "--tap", "tap1"])
        .start()?;
    waits(&mut daemon)?;
    give_addresses(&ns)?;
    let socket = daemon.folder().join("qemu.sock");
    let nic = addressed(Nic::vhost_user_listening(&socket));
    let machine = Qemu::new(QemuVersion::V10_0, Kernel::V6_12).nic(nic);
    // The daemon was there first, and tries again until QEMU listens.
    let guest = machine.clone().boot()?;
    reaches(&guest)?;
    // QEMU goes on listening when the daemon is killed, and takes the next.
    daemon.kill();
    daemon.restart()?;
    reaches(&guest)?;
    drop(guest);
    let guest = machine.boot()?;
    reaches(&guest)?;
    assert!(daemon.terminate()?.success());
    assert!(!tap_exists(&ns));
    assert!(socket.exists(), "QEMU's socket is not ours to remove");
    Ok(())
}

/// Starts a daemon that inherits a descriptor, and only that one.
fn inheriting(ns: &Namespace, socket: &impl std::os::fd::AsFd) -> Result<Daemon> {
    let number = socket.as_fd().as_raw_fd().to_string();
    rustix::io::fcntl_setfd(socket, FdFlags::empty()).expect("a descriptor to inherit");
    let daemon = Daemon::new(ns)
        .args(["--fd", &number, "--tap", "tap1"])
        .start();
    rustix::io::fcntl_setfd(socket, FdFlags::CLOEXEC).expect("a descriptor to keep");
    daemon
}

#[test]
fn an_inherited_listener_serves_a_guest_and_its_file_stays() -> Result<()> {
    let ns = Namespace::new()?;
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("vm1.sock");
    let listener = UnixListener::bind(&path).expect("a listener");
    let mut daemon = inheriting(&ns, &listener)?;
    drop(listener);
    waits(&mut daemon)?;
    give_addresses(&ns)?;
    let guest = Qemu::new(QemuVersion::V7_2, Kernel::V6_1)
        .nic(nic(&path))
        .boot()?;
    reaches(&guest)?;
    assert!(daemon.terminate()?.success());
    assert!(path.exists() && !tap_exists(&ns));
    Ok(())
}

#[test]
fn an_inherited_connection_is_the_only_one_and_its_end_is_a_clean_one() -> Result<()> {
    let ns = Namespace::new()?;
    let (front_end, ours) = UnixStream::pair().expect("a connection");
    let mut daemon = inheriting(&ns, &ours)?;
    drop(ours);
    logs(&mut daemon, "session=open")?;
    assert!(tap_exists(&ns));
    drop(front_end);
    let status = daemon.process().wait(END)?;
    assert!(status.success(), "{status}\n{}", daemon.log());
    assert!(!tap_exists(&ns));
    Ok(())
}
