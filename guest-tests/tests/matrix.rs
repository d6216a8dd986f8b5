//! Kinds of guests and networks: each pair of settings that can differ at a boot occurs in one of five cases
//! (a covering array of strength two), and what can be changed in a running guest is changed in each.

use std::time::{Duration, Instant};

use guest_tests::{
    Daemon, Guest, Iperf3, Kernel, Namespace, Nic, Place, Qemu, QemuVersion, Result, Transfer, ping,
};

/// IPv4 and IPv6: the host's address and the guest's.
const FAMILIES: [[&str; 2]; 2] = [["192.0.2.1", "192.0.2.2"], ["2001:db8::1", "2001:db8::2"]];
const TRANSFER_TIME: Duration = Duration::from_secs(20);
/// Enough for dozens of super-frames, or a good thousand frames.
const TRANSFER: u64 = 2 << 20;

/// What `ethtool -K eth0` is told while the guest runs, in turn; each setting starts from the one before.
const OFFLOADS: [&str; 6] = [
    "",
    "gro off rx-gro-hw off",
    "tso off",
    "gso off",
    "tx off sg off",
    "tx on sg on tso on gso on gro on rx-gro-hw on",
];

/// Properties of a NIC that takes no offload and gives its buffers one by one.
const PLAIN: &str = "csum=off,gso=off,guest_csum=off,guest_tso4=off,guest_tso6=off,guest_ecn=off,\
     host_tso4=off,host_tso6=off,host_ecn=off,mrg_rxbuf=off";

/// How a guest leaves and comes back to the same daemon.
#[derive(Debug, Clone, Copy)]
enum Return {
    /// It reboots itself.
    Reboot,
    /// Its machine is reset.
    Reset,
    /// Its QEMU is killed and another one started.
    Replace,
}

#[derive(Debug)]
struct Case {
    qemu: QemuVersion,
    mtu: u16,
    pairs: u16,
    /// Whether the NIC takes no offloads.
    plain: bool,
    returns: &'static [Return],
}

impl Case {
    fn nic(&self, daemon: &Daemon) -> Nic {
        let mut nic = Nic::vhost_user(daemon.socket("vm1"))
            .queues(self.pairs)
            .address("192.0.2.2/24")
            .address("2001:db8::2/64");
        if self.mtu != 1500 {
            nic = nic.property(&format!("host_mtu={}", self.mtu));
        }
        if self.plain {
            nic = nic.property(PLAIN);
        }
        nic
    }

    fn run(&self) -> Result<()> {
        let start = Instant::now();
        let ns = Namespace::new()?;
        let mut daemon = Daemon::new(&ns)
            .port("vm1", "tap1")
            .args(["--mtu".to_owned(), self.mtu.to_string()])
            .args(["--queues".to_owned(), self.pairs.to_string()])
            .start()?;
        ns.address("tap1", "192.0.2.1/24")?;
        ns.address("tap1", "2001:db8::1/64")?;
        let kernel = match self.qemu {
            QemuVersion::V7_2 => Kernel::V6_1,
            QemuVersion::V10_0 => Kernel::V6_12,
        };
        let machine = Qemu::new(self.qemu, kernel)
            .nic(self.nic(&daemon))
            .processors(self.pairs.into());
        let mut guest = machine.clone().boot()?;
        self.check(&ns, &guest)?;
        for way in self.returns {
            match way {
                Return::Reboot => guest.reboot()?,
                Return::Reset => guest.reset()?,
                Return::Replace => {
                    guest.kill();
                    guest = machine.clone().boot()?;
                }
            }
            self.reaches(&ns, &guest)?;
            transfers(&ns, &guest)?;
        }
        let counters = daemon.counters()?;
        assert_eq!(counters.broken_rings, 0, "{}", daemon.log());
        println!("{self:?}: {:?}, {counters:?}", start.elapsed());
        assert!(daemon.terminate()?.success());
        Ok(())
    }

    fn check(&self, ns: &Namespace, guest: &Guest) -> Result<()> {
        self.reaches(ns, guest)?;
        if self.pairs > 1 {
            self.both_pairs_carry_traffic(ns, guest)?;
        }
        // Without offloads there are none to turn on and off.
        let settings = if self.plain {
            &OFFLOADS[..1]
        } else {
            &OFFLOADS
        };
        for setting in settings {
            if !setting.is_empty() {
                guest.shell(&format!("ethtool -K eth0 {setting}"))?;
            }
            transfers(ns, guest)?;
        }
        let features = guest.shell("ethtool -k eth0")?;
        let tso = format!(
            "tcp-segmentation-offload: {}",
            if self.plain { "off" } else { "on" }
        );
        assert!(features.contains(&tso), "{features}");
        Ok(())
    }

    /// The MTU is as asked, frames of it pass unfragmented, and small ones too, in both families.
    fn reaches(&self, ns: &Namespace, guest: &Guest) -> Result<()> {
        let mtu = guest.shell("cat /sys/class/net/eth0/mtu")?;
        assert_eq!(mtu.trim(), self.mtu.to_string());
        // IP's header and the echo's.
        for ([host, guests], headers) in FAMILIES.into_iter().zip([28, 48]) {
            for (from, to) in [(guest as &dyn Place, host), (ns, guests)] {
                let trips = ping(from, to, 5)?;
                assert_eq!(trips.lost(), 0, "to {to}: {trips:?}");
            }
            let size = self.mtu - headers;
            let text = guest.shell(&format!("ping -n -M do -s {size} -i 0.02 -W 2 -c 3 {host}"))?;
            assert!(text.contains(" 0% packet loss"), "{text}");
        }
        Ok(())
    }

    /// Traffic made on each processor takes that processor's pair, there and back.
    fn both_pairs_carry_traffic(&self, ns: &Namespace, guest: &Guest) -> Result<()> {
        let pairs = self.pairs;
        guest.shell(&format!("ethtool -L eth0 combined {pairs}"))?;
        let [host, _] = FAMILIES[0];
        for pair in 0..pairs {
            let before = (
                queue_bytes(guest, "eth0", pair)?,
                queue_bytes(ns, "tap1", pair)?,
            );
            // The host answers on the pair that the flow came from: `-R` sends the bulk there.
            for reverse in ["", "-R"] {
                let options = format!("-A {pair} {reverse}");
                let rate = Iperf3::seconds(1).option(&options).run(guest, ns, host)?;
                assert!(rate.mbit() > 1.0, "{} Mbit/s", rate.mbit());
            }
            let from_guest = queue_bytes(guest, "eth0", pair)? - before.0;
            let to_guest = queue_bytes(ns, "tap1", pair)? - before.1;
            println!("pair {pair}: {from_guest} bytes from, {to_guest} bytes to the guest");
            assert!(from_guest > 100_000, "pair {pair}: {from_guest} bytes");
            assert!(to_guest > 100_000, "pair {pair}: {to_guest} bytes");
        }
        Ok(())
    }
}

/// Hashed bytes each way in each family.
fn transfers(ns: &Namespace, guest: &Guest) -> Result<()> {
    let transfer = Transfer::bytes(TRANSFER);
    for [host, guests] in FAMILIES {
        transfer.run(guest, ns, host, TRANSFER_TIME)?;
        transfer.run(ns, guest, guests, TRANSFER_TIME)?;
    }
    Ok(())
}

/// Bytes that an interface has sent through one of its queues: what that queue's own discipline, a child of
/// `mq`, has counted. Classes are numbered from one, in hexadecimal.
fn queue_bytes(place: &dyn Place, interface: &str, queue: u16) -> Result<u64> {
    let text = place.shell(&format!("tc -s qdisc show dev {interface}"))?;
    let parent = format!("parent :{:x} ", queue + 1);
    let mut lines = text.lines().skip_while(|line| !line.contains(&parent));
    let sent = lines.nth(1).and_then(|line| line.split_whitespace().nth(1));
    Ok(sent
        .and_then(|bytes| bytes.parse().ok())
        .unwrap_or_else(|| {
            panic!("no queue {queue} of {interface} in: {text}");
        }))
}

macro_rules! case {
    ($name:ident, $qemu:ident, $mtu:literal, $pairs:literal, $plain:literal, $returns:expr) => {
        #[test]
        fn $name() -> Result<()> {
            Case {
                qemu: QemuVersion::$qemu,
                mtu: $mtu,
                pairs: $pairs,
                plain: $plain,
                returns: &$returns,
            }
            .run()
        }
    };
}

use Return::{Reboot, Replace, Reset};
case!(
    qemu_7_2_with_one_pair,
    V7_2,
    1500,
    1,
    false,
    [Reboot, Reset]
);
case!(
    qemu_7_2_plain_with_jumbo_frames_and_two_pairs,
    V7_2,
    9000,
    2,
    true,
    [Replace]
);
case!(
    qemu_10_0_plain_with_two_pairs,
    V10_0,
    1500,
    2,
    true,
    [Reboot]
);
case!(
    qemu_10_0_plain_with_jumbo_frames,
    V10_0,
    9000,
    1,
    true,
    [Reset]
);
case!(
    qemu_10_0_with_jumbo_frames_and_two_pairs,
    V10_0,
    9000,
    2,
    false,
    [Reset, Replace]
);
