//! The adapter in front of the real vhost-user-backend crate.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use vhost::vhost_user::message::VhostUserProtocolFeatures;
use vhost::vhost_user::{Error as EngineError, Listener};
use vhost_user_backend::{Error, VhostUserBackendMut, VhostUserDaemon, VringRwLock};
use vm_memory::{GuestMemoryAtomic, GuestMemoryMmap};
use vmm_sys_util::epoll::EventSet;

use super::support::*;
use crate::session::Request::*;
use crate::session::{CloseReason, Event, Message, Request, SessionIo, protocol};

type Memory = GuestMemoryAtomic<GuestMemoryMmap>;

/// The least a backend can be: it only counts.
#[derive(Default)]
struct Trivial {
    acked: u64,
    tables: usize,
    stops: usize,
}

impl VhostUserBackendMut for Trivial {
    type Bitmap = ();
    type Vring = VringRwLock;

    fn num_queues(&self) -> usize {
        4
    }

    fn max_queue_size(&self) -> usize {
        1024
    }

    fn features(&self) -> u64 {
        FEATURES | PF
    }

    fn acked_features(&mut self, features: u64) {
        self.acked = features;
    }

    fn protocol_features(&self) -> VhostUserProtocolFeatures {
        VhostUserProtocolFeatures::all()
    }

    fn set_event_idx(&mut self, _enabled: bool) {}

    fn update_memory(&mut self, _memory: Memory) -> io::Result<()> {
        self.tables += 1;
        Ok(())
    }

    fn queues_per_thread(&self) -> Vec<u64> {
        Vec::new()
    }

    fn stop_vring(&mut self, _index: u32) -> io::Result<()> {
        self.stops += 1;
        Ok(())
    }

    fn handle_event(&mut self, _: u16, _: EventSet, _: &[VringRwLock], _: usize) -> io::Result<()> {
        Ok(())
    }
}

type Daemon = VhostUserDaemon<Arc<Mutex<Trivial>>>;

/// An engine behind a private listener, and our end of it.
fn engine() -> (Daemon, Arc<Mutex<Trivial>>, UnixStream) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("engine");
    let listener = UnixListener::bind(&path).unwrap();
    let ours = UnixStream::connect(&path).unwrap();
    let backend = Arc::new(Mutex::new(Trivial::default()));
    let memory = Memory::new(GuestMemoryMmap::new());
    let mut daemon = Daemon::new("engine".to_owned(), backend.clone(), memory).unwrap();
    daemon.start(&mut Listener::from(listener)).unwrap();
    (daemon, backend, ours)
}

/// What QEMU 10 sends until its rings run, with the descriptors it attaches.
fn script(memory: &OwnedFd, event: &OwnedFd) -> Vec<(Message, Option<OwnedFd>)> {
    let plain = |message: Message| (message, None);
    let ask = |message: Message| plain(message.needing_reply());
    let event = |request, ring| (u64_of(request, ring), Some(event.try_clone().unwrap()));
    let mut script = vec![
        plain(bare(GetFeatures)),
        plain(bare(GetProtocolFeatures)),
        plain(u64_of(
            SetProtocolFeatures,
            protocol::SERVED & !protocol::CONFIG,
        )),
        plain(bare(GetQueueNum)),
        plain(bare(GetMaxMemSlots)),
        plain(bare(SetOwner)),
        event(SetVringCall, 0),
        event(SetVringCall, 1),
        ask(state(SetVringEnable, 0, 1)),
        ask(state(SetVringEnable, 1, 1)),
        ask(state(SetVringEnable, 0, 1)),
        ask(u64_of(SetFeatures, FEATURES | PF)),
        ask(u64_of(SetStatus, 0xb)),
        (
            table(&[REGION]).needing_reply(),
            Some(memory.try_clone().unwrap()),
        ),
    ];
    for ring in 0..2 {
        script.push(ask(state(SetVringNum, ring, 256)));
        script.push(plain(state(SetVringBase, ring, 5)));
        script.push(ask(addresses(ring)));
        script.push(event(SetVringKick, ring.into()));
        script.push(event(SetVringCall, ring.into()));
    }
    script.extend((0..2).map(|ring| plain(state(GetVringBase, ring, 0))));
    script.extend((0..3).map(|_| ask(state(SetVringEnable, 0, 1))));
    script
}

/// Lets the session run until the front-end has something to read, or the session has ended.
fn pump(io: &mut SessionIo, peer: &UnixStream, events: &mut Vec<Event>) {
    let flags = |interest: crate::poller::Interest| {
        let mut flags = PollFlags::empty();
        flags.set(PollFlags::IN, interest.readable);
        flags.set(PollFlags::OUT, interest.writable);
        flags
    };
    let start = Instant::now();
    while !events.iter().any(|event| matches!(event, Event::Closed(_))) {
        assert!(start.elapsed() < Duration::from_secs(5), "stuck");
        let fds = &mut [
            PollFd::from_borrowed_fd(peer.as_fd(), PollFlags::IN),
            PollFd::from_borrowed_fd(io.front_end_fd(), flags(io.front_end_interest())),
            PollFd::from_borrowed_fd(io.engine_fd(), flags(io.engine_interest())),
        ];
        let wait = Timespec {
            tv_sec: 1,
            tv_nsec: 0,
        };
        poll(fds, Some(&wait)).unwrap();
        let ready = fds.each_ref().map(|fd| !fd.revents().is_empty());
        if ready[0] {
            return;
        }
        let now = Instant::now();
        if ready[1] {
            io.on_front_end_ready(now, events);
        }
        if ready[2] {
            io.on_engine_ready(now, events);
        }
    }
}

fn reply(peer: &UnixStream) -> Message {
    let mut link = crate::session::link::Link::new(peer.try_clone().unwrap().into());
    link.receive().unwrap().expect("a reply")
}

#[test]
fn the_engine_alone_takes_qemus_early_enable_as_fatal() {
    let (mut daemon, _, ours) = engine();
    let (memory, event) = (memfd("engine", REGION_LEN), event_fd());
    for (message, fd) in script(&memory, &event).into_iter().take(10) {
        let fds: Vec<_> = fd.iter().map(AsFd::as_fd).collect();
        send_raw(&ours, &message.encode(), &fds);
    }
    let ended = daemon.wait();
    assert!(
        matches!(
            ended,
            Err(Error::HandleRequest(EngineError::InactiveFeature(_)))
        ),
        "{ended:?}"
    );
}

#[test]
fn behind_the_adapter_the_engine_serves_qemus_order_and_ends_cleanly() {
    let (mut daemon, backend, inner) = engine();
    let (peer, front_end) = UnixStream::pair().unwrap();
    let mut events = Vec::new();
    let mut io = SessionIo::new(config(), front_end, inner, Instant::now(), &mut events);
    let (memory, event) = (memfd("engine", REGION_LEN), event_fd());
    for (message, fd) in script(&memory, &event) {
        let fds: Vec<_> = fd.iter().map(AsFd::as_fd).collect();
        send_raw(&peer, &message.encode(), &fds);
        let request = Request::from_code(message.request).unwrap();
        if !(message.needs_reply() || request.has_own_reply()) {
            continue;
        }
        pump(&mut io, &peer, &mut events);
        assert_eq!(
            events
                .iter()
                .find(|event| matches!(event, Event::Closed(_))),
            None
        );
        let reply = reply(&peer);
        assert_eq!(reply.request, message.request);
        match request {
            GetVringBase => assert_eq!(reply.body[4..], 5u32.to_ne_bytes()),
            _ if request.has_own_reply() => {}
            _ => assert_eq!(reply.body, [0; 8], "{request}"),
        }
    }
    {
        let seen = backend.lock().unwrap();
        assert_eq!((seen.acked, seen.tables, seen.stops), (FEATURES | PF, 1, 2));
    }
    drop(peer);
    io.on_front_end_ready(Instant::now(), &mut events);
    assert_eq!(events.last(), Some(&Event::Closed(CloseReason::PeerClosed)));
    drop(io);
    let ended = daemon.wait();
    assert!(
        matches!(ended, Err(Error::HandleRequest(EngineError::Disconnected))),
        "{ended:?}"
    );
}
