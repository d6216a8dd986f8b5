//! Whether a measurement had the machine to itself: lower bounds on rates are not decided while somebody
//! else uses the processors, and what starves a guest or the daemon is not the daemon's fault.

use std::collections::BTreeMap;
use std::fs;

use crate::error::{Context, Error, Result};

/// How much of all processors others may use.
const OTHERS: f64 = 0.1;

/// A measurement that is going on.
#[derive(Debug)]
pub struct Alone {
    start: Ticks,
}

/// Processor time since the machine's boot, in the kernel's ticks.
#[derive(Debug, Clone, Copy)]
struct Ticks {
    /// What all processors had to give.
    all: u64,
    /// What this process used, and those it started, and theirs.
    own: u64,
    /// What went into nobody's work.
    idle: u64,
}

impl Alone {
    /// Begins to watch.
    ///
    /// # Errors
    /// [`Error::Io`] or [`Error::Output`] if the kernel does not tell.
    pub fn watch() -> Result<Self> {
        Ok(Self { start: ticks()? })
    }

    /// Whether all others together used less than a tenth of the processors since then; prints what they
    /// used otherwise.
    ///
    /// # Errors
    /// As [`Alone::watch`].
    pub fn was(&self) -> Result<bool> {
        let others = others(self.start, ticks()?);
        if others >= OTHERS {
            println!(
                "others used {:.0} % of this machine: only upper bounds decide",
                others * 100.0
            );
        }
        Ok(others < OTHERS)
    }
}

/// The part of all processors that others used.
fn others(before: Ticks, after: Ticks) -> f64 {
    let float = |ticks: u64| f64::from(u32::try_from(ticks).unwrap_or(u32::MAX));
    let since = |of: fn(Ticks) -> u64| of(after).saturating_sub(of(before));
    let all = since(|ticks| ticks.all);
    let ours = since(|ticks| ticks.own) + since(|ticks| ticks.idle);
    float(all.saturating_sub(ours)) / float(all.max(1))
}

fn ticks() -> Result<Ticks> {
    let path = "/proc/stat";
    let text = fs::read_to_string(path).context(format!("reading {path}"))?;
    let own = own(std::process::id(), &processes());
    machine(&text)
        .map(|(all, idle)| Ticks { all, own, idle })
        .ok_or_else(|| Error::Output {
            tool: path,
            reason: "no line of all processors in it".to_owned(),
            output: text,
        })
}

/// All and idle time of all processors together, from the first line of `/proc/stat` (proc(5)): user, nice,
/// system, idle, iowait, irq, softirq, steal; guests' time is in the first two already.
fn machine(text: &str) -> Option<(u64, u64)> {
    let line = text.lines().next()?.strip_prefix("cpu ")?;
    let words = line.split_whitespace().take(8);
    let fields = words
        .map(|word| word.parse().ok())
        .collect::<Option<Vec<u64>>>()?;
    Some((fields.iter().sum(), fields.get(3)? + fields.get(4)?))
}

/// A process's parent, and what it and those of its children that have ended used.
type Used = (u32, u64);

fn processes() -> BTreeMap<u32, Used> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    // One that has ended meanwhile is in its parent's figures.
    pids.filter_map(|pid: u32| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        Some((pid, used(&stat)?))
    })
    .collect()
}

/// Fields 4 (parent) and 14 to 17 (times) of `/proc/PID/stat` (proc(5)), counted from behind the name, which
/// may itself hold spaces and brackets.
fn used(stat: &str) -> Option<Used> {
    let (_, fields) = stat.rsplit_once(") ")?;
    let fields: Vec<&str> = fields.split(' ').collect();
    let times = fields.get(11..15)?.iter().map(|word| word.parse::<u64>());
    let times = times.collect::<std::result::Result<Vec<_>, _>>().ok()?;
    Some((fields.get(1)?.parse().ok()?, times.iter().sum()))
}

/// What a process and all below it used.
fn own(root: u32, all: &BTreeMap<u32, Used>) -> u64 {
    let is_below = |mut pid: u32| {
        // No chain of parents is longer than there are processes.
        for _ in 0..all.len() {
            if pid == root {
                return true;
            }
            match all.get(&pid) {
                Some((parent, _)) => pid = *parent,
                None => return false,
            }
        }
        false
    };
    let below = all.iter().filter(|(pid, _)| is_below(**pid));
    below.map(|(_, (_, used))| used).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_others_used_is_neither_idle_nor_ours() {
        let text = "cpu  10 20 30 400 40 5 6 7 8 9\ncpu0 1 2 3 4 5 6 7 8 9 10\n";
        assert_eq!(machine(text), Some((518, 440)));
        let before = Ticks {
            all: 0,
            own: 0,
            idle: 0,
        };
        let after = Ticks {
            all: 1000,
            own: 300,
            idle: 500,
        };
        assert!((others(before, after) - 0.2).abs() < 1e-9);
    }

    #[test]
    fn those_below_are_ours_however_deep() {
        let stat = "7 (a) b) S 3 7 7 0 -1 4194304 1 2 3 4 50 25 1 2 20 0 1 0 9 9 9";
        assert_eq!(used(stat), Some((3, 78)));
        let all = BTreeMap::from([
            (1, (0, 1)),
            (3, (1, 10)),
            (7, (3, 100)),
            (9, (7, 1000)),
            (8, (1, 10_000)),
        ]);
        assert_eq!(own(3, &all), 1110);
    }
}
