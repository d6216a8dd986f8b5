//! What the daemon is measured beside, and with: DPDK's generator as the guest, Open vSwitch and testpmd
//! as other back-ends, and the kernel's own tap without any; for the scheduler alone, DPDK's `rte_sched` and
//! textbook models.
//!
//! The back-ends run in a namespace of ours, keep their files in a scratch folder, use huge pages that are
//! given back, and end when they are dropped. The back-end has one processor, the generator another.

mod cores;
mod floor;
mod hugepages;
mod meter;
mod on_record;
mod ovs;
mod replay;
mod schedulers;
mod stats;
mod testpmd;

pub use cores::Cores;
pub use floor::{Buffers, Floor, WriteKind};
pub use hugepages::HugePages;
pub use meter::{Rates, frame_rate, rates};
pub use on_record::OnRecord;
pub use ovs::{Ovs, Wiring};
pub use replay::{Protocol, Replay};
pub use schedulers::{RteSched, SchedulerBench, SchedulerRun};
pub use stats::Count;
pub use testpmd::{End, Load, Testpmd};
