//! A back-end between a tap and one guest, for measurements that have ends of their own.

use std::path::PathBuf;
use std::time::Duration;

use guest_tests::peers::{Cores, HugePages, Ovs, Testpmd, Wiring};
use guest_tests::{Daemon, Namespace, Result, Usage};

use crate::carry::PAGES;
use crate::ours::{GUEST, TAP};

/// Who is between the tap and the guest.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Between {
    /// Our daemon, with these keys for the guest.
    Ours(&'static str),
    /// Open vSwitch with DPDK.
    Ovs(Wiring),
    /// testpmd, `net_tap` to `net_vhost`.
    Testpmd,
}

/// Where the contenders work.
#[derive(Debug)]
pub(crate) struct Place {
    pub(crate) cores: Cores,
    pub(crate) pages: HugePages,
    /// How long something is counted.
    pub(crate) window: Duration,
}

/// A back-end that runs.
pub(crate) struct BackEnd<'a> {
    pub(crate) namespace: &'a Namespace,
    /// Where it listens for the guest.
    pub(crate) socket: PathBuf,
    /// The interface that is its other end.
    pub(crate) tap: &'a str,
    usage: &'a (dyn Fn() -> Result<Usage> + Sync),
}

impl BackEnd<'_> {
    /// Processor time of all its threads so far.
    pub(crate) fn processor_time(&self) -> Result<Duration> {
        (self.usage)().map(|usage| usage.cpu)
    }
}

impl Place {
    pub(crate) fn new(window: Duration) -> Result<Self> {
        Ok(Self {
            cores: Cores::first_two()?,
            pages: HugePages::reserve(PAGES)?,
            window,
        })
    }

    /// Starts a back-end in a namespace of its own, on its processor, and measures with it.
    pub(crate) fn behind<T>(
        &self,
        between: Between,
        measure: impl FnOnce(&BackEnd<'_>) -> Result<T>,
    ) -> Result<T> {
        let namespace = Namespace::new()?;
        let back_end = |socket, tap, usage| BackEnd {
            namespace: &namespace,
            socket,
            tap,
            usage,
        };
        match between {
            Between::Ours(keys) => {
                let config =
                    format!("[uplink.lan]\nkind = \"tap:{TAP}\"\n[guest.{GUEST}]\n{keys}\n");
                let builder = Daemon::new(&namespace).config(&config);
                let mut daemon = builder.expect_socket(GUEST).start()?;
                self.cores.pin_backend(daemon.process().pid())?;
                measure(&back_end(daemon.socket(GUEST), TAP, &|| daemon.usage()))
                    .inspect_err(|_| eprintln!("daemon, {}", daemon.log()))
            }
            Between::Ovs(wiring) => {
                let ovs = Ovs::start(&namespace, &self.pages, self.cores, wiring)?;
                measure(&back_end(ovs.socket(), ovs.tap(), &|| ovs.usage()))
                    .inspect_err(|_| eprintln!("switch, {}", ovs.log_tail()))
            }
            Between::Testpmd => {
                let forwarder = Testpmd::forwarder(&namespace, &self.pages, self.cores, TAP)?;
                measure(&back_end(forwarder.socket(), TAP, &|| forwarder.usage()))
                    .inspect_err(|_| eprintln!("testpmd, {}", forwarder.log_tail()))
            }
        }
    }
}
