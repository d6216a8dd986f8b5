//! The way into a shard from other threads: a bounded queue of commands and an eventfd.
//!
//! Commands are applied between visits, so no frame sees half of a change. Those that take
//! something away (memory, a ring) are answered, and the sender waits for the answer: once a
//! front-end is told that a ring has stopped it may unmap what the ring lies in.

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use ring::{GuestMap, RingLayout};
use vmm_sys_util::eventfd::{EFD_CLOEXEC, EFD_NONBLOCK, EventFd};

use super::capture::Tap;
use super::change::{Applied, Change, ChangeError};
use super::explain::Explained;
use super::report::Inquiry;
use crate::control::{Direction, RingReport};

/// Commands that may wait; a sender past this blocks until the shard has taken some.
const DEPTH: usize = 64;

/// All that a ring needs to start.
#[derive(Debug)]
pub struct RingStart {
    /// Where the ring lies and how many entries it has.
    pub layout: RingLayout,
    /// The next entry of the available ring to be looked at.
    pub next_avail: u16,
    /// Acknowledged virtio feature bits.
    pub features: u64,
    /// Signalled by the guest when it has made entries available.
    pub kick: File,
    /// Signalled by us when we have used entries, if the front-end wants that.
    pub call: Option<File>,
    /// Signalled by us when the ring is broken.
    pub err: Option<File>,
    /// Whether frames may pass already.
    pub enabled: bool,
}

/// Names a port of a shard for as long as the port is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PortId(pub u32);

/// Names an uplink of a shard for as long as the uplink is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LanId(pub u32);

/// What other threads ask of a shard.
#[derive(Debug)]
pub enum Command {
    /// Serve something else from now on; answered when it holds.
    Change(Box<Change>, SyncSender<Result<Applied, ChangeError>>),
    /// For one port; nothing happens if it is not there.
    Port(PortId, PortCommand),
    /// Say what was counted: the inquiry comes back with the answers in it.
    Count(Box<Inquiry>, SyncSender<Box<Inquiry>>),
    /// Take nothing more, deliver what is queued until the deadline (monotonic nanoseconds), answer.
    Drain(u64, SyncSender<()>),
    /// Answered as soon as the shard takes commands: a sign of life.
    Ping(SyncSender<()>),
    /// End the thread, which gives the uplinks back.
    End,
}

/// What is asked of one port. Rings are named by the vring index of the front-end.
#[derive(Debug)]
pub enum PortCommand {
    /// Start a ring, replacing it if it runs.
    Start(usize, Box<RingStart>),
    /// Stop a ring; answered with the index of the first entry that was not completed.
    Stop(usize, SyncSender<u16>),
    /// Let frames pass, or not; answered when it holds.
    Enable(usize, bool, SyncSender<()>),
    /// A new kick descriptor for a running ring.
    Kick(usize, File),
    /// A new call descriptor for a ring.
    Call(usize, Option<File>),
    /// A new error descriptor for a ring.
    Err(usize, Option<File>),
    /// Take a ring out of use: the front-end took away what it lay in.
    Break(usize),
    /// A new memory generation; answered when the old one is no longer used.
    Memory(Arc<GuestMap>, SyncSender<()>),
    /// The session has ended: stop all rings and forget the memory; answered when done.
    Detach(SyncSender<()>),
    /// Announce this address to the uplink by a reverse ARP request.
    Announce([u8; 6]),
    /// The uplink behind the port has been given this MTU, in bytes.
    Mtu(u16),
    /// Answered with where every ring stands, in the order of their numbers.
    Rings(SyncSender<Vec<RingReport>>),
    /// Look at all rings as if the guest had kicked them, and call it; answered when that is done.
    KickAll(SyncSender<()>),
    /// Hold the guest's frames in both directions, or let them go again; answered when it holds.
    Pause(bool, SyncSender<()>),
    /// Copy the guest's frames; answered with whether that is done, and not somebody else has them copied.
    Capture(Box<Tap>, SyncSender<bool>),
    /// Answered with what a frame of the guest, or one of the uplink for it, would meet.
    Explain(Direction, Vec<u8>, SyncSender<Explained>),
}

/// The sending half; cheap to clone.
#[derive(Clone, Debug)]
pub struct ShardHandle {
    commands: SyncSender<Command>,
    wake: Arc<EventFd>,
}

/// The shard no longer runs, so nothing can be asked of it.
#[derive(Debug, thiserror::Error)]
#[error("a packet thread has ended; restart the daemon")]
pub struct ShardGone;

impl ShardHandle {
    /// Hands `command` to the shard and wakes it.
    ///
    /// # Errors
    /// [`ShardGone`] when its thread has ended.
    pub fn send(&self, command: Command) -> Result<(), ShardGone> {
        self.commands.send(command).map_err(|_| ShardGone)?;
        // The counter saturating means that a wake-up is pending anyway.
        let _ = self.wake.write(1);
        Ok(())
    }

    /// Hands over the command that `make` builds around an answer channel, and waits for the answer.
    ///
    /// # Errors
    /// [`ShardGone`] when its thread has ended.
    pub fn ask<T>(&self, make: impl FnOnce(SyncSender<T>) -> Command) -> Result<T, ShardGone> {
        self.request(make)?.recv().map_err(|_| ShardGone)
    }

    /// As [`Self::ask`], with the answer to be waited for by the caller.
    ///
    /// # Errors
    /// [`ShardGone`] when its thread has ended; so does waiting.
    pub fn request<T>(
        &self,
        make: impl FnOnce(SyncSender<T>) -> Command,
    ) -> Result<Receiver<T>, ShardGone> {
        let (answer, wait) = sync_channel(1);
        self.send(make(answer))?;
        Ok(wait)
    }
}

impl ShardHandle {
    /// Asks for a sign of life without waiting for anything. None if the shard has ended, or has taken no
    /// command for so long that no more can wait.
    pub fn ping(&self) -> Option<Receiver<()>> {
        let (answer, wait) = sync_channel(1);
        self.commands.try_send(Command::Ping(answer)).ok()?;
        // The counter saturating means that a wake-up is pending anyway.
        let _ = self.wake.write(1);
        Some(wait)
    }
}

/// The way to one port of a shard; cheap to clone.
#[derive(Clone, Debug)]
pub struct PortHandle {
    shard: ShardHandle,
    port: PortId,
}

impl ShardHandle {
    /// The way to one of its ports.
    pub fn port(&self, port: PortId) -> PortHandle {
        PortHandle {
            shard: self.clone(),
            port,
        }
    }
}

impl PortHandle {
    /// Hands `command` to the port.
    ///
    /// # Errors
    /// [`ShardGone`] when its thread has ended.
    pub fn send(&self, command: PortCommand) -> Result<(), ShardGone> {
        self.shard.send(Command::Port(self.port, command))
    }

    /// As [`ShardHandle::request`], of the port. Waiting also fails if the port is not there.
    ///
    /// # Errors
    /// [`ShardGone`] when the shard's thread has ended.
    pub fn request<T>(
        &self,
        make: impl FnOnce(SyncSender<T>) -> PortCommand,
    ) -> Result<Receiver<T>, ShardGone> {
        self.shard
            .request(|answer| Command::Port(self.port, make(answer)))
    }

    /// As [`ShardHandle::ask`], of the port.
    ///
    /// # Errors
    /// [`ShardGone`] when the shard's thread has ended, or the port is not there any more.
    pub fn ask<T>(&self, make: impl FnOnce(SyncSender<T>) -> PortCommand) -> Result<T, ShardGone> {
        self.shard
            .ask(|answer| Command::Port(self.port, make(answer)))
    }
}

/// The receiving half, owned by the shard.
#[derive(Debug)]
pub(crate) struct Mailbox {
    commands: Receiver<Command>,
    wake: Arc<EventFd>,
}

impl Mailbox {
    /// A mailbox and the handle that feeds it.
    pub(crate) fn new() -> io::Result<(Self, ShardHandle)> {
        let (sender, commands) = sync_channel(DEPTH);
        let wake = Arc::new(EventFd::new(EFD_CLOEXEC | EFD_NONBLOCK)?);
        let handle = ShardHandle {
            commands: sender,
            wake: Arc::clone(&wake),
        };
        Ok((Self { commands, wake }, handle))
    }

    /// Readable when a command waits.
    pub(crate) fn fd(&self) -> RawFd {
        self.wake.as_raw_fd()
    }

    /// Forgets past wake-ups. Call before [`Self::take`], or one may be missed.
    pub(crate) fn clear_wake(&self) {
        // Nothing to read means nothing to forget.
        let _ = self.wake.read();
    }

    /// The next command, if any.
    pub(crate) fn take(&self) -> Option<Command> {
        self.commands.try_recv().ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_comes_back_to_the_one_who_asked() {
        let (mailbox, handle) = Mailbox::new().unwrap();
        let asker = std::thread::spawn(move || {
            handle
                .port(PortId(7))
                .ask(|answer| PortCommand::Stop(3, answer))
        });
        let command = loop {
            if let Some(command) = mailbox.take() {
                break command;
            }
            std::thread::yield_now();
        };
        let Command::Port(PortId(7), PortCommand::Stop(3, answer)) = command else {
            panic!("not what was sent")
        };
        answer.send(17).unwrap();
        assert_eq!(asker.join().unwrap().unwrap(), 17);
    }

    #[test]
    fn a_ping_does_not_wait_for_a_shard_that_takes_nothing() {
        let (mailbox, handle) = Mailbox::new().unwrap();
        let asked: Vec<_> = (0..DEPTH).map(|_| handle.ping().unwrap()).collect();
        assert!(handle.ping().is_none());
        let Some(Command::Ping(answer)) = mailbox.take() else {
            panic!("not what was sent")
        };
        answer.send(()).unwrap();
        assert!(asked[0].try_recv().is_ok());
        assert!(handle.ping().is_some());
        drop(mailbox);
        assert!(handle.ping().is_none());
    }

    #[test]
    fn asking_a_shard_that_has_ended_is_an_error_and_does_not_hang() {
        let (mailbox, handle) = Mailbox::new().unwrap();
        drop(mailbox);
        assert!(handle.port(PortId(0)).ask(PortCommand::Detach).is_err());
    }
}
