//! The protocol engine behind a session: one vhost-user-backend daemon, whose rings are ours.
//!
//! The crate serves one session per daemon object and takes only a listener, so every session gets
//! a new object behind a private socket. It starts no queue thread of its own: `PortVring` wraps
//! its ring state, keeps the kick and call descriptors away from it, and turns its setters into
//! the shard's start, retune and stop. The crate calls them on its own thread, in the order of the
//! front-end's messages.

use std::cell::{Cell, RefCell};
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use ring::{GuestMap, RingLayout};
use rustix::fs::{Mode, OFlags};
use vhost::vhost_user::Listener;
use vhost::vhost_user::message::VhostUserProtocolFeatures;
use vhost_user_backend::{
    VhostUserBackend, VhostUserDaemon, VringRwLock, VringStateGuard, VringStateMutGuard, VringT,
};
use virtio_queue::{Error as QueueError, QueueT};
use vm_memory::{GuestAddressSpace, GuestMemoryAtomic, GuestMemoryMmap};
use vmm_sys_util::epoll::EventSet;

use crate::sandbox::{Role, seccomp};
use crate::shard::{PortCommand, PortHandle, RingStart};

/// The guest memory that the engine maps and the shard reads.
type Memory = GuestMemoryAtomic<GuestMemoryMmap<()>>;

/// What `ps` and `top` call the thread of an engine.
const THREAD: &str = "vhost-user";

/// What the engine offers to front-ends.
#[derive(Clone, Copy, Debug)]
pub struct EngineConfig {
    /// Virtio and vhost-user feature bits.
    pub features: u64,
    /// Protocol feature bits.
    pub protocol_features: u64,
    /// Rings: two for each queue pair.
    pub rings: usize,
    /// Entries of a ring at most.
    pub max_ring_size: u16,
}

/// A session's engine could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// The private socket between adapter and engine failed; the system is out of something.
    #[error("cannot set up the private socket of a session: {0}; check the limits on open files")]
    Socket(#[from] io::Error),
    /// The protocol crate refused to start.
    #[error("cannot start the vhost-user engine: {0}")]
    Daemon(vhost_user_backend::Error),
}

/// Starts engines, one per session.
#[derive(Debug)]
pub struct EngineFactory {
    listener: UnixListener,
    /// Names the listener's socket after its path is gone.
    socket: OwnedFd,
}

impl EngineFactory {
    /// A factory of engines.
    ///
    /// The private listener is bound in a directory only we may enter, and its path is removed at
    /// once: from then on it is reached through a descriptor of ours, and nothing is left behind.
    ///
    /// # Errors
    /// When no private socket can be made in the system's directory for temporary files.
    pub fn new() -> io::Result<Self> {
        let directory = tempfile::Builder::new().prefix("netqos-vhost-").tempdir()?;
        let path = directory.path().join("engine");
        let listener = UnixListener::bind(&path)?;
        listener.set_nonblocking(true)?;
        let socket = rustix::fs::open(&path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
        Ok(Self { listener, socket })
    }

    /// A new engine, which drives the rings of `port`, and our end of the socket that feeds it.
    ///
    /// # Errors
    /// When the process is out of descriptors, threads or memory. What was made is undone.
    pub fn start(
        &self,
        config: EngineConfig,
        port: PortHandle,
    ) -> Result<(Engine, UnixStream), EngineError> {
        let memory = Memory::new(GuestMemoryMmap::new());
        let backend = Arc::new(PortBackend {
            config,
            shared: Arc::new(Shared {
                port: port.clone(),
                features: AtomicU64::new(0),
                memory_lost: Arc::default(),
            }),
        });
        let memory_lost = Arc::clone(&backend.shared.memory_lost);
        CONTEXT.set(Some(Context {
            shared: Arc::clone(&backend.shared),
            next_index: 0,
        }));
        let daemon = VhostUserDaemon::new(THREAD.to_owned(), backend, memory);
        CONTEXT.set(None);
        let mut daemon = daemon.map_err(EngineError::Daemon)?;
        self.forget_pending()?;
        let ours = UnixStream::connect(format!("/proc/self/fd/{}", self.socket.as_raw_fd()))?;
        let mut listener = Listener::from(self.listener.try_clone()?);
        daemon.start(&mut listener).map_err(EngineError::Daemon)?;
        let engine = Engine {
            daemon,
            port,
            memory_lost,
        };
        Ok((engine, ours))
    }

    /// Takes away what an earlier start that failed has left waiting, or every later engine would
    /// be given the connection of the one before.
    fn forget_pending(&self) -> io::Result<()> {
        loop {
            match self.listener.accept() {
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
        }
    }
}

/// One running engine. Its rings stop, and the guest's memory is unmapped, when it is ended.
pub struct Engine {
    daemon: VhostUserDaemon<Arc<PortBackend>>,
    port: PortHandle,
    memory_lost: Arc<AtomicBool>,
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engine").finish_non_exhaustive()
    }
}

impl Engine {
    /// Whether a file behind the guest's memory was found to have been cut short.
    pub fn has_lost_memory(&self) -> bool {
        self.memory_lost.load(Ordering::Acquire)
    }

    /// Ends the engine after our end of its socket was dropped, and waits until the shard uses
    /// nothing of the guest any more.
    pub fn end(mut self) {
        // The engine always ends with an error here, because its peer has gone.
        if let Err(error) = self.daemon.wait() {
            log::debug!(event = "engine-ended"; "{error}");
        }
        // A shard that is gone holds nothing either.
        let _ = self.port.ask(PortCommand::Detach);
    }
}

/// What the rings and the back-end of one session share.
#[derive(Debug)]
struct Shared {
    port: PortHandle,
    features: AtomicU64,
    memory_lost: Arc<AtomicBool>,
}

/// Handed to [`PortVring::new`], which the crate calls without saying for which port or ring.
/// Rings are built in the order of their indices on the thread that builds the daemon.
#[derive(Debug)]
struct Context {
    shared: Arc<Shared>,
    next_index: usize,
}

thread_local! {
    static CONTEXT: RefCell<Option<Context>> = const { RefCell::new(None) };
}

/// Confines the thread of an engine to what that needs. The crate makes it, so this comes with the first
/// message of every session, which asks for the features; until then it has the filters of the thread that
/// started it.
fn confine() {
    thread_local! {
        static CONFINED: Cell<bool> = const { Cell::new(false) };
    }
    if thread::current().name() == Some(THREAD)
        && !CONFINED.replace(true)
        && let Err(error) = seccomp::enter(Role::Engine)
    {
        log::error!(event = "not-confined"; "an engine keeps the filters of the main thread: {error}");
    }
}

/// The engine's view of the device: features, and where memory changes go.
#[derive(Debug)]
struct PortBackend {
    config: EngineConfig,
    shared: Arc<Shared>,
}

impl VhostUserBackend for PortBackend {
    type Bitmap = ();
    type Vring = PortVring;

    fn num_queues(&self) -> usize {
        self.config.rings
    }

    fn max_queue_size(&self) -> usize {
        usize::from(self.config.max_ring_size)
    }

    fn features(&self) -> u64 {
        confine();
        self.config.features
    }

    fn acked_features(&self, features: u64) {
        self.shared.features.store(features, Ordering::Release);
    }

    fn protocol_features(&self) -> VhostUserProtocolFeatures {
        VhostUserProtocolFeatures::from_bits_truncate(self.config.protocol_features)
    }

    fn set_event_idx(&self, _enabled: bool) {
        // The shard reads it from the acknowledged features when a ring starts.
    }

    fn update_memory(&self, memory: Memory) -> io::Result<()> {
        let lost = Arc::clone(&self.shared.memory_lost);
        let map = Arc::new(GuestMap::with_flag(memory.memory().into_inner(), lost));
        self.shared
            .port
            .ask(|done| PortCommand::Memory(map, done))
            .map_err(io::Error::other)
    }

    fn queues_per_thread(&self) -> Vec<u64> {
        // No thread of the crate's: the shard serves the rings.
        Vec::new()
    }

    fn handle_event(
        &self,
        _event: u16,
        _set: EventSet,
        _vrings: &[PortVring],
        _thread: usize,
    ) -> io::Result<()> {
        // Never called: without queue threads nothing is registered.
        Ok(())
    }
}

/// A ring as the engine sees it: its queue state, with start, retune and stop sent to the shard.
#[derive(Clone)]
struct PortVring {
    inner: VringRwLock<Memory>,
    index: usize,
    shared: Arc<Shared>,
    /// What the front-end has set and the shard needs when the ring starts.
    staged: Arc<Mutex<Staged>>,
    enabled: Arc<AtomicBool>,
}

/// Descriptors set before the ring started.
#[derive(Debug, Default)]
struct Staged {
    call: Option<File>,
    err: Option<File>,
    /// Between the first kick descriptor and `GET_VRING_BASE`.
    running: bool,
}

impl PortVring {
    fn staged(&self) -> std::sync::MutexGuard<'_, Staged> {
        // Nothing panics while it holds this lock, and the data is plain.
        self.staged.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn send(&self, command: PortCommand) {
        if let Err(error) = self.shared.port.send(command) {
            log::error!(ring = self.index, event = "not-told"; "{error}");
        }
    }

    fn start(&self, kick: File) {
        let start = {
            let state = self.inner.get_ref();
            let queue = state.get_queue();
            let mut staged = self.staged();
            staged.running = true;
            RingStart {
                layout: RingLayout {
                    size: queue.size(),
                    desc: queue.desc_table(),
                    avail: queue.avail_ring(),
                    used: queue.used_ring(),
                },
                next_avail: queue.next_avail(),
                features: self.shared.features.load(Ordering::Acquire),
                kick,
                call: staged.call.take(),
                err: staged.err.take(),
                enabled: self.enabled.load(Ordering::Acquire),
            }
        };
        self.send(PortCommand::Start(self.index, Box::new(start)));
    }

    fn stop(&self) {
        self.staged().running = false;
        match self
            .shared
            .port
            .ask(|answer| PortCommand::Stop(self.index, answer))
        {
            Ok(next) => self.inner.set_queue_next_avail(next),
            Err(error) => log::error!(ring = self.index, event = "not-told"; "{error}"),
        }
    }
}

impl<'a> VringStateGuard<'a, Memory> for PortVring {
    type G = <VringRwLock<Memory> as VringStateGuard<'a, Memory>>::G;
}

impl<'a> VringStateMutGuard<'a, Memory> for PortVring {
    type G = <VringRwLock<Memory> as VringStateMutGuard<'a, Memory>>::G;
}

impl VringT<Memory> for PortVring {
    fn new(memory: Memory, max_queue_size: u16) -> Result<Self, QueueError> {
        let inner = VringRwLock::new(memory, max_queue_size)?;
        let (shared, index) = CONTEXT.with_borrow_mut(|context| {
            // Set by `EngineFactory::start`, the only place that builds rings.
            let context = context
                .as_mut()
                .expect("a ring is built inside EngineFactory::start");
            let index = context.next_index;
            context.next_index += 1;
            (Arc::clone(&context.shared), index)
        });
        Ok(Self {
            inner,
            index,
            shared,
            staged: Arc::default(),
            enabled: Arc::default(),
        })
    }

    fn get_ref(&self) -> <Self as VringStateGuard<'_, Memory>>::G {
        self.inner.get_ref()
    }

    fn get_mut(&self) -> <Self as VringStateMutGuard<'_, Memory>>::G {
        self.inner.get_mut()
    }

    fn add_used(&self, desc_index: u16, len: u32) -> Result<(), QueueError> {
        self.inner.add_used(desc_index, len)
    }

    fn signal_used_queue(&self) -> io::Result<()> {
        self.inner.signal_used_queue()
    }

    fn enable_notification(&self) -> Result<bool, QueueError> {
        self.inner.enable_notification()
    }

    fn disable_notification(&self) -> Result<(), QueueError> {
        self.inner.disable_notification()
    }

    fn needs_notification(&self) -> Result<bool, QueueError> {
        self.inner.needs_notification()
    }

    fn set_enabled(&self, enabled: bool) {
        self.inner.set_enabled(enabled);
        self.enabled.store(enabled, Ordering::Release);
        let asked = self
            .shared
            .port
            .ask(|done| PortCommand::Enable(self.index, enabled, done));
        if let Err(error) = asked {
            log::error!(ring = self.index, event = "not-told"; "{error}");
        }
    }

    fn set_queue_info(&self, desc: u64, avail: u64, used: u64) -> Result<(), QueueError> {
        self.inner.set_queue_info(desc, avail, used)
    }

    fn queue_next_avail(&self) -> u16 {
        self.inner.queue_next_avail()
    }

    fn set_queue_next_avail(&self, base: u16) {
        self.inner.set_queue_next_avail(base);
    }

    fn set_queue_next_used(&self, index: u16) {
        self.inner.set_queue_next_used(index);
    }

    fn queue_used_idx(&self) -> Result<u16, QueueError> {
        self.inner.queue_used_idx()
    }

    fn set_queue_size(&self, size: u16) {
        self.inner.set_queue_size(size);
    }

    fn set_queue_event_idx(&self, enabled: bool) {
        self.inner.set_queue_event_idx(enabled);
    }

    /// `GET_VRING_BASE` begins with this: the position must be final before it is read.
    fn set_queue_ready(&self, ready: bool) {
        self.inner.set_queue_ready(ready);
        if !ready {
            self.stop();
        }
    }

    /// The inner ring is never given the kick, or the crate would read it beside the shard.
    fn set_kick(&self, file: Option<File>) {
        let Some(kick) = file else { return };
        if self.staged().running {
            self.send(PortCommand::Kick(self.index, kick));
        } else {
            self.start(kick);
        }
    }

    fn read_kick(&self) -> io::Result<bool> {
        self.inner.read_kick()
    }

    fn set_call(&self, file: Option<File>) {
        let mut staged = self.staged();
        if staged.running {
            self.send(PortCommand::Call(self.index, file));
        } else {
            staged.call = file;
        }
    }

    fn set_err(&self, file: Option<File>) {
        let mut staged = self.staged();
        if staged.running {
            self.send(PortCommand::Err(self.index, file));
        } else {
            staged.err = file;
        }
    }
}
