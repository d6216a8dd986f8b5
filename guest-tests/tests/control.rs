//! The control experiment: guests behind QEMU's own tap back-end. When these fail, the harness or the
//! machine is at fault, not the daemon.

use std::time::{Duration, Instant};

use guest_tests::{
    Datagrams, Guest, Iperf3, Kernel, Namespace, Nic, Place, Qemu, QemuVersion, Result, Transfer,
    ping,
};

const HOST: &str = "192.0.2.1";
const GUEST: &str = "192.0.2.2";
const HOST6: &str = "2001:db8::1";

/// Prints how long each step took, for whoever wonders where the time of a run goes.
fn step<T>(name: &str, action: impl FnOnce() -> Result<T>) -> Result<T> {
    let start = Instant::now();
    let value = action()?;
    println!("{name}: {:.2} s", start.elapsed().as_secs_f64());
    Ok(value)
}

fn boot(ns: &Namespace, version: QemuVersion, kernel: Kernel) -> Result<Guest> {
    ns.add_tap("tap0", 1)?;
    ns.address("tap0", "192.0.2.1/24")?;
    ns.address("tap0", "2001:db8::1/64")?;
    let nic = Nic::tap(ns, "tap0")
        .address("192.0.2.2/24")
        .address("2001:db8::2/64");
    Qemu::new(version, kernel).nic(nic).boot()
}

fn reaches_the_host(version: QemuVersion, kernel: Kernel) -> Result<()> {
    let ns = Namespace::new()?;
    let mut guest = step("boot", || boot(&ns, version, kernel))?;
    println!("kernel {}", guest.shell("uname -r")?.trim());

    let trips = step("ping", || ping(&guest, HOST, 20))?;
    assert_eq!(trips.lost(), 0, "{trips:?}");
    assert_eq!(ping(&guest, HOST6, 3)?.lost(), 0);
    println!(
        "round trip {:.2} ms, deviation {:.2} ms",
        trips.average(),
        trips.deviation()
    );

    let up = step("iperf3 from the guest", || {
        Iperf3::seconds(2).run(&guest, &ns, HOST)
    })?;
    let down = step("iperf3 to the guest", || {
        Iperf3::seconds(2).run(&ns, &guest, GUEST)
    })?;
    println!(
        "from-guest {:.0} Mbit/s, to-guest {:.0} Mbit/s",
        up.mbit(),
        down.mbit()
    );
    assert!(up.mbit() > 10.0 && down.mbit() > 10.0);
    let udp = Iperf3::seconds(1).udp("5M").run(&guest, &ns, HOST)?;
    assert!((4.0..6.0).contains(&udp.mbit()), "{} Mbit/s", udp.mbit());

    assert!(
        guest
            .shell("ethtool -k eth0")?
            .contains("tcp-segmentation-offload: on")
    );
    guest.shell("ethtool -K eth0 tso off gso off")?;
    assert!(
        guest
            .shell("ethtool -k eth0")?
            .contains("tcp-segmentation-offload: off")
    );

    let minute = Duration::from_secs(60);
    let sent = step("hashed transfer", || {
        Transfer::bytes(8 << 20).run(&guest, &ns, HOST6, minute)
    })?;
    assert_eq!(sent.bytes, 8 << 20);
    let report = Datagrams::count(500)
        .rate(1000)
        .run(&ns, &guest, GUEST, minute)?;
    assert_eq!(
        (report.received, report.missing, report.corrupted),
        (500, 0, 0)
    );

    step("reboot", || guest.reboot())?;
    assert_eq!(ping(&guest, HOST, 3)?.lost(), 0);
    step("reset", || guest.reset())?;
    assert_eq!(ping(&guest, HOST6, 3)?.lost(), 0);
    let start = Instant::now();
    guest.kill();
    println!("kill: {:.2} s", start.elapsed().as_secs_f64());
    assert!(guest.shell("true").is_err());
    Ok(())
}

#[test]
fn a_guest_behind_qemus_own_tap_reaches_the_host() -> Result<()> {
    reaches_the_host(QemuVersion::V7_2, Kernel::V6_1)
}

#[test]
fn a_guest_of_newer_qemu_and_kernel_behind_qemus_own_tap_reaches_the_host() -> Result<()> {
    reaches_the_host(QemuVersion::V10_0, Kernel::V6_12)
}

#[test]
fn a_job_that_outlives_its_time_is_killed() -> Result<()> {
    let ns = Namespace::new()?;
    let guest = Qemu::new(QemuVersion::V10_0, Kernel::V6_1).boot()?;
    for place in [&guest as &dyn Place, &ns] {
        let late = place.run("sleep 77", Duration::from_millis(300));
        assert!(
            matches!(late, Err(guest_tests::Error::Timeout { .. })),
            "{late:?}"
        );
        let status = place.run("exit 3", Duration::from_secs(20))?.status;
        assert_eq!(status, 3);
    }
    assert!(!guest.shell("ps")?.contains("sleep 77"));
    Ok(())
}
