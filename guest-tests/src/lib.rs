//! Whole-system tests of netqos-vhost: real guests in network namespaces, driven from the test.
//!
//! ```no_run
//! # fn main() -> guest_tests::Result<()> {
//! use guest_tests::{Daemon, Iperf3, Kernel, Namespace, Nic, Place, Qemu, QemuVersion};
//!
//! let ns = Namespace::new()?;
//! let daemon = Daemon::new(&ns).port("vm1", "tap1").args(["--rate", "50mbit"]).start()?;
//! ns.address("tap1", "192.0.2.1/24")?;
//! let guest = Qemu::new(QemuVersion::V10_0, Kernel::V6_12)
//!     .nic(Nic::vhost_user(daemon.socket("vm1")).address("192.0.2.2/24"))
//!     .boot()?;
//! assert!(guest_tests::ping(&guest, "192.0.2.1", 3)?.lost() == 0);
//! let up = Iperf3::seconds(5).run(&guest, &ns, "192.0.2.1")?;
//! let down = Iperf3::seconds(5).run(&ns, &guest, "192.0.2.2")?;
//! assert!(up.mbit() < 51.0 && down.mbit() > 51.0);
//! # Ok(())
//! # }
//! ```
//!
//! The map: [`Artifacts`] finds kernels and emulators, [`Initramfs`] makes the guest's file system,
//! [`Qemu`] boots a [`Guest`], [`Namespace`] is the host's side, [`Daemon`] what is tested; a guest and a
//! namespace are both a [`Place`], where commands and traffic run ([`Iperf3`], [`ping()`], [`Transfer`],
//! [`Datagrams`]).
//!
//! Everything a test makes goes away when it is dropped, also on a panic, and with the test process.
//! Nothing is skipped: what is missing fails the test with the command that provides it.
//! Guests and daemons are trusted no further than their output is parsed.

mod alone;
mod artifacts;
mod control;
mod counters;
mod cpio;
mod daemon;
mod error;
pub mod front_end;
mod guest;
mod initramfs;
mod iperf3;
mod jobs;
mod netns;
mod nic;
pub mod pattern;
pub mod peers;
mod ping;
mod place;
mod process;
pub mod protocol;
mod qemu;
mod qmp;
pub mod report;
mod scratch;
mod screen;
mod several;
mod transfer;

pub use alone::Alone;
pub use artifacts::{Artifacts, Emulator, Kernel, QemuVersion, daemon_program, tool_program};
pub use control::Control;
pub use counters::{Counters, Direction};
pub use daemon::{Daemon, DaemonBuilder};
pub use error::{Error, Result};
pub use guest::{Booting, Guest};
pub use initramfs::Initramfs;
pub use iperf3::{Bulk, Iperf3, RunningIperf3, Throughput};
pub use netns::Namespace;
pub use nic::Nic;
pub use ping::{Ping, Pings, ping};
pub use place::{Job, Output, Place, SHELL_TIMEOUT};
pub use process::{Process, Usage};
pub use qemu::{Acceleration, Qemu};
pub use screen::Screen;
pub use several::{Several, WAN};
pub use transfer::{Datagrams, RunningTransfer, Transfer};
