//! What the table means, in words, and whether the limits held.

use crate::measure::{Direction, Measured};

/// The end of the demo.
#[derive(Debug)]
pub(crate) struct Verdict {
    /// Lines of at most 80 columns.
    pub(crate) text: String,
    /// Whether no limit was exceeded and nothing from a guest was lost.
    pub(crate) kept: bool,
}

const MEANING: &str = "\
asked, got    rates on the wire: what iperf3 received, times 1538/1448 for the headers
              and the gap between frames, which the limit counts as a cable would
TCP resent    segments that were lost on the way and sent again
ping          a limited direction makes packets wait, so a loaded one is slower;
              how much slower says how long its queue is
dropped       by the daemon: from-guest it never has to, an over-limit guest waits in
              its own queue; to-guest it drops what its bounded queue cannot hold, and
              TCP slows down because of it; one frame may stand for dozens of segments
";

/// Judges what was measured.
pub(crate) fn judge(all: &[Measured]) -> Verdict {
    let mut text = String::from(MEANING);
    let mut kept = true;
    text.push('\n');
    for measured in all {
        let limit = measured.limit.name();
        for direction in &measured.directions {
            let name = direction.name;
            if direction.drops.total() > 0 {
                let reasons = direction.drops.by_reason();
                text += &format!("Dropped {name} at {limit}: {reasons}.\n");
            }
            if measured.short(direction) {
                text += &shortfall(all, measured, direction);
            }
            if measured.exceeded(direction) {
                kept = false;
                text += &format!("FAILED: {name} exceeded {limit} by more than 0.5 %.\n");
            }
            if name == "from-guest" && direction.drops.total() > 0 {
                kept = false;
                text += &format!("FAILED: frames from the guest were lost at {limit}.\n");
            }
        }
    }
    if kept {
        text += "The limits held, and nothing the guest sent was lost.\n";
    }
    Verdict { text, kept }
}

/// Whose fault it is that a direction stayed below its limit.
fn shortfall(all: &[Measured], measured: &Measured, direction: &Direction) -> String {
    let (name, limit) = (direction.name, measured.limit.name());
    let unlimited = all.iter().find(|other| other.limit.value().is_none());
    let best = unlimited
        .and_then(|other| other.directions.iter().find(|other| other.name == name))
        .map_or(0.0, |other| other.wire);
    if best < measured.limit.value().unwrap_or(0.0) {
        format!(
            "Below {limit} {name}: without a limit the guest of this machine reaches\n\
             {best:.0} Mbit/s, so it is the machine that is too slow here, not the limit too tight.\n"
        )
    } else {
        format!(
            "Below {limit} {name}, though without a limit the guest reaches {best:.0} Mbit/s:\n\
             the limit, or what else this machine was doing, cost it the rest.\n"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::{Limit, tests::measured};

    #[test]
    fn half_a_percent_more_than_asked_decides() {
        assert!(judge(&[measured(Limit::mbit(100), 100.4, 0)]).kept);
        let verdict = judge(&[measured(Limit::mbit(100), 100.6, 0)]);
        assert!(!verdict.kept && verdict.text.contains("FAILED: from-guest exceeded"));
    }

    #[test]
    fn a_lost_frame_of_the_guest_decides() {
        let verdict = judge(&[measured(Limit::mbit(100), 100.0, 1)]);
        assert!(
            !verdict.kept
                && verdict
                    .text
                    .contains("from-guest at 100 Mbit/s: queue-full 1")
        );
    }

    #[test]
    fn a_slow_machine_is_not_the_limits_fault() {
        let limited = measured(Limit::mbit(1000), 700.0, 0);
        let slow = judge(&[limited, measured(Limit::none(), 710.0, 0)]);
        assert!(slow.kept && slow.text.contains("the machine that is too slow"));
        let limited = measured(Limit::mbit(1000), 700.0, 0);
        let fast = judge(&[limited, measured(Limit::none(), 3000.0, 0)]);
        assert!(fast.kept && fast.text.contains("the limit, or what else"));
    }
}
