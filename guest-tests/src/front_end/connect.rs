//! The order of a session's start, as a front-end of the virtual machine monitors has it.

use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use ring::RingOptions;
use vhost::vhost_user::message::{VhostUserHeaderFlag, VhostUserProtocolFeatures};
use vhost::vhost_user::{Frontend, VhostUserFrontend};
use vhost::{VhostBackend, VringConfigData};

use super::builder::FrontEnd;
use super::features;
use super::memory::Memory;
use super::port::{Pair, Port};
use super::queue::Queue;
use super::raw::RawSession;
use super::receive::{Buffers, Receive};
use super::transmit::Transmit;
use crate::error::{Context, Error, Result};
use crate::process::POLL;

/// Turns the crate's error into ours.
pub(super) fn asked<T>(request: &str, answer: vhost::Result<T>) -> Result<T> {
    answer.map_err(|error| Error::Io {
        what: format!("the session's {request}"),
        source: std::io::Error::other(error.to_string()),
    })
}

/// How long a front-end is patient with a daemon that has not noticed its predecessor's end yet: a
/// process started just then holds the old socket until it executes.
const PATIENCE: Duration = Duration::from_secs(1);

pub(super) fn start(options: FrontEnd) -> Result<Port> {
    let deadline = Instant::now() + PATIENCE;
    let (mut session, raw, offered) = loop {
        match open(&options) {
            Ok(open) => break open,
            Err(_) if Instant::now() < deadline => std::thread::sleep(POLL),
            Err(error) => return Err(error),
        }
    };
    let features = negotiate(&mut session, &options, offered)?;
    let mut memory = Memory::new(memory_needed(&options, features))?;
    let pairs = (0..options.pairs)
        .map(|_| pair(&mut memory, &options, features))
        .collect::<Result<Vec<_>>>()?;
    asked("SET_MEM_TABLE", session.set_mem_table(&[memory.region()]))?;
    let mut port = Port::new(session, raw, memory, features, pairs);
    for index in 0..options.pairs {
        port.start_pair(index)?;
    }
    Ok(port)
}

/// Connects and asks for the features, which only an accepted front-end is told.
fn open(options: &FrontEnd) -> Result<(Frontend, RawSession, u64)> {
    let what = || format!("connecting to {}", options.socket.display());
    let stream = UnixStream::connect(&options.socket).context(what())?;
    let raw = RawSession::from(stream.try_clone().context(what())?);
    let session = Frontend::from_stream(stream, 2 * options.pairs as u64);
    asked("SET_OWNER", session.set_owner())?;
    let offered = asked("GET_FEATURES", session.get_features())?;
    Ok((session, raw, offered))
}

fn negotiate(session: &mut Frontend, options: &FrontEnd, offered: u64) -> Result<u64> {
    let wanted = match options.features {
        Some(features) => features | features::VERSION_1 | features::PROTOCOL_FEATURES,
        None => offered,
    };
    let wanted = wanted & !options.without;
    if wanted & !offered != 0 {
        return Err(Error::Setup("a feature was asked for that is not offered"));
    }
    let known = asked("GET_PROTOCOL_FEATURES", session.get_protocol_features())?;
    let known = known & (VhostUserProtocolFeatures::MQ | VhostUserProtocolFeatures::REPLY_ACK);
    asked(
        "SET_PROTOCOL_FEATURES",
        session.set_protocol_features(known),
    )?;
    session.set_hdr_flags(VhostUserHeaderFlag::NEED_REPLY);
    let rings = asked("GET_QUEUE_NUM", session.get_queue_num())?;
    if rings < 2 * options.pairs as u64 {
        return Err(Error::Setup("more queue pairs than the daemon has"));
    }
    asked("SET_FEATURES", session.set_features(wanted))?;
    Ok(wanted)
}

/// Enough for the rings, a slot for each descriptor, and indirect tables of a ring's length; pages
/// that stay untouched cost nothing.
fn memory_needed(options: &FrontEnd, features: u64) -> u64 {
    let size = u64::from(options.ring_size);
    let transmit = size * (options.largest as u64 + 256 + size * 16);
    let receive = buffers(options, features).bytes(options.ring_size) + size * 64;
    (transmit + receive + 64 * size + 8192) * options.pairs as u64
}

fn buffers(options: &FrontEnd, features: u64) -> Buffers {
    let suiting = || Buffers::suiting(features & features::MRG_RXBUF != 0);
    options.buffers.clone().unwrap_or_else(suiting)
}

fn pair(memory: &mut Memory, options: &FrontEnd, features: u64) -> Result<Pair> {
    let size = options.ring_size;
    let rings = RingOptions {
        event_idx: features & features::EVENT_IDX != 0,
        indirect: features & features::INDIRECT != 0,
        in_order: features & features::IN_ORDER != 0,
    };
    let mergeable = features & features::MRG_RXBUF != 0;
    let buffers = buffers(options, features);
    let mut pair = Pair {
        transmit: Transmit::new(memory, size, rings, options.largest)?,
        receive: Receive::new(memory, size, rings, mergeable, buffers)?,
    };
    if options.posting {
        pair.receive.refill();
    } else {
        pair.receive.keep_posted(0);
    }
    Ok(pair)
}

/// Describes a ring, gives its events and enables it.
pub(super) fn start_ring(
    session: &mut Frontend,
    memory: &Memory,
    index: usize,
    queue: &Queue,
    base: u16,
) -> Result<()> {
    let layout = queue.layout();
    let addresses = VringConfigData {
        queue_max_size: layout.size,
        queue_size: layout.size,
        flags: 0,
        desc_table_addr: memory.user_address(layout.desc),
        used_ring_addr: memory.user_address(layout.used),
        avail_ring_addr: memory.user_address(layout.avail),
        log_addr: None,
    };
    asked("SET_VRING_NUM", session.set_vring_num(index, layout.size))?;
    asked("SET_VRING_BASE", session.set_vring_base(index, base))?;
    asked("SET_VRING_ADDR", session.set_vring_addr(index, &addresses))?;
    asked(
        "SET_VRING_CALL",
        session.set_vring_call(index, queue.call_event()),
    )?;
    asked(
        "SET_VRING_ERR",
        session.set_vring_err(index, queue.err_event()),
    )?;
    asked(
        "SET_VRING_KICK",
        session.set_vring_kick(index, queue.kick_event()),
    )?;
    asked("SET_VRING_ENABLE", session.set_vring_enable(index, true))
}
