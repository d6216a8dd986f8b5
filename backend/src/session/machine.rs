//! The state machine: a message in, actions out. No I/O, no clock.
//!
//! Towards the engine every request asks for a reply, and the next one waits for it. So the
//! engine's queue never grows, and a fault is known together with the request that caused it.
//! The engine takes any failed handler as the end of the session; hence every request is
//! checked here before it is passed on, and a failure after that closes the session.

use std::collections::VecDeque;

use super::config::{MAX_REGIONS, PROTOCOL_FEATURES, SessionConfig, protocol};
use super::device::send_rarp;
use super::memory::Table;
use super::message::{Message, RingState, parse_u64};
use super::reason::{CloseReason, Malformed, Refusal};
use super::request::{Code, Request, size};
use super::ring::Ring;

/// What the caller has to do, in this order.
#[derive(Debug)]
pub enum Action {
    /// Send to the engine. No further message of the front-end may be given to the machine
    /// until [`Session::is_waiting`] is false.
    ToEngine(Message),
    /// Send to the front-end.
    ToFrontEnd(Message),
    /// Broadcast a RARP request for this MAC address.
    Rarp([u8; 6]),
    /// The MTU is now this many bytes.
    SetMtu(u16),
    /// The guest's driver set its status byte (virtio 1.3 §2.1); zero is a reset.
    Status(u8),
    /// A started ring was stopped because a change of the memory table took it away.
    RingLost(u32),
    /// End the session. Nothing follows.
    Close(CloseReason),
}

/// What happens to the engine's answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Relay {
    /// The front-end did not ask.
    Nothing,
    /// Pass it on.
    Answer,
}

/// What is to be done when the engine has answered all before it.
#[derive(Debug)]
enum Step {
    /// Ask the engine.
    Engine(Request, Message, Relay),
    /// Answer the front-end.
    Answer(Message),
}

/// What the engine owes.
#[derive(Clone, Copy, Debug)]
struct Awaited {
    request: Request,
    relay: Relay,
}

/// Why a request goes no further.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    Malformed(Malformed),
    Refusal(Refusal),
}

impl From<Malformed> for Fault {
    fn from(fault: Malformed) -> Self {
        Self::Malformed(fault)
    }
}

impl From<Refusal> for Fault {
    fn from(fault: Refusal) -> Self {
        Self::Refusal(fault)
    }
}

/// A request that was granted.
#[derive(Debug)]
pub(super) enum Granted {
    /// By the adapter alone.
    Here,
    /// By the adapter alone, with a reply of its own.
    Reply(Vec<u8>),
    /// By the engine.
    Engine(Message),
}

/// One vhost-user session: knows what the front-end has negotiated and set up, grants or refuses
/// each message, and keeps the engine in step.
///
/// Inputs are [`start`](Self::start) once, then [`front_end`](Self::front_end) and
/// [`engine`](Self::engine); outputs are the actions they append. After
/// [`Action::Close`] the session takes no more input.
#[derive(Debug)]
pub struct Session {
    pub(super) config: SessionConfig,
    pub(super) features: Option<u64>,
    pub(super) protocol_features: u64,
    pub(super) table: Table,
    pub(super) rings: Vec<Ring>,
    pub(super) owned: bool,
    pub(super) status: u8,
    refused: u64,
    steps: VecDeque<Step>,
    awaited: Option<Awaited>,
    closed: bool,
}

impl Session {
    /// A session in its initial state.
    pub fn new(config: SessionConfig) -> Self {
        let rings = vec![Ring::default(); usize::from(config.rings.min(256))];
        Self {
            config,
            features: None,
            protocol_features: 0,
            table: Table::default(),
            rings,
            owned: false,
            status: 0,
            refused: 0,
            steps: VecDeque::new(),
            awaited: None,
            closed: false,
        }
    }

    /// Negotiates with the engine, so that it acknowledges what it is sent.
    pub fn start(&mut self, out: &mut Vec<Action>) {
        let wanted = protocol::REPLY_ACK
            | (self.config.offered_protocol_features()
                & (protocol::CONFIG | protocol::CONFIGURE_MEM_SLOTS));
        let body = wanted.to_ne_bytes().to_vec();
        self.then(Request::GetFeatures, Vec::new());
        self.then(Request::SetProtocolFeatures, body);
        self.proceed(out);
    }

    /// Whether the engine owes an answer, so that the front-end has to wait.
    pub fn is_waiting(&self) -> bool {
        self.awaited.is_some()
    }

    /// Features the front-end acknowledged; `None` before SET_FEATURES.
    pub fn features(&self) -> Option<u64> {
        self.features
    }

    /// The memory table.
    pub fn table(&self) -> &Table {
        &self.table
    }

    /// The rings, by index.
    pub fn rings(&self) -> &[Ring] {
        &self.rings
    }

    /// Number of requests refused so far.
    pub fn refused(&self) -> u64 {
        self.refused
    }

    /// Takes a message from the front-end.
    pub fn front_end(&mut self, message: Message, out: &mut Vec<Action>) {
        if self.closed {
            return;
        }
        let code = message.request;
        let wants_reply = message.needs_reply();
        let granted = self.grant(message, out);
        // SET_PROTOCOL_FEATURES is acknowledged if it turned acknowledgement on.
        let acknowledge = wants_reply && self.protocol_features & protocol::REPLY_ACK != 0;
        match granted {
            Ok(Granted::Here) if acknowledge => {
                self.steps.push_back(Step::Answer(Message::ack(code, true)));
            }
            Ok(Granted::Here) => {}
            Ok(Granted::Reply(body)) => {
                self.steps
                    .push_back(Step::Answer(Message::reply(code, body)));
            }
            Ok(Granted::Engine(message)) => self.pass_on(message, acknowledge),
            Err(Fault::Malformed(fault)) => {
                self.close(CloseReason::Malformed(Code(code), fault), out);
            }
            Err(Fault::Refusal(refusal)) => self.refuse(code, acknowledge, refusal, out),
        }
        self.proceed(out);
    }

    fn pass_on(&mut self, message: Message, acknowledge: bool) {
        let Some(request) = Request::from_code(message.request) else {
            return;
        };
        let relay = if acknowledge || request.has_own_reply() {
            Relay::Answer
        } else {
            Relay::Nothing
        };
        self.steps.push_back(Step::Engine(request, message, relay));
        if request == Request::SetFeatures {
            self.replay_enables();
        }
    }

    /// Says no the way the specification allows: GET_CONFIG by an empty body; other requests by
    /// a nonzero acknowledgement, if the front-end asked for one and the request has no reply of
    /// its own that it could be mistaken for. Without that, a request on which nothing depends is
    /// counted and forgotten; any other ends the session, because the front-end would go on in
    /// the belief that it was granted.
    fn refuse(&mut self, code: u32, acknowledge: bool, why: Refusal, out: &mut Vec<Action>) {
        self.refused = self.refused.saturating_add(1);
        let request = Request::from_code(code);
        let own_reply = request.is_some_and(Request::has_own_reply);
        if request == Some(Request::GetConfig) && why != Refusal::NotOffered {
            out.push(Action::ToFrontEnd(Message::reply(code, Vec::new())));
        } else if acknowledge && !own_reply {
            out.push(Action::ToFrontEnd(Message::ack(code, false)));
        } else if !request.is_some_and(Request::may_be_ignored) {
            self.close(CloseReason::Refused(Code(code), why), out);
        }
    }

    fn grant(&mut self, message: Message, out: &mut Vec<Action>) -> Result<Granted, Fault> {
        if message.is_reply() {
            return Err(Malformed::Flags(message.flags).into());
        }
        let request = Request::from_code(message.request);
        if message.fds.len() > request.map_or(0, Request::most_descriptors) {
            return Err(Malformed::Descriptors(message.fds.len()).into());
        }
        let Some(request) = request else {
            return Err(Refusal::NotOffered.into());
        };
        if request
            .body_size()
            .is_some_and(|len| len != message.body.len())
        {
            return Err(Malformed::Size(message.body.len()).into());
        }
        if request.needs() & !self.protocol_features != 0 {
            return Err(Refusal::NotOffered.into());
        }
        match request {
            Request::SetOwner => self.set_owner(message),
            Request::ResetOwner => Ok(Granted::Here),
            Request::GetFeatures => reply_u64(self.config.offered_features()),
            Request::SetFeatures => self.set_features(message),
            Request::GetProtocolFeatures => reply_u64(self.config.offered_protocol_features()),
            Request::SetProtocolFeatures => self.set_protocol_features(&message),
            Request::GetQueueNum => reply_u64(self.rings.len().try_into().unwrap_or(u64::MAX)),
            Request::GetMaxMemSlots => reply_u64(MAX_REGIONS.try_into().unwrap_or(u64::MAX)),
            Request::SetMemTable => self.set_mem_table(message, out),
            Request::AddMemReg => self.add_mem_reg(message),
            Request::RemMemReg => self.rem_mem_reg(message, out),
            Request::SetVringNum => self.set_vring_num(message),
            Request::SetVringAddr => self.set_vring_addr(message),
            Request::SetVringBase => self.set_vring_base(message),
            Request::GetVringBase => self.get_vring_base(message),
            Request::SetVringKick => self.set_vring_kick(message),
            Request::SetVringCall | Request::SetVringErr => self.set_vring_event(message),
            Request::SetVringEnable => self.set_vring_enable(message),
            Request::SetStatus => self.set_status(&message, out),
            Request::GetStatus => reply_u64(u64::from(self.status)),
            Request::SendRarp => send_rarp(&message, out),
            Request::NetSetMtu => self.net_set_mtu(&message, out),
            Request::GetConfig => self.get_config(message),
            // All fields that a network driver sees are read-only (virtio 1.3 §5.1.4).
            _ => Err(Refusal::NotOffered.into()),
        }
    }

    /// Passes on the enables that came before SET_FEATURES: QEMU sends them so early, and the
    /// engine ends the session if it sees them before PROTOCOL_FEATURES is acknowledged.
    fn replay_enables(&mut self) {
        let negotiated = self.has_protocol_features();
        for index in 0..self.rings.len() {
            let Some(ring) = self.rings.get_mut(index) else {
                return;
            };
            // Without PROTOCOL_FEATURES rings start enabled, and the request does not exist.
            let value = ring.deferred.take().filter(|_| negotiated);
            ring.enabled = value.unwrap_or(ring.enabled || !negotiated);
            if let (Some(on), Ok(index)) = (value, u32::try_from(index)) {
                let num = u32::from(on);
                self.then(Request::SetVringEnable, RingState { index, num }.encode());
            }
        }
    }

    pub(super) fn has_protocol_features(&self) -> bool {
        self.features
            .is_some_and(|bits| bits & PROTOCOL_FEATURES != 0)
    }

    /// Stops the rings picked, ahead of whatever is passed on next. Returns their indices.
    pub(super) fn stop_rings(&mut self, pick: impl Fn(&Ring) -> bool) -> Vec<u32> {
        let picked: Vec<u32> = (0u32..)
            .zip(&mut self.rings)
            .filter(|(_, ring)| pick(ring))
            .map(|(index, ring)| {
                ring.started = false;
                index
            })
            .collect();
        for &index in &picked {
            self.then(Request::GetVringBase, RingState { index, num: 0 }.encode());
        }
        picked
    }

    /// Queues a request of the adapter's own.
    fn then(&mut self, request: Request, body: Vec<u8>) {
        let message = Message::request(request, body);
        self.steps
            .push_back(Step::Engine(request, message, Relay::Nothing));
    }

    fn proceed(&mut self, out: &mut Vec<Action>) {
        while self.awaited.is_none() {
            match self.steps.pop_front() {
                None => return,
                Some(Step::Answer(message)) => out.push(Action::ToFrontEnd(message)),
                Some(Step::Engine(request, message, relay)) => {
                    self.awaited = Some(Awaited { request, relay });
                    out.push(Action::ToEngine(if request.has_own_reply() {
                        message
                    } else {
                        message.needing_reply()
                    }));
                }
            }
        }
    }

    /// Takes a message from the engine: the answer to what it was sent last, and nothing else.
    pub fn engine(&mut self, message: Message, out: &mut Vec<Action>) {
        if self.closed {
            return;
        }
        let expected = self.awaited.take();
        let code = Code(message.request);
        let Some(awaited) = expected.filter(|awaited| {
            message.request == awaited.request as u32
                && message.is_reply()
                && !message.needs_reply()
                && message.fds.is_empty()
        }) else {
            return self.close(CloseReason::EngineAnswer(code), out);
        };
        match self.check_answer(awaited.request, &message.body) {
            Ok(()) if awaited.relay == Relay::Answer => {
                out.push(Action::ToFrontEnd(Message::reply(
                    message.request,
                    message.body,
                )));
            }
            Ok(()) => {}
            Err(reason) => return self.close(reason, out),
        }
        self.proceed(out);
    }

    fn check_answer(&self, request: Request, body: &[u8]) -> Result<(), CloseReason> {
        let wrong = CloseReason::EngineAnswer(request.into());
        match request {
            Request::GetFeatures => {
                let offered = parse_u64(body).map_err(|_| wrong)?;
                match self.config.offered_features() & !offered {
                    0 => Ok(()),
                    lacking => Err(CloseReason::EngineFeatures(lacking)),
                }
            }
            Request::GetVringBase if body.len() == size::RING_STATE => Ok(()),
            Request::GetConfig if body.len() > size::CONFIG_HEAD => Ok(()),
            _ if request.has_own_reply() => Err(wrong),
            _ => match parse_u64(body).map_err(|_| wrong)? {
                0 => Ok(()),
                _ => Err(CloseReason::EngineFailed(request.into())),
            },
        }
    }

    fn close(&mut self, reason: CloseReason, out: &mut Vec<Action>) {
        self.closed = true;
        self.awaited = None;
        self.steps.clear();
        out.push(Action::Close(reason));
    }
}

fn reply_u64(value: u64) -> Result<Granted, Fault> {
    Ok(Granted::Reply(value.to_ne_bytes().to_vec()))
}
