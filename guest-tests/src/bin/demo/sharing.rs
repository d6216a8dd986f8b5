//! Three guests share an uplink by weight, one joining after the other, as a chart that grows by a line a
//! second.

use std::thread;
use std::time::{Duration, Instant};

use guest_tests::report::Report;
use guest_tests::{Bulk, Result, Several, WAN};

use crate::measure::{Setup, TOLERANCE};
use crate::verdict::Verdict;

/// What the uplink carries of what the guests send, in Mbit/s.
const UPLINK: u32 = 210;
/// What a letter of the chart stands for, in Mbit/s.
const LETTER: u32 = 5;
/// How long the guests that are there send before the next one joins, in seconds.
const PHASE: usize = 4;
const GUESTS: [(&str, u32); 3] = [("small", 1), ("medium", 2), ("large", 4)];

/// One line of the chart.
#[derive(Debug, Clone, PartialEq)]
struct Second {
    /// How many guests sent.
    busy: usize,
    /// Mbit/s on the wire of each guest.
    got: [f64; GUESTS.len()],
}

/// Boots the guests, draws the chart as they join, and judges what came of it.
pub(crate) fn run(setup: &Setup) -> Result<Verdict> {
    println!(
        "Three guests behind one daemon and one uplink of {UPLINK} Mbit/s, with weights of 1, 2 and 4;\n\
         one joins after the other. What is free is for those who are there: booting ..."
    );
    let names = GUESTS.map(|(name, _)| name);
    let host = Several::start(&config(), &names, setup.qemu, setup.kernel)?;
    println!("\n{}", head());
    let mut seconds = Vec::new();
    let mut bulk = Vec::new();
    let mut before = host.report()?;
    let mut tick = Instant::now();
    for guest in 0..GUESTS.len() {
        bulk.push(Bulk::tcp(host.guest(guest), &host.ns, Several::HOST)?);
        for _ in 0..PHASE {
            tick += Duration::from_secs(1);
            thread::sleep(tick.saturating_duration_since(Instant::now()));
            let after = host.report()?;
            let second = Second {
                busy: bulk.len(),
                got: rates(&before, &after)?,
            };
            seconds.push(second);
            if let Some(second) = seconds.last() {
                println!("{}", line(seconds.len(), second));
            }
            before = after;
        }
    }
    let ports = before.ports.values();
    let dropped = ports.map(|port| port.from_guest.dropped()).sum();
    Ok(judge(&seconds, dropped))
}

fn config() -> String {
    let mut text = format!(
        "[uplink.{WAN}]\nkind = \"tap:{WAN}\"\nfrom_guest = {{ ceil = \"{UPLINK}mbit\" }}\n"
    );
    for (index, (name, weight)) in GUESTS.into_iter().enumerate() {
        let mac = Several::mac(index);
        text += &format!("[guest.{name}]\nmac = \"{mac}\"\nfrom_guest = {{ weight = {weight} }}\n");
    }
    text
}

fn rates(before: &Report, after: &Report) -> Result<[f64; GUESTS.len()]> {
    let seconds = after.seconds_since(before);
    let mut rates = [0.0; GUESTS.len()];
    for (rate, (name, _)) in rates.iter_mut().zip(GUESTS) {
        let sent = |report: &Report| Ok(report.port(name)?.from_guest.wire_bytes);
        let bytes = sent(after)?.saturating_sub(sent(before)?);
        // More than 4 GiB a second is more than a chart of Mbit/s has to tell.
        *rate = f64::from(u32::try_from(bytes).unwrap_or(u32::MAX)) * 8.0 / 1e6 / seconds;
    }
    Ok(rates)
}

/// What each of the first `busy` guests is to get.
fn asked(busy: usize) -> [f64; GUESTS.len()] {
    let weights = GUESTS.map(|(_, weight)| weight);
    let all: u32 = weights.iter().take(busy).sum();
    let mut asked = [0.0; GUESTS.len()];
    for (asked, weight) in asked.iter_mut().zip(weights).take(busy) {
        *asked = f64::from(UPLINK) * f64::from(weight) / f64::from(all.max(1));
    }
    asked
}

fn head() -> String {
    let names: String = GUESTS
        .iter()
        .map(|(name, _)| format!("{name:>7}"))
        .collect();
    format!("second{names}  Mbit/s; each letter is {LETTER}")
}

fn line(number: usize, second: &Second) -> String {
    let mut line = format!("{number:>6}");
    for (index, got) in second.got.iter().enumerate() {
        line += &if index < second.busy {
            format!("{got:>7.1}")
        } else {
            format!("{:>7}", "-")
        };
    }
    line += "  ";
    for ((name, _), got) in GUESTS.iter().zip(second.got) {
        let mut left = (got / f64::from(LETTER)).round();
        let letter = name.get(..1).unwrap_or("*");
        while left >= 1.0 && line.len() < 79 {
            line += letter;
            left -= 1.0;
        }
    }
    line
}

/// Asked and got for each number of guests, without the second in which one joined; and whether the uplink
/// carried no more than it may and nothing was lost.
fn judge(seconds: &[Second], dropped: u64) -> Verdict {
    let mut text = String::from("\n");
    for busy in 1..=GUESTS.len() {
        let settled: Vec<&Second> = seconds
            .iter()
            .filter(|second| second.busy == busy)
            .skip(1)
            .collect();
        let count = f64::from(u32::try_from(settled.len()).unwrap_or(u32::MAX));
        let guests = GUESTS.iter().zip(asked(busy)).enumerate().take(busy);
        let words: Vec<String> = guests
            .map(|(index, ((name, _), asked))| {
                let got = settled.iter().filter_map(|second| second.got.get(index));
                format!(
                    "{name} {asked:.0} asked, {:.1} got",
                    got.sum::<f64>() / count
                )
            })
            .collect();
        text += &format!("{}\n", words.join("; "));
    }
    let most = f64::from(UPLINK) * (1.0 + TOLERANCE);
    let over = seconds
        .iter()
        .any(|second| second.got.iter().sum::<f64>() > most);
    if over {
        text +=
            &format!("FAILED: the uplink carried more than {UPLINK} Mbit/s by more than 0.5 %.\n");
    }
    if dropped > 0 {
        text += &format!("FAILED: {dropped} frames that guests sent were lost.\n");
    }
    let kept = !over && dropped == 0;
    if kept {
        text += "The uplink carried no more than it may, and nothing a guest sent was lost.\n";
    }
    Verdict { text, kept }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn second(busy: usize, got: [f64; 3]) -> Second {
        Second { busy, got }
    }

    #[test]
    fn a_line_has_a_letter_for_every_five_megabits() {
        assert_eq!(
            line(12, &second(2, [70.1, 139.9, 0.0])),
            format!(
                "    12   70.1  139.9      -  {}{}",
                "s".repeat(14),
                "m".repeat(28)
            )
        );
        assert!(line(1, &second(3, [1e6; 3])).len() <= 80);
    }

    #[test]
    fn those_who_are_there_share_all_of_it() {
        let close = |got: [f64; 3], expected: [f64; 3]| {
            let mut pairs = got.iter().zip(expected);
            pairs.all(|(got, expected)| (got - expected).abs() < 1e-9)
        };
        assert!(close(asked(1), [210.0, 0.0, 0.0]));
        assert!(close(asked(3), [30.0, 60.0, 120.0]));
    }

    #[test]
    fn too_much_or_a_lost_frame_decides_and_the_first_second_is_not_counted() {
        let fine = [second(1, [90.0, 0.0, 0.0]), second(1, [210.0, 0.0, 0.0])];
        let verdict = judge(&fine, 0);
        assert!(verdict.kept && verdict.text.contains("210 asked, 210.0 got"));
        assert!(!judge(&fine, 1).kept);
        assert!(!judge(&[second(1, [211.1, 0.0, 0.0])], 0).kept);
    }
}
