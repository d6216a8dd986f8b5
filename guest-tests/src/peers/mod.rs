//! What the daemon is measured beside, and with: DPDK's generator as the guest, Open vSwitch and testpmd
//! as other back-ends, and the kernel's own tap without any.
//!
//! All of them run in a namespace of ours, keep their files in a scratch folder, use huge pages that are
//! given back, and end when they are dropped. The back-end has one processor, the generator another.

mod cores;
mod floor;
mod hugepages;
mod meter;
mod ovs;
mod testpmd;

pub use cores::Cores;
pub use floor::{Floor, WriteKind};
pub use hugepages::HugePages;
pub use meter::frame_rate;
pub use ovs::Ovs;
pub use testpmd::Testpmd;
