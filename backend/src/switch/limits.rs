//! How large the tables are.

use std::time::Duration;

/// The sizes of a switch's tables, and how long their entries last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Learned addresses in all.
    pub stations: usize,
    /// Learned addresses of one port.
    pub stations_per_port: usize,
    /// How long an address is known after its last frame (IEEE 802.1Q §8.8.3), within a second.
    pub station_age: Duration,
    /// Addresses remembered as the uplink's side, so that what goes there is not flooded to open ports.
    /// The oldest makes way. Zero remembers none.
    pub uplink_stations: usize,
    /// Group memberships in all.
    pub groups: usize,
    /// Groups that one port is a member of.
    pub groups_per_port: usize,
    /// How long a membership lasts after its last report (RFC 3376 §8.4).
    pub group_age: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            stations: 16 << 10,
            stations_per_port: 64,
            station_age: Duration::from_secs(300),
            uplink_stations: 1024,
            groups: 4096,
            groups_per_port: 64,
            group_age: Duration::from_secs(260),
        }
    }
}
