//! What subscribers are told.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::answer::Difference;
use super::report::Direction;

/// Something that happened, named by its `event`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum Event {
    /// Another configuration is served.
    Applied {
        /// Its generation.
        generation: u64,
        /// What is different.
        differences: Vec<Difference>,
    },
    /// A front-end has connected, or has gone.
    Session {
        /// Whose.
        guest: String,
        /// Whether it is connected now.
        connected: bool,
        /// Why it ended.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
    },
    /// A guest's frames are held, or go again.
    Paused {
        /// Whose.
        guest: String,
        /// Whether they are held.
        paused: bool,
    },
    /// An uplink's interface came, went, or has another carrier.
    Link {
        /// The uplink.
        uplink: String,
        /// `up`, `down` or `gone`.
        state: String,
    },
    /// A frame that was captured.
    Frame {
        /// When, in nanoseconds since 1970.
        time_nanos: u64,
        /// Which way it goes.
        direction: Direction,
        /// The class it was in, by its name in the guest's tree; absent if it is the guest's own, or none.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        class: Option<String>,
        /// What was done with it: `sent`, `local`, or the reason of its drop.
        verdict: String,
        /// Its bytes, all of them.
        len: u32,
        /// Its first bytes, in base64.
        data: String,
    },
    /// The capture is over.
    CaptureEnd {
        /// Frames that were not sent because the client, or the daemon, could not keep up.
        missed: u64,
    },
    /// Events were lost because they were not taken in time.
    Lost {
        /// How many.
        events: u64,
    },
}
