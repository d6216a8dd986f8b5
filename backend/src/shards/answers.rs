//! Answers of several shards to one question, waited for together.

use std::sync::mpsc::{Receiver, RecvTimeoutError, TryRecvError};
use std::time::{Duration, Instant};

use crate::shard::ShardGone;

/// Answers to come. They are there when the last one is.
#[derive(Debug)]
pub(crate) struct Answers {
    /// Where those come that have not come yet.
    waits: Vec<Receiver<()>>,
}

impl From<Vec<Receiver<()>>> for Answers {
    fn from(waits: Vec<Receiver<()>>) -> Self {
        Self { waits }
    }
}

impl Answers {
    /// Whether all have come; waits for nothing.
    ///
    /// # Errors
    /// [`ShardGone`] when one will never come.
    pub(crate) fn are_there(&mut self) -> Result<bool, ShardGone> {
        let mut gone = false;
        self.waits.retain(|wait| match wait.try_recv() {
            Ok(()) => false,
            Err(TryRecvError::Empty) => true,
            Err(TryRecvError::Disconnected) => {
                gone = true;
                true
            }
        });
        match gone {
            true => Err(ShardGone),
            false => Ok(self.waits.is_empty()),
        }
    }

    /// Waits for all, but no longer than this; whether they have come.
    ///
    /// # Errors
    /// [`ShardGone`] when one will never come.
    pub(crate) fn wait_for(&mut self, time: Duration) -> Result<bool, ShardGone> {
        let start = Instant::now();
        while let Some(wait) = self.waits.last() {
            match wait.recv_timeout(time.saturating_sub(start.elapsed())) {
                Ok(()) => drop(self.waits.pop()),
                Err(RecvTimeoutError::Timeout) => return Ok(false),
                Err(RecvTimeoutError::Disconnected) => return Err(ShardGone),
            }
        }
        Ok(true)
    }

    /// Waits for all.
    ///
    /// # Errors
    /// [`ShardGone`] when one will never come.
    pub(crate) fn wait(self) -> Result<(), ShardGone> {
        self.waits
            .into_iter()
            .try_for_each(|wait| wait.recv().map_err(|_| ShardGone))
    }
}
