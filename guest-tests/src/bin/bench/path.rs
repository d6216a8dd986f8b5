//! `path`: DPDK's generator as the guest, through us and through Open vSwitch, into a tap.

use std::time::Duration;

use guest_tests::peers::{Cores, Floor, HugePages, Ovs, Testpmd, WriteKind, frame_rate};
use guest_tests::{Daemon, Namespace, Result};

use crate::Stop;
use crate::figures::{self, Series};

pub(crate) const ROUNDS: usize = 3;
pub(crate) const FRAME_LENGTHS: [u16; 2] = [64, 1500];

/// Huge pages of 2 MiB: 128 MiB for the generator, 512 MiB for a back-end, and as much to spare.
const PAGES: u64 = 384;
/// How long frames are counted.
const WINDOW: Duration = Duration::from_secs(2);
/// A limit that this path does not reach.
const LOOSE: [&str; 2] = ["--rate", "100gbit"];
const TAP: &str = "tap0";

/// Who carries the frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Contender {
    /// Our daemon without limits.
    Ours,
    /// Our daemon with a limit that does not bind.
    OursLimited,
    /// Open vSwitch with DPDK.
    Ovs,
    /// testpmd, `net_vhost` to `net_tap`.
    Testpmd,
    /// Nobody: the kernel's own price of a write.
    Floor(WriteKind),
}

impl Contender {
    fn name(self) -> &'static str {
        match self {
            Self::Ours => "ours",
            Self::OursLimited => "ours_limited",
            Self::Ovs => "ovs",
            Self::Testpmd => "testpmd",
            Self::Floor(WriteKind::Plain) => "floor_write",
            Self::Floor(WriteKind::Contiguous) => "floor_write_vnet_hdr",
            Self::Floor(WriteKind::Vectored) => "floor_writev_vnet_hdr",
        }
    }
}

pub(crate) fn run(stop: &Stop) -> Result<()> {
    let contenders = [Contender::Ours, Contender::OursLimited, Contender::Ovs];
    race("path", stop, &contenders, |prefix, series| {
        if let [ours, limited, ovs] = series {
            figures::ratio(&format!("{prefix}.ratio"), ours.ratio_to(ovs));
            figures::ratio(&format!("{prefix}.ratio_limited"), limited.ratio_to(ovs));
        }
    })
}

/// Measures contenders in turn, prints their medians and whatever `compare` makes of them.
pub(crate) fn race(
    name: &str,
    stop: &Stop,
    contenders: &[Contender],
    compare: impl Fn(&str, &[Series]),
) -> Result<()> {
    let cores = Cores::first_two()?;
    let pages = HugePages::reserve(PAGES)?;
    for length in FRAME_LENGTHS {
        let prefix = format!("{name}.{length}");
        let mut series: Vec<Series> = contenders
            .iter()
            .map(|contender| Series::new(contender.name()))
            .collect();
        for round in 1..=ROUNDS {
            for (&contender, series) in contenders.iter().zip(&mut series) {
                stop.check()?;
                let rate = measure(contender, &pages, cores, length)?;
                eprintln!(
                    "round {round}: {prefix}.{} {rate:.0} frames/s",
                    series.name()
                );
                series.add(rate);
            }
        }
        for series in &series {
            figures::frames(&prefix, series);
        }
        compare(&prefix, &series);
    }
    Ok(())
}

/// One contender, once, in a namespace of its own.
fn measure(contender: Contender, pages: &HugePages, cores: Cores, length: u16) -> Result<f64> {
    let namespace = Namespace::new()?;
    let count = |interface: &str| frame_rate(&namespace, interface, WINDOW);
    let generate =
        |socket: &std::path::Path| Testpmd::generator(&namespace, pages, cores, socket, length);
    match contender {
        Contender::Ours | Contender::OursLimited => {
            let limits = if contender == Contender::Ours {
                &[]
            } else {
                &LOOSE[..]
            };
            let mut daemon = Daemon::new(&namespace)
                .port("vm1", TAP)
                .args(limits)
                .start()?;
            cores.pin_backend(daemon.process().pid())?;
            let guest = generate(&daemon.socket("vm1"))?;
            count(TAP).inspect_err(|_| {
                eprintln!("daemon, {}\nguest, {}", daemon.log(), guest.log_tail());
            })
        }
        Contender::Ovs => {
            let ovs = Ovs::start(&namespace, pages, cores)?;
            let guest = generate(&ovs.socket())?;
            count(ovs.tap()).inspect_err(|_| {
                eprintln!("switch, {}\nguest, {}", ovs.log_tail(), guest.log_tail());
            })
        }
        Contender::Testpmd => {
            let forwarder = Testpmd::forwarder(&namespace, pages, cores, TAP)?;
            let guest = generate(&forwarder.socket())?;
            count(TAP).inspect_err(|_| {
                eprintln!(
                    "testpmd, {}\nguest, {}",
                    forwarder.log_tail(),
                    guest.log_tail()
                );
            })
        }
        Contender::Floor(kind) => {
            let header = if kind == WriteKind::Plain {
                ""
            } else {
                "vnet_hdr"
            };
            namespace.ip(&format!("tuntap add dev {TAP} mode tap {header}"))?;
            namespace.ip(&format!("link set {TAP} up"))?;
            let _writer = Floor::start(&namespace, cores, TAP, kind, length.into())?;
            count(TAP)
        }
    }
}
