//! Which processor does what: a back-end and its load share none.

use std::{process, thread};

use rustix::process::Pid;
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

use crate::error::{Context, Error, Result};
use crate::process::output_of;

/// Two processors, as the kernel numbers them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cores {
    /// Makes the load.
    pub generator: usize,
    /// Carries it.
    pub backend: usize,
}

impl Cores {
    /// The first two processors that this process may use.
    ///
    /// # Errors
    /// [`Error::Setup`] when there is only one.
    pub fn first_two() -> Result<Self> {
        let allowed = sched_getaffinity(None).context("asking for the processors")?;
        let mut allowed = (0..CpuSet::MAX_CPU).filter(|&cpu| allowed.is_set(cpu));
        match (allowed.next(), allowed.next()) {
            (Some(generator), Some(backend)) => Ok(Self { generator, backend }),
            _ => Err(Error::Setup(
                "the benchmark needs two processors: one for the load, one for the back-end",
            )),
        }
    }

    /// Keeps a process, with all the threads it has and will have, on the back-end's processor.
    ///
    /// # Errors
    /// [`Error::Command`] when the process has ended.
    pub fn pin_backend(&self, pid: u32) -> Result<()> {
        let (cpu, pid) = (self.backend.to_string(), pid.to_string());
        output_of("taskset", &["--all-tasks", "-pc", &cpu, &pid]).map(drop)
    }

    /// Does something on a thread that is kept on a processor.
    ///
    /// # Errors
    /// As [`Self::pin_this_thread`], and those of what is done.
    pub fn on<T: Send>(processor: usize, action: impl FnOnce() -> Result<T> + Send) -> Result<T> {
        let pinned = || {
            Self::pin_this_thread(processor)?;
            action()
        };
        thread::scope(|scope| {
            let ended = scope.spawn(pinned).join();
            ended.unwrap_or(Err(Error::Setup("the measuring thread panicked")))
        })
    }

    /// Keeps the calling thread on a processor, and the threads that it starts from then on.
    ///
    /// # Errors
    /// [`Error::Io`] when the processor has been taken away.
    pub fn pin_this_thread(processor: usize) -> Result<()> {
        let mut only = CpuSet::new();
        only.set(processor);
        sched_setaffinity(None::<Pid>, &only).context(format!(
            "keeping a thread of process {} on processor {processor}",
            process::id(),
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn load_and_back_end_share_no_processor() {
        if let Ok(cores) = Cores::first_two() {
            assert_ne!(cores.generator, cores.backend);
        }
    }
}
