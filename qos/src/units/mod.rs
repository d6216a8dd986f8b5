//! What operators write, as types that hold only what is valid: rates, packet rates and bursts in
//! the spellings of tc and xl. Parsing is exact, in integers; printing is in tc's style and reads
//! back as the same value.

mod burst;
mod error;
mod interval;
mod number;
mod packet;
mod rate;
mod spec;

pub use burst::Burst;
pub use error::{Quantity, UnitError};
pub use interval::Interval;
pub use packet::{PacketBurst, PacketRate};
pub use rate::Rate;
pub use spec::RateSpec;

/// What an automatic burst covers, in nanoseconds: wake-ups on a loaded small host come 1 to 4 ms
/// late, and credit beyond the burst is lost. Longer would show as a visible spike after idling.
const AUTO_BURST_NANOS: u64 = 2_000_000;
