//! `guest`: TCP between a QEMU guest and its host, unlimited through us and through QEMU's own virtio-net on a tap:
//! payload, processor time of the host (QEMU's, and our daemon's) for it, and through us how often guest and daemon
//! call each other. No thread is kept on a processor. An emulated guest can be half as fast as another of its kind
//! for as long as it lives, so every turn boots one of its own.

use std::cell::RefCell;
use std::time::Duration;

use guest_tests::{
    Counters, Daemon, Guest, Iperf3, Kernel, Namespace, Nic, Qemu, QemuVersion, Result,
};

use crate::Stop;
use crate::choice::Choice;
use crate::race::Race;

const ROUNDS: u16 = 5;
const SECONDS: u32 = 4;
/// What the emulator has translated once it need not again.
const WARM_UP: u32 = 1;
/// Of a turn: four each way.
const FIGURES: usize = 8;
const TAP: &str = "tap0";
const HOST: &str = "192.0.2.1";
const GUEST: &str = "192.0.2.2";
/// Both with the newer QEMU: the older needs another interrupt mode for vhost-user than for a tap.
const QEMU: QemuVersion = QemuVersion::V10_0;
const KERNEL: Kernel = Kernel::V6_12;

/// Which way the bulk goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    FromGuest,
    ToGuest,
}

/// A guest, its host, and who is between them. Dropped in this order.
struct Pair {
    guest: RefCell<Guest>,
    daemon: Option<RefCell<Daemon>>,
    host: Namespace,
}

pub(crate) fn run(stop: &Stop, choice: &Choice) -> Result<()> {
    let race = Race {
        stop,
        choice: &choice.usually(ROUNDS),
        prefix: "",
        unit: "",
        references: &["qemu"],
    };
    let parts = ["from", "to"].map(|way| {
        let figures = [
            ("", "Mbit/s"),
            (".cpu", "ms/GB"),
            (".kicks", "/frame"),
            (".calls", "/frame"),
        ];
        figures.map(|(figure, unit)| (format!("guest.{way}{figure}"), unit))
    });
    let parts = parts.as_flattened();
    race.run_parts(
        std::array::from_fn::<_, FIGURES, _>(|part| {
            let (prefix, unit) = &parts[part];
            (prefix.as_str(), *unit)
        }),
        &[
            ("ours", Pair::ours as fn() -> Result<Pair>),
            ("qemu", Pair::qemu),
        ],
        |start| {
            let pair = start()?;
            pair.measure(Way::FromGuest, WARM_UP)?;
            let from = pair.measure(Way::FromGuest, SECONDS)?;
            let both = [from, pair.measure(Way::ToGuest, SECONDS)?];
            Ok(std::array::from_fn(|figure| both.as_flattened()[figure]))
        },
    )
}

impl Pair {
    fn ours() -> Result<Self> {
        let host = Namespace::new()?;
        let daemon = Daemon::new(&host).port("vm1", TAP).start()?;
        host.address(TAP, &format!("{HOST}/24"))?;
        let guest = boot(Nic::vhost_user(daemon.socket("vm1")))?;
        Ok(Self {
            guest: RefCell::new(guest),
            daemon: Some(RefCell::new(daemon)),
            host,
        })
    }

    fn qemu() -> Result<Self> {
        let host = Namespace::new()?;
        host.add_tap(TAP, 1)?;
        host.address(TAP, &format!("{HOST}/24"))?;
        let guest = boot(Nic::tap(&host, TAP))?;
        Ok(Self {
            guest: RefCell::new(guest),
            daemon: None,
            host,
        })
    }

    /// Megabits a second, milliseconds of processor for 10^9 bytes, kicks and calls for each frame either way.
    fn measure(&self, way: Way, seconds: u32) -> Result<[f64; 4]> {
        let (cpu, counters) = (self.processor_time()?, self.counters()?);
        let iperf = Iperf3::seconds(seconds);
        let throughput = {
            let guest = self.guest.borrow();
            match way {
                Way::FromGuest => iperf.run(&*guest, &self.host, HOST)?,
                Way::ToGuest => iperf.run(&self.host, &*guest, GUEST)?,
            }
        };
        let cpu = self.processor_time()?.saturating_sub(cpu);
        let gigabytes = throughput.bits_per_second * f64::from(seconds) / 8e9;
        let [kicks, calls] = match counters.zip(self.counters()?) {
            Some((before, after)) => signals(&before, &after),
            None => [f64::NAN; 2],
        };
        let millis = cpu.as_secs_f64() * 1000.0;
        Ok([throughput.mbit(), millis / gigabytes, kicks, calls])
    }

    fn processor_time(&self) -> Result<Duration> {
        let guest = self.guest.borrow_mut().process().usage()?.cpu;
        Ok(match &self.daemon {
            Some(daemon) => guest + daemon.borrow().usage()?.cpu,
            None => guest,
        })
    }

    fn counters(&self) -> Result<Option<Counters>> {
        let daemon = self.daemon.as_ref();
        daemon
            .map(|daemon| daemon.borrow_mut().counters())
            .transpose()
    }
}

fn boot(nic: Nic) -> Result<Guest> {
    Qemu::new(QEMU, KERNEL)
        .nic(nic.address(&format!("{GUEST}/24")))
        .boot()
}

/// Kicks and calls for each frame either way; a super-frame is one.
fn signals(before: &Counters, after: &Counters) -> [f64; 2] {
    let more = |count: fn(&Counters) -> u64| {
        let more = count(after).saturating_sub(count(before));
        u32::try_from(more).map_or(f64::NAN, f64::from)
    };
    let frames = more(|counters| counters.from_guest.frames + counters.to_guest.frames);
    let calls = more(|counters| counters.from_guest.calls + counters.to_guest.calls);
    [more(|counters| counters.kicks), calls].map(|count| count / frames)
}

#[cfg(test)]
mod tests {
    use guest_tests::Direction;

    use super::*;

    #[test]
    fn signals_are_counted_for_frames_of_both_directions() {
        let direction = |frames, calls| Direction {
            frames,
            calls,
            ..Direction::default()
        };
        let counters = |kicks, from_guest, to_guest| Counters {
            kicks,
            from_guest,
            to_guest,
            ..Counters::default()
        };
        let before = counters(1, direction(5, 1), direction(5, 1));
        let after = counters(6, direction(10, 2), direction(10, 2));
        let [kicks, calls] = signals(&before, &after);
        assert!((kicks - 0.5).abs() < 1e-9 && (calls - 0.2).abs() < 1e-9);
    }
}
