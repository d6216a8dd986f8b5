//! Schedulers alone, without frames: the engine's own benchmark, which can also run models of others on the
//! same work, and DPDK's `rte_sched`. They run on the back-end's processor.

use std::path::PathBuf;

use super::Cores;
use crate::artifacts::{rte_sched_program, scheduler_bench_program};
use crate::error::{Error, Result};
use crate::process::output_of;
use crate::scratch;

/// Frames of one measurement by the clock: a fraction of a second.
const FRAMES: u32 = 4_000_000;
/// Frames of the shorter run whose instructions are counted; whole rounds of up to 100,000 leaves and of
/// bursts. Set-up and start are the same in a longer run, so the difference is that of the frames.
const COUNTED: u32 = 200_000;
/// How many times as many there are in the longer run.
const LONGER: u32 = 3;

/// What the benchmark of the `qos` crate is to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SchedulerRun<'a> {
    /// `netqos`, `drr`, `heap_wf2q` or `rbtree_htb`.
    pub scheduler: &'a str,
    /// `deep` or `sparse`; for `netqos` also `flows` or `apply`.
    pub pattern: &'a str,
    /// How many leaves have frames.
    pub leaves: u32,
    /// Every leaf is a guest of its own.
    pub lone: bool,
}

/// The engine's benchmark.
#[derive(Debug)]
pub struct SchedulerBench {
    program: PathBuf,
    processor: String,
}

impl SchedulerBench {
    /// The benchmark, to run on the back-end's processor.
    ///
    /// # Errors
    /// [`Error::Missing`] if it has not been built.
    pub fn new(cores: Cores) -> Result<Self> {
        Ok(Self {
            program: scheduler_bench_program()?,
            processor: cores.backend.to_string(),
        })
    }

    /// Nanoseconds per frame, or for `apply` per class.
    ///
    /// # Errors
    /// What the program says.
    pub fn nanos(&self, run: SchedulerRun<'_>) -> Result<f64> {
        // `NAME VALUE ns`
        let text = self.output(&[], run, FRAMES)?;
        let value = text.split_whitespace().nth(1);
        let value = value.and_then(|value| value.parse().ok());
        value.ok_or_else(|| unexpected("netqos_bench", "no figure in it", &text))
    }

    /// Instructions per frame.
    ///
    /// # Errors
    /// What the program or callgrind says.
    pub fn instructions(&self, run: SchedulerRun<'_>) -> Result<f64> {
        let count = |frames| {
            let tool = [
                "valgrind",
                "--tool=callgrind",
                "--callgrind-out-file=/dev/null",
                "--log-fd=1",
            ];
            let text = self.output(&tool, run, frames)?;
            collected(&text).ok_or_else(|| unexpected("callgrind", "no count in it", &text))
        };
        let (short, long) = (count(COUNTED)?, count(COUNTED * LONGER)?);
        Ok((long - short) / f64::from(COUNTED * (LONGER - 1)))
    }

    fn output(&self, tool: &[&str], run: SchedulerRun<'_>, frames: u32) -> Result<String> {
        let program = self.program.to_string_lossy();
        let (leaves, frames) = (run.leaves.to_string(), frames.to_string());
        let mut words = vec!["-c", &self.processor];
        words.extend(tool);
        words.extend([&*program, "--scheduler", run.scheduler, &leaves]);
        words.extend(["--pattern", run.pattern, "--frames", &frames]);
        words.extend(run.lone.then_some("--lone"));
        let output = output_of("taskset", &words)?;
        Ok(String::from_utf8_lossy(&output).into_owned())
    }
}

/// DPDK's hierarchical scheduler, one guest a pipe. It needs no huge pages.
#[derive(Debug)]
pub struct RteSched {
    program: PathBuf,
    processor: usize,
}

impl RteSched {
    /// The strictest traffic class: the shortest way through.
    pub const STRICT: u32 = 0;
    /// The traffic class for most traffic; it has four weighted queues, of which one is used.
    pub const BEST_EFFORT: u32 = 12;

    /// The benchmark, to run on the back-end's processor.
    ///
    /// # Errors
    /// [`Error::Missing`] if it has not been built.
    pub fn new(cores: Cores) -> Result<Self> {
        Ok(Self {
            program: rte_sched_program()?,
            processor: cores.backend,
        })
    }

    /// Nanoseconds per packet, enqueue and dequeue, with this many pipes always backlogged in one class.
    ///
    /// # Errors
    /// What the program says.
    pub fn nanos(&self, pipes: u32, class: u32) -> Result<f64> {
        let folder = scratch::folder("rte")?;
        // DPDK's files go there instead of to /var/run/dpdk.
        let place = format!("RUNTIME_DIRECTORY={}", folder.path().display());
        let (program, cores) = (
            self.program.to_string_lossy(),
            format!("--lcores=0@{}", self.processor),
        );
        let (pipes, class) = (pipes.to_string(), class.to_string());
        let frames = FRAMES.to_string();
        let mut words = vec![place.as_str(), &program, &cores];
        words.extend(["--no-huge", "--no-pci", "--no-shconf", "--no-telemetry"]);
        words.extend(["-m", "512", "--", &pipes, &class, &frames]);
        let output = output_of("env", &words)?;
        let text = String::from_utf8_lossy(&output);
        let value = text.trim().parse();
        value.map_err(|_| unexpected("rte_sched", "no figure", &text))
    }
}

fn unexpected(tool: &'static str, reason: &str, output: &str) -> Error {
    Error::Output {
        tool,
        reason: reason.to_owned(),
        output: output.to_owned(),
    }
}

/// The instructions in callgrind's last words.
fn collected(text: &str) -> Option<f64> {
    let (_, count) = text.rsplit_once("Collected : ")?;
    count.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_found_in_what_callgrind_says() {
        let text = "netqos.10.deep 5.0 ns\n==7== Events    : Ir\n==7== Collected : 1234\n==7== \n";
        assert_eq!(collected(text), Some(1234.0));
        assert_eq!(collected("==7== Events    : Ir\n"), None);
    }
}
