//! The opener's process as the daemon sees it.

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use super::error::OpenerError;
use super::wire::{Answer, Channel, Fault, Given, Numbered, Request};
use super::{DEADLINE, sys};

/// A process that opens things, and our end of the socket pair.
#[derive(Debug)]
pub(super) struct Remote {
    pub(super) channel: Channel,
    pub(super) child: Child,
    number: u64,
}

impl Remote {
    /// Starts it, and waits until it has read its configuration.
    pub(super) fn start(mut command: Command) -> Result<Self, OpenerError> {
        let (channel, theirs) =
            Channel::pair().map_err(|errno| OpenerError::Start(errno.into()))?;
        // Or a connection handed to the daemon would stay open as long as the opener lives.
        sys::close_all_on_exec();
        let child = command
            .stdin(Stdio::from(theirs))
            .stdout(Stdio::null())
            .spawn()
            .map_err(OpenerError::Start)?;
        // It holds the other end, and a dead child must be seen to have closed it.
        drop(command);
        let mut remote = Self {
            channel,
            child,
            number: 0,
        };
        match remote.answer(Instant::now() + DEADLINE) {
            Ok(_) => Ok(remote),
            Err(error) => {
                // Nothing is made yet, so nothing is left behind.
                let _ = remote.child.kill();
                let _ = remote.child.wait();
                Err(match error {
                    OpenerError::Failed(message) => OpenerError::NotReady(message),
                    OpenerError::Gone => OpenerError::Start(io::Error::other(
                        "it ended at once; its own message is above",
                    )),
                    error => error,
                })
            }
        }
    }

    /// Readable when the process has ended, and never otherwise between two requests.
    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.channel.fd()
    }

    /// Whether it has ended, without waiting. Between two requests nothing comes but late answers.
    pub(super) fn has_ended(&mut self) -> bool {
        loop {
            match self.channel.receive::<Answer>(Some(Instant::now())) {
                Ok(_) | Err(Fault::Malformed(_)) => {}
                Err(Fault::Late) => return false,
                Err(Fault::Closed | Fault::Socket(_)) => {
                    // Takes the dead process away, if it is that already.
                    let _ = self.child.try_wait();
                    return true;
                }
            }
        }
    }

    pub(super) fn ask(
        &mut self,
        body: Request,
        fds: &[OwnedFd],
    ) -> Result<(Given, Vec<OwnedFd>), OpenerError> {
        let deadline = Instant::now() + DEADLINE;
        self.number = self.number.wrapping_add(1);
        let number = self.number;
        self.channel
            .send(&Numbered { number, body }, fds, Some(deadline))
            .map_err(error)?;
        self.answer(deadline)
    }

    /// The answer to the last request. One to an earlier request, which came too late, is thrown away
    /// with all that it brought.
    fn answer(&self, deadline: Instant) -> Result<(Given, Vec<OwnedFd>), OpenerError> {
        loop {
            let answer = self.channel.receive::<Answer>(Some(deadline));
            let answer = answer.map_err(error)?;
            if answer.number != self.number {
                continue;
            }
            let fds = answer.fds.ok_or_else(|| {
                let text = "what was opened could not be taken over: too many files are open";
                OpenerError::Exhausted(text.to_owned())
            })?;
            return Ok((answer.body?, fds));
        }
    }

    /// Waits until the process, which said that it ends, has ended.
    pub(super) fn join(mut self) {
        drop(self.channel);
        if let Err(error) = self.child.wait() {
            log::debug!(event = "opener-wait"; "{error}");
        }
    }
}

fn error(fault: Fault) -> OpenerError {
    match fault {
        Fault::Closed => OpenerError::Gone,
        Fault::Late => OpenerError::Late,
        Fault::Malformed(what) => OpenerError::Protocol(what),
        Fault::Socket(errno) => OpenerError::Protocol(io::Error::from(errno).to_string()),
    }
}
