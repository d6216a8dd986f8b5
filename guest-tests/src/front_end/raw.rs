//! The session's socket, byte by byte: any message, any descriptors, any timing.

use std::io::Read;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::io::IoSlice;
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};

use super::queue::wait_readable;
use crate::error::{Context, Error, Result};

/// Flags of a request: version 1.
pub const REQUEST: u32 = 0x1;
/// Flags of a request that asks for an acknowledgement.
pub const NEED_REPLY: u32 = 0x9;
/// The most descriptors that Linux passes with one message (`SCM_MAX_FD`).
pub const MOST_DESCRIPTORS: usize = 253;

/// Requests by their number (vhost-user specification, "Front-end message types").
pub mod request {
    #![expect(missing_docs, reason = "the names are the specification's")]
    pub const GET_FEATURES: u32 = 1;
    pub const SET_FEATURES: u32 = 2;
    pub const SET_OWNER: u32 = 3;
    pub const SET_MEM_TABLE: u32 = 5;
    pub const SET_VRING_NUM: u32 = 8;
    pub const SET_VRING_ADDR: u32 = 9;
    pub const SET_VRING_BASE: u32 = 10;
    pub const GET_VRING_BASE: u32 = 11;
    pub const SET_VRING_KICK: u32 = 12;
    pub const SET_VRING_CALL: u32 = 13;
    pub const GET_PROTOCOL_FEATURES: u32 = 15;
    pub const SET_PROTOCOL_FEATURES: u32 = 16;
    pub const GET_QUEUE_NUM: u32 = 17;
    pub const SET_VRING_ENABLE: u32 = 18;
    pub const SEND_RARP: u32 = 19;
    pub const NET_SET_MTU: u32 = 20;
    pub const ADD_MEM_REG: u32 = 37;
    pub const SET_STATUS: u32 = 39;
    pub const GET_STATUS: u32 = 40;
}

/// A message as it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// The request it answers.
    pub request: u32,
    /// Its flags.
    pub flags: u32,
    /// What follows the header.
    pub body: Vec<u8>,
}

impl Reply {
    /// The body as a number of 64 bits, if it is one.
    #[must_use]
    pub fn number(&self) -> Option<u64> {
        let body = self.body.as_slice().try_into().ok()?;
        Some(u64::from_ne_bytes(body))
    }
}

/// A connection to the daemon on which anything may be said.
#[derive(Debug)]
pub struct RawSession {
    stream: UnixStream,
}

impl From<UnixStream> for RawSession {
    fn from(stream: UnixStream) -> Self {
        Self { stream }
    }
}

/// A header's bytes.
#[must_use]
pub fn header(request: u32, flags: u32, len: u32) -> Vec<u8> {
    [request, flags, len].map(u32::to_ne_bytes).concat()
}

/// A whole message's bytes.
#[must_use]
pub fn message(request: u32, flags: u32, body: &[u8]) -> Vec<u8> {
    let len = u32::try_from(body.len()).unwrap_or(u32::MAX);
    let mut bytes = header(request, flags, len);
    bytes.extend(body);
    bytes
}

impl RawSession {
    /// Connects and says nothing.
    ///
    /// # Errors
    /// [`Error::Io`] if nobody listens.
    pub fn connect(socket: &Path) -> Result<Self> {
        let what = format!("connecting to {}", socket.display());
        UnixStream::connect(socket).context(what).map(Self::from)
    }

    /// The socket.
    #[must_use]
    pub const fn stream(&self) -> &UnixStream {
        &self.stream
    }

    /// Sends bytes.
    ///
    /// # Errors
    /// [`Error::Io`] if the daemon has closed its end.
    pub fn send(&self, bytes: &[u8]) -> Result<()> {
        self.send_with(bytes, &[])
    }

    /// Sends bytes with descriptors attached to the first of them.
    ///
    /// # Errors
    /// [`Error::Io`] if the daemon has closed its end.
    pub fn send_with(&self, bytes: &[u8], fds: &[BorrowedFd<'_>]) -> Result<()> {
        let what = || {
            format!(
                "sending {} bytes and {} descriptors",
                bytes.len(),
                fds.len()
            )
        };
        let mut space =
            vec![MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST_DESCRIPTORS))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        if !fds.is_empty() && !control.push(SendAncillaryMessage::ScmRights(fds)) {
            return Err(Error::Setup("more descriptors than a message can carry"));
        }
        let sent = sendmsg(
            &self.stream,
            &[IoSlice::new(bytes)],
            &mut control,
            SendFlags::NOSIGNAL,
        );
        let sent = sent.context(what())?;
        match bytes.get(sent..) {
            None | Some([]) => Ok(()),
            Some(rest) => self.send(rest),
        }
    }

    /// Sends a message and waits for its answer.
    ///
    /// # Errors
    /// [`Error::Timeout`] if none comes, [`Error::Io`] if the daemon has closed its end.
    pub fn ask(&mut self, request: u32, flags: u32, body: &[u8]) -> Result<Reply> {
        self.send(&message(request, flags, body))?;
        self.reply(Duration::from_secs(5))
    }

    /// Waits for a message.
    ///
    /// # Errors
    /// [`Error::Timeout`] if none comes, [`Error::Io`] if the daemon has closed its end.
    pub fn reply(&mut self, timeout: Duration) -> Result<Reply> {
        if !wait_readable(self.stream.as_fd(), timeout)? {
            return Err(Error::Timeout {
                what: "a reply".to_owned(),
                timeout,
                log: String::new(),
            });
        }
        let mut word = || -> Result<u32> {
            let mut bytes = [0; 4];
            self.stream
                .read_exact(&mut bytes)
                .context("reading a reply")?;
            Ok(u32::from_ne_bytes(bytes))
        };
        let (request, flags, len) = (word()?, word()?, word()?);
        let mut body = vec![0; usize::try_from(len.min(1 << 16)).unwrap_or(0)];
        self.stream
            .read_exact(&mut body)
            .context("reading a reply's body")?;
        Ok(Reply {
            request,
            flags,
            body,
        })
    }

    /// Whether the daemon closes its end within `timeout`. What it says before is thrown away.
    ///
    /// # Errors
    /// [`Error::Io`] if the socket cannot be waited for.
    pub fn is_closed(&mut self, timeout: Duration) -> Result<bool> {
        let deadline = Instant::now() + timeout;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if !wait_readable(self.stream.as_fd(), left)? {
                return Ok(false);
            }
            let mut bytes = [0; 4096];
            match self.stream.read(&mut bytes) {
                Ok(0) => return Ok(true),
                // Closed with something of ours unread.
                Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => {
                    return Ok(true);
                }
                Ok(_) => {}
                Err(error) => return Err(error).context("reading from the session"),
            }
        }
    }
}
