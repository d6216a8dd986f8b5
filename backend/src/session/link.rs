//! One end of a session on a unix stream socket: whole messages in and out, never blocking.

use std::collections::VecDeque;
use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{FileType, OFlags};
use rustix::io::Errno;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags,
};

use super::message::{Attachment, HEADER_LEN, Header, Kind, MAX_DESCRIPTORS, Message};
use super::reason::Malformed;

/// `HUGETLBFS_MAGIC` of linux/magic.h: files whose mappings come in huge pages.
const HUGETLBFS: u32 = 0x958458f6;

/// Why nothing more can be received.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Broken {
    /// The peer closed its end after this many bytes of a message.
    Ended(usize),
    /// The message with this code breaks the framing.
    Malformed(u32, Malformed),
    /// The socket failed.
    Socket(Errno),
}

/// A message on its way in.
#[derive(Debug, Default)]
struct Incoming {
    head: [u8; HEADER_LEN],
    head_len: usize,
    header: Option<Header>,
    body: Vec<u8>,
    body_len: usize,
    fds: Vec<Attachment>,
}

impl Incoming {
    fn received(&self) -> usize {
        self.head_len.saturating_add(self.body_len)
    }

    /// The bytes that are still missing of the header or, once it is known, of the body. Reading
    /// no further keeps the descriptors of the next message with that message.
    fn missing(&mut self) -> &mut [u8] {
        let space = match self.header {
            None => self.head.get_mut(self.head_len..),
            Some(_) => self.body.get_mut(self.body_len..),
        };
        space.unwrap_or_default()
    }

    fn code(&self) -> u32 {
        let [a, b, c, d, ..] = self.head;
        u32::from_ne_bytes([a, b, c, d])
    }

    /// Accounts for `len` more bytes; true when the message is whole.
    fn advance(&mut self, len: usize) -> Result<bool, Broken> {
        let Some(header) = self.header else {
            self.head_len = self.head_len.saturating_add(len);
            if self.head_len < HEADER_LEN {
                return Ok(false);
            }
            let header =
                Header::parse(self.head).map_err(|(code, fault)| Broken::Malformed(code, fault))?;
            self.header = Some(header);
            self.body = vec![0; header.len];
            return Ok(header.len == 0);
        };
        self.body_len = self.body_len.saturating_add(len);
        Ok(self.body_len >= header.len)
    }

    fn into_message(self) -> Message {
        Message {
            request: self.code(),
            flags: self.header.map_or(0, |header| header.flags),
            body: self.body,
            fds: self.fds,
        }
    }
}

/// A message on its way out; its descriptors go with its first byte.
#[derive(Debug)]
struct Outgoing {
    bytes: Vec<u8>,
    sent: usize,
    fds: Vec<OwnedFd>,
}

/// A socket and the two messages that may be half way through it.
#[derive(Debug)]
pub(super) struct Link {
    socket: OwnedFd,
    incoming: Incoming,
    outgoing: VecDeque<Outgoing>,
}

impl Link {
    pub(super) fn new(socket: OwnedFd) -> Self {
        Self {
            socket,
            incoming: Incoming::default(),
            outgoing: VecDeque::new(),
        }
    }

    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// Whether a message has begun and not ended.
    pub(super) fn is_mid_message(&self) -> bool {
        self.incoming.received() > 0
    }

    /// Whether something waits to be sent.
    pub(super) fn is_sending(&self) -> bool {
        !self.outgoing.is_empty()
    }

    /// Whether the peer has gone, whatever it left to be read.
    pub(super) fn is_abandoned(&self) -> bool {
        let mut polled = [PollFd::new(&self.socket, PollFlags::RDHUP)];
        let gone = PollFlags::RDHUP | PollFlags::HUP | PollFlags::ERR;
        matches!(poll(&mut polled, Some(&Timespec::default())), Ok(1))
            && polled.iter().any(|fd| fd.revents().intersects(gone))
    }

    /// The next whole message, or `None` if the rest has not come yet.
    pub(super) fn receive(&mut self) -> Result<Option<Message>, Broken> {
        loop {
            match self.receive_some() {
                Ok(true) => return Ok(Some(std::mem::take(&mut self.incoming).into_message())),
                Ok(false) | Err(Broken::Socket(Errno::INTR)) => {}
                Err(Broken::Socket(Errno::AGAIN)) => return Ok(None),
                Err(broken) => return Err(broken),
            }
        }
    }

    fn receive_some(&mut self) -> Result<bool, Broken> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_DESCRIPTORS))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let began = self.is_mid_message();
        let received = rustix::net::recvmsg(
            &self.socket,
            &mut [IoSliceMut::new(self.incoming.missing())],
            &mut control,
            RecvFlags::DONTWAIT | RecvFlags::CMSG_CLOEXEC,
        )
        .map_err(Broken::Socket)?;
        let mut fds: Vec<OwnedFd> = Vec::new();
        for message in control.drain() {
            if let RecvAncillaryMessage::ScmRights(rights) = message {
                fds.extend(rights);
            }
        }
        if received.bytes == 0 {
            return Err(Broken::Ended(self.incoming.received()));
        }
        let whole = self.incoming.advance(received.bytes)?;
        let code = self.incoming.code();
        if received.flags.contains(ReturnFlags::CTRUNC) {
            return Err(Broken::Malformed(code, Malformed::LostDescriptors));
        }
        if began && !fds.is_empty() {
            return Err(Broken::Malformed(code, Malformed::StrayDescriptors));
        }
        self.incoming.fds.extend(fds.into_iter().map(inspect));
        Ok(whole)
    }

    /// Takes a message to send. The caller takes in nothing new while [`Self::is_sending`], which
    /// bounds what waits here to the answers to one request.
    pub(super) fn queue(&mut self, message: Message) {
        self.outgoing.push_back(Outgoing {
            bytes: message.encode(),
            sent: 0,
            fds: message
                .fds
                .into_iter()
                .map(|attached| attached.fd)
                .collect(),
        });
    }

    /// Sends what the socket takes now.
    pub(super) fn flush(&mut self) -> Result<(), Errno> {
        while let Some(next) = self.outgoing.front_mut() {
            let sent = match send(&self.socket, next) {
                Ok(sent) => sent,
                Err(Errno::AGAIN) => return Ok(()),
                Err(Errno::INTR) => 0,
                Err(error) => return Err(error),
            };
            if sent > 0 {
                next.fds.clear();
            }
            next.sent = next.sent.saturating_add(sent);
            if next.sent >= next.bytes.len() {
                self.outgoing.pop_front();
            }
        }
        Ok(())
    }
}

fn send(socket: &OwnedFd, message: &Outgoing) -> Result<usize, Errno> {
    let rest = message.bytes.get(message.sent..).unwrap_or_default();
    let rights: Vec<BorrowedFd<'_>> = message.fds.iter().map(AsFd::as_fd).collect();
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_DESCRIPTORS))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !rights.is_empty() && !control.push(SendAncillaryMessage::ScmRights(&rights)) {
        return Err(Errno::INVAL);
    }
    let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
    rustix::net::sendmsg(socket, &[IoSlice::new(rest)], &mut control, flags)
}

/// Asks the kernel what a received descriptor is. An event is also made non-blocking, so that a
/// full counter cannot make the packet path wait.
fn inspect(fd: OwnedFd) -> Attachment {
    let kind = kind(&fd).unwrap_or(Kind::Other);
    Attachment { fd, kind }
}

fn kind(fd: &OwnedFd) -> Result<Kind, Errno> {
    let stat = rustix::fs::fstat(fd)?;
    let flags = rustix::fs::fcntl_getfl(fd)?;
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => Ok(Kind::File {
            len: u64::try_from(stat.st_size).unwrap_or_default(),
            page: page_size(fd)?,
            writable: flags & OFlags::RWMODE == OFlags::RDWR,
        }),
        // Anonymous inodes have no type bits.
        FileType::Unknown => {
            rustix::fs::fcntl_setfl(fd, flags | OFlags::NONBLOCK)?;
            Ok(Kind::Anonymous)
        }
        _ => Ok(Kind::Other),
    }
}

/// What mappings of the file must be multiples of: the huge page size on hugetlbfs, in bytes.
fn page_size(fd: &OwnedFd) -> Result<u64, Errno> {
    let fs = rustix::fs::fstatfs(fd)?;
    let page = if u32::try_from(fs.f_type) == Ok(HUGETLBFS) {
        u64::try_from(fs.f_bsize).unwrap_or_default()
    } else {
        0
    };
    Ok(page.max(super::memory::PAGE))
}
