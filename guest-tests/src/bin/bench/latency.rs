//! `latency`: one request of 64 bytes at a time, there and back: nanoseconds, median and p99.
//!
//! Two works have everybody poll: guest to guest, and guest to the tap and back. One thread on one processor is
//! both ends, and looks at nothing but what is to come next; the guests are front-ends of ours, and the host's
//! end is a packet socket. The other processor is the back-end's: our shard with `poll_us`, or the polling
//! thread of Open vSwitch, with its main thread, which reads the bridge's own tap, beside it. A virtual machine's
//! two processors may be moved to one core with two threads and away again, which shows as either of two figures.
//!
//! The third has nobody poll: the host sends an echo request (ICMP) into a tap and sleeps until the kernel of an
//! emulated QEMU guest has answered, through us or through QEMU's own virtio-net. No thread is kept on a processor.

use std::cell::Cell;
use std::path::Path;
use std::time::{Duration, Instant};

use guest_tests::front_end::{Frame, FrontEnd, Port, Shape, Wire, features};
use guest_tests::peers::{Cores, HugePages, Ovs, Wiring};
use guest_tests::{Daemon, Error, Guest, Kernel, Namespace, Nic, Qemu, QemuVersion, Result};
use hdrhistogram::Histogram;

use crate::Stop;
use crate::carry::PAGES;
use crate::choice::Choice;
use crate::ours::TAP;
use crate::race::Race;

/// Round trips that count, after some that do not.
const TRIPS: u32 = 20_000;
const WARM_UP: u32 = 1000;
/// How long a frame may take.
const PATIENCE: Duration = Duration::from_millis(500);
/// How long a back-end may lose them at first.
const START: Duration = Duration::from_secs(20);
const LEN: usize = 64;
const A: [u8; 6] = [2, 0, 0, 0, 0, 0x0a];
const B: [u8; 6] = [2, 0, 0, 0, 0, 0x0b];
const HOST: [u8; 6] = [2, 0, 0, 0, 0, 1];
/// Addresses of [`Frame::echo_request`].
const ASKING: &str = "198.18.0.2/24";
const ASKED: &str = "198.18.0.1/24";

/// Who is between guests that poll.
#[derive(Debug, Clone, Copy)]
enum Polling {
    /// Our daemon.
    Ours,
    /// Open vSwitch with DPDK.
    Ovs(Wiring),
}

pub(crate) fn run(stop: &Stop, choice: &Choice) -> Result<()> {
    let race = Race {
        stop,
        choice,
        prefix: "",
        unit: "ns",
        references: &["ovs", "ovs_net_tap", "qemu"],
    };
    polling(&race)?;
    sleeping(&race)
}

fn polling(race: &Race<'_>) -> Result<()> {
    let cores = Cores::first_two()?;
    let pages = HugePages::reserve(PAGES)?;
    let ours = ("ours", Polling::Ours);
    race.run_parts(
        [
            ("latency.guest_guest.p50", "ns"),
            ("latency.guest_guest.p99", "ns"),
        ],
        &[ours, ("ovs", Polling::Ovs(Wiring::Pair))],
        |between| between.local(cores, &pages),
    )?;
    race.run_parts(
        [
            ("latency.guest_tap.p50", "ns"),
            ("latency.guest_tap.p99", "ns"),
        ],
        &[
            ours,
            ("ovs", Polling::Ovs(Wiring::Tap)),
            ("ovs_net_tap", Polling::Ovs(Wiring::PolledTap)),
        ],
        |between| between.tap(cores, &pages),
    )
}

impl Polling {
    fn local(self, cores: Cores, pages: &HugePages) -> Result<[f64; 2]> {
        let namespace = Namespace::new()?;
        let measure = |a: &Path, b: &Path| {
            let (mut a, mut b) = (connect(a)?, connect(b)?);
            let there = Frame::udp4(LEN - 42, 0).from_mac(A).to_mac(B);
            let back = Frame::udp4(LEN - 42, 0).from_mac(B).to_mac(A);
            Cores::on(cores.generator, || {
                trips(|clear| {
                    while clear && (arrived(&mut a)? || arrived(&mut b)?) {}
                    send(&mut a, &there)?;
                    if !until(|| arrived(&mut b))? {
                        return Ok(false);
                    }
                    send(&mut b, &back)?;
                    until(|| arrived(&mut a))
                })
            })
        };
        match self {
            Self::Ours => {
                let daemon = start(&namespace, cores, "none")?;
                measure(&daemon.socket("a"), &daemon.socket("b"))
                    .inspect_err(|_| eprintln!("daemon, {}", daemon.log()))
            }
            Self::Ovs(wiring) => {
                let ovs = Ovs::start(&namespace, pages, cores, wiring)?;
                measure(&ovs.socket(), &ovs.other_socket())
                    .inspect_err(|_| eprintln!("switch, {}", ovs.log_tail()))
            }
        }
    }

    fn tap(self, cores: Cores, pages: &HugePages) -> Result<[f64; 2]> {
        let namespace = Namespace::new()?;
        Wire::quiet(&namespace)?;
        let measure = |socket: &Path, tap: &str| {
            let (mut guest, wire) = (connect(socket)?, Wire::open(&namespace, tap)?);
            let there = Frame::udp4(LEN - 42, 0).from_mac(A).to_mac(HOST);
            let back = Frame::udp4(LEN - 42, 0).from_mac(HOST).to_mac(A);
            Cores::on(cores.generator, || {
                let reached = || {
                    let reached = Cell::new(false);
                    wire.watch(|| true, |_| reached.set(true))?;
                    Ok(reached.get())
                };
                trips(|clear| {
                    while clear && (arrived(&mut guest)? || reached()?) {}
                    send(&mut guest, &there)?;
                    if !until(reached)? {
                        return Ok(false);
                    }
                    wire.send(&back)?;
                    until(|| arrived(&mut guest))
                })
            })
        };
        match self {
            Self::Ours => {
                let daemon = start(&namespace, cores, &format!("tap:{TAP}"))?;
                measure(&daemon.socket("a"), TAP)
                    .inspect_err(|_| eprintln!("daemon, {}", daemon.log()))
            }
            Self::Ovs(wiring) => {
                let ovs = Ovs::start(&namespace, pages, cores, wiring)?;
                measure(&ovs.socket(), ovs.tap())
                    .inspect_err(|_| eprintln!("switch, {}", ovs.log_tail()))
            }
        }
    }
}

/// Our daemon with two guests, polling.
fn start(namespace: &Namespace, cores: Cores, uplink: &str) -> Result<Daemon> {
    let mut daemon = Daemon::new(namespace)
        .config(&format!(
            "poll_us = 1000\n[uplink.lan]\nkind = \"{uplink}\"\n\
             [guest.a]\nmac = \"02:00:00:00:00:0a\"\n[guest.b]\nmac = \"02:00:00:00:00:0b\"\n"
        ))
        .expect_socket("a")
        .expect_socket("b")
        .start()?;
    cores.pin_backend(daemon.process().pid())?;
    Ok(daemon)
}

/// A guest that never wants to be called.
fn connect(socket: &Path) -> Result<Port> {
    let front_end = FrontEnd::connect(socket).largest(1514);
    let mut port = front_end
        .features(features::PLAIN | features::EVENT_IDX)
        .start()?;
    let pair = port.pair(0)?;
    pair.transmit.queue().driver().disable_calls();
    pair.receive.queue().driver().disable_calls();
    Ok(port)
}

fn send(port: &mut Port, frame: &Frame) -> Result<()> {
    let transmit = &mut port.pair(0)?.transmit;
    while transmit.collect()?.is_some() {}
    transmit.push(frame, &Shape::WHOLE)?;
    transmit.queue().publish();
    Ok(())
}

fn arrived(port: &mut Port) -> Result<bool> {
    let receive = &mut port.pair(0)?.receive;
    let came = receive.take()?.is_some();
    if came {
        receive.refill();
    }
    Ok(came)
}

/// Looks until it is so; false if that takes too long.
fn until(mut so: impl FnMut() -> Result<bool>) -> Result<bool> {
    let start = Instant::now();
    while !so()? {
        if start.elapsed() > PATIENCE {
            return Ok(false);
        }
        std::hint::spin_loop();
    }
    Ok(true)
}

/// Median and p99 of round trips, in nanoseconds. A trip answers whether it came to its end, which at first some
/// may not, because a back-end is not ready yet: then it is asked to clear away what may still come of others.
fn trips(mut trip: impl FnMut(bool) -> Result<bool>) -> Result<[f64; 2]> {
    const LOST: Error = Error::Setup("a request or its answer got lost");
    let ready = Instant::now() + START;
    while !trip(true)? {
        if Instant::now() > ready {
            return Err(LOST);
        }
    }
    let longest = u64::try_from(PATIENCE.as_nanos()).unwrap_or(u64::MAX);
    let mut times = Histogram::<u64>::new_with_max(longest, 3)
        .map_err(|_| Error::Setup("a histogram out of bounds"))?;
    for number in 0..WARM_UP + TRIPS {
        let warm = number >= WARM_UP;
        let start = Instant::now();
        if !trip(!warm)? {
            return Err(LOST);
        }
        let took = u64::try_from(start.elapsed().as_nanos()).unwrap_or(longest);
        if warm {
            times.saturating_record(took);
        }
    }
    let nanos = |quantile| {
        let value = times.value_at_quantile(quantile);
        u32::try_from(value).map_or(f64::INFINITY, f64::from)
    };
    Ok([nanos(0.5), nanos(0.99)])
}

/// An emulated guest that answers, and the host's end of its tap. Dropped in this order.
struct Answering {
    _guest: Guest,
    _daemon: Option<Daemon>,
    wire: Wire,
    mac: [u8; 6],
    _namespace: Namespace,
}

fn sleeping(race: &Race<'_>) -> Result<()> {
    let (ours, qemu) = (answering(true)?, answering(false)?);
    race.run_parts(
        [
            ("latency.qemu_guest.p50", "ns"),
            ("latency.qemu_guest.p99", "ns"),
        ],
        &[("ours", &ours), ("qemu", &qemu)],
        |guest| {
            let sequence = Cell::new(0_u16);
            trips(|_| {
                sequence.set(sequence.get().wrapping_add(1));
                guest.asks(sequence.get())
            })
        },
    )
}

fn answering(through_us: bool) -> Result<Answering> {
    let namespace = Namespace::new()?;
    Wire::quiet(&namespace)?;
    let daemon = if through_us {
        Some(Daemon::new(&namespace).port("a", TAP).start()?)
    } else {
        namespace.add_tap(TAP, 1)?;
        None
    };
    namespace.address(TAP, ASKING)?;
    let nic = match &daemon {
        Some(daemon) => Nic::vhost_user(daemon.socket("a")),
        None => Nic::tap(&namespace, TAP),
    };
    let nic = nic.mac("02:00:00:00:00:0a").address(ASKED);
    // Both with the newer QEMU: the older needs another interrupt mode for vhost-user than for a tap.
    let guest = Qemu::new(QemuVersion::V10_0, Kernel::V6_12)
        .nic(nic)
        .boot()?;
    let wire = Wire::open(&namespace, TAP)?;
    Ok(Answering {
        _guest: guest,
        _daemon: daemon,
        wire,
        mac: A,
        _namespace: namespace,
    })
}

impl Answering {
    /// Asks, and sleeps until the answer is there; false if that takes too long.
    fn asks(&self, sequence: u16) -> Result<bool> {
        let request = Frame::echo_request(LEN - 42, sequence).from_mac(HOST);
        let deadline = Instant::now() + PATIENCE;
        let answered = Cell::new(false);
        self.wire.send(&request.to_mac(self.mac))?;
        self.wire.watch(
            || answered.get() || Instant::now() > deadline,
            |bytes| answered.set(answered.get() || Frame::echo_reply(bytes) == Some(sequence)),
        )?;
        Ok(answered.get())
    }
}
