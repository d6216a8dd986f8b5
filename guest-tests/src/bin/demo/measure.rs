//! One guest behind one daemon: both directions measured, with round trips beside them.

use std::collections::BTreeMap;
use std::io::Write;
use std::thread;
use std::time::{Duration, Instant};

use guest_tests::{
    Daemon, Direction as Counted, Guest, Iperf3, Kernel, Namespace, Nic, Qemu, QemuVersion, Result,
    ping,
};

/// The tap's name and address, and the guest's address.
pub(crate) const TAP: &str = "tap1";
pub(crate) const HOST: &str = "192.0.2.1";
pub(crate) const GUEST: &str = "192.0.2.2";
const PREFIX: u8 = 24;

/// Bytes on the wire (preamble, gap and checksum included) for a full TCP segment, and its payload: an MTU
/// of 1500 less the headers of IPv4 and of TCP with timestamps.
const WIRE_PER_PAYLOAD: f64 = 1538.0 / 1448.0;
/// What a measurement may differ by without telling anything about the limiter.
pub(crate) const TOLERANCE: f64 = 0.005;
/// A guest that reaches less of its limit than this is compared with one that has none.
const REACHED: f64 = 0.97;
/// Pings at rest and under load, 20 ms apart.
const PINGS: u32 = 100;
/// TCP's start, which is measured neither by iperf3 nor by ping.
const START: Duration = Duration::from_secs(2);

/// What is the same for all guests of a run.
#[derive(Debug)]
pub(crate) struct Setup {
    pub(crate) qemu: QemuVersion,
    pub(crate) kernel: Kernel,
    pub(crate) seconds: u32,
}

/// A limit in Mbit/s, or none.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limit(Option<u32>);

impl Limit {
    pub(crate) fn mbit(mbit: u32) -> Self {
        Self(Some(mbit))
    }

    pub(crate) fn none() -> Self {
        Self(None)
    }

    /// In Mbit/s.
    pub(crate) fn value(self) -> Option<f64> {
        self.0.map(f64::from)
    }

    pub(crate) fn name(self) -> String {
        match self.0 {
            None => "no limit".to_owned(),
            Some(mbit) if mbit % 1000 == 0 => format!("{} Gbit/s", mbit / 1000),
            Some(mbit) => format!("{mbit} Mbit/s"),
        }
    }

    fn option(self) -> Option<String> {
        self.0.map(|mbit| format!("{mbit}mbit"))
    }
}

/// Round trips in milliseconds.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Trips {
    pub(crate) median: f64,
    pub(crate) max: f64,
}

impl Trips {
    fn of(mut times: Vec<f64>) -> Self {
        times.sort_by(f64::total_cmp);
        Self {
            // Without an answer there is no time.
            median: times.get(times.len() / 2).copied().unwrap_or(f64::NAN),
            max: times.last().copied().unwrap_or(f64::NAN),
        }
    }
}

/// Frames that the daemon dropped, by its name of the reason.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Drops(BTreeMap<String, u64>);

impl Drops {
    /// Those that were counted between two looks.
    fn between(before: &Counted, after: &Counted) -> Self {
        let news = after.reasons.iter().map(|(reason, count)| {
            let earlier = before.reasons.get(reason).copied().unwrap_or(0);
            (reason.clone(), count.saturating_sub(earlier))
        });
        Self(news.filter(|(_, count)| *count > 0).collect())
    }

    /// All of them.
    pub(crate) fn total(&self) -> u64 {
        self.0.values().sum()
    }

    /// Each reason with its count, as `queue-full 37`.
    pub(crate) fn by_reason(&self) -> String {
        let words = self.0.iter();
        let words: Vec<String> = words.map(|(reason, n)| format!("{reason} {n}")).collect();
        words.join(", ")
    }
}

/// One direction.
#[derive(Debug)]
pub(crate) struct Direction {
    pub(crate) name: &'static str,
    /// Mbit/s on the wire.
    pub(crate) wire: f64,
    pub(crate) resent: u64,
    pub(crate) loaded: Trips,
    pub(crate) drops: Drops,
}

/// One guest, measured.
#[derive(Debug)]
pub(crate) struct Measured {
    pub(crate) limit: Limit,
    pub(crate) idle: Trips,
    pub(crate) directions: [Direction; 2],
}

impl Measured {
    /// A direction's distance from the limit, as a part of it.
    pub(crate) fn error(&self, direction: &Direction) -> Option<f64> {
        self.limit.value().map(|asked| direction.wire / asked - 1.0)
    }

    pub(crate) fn exceeded(&self, direction: &Direction) -> bool {
        self.error(direction).is_some_and(|error| error > TOLERANCE)
    }

    /// Whether a direction did not use what it was given.
    pub(crate) fn short(&self, direction: &Direction) -> bool {
        self.error(direction)
            .is_some_and(|error| 1.0 + error < REACHED)
    }

    pub(crate) fn fell_short(&self) -> bool {
        self.directions
            .iter()
            .any(|direction| self.short(direction))
    }
}

/// What was started, in the order in which it ends: the guest before its daemon before their namespace.
#[derive(Debug)]
pub(crate) struct Stage {
    pub(crate) guest: Guest,
    pub(crate) daemon: Daemon,
    pub(crate) ns: Namespace,
}

impl Stage {
    /// A guest behind a daemon with these arguments.
    pub(crate) fn start(setup: &Setup, args: &[&str]) -> Result<Self> {
        let ns = Namespace::new()?;
        let daemon = Daemon::new(&ns).port("vm1", TAP).args(args).start()?;
        ns.address(TAP, &format!("{HOST}/{PREFIX}"))?;
        let nic = Nic::vhost_user(daemon.socket("vm1")).address(&format!("{GUEST}/{PREFIX}"));
        let guest = Qemu::new(setup.qemu, setup.kernel).nic(nic).boot()?;
        Ok(Self { guest, daemon, ns })
    }
}

/// Boots a guest with this limit and measures it.
pub(crate) fn measure(setup: &Setup, limit: Limit) -> Result<Measured> {
    let start = Instant::now();
    progress(&format!("{}: booting,", limit.name()));
    let option = limit.option();
    let args: Vec<&str> = option.iter().flat_map(|rate| ["--rate", rate]).collect();
    let mut stage = Stage::start(setup, &args)?;
    progress(" idle ping,");
    let idle = Trips::of(ping(&stage.guest, HOST, PINGS)?.times);
    progress(" from-guest,");
    let up = direction(&mut stage, setup.seconds, true)?;
    progress(" to-guest");
    let down = direction(&mut stage, setup.seconds, false)?;
    println!(": done in {} s", start.elapsed().as_secs());
    Ok(Measured {
        limit,
        idle,
        directions: [up, down],
    })
}

fn direction(stage: &mut Stage, seconds: u32, up: bool) -> Result<Direction> {
    let before = stage.daemon.counters()?;
    let (guest, ns) = (&stage.guest, &stage.ns);
    let test = Iperf3::seconds(seconds).option("-O 1");
    let load = if up {
        test.start(guest, ns, HOST)?
    } else {
        test.start(ns, guest, GUEST)?
    };
    thread::sleep(START);
    let loaded = Trips::of(ping(guest, HOST, PINGS)?.times);
    let result = load.finish()?;
    let after = stage.daemon.counters()?;
    let (name, before, after) = if up {
        ("from-guest", before.from_guest, after.from_guest)
    } else {
        ("to-guest", before.to_guest, after.to_guest)
    };
    Ok(Direction {
        name,
        wire: result.mbit() * WIRE_PER_PAYLOAD,
        resent: result.retransmits,
        loaded,
        drops: Drops::between(&before, &after),
    })
}

/// Part of a line, to be seen at once.
fn progress(text: &str) {
    print!("{text}");
    // Nobody to tell: the result is printed later all the same.
    let _ = std::io::stdout().flush();
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Both directions alike; `drops` frames were dropped from the guest.
    pub(crate) fn measured(limit: Limit, wire: f64, drops: u64) -> Measured {
        let direction = |name, drops| Direction {
            name,
            wire,
            resent: 12,
            loaded: Trips::of(vec![13.6, 170.0]),
            drops: Drops(BTreeMap::from([("queue-full".to_owned(), drops)])),
        };
        Measured {
            limit,
            idle: Trips::of(vec![0.7, 16.9]),
            directions: [direction("from-guest", drops), direction("to-guest", 0)],
        }
    }

    #[test]
    fn the_median_is_the_middle_of_the_sorted_times() {
        let trips = Trips::of(vec![9.0, 1.0, 2.0]);
        assert!((trips.median - 2.0).abs() < 1e-9 && (trips.max - 9.0).abs() < 1e-9);
        assert!(Trips::of(Vec::new()).median.is_nan());
    }

    #[test]
    fn only_drops_between_two_looks_count() {
        let counted = |pairs: &[(&str, u64)]| Counted {
            reasons: pairs
                .iter()
                .map(|(name, n)| ((*name).to_owned(), *n))
                .collect(),
            ..Counted::default()
        };
        let before = counted(&[("not-listening", 2), ("queue-full", 1)]);
        let after = counted(&[("not-listening", 2), ("queue-full", 8)]);
        let drops = Drops::between(&before, &after);
        assert_eq!(
            (drops.total(), drops.by_reason()),
            (7, "queue-full 7".to_owned())
        );
    }

    #[test]
    fn whole_gigabits_are_named_so() {
        assert_eq!(Limit::mbit(1000).name(), "1 Gbit/s");
        assert_eq!(Limit::mbit(1500).name(), "1500 Mbit/s");
        assert_eq!(Limit::none().name(), "no limit");
    }
}
