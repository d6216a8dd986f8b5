//! Builders of messages, and a session in front of an engine that grants everything.

use std::fs::File;
use std::io::IoSlice;
use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::Instant;

use rustix::event::{EventfdFlags, eventfd};
use rustix::fs::{MemfdFlags, ftruncate, memfd_create};
use rustix::net::{RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, recv, sendmsg};

use crate::session::link::Link;
use crate::session::{
    Action, Attachment, CloseReason, Event, Kind, Message, Request, Session, SessionConfig,
    SessionIo, protocol,
};

pub(super) const PF: u64 = 1 << 30;
pub(super) const FEATURES: u64 = 1 << 32 | 1 << 15 | 1 << 28;
/// Where the test front-end has its memory, in its own addresses.
pub(super) const USER: u64 = 0x7f00_0000_0000;
pub(super) const REGION_LEN: u64 = 0x10_0000;

pub(super) fn config() -> SessionConfig {
    SessionConfig {
        protocol_features: protocol::SERVED,
        config_len: 12,
        ..SessionConfig::new(FEATURES, 4)
    }
}

pub(super) fn event() -> Attachment {
    Attachment {
        fd: event_fd(),
        kind: Kind::Anonymous,
    }
}

pub(super) fn event_fd() -> OwnedFd {
    eventfd(0, EventfdFlags::CLOEXEC).unwrap()
}

/// A file of its own name, by which [`open_copies`] finds it among all that is open.
pub(super) fn memfd(name: &str, len: u64) -> OwnedFd {
    let fd = memfd_create(name, MemfdFlags::CLOEXEC).unwrap();
    ftruncate(&fd, len).unwrap();
    fd
}

/// How many descriptors of this process lead to memory files of this name.
pub(super) fn open_copies(name: &str) -> usize {
    let wanted = format!("/memfd:{name} (deleted)");
    std::fs::read_dir("/proc/self/fd")
        .unwrap()
        .filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok())
        .filter(|target| target.to_str() == Some(&wanted))
        .count()
}

pub(super) fn file(len: u64) -> Attachment {
    Attachment {
        fd: OwnedFd::from(File::open("/dev/null").unwrap()),
        kind: Kind::File {
            len,
            page: 4096,
            writable: true,
        },
    }
}

pub(super) fn bare(request: Request) -> Message {
    Message::request(request, Vec::new())
}

pub(super) fn u64_of(request: Request, value: u64) -> Message {
    Message::request(request, value.to_ne_bytes().to_vec())
}

pub(super) fn state(request: Request, index: u32, num: u32) -> Message {
    let body = [index, num].iter().flat_map(|n| n.to_ne_bytes()).collect();
    Message::request(request, body)
}

pub(super) fn ring_event(request: Request, ring: u64) -> Message {
    let mut message = u64_of(request, ring);
    message.fds.push(event());
    message
}

/// A ring's addresses: each ring has 0x4000 bytes of the first region, enough for 256.
pub(super) fn addresses(index: u32) -> Message {
    let base = USER + u64::from(index) * 0x4000;
    addresses_at(index, [base, base + 0x2000, base + 0x1000])
}

/// Descriptors, used, available.
pub(super) fn addresses_at(index: u32, parts: [u64; 3]) -> Message {
    let mut body = [index, 0].map(u32::to_ne_bytes).concat();
    for number in parts.into_iter().chain([0]) {
        body.extend_from_slice(&number.to_ne_bytes());
    }
    Message::request(Request::SetVringAddr, body)
}

/// Guest, length, user, offset.
pub(super) type Numbers = [u64; 4];

pub(super) const REGION: Numbers = [0, REGION_LEN, USER, 0];

pub(super) fn table_body(regions: &[Numbers]) -> Vec<u8> {
    let count = u32::try_from(regions.len()).unwrap();
    let mut body = [count, 0].map(u32::to_ne_bytes).concat();
    body.extend(regions.iter().flatten().flat_map(|n| n.to_ne_bytes()));
    body
}

pub(super) fn table(regions: &[Numbers]) -> Message {
    let mut message = Message::request(Request::SetMemTable, table_body(regions));
    message.fds = regions.iter().map(|_| file(REGION_LEN)).collect();
    message
}

pub(super) fn single(request: Request, region: Numbers) -> Message {
    let mut body = vec![0; 8];
    body.extend(region.iter().flat_map(|n| n.to_ne_bytes()));
    let mut message = Message::request(request, body);
    if request == Request::AddMemReg {
        message.fds.push(file(REGION_LEN));
    }
    message
}

/// What came out of a message, with the engine granting everything.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    pub(super) engine: Vec<Message>,
    pub(super) replies: Vec<Message>,
    pub(super) others: Vec<String>,
    pub(super) closed: Option<CloseReason>,
}

impl Outcome {
    pub(super) fn engine_requests(&self) -> Vec<Request> {
        let code = |message: &Message| Request::from_code(message.request).unwrap();
        self.engine.iter().map(code).collect()
    }

    /// The number in the only reply.
    pub(super) fn value(&self) -> u64 {
        let [reply] = &self.replies[..] else {
            panic!("one reply expected: {self:?}");
        };
        assert!(reply.is_reply());
        u64::from_ne_bytes(reply.body.as_slice().try_into().unwrap())
    }

    /// Refused with a reply, and the engine heard nothing.
    pub(super) fn assert_refused(&self) {
        assert_eq!((self.value(), self.closed), (1, None), "{self:?}");
        assert!(self.engine.is_empty(), "{self:?}");
    }

    pub(super) fn assert_granted(&self) {
        assert_eq!(self.closed, None, "{self:?}");
        assert!(self.replies.iter().all(|reply| reply.body == [0; 8]));
    }
}

/// The engine's answer when all is well.
pub(super) fn engine_answer(message: &Message) -> Message {
    let request = Request::from_code(message.request).unwrap();
    let body = match request {
        Request::GetFeatures => (FEATURES | PF).to_ne_bytes().to_vec(),
        Request::GetVringBase => [message.body[..4].to_vec(), vec![7, 0, 0, 0]].concat(),
        Request::GetConfig => message.body.clone(),
        _ => {
            assert!(message.needs_reply(), "the engine is always asked to reply");
            vec![0; 8]
        }
    };
    Message::reply(message.request, body)
}

pub(super) struct Bench {
    pub(super) session: Session,
}

impl Bench {
    pub(super) fn new() -> Self {
        Self::with(config())
    }

    pub(super) fn with(config: SessionConfig) -> Self {
        let mut bench = Self {
            session: Session::new(config),
        };
        let mut actions = Vec::new();
        bench.session.start(&mut actions);
        let started = bench.run(actions);
        assert_eq!(
            started.engine_requests(),
            [Request::GetFeatures, Request::SetProtocolFeatures]
        );
        bench
    }

    /// After negotiation and, `up_to` that many rings, set-up and start.
    pub(super) fn negotiated() -> Self {
        let mut bench = Self::new();
        bench.send(u64_of(Request::SetProtocolFeatures, protocol::SERVED));
        bench.send(bare(Request::SetOwner));
        bench.send(u64_of(Request::SetFeatures, FEATURES | PF));
        bench
    }

    pub(super) fn with_started_ring() -> Self {
        let mut bench = Self::negotiated();
        bench.send(table(&[REGION])).assert_granted();
        bench.start_ring(0);
        bench
    }

    pub(super) fn start_ring(&mut self, index: u32) {
        for message in [
            state(Request::SetVringNum, index, 256),
            state(Request::SetVringBase, index, 0),
            addresses(index),
            ring_event(Request::SetVringKick, index.into()),
        ] {
            self.send(message).assert_granted();
        }
        assert!(self.session.rings()[index as usize].started);
    }

    pub(super) fn send(&mut self, message: Message) -> Outcome {
        assert!(!self.session.is_waiting());
        let mut actions = Vec::new();
        self.session.front_end(message, &mut actions);
        self.run(actions)
    }

    /// Sends with the need-reply bit set.
    pub(super) fn ask(&mut self, message: Message) -> Outcome {
        self.send(message.needing_reply())
    }

    fn run(&mut self, mut actions: Vec<Action>) -> Outcome {
        let mut outcome = Outcome::default();
        while !actions.is_empty() {
            let mut answers = Vec::new();
            for action in actions.drain(..) {
                assert_eq!(outcome.closed, None, "nothing follows a close");
                match action {
                    Action::ToEngine(message) => {
                        answers.push(engine_answer(&message));
                        outcome.engine.push(message);
                    }
                    Action::ToFrontEnd(message) => outcome.replies.push(message),
                    Action::Close(reason) => outcome.closed = Some(reason),
                    other => outcome.others.push(format!("{other:?}")),
                }
            }
            assert!(answers.len() <= 1, "one request at a time");
            for answer in answers {
                self.session.engine(answer, &mut actions);
            }
        }
        outcome
    }
}

/// A session on real sockets, with the test at both far ends.
pub(super) struct Rig {
    pub(super) io: SessionIo,
    pub(super) peer: UnixStream,
    pub(super) engine: Link,
    pub(super) events: Vec<Event>,
    pub(super) now: Instant,
}

impl Rig {
    pub(super) fn new() -> Self {
        let (peer, front_end) = UnixStream::pair().unwrap();
        let (engine, inner) = UnixStream::pair().unwrap();
        let (now, mut events) = (Instant::now(), Vec::new());
        let mut rig = Self {
            io: SessionIo::new(config(), front_end, inner, now, &mut events),
            peer,
            engine: Link::new(engine.into()),
            events,
            now,
        };
        rig.settle();
        rig
    }

    /// Lets everybody act until nobody has anything to do. The engine grants all.
    pub(super) fn settle(&mut self) {
        loop {
            let (now, events) = (self.now, &mut self.events);
            self.io.on_front_end_ready(now, events);
            let Ok(Some(message)) = self.engine.receive() else {
                return;
            };
            self.engine.queue(engine_answer(&message));
            self.engine.flush().unwrap();
            self.io.on_engine_ready(now, events);
        }
    }

    /// Sends bytes with descriptors, as a front-end would, and lets the session act.
    pub(super) fn send(&mut self, bytes: &[u8], fds: &[BorrowedFd<'_>]) {
        send_raw(&self.peer, bytes, fds);
        self.settle();
    }

    pub(super) fn closed(&self) -> Option<CloseReason> {
        self.events.iter().find_map(|event| match event {
            Event::Closed(reason) => Some(*reason),
            _ => None,
        })
    }

    /// Number of whole replies that wait for the front-end; all have a body of eight bytes.
    pub(super) fn replies(&self) -> usize {
        let mut buffer = [0; 4096];
        match recv(&self.peer, &mut buffer, RecvFlags::DONTWAIT) {
            Ok((len, _)) => len / 20,
            Err(_) => 0,
        }
    }
}

/// Sends bytes and descriptors; what a closed peer makes of it does not matter.
pub(super) fn send_raw(socket: &UnixStream, bytes: &[u8], fds: &[BorrowedFd<'_>]) {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(253))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !fds.is_empty() {
        assert!(control.push(SendAncillaryMessage::ScmRights(fds)));
    }
    let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
    let _ = sendmsg(socket, &[IoSlice::new(bytes)], &mut control, flags);
}
