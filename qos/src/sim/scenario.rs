//! What is simulated: a tree, the traffic of its leaves, and for how long.

use crate::class::{ClassId, TreeConfig, TreeError};
use crate::units::Rate;

/// The longest simulation, in nanoseconds: a million seconds.
pub const MAX_NANOS: u64 = 1_000_000_000_000_000;

/// The longest round trip, in nanoseconds: well below the longest retransmission timer.
const MAX_RTT: u64 = 10_000_000_000;

/// The longest interval or period of a source, in nanoseconds.
const MAX_PERIOD: u64 = 1_000_000_000_000;

/// The largest frame or super-frame, in bytes.
const MAX_FRAME: u32 = 1 << 19;

/// Flows of all sources together, at most.
const MAX_FLOWS: usize = 100_000;

/// One direction of a link for some time. The link carries what the root's `ceil` says (its `rate`, if
/// there is none), one frame after the other, and takes nothing while it is busy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scenario {
    /// The class tree.
    pub tree: TreeConfig,
    /// Who sends.
    pub sources: Vec<Source>,
    /// How long, in nanoseconds.
    pub nanos: u64,
    /// What passes before this instant is not counted, in nanoseconds.
    pub warm_up_nanos: u64,
    /// Decides when flows start within their period and what their hashes are.
    pub seed: u64,
    /// Into how many equal parts the time series divides the whole time.
    pub bins: u32,
}

impl Scenario {
    /// Ten seconds of this traffic, all of it counted.
    #[must_use]
    pub const fn new(tree: TreeConfig, sources: Vec<Source>) -> Self {
        Self {
            tree,
            sources,
            nanos: 10_000_000_000,
            warm_up_nanos: 0,
            seed: 1,
            bins: 100,
        }
    }

    /// Whether this can be simulated.
    ///
    /// # Errors
    /// The first thing wrong with it.
    pub fn check(&self) -> Result<(), ScenarioError> {
        self.tree.check()?;
        self.link()?;
        if !(1..=MAX_NANOS).contains(&self.nanos) || self.warm_up_nanos >= self.nanos {
            return Err(ScenarioError::Length);
        }
        if !(1..=100_000).contains(&self.bins) {
            return Err(ScenarioError::Bins { bins: self.bins });
        }
        let mut flows = 0_usize;
        for (index, source) in self.sources.iter().enumerate() {
            self.check_source(index, source)?;
            flows = flows.saturating_add(source.flows as usize);
        }
        if flows > MAX_FLOWS {
            return Err(ScenarioError::Flows { flows });
        }
        Ok(())
    }

    /// The speed of the link.
    pub(super) fn link(&self) -> Result<Rate, ScenarioError> {
        let root = self.tree.classes.iter().find(|c| c.parent.is_none());
        root.and_then(|root| root.ceil.or(root.rate))
            .ok_or(ScenarioError::NoLink)
    }

    fn check_source(&self, index: usize, source: &Source) -> Result<(), ScenarioError> {
        let class = source.class;
        if !self.tree.classes.iter().any(|c| c.id == class) {
            return Err(ScenarioError::NoClass { index, class });
        }
        if self.tree.classes.iter().any(|c| c.parent == Some(class)) {
            return Err(ScenarioError::NotALeaf { index, class });
        }
        let range = |what, value: u64, least: u64, most: u64| {
            let error = ScenarioError::OutOfRange {
                index,
                what,
                value,
                least,
                most,
            };
            (least..=most).contains(&value).then_some(()).ok_or(error)
        };
        range("flows", source.flows.into(), 1, MAX_FLOWS as u64)?;
        let frame = |frame: u32| range("frame", frame.into(), 14, MAX_FRAME.into());
        let period = |what, nanos| range(what, nanos, 1, MAX_PERIOD);
        match source.traffic {
            Traffic::Cbr(cbr) => {
                frame(cbr.frame)?;
                match cbr.pace {
                    Pace::Rate(_) => Ok(()),
                    Pace::Interval(nanos) => period("interval", nanos),
                }
            }
            Traffic::OnOff(on_off) => {
                frame(on_off.frame)?;
                period("on", on_off.on_nanos)?;
                period("off", on_off.off_nanos)
            }
            Traffic::Flood(flood) => frame(flood.frame),
            Traffic::Tcp(tcp) => {
                range("rtt", tcp.rtt_nanos, 1, MAX_RTT)?;
                range("mss", tcp.mss.into(), 1, 65_535)?;
                range("headers", tcp.headers.into(), 14, 512)?;
                let most = (MAX_FRAME - tcp.headers) / tcp.mss;
                range("segments", tcp.segments.into(), 1, most.into())?;
                range("window", tcp.window, tcp.mss.into(), 1 << 40)?;
                range("bytes", tcp.bytes.unwrap_or(1), 1, 1 << 60)
            }
        }
    }
}

/// Senders of one kind in one leaf.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Source {
    /// The leaf that their frames belong to.
    pub class: ClassId,
    /// What each sends.
    pub traffic: Traffic,
    /// How many there are, each a flow of its own.
    pub flows: u32,
    /// When they start, in nanoseconds.
    pub start_nanos: u64,
    /// When they stop, in nanoseconds; at the end if absent.
    pub stop_nanos: Option<u64>,
}

impl Source {
    /// One flow from beginning to end.
    #[must_use]
    pub const fn new(class: ClassId, traffic: Traffic) -> Self {
        Self {
            class,
            traffic,
            flows: 1,
            start_nanos: 0,
            stop_nanos: None,
        }
    }

    /// Sets [`flows`](Self::flows).
    #[must_use]
    pub const fn flows(mut self, flows: u32) -> Self {
        self.flows = flows;
        self
    }
}

/// What a flow sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Traffic {
    /// Frames at even intervals, whatever becomes of them.
    Cbr(Cbr),
    /// The same with pauses.
    OnOff(OnOff),
    /// Always more frames than can go.
    Flood(Flood),
    /// A sender that adapts to what the path takes.
    Tcp(Tcp),
}

/// How often a frame comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// As often as makes this rate, in wire bytes on Ethernet.
    Rate(Rate),
    /// Every so many nanoseconds.
    Interval(u64),
}

/// A constant rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cbr {
    /// How often.
    pub pace: Pace,
    /// Bytes of a frame from the destination address on, without FCS.
    pub frame: u32,
}

/// A rate with pauses. The lengths vary evenly between half and one and a half of what is said, so
/// that sources do not fall into step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OnOff {
    /// The rate while it sends, in wire bytes on Ethernet.
    pub rate: Rate,
    /// Bytes of a frame.
    pub frame: u32,
    /// How long it sends, in nanoseconds.
    pub on_nanos: u64,
    /// How long it pauses, in nanoseconds.
    pub off_nanos: u64,
}

/// A flood: as many frames waiting as the queue takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flood {
    /// Bytes of a frame.
    pub frame: u32,
}

/// How a TCP sender answers congestion.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Control {
    /// One segment more per round trip, half on congestion (RFC 5681).
    #[default]
    Reno,
    /// A cubic curve over time, 0.7 of it on congestion (RFC 9438).
    Cubic,
    /// As Reno, but less by half of the share of marked segments (RFC 8257). Implies ECN.
    Dctcp,
}

/// A bulk transfer over TCP, as a model: a window of segments, each acknowledged one base round trip
/// after it left, loss noticed by the first later acknowledgement (the path keeps order), one answer
/// to congestion per round trip, lost segments sent again, a timer for when nothing comes back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tcp {
    /// How it answers congestion.
    pub control: Control,
    /// The round trip without queues, in nanoseconds.
    pub rtt_nanos: u64,
    /// Payload bytes of a segment.
    pub mss: u32,
    /// Header bytes of a segment.
    pub headers: u32,
    /// Segments of a super-frame at most; 1 for none.
    pub segments: u32,
    /// Whether a super-frame carries no more than a millisecond's worth at the flow's own rate, and two
    /// segments at least, as Linux sizes them; otherwise as much as the window lets go at once.
    pub autosize: bool,
    /// Whether congestion may be marked instead of losing segments.
    pub ecn: bool,
    /// Payload bytes to send, in whole segments; without end if absent.
    pub bytes: Option<u64>,
    /// Bytes on the way at most: the receiver's window.
    pub window: u64,
}

impl Default for Tcp {
    /// Reno over 20 ms, full Ethernet frames with timestamps, no super-frames, a window of 6 MiB.
    fn default() -> Self {
        Self {
            control: Control::Reno,
            rtt_nanos: 20_000_000,
            mss: 1448,
            headers: 66,
            segments: 1,
            autosize: true,
            ecn: false,
            bytes: None,
            window: 6 << 20,
        }
    }
}

/// A scenario that cannot be simulated. The writer's fault: show the message. Sources are numbered from
/// zero, in order.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ScenarioError {
    /// The tree may not run.
    #[error(transparent)]
    Tree(#[from] TreeError),
    /// Nothing says how fast the link is.
    #[error("the root has neither ceil nor rate, so the link has no speed: write its ceil")]
    NoLink,
    /// No time passes, or too much, or none is left after the warm-up.
    #[error("the time must be above the warm-up, and at most 1000000 seconds")]
    Length,
    /// No time series, or too fine a one.
    #[error("the time series has {bins} bins: write 1 to 100000")]
    Bins {
        /// What was written.
        bins: u32,
    },
    /// More flows than are sensible.
    #[error("the sources have {flows} flows together: 100000 are the most")]
    Flows {
        /// How many.
        flows: usize,
    },
    /// The source's class does not exist.
    #[error("the tree has no class {class}")]
    NoClass {
        /// Which source.
        index: usize,
        /// What was written.
        class: ClassId,
    },
    /// Frames belong to leaves.
    #[error("class {class} has children: only a leaf can send")]
    NotALeaf {
        /// Which source.
        index: usize,
        /// What was written.
        class: ClassId,
    },
    /// A number that makes no sense.
    #[error("{what} is {value}: write {least} to {most}")]
    OutOfRange {
        /// Which source.
        index: usize,
        /// Which of its settings.
        what: &'static str,
        /// What was written.
        value: u64,
        /// The least allowed.
        least: u64,
        /// The most allowed.
        most: u64,
    },
}

impl ScenarioError {
    /// Which source is at fault, if it is one.
    #[must_use]
    pub const fn source_index(&self) -> Option<usize> {
        match *self {
            Self::NoClass { index, .. }
            | Self::NotALeaf { index, .. }
            | Self::OutOfRange { index, .. } => Some(index),
            Self::Tree(_)
            | Self::NoLink
            | Self::Length
            | Self::Bins { .. }
            | Self::Flows { .. } => None,
        }
    }
}
