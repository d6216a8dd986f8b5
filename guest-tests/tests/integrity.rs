//! What arrives is what was sent: a gibibyte each way by its SHA-256, numbered datagrams one by one, and
//! every datagram that is missing stands in somebody's drop counter.

use std::time::{Duration, Instant};

use guest_tests::{
    Daemon, Datagrams, Guest, Kernel, Namespace, Nic, Place, Qemu, QemuVersion, Result, Transfer,
};

const GIBIBYTE: u64 = 1 << 30;
/// An emulated guest takes about half of it.
const GIBIBYTE_TIME: Duration = Duration::from_secs(60);
const DATAGRAM_TIME: Duration = Duration::from_secs(30);
/// 1400 bytes of payload are 1466 on the wire: so many a second are 35 Mbit/s, below the limit of 50.
const BELOW: u32 = 3000;
/// 94 Mbit/s.
const ABOVE: u32 = 8000;

/// One guest with an unlimited interface for TCP and one limited to 50 Mbit/s each way for datagrams.
#[derive(Debug)]
struct Scene {
    guest: Guest,
    limited: Daemon,
    _unlimited: Daemon,
    ns: Namespace,
}

impl Scene {
    fn new() -> Result<Self> {
        let ns = Namespace::new()?;
        let unlimited = Daemon::new(&ns).port("vm1", "tap1").start()?;
        let limited = Daemon::new(&ns)
            .port("vm2", "tap2")
            .args(["--rate", "50mbit"])
            .start()?;
        ns.address("tap1", "192.0.2.1/24")?;
        ns.address("tap1", "2001:db8:1::1/64")?;
        ns.address("tap2", "198.18.0.1/24")?;
        let first = Nic::vhost_user(unlimited.socket("vm1"))
            .address("192.0.2.2/24")
            .address("2001:db8:1::2/64");
        let second = Nic::vhost_user(limited.socket("vm2")).address("198.18.0.2/24");
        let guest = Qemu::new(QemuVersion::V10_0, Kernel::V6_12)
            .nic(first)
            .nic(second)
            .boot()?;
        Ok(Self {
            guest,
            limited,
            _unlimited: unlimited,
            ns,
        })
    }

    /// Sends datagrams and compares what is missing with the drop counters along the way. Returns what the
    /// daemon and its tap have dropped: only theirs is what the limit explains.
    fn datagrams(&mut self, way: Way, rate: u32, count: u64) -> Result<u64> {
        let before = self.drops(way)?;
        let (from, to) = self.ends(way);
        let address = match way {
            Way::FromGuest => "198.18.0.1",
            Way::ToGuest => "198.18.0.2",
        };
        let report = Datagrams::count(count)
            .rate(rate)
            .run(from, to, address, DATAGRAM_TIME)?;
        let drops = self.drops(way)?.since(before);
        println!("{way:?} at {rate}/s: {report:?}, {drops:?}");
        assert_eq!(report.corrupted, 0, "{report:?}");
        assert_eq!((report.duplicated, report.reordered), (0, 0), "{report:?}");
        assert_eq!(report.received + report.missing, count, "{report:?}");
        assert_eq!(drops.checksum, 0, "{drops:?}");
        assert_eq!(report.missing, drops.total(), "{report:?}, {drops:?}");
        Ok(drops.daemon + drops.tap)
    }

    /// Sender and receiver.
    fn ends(&self, way: Way) -> (&dyn Place, &dyn Place) {
        match way {
            Way::FromGuest => (&self.guest, &self.ns),
            Way::ToGuest => (&self.ns, &self.guest),
        }
    }

    fn drops(&mut self, way: Way) -> Result<Drops> {
        let counters = self.limited.counters()?;
        let tap = |kind: &str| -> Result<u64> {
            let path = format!("cat /sys/class/net/tap2/statistics/{kind}");
            // The namespace's own: `/sys` outside of it shows other interfaces.
            number(&self.ns.shell(&path)?)
        };
        let (sender, receiver) = self.ends(way);
        let (daemon, tap, interface) = match way {
            Way::FromGuest => (counters.from_guest, tap("rx_dropped")?, "eth1"),
            Way::ToGuest => (counters.to_guest, tap("tx_dropped")?, "tap2"),
        };
        let [buffer, checksum] = udp_errors(receiver)?;
        Ok(Drops {
            sender: queue_drops(sender, interface)?,
            daemon: daemon.drops,
            tap,
            receiver: buffer,
            checksum,
        })
    }
}

#[derive(Debug, Clone, Copy)]
enum Way {
    FromGuest,
    ToGuest,
}

/// Where datagrams may be lost.
#[derive(Debug, Clone, Copy)]
struct Drops {
    /// The sender's own queueing discipline had enough: it is late, and sends what it missed at once.
    sender: u64,
    daemon: u64,
    tap: u64,
    /// The receiver's socket was full.
    receiver: u64,
    /// The receiver's kernel found a wrong checksum.
    checksum: u64,
}

impl Drops {
    fn total(self) -> u64 {
        self.sender + self.daemon + self.tap + self.receiver + self.checksum
    }

    fn since(self, before: Self) -> Self {
        Self {
            sender: self.sender - before.sender,
            daemon: self.daemon - before.daemon,
            tap: self.tap - before.tap,
            receiver: self.receiver - before.receiver,
            checksum: self.checksum - before.checksum,
        }
    }
}

/// `RcvbufErrors` and `InCsumErrors` of UDP over IPv4 (RFC 4113 and Linux's own).
fn udp_errors(place: &dyn Place) -> Result<[u64; 2]> {
    let text = place.shell("grep ^Udp: /proc/net/snmp")?;
    let mut lines = text.lines().map(|line| line.split_whitespace());
    let names: Vec<_> = lines.next().expect("a line of names").collect();
    let values: Vec<_> = lines.next().expect("a line of values").collect();
    let value = |name: &str| {
        let at = names.iter().position(|other| *other == name);
        number(values[at.expect("a known name")])
    };
    Ok([value("RcvbufErrors")?, value("InCsumErrors")?])
}

/// What the queueing discipline of an interface has dropped.
fn queue_drops(place: &dyn Place, interface: &str) -> Result<u64> {
    let text = place.shell(&format!("tc -s qdisc show dev {interface}"))?;
    let (_, dropped) = text.split_once("(dropped ").expect("a count of drops");
    number(dropped.split(',').next().expect("a first word"))
}

fn number(text: &str) -> Result<u64> {
    Ok(text.trim().parse().expect("a number"))
}

#[test]
fn a_gibibyte_each_way_and_every_datagram_is_accounted_for() -> Result<()> {
    let mut scene = Scene::new()?;
    for (way, address) in [
        (Way::FromGuest, "192.0.2.1"),
        (Way::ToGuest, "2001:db8:1::2"),
    ] {
        let (from, to) = scene.ends(way);
        let start = Instant::now();
        let report = Transfer::bytes(GIBIBYTE).run(from, to, address, GIBIBYTE_TIME)?;
        assert_eq!(report.bytes, GIBIBYTE);
        println!("{way:?}: {} in {:?}", report.sha256, start.elapsed());
    }
    // Below the limit nothing is lost, and the counters say so.
    assert_eq!(scene.datagrams(Way::FromGuest, BELOW, 15_000)?, 0);
    assert_eq!(scene.datagrams(Way::ToGuest, BELOW, 15_000)?, 0);
    // Above it a guest waits in its own queue, and what the host sends too much is dropped and counted.
    assert_eq!(scene.datagrams(Way::FromGuest, ABOVE, 20_000)?, 0);
    let lost = scene.datagrams(Way::ToGuest, ABOVE, 20_000)?;
    assert!(
        lost > 2000,
        "{lost} lost of twice what the limit lets through"
    );
    Ok(())
}
