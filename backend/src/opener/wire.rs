//! What daemon and opener say to each other: one JSON text per packet of a `SOCK_SEQPACKET` socket pair,
//! descriptors beside it. Nothing that comes in is trusted: sizes and counts are bounded.

use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::time::Instant;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags,
    SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketFlags, SocketType,
};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::config::UplinkKind;
use crate::control::answer::ProcessState;
use crate::uplink::Facts;

/// Largest message in bytes. A request takes a few hundred, an answer that explains itself about as many.
pub(super) const MAX_BYTES: usize = 8 * 1024;

/// Most descriptors with one message: `SCM_MAX_FD` (linux include/net/scm.h).
pub(super) const MAX_DESCRIPTORS: usize = 253;

/// A message with the number that ties answer to request; zero is the opener's first word.
#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Numbered<T> {
    pub(super) number: u64,
    pub(super) body: T,
}

/// What the daemon asks for.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) enum Request {
    /// Open this uplink.
    Uplink(Wanted),
    /// Set the MTU, in bytes, of a tap or macvtap opened before.
    SetMtu { uplink: String, mtu: u16 },
    /// Take away an uplink opened before, if we made it. Its descriptors come along.
    Remove { uplink: String },
    /// Make a listening socket.
    Listen {
        #[serde(with = "bytes")]
        path: PathBuf,
        mode: u32,
        group: Option<u32>,
    },
    /// Remove the file of a socket made before.
    Unlisten {
        #[serde(with = "bytes")]
        path: PathBuf,
    },
    /// Set who may use a socket made before.
    SetAccess {
        #[serde(with = "bytes")]
        path: PathBuf,
        mode: u32,
        group: Option<u32>,
    },
    /// Connect to a listening front-end.
    Connect {
        #[serde(with = "bytes")]
        path: PathBuf,
    },
    /// Tell what the opener's process may.
    State,
    /// Read the configuration again; from then on that one says what may be opened.
    Reload,
    /// Remove the files of all sockets made before, and end.
    End,
}

/// An uplink to open, as far as the opener needs to know.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Wanted {
    pub(super) name: String,
    pub(super) kind: UplinkKind,
    pub(super) queues: u16,
    pub(super) mtu: Option<u16>,
}

/// What the opener answers.
pub(super) type Answer = Result<Given, Refusal>;

/// What was done.
#[derive(Debug, Deserialize, Serialize)]
pub(super) enum Given {
    /// Nothing more to say.
    Done,
    /// An uplink, whose descriptors come along.
    Uplink(Facts),
    /// A socket comes along.
    Socket,
    /// What the process may.
    State(ProcessState),
}

/// Why nothing was done.
#[derive(Debug, Deserialize, Serialize)]
pub(super) struct Refusal {
    pub(super) kind: RefusalKind,
    /// For the operator.
    pub(super) message: String,
}

/// Whose fault a refusal is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub(super) enum RefusalKind {
    /// The policy does not have it.
    NotAllowed,
    /// No descriptor or memory was left.
    Exhausted,
    /// It was tried and did not work.
    Failed,
    /// The request made no sense.
    Malformed,
}

impl Refusal {
    pub(super) fn new(kind: RefusalKind, message: impl Into<String>) -> Self {
        let mut message = message.into();
        // Quotes and control characters grow by escaping, up to sixfold.
        let room = MAX_BYTES / 8;
        if message.len() > room {
            message.truncate(message.floor_char_boundary(room));
            message.push_str(" ...");
        }
        Self { kind, message }
    }
}

/// Paths as bytes, because they need not be text.
mod bytes {
    use std::ffi::OsString;
    use std::os::unix::ffi::{OsStrExt, OsStringExt};
    use std::path::{Path, PathBuf};

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(super) fn serialize<S: Serializer>(path: &Path, to: S) -> Result<S::Ok, S::Error> {
        path.as_os_str().as_bytes().serialize(to)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<PathBuf, D::Error> {
        Ok(OsString::from_vec(Vec::deserialize(from)?).into())
    }
}

/// Why no message came.
#[derive(Debug)]
pub(super) enum Fault {
    /// The other end is closed.
    Closed,
    /// Not before the deadline.
    Late,
    /// A message came, and is none.
    Malformed(String),
    /// The socket failed.
    Socket(Errno),
}

/// A message that came.
#[derive(Debug)]
pub(super) struct Received<T> {
    pub(super) number: u64,
    pub(super) body: T,
    /// The descriptors that came along; `None` if there was no room for them in this process.
    pub(super) fds: Option<Vec<OwnedFd>>,
}

/// One end of the socket pair.
#[derive(Debug)]
pub(super) struct Channel {
    socket: OwnedFd,
}

impl Channel {
    pub(super) fn new(socket: OwnedFd) -> Self {
        Self { socket }
    }

    /// Our end, and the other.
    pub(super) fn pair() -> Result<(Self, OwnedFd), Errno> {
        let (ours, theirs) = rustix::net::socketpair(
            AddressFamily::UNIX,
            SocketType::SEQPACKET,
            SocketFlags::CLOEXEC,
            None,
        )?;
        Ok((Self::new(ours), theirs))
    }

    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// Sends one message, waiting for room until the deadline, or for ever without one.
    pub(super) fn send<T: Serialize>(
        &self,
        message: &Numbered<T>,
        fds: &[OwnedFd],
        deadline: Option<Instant>,
    ) -> Result<(), Fault> {
        let malformed = |what: &str| Err(Fault::Malformed(what.to_owned()));
        let text = serde_json::to_vec(message).map_err(|e| Fault::Malformed(e.to_string()))?;
        if text.len() > MAX_BYTES {
            return malformed("the message is too long to be sent");
        }
        let rights: Vec<BorrowedFd<'_>> = fds.iter().map(AsFd::as_fd).collect();
        loop {
            self.wait(PollFlags::OUT, deadline)?;
            let mut space =
                [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_DESCRIPTORS))];
            let mut control = SendAncillaryBuffer::new(&mut space);
            if !rights.is_empty() && !control.push(SendAncillaryMessage::ScmRights(&rights)) {
                return malformed("there are too many descriptors to be sent");
            }
            let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
            match rustix::net::sendmsg(&self.socket, &[IoSlice::new(&text)], &mut control, flags) {
                Ok(_) => return Ok(()),
                Err(Errno::AGAIN | Errno::INTR) => {}
                Err(Errno::PIPE | Errno::CONNRESET) => return Err(Fault::Closed),
                Err(errno) => return Err(Fault::Socket(errno)),
            }
        }
    }

    /// The next message and its descriptors, waiting until the deadline, or for ever without one.
    pub(super) fn receive<T: DeserializeOwned>(
        &self,
        deadline: Option<Instant>,
    ) -> Result<Received<T>, Fault> {
        // One byte more, so that a message of this length is seen to be too long.
        let mut buffer = [0; MAX_BYTES + 1];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_DESCRIPTORS))];
        loop {
            self.wait(PollFlags::IN, deadline)?;
            let mut control = RecvAncillaryBuffer::new(&mut space);
            let received = match rustix::net::recvmsg(
                &self.socket,
                &mut [IoSliceMut::new(&mut buffer)],
                &mut control,
                RecvFlags::DONTWAIT | RecvFlags::CMSG_CLOEXEC,
            ) {
                Ok(received) => received,
                Err(Errno::AGAIN | Errno::INTR) => continue,
                Err(Errno::CONNRESET) => return Err(Fault::Closed),
                Err(errno) => return Err(Fault::Socket(errno)),
            };
            let mut fds: Vec<OwnedFd> = Vec::new();
            for message in control.drain() {
                if let RecvAncillaryMessage::ScmRights(rights) = message {
                    fds.extend(rights);
                }
            }
            // An empty packet reads like the end.
            if received.bytes == 0 && self.is_closed() {
                return Err(Fault::Closed);
            }
            if received.bytes > MAX_BYTES || received.flags.contains(ReturnFlags::TRUNC) {
                return Err(Fault::Malformed(format!(
                    "the message has more than {MAX_BYTES} bytes"
                )));
            }
            let text = buffer.get(..received.bytes).unwrap_or_default();
            let Numbered { number, body } =
                serde_json::from_slice(text).map_err(|e| Fault::Malformed(e.to_string()))?;
            let complete = !received.flags.contains(ReturnFlags::CTRUNC);
            let fds = complete.then_some(fds);
            return Ok(Received { number, body, fds });
        }
    }

    fn is_closed(&self) -> bool {
        let mut polled = [PollFd::new(&self.socket, PollFlags::RDHUP)];
        let gone = PollFlags::RDHUP | PollFlags::HUP | PollFlags::ERR;
        poll(&mut polled, Some(&Timespec::default())).is_ok()
            && polled.iter().any(|fd| fd.revents().intersects(gone))
    }

    fn wait(&self, flags: PollFlags, deadline: Option<Instant>) -> Result<(), Fault> {
        loop {
            let left = deadline.map(|at| at.saturating_duration_since(Instant::now()));
            let left = left.and_then(|left| Timespec::try_from(left).ok());
            let mut polled = [PollFd::new(&self.socket, flags)];
            match poll(&mut polled, left.as_ref()) {
                Ok(0) => return Err(Fault::Late),
                Ok(_) => return Ok(()),
                Err(Errno::INTR) => {}
                Err(errno) => return Err(Fault::Socket(errno)),
            }
        }
    }
}
