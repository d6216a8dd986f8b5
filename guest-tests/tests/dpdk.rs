//! DPDK's virtio-user, a second real front-end: it connects, runs, stops and comes back.

use std::time::Duration;

use guest_tests::peers::{Cores, HugePages, Load, Testpmd, frame_rate};
use guest_tests::{Daemon, Namespace, Result};

/// Enough for testpmd's buffers and rings, in pages of 2 MiB.
const PAGES: u64 = 200;

#[test]
fn dpdk_connects_runs_stops_and_comes_back() -> Result<()> {
    let ns = Namespace::new()?;
    let pages = HugePages::reserve(PAGES)?;
    let cores = Cores::first_two()?;
    let mut daemon = Daemon::new(&ns)
        .port("vm1", "tap1")
        .args(["--rate", "100mbit"])
        .start()?;
    let socket = daemon.socket("vm1");
    let base = daemon.usage()?.descriptors;
    // 1500 bytes are 1524 on the wire.
    let limit = 100e6 / 8.0 / 1524.0;
    for stops in [true, false, true] {
        let mut guest =
            Testpmd::generator(&ns, &pages, cores, &socket, Load::Frames { len: 1500 })?;
        let rate = frame_rate(&ns, "tap1", Duration::from_secs(1))?;
        println!("{rate:.0} frames/s of {limit:.0}");
        assert!(
            rate <= limit * 1.01,
            "{rate} frames/s past a limit of {limit}"
        );
        assert!(rate >= limit * 0.5, "{rate} frames/s of {limit}");
        if stops {
            guest.stop()?;
        }
        drop(guest);
    }
    let counters = daemon.counters()?;
    assert_eq!(
        (counters.from_guest.drops, counters.broken_rings),
        (0, 0),
        "{counters:?}"
    );
    assert_eq!(
        daemon.usage()?.descriptors,
        base,
        "descriptors after three sessions"
    );
    Ok(())
}
