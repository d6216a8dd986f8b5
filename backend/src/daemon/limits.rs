//! How many files the daemon may have open, and how many it needs.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::config::{Config, GuestConfig};
use crate::session::{MAX_REGIONS, MAX_TABLE_REGIONS};

/// Descriptors of the daemon itself: standard streams, signals, threads, the control socket with its
/// callers; and room for what libraries open for a moment.
const OWN: u64 = 64;

/// Descriptors of each packet thread after the first: its poller, its timer, and what wakes it.
const SHARD: u64 = 3;

/// Descriptors of a port without a session: its listener, and what pins the listener's file.
const IDLE_PORT: u64 = 2;

/// Descriptors of a session: the front-end's socket, both ends of the engine's, and the second one
/// that the engine keeps of its end.
const SESSION: u64 = 4;

/// Descriptors of a ring: kick, call and error.
const RING: u64 = 3;

/// The most descriptors that serving this configuration may take, a session on every port.
///
/// A front-end may give each session [`MAX_REGIONS`] files of memory, and a whole table more while
/// it replaces them; most give two.
pub(super) fn descriptors(config: &Config) -> u64 {
    let memory = u64::try_from(MAX_REGIONS + MAX_TABLE_REGIONS).unwrap_or(u64::MAX);
    let port = |guest: &GuestConfig| {
        let pairs = u64::from(guest.queues);
        // A tap has one for each pair.
        IDLE_PORT + pairs + SESSION + 2 * pairs * RING + memory
    };
    let shards = u64::from(config.shards.saturating_sub(1)) * SHARD;
    config
        .guests
        .iter()
        .map(port)
        .fold(OWN + shards, u64::saturating_add)
}

/// Raises the limit of open files to what the configuration may take, as far as that is permitted.
pub(super) fn raise(config: &Config) {
    let need = descriptors(config);
    let limit = getrlimit(Resource::Nofile);
    let below = |limit: Option<u64>| limit.is_some_and(|limit| limit < need);
    if !below(limit.current) {
        return;
    }
    let soft = |maximum| Rlimit {
        current: Some(need),
        maximum,
    };
    // Beyond the hard limit only with CAP_SYS_RESOURCE.
    let hard = if below(limit.maximum) {
        Some(need)
    } else {
        limit.maximum
    };
    let Err(error) = setrlimit(Resource::Nofile, soft(hard)) else {
        return;
    };
    let most = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    let reached = match setrlimit(Resource::Nofile, most) {
        Ok(()) => limit.maximum,
        Err(_) => limit.current,
    };
    log::warn!(
        event = "few-descriptors";
        "{} guests may take {need} open files and {} are permitted ({}); \
         without more, some front-ends have to wait: raise the limit (LimitNOFILE= in a systemd \
         unit, ulimit -Hn in a shell)",
        config.guests.len(),
        reached.unwrap_or(need),
        std::io::Error::from(error),
    );
}

/// Lets the limit be raised later, when guests have come and the right to do so has gone.
pub(super) fn make_room() {
    let most = std::fs::read_to_string("/proc/sys/fs/nr_open");
    let most = most.ok().and_then(|text| text.trim().parse::<u64>().ok());
    let limit = getrlimit(Resource::Nofile);
    if limit
        .maximum
        .zip(most)
        .is_some_and(|(now, most)| now < most)
    {
        let maximum = most;
        // Not for everybody, and `raise` says so when it matters.
        let _ = setrlimit(Resource::Nofile, Rlimit { maximum, ..limit });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::daemon::samples::config;

    #[test]
    fn each_port_and_each_of_its_rings_counts() {
        let one = descriptors(&config(&["a"]));
        let mut two = config(&["a", "b"]);
        let port = descriptors(&two) - one;
        assert_eq!(one, OWN + port);
        two.guests[1].queues = 3;
        assert_eq!(descriptors(&two), one + port + 2 * (1 + 2 * RING));
        two.shards = 4;
        assert_eq!(
            descriptors(&two),
            one + port + 2 * (1 + 2 * RING) + 3 * SHARD
        );
    }
}
