//! `guest`: TCP between a QEMU guest and its host, unlimited through us and through QEMU's own
//! virtio-net on a tap. Both guests stay up; only the one that is measured does anything.

use guest_tests::{
    Daemon, Guest, Iperf3, Kernel, Namespace, Nic, Place, Qemu, QemuVersion, Result,
};

use crate::Stop;
use crate::choice::Choice;
use crate::figures::{self, Series};

const SECONDS: u32 = 4;
const TAP: &str = "tap0";
const HOST: &str = "192.0.2.1";
const GUEST: &str = "192.0.2.2";
/// Both with the newer QEMU: the older needs another interrupt mode for vhost-user than for a tap.
const QEMU: QemuVersion = QemuVersion::V10_0;
const KERNEL: Kernel = Kernel::V6_12;

pub(crate) fn run(stop: &Stop, choice: &Choice) -> Result<()> {
    let (our_side, tap_side) = (Namespace::new()?, Namespace::new()?);
    let daemon = Daemon::new(&our_side).port("vm1", TAP).start()?;
    our_side.address(TAP, &format!("{HOST}/24"))?;
    let ours = boot(Nic::vhost_user(daemon.socket("vm1")))?;
    tap_side.add_tap(TAP, 1)?;
    tap_side.address(TAP, &format!("{HOST}/24"))?;
    let other = boot(Nic::tap(&tap_side, TAP))?;
    let pairs = [(&ours, &our_side), (&other, &tap_side)];
    for direction in ["from", "to"] {
        let mut series = [Series::new("ours"), Series::new("qemu")];
        let prefix = format!("guest.{direction}");
        for round in 1..=choice.rounds() {
            for (&(guest, host), series) in pairs.iter().zip(&mut series) {
                stop.check()?;
                let rate = measure(direction, guest, host)?;
                eprintln!("round {round}: {prefix}.{} {rate:.1} Mbit/s", series.name());
                series.add(rate);
            }
        }
        let [ours, qemu] = &series;
        figures::megabits(&prefix, ours);
        figures::megabits(&prefix, qemu);
        figures::ratio(&format!("{prefix}.ratio"), ours.ratio_to(qemu));
    }
    Ok(())
}

fn boot(nic: Nic) -> Result<Guest> {
    Qemu::new(QEMU, KERNEL)
        .nic(nic.address(&format!("{GUEST}/24")))
        .boot()
}

fn measure(direction: &str, guest: &dyn Place, host: &dyn Place) -> Result<f64> {
    let run = Iperf3::seconds(SECONDS);
    let throughput = match direction {
        "from" => run.run(guest, host, HOST)?,
        _ => run.run(host, guest, GUEST)?,
    };
    Ok(throughput.mbit())
}
