//! What a row of the catalogue is here: a number, a case, an attack, and the one outcome it may have.

use std::fmt;

use guest_tests::Result;
use guest_tests::front_end::raw::RawSession;
use guest_tests::front_end::{Frame, Port};

use crate::stage::Stage;

/// What an attack has to lead to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Each frame is dropped under this reason, and the ring goes on.
    Drop(&'static str),
    /// The same, of frames to the guest.
    DropToGuest(&'static str),
    /// This ring is broken; the other one goes on.
    Break(usize),
    /// Both rings are broken.
    BreakAll,
    /// The session is closed, and the next one is served.
    Close,
    /// The request is answered with a refusal and all is as it was.
    Refuse,
    /// It is none of the daemon's business: frames flow.
    Works,
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Drop(reason) | Self::DropToGuest(reason) => write!(f, "DROP {reason}"),
            Self::Break(ring) => write!(f, "BREAK ring {ring}"),
            Self::BreakAll => write!(f, "BREAK both rings"),
            Self::Close => write!(f, "CLOSE"),
            Self::Refuse => write!(f, "REFUSE"),
            Self::Works => write!(f, "works"),
        }
    }
}

/// How it is done.
#[derive(Clone, Copy)]
pub(crate) enum Attack {
    /// To the rings of a port that has just been started.
    Ring(fn(&mut Port) -> Result<()>),
    /// A frame, again and again, through such a port.
    Frames(fn() -> Frame),
    /// On a connection on which nothing has been said.
    Socket(fn(&mut RawSession) -> Result<()>),
    /// In a way of its own.
    Scene(fn(&Stage) -> Result<Left>),
}

/// What is left of an attack, to be looked at.
#[derive(Default)]
pub(crate) struct Left {
    pub(crate) port: Option<Port>,
    pub(crate) session: Option<RawSession>,
    /// Frames that have to be dropped.
    pub(crate) frames: u64,
}

impl From<Port> for Left {
    fn from(port: Port) -> Self {
        Self {
            port: Some(port),
            ..Self::default()
        }
    }
}

impl From<RawSession> for Left {
    fn from(session: RawSession) -> Self {
        Self {
            session: Some(session),
            ..Self::default()
        }
    }
}

/// One entry of the table.
#[derive(Clone, Copy)]
pub(crate) struct Row {
    pub(crate) number: u8,
    pub(crate) case: &'static str,
    pub(crate) outcome: Outcome,
    pub(crate) attack: Attack,
    /// Takes a second and more, so it is done as seldom as can be.
    pub(crate) slow: bool,
}

const fn row(number: u8, case: &'static str, outcome: Outcome, attack: Attack) -> Row {
    Row {
        number,
        case,
        outcome,
        attack,
        slow: false,
    }
}

/// A misuse of the transmit ring that breaks it.
pub(crate) const fn breaks(
    number: u8,
    case: &'static str,
    attack: fn(&mut Port) -> Result<()>,
) -> Row {
    row(number, case, Outcome::Break(1), Attack::Ring(attack))
}

/// Something that a driver may do.
pub(crate) const fn works(
    number: u8,
    case: &'static str,
    attack: fn(&mut Port) -> Result<()>,
) -> Row {
    row(number, case, Outcome::Works, Attack::Ring(attack))
}

/// A request of a running port's front-end that is refused.
pub(crate) const fn refuses(
    number: u8,
    case: &'static str,
    attack: fn(&mut Port) -> Result<()>,
) -> Row {
    row(number, case, Outcome::Refuse, Attack::Ring(attack))
}

/// A frame that is dropped for this reason.
pub(crate) const fn drops(
    number: u8,
    case: &'static str,
    reason: &'static str,
    frame: fn() -> Frame,
) -> Row {
    row(number, case, Outcome::Drop(reason), Attack::Frames(frame))
}

/// Bytes that close the session.
pub(crate) const fn closes(
    number: u8,
    case: &'static str,
    attack: fn(&mut RawSession) -> Result<()>,
) -> Row {
    row(number, case, Outcome::Close, Attack::Socket(attack))
}

/// Anything else.
pub(crate) const fn scene(
    number: u8,
    case: &'static str,
    outcome: Outcome,
    attack: fn(&Stage) -> Result<Left>,
) -> Row {
    row(number, case, outcome, Attack::Scene(attack))
}

impl Row {
    /// The same, done as seldom as can be.
    pub(crate) const fn slow(mut self) -> Self {
        self.slow = true;
        self
    }
}
