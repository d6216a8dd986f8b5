//! `qos`: the scheduler alone, by the clock and by instructions.

use guest_tests::peers::{Cores, OnRecord, SchedulerBench, SchedulerRun};
use guest_tests::{Error, Result};

use crate::Stop;
use crate::figures::{self, Series};

/// More than elsewhere: a measurement takes less than a second, and little disturbs it a lot.
pub(crate) const ROUNDS: usize = 5;
/// Leaves with frames.
pub(crate) const SIZES: [u32; 3] = [10, 1000, 100_000];
/// By the clock; instructions are counted of the first two.
const PATTERNS: [&str; 4] = ["deep", "sparse", "apply", "retune"];
const COUNTED: usize = 2;

pub(crate) fn run(stop: &Stop, record: bool) -> Result<()> {
    let bench = SchedulerBench::new(Cores::first_two()?)?;
    let mut counts = OnRecord::new()?;
    for leaves in SIZES {
        let run = |pattern| SchedulerRun {
            scheduler: "netqos",
            pattern,
            leaves,
            lone: false,
        };
        let prefix = format!("netqos.{leaves}");
        let mut series = PATTERNS.map(Series::new);
        for round in 1..=ROUNDS {
            for (pattern, series) in PATTERNS.into_iter().zip(&mut series) {
                stop.check()?;
                let nanos = bench.nanos(run(pattern))?;
                eprintln!("round {round}: {prefix}.{pattern} {nanos:.1} ns");
                series.add(nanos);
            }
        }
        for series in &series {
            figures::nanos(&prefix, series);
        }
        for pattern in PATTERNS.into_iter().take(COUNTED) {
            stop.check()?;
            let name = format!("{prefix}.{pattern}.instructions");
            let count = bench.instructions(run(pattern))?;
            figures::count(&name, count);
            counts.add(&name, count);
        }
    }
    if record {
        return counts.save();
    }
    compare(&OnRecord::load()?, &counts)
}

fn compare(known: &OnRecord, counts: &OnRecord) -> Result<()> {
    match known.worse(counts) {
        Some(worse) if worse.is_empty() => Ok(()),
        Some(worse) => Err(Error::Worse(worse.join("; "))),
        None => {
            eprintln!(
                "instructions are not compared: those on record are of {}, these of {}",
                known.compiler(),
                counts.compiler()
            );
            Ok(())
        }
    }
}
