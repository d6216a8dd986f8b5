//! One contender, once: what it carries from a guest into a tap.

use guest_tests::peers::{
    Buffers, Cores, Floor, HugePages, Load, Ovs, Rates, Testpmd, Wiring, WriteKind, rates,
};
use guest_tests::{Namespace, Result};

use std::path::Path;
use std::time::Duration;

use crate::ours::{GUEST, Limits, TAP};

/// Huge pages of 2 MiB: 256 MiB for the generator, and 640 MiB for a back-end.
pub(crate) const PAGES: u64 = 448;

/// Who carries the frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Carrier {
    /// Our daemon.
    Ours(Limits),
    /// Open vSwitch with DPDK.
    Ovs,
    /// testpmd, `net_vhost` to `net_tap`.
    Testpmd,
    /// Nobody: the kernel's own price of a write, or of a copy.
    Floor(WriteKind, Buffers),
}

pub(crate) const OURS: (&str, Carrier) = ("ours", Carrier::Ours(Limits::None));
pub(crate) const OURS_LIMITED: (&str, Carrier) = ("ours_limited", Carrier::Ours(Limits::Loose));
pub(crate) const OURS_TREE: (&str, Carrier) = ("ours_tree", Carrier::Ours(Limits::Tree));
pub(crate) const OURS_FLEET: (&str, Carrier) = ("ours_fleet", Carrier::Ours(Limits::Fleet));
pub(crate) const OVS: (&str, Carrier) = ("ovs", Carrier::Ovs);
pub(crate) const TESTPMD: (&str, Carrier) = ("testpmd", Carrier::Testpmd);

/// Where the carriers work.
#[derive(Debug)]
pub(crate) struct Road {
    cores: Cores,
    pages: HugePages,
    window: Duration,
}

impl Road {
    pub(crate) fn new(window: Duration) -> Result<Self> {
        Ok(Self {
            cores: Cores::first_two()?,
            pages: HugePages::reserve(PAGES)?,
            window,
        })
    }

    /// What arrives in the tap in a second, in a namespace of its own. A floor writes frames of `len` bytes
    /// whatever the load.
    pub(crate) fn measure(&self, carrier: Carrier, load: Load<'_>, len: u16) -> Result<Rates> {
        let namespace = Namespace::new()?;
        let (cores, pages) = (self.cores, &self.pages);
        let count = |interface: &str| rates(&namespace, interface, self.window);
        let generate = |socket: &Path| Testpmd::generator(&namespace, pages, cores, socket, load);
        match carrier {
            Carrier::Ours(limits) => {
                let daemon = limits.start(&namespace, cores)?;
                let guest = generate(&daemon.socket(GUEST))?;
                count(TAP).inspect_err(|_| {
                    eprintln!("daemon, {}\nguest, {}", daemon.log(), guest.log_tail());
                })
            }
            Carrier::Ovs => {
                let ovs = Ovs::start(&namespace, pages, cores, Wiring::Tap)?;
                let guest = generate(&ovs.socket())?;
                count(ovs.tap()).inspect_err(|_| {
                    eprintln!("switch, {}\nguest, {}", ovs.log_tail(), guest.log_tail());
                })
            }
            Carrier::Testpmd => {
                let forwarder = Testpmd::forwarder(&namespace, pages, cores, TAP)?;
                let guest = generate(&forwarder.socket())?;
                count(TAP).inspect_err(|_| {
                    let log = forwarder.log_tail();
                    eprintln!("testpmd, {log}\nguest, {}", guest.log_tail());
                })
            }
            Carrier::Floor(WriteKind::Copy, buffers) => {
                let how = (WriteKind::Copy, buffers);
                let floor = Floor::start(&namespace, cores, TAP, how, len)?;
                let frames = floor.rate(self.window);
                let bytes = frames * f64::from(len);
                Ok(Rates { frames, bytes })
            }
            Carrier::Floor(kind, buffers) => {
                let _floor = Floor::start(&namespace, cores, TAP, (kind, buffers), len)?;
                count(TAP)
            }
        }
    }
}
