//! What the daemon logs meanwhile: of each kind of line a burst and then one in a while.

use std::collections::BTreeMap;
use std::time::Duration;

/// As many lines of a kind come at once, and then one in each period.
const BURST: u64 = 5;
const PERIOD: Duration = Duration::from_secs(5);
/// What an operator asks for is all written.
const OPERATOR: &str = "netqos::operator";

/// Checks the log of a daemon that was hostilely treated for so long.
pub(crate) fn assert_bounded(log: &str, lasting: Duration) {
    let mut kinds: BTreeMap<String, u64> = BTreeMap::new();
    for line in log.lines().filter(|line| !line.contains(OPERATOR)) {
        *kinds.entry(kind(line)).or_default() += 1;
    }
    let most = BURST + lasting.as_secs() / PERIOD.as_secs() + 1;
    for (kind, lines) in kinds {
        assert!(
            lines <= most,
            "{lines} lines in {lasting:?}, at most {most}: {kind}"
        );
    }
}

/// Level, target and pairs of a line, without numbers and words.
fn kind(line: &str) -> String {
    let (head, rest) = line.split_once(']').unwrap_or((line, ""));
    let head = head.split_whitespace().skip(1);
    let pairs = rest
        .split_whitespace()
        .filter_map(|word| word.split_once('='));
    let pairs = pairs.filter(|(_, value)| !value.starts_with(|c: char| c.is_ascii_digit()));
    let pairs = pairs.map(|(key, value)| format!("{key}={}", value.trim_end_matches(':')));
    head.map(str::to_owned)
        .chain(pairs)
        .collect::<Vec<_>>()
        .join(" ")
}

#[test]
fn a_flood_is_told_from_a_line_now_and_then() {
    let line = |second, number| {
        format!(
            "[2026-01-02T03:04:{second:02}Z WARN  netqos_vhost::a] port=vm1 ring={number}: words {number}\n"
        )
    };
    let quiet: String = (0..7).map(|at| line(at, at)).collect();
    assert_bounded(&quiet, Duration::from_secs(5));
    let flood = || assert_bounded(&quiet, Duration::from_secs(1));
    assert!(std::panic::catch_unwind(flood).is_err());
}
