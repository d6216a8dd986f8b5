//! What the daemon counts, read from the lines it logs.

use std::collections::BTreeMap;

/// One direction of a port.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Direction {
    /// Frames delivered; a super-frame is one.
    pub frames: u64,
    /// Frames on the wire: the segments of super-frames.
    pub segments: u64,
    /// Frames that became part of the super-frame before them.
    pub coalesced: u64,
    /// Calls of the guest.
    pub calls: u64,
    /// Frames dropped, for whatever reason.
    pub drops: u64,
    /// Frames dropped, by reason.
    pub reasons: BTreeMap<String, u64>,
}

/// A port's counters.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counters {
    /// What the guest sent.
    pub from_guest: Direction,
    /// What the guest was sent.
    pub to_guest: Direction,
    /// Kicks of the guest.
    pub kicks: u64,
    /// Times the packet thread woke up.
    pub wakes: u64,
    /// Rings taken out of use because of what the guest or front-end did.
    pub broken_rings: u64,
}

impl Counters {
    /// The last complete set in a log, if there is one.
    #[must_use]
    pub fn parse(log: &str) -> Option<Self> {
        Self::parse_where(log, |_| true)
    }

    /// The last complete set of one port in a log, if there is one.
    #[must_use]
    pub fn parse_port(log: &str, port: &str) -> Option<Self> {
        let mark = format!("port={port} ");
        Self::parse_where(log, |line| line.contains(&mark))
    }

    fn parse_where(log: &str, ours: impl Fn(&str) -> bool) -> Option<Self> {
        // The rings' line is the last of a set; one still being written has no line end.
        let complete = log.get(..=log.rfind('\n')?)?;
        let lines = complete.lines();
        let line = |mark: &str| {
            lines
                .clone()
                .rfind(|line| ours(line) && line.contains(mark))
        };
        let rings = words(line(" wakes=")?);
        let number = |key: &str| rings.get(key).copied().unwrap_or(0);
        Some(Self {
            from_guest: direction(line("direction=from-guest ")?),
            to_guest: direction(line("direction=to-guest ")?),
            kicks: number("kicks"),
            wakes: number("wakes"),
            broken_rings: number("broken_rings"),
        })
    }
}

fn direction(line: &str) -> Direction {
    let words = words(line);
    let number = |key: &str| words.get(key).copied().unwrap_or(0);
    let reasons = words
        .iter()
        .filter_map(|(key, count)| Some((key.strip_prefix("drop.")?.to_owned(), *count)));
    Direction {
        frames: number("frames"),
        segments: number("segments"),
        coalesced: number("coalesced"),
        calls: number("calls"),
        drops: number("drops"),
        reasons: reasons.collect(),
    }
}

/// The `key=number` words of a line.
fn words(line: &str) -> BTreeMap<&str, u64> {
    let pairs = line
        .split_whitespace()
        .filter_map(|word| word.split_once('='));
    pairs
        .filter_map(|(key, value)| Some((key, value.parse().ok()?)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_complete_set_is_read() {
        let log = "[INFO] port=tap1 direction=from-guest frames=3 segments=9 calls=2 drops=0\n\
            [INFO] port=tap1 direction=to-guest frames=5 segments=6 drops=7 drop.queue-full=7\n\
            [INFO] port=tap1 kicks=4 wakes=8 broken_rings=1\n";
        let counters = Counters::parse(log).unwrap();
        let (from, to) = (&counters.from_guest, &counters.to_guest);
        assert_eq!((from.frames, from.segments, from.drops), (3, 9, 0));
        assert_eq!((from.calls, to.calls), (2, 0));
        assert_eq!((to.drops, to.reasons.get("queue-full")), (7, Some(&7)));
        assert_eq!(
            (counters.kicks, counters.wakes, counters.broken_rings),
            (4, 8, 1)
        );
        assert_eq!(Counters::parse(log.trim_end()), None);
        assert_eq!(Counters::parse_port(log, "tap1"), Some(counters));
        assert_eq!(Counters::parse_port(log, "tap"), None);
    }
}
