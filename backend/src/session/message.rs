//! Messages as they travel: header, body, descriptors. All numbers are in the machine's byte
//! order (vhost-user specification, "Header").

use std::os::fd::OwnedFd;

use super::reason::Malformed;
use super::request::{Request, size};

/// Bytes of a header: request, flags, size of the body; 32 bits each.
pub const HEADER_LEN: usize = 12;

/// The longest body, in bytes. The longest that any served request needs is far below.
pub const MAX_BODY: usize = 4096;

/// The most descriptors one message can carry (`SCM_MAX_FD` of Linux), so all that come are
/// received, owned, and closed when they were not asked for.
pub const MAX_DESCRIPTORS: usize = 253;

const VERSION: u32 = 0x1;
const VERSION_BITS: u32 = 0x3;
const REPLY: u32 = 0x4;
const NEED_REPLY: u32 = 0x8;

/// What the kernel says of a received descriptor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A regular file (also a memfd, or one on hugetlbfs).
    File {
        /// Length in bytes.
        len: u64,
        /// What offset and size of a mapping must be multiples of, in bytes.
        page: u64,
        /// Open for reading and writing.
        writable: bool,
    },
    /// A file without type, as eventfds are.
    Anonymous,
    /// Anything else: socket, pipe, device, directory.
    Other,
}

/// A received descriptor and what the kernel says of it.
#[derive(Debug)]
pub struct Attachment {
    /// The descriptor.
    pub fd: OwnedFd,
    /// What it is.
    pub kind: Kind,
}

/// A checked header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// The request code, known or not.
    pub request: u32,
    /// The flags: version 1, perhaps reply or need-reply.
    pub flags: u32,
    /// Length of the body in bytes, at most [`MAX_BODY`].
    pub len: usize,
}

impl Header {
    /// Checks version, reserved bits and size.
    ///
    /// # Errors
    /// The field that is wrong (hostile row 52).
    pub fn parse(bytes: [u8; HEADER_LEN]) -> Result<Self, (u32, Malformed)> {
        let [request, flags, len] = words(bytes);
        if flags & !(REPLY | NEED_REPLY) != VERSION {
            return Err((request, Malformed::Flags(flags)));
        }
        let len = usize::try_from(len).unwrap_or(usize::MAX);
        if len > MAX_BODY {
            return Err((request, Malformed::Size(len)));
        }
        Ok(Self {
            request,
            flags,
            len,
        })
    }
}

fn words(bytes: [u8; HEADER_LEN]) -> [u32; 3] {
    let [a, b, c, d, e, f, g, h, i, j, k, l] = bytes;
    [[a, b, c, d], [e, f, g, h], [i, j, k, l]].map(u32::from_ne_bytes)
}

/// One message of either direction.
#[derive(Debug)]
pub struct Message {
    /// The request code, known or not.
    pub request: u32,
    /// The header's flags.
    pub flags: u32,
    /// The body, at most [`MAX_BODY`] bytes.
    pub body: Vec<u8>,
    /// Descriptors attached to the message's first byte.
    pub fds: Vec<Attachment>,
}

impl Message {
    /// A request without descriptors that asks for no acknowledgement.
    pub fn request(request: Request, body: Vec<u8>) -> Self {
        Self {
            request: request as u32,
            flags: VERSION,
            body,
            fds: Vec::new(),
        }
    }

    /// The reply to `request`.
    pub fn reply(request: u32, body: Vec<u8>) -> Self {
        Self {
            request,
            flags: VERSION | REPLY,
            body,
            fds: Vec::new(),
        }
    }

    /// The acknowledgement of `request`: zero for success (protocol feature REPLY_ACK).
    pub fn ack(request: u32, granted: bool) -> Self {
        Self::reply(request, u64::from(!granted).to_ne_bytes().to_vec())
    }

    /// The same message, asking for an acknowledgement.
    #[must_use]
    pub fn needing_reply(mut self) -> Self {
        self.flags |= NEED_REPLY;
        self
    }

    /// Whether the sender asks for an acknowledgement.
    pub fn needs_reply(&self) -> bool {
        self.flags & NEED_REPLY != 0
    }

    /// Whether this is a reply.
    pub fn is_reply(&self) -> bool {
        self.flags & REPLY != 0
    }

    /// The header's bytes followed by the body.
    pub fn encode(&self) -> Vec<u8> {
        let len = u32::try_from(self.body.len()).unwrap_or(u32::MAX);
        let mut bytes = Vec::with_capacity(HEADER_LEN + self.body.len());
        for word in [
            self.request,
            self.flags & (VERSION_BITS | REPLY | NEED_REPLY),
            len,
        ] {
            bytes.extend_from_slice(&word.to_ne_bytes());
        }
        bytes.extend_from_slice(&self.body);
        bytes
    }
}

/// Reads numbers off a body; running past the end is the body's fault, not ours.
#[derive(Debug)]
pub(super) struct Fields<'a> {
    rest: &'a [u8],
    len: usize,
}

impl<'a> Fields<'a> {
    pub(super) fn new(body: &'a [u8]) -> Self {
        Self {
            rest: body,
            len: body.len(),
        }
    }

    fn take<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let (head, rest) = self
            .rest
            .split_first_chunk::<N>()
            .ok_or(Malformed::Size(self.len))?;
        self.rest = rest;
        Ok(*head)
    }

    pub(super) fn u32(&mut self) -> Result<u32, Malformed> {
        self.take().map(u32::from_ne_bytes)
    }

    pub(super) fn u64(&mut self) -> Result<u64, Malformed> {
        self.take().map(u64::from_ne_bytes)
    }

    /// Checks that nothing is left.
    pub(super) fn end(self) -> Result<(), Malformed> {
        match self.rest {
            [] => Ok(()),
            _ => Err(Malformed::Size(self.len)),
        }
    }
}

/// Body of the requests that name a ring and a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct RingState {
    pub(super) index: u32,
    pub(super) num: u32,
}

impl RingState {
    pub(super) fn parse(body: &[u8]) -> Result<Self, Malformed> {
        let mut fields = Fields::new(body);
        let (index, num) = (fields.u32()?, fields.u32()?);
        fields.end().map(|()| Self { index, num })
    }

    pub(super) fn encode(self) -> Vec<u8> {
        let mut body = Vec::with_capacity(size::RING_STATE);
        body.extend_from_slice(&self.index.to_ne_bytes());
        body.extend_from_slice(&self.num.to_ne_bytes());
        body
    }
}

/// The number in a body that is one 64-bit number.
pub(super) fn parse_u64(body: &[u8]) -> Result<u64, Malformed> {
    let mut fields = Fields::new(body);
    let value = fields.u64()?;
    fields.end().map(|()| value)
}
